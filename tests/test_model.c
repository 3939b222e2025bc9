/* Network models: published sizes and names, refusals, and the score a network stands for. */
#include <probflow/net.h>
#include <probflow/published.h>

#include <probflow/memory.h>
#include <probflow/random.h>
#include "checks.h"
#include "sde_nets.h"

static const pf_shape cifar = {32, 32, 3};

static void published_configurations_have_their_published_sizes(void **state)
{
    (void)state;
    /* Counts of the published CIFAR-10 networks: continuous, deep, and NCSN++. */
    pf_net *n = net("ddpmpp", "", "vp", cifar);
    assert_int_equal(trainable(n), 61804419);
    assert_int_equal(n->n_views, 564);
    pf_net_free(n);
    n = net("ddpmpp", "blocks=8", "subvp", cifar);
    assert_int_equal(trainable(n), 106632579);
    assert_int_equal(n->n_views, 956);
    pf_net_free(n);
    n = net("ddpmpp",
            "fir=1;embedding=fourier;progressive_input=residual;centered=0;scale_by_sigma=1",
            "ve", cifar);
    assert_int_equal(trainable(n), 62758787);
    assert_int_equal(n->floats >= 62758787 + 128, 1);
    assert_int_equal(view(n, "all_modules.0.W")->size, 128);
    assert_int_equal(view(n, "all_modules.0.W")->trainable, 0);
    pf_net_free(n);
}

static void views_have_published_names_shapes_and_order(void **state)
{
    (void)state;
    static const shaped want[] = {
        {"all_modules.0.weight", 2, {512, 128}},
        {"all_modules.2.weight", 4, {128, 3, 3, 3}},
        {"all_modules.7.Conv_2.weight", 4, {128, 128, 1, 1}},
        {"all_modules.8.Dense_0.weight", 2, {256, 512}},
        {"all_modules.9.NIN_3.W", 2, {256, 256}},
        {"all_modules.27.GroupNorm_0.bias", 1, {256}},
        {"all_modules.45.Conv_0.weight", 4, {256, 384, 3, 3}},
        {"all_modules.46.NIN_0.b", 1, {256}},
        {"all_modules.48.GroupNorm_0.weight", 1, {384}},
        {"all_modules.53.weight", 1, {128}},
        {"all_modules.54.weight", 4, {3, 128, 3, 3}},
        {"all_modules.54.bias", 1, {3}},
    };
    pf_net *n = net("ddpmpp", "", "vp", cifar);
    check_shapes(n, want, sizeof want / sizeof *want);
    static const char *const block[] = {
        "GroupNorm_0.weight", "GroupNorm_0.bias", "Conv_0.weight",      "Conv_0.bias",
        "Dense_0.weight",     "Dense_0.bias",     "GroupNorm_1.weight", "GroupNorm_1.bias",
        "Conv_1.weight",      "Conv_1.bias",      "Conv_2.weight",      "Conv_2.bias"};
    const pf_param *first = view(n, "all_modules.7.GroupNorm_0.weight");
    for (int i = 0; i < 12; i++) assert_string_equal(first[i].name + 14, block[i]);
    pf_net_free(n);
}

static void a_size_that_cannot_be_halved_is_one_clear_sentence(void **state)
{
    (void)state;
    pf_model m = model("ddpmpp", "");
    pf_sde sde;
    pf_net *n = NULL;
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    assert_int_equal(create(&m, &sde, (pf_shape){28, 28, 1}, &n), PF_ESHAPE);
    assert_non_null(strstr(pf_error_message(), "28x28 cannot be halved 3 times"));
    assert_non_null(strstr(pf_error_message(), "multiples of 8"));
    m = model("mlp", "");
    assert_int_equal(create(&m, &sde, (pf_shape){28, 28, 1}, &n), PF_ESHAPE);
    assert_non_null(strstr(pf_error_message(), "vectors"));
    assert_int_equal(pf_model_init("ddpmp", &m), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "'ddpmpp'"));
}

