/* Sampling by a chain's own steps, x_T .. x_0, drawn or with less noise, and what the model expects of the end on the
 * way (progressive generation); the way back.
 *
 * Source: Ho et al. 2020, algorithm 2 and section 4.3; Song, Meng and Ermon 2021, section 4. */
#include "sample/sampler.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

typedef struct run {
    const pf_drawing *d;
    pf_chain *chain;
    pf_move move;
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

/* The state that sampling begins with: drawn, or the code of data. */
static PF_MUST_USE pf_status begin(run *r, const pf_batch *b)
{
    const pf_drawing *d = r->d;
    pf_chain *c = r->chain;
    const pf_move back = {.kind = PF_MOVE_ENCODE};
    size_t n = (size_t)d->B * c->state;
    if (!d->code) {
        PF_TRY(c->prior(c->self, b, r->state));
        return PF_OK;
    }
    PF_ASSERT(c->state == (size_t)c->dim); /* Gaussian chains alone have a way back */
    memcpy(r->state, d->code, n * sizeof *r->state);
    /* up to x_T, from which steps are taken; one more would leave nothing but noise */
    for (int i = 1; i < c->steps; i++) PF_TRY(c->step(c->self, b, &back, i, r->state, NULL));
    memcpy(d->code, r->state, n * sizeof *r->state);
    *d->evaluations += c->steps - 1;
    return PF_OK;
}

static PF_MUST_USE pf_status walk(run *r, const pf_batch *b)
{
    const pf_drawing *d = r->d;
    pf_chain *c = r->chain;
    size_t D = (size_t)d->B * (size_t)c->dim;
    int64_t before = c->calls ? *c->calls : 0;
    pf_unfit already = c->unfit ? *c->unfit : (pf_unfit){0};
    PF_TRY(begin(r, b));
    for (int n = 1; n <= c->steps; n++) {
        int at = due(r, n);
        PF_TRY(
            c->step(c->self, b, &r->move, c->steps + 1 - n, r->state, at < 0 ? NULL : r->x0));
        if (at >= 0) PF_TRY(c->datum(c->self, d->B, r->x0, d->preview + (size_t)at * D));
    }
    PF_TRY(c->datum(c->self, d->B, r->state, d->x));
    *d->evaluations += c->calls ? *c->calls - before : c->steps;
    if (c->unfit) {
        pf_unfit_add(d->unfit, c->unfit, 1);
        pf_unfit_add(d->unfit, &already, -1);
    }
    for (size_t i = 0; i < D; i++)
        PF_REQUIRE(isfinite(d->x[i]), PF_ENUMERIC, "sample %lld is not finite",
                   (long long)(d->first + (int64_t)(i / (size_t)c->dim)));
    return PF_OK;
}

static PF_MUST_USE pf_status alloc(run *r)
{
    const pf_drawing *d = r->d;
    size_t n = (size_t)d->B * r->chain->state, C = (size_t)d->space->conditions + 1;
    r->sample = pf_zalloc((size_t)d->B * sizeof *r->sample);
    if (d->condition) r->condition = pf_zalloc((size_t)d->B * C * sizeof *r->condition);
    r->state = pf_zalloc(2 * n * sizeof *r->state);
    PF_REQUIRE(r->sample && r->state && (r->condition || !d->condition), PF_EMEM,
               "no memory for %d samples", d->B);
    r->x0 = r->state + n;
    return PF_OK;
}

static PF_MUST_USE pf_status take(run *r)
{
    const pf_drawing *d = r->d;
    PF_TRY(alloc(r));
    if (r->condition)
        pf_conditions_known(d->space->conditions, d->B, d->condition, r->condition);
    for (int i = 0; i < d->B; i++) r->sample[i] = (uint64_t)(d->first + i);
    pf_batch b = {.space = d->space,
                  .B = d->B,
                  .first = d->first,
                  .total = d->first + d->B,
                  .sample = r->sample,
                  .label = d->label,
                  .condition = r->condition,
                  .seed = (uint64_t)d->opt->seed,
                  .eval = 1};
    return walk(r, &b);
}

static pf_status draw(const pf_drawing *d, pf_move move)
{
    run r = {.d = d, .chain = d->view->chain, .move = move};
    r.move.guide = d->guide;
    r.move.scale = d->opt->guide_scale;
    r.move.known = d->known;
    r.move.mask = d->mask;
    r.move.known_std = d->known_std;
    pf_status st = take(&r);
    pf_free(r.sample);
    pf_free(r.condition);
    pf_free(r.state);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status draw_chain(const pf_drawing *d)
{
    return draw(d, (pf_move){.kind = PF_MOVE_ANCESTRAL});
}

static pf_status draw_ddim(const pf_drawing *d)
{
    return draw(d, (pf_move){.kind = PF_MOVE_DDIM, .eta = d->opt->eta});
}

const pf_sampler_ops pf_sampler_chain = {
    .name = "chain",
    .help = "the steps of a method that has steps, one after the other",
    .needs = PF_NEEDS_CHAIN,
    .previews = 1,
    .guided = 1,
    .inpaints = 1,
    .denoises = 1,
    .draw = draw_chain,
};

const pf_sampler_ops pf_sampler_ddim = {
    .name = "ddim",
    .help = "the steps of a chain with eta of their noise, by default none (Song, Meng and "
            "Ermon 2021)",
    .needs = PF_NEEDS_CHAIN,
    .previews = 1,
    .encodes = 1,
    .guided = 1,
    .draw = draw_ddim,
};
