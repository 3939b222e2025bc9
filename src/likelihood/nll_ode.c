/* nll_ode: dequantise, solve the flow with its divergence.
 *
 *     log p(x) = log prior(z) + integral of div f dt, estimated as probe.c and control.c say
 *     bits/dim = -log p/(D ln 2) + log q(u)/(D ln 2) + log2(L/2)
 *
 * Source: Song et al. 2021, section 4.3 and appendix D. */
#include "likelihood/columns.h"
#include "likelihood/place.h"
#include "likelihood/probe.h"

#include <math.h>
#include <probflow/estimand.h>
#include <probflow/memory.h>

typedef struct work {
    const pf_view *view;
    const pf_likelihood_opt *opt;
    const pf_group *group;
    pf_flow *flow;
    pf_probes probes;
    int D;
    double nats; /* of one bit a dimension */
    double *x, *z, *div;
} work;

static PF_MUST_USE pf_status alloc(work *w)
{
    size_t B = (size_t)w->group->B, n = B * w->D;
    PF_TRY(pf_probes_init(&w->probes, w->view->sde, w->opt, w->group, w->D));
    w->x = pf_zalloc(n * sizeof *w->x);
    w->z = pf_zalloc(n * sizeof *w->z);
    w->div = pf_zalloc(B * w->probes.products * sizeof *w->div);
    PF_REQUIRE(w->x && w->z && w->div, PF_EMEM, "no memory for a group of %zu images", B);
    return PF_OK;
}

static void release(work *w)
{
    pf_free(w->x);
    pf_free(w->z);
    pf_free(w->div);
    pf_probes_free(&w->probes);
    pf_flow_free(w->flow);
}

static PF_MUST_USE pf_status solve(work *w, const pf_ode_opt *ode, pf_ode_stat *stat)
{
    double offset, mean = pf_place_mean(w->opt, w->view->sde, w->group, &offset);
    pf_ode_problem p = {.flow = w->flow,
                        .B = w->group->B,
                        .K = w->probes.products,
                        .exact = w->opt->trace.probe == PF_EXACT,
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
static void read_solution(const work *w, int b, double *cells)
{
    double mean, var;
    pf_probes_read(&w->probes, b, w->div + (size_t)b * w->probes.products, &mean, &var);
    cells[PF_FLOW_PRIOR] =
        -w->flow->prior_logp(w->flow->self, w->z + (size_t)b * w->D) / w->nats;
    cells[PF_FLOW_INTEGRAL] = -mean / w->nats;
    cells[PF_FLOW_PROBE_VARIANCE] = var / (w->nats * w->nats);
}

/* The same by a better solve. */
static PF_MUST_USE pf_status fill_errors(work *w, double *cells)
{
    pf_ode_opt tight = w->opt->ode;
    pf_ode_stat stat;
    tight.rtol *= 0.1;
    tight.atol *= 0.1;
    tight.div_tol *= 0.1;
    tight.div_nodes =
        2 * tight.div_nodes < PF_DIV_NODES_MAX ? 2 * tight.div_nodes : PF_DIV_NODES_MAX;
    PF_TRY(solve(w, &tight, &stat));
    for (int b = 0; b < w->group->B; b++, cells += PF_FLOW_COLUMNS) {
        double again[PF_FLOW_COLUMNS];
        read_solution(w, b, again);
        cells[PF_FLOW_SOLVER_ERROR] = cells[PF_FLOW_PRIOR] + cells[PF_FLOW_INTEGRAL] -
                                      again[PF_FLOW_PRIOR] - again[PF_FLOW_INTEGRAL];
    }
    return PF_OK;
}

static PF_MUST_USE pf_status fill_draw(work *w, int draw, double *cells)
{
    pf_ode_stat stat;
    pf_place_data(w->opt, w->view, w->group, draw, w->x, cells);
    pf_probes_draw(&w->probes, draw);
    PF_TRY(solve(w, &w->opt->ode, &stat));
    for (int b = 0; b < w->group->B; b++) {
        double *r = cells + b * PF_FLOW_COLUMNS;
        read_solution(w, b, r);
        r[PF_FLOW_NLL] = r[PF_FLOW_PRIOR] + r[PF_FLOW_INTEGRAL] + r[PF_FLOW_DEQUANTISATION] +
                         r[PF_FLOW_OFFSET];
        r[PF_FLOW_STEPS] = (double)stat.steps;
        r[PF_FLOW_EVALUATIONS] = (double)stat.evaluations;
        PF_REQUIRE(isfinite(r[PF_FLOW_NLL]), PF_ENUMERIC,
                   "the likelihood of image %lld is not finite",
                   (long long)w->group->first + b);
    }
    if (w->group->repeat) PF_TRY(fill_errors(w, cells));
    return PF_OK;
}

static PF_MUST_USE pf_status fill(work *w, double *cells)
{
    PF_TRY(alloc(w));
    PF_TRY(pf_flow_create(w->view->sde, w->view->score, &w->flow));
    for (int j = 0; j < w->opt->draws; j++)
        PF_TRY(fill_draw(w, j, cells + (size_t)j * w->group->B * PF_FLOW_COLUMNS));
    return PF_OK;
}

static pf_status score_group(const pf_likelihood_opt *opt, const pf_view *view,
                             const pf_group *group, double *cells)
{
    int D = view->score->dim;
    work w = {.view = view, .opt = opt, .group = group, .D = D, .nats = D * M_LN2};
    pf_status st = fill(&w, cells);
    release(&w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group)
{
    int D = view->score->dim, m = opt->trace.subspace;
    PF_TRY(pf_place_check(opt, group));
    PF_REQUIRE(!pf_trace_has_control(&opt->trace) ||
                   (group->control && pf_control_dim(group->control) == D),
               PF_EARG,
               "these options need the covariance of the data and none of %d entries "
               "is given",
               D);
    PF_REQUIRE(m <= D, PF_EARG, "likelihood.subspace is %d in %d dimensions", m, D);
    return PF_OK;
}

static size_t bytes(const pf_likelihood_opt *opt, int dim)
{
    const pf_trace_opt *t = &opt->trace;
    size_t x = (size_t)opt->group * (size_t)dim * sizeof(double);
    return pf_ode_bytes(&opt->ode, opt->group, dim,
                        t->probe == PF_EXACT ? 0 : t->subspace + t->probes) +
           2 * x + pf_probes_bytes(t, opt->group, dim);
}

static int repeats(const pf_likelihood_opt *opt)
{
    return opt->trace.probe == PF_EXACT ? 0 : opt->trace.probes / opt->trace.colours;
}

static void repeat(pf_likelihood_opt *opt, int times)
{
    opt->trace.probes *= times;
}

const pf_estimand_ops pf_estimand_nll_ode = {
    .name = "nll_ode",
    .help = "the likelihood of the probability flow",
    .needs = PF_NEEDS_SCORE,
    .columns = pf_flow_columns,
    .n = PF_FLOW_COLUMNS,
    .total = PF_FLOW_NLL,
    .table = "log_likelihood",
    .prefix = "",
    .page = "log p",
    .check = check,
    .repeats = repeats,
    .repeat = repeat,
    .bytes = bytes,
    .group = score_group,
};
