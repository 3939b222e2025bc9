/* Group normalisation with its neighbours folded in:
 *
 *   u = x + e                         e [1,1,c] broadcast over pixels, optional
 *   n = (u - mean) / sqrt(var + eps)  over the pixels and channels of each group of one sample
 *   y = mask act(w n + b)             act: identity or silu(z) = z / (1 + exp(-z))
 *
 * or, where the vector has 2c entries m = [s, t] and nothing is added, y = mask act((w n + b)(1 + s) + t).
 *
 * Backward, with q = w d loss / d (w n + b) and <.> the mean over a group:
 *
 *   du = (q - <q> - n <q n>) / sqrt(var + eps),   dx = du,   de = sum over pixels of du
 *
 * q has the factor 1 + s, too; with r the gradient at (w n + b)(1 + s) + t, dt = sum r and ds = sum r (w n + b).
 *
 * Sums are taken in double.  Saved: mean and 1/sqrt(var + eps) per sample and group.
 * Source: Wu and He 2018, eq. 1 to 4. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

typedef struct norm {
    int pixels, c, per; /* channels, channels per group */
    const float *e;     /* of one sample, or NULL */
    const float *m;     /* scales and shifts of one sample, or NULL */
    const float *w, *b;
} norm;

static norm shape_of(const pf_call *c, int b)
{
    pf_shape s = c->site->out;
    const pf_site *site = c->site;
    norm v = {.pixels = s.h * s.w, .c = s.c, .per = s.c / site->attr.groups};
    v.w = c->param[0];
    v.b = c->param[1];
    if (site->attr.scale_shift) v.m = c->in[1] + (size_t)b * 2 * s.c;
    else if (site->n_in > 1) v.e = c->in[1] + (size_t)b * s.c;
    return v;
}

/* w n + b, with the factor 1 + s and t */
static double affine(const norm *v, double n, int ch)
{
    double z = v->w[ch] * n + v->b[ch];
    return v->m ? z * (1.0 + v->m[ch]) + v->m[v->c + ch] : z;
}

static double scale_of(const norm *v, int ch)
{
    return v->m ? 1.0 + v->m[ch] : 1.0;
}

static double input(const norm *v, const float *x, int pixel, int ch)
{
    return (double)x[(size_t)pixel * v->c + ch] + (v->e ? v->e[ch] : 0.0f);
}

static void statistics(const norm *v, const float *x, int first, double eps, float stat[2])
{
    double n = (double)v->pixels * v->per, sum = 0.0, square = 0.0;
    for (int p = 0; p < v->pixels; p++)
        for (int ch = first; ch < first + v->per; ch++) sum += input(v, x, p, ch);
    double mean = sum / n;
    for (int p = 0; p < v->pixels; p++)
        for (int ch = first; ch < first + v->per; ch++) {
            double d = input(v, x, p, ch) - mean;
            square += d * d;
        }
    stat[0] = (float)mean;
    stat[1] = (float)(1.0 / sqrt(square / n + eps));
}

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

size_t pf_ref_group_norm_saved(const pf_site *s, void *ctx)
{
    return 2 * (size_t)s->B * s->attr.groups;
}

/* The dropout mask of one sample. */
size_t pf_ref_group_norm_scratch(const pf_site *s, void *ctx)
{
    return pf_shape_size(s->out);
}

static void normalise(const pf_call *c, int b)
{
    const pf_site *s = c->site;
    norm v = shape_of(c, b);
    size_t size = pf_shape_size(s->out);
    const float *x = c->in[0] + (size_t)b * size;
    float *y = c->out + (size_t)b * size, *mask = c->scratch;
    float *stat = c->saved + 2 * (size_t)b * s->attr.groups;
    pf_dropout_mask(c, b, s->attr.rate, 0, size, mask);
    for (int g = 0; g < s->attr.groups; g++) {
        statistics(&v, x, g * v.per, s->attr.eps, stat + 2 * g);
        for (int p = 0; p < v.pixels; p++)
            for (int ch = g * v.per; ch < (g + 1) * v.per; ch++) {
                double n = (input(&v, x, p, ch) - stat[2 * g]) * stat[2 * g + 1];
                double z = affine(&v, n, ch);
                size_t at = (size_t)p * v.c + ch;
                y[at] = (float)(mask[at] * (s->attr.silu ? z * sigmoid(z) : z));
            }
    }
}

