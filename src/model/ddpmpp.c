/* DDPM++ and NCSN++: the U-nets of score-based diffusion.
 *
 *     cond -> embedding -> linear -> silu -> linear (+ label, conditions) -> silu = e   (shared by every block)
 *     x -> conv --> [ block, (attention) ] x blocks -> block down -> ... -> block attention block
 *          skips '--------------------------------------------------------.
 *     ... [ block of (h, skip) ] x (blocks + 1) -> (attention) -> block up -> norm silu conv -> net
 *
 *     block      r (short(x) + conv_1(drop(silu(norm(conv_0(S silu(norm(x))) + dense(e))))))
 *                S resamples up, down or not at all; short is S, then a 1x1 convolution when the
 *                channels or the size change; r = 1/sqrt(2) with skip_rescale, else 1
 *     attention  r (x + out(softmax(q k'/sqrt(C)) v)),   q, k, v = linear maps of norm(x)
 *     resampling nearest neighbour and 2x2 mean, or a FIR filter (fir)
 *     residual input pyramid: the input, filtered and convolved down level by level, joins the
 *                output of each down block and replaces it
 *     input_skip the input, filtered down level by level, joins the output of each down block by a 1x1 convolution
 *     output_skip  each level's norm, silu and convolution gives an image; their sum, each filtered up to the next level's
 *                size, is the output
 *     ddpm       blocks keep their size and their shortcut is a map of the channels; between levels there is a convolution
 *                of stride 2, or one after nearest neighbour
 *     levels     the noise that each entry alone shows, by the frequencies of the data's levels, joins the
 *                input and is added to the output: the network learns what the others tell
 *
 * Modules are numbered all_modules.0, 1, ... in the order in which score_sde_pytorch registers
 * them, so published checkpoints load by name.  DDPM++ is the defaults; NCSN++ is fir, fourier,
 * residual, not centered, scale_by_sigma, for 256 pixels and more input_skip and output_skip; DDPM is resblock ddpm, 32
 * groups, without skip_rescale.
 * Source: Song et al. 2021, appendix H; Ho et al. 2020; Brock et al. 2019 (block). */
#include <probflow/model.h>
#include "model/widths.h"
#include <math.h>

enum { MAX_BLOCKS = 64, MAX_SKIPS = PF_INTS_MAX * (MAX_BLOCKS + 1) + 1 };
enum { POSITIONAL, FOURIER };
enum { NONE, RESIDUAL, INPUT_SKIP };
enum { OUTPUT_SKIP = 1 };
enum { BIGGAN, DDPM };
enum { BY_COND, BY_SIGMA };
typedef enum resize { KEEP, UP, DOWN } resize;

typedef struct ddpmpp {
    int width, blocks, fir, skip_rescale, embedding, progressive_input, levels, grid, centered,
        scale_by_sigma, label, condition, progressive, resblock, divisor, groups;
    pf_ints multipliers, attention, input_fourier;
    double dropout, init_scale, fourier_scale, unit;
} ddpmpp;