static void a_parameter_that_is_not_finite_is_named(void **state)
{
    (void)state;
    pf_net *n = net("mlp", "", "vp", (pf_shape){1, 1, 2});
    float *p = random_params(n);
    assert_int_equal(pf_net_set_params(n, p), PF_OK);
    p[view(n, "blk1_in.bias")->offset + 5] = NAN;
    assert_int_equal(pf_net_set_params(n, p), PF_ENUMERIC);
    assert_non_null(strstr(pf_error_message(), "blk1_in.bias"));
    assert_non_null(strstr(pf_error_message(), "element 5"));
    pf_net_free(n);
    pf_free(p);
}

static void published_options_name_what_they_do_not_know(void **state)
{
    (void)state;
    pf_model want = model("ddpmpp", "width=16;multipliers=1,2;attention=;init_scale=1;"
                                    "embedding=fourier;centered=0");
    pf_published p = {0};
    assert_int_equal(
        pf_published_options("{\"nf\": 16, \"ch_mult\": [1, 2], \"attn\": [], \"size\": 24, "
                             "\"ch\": 1, \"init_scale\": 1.0, \"embedding\": \"fourier\", "
                             "\"centered\": false}",
                             &p),
        PF_OK);
    assert_memory_equal(&p.model, &want, sizeof want);
    assert_int_equal(p.shape.h, 24);
    assert_int_equal(p.shape.w, 24);
    assert_int_equal(p.shape.c, 1);
    refused("{\"nf\": 16, \"ch\": 3}", PF_EFORMAT, "size");
    refused("{\"nff\": 16, \"size\": 8, \"ch\": 3}", PF_EARG, "nff");
    refused("{\"network\": \"guided_diffusion.unet.UNet\"}", PF_EARG, "UNetModel");
}

static void networks_of_score_sde_have_their_published_modules(void **state)
{
    (void)state;
    static const shaped ddpm[] = {
        {"all_modules.5.Conv_0.weight", 4, {128, 128, 3, 3}},
        {"all_modules.6.NIN_0.W", 2, {128, 256}},
        {"all_modules.7.NIN_3.W", 2, {256, 256}},
        {"all_modules.22.Conv_0.bias", 1, {256}},
        {"all_modules.29.Conv_0.weight", 4, {256, 384, 3, 3}},
        {"all_modules.30.GroupNorm_0.weight", 1, {256}},
        {"all_modules.32.NIN_0.W", 2, {384, 128}},
        {"all_modules.36.weight", 4, {3, 128, 3, 3}},
    };
    static const shaped skips[] = {
        {"all_modules.8.Conv.weight", 4, {128, 3, 1, 1}},
        {"all_modules.18.Conv.weight", 4, {256, 3, 1, 1}},
        {"all_modules.51.weight", 1, {256}},
        {"all_modules.52.weight", 4, {3, 256, 3, 3}},
        {"all_modules.60.weight", 4, {3, 256, 3, 3}},
        {"all_modules.88.weight", 4, {3, 128, 3, 3}},
    };
    pf_net *n = net("ddpmpp", "blocks=2;resblock=ddpm;groups=32;skip_rescale=0", "vp", cifar);
    check_shapes(n, ddpm, sizeof ddpm / sizeof *ddpm);
    pf_net_free(n);
    n = net("ddpmpp",
            "multipliers=1,1,2,2,2,2,2;blocks=2;fir=1;embedding=fourier;scale_by_sigma=1;"
            "progressive_input=input_skip;progressive=output_skip",
            "ve", (pf_shape){256, 256, 3});
    check_shapes(n, skips, sizeof skips / sizeof *skips);
    pf_net_free(n);
    pf_model m = model("ddpmpp", "resblock=ddpm;fir=1");
    pf_sde sde;
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    assert_int_equal(create(&m, &sde, cifar, &n), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "model.fir"));
    pf_published p = {0};
    assert_int_equal(
        pf_published_options("{\"size\": 8, \"ch\": 3, \"resblock\": \"ddpm\", \"groups\": 32, "
                             "\"embedding\": \"positional\", \"scale_by_sigma\": true, "
                             "\"progressive_input\": \"input_skip\"}",
                             &p),
        PF_OK);
    m = model("ddpmpp", "resblock=ddpm;groups=32;scale_by_sigma=1;divisor=sigma;"
                        "progressive_input=input_skip");
    assert_memory_equal(&p.model, &m, sizeof m);
}

