/* A matrix on the channel axis at every pixel, y = x W' + b, with W stored [out,in] or [in,out]. */
#include "nn/kernels/ref/ref.h"

#include <string.h>

typedef struct linear {
    size_t rows;
    int cin, cout, in_out;
} linear;

static linear shape_of(const pf_site *s)
{
    return (linear){(size_t)s->B * s->in[0].h * s->in[0].w, s->in[0].c, s->out.c,
                    s->attr.in_out};
}

/* [out,in] <-> [in,out]; a copy when the parameter is [in,out] already. */
static void turn(const linear *v, const float *from, float *to, int to_in_out)
{
    for (int i = 0; i < v->cin; i++)
        for (int o = 0; o < v->cout; o++) {
            size_t io = (size_t)i * v->cout + o, oi = (size_t)o * v->cin + i;
            size_t param = v->in_out ? io : oi;
            if (to_in_out) to[io] = from[param];
            else to[param] = from[io];
        }
}

size_t pf_ref_linear_scratch(const pf_site *s, void *ctx)
{
    return 2 * s->param_size[0];
}

pf_status pf_ref_linear(void *ctx, const pf_call *c)
{
    linear v = shape_of(c->site);
    const float *x = c->in[0];
    const float *first = c->site->n_param > 1 ? c->param[1] : NULL;
    float *w = c->scratch, *y = c->out;
    turn(&v, c->param[0], w, 1);
    for (size_t r = 0; r < v.rows; r++, x += v.cin, y += v.cout) {
        if (first) memcpy(y, first, (size_t)v.cout * sizeof *y);
        else memset(y, 0, (size_t)v.cout * sizeof *y);
        for (int i = 0; i < v.cin; i++)
            for (int o = 0; o < v.cout; o++) y[o] += x[i] * w[(size_t)i * v.cout + o];
    }
    return PF_OK;
}

static void data(const linear *v, const float *w, const float *g, float *dx)
{
    for (size_t r = 0; r < v->rows; r++, g += v->cout, dx += v->cin)
        for (int i = 0; i < v->cin; i++) {
            float sum = 0.0f;
            for (int o = 0; o < v->cout; o++) sum += g[o] * w[(size_t)i * v->cout + o];
            dx[i] = sum;
        }
}

static void weight(const linear *v, const float *x, const float *g, float *dw)
{
    memset(dw, 0, (size_t)v->cin * v->cout * sizeof *dw);
    for (size_t r = 0; r < v->rows; r++, g += v->cout, x += v->cin)
        for (int i = 0; i < v->cin; i++)
            for (int o = 0; o < v->cout; o++) dw[(size_t)i * v->cout + o] += x[i] * g[o];
}

static void bias(const linear *v, const float *g, float *db)
{
    memset(db, 0, (size_t)v->cout * sizeof *db);
    for (size_t r = 0; r < v->rows; r++, g += v->cout)
        for (int o = 0; o < v->cout; o++) db[o] += g[o];
}

pf_status pf_ref_linear_back(void *ctx, const pf_call *c)
{
    linear v = shape_of(c->site);
    float *w = c->scratch, *dw = w + c->site->param_size[0];
    if (c->gin[0]) {
        turn(&v, c->param[0], w, 1);
        data(&v, w, c->gout, c->gin[0]);
    }
    if (c->gparam[0]) {
        weight(&v, c->in[0], c->gout, dw);
        turn(&v, dw, c->gparam[0], 0);
    }
    if (c->site->n_param > 1 && c->gparam[1]) bias(&v, c->gout, c->gparam[1]);
    return PF_OK;
}
