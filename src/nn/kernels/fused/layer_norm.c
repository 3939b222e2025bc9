/* Normalisation of each position over its channels; the formulas are in ref/layer_norm.c.  A position stays in the
 * first cache: its moments and values are one pass over memory, its gradients another.  Gradients of the parameters
 * are summed in float over 64 positions at most, in double beyond. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"
#include "nn/kernels/ref/ref.h"

enum { BLOCK = 64 };

static size_t positions(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->out.h * (size_t)s->out.w;
}

/* m and r of a position */
static void moments(const pf_site *s, const float *x, float stat[2])
{
    int n = s->out.c;
    float sum = 0.0f, square = 0.0f;
    if (!s->attr.rms) {
#pragma omp simd reduction(+ : sum)
        for (int i = 0; i < n; i++) sum += x[i];
    }
    float m = sum / (float)n;
#pragma omp simd reduction(+ : square)
    for (int i = 0; i < n; i++) square += (x[i] - m) * (x[i] - m);
    stat[0] = m;
    stat[1] = (float)(1.0 / sqrt((double)square / n + s->attr.eps));
}

static pf_status forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    int n = s->out.c;
    const float *x = c->in[0], *w = c->param[0], *bias = s->n_param > 1 ? c->param[1] : NULL;
    float *y = c->out, *stat = c->saved;
    for (size_t p = 0; p < positions(s); p++, x += n, y += n, stat += 2) {
        moments(s, x, stat);
        float m = stat[0], r = stat[1];
        if (bias) {
            PF_SIMD
            for (int i = 0; i < n; i++) y[i] = (x[i] - m) * r * w[i] + bias[i];
        } else {
            PF_SIMD
            for (int i = 0; i < n; i++) y[i] = (x[i] - m) * r * w[i];
        }
    }
    return PF_OK;
}

/* Doubles and then floats of the weight's and the bias's gradients. */
static size_t scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return 6 * (size_t)s->out.c;
}

typedef struct sums {
    double *whole[2];
    float *part[2];
} sums;

static void take_parts(const sums *u, int n)
{
    for (int k = 0; k < 2; k++) {
        double *whole = u->whole[k];
        float *part = u->part[k];
        PF_SIMD
        for (int i = 0; i < n; i++) {
            whole[i] += (double)part[i];
            part[i] = 0.0f;
        }
    }
}

typedef struct position {
    const float *x, *g, *w;
    float m, r;
    int n, rms;
} position;

static void gradient(const position *p, float *dx)
{
    const float *x = p->x, *g = p->g, *w = p->w;
    float m = p->m, r = p->r, mean = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : mean, along)
    for (int i = 0; i < p->n; i++) {
        float q = w[i] * g[i];
        mean += q;
        along += q * ((x[i] - m) * r);
    }
    mean = p->rms ? 0.0f : mean / (float)p->n;
    along /= (float)p->n;
    PF_SIMD
    for (int i = 0; i < p->n; i++) dx[i] = r * (w[i] * g[i] - mean - (x[i] - m) * r * along);
}

static void add_parameters(const position *p, const sums *u)
{
    const float *x = p->x, *g = p->g;
    float m = p->m, r = p->r, *dw = u->part[0], *db = u->part[1];
    PF_SIMD
    for (int i = 0; i < p->n; i++) {
        dw[i] += g[i] * ((x[i] - m) * r);
        db[i] += g[i];
    }
}

static pf_status backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t n = (size_t)s->out.c;
    double *whole = (double *)c->scratch;
    float *part = c->scratch + 4 * n;
    sums u = {{whole, whole + n}, {part, part + n}};
    memset(c->scratch, 0, 6 * n * sizeof(float));
    int parameters = c->gparam[0] || c->gparam[1];
    for (size_t p = 0; p < positions(s); p++) {
        const float *stat = c->saved + 2 * p;
        position at = {c->in[0] + p * n, c->gout + p * n, c->param[0], stat[0],
                       stat[1],          s->out.c,        s->attr.rms};
        if (parameters) add_parameters(&at, &u);
        if (parameters && p % BLOCK == BLOCK - 1) take_parts(&u, at.n);
        if (c->gin[0]) gradient(&at, c->gin[0] + p * n);
    }
    take_parts(&u, s->out.c);
    for (int k = 0; k < s->n_param; k++)
        for (size_t i = 0; c->gparam[k] && i < n; i++) c->gparam[k][i] = (float)u.whole[k][i];
    return PF_OK;
}

const pf_row pf_fused_layer_norm = {
    .backend = "fused",
    .saved = pf_ref_layer_norm_saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