/* Matches the first n of `views` and expects `code` and a sentence with `words`. */
static void expect_match(const pf_net *n, pf_param *views, int count, pf_status code,
                         const char *words)
{
    float *flat = pf_zalloc((n->floats + 64) * sizeof *flat),
          *out = pf_zalloc(n->floats * sizeof *out);
    for (size_t i = 0; i < n->floats; i++) flat[i] = (float)i;
    pf_named from = {.origin = "F", .n = count, .views = views, .flat = flat};
    assert_int_equal(pf_match_params(n->n_views, n->views, &from, out), code);
    if (code) {
        assert_non_null(strstr(pf_error_message(), words));
    } else {
        for (int i = 0; i < n->n_views; i++)
            for (size_t j = 0; j < n->views[i].size; j++)
                assert_true(out[n->views[i].offset + j] == (float)(n->views[i].offset + j));
    }
    pf_free(flat);
    pf_free(out);
}

static void parameters_are_matched_both_ways(void **state)
{
    (void)state;
    pf_net *n =
        net("ddpmpp", "width=8;multipliers=1;blocks=1;attention=", "vp", (pf_shape){8, 8, 1});
    int count = n->n_views;
    pf_param *v = pf_zalloc(((size_t)count + 1) * sizeof *v);

    /* another order, with the prefix and the buffer of published state dictionaries */
    for (int i = 0; i < count; i++) {
        v[i] = n->views[count - 1 - i];
        snprintf(v[i].name, sizeof v[i].name, "module.%.80s", n->views[count - 1 - i].name);
    }
    v[count] =
        (pf_param){.name = "module.sigmas", .rank = 1, .dim = {10}, .size = 10, .offset = 0};
    expect_match(n, v, count + 1, PF_OK, "");
    expect_match(n, v, count - 1, PF_EFORMAT, "all_modules.0.weight [32,8] is missing");
    snprintf(v[count].name, sizeof v[count].name, "all_modules.99.weight");
    expect_match(n, v, count + 1, PF_EFORMAT, "all_modules.99.weight is not part");
    v[0].dim[0]++;
    expect_match(n, v, count, PF_EFORMAT,
                 "has shape [2], the network of these options wants [1]");
    pf_free(v);
    pf_net_free(n);
}

typedef struct kind {
    const char *model, *settings, *sde;
    pf_shape shape;
} kind;

static const kind kinds[] = {
    {"mlp", "width=32;depth=2", "subvp", {1, 1, 5}},
    {"mlp", "width=32;embedding=fourier;scale_by_sigma=1", "ve", {1, 1, 5}},
    {"ddpmpp", "width=8;multipliers=1,2;blocks=1;attention=4", "vp", {8, 8, 1}},
    {"ddpmpp",
     "width=8;multipliers=1,2;blocks=1;attention=4;input_fourier=0;init_scale=1",
     "vp",
     {8, 8, 1}},
    {"ddpmpp",
     "width=8;multipliers=1,2;blocks=1;attention=4;levels=16;init_scale=1",
     "subvp",
     {8, 8, 3}},
    {"ddpmpp",
     "width=8;multipliers=1,2,1;blocks=2;attention=4;progressive_input=residual;skip_rescale=0",
     "vp",
     {8, 12, 3}},
    {"ddpmpp",
     "width=8;multipliers=1,2;blocks=1;attention=8;fir=1;embedding=fourier;fourier_scale=1;"
     "progressive_input=residual;centered=0;scale_by_sigma=1",
     "ve",
     {8, 8, 3}},
    {"ddpmpp",
     "width=8;multipliers=1,2;blocks=1;attention=4;resblock=ddpm;groups=4;skip_rescale=0;"
     "init_scale=1",
     "vp",
     {8, 8, 1}},
    {"ddpmpp",
     "width=8;multipliers=1,2,1;blocks=1;attention=;fir=1;embedding=fourier;fourier_scale=1;"
     "unit=0.5;progressive_input=input_skip;progressive=output_skip;scale_by_sigma=1;divisor="
     "sigma",
     "ve",
     {8, 8, 3}},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds, D_MAX = 8 * 12 * 3 };

