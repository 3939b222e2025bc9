/* The network of Sohl-Dickstein et al. 2015 for images.
 *
 *     x -> convolutions at several scales, layers_conv times ---------------------- / sqrt(channels)
 *     x -> one perceptron over all of the image, a few numbers for each pixel ----- / sqrt(numbers)
 *          both, side by side -> a perceptron for each pixel -> the channels that are asked for
 *
 * A convolution at several scales is the mean over scales s of leaky(conv of the means of 2^s x 2^s pixels), each
 * result repeated for these pixels.  It does not see the time: its output holds coefficients of functions of time.
 *
 * The perceptron over the image has a number of layers of its own; the published code gives it layers_conv.
 * Source: Sohl-Dickstein et al. 2015, section D.2 (arXiv appendix), and published code (regression.py, MLP_conv_dense). */
#include <probflow/model.h>

#include <math.h>

#define SLOPE 0.05

typedef struct multiscale {
    int layers_conv, hidden_conv, scales;
    int layers_dense_lower, hidden_dense_lower, hidden_dense_lower_output;
    int layers_dense_upper, hidden_dense_upper;
} multiscale;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(multiscale, layers_conv, PF_INT, 4, 1, 64, "convolutions at several scales"),
    PF_OPT(multiscale, hidden_conv, PF_INT, 20, 1, 4096, "their channels"),
    PF_OPT(multiscale, scales, PF_INT, 1, 1, 12, "scales: pixels, means of 2x2, of 4x4 and so on"),
    PF_OPT(multiscale, layers_dense_lower, PF_INT, 4, 0, 64, "layers of the perceptron over the whole image; 0: there is none"),
    PF_OPT(multiscale, hidden_dense_lower, PF_INT, 500, 1, 65536, "hidden features of that perceptron"),
    PF_OPT(multiscale, hidden_dense_lower_output, PF_INT, 2, 1, 1024, "numbers it gives for each pixel"),
    PF_OPT(multiscale, layers_dense_upper, PF_INT, 2, 1, 64, "layers of the perceptron of each pixel"),
    PF_OPT(multiscale, hidden_dense_upper, PF_INT, 20, 1, 65536, "hidden features of that perceptron"),
    { 0 }
};
/* clang-format on */

/* Smooth images: an output grows with the number of pixels under the filter, not with its root. */
static pf_node conv(pf_graph *g, const multiscale *c, const char *name, pf_node x)
{
    enum { KERNEL = 3 };
    pf_conv_opt o = {.name = name,
                     .cout = c->hidden_conv,
                     .kernel = KERNEL,
                     .stride = 1,
                     .pad_lo = KERNEL / 2,
                     .pad_hi = KERNEL / 2,
                     .scale = 1.0 / (sqrt((double)c->hidden_conv) * KERNEL * KERNEL),
                     .init = PF_INIT_NORMAL};
    return pf_leaky_relu(g, pf_conv(g, x, &o), SLOPE);
}

static pf_node at_scales(pf_graph *g, const multiscale *c, int layer, pf_node x)
{
    pf_node sum = PF_NONE, small = x;
    for (int s = 0; s < c->scales; s++) {
        if (s > 0) small = pf_down2(g, small);
        pf_node h = conv(g, c, pf_namef(g, "conv.%d.%d", layer, s), small);
        for (int k = 0; k < s; k++) h = pf_up2(g, h);
        double share = s + 1 == c->scales ? 1.0 / c->scales : 1.0;
        sum = s == 0 ? h : pf_add_scale(g, sum, h, share);
    }
    return sum;
}

/* Entries as large as those of the published orthogonal matrices, but independent. */
static pf_node dense(pf_graph *g, const char *name, pf_node x, int cout)
{
    int cin = pf_graph_shape(g, x).c;
    pf_linear_opt o = {.name = name,
                       .cout = cout,
                       .scale = 1.0 / sqrt((double)(cin > cout ? cin : cout)),
                       .init = PF_INIT_NORMAL};
    return pf_linear_with(g, x, &o);
}

static pf_node over_image(pf_graph *g, const multiscale *c, pf_node x)
{
    pf_shape s = pf_graph_shape(g, x);
    int each = c->hidden_dense_lower_output;
    pf_node h = pf_reshape(g, x, (pf_shape){1, 1, s.h * s.w * s.c});
    for (int i = 0; i < c->layers_dense_lower; i++) {
        int last = i + 1 == c->layers_dense_lower;
        h = dense(g, pf_namef(g, "dense_lower.%d", i), h,
                  last ? s.h * s.w * each : c->hidden_dense_lower);
        h = pf_leaky_relu(g, h, SLOPE);
    }
    return pf_reshape(g, h, (pf_shape){s.h, s.w, each});
}

static pf_node of_pixels(pf_graph *g, const multiscale *c, pf_node h, int cout)
{
    for (int i = 0; i < c->layers_dense_upper; i++) {
        int last = i + 1 == c->layers_dense_upper;
        h = dense(g, pf_namef(g, "dense_upper.%d", i), h, last ? cout : c->hidden_dense_upper);
        if (!last) h = pf_leaky_relu(g, h, SLOPE);
    }
    return h;
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const multiscale *c = self;
    pf_node x = pf_offered(g, offered, "x"), h = x;
    pf_shape s = pf_graph_shape(g, x), out = offered->out;

    if (out.h != s.h || out.w != s.w)
        return pf_graph_fail(g, PF_ESHAPE,
                             "model multiscale gives an image of %dx%d for each, not %dx%dx%d",
                             s.h, s.w, out.h, out.w, out.c);
    for (int i = 0; i < c->layers_conv; i++) h = at_scales(g, c, i, h);
    if (c->layers_dense_lower > 0) {
        pf_node lower = over_image(g, c, x);
        h = pf_affine(g, h, 1.0 / sqrt((double)c->hidden_conv), 0.0);
        lower = pf_affine(g, lower, 1.0 / sqrt((double)c->hidden_dense_lower_output), 0.0);
        h = pf_concat(g, h, lower);
    }
    return of_pixels(g, c, h, out.c);
}

const pf_model_ops pf_model_multiscale = {
    .name = "multiscale",
    .help = "convolutions at several scales beside a perceptron, for images, blind to time",
    .size = sizeof(multiscale),
    .opts = opts,
    .build = build,
};
