/* The RefineNets of NCSN and of NCSNv2.
 *
 *     x -> conv -> stage -> stage, half the size or dilated -> ... -> the last
 *                    '--------- '------------------ '------------------ refine
 *          ... refine of (stage, what came from below), up to the first -> norm elu conv
 *
 *     stage     two residual blocks  x + conv elu norm conv elu norm x
 *     refine    each input through residual units, brought to one size and added up; then, from its elu on, two
 *               pools of 5x5 and convolutions are added; then residual units
 *
 * Norms are instance norms ++.  In NCSN each of them has a table with a row for each level of noise, and `level` may lie
 * between two; in NCSNv2 nothing knows the level, and the output is divided by sigma.  x is in model scale, which the
 * published networks make of theirs first, and so is the score that comes out: published scores are twice as large.
 * Parameters have the published names.
 * Source: Song and Ermon 2019, appendix A, and 2020, appendix B; published code (CondRefineNetDilated, NCSNv2,
 * NCSNv2Deeper, NCSNv2Deepest). */
#include <probflow/model.h>

#include <string.h>

enum { NCSN, V2, DEEPER, DEEPEST };
enum { STAGES_MAX = 6, POOL = 5 };

typedef struct refinenet {
    int variant, width;
} refinenet;

static const char *const variants[] = {"ncsn", "v2", "deeper", "deepest", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT_ENUM(refinenet, variant, V2, variants, "the network of ncsn, which is told the level of noise, or of ncsnv2: v2 for images of 32x32 and so, deeper, deepest"),
    PF_OPT(refinenet, width, PF_INT, 128, 2, 4096, "channels of the first stage, published as ngf"),
    { 0 }
};
/* clang-format on */

/* width times the network's; dilation 0: none; half: the first block halves the size */
typedef struct stage {
    const char *name, *refine; /* what leads back to it */
    int width, dilation, half;
} stage;

static const stage of_ncsn[] = {{"res1", "refine4", 1, 0, 0},
                                {"res2", "refine3", 2, 0, 1},
                                {"res3", "refine2", 2, 2, 0},
                                {"res4", "refine1", 2, 4, 0},
                                {0}};
static const stage of_deeper[] = {{"res1", "refine5", 1, 0, 0}, {"res2", "refine4", 2, 0, 1},
                                  {"res3", "refine3", 2, 0, 1}, {"res4", "refine2", 4, 2, 0},
                                  {"res5", "refine1", 4, 4, 0}, {0}};
static const stage of_deepest[] = {{"res1", "refine5", 1, 0, 0},
                                   {"res2", "refine4", 2, 0, 1},
                                   {"res3", "refine3", 2, 0, 1},
                                   {"res31", "refine31", 2, 0, 1},
                                   {"res4", "refine2", 4, 2, 0},
                                   {"res5", "refine1", 4, 4, 0},
                                   {0}};
static const stage *const stages_of[] = {of_ncsn, of_ncsn, of_deeper, of_deepest};

typedef struct net { /* under construction */
    pf_graph *g;
    pf_node level;
    int classes; /* 0: not told the level */
} net;

static const char *part(net *n, const char *name, const char *what)
{
    return pf_namef(n->g, "%s.%s", name, what);
}

static pf_node norm(net *n, const char *name, pf_node x)
{
    pf_instance_norm_opt o = {
        .name = name, .level = n->level, .classes = n->classes, .eps = 1e-5};
    return pf_instance_norm_pp(n->g, x, &o);
}

/* The size stays. */
static pf_node convolve(net *n, pf_node x, pf_conv_opt o)
{
    if (o.dilation < 1) o.dilation = 1;
    o.stride = 1;
    o.pad_lo = o.pad_hi = o.kernel / 2 * o.dilation;
    o.scale = 1.0;
    o.init = PF_INIT_FAN_IN;
    return pf_conv(n->g, x, &o);
}

static pf_node conv(net *n, const char *name, pf_node x, int cout, int kernel, int dilation)
{
    return convolve(
        n, x,
        (pf_conv_opt){.name = name, .cout = cout, .kernel = kernel, .dilation = dilation});
}

static pf_node conv_without_bias(net *n, const char *name, pf_node x, int cout)
{
    return convolve(n, x, (pf_conv_opt){.name = name, .cout = cout, .kernel = 3, .no_bias = 1});
}

static pf_node conv_half(net *n, const char *name, pf_node x, int cout, int kernel)
{
    return pf_down2(n->g, conv(n, part(n, name, "conv"), x, cout, kernel, 0));
}

/* first: it may widen and halve, and then x goes through a convolution as well */
static pf_node block(net *n, const stage *s, int first, pf_node x, int cout)
{
    const char *name = pf_namef(n->g, "%s.%d", s->name, !first);
    int cin = pf_graph_shape(n->g, x).c, half = first && s->half, d = s->dilation;
    int changes = first && (half || d); /* published as resample 'down' */
    pf_node h = pf_elu(n->g, norm(n, part(n, name, "normalize1"), x));

    h = conv(n, part(n, name, "conv1"), h, changes ? cin : cout, 3, d);
    h = pf_elu(n->g, norm(n, part(n, name, "normalize2"), h));
    if (half) h = conv_half(n, part(n, name, "conv2"), h, cout, 3);
    else h = conv(n, part(n, name, "conv2"), h, cout, 3, d);
    if (half) x = conv_half(n, part(n, name, "shortcut"), x, cout, 1);
    else if (changes) x = conv(n, part(n, name, "shortcut"), x, cout, 3, d);
    return pf_add_scale(n->g, x, h, 1.0);
}