static void a_row_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    enum { B = 3 };
    for (int i = 0; i < N_KINDS; i++) {
        const kind *k = &kinds[i];
        pf_net *n = net(k->model, k->settings, k->sde, k->shape);
        float *p = random_params(n);
        int D = k->shape.h * k->shape.w * k->shape.c;
        double x[B * D_MAX], v[2 * B * D_MAX], s[B * D_MAX], jv[2 * B * D_MAX],
            t[B] = {1e-3, 0.3, 1.0};
        normals(0, (size_t)(B * D), x);
        normals(1, (size_t)(2 * B * D), v);
        assert_int_equal(pf_net_set_params(n, p), PF_OK);
        pf_score f;
        if (pf_net_score(n, &(pf_view_opt){.batch = B, .with_vjp = 1}, &f))
            fail_msg("%s", pf_error_message());
        assert_int_equal(f.vjp(f.self, B, t, x, 2, v, s, jv), PF_OK);
        for (int b = 0; b < B; b++) {
            double v1[2 * D_MAX], s1[D_MAX], jv1[2 * D_MAX];
            memcpy(v1, v + b * D, (size_t)D * sizeof *v);
            memcpy(v1 + D, v + (B + b) * D, (size_t)D * sizeof *v);
            assert_int_equal(f.vjp(f.self, 1, t + b, x + b * D, 2, v1, s1, jv1), PF_OK);
            /* matrix products block over rows, so a row may round differently at another place */
            for (int e = 0; e < D; e++) {
                assert_near(s1[e], s[b * D + e], 1e-5 * (1.0 + fabs(s[b * D + e])));
                assert_near(jv1[e], jv[b * D + e], 1e-4 * (1.0 + fabs(jv[b * D + e])));
                assert_near(jv1[D + e], jv[(B + b) * D + e],
                            1e-4 * (1.0 + fabs(jv[(B + b) * D + e])));
            }
        }
        assert_int_equal(f.eval(f.self, B + 1, t, x, s), PF_EARG);
        pf_score_free(&f);
        pf_net_free(n);
        pf_free(p);
    }
}

/* Central difference of probe' score along a direction, against vjp' direction. */
static void vjp_is_the_derivative_of_the_score(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "fast"};
    for (int i = 0; i < 2 * N_KINDS; i++) {
        const kind *k = &kinds[i / 2];
        pf_net *n = net(k->model, k->settings, k->sde, k->shape);
        float *p = random_params(n);
        int D = k->shape.h * k->shape.w * k->shape.c;
        double x[D_MAX], y[D_MAX], v[D_MAX], u[D_MAX], s[D_MAX], jv[D_MAX], t = 0.4, h = 2e-2;
        double slope = 0.0, want = 0.0, size = 0.0;
        normals(2, (size_t)D, x);
        normals(3, (size_t)D, v);
        normals(4, (size_t)D, u);
        assert_int_equal(pf_net_set_params(n, p), PF_OK);
        pf_score f;
        pf_view_opt o = {.batch = 1, .with_vjp = 1, .backend = backends[i % 2]};
        if (pf_net_score(n, &o, &f)) fail_msg("%s", pf_error_message());
        assert_int_equal(f.vjp(f.self, 1, &t, x, 1, v, s, jv), PF_OK);
        /* five-point rule: its h^4 error and float32 rounding over h are both near 1e-4 */
        static const double at[4] = {-2, -1, 1, 2}, c[4] = {1, -8, 8, -1};
        for (int q = 0; q < 4; q++) {
            for (int e = 0; e < D; e++) y[e] = x[e] + at[q] * h * u[e];
            assert_int_equal(f.eval(f.self, 1, &t, y, s), PF_OK);
            for (int e = 0; e < D; e++) slope += c[q] * v[e] * s[e] / (12.0 * h);
        }
        for (int e = 0; e < D; e++) want += jv[e] * u[e], size += jv[e] * jv[e];
        if (fabs(slope - want) > 2e-3 * sqrt(size) + 1e-5)
            fail_msg("%s %s: slope %g, vjp %g, |vjp| %g", k->model, k->settings, slope, want,
                     sqrt(size));
        pf_score_free(&f);
        pf_net_free(n);
        pf_free(p);
    }
}

