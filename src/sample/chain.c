/* Sampling by a chain's own steps, x_T .. x_0, and what the model expects of the end on the way (progressive
 * generation).
 *
 * Source: Ho et al. 2020, algorithm 2 and section 4.3. */
#include "sample/sampler.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

typedef struct run {
    const pf_drawing *d;
    pf_chain *chain;
    float *condition;   /* [B,C+1] as a batch has them; NULL: not told */
    uint64_t *sample;   /* [B] */
    double *state, *x0; /* [B,state] */
} run;

/* The preview that is due after n of the steps; -1: none. */
static int due(const run *r, int n)
{
    int64_t P = r->d->previews, T = r->chain->steps;
    return P && n * P / T > (n - 1) * P / T ? (int)(n * P / T) - 1 : -1;
}

static PF_MUST_USE pf_status walk(run *r)
{
    const pf_drawing *d = r->d;
    pf_chain *c = r->chain;
    size_t D = (size_t)d->B * (size_t)c->dim;
    pf_batch b = {.space = d->space,
                  .B = d->B,
                  .first = d->first,
                  .total = d->first + d->B,
                  .sample = r->sample,
                  .label = d->label,
                  .condition = r->condition,
                  .seed = (uint64_t)d->opt->seed,
                  .eval = 1};
    if (r->condition)
        pf_conditions_known(d->space->conditions, d->B, d->condition, r->condition);
    for (int i = 0; i < d->B; i++) r->sample[i] = (uint64_t)(d->first + i);
    const pf_move ancestral = {.kind = PF_MOVE_ANCESTRAL};
    PF_TRY(c->prior(c->self, &b, r->state));
    for (int n = 1; n <= c->steps; n++) {
        int at = due(r, n);
        PF_TRY(c->step(c->self, &b, &ancestral, c->steps + 1 - n, r->state,
                       at < 0 ? NULL : r->x0));
        if (at >= 0) PF_TRY(c->datum(c->self, d->B, r->x0, d->preview + (size_t)at * D));
    }
    PF_TRY(c->datum(c->self, d->B, r->state, d->x));
    *d->evaluations += c->steps;
    for (size_t i = 0; i < D; i++)
        PF_REQUIRE(isfinite(d->x[i]), PF_ENUMERIC, "sample %lld is not finite",
                   (long long)(d->first + (int64_t)(i / (size_t)c->dim)));
    return PF_OK;
}

static pf_status draw(const pf_drawing *d)
{
    run r = {.d = d, .chain = d->view->chain};
    size_t n = (size_t)d->B * r.chain->state;
    size_t C = (size_t)d->space->conditions + 1;
    int told = d->condition != NULL;
    r.sample = pf_zalloc((size_t)d->B * sizeof *r.sample);
    if (told) r.condition = pf_zalloc((size_t)d->B * C * sizeof *r.condition);
    r.state = pf_zalloc(2 * n * sizeof *r.state);
    r.x0 = r.state ? r.state + n : NULL;
    pf_status st = r.sample && r.state && (r.condition || !told)
                       ? walk(&r)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d samples", d->B);
    pf_free(r.sample);
    pf_free(r.condition);
    pf_free(r.state);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_sampler_ops pf_sampler_chain = {
    .name = "chain",
    .help = "the steps of a method that has steps, one after the other",
    .needs = PF_NEEDS_CHAIN,
    .previews = 1,
    .draw = draw,
};
