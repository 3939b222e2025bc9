/* The operators of flows of categories, of B bits, n positions that are there:
 *
 *   bits         u_b = mean_b + exp(log_std_b) noise_b,   v_b = sign_b softplus(u_b),   sign_b = +1 where bit b of k is 1
 *                log q = sum_b ( -noise_b^2/2 - log sqrt(2 pi) - log_std_b - log sigmoid(u_b) );  0 where k < 0
 *   draw, cells  the same in two, so that steps of a flow may stand between: u and its log q; v and sum_b log sigmoid(u_b)
 *   turn         y_l = x_(n-1-l), or x_l; 0 from n on
 *   invertible   y = W x, and log |det W| of each position
 *   normal_nats  sum_c ( (x_c - loc_c)^2 exp(-2 s_c)/2 + log sqrt(2 pi) + s_c ),  s the log scale
 *
 * All in double, stored as floats.
 * Source: Hoogeboom et al. 2021, section 4; Kingma and Dhariwal 2018, section 3.2 (invertible maps). */
#include "nn/kernels/ref/ref.h"

#include <probflow/linalg.h>

#include <math.h>
#include <string.h>

#define LOG_ROOT_2PI 0.91893853320467274178

static size_t positions_of(const pf_site *s)
{
    return (size_t)s->in[0].h * (size_t)s->in[0].w;
}

/* The input's four bytes are an integer. */
static int32_t integer_at(const float *in, size_t at)
{
    int32_t k;
    memcpy(&k, in + at, sizeof k);
    return k;
}

/* ---- bits ---- */

static double log_sigmoid(double u)
{
    return fmin(u, 0.0) - log1p(exp(-fabs(u)));
}

/* Of bit b of symbol k. */
static double sign_of(int32_t k, size_t B, size_t b)
{
    return k >> (B - 1 - b) & 1 ? 1.0 : -1.0;
}

/* A bit at a position. */
typedef struct bit {
    double sign, noise, std, log_std, u;
} bit;

static bit take_bit(const pf_call *c, size_t p, int b, int32_t k)
{
    size_t B = (size_t)c->site->in[1].c;
    const float *param = c->in[0] + p * 2 * B + b;
    bit r = {.sign = sign_of(k, B, (size_t)b),
             .noise = c->in[1][p * B + (size_t)b],
             .log_std = param[B]};
    r.std = exp(r.log_std);
    r.u = param[0] + r.std * r.noise;
    return r;
}

pf_status pf_ref_bits(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int B = s->in[1].c;
    for (size_t p = 0; p < (size_t)s->B * positions_of(s); p++) {
        int32_t k = integer_at(c->in[2], p);
        float *v = c->out + p * (size_t)(B + 1);
        double log_q = 0.0;
        PF_REQUIRE(k < 1 << B, PF_EARG, "operator %s (bits): symbol %d, want less than %d",
                   s->name, k, 1 << B);
        for (int b = 0; b < B; b++) {
            bit t = take_bit(c, p, b, k);
            double below = log_sigmoid(-t.u), above = log_sigmoid(t.u);
            v[b] = k < 0 ? 0.0f : (float)(t.sign * -below);
            log_q += -0.5 * t.noise * t.noise - LOG_ROOT_2PI - t.log_std - above;
        }
        v[B] = k < 0 ? 0.0f : (float)log_q;
    }
    return PF_OK;
}

pf_status pf_ref_bits_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int B = s->in[1].c;
    if (!c->gin[0]) return PF_OK;
    for (size_t p = 0; p < (size_t)s->B * positions_of(s); p++) {
        int32_t k = integer_at(c->in[2], p);
        const float *g = c->gout + p * (size_t)(B + 1);
        float *to = c->gin[0] + p * 2 * (size_t)B;
        for (int b = 0; b < B; b++) {
            bit t = take_bit(c, p, b, k);
            double du = g[b] * t.sign * exp(log_sigmoid(t.u)) - g[B] * exp(log_sigmoid(-t.u));
            to[b] = k < 0 ? 0.0f : (float)du;
            to[B + b] = k < 0 ? 0.0f : (float)(du * t.std * t.noise - g[B]);
        }
    }
    return PF_OK;
}

/* ---- draw ---- */

