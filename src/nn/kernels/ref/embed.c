/* Features of the conditioning value v, and of a label:
 *
 *   positional  [sin(v w_i), cos(v w_i)],  w_i = 10000^(-i/(n/2-1)),  i = 0 .. n/2-1
 *               or the cosines first,      w_i = 10000^(-i/(n/2))
 *   fourier     [sin(2 pi W_i log v), cos(2 pi W_i log v)],  W fixed and random
 *   embed       row of W with the label's number
 *   between     (1 - f) W_k + f W_k+1 for v = k + f, 0 <= f < 1
 *
 * Arguments reach thousands of radians: they are formed in double.  Sources: Vaswani et al. 2017,
 * section 3.5; Tancik et al. 2020, eq. 2. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

pf_status pf_ref_positional(void *ctx, const pf_call *c)
{
    int half = c->site->out.c / 2, turned = c->site->attr.cosine_first;
    for (int b = 0; b < c->site->B; b++)
        for (int i = 0; i < half; i++) {
            double v = c->in[0][b] * exp(-log(10000.0) * i / (turned ? half : half - 1));
            float *sine = c->out + (size_t)b * 2 * half + i, *cosine = sine + half;
            *(turned ? cosine : sine) = (float)sin(v);
            *(turned ? sine : cosine) = (float)cos(v);
        }
    return PF_OK;
}

pf_status pf_ref_fourier(void *ctx, const pf_call *c)
{
    int n = c->site->out.c / 2;
    for (int b = 0; b < c->site->B; b++)
        for (int i = 0; i < n; i++) {
            double v = 2.0 * M_PI * c->param[0][i] * log((double)c->in[0][b]);
            c->out[(size_t)b * 2 * n + i] = (float)sin(v);
            c->out[(size_t)b * 2 * n + n + i] = (float)cos(v);
        }
    return PF_OK;
}

/* The input's four bytes are an integer. */
static int32_t label_of(const pf_call *c, size_t at)
{
    int32_t k;
    memcpy(&k, &c->in[0][at], sizeof k);
    return k;
}

/* Labels of the batch. */
static size_t label_count(const pf_site *s)
{
    return (size_t)s->B * pf_shape_size(s->in[0]);
}

pf_status pf_ref_embed(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    int classes = (int)(s->param_size[0] / n);
    for (size_t b = 0; b < label_count(s); b++) {
        int k = label_of(c, b);
        PF_REQUIRE(k < classes, PF_EARG,
                   "operator %s (embed): label %d, want less than %d classes", s->name, k,
                   classes);
        float *row = c->out + b * n;
        if (k < 0) memset(row, 0, n * sizeof *row);
        else memcpy(row, c->param[0] + (size_t)k * n, n * sizeof *row);
    }
    return PF_OK;
}

/* Labels in order, so that the sums of a row are the same bits. */
pf_status pf_ref_embed_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    if (!c->gparam[0]) return PF_OK;
    memset(c->gparam[0], 0, s->param_size[0] * sizeof(float));
    for (size_t b = 0; b < label_count(s); b++) {
        int k = label_of(c, b);
        for (size_t i = 0; k >= 0 && i < n; i++)
            c->gparam[0][(size_t)k * n + i] += c->gout[b * n + i];
    }
    return PF_OK;
}

/* Row k weighs 1 - f, the next one f, which there is where f > 0. */
typedef struct place {
    size_t k;
    double f;
} place;

static place place_of(const pf_call *c, int b)
{
    double v = c->in[0][b], k = floor(v);
    return (place){(size_t)k, v - k};
}

pf_status pf_ref_embed_between(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    double last = (double)(s->param_size[0] / n) - 1.0;
    for (int b = 0; b < s->B; b++) {
        double v = c->in[0][b];
        PF_REQUIRE(v >= 0.0 && v <= last, PF_EARG,
                   "operator %s (embed_between): place %g, want one from 0 to %g", s->name, v,
                   last);
        place at = place_of(c, b);
        const float *row = c->param[0] + at.k * n, *next = at.f > 0.0 ? row + n : row;
        for (size_t i = 0; i < n; i++)
            c->out[(size_t)b * n + i] = (float)((1.0 - at.f) * row[i] + at.f * next[i]);
    }
    return PF_OK;
}

/* Samples in order, as above. */
pf_status pf_ref_embed_between_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    if (!c->gparam[0]) return PF_OK;
    memset(c->gparam[0], 0, s->param_size[0] * sizeof(float));
    for (int b = 0; b < s->B; b++) {
        place at = place_of(c, b);
        const float *g = c->gout + (size_t)b * n;
        float *row = c->gparam[0] + at.k * n;
        for (size_t i = 0; i < n; i++) row[i] += (float)((1.0 - at.f) * g[i]);
        for (size_t i = 0; at.f > 0.0 && i < n; i++) row[n + i] += (float)(at.f * g[i]);
    }
    return PF_OK;
}
