/* The operators that change how many pixels there are, or look at their neighbours. */
#include <probflow/graph.h>

#include "nn/graph_impl.h"

#include <math.h>

pf_node pf_up2(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_UP2, NULL, x)) return PF_NONE;
    n.shape.h *= 2;
    n.shape.w *= 2;
    return pf_graph_push(g, &n);
}

/* The shape of the first input that an operator depends on. */
static pf_shape first_read(const pf_graph *g, const pf_gnode *n)
{
    int i = 0;
    while (i + 1 < g->n_port && !(n->of_in >> i & 1)) i++;
    return g->port[i].shape;
}

pf_node pf_down2(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_DOWN2, NULL, x)) return PF_NONE;
    pf_shape s = n.shape;
    if (s.h % 2 || s.w % 2) {
        pf_shape im = first_read(g, &n);
        return pf_graph_fail(
            g, PF_ESHAPE,
            "image size %dx%d cannot be halved at every level of this network: "
            "%dx%d at operator %s is odd",
            im.h, im.w, s.h, s.w, n.name);
    }
    n.shape.h /= 2;
    n.shape.w /= 2;
    return pf_graph_push(g, &n);
}

pf_node pf_fir(pf_graph *g, pf_node x, const pf_fir_opt *o)
{
    enum { TAPS = 4 };
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_FIR, NULL, x)) return PF_NONE;
    int h = n.shape.h * o->up + o->pad_lo + o->pad_hi,
        w = n.shape.w * o->up + o->pad_lo + o->pad_hi;
    if (o->up < 1 || o->down < 1 || o->pad_lo < 0 || o->pad_hi < 0 || h < TAPS || w < TAPS)
        return pf_graph_fail_at(g, &n, "up %d, down %d, pads %d %d do not fit %dx%d", o->up,
                                o->down, o->pad_lo, o->pad_hi, n.shape.h, n.shape.w);
    n.attr = (pf_attr){
        .up = o->up, .stride = o->down, .pad_lo = o->pad_lo, .pad_hi = o->pad_hi, .a = o->gain};
    n.shape.h = (h - TAPS) / o->down + 1;
    n.shape.w = (w - TAPS) / o->down + 1;
    return pf_graph_push(g, &n);
}

pf_node pf_mean(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_MEAN, NULL, x)) return PF_NONE;
    n.shape.h = n.shape.w = 1;
    return pf_graph_push(g, &n);
}

pf_node pf_tokens(pf_graph *g, const char *name, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_TOKENS, name, x)) return PF_NONE;
    int c = n.shape.c;
    n.shape = (pf_shape){1, n.shape.h * n.shape.w + 1, c};
    pf_param p = {.rank = 2,
                  .dim = {c, n.shape.w},
                  .trainable = 1,
                  .init = PF_INIT_NORMAL,
                  .scale = 1.0 / sqrt((double)c),
                  .fan_in = c,
                  .fan_out = c};
    pf_graph_view(g, &n, "positional_embedding", &p);
    return pf_graph_push(g, &n);
}

pf_node pf_first(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_FIRST, NULL, x)) return PF_NONE;
    n.shape.h = n.shape.w = 1;
    return pf_graph_push(g, &n);
}

pf_node pf_pool_same(pf_graph *g, pf_node x, int kernel, pf_pool kind)
{
    enum { MOST = 15 }; /* a place in the window is a byte */
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_POOL, NULL, x)) return PF_NONE;
    if (kernel < 1 || kernel > MOST || kernel % 2 == 0)
        return pf_graph_fail_at(g, &n, "kernel %d, want an odd one up to %d", kernel, MOST);
    n.attr.kernel = kernel;
    n.attr.pool = kind;
    return pf_graph_push(g, &n);
}

pf_node pf_bilinear(pf_graph *g, pf_node x, int h, int w)
{
    pf_gnode n;
    pf_shape s = pf_graph_shape(g, x);
    if (s.h == h && s.w == w) return x;
    if (!pf_graph_unary(g, &n, PF_OP_BILINEAR, NULL, x)) return PF_NONE;
    n.shape.h = h;
    n.shape.w = w;
    return pf_graph_push(g, &n);
}

pf_node pf_reshape(pf_graph *g, pf_node x, pf_shape shape)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_RESHAPE, NULL, x)) return PF_NONE;
    if (pf_shape_size(n.shape) != pf_shape_size(shape))
        return pf_graph_fail_at(g, &n, "%dx%dx%d numbers are no %dx%dx%d", n.shape.h, n.shape.w,
                                n.shape.c, shape.h, shape.w, shape.c);
    n.shape = shape;
    return pf_graph_push(g, &n);
}
