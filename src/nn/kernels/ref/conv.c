/* Convolution (cross-correlation, as the published networks use the word) with zero padding.
 *
 *   y[p,o] = bias[o] + sum_{ky,kx,i} x[p*stride + k*dilation - pad_lo, i] W[o,i,ky,kx]
 *
 * The weight is copied to [ky,kx,in,out] first, so that the innermost loop runs over contiguous
 * output channels. */
#include "nn/kernels/ref/ref.h"

#include <string.h>

typedef struct conv {
    int h, w, cin, oh, ow, cout, k, stride, pad, dilation;
} conv;

static conv shape_of(const pf_site *s)
{
    const pf_attr *a = &s->attr;
    return (conv){
        s->in[0].h, s->in[0].w, s->in[0].c, s->out.h,  s->out.w,
        s->out.c,   a->kernel,  a->stride,  a->pad_lo, a->dilation > 1 ? a->dilation : 1};
}

/* out = 1: [out,in,k,k] -> [k,k,in,out]; 0: back. */
static void turn_weight(const conv *v, const float *from, float *to, int out)
{
    int area = v->k * v->k;
    for (int o = 0; o < v->cout; o++)
        for (int i = 0; i < v->cin; i++)
            for (int t = 0; t < area; t++) {
                size_t oihw = ((size_t)o * v->cin + i) * area + t;
                size_t hwio = ((size_t)t * v->cin + i) * v->cout + o;
                if (out) to[hwio] = from[oihw];
                else to[oihw] = from[hwio];
            }
}

/* Offset of the input pixel under filter tap t of output pixel (oy, ox); -1: in the padding. */
static ptrdiff_t pixel_under(const conv *v, int oy, int ox, int t)
{
    int y = oy * v->stride + t / v->k * v->dilation - v->pad;
    int x = ox * v->stride + t % v->k * v->dilation - v->pad;
    if (y < 0 || y >= v->h || x < 0 || x >= v->w) return -1;
    return ((ptrdiff_t)y * v->w + x) * v->cin;
}

static void pixel_forward(const conv *v, const float *x, const float *w, float *y)
{
    for (int i = 0; i < v->cin; i++)
        for (int o = 0; o < v->cout; o++) y[o] += x[i] * w[(size_t)i * v->cout + o];
}

static void pixel_data(const conv *v, const float *g, const float *w, float *dx)
{
    for (int i = 0; i < v->cin; i++) {
        float sum = 0.0f;
        for (int o = 0; o < v->cout; o++) sum += g[o] * w[(size_t)i * v->cout + o];
        dx[i] += sum;
    }
}

static void pixel_weight(const conv *v, const float *x, const float *g, float *dw)
{
    for (int i = 0; i < v->cin; i++)
        for (int o = 0; o < v->cout; o++) dw[(size_t)i * v->cout + o] += x[i] * g[o];
}

size_t pf_ref_conv_scratch(const pf_site *s, void *ctx)
{
    return 2 * s->param_size[0]; /* turned weight, turned gradient */
}

pf_status pf_ref_conv(void *ctx, const pf_call *c)
{
    conv v = shape_of(c->site);
    float *w = c->scratch, *y = c->out;
    turn_weight(&v, c->param[0], w, 1);
    for (int b = 0; b < c->site->B; b++) {
        const float *x = c->in[0] + (size_t)b * pf_shape_size(c->site->in[0]);
        for (int oy = 0; oy < v.oh; oy++)
            for (int ox = 0; ox < v.ow; ox++, y += v.cout) {
                for (int o = 0; o < v.cout; o++) y[o] = c->param[1] ? c->param[1][o] : 0.0f;
                for (int t = 0; t < v.k * v.k; t++) {
                    ptrdiff_t at = pixel_under(&v, oy, ox, t);
                    if (at >= 0) pixel_forward(&v, x + at, w + (size_t)t * v.cin * v.cout, y);
                }
            }
    }
    return PF_OK;
}

static void clear(float *a, size_t n)
{
    if (a) memset(a, 0, n * sizeof *a);
}

pf_status pf_ref_conv_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    conv v = shape_of(s);
    size_t in = pf_shape_size(s->in[0]), tap = (size_t)v.cin * v.cout;
    float *w = c->scratch, *dx = c->gin[0], *db = c->gparam[1];
    float *dw = c->gparam[0] ? w + s->param_size[0] : NULL;
    const float *g = c->gout;
    turn_weight(&v, c->param[0], w, 1);
    clear(dx, (size_t)s->B * in);
    clear(dw, s->param_size[0]);
    clear(db, (size_t)v.cout);
    for (int b = 0; b < s->B; b++)
        for (int oy = 0; oy < v.oh; oy++)
            for (int ox = 0; ox < v.ow; ox++, g += v.cout) {
                for (int t = 0; t < v.k * v.k; t++) {
                    ptrdiff_t at = pixel_under(&v, oy, ox, t);
                    if (at < 0) continue;
                    size_t pixel = (size_t)b * in + (size_t)at;
                    if (dx) pixel_data(&v, g, w + (size_t)t * tap, dx + pixel);
                    if (dw) pixel_weight(&v, c->in[0] + pixel, g, dw + (size_t)t * tap);
                }
                for (int o = 0; db && o < v.cout; o++) db[o] += g[o];
            }
    if (dw) turn_weight(&v, dw, c->gparam[0], 0);
    return PF_OK;
}
