/* The way down of the U-net, then a pool: numbers for an image, the logits of classes.
 *
 *     attention   norm silu -> tokens -> attention of heads -> its first token -> linear
 *     adaptive    norm silu -> mean over pixels -> linear, begins as 0
 *     spatial     means over pixels after each input block and the middle, side by side -> linear relu linear
 *     spatial_v2  the same -> linear norm silu linear
 *
 * The blocks are those of unet_parts.c; attention's heads have model.head_channels channels, in the order
 * qkv_first whatever model.order is.
 * Source: Dhariwal and Nichol 2021, published code (unet.py, EncoderUNetModel). */
#include "model/unet_parts.h"

enum { ATTENTION, ADAPTIVE, SPATIAL, SPATIAL_V2 };
enum { HIDDEN = 2048 };

typedef struct encoder {
    pf_unet_opt net;
    int pool;
} encoder;

static const char *const pools[] = {"attention", "adaptive", "spatial", "spatial_v2", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT_NEST(encoder, net, pf_unet_opts),
    PF_OPT_ENUM(encoder, pool, ATTENTION, pools, "how pixels become one: attention, adaptive (their mean), spatial or spatial_v2 (the means after each block)"),
    { 0 }
};
/* clang-format on */

static pf_node by_attention(pf_unet *u, pf_node h, int classes)
{
    pf_graph *g = u->g;
    int c = pf_graph_shape(g, h).c;
    if (!u->c->head_channels)
        return pf_graph_fail(g, PF_EARG,
                             "model.pool is attention, which needs model.head_channels");
    int heads = pf_unet_heads(u, c, 1);
    h = pf_tokens(g, "out.2", pf_unet_norm_silu(u, "out.0", h));
    h = pf_unet_map(u, "out.2.qkv_proj", h, 3 * c, 1, 0);
    h = pf_first(g, pf_attention_heads(g, h, heads, PF_HEADS_WITHIN_PARTS));
    return pf_unet_map(u, "out.2.c_proj", h, classes, 1, 0);
}

static pf_node by_means(pf_unet *u, pf_node h, int classes, int second)
{
    pf_graph *g = u->g;
    pf_node all = pf_mean(g, u->skip[0]);
    for (int i = 1; i < u->n_skips; i++) all = pf_concat(g, all, pf_mean(g, u->skip[i]));
    all = pf_unet_map(u, "out.0", pf_concat(g, all, pf_mean(g, h)), HIDDEN, 0, 0);
    all = second ? pf_unet_norm_silu(u, "out.1", all) : pf_relu(g, all);
    return pf_unet_map(u, second ? "out.3" : "out.2", all, classes, 0, 0);
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const encoder *c = self;
    pf_node x = pf_offered(g, offered, "x");
    pf_shape out = offered->out;
    pf_unet u = {.c = &c->net, .g = g};

    if (out.h != 1 || out.w != 1)
        return pf_graph_fail(
            g, PF_ESHAPE,
            "model encoder gives a row of numbers for each image, not an image "
            "of %dx%dx%d",
            out.h, out.w, out.c);
    pf_unet_begin(&u, offered, x, 0);
    pf_node h = pf_unet_middle(&u, pf_unet_down(&u, x));
    if (c->pool == ATTENTION) return by_attention(&u, h, out.c);
    if (c->pool != ADAPTIVE) return by_means(&u, h, out.c, c->pool == SPATIAL_V2);
    h = pf_mean(g, pf_unet_norm_silu(&u, "out.0", h));
    return pf_unet_conv(&u, "out.3", h, out.c, 1, 1);
}

const pf_model_ops pf_model_encoder = {
    .name = "encoder",
    .help = "a row of numbers for an image: the classifier of guided diffusion",
    .size = sizeof(encoder),
    .opts = opts,
    .build = build,
    .settle = pf_unet_settle,
};
