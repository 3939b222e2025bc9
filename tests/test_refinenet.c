/* The networks of NCSN, NCSNv2 and Sohl-Dickstein 2015: published names and sizes, what their options mean, refusals. */
#include <probflow/plan.h>

#include "checks.h"
#include "sde_nets.h"

#include <stdlib.h>

static pf_graph *graph_of(const char *name, const char *settings, pf_shape s, int levels,
                          pf_status *st)
{
    pf_model m = model(name, settings);
    pf_graph *g = NULL;
    pf_ports o = {.n = 3, .out = s};
    o.port[0] = (pf_port){.name = "x", .shape = s};
    o.port[1] = (pf_port){.name = "sigma", .shape = {1, 1, 1}};
    o.port[2] = (pf_port){.name = "level", .shape = {1, 1, 1}, .classes = levels};
    assert_int_equal(pf_graph_create(&g), PF_OK);
    *st = pf_graph_finish(g, m.ops->build(&m.opt, g, &o));
    return g;
}

static pf_graph *built(const char *name, const char *settings, pf_shape s, int levels)
{
    pf_status st;
    pf_graph *g = graph_of(name, settings, s, levels, &st);
    if (st) fail_msg("%s", pf_error_message());
    return g;
}

static const pf_param *named(const pf_graph *g, const char *name)
{
    for (int i = 0; i < pf_graph_param_count(g); i++)
        if (!strcmp(pf_graph_params(g)[i].name, name)) return &pf_graph_params(g)[i];
    fail_msg("%s is missing", name);
    return NULL;
}

static size_t count(const pf_graph *g)
{
    size_t n = 0;
    for (int i = 0; i < pf_graph_param_count(g); i++) n += pf_graph_params(g)[i].size;
    return n;
}

static void holds(const pf_graph *g, const shaped *want, size_t many)
{
    for (size_t i = 0; i < many; i++) {
        const pf_param *p = named(g, want[i].name);
        assert_int_equal(p->rank, want[i].rank);
        for (int d = 0; d < p->rank; d++) assert_int_equal(p->dim[d], want[i].dim[d]);
    }
}

/* The counts are those of the published modules with 128 channels. */
static void refinenets_have_published_names_shapes_and_sizes(void **state)
{
    (void)state;
    static const shaped ncsn[] = {
        {"begin_conv.weight", 4, {128, 3, 3, 3}},
        {"res1.0.normalize1.embed.weight", 2, {10, 384}},
        {"res2.0.conv2.conv.weight", 4, {256, 128, 3, 3}},
        {"res2.0.shortcut.conv.weight", 4, {256, 128, 1, 1}},
        {"res3.0.shortcut.weight", 4, {256, 256, 3, 3}},
        {"refine2.adapt_convs.1.2_2_norm.embed.weight", 2, {10, 768}},
        {"refine3.msf.convs.1.bias", 1, {128}},
        {"refine3.msf.norms.0.embed.weight", 2, {10, 768}},
        {"refine4.output_convs.3_2_conv.weight", 4, {128, 128, 3, 3}},
    };
    static const shaped deepest[] = {
        {"res31.0.shortcut.conv.weight", 4, {256, 256, 1, 1}},
        {"res4.0.shortcut.weight", 4, {512, 256, 3, 3}},
        {"res5.1.normalize2.alpha", 1, {512}},
        {"refine31.crp.convs.1.weight", 4, {256, 256, 3, 3}},
        {"refine2.msf.convs.0.weight", 4, {256, 512, 3, 3}},
        {"normalizer.gamma", 1, {128}},
    };
    static const struct {
        const char *settings;
        int size, views;
        size_t count;
    } all[] = {{"variant=ncsn", 32, 173, 30117635},
               {"", 32, 153, 29694083},
               {"variant=deeper", 128, 191, 83445379},
               {"variant=deepest", 256, 229, 94132611}};
    for (int i = 0; i < 4; i++) {
        pf_graph *g = built("refinenet", all[i].settings,
                            (pf_shape){all[i].size, all[i].size, 3}, i ? 0 : 10);
        assert_int_equal(pf_graph_param_count(g), all[i].views);
        assert_int_equal(count(g), all[i].count);
        if (i == 0) holds(g, ncsn, sizeof ncsn / sizeof *ncsn);
        if (i == 3) holds(g, deepest, sizeof deepest / sizeof *deepest);
        pf_graph_free(g);
    }
}

