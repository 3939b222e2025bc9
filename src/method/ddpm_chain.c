/* The chain of a trained DDPM: terms of its bound and its steps, through a plan.  Rows are in double, the
 * network is float32; calls with fewer samples than the plan's batch repeat the last one, which changes no
 * result since the operators never mix samples.
 *
 * A chain counts from the data, x_0 .. x_T; the index of ddpm.h is one less: its x_i is x_(i+1) here. */
#include "method/ddpm.h"

#include <probflow/memory.h>

#include <string.h>

typedef struct chain {
    const pf_net *net;
    pf_ddpm *m; /* the steps of this view; owned */
    pf_plan *plan;
    pf_run run;
    pf_inputs inputs;
    void *in[PF_PORTS_MAX]; /* of the method's ports */
    int batch;
    size_t D;
    int *i;           /* [batch] */
    uint64_t *sample; /* [batch] */
    float *x;         /* [batch,D] */
    float *out;       /* [batch,out] */
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

static PF_MUST_USE pf_status check(const chain *c, const pf_batch *b)
{
    PF_REQUIRE(b->B > 0 && b->B <= c->batch, PF_EARG, "a chain of %d samples, made for 1 to %d",
               b->B, c->batch);
    return PF_OK;
}

/* The network at c->xi and c->i, for the samples of b; told: [batch,D] what it predicted before, NULL: nothing. */
static PF_MUST_USE pf_status evaluate(chain *c, const pf_batch *b, const double *told)
{
    pf_ddpm_show(c->m, c->batch, c->i, c->xi, c->in);
    for (pf_ddpm_piece p = {0}; told && pf_ddpm_next(c->m, c->batch, &p);)
        pf_ddpm_tell(c->m, &p, told + p.from, c->in);
    pf_net_give(c->net, c->batch, b, &c->inputs);
    PF_TRY(pf_plan_forward(c->plan, &c->run, c->out));
    return PF_OK;
}

/* The same, told what a first pass predicts. */
static PF_MUST_USE pf_status evaluate_twice(chain *c, const pf_batch *b)
{
    PF_TRY(evaluate(c, b, NULL));
    if (!c->m->opt.self_condition) return PF_OK;
    c->next = 0; /* a walk is no longer remembered */
    pf_ddpm_predict(c->m, c->batch, c->i, c->xi, c->out, c->told);
    PF_TRY(evaluate(c, b, c->told));
    return PF_OK;
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    int network = 0;
    PF_TRY(check(c, b));
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
        pf_ddpm_term(c->m, &all, c->i, c->xi, c->out, nats);
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
    PF_TRY(check(c, b));
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
    PF_TRY(check(c, b));
    for (int s = 0; s < c->batch; s++) {
        int from = s < b->B ? s : b->B - 1;
        memcpy(c->xi + (size_t)s * c->D, x + (size_t)from * c->D, c->D * sizeof *x);
        c->i[s] = i - 1;
    }
    PF_TRY(evaluate(c, b, goes_on(c, b, how->kind, i) ? c->told : NULL));
    if (guide) PF_TRY(guide->gradient(guide->self, b, c->m->number[i - 1], c->xi, c->g));
    for (size_t j = 0; guide && j < (size_t)b->B * c->D; j++) c->g[j] *= how->scale;
    const pf_ddpm_here here = {i - 1, how, c->out, guide ? c->g : NULL};
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
    pf_plan_free(c->plan);
    pf_inputs_free(&c->inputs);
    pf_free(c->i);
    pf_free(c->sample);
    pf_free(c->x);
    pf_free(c->out);
    pf_free(c->xi);
    pf_free(c->g);
    pf_free(c->told);
    pf_ddpm_close(c->m);
    pf_free(c);
}

/* The steps that the view keeps. */
static PF_MUST_USE pf_status choose_steps(chain *c, const pf_view_opt *o)
{
    const pf_ddpm *trained = c->net->self;
    PF_TRY(
        pf_ddpm_open(&trained->opt, &trained->space, o->respacing ? o->respacing : "", &c->m));
    if (o->clip != PF_CLIP_METHOD) c->m->clip = o->clip == PF_CLIP_YES;
    return PF_OK;
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    pf_plan_opt po = {.batch = o->batch,
                      .backend = o->backend,
                      .with = o->with ? ((const chain *)o->with)->plan : NULL};
    size_t B = (size_t)o->batch, values;
    c->net = n;
    c->batch = o->batch;
    PF_TRY(choose_steps(c, o));
    c->D = (size_t)pf_space_dim(&n->space);
    values = B * c->D;
    PF_TRY(pf_inputs_create(n, o->batch, &c->inputs));
    pf_inputs_run(&c->inputs, &c->run);
    pf_net_ports(n, &c->inputs, c->in);
    c->i = pf_zalloc(B * sizeof *c->i);
    c->sample = pf_zalloc(B * sizeof *c->sample);
    c->x = pf_zalloc(values * sizeof *c->x);
    c->out = pf_zalloc(B * c->m->out * sizeof *c->out);
    c->xi = pf_zalloc(values * sizeof *c->xi);
    c->g = pf_zalloc(values * sizeof *c->g);
    if (c->m->opt.self_condition) c->told = pf_zalloc(values * sizeof *c->told);
    PF_REQUIRE(c->i && c->sample && c->x && c->out && c->xi && c->g &&
                   (c->told || !c->m->opt.self_condition),
               PF_EMEM, "no memory for a chain of %d samples", o->batch);
    PF_TRY(pf_plan_create(n->graph, &po, &c->plan));
    if (!o->with) PF_TRY(pf_plan_set_params(c->plan, n->params));
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
