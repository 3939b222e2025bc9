/* What is picked from the channels or multiplied with them:
 *
 *   pick       y_k = x_{first + k step}
 *   modulate   y = x (1 + scale) + shift       by channel
 *   gate       y = h + gate x                  by channel
 *   scale_by   y = a x                         one trained number
 *
 * Sums over pixels are taken in double. */
#include "nn/kernels/ref/ref.h"

#include <string.h>

static size_t pixels_of(const pf_site *s)
{
    return (size_t)s->out.h * s->out.w;
}

pf_status pf_ref_pick(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t from = (size_t)s->in[0].c, to = (size_t)s->out.c;
    for (size_t p = 0; p < (size_t)s->B * pixels_of(s); p++)
        for (size_t k = 0; k < to; k++)
            c->out[p * to + k] =
                c->in[0][p * from + (size_t)s->attr.first + k * (size_t)s->attr.step];
    return PF_OK;
}

pf_status pf_ref_pick_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t from = (size_t)s->in[0].c, to = (size_t)s->out.c, n = (size_t)s->B * pixels_of(s);
    if (!c->gin[0]) return PF_OK;
    memset(c->gin[0], 0, n * from * sizeof(float));
    for (size_t p = 0; p < n; p++)
        for (size_t k = 0; k < to; k++)
            c->gin[0][p * from + (size_t)s->attr.first + k * (size_t)s->attr.step] =
                c->gout[p * to + k];
    return PF_OK;
}

/* e_i = sum over the pixels of a sample of g, or of g x */
static void sum_channels(const pf_call *c, const float *x, float *e)
{
    const pf_site *s = c->site;
    size_t n = pixels_of(s), ch = (size_t)s->out.c;
    for (size_t i = 0; e && i < (size_t)s->B * ch; i++) {
        size_t first = i / ch * n * ch + i % ch;
        double sum = 0.0;
        for (size_t at = first; at < first + n * ch; at += ch)
            sum += x ? (double)c->gout[at] * x[at] : c->gout[at];
        e[i] = (float)sum;
    }
}

/* y = g (1 + e), or g e, by channel */
static void times_channels(const pf_call *c, const float *e, double plus, float *y)
{
    const pf_site *s = c->site;
    size_t ch = (size_t)s->out.c, size = pf_shape_size(s->out);
    for (size_t i = 0; y && i < (size_t)s->B * size; i++)
        y[i] = (float)(c->gout[i] * (plus + e[i / size * ch + i % ch]));
}

pf_status pf_ref_modulate(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t ch = (size_t)s->out.c, size = pf_shape_size(s->out);
    for (size_t i = 0; i < (size_t)s->B * size; i++) {
        size_t k = i / size * ch + i % ch;
        c->out[i] = (float)(c->in[0][i] * (1.0 + c->in[2][k]) + c->in[1][k]);
    }
    return PF_OK;
}

pf_status pf_ref_modulate_back(void *ctx, const pf_call *c)
{
    sum_channels(c, NULL, c->gin[1]);
    sum_channels(c, c->in[0], c->gin[2]);
    times_channels(c, c->in[2], 1.0, c->gin[0]);
    return PF_OK;
}

pf_status pf_ref_gate(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t ch = (size_t)s->out.c, size = pf_shape_size(s->out);
    for (size_t i = 0; i < (size_t)s->B * size; i++)
        c->out[i] =
            (float)(c->in[0][i] + (double)c->in[1][i / size * ch + i % ch] * c->in[2][i]);
    return PF_OK;
}

pf_status pf_ref_gate_back(void *ctx, const pf_call *c)
{
    size_t n = (size_t)c->site->B * pf_shape_size(c->site->out);
    sum_channels(c, c->in[2], c->gin[1]);
    times_channels(c, c->in[1], 0.0, c->gin[2]);
    if (c->gin[0] && c->gin[0] != c->gout) memcpy(c->gin[0], c->gout, n * sizeof(float));
    return PF_OK;
}

pf_status pf_ref_scale_by(void *ctx, const pf_call *c)
{
    for (size_t i = 0; i < (size_t)c->site->B * pf_shape_size(c->site->out); i++)
        c->out[i] = c->param[0][0] * c->in[0][i];
    return PF_OK;
}

pf_status pf_ref_scale_by_back(void *ctx, const pf_call *c)
{
    size_t n = (size_t)c->site->B * pf_shape_size(c->site->out);
    double sum = 0.0;
    for (size_t i = 0; c->gparam[0] && i < n; i++) sum += (double)c->gout[i] * c->in[0][i];
    if (c->gparam[0]) c->gparam[0][0] = (float)sum;
    for (size_t i = 0; c->gin[0] && i < n; i++) c->gin[0][i] = c->param[0][0] * c->gout[i];
    return PF_OK;
}