static void moments(const float *x, size_t n, double *mean, double *deviation)
{
    double s = 0.0, q = 0.0;
    for (size_t i = 0; i < n; i++) s += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) q += (x[i] - s) * (x[i] - s) / (double)n;
    *mean = s;
    *deviation = sqrt(q);
}

/* gamma and alpha N(1, 0.02^2), beta 0; five standard errors of 128 draws and more */
static void gains_begin_as_published(void **state)
{
    (void)state;
    pf_graph *g = built("refinenet", "variant=ncsn", (pf_shape){8, 8, 1}, 5);
    float *p = pf_zalloc(pf_graph_param_floats(g) * sizeof *p);
    double mean, deviation;
    assert_non_null(p);
    pf_graph_init_params(g, 3, p);
    const float *t = p + named(g, "normalizer.embed.weight")->offset;
    for (int row = 0; row < 5; row++, t += 384) {
        moments(t, 256, &mean, &deviation);
        assert_true(fabs(mean - 1.0) < 0.00625 && fabs(deviation - 0.02) < 0.0045);
        for (int i = 256; i < 384; i++) assert_true(t[i] == 0.0f);
    }
    pf_free(p);
    pf_graph_free(g);
    g = built("refinenet", "", (pf_shape){8, 8, 1}, 0);
    p = pf_zalloc(pf_graph_param_floats(g) * sizeof *p);
    assert_non_null(p);
    pf_graph_init_params(g, 3, p);
    moments(p + named(g, "res2.1.normalize1.alpha")->offset, 256, &mean, &deviation);
    assert_true(fabs(mean - 1.0) < 0.00625 && fabs(deviation - 0.02) < 0.0045);
    for (int i = 0; i < 256; i++)
        assert_true(p[named(g, "res2.1.normalize1.beta")->offset + (size_t)i] == 0.0f);
    pf_free(p);
    pf_graph_free(g);
}

static void a_network_says_what_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *model, *settings, *words;
        pf_shape s;
        int levels;
    } wrong[] = {
        {"refinenet", "variant=deeper", "image size 30x30 cannot be halved", {30, 30, 1}, 0},
        {"refinenet", "variant=ncsn", "how many levels", {8, 8, 1}, 0},
        {"multiscale", "scales=4", "image size 28x28 cannot be halved", {28, 28, 1}, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        pf_status st;
        pf_graph *g =
            graph_of(wrong[i].model, wrong[i].settings, wrong[i].s, wrong[i].levels, &st);
        assert_true(st != PF_OK);
        if (!strstr(pf_error_message(), wrong[i].words)) fail_msg("%s", pf_error_message());
        pf_graph_free(g);
    }
    pf_graph *g = NULL; /* a norm whose channels have no variance */
    assert_int_equal(pf_graph_create(&g), PF_OK);
    pf_node x = pf_port_node(g, &(pf_port){.name = "x", .shape = {4, 4, 1}});
    pf_instance_norm_opt o = {.name = "n", .level = PF_NONE, .eps = 1e-5};
    assert_int_equal(pf_graph_finish(g, pf_instance_norm_pp(g, x, &o)), PF_ESHAPE);
    assert_non_null(strstr(pf_error_message(), "one channel"));
    pf_graph_free(g);
}

#define NCSN(class, more)                                                             \
    "{\"network\": \"" class "\", \"channels\": 3, \"ngf\": 16, \"num_classes\": 7, " \
                             "\"fixed\": {\"stages\": [{\"name\": \"res1\"}]}" more "}"
#define V2(more) NCSN("ncsnv2.models.ncsnv2.NCSNv2Deeper", ", \"image_size\": 32" more)

