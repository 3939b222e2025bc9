/* Full-covariance Gaussian: the density that LAPACK alone fits, and whose every marginal, score
 * and likelihood is known.
 *
 *     p_t = N(m mu, m^2 C + s^2 I),   score = -(m^2 C + s^2 I)^-1 (x - m mu),
 *     v' dscore/dx = -(m^2 C + s^2 I)^-1 v
 *
 * fit: C = (1 - shrink) S + shrink tr(S)/D I + noise_variance I, S the maximum-likelihood
 * covariance of the source.  noise_variance is for data on a grid: dequantising L levels
 * uniformly adds (2/L)^2/12 in model scale.
 * Parameters, in order: mean [D], covariance [D,D]. */
#include "model/normal.h"

#include <math.h>
#include <probflow/memory.h>
#include <string.h>

typedef struct gaussian {
    double noise_variance, shrink;
} gaussian;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(gaussian, noise_variance, PF_F64, 0.0, 0.0, 1e6, "variance added to the fitted covariance's diagonal (uniform dequantisation of 256 levels: 5.0863e-6)"),
    PF_OPT(gaussian, shrink, PF_F64, 0.0, 0.0, 1.0, "share of the covariance replaced by its mean variance times the identity"),
    { 0 }
};
/* clang-format on */

typedef struct worker {
    const pf_normal *normal;
    const pf_sde *sde;
    pf_normal_rows b;
} worker;

static int dim_of(pf_shape s)
{
    return s.h * s.w * s.c;
}

static pf_status views(const void *opt, pf_shape s, int *n, pf_param **out)
{
    int D = dim_of(s);
    size_t offset = 0;
    pf_param *p = pf_zalloc(2 * sizeof *p);
    (void)opt;
    PF_REQUIRE(p, PF_EMEM, "no memory for views");
    p[0] = pf_analytic_view("mean", D, 0, 0, &offset);
    p[1] = pf_analytic_view("covariance", D, D, 0, &offset);
    *n = 2;
    *out = p;
    return PF_OK;
}

static pf_status fit(const void *opt, const pf_sample_source *src, float *params)
{
    const gaussian *o = opt;
    size_t D = (size_t)src->dim;
    double *m = pf_zalloc((D + D * D) * sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for a covariance of %zu by %zu", D, D);
    double *cov = m + D, trace = 0.0;
    pf_status st = pf_source_moments(src, m, cov);

    for (size_t i = 0; i < D; i++) trace += cov[i * (D + 1)];
    for (size_t i = 0; i < D * D; i++) cov[i] *= 1.0 - o->shrink;
    for (size_t i = 0; i < D; i++)
        cov[i * (D + 1)] += o->shrink * trace / (double)D + o->noise_variance;
    for (size_t i = 0; i < D + D * D; i++) params[i] = (float)m[i];
    pf_free(m);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static void drop(void *state)
{
    if (!state) return;
    pf_normal_free(state);
    pf_free(state);
}

static pf_status prepare(const void *opt, pf_shape s, const float *params, void **state)
{
    int D = dim_of(s);
    pf_normal *n = pf_zalloc(sizeof *n);
    (void)opt;
    PF_REQUIRE(n, PF_EMEM, "no memory for a Gaussian");
    pf_status st = pf_normal_init(n, D, params, params + D, "the parameter covariance");
    if (st) {
        drop(n);
        return pf_trail(st, PF_WHERE);
    }
    *state = n;
    return PF_OK;
}

/* One pair of products for x and all its probes. */
static pf_status vjp(void *self, int B, const double *t, const double *x, int K,
                     const double *v, double *s, double *jv)
{
    worker *w = self;
    size_t D = (size_t)w->normal->D, n = (size_t)B * D;
    int rows = B * (1 + K);

    PF_TRY(pf_normal_rows_reserve(&w->b, rows, w->normal->D));
    for (int b = 0; b < B; b++) {
        w->b.at[b] = pf_marginal_at(w->sde, t[b]);
        for (size_t d = 0; d < D; d++)
            w->b.y[b * D + d] = x[b * D + d] - w->b.at[b].scale * w->normal->mean[d];
    }
    for (int r = B; r < rows; r++) w->b.at[r] = w->b.at[r % B];
    if (K > 0) memcpy(w->b.y + n, v, n * K * sizeof *v);
    pf_normal_pull(w->normal, rows, w->b.at, w->b.y, w->b.work, NULL);
    memcpy(s, w->b.y, n * sizeof *s);
    if (K > 0) memcpy(jv, w->b.y + n, n * K * sizeof *jv);
    return PF_OK;
}

static pf_status eval(void *self, int B, const double *t, const double *x, double *s)
{
    return vjp(self, B, t, x, 0, NULL, s, NULL);
}

static void free_worker(void *self)
{
    pf_normal_rows_free(&((worker *)self)->b);
    pf_free(self);
}

static pf_status score(void *state, const pf_sde *sde, int batch, pf_score *out)
{
    worker *w = pf_zalloc(sizeof *w);
    PF_REQUIRE(w, PF_EMEM, "no memory for a score");
    w->normal = state;
    w->sde = sde;
    *out = (pf_score){.self = w,
                      .dim = w->normal->D,
                      .batch = batch,
                      .eval = eval,
                      .vjp = vjp,
                      .free = free_worker};
    return PF_OK;
}

static pf_status logp(void *state, const pf_sde *sde, double t, int n, const double *x,
                      double *lp)
{
    enum { ROWS = 64 };
    const pf_normal *g = state;
    size_t D = (size_t)g->D;
    double *y = pf_zalloc(2 * ROWS * D * sizeof *y);
    pf_marginal at[ROWS];

    PF_REQUIRE(y, PF_EMEM, "no memory for %d rows of %zu", ROWS, D);
    for (int r = 0; r < ROWS; r++) at[r] = pf_marginal_at(sde, t);
    for (int first = 0; first < n; first += ROWS) {
        int rows = first + ROWS < n ? ROWS : n - first;
        for (size_t i = 0; i < (size_t)rows * D; i++)
            y[i] = x[(size_t)first * D + i] - at[0].scale * g->mean[i % D];
        pf_normal_pull(g, rows, at, y, y + ROWS * D, lp + first);
    }
    pf_free(y);
    return PF_OK;
}

const pf_model_ops pf_model_gaussian = {
    .name = "gaussian",
    .help = "full-covariance Gaussian, closed form",
    .size = sizeof(gaussian),
    .opts = opts,
    .views = views,
    .fit = fit,
    .prepare = prepare,
    .release = drop,
    .score = score,
    .logp = logp,
};
