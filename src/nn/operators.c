/* The operators a model is written with: each checks its inputs, sets its output shape and
 * creates its parameter views.  What they compute is documented in graph.h. */
#include <probflow/graph.h>

#include "nn/graph_impl.h"

#include <math.h>
#include <string.h>

static int binary(pf_graph *g, pf_gnode *n, pf_op op, pf_node a, pf_node b)
{
    return pf_graph_unary(g, n, op, NULL, a) && pf_graph_input(g, n, b);
}

static int check_value(pf_graph *g, const pf_gnode *n, int k)
{
    pf_shape s = pf_graph_in(g, n, k);
    if (!pf_is_vector(s, 1))
        pf_graph_fail_at(g, n, "the conditioning value is %dx%dx%d, want 1x1x1", s.h, s.w, s.c);
    return !g->failed;
}

static void add_vector(pf_graph *g, pf_gnode *n, const char *suffix, int c, pf_init init,
                       double scale)
{
    pf_param p = {.rank = 1,
                  .dim = {c},
                  .trainable = 1,
                  .init = init,
                  .scale = scale,
                  .fan_in = c,
                  .fan_out = c};
    pf_graph_view(g, n, suffix, &p);
}

static void add_bias(pf_graph *g, pf_gnode *n, const char *suffix, int c, double value)
{
    add_vector(g, n, suffix, c, PF_INIT_CONST, value);
}

/* NAME.weight [..] as p says and NAME.bias [fan out], which is 0 but where both are uniform by fan in. */
static void add_map(pf_graph *g, pf_gnode *n, const char *weight, const char *bias, pf_param p,
                    int cout)
{
    pf_graph_view(g, n, weight, &p);
    if (p.init != PF_INIT_FAN_IN) {
        add_bias(g, n, bias, cout, 0.0);
        return;
    }
    p.rank = 1;
    p.dim[0] = cout;
    pf_graph_view(g, n, bias, &p);
}

pf_node pf_conv(pf_graph *g, pf_node x, const pf_conv_opt *o)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_CONV, o->name, x)) return PF_NONE;
    pf_shape s = n.shape;
    int k = o->kernel, d = o->dilation > 1 ? o->dilation : 1, reach = (k - 1) * d + 1;
    int h = s.h + o->pad_lo + o->pad_hi, w = s.w + o->pad_lo + o->pad_hi;
    if (k < 1 || o->stride < 1 || o->cout < 1 || o->pad_lo < 0 || o->pad_hi < 0 ||
        o->dilation < 0 || h < reach || w < reach)
        return pf_graph_fail_at(
            g, &n, "%d %dx%d filters, stride %d, dilation %d, pads %d %d do not fit %dx%dx%d",
            o->cout, k, k, o->stride, d, o->pad_lo, o->pad_hi, s.h, s.w, s.c);
    n.attr = (pf_attr){.kernel = k,
                       .stride = o->stride,
                       .pad_lo = o->pad_lo,
                       .pad_hi = o->pad_hi,
                       .dilation = d};
    n.shape = (pf_shape){(h - reach) / o->stride + 1, (w - reach) / o->stride + 1, o->cout};
    pf_param p = {.rank = 4,
                  .dim = {o->cout, s.c, k, k},
                  .trainable = 1,
                  .init = o->init,
                  .scale = o->scale,
                  .fan_in = s.c * k * k,
                  .fan_out = o->cout * k * k};
    if (o->no_bias) pf_graph_view(g, &n, "weight", &p);
    else add_map(g, &n, "weight", "bias", p, o->cout);
    return pf_graph_push(g, &n);
}

pf_node pf_conv_same(pf_graph *g, const char *name, pf_node x, int cout, int kernel,
                     double scale)
{
    pf_conv_opt o = {.name = name,
                     .cout = cout,
                     .kernel = kernel,
                     .stride = 1,
                     .pad_lo = (kernel - 1) / 2,
                     .pad_hi = kernel / 2,
                     .scale = scale};
    return pf_conv(g, x, &o);
}

