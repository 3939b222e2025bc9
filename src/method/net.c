/* A model bound to a method, a space and parameters. */
#include <probflow/memory.h>
#include <probflow/net.h>

#include <math.h>
#include <string.h>

/* What the method offers, and what the data say beside their values. */
static PF_MUST_USE pf_status offer(pf_net *n)
{
    pf_ports *o = &n->offered;
    n->method.ops->ports(n->self, o);
    PF_ASSERT(o->n + 2 <= PF_PORTS_MAX);
    if (n->space.classes > 0)
        o->port[o->n++] = (pf_port){"label", {1, 1, 1}, 1, n->space.classes};
    if (n->space.conditions > 0)
        o->port[o->n++] = (pf_port){"condition", {1, 1, n->space.conditions + 1}, 0, 0};
    return PF_OK;
}

static PF_MUST_USE pf_status build_graph(pf_net *n)
{
    PF_TRY(pf_graph_create(&n->graph));
    PF_TRY(offer(n));
    const pf_method_ops *m = n->method.ops;
    pf_node y = m->build ? m->build(n->self, &n->model, n->graph, &n->offered)
                         : n->model.ops->build(&n->model.opt, n->graph, &n->offered);
    PF_TRY(pf_graph_finish(n->graph, y));

    PF_REQUIRE(pf_graph_port(n->graph, "x") >= 0 || pf_graph_port(n->graph, "tokens") >= 0,
               PF_EARG, "model %s reads no data", n->model.ops->name);
    pf_shape s = pf_graph_shape(n->graph, y), want = n->offered.out, x = n->space.shape;
    PF_REQUIRE(pf_shape_same(s, want), PF_ESHAPE,
               "model %s maps images of %dx%dx%d to %dx%dx%d, want %dx%dx%d",
               n->model.ops->name, x.h, x.w, x.c, s.h, s.w, s.c, want.h, want.w, want.c);
    for (int i = 0; i < n->offered.n; i++)
        n->input[i] = pf_graph_port(n->graph, n->offered.port[i].name);
    n->n_views = pf_graph_param_count(n->graph);
    n->views = pf_graph_params(n->graph);
    n->floats = pf_graph_param_floats(n->graph);
    return PF_OK;
}

