/* The smooth steps of transformers: one pass over memory each, safe in place.
 *
 *   gelu      x Phi(x), Phi the normal distribution as a tail of its own side (vec.h), or its form by tanh, which is
 *             x sigmoid(2 a (x + b x^3)), a = sqrt(2/pi), b = 0.044715
 *   softplus  max(x, 0) + log(1 + u), u = exp(-|x|), with log(1 + u) = 2 artanh(u/(2 + u)) by its series: below 1/3
 *             eight terms err by 1e-9 */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

static size_t total(const pf_site *s)
{
    return (size_t)s->B * pf_shape_size(s->out);
}

/* Phi(x); *density: Phi'(x) */
PF_INLINE float normal(float x, float *density)
{
    float e = pf_exp(-0.5f * x * x), q = e * pf_tail(fabsf(x) * 0.707106781f);
    *density = 0.398942280f * e;
    return x > 0.0f ? 1.0f - q : q;
}

static void by_erf(size_t n, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float density;
        y[i] = x[i] * normal(x[i], &density);
    }
}

static void by_erf_back(size_t n, const float *x, const float *g, float *d)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float density, p = normal(x[i], &density);
        d[i] = g[i] * (p + x[i] * density);
    }
}

#define STEEP 1.59576912f   /* 2 sqrt(2/pi) */
#define BENT  0.0713548163f /* times 0.044715 */

static void by_tanh(size_t n, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * pf_sigmoid(x[i] * (STEEP + BENT * x[i] * x[i]));
}

static void by_tanh_back(size_t n, const float *x, const float *g, float *d)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float square = x[i] * x[i], p = pf_sigmoid(x[i] * (STEEP + BENT * square));
        d[i] = g[i] * (p + x[i] * p * (1.0f - p) * (STEEP + 3.0f * BENT * square));
    }
}

static pf_status gelu_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    size_t n = total(c->site);
    if (c->site->attr.curve == PF_GELU_ERF) by_erf(n, c->in[0], c->out);
    else by_tanh(n, c->in[0], c->out);
    return PF_OK;
}

static pf_status gelu_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    size_t n = c->gin[0] ? total(c->site) : 0;
    if (c->site->attr.curve == PF_GELU_ERF) by_erf_back(n, c->in[0], c->gout, c->gin[0]);
    else by_tanh_back(n, c->in[0], c->gout, c->gin[0]);
    return PF_OK;
}

PF_INLINE float log_one_and(float u)
{
    float s = u / (2.0f + u), z = s * s, p = 1.0f / 15.0f;
    p = p * z + 1.0f / 13.0f;
    p = p * z + 1.0f / 11.0f;
    p = p * z + 1.0f / 9.0f;
    p = p * z + 1.0f / 7.0f;
    p = p * z + 1.0f / 5.0f;
    p = p * z + 1.0f / 3.0f;
    return 2.0f * (s + s * z * p);
}

static pf_status softplus_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *x = c->in[0];
    float *y = c->out;
    size_t n = total(c->site);
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float above = x[i] > 0.0f ? x[i] : 0.0f;
        y[i] = above + log_one_and(pf_exp(-fabsf(x[i])));
    }
    return PF_OK;
}

static pf_status softplus_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *x = c->in[0], *g = c->gout;
    float *d = c->gin[0];
    size_t n = d ? total(c->site) : 0;
    PF_SIMD
    for (size_t i = 0; i < n; i++) d[i] = g[i] * pf_sigmoid(x[i]);
    return PF_OK;
}

const pf_row pf_fused_gelu = {
    .backend = "fused", .forward = gelu_forward, .backward = gelu_backward};
const pf_row pf_fused_softplus = {
    .backend = "fused", .forward = softplus_forward, .backward = softplus_backward};