static void a_new_mlp_predicts_no_noise(void **state)
{
    (void)state;
    pf_net *n = net("mlp", "", "vp", (pf_shape){1, 1, 4});
    float *p = pf_zalloc(n->floats * sizeof *p);
    pf_graph_init_params(n->graph, 1, p);
    assert_int_equal(pf_net_set_params(n, p), PF_OK);
    pf_score f;
    double x[4] = {1, -2, 0.5, 3}, s[4], t = 0.5;
    assert_int_equal(pf_net_score(n, &(pf_view_opt){.batch = 1}, &f), PF_OK);
    assert_int_equal(f.eval(f.self, 1, &t, x, s), PF_OK);
    for (int i = 0; i < 4; i++) assert_near(s[i], 0.0, 1e-4); /* init scale 1e-10 */
    assert_true(f.raw(f.self) != NULL);
    pf_score_free(&f);
    pf_net_free(n);
    pf_free(p);
}

/* Before training every level is as frequent as the other, so data are uniform on [-1,1]:
 * p_t(x) = (P((u + 1)/v) - P((u - 1)/v)) / 2m with u = x/m, v = std/m, P the normal distribution.
 * The network adds an init scale of 1e-10. */
static void a_new_network_with_levels_scores_independent_pixels(void **state)
{
    (void)state;
    enum { N = 16 };
    for (int k = 0; pf_sdes[k]; k++) {
        pf_net *n = net("ddpmpp",
                        k == 2 ? "width=8;multipliers=1;blocks=1;levels=64;scale_by_sigma=1"
                               : "width=8;multipliers=1;blocks=1;levels=64",
                        pf_sdes[k]->name, (pf_shape){4, 4, 1});
        float *p = pf_zalloc(n->floats * sizeof *p);
        pf_graph_init_params(n->graph, 1, p);
        assert_int_equal(pf_net_set_params(n, p), PF_OK);
        pf_score f;
        assert_int_equal(pf_net_score(n, &(pf_view_opt){.batch = 1}, &f), PF_OK);
        for (double t = 0.05; t < 1.0; t += 0.3) {
            double m, std, x[N], s[N];
            pf_sde_marginal(n->sde, t, &m, &std);
            for (int i = 0; i < N; i++) /* to 3 deviations outside the data */
                x[i] = (float)((m + 3.0 * std) * (i - 7.5) / 7.5);
            assert_int_equal(f.eval(f.self, 1, &t, x, s), PF_OK);
            for (int i = 0; i < N; i++) {
                double a = (x[i] + m) / std, b = (x[i] - m) / std;
                double top = exp(-0.5 * a * a) - exp(-0.5 * b * b);
                double mass = erfc(-a * M_SQRT1_2) - erfc(-b * M_SQRT1_2);
                double want = top / mass * sqrt(2.0 / M_PI) / std;
                assert_near(s[i] * std, want * std, 1e-3 * (1.0 + fabs(want * std)));
            }
        }
        pf_score_free(&f);
        pf_net_free(n);
        pf_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_configurations_have_their_published_sizes),
        cmocka_unit_test(views_have_published_names_shapes_and_order),
        cmocka_unit_test(a_size_that_cannot_be_halved_is_one_clear_sentence),
        cmocka_unit_test(a_parameter_that_is_not_finite_is_named),
        cmocka_unit_test(published_options_name_what_they_do_not_know),
        cmocka_unit_test(networks_of_score_sde_have_their_published_modules),
        cmocka_unit_test(parameters_are_matched_both_ways),
        cmocka_unit_test(a_row_does_not_depend_on_its_batch),
        cmocka_unit_test(vjp_is_the_derivative_of_the_score),
        cmocka_unit_test(a_new_mlp_predicts_no_noise),
        cmocka_unit_test(a_new_network_with_levels_scores_independent_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