static void refinenets_are_read_from_their_configuration(void **state)
{
    (void)state;
    pf_published p = {0};
    pf_model want = model("refinenet", "variant=deeper;width=16");
    assert_int_equal(
        pf_published_options(V2(", \"sigma_begin\": 50, \"sigma_end\": 0.01, \"sigma_dist\": "
                                "\"uniform\", \"rescaled\": true, \"buffers\": [\"sigmas\"]"),
                             &p),
        PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_int_equal(p.shape.w, 32);
    assert_int_equal(p.out.c, 3);
    assert_int_equal(p.classes, 0);
    const pf_published_levels *l = &p.levels;
    assert_true(l->n == 7 && l->first == 50.0 && l->last == 0.01);
    assert_true(l->uniform && l->rescaled && !l->logit);
    want = model("refinenet", "variant=ncsn;width=16");
    p.shape = (pf_shape){28, 28, 3};
    assert_int_equal(
        pf_published_options(
            NCSN("ncsn.models.cond_refinenet_dilated.CondRefineNetDilated", ""), &p),
        PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_true(p.levels.n == 7 && p.levels.first == 0.0);
    refused(V2(", \"normalization\": \"BatchNorm\""), PF_EARG, "normalization");
    refused(V2(", \"nonlinearity\": \"swish\""), PF_EARG, "nonlinearity");
    refused(V2(", \"spec_norm\": true"), PF_EARG, "spec_norm");
    refused(V2(", \"layers\": 4"), PF_EARG, "layers");
    refused(NCSN("ncsnv2.models.ncsnv2.NCSNv2", ""), PF_EFORMAT, "image_size");
    refused("{\"network\": \"ncsnv2.models.ncsnv2.NCSNv2\", \"channels\": 1}", PF_EFORMAT,
            "num_classes");
}

enum { B = 2 };

typedef struct pass { /* of a network and a batch of two, with everything it gives */
    float *params, *grad, *x, *out, *gout, *gin;
    size_t n;
} pass;

static float *draw(size_t n, uint64_t key, float scale)
{
    float *x = pf_zalloc(n * sizeof *x);
    pf_draw d = {.seed = 5, .stream = PF_STREAM_TEST, .sample = key};
    assert_non_null(x);
    pf_draw_normal(&d, 0, n, x);
    for (size_t i = 0; i < n; i++) x[i] *= scale;
    return x;
}

static pass begin(const pf_graph *g, pf_shape s)
{
    pass p = {.n = (size_t)B * pf_shape_entries(s)};
    p.params = draw(pf_graph_param_floats(g), 1, 0.0f);
    p.grad = draw(pf_graph_param_floats(g), 1, 0.0f);
    pf_graph_init_params(g, 3, p.params);
    p.x = draw(p.n, 2, 1.0f);
    p.gout = draw(p.n, 3, 1.0f);
    p.out = draw(p.n, 4, 1.0f);
    p.gin = draw(p.n, 5, 1.0f);
    return p;
}

static void end(pass *p)
{
    pf_free(p->params);
    pf_free(p->grad);
    pf_free(p->x);
    pf_free(p->out);
    pf_free(p->gout);
    pf_free(p->gin);
}

static void run(const pf_graph *g, pf_plan_opt o, pass *p)
{
    static const float number[B] = {2.5f, 0.0f};
    pf_plan *plan = NULL;
    pf_run r = {0};
    float *gin[PF_PORTS_MAX] = {0};
    gin[pf_graph_port(g, "x")] = p->gin;
    o.batch = B;
    o.want_in = 1u << pf_graph_port(g, "x");
    o.want_params = 1;
    if (pf_plan_create(g, &o, &plan)) fail_msg("%s", pf_error_message());
    assert_int_equal(pf_plan_set_params(plan, p->params), PF_OK);
    static const float sigma[B] = {0.5f, 2.0f};
    pf_run_set(&r, g, "x", p->x);
    pf_run_set(&r, g, "level", number);
    pf_run_set(&r, g, "sigma", sigma);
    if (pf_plan_forward(plan, &r, p->out)) fail_msg("%s", pf_error_message());
    assert_int_equal(pf_plan_backward(plan, p->gout, p->grad, gin), PF_OK);
    pf_plan_free(plan);
}

static double angle(const float *a, const float *b, size_t n)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Every network in training: values made twice have the same bits, bf16 points the same way. */
static void networks_train_in_bf16_and_with_values_made_twice(void **state)
{
    (void)state;
    static const struct {
        const char *model, *settings;
    } all[] = {{"refinenet", "variant=ncsn;width=16"},
               {"refinenet", "width=16"},
               {"multiscale", "scales=2;hidden_dense_lower=40"}};
    pf_shape s = {8, 12, 3};
    for (int i = 0; i < 3; i++) {
        pf_graph *g = built(all[i].model, all[i].settings, s, 4);
        size_t floats = pf_graph_param_floats(g);
        pass kept = begin(g, s), again = begin(g, s);
        run(g, (pf_plan_opt){0}, &kept);
        for (int how = PF_RECOMPUTE_NORMS; how <= PF_RECOMPUTE_BLOCKS; how++) {
            run(g, (pf_plan_opt){.recompute = (pf_recompute)how}, &again);
            assert_memory_equal(kept.out, again.out, kept.n * sizeof(float));
            assert_memory_equal(kept.gin, again.gin, kept.n * sizeof(float));
            assert_memory_equal(kept.grad, again.grad, floats * sizeof(float));
        }
        run(g, (pf_plan_opt){.precision = PF_BF16}, &again);
        assert_true(angle(kept.out, again.out, kept.n) > 0.99);
        assert_true(angle(kept.grad, again.grad, floats) > 0.98);
        end(&kept);
        end(&again);
        pf_graph_free(g);
    }
}

static double leaky(double v)
{
    return v > 0.0 ? v : 0.05 * v;
}

/* 3x3 filter w and bias of one channel on [n,n], at one pixel. */
static double filtered(const float *x, int n, const float *w, double bias, int p)
{
    double sum = bias;
    for (int t = 0; t < 9; t++) {
        int y = p / n + t / 3 - 1, z = p % n + t % 3 - 1;
        if (y >= 0 && y < n && z >= 0 && z < n) sum += (double)w[t] * x[y * n + z];
    }
    return leaky(sum);
}

static void scales_are_filtered_apart_and_averaged(void **state)
{
    (void)state;
    enum { N = 4 };
    pf_shape s = {N, N, 1};
    pf_graph *g = built("multiscale",
                        "layers_conv=1;hidden_conv=1;scales=2;layers_dense_lower=0;"
                        "layers_dense_upper=1",
                        s, 0);
    pass p = begin(g, s);
    run(g, (pf_plan_opt){.backend = "ref"}, &p);
    const float *w0 = p.params + named(g, "conv.0.0.weight")->offset;
    const float *w1 = p.params + named(g, "conv.0.1.weight")->offset;
    double a = p.params[named(g, "dense_upper.0.weight")->offset];
    float half[N * N / 4];
    for (int i = 0; i < N * N / 4; i++) {
        const float *q = p.x + i / (N / 2) * 2 * N + i % (N / 2) * 2;
        half[i] = 0.25f * (q[0] + q[1] + q[N] + q[N + 1]);
    }
    for (int i = 0; i < N * N; i++) {
        int below = i / N / 2 * (N / 2) + i % N / 2;
        double want =
            0.5 * (filtered(p.x, N, w0, 0.0, i) + filtered(half, N / 2, w1, 0.0, below));
        assert_true(fabs(p.out[i] - a * want) < 1e-6);
    }
    end(&p);
    pf_graph_free(g);
}

/* As published for 28x28: 4 convolutions of 20 channels, 500 features for the image, 2 numbers a pixel. */
static void the_dense_part_has_layers_of_its_own(void **state)
{
    (void)state;
    pf_shape s = {28, 28, 1};
    size_t conv = 200 + 3 * 3620, upper = 22 * 20 + 20 + 20 + 1;
    size_t lower = 784 * 500 + 500 + 2 * 250500 + 500 * 1568 + 1568;
    pf_graph *g = built("multiscale", "", s, 0);
    assert_int_equal(count(g), conv + lower + upper);
    pf_graph_free(g);
    g = built("multiscale", "layers_dense_lower=2", s, 0);
    assert_int_equal(count(g), conv + lower - 2 * 250500 + upper);
    pf_graph_free(g);
    g = built("multiscale", "layers_dense_lower=0;scales=2", s, 0);
    assert_int_equal(count(g), 2 * conv + upper - 2 * 20);
    assert_int_equal(named(g, "conv.3.1.weight")->dim[1], 20);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refinenets_have_published_names_shapes_and_sizes),
        cmocka_unit_test(gains_begin_as_published),
        cmocka_unit_test(a_network_says_what_does_not_fit),
        cmocka_unit_test(refinenets_are_read_from_their_configuration),
        cmocka_unit_test(networks_train_in_bf16_and_with_values_made_twice),
        cmocka_unit_test(scales_are_filtered_apart_and_averaged),
        cmocka_unit_test(the_dense_part_has_layers_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
