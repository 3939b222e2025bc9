/* Normalisation of each position over its c channels:
 *
 *   n_i = (x_i - m) r,   r = 1/sqrt(<(x - m)^2> + eps),   y_i = w_i n_i + b_i
 *
 * with m = <x>, or m = 0 of rms.  Backward, with q_i = w_i g_i:
 *
 *   dx_i = r (q_i - <q> - n_i <q n>), without <q> of rms;   dw_i = sum g_i n_i,   db_i = sum g_i
 *
 * Sums are taken in double.  Saved: m and r of each position.  Source: Ba et al. 2016, eq. 4. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

static size_t positions(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->out.h * s->out.w;
}

size_t pf_ref_layer_norm_saved(const pf_site *s, void *ctx)
{
    return 2 * positions(s);
}

static void moments(const pf_site *s, const float *x, float stat[2])
{
    double m = 0.0, square = 0.0, n = s->out.c;
    for (int i = 0; i < s->out.c && !s->attr.rms; i++) m += x[i] / n;
    for (int i = 0; i < s->out.c; i++) square += (x[i] - m) * (x[i] - m) / n;
    stat[0] = (float)m;
    stat[1] = (float)(1.0 / sqrt(square + s->attr.eps));
}

pf_status pf_ref_layer_norm(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    for (size_t p = 0; p < positions(s); p++) {
        const float *x = c->in[0] + p * n;
        float *stat = c->saved + 2 * p;
        moments(s, x, stat);
        for (size_t i = 0; i < n; i++) {
            double at = ((double)x[i] - stat[0]) * stat[1];
            c->out[p * n + i] =
                (float)(c->param[0][i] * at + (s->n_param > 1 ? c->param[1][i] : 0.0f));
        }
    }
    return PF_OK;
}

static void position_back(const pf_call *c, size_t p)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    const float *x = c->in[0] + p * n, *g = c->gout + p * n, *stat = c->saved + 2 * p;
    double mean = 0.0, along = 0.0;
    for (size_t i = 0; i < n; i++) {
        double q = (double)c->param[0][i] * g[i], at = ((double)x[i] - stat[0]) * stat[1];
        if (!s->attr.rms) mean += q / (double)n;
        along += q * at / (double)n;
        if (c->gparam[0]) c->gparam[0][i] += (float)(g[i] * at);
        if (s->n_param > 1 && c->gparam[1]) c->gparam[1][i] += g[i];
    }
    for (size_t i = 0; c->gin[0] && i < n; i++) {
        double q = (double)c->param[0][i] * g[i], at = ((double)x[i] - stat[0]) * stat[1];
        c->gin[0][p * n + i] = (float)(stat[1] * (q - mean - at * along));
    }
}

pf_status pf_ref_layer_norm_back(void *ctx, const pf_call *c)
{
    for (int k = 0; k < c->site->n_param; k++)
        if (c->gparam[k]) memset(c->gparam[k], 0, (size_t)c->site->out.c * sizeof(float));
    for (size_t p = 0; p < positions(c->site); p++) position_back(c, p);
    return PF_OK;
}