static pf_node linear(pf_graph *g, pf_gnode *n, const pf_linear_opt *o)
{
    int cin = n->shape.c, cout = o->cout, in_out = n->attr.in_out;
    if (cout < 1) return pf_graph_fail_at(g, n, "%d output channels", cout);
    if (o->axes < 0 || o->axes > 2)
        return pf_graph_fail_at(g, n, "%d more axes of the weight, want 0, 1 or 2", o->axes);
    n->shape.c = cout;
    n->attr.sequence = g->sequence;
    pf_param p = {.rank = 2 + o->axes,
                  .dim = {in_out ? cin : cout, in_out ? cout : cin, 1, 1},
                  .trainable = 1,
                  .init = o->init,
                  .scale = o->scale,
                  .fan_in = cin,
                  .fan_out = cout};
    memset(p.dim + p.rank, 0, (size_t)(4 - p.rank) * sizeof *p.dim);
    if (o->no_bias) pf_graph_view(g, n, "weight", &p);
    else add_map(g, n, in_out ? "W" : "weight", in_out ? "b" : "bias", p, cout);
    return pf_graph_push(g, n);
}

pf_node pf_linear_with(pf_graph *g, pf_node x, const pf_linear_opt *o)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LINEAR, o->name, x)) return PF_NONE;
    return linear(g, &n, o);
}

pf_node pf_linear(pf_graph *g, const char *name, pf_node x, int cout, double scale)
{
    return pf_linear_with(g, x, &(pf_linear_opt){name, cout, .scale = scale});
}

pf_node pf_nin(pf_graph *g, const char *name, pf_node x, int cout, double scale)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LINEAR, name, x)) return PF_NONE;
    n.attr.in_out = 1;
    return linear(g, &n, &(pf_linear_opt){name, cout, .scale = scale});
}

pf_node pf_group_norm(pf_graph *g, pf_node x, pf_node e, const pf_norm_opt *o)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_GROUP_NORM, o->name, x)) return PF_NONE;
    int c = n.shape.c;
    if (e.id >= 0) {
        if (!pf_graph_input(g, &n, e)) return PF_NONE;
        pf_shape s = pf_graph_in(g, &n, 1);
        int want = o->scale_shift ? 2 * c : c;
        if (!pf_is_vector(s, want))
            return pf_graph_fail_at(g, &n, "the %s vector is %dx%dx%d, want 1x1x%d",
                                    o->scale_shift ? "scaling" : "added", s.h, s.w, s.c, want);
    } else if (o->scale_shift) {
        return pf_graph_fail_at(g, &n, "nothing to scale and shift with");
    }
    if (o->groups < 1 || c % o->groups)
        return pf_graph_fail_at(g, &n, "%d channels do not split into %d groups", c, o->groups);
    if (!(o->eps > 0.0) || !(o->dropout >= 0.0 && o->dropout < 1.0))
        return pf_graph_fail_at(g, &n, "eps %g must be positive and dropout %g in [0,1)",
                                o->eps, o->dropout);
    n.attr = (pf_attr){.groups = o->groups,
                       .silu = o->silu,
                       .scale_shift = o->scale_shift,
                       .eps = o->eps,
                       .rate = o->dropout};
    add_bias(g, &n, "weight", c, 1.0);
    add_bias(g, &n, "bias", c, 0.0);
    return pf_graph_push(g, &n);
}

/* Rows of a table, and how they begin. */
typedef struct table {
    const char *name;
    int classes, width;
    pf_init init;
    double scale;
    int bare; /* 1: the parameter is NAME itself */
} table;

static pf_node add_table(pf_graph *g, pf_gnode *n, const table *t)
{
    if (t->classes < 1 || t->width < 1)
        return pf_graph_fail_at(g, n, "%d classes of width %d", t->classes, t->width);
    n->shape.c = t->width;
    pf_param p = {.rank = 2,
                  .dim = {t->classes, t->width},
                  .trainable = 1,
                  .init = t->init,
                  .scale = t->scale,
                  .fan_in = t->init == PF_INIT_FAN_IN ? t->width : t->classes,
                  .fan_out = t->width};
    pf_graph_view(g, n, t->bare ? NULL : "weight", &p);
    return pf_graph_push(g, n);
}

static pf_node between(pf_graph *g, pf_node value, const table *t)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_EMBED_BETWEEN, t->name, value)) return PF_NONE;
    if (!pf_is_vector(n.shape, 1))
        return pf_graph_fail_at(g, &n, "the place is %dx%dx%d, want 1x1x1", n.shape.h,
                                n.shape.w, n.shape.c);
    return add_table(g, &n, t);
}

