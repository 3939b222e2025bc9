/* Making a plan: which operators run, which gradients flow, which values must be kept, and where
 * everything lives.
 *
 * Moments: operator i of N runs forward at moment i and backward at moment 2N-1-i.  A value
 * lives from its operator's moment to its last reader's.  Backward reads it only where ops.def
 * says so and the gradient that needs it is wanted: an input vector-Jacobian product keeps no
 * input of a convolution.  With repeat what backward reads lives for good, since backward may
 * be called any number of times; its gradients may only reuse values that backward never reads.
 *
 * A step that runs again before backward step j has a second value, live from that moment to its
 * last reader, and its first one lives only as long as forward reads it (recompute.c).
 *
 * Gradients flow from the output towards the wanted inputs or the parameters, and only along nodes that
 * depend on them.  The reader of a value that comes last in the forward order writes the value's
 * gradient; the others compute into a piece of their own, which is then added. */
#include <probflow/memory.h>
#include <probflow/plan.h>

#include "nn/plan_impl.h"

#include <string.h>

static int moment_back(const pf_plan *p, int i)
{
    return 2 * p->n_step - 1 - i;
}

static int moment_end(const pf_plan *p)
{
    return 2 * p->n_step;
}

static int add_piece(pf_plan *p, size_t floats, int first, int last)
{
    if (floats == 0) return -1;
    p->piece[p->n_piece] = (pf_piece){.floats = floats, .first = first, .last = last};
    return p->n_piece++;
}

size_t pf_plan_param_floats(const pf_plan *p, int i)
{
    const pf_graph *g = p->graph;
    const pf_gnode *n = &g->node[i];
    int next = n->param[n->n_param - 1] + 1; /* views follow the order of the nodes */
    size_t end = next < g->n_param ? g->param[next].offset : g->floats;
    return end - g->param[n->param[0]].offset;
}

static int needs_gradient(const pf_plan *p, int i)
{
    const pf_gnode *n = &p->graph->node[i];
    return p->step[i].live && (p->want_in & n->of_in || (p->want_p && n->of_p));
}

static void fill_site(pf_plan *p, int i)
{
    const pf_graph *g = p->graph;
    const pf_gnode *n = &g->node[i];
    pf_step *st = &p->step[i];
    pf_site *s = &st->site;
    *s = (pf_site){.op = n->op,
                   .attr = n->attr,
                   .name = n->name,
                   .index = i,
                   .B = p->opt.batch,
                   .n_in = n->n_in,
                   .n_param = n->n_param,
                   .out = n->shape,
                   .repeat = p->opt.repeat,
                   .precision = p->opt.precision};
    st->value = st->saved = st->grad = st->scratch[0] = st->scratch[1] = st->gparam = -1;
    st->value_again = st->saved_again = -1;
    if (!st->live) return;
    for (int k = 0; k < n->n_in; k++) {
        s->in[k] = g->node[n->in[k]].shape;
        s->want_dx[k] = needs_gradient(p, n->in[k]);
        st->backward |= s->want_dx[k];
    }
    for (int k = 0; k < n->n_param; k++) {
        s->param_size[k] = g->param[n->param[k]].size;
        s->want_dp |= p->want_p && g->param[n->param[k]].trainable;
    }
    st->backward |= s->want_dp;
}

/* Every wanted gradient has a way: the operator's and its input's name where it has none. */
static PF_MUST_USE pf_status check_slopes(const pf_plan *p, int i)
{
    const pf_graph *g = p->graph;
    const pf_gnode *n = &g->node[i];
    for (int k = 0; k < n->n_in; k++) {
        const pf_gnode *from = &g->node[n->in[k]];
        if (!p->step[i].site.want_dx[k]) continue;
        if (pf_op_slopes(n->op) >> k & 1 && !from->integer) continue;
        unsigned in = p->want_in & from->of_in;
        int port = 0;
        while (in && !(in >> port & 1)) port++;
        PF_FAIL(PF_EARG,
                "operator %s (%s) has no derivative by its input %s, through which the "
                "gradient along "
                "%s%s is wanted",
                n->name, pf_op_name(n->op), from->name,
                in ? "the input " : "trained parameters", in ? g->port[port].name : "");
    }
    return PF_OK;
}

static PF_MUST_USE pf_status open_step(pf_step *st, const char *backend)
{
    st->row = pf_kernel_row(backend, &st->site);
    if (st->row->open) PF_TRY(st->row->open(&st->site, &st->ctx));
    st->opened = 1;
    return PF_OK;
}

