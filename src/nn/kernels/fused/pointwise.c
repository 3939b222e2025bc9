/* Elementwise operators: one pass over memory each, safe in place. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

enum { MASK_PAD = 16 };

static size_t total(const pf_site *s)
{
    return (size_t)s->B * pf_shape_size(s->out);
}

static pf_status silu_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *x = c->in[0];
    float *y = c->out;
    size_t n = total(c->site);
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] = x[i] * pf_sigmoid(x[i]);
    return PF_OK;
}

/* d silu = s (1 + x (1 - s)) */
static pf_status silu_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *x = c->in[0], *g = c->gout;
    float *d = c->gin[0];
    size_t n = d ? total(c->site) : 0;
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float s = pf_sigmoid(x[i]);
        d[i] = g[i] * (s * (1.0f + x[i] * (1.0f - s)));
    }
    return PF_OK;
}

static pf_status elu_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *x = c->in[0];
    float *y = c->out;
    size_t n = total(c->site);
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float below = pf_expm1(x[i]);
        y[i] = x[i] > 0.0f ? x[i] : below;
    }
    return PF_OK;
}

static pf_status elu_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *x = c->in[0], *g = c->gout;
    float *d = c->gin[0];
    size_t n = d ? total(c->site) : 0;
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float below = pf_exp(x[i]);
        d[i] = x[i] > 0.0f ? g[i] : g[i] * below;
    }
    return PF_OK;
}

/* y = a where x is above 0, else slope a */
static void leak(size_t n, const float *x, float slope, const float *a, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        float below = slope * a[i];
        y[i] = x[i] > 0.0f ? a[i] : below;
    }
}

static pf_status leaky_relu_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    leak(total(c->site), c->in[0], (float)c->site->attr.a, c->in[0], c->out);
    return PF_OK;
}

static pf_status leaky_relu_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    if (c->gin[0]) leak(total(c->site), c->in[0], (float)c->site->attr.a, c->gout, c->gin[0]);
    return PF_OK;
}

static void scale_shift(size_t n, const float *x, float a, float b, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] = x[i] * a + b;
}

static pf_status affine_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_attr *a = &c->site->attr;
    scale_shift(total(c->site), c->in[0], (float)a->a, (float)a->b, c->out);
    return PF_OK;
}

static pf_status affine_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    if (c->gin[0])
        scale_shift(total(c->site), c->gout, (float)c->site->attr.a, 0.0f, c->gin[0]);
    return PF_OK;
}

/* y = k sin(2 pi (a x + b)), times g if there is one.  The phase is reduced before b is added: a x
 * is exact when a is a power of 2. */
typedef struct wave {
    float k, a, b;
} wave;

PF_INLINE float at_phase(const wave *w, float x)
{
    float r = w->a * x;
    r -= (r + 12582912.0f) - 12582912.0f;
    return w->k * pf_sin_turns(r + w->b);
}

static void waves(size_t n, const wave *w, const float *x, const float *g, float *y)
{
    if (g) {
        PF_SIMD
        for (size_t i = 0; i < n; i++) y[i] = g[i] * at_phase(w, x[i]);
    } else {
        PF_SIMD
        for (size_t i = 0; i < n; i++) y[i] = at_phase(w, x[i]);
    }
}

/* Every image with the fading of its noise; `turn` and `rate` make it the derivative. */
static void sines(const pf_call *c, double turn, double rate, const float *g, float *y)
{
    const pf_attr *o = &c->site->attr;
    size_t n = pf_shape_size(c->site->out);
    for (int b = 0; b < c->site->B; b++) {
        double v = 2.0 * M_PI * o->a * c->in[1][b];
        wave w = {(float)(rate * exp(-0.5 * v * v)), (float)o->a, (float)(o->b + turn)};
        waves(n, &w, c->in[0] + n * (size_t)b, g ? g + n * (size_t)b : NULL, y + n * (size_t)b);
    }
}

static pf_status sine_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    sines(c, 0.0, 1.0, NULL, c->out);
    return PF_OK;
}

/* d sin(2 pi (a x + b)) = 2 pi a sin(2 pi (a x + b + 1/4)) */
static pf_status sine_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    if (c->gin[0]) sines(c, 0.25, 2.0 * M_PI * c->site->attr.a, c->gout, c->gin[0]);
    return PF_OK;
}

static pf_status add_scale_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const float *a = c->in[0], *b = c->in[1];
    float *y = c->out, s = (float)c->site->attr.a;
    size_t n = total(c->site);
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] = (a[i] + b[i]) * s;
    return PF_OK;
}

static pf_status add_scale_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    float s = (float)c->site->attr.a;
    /* gin[0] may stand where gout was, so the second input goes first. */
    if (c->gin[1]) scale_shift(total(c->site), c->gout, s, 0.0f, c->gin[1]);
    if (c->gin[0]) scale_shift(total(c->site), c->gout, s, 0.0f, c->gin[0]);
    return PF_OK;
}

static void add_rows(int n, int C, const float *x, const float *e, float *y)
{
    for (int p = 0; p < n; p++, x += C, y += C) {
        PF_SIMD
        for (int i = 0; i < C; i++) y[i] = x[i] + e[i];
    }
}

static pf_status add_channel_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out), C = (size_t)s->out.c;
    for (size_t b = 0; b < (size_t)s->B; b++)
        add_rows(s->out.h * s->out.w, s->out.c, c->in[0] + b * size, c->in[1] + b * C,
                 c->out + b * size);
    return PF_OK;
}

