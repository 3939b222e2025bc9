/* A model bound to an image shape, an SDE and parameters. */
#include "model/network_score.h"
#include <probflow/memory.h>
#include <math.h>

static PF_MUST_USE pf_status build_graph(pf_net *n)
{
    PF_TRY(pf_graph_create(&n->graph));
    const pf_shape one = {1, 1, 1};
    const pf_ports offered = {
        4, {{"x", n->shape, 0}, {"cond", one, 0}, {"sigma", one, 0}, {"mean", one, 0}}};
    pf_node y = n->model.ops->build(&n->model.opt, n->graph, &offered);
    PF_TRY(pf_graph_finish(n->graph, y));

    PF_REQUIRE(pf_graph_port(n->graph, "x") >= 0, PF_EARG, "model %s reads no data",
               n->model.ops->name);
    pf_shape s = pf_graph_shape(n->graph, y);
    PF_REQUIRE(pf_shape_same(s, n->shape), PF_ESHAPE,
               "model %s maps images of %dx%dx%d to %dx%dx%d, want the same shape",
               n->model.ops->name, n->shape.h, n->shape.w, n->shape.c, s.h, s.w, s.c);
    n->n_views = pf_graph_param_count(n->graph);
    n->views = pf_graph_params(n->graph);
    n->floats = pf_graph_param_floats(n->graph);
    return PF_OK;
}

static PF_MUST_USE pf_status analytic_views(pf_net *n)
{
    PF_TRY(n->model.ops->views(&n->model.opt, n->shape, &n->n_views, &n->own_views));
    n->views = n->own_views;
    for (int i = 0; i < n->n_views; i++) {
        size_t end = n->views[i].offset + n->views[i].size;
        if (end > n->floats) n->floats = end;
    }
    return PF_OK;
}

static void drop_state(pf_net *n)
{
    if (n->state && n->model.ops->release) n->model.ops->release(n->state);
    n->state = NULL;
}

pf_status pf_net_create(const pf_model *m, const pf_sde *sde, pf_shape shape, pf_net **out)
{
    PF_REQUIRE(m->ops && sde->ops, PF_EARG, "a network needs a model and an SDE");
    PF_REQUIRE(shape.h > 0 && shape.w > 0 && shape.c > 0, PF_ESHAPE,
               "images of %dx%dx%d, want positive sizes", shape.h, shape.w, shape.c);
    pf_net *n = pf_zalloc(sizeof *n);
    if (!n) PF_FAIL(PF_EMEM, "no memory for a network");
    n->model = *m;
    n->sde = *sde;
    n->shape = shape;
    pf_status st = m->ops->build ? build_graph(n) : analytic_views(n);
    if (st) {
        pf_net_free(n);
        return pf_trail(st, PF_WHERE);
    }
    *out = n;
    return PF_OK;
}

void pf_net_free(pf_net *n)
{
    if (!n) return;
    drop_state(n);
    pf_graph_free(n->graph);
    pf_free(n->own_views);
    pf_free(n);
}

pf_status pf_net_set_params(pf_net *n, const float *params)
{
    for (int i = 0; i < n->n_views; i++) {
        const pf_param *v = &n->views[i];
        for (size_t j = 0; j < v->size; j++)
            PF_REQUIRE(isfinite(params[v->offset + j]), PF_ENUMERIC,
                       "parameter %s has the value %g at element %zu", v->name,
                       (double)params[v->offset + j], j);
    }
    n->params = params;
    if (n->graph) return PF_OK;
    drop_state(n);
    PF_TRY(n->model.ops->prepare(&n->model.opt, n->shape, params, &n->state));
    return PF_OK;
}

void pf_score_free(pf_score *s)
{
    if (!s) return;
    if (s->free && s->self) s->free(s->self);
    *s = (pf_score){0};
}

pf_status pf_net_score(const pf_net *n, int batch, int with_vjp, const pf_score *with,
                       pf_score *out)
{
    PF_REQUIRE(n->params, PF_EARG, "model %s has no parameters yet", n->model.ops->name);
    if (!n->graph) {
        PF_TRY(n->model.ops->score(n->state, &n->sde, batch, out));
        return PF_OK;
    }
    pf_network_opt o = {.batch = batch, .with_vjp = with_vjp, .with = with};
    PF_TRY(pf_network_score(n, &o, out));
    return PF_OK;
}