pf_status pf_ref_group_norm(void *ctx, const pf_call *c)
{
    for (int b = 0; b < c->site->B; b++) normalise(c, b);
    return PF_OK;
}

/* d loss by the activation's argument at one element, where its normalised value is n. */
static double through_activation(const pf_call *c, const norm *v, double n, int ch, double g)
{
    if (!c->site->attr.silu) return g;
    double z = affine(v, n, ch), s = sigmoid(z);
    return g * s * (1.0 + z * (1.0 - s));
}

/* One channel: sums of q and q n over the pixels (q without the factor w). */
static void channel_sums(const pf_call *c, const norm *v, const float *x, const float *g,
                         const float *stat, int ch, double sum[2])
{
    sum[0] = sum[1] = 0.0;
    for (int p = 0; p < v->pixels; p++) {
        size_t at = (size_t)p * v->c + ch;
        double n = (input(v, x, p, ch) - stat[0]) * stat[1];
        double q = through_activation(c, v, n, ch, (double)g[at] * c->scratch[at]);
        sum[0] += q;
        sum[1] += q * n;
    }
}

static void channel_data(const pf_call *c, const norm *v, int b, const float *stat, int ch,
                         const double mean[2])
{
    size_t base = (size_t)b * pf_shape_size(c->site->out);
    double de = 0.0;
    for (int p = 0; p < v->pixels; p++) {
        size_t at = (size_t)p * v->c + ch;
        double n = (input(v, c->in[0] + base, p, ch) - stat[0]) * stat[1];
        double q = through_activation(c, v, n, ch, (double)c->gout[base + at] * c->scratch[at]);
        double du = stat[1] * (scale_of(v, ch) * v->w[ch] * q - mean[0] - n * mean[1]);
        if (c->gin[0]) c->gin[0][base + at] = (float)du;
        de += du;
    }
    if (v->e && c->gin[1]) c->gin[1][(size_t)b * v->c + ch] = (float)de;
}

static void vector_back(const pf_call *c, const norm *v, int b, int ch, const double sum[2])
{
    float *dm = c->gin[1] + (size_t)b * 2 * v->c;
    dm[ch] = (float)(v->w[ch] * sum[1] + v->b[ch] * sum[0]);
    dm[v->c + ch] = (float)sum[0];
}

static void sample_back(const pf_call *c, int b)
{
    const pf_site *s = c->site;
    norm v = shape_of(c, b);
    size_t size = pf_shape_size(s->out);
    const float *x = c->in[0] + (size_t)b * size, *g = c->gout + (size_t)b * size;
    const float *stat = c->saved + 2 * (size_t)b * s->attr.groups;
    pf_dropout_mask(c, b, s->attr.rate, 0, size, c->scratch);
    for (int k = 0; k < s->attr.groups; k++, stat += 2) {
        double mean[2] = {0.0, 0.0}, n = (double)v.pixels * v.per;
        for (int ch = k * v.per; ch < (k + 1) * v.per; ch++) {
            double sum[2];
            channel_sums(c, &v, x, g, stat, ch, sum);
            double a = scale_of(&v, ch);
            for (int j = 0; j < 2; j++) mean[j] += a * v.w[ch] * sum[j] / n;
            if (c->gparam[1]) c->gparam[1][ch] += (float)(a * sum[0]);
            if (c->gparam[0]) c->gparam[0][ch] += (float)(a * sum[1]);
            if (v.m && c->gin[1]) vector_back(c, &v, b, ch, sum);
        }
        for (int ch = k * v.per; ch < (k + 1) * v.per; ch++)
            channel_data(c, &v, b, stat, ch, mean);
    }
}

pf_status pf_ref_group_norm_back(void *ctx, const pf_call *c)
{
    for (int k = 0; k < 2; k++)
        if (c->gparam[k]) memset(c->gparam[k], 0, (size_t)c->site->out.c * sizeof(float));
    for (int b = 0; b < c->site->B; b++) sample_back(c, b);
    return PF_OK;
}