static PF_MUST_USE pf_status analytic_views(pf_net *n)
{
    PF_REQUIRE(n->sde, PF_EARG,
               "model %s is a density in closed form, which method %s does not use",
               n->model.ops->name, n->method.ops->name);
    PF_TRY(n->model.ops->views(&n->model.opt, n->space.shape, &n->n_views, &n->own_views));
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

static PF_MUST_USE pf_status create_into(pf_net *n)
{
    const pf_method_ops *m = n->method.ops;
    PF_REQUIRE(m->kinds >> n->space.kind & 1, PF_EARG, "method %s does not take %s", m->name,
               n->space.kind == PF_REAL     ? "continuous data"
               : n->space.kind == PF_TOKENS ? "tokens"
                                            : "levels");
    PF_REQUIRE(!m->labels || n->space.classes > 0, PF_EARG,
               "method %s reads labels, but the data have no classes", m->name);
    PF_TRY(m->open(&n->method.opt, &n->space, &n->self));
    n->sde = m->sde ? m->sde(n->self) : NULL;
    n->ladder = m->ladder ? m->ladder(n->self) : NULL;
    PF_TRY(n->model.ops->build ? build_graph(n) : analytic_views(n));
    return PF_OK;
}

pf_status pf_net_create(const pf_model *m, const pf_method *method, const pf_space *space,
                        pf_net **out)
{
    pf_shape s = space->shape;
    PF_REQUIRE(m->ops && method->ops, PF_EARG, "a network needs a model and a method");
    PF_REQUIRE(s.h > 0 && s.w > 0 && s.c > 0, PF_ESHAPE,
               "images of %dx%dx%d, want positive sizes", s.h, s.w, s.c);
    pf_net *n = pf_zalloc(sizeof *n);
    if (!n) PF_FAIL(PF_EMEM, "no memory for a network");
    n->model = *m;
    n->method = *method;
    n->space = *space;
    pf_status st = create_into(n);
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
    n->method.ops->close(n->self);
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
    PF_TRY(n->model.ops->prepare(&n->model.opt, n->space.shape, params, &n->state));
    return PF_OK;
}

/* ---- inputs ---- */

int pf_net_reads(const pf_net *n, const char *port)
{
    return n->graph && pf_graph_port(n->graph, port) >= 0;
}

int pf_net_labels(const pf_net *n)
{
    return n->method.ops->labels || pf_net_reads(n, "label");
}

int pf_net_rows(const pf_net *n)
{
    return n->method.ops->rows ? n->method.ops->rows(n->self) : 1;
}

/* To the rows first .. first+batch-1 of the inputs. */
static void give(const pf_net *n, int first, int batch, const pf_batch *told,
                 const pf_inputs *to)
{
    int at = pf_graph_port(n->graph, "label"), with = pf_graph_port(n->graph, "condition");
    size_t C = (size_t)n->space.conditions + 1;
    for (int b = 0; b < batch; b++) {
        int from = b < told->B ? b : told->B - 1;
        size_t row = (size_t)first + (size_t)b;
        if (at >= 0) ((int32_t *)to->in[at])[row] = told->label ? told->label[from] : -1;
        float *c = with >= 0 ? (float *)to->in[with] + row * C : NULL;
        if (c && told->condition) memcpy(c, told->condition + (size_t)from * C, C * sizeof *c);
        else if (c) memset(c, 0, C * sizeof *c);
    }
}

void pf_net_give(const pf_net *n, int batch, const pf_batch *told, const pf_inputs *to)
{
    give(n, 0, batch, told, to);
}

pf_status pf_inputs_create(const pf_net *n, int batch, pf_inputs *out)
{
    *out = (pf_inputs){0};
    for (int i = 0; i < pf_graph_ports(n->graph); i++) {
        size_t values = (size_t)batch * pf_shape_entries(pf_graph_port_at(n->graph, i)->shape);
        out->in[i] = pf_zalloc(values * sizeof(float)); /* as wide as an int32_t */
        if (out->in[i]) continue;
        pf_inputs_free(out);
        PF_FAIL(PF_EMEM, "no memory for the inputs of %d samples", batch);
    }
    pf_net_give(n, batch, &(pf_batch){.B = batch}, out);
    return PF_OK;
}

void pf_inputs_free(pf_inputs *x)
{
    for (int i = 0; i < PF_PORTS_MAX; i++) pf_free(x->in[i]);
    *x = (pf_inputs){0};
}

size_t pf_inputs_bytes(const pf_net *n, int batch)
{
    size_t values = 0;
    for (int i = 0; i < pf_graph_ports(n->graph); i++)
        values += pf_shape_entries(pf_graph_port_at(n->graph, i)->shape);
    return (size_t)batch * values * sizeof(float);
}

void pf_net_ports(const pf_net *n, const pf_inputs *from, void *in[PF_PORTS_MAX])
{
    for (int i = 0; i < PF_PORTS_MAX; i++)
        in[i] = i < n->offered.n && n->input[i] >= 0 ? from->in[n->input[i]] : NULL;
}

void pf_inputs_run(const pf_inputs *from, pf_run *run)
{
    for (int i = 0; i < PF_PORTS_MAX; i++) run->in[i] = from->in[i];
}

void pf_net_see(const pf_net *n, const pf_batch *b, void *scratch, const pf_inputs *to)
{
    void *in[PF_PORTS_MAX];
    pf_net_ports(n, to, in);
    n->method.ops->see(n->self, b, scratch, in);
    for (int r = 0; r < pf_net_rows(n); r++) give(n, r * b->B, b->B, b, to);
}

int pf_net_looks_twice(const pf_net *n)
{
    const pf_method_ops *m = n->method.ops;
    return m->looks_twice && m->looks_twice(n->self);
}

void pf_net_again(const pf_net *n, const pf_batch *b, void *scratch, const float *net,
                  const pf_inputs *to)
{
    void *in[PF_PORTS_MAX];
    pf_net_ports(n, to, in);
    n->method.ops->again(n->self, b, scratch, net, in);
}

/* ---- views ---- */

static PF_MUST_USE pf_status ready(const pf_net *n, const pf_view_opt *o)
{
    PF_REQUIRE(n->params, PF_EARG, "model %s has no parameters yet", n->model.ops->name);
    PF_REQUIRE(o->batch > 0, PF_EARG, "batch %d, want > 0", o->batch);
    return PF_OK;
}

pf_status pf_net_score(const pf_net *n, const pf_view_opt *o, pf_score *out)
{
    PF_TRY(ready(n, o));
    if (!n->graph) {
        PF_TRY(n->model.ops->score(n->state, n->sde, o->batch, out));
        return PF_OK;
    }
    PF_REQUIRE(n->method.ops->score, PF_EARG, "method %s has no score", n->method.ops->name);
    PF_TRY(n->method.ops->score(n, o, out));
    return PF_OK;
}

pf_status pf_net_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    PF_TRY(ready(n, o));
    PF_REQUIRE(n->method.ops->chain, PF_EARG, "method %s has no chain of steps",
               n->method.ops->name);
    PF_TRY(n->method.ops->chain(n, o, out));
    return PF_OK;
}

pf_status pf_net_classifier(const pf_net *n, const pf_view_opt *o, pf_classifier *out)
{
    PF_TRY(ready(n, o));
    PF_REQUIRE(n->method.ops->classifier, PF_EARG, "method %s trains no classifier",
               n->method.ops->name);
    PF_TRY(n->method.ops->classifier(n, o, out));
    return PF_OK;
}
