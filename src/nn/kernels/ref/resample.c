/* Resampling: nearest-neighbour doubling, 2x2 means, and the 4-tap filter.
 *
 *   fir: y[p] = gain sum_k f[k] u[p*down + k - pad_lo],   u = x with up-1 zeros after each pixel,
 *        f = outer(t,t)/64, t = [1,3,3,1]
 *
 * The taps are symmetric, so convolution and correlation agree.  Source: Zhang 2019 (filtered
 * resampling), as used by Song et al. 2021, appendix H. */
#include "nn/kernels/ref/ref.h"

#include <string.h>

pf_status pf_ref_up2(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->in[0];
    size_t row = (size_t)s.w * s.c;
    for (size_t y = 0; y < (size_t)c->site->B * s.h * 2; y++)
        for (int x = 0; x < 2 * s.w; x++)
            memcpy(c->out + (y * 2 * s.w + x) * s.c,
                   c->in[0] + y / 2 * row + (size_t)(x / 2) * s.c,
                   (size_t)s.c * sizeof *c->out);
    return PF_OK;
}

/* to[p] = scale * (sum of the four pixels of from that p covers) */
static void sum_quads(const float *from, float *to, size_t rows, pf_shape small, float scale)
{
    size_t line = (size_t)2 * small.w * small.c;
    for (size_t y = 0; y < rows; y++)
        for (int x = 0; x < small.w; x++)
            for (int i = 0; i < small.c; i++) {
                const float *q = from + 2 * y * line + (size_t)2 * x * small.c + i;
                to[(y * small.w + x) * small.c + i] =
                    scale * (q[0] + q[small.c] + q[line] + q[line + small.c]);
            }
}

pf_status pf_ref_up2_back(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->in[0];
    if (c->gin[0]) sum_quads(c->gout, c->gin[0], (size_t)c->site->B * s.h, s, 1.0f);
    return PF_OK;
}

pf_status pf_ref_down2(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->out;
    sum_quads(c->in[0], c->out, (size_t)c->site->B * s.h, s, 0.25f);
    return PF_OK;
}

pf_status pf_ref_down2_back(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->out;
    for (size_t y = 0; c->gin[0] && y < (size_t)c->site->B * s.h * 2; y++)
        for (int x = 0; x < 2 * s.w; x++)
            for (int i = 0; i < s.c; i++)
                c->gin[0][(y * 2 * s.w + x) * s.c + i] =
                    0.25f * c->gout[(y / 2 * s.w + x / 2) * s.c + i];
    return PF_OK;
}

/* Input index under tap k of output position p, or -1: padding, or an inserted zero. */
static int under(const pf_attr *a, int p, int k, int n)
{
    int at = p * a->stride + k - a->pad_lo;
    return at < 0 || at % a->up || at / a->up >= n ? -1 : at / a->up;
}

/* Every (output pixel, tap) pair that meets an input pixel, forward or transposed. */
static void filter(const pf_site *s, const float *from, float *to, int transposed)
{
    static const float tap[4] = {1.0f, 3.0f, 3.0f, 1.0f};
    const pf_attr *a = &s->attr;
    pf_shape in = s->in[0], out = s->out;
    int c = in.c;
    for (int b = 0; b < s->B; b++)
        for (int p = 0; p < out.h * out.w; p++)
            for (int k = 0; k < 16; k++) {
                int y = under(a, p / out.w, k / 4, in.h), x = under(a, p % out.w, k % 4, in.w);
                if (y < 0 || x < 0) continue;
                float f = (float)(a->a / 64.0) * tap[k / 4] * tap[k % 4];
                size_t po = ((size_t)b * out.h * out.w + p) * c;
                size_t pi = ((size_t)(b * in.h + y) * in.w + x) * c;
                const float *src = from + (transposed ? po : pi);
                float *dst = to + (transposed ? pi : po);
                for (int i = 0; i < c; i++) dst[i] += f * src[i];
            }
}

pf_status pf_ref_fir(void *ctx, const pf_call *c)
{
    memset(c->out, 0, (size_t)c->site->B * pf_shape_size(c->site->out) * sizeof *c->out);
    filter(c->site, c->in[0], c->out, 0);
    return PF_OK;
}

pf_status pf_ref_fir_back(void *ctx, const pf_call *c)
{
    if (!c->gin[0]) return PF_OK;
    memset(c->gin[0], 0,
           (size_t)c->site->B * pf_shape_size(c->site->in[0]) * sizeof *c->gin[0]);
    filter(c->site, c->gout, c->gin[0], 1);
    return PF_OK;
}
