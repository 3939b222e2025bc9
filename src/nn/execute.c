/* Running a plan: parameters, forward, reverse mode, profile. */
#include <probflow/log.h>
#include <probflow/plan.h>

#include "nn/plan_impl.h"

#include <string.h>

static float *at(const pf_plan *p, int piece)
{
    return piece < 0 ? NULL : p->mem + p->piece[piece].offset;
}

static size_t floats_of(const pf_plan *p, int node)
{
    return (size_t)p->opt.batch * pf_shape_size(p->graph->node[node].shape);
}

enum { FORWARD, BACKWARD, AGAIN };

/* The value that the backward pass reads is the one that was made last. */
static float *value_at(const pf_plan *p, int i, int when)
{
    const pf_step *st = &p->step[i];
    return at(p, when != FORWARD && st->again >= 0 ? st->value_again : st->value);
}

static pf_call call_of(const pf_plan *p, int i, int when)
{
    const pf_step *st = &p->step[i];
    const pf_gnode *n = &p->graph->node[i];
    int twice = when != FORWARD && st->again >= 0;
    int scratch = when == AGAIN ? p->step[st->again].scratch[1] : st->scratch[when];
    pf_call c = {.site = &st->site,
                 .run = &p->run,
                 .out = value_at(p, i, when),
                 .prepared = st->prepared_n ? p->prepared + st->prepared_at : NULL,
                 .saved = at(p, twice ? st->saved_again : st->saved),
                 .scratch = at(p, scratch)};
    for (int k = 0; k < n->n_in; k++) c.in[k] = value_at(p, n->in[k], when);
    for (int k = 0; k < n->n_param; k++)
        c.param[k] = p->params + p->graph->param[n->param[k]].offset;
    return c;
}

/* Parts are stretches of the prepared parameters of about equal size. */
static int part_of(const pf_plan *p, const pf_step *st, int parts)
{
    return (int)((double)st->prepared_at / (double)p->prepared_floats * parts);
}

pf_status pf_plan_set_params_part(pf_plan *p, const float *params, int part, int parts)
{
    p->params = params;
    p->state = PF_PLAN_READY;
    for (int i = 0; i < p->n_step; i++) {
        pf_step *st = &p->step[i];
        if (!st->prepared_n || part_of(p, st, parts) != part) continue;
        pf_call c = call_of(p, i, FORWARD);
        c.run = NULL;
        double t0 = p->profile ? pf_seconds() : 0.0;
        pf_status s = st->row->prepare(st->ctx, &c);
        if (p->profile) st->prepare_s += pf_seconds() - t0;
        if (s) p->state = PF_PLAN_FRESH;
        PF_TRY(s);
    }
    return PF_OK;
}

pf_status pf_plan_set_params(pf_plan *p, const float *params)
{
    return pf_plan_set_params_part(p, params, 0, 1);
}

void pf_run_set(pf_run *run, const pf_graph *g, const char *name, const void *values)
{
    int i = pf_graph_port(g, name);
    if (i >= 0) run->in[i] = values;
}

static int reads(const pf_plan *p, int port)
{
    int i = p->graph->port_node[port];
    return i < p->n_step && p->step[i].live;
}

/* The caller's arrays may be gone when backward runs. */
static PF_MUST_USE pf_status keep_run(pf_plan *p, const pf_run *run)
{
    const pf_graph *g = p->graph;
    PF_REQUIRE(p->state != PF_PLAN_FRESH || g->n_param == 0, PF_EARG,
               "a plan runs after its parameters are set");
    for (int k = 0; k < g->n_port; k++)
        PF_REQUIRE(run->in[k] || !reads(p, k), PF_EARG, "a run without its input %s",
                   g->port[k].name);
    PF_REQUIRE(!run->train || run->sample, PF_EARG, "a training run without sample numbers");
    p->run = *run;
    p->run.sample = run->train ? p->sample : NULL;
    for (int b = 0; run->train && b < p->opt.batch; b++) {
        PF_REQUIRE(run->sample[b] < (uint64_t)1 << PF_DROPOUT_SAMPLE_BITS, PF_EARG,
                   "sample number %llu is too large for dropout keys",
                   (unsigned long long)run->sample[b]);
        p->sample[b] = run->sample[b];
    }
    return PF_OK;
}

