/* The chain of a trained DDPM: terms of its bound and its steps, through a plan.  Rows are in double, the
 * network is float32; calls with fewer samples than the plan's batch repeat the last one, which changes no
 * result since the operators never mix samples.
 *
 * A chain counts from the data, x_0 .. x_T; the index of ddpm.h is one less: its x_i is x_(i+1) here. */
#include "method/ddpm.h"
#include "method/pass.h"

#include <probflow/memory.h>

#include <string.h>

typedef struct chain {
    pf_pass pass;
    pf_ddpm *m; /* the steps of this view; owned */
    int batch;
    size_t D;
    int *i;           /* [batch] */
    uint64_t *sample; /* [batch] */
    float *x;         /* [batch,D] */
    double *xi, *g;   /* [batch,D] */
    /* With self_condition: the prediction that the network is told.  It is the last one of a walk where a step goes on
     * from the step before: of that kind, of those samples, to that index. */
    double *told; /* [batch,D] */
    pf_move_kind kind;
    int next, many;
    uint64_t first;
} chain;

/* The samples of b, in model scale, with the last one repeated up to the plan's batch. */
static pf_batch whole(chain *c, const pf_batch *b)
{
    pf_batch all = *b;
    all.B = c->batch;
    all.x = c->x;
    all.sample = c->sample;
    for (int s = 0; s < c->batch; s++) {
        int from = s < b->B ? s : b->B - 1;
        float *x = c->x + (size_t)s * c->D;
        c->sample[s] = b->sample[from];
        if (b->k)
            pf_to_model_f32(b->space, PF_GRID_PUBLISHED, c->D,
                            (const uint8_t *)b->k + (size_t)from * c->D, NULL, x);
        else if (b->x) memcpy(x, b->x + (size_t)from * c->D, c->D * sizeof *x);
    }
    return all;
}

/* The network at c->xi and c->i, for the samples of b; told: [batch,D] what it predicted before, NULL: nothing. */
static PF_MUST_USE pf_status evaluate(chain *c, const pf_batch *b, const double *told)
{
    pf_ddpm_show(c->m, c->batch, c->i, c->xi, c->pass.in);
    for (pf_ddpm_piece p = {0}; told && pf_ddpm_next(c->m, c->batch, &p);)
        pf_ddpm_tell(c->m, &p, told + p.from, c->pass.in);
    PF_TRY(pf_pass_run(&c->pass, b));
    return PF_OK;
}

/* The same, told what a first pass predicts. */
static PF_MUST_USE pf_status evaluate_twice(chain *c, const pf_batch *b)
{
    PF_TRY(evaluate(c, b, NULL));
    if (!c->m->opt.self_condition) return PF_OK;
    c->next = 0; /* a walk is no longer remembered */
    pf_ddpm_predict(c->m, c->batch, c->i, c->xi, c->pass.out, c->told);
    PF_TRY(evaluate(c, b, c->told));
    return PF_OK;
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    int network = 0;
    PF_TRY(pf_pass_fits(&c->pass, b));
    pf_batch all = whole(c, b), one;
    for (int s = 0; s < c->batch; s++) {
        int at = i[s < b->B ? s : b->B - 1];
        network |= at < c->m->T;
        c->i[s] = at < c->m->T ? at : 0;
    }
    if (network) {
        pf_ddpm_noised(c->m, &all, c->i, c->xi);
        PF_TRY(evaluate_twice(c, b));
        all.B = b->B;
        pf_ddpm_term(c->m, &all, c->i, c->xi, c->pass.out, nats);
    }
    for (int s = 0; s < b->B; s++) {
        one = all;
        one.B = 1;
        one.x = all.x + (size_t)s * c->D;
        if (i[s] == c->m->T) pf_ddpm_prior(c->m, &one, nats + s);
    }
    return PF_OK;
}

static pf_status prior(void *self, const pf_batch *b, double *x)
{
    chain *c = self;
    PF_TRY(pf_pass_fits(&c->pass, b));
    pf_ddpm_start(c->m, b, x);
    return PF_OK;
}

/* 1: the step from x_i is the next one of the walk that is remembered. */
static int goes_on(const chain *c, const pf_batch *b, pf_move_kind kind, int i)
{
    return c->next == i && c->kind == kind && c->many == b->B && c->first == b->sample[0];
}