pf_node pf_instance_norm_pp(pf_graph *g, pf_node x, const pf_instance_norm_opt *o)
{
    enum { PARTS = 3 };
    const double spread = 0.02; /* as published */
    pf_gnode n;
    int c = pf_graph_shape(g, x).c;
    pf_node e = PF_NONE;
    if (o->classes > 0)
        e = between(g, o->level,
                    &(table){pf_namef(g, "%s.embed", o->name), o->classes, PARTS * c,
                             PF_INIT_GAINS, spread, 0});
    if (!pf_graph_unary(g, &n, PF_OP_INSTANCE_NORM, o->name, x)) return PF_NONE;
    if (o->classes > 0 && !pf_graph_input(g, &n, e)) return PF_NONE;
    if (c < 2)
        return pf_graph_fail_at(
            g, &n, "one channel: its mean has no variance over channels to be divided by");
    if (!(o->eps > 0.0)) return pf_graph_fail_at(g, &n, "eps %g must be positive", o->eps);
    n.attr.eps = o->eps;
    if (o->classes <= 0) {
        add_vector(g, &n, "alpha", c, PF_INIT_NEAR_ONE, spread);
        add_vector(g, &n, "gamma", c, PF_INIT_NEAR_ONE, spread);
        add_bias(g, &n, "beta", c, 0.0);
    }
    return pf_graph_push(g, &n);
}

pf_node pf_silu(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_SILU, NULL, x)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_relu(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_RELU, NULL, x)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_elu(pf_graph *g, pf_node x)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_ELU, NULL, x)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_leaky_relu(pf_graph *g, pf_node x, double slope)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LEAKY_RELU, NULL, x)) return PF_NONE;
    if (!(slope >= 0.0 && slope < 1.0))
        return pf_graph_fail_at(g, &n, "slope %g, want [0,1)", slope);
    n.attr.a = slope;
    return pf_graph_push(g, &n);
}

pf_node pf_dropout(pf_graph *g, pf_node x, double rate)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_DROPOUT, NULL, x)) return PF_NONE;
    if (!(rate >= 0.0 && rate < 1.0))
        return pf_graph_fail_at(g, &n, "rate %g, want [0,1)", rate);
    n.attr.rate = rate;
    return pf_graph_push(g, &n);
}

pf_node pf_concat(pf_graph *g, pf_node a, pf_node b)
{
    pf_gnode n;
    if (!binary(g, &n, PF_OP_CONCAT, a, b)) return PF_NONE;
    pf_shape s = pf_graph_in(g, &n, 0), t = pf_graph_in(g, &n, 1);
    if (!pf_same_pixels(s, t))
        return pf_graph_fail_at(g, &n, "cannot join %dx%dx%d and %dx%dx%d", s.h, s.w, s.c, t.h,
                                t.w, t.c);
    n.shape.c = s.c + t.c;
    return pf_graph_push(g, &n);
}

pf_node pf_add_scale(pf_graph *g, pf_node a, pf_node b, double s)
{
    pf_gnode n;
    if (!binary(g, &n, PF_OP_ADD_SCALE, a, b)) return PF_NONE;
    pf_shape p = pf_graph_in(g, &n, 0), q = pf_graph_in(g, &n, 1);
    if (!pf_shape_same(p, q))
        return pf_graph_fail_at(g, &n, "cannot add %dx%dx%d and %dx%dx%d", p.h, p.w, p.c, q.h,
                                q.w, q.c);
    n.attr.a = s;
    return pf_graph_push(g, &n);
}

pf_node pf_add_channel(pf_graph *g, pf_node x, pf_node e)
{
    pf_gnode n;
    if (!binary(g, &n, PF_OP_ADD_CHANNEL, x, e)) return PF_NONE;
    pf_shape s = pf_graph_in(g, &n, 1);
    if (!pf_is_vector(s, n.shape.c))
        return pf_graph_fail_at(g, &n, "the added vector is %dx%dx%d, want 1x1x%d", s.h, s.w,
                                s.c, n.shape.c);
    return pf_graph_push(g, &n);
}

pf_node pf_affine(pf_graph *g, pf_node x, double a, double b)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_AFFINE, NULL, x)) return PF_NONE;
    n.attr.a = a;
    n.attr.b = b;
    return pf_graph_push(g, &n);
}

