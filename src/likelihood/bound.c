/* bound: of -log p(x) by denoising score matching, from t_min = e to 1.
 *
 * The model: z ~ prior, the reverse SDE with this score down to x_e, then x | x_e by Tweedie's
 * mean and the noise of the marginal, N((x_e + s_e^2 score)/m_e, (s_e/m_e)^2).  Jensen over x_e,
 * and Girsanov for the path, whose divergence terms integrate to entropies that cancel:
 *
 *     -log p(x) <=  KL(q(x_1|x) || prior)                                       closed form
 *                 + 1/2 integral_e^1 g^2/s^2 E |s score(x_t) + z|^2 dt          sampled
 *                 + D/2 log(2 pi s_e^2/m_e^2) + 1/2 E |s_e score(x_e) + z|^2    sampled
 *
 * with x_t = m x + s z.  Times follow p(t) ~ g^2/s^2, whose total mass is Z, on a shifted grid in
 * the mass, so the integral is Z/2 times a plain mean.  From each sample c (|z|^2 - D) is taken,
 * c = (m^2 v/(m^2 v + s^2))^2: its mean is zero whatever c, and as the noise falls below the
 * spread v of the data the score stays bounded and |s score + z|^2 -> |z|^2.  On Gaussians with
 * the spectra of images it divides the variance by 2 to 3.
 *
 * Source: Song et al. 2021b, theorems 1 and 3 and appendix; Kingma et al. 2021, eq. 15 (the form
 * free of divergences). */
#include "likelihood/columns.h"
#include "likelihood/place.h"

#include <math.h>
#include <probflow/estimand.h>
#include <probflow/memory.h>

/* Images first .. first+B-1, draw `draw`. */
typedef struct call {
    const pf_sde *sde;
    pf_score *score;
    const pf_likelihood_opt *opt;
    int64_t first;
    int B, draw;
} call;

typedef struct work {
    double *t, *xt, *s, *x, *nats; /* [B], [B,D], [B,D], [B,D], [B] */
    float *z;                      /* [B,D] */
} work;

/* Typical variance of image data along an eigenvector, model scale: of no effect on the mean. */
static const double SPREAD = 0.01;

