/* Likelihood of a group of images: dequantise, solve the flow with its divergence, fill the
 * ledger.
 *
 *     log p(x) = log prior(z) + integral of div f dt, estimated as probe.c and control.c say
 *     bits/dim = -log p/(D ln 2) + log q(u)/(D ln 2) + log2(L/2)
 *
 * Truncated-normal dequantisation places mean(t_min) x, not x, at t_min (see dequantise.c); its
 * Jacobian mean^D joins the offset: log2(L / (2 mean)).
 *
 * Source: Song et al. 2021, section 4.3 and appendix D. */
#include "likelihood/bound.h"
#include "likelihood/probe.h"

#include <math.h>
#include <probflow/memory.h>
#include <string.h>

/* clang-format off */
static const char *const estimand_words[] = {"nll_ode", "bound", "nll_and_bound", NULL};
static const char *const dequant_words[] = {"none", "uniform", "truncated_normal", NULL};
static const char *const probe_words[] = {"rademacher", "gaussian", "exact", NULL};
static const char *const control_words[] = {"none", "gaussian", NULL};

const pf_opt pf_likelihood_opts[] = {
    PF_OPT_ENUM(pf_likelihood_opt, estimand, PF_NLL_ODE, estimand_words, "what is computed: the likelihood of the probability flow, the bound of the SDE, or both"),
    PF_OPT_ENUM(pf_likelihood_opt, dequantisation, PF_DEQUANT_UNIFORM, dequant_words, "noise that makes pixels continuous"),
    PF_OPT(pf_likelihood_opt, draws, PF_INT, 1, 1, 10000, "dequantisation draws an image"),
    PF_OPT_ENUM(pf_likelihood_opt, probe, PF_RADEMACHER, probe_words, "noise of the divergence estimate; exact: D products an evaluation"),
    PF_OPT(pf_likelihood_opt, probes, PF_INT, 1, 1, 1024, "probes an image; two sets of `colours` and more give their share of the error"),
    PF_OPT(pf_likelihood_opt, colours, PF_INT, 1, 1, 64, "probes a set, a power of two: in a set the couplings between pixels of different colour cancel"),
    PF_OPT_ENUM(pf_likelihood_opt, control, PF_CONTROL_NONE, control_words, "control variate of the divergence estimate; gaussian: from the covariance of the train split"),
    PF_OPT(pf_likelihood_opt, control_noise, PF_F64, 0.7, 0.0, 1e6, "noise to signal ratio from which the control variate is used; 0: from t_min"),
    PF_OPT(pf_likelihood_opt, subspace, PF_INT, 0, 0, 1024, "principal directions of the train split along which the divergence is exact; a product each"),
    PF_OPT(pf_likelihood_opt, group, PF_INT, 16, 1, 65536, "images a solve: part of the definition of the result"),
    PF_OPT(pf_likelihood_opt, bound_samples, PF_INT, 64, 1, 1000000, "times an image for the bound"),
    PF_OPT(pf_likelihood_opt, check_groups, PF_INT, 1, 0, 1000000, "groups repeated at a tenth of the tolerances, the last and shorter one among them, for the solver's share of the error; 1000000: all"),
    PF_OPT(pf_likelihood_opt, seed, PF_I64, 1, 0, 9e18, "seed of dequantisation, probes and bound"),
    PF_ODE_SOLVER_ROWS(offsetof(pf_likelihood_opt, ode)),
    PF_ODE_LIKELIHOOD_ROWS(offsetof(pf_likelihood_opt, ode)),
    { 0 }
};
/* clang-format on */

typedef struct work {
    const pf_sde *sde;
    pf_score *score;
    const pf_likelihood_opt *opt;
    const pf_group *group;
    pf_flow *flow;
    pf_probes probes;
    int D;
    double nats; /* of one bit a dimension */
    double *x, *z, *div, *log_q, *bound;
} work;

static PF_MUST_USE pf_status alloc(work *w)
{
    size_t B = (size_t)w->group->B, n = B * w->D;
    PF_TRY(pf_probes_init(&w->probes, w->sde, w->opt, w->group, w->D));
    w->x = pf_zalloc(n * sizeof *w->x);
    w->z = pf_zalloc(n * sizeof *w->z);
    w->div = pf_zalloc(B * w->probes.products * sizeof *w->div);
    w->log_q = pf_zalloc(B * sizeof *w->log_q);
    w->bound = pf_zalloc(B * sizeof *w->bound);
    PF_REQUIRE(w->x && w->z && w->div && w->log_q && w->bound, PF_EMEM,
               "no memory for a group of %zu images", B);
    return PF_OK;
}