pf_status pf_plan_forward(pf_plan *p, const pf_run *run, float *out)
{
    PF_TRY(keep_run(p, run));
    p->state = PF_PLAN_READY;
    for (int i = 0; i < p->n_step; i++) {
        pf_step *st = &p->step[i];
        if (!st->live) continue;
        pf_call c = call_of(p, i, FORWARD);
        double t0 = p->profile ? pf_seconds() : 0.0;
        PF_TRY(st->row->forward(st->ctx, &c));
        if (p->profile) st->forward_s += pf_seconds() - t0;
    }
    memset(p->run.in, 0, sizeof p->run.in); /* backward reads the plan's own copies */
    int o = p->graph->output;
    memcpy(out, at(p, p->step[o].value), floats_of(p, o) * sizeof *out);
    p->state = PF_PLAN_FORWARDED;
    return PF_OK;
}

static float *gradient_of(const pf_plan *p, int node, float *const *gin)
{
    const pf_gnode *n = &p->graph->node[node];
    return n->op == PF_OP_INPUT ? gin[n->attr.port] : at(p, p->step[node].grad);
}

/* Where operator i's views have their gradients: in the flat block, or in a piece of it whose
 * padding and fixed views are made 0. */
static void place_gparam(const pf_plan *p, int i, float *gparams, pf_call *c)
{
    const pf_graph *g = p->graph;
    const pf_gnode *n = &g->node[i];
    size_t first = g->param[n->param[0]].offset, done = 0;
    float *own = at(p, p->step[i].gparam), *begin = own ? own : gparams + first;
    for (int k = 0; k < n->n_param; k++) {
        const pf_param *v = &g->param[n->param[k]];
        if (!v->trainable) continue;
        c->gparam[k] = begin + (v->offset - first);
        if (own) memset(own + done, 0, (v->offset - first - done) * sizeof *own);
        done = v->offset - first + v->size;
    }
    if (own) memset(own + done, 0, (pf_plan_param_floats(p, i) - done) * sizeof *own);
}

static PF_MUST_USE pf_status backward_step(pf_plan *p, int i, const float *gout, float *gparams,
                                           float *const *gin)
{
    const pf_graph *g = p->graph;
    const pf_step *st = &p->step[i];
    const pf_gnode *n = &g->node[i];
    pf_call c = call_of(p, i, BACKWARD);
    c.gout = i == g->output ? gout : gradient_of(p, i, gin);
    for (int k = 0; k < n->n_in; k++)
        if (st->site.want_dx[k])
            c.gin[k] = st->gin_mode[k] == PF_GIN_ADD ? at(p, st->gin_piece[k])
                                                     : gradient_of(p, n->in[k], gin);
    if (st->site.want_dp) place_gparam(p, i, gparams, &c);
    PF_TRY(st->row->backward(st->ctx, &c));
    for (int k = 0; k < n->n_in; k++) {
        if (!st->site.want_dx[k] || st->gin_mode[k] != PF_GIN_ADD) continue;
        float *sum = gradient_of(p, n->in[k], gin);
        const float *more = c.gin[k];
        for (size_t j = 0, m = floats_of(p, n->in[k]); j < m; j++) sum[j] += more[j];
    }
    return PF_OK;
}

/* Once more what backward step i is the first to need. */
static PF_MUST_USE pf_status run_again(pf_plan *p, int i)
{
    for (int k = 0; k < i; k++) {
        pf_step *st = &p->step[k];
        if (!st->live || st->again != i) continue;
        pf_call c = call_of(p, k, AGAIN);
        double t0 = p->profile ? pf_seconds() : 0.0;
        PF_TRY(st->row->forward(st->ctx, &c));
        if (p->profile) st->forward_s += pf_seconds() - t0;
    }
    return PF_OK;
}

