/* The graph of argmax flows, the names of whose parameters are the published ones:
 *
 *     tokens -> context -> mean, log std -+
 *     noise ------------------------------+-> bits -> v, log q
 *     v -> step 0 -> ( turn -> mix -> step k ) x (steps - 1) -> base density
 *
 * A step maps the last `moved` numbers of each entry by mixtures of logistics, whose parameters are the model's, of
 * the first `kept` of all entries; an autoregressive model sees of those only what comes before.  Where a row has ended
 * all numbers are 0 before each step, so that nothing is told through places that do not count.
 * Source: published code of argmax flows (model/ar/flow.py, model/coupling/flow.py). */
#include "method/argmax.h"

static const char encoder_name[] = "transforms.0.encoder.noise_dist";

int pf_argmax_number(const pf_argmax *a, int k)
{
    int mixes = a->opt.channels == PF_ARGMAX_CHANNELS_MIX;
    return 3 + k * (1 + a->opt.turn + mixes);
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

/* ---- encoder ---- */

static pf_node map(pf_graph *g, const char *name, pf_node x, int cout, int axes)
{
    return pf_linear_with(
        g, x,
        &(pf_linear_opt){
            .name = name, .cout = cout, .axes = axes, .scale = 1.0, .init = PF_INIT_FAN_IN});
}

static pf_node by_perceptron(const pf_argmax *a, pf_graph *g, pf_node tokens)
{
    const pf_argmax_opt *o = &a->opt;
    pf_node h = pf_embed(g, "context_init.1", tokens, a->cat.K, o->context_width);
    for (int i = 0; i < o->context_layers; i++) {
        if (o->context_dropout > 0.0) h = pf_dropout(g, h, o->context_dropout);
        h = map(g, pf_namef(g, "context_init.%d", 3 + 3 * i), h, o->context_width, 0);
        h = pf_gelu(g, h, PF_GELU_ERF);
    }
    return map(g, pf_namef(g, "context_init.%d", 2 + 3 * o->context_layers), h, o->context, 0);
}

static pf_node by_lstm(const pf_argmax *a, pf_graph *g, pf_node tokens)
{
    const pf_argmax_opt *o = &a->opt;
    pf_lstm_opt l = {.name = "context_init.3", .hidden = o->context_width, .padding = tokens};
    pf_node h = pf_embed(g, "context_init.1", tokens, a->cat.K, o->context_width);
    for (int i = 0; i < o->context_layers; i++) {
        pf_node way[2];
        l.layer = i;
        for (int back = 0; back < 2; back++) {
            l.reverse = back;
            way[back] = pf_lstm(g, h, &l);
        }
        h = pf_concat(g, way[0], way[1]);
    }
    return map(g, "context_init.4", h, o->context, 0);
}

/* Means and log standard deviations of u, [1,D,2B]. */
static pf_node encode(const pf_argmax *a, pf_graph *g, pf_node tokens)
{
    pf_graph_prefix(g, pf_namef(g, "%s.", encoder_name));
    pf_node h =
        a->opt.encoder == PF_ARGMAX_LSTM ? by_lstm(a, g, tokens) : by_perceptron(a, g, tokens);
    h = map(g, "base_dist.net", h, 2 * a->B, 1);
    pf_graph_prefix(g, "");
    return h;
}

/* ---- flow ---- */

typedef struct flow { /* under construction */
    const pf_argmax *a;
    const pf_model *model;
    pf_graph *g;
    const pf_ports *offered;
    pf_node tokens, v, volumes; /* v [1,D,B]; volumes: PF_NONE at first */
} flow;

static void add_volume(flow *f, pf_node volume)
{
    f->volumes = f->volumes.id < 0 ? volume : pf_concat(f->g, f->volumes, volume);
}

/* The parameters of step k. */
static pf_node condition(flow *f, int k)
{
    const pf_argmax *a = f->a;
    pf_ports o = pf_argmax_offer(a, f->offered);
    pf_node seen = a->kept < a->B ? pf_pick(f->g, f->v, 0, 1, a->kept) : f->v;
    pf_offer_node(f->g, &o, "x", seen);
    pf_offer_node(f->g, &o, "padding", f->tokens);
    pf_graph_prefix(f->g, pf_namef(f->g, "transforms.%d.nn.", pf_argmax_number(a, k)));
    pf_node params = f->model->ops->build(&f->model->opt, f->g, &o);
    pf_graph_prefix(f->g, "");
    return params;
}

static void add_step(flow *f, int k)
{
    const pf_argmax *a = f->a;
    pf_graph *g = f->g;
    int whole = a->moved == a->B;
    pf_node params = condition(f, k);
    pf_node z = whole ? f->v : pf_pick(g, f->v, a->kept, 1, a->moved);
    const char *name = pf_namef(g, "transforms.%d", pf_argmax_number(a, k));
    pf_node y = pf_mixture_map(g, name, z, params, a->opt.mixtures);
    add_volume(f, pf_pick(g, y, a->moved, 1, a->moved));
    y = pf_pick(g, y, 0, 1, a->moved);
    f->v = whole ? y : pf_concat(g, pf_pick(g, f->v, 0, 1, a->kept), y);
}

/* What lies between two steps. */
static void add_between(flow *f, int k)
{
    const pf_argmax *a = f->a;
    pf_graph *g = f->g;
    f->v = pf_turn(g, f->v, f->tokens, a->opt.turn ? PF_WAY_BACK : PF_WAY_ON);
    if (a->opt.channels != PF_ARGMAX_CHANNELS_MIX) return;
    const char *name = pf_namef(g, "transforms.%d", pf_argmax_number(a, k) - 1);
    pf_node y = pf_invertible(g, name, f->v);
    add_volume(f, pf_pick(g, y, a->B, 1, 1));
    f->v = pf_pick(g, y, 0, 1, a->B);
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
    flow f = {.a = a, .model = m, .g = g, .offered = offered, .volumes = PF_NONE};
    check_model(a, m, g);
    f.tokens = pf_offered(g, offered, "tokens");
    pf_node noise = pf_offered(g, offered, "noise");
    pf_node cells = pf_bit_cells(g, encode(a, g, f.tokens), noise, f.tokens);
    pf_node log_q = pf_pick(g, cells, a->B, 1, 1);
    f.v = pf_pick(g, cells, 0, 1, a->B);
    for (int k = 0; k < a->opt.steps; k++) {
        if (k) add_between(&f, k);
        add_step(&f, k);
    }
    pf_node nats = pf_normal_nats(g, "base_dist", f.v);
    return pf_concat(g, pf_concat(g, log_q, nats), f.volumes);
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
