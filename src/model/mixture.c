/* Mixture of a few full-covariance Gaussians: a density with several modes whose marginals,
 * scores and Jacobians are known in closed form.  With P_c = (m^2 C_c + s^2 I)^-1,
 *
 *     p_t = sum of w_c N(m mu_c, P_c^-1),   r_c = posterior of c given x,
 *     g_c = -P_c (x - m mu_c),              score = g = sum of r_c g_c
 *     v' dscore/dx = sum of r_c (g_c (g_c.v) - P_c v) - g (g.v)
 *
 * Parameters, in order: weights [C] (scaled to sum to 1), means [C,D], covariances [C,D,D]. */
#include "model/em.h"
#include "model/normal.h"

#include <math.h>
#include <probflow/memory.h>
#include <string.h>

typedef struct mixture {
    int components, iterations;
    int64_t seed;
    double noise_variance, tolerance;
} mixture;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(mixture, components, PF_INT, 2, 1, 256, "Gaussians in the mixture"),
    PF_OPT(mixture, iterations, PF_INT, 200, 1, 100000, "expectation-maximisation steps of the fit, at most"),
    PF_OPT(mixture, tolerance, PF_F64, 1e-7, 0.0, 1.0, "gain of a step [nats a sample] below which the fit ends"),
    PF_OPT(mixture, noise_variance, PF_F64, 0.0, 0.0, 1e6, "variance added to each fitted covariance's diagonal"),
    PF_OPT(mixture, seed, PF_I64, 1, 0, 9e18, "seed of the first means"),
    { 0 }
};
/* clang-format on */

typedef struct state {
    int C, D;
    double *log_weight; /* [C] */
    pf_normal *part;    /* [C] */
} state;

typedef struct worker {
    const state *mix;
    const pf_sde *sde;
    pf_normal_rows b;
    double *g; /* [C,batch,D] g_c */
    double *r; /* [C,batch] */
} worker;

static pf_status views(const void *opt, pf_shape s, int *n, pf_param **out)
{
    const mixture *o = opt;
    int D = s.h * s.w * s.c;
    size_t offset = 0;
    pf_param *p = pf_zalloc(3 * sizeof *p);
    PF_REQUIRE(p, PF_EMEM, "no memory for views");
    p[0] = pf_analytic_view("weights", o->components, 0, 0, &offset);
    p[1] = pf_analytic_view("means", o->components, D, 0, &offset);
    p[2] = pf_analytic_view("covariances", o->components, D, D, &offset);
    *n = 3;
    *out = p;
    return PF_OK;
}

