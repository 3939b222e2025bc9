/* What tells the positions l of a sequence apart:
 *
 *   positions   y_l = x_l + e_{l / window} + f_{l mod window}
 *   rotary      y1 = x1 cos(l f_k) - x2 sin(l f_k),  y2 = x2 cos(l f_k) + x1 sin(l f_k),  f_k = base^(-2k/d)
 *
 * for the first and second half of the d channels of each head that is turned; its inverse, which is its
 * transpose, turns gradients back.  Phases and sums are in double.
 * Source: Ho et al. 2019; Su et al. 2021, eq. 34. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

typedef struct rows { /* of the two tables at a position; NULL: a gradient that nobody wants */
    float *major, *minor;
} rows;

static rows rows_at(const pf_site *s, float *const *table, size_t l)
{
    size_t c = (size_t)s->out.c, w = (size_t)s->attr.window;
    return (rows){table[0] ? table[0] + l / w * c : NULL,
                  table[1] ? table[1] + l % w * c : NULL};
}

pf_status pf_ref_positions(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.h * s->out.w, ch = (size_t)s->out.c;
    for (size_t p = 0; p < (size_t)s->B * n; p++) {
        rows e = rows_at(s, (float *const *)c->param, p % n);
        for (size_t i = 0; i < ch; i++)
            c->out[p * ch + i] = c->in[0][p * ch + i] + e.major[i] + e.minor[i];
    }
    return PF_OK;
}

static void add_to(float *sum, const float *g, size_t n)
{
    for (size_t i = 0; sum && i < n; i++) sum[i] += g[i];
}

pf_status pf_ref_positions_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.h * s->out.w, ch = (size_t)s->out.c;
    for (int k = 0; k < s->n_param; k++)
        if (c->gparam[k]) memset(c->gparam[k], 0, s->param_size[k] * sizeof(float));
    for (size_t p = 0; p < (size_t)s->B * n; p++) {
        rows e = rows_at(s, c->gparam, p % n);
        add_to(e.major, c->gout + p * ch, ch);
        add_to(e.minor, c->gout + p * ch, ch);
    }
    if (c->gin[0] && c->gin[0] != c->gout)
        memcpy(c->gin[0], c->gout, (size_t)s->B * n * ch * sizeof(float));
    return PF_OK;
}

/* y = x turned by its position, or turned back with sign -1; y may be x. */
static void turn(const pf_site *s, double sign, const float *x, float *y)
{
    size_t n = (size_t)s->out.h * s->out.w, ch = (size_t)s->out.c,
           d = (size_t)(s->attr.turned / s->attr.heads), half = d / 2;
    for (size_t p = 0; p < (size_t)s->B * n; p++, x += ch, y += ch) {
        for (size_t k = 0; k < half; k++) {
            double phase = (double)(p % n) * pow(s->attr.a, -2.0 * (double)k / (double)d);
            double cosine = cos(phase), sine = sign * sin(phase);
            for (size_t at = k; at < (size_t)s->attr.turned; at += d) {
                double x1 = x[at], x2 = x[at + half];
                y[at] = (float)(x1 * cosine - x2 * sine);
                y[at + half] = (float)(x2 * cosine + x1 * sine);
            }
        }
        size_t rest = ch - (size_t)s->attr.turned;
        memmove(y + s->attr.turned, x + s->attr.turned, rest * sizeof *y);
    }
}

pf_status pf_ref_rotary(void *ctx, const pf_call *c)
{
    turn(c->site, 1.0, c->in[0], c->out);
    return PF_OK;
}

pf_status pf_ref_rotary_back(void *ctx, const pf_call *c)
{
    if (c->gin[0]) turn(c->site, -1.0, c->gout, c->gin[0]);
    return PF_OK;
}