/* Every float of the block that no operator writes: padding, fixed views, unused views. */
static void clear_unwritten(const pf_plan *p, float *gparams)
{
    const pf_graph *g = p->graph;
    size_t done = 0;
    for (int i = 0; i < p->n_step; i++) {
        const pf_gnode *n = &g->node[i];
        for (int k = 0; k < n->n_param; k++) { /* views follow the order of the nodes */
            const pf_param *v = &g->param[n->param[k]];
            if (!p->step[i].site.want_dp || !p->step[i].live || !v->trainable) continue;
            memset(gparams + done, 0, (v->offset - done) * sizeof *gparams);
            done = v->offset + v->size;
        }
    }
    memset(gparams + done, 0, (g->floats - done) * sizeof *gparams);
}

/* Gradients along inputs that no operator writes: the output is the input, or does not depend on it. */
static void fill_gin(const pf_plan *p, const float *gout, float *const *gin)
{
    const pf_graph *g = p->graph;
    for (int k = 0; k < g->n_port; k++) {
        size_t n = floats_of(p, g->port_node[k]);
        if (!(p->opt.want_in >> k & 1)) continue;
        if (g->output == g->port_node[k]) memcpy(gin[k], gout, n * sizeof *gout);
        else if (!(p->want_in >> k & 1)) memset(gin[k], 0, n * sizeof *gout);
    }
}

static PF_MUST_USE pf_status check_backward(const pf_plan *p, const float *gparams,
                                            float *const *gin)
{
    const pf_plan_opt *o = &p->opt;
    PF_REQUIRE(o->want_in || o->want_params, PF_EARG,
               "a plan without gradients has no backward");
    PF_REQUIRE(p->state == PF_PLAN_FORWARDED, PF_EARG, "backward without a forward before it");
    for (int k = 0; k < p->graph->n_port; k++)
        PF_REQUIRE(!(o->want_in >> k & 1) || (gin && gin[k]), PF_EARG,
                   "no place for the gradient along the input %s", p->graph->port[k].name);
    PF_REQUIRE(!o->want_params || !gparams == !!o->put, PF_EARG,
               gparams ? "parameter gradients are put, not written"
                       : "no place for the parameter gradient");
    return PF_OK;
}

pf_status pf_plan_backward(pf_plan *p, const float *gout, float *gparams, float *const *gin)
{
    const pf_graph *g = p->graph;
    PF_TRY(check_backward(p, gparams, gin));
    if (!p->opt.repeat) p->state = PF_PLAN_READY; /* gradients overwrite the values */

    if (p->opt.want_params && gparams) clear_unwritten(p, gparams);
    fill_gin(p, gout, gin);
    for (int i = p->n_step - 1; i >= 0; i--) {
        if (!p->step[i].backward) continue;
        if (p->opt.recompute) PF_TRY(run_again(p, i));
        double t0 = p->profile ? pf_seconds() : 0.0;
        PF_TRY(backward_step(p, i, gout, gparams, gin));
        if (p->profile) p->step[i].backward_s += pf_seconds() - t0;
        const pf_gnode *n = &g->node[i];
        if (p->step[i].gparam >= 0)
            p->opt.put(p->opt.self, g->param[n->param[0]].offset, pf_plan_param_floats(p, i),
                       at(p, p->step[i].gparam));
    }
    return PF_OK;
}

void pf_plan_profile(pf_plan *p, int on)
{
    p->profile = on;
    for (int i = 0; on && i < p->n_step; i++)
        p->step[i].prepare_s = p->step[i].forward_s = p->step[i].backward_s = 0.0;
}

int pf_plan_profile_row(const pf_plan *p, int i, pf_op_time *row)
{
    for (int k = 0; k < p->n_step; k++) {
        const pf_step *st = &p->step[k];
        if (!st->live || i-- > 0) continue;
        *row = (pf_op_time){.op = pf_op_name(st->site.op),
                            .name = st->site.name,
                            .backend = st->row->backend,
                            .prepare_s = st->prepare_s,
                            .forward_s = st->forward_s,
                            .backward_s = st->backward_s,
                            .gflop_forward = 1e-9 * p->opt.batch *
                                             pf_graph_node_flops(p->graph, &p->graph->node[k])};
        return 1;
    }
    return 0;
}