static pf_node embed(pf_graph *g, pf_node label, const table *t)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_EMBED, t->name, label)) return PF_NONE;
    if (n.shape.c != 1)
        return pf_graph_fail_at(g, &n, "the label is %dx%dx%d, want one a pixel", n.shape.h,
                                n.shape.w, n.shape.c);
    g->sequence |= n.shape.h * n.shape.w > 1;
    return add_table(g, &n, t);
}

pf_node pf_embed(pf_graph *g, const char *name, pf_node label, int classes, int width)
{
    return embed(g, label, &(table){name, classes, width, PF_INIT_NORMAL, 1.0, 0});
}

pf_node pf_embed_table(pf_graph *g, const char *name, pf_node label, int classes, int width)
{
    return embed(g, label, &(table){name, classes, width, PF_INIT_FAN_IN, 1.0, 1});
}

pf_node pf_embed_between(pf_graph *g, const char *name, pf_node value, int classes, int width)
{
    return between(g, value, &(table){name, classes, width, PF_INIT_NORMAL, 1.0, 0});
}

pf_node pf_embed_label(pf_graph *g, const char *name, const pf_ports *o, int width)
{
    int classes = 0;
    for (int i = 0; i < o->n; i++)
        if (!strcmp(o->port[i].name, "label")) classes = o->port[i].classes;
    return pf_embed(g, name, pf_offered(g, o, "label"), classes, width);
}

static pf_node positional(pf_graph *g, pf_node v, int features, int cosine_first)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_POSITIONAL, NULL, v) || !check_value(g, &n, 0))
        return PF_NONE;
    if (features < 4 || features % 2)
        return pf_graph_fail_at(g, &n, "%d features, want an even number from 4", features);
    n.shape.c = features;
    n.attr.cosine_first = cosine_first;
    return pf_graph_push(g, &n);
}

pf_node pf_positional(pf_graph *g, pf_node v, int features)
{
    return positional(g, v, features, 0);
}

pf_node pf_timestep(pf_graph *g, pf_node v, int features)
{
    return positional(g, v, features, 1);
}

pf_node pf_fourier(pf_graph *g, const char *name, pf_node v, int features, double scale)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_FOURIER, name, v) || !check_value(g, &n, 0))
        return PF_NONE;
    if (features < 1) return pf_graph_fail_at(g, &n, "%d frequencies", features);
    n.shape.c = 2 * features;
    pf_param p = {.rank = 1,
                  .dim = {features},
                  .init = PF_INIT_NORMAL,
                  .scale = scale,
                  .fan_in = features,
                  .fan_out = features};
    pf_graph_view(g, &n, "W", &p);
    return pf_graph_push(g, &n);
}

pf_node pf_divide(pf_graph *g, pf_node x, pf_node v)
{
    pf_gnode n;
    if (!binary(g, &n, PF_OP_DIVIDE, x, v) || !check_value(g, &n, 1)) return PF_NONE;
    return pf_graph_push(g, &n);
}

pf_node pf_sine(pf_graph *g, pf_node x, pf_node v, double a, double b)
{
    pf_gnode n;
    if (!binary(g, &n, PF_OP_SINE, x, v) || !check_value(g, &n, 1)) return PF_NONE;
    n.attr.a = a;
    n.attr.b = b;
    return pf_graph_push(g, &n);
}

pf_node pf_levels(pf_graph *g, pf_node x, pf_node v, pf_node m, const pf_levels_opt *o)
{
    pf_gnode n;
    if (!pf_graph_unary(g, &n, PF_OP_LEVELS, o->name, x) || !pf_graph_input(g, &n, v) ||
        !pf_graph_input(g, &n, m) || !check_value(g, &n, 1) || !check_value(g, &n, 2))
        return PF_NONE;
    if (o->levels < 2) return pf_graph_fail_at(g, &n, "%d levels, want at least 2", o->levels);
    if (o->grid != PF_GRID_DEQUANTISED && o->levels > 256)
        return pf_graph_fail_at(g, &n, "%d levels on points, want at most 256", o->levels);
    n.attr.levels = o->levels;
    n.attr.grid = o->grid;
    pf_param p = {.rank = 2,
                  .dim = {n.shape.c, o->levels},
                  .init = PF_INIT_LEVELS,
                  .scale = 1.0 / o->levels,
                  .fan_in = o->levels,
                  .fan_out = o->levels};
    pf_graph_view(g, &n, "weight", &p);
    return pf_graph_push(g, &n);
}
