/* Each of the c numbers of a position mapped by a mixture of logistics of its own (probflow/mixture_cdf.h).
 *
 *   in    z [h,w,c], params [h,w,c(2+3M)]: of each number t, raw s, M logits, M means, M raw scales
 *   param f [c], fm [c,M]
 *   out   [h,w,2c]: y of all numbers, then their ldj
 *
 * Numbers are stored as floats and computed in double. */
#include "nn/kernels/ref/ref.h"

#include <probflow/mixture_cdf.h>

#include <string.h>

enum { MOST = 2 + 3 * PF_MIXTURE_CDF_MAX };

typedef struct entry { /* one number and its map */
    pf_mixture_cdf map;
    double param[MOST], fm[PF_MIXTURE_CDF_MAX];
} entry;

static int mixtures(const pf_site *s)
{
    return (int)(s->param_size[1] / s->param_size[0]);
}

static size_t entries(const pf_site *s)
{
    return (size_t)s->B * pf_shape_size(s->in[0]);
}

static void take(const pf_call *c, size_t i, entry *e)
{
    int M = mixtures(c->site), n = 2 + 3 * M;
    size_t channel = i % (size_t)c->site->in[0].c;
    const float *p = c->in[1] + i * (size_t)n, *fm = c->param[1] + channel * (size_t)M;
    for (int k = 0; k < n; k++) e->param[k] = p[k];
    for (int k = 0; k < M; k++) e->fm[k] = fm[k];
    e->map = (pf_mixture_cdf){M, e->param, c->param[0][channel], e->fm};
}

/* Where y of number i lies; its ldj lies c further on. */
static size_t place(const pf_site *s, size_t i)
{
    size_t c = (size_t)s->in[0].c;
    return i / c * 2 * c + i % c;
}

pf_status pf_ref_mixture_cdf(void *ctx, const pf_call *c)
{
    entry e;
    for (size_t i = 0; i < entries(c->site); i++) {
        float *y = c->out + place(c->site, i);
        double ldj;
        take(c, i, &e);
        y[0] = (float)pf_mixture_cdf_at(&e.map, c->in[0][i], &ldj);
        y[c->site->in[0].c] = (float)ldj;
    }
    return PF_OK;
}

/* Sums of the slopes of f [c] and fm [c,M], in double. */
size_t pf_ref_mixture_cdf_scratch(const pf_site *s, void *ctx)
{
    return 2 * (s->param_size[0] + s->param_size[1]);
}

static void write(const double *sum, size_t n, float *to)
{
    for (size_t i = 0; to && i < n; i++) to[i] = (float)sum[i];
}

pf_status pf_ref_mixture_cdf_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    int M = mixtures(s), n = 2 + 3 * M, channels = s->in[0].c;
    double *f = (double *)c->scratch, *fm = f + s->param_size[0];
    double param[MOST], scales[PF_MIXTURE_CDF_MAX];
    entry e;
    memset(f, 0, (s->param_size[0] + s->param_size[1]) * sizeof *f);
    for (size_t i = 0; i < entries(s); i++) {
        const float *g = c->gout + place(s, i);
        pf_mixture_slopes to = {.param = param, .fm = scales};
        take(c, i, &e);
        pf_mixture_cdf_back(&e.map, c->in[0][i], g[0], g[channels], &to);
        if (c->gin[0]) c->gin[0][i] = (float)to.z;
        for (int k = 0; c->gin[1] && k < n; k++)
            c->gin[1][i * (size_t)n + (size_t)k] = (float)param[k];
        size_t channel = i % (size_t)channels;
        f[channel] += to.f;
        for (int k = 0; k < M; k++) fm[channel * (size_t)M + (size_t)k] += scales[k];
    }
    write(f, s->param_size[0], c->gparam[0]);
    write(fm, s->param_size[1], c->gparam[1]);
    return PF_OK;
}
