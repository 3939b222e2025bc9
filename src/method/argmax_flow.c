/* The graph of argmax flows, the names of whose parameters are the published ones:
 *
 *     tokens, noise -> encoder -> v, log q
 *     v -> step 0 -> ( between -> step k ) x (steps - 1) -> base density
 *
 * A step maps the last `moved` numbers of each entry by mixtures of logistics, whose parameters are the model's, of
 * the first `kept` of all entries; an autoregressive model sees of those only what comes before.  Where a row has ended
 * all numbers are 0 before each step, so that nothing is told through places that do not count.  The encoder and what lies
 * between two steps are in argmax_encoder.c.
 * Source: published code of argmax flows (model/ar/flow.py, model/coupling/flow.py). */
#include "method/argmax.h"

int pf_argmax_number(const pf_argmax *a, int k)
{
    return 3 + k * pf_argmax_stride(a);
}

pf_ports pf_argmax_offer(const pf_argmax *a, const pf_ports *offered)
{
    int D = (int)a->cat.D;
    pf_ports o = {.out = {1, D, a->moved * (2 + 3 * a->opt.mixtures)}};
    for (int i = PF_ARGMAX_COND; i < offered->n; i++) o.port[o.n++] = offered->port[i];
    o.port[o.n++] = (pf_port){"x", {1, D, a->kept}, 0, 0};
    o.port[o.n++] = (pf_port){"padding", {1, D, 1}, 1, 0};
    return o;
}

/* ---- flow ---- */

typedef struct flow { /* under construction */
    pf_argmax_way w;
    const pf_model *model;
    const pf_ports *offered;
} flow;

/* The parameters of step k. */
static pf_node condition(flow *f, int k)
{
    const pf_argmax *a = f->w.a;
    pf_graph *g = f->w.g;
    pf_ports o = pf_argmax_offer(a, f->offered);
    pf_node seen = a->kept < a->B ? pf_pick(g, f->w.v, 0, 1, a->kept) : f->w.v;
    pf_offer_node(g, &o, "x", seen);
    pf_offer_node(g, &o, "padding", f->w.tokens);
    pf_graph_prefix(g, pf_namef(g, "transforms.%d.nn.", pf_argmax_number(a, k)));
    pf_node params = f->model->ops->build(&f->model->opt, g, &o);
    pf_graph_prefix(g, "");
    return params;
}

static void add_step(flow *f, int k)
{
    const pf_argmax *a = f->w.a;
    pf_graph *g = f->w.g;
    int kept = a->B - a->moved;
    pf_node params = condition(f, k);
    pf_node z = kept ? pf_pick(g, f->w.v, kept, 1, a->moved) : f->w.v;
    const char *name = pf_namef(g, "transforms.%d", pf_argmax_number(a, k));
    pf_node y = pf_mixture_map(g, name, z, params, a->opt.mixtures);
    if (kept) y = pf_concat(g, pf_pick(g, f->w.v, 0, 1, kept), y);
    pf_argmax_take(&f->w, y, a->moved);
}

static void check_model(const pf_argmax *a, const pf_model *m, pf_graph *g)
{
    int causal = m->ops->causal && m->ops->causal(&m->opt);
    if (a->opt.flow == PF_ARGMAX_AUTOREGRESSIVE && !causal)
        pf_graph_fail(g, PF_EARG,
                      "method.flow=autoregressive wants a model each of whose outputs sees "
                      "only what comes before, as model lstm, and model %s sees all; "
                      "set method.flow=coupling",
                      m->ops->name);
}

pf_node pf_argmax_build(const void *self, const pf_model *m, pf_graph *g,
                        const pf_ports *offered)
{
    const pf_argmax *a = self;
    flow f = {.w = {.a = a, .g = g, .volumes = PF_NONE}, .model = m, .offered = offered};
    check_model(a, m, g);
    f.w.tokens = pf_offered(g, offered, "tokens");
    pf_node log_q = pf_argmax_encoder(&f.w, pf_offered(g, offered, "noise"));
    for (int k = 0; k < a->opt.steps; k++) {
        if (k) pf_argmax_between(&f.w, pf_argmax_number(a, k));
        add_step(&f, k);
    }
    pf_node nats = pf_normal_nats(g, "base_dist", f.w.v);
    return pf_concat(g, pf_concat(g, log_q, nats), f.w.volumes);
}

/* ---- what it is shown and what it says ---- */

int pf_argmax_show(const pf_argmax *a, const pf_batch *b, int s, const pf_draw *d,
                   void *const *in)
{
    size_t D = a->cat.D, n = D * (size_t)a->B;
    int32_t *tokens = (int32_t *)in[PF_ARGMAX_TOKENS] + (size_t)s * D;
    float *noise = in[PF_ARGMAX_NOISE], *cond = in[PF_ARGMAX_COND];
    pf_draw_normal(d, 0, n, noise + (size_t)s * n);
    if (cond) cond[s] = 0.0f;
    return pf_cat_take(&a->cat, b, s, tokens);
}

double pf_argmax_nats(const pf_argmax *a, int n, const float *net)
{
    double sum = 0.0;
    for (int l = 0; l < n; l++)
        for (int c = 0; c < a->columns; c++)
            sum += pf_argmax_side(c) * (double)net[(size_t)l * (size_t)a->columns + (size_t)c];
    return sum;
}