/* What the step from x_i predicted, x0 [B,D], for the step after it. */
static void remember(chain *c, const pf_batch *b, pf_move_kind kind, int i, const double *x0)
{
    for (int s = 0; s < c->batch; s++) {
        double *to = c->told + (size_t)s * c->D;
        const double *from = x0 + (size_t)(s < b->B ? s : b->B - 1) * c->D;
        if (to != from) memcpy(to, from, c->D * sizeof *to);
    }
    c->kind = kind;
    c->next = kind == PF_MOVE_ENCODE ? i + 1 : i - 1;
    c->many = b->B;
    c->first = b->sample[0];
}

static pf_status step(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0)
{
    chain *c = self;
    const pf_classifier *guide = how->guide;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < c->batch; s++) {
        int from = s < b->B ? s : b->B - 1;
        memcpy(c->xi + (size_t)s * c->D, x + (size_t)from * c->D, c->D * sizeof *x);
        c->i[s] = i - 1;
    }
    PF_TRY(evaluate(c, b, goes_on(c, b, how->kind, i) ? c->told : NULL));
    if (guide) PF_TRY(guide->gradient(guide->self, b, c->m->number[i - 1], c->xi, c->g));
    for (size_t j = 0; guide && j < (size_t)b->B * c->D; j++) c->g[j] *= how->scale;
    const pf_ddpm_here here = {i - 1, how, c->pass.out, guide ? c->g : NULL};
    if (c->m->opt.self_condition && !x0) x0 = c->told;
    pf_ddpm_step(c->m, b, &here, x, x0);
    if (c->m->opt.self_condition) remember(c, b, how->kind, i, x0);
    return PF_OK;
}

static pf_status datum(void *self, int B, const double *x, double *out)
{
    memcpy(out, x, (size_t)B * ((chain *)self)->D * sizeof *x);
    return PF_OK;
}

static void release(void *self)
{
    chain *c = self;
    if (!c) return;
    pf_pass_free(&c->pass);
    pf_free(c->i);
    pf_free(c->sample);
    pf_free(c->x);
    pf_free(c->xi);
    pf_free(c->g);
    pf_free(c->told);
    pf_ddpm_close(c->m);
    pf_free(c);
}

/* The steps that the view keeps. */
static PF_MUST_USE pf_status choose_steps(chain *c, const pf_ddpm *trained,
                                          const pf_view_opt *o)
{
    PF_TRY(
        pf_ddpm_open(&trained->opt, &trained->space, o->respacing ? o->respacing : "", &c->m));
    if (o->clip != PF_CLIP_METHOD) c->m->clip = o->clip == PF_CLIP_YES;
    return PF_OK;
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    const pf_pass *with = o->with ? &((const chain *)o->with)->pass : NULL;
    size_t B = (size_t)o->batch, values;
    c->batch = o->batch;
    PF_TRY(choose_steps(c, n->self, o));
    c->D = (size_t)pf_space_dim(&n->space);
    values = B * c->D;
    c->i = pf_zalloc(B * sizeof *c->i);
    c->sample = pf_zalloc(B * sizeof *c->sample);
    c->x = pf_zalloc(values * sizeof *c->x);
    c->xi = pf_zalloc(values * sizeof *c->xi);
    c->g = pf_zalloc(values * sizeof *c->g);
    if (c->m->opt.self_condition) c->told = pf_zalloc(values * sizeof *c->told);
    PF_REQUIRE(c->i && c->sample && c->x && c->xi && c->g &&
                   (c->told || !c->m->opt.self_condition),
               PF_EMEM, "no memory for a chain of %d samples", o->batch);
    PF_TRY(pf_pass_create(&c->pass, n, o, 0, with));
    return PF_OK;
}

pf_status pf_ddpm_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    chain *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a chain");
    pf_status st = create(c, n, o);
    if (st) {
        release(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = (pf_chain){.self = c,
                      .dim = (int)c->D,
                      .steps = c->m->T,
                      .whole = c->m->opt.steps,
                      .clips = c->m->clip,
                      .passes = 1 + c->m->opt.self_condition,
                      .batch = c->batch,
                      .state = c->D,
                      .term = term,
                      .prior = prior,
                      .step = step,
                      .datum = datum,
                      .free = release};
    return PF_OK;
}
