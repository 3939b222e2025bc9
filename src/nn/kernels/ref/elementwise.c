/* Elementwise operators, joins and sums over pixels.  Forward may run with out == in[0]. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

static size_t total(const pf_call *c)
{
    return (size_t)c->site->B * pf_shape_size(c->site->out);
}

static double sigmoid(double z)
{
    return 1.0 / (1.0 + exp(-z));
}

/* Integers pass as they are: both types have four bytes. */
pf_status pf_ref_input(void *ctx, const pf_call *c)
{
    memcpy(c->out, c->run->in[c->site->attr.port], total(c) * sizeof *c->out);
    return PF_OK;
}

pf_status pf_ref_silu(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); i < n; i++)
        c->out[i] = (float)(c->in[0][i] * sigmoid(c->in[0][i]));
    return PF_OK;
}

pf_status pf_ref_silu_back(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); c->gin[0] && i < n; i++) {
        double z = c->in[0][i], s = sigmoid(z);
        c->gin[0][i] = (float)(c->gout[i] * s * (1.0 + z * (1.0 - s)));
    }
    return PF_OK;
}

pf_status pf_ref_relu(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); i < n; i++)
        c->out[i] = c->in[0][i] > 0.0f ? c->in[0][i] : 0.0f;
    return PF_OK;
}

pf_status pf_ref_relu_back(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); c->gin[0] && i < n; i++)
        c->gin[0][i] = c->in[0][i] > 0.0f ? c->gout[i] : 0.0f;
    return PF_OK;
}

pf_status pf_ref_elu(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); i < n; i++)
        c->out[i] = c->in[0][i] > 0.0f ? c->in[0][i] : (float)expm1(c->in[0][i]);
    return PF_OK;
}

pf_status pf_ref_elu_back(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); c->gin[0] && i < n; i++)
        c->gin[0][i] = c->in[0][i] > 0.0f ? c->gout[i] : (float)(c->gout[i] * exp(c->in[0][i]));
    return PF_OK;
}

/* gelu x Phi(x): its value, or its derivative Phi + x Phi'. */
static double gelu(double x, int curve, int slope)
{
    if (curve == PF_GELU_ERF) {
        double phi = 0.5 * erfc(-x * M_SQRT1_2);
        return slope ? phi + x * exp(-0.5 * x * x) * (0.5 * M_SQRT1_2 * M_2_SQRTPI) : x * phi;
    }
    const double a = M_SQRT1_2 * M_2_SQRTPI, b = 0.044715; /* sqrt(2/pi) */
    double phi = sigmoid(2.0 * a * (x + b * x * x * x));
    return slope ? phi + x * phi * (1.0 - phi) * 2.0 * a * (1.0 + 3.0 * b * x * x) : x * phi;
}

pf_status pf_ref_gelu(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); i < n; i++)
        c->out[i] = (float)gelu(c->in[0][i], c->site->attr.curve, 0);
    return PF_OK;
}

pf_status pf_ref_gelu_back(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); c->gin[0] && i < n; i++)
        c->gin[0][i] = (float)(c->gout[i] * gelu(c->in[0][i], c->site->attr.curve, 1));
    return PF_OK;
}

pf_status pf_ref_softplus(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); i < n; i++) {
        double x = c->in[0][i];
        c->out[i] = (float)(fmax(x, 0.0) + log1p(exp(-fabs(x))));
    }
    return PF_OK;
}

pf_status pf_ref_softplus_back(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = total(c); c->gin[0] && i < n; i++)
        c->gin[0][i] = (float)(c->gout[i] * sigmoid(c->in[0][i]));
    return PF_OK;
}

static void leak(const pf_call *c, const float *from, float *to)
{
    float slope = (float)c->site->attr.a;
    for (size_t i = 0, n = total(c); i < n; i++)
        to[i] = c->in[0][i] > 0.0f ? from[i] : slope * from[i];
}