/* Float sums of 64 pixels at most, doubles beyond. */
void pf_fused_sum_rows(int n, int C, const float *g, float *e)
{
    enum { LANES = 256, BLOCK = 64 };
    float part[LANES];
    double sum[LANES];
    for (int c0 = 0; c0 < C; c0 += LANES) {
        int len = C - c0 < LANES ? C - c0 : LANES;
        for (int i = 0; i < len; i++) sum[i] = 0.0;
        for (int p0 = 0; p0 < n; p0 += BLOCK) {
            int end = n - p0 < BLOCK ? n : p0 + BLOCK;
            for (int i = 0; i < len; i++) part[i] = 0.0f;
            for (int p = p0; p < end; p++) {
                const float *row = g + (size_t)p * (size_t)C + c0;
                PF_SIMD
                for (int i = 0; i < len; i++) part[i] += row[i];
            }
            for (int i = 0; i < len; i++) sum[i] += (double)part[i];
        }
        for (int i = 0; i < len; i++) e[c0 + i] = (float)sum[i];
    }
}

static pf_status add_channel_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out), C = (size_t)s->out.c;
    for (size_t b = 0; c->gin[1] && b < (size_t)s->B; b++)
        pf_fused_sum_rows(s->out.h * s->out.w, s->out.c, c->gout + b * size, c->gin[1] + b * C);
    if (c->gin[0] && c->gin[0] != c->gout) memcpy(c->gin[0], c->gout, total(s) * sizeof(float));
    return PF_OK;
}

/* The divisors are copied: backward reads no forward value. */
static size_t divide_saved(const pf_site *s, void *ctx)
{
    (void)ctx;
    return (size_t)s->B;
}

static void divide(const pf_call *c, const float *x, float *y)
{
    size_t size = pf_shape_size(c->site->out);
    for (size_t b = 0; b < (size_t)c->site->B; b++)
        scale_shift(size, x + b * size, 1.0f / c->saved[b], 0.0f, y + b * size);
}

static pf_status divide_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    memcpy(c->saved, c->in[1], (size_t)c->site->B * sizeof(float));
    divide(c, c->in[0], c->out);
    return PF_OK;
}

static pf_status divide_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    if (c->gin[0]) divide(c, c->gout, c->gin[0]);
    return PF_OK;
}

/* Whether the call dropped, then one byte an element: 1 = kept. */
static size_t dropout_saved(const pf_site *s, void *ctx)
{
    (void)ctx;
    return MASK_PAD + (total(s) + 3) / 4;
}

static size_t dropout_scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return pf_shape_size(s->out);
}

static void drop(size_t n, const float *x, const float *mask, float *y, uint8_t *byte)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * mask[i];
        byte[i] = mask[i] != 0.0f;
    }
}

void pf_fused_undrop(size_t n, const uint8_t *byte, float keep, const float *g, float *d)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) d[i] = g[i] * ((float)byte[i] * keep);
}

static pf_status dropout_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out);
    int dropping = s->attr.rate > 0.0 && c->run && c->run->train;
    c->saved[0] = (float)dropping;
    if (!dropping) {
        if (c->out != c->in[0]) memcpy(c->out, c->in[0], total(s) * sizeof(float));
        return PF_OK;
    }
    uint8_t *byte = (uint8_t *)(c->saved + MASK_PAD);
    for (int b = 0; b < s->B; b++) {
        size_t at = (size_t)b * size;
        pf_dropout_mask(c, b, s->attr.rate, 0, size, c->scratch);
        drop(size, c->in[0] + at, c->scratch, c->out + at, byte + at);
    }
    return PF_OK;
}

static pf_status dropout_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    size_t n = total(c->site);
    if (!c->gin[0]) return PF_OK;
    if (c->saved[0] != 0.0f)
        pf_fused_undrop(n, (const uint8_t *)(c->saved + MASK_PAD),
                        (float)(1.0 / (1.0 - c->site->attr.rate)), c->gout, c->gin[0]);
    else if (c->gin[0] != c->gout) memcpy(c->gin[0], c->gout, n * sizeof(float));
    return PF_OK;
}

const pf_row pf_fused_silu = {
    .backend = "fused", .forward = silu_forward, .backward = silu_backward};
const pf_row pf_fused_elu = {
    .backend = "fused", .forward = elu_forward, .backward = elu_backward};
const pf_row pf_fused_leaky_relu = {
    .backend = "fused", .forward = leaky_relu_forward, .backward = leaky_relu_backward};
const pf_row pf_fused_sine = {
    .backend = "fused", .forward = sine_forward, .backward = sine_backward};
const pf_row pf_fused_affine = {
    .backend = "fused", .forward = affine_forward, .backward = affine_backward};
const pf_row pf_fused_add_scale = {
    .backend = "fused", .forward = add_scale_forward, .backward = add_scale_backward};
const pf_row pf_fused_add_channel = {
    .backend = "fused", .forward = add_channel_forward, .backward = add_channel_backward};
const pf_row pf_fused_divide = {.backend = "fused",
                                .saved = divide_saved,
                                .forward = divide_forward,
                                .backward = divide_backward};
/* Those of positions stay with ref: a number for each of them. */
static int dropout_applies(const pf_site *s)
{
    return !s->attr.positions;
}

const pf_row pf_fused_dropout = {.backend = "fused",
                                 .applies = dropout_applies,
                                 .saved = dropout_saved,
                                 .scratch = dropout_scratch,
                                 .forward = dropout_forward,
                                 .backward = dropout_backward};
