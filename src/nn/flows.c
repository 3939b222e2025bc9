/* The operators of flows of categories: numbers in the cell of a symbol, rows turned around, invertible maps of channels,
 * the cost of numbers under a normal density, steps of encoders and what stands between steps.  What they compute is documented in graph.h. */
#include <probflow/graph.h>

#include "nn/graph_impl.h"

/* Adds an input that has this shape. */
static int add_same(pf_graph *g, pf_gnode *n, pf_node x, int channels, const char *what)
{
    int integers = channels == 0;
    if (!(integers ? pf_graph_integers(g, n, x) : pf_graph_input(g, n, x))) return 0;
    pf_shape s = pf_graph_in(g, n, n->n_in - 1);
    if (!pf_same_pixels(n->shape, s) || s.c != (integers ? 1 : channels))
        pf_graph_fail_at(g, n, "%s of %dx%dx%d, want %dx%dx%d", what, s.h, s.w, s.c, n->shape.h,
                         n->shape.w, integers ? 1 : channels);
    return !g->failed;
}

pf_node pf_bit_cells(pf_graph *g, pf_node params, pf_node noise, pf_node symbols)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_BITS, NULL, params)) return PF_NONE;
    int B = n.shape.c / 2;
    if (n.shape.c % 2 || B > PF_BITS_MAX)
        return pf_graph_fail_at(g, &n, "%d channels, want two for each of 1 to %d bits",
                                n.shape.c, PF_BITS_MAX);
    if (!add_same(g, &n, noise, B, "noise") || !add_same(g, &n, symbols, 0, "symbols"))
        return PF_NONE;
    n.shape.c = B + 1;
    return pf_graph_push(g, &n);
}

pf_node pf_turn(pf_graph *g, pf_node x, pf_node padding, pf_way way)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_TURN, NULL, x)) return PF_NONE;
    if (!add_same(g, &n, padding, 0, "paddings")) return PF_NONE;
    n.attr.step = way == PF_WAY_BACK ? -1 : 1;
    return pf_graph_push(g, &n);
}

pf_node pf_invertible(pf_graph *g, const char *name, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_INVERTIBLE, name, x)) return PF_NONE;
    int c = n.shape.c;
    if (c > PF_INVERTIBLE_MAX)
        return pf_graph_fail_at(g, &n, "%d channels, want at most %d", c, PF_INVERTIBLE_MAX);
    pf_param p = {.rank = 2,
                  .dim = {c, c},
                  .trainable = 1,
                  .init = PF_INIT_ROTATION,
                  .scale = 1.0,
                  .fan_in = c,
                  .fan_out = c};
    pf_graph_view(g, &n, "weight", &p);
    n.shape.c = c + 1;
    return pf_graph_push(g, &n);
}

/* Parameters [1,c,1] that begin as 0. */
static pf_param by_channel(int c)
{
    return (pf_param){.rank = 3,
                      .dim = {1, c, 1},
                      .trainable = 1,
                      .init = PF_INIT_CONST,
                      .fan_in = c,
                      .fan_out = c};
}

pf_node pf_normal_nats(pf_graph *g, const char *name, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_NORMAL_NATS, name, x)) return PF_NONE;
    int c = n.shape.c;
    pf_param p = by_channel(c);
    pf_graph_view(g, &n, "loc", &p);
    pf_graph_view(g, &n, "log_scale", &p);
    n.shape.c = 1;
    return pf_graph_push(g, &n);
}

pf_node pf_draw_normals(pf_graph *g, pf_node params, pf_node noise)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_DRAW, NULL, params)) return PF_NONE;
    int B = n.shape.c / 2;
    if (n.shape.c % 2)
        return pf_graph_fail_at(g, &n, "%d channels, want two for each number", n.shape.c);
    if (!add_same(g, &n, noise, B, "noise")) return PF_NONE;
    n.shape.c = B + 1;
    return pf_graph_push(g, &n);
}

pf_node pf_cells_of(pf_graph *g, pf_node u, pf_node symbols)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_CELLS, NULL, u)) return PF_NONE;
    if (n.shape.c > PF_BITS_MAX)
        return pf_graph_fail_at(g, &n, "%d channels, want 1 to %d bits", n.shape.c,
                                PF_BITS_MAX);
    if (!add_same(g, &n, symbols, 0, "symbols")) return PF_NONE;
    n.shape.c++;
    return pf_graph_push(g, &n);
}

pf_node pf_bounded_map(pf_graph *g, pf_node x, pf_node params)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_BOUNDED, NULL, x)) return PF_NONE;
    if (!add_same(g, &n, params, 2 * n.shape.c, "parameters")) return PF_NONE;
    n.shape.c++;
    return pf_graph_push(g, &n);
}

pf_node pf_act_norm(pf_graph *g, const char *name, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_ACT_NORM, name, x)) return PF_NONE;
    pf_param p = by_channel(n.shape.c);
    pf_graph_view(g, &n, "shift", &p);
    pf_graph_view(g, &n, "log_scale", &p);
    n.shape.c++;
    return pf_graph_push(g, &n);
}

pf_node pf_shuffle(pf_graph *g, const char *name, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_SHUFFLE, name, x)) return PF_NONE;
    int c = n.shape.c;
    if (c > PF_INVERTIBLE_MAX)
        return pf_graph_fail_at(g, &n, "%d channels, want at most %d", c, PF_INVERTIBLE_MAX);
    pf_param p = {
        .rank = 1, .dim = {c}, .init = PF_INIT_PERMUTATION, .fan_in = c, .fan_out = c};
    pf_graph_view(g, &n, "permutation", &p);
    return pf_graph_push(g, &n);
}
