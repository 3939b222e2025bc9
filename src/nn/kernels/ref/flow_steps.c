/* The operators of steps of a flow, of B numbers at each position, and of what stands between two steps:
 *
 *   bounded   y_b = shift_b + exp(s_b) x_b,   s_b = 2 tanh(raw_b/2),   sum_b s_b
 *   act_norm  y_c = (x_c - shift_c) exp(-log_scale_c),   -sum_c log_scale_c
 *   shuffle   y_c = x_(p_c),   p a permutation
 *
 * All in double, stored as floats.
 * Source: published code of argmax flows (CondAffineAR); Kingma and Dhariwal 2018, section 3.1 (act_norm). */
#include "nn/kernels/ref/ref.h"

#include <math.h>

static size_t positions_of(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->in[0].h * (size_t)s->in[0].w;
}

/* ---- bounded ---- */

pf_status pf_ref_bounded(void *ctx, const pf_call *c)
{
    size_t B = (size_t)c->site->in[0].c;
    for (size_t p = 0; p < positions_of(c->site); p++) {
        const float *x = c->in[0] + p * B, *param = c->in[1] + p * 2 * B;
        float *y = c->out + p * (B + 1);
        double volume = 0.0;
        for (size_t b = 0; b < B; b++) {
            double s = 2.0 * tanh(0.5 * param[b]);
            y[b] = (float)(param[B + b] + exp(s) * x[b]);
            volume += s;
        }
        y[B] = (float)volume;
    }
    return PF_OK;
}

/* ds/draw = 1 - (s/2)^2 */
pf_status pf_ref_bounded_back(void *ctx, const pf_call *c)
{
    size_t B = (size_t)c->site->in[0].c;
    for (size_t p = 0; p < positions_of(c->site); p++) {
        const float *x = c->in[0] + p * B, *param = c->in[1] + p * 2 * B;
        const float *g = c->gout + p * (B + 1);
        for (size_t b = 0; b < B; b++) {
            double half = tanh(0.5 * param[b]), times = exp(2.0 * half);
            double slope = (g[b] * times * x[b] + g[B]) * (1.0 - half * half);
            if (c->gin[0]) c->gin[0][p * B + b] = (float)(g[b] * times);
            if (!c->gin[1]) continue;
            c->gin[1][p * 2 * B + b] = (float)slope;
            c->gin[1][p * 2 * B + B + b] = g[b];
        }
    }
    return PF_OK;
}

/* ---- act_norm ---- */

pf_status pf_ref_act_norm(void *ctx, const pf_call *c)
{
    size_t n = (size_t)c->site->in[0].c;
    double volume = 0.0;
    for (size_t i = 0; i < n; i++) volume -= c->param[1][i];
    for (size_t p = 0; p < positions_of(c->site); p++) {
        const float *x = c->in[0] + p * n;
        float *y = c->out + p * (n + 1);
        for (size_t i = 0; i < n; i++)
            y[i] = (float)(((double)x[i] - c->param[0][i]) * exp(-(double)c->param[1][i]));
        y[n] = (float)volume;
    }
    return PF_OK;
}

pf_status pf_ref_act_norm_back(void *ctx, const pf_call *c)
{
    size_t n = (size_t)c->site->in[0].c, all = positions_of(c->site);
    for (size_t i = 0; i < n; i++) {
        double thin = exp(-(double)c->param[1][i]), shift = 0.0, log_scale = 0.0;
        for (size_t p = 0; p < all; p++) {
            double y = ((double)c->in[0][p * n + i] - c->param[0][i]) * thin;
            double g = c->gout[p * (n + 1) + i];
            if (c->gin[0]) c->gin[0][p * n + i] = (float)(g * thin);
            shift -= g * thin;
            log_scale -= g * y + c->gout[p * (n + 1) + n];
        }
        if (c->gparam[0]) c->gparam[0][i] = (float)shift;
        if (c->gparam[1]) c->gparam[1][i] = (float)log_scale;
    }
    return PF_OK;
}

/* ---- shuffle ---- */

/* Where channel i comes from; averages of parameters are near whole numbers. */
static size_t from_channel(const pf_call *c, size_t i)
{
    return (size_t)lrintf(c->param[0][i]);
}

pf_status pf_ref_shuffle(void *ctx, const pf_call *c)
{
    size_t n = (size_t)c->site->in[0].c;
    uint64_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        float at = rintf(c->param[0][i]);
        if (at >= 0.0f && at < (float)n) seen |= (uint64_t)1 << from_channel(c, i);
    }
    for (size_t i = 0; i < n; i++)
        PF_REQUIRE(seen >> i & 1, PF_EARG, "operator %s (shuffle): channel %zu goes nowhere",
                   c->site->name, i);
    for (size_t p = 0; p < positions_of(c->site); p++)
        for (size_t i = 0; i < n; i++) c->out[p * n + i] = c->in[0][p * n + from_channel(c, i)];
    return PF_OK;
}

pf_status pf_ref_shuffle_back(void *ctx, const pf_call *c)
{
    size_t n = (size_t)c->site->in[0].c;
    for (size_t p = 0; c->gin[0] && p < positions_of(c->site); p++)
        for (size_t i = 0; i < n; i++)
            c->gin[0][p * n + from_channel(c, i)] = c->gout[p * n + i];
    return PF_OK;
}