pf_status pf_ref_leaky_relu(void *ctx, const pf_call *c)
{
    leak(c, c->in[0], c->out);
    return PF_OK;
}

pf_status pf_ref_leaky_relu_back(void *ctx, const pf_call *c)
{
    if (c->gin[0]) leak(c, c->gout, c->gin[0]);
    return PF_OK;
}

static void copy(size_t n, const float *from, float *to)
{
    if (to && to != from) memcpy(to, from, n * sizeof *to);
}

pf_status pf_ref_reshape(void *ctx, const pf_call *c)
{
    copy(total(c), c->in[0], c->out);
    return PF_OK;
}

pf_status pf_ref_reshape_back(void *ctx, const pf_call *c)
{
    copy(total(c), c->gout, c->gin[0]);
    return PF_OK;
}

/* Whole positions, by a draw each. */
static void drop_positions(const pf_call *c, const float *from, float *to)
{
    size_t ch = (size_t)c->site->out.c, n = pf_shape_size(c->site->out) / ch;
    for (int b = 0; b < c->site->B; b++)
        for (size_t l = 0; l < n; l++) {
            size_t at = ((size_t)b * n + l) * ch;
            float mask;
            pf_dropout_mask(c, b, c->site->attr.rate, l, 1, &mask);
            if (mask != 0.0f) copy(ch, from + at, to + at);
            else memset(to + at, 0, ch * sizeof *to);
        }
}

/* to = mask * from, the mask drawn in pieces. */
static void drop(const pf_call *c, const float *from, float *to)
{
    enum { CHUNK = 256 };
    float mask[CHUNK];
    size_t size = pf_shape_size(c->site->out);
    if (c->site->attr.positions) {
        drop_positions(c, from, to);
        return;
    }
    for (int b = 0; b < c->site->B; b++)
        for (size_t at = 0; at < size; at += CHUNK) {
            size_t n = size - at < CHUNK ? size - at : CHUNK;
            pf_dropout_mask(c, b, c->site->attr.rate, at, n, mask);
            for (size_t i = 0; i < n; i++)
                to[(size_t)b * size + at + i] = mask[i] * from[(size_t)b * size + at + i];
        }
}

pf_status pf_ref_dropout(void *ctx, const pf_call *c)
{
    drop(c, c->in[0], c->out);
    return PF_OK;
}

pf_status pf_ref_dropout_back(void *ctx, const pf_call *c)
{
    if (c->gin[0]) drop(c, c->gout, c->gin[0]);
    return PF_OK;
}

/* Copies n floats of every pixel between rows of different length. */
static void copy_rows(const float *from, int from_row, float *to, int to_row, size_t pixels)
{
    size_t n = (size_t)(from_row < to_row ? from_row : to_row) * sizeof *to;
    for (size_t p = 0; p < pixels; p++) memcpy(to + p * to_row, from + p * from_row, n);
}

pf_status pf_ref_concat(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t pixels = (size_t)s->B * s->out.h * s->out.w;
    copy_rows(c->in[0], s->in[0].c, c->out, s->out.c, pixels);
    copy_rows(c->in[1], s->in[1].c, c->out + s->in[0].c, s->out.c, pixels);
    return PF_OK;
}

pf_status pf_ref_concat_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t pixels = (size_t)s->B * s->out.h * s->out.w;
    if (c->gin[0]) copy_rows(c->gout, s->out.c, c->gin[0], s->in[0].c, pixels);
    if (c->gin[1]) copy_rows(c->gout + s->in[0].c, s->out.c, c->gin[1], s->in[1].c, pixels);
    return PF_OK;
}

pf_status pf_ref_add_scale(void *ctx, const pf_call *c)
{
    float s = (float)c->site->attr.a;
    for (size_t i = 0, n = total(c); i < n; i++) c->out[i] = (c->in[0][i] + c->in[1][i]) * s;
    return PF_OK;
}

