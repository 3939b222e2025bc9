/* The operators of transformers: norms of a position, attention over positions, what is added to or multiplied
 * with all of them.  What they compute is documented in graph.h. */
#include <probflow/graph.h>

#include "nn/graph_impl.h"

static void add_view(pf_graph *g, pf_gnode *n, const char *suffix, pf_param p)
{
    p.trainable = 1;
    p.fan_in = p.fan_out = p.dim[p.rank - 1];
    pf_graph_view(g, n, suffix, &p);
}

pf_node pf_layer_norm(pf_graph *g, pf_node x, const pf_layer_norm_opt *o)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LAYER_NORM, o->name, x)) return PF_NONE;
    if (!(o->eps > 0.0)) return pf_graph_fail_at(g, &n, "eps %g must be positive", o->eps);
    n.attr.eps = o->eps;
    n.attr.rms = o->rms;
    pf_param p = {.rank = 1, .dim = {n.shape.c}, .init = PF_INIT_CONST};
    p.scale = 1.0;
    add_view(g, &n, "weight", p);
    p.scale = 0.0;
    if (!o->no_bias) add_view(g, &n, "bias", p);
    return pf_graph_push(g, &n);
}

pf_node pf_gelu(pf_graph *g, pf_node x, pf_gelu_kind kind)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_GELU, NULL, x)) return PF_NONE;
    n.attr.curve = kind;
    return pf_graph_push(g, &n);
}

pf_node pf_softplus(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_SOFTPLUS, NULL, x)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_pick(pf_graph *g, pf_node x, int first, int step, int channels)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_PICK, NULL, x)) return PF_NONE;
    int c = n.shape.c;
    if (first < 0 || step < 1 || channels < 1 || first >= c ||
        channels - 1 > (c - 1 - first) / step)
        return pf_graph_fail_at(g, &n, "%d channels from %d on, every %d-th, are not among %d",
                                channels, first, step, c);
    n.attr.first = first;
    n.attr.step = step;
    n.shape.c = channels;
    return pf_graph_push(g, &n);
}

/* Adds a vector with one number a channel. */
static int add_vector(pf_graph *g, pf_gnode *n, pf_node e, const char *what)
{
    if (!pf_graph_input(g, n, e)) return 0;
    pf_shape s = pf_graph_in(g, n, n->n_in - 1);
    if (!pf_is_vector(s, n->shape.c))
        pf_graph_fail_at(g, n, "the %s vector is %dx%dx%d, want 1x1x%d", what, s.h, s.w, s.c,
                         n->shape.c);
    return !g->failed;
}

pf_node pf_modulate(pf_graph *g, pf_node x, pf_node shift, pf_node scale)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_MODULATE, NULL, x)) return PF_NONE;
    if (!add_vector(g, &n, shift, "shifting") || !add_vector(g, &n, scale, "scaling"))
        return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_gate(pf_graph *g, pf_node h, pf_node gate, pf_node y)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_GATE, NULL, h)) return PF_NONE;
    if (!add_vector(g, &n, gate, "gating") || !pf_graph_input(g, &n, y)) return PF_NONE;
    pf_shape s = pf_graph_in(g, &n, 2);
    if (!pf_shape_same(n.shape, s))
        return pf_graph_fail_at(g, &n, "cannot add %dx%dx%d and %dx%dx%d", n.shape.h, n.shape.w,
                                n.shape.c, s.h, s.w, s.c);
    return pf_graph_push(g, &n);
}

pf_node pf_scale_by(pf_graph *g, const char *name, pf_node x, double init)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_SCALE_BY, name, x)) return PF_NONE;
    pf_param p = {.rank = 1, .dim = {1}, .init = PF_INIT_CONST, .scale = init};
    add_view(g, &n, NULL, p);
    return pf_graph_push(g, &n);
}

pf_node pf_add_positions(pf_graph *g, pf_node x, const char *name0, const char *name1,
                         int window)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_POSITIONS, name0, x)) return PF_NONE;
    int length = n.shape.h * n.shape.w, c = n.shape.c;
    if (window < 1 || window > length)
        return pf_graph_fail_at(g, &n, "window %d, want 1 to %d positions", window, length);
    n.attr.window = window;
    pf_param p = {.rank = 4, .init = PF_INIT_NORMAL, .scale = 1.0};
    pf_param major = p, minor = p;
    const int windows[] = {1, (length + window - 1) / window, 1, c},
              within[] = {1, 1, window, c};
    for (int k = 0; k < 4; k++) {
        major.dim[k] = windows[k];
        minor.dim[k] = within[k];
    }
    add_view(g, &n, NULL, major);
    snprintf(n.name, sizeof n.name, "%s", name1); /* of the second table */
    add_view(g, &n, NULL, minor);
    snprintf(n.name, sizeof n.name, "%s", name0);
    return pf_graph_push(g, &n);
}