static const char *const embeddings[] = {"positional", "fourier", NULL};
static const char *const pyramids[] = {"none", "residual", "input_skip", NULL};
static const char *const outputs[] = {"none", "output_skip", NULL};
static const char *const resblocks[] = {"biggan", "ddpm", NULL};
static const char *const divisors[] = {"cond", "sigma", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(ddpmpp, width, PF_INT, 128, 4, 4096, "channels at full resolution"),
    PF_OPT_INTS(ddpmpp, multipliers, "1,2,2,2", 1, 64, "channel multiplier of each level; each level halves the image"),
    PF_OPT(ddpmpp, blocks, PF_INT, 4, 1, MAX_BLOCKS, "residual blocks a level"),
    PF_OPT_INTS(ddpmpp, attention, "16", 1, 65536, "image widths at which attention follows each block"),
    PF_OPT(ddpmpp, dropout, PF_F64, 0.1, 0.0, 0.99, "dropout rate inside the blocks, training only"),
    PF_OPT(ddpmpp, fir, PF_BOOL, 0, 0, 1, "resample with the filter [1,3,3,1] instead of nearest and mean"),
    PF_OPT(ddpmpp, skip_rescale, PF_BOOL, 1, 0, 1, "divide residual sums by sqrt(2)"),
    PF_OPT(ddpmpp, init_scale, PF_F64, 0.0, 0.0, 10.0, "initial scale of the last convolution of blocks and network"),
    PF_OPT_ENUM(ddpmpp, embedding, POSITIONAL, embeddings, "time embedding: positional of 999 t, or fourier of log sigma"),
    PF_OPT(ddpmpp, fourier_scale, PF_F64, 16.0, 0.0, 1e3, "standard deviation of the fixed Fourier frequencies"),
    PF_OPT_ENUM(ddpmpp, progressive_input, NONE, pyramids, "input pyramid"),
    PF_OPT_INTS(ddpmpp, input_fourier, "", 0, 20, "the network also sees sin and cos of 2^n pi x for each n of the list, faded by the noise; 7 and 8 tell where in its bin of 256 a value lies"),
    PF_OPT(ddpmpp, levels, PF_INT, 0, 0, 256, "add the noise that each entry alone shows, by how often each of so many levels occurs in the training data; the network learns the rest; 0: no"),
    PF_OPT_ENUM_QUIET(ddpmpp, grid, PF_GRID_DEQUANTISED, pf_grid_words, "where these levels lie: as data.grid says, which it follows"),
    PF_OPT(ddpmpp, centered, PF_BOOL, 1, 0, 1, "1: data are in [-1,1]; 0: the network maps x to 2x - 1 first"),
    PF_OPT(ddpmpp, scale_by_sigma, PF_BOOL, 0, 0, 1, "divide the output by the conditioning value sigma"),
    PF_OPT_QUIET(ddpmpp, label, PF_BOOL, 0, 0, 1, "the network reads the label of each image, a class"),
    PF_OPT_QUIET(ddpmpp, condition, PF_BOOL, 0, 0, 1, "the network reads the conditions of each image, numbers"),
    PF_OPT_ENUM_QUIET(ddpmpp, progressive, NONE, outputs, "output pyramid: output_skip adds an image of every level"),
    PF_OPT_ENUM_QUIET(ddpmpp, resblock, BIGGAN, resblocks, "blocks: biggan resample in them, ddpm between them by convolutions"),
    PF_OPT_ENUM_QUIET(ddpmpp, divisor, BY_COND, divisors, "what scale_by_sigma divides by: the conditioning value, or the noise where that is another"),
    PF_OPT_QUIET(ddpmpp, unit, PF_F64, 1.0, 1e-6, 1e6, "fourier: the embedding reads this times the conditioning value; 0.5 where the network was trained on images in [0,1], in whose unit noise is half as much"),
    PF_OPT_QUIET(ddpmpp, groups, PF_INT, 0, 0, 1024, "groups of the norms; 0: a quarter of the channels, at most 32"),
    { 0 }
};
/* clang-format on */

/* A network under construction. */
typedef struct unet {
    const ddpmpp *c;
    pf_graph *g;
    int module; /* number of the next module */
    double r;   /* residual rescale */
    pf_node e;  /* silu of the time embedding */
    int n_skips;
    pf_node skip[MAX_SKIPS];
} unet;

static const char *part(unet *u, const char *name)
{
    return pf_namef(u->g, "all_modules.%d.%s", u->module, name);
}

static const char *whole(unet *u)
{
    return pf_namef(u->g, "all_modules.%d", u->module++);
}

static int min(int a, int b)
{
    return a < b ? a : b;
}

static pf_norm_opt norm_opt(unet *u, const char *name, pf_node x, int silu)
{
    int c = pf_graph_shape(u->g, x).c, groups = u->c->groups ? u->c->groups : min(c / 4, 32);
    return (pf_norm_opt){.name = name, .groups = groups, .eps = 1e-6, .silu = silu};
}

