/* Time-conditioned multilayer perceptron: the smallest score network, for vectors [1,1,D], and for one-hots of short rows of
 * categories, [1,L,V] or [h,w,c V], whose numbers it takes as one vector, as it gives those of the output.
 *
 *     cond -> embedding -> time: linear -> silu --------------+
 *     x    -> in: linear -----------------------------------(+)-> ( h + blk<i>_out(silu(
 *                 blk<i>_in(silu(h)) + blk<i>_time(e))) ) x depth -> out: linear of silu(h)
 *
 * The embedding of the label and a linear map of the conditions join e before its silu, and another map of the
 * conditions joins x: a mean that is linear in them needs no more.
 *
 * The last linear map of each block and of the network start near zero, so the network starts as
 * the zero function (predicted noise 0). */
#include <probflow/model.h>

#include <string.h>

enum { POSITIONAL, FOURIER };

typedef struct mlp {
    int width, depth, embed, embedding, scale_by_sigma, label, condition;
    double fourier_scale;
} mlp;

static const char *const embeddings[] = {"positional", "fourier", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(mlp, width, PF_INT, 128, 1, 65536, "hidden features"),
    PF_OPT(mlp, depth, PF_INT, 3, 1, 256, "residual blocks"),
    PF_OPT(mlp, embed, PF_INT, 64, 4, 4096, "features of the time embedding, even"),
    PF_OPT_ENUM(mlp, embedding, POSITIONAL, embeddings, "time embedding: positional of 999 t, or fourier of log sigma"),
    PF_OPT(mlp, fourier_scale, PF_F64, 1.0, 0.0, 1e3, "standard deviation of the fixed Fourier frequencies"),
    PF_OPT(mlp, scale_by_sigma, PF_BOOL, 0, 0, 1, "divide the output by the conditioning value sigma"),
    PF_OPT_QUIET(mlp, label, PF_BOOL, 0, 0, 1, "the network reads the label of each row, a class"),
    PF_OPT_QUIET(mlp, condition, PF_BOOL, 0, 0, 1, "the network reads the conditions of each row, numbers"),
    { 0 }
};
/* clang-format on */

static pf_node block(pf_graph *g, int i, pf_node h, pf_node e, int width)
{
    pf_node r = pf_linear(g, pf_namef(g, "blk%d_in", i), pf_silu(g, h), width, 1.0);
    pf_node t = pf_linear(g, pf_namef(g, "blk%d_time", i), e, width, 1.0);

    r = pf_silu(g, pf_add_scale(g, r, t, 1.0));
    r = pf_linear(g, pf_namef(g, "blk%d_out", i), r, width, 0.0);
    return pf_add_scale(g, h, r, 1.0);
}

/* The time's features e with those of the label and the conditions. */
static pf_node told(const mlp *c, pf_graph *g, const pf_ports *offered, pf_node e)
{
    if (c->label)
        e = pf_add_scale(g, e, pf_embed_label(g, "label_emb", offered, c->width), 1.0);
    if (!c->condition) return e;
    pf_node y = pf_offered(g, offered, "condition");
    return pf_add_scale(g, e, pf_linear(g, "condition", y, c->width, 1.0), 1.0);
}

/* One-hots stand beside tokens, numbers of a row beside what says where it ends. */
static int of_categories(const pf_ports *offered)
{
    for (int i = 0; i < offered->n; i++)
        if (!strcmp(offered->port[i].name, "tokens") ||
            !strcmp(offered->port[i].name, "padding"))
            return 1;
    return 0;
}

static pf_node as_vector(pf_graph *g, const pf_ports *offered, pf_node x)
{
    pf_shape s = pf_graph_shape(g, x);
    if (s.h == 1 && s.w == 1) return x;
    if (of_categories(offered))
        return pf_reshape(g, x, (pf_shape){1, 1, (int)pf_shape_entries(s)});
    return pf_graph_fail(g, PF_ESHAPE,
                         "model mlp takes vectors (data of shape 1x1xD), not images of "
                         "%dx%dx%d",
                         s.h, s.w, s.c);
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const mlp *c = self;
    pf_node x = pf_offered(g, offered, "x"), cond = pf_offered(g, offered, "cond");
    pf_shape out = offered->out;

    x = as_vector(g, offered, x);
    if (c->embed % 2)
        return pf_graph_fail(g, PF_EARG, "model.embed is %d, want an even number", c->embed);

    pf_node e = c->embedding == FOURIER
                    ? pf_fourier(g, "embedding", cond, c->embed / 2, c->fourier_scale)
                    : pf_positional(g, cond, c->embed);
    e = told(c, g, offered, pf_linear(g, "time", e, c->width, 1.0));
    e = pf_silu(g, e);
    pf_node h = pf_linear(g, "in", x, c->width, 1.0);
    if (c->condition)
        h = pf_add_scale(
            g, h,
            pf_linear(g, "in_condition", pf_offered(g, offered, "condition"), c->width, 1.0),
            1.0);
    for (int i = 0; i < c->depth; i++) h = block(g, i, h, e, c->width);
    h = pf_linear(g, "out", pf_silu(g, h), (int)pf_shape_entries(out), 0.0);
    if (out.h != 1 || out.w != 1) h = pf_reshape(g, h, out);
    return c->scale_by_sigma ? pf_divide(g, h, cond) : h;
}

const pf_model_ops pf_model_mlp = {
    .name = "mlp",
    .help = "time-conditioned perceptron for vectors and for one-hots of short rows",
    .size = sizeof(mlp),
    .opts = opts,
    .build = build,
};
