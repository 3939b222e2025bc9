/* The U-net of improved and of guided diffusion.
 *
 *     x -> conv -> [ blocks, (attention), down ] each level -> block attention block
 *          skips '--------------------------------------------------------.
 *     ... [ block of (h, skip), (attention) ] x (blocks + 1), up, each level back -> norm silu conv
 *
 * The blocks are those of unet_parts.c.  cond is the time as the network shall see it, a step's number in
 * published ones.  The output has as many channels as are asked for: twice the data's where the network tells
 * variances, too.
 * Source: Nichol and Dhariwal 2021, Dhariwal and Nichol 2021, published code (unet.py, UNetModel). */
#include "model/unet_parts.h"

typedef struct unet {
    pf_unet_opt net;
    int heads_up, label;
} unet;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT_NEST(unet, net, pf_unet_opts),
    PF_OPT(unet, heads_up, PF_INT, 0, 0, 1024, "heads of attention on the way up; 0: as many as heads"),
    PF_OPT_QUIET(unet, label, PF_BOOL, 0, 0, 1, "the network reads the label of each image, a class"),
    { 0 }
};
/* clang-format on */

/* Part j of output block i, counted from the lowest level. */
static const char *output_block(pf_unet *u, int i, int j)
{
    return pf_namef(u->g, "output_blocks.%d.%d", i, j);
}

static pf_node doubled(pf_unet *u, const char *name, pf_node h)
{
    int c = pf_graph_shape(u->g, h).c;
    if (u->c->updown) return pf_unet_block(u, name, h, c, PF_RESIZE_UP);
    h = pf_up2(u->g, h);
    if (!u->c->conv_resample) return h;
    return pf_unet_conv(u, pf_namef(u->g, "%s.conv", name), h, c, 3, 0);
}

static pf_node up(pf_unet *u, pf_node h, int heads)
{
    const pf_unet_opt *c = u->c;
    for (int i = c->multipliers.n - 1, at = 0; i >= 0; i--)
        for (int b = 0; b <= c->blocks; b++, at++) {
            h = pf_concat(u->g, h, u->skip[--u->n_skips]);
            h = pf_unet_block(u, output_block(u, at, 0), h, c->width * c->multipliers.v[i],
                              PF_RESIZE_NONE);
            pf_node seen = pf_unet_attention_if_listed(u, output_block(u, at, 1), h, heads);
            int attends = seen.id != h.id;
            h = seen;
            if (i > 0 && b == c->blocks) h = doubled(u, output_block(u, at, 1 + attends), h);
        }
    return h;
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const unet *c = self;
    pf_node x = pf_offered(g, offered, "x");
    pf_shape s = pf_graph_shape(g, x), out = offered->out;
    pf_unet u = {.c = &c->net, .g = g};

    if (out.h != s.h || out.w != s.w)
        return pf_graph_fail(g, PF_ESHAPE,
                             "model unet gives an image of %dx%d for each, not %dx%dx%d", s.h,
                             s.w, out.h, out.w, out.c);
    pf_unet_begin(&u, offered, x, c->label);
    pf_node h = pf_unet_middle(&u, pf_unet_down(&u, x));
    h = up(&u, h, c->heads_up ? c->heads_up : c->net.heads);
    return pf_unet_conv(&u, "out.2", pf_unet_norm_silu(&u, "out.0", h), out.c, 3, 1);
}

const pf_model_ops pf_model_unet = {
    .name = "unet",
    .help = "U-nets of improved and guided diffusion for images",
    .size = sizeof(unet),
    .opts = opts,
    .build = build,
    .settle = pf_unet_settle,
};