/* Last moment at which each node's value is read, and the value of its second run. */
static void find_last_reads(const pf_plan *p, int *last, int *last_again)
{
    const pf_graph *g = p->graph;
    for (int i = 0; i < p->n_step; i++) last[i] = i;
    for (int i = 0; i < p->n_step; i++) {
        const pf_step *st = &p->step[i];
        const pf_gnode *n = &g->node[i];
        if (!st->live) continue;
        int until = st->again >= 0 ? moment_back(p, st->again) : i;
        if (pf_step_reads_inputs(st)) until = p->opt.repeat ? moment_end(p) : moment_back(p, i);
        for (int k = 0; k < n->n_in; k++) {
            int a = n->in[k], twice = p->step[a].again >= 0;
            int *late = twice ? &last_again[a] : &last[a];
            if (i > last[a]) last[a] = i;
            if (until > *late && until > i) *late = until;
        }
    }
}

/* Values, statistics and working space of the forward moments. */
static void place_forward(pf_plan *p, const int *last, const int *last_again)
{
    for (int i = 0; i < p->n_step; i++) {
        pf_step *st = &p->step[i];
        const pf_gnode *n = &p->graph->node[i];
        if (!st->live) continue;
        int a = n->n_in ? n->in[0] : -1;
        if (pf_op_inplace(n->op) && a >= 0 && last[a] == i && i != p->graph->output) {
            st->value = p->step[a].value;
            p->piece[st->value].last = last[i];
        } else {
            st->value = add_piece(p, (size_t)st->site.B * pf_shape_size(n->shape), i, last[i]);
        }
        size_t saved = st->row->saved ? st->row->saved(&st->site, st->ctx) : 0;
        int back = moment_back(p, i), until = !st->backward   ? i
                                              : p->opt.repeat ? moment_end(p)
                                                              : back;
        size_t scratch = st->row->scratch ? st->row->scratch(&st->site, st->ctx) : 0;
        if (st->again >= 0) {
            int then = moment_back(p, st->again);
            pf_step *with = &p->step[st->again]; /* placed later */
            st->value_again = add_piece(p, p->piece[st->value].floats, then, last_again[i]);
            st->saved_again = add_piece(p, saved, then, st->backward ? back : then);
            until = i;
            if (scratch > with->room) with->room = scratch;
        }
        st->saved = add_piece(p, saved, i, until);
        st->scratch[0] = add_piece(p, scratch, i, i);
        if (scratch > st->room) st->room = scratch;
        if (st->backward) st->scratch[1] = add_piece(p, st->room, back, back);
    }
}

/* Gradients.  The output's is the caller's gout and those of the inputs are the caller's gin. */
static void place_backward(pf_plan *p)
{
    const pf_graph *g = p->graph;
    for (int i = p->n_step - 1; i >= 0; i--) {
        pf_step *st = &p->step[i];
        const pf_gnode *n = &g->node[i];
        if (!st->backward) continue;
        if (p->opt.put && st->site.want_dp)
            st->gparam =
                add_piece(p, pf_plan_param_floats(p, i), moment_back(p, i), moment_back(p, i));
        for (int k = 0; k < n->n_in; k++) {
            st->gin_piece[k] = -1;
            if (!st->site.want_dx[k]) continue;
            int a = n->in[k], now = moment_back(p, i);
            size_t floats = (size_t)st->site.B * pf_shape_size(g->node[a].shape);
            pf_step *from = &p->step[a];
            st->gin_mode[k] = from->grad == -1 ? PF_GIN_WRITE : PF_GIN_ADD;
            if (from->grad == -1 && g->node[a].op == PF_OP_INPUT) from->grad = -2;
            else if (from->grad == -1)
                from->grad = add_piece(p, floats, now, moment_back(p, a));
            else st->gin_piece[k] = add_piece(p, floats, now, now);
        }
    }
}

static PF_MUST_USE pf_status place(pf_plan *p, int reuse)
{
    /* per operator: two values, two saved, two scratch, two gradients, one addend per input */
    size_t most = (size_t)p->n_step * (8 + PF_MAX_INPUTS);
    p->piece = pf_zalloc(most * sizeof *p->piece);
    int *work = pf_zalloc((2 * most + 2 * (size_t)p->n_step) * sizeof *work);
    if (p->piece && work) {
        int *last = work + 2 * most, *last_again = last + p->n_step;
        find_last_reads(p, last, last_again);
        place_forward(p, last, last_again);
        place_backward(p);
        p->mem_floats = pf_plan_place(p->piece, p->n_piece, reuse, work);
        p->mem = pf_zalloc(p->mem_floats * sizeof *p->mem);
    }
    pf_free(work);
    PF_REQUIRE(p->mem, PF_EMEM, "no memory for a plan of batch %d: %.1f MB of activations",
               p->opt.batch, (double)p->mem_floats * sizeof *p->mem / 1e6);
    return PF_OK;
}

static int same_plans(const pf_plan_opt *a, const pf_plan_opt *b)
{
    return a->batch == b->batch && a->want_in == b->want_in &&
           a->want_params == b->want_params && a->repeat == b->repeat &&
           !strcmp(a->backend, b->backend) && a->precision == b->precision &&
           a->recompute == b->recompute;
}

