/* bound: of -log p(x) by denoising score matching, from t_min = e to 1; bound_terms.h has its formula.
 *
 * The model: z ~ prior, the reverse SDE with this score down to x_e, then x | x_e by Tweedie's
 * mean and the noise of the marginal, N((x_e + s_e^2 score)/m_e, (s_e/m_e)^2).  Jensen over x_e,
 * and Girsanov for the path.  Of residuals the divergence terms integrate to entropies that cancel.
 *
 * Times follow p(t) ~ g^2/s^2, whose total mass is Z, on a shifted grid in
 * the mass, so the integral is Z/2 times a plain mean; or they are even.  From residuals c (|z|^2 - D) is taken,
 * c = (m^2 v/(m^2 v + s^2))^2: its mean is zero whatever c, and as the noise falls below the
 * spread v of the data the score stays bounded and |s score + z|^2 -> |z|^2.  On Gaussians with
 * the spectra of images it divides the variance by 2 to 3.  With bound_control all of a Gaussian's residual is taken, which
 * has the data's mean and covariance, and its integral, which is known, added.
 *
 * Source: Song et al. 2021b, theorems 1 and 3 and appendix; Kingma et al. 2021, eq. 15 (the form
 * free of divergences). */
#include "likelihood/bound_terms.h"
#include "likelihood/columns.h"
#include "likelihood/place.h"

#include <math.h>
#include <probflow/estimand.h>
#include <probflow/memory.h>
#include <string.h>

/* Images first .. first+B-1, draw `draw`. */
typedef struct call {
    const pf_control *control; /* of residuals; NULL: none */
    double least;              /* of its variances: the noise at t_min */
    const pf_sde *sde;
    pf_score *score;
    const pf_likelihood_opt *opt;
    int64_t first;
    int B, draw;
} call;

typedef struct work {
    double *t, *weight, *nats; /* [B] */
    double *xt, *s, *x;        /* [B,D] */
    double *v, *jv;            /* [B,D], sliced; else NULL */
    double *y, *e, *wide;      /* [B,D], with a control: x and z in its basis, and room */
    float *z;                  /* [B,D] */
} work;

/* Typical variance of image data along an eigenvector, model scale: of no effect on the mean. */
static const double SPREAD = 0.01;

/* What is taken from the residual of image b: of a Gaussian that has the same spread everywhere, its mean 0; or all of
 * the control's, whose integral over t is added in its place, at t_min its mean. */
static double known_part(const call *c, const work *w, int b, const pf_bound_at *at,
                         const pf_bound_sums *of, int start)
{
    size_t D = (size_t)c->score->dim, from = (size_t)b * D;
    double signal = at->mean * at->mean * SPREAD, share = signal / (signal + at->std * at->std);
    double all, mean;
    if (!c->control) return share * share * (of->noise - (double)D);
    all = pf_control_residual(c->control, at->std / at->mean, c->least, w->y + from,
                              w->e + from, &mean);
    return start ? all - mean : all;
}

/* Adds what known_part took: half the integral of rate times its mean. */
static void add_known(const call *c, const work *w, double *nats)
{
    double m0, s0, m1, s1;
    pf_sde_marginal(c->sde, c->opt->ode.t_min, &m0, &s0);
    pf_sde_marginal(c->sde, 1.0, &m1, &s1);
    for (int b = 0; c->control && b < c->B; b++)
        nats[b] += 0.5 * pf_control_residuals(c->control, s0 / m0, s1 / m1, c->least,
                                              w->y + (size_t)b * (size_t)c->score->dim);
}

/* x_t of each image at w->t, by its noise number `step`; w->v by its probe of that number. */
static void show(const call *c, work *w, uint32_t step, int sliced, const double *x)
{
    size_t D = (size_t)c->score->dim;
    double m, s;
    for (int b = 0; b < c->B; b++) {
        pf_draw d = {(uint64_t)c->opt->seed, PF_STREAM_EVAL_NOISE, (uint64_t)(c->first + b),
                     step};
        if (sliced) {
            pf_draw p = d;
            p.stream = PF_STREAM_PROBE;
            pf_draw_rademacher(&p, 0, D, w->z + b * D); /* passes through the noise's place */
            for (size_t i = b * D; i < (b + 1) * D; i++) w->v[i] = (double)w->z[i];
        }
        pf_draw_normal(&d, 0, D, w->z + b * D);
        pf_sde_marginal(c->sde, w->t[b], &m, &s);
        for (size_t i = b * D; i < (b + 1) * D; i++) w->xt[i] = m * x[i] + s * (double)w->z[i];
    }
}