static pf_node resample(unet *u, pf_node x, resize how)
{
    if (how == KEEP) return x;
    if (!u->c->fir) return how == UP ? pf_up2(u->g, x) : pf_down2(u->g, x);
    /* four taps at factor 2: these pads keep the image aligned */
    pf_fir_opt up = {.up = 2, .down = 1, .pad_lo = 2, .pad_hi = 1, .gain = 4.0};
    pf_fir_opt down = {.up = 1, .down = 2, .pad_lo = 1, .pad_hi = 1, .gain = 1.0};
    return pf_fir(u->g, x, how == UP ? &up : &down);
}

static pf_node block(unet *u, pf_node x, int cout, resize how)
{
    pf_graph *g = u->g;
    pf_norm_opt first = norm_opt(u, part(u, "GroupNorm_0"), x, 1);
    pf_node h = pf_group_norm(g, x, PF_NONE, &first);
    int project = how != KEEP || pf_graph_shape(g, x).c != cout;

    h = resample(u, h, how);
    x = resample(u, x, how);
    h = pf_conv_same(g, part(u, "Conv_0"), h, cout, 3, 1.0);
    pf_node e = pf_linear(g, part(u, "Dense_0"), u->e, cout, 1.0);
    pf_norm_opt second = norm_opt(u, part(u, "GroupNorm_1"), h, 1);
    second.dropout = u->c->dropout;
    h = pf_group_norm(g, h, e, &second);
    h = pf_conv_same(g, part(u, "Conv_1"), h, cout, 3, u->c->init_scale);
    if (project && u->c->resblock == DDPM) x = pf_nin(g, part(u, "NIN_0"), x, cout, 0.1);
    else if (project) x = pf_conv_same(g, part(u, "Conv_2"), x, cout, 1, 1.0);
    u->module++;
    return pf_add_scale(g, x, h, u->r);
}

static pf_node attention(unet *u, pf_node x)
{
    pf_graph *g = u->g;
    int c = pf_graph_shape(g, x).c;
    pf_norm_opt o = norm_opt(u, part(u, "GroupNorm_0"), x, 0);
    pf_node h = pf_group_norm(g, x, PF_NONE, &o);
    pf_node q = pf_nin(g, part(u, "NIN_0"), h, c, 0.1);
    pf_node k = pf_nin(g, part(u, "NIN_1"), h, c, 0.1);
    pf_node v = pf_nin(g, part(u, "NIN_2"), h, c, 0.1);

    h = pf_nin(g, part(u, "NIN_3"), pf_attention(g, q, k, v), c, u->c->init_scale);
    u->module++;
    return pf_add_scale(g, x, h, u->r);
}

static pf_node attention_if_listed(unet *u, pf_node x)
{
    return pf_widths_have(&u->c->attention, pf_graph_shape(u->g, x).w) ? attention(u, x) : x;
}

/* The input pyramid, one level down to cout channels. */
static pf_node pyramid_down(unet *u, pf_node p, int cout)
{
    pf_conv_opt o = {.cout = cout, .kernel = 3, .stride = 2, .scale = 1.0};

    if (u->c->fir) {
        pf_fir_opt f = {.up = 1, .down = 1, .pad_lo = 2, .pad_hi = 2, .gain = 1.0};
        p = pf_fir(u->g, p, &f);
        o.name = part(u, "Conv2d_0");
    } else {
        o.pad_hi = 1;
        o.name = part(u, "Conv_0");
    }
    u->module++;
    return pf_conv(u->g, p, &o);
}

/* From one level to the next. */
static pf_node resized(unet *u, pf_node h, resize how)
{
    int c = pf_graph_shape(u->g, h).c;
    if (u->c->resblock == BIGGAN) return block(u, h, c, how);
    if (how == DOWN) return pyramid_down(u, h, c);
    h = pf_conv_same(u->g, part(u, "Conv_0"), pf_up2(u->g, h), c, 3, 1.0);
    u->module++;
    return h;
}