static pf_status fit(const void *opt, const pf_sample_source *src, float *params)
{
    const mixture *o = opt;
    size_t C = (size_t)o->components, D = (size_t)src->dim, n = C * (1 + D + D * D);
    double *p = pf_zalloc(n * sizeof *p);
    PF_REQUIRE(p, PF_EMEM, "no memory for %zu components of %zu", C, D);
    pf_em em = {.C = o->components,
                .D = src->dim,
                .iterations = o->iterations,
                .seed = o->seed,
                .noise_variance = o->noise_variance,
                .tolerance = o->tolerance,
                .weight = p,
                .mean = p + C,
                .cov = p + C + C * D};
    pf_status st = pf_em_fit(&em, src);
    for (size_t i = 0; i < n; i++) params[i] = (float)p[i];
    pf_free(p);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static void drop(void *self)
{
    state *m = self;
    if (!m) return;
    for (int c = 0; m->part && c < m->C; c++) pf_normal_free(&m->part[c]);
    pf_free(m->part);
    pf_free(m->log_weight);
    pf_free(m);
}

static PF_MUST_USE pf_status prepare_into(state *m, const float *params)
{
    size_t C = (size_t)m->C, D = (size_t)m->D;
    const float *mean = params + C, *cov = mean + C * D;
    double total = 0.0;

    m->log_weight = pf_zalloc(C * sizeof *m->log_weight);
    m->part = pf_zalloc(C * sizeof *m->part);
    PF_REQUIRE(m->log_weight && m->part, PF_EMEM, "no memory for %d components", m->C);
    for (size_t c = 0; c < C; c++) {
        PF_REQUIRE(params[c] >= 0.0f, PF_ENUMERIC, "weight %zu of the mixture is %g", c,
                   (double)params[c]);
        total += (double)params[c];
    }
    PF_REQUIRE(total > 0.0, PF_ENUMERIC, "the mixture's weights are all zero");
    for (size_t c = 0; c < C; c++) {
        m->log_weight[c] = log((double)params[c] / total);
        PF_TRY(pf_normal_init(&m->part[c], m->D, mean + c * D, cov + c * D * D,
                              "a component's covariance"));
    }
    return PF_OK;
}

static pf_status prepare(const void *opt, pf_shape s, const float *params, void **out)
{
    state *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for a mixture");
    m->C = ((const mixture *)opt)->components;
    m->D = s.h * s.w * s.c;
    pf_status st = prepare_into(m, params);
    if (st) {
        drop(m);
        return pf_trail(st, PF_WHERE);
    }
    *out = m;
    return PF_OK;
}

/* l [C] log w_c N_c of one point (stride apart) -> posteriors; returns log of the sum. */
static double normalise(int C, size_t stride, double *l)
{
    double most = -INFINITY, sum = 0.0;
    for (int c = 0; c < C; c++) most = fmax(most, l[c * stride]);
    for (int c = 0; c < C; c++) sum += exp(l[c * stride] - most);
    double lp = most + log(sum);
    for (int c = 0; c < C; c++) l[c * stride] = exp(l[c * stride] - lp);
    return lp;
}

static double dot(size_t n, const double *a, const double *b)
{
    double s = 0.0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static pf_status eval(void *self, int B, const double *t, const double *x, double *s)
{
    worker *w = self;
    size_t D = (size_t)w->mix->D, n = (size_t)B * D;

    PF_TRY(pf_normal_rows_reserve(&w->b, B, w->mix->D));
    for (int b = 0; b < B; b++) w->b.at[b] = pf_marginal_at(w->sde, t[b]);
    for (int c = 0; c < w->mix->C; c++) {
        double *g = w->g + c * n, *l = w->r + (size_t)c * B;
        const pf_normal *part = &w->mix->part[c];
        for (size_t i = 0; i < n; i++) g[i] = x[i] - w->b.at[i / D].scale * part->mean[i % D];
        pf_normal_pull(part, B, w->b.at, g, w->b.work, l);
        for (int b = 0; b < B; b++) l[b] += w->mix->log_weight[c];
    }
    memset(s, 0, n * sizeof *s);
    for (int b = 0; b < B; b++) {
        normalise(w->mix->C, (size_t)B, w->r + b);
        for (int c = 0; c < w->mix->C; c++)
            for (size_t d = 0; d < D; d++)
                s[b * D + d] += w->r[c * B + b] * w->g[c * n + b * D + d];
    }
    return PF_OK;
}

static pf_status vjp(void *self, int B, const double *t, const double *x, int K,
                     const double *v, double *s, double *jv)
{
    worker *w = self;
    size_t D = (size_t)w->mix->D, n = (size_t)B * D;
    int rows = B * K;

    PF_TRY(pf_normal_rows_reserve(&w->b, rows > B ? rows : B, w->mix->D));
    PF_TRY(eval(self, B, t, x, s));
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)r * D, of = (size_t)(r % B) * D;
        double sv = dot(D, s + of, v + at);
        w->b.at[r] = pf_marginal_at(w->sde, t[r % B]);
        for (size_t d = 0; d < D; d++) jv[at + d] = -sv * s[of + d];
    }
    for (int c = 0; c < w->mix->C; c++) {
        memcpy(w->b.y, v, n * K * sizeof *v);
        pf_normal_pull(&w->mix->part[c], rows, w->b.at, w->b.y, w->b.work, NULL);
        for (int r = 0; r < rows; r++) {
            const double *g = w->g + c * n + (size_t)(r % B) * D;
            size_t at = (size_t)r * D;
            double p = w->r[c * B + r % B], gv = dot(D, g, v + at);
            for (size_t d = 0; d < D; d++) jv[at + d] += p * (g[d] * gv + w->b.y[at + d]);
        }
    }
    return PF_OK;
}

static void free_worker(void *self)
{
    worker *w = self;
    pf_normal_rows_free(&w->b);
    pf_free(w->g);
    pf_free(w->r);
    pf_free(w);
}

static pf_status score(void *self, const pf_sde *sde, int batch, pf_score *out)
{
    worker *w = pf_zalloc(sizeof *w);
    PF_REQUIRE(w, PF_EMEM, "no memory for a score");
    w->mix = self;
    w->sde = sde;
    w->g = pf_zalloc((size_t)w->mix->C * batch * w->mix->D * sizeof *w->g);
    w->r = pf_zalloc((size_t)w->mix->C * batch * sizeof *w->r);
    if (!w->g || !w->r) {
        free_worker(w);
        PF_FAIL(PF_EMEM, "no memory for the score of %d samples", batch);
    }
    *out = (pf_score){.self = w,
                      .dim = w->mix->D,
                      .batch = batch,
                      .eval = eval,
                      .vjp = vjp,
                      .free = free_worker};
    return PF_OK;
}

static void logp_row(const state *m, const pf_marginal *at, const double *x, double *y,
                     double *l)
{
    for (int c = 0; c < m->C; c++) {
        for (int d = 0; d < m->D; d++) y[d] = x[d] - at->scale * m->part[c].mean[d];
        pf_normal_pull(&m->part[c], 1, at, y, y + m->D, &l[c]);
        l[c] += m->log_weight[c];
    }
}

static pf_status logp(void *self, const pf_sde *sde, double t, int n, const double *x,
                      double *lp)
{
    const state *m = self;
    pf_marginal at = pf_marginal_at(sde, t);
    double *y = pf_zalloc((2 * (size_t)m->D + m->C) * sizeof *y);
    PF_REQUIRE(y, PF_EMEM, "no memory for a row of %d", m->D);
    for (int i = 0; i < n; i++) {
        logp_row(m, &at, x + (size_t)i * m->D, y, y + 2 * m->D);
        lp[i] = normalise(m->C, 1, y + 2 * m->D);
    }
    pf_free(y);
    return PF_OK;
}

const pf_model_ops pf_model_mixture = {
    .name = "mixture",
    .help = "mixture of full-covariance Gaussians, closed form",
    .size = sizeof(mixture),
    .opts = opts,
    .views = views,
    .fit = fit,
    .prepare = prepare,
    .release = drop,
    .score = score,
    .logp = logp,
};
