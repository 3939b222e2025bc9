/* A small network that uses every operator, and a plan of it with everything it reads and writes:
 * shared by the tests of graphs and plans. */
#ifndef PF_TESTS_SMALL_UNET_H
#define PF_TESTS_SMALL_UNET_H

#include <probflow/memory.h>
#include <probflow/plan.h>

#include "nn/plan_impl.h"
#include "checks.h"

enum { B = 3, H = 6, W = 4, C = 3, D = H * W * C };

static const uint64_t samples[B] = {40, 41, 977};

/* What is asked of a plan: the value alone; gradients of the parameters; along x, any number of times;
 * both, once. */
typedef enum wish { VALUE, PARAM, VJP, BOTH, WISHES } wish;

static inline pf_node image(pf_graph *g, int h, int w, int c)
{
    return pf_port_node(g, &(pf_port){"x", {h, w, c}, 0});
}

static inline pf_node number(pf_graph *g, const char *name)
{
    return pf_port_node(g, &(pf_port){name, {1, 1, 1}, 0});
}

/* Of an image named x, and of batch B. */
static inline pf_plan_opt wished(const pf_graph *g, wish w)
{
    return (pf_plan_opt){.batch = B,
                         .want_in = w >= VJP ? 1u << pf_graph_port(g, "x") : 0,
                         .want_params = w == PARAM || w == BOTH,
                         .repeat = w == VJP};
}

static inline float *noise(size_t n, uint32_t key)
{
    float *a = pf_zalloc(n * sizeof *a);
    assert_non_null(a);
    pf_draw d = {.seed = 8, .stream = PF_STREAM_TEST, .sample = key, .step = 0};
    pf_draw_normal(&d, 0, n, a);
    return a;
}

static inline double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static inline pf_node block(pf_graph *g, const char *name, pf_node x, pf_node temb, int c)
{
    int cin = pf_graph_shape(g, x).c;
    pf_norm_opt n0 = {.name = pf_namef(g, "%s.n0", name), .groups = 2, .eps = 1e-2, .silu = 1};
    pf_norm_opt n1 = {.name = pf_namef(g, "%s.n1", name),
                      .groups = 2,
                      .eps = 1e-2,
                      .silu = 1,
                      .dropout = 0.2};
    pf_node h = pf_group_norm(g, x, PF_NONE, &n0);
    h = pf_conv_same(g, pf_namef(g, "%s.c0", name), h, c, 3, 1.0);
    pf_node e = pf_linear(g, pf_namef(g, "%s.d", name), pf_silu(g, temb), c, 1.0);
    h = pf_conv_same(g, pf_namef(g, "%s.c1", name), pf_group_norm(g, h, e, &n1), c, 3, 1.0);
    if (cin != c) x = pf_conv_same(g, pf_namef(g, "%s.c2", name), x, c, 1, 1.0);
    return pf_add_scale(g, x, h, 0.7071);
}

static inline pf_node attend(pf_graph *g, pf_node x)
{
    int c = pf_graph_shape(g, x).c;
    pf_norm_opt n = {.name = "at.n", .groups = 1, .eps = 1e-2};
    pf_node h = pf_group_norm(g, x, PF_NONE, &n);
    h = pf_attention(g, pf_nin(g, "at.q", h, c, 1.0), pf_nin(g, "at.k", h, c, 1.0),
                     pf_nin(g, "at.v", h, c, 1.0));
    return pf_add_scale(g, x, pf_nin(g, "at.o", h, c, 1.0), 0.7071);
}

/* Operators that look at neighbours or change the shape; the place in a table is the conditioning value.  What has
 * kinks counts little, so that differences are derivatives. */
static inline pf_node neighbours(pf_graph *g, pf_node x, pf_node place)
{
    pf_shape s = pf_graph_shape(g, x);
    pf_instance_norm_opt by = {.name = "nb.n0", .level = place, .classes = 4, .eps = 1e-2};
    pf_instance_norm_opt own = {.name = "nb.n1", .level = PF_NONE, .eps = 1e-2};
    pf_conv_opt wide = {.name = "nb.c",
                        .cout = s.c,
                        .kernel = 3,
                        .stride = 1,
                        .pad_lo = 2,
                        .pad_hi = 2,
                        .dilation = 2,
                        .no_bias = 1,
                        .scale = 1.0};
    pf_node h = pf_conv(g, pf_elu(g, pf_instance_norm_pp(g, x, &by)), &wide);
    pf_node kinks = pf_pool_same(g, pf_leaky_relu(g, h, 0.1), 3, PF_POOL_MAX);
    h = pf_add_scale(g, h, pf_affine(g, kinks, 0.01, 0.0), 1.0);
    h = pf_bilinear(g, pf_bilinear(g, pf_instance_norm_pp(g, h, &own), 4, 5), s.h, s.w);
    h = pf_reshape(g, pf_reshape(g, h, (pf_shape){1, s.h, s.w * s.c}), s);
    return pf_add_scale(g, x, pf_pool_same(g, h, 5, PF_POOL_MEAN), 0.7071);
}

/* A small U-Net that uses every operator, with skips, a value read three times, an operator fed
 * twice by one value, and a branch that leads nowhere. */