pf_status pf_ref_draw(void *ctx, const pf_call *c)
{
    size_t B = (size_t)c->site->in[1].c;
    for (size_t p = 0; p < (size_t)c->site->B * positions_of(c->site); p++) {
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
    for (size_t p = 0; c->gin[0] && p < (size_t)c->site->B * positions_of(c->site); p++) {
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

pf_status pf_ref_cells(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t B = (size_t)s->in[0].c;
    for (size_t p = 0; p < (size_t)s->B * positions_of(s); p++) {
        int32_t k = integer_at(c->in[1], p);
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
    for (size_t p = 0; c->gin[0] && p < (size_t)c->site->B * positions_of(c->site); p++) {
        int32_t k = integer_at(c->in[1], p);
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

/* ---- turn ---- */

/* Its own inverse where rows turn, itself where they stay: the gradient goes the same way. */
static void turn_rows(const pf_call *c, const float *x, float *y)
{
    const pf_site *s = c->site;
    size_t L = positions_of(s), ch = (size_t)s->out.c;
    for (size_t b = 0; b < (size_t)s->B; b++) {
        size_t n = 0;
        while (n < L && integer_at(c->in[1], b * L + n) >= 0) n++;
        for (size_t l = 0; l < L; l++) {
            float *to = y + (b * L + l) * ch;
            size_t from = s->attr.step < 0 ? n - 1 - l : l;
            if (l < n) memcpy(to, x + (b * L + from) * ch, ch * sizeof *to);
            else memset(to, 0, ch * sizeof *to);
        }
    }
}

pf_status pf_ref_turn(void *ctx, const pf_call *c)
{
    turn_rows(c, c->in[0], c->out);
    return PF_OK;
}

pf_status pf_ref_turn_back(void *ctx, const pf_call *c)
{
    if (c->gin[0]) turn_rows(c, c->gout, c->gin[0]);
    return PF_OK;
}

/* ---- invertible ---- */

/* Two matrices of doubles. */
size_t pf_ref_invertible_scratch(const pf_site *s, void *ctx)
{
    return 4 * s->param_size[0];
}

static void copy_weight(const pf_call *c, double *a)
{
    for (size_t i = 0; i < c->site->param_size[0]; i++) a[i] = c->param[0][i];
}

pf_status pf_ref_invertible(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int n = s->in[0].c;
    double *a = (double *)c->scratch, volume;
    copy_weight(c, a);
    if (pf_linalg_invert(n, a, &volume))
        PF_FAIL(PF_ENUMERIC, "operator %s (invertible): its matrix has no inverse", s->name);
    for (size_t p = 0; p < (size_t)s->B * positions_of(s); p++) {
        const float *x = c->in[0] + p * (size_t)n;
        float *y = c->out + p * (size_t)(n + 1);
        for (int i = 0; i < n; i++) {
            double sum = 0.0;
            for (int j = 0; j < n; j++) sum += (double)c->param[0][i * n + j] * x[j];
            y[i] = (float)sum;
        }
        y[n] = (float)volume;
    }
    return PF_OK;
}

/* d log |det W| / dW is the inverse, transposed. */
static PF_MUST_USE pf_status add_volume(const pf_call *c, double volume, double *dw)
{
    int n = c->site->in[0].c;
    double *inverse = (double *)c->scratch + n * n;
    copy_weight(c, inverse);
    PF_TRY(pf_linalg_invert(n, inverse, NULL));
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) dw[i * n + j] += volume * inverse[j * n + i];
    return PF_OK;
}

pf_status pf_ref_invertible_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int n = s->in[0].c;
    double *dw = (double *)c->scratch, volume = 0.0;
    memset(dw, 0, s->param_size[0] * sizeof *dw);
    for (size_t p = 0; p < (size_t)s->B * positions_of(s); p++) {
        const float *g = c->gout + p * (size_t)(n + 1);
        for (int j = 0; c->gin[0] && j < n; j++) {
            double sum = 0.0;
            for (int i = 0; i < n; i++) sum += (double)c->param[0][i * n + j] * g[i];
            c->gin[0][p * (size_t)n + (size_t)j] = (float)sum;
        }
        for (int i = 0; c->gparam[0] && i < n; i++)
            for (int j = 0; j < n; j++)
                dw[i * n + j] += (double)g[i] * c->in[0][p * (size_t)n + (size_t)j];
        volume += g[n];
    }
    if (!c->gparam[0]) return PF_OK;
    PF_TRY(add_volume(c, volume, dw));
    for (int i = 0; i < n * n; i++) c->gparam[0][i] = (float)dw[i];
    return PF_OK;
}

/* ---- normal_nats ---- */

pf_status pf_ref_normal_nats(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->in[0].c;
    for (size_t p = 0; p < (size_t)s->B * positions_of(s); p++) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) {
            double scale = c->param[1][i];
            double z = ((double)c->in[0][p * n + i] - c->param[0][i]) * exp(-scale);
            sum += 0.5 * z * z + LOG_ROOT_2PI + scale;
        }
        c->out[p] = (float)sum;
    }
    return PF_OK;
}

pf_status pf_ref_normal_nats_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->in[0].c, all = (size_t)s->B * positions_of(s);
    for (size_t i = 0; i < n; i++) {
        double thin = exp(-(double)c->param[1][i]), loc = 0.0, scale = 0.0;
        for (size_t p = 0; p < all; p++) {
            double z = ((double)c->in[0][p * n + i] - c->param[0][i]) * thin, g = c->gout[p];
            if (c->gin[0]) c->gin[0][p * n + i] = (float)(g * z * thin);
            loc -= g * z * thin;
            scale += g * (1.0 - z * z);
        }
        if (c->gparam[0]) c->gparam[0][i] = (float)loc;
        if (c->gparam[1]) c->gparam[1][i] = (float)scale;
    }
    return PF_OK;
}