/* The input pyramid p, one level further, joins h. */
static pf_node joins(unet *u, pf_node *p, pf_node h)
{
    int c = pf_graph_shape(u->g, h).c;
    if (u->c->progressive_input == NONE) return h;
    if (u->c->progressive_input == RESIDUAL)
        return *p = pf_add_scale(u->g, pyramid_down(u, *p, c), h, u->r);
    *p = resample(u, *p, DOWN);
    u->module++;
    pf_node seen = pf_conv_same(u->g, part(u, "Conv"), *p, c, 1, 1.0);
    u->module++;
    return pf_add_scale(u->g, seen, h, 1.0);
}

/* The label's row and a linear map of the conditions join the time before the last silu.
 * Source: Dhariwal and Nichol 2021, published code (label_emb). */
static void embed(unet *u, const pf_ports *offered, pf_node cond)
{
    pf_graph *g = u->g;
    int w = u->c->width;
    if (u->c->embedding == FOURIER && u->c->unit != 1.0)
        cond = pf_affine(g, cond, u->c->unit, 0.0);
    pf_node e = u->c->embedding == FOURIER
                    ? pf_fourier(g, whole(u), cond, w, u->c->fourier_scale)
                    : pf_positional(g, cond, w);

    e = pf_linear(g, whole(u), e, 4 * w, 1.0);
    e = pf_linear(g, whole(u), pf_silu(g, e), 4 * w, 1.0);
    if (u->c->label)
        e = pf_add_scale(g, e, pf_embed_label(g, "label_emb", offered, 4 * w), 1.0);
    if (u->c->condition)
        e = pf_add_scale(
            g, e, pf_linear(g, "condition", pf_offered(g, offered, "condition"), 4 * w, 1.0),
            1.0);
    u->e = pf_silu(g, e);
}

static pf_node push(unet *u, pf_node h)
{
    PF_ASSERT(u->n_skips < MAX_SKIPS);
    u->skip[u->n_skips++] = h;
    return h;
}

/* Halves first: a channel is copied log2(n) times at most. */
static pf_node joined(pf_graph *g, const pf_node *x, int n)
{
    if (n == 1) return x[0];
    int half = (n + 1) / 2;
    pf_node a = joined(g, x, half);
    return pf_concat(g, a, joined(g, x + half, n - half));
}

/* x beside sin(2^n pi x) and cos(2^n pi x), each fading where noise hides it: the density of
 * dequantised data has an edge at every bin, far finer than the scale of x.  Then the noise known from
 * the levels.
 * Source: Kingma et al. 2021, appendix C; fading as in Barron et al. 2021, eq. 11. */
static pf_node seen(unet *u, pf_node x, pf_node sigma, pf_node known)
{
    const pf_ints *n = &u->c->input_fourier;
    pf_node all[2 + 2 * PF_INTS_MAX] = {x};
    int count = 1;

    for (int i = 0; i < n->n; i++) {
        double a = ldexp(0.5, n->v[i]);
        all[count++] = pf_sine(u->g, x, sigma, a, 0.0);
        all[count++] = pf_sine(u->g, x, sigma, a, 0.25);
    }
    if (u->c->levels) all[count++] = known;
    return joined(u->g, all, count);
}

/* in: what the first convolution sees; x: the pyramid's input. */
static pf_node down(unet *u, pf_node in, pf_node x)
{
    const ddpmpp *c = u->c;
    pf_node p = x;
    pf_node h = push(u, pf_conv_same(u->g, whole(u), in, c->width, 3, 1.0));

    for (int i = 0; i < c->multipliers.n; i++) {
        int cout = c->width * c->multipliers.v[i];
        for (int b = 0; b < c->blocks; b++)
            h = push(u, attention_if_listed(u, block(u, h, cout, KEEP)));
        if (i + 1 == c->multipliers.n) break;
        h = push(u, joins(u, &p, resized(u, h, DOWN)));
    }
    return h;
}

/* An image of h. */
static pf_node head(unet *u, pf_node h, int channels)
{
    pf_norm_opt o = norm_opt(u, whole(u), h, 1);
    h = pf_group_norm(u->g, h, PF_NONE, &o);
    return pf_conv_same(u->g, whole(u), h, channels, 3, u->c->init_scale);
}

