/* Blocks of the U-nets of improved and guided diffusion.
 *
 *     embedding  e = silu(linear(silu(linear([cos | sin] of cond))) + row of the label)
 *     block      short(x) + conv_0(drop(silu(modulated norm(conv(S silu(norm(x)))))))
 *                S resamples up, down or not at all; short is S, then a 1x1 convolution when the channels
 *                change; modulated norm is norm(h) (1 + scale) + shift, (scale, shift) a linear map of e, with
 *                scale_shift, else norm(h + linear(e)); conv_0 begins as 0
 *     attention  x + out_0(attention of each head of qkv(norm(x)))
 *     level      blocks, each followed by attention at the widths of model.attention, then half the size by a
 *                3x3 convolution of stride 2, by a 2x2 mean (conv_resample: false) or by a block (updown)
 *
 * Norms have 32 groups, eps is 1e-5.  The published attention_resolutions are factors: image width / factor is
 * the width here.  The first convolution has width times the first multiplier channels; where that multiplier
 * is not 1, published networks of improved diffusion have no working form.
 * Source: Nichol and Dhariwal 2021, Dhariwal and Nichol 2021, published code (unet.py). */
#include "model/unet_parts.h"

#include "model/widths.h"

enum { GROUPS = 32 };

static const char *const orders[] = {"heads_first", "qkv_first", NULL}; /* as pf_heads_order */

/* clang-format off */
const pf_opt pf_unet_opts[] = {
    PF_OPT(pf_unet_opt, width, PF_INT, 128, 1, 4096, "channels that the multipliers multiply; times each a multiple of 32"),
    PF_OPT_INTS(pf_unet_opt, multipliers, "1,2,2,2", 1, 64, "channel multiplier of each level; each level halves the image"),
    PF_OPT(pf_unet_opt, blocks, PF_INT, 3, 1, PF_UNET_BLOCKS, "residual blocks a level"),
    PF_OPT_INTS(pf_unet_opt, attention, "16,8", 1, 65536, "image widths at which attention follows each block"),
    PF_OPT(pf_unet_opt, heads, PF_INT, 4, 1, 1024, "heads of attention"),
    PF_OPT(pf_unet_opt, head_channels, PF_INT, 0, 0, 4096, "channels a head, instead of a number of heads; 0: heads says"),
    PF_OPT_ENUM(pf_unet_opt, order, PF_PARTS_WITHIN_HEADS, orders, "what is outermost in the maps of attention: the heads, or queries, keys and values (published as new attention order)"),
    PF_OPT(pf_unet_opt, dropout, PF_F64, 0.3, 0.0, 0.99, "dropout rate inside the blocks, training only"),
    PF_OPT(pf_unet_opt, scale_shift, PF_BOOL, 1, 0, 1, "the embedding scales and shifts what each block's second norm gives; 0: it is added before"),
    PF_OPT(pf_unet_opt, updown, PF_BOOL, 0, 0, 1, "residual blocks change the size"),
    PF_OPT(pf_unet_opt, conv_resample, PF_BOOL, 1, 0, 1, "convolutions change the size, or follow; 0: means and nearest neighbours alone"),
    PF_OPT(pf_unet_opt, embed, PF_INT, 0, 0, 4096, "features of the time, even; its maps have four times as many; 0: as many as width"),
    { 0 }
};
/* clang-format on */

static const char *part(pf_unet *u, const char *name, const char *what)
{
    return pf_namef(u->g, "%s.%s", name, what);
}

pf_node pf_unet_conv(pf_unet *u, const char *name, pf_node x, int cout, int kernel, int zero)
{
    pf_conv_opt o = {.name = name,
                     .cout = cout,
                     .kernel = kernel,
                     .stride = 1,
                     .pad_lo = kernel / 2,
                     .pad_hi = kernel / 2,
                     .scale = zero ? 0.0 : 1.0,
                     .init = zero ? PF_INIT_CONST : PF_INIT_FAN_IN};
    return pf_conv(u->g, x, &o);
}

