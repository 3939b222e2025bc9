/* Pixels from those around them: pools with stride 1, and linear interpolation with corners on corners.
 *
 *   pool      y_p = max or 1/k^2 sum of x_q, q in the k x k pixels around p and in the image
 *   bilinear  y_ij = sum over the four pixels around (i s, j t),  s = (m - 1)/(n - 1) of m to n pixels */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

/* Saved: the tap that was the largest.  A mean needs none. */
size_t pf_ref_pool_saved(const pf_site *s, void *ctx)
{
    int wanted = s->want_dx[0] && s->attr.pool == PF_POOL_MAX;
    return wanted ? (size_t)s->B * pf_shape_size(s->out) : 0;
}

/* Number of the entry under tap t of entry at; -1: outside of the image. */
static ptrdiff_t under(const pf_site *s, size_t at, int t)
{
    int c = s->out.c, w = s->out.w, k = s->attr.kernel;
    size_t size = pf_shape_size(s->out), pixel = at % size / (size_t)c;
    int y = (int)(pixel / (size_t)w) + t / k - k / 2,
        x = (int)(pixel % (size_t)w) + t % k - k / 2;
    if (y < 0 || y >= s->out.h || x < 0 || x >= w) return -1;
    return (ptrdiff_t)(at / size * size + ((size_t)y * (size_t)w + (size_t)x) * (size_t)c +
                       at % (size_t)c);
}

static float largest(const pf_site *s, const float *x, size_t at, int *tap)
{
    float most = -INFINITY;
    *tap = s->attr.kernel * s->attr.kernel / 2;
    for (int t = 0; t < s->attr.kernel * s->attr.kernel; t++) {
        ptrdiff_t q = under(s, at, t);
        if (q < 0 || !(x[q] > most || isnan(x[q]))) continue;
        most = x[q];
        *tap = t;
    }
    return most;
}

static float mean(const pf_site *s, const float *x, size_t at)
{
    double sum = 0.0;
    int taps = s->attr.kernel * s->attr.kernel;
    for (int t = 0; t < taps; t++) {
        ptrdiff_t q = under(s, at, t);
        if (q >= 0) sum += x[q];
    }
    return (float)(sum / taps);
}

pf_status pf_ref_pool(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    for (size_t i = 0, n = (size_t)s->B * pf_shape_size(s->out); i < n; i++) {
        int tap = 0;
        c->out[i] =
            s->attr.pool == PF_POOL_MAX ? largest(s, c->in[0], i, &tap) : mean(s, c->in[0], i);
        if (s->want_dx[0] && s->attr.pool == PF_POOL_MAX) c->saved[i] = (float)tap;
    }
    return PF_OK;
}

pf_status pf_ref_pool_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->B * pf_shape_size(s->out);
    if (!c->gin[0]) return PF_OK;
    memset(c->gin[0], 0, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        if (s->attr.pool == PF_POOL_MAX) c->gin[0][under(s, i, (int)c->saved[i])] += c->gout[i];
        else c->gin[0][i] = mean(s, c->gout, i); /* a window's transpose is itself */
    }
    return PF_OK;
}

/* Pixel i of n lies on pixel at of m and, weighed f, on the one after it. */
typedef struct place {
    int at, next;
    double f;
} place;

static place place_of(int i, int n, int m)
{
    double v = n > 1 ? (double)i * (m - 1) / (n - 1) : 0.0;
    int at = (int)v;
    return (place){at, at + 1 < m ? at + 1 : at, v - at};
}

/* Every (output pixel, input pixel) pair that meets, forward or transposed; to [..] holds zeros. */
static void interpolate(const pf_site *s, const float *from, float *to, int transposed)
{
    pf_shape in = s->in[0], out = s->out;
    for (int b = 0; b < s->B; b++)
        for (int p = 0; p < out.h * out.w; p++) {
            place y = place_of(p / out.w, out.h, in.h), x = place_of(p % out.w, out.w, in.w);
            for (int k = 0; k < 4; k++) {
                double f = (k / 2 ? y.f : 1.0 - y.f) * (k % 2 ? x.f : 1.0 - x.f);
                int q = (k / 2 ? y.next : y.at) * in.w + (k % 2 ? x.next : x.at);
                size_t po = ((size_t)b * out.h * out.w + p) * out.c;
                size_t pi = ((size_t)b * in.h * in.w + q) * out.c;
                const float *src = from + (transposed ? po : pi);
                float *dst = to + (transposed ? pi : po);
                for (int i = 0; i < out.c; i++) dst[i] += (float)(f * src[i]);
            }
        }
}

pf_status pf_ref_bilinear(void *ctx, const pf_call *c)
{
    memset(c->out, 0, (size_t)c->site->B * pf_shape_size(c->site->out) * sizeof *c->out);
    interpolate(c->site, c->in[0], c->out, 0);
    return PF_OK;
}

pf_status pf_ref_bilinear_back(void *ctx, const pf_call *c)
{
    if (!c->gin[0]) return PF_OK;
    memset(c->gin[0], 0, (size_t)c->site->B * pf_shape_size(c->site->in[0]) * sizeof(float));
    interpolate(c->site, c->gout, c->gin[0], 1);
    return PF_OK;
}