/* The image of all levels so far, with that of h. */
static pf_node with_image(unet *u, pf_node image, pf_node h, int first, int channels)
{
    if (first) return head(u, h, channels);
    image = resample(u, image, UP);
    u->module++;
    return pf_add_scale(u->g, image, head(u, h, channels), 1.0);
}

static pf_node up(unet *u, pf_node h, int channels)
{
    const ddpmpp *c = u->c;
    pf_node image = PF_NONE;

    for (int i = c->multipliers.n - 1; i >= 0; i--) {
        int cout = c->width * c->multipliers.v[i];
        for (int b = 0; b <= c->blocks; b++)
            h = block(u, pf_concat(u->g, h, u->skip[--u->n_skips]), cout, KEEP);
        h = attention_if_listed(u, h);
        if (c->progressive == OUTPUT_SKIP)
            image = with_image(u, image, h, i + 1 == c->multipliers.n, channels);
        if (i > 0) h = resized(u, h, UP);
    }
    return c->progressive == OUTPUT_SKIP ? image : head(u, h, channels);
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const ddpmpp *c = self;
    pf_node x = pf_offered(g, offered, "x"), cond = pf_offered(g, offered, "cond");
    pf_shape s = pf_graph_shape(g, x);
    int levels = c->multipliers.n, unit = 1 << (levels > 0 ? levels - 1 : 0);
    unet u = {.c = c, .g = g, .r = c->skip_rescale ? sqrt(0.5) : 1.0};

    if (levels < 1) return pf_graph_fail(g, PF_EARG, "model.multipliers is empty");
    if (s.h % unit || s.w % unit)
        return pf_graph_fail(g, PF_ESHAPE,
                             "images of %dx%d cannot be halved %d times, as the %d levels of "
                             "model.multipliers ask: height and width must be multiples of %d",
                             s.h, s.w, levels - 1, levels, unit);
    if (c->width % 4)
        return pf_graph_fail(g, PF_EARG, "model.width is %d, want a multiple of 4", c->width);
    if (c->resblock == DDPM && c->fir)
        return pf_graph_fail(g, PF_EARG,
                             "model.fir filters inside blocks, and with model.resblock=ddpm "
                             "no block resamples: leave one of them out");

    embed(&u, offered, cond);
    pf_node sigma = PF_NONE, known = PF_NONE;
    if (c->input_fourier.n > 0 || c->levels || (c->scale_by_sigma && c->divisor == BY_SIGMA))
        sigma = pf_offered(g, offered, "sigma");
    pf_levels_opt freq = {"levels", c->levels, c->grid};
    if (c->levels) known = pf_levels(g, x, sigma, pf_offered(g, offered, "mean"), &freq);
    if (!c->centered) x = pf_affine(g, x, 2.0, -1.0);
    pf_node h = down(&u, seen(&u, x, sigma, known), x);
    int cmid = pf_graph_shape(g, h).c;
    h = block(&u, h, cmid, KEEP);
    h = attention(&u, h);
    h = block(&u, h, cmid, KEEP);
    h = up(&u, h, offered->out.c);
    /* divided by sigma the network is the score, else the noise: minus sigma times the score */
    if (c->levels && c->scale_by_sigma) known = pf_affine(g, known, -1.0, 0.0);
    if (c->levels) h = pf_add_scale(g, h, known, 1.0);
    return c->scale_by_sigma ? pf_divide(g, h, c->divisor == BY_SIGMA ? sigma : cond) : h;
}

static pf_status settle(void *self, pf_shape s, int given)
{
    ddpmpp *c = self;
    PF_TRY(pf_widths_keep(&c->attention, c->multipliers.n, s.w, given));
    return PF_OK;
}

const pf_model_ops pf_model_ddpmpp = {
    .name = "ddpmpp",
    .help = "DDPM++ (defaults) and NCSN++ U-nets for images",
    .size = sizeof(ddpmpp),
    .opts = opts,
    .build = build,
    .settle = settle,
};