static void release(work *w)
{
    double *all[] = {w->x, w->z, w->div, w->log_q, w->bound};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) pf_free(all[i]);
    pf_probes_free(&w->probes);
    pf_flow_free(w->flow);
}

static void place_data(work *w, int draw)
{
    size_t D = (size_t)w->D;
    for (int b = 0; b < w->group->B; b++) {
        pf_draw d = {(uint64_t)w->opt->seed, PF_STREAM_EVAL_DEQUANT,
                     (uint64_t)(w->group->first + b), (uint32_t)draw};
        w->log_q[b] = 0.0;
        if (w->group->pixels)
            pf_dequantise(w->sde, w->opt, &d, w->D, w->group->levels, w->group->pixels + b * D,
                          w->x + b * D, &w->log_q[b]);
        else memcpy(w->x + b * D, w->group->x + b * D, D * sizeof *w->x);
    }
}

/* Factor on x where it is put at t_min, and the offset that goes with it [bits/dim]. */
static double placement(const work *w, double *offset)
{
    double mean = 1.0, std;
    *offset = 0.0;
    if (!w->group->pixels) return mean;
    if (w->opt->dequantisation == PF_DEQUANT_TRUNCATED_NORMAL)
        pf_sde_marginal(w->sde, w->opt->ode.t_min, &mean, &std);
    *offset = log2(0.5 * w->group->levels / mean);
    return mean;
}

static PF_MUST_USE pf_status solve(work *w, const pf_ode_opt *ode, pf_ode_stat *stat)
{
    double offset, mean = placement(w, &offset);
    pf_ode_problem p = {.flow = w->flow,
                        .B = w->group->B,
                        .K = w->probes.products,
                        .exact = w->opt->probe == PF_EXACT,
                        .t0 = ode->t_min,
                        .t1 = 1.0,
                        .probe = w->probes.v,
                        .what = "image",
                        .first = w->group->first};
    for (size_t i = 0; i < (size_t)p.B * w->D; i++) w->z[i] = mean * w->x[i];
    PF_TRY(pf_ode_solve(&p, ode, w->z, w->div, stat));
    return PF_OK;
}

/* Prior and integral of image b from the state of the last solve; the variance of the latter. */
static void read_solution(const work *w, int b, pf_ledger *r)
{
    double mean, var;
    pf_probes_read(&w->probes, b, w->div + (size_t)b * w->probes.products, &mean, &var);
    r->prior = -w->flow->prior_logp(w->flow->self, w->z + (size_t)b * w->D) / w->nats;
    r->integral = -mean / w->nats;
    r->probe_variance = var / (w->nats * w->nats);
}