/* Adds keys and values, which have the shape of the queries. */
static int add_keys_and_values(pf_graph *g, pf_gnode *n, pf_node k, pf_node v)
{
    const pf_node more[] = {k, v};
    for (int i = 0; i < 2; i++) {
        if (!pf_graph_input(g, n, more[i])) return 0;
        pf_shape s = pf_graph_in(g, n, i + 1);
        if (!pf_shape_same(n->shape, s))
            pf_graph_fail_at(g, n, "queries are %dx%dx%d but %s are %dx%dx%d", n->shape.h,
                             n->shape.w, n->shape.c, i ? "values" : "keys", s.h, s.w, s.c);
    }
    return !g->failed;
}

/* Splits the channels of the queries, or of what packs queries, keys and values, into heads. */
static int split_heads(pf_graph *g, pf_gnode *n, int heads, int packed)
{
    int c = packed ? n->shape.c / 3 : n->shape.c;
    if ((packed && n->shape.c % 3) || heads < 1 || c % heads)
        pf_graph_fail_at(g, n, "%d channels are no %s of %d heads", n->shape.c,
                         packed ? "queries, keys and values" : "queries", heads);
    n->shape.c = c;
    n->attr.heads = heads;
    return !g->failed;
}

/* Adds the integers that say which positions are there; PF_NONE: all. */
static int add_padding(pf_graph *g, pf_gnode *n, pf_node padding)
{
    if (padding.id < 0) return 1;
    if (!pf_graph_integers(g, n, padding)) return 0;
    pf_shape s = pf_graph_in(g, n, n->n_in - 1);
    if (!pf_same_pixels(n->shape, s) || s.c != 1)
        pf_graph_fail_at(g, n, "the padding is %dx%dx%d, want %dx%dx1", s.h, s.w, s.c,
                         n->shape.h, n->shape.w);
    return !g->failed;
}

pf_node pf_attention(pf_graph *g, pf_node q, pf_node k, pf_node v)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_ATTENTION, NULL, q) || !add_keys_and_values(g, &n, k, v))
        return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_attention_heads(pf_graph *g, pf_node qkv, int heads, pf_heads_order order)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_ATTENTION, NULL, qkv) || !split_heads(g, &n, heads, 1))
        return PF_NONE;
    n.attr.order = order;
    return pf_graph_push(g, &n);
}

/* The first `channels` of x, in heads of d, turned by their position. */
static pf_node rotary(pf_graph *g, pf_node x, int channels, int d, double base)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_ROTARY, NULL, x)) return PF_NONE;
    if (d % 2 || !(base > 1.0))
        return pf_graph_fail_at(
            g, &n, "heads of %d channels, base %g: want an even number and a base above 1", d,
            base);
    n.attr.turned = channels;
    n.attr.heads = channels / d;
    n.attr.a = base;
    return pf_graph_push(g, &n);
}

pf_node pf_attend(pf_graph *g, pf_node q, pf_node k, pf_node v, const pf_attend_opt *o)
{
    pf_gnode n;
    int packed = k.id < 0 && v.id < 0;
    if (!pf_graph_unary(g, &n, PF_OP_ATTENTION, NULL, q) ||
        !split_heads(g, &n, o->heads, packed))
        return PF_NONE;
    if (o->mask == PF_MASK_WINDOW && o->window < 1)
        return pf_graph_fail_at(g, &n, "a window of %d positions", o->window);
    if (o->rotary != 0.0) {
        int c = n.shape.c, d = c / o->heads;
        q = rotary(g, q, packed ? 2 * c : c, d, o->rotary);
        if (!packed) k = rotary(g, k, c, d, o->rotary);
        if (!pf_graph_unary(g, &n, PF_OP_ATTENTION, NULL, q)) return PF_NONE;
        split_heads(g, &n, o->heads, packed);
    }
    n.attr.order = PF_HEADS_WITHIN_PARTS;
    n.attr.sequence = 1;
    n.attr.mask = o->mask;
    n.attr.window = o->mask == PF_MASK_WINDOW ? o->window : 0;
    if (!packed && !add_keys_and_values(g, &n, k, v)) return PF_NONE;
    if (!add_padding(g, &n, o->padding)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_attend_linear(pf_graph *g, pf_node q, pf_node k, pf_node v, int heads,
                         pf_node padding)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LINEAR_ATTENTION, NULL, q) ||
        !split_heads(g, &n, heads, 0) || !add_keys_and_values(g, &n, k, v) ||
        !add_padding(g, &n, padding))
        return PF_NONE;
    return pf_graph_push(g, &n);
}
