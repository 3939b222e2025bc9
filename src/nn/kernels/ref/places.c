/* Positions in their order: each sees the one before, or is told where it is.
 *
 *   shift    y_l = x_{l-1},  y_0 = 0
 *   places   y_l = [x_l | b + w_{.,l} + w_{.,N+L-1-l}],  w [width,2N] */
#include "nn/kernels/ref/ref.h"

#include <string.h>

static size_t length(const pf_site *s)
{
    return (size_t)s->out.h * (size_t)s->out.w;
}

pf_status pf_ref_shift(void *ctx, const pf_call *c)
{
    size_t row = pf_shape_size(c->site->out), first = (size_t)c->site->out.c;
    for (size_t b = 0; b < (size_t)c->site->B; b++) {
        memset(c->out + b * row, 0, first * sizeof(float));
        memcpy(c->out + b * row + first, c->in[0] + b * row, (row - first) * sizeof(float));
    }
    return PF_OK;
}

pf_status pf_ref_shift_back(void *ctx, const pf_call *c)
{
    size_t row = pf_shape_size(c->site->out), first = (size_t)c->site->out.c;
    for (size_t b = 0; c->gin[0] && b < (size_t)c->site->B; b++) {
        float *d = c->gin[0] + b * row;
        memcpy(d, c->gout + b * row + first, (row - first) * sizeof *d);
        memset(d + row - first, 0, first * sizeof *d);
    }
    return PF_OK;
}

/* The two columns of position l. */
typedef struct columns {
    size_t from_begin, from_end, all;
} columns;

static columns columns_at(const pf_site *s, size_t width, size_t l)
{
    size_t all = s->param_size[0] / width;
    return (columns){l, all / 2 + length(s) - 1 - l, all};
}

pf_status pf_ref_places(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t L = length(s), cin = (size_t)s->in[0].c, width = (size_t)s->out.c - cin;
    for (size_t p = 0; p < (size_t)s->B * L; p++) {
        float *y = c->out + p * (cin + width);
        columns at = columns_at(s, width, p % L);
        memcpy(y, c->in[0] + p * cin, cin * sizeof *y);
        for (size_t k = 0; k < width; k++) {
            const float *w = c->param[0] + k * at.all;
            y[cin + k] = c->param[1][k] + w[at.from_begin] + w[at.from_end];
        }
    }
    return PF_OK;
}

/* Over the samples, of channel k at position l. */
static float sum_over_samples(const pf_call *c, size_t l, size_t k)
{
    size_t row = pf_shape_size(c->site->out), cout = (size_t)c->site->out.c;
    double sum = 0.0;
    for (size_t b = 0; b < (size_t)c->site->B; b++)
        sum += (double)c->gout[b * row + l * cout + (size_t)c->site->in[0].c + k];
    return (float)sum;
}

pf_status pf_ref_places_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t L = length(s), cin = (size_t)s->in[0].c, width = (size_t)s->out.c - cin;
    float *dw = c->gparam[0], *db = c->gparam[1];
    for (size_t p = 0; c->gin[0] && p < (size_t)s->B * L; p++)
        memcpy(c->gin[0] + p * cin, c->gout + p * (cin + width), cin * sizeof(float));
    if (dw) memset(dw, 0, s->param_size[0] * sizeof *dw);
    if (db) memset(db, 0, width * sizeof *db);
    for (size_t l = 0; (dw || db) && l < L; l++) {
        columns at = columns_at(s, width, l);
        for (size_t k = 0; k < width; k++) {
            float g = sum_over_samples(c, l, k);
            if (dw) dw[k * at.all + at.from_begin] = dw[k * at.all + at.from_end] = g;
            if (db) db[k] += g;
        }
    }
    return PF_OK;
}