/* Where each operator's prepared parameters lie, and their memory. */
static PF_MUST_USE pf_status place_prepared(pf_plan *p)
{
    const pf_plan *with = p->opt.with;
    for (int i = 0; i < p->n_step; i++) {
        pf_step *st = &p->step[i];
        if (!st->live || !st->row->prepared) continue;
        st->prepared_at = p->prepared_floats;
        st->prepared_n = st->row->prepared(&st->site, st->ctx);
        p->prepared_floats += (st->prepared_n + 15) / 16 * 16;
    }
    if (with) {
        PF_REQUIRE(with->graph == p->graph && same_plans(&with->opt, &p->opt), PF_EARG,
                   "plans that differ cannot share prepared parameters");
        p->prepared = with->prepared;
        p->params = with->params;
        p->state = with->state == PF_PLAN_FRESH ? PF_PLAN_FRESH : PF_PLAN_READY;
        return PF_OK;
    }
    p->prepared = pf_zalloc(p->prepared_floats * sizeof *p->prepared);
    PF_REQUIRE(p->prepared, PF_EMEM, "no memory for prepared parameters: %.1f MB",
               (double)p->prepared_floats * sizeof *p->prepared / 1e6);
    return PF_OK;
}

static PF_MUST_USE pf_status check_options(const pf_graph *g, const pf_plan_opt *o)
{
    PF_REQUIRE(g->output >= 0, PF_EARG, "a plan needs a finished graph");
    PF_REQUIRE(o->batch > 0, PF_EARG, "a plan of batch %d", o->batch);
    PF_REQUIRE(strcmp(o->backend, "fast") == 0 || strcmp(o->backend, "ref") == 0, PF_ENOSUPP,
               "unknown backend %s; the backends are fast and ref", o->backend);
    PF_REQUIRE(!(o->want_in >> g->n_port), PF_EARG,
               "gradients are wanted along inputs %#x of a network with %d", o->want_in,
               g->n_port);
    PF_REQUIRE(o->precision == PF_F32 || (o->want_params && *o->backend == 'f'), PF_EARG,
               "bf16 is for training: a plan with parameter gradients and fast kernels");
    PF_REQUIRE(o->recompute == PF_RECOMPUTE_NONE ||
                   ((o->want_in || o->want_params) && !o->repeat),
               PF_EARG, "only a plan whose backward runs once computes values again");
    return PF_OK;
}

static PF_MUST_USE pf_status plan_into(pf_plan *p, int reuse)
{
    const pf_graph *g = p->graph;
    PF_TRY(check_options(g, &p->opt));
    p->n_step = g->output + 1; /* later nodes cannot matter */
    p->step = pf_zalloc((size_t)p->n_step * sizeof *p->step);
    p->sample = pf_zalloc((size_t)p->opt.batch * sizeof *p->sample);
    unsigned char *live = pf_zalloc((size_t)g->n_node);
    if (live) pf_graph_live(g, live);
    for (int i = 0; live && p->step && i < p->n_step; i++) p->step[i].live = live[i];
    pf_free(live);
    PF_REQUIRE(live && p->step && p->sample, PF_EMEM, "no memory for a plan");

    const pf_gnode *out = &g->node[g->output];
    p->want_in = p->opt.want_in & out->of_in;
    p->want_p = p->opt.want_params && out->of_p;
    for (int i = 0; i < p->n_step; i++) {
        fill_site(p, i);
        PF_TRY(check_slopes(p, i));
        if (p->step[i].live) PF_TRY(open_step(&p->step[i], p->opt.backend));
    }
    PF_TRY(place_prepared(p));
    PF_TRY(pf_plan_choose_again(p));
    return place(p, reuse);
}

pf_status pf_plan_create_with(const pf_graph *g, const pf_plan_opt *opt, int reuse,
                              pf_plan **out)
{
    pf_plan *p = pf_zalloc(sizeof *p);
    if (!p) PF_FAIL(PF_EMEM, "no memory for a plan");
    p->graph = g;
    p->opt = *opt;
    if (!p->opt.backend) p->opt.backend = "fast";
    pf_status st = plan_into(p, reuse);
    if (st) {
        pf_plan_free(p);
        return pf_trail(st, PF_WHERE);
    }
    *out = p;
    return PF_OK;
}

pf_status pf_plan_create(const pf_graph *g, const pf_plan_opt *opt, pf_plan **out)
{
    return pf_plan_create_with(g, opt, 1, out);
}

void pf_plan_free(pf_plan *p)
{
    if (!p) return;
    for (int i = 0; p->step && i < p->n_step; i++)
        if (p->step[i].opened && p->step[i].row->close) p->step[i].row->close(p->step[i].ctx);
    pf_free(p->step);
    pf_free(p->sample);
    pf_free(p->piece);
    pf_free(p->mem);
    if (!p->opt.with) pf_free(p->prepared);
    pf_free(p);
}

size_t pf_plan_bytes(const pf_plan *p)
{
    return p->mem_floats * sizeof *p->mem;
}