static PF_MUST_USE pf_status fill_nll(work *w, int draw, pf_ledger *rows)
{
    pf_ode_opt tight = w->opt->ode;
    pf_ode_stat stat;

    pf_probes_draw(&w->probes, draw);
    PF_TRY(solve(w, &w->opt->ode, &stat));
    for (int b = 0; b < w->group->B; b++) {
        pf_ledger *r = &rows[b];
        read_solution(w, b, r);
        r->nll = r->prior + r->integral + r->dequantisation + r->offset;
        r->steps = stat.steps;
        r->evaluations = stat.evaluations;
        PF_REQUIRE(isfinite(r->nll), PF_ENUMERIC, "the likelihood of image %lld is not finite",
                   (long long)r->image);
    }
    if (!w->group->repeat) return PF_OK;
    tight.rtol *= 0.1;
    tight.atol *= 0.1;
    tight.div_tol *= 0.1;
    tight.div_nodes =
        2 * tight.div_nodes < PF_DIV_NODES_MAX ? 2 * tight.div_nodes : PF_DIV_NODES_MAX;
    PF_TRY(solve(w, &tight, &stat));
    for (int b = 0; b < w->group->B; b++) {
        pf_ledger again = {0};
        read_solution(w, b, &again);
        rows[b].solver_error = rows[b].prior + rows[b].integral - again.prior - again.integral;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status fill_bound(work *w, int draw, pf_ledger *rows)
{
    const pf_group *g = w->group;
    pf_bound_call c = {w->sde, w->score, w->opt, g->first, g->B, draw};
    double offset = g->pixels ? log2(0.5 * g->levels) : 0.0; /* of x itself, not of mean x */

    PF_TRY(pf_bound(&c, w->x, w->bound));
    for (int b = 0; b < g->B; b++)
        rows[b].bound = w->bound[b] / w->nats + rows[b].dequantisation + offset;
    return PF_OK;
}

static PF_MUST_USE pf_status fill_draw(work *w, int draw, pf_ledger *rows)
{
    place_data(w, draw);
    for (int b = 0; b < w->group->B; b++) {
        double offset;
        placement(w, &offset);
        rows[b] = (pf_ledger){.image = w->group->first + b,
                              .draw = draw,
                              .label = -1,
                              .prior = NAN,
                              .integral = NAN,
                              .nll = NAN,
                              .bound = NAN,
                              .dequantisation = w->log_q[b] / w->nats,
                              .offset = offset,
                              .probe_variance = NAN,
                              .solver_error = NAN};
    }
    if (w->opt->estimand != PF_BOUND) PF_TRY(fill_nll(w, draw, rows));
    if (w->opt->estimand != PF_NLL_ODE) PF_TRY(fill_bound(w, draw, rows));
    return PF_OK;
}

static PF_MUST_USE pf_status fill(work *w, pf_ledger *rows)
{
    PF_TRY(alloc(w));
    PF_TRY(pf_flow_create(w->sde, w->score, &w->flow));
    for (int j = 0; j < w->opt->draws; j++)
        PF_TRY(fill_draw(w, j, rows + (size_t)j * w->group->B));
    return PF_OK;
}

size_t pf_likelihood_bytes(const pf_likelihood_opt *opt, int dim)
{
    int exact = opt->probe == PF_EXACT;
    size_t x = (size_t)opt->group * (size_t)dim * sizeof(double);
    return pf_ode_bytes(&opt->ode, opt->group, dim, exact ? 0 : opt->subspace + opt->probes) +
           2 * x + pf_probes_bytes(opt, opt->group, dim);
}

pf_status pf_likelihood_check(const pf_likelihood_opt *o)
{
    int P = o->colours;
    PF_REQUIRE(P > 0 && (P & (P - 1)) == 0, PF_EARG,
               "likelihood.colours is %d; want a power of two", P);
    if (o->probe == PF_EXACT) return PF_OK;
    PF_REQUIRE(o->probes % P == 0, PF_EARG,
               "likelihood.probes is %d, which is no multiple of the %d of a set "
               "(likelihood.colours)",
               o->probes, P);
    PF_REQUIRE(
        P == 1 || o->probe == PF_RADEMACHER, PF_EARG,
        "likelihood.colours is %d, which arranges signs: set likelihood.probe=rademacher", P);
    PF_REQUIRE(
        P == 1 || o->subspace == 0, PF_EARG,
        "likelihood.colours and likelihood.subspace exclude each other: projected probes "
        "have no colours");
    return PF_OK;
}

pf_status pf_likelihood_group(const pf_sde *sde, pf_score *score, const pf_likelihood_opt *opt,
                              const pf_group *group, pf_ledger *rows)
{
    int none = opt->dequantisation == PF_DEQUANT_NONE;
    PF_REQUIRE(group->B > 0 && group->B <= score->batch, PF_EARG,
               "a group of %d images for a score of at most %d", group->B, score->batch);
    PF_REQUIRE(
        none ? group->x && !group->pixels : group->pixels != NULL, PF_EARG,
        none
            ? "without dequantisation the data must be continuous, not pixels"
            : "only pixels can be dequantised: choose dequantisation none for continuous data");
    PF_REQUIRE(none || (group->levels >= 2 && group->levels <= 256), PF_EARG,
               "pixels of %d levels, want 2 to 256", group->levels);
    PF_TRY(pf_likelihood_check(opt));
    PF_REQUIRE(!pf_likelihood_has_control(opt) ||
                   (group->control && pf_control_dim(group->control) == score->dim),
               PF_EARG,
               "these options need the covariance of the data and none of %d entries "
               "is given",
               score->dim);
    PF_REQUIRE(opt->subspace <= score->dim, PF_EARG,
               "likelihood.subspace is %d in %d dimensions", opt->subspace, score->dim);
    work w = {.sde = sde,
              .score = score,
              .opt = opt,
              .group = group,
              .D = score->dim,
              .nats = score->dim * M_LN2};
    pf_status st = fill(&w, rows);
    release(&w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