/* sum[b] += weight F at w->t; start: at t_min, the residual whatever the form. */
static PF_MUST_USE pf_status add_terms(const call *c, work *w, int start, uint32_t step,
                                       const double *x, double *sum)
{
    pf_bound_form form = start ? PF_BOUND_RESIDUAL : (pf_bound_form)c->opt->bound_form;
    int sliced = form == PF_BOUND_SLICED, dim = c->score->dim;
    size_t D = (size_t)dim;

    show(c, w, step, sliced, x);
    PF_TRY(sliced ? c->score->vjp(c->score->self, c->B, w->t, w->xt, 1, w->v, w->s, w->jv)
                  : c->score->eval(c->score->self, c->B, w->t, w->xt, w->s));
    for (size_t i = 0; c->control && i < (size_t)c->B * D; i++) w->wide[i] = (double)w->z[i];
    if (c->control) pf_control_project(c->control, c->B, w->wide, w->e);
    for (int b = 0; b < c->B; b++) {
        double product = 0.0;
        pf_bound_at at = pf_bound_at_time(c->sde, w->t[b]);
        pf_bound_sums of = pf_bound_sum(at.std, dim, w->s + b * D, w->z + b * D);
        for (size_t i = b * D; sliced && i < (b + 1) * D; i++) product += w->v[i] * w->jv[i];
        double term = pf_bound_term(form, &at, dim, &of, product);
        PF_REQUIRE(isfinite(term), PF_ENUMERIC,
                   "the score of image %lld is not finite at t = %g", (long long)(c->first + b),
                   w->t[b]);
        if (form == PF_BOUND_RESIDUAL) term -= known_part(c, w, b, &at, &of, start);
        sum[b] += w->weight[b] * term;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status sample_terms(const call *c, work *w, const double *x, double *nats)
{
    int N = c->opt->bound_samples;
    double e = c->opt->ode.t_min, mass = c->sde->ops->mass(&c->sde->opt, e, 1.0);
    uint32_t step = (uint32_t)c->draw * ((uint32_t)N + 1);

    for (int n = 0; n < N; n++) {
        for (int b = 0; b < c->B; b++) {
            pf_draw d = {(uint64_t)c->opt->seed, PF_STREAM_EVAL_TIME, (uint64_t)(c->first + b),
                         (uint32_t)c->draw};
            double u = fmod(pf_draw_uniform_f64(&d, 0) + (double)n / N, 1.0);
            w->t[b] =
                pf_bound_time(c->sde, (pf_bound_times)c->opt->bound_times, e, u, &w->weight[b]);
        }
        PF_TRY(add_terms(c, w, 0, step + (uint32_t)n, x, nats));
    }
    for (int b = 0; b < c->B; b++) {
        nats[b] *= mass / N;
        w->t[b] = e;
        w->weight[b] = 1.0;
    }
    PF_TRY(add_terms(c, w, 1, step + (uint32_t)N, x, nats));
    for (int b = 0; b < c->B; b++) nats[b] *= 0.5;
    return PF_OK;
}

static void add_closed_forms(const call *c, const double *x, double *nats)
{
    int D = c->score->dim;
    pf_bound_form form = (pf_bound_form)c->opt->bound_form;
    pf_bound_at at = pf_bound_at_time(c->sde, c->opt->ode.t_min);

    for (int b = 0; b < c->B; b++) {
        double x2 = 0.0;
        for (int i = 0; i < D; i++) x2 += x[(size_t)b * D + i] * x[(size_t)b * D + i];
        nats[b] += pf_bound_end(form, c->sde, D, x2);
        nats[b] += pf_bound_start(form, &at, D);
    }
}

/* x [B,D] clean data, model scale; nats [B] <- the bound. */
static PF_MUST_USE pf_status find_bound(const call *c, work *w, const double *x, double *nats)
{
    for (int b = 0; b < c->B; b++) nats[b] = 0.0;
    if (c->control) {
        memcpy(w->wide, x, (size_t)c->B * (size_t)c->score->dim * sizeof *x);
        pf_control_centre(c->control, c->B, w->wide);
        pf_control_project(c->control, c->B, w->wide, w->y);
    }
    PF_TRY(sample_terms(c, w, x, nats));
    add_closed_forms(c, x, nats);
    add_known(c, w, nats);
    return PF_OK;
}

static PF_MUST_USE pf_status fill(call *c, const pf_view *view, const pf_group *g, work *w,
                                  double *cells)
{
    double offset =
        g->pixels ? pf_space_offset(&g->space, 1.0) : 0.0; /* of x itself, not of mean x */
    double per = c->score->dim * M_LN2;
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
    size_t probes = opt->bound_form == PF_BOUND_SLICED ? n : 0;
    size_t known = opt->bound_control ? n : 0;
    pf_bound_at at = pf_bound_at_time(view->sde, opt->ode.t_min);
    call c = {.control = opt->bound_control ? g->control : NULL,
              .least = at.std * at.std / (at.mean * at.mean),
              .sde = view->sde,
              .score = view->score,
              .opt = opt,
              .first = g->first,
              .B = g->B};
    double *all = pf_zalloc((3 * B + 3 * n + 2 * probes + 3 * known) * sizeof *all);
    work w = {.t = all, .z = pf_zalloc(n * sizeof(float))};
    pf_status st =
        all && w.z ? PF_OK
                   : pf_raise(PF_EMEM, PF_WHERE, "no memory for the bound of %d images", g->B);
    if (!st) {
        w.weight = all + B;
        w.nats = w.weight + B;
        w.xt = w.nats + B;
        w.s = w.xt + n;
        w.x = w.s + n;
        w.v = w.x + n;
        w.jv = w.v + probes;
        w.y = w.jv + probes;
        w.e = w.y + known;
        w.wide = w.e + known;
        st = fill(&c, view, g, &w, cells);
    }
    pf_free(all);
    pf_free(w.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group)
{
    int D = view->score->dim;
    PF_TRY(pf_place_check(opt, group));
    PF_REQUIRE(!opt->bound_control || (group->control && pf_control_dim(group->control) == D),
               PF_EARG,
               "likelihood.bound_control needs the covariance of the data and none of %d "
               "entries is given",
               D);
    return PF_OK;
}

static size_t bytes(const pf_likelihood_opt *opt, int dim)
{
    int arrays = opt->bound_form == PF_BOUND_SLICED ? 5 : opt->bound_control ? 6 : 3;
    return (size_t)opt->group * ((size_t)dim * (arrays * sizeof(double) + sizeof(float)));
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