pf_status pf_ref_add_scale_back(void *ctx, const pf_call *c)
{
    float s = (float)c->site->attr.a;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0, n = total(c); c->gin[k] && i < n; i++) c->gin[k][i] = s * c->gout[i];
    return PF_OK;
}

pf_status pf_ref_add_channel(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t pixels = (size_t)s->out.h * s->out.w;
    int ch = s->out.c;
    for (size_t p = 0; p < (size_t)s->B * pixels; p++) {
        const float *e = c->in[1] + p / pixels * (size_t)ch;
        for (int i = 0; i < ch; i++) c->out[p * ch + i] = c->in[0][p * ch + i] + e[i];
    }
    return PF_OK;
}

pf_status pf_ref_add_channel_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t pixels = (size_t)s->out.h * s->out.w;
    int ch = s->out.c;
    if (c->gin[0]) memcpy(c->gin[0], c->gout, total(c) * sizeof *c->gout);
    for (int b = 0; c->gin[1] && b < s->B; b++)
        for (int i = 0; i < ch; i++) {
            double sum = 0.0;
            for (size_t p = 0; p < pixels; p++)
                sum += c->gout[((size_t)b * pixels + p) * ch + i];
            c->gin[1][(size_t)b * ch + i] = (float)sum;
        }
    return PF_OK;
}

pf_status pf_ref_affine(void *ctx, const pf_call *c)
{
    float a = (float)c->site->attr.a, b = (float)c->site->attr.b;
    for (size_t i = 0, n = total(c); i < n; i++) c->out[i] = a * c->in[0][i] + b;
    return PF_OK;
}

pf_status pf_ref_affine_back(void *ctx, const pf_call *c)
{
    float a = (float)c->site->attr.a;
    for (size_t i = 0, n = total(c); c->gin[0] && i < n; i++) c->gin[0][i] = a * c->gout[i];
    return PF_OK;
}

/* y = factor(v_b) sin(2 pi (a x + b)), or its derivative by x times g */
static void sines(const pf_call *c, const float *g, float *to)
{
    const pf_attr *a = &c->site->attr;
    size_t size = pf_shape_size(c->site->out);
    double rate = 2.0 * M_PI * a->a;

    for (int b = 0; b < c->site->B; b++) {
        double v = rate * c->in[1][b], fade = exp(-0.5 * v * v);
        for (size_t i = (size_t)b * size; i < (size_t)(b + 1) * size; i++) {
            double phase = rate * c->in[0][i] + 2.0 * M_PI * a->b;
            to[i] = (float)(g ? g[i] * fade * rate * cos(phase) : fade * sin(phase));
        }
    }
}

pf_status pf_ref_sine(void *ctx, const pf_call *c)
{
    sines(c, NULL, c->out);
    return PF_OK;
}

pf_status pf_ref_sine_back(void *ctx, const pf_call *c)
{
    if (c->gin[0]) sines(c, c->gout, c->gin[0]);
    return PF_OK;
}

/* The divisors are copied: backward reads no forward value. */
size_t pf_ref_divide_saved(const pf_site *s, void *ctx)
{
    return (size_t)s->B;
}

static void divide(const pf_site *s, const float *from, const float *by, float *to)
{
    size_t size = pf_shape_size(s->out);
    for (int b = 0; b < s->B; b++)
        for (size_t i = 0; i < size; i++)
            to[(size_t)b * size + i] = from[(size_t)b * size + i] / by[b];
}

pf_status pf_ref_divide(void *ctx, const pf_call *c)
{
    memcpy(c->saved, c->in[1], (size_t)c->site->B * sizeof *c->saved);
    divide(c->site, c->in[0], c->saved, c->out);
    return PF_OK;
}

pf_status pf_ref_divide_back(void *ctx, const pf_call *c)
{
    if (c->gin[0]) divide(c->site, c->gout, c->saved, c->gin[0]);
    return PF_OK;
}
