/* What is picked from the channels or multiplied with them, one pass over memory each; the formulas are in
 * ref/modulate.c. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

static size_t pixels(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->out.h * (size_t)s->out.w;
}

static pf_status pick_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t from = (size_t)s->in[0].c, to = (size_t)s->out.c, step = (size_t)s->attr.step;
    const float *x = c->in[0] + s->attr.first;
    float *y = c->out;
    for (size_t p = 0; p < pixels(s); p++, x += from, y += to) {
        if (step == 1) memcpy(y, x, to * sizeof *y);
        else
            for (size_t k = 0; k < to; k++) y[k] = x[k * step];
    }
    return PF_OK;
}

static pf_status pick_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t from = (size_t)s->in[0].c, to = (size_t)s->out.c, step = (size_t)s->attr.step,
           first = (size_t)s->attr.first;
    const float *g = c->gout;
    float *d = c->gin[0];
    for (size_t p = 0; d && p < pixels(s); p++, d += from, g += to) {
        size_t end = step == 1 ? first + to : 0; /* what is not written below */
        if (step == 1) memset(d, 0, first * sizeof *d);
        memset(d + end, 0, (from - end) * sizeof *d);
        if (step == 1) memcpy(d + first, g, to * sizeof *d);
        else
            for (size_t k = 0; k < to; k++) d[first + k * step] = g[k];
    }
    return PF_OK;
}

/* The rows of one sample and its vectors. */
typedef struct rows {
    int n, C;
    const float *x, *y, *g;
} rows;

static rows rows_of(const pf_site *s)
{
    return (rows){.n = s->out.h * s->out.w, .C = s->out.c};
}

static void modulate(rows v, const float *shift, const float *scale, float *y)
{
    for (int p = 0; p < v.n; p++, v.x += v.C, y += v.C) {
        PF_SIMD
        for (int i = 0; i < v.C; i++) y[i] = v.x[i] * (1.0f + scale[i]) + shift[i];
    }
}

static void gate(rows v, const float *e, float *y)
{
    for (int p = 0; p < v.n; p++, v.x += v.C, v.y += v.C, y += v.C) {
        PF_SIMD
        for (int i = 0; i < v.C; i++) y[i] = v.x[i] + e[i] * v.y[i];
    }
}

/* d = g (plus + e) */
static void times(rows v, const float *e, float plus, float *d)
{
    for (int p = 0; d && p < v.n; p++, v.g += v.C, d += v.C) {
        PF_SIMD
        for (int i = 0; i < v.C; i++) d[i] = v.g[i] * (plus + e[i]);
    }
}

/* e [C] = sum of g x over the rows: in float over 64 rows at most, in double beyond */
static void sum_products(rows v, float *e)
{
    enum { LANES = 256, BLOCK = 64 };
    float part[LANES];
    double sum[LANES];
    for (int c0 = 0; c0 < v.C; c0 += LANES) {
        int len = v.C - c0 < LANES ? v.C - c0 : LANES;
        for (int i = 0; i < len; i++) sum[i] = 0.0;
        for (int p0 = 0; p0 < v.n; p0 += BLOCK) {
            int end = v.n - p0 < BLOCK ? v.n : p0 + BLOCK;
            for (int i = 0; i < len; i++) part[i] = 0.0f;
            for (int p = p0; p < end; p++) {
                const float *g = v.g + (size_t)p * (size_t)v.C + c0,
                            *x = v.x + (size_t)p * (size_t)v.C + c0;
                PF_SIMD
                for (int i = 0; i < len; i++) part[i] += g[i] * x[i];
            }
            for (int i = 0; i < len; i++) sum[i] += (double)part[i];
        }
        for (int i = 0; i < len; i++) e[c0 + i] = (float)sum[i];
    }
}

static const float *sample(const float *a, size_t b, size_t size)
{
    return a ? a + b * size : NULL;
}

static float *part_of(float *a, size_t b, size_t size)
{
    return a ? a + b * size : NULL;
}

static pf_status modulate_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out), C = (size_t)s->out.c;
    rows v = rows_of(s);
    for (size_t b = 0; b < (size_t)s->B; b++) {
        v.x = c->in[0] + b * size;
        modulate(v, c->in[1] + b * C, c->in[2] + b * C, c->out + b * size);
    }
    return PF_OK;
}

static pf_status modulate_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out), C = (size_t)s->out.c;
    rows v = rows_of(s);
    for (size_t b = 0; b < (size_t)s->B; b++) {
        v.x = sample(c->in[0], b, size);
        v.g = c->gout + b * size;
        if (c->gin[1]) pf_fused_sum_rows(v.n, v.C, v.g, c->gin[1] + b * C);
        if (c->gin[2]) sum_products(v, c->gin[2] + b * C);
        times(v, c->in[2] + b * C, 1.0f, part_of(c->gin[0], b, size));
    }
    return PF_OK;
}

static pf_status gate_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out), C = (size_t)s->out.c;
    rows v = rows_of(s);
    for (size_t b = 0; b < (size_t)s->B; b++) {
        v.x = c->in[0] + b * size;
        v.y = c->in[2] + b * size;
        gate(v, c->in[1] + b * C, c->out + b * size);
    }
    return PF_OK;
}

static pf_status gate_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out), C = (size_t)s->out.c;
    rows v = rows_of(s);
    for (size_t b = 0; b < (size_t)s->B; b++) {
        v.x = sample(c->in[2], b, size);
        v.g = c->gout + b * size;
        if (c->gin[1]) sum_products(v, c->gin[1] + b * C);
        times(v, c->in[1] + b * C, 0.0f, part_of(c->gin[2], b, size));
    }
    if (c->gin[0] && c->gin[0] != c->gout)
        memcpy(c->gin[0], c->gout, pixels(s) * C * sizeof(float));
    return PF_OK;
}

static void times_number(size_t n, float a, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] = a * x[i];
}

static pf_status scale_by_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    times_number(pixels(c->site) * (size_t)c->site->out.c, c->param[0][0], c->in[0], c->out);
    return PF_OK;
}

static pf_status scale_by_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    enum { CHUNK = 1024 };
    size_t n = pixels(c->site) * (size_t)c->site->out.c;
    double whole = 0.0;
    for (size_t i0 = 0; c->gparam[0] && i0 < n; i0 += CHUNK) {
        size_t len = n - i0 < CHUNK ? n - i0 : CHUNK;
        const float *g = c->gout + i0, *x = c->in[0] + i0;
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < len; i++) sum += g[i] * x[i];
        whole += (double)sum;
    }
    if (c->gparam[0]) c->gparam[0][0] = (float)whole;
    if (c->gin[0]) times_number(n, c->param[0][0], c->gout, c->gin[0]);
    return PF_OK;
}

const pf_row pf_fused_pick = {
    .backend = "fused", .forward = pick_forward, .backward = pick_backward};
const pf_row pf_fused_modulate = {
    .backend = "fused", .forward = modulate_forward, .backward = modulate_backward};
const pf_row pf_fused_gate = {
    .backend = "fused", .forward = gate_forward, .backward = gate_backward};
const pf_row pf_fused_scale_by = {
    .backend = "fused", .forward = scale_by_forward, .backward = scale_by_backward};
