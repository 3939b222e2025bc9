/* The operators of autoregressive networks and flows: maps that some channels do not pass, recurrent layers, increasing
 * maps of each number.
 * What they compute is documented in graph.h. */
#include <probflow/graph.h>
#include <probflow/mixture_cdf.h>

#include "nn/graph_impl.h"

static void add_view(pf_graph *g, pf_gnode *n, const char *suffix, pf_param p, int fan_in)
{
    p.trainable = 1;
    p.scale = 1.0;
    p.init = PF_INIT_FAN_IN;
    p.fan_in = p.fan_out = fan_in;
    pf_graph_view(g, n, suffix, &p);
}

pf_node pf_masked_linear(pf_graph *g, pf_node x, const pf_masked_map_opt *o)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_MASKED_LINEAR, o->name, x)) return PF_NONE;
    int cin = n.shape.c, cout = o->cout;
    if (cout < 1) return pf_graph_fail_at(g, &n, "%d output channels", cout);
    n.shape.c = cout;
    n.attr.sequence = g->sequence;
    n.attr.same = o->same;
    n.attr.in_degree = pf_graph_ints(g, o->in, cin);
    n.attr.out_degree = pf_graph_ints(g, o->out, cout);
    add_view(g, &n, "weight", (pf_param){.rank = 2, .dim = {cout, cin}}, cin);
    add_view(g, &n, "bias", (pf_param){.rank = 1, .dim = {cout}}, cin);
    return pf_graph_push(g, &n);
}

pf_node pf_shift(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_SHIFT, NULL, x)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_concat_places(pf_graph *g, const char *name, pf_node x, int most, int width)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_PLACES, name, x)) return PF_NONE;
    if (width < 1 || n.shape.h * n.shape.w > most)
        return pf_graph_fail_at(g, &n, "%d positions, want at most %d, told by %d channels",
                                n.shape.h * n.shape.w, most, width);
    n.shape.c += width;
    g->sequence = 1;
    add_view(g, &n, "weight", (pf_param){.rank = 2, .dim = {width, 2 * most}}, 2 * most);
    add_view(g, &n, "bias", (pf_param){.rank = 1, .dim = {width}}, 2 * most);
    return pf_graph_push(g, &n);
}

pf_node pf_dropout_positions(pf_graph *g, pf_node x, double rate)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_DROPOUT, NULL, x)) return PF_NONE;
    if (!(rate >= 0.0 && rate < 1.0))
        return pf_graph_fail_at(g, &n, "rate %g, want [0,1)", rate);
    n.attr.rate = rate;
    n.attr.positions = 1;
    return pf_graph_push(g, &n);
}

/* Adds the integers that say which positions are there; PF_NONE: all. */
static int add_padding(pf_graph *g, pf_gnode *n, pf_node padding)
{
    if (padding.id < 0) return 1;
    if (!pf_graph_integers(g, n, padding)) return 0;
    pf_shape s = pf_graph_in(g, n, 1);
    if (!pf_same_pixels(n->shape, s) || s.c != 1)
        pf_graph_fail_at(g, n, "the padding is %dx%dx%d, want %dx%dx1", s.h, s.w, s.c,
                         n->shape.h, n->shape.w);
    return !g->failed;
}

pf_node pf_lstm(pf_graph *g, pf_node x, const pf_lstm_opt *o)
{
    static const char *const views[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LSTM, o->name, x) || !add_padding(g, &n, o->padding))
        return PF_NONE;
    int h = o->hidden;
    if (h < 1 || h > 1 << 20) return pf_graph_fail_at(g, &n, "%d hidden channels", h);
    const int columns[] = {n.shape.c, h, 1, 1};
    n.attr.reverse = o->reverse;
    g->sequence = 1;
    n.shape.c = h;
    for (int k = 0; k < 4; k++) {
        pf_param p = {.rank = k < 2 ? 2 : 1, .dim = {4 * h, k < 2 ? columns[k] : 0}};
        const char *end = o->reverse ? "_reverse" : "";
        add_view(g, &n, pf_namef(g, "%s_l%d%s", views[k], o->layer, end), p, h);
    }
    return pf_graph_push(g, &n);
}

pf_node pf_mixture_map(pf_graph *g, const char *name, pf_node z, pf_node params, int mixtures)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_MIXTURE_CDF, name, z) || !pf_graph_input(g, &n, params))
        return PF_NONE;
    pf_shape s = pf_graph_in(g, &n, 1);
    int c = n.shape.c, M = mixtures;
    if (M < 1 || M > PF_MIXTURE_CDF_MAX)
        return pf_graph_fail_at(g, &n, "%d logistics, want 1 to %d", M, PF_MIXTURE_CDF_MAX);
    if (!pf_same_pixels(n.shape, s) || s.c != c * (2 + 3 * M))
        return pf_graph_fail_at(g, &n, "the parameters are %dx%dx%d, want %dx%dx%d", s.h, s.w,
                                s.c, n.shape.h, n.shape.w, c * (2 + 3 * M));
    n.shape.c = 2 * c;
    pf_param p = {.rank = 1, .dim = {c}, .trainable = 1, .init = PF_INIT_CONST};
    p.fan_in = p.fan_out = c;
    pf_graph_view(g, &n, "scaling_factor", &p);
    p.rank = 2;
    p.dim[1] = p.fan_in = p.fan_out = M;
    pf_graph_view(g, &n, "mixture_scaling_factor", &p);
    return pf_graph_push(g, &n);
}