pf_node pf_unet_map(pf_unet *u, const char *name, pf_node x, int cout, int axes, int zero)
{
    pf_linear_opt o = {.name = name,
                       .cout = cout,
                       .axes = axes,
                       .scale = zero ? 0.0 : 1.0,
                       .init = zero ? PF_INIT_CONST : PF_INIT_FAN_IN};
    return pf_linear_with(u->g, x, &o);
}

static pf_norm_opt norm_opt(const char *name, int silu)
{
    return (pf_norm_opt){.name = name, .groups = GROUPS, .eps = 1e-5, .silu = silu};
}

pf_node pf_unet_norm_silu(pf_unet *u, const char *name, pf_node x)
{
    pf_norm_opt o = norm_opt(name, 1);
    return pf_group_norm(u->g, x, PF_NONE, &o);
}

static pf_node resample(pf_unet *u, pf_node x, pf_resize how)
{
    if (how == PF_RESIZE_NONE) return x;
    return how == PF_RESIZE_UP ? pf_up2(u->g, x) : pf_down2(u->g, x);
}

pf_node pf_unet_block(pf_unet *u, const char *name, pf_node x, int cout, pf_resize how)
{
    pf_graph *g = u->g;
    int scale_shift = u->c->scale_shift, project = pf_graph_shape(g, x).c != cout;
    pf_node h = pf_unet_norm_silu(u, part(u, name, "in_layers.0"), x);

    h = pf_unet_conv(u, part(u, name, "in_layers.2"), resample(u, h, how), cout, 3, 0);
    pf_node e =
        pf_unet_map(u, part(u, name, "emb_layers.1"), u->e, cout * (1 + scale_shift), 0, 0);
    pf_norm_opt second = norm_opt(part(u, name, "out_layers.0"), 1);
    second.dropout = u->c->dropout;
    second.scale_shift = scale_shift;
    h = pf_group_norm(g, h, e, &second);
    h = pf_unet_conv(u, part(u, name, "out_layers.3"), h, cout, 3, 1);
    x = resample(u, x, how);
    if (project) x = pf_unet_conv(u, part(u, name, "skip_connection"), x, cout, 1, 0);
    return pf_add_scale(g, x, h, 1.0);
}

int pf_unet_heads(pf_unet *u, int c, int heads)
{
    int d = u->c->head_channels;
    if (d && c % d)
        pf_graph_fail(u->g, PF_EARG, "model.head_channels is %d, but attention has %d channels",
                      d, c);
    else if (!d && c % heads)
        pf_graph_fail(u->g, PF_EARG, "%d heads do not share %d channels of attention", heads,
                      c);
    return d ? c / d : heads;
}

pf_node pf_unet_attention(pf_unet *u, const char *name, pf_node x, int heads)
{
    pf_graph *g = u->g;
    int c = pf_graph_shape(g, x).c, n = pf_unet_heads(u, c, heads);
    pf_norm_opt o = norm_opt(part(u, name, "norm"), 0);
    pf_node h = pf_group_norm(g, x, PF_NONE, &o);

    h = pf_unet_map(u, part(u, name, "qkv"), h, 3 * c, 1, 0);
    h = pf_attention_heads(g, h, n, (pf_heads_order)u->c->order);
    h = pf_unet_map(u, part(u, name, "proj_out"), h, c, 1, 1);
    return pf_add_scale(g, x, h, 1.0);
}

pf_node pf_unet_attention_if_listed(pf_unet *u, const char *name, pf_node x, int heads)
{
    if (!pf_widths_have(&u->c->attention, pf_graph_shape(u->g, x).w)) return x;
    return pf_unet_attention(u, name, x, heads);
}

