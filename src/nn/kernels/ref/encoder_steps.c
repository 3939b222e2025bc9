/* The operators of conditional flows, of B numbers at each position, and of what stands between two steps of a flow:
 *
 *   draw      u_b = mean_b + exp(log_std_b) noise_b,   log q = sum_b ( -noise_b^2/2 - log sqrt(2 pi) - log_std_b )
 *   cells     v_b = sign_b softplus(u_b),   sum_b log sigmoid(u_b);  0 where the symbol is below 0
 *   bounded   y_b = shift_b + exp(s_b) x_b,   s_b = 2 tanh(raw_b/2),   sum_b s_b
 *   act_norm  y_c = (x_c - shift_c) exp(-log_scale_c),   -sum_c log_scale_c
 *   shuffle   y_c = x_(p_c),   p a permutation
 *
 * draw and cells after one another are bits; see flows.c.  All in double, stored as floats.
 * Source: Hoogeboom et al. 2021, section 4 and their published code (CondAffineAR); Kingma and Dhariwal 2018, section 3.1
 *         (act_norm). */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

#define LOG_ROOT_2PI 0.91893853320467274178

static size_t positions_of(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->in[0].h * (size_t)s->in[0].w;
}

static double log_sigmoid(double u)
{
    return fmin(u, 0.0) - log1p(exp(-fabs(u)));
}

/* ---- draw ---- */

pf_status pf_ref_draw(void *ctx, const pf_call *c)
{
    size_t B = (size_t)c->site->in[1].c;
    for (size_t p = 0; p < positions_of(c->site); p++) {
        const float *param = c->in[0] + p * 2 * B, *noise = c->in[1] + p * B;
        float *u = c->out + p * (B + 1);
        double log_q = 0.0;
        for (size_t b = 0; b < B; b++) {
            double e = noise[b], log_std = param[B + b];
            u[b] = (float)(param[b] + exp(log_std) * e);
            log_q += -0.5 * e * e - LOG_ROOT_2PI - log_std;
        }
        u[B] = (float)log_q;
    }
    return PF_OK;
}

pf_status pf_ref_draw_back(void *ctx, const pf_call *c)
{
    size_t B = (size_t)c->site->in[1].c;
    for (size_t p = 0; c->gin[0] && p < positions_of(c->site); p++) {
        const float *param = c->in[0] + p * 2 * B, *noise = c->in[1] + p * B;
        const float *g = c->gout + p * (B + 1);
        float *to = c->gin[0] + p * 2 * B;
        for (size_t b = 0; b < B; b++) {
            to[b] = g[b];
            to[B + b] = (float)(g[b] * exp((double)param[B + b]) * noise[b] - g[B]);
        }
    }
    return PF_OK;
}

/* ---- cells ---- */

/* The symbol at a position, whose four bytes are an integer, and the sign of its bit b. */
static int32_t symbol_at(const pf_call *c, size_t p)
{
    int32_t k;
    memcpy(&k, c->in[1] + p, sizeof k);
    return k;
}

static double sign_of(int32_t k, size_t B, size_t b)
{
    return k >> (B - 1 - b) & 1 ? 1.0 : -1.0;
}

pf_status pf_ref_cells(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t B = (size_t)s->in[0].c;
    for (size_t p = 0; p < positions_of(s); p++) {
        int32_t k = symbol_at(c, p);
        float *v = c->out + p * (B + 1);
        double volume = 0.0;
        PF_REQUIRE(k < 1 << B, PF_EARG, "operator %s (cells): symbol %d, want less than %d",
                   s->name, k, 1 << B);
        for (size_t b = 0; b < B; b++) {
            double u = c->in[0][p * B + b];
            v[b] = k < 0 ? 0.0f : (float)(sign_of(k, B, b) * -log_sigmoid(-u));
            volume += log_sigmoid(u);
        }
        v[B] = k < 0 ? 0.0f : (float)volume;
    }
    return PF_OK;
}

pf_status pf_ref_cells_back(void *ctx, const pf_call *c)
{
    size_t B = (size_t)c->site->in[0].c;
    for (size_t p = 0; c->gin[0] && p < positions_of(c->site); p++) {
        int32_t k = symbol_at(c, p);
        const float *g = c->gout + p * (B + 1);
        for (size_t b = 0; b < B; b++) {
            double u = c->in[0][p * B + b];
            double du =
                g[b] * sign_of(k, B, b) * exp(log_sigmoid(u)) + g[B] * exp(log_sigmoid(-u));
            c->gin[0][p * B + b] = k < 0 ? 0.0f : (float)du;
        }
    }
    return PF_OK;
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
