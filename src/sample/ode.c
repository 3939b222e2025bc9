/* Sampling by the probability flow: prior at t = 1, one solve to t_min, and with `denoise`
 * Tweedie's mean (x + s^2 score)/m of the noise that is left.
 *
 * The steps are chosen for the batch, so a sample depends on its companions within the solver's
 * tolerance; its noise is its own.
 *
 * Source: Song et al. 2021, section 4.3; Efron 2011 (Tweedie's formula). */
#include "sample/sampler.h"

#include <probflow/memory.h>

static PF_MUST_USE pf_status tweedie(const pf_sde *sde, pf_score *score, double at, int B,
                                     double *x)
{
    size_t n = (size_t)B * score->dim;
    double *t = pf_zalloc((size_t)B * sizeof *t), *s = pf_zalloc(n * sizeof *s), m, std;
    pf_status st = t && s ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d scores", B);

    pf_sde_marginal(sde, at, &m, &std);
    for (int b = 0; t && b < B; b++) t[b] = at;
    if (!st) st = score->eval(score->self, B, t, x, s);
    for (size_t i = 0; !st && i < n; i++) x[i] = (x[i] + std * std * s[i]) / m;
    pf_free(t);
    pf_free(s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status draw(const pf_drawing *d)
{
    const pf_sde *sde = d->view->sde;
    const pf_sample_opt *opt = d->opt;
    pf_score *score = d->view->score;
    int B = d->B;
    double *x = d->x;
    pf_flow *flow;
    pf_ode_stat stat;
    pf_ode_opt ode = opt->ode;

    ode.div_tol = 1.0; /* no divergence here */
    PF_TRY(pf_sample_prior(sde, opt, d->first, B, score->dim, x));
    PF_TRY(pf_flow_create(sde, score, &flow));
    pf_ode_problem p = {.flow = flow, .B = B, .t0 = 1.0, .t1 = opt->t_min, .first = d->first};
    pf_status st = pf_ode_solve(&p, &ode, x, NULL, &stat);
    pf_flow_free(flow);
    if (st) return pf_trail(st, PF_WHERE);
    *d->evaluations += stat.evaluations;
    if (!opt->denoise) return PF_OK;
    ++*d->evaluations;
    PF_TRY(tweedie(sde, score, opt->t_min, B, x));
    return PF_OK;
}

const pf_sampler_ops pf_sampler_ode = {
    .name = "ode",
    .help = "probability flow by the adaptive solver",
    .needs = PF_NEEDS_SCORE,
    .draw = draw,
};
