/* Options of a likelihood, and a group of images under what is asked for. */
#include "likelihood/bound_terms.h"
#include "likelihood/probe.h"

#include <probflow/estimand.h>
#include <probflow/method.h>

#include <math.h>

/* clang-format off */
static const char *const probe_words[] = {"rademacher", "gaussian", "exact", NULL};
static const char *const form_words[] = {"residual", "dsm", "sliced", NULL};
static const char *const times_words[] = {"importance", "uniform", NULL};
static const char *const strata_words[] = {"even", "geometric", "learned", NULL};
static const char *const control_words[] = {"none", "gaussian", NULL};

#define TRACE(field, kind, def, lo, hi, words, help) \
    { #field, kind, offsetof(pf_likelihood_opt, trace.field), def, lo, hi, NULL, words, help }

const pf_opt pf_likelihood_opts[] = {
    PF_OPT_SET(pf_likelihood_opt, estimand, PF_NLL_ODE, pf_estimand_words, "what is computed, a word or several as in nll_ode,bound: the likelihood of the probability flow, the bound of the SDE, the bound of a chain"),
    PF_OPT_ENUM(pf_likelihood_opt, dequantisation, PF_DEQUANT_UNIFORM, pf_dequant_words, "noise that makes pixels continuous"),
    PF_OPT(pf_likelihood_opt, draws, PF_INT, 1, 1, 10000, "draws an image: of its dequantisation, or of the noise and the drawn terms of a chain"),
    TRACE(probe, PF_ENUM, PF_RADEMACHER, 0, 0, probe_words, "noise of the divergence estimate; exact: D products an evaluation"),
    TRACE(probes, PF_INT, 1, 1, 1024, NULL, "probes an image; two sets of `colours` and more give their share of the error"),
    TRACE(colours, PF_INT, 1, 1, 64, NULL, "probes a set, a power of two: in a set the couplings between pixels of different colour cancel"),
    TRACE(control, PF_ENUM, PF_CONTROL_NONE, 0, 0, control_words, "control variate of the divergence estimate; gaussian: from the covariance of the train split"),
    TRACE(control_noise, PF_F64, 0.7, 0.0, 1e6, NULL, "noise to signal ratio from which the control variate is used; 0: from t_min"),
    TRACE(subspace, PF_INT, 0, 0, 1024, NULL, "principal directions of the train split along which the divergence is exact; a product each"),
    PF_OPT(pf_likelihood_opt, group, PF_INT, 16, 1, 65536, "images a solve: part of the definition of the result"),
    PF_OPT(pf_likelihood_opt, bound_samples, PF_INT, 64, 1, 1000000, "times an image for the bound"),
    PF_OPT_ENUM_QUIET(pf_likelihood_opt, bound_form, PF_BOUND_RESIDUAL, form_words, "of the bound: residual, |std score + noise|^2, without divergences, of the least variance; dsm and sliced, as published by score matching, sliced by a product with the Jacobian a time"),
    PF_OPT_ENUM_QUIET(pf_likelihood_opt, bound_times, PF_BOUND_IMPORTANCE, times_words, "of the bound: importance, times drawn by the likelihood weight; uniform"),
    PF_OPT_ENUM_QUIET(pf_likelihood_opt, bound_control, PF_CONTROL_NONE, control_words, "of the bound's residuals: gaussian: what a Gaussian with mean and covariance of the train split does at the same noise is taken away, whose mean is known"),
    PF_OPT_QUIET(pf_likelihood_opt, terms, PF_INT, 0, 0, 1000000, "vlb: steps an image, one drawn in each of so many strata of the chain; 0: all"),
    PF_OPT_ENUM_QUIET(pf_likelihood_opt, clip, PF_CLIP_METHOD, pf_clip_words, "vlb: predictions of the data are cut to their range; method: where its own options say so"),
    { "respacing", PF_STR, offsetof(pf_likelihood_opt, respacing), 0, 0, 0, "", NULL, "vlb: steps of the chain that are kept: 250, in equal steps; 10,15,20, of each third; ddim50, each n-th; even50, evenly down from the last; empty: all", 1 },
    PF_OPT_ENUM_QUIET(pf_likelihood_opt, strata, PF_STRATA_EVEN, strata_words, "vlb: even: all of one size; geometric: in one ratio, the least noisy the smallest, where the terms are largest; learned: of one probability under the law that training with method.times=second_moment learned, by which steps are drawn then"),
    PF_OPT(pf_likelihood_opt, check_groups, PF_INT, 1, 0, 1000000, "groups repeated at a tenth of the tolerances, the last and shorter one among them, for the solver's share of the error; 1000000: all"),
    PF_OPT(pf_likelihood_opt, seed, PF_I64, 1, 0, 9e18, "seed of dequantisation, probes and bound"),
    PF_OPT_NEST(pf_likelihood_opt, ode, pf_ode_opts),
    { 0 }
};
/* clang-format on */

int pf_likelihood_has_control(const pf_likelihood_opt *o)
{
    const pf_estimand_ops *e;
    int traced = 0;
    for (int i = 0; (e = pf_estimand_asked(o, i)); i++) traced |= e->repeat != NULL;
    return (traced && pf_trace_has_control(&o->trace)) ||
           (o->estimand & PF_BOUND && o->bound_control);
}

size_t pf_likelihood_bytes(const pf_likelihood_opt *o, int dim)
{
    const pf_estimand_ops *e;
    size_t most = 0; /* one after the other */
    for (int i = 0; (e = pf_estimand_asked(o, i)); i++)
        if (e->bytes(o, dim) > most) most = e->bytes(o, dim);
    return most;
}

/* What only a chain has is not asked of anything else. */
static PF_MUST_USE pf_status check_chain(const pf_likelihood_opt *o)
{
    const pf_estimand_ops *e;
    for (int i = 0; (e = pf_estimand_asked(o, i)); i++)
        PF_REQUIRE(e->needs & PF_NEEDS_CHAIN || (o->clip == PF_CLIP_METHOD && !o->respacing[0]),
                   PF_EARG,
                   "likelihood.%s is %s, but %s is of no chain of steps; leave it out, or set "
                   "likelihood.estimand=vlb",
                   o->respacing[0] ? "respacing" : "clip",
                   o->respacing[0] ? o->respacing : pf_clip_words[o->clip], e->name);
    return PF_OK;
}

pf_status pf_likelihood_check(const pf_likelihood_opt *opt)
{
    const pf_trace_opt *o = &opt->trace;
    const pf_ledger_column *none;
    int P = o->colours;
    const pf_estimand_ops *a = pf_estimand_asked(opt, 0), *b = pf_estimand_asked(opt, 1);
    PF_REQUIRE(pf_likelihood_columns(opt, &none), PF_EARG,
               "likelihood.estimand: %s and %s have no ledger in common; ask for one after the "
               "other",
               a ? a->name : "none", b ? b->name : "none");
    PF_TRY(check_chain(opt));
    PF_REQUIRE(!opt->bound_control || opt->bound_form == PF_BOUND_RESIDUAL, PF_EARG,
               "likelihood.bound_control is of residuals: set likelihood.bound_form=residual");
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

/* What the view lacks. */
static PF_MUST_USE pf_status check_view(const pf_estimand_ops *e, const pf_view *v,
                                        const pf_group *g)
{
    PF_REQUIRE(v->score || !(e->needs & PF_NEEDS_SCORE), PF_EARG,
               "likelihood.estimand: %s needs a score, which this model does not have",
               e->name);
    PF_REQUIRE(v->chain || !(e->needs & PF_NEEDS_CHAIN), PF_EARG,
               "likelihood.estimand: %s needs a chain of steps, which this model does not have",
               e->name);
    int most = e->needs & PF_NEEDS_SCORE ? v->score->batch : v->chain->batch;
    PF_REQUIRE(g->B > 0 && g->B <= most, PF_EARG,
               "a group of %d images for a view of the model that takes at most %d", g->B,
               most);
    return PF_OK;
}

pf_status pf_likelihood_group(const pf_view *view, const pf_likelihood_opt *opt,
                              const pf_group *group, double *cells)
{
    const pf_estimand_ops *e;
    PF_TRY(pf_likelihood_check(opt));
    for (int i = 0; (e = pf_estimand_asked(opt, i)); i++) {
        PF_TRY(check_view(e, view, group));
        PF_TRY(e->check(opt, view, group));
    }
    if (view->score && view->score->give)
        PF_TRY(view->score->give(view->score->self, group->B, group->label, group->condition));
    pf_ledger l = {.rows = (int64_t)opt->draws * group->B, .cell = cells};
    l.n = pf_likelihood_columns(opt, &l.column);
    pf_ledger_clear(&l);
    for (int64_t r = 0; r < l.rows; r++) {
        cells[r * l.n + PF_AT_IMAGE] = (double)(group->first + r % group->B);
        cells[r * l.n + PF_AT_DRAW] = (double)(r / group->B);
    }
    for (int i = 0; (e = pf_estimand_asked(opt, i)); i++)
        PF_TRY(e->group(opt, view, group, cells));
    return PF_OK;
}