static inline pf_graph *unet(void)
{
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node x = image(g, H, W, C), t = number(g, "cond");
    pf_node e = pf_concat(g, pf_positional(g, t, 8), pf_fourier(g, "four", t, 3, 0.3));
    pf_node label = pf_port_node(g, &(pf_port){"label", {1, 1, 1}, 1});
    e = pf_add_scale(g, e, pf_embed(g, "label", label, 4, pf_graph_shape(g, e).c), 1.0);
    e = pf_linear(g, "t1", pf_silu(g, pf_linear(g, "t0", e, 8, 1.0)), 8, 1.0);
    pf_node h0 = pf_conv_same(
        g, "in", pf_sine(g, pf_affine(g, x, 2.0, -0.5), number(g, "sigma"), 0.2, 0.1), 4, 3,
        1.0);
    pf_node h1 = block(g, "b0", h0, e, 4);
    pf_linear(g, "nowhere", h1, 5, 1.0);
    pf_node low = attend(g, block(g, "b1", pf_down2(g, h1), e, 6));
    pf_fir_opt down = {.up = 1, .down = 2, .pad_lo = 1, .pad_hi = 1, .gain = 1.0};
    pf_node pyramid = pf_conv_same(g, "pyr", pf_fir(g, x, &down), 6, 1, 1.0);
    low = pf_dropout(g, pf_add_scale(g, low, pyramid, 0.5), 0.25);
    pf_fir_opt up = {.up = 2, .down = 1, .pad_lo = 2, .pad_hi = 1, .gain = 4.0};
    pf_node high = pf_concat(g, pf_up2(g, low), pf_fir(g, low, &up));
    high = block(g, "b2", pf_concat(g, high, h1), e, 4);
    high = pf_add_channel(g, high, pf_linear(g, "ch", e, 4, 1.0));
    high = pf_add_scale(g, pf_add_scale(g, high, high, 0.5), h0, 1.0);
    high = neighbours(g, high, t);
    pf_node out = pf_divide(g, pf_conv_same(g, "out", pf_silu(g, high), C, 3, 1.0), t);
    must(pf_graph_finish(g, out));
    return g;
}

typedef struct world { /* a plan with everything it reads and writes */
    const pf_graph *g;
    pf_plan *plan;
    pf_run run;
    float *params, *x, *gout, *out, *gx, *gp;
    float *gin[PF_PORTS_MAX]; /* gx in the place of x */
    float cond[B], sigma[B];
    int32_t label[B];
} world;

static inline void world_open_with(world *w, const pf_graph *g, const char *backend, wish what,
                                   int reuse)
{
    *w = (world){.g = g};
    pf_plan_opt o = wished(g, what);
    o.backend = backend;
    must(pf_plan_create_with(g, &o, reuse, &w->plan));
    size_t n = pf_graph_param_floats(g);
    w->params = noise(n, 1);
    pf_graph_init_params(g, 5, w->params);
    w->x = noise(B * D, 2);
    w->gout = noise(B * D, 3);
    w->out = noise(B * D, 4);
    w->gx = w->gin[pf_graph_port(g, "x")] = noise(B * D, 5);
    w->gp = noise(n, 6);
    for (int b = 0; b < B; b++) {
        w->cond[b] = 0.7f + (float)b;
        w->sigma[b] = 0.3f * (float)b;
        w->label[b] = b - 1; /* the first has none */
    }
    w->run = (pf_run){.train = 1, .seed = 12, .sample = samples, .step = 3};
    pf_run_set(&w->run, g, "x", w->x);
    pf_run_set(&w->run, g, "cond", w->cond);
    pf_run_set(&w->run, g, "sigma", w->sigma);
    pf_run_set(&w->run, g, "label", w->label);
    must(pf_plan_set_params(w->plan, w->params));
}

static inline void world_open(world *w, const pf_graph *g, wish what, int reuse)
{
    world_open_with(w, g, "ref", what, reuse);
}

static inline void world_close(world *w)
{
    pf_plan_free(w->plan);
    pf_free(w->params);
    pf_free(w->x);
    pf_free(w->gout);
    pf_free(w->out);
    pf_free(w->gx);
    pf_free(w->gp);
}

static inline void both_ways(world *w)
{
    must(pf_plan_forward(w->plan, &w->run, w->out));
    must(pf_plan_backward(w->plan, w->gout, w->gp, w->gin));
}

static inline double value(world *w)
{
    must(pf_plan_forward(w->plan, &w->run, w->out));
    return dot(w->gout, w->out, B * D);
}

/* Derivative of gout . out when a[0..n) moves along v. */
static inline double slope(world *w, float *a, const float *v, size_t n)
{
    /* Two steps, extrapolated: what is left is h^4 of the value, and 1e-7/h of rounding. */
    static const float h[] = {0.0078125f, 0.00390625f};
    float *a0 = noise(n, 9);
    memcpy(a0, a, n * sizeof *a);
    double d[2];
    for (int k = 0; k < 2; k++) {
        double f[2];
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < n; i++) a[i] = a0[i] + (s ? h[k] : -h[k]) * v[i];
            must(pf_plan_set_params(w->plan, w->params));
            f[s] = value(w);
        }
        d[k] = (f[1] - f[0]) / (2.0 * (double)h[k]);
    }
    memcpy(a, a0, n * sizeof *a);
    must(pf_plan_set_params(w->plan, w->params));
    pf_free(a0);
    return (4.0 * d[1] - d[0]) / 3.0;
}

static inline const pf_param *find(const pf_graph *g, const char *name)
{
    for (int i = 0; i < pf_graph_param_count(g); i++)
        if (strcmp(pf_graph_params(g)[i].name, name) == 0) return &pf_graph_params(g)[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

#endif