/* Residual units: x + conv elu conv elu x, in NCSN with a norm before each elu. */
static pf_node units(net *n, const char *name, pf_node x, int count)
{
    int c = pf_graph_shape(n->g, x).c;
    for (int b = 1; b <= count; b++) {
        pf_node h = x;
        for (int s = 1; s <= 2; s++) {
            if (n->classes) h = norm(n, pf_namef(n->g, "%s.%d_%d_norm", name, b, s), h);
            h = conv_without_bias(n, pf_namef(n->g, "%s.%d_%d_conv", name, b, s),
                                  pf_elu(n->g, h), c);
        }
        x = pf_add_scale(n->g, h, x, 1.0);
    }
    return x;
}

/* Inputs of any size as one of the first one's, of cout channels. */
static pf_node fused(net *n, const char *name, const pf_node x[2], int cout)
{
    pf_shape to = pf_graph_shape(n->g, x[0]);
    pf_node h[2];
    for (int k = 0; k < 2; k++) {
        h[k] = x[k];
        if (n->classes) h[k] = norm(n, pf_namef(n->g, "%s.norms.%d", name, k), h[k]);
        h[k] = conv(n, pf_namef(n->g, "%s.convs.%d", name, k), h[k], cout, 3, 0);
        h[k] = pf_bilinear(n->g, h[k], to.h, to.w);
    }
    return pf_add_scale(n->g, h[0], h[1], 1.0);
}

static pf_node chained_pools(net *n, const char *name, pf_node x)
{
    pf_node path = x = pf_elu(n->g, x);
    int c = pf_graph_shape(n->g, x).c;
    for (int i = 0; i < 2; i++) {
        if (n->classes) path = norm(n, pf_namef(n->g, "%s.norms.%d", name, i), path);
        path = pf_pool_same(n->g, path, POOL, n->classes ? PF_POOL_MEAN : PF_POOL_MAX);
        path = conv_without_bias(n, pf_namef(n->g, "%s.convs.%d", name, i), path, c);
        x = pf_add_scale(n->g, path, x, 1.0);
    }
    return x;
}

/* x[1].id < 0: there is nothing below */
static pf_node refine(net *n, const char *name, const pf_node x[2], int cout, int last)
{
    int below = x[1].id >= 0;
    pf_node h[2];
    for (int k = 0; k < 1 + below; k++)
        h[k] = units(n, pf_namef(n->g, "%s.adapt_convs.%d", name, k), x[k], 2);
    pf_node y = below ? fused(n, part(n, name, "msf"), h, cout) : h[0];
    y = chained_pools(n, part(n, name, "crp"), y);
    return units(n, part(n, name, "output_convs"), y, last ? 3 : 1);
}

static int levels_of(net *n, const pf_ports *offered)
{
    int levels = 0;
    for (int i = 0; i < offered->n; i++)
        if (!strcmp(offered->port[i].name, "level")) levels = offered->port[i].classes;
    if (levels < 1)
        pf_graph_fail(n->g, PF_EARG,
                      "model.variant is ncsn, whose norms have a row for each level of noise: "
                      "the method does not say how many levels there are");
    return levels;
}

static pf_node stages(net *n, const refinenet *c, pf_node h)
{
    const stage *s = stages_of[c->variant];
    pf_node out[STAGES_MAX];
    int count = 0;
    for (; s[count].name; count++) {
        int width = s[count].width * c->width;
        h = block(n, &s[count], 1, h, width);
        h = out[count] = block(n, &s[count], 0, h, width);
    }
    h = PF_NONE;
    for (int i = count - 1; i >= 0; i--) {
        pf_node x[2] = {out[i], h};
        h = refine(n, s[i].refine, x, c->width * s[i > 0 ? i - 1 : 0].width, i == 0);
    }
    return h;
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const refinenet *c = self;
    net n = {.g = g};
    pf_node x = pf_offered(g, offered, "x");
    pf_shape s = pf_graph_shape(g, x), out = offered->out;

    if (out.h != s.h || out.w != s.w)
        return pf_graph_fail(g, PF_ESHAPE,
                             "model refinenet gives an image of %dx%d for each, not %dx%dx%d",
                             s.h, s.w, out.h, out.w, out.c);
    if (c->variant == NCSN) {
        n.level = pf_offered(g, offered, "level");
        n.classes = levels_of(&n, offered);
    }
    pf_node h = stages(&n, c, conv(&n, "begin_conv", x, c->width, 3, 0));
    h = conv(&n, "end_conv", pf_elu(g, norm(&n, "normalizer", h)), out.c, 3, 0);
    if (c->variant == NCSN) return pf_affine(g, h, 0.5, 0.0);
    return pf_divide(g, h, pf_offered(g, offered, "sigma"));
}

const pf_model_ops pf_model_refinenet = {
    .name = "refinenet",
    .help = "RefineNets of NCSN and NCSNv2 for images",
    .size = sizeof(refinenet),
    .opts = opts,
    .build = build,
};