/* 1: images of this shape and these options go together. */
static int fits(pf_unet *u, pf_shape s)
{
    const pf_ints *m = &u->c->multipliers;
    int unit = 1 << (m->n > 0 ? m->n - 1 : 0),
        features = u->c->embed ? u->c->embed : u->c->width;

    if (m->n < 1) pf_graph_fail(u->g, PF_EARG, "model.multipliers is empty");
    for (int i = 0; i < m->n; i++)
        if (u->c->width * m->v[i] % GROUPS)
            pf_graph_fail(u->g, PF_EARG,
                          "model.width is %d and a multiplier %d: %d channels, want a multiple "
                          "of %d",
                          u->c->width, m->v[i], u->c->width * m->v[i], GROUPS);
    if (features % 2 || features < 4)
        pf_graph_fail(u->g, PF_EARG, "%d features of the time, want an even number from 4",
                      features);
    if (s.h % unit || s.w % unit)
        pf_graph_fail(u->g, PF_ESHAPE,
                      "images of %dx%d cannot be halved %d times, as the %d levels of "
                      "model.multipliers ask: height and width must be multiples of %d",
                      s.h, s.w, m->n - 1, m->n, unit);
    return m->n > 0;
}

void pf_unet_begin(pf_unet *u, const pf_ports *offered, pf_node x, int label)
{
    pf_graph *g = u->g;
    pf_node cond = pf_offered(g, offered, "cond");
    int features = u->c->embed ? u->c->embed : u->c->width;

    if (!fits(u, pf_graph_shape(g, x))) return;
    pf_node e = pf_timestep(g, cond, features);
    e = pf_unet_map(u, "time_embed.0", e, 4 * features, 0, 0);
    e = pf_unet_map(u, "time_embed.2", pf_silu(g, e), 4 * features, 0, 0);
    if (label)
        e = pf_add_scale(g, e, pf_embed_label(g, "label_emb", offered, 4 * features), 1.0);
    u->e = pf_silu(g, e);
}

static pf_node push(pf_unet *u, pf_node h)
{
    PF_ASSERT(u->n_skips < PF_UNET_SKIPS);
    u->skip[u->n_skips++] = h;
    return h;
}

/* Part j of the input block whose output is the next skip. */
static const char *input_block(pf_unet *u, int j)
{
    return pf_namef(u->g, "input_blocks.%d.%d", u->n_skips, j);
}

static pf_node halved(pf_unet *u, pf_node h)
{
    const char *name = input_block(u, 0);
    int c = pf_graph_shape(u->g, h).c;
    pf_conv_opt o = {.name = part(u, name, "op"),
                     .cout = c,
                     .kernel = 3,
                     .stride = 2,
                     .pad_lo = 1,
                     .pad_hi = 1,
                     .scale = 1.0,
                     .init = PF_INIT_FAN_IN};
    if (u->c->updown) return pf_unet_block(u, name, h, c, PF_RESIZE_DOWN);
    return u->c->conv_resample ? pf_conv(u->g, h, &o) : pf_down2(u->g, h);
}

pf_node pf_unet_down(pf_unet *u, pf_node x)
{
    const pf_unet_opt *c = u->c;
    const pf_ints *m = &c->multipliers;
    if (m->n < 1) return x; /* refused */
    pf_node h = push(u, pf_unet_conv(u, input_block(u, 0), x, c->width * m->v[0], 3, 0));

    for (int i = 0; i < m->n; i++) {
        for (int b = 0; b < c->blocks; b++) {
            h = pf_unet_block(u, input_block(u, 0), h, c->width * m->v[i], PF_RESIZE_NONE);
            h = push(u, pf_unet_attention_if_listed(u, input_block(u, 1), h, c->heads));
        }
        if (i + 1 < m->n) h = push(u, halved(u, h));
    }
    return h;
}

pf_node pf_unet_middle(pf_unet *u, pf_node h)
{
    int c = pf_graph_shape(u->g, h).c;
    h = pf_unet_block(u, "middle_block.0", h, c, PF_RESIZE_NONE);
    h = pf_unet_attention(u, "middle_block.1", h, u->c->heads);
    return pf_unet_block(u, "middle_block.2", h, c, PF_RESIZE_NONE);
}

pf_status pf_unet_settle(void *opt, pf_shape s, int given)
{
    pf_unet_opt *c = opt;
    PF_TRY(pf_widths_keep(&c->attention, c->multipliers.n, s.w, given));
    return PF_OK;
}