/* sum[b] += E-estimate of |s score + z|^2 at w->t; noise number `step` of each image */
static PF_MUST_USE pf_status add_residual(const call *c, work *w, uint32_t step,
                                          const double *x, double *sum)
{
    size_t D = (size_t)c->score->dim;
    double m, s;

    for (int b = 0; b < c->B; b++) {
        pf_draw d = {(uint64_t)c->opt->seed, PF_STREAM_EVAL_NOISE, (uint64_t)(c->first + b),
                     step};
        pf_draw_normal(&d, 0, D, w->z + b * D);
        pf_sde_marginal(c->sde, w->t[b], &m, &s);
        for (size_t i = b * D; i < (b + 1) * D; i++) w->xt[i] = m * x[i] + s * (double)w->z[i];
    }
    PF_TRY(c->score->eval(c->score->self, c->B, w->t, w->xt, w->s));
    for (int b = 0; b < c->B; b++) {
        double r2 = 0.0, z2 = 0.0;
        pf_sde_marginal(c->sde, w->t[b], &m, &s);
        for (size_t i = b * D; i < (b + 1) * D; i++) {
            double z = (double)w->z[i], r = s * w->s[i] + z;
            r2 += r * r;
            z2 += z * z;
        }
        PF_REQUIRE(isfinite(r2), PF_ENUMERIC, "the score of image %lld is not finite at t = %g",
                   (long long)(c->first + b), w->t[b]);
        double share = m * m * SPREAD / (m * m * SPREAD + s * s);
        sum[b] += r2 - share * share * (z2 - (double)D);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status sample_terms(const call *c, work *w, const double *x, double *nats)
{
    const pf_sde_ops *ops = c->sde->ops;
    int N = c->opt->bound_samples;
    double e = c->opt->ode.t_min, mass = ops->mass(&c->sde->opt, e, 1.0);
    uint32_t step = (uint32_t)c->draw * ((uint32_t)N + 1);

    for (int n = 0; n < N; n++) {
        for (int b = 0; b < c->B; b++) {
            pf_draw d = {(uint64_t)c->opt->seed, PF_STREAM_EVAL_TIME, (uint64_t)(c->first + b),
                         (uint32_t)c->draw};
            double u = fmod(pf_draw_uniform_f64(&d, 0) + (double)n / N, 1.0);
            w->t[b] = ops->mass_inverse(&c->sde->opt, e, mass * u);
        }
        PF_TRY(add_residual(c, w, step + (uint32_t)n, x, nats));
    }
    for (int b = 0; b < c->B; b++) {
        nats[b] *= mass / N;
        w->t[b] = e;
    }
    PF_TRY(add_residual(c, w, step + (uint32_t)N, x, nats));
    for (int b = 0; b < c->B; b++) nats[b] *= 0.5;
    return PF_OK;
}

static void add_closed_forms(const call *c, const double *x, double *nats)
{
    int D = c->score->dim;
    double me, se, m1, s1, prior = c->sde->ops->prior_std(&c->sde->opt);

    pf_sde_marginal(c->sde, c->opt->ode.t_min, &me, &se);
    pf_sde_marginal(c->sde, 1.0, &m1, &s1);
    double v = s1 * s1 / (prior * prior);
    for (int b = 0; b < c->B; b++) {
        double x2 = 0.0;
        for (int i = 0; i < D; i++) x2 += x[(size_t)b * D + i] * x[(size_t)b * D + i];
        nats[b] += 0.5 * (D * (v - 1.0 - log(v)) + m1 * m1 * x2 / (prior * prior));
        nats[b] += 0.5 * D * log(2.0 * M_PI * se * se / (me * me));
    }
}

/* x [B,D] clean data, model scale; nats [B] <- the bound. */
static PF_MUST_USE pf_status find_bound(const call *c, work *w, const double *x, double *nats)
{
    for (int b = 0; b < c->B; b++) nats[b] = 0.0;
    PF_TRY(sample_terms(c, w, x, nats));
    add_closed_forms(c, x, nats);
    return PF_OK;
}

static PF_MUST_USE pf_status fill(call *c, const pf_view *view, const pf_group *g, work *w,
                                  double *cells)
{
    double offset =
        g->pixels ? pf_space_offset(&g->space, 1.0) : 0.0; /* of x itself, not of mean x */
    double per = c->score->dim * M_LN2;
    PF_REQUIRE(w->t && w->xt && w->s && w->z && w->x && w->nats, PF_EMEM,
               "no memory for the bound of %d images", c->B);
    for (c->draw = 0; c->draw < c->opt->draws; c->draw++) {
        pf_place_data(c->opt, view, g, c->draw, w->x, cells);
        PF_TRY(find_bound(c, w, w->x, w->nats));
        for (int b = 0; b < c->B; b++, cells += PF_FLOW_COLUMNS)
            cells[PF_FLOW_BOUND] = w->nats[b] / per + cells[PF_FLOW_DEQUANTISATION] + offset;
    }
    return PF_OK;
}

static pf_status score_group(const pf_likelihood_opt *opt, const pf_view *view,
                             const pf_group *g, double *cells)
{
    size_t B = (size_t)g->B, n = B * (size_t)view->score->dim;
    call c = {view->sde, view->score, opt, g->first, g->B, 0};
    work w = {pf_zalloc(B * sizeof(double)), pf_zalloc(n * sizeof(double)),
              pf_zalloc(n * sizeof(double)), pf_zalloc(n * sizeof(double)),
              pf_zalloc(B * sizeof(double)), pf_zalloc(n * sizeof(float))};
    pf_status st = fill(&c, view, g, &w, cells);
    double *all[] = {w.t, w.xt, w.s, w.x, w.nats};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) pf_free(all[i]);
    pf_free(w.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group)
{
    (void)view;
    PF_TRY(pf_place_check(opt, group));
    return PF_OK;
}

static size_t bytes(const pf_likelihood_opt *opt, int dim)
{
    return (size_t)opt->group * ((size_t)dim * (3 * sizeof(double) + sizeof(float)));
}

static int repeats(const pf_likelihood_opt *opt)
{
    (void)opt;
    return 1; /* times on one shifted grid */
}

const pf_estimand_ops pf_estimand_bound = {
    .name = "bound",
    .help = "the bound of the SDE",
    .needs = PF_NEEDS_SCORE,
    .columns = pf_flow_columns,
    .n = PF_FLOW_COLUMNS,
    .total = PF_FLOW_BOUND,
    .table = "bound",
    .prefix = "bound_",
    .page = "bound",
    .check = check,
    .repeats = repeats,
    .bytes = bytes,
    .group = score_group,
};
