/* Inputs and outputs of networks: named, of any shape, each with a gradient or with a sentence. */
#include "small_unet.h"

enum { MASK = 2, OUT_H = H / 2, OUT_W = W / 2, OUT_C = 5, OUT = OUT_H * OUT_W * OUT_C };

static pf_graph *empty(void)
{
    pf_graph *g;
    must(pf_graph_create(&g));
    return g;
}

static void fails(pf_graph *g, pf_node out, pf_status code, const char *sentence)
{
    assert_int_equal(pf_graph_finish(g, out), code);
    if (!strstr(pf_error_message(), sentence)) fail_msg("%s", pf_error_message());
    pf_graph_free(g);
}

static void a_name_is_one_input(void **state)
{
    (void)state;
    char name[] = "mask";
    pf_port mask = {name, {4, 4, 2}, 0};
    pf_graph *g = empty();
    pf_node x = image(g, 4, 4, 3), m = pf_port_node(g, &mask);
    assert_int_equal(pf_port_node(g, &mask).id, m.id);
    assert_int_equal(pf_graph_ports(g), 2);
    name[0] = 'c'; /* the graph has its own copy */
    assert_int_equal(pf_graph_port(g, "mask"), 1);
    assert_int_equal(pf_graph_port(g, "cask"), -1);
    assert_string_equal(pf_graph_port_at(g, 1)->name, "mask");
    assert_int_equal(pf_graph_port_at(g, 1)->shape.c, 2);
    mask = (pf_port){"x", {4, 4, 3}, 1};
    fails(g, pf_port_node(g, &mask), PF_ESHAPE,
          "the input x is floats of 4x4x3, and integers of 4x4x3 as well");
    (void)x;
    g = empty();
    image(g, 4, 4, 3);
    fails(g, image(g, 4, 4, 1), PF_ESHAPE,
          "the input x is floats of 4x4x3, and floats of 4x4x1 as well");
}

static void inputs_have_names_and_are_few(void **state)
{
    (void)state;
    pf_graph *g = empty();
    fails(g, number(g, ""), PF_EARG, "an input without a name");
    g = empty();
    for (int i = 0; i < PF_PORTS_MAX; i++)
        assert_true(number(g, pf_namef(g, "n%d", i)).id >= 0);
    fails(g, number(g, "last"), PF_EARG, "the input last: a network has at most 8 inputs");
}

static void what_is_not_offered_is_named(void **state)
{
    (void)state;
    pf_ports o = {2, {{"x", {2, 2, 1}, 0}, {"cond", {1, 1, 1}, 0}}};
    pf_graph *g = empty();
    pf_node x = pf_offered(g, &o, "x");
    assert_int_equal(pf_graph_shape(g, x).h, 2);
    assert_int_equal(pf_offered(g, &o, "x").id, x.id);
    assert_int_equal(pf_graph_port(g, "cond"), -1); /* offered, but not read */
    fails(g, pf_offered(g, &o, "label"), PF_EARG,
          "the network reads an input label; offered is x, cond");
    o.n = 0;
    g = empty();
    fails(g, pf_offered(g, &o, "x"), PF_EARG,
          "the network reads an input x; offered is nothing");
}

/* y = w x + b of whatever is offered as x. */
static pf_node small(pf_graph *g, const pf_ports *o)
{
    return pf_linear(g, "map", pf_offered(g, o, "x"), o->out.c, 1.0);
}

static void a_name_may_be_what_a_node_returns(void **state)
{
    (void)state;
    pf_ports o = {.n = 1, .port = {{.name = "x", .shape = {2, 2, 3}}}};
    pf_graph *g = empty();
    pf_node x = pf_offered(g, &o, "x"), half = pf_affine(g, x, 0.5, 0.0);
    pf_offer_node(g, &o, "x", half);
    pf_offer_node(g, &o, "also", x);
    assert_int_equal(o.n, 2);
    assert_int_equal(pf_offered(g, &o, "x").id, half.id);
    assert_int_equal(pf_offered(g, &o, "also").id, x.id);
    assert_true(o.port[1].shape.c == 3 && !o.port[1].integer);
    assert_int_equal(pf_graph_ports(g), 1); /* what is bound is no input */
    while (o.n < PF_PORTS_MAX) pf_offer_node(g, &o, pf_namef(g, "n%d", o.n), x);
    pf_offer_node(g, &o, "last", x);
    fails(g, half, PF_EARG, "last is offered, but a network is offered at most 8 inputs");
}

static void a_network_is_built_twice_under_two_prefixes(void **state)
{
    (void)state;
    pf_ports o = {.n = 1, .port = {{.name = "x", .shape = {1, 1, 3}}}, .out = {1, 1, 3}};
    pf_graph *g = empty();
    float x[3] = {1.0f, -2.0f, 0.5f}, y[3], p[64];
    for (int k = 0; k < 2; k++) {
        pf_graph_prefix(g, k ? "second." : "first.");
        pf_offer_node(g, &o, "x", small(g, &o));
    }
    must(pf_graph_finish(g, o.node[0]));
    assert_int_equal(pf_graph_param_count(g), 4);
    assert_string_equal(pf_graph_params(g)[0].name, "first.map.weight");
    assert_string_equal(pf_graph_params(g)[3].name, "second.map.bias");
    assert_true(pf_graph_param_floats(g) <= 64);
    memset(p, 0, sizeof p);
    for (int i = 0; i < 3; i++) {
        p[pf_graph_params(g)[0].offset + 4 * (size_t)i] = 2.0f;  /* twice x */
        p[pf_graph_params(g)[2].offset + 4 * (size_t)i] = -1.0f; /* minus that, */
        p[pf_graph_params(g)[3].offset + (size_t)i] = 1.0f;      /* plus 1 */
    }
    pf_plan *plan;
    pf_run run = {.in = {x}};
    must(pf_plan_create(g, &(pf_plan_opt){.batch = 1}, &plan));
    must(pf_plan_set_params(plan, p));
    must(pf_plan_forward(plan, &run, y));
    for (int i = 0; i < 3; i++) assert_near((double)y[i], 1.0 - 2.0 * (double)x[i], 0.0);
    pf_plan_free(plan);
    pf_graph_free(g);
    g = empty();
    pf_graph_prefix(
        g, "12345678901234567890123456789012345678901234567890123456789012345678901234567890"
           "1234567890123456");
    fails(g,
          pf_offered(g, &(pf_ports){.n = 1, .port = {{.name = "x", .shape = {1, 1, 1}}}}, "x"),
          PF_EARG, "is too long");
}

static void integers_are_no_floats(void **state)
{
    (void)state;
    pf_port label = {"label", {1, 1, 1}, 1};
    pf_graph *g = empty();
    fails(g, pf_silu(g, pf_port_node(g, &label)), PF_ESHAPE, "label is integers, want floats");
    g = empty();
    fails(g, pf_port_node(g, &label), PF_EARG,
          "the graph's output is label, which is integers");
}

static void a_label_is_an_input_of_one_integer(void **state)
{
    (void)state;
    pf_port many = {"label", {2, 1, 3}, 1};
    pf_graph *g = empty();
    fails(g, pf_embed(g, "e", number(g, "x"), 3, 2), PF_ESHAPE, "x is floats, want integers");
    g = empty();
    fails(g, pf_embed(g, "e", pf_port_node(g, &many), 3, 2), PF_ESHAPE,
          "operator e (embed): the label is 2x1x3, want one a pixel");
    many.shape.c = 1;
    g = empty();
    fails(g, pf_embed(g, "e", pf_port_node(g, &many), 0, 2), PF_ESHAPE, "0 classes of width 2");
}

static void a_label_picks_its_row_and_none_is_zero(void **state)
{
    (void)state;
    enum { CLASSES = 5, WIDTH = 3 };
    int32_t label[B] = {4, -1, 4};
    float out[B * WIDTH], params[CLASSES * WIDTH + 16] = {0}, gp[CLASSES * WIDTH + 16];
    const float gout[B * WIDTH] = {1, 2, 3, 10, 20, 30, 100, 200, 300};
    pf_graph *g = empty();
    pf_node k = pf_port_node(g, &(pf_port){"label", {1, 1, 1}, 1});
    must(pf_graph_finish(g, pf_embed(g, "e", k, CLASSES, WIDTH)));
    const pf_param *w = find(g, "e.weight");
    assert_int_equal(w->dim[0], CLASSES);
    assert_int_equal(w->dim[1], WIDTH);
    assert_true(pf_graph_param_floats(g) <= sizeof params / sizeof *params);
    pf_graph_init_params(g, 1, params);
    pf_plan_opt o = {.batch = B, .want_params = 1, .repeat = 1};
    pf_plan *p = NULL;
    must(pf_plan_create(g, &o, &p));
    must(pf_plan_set_params(p, params));
    must(pf_plan_forward(p, &(pf_run){.in = {label}}, out));
    assert_memory_equal(out, params + 4 * WIDTH, WIDTH * sizeof *out);
    assert_memory_equal(out + 2 * WIDTH, params + 4 * WIDTH, WIDTH * sizeof *out);
    for (int i = 0; i < WIDTH; i++) assert_true(out[WIDTH + i] == 0.0f);
    must(pf_plan_backward(p, gout, gp, NULL));
    for (int i = 0; i < 4 * WIDTH; i++) assert_true(gp[i] == 0.0f);
    for (int i = 0; i < WIDTH; i++) assert_true(gp[4 * WIDTH + i] == 101.0f * (float)(i + 1));
    label[1] = CLASSES;
    assert_int_equal(pf_plan_forward(p, &(pf_run){.in = {label}}, out), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "operator e (embed): label 5, want less than 5 classes");
    pf_plan_free(p);
    o = (pf_plan_opt){.batch = B, .want_in = 1};
    assert_int_equal(pf_plan_create(g, &o, &p), PF_EARG);
    assert_non_null(
        strstr(pf_error_message(), "e (embed) has no derivative by its input label"));
    pf_graph_free(g);
}

/* Embeddings begin as N(0,1): 3000 draws, five deviations of their mean and of their variance. */
static void rows_begin_as_normal_numbers(void **state)
{
    (void)state;
    enum { N = 3000 };
    pf_graph *g = empty();
    pf_node k = pf_port_node(g, &(pf_port){"label", {1, 1, 1}, 1});
    must(pf_graph_finish(g, pf_embed(g, "e", k, N / 10, 10)));
    float *w = noise(pf_graph_param_floats(g), 1);
    pf_graph_init_params(g, 3, w);
    double sum = 0.0, square = 0.0;
    for (int i = 0; i < N; i++) {
        sum += w[i];
        square += w[i] * w[i];
    }
    assert_true(fabs(sum / N) < 5.0 / sqrt(N));
    assert_true(fabs(square / N - 1.0) < 5.0 * sqrt(2.0 / N));
    pf_free(w);
    pf_graph_free(g);
}

/* Two images in, an image of another size and number of channels out. */
static pf_graph *two_images(void)
{
    pf_graph *g = empty();
    pf_node m = pf_port_node(g, &(pf_port){"mask", {H, W, MASK}, 0}), x = image(g, H, W, C);
    pf_node h = pf_conv_same(g, "in", pf_concat(g, x, pf_silu(g, m)), 4, 3, 1.0);
    h = pf_conv_same(g, "m", pf_silu(g, pf_concat(g, h, m)), 6, 3, 1.0);
    h = pf_linear(g, "out", pf_silu(g, pf_down2(g, h)), OUT_C, 1.0);
    must(pf_graph_finish(g, h));
    return g;
}

typedef struct pair {
    pf_graph *g;
    pf_plan *plan;
    pf_run run;
    float *params, *gp, *gout, *out, *in[2], *gin[PF_PORTS_MAX];
    size_t n[2];
} pair;

static void pair_open(pair *p, pf_plan_opt o)
{
    *p = (pair){.g = two_images(), .n = {B * H * W * MASK, B * D}};
    size_t n = pf_graph_param_floats(p->g);
    o.batch = B;
    must(pf_plan_create(p->g, &o, &p->plan));
    p->params = noise(n, 1);
    pf_graph_init_params(p->g, 5, p->params);
    p->gp = noise(n, 2);
    p->gout = noise(B * OUT, 3);
    p->out = noise(B * OUT, 4);
    for (int k = 0; k < 2; k++) {
        p->run.in[k] = p->in[k] = noise(p->n[k], 5 + (uint32_t)k);
        p->gin[k] = noise(p->n[k], 7);
    }
    must(pf_plan_set_params(p->plan, p->params));
}

static void pair_close(pair *p)
{
    pf_plan_free(p->plan);
    pf_graph_free(p->g);
    pf_free(p->params);
    pf_free(p->gp);
    pf_free(p->gout);
    pf_free(p->out);
    for (int k = 0; k < 2; k++) {
        pf_free(p->in[k]);
        pf_free(p->gin[k]);
    }
}

static void pair_run(pair *p)
{
    must(pf_plan_forward(p->plan, &p->run, p->out));
    must(pf_plan_backward(p->plan, p->gout, p->gp, p->gin));
}

/* Of gout . out along v at input k: what is left is h^2 of the value, and 1e-7/h of rounding. */
static double pair_slope(pair *p, int k, const float *v)
{
    const float h = 0.0078125f;
    double f[2];
    float *x = noise(p->n[k], 9);
    p->run.in[k] = x;
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < p->n[k]; i++) x[i] = p->in[k][i] + (s ? h : -h) * v[i];
        must(pf_plan_forward(p->plan, &p->run, p->out));
        f[s] = dot(p->gout, p->out, B * OUT);
    }
    p->run.in[k] = p->in[k];
    pf_free(x);
    return (f[1] - f[0]) / (2.0 * (double)h);
}

static void gradients_along_two_images_agree_with_central_differences(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "fast"};
    for (int b = 0; b < 2; b++) {
        pair p;
        pair_open(&p, (pf_plan_opt){.want_in = 3, .backend = backends[b]});
        pair_run(&p);
        for (int k = 0; k < 2; k++) {
            float *v = noise(p.n[k], 20);
            double want = dot(p.gin[k], v, p.n[k]), got = pair_slope(&p, k, v);
            assert_true(fabs(want) > 0.1);
            assert_true(fabs(want - got) < 2e-3 * (1.0 + fabs(want)));
            pf_free(v);
        }
        pair_close(&p);
    }
}

static void a_gradient_is_the_same_alone_repeated_and_with_all_others(void **state)
{
    (void)state;
    static const pf_plan_opt some[] = {
        {.want_in = 1},
        {.want_in = 2},
        {.want_params = 1},
        {.want_in = 3, .repeat = 1},
        {.want_in = 3, .want_params = 1, .repeat = 1},
        {.want_in = 3, .recompute = PF_RECOMPUTE_BLOCKS},
    };
    pair all, p;
    pair_open(&all, (pf_plan_opt){.want_in = 3, .want_params = 1});
    pair_run(&all);
    size_t n = pf_graph_param_floats(all.g);
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        pair_open(&p, some[i]);
        pair_run(&p);
        for (int again = 0; again <= some[i].repeat; again++) {
            for (int k = 0; k < 2; k++)
                if (some[i].want_in >> k & 1)
                    assert_memory_equal(p.gin[k], all.gin[k], p.n[k] * sizeof(float));
            if (some[i].want_params) assert_memory_equal(p.gp, all.gp, n * sizeof(float));
            if (some[i].repeat) must(pf_plan_backward(p.plan, p.gout, p.gp, p.gin));
        }
        pair_close(&p);
    }
    pair_close(&all);
}

static void what_a_plan_misses_is_named(void **state)
{
    (void)state;
    pair p;
    pf_plan *plan = NULL;
    pair_open(&p, (pf_plan_opt){.want_in = 3});
    p.run.in[0] = NULL;
    assert_int_equal(pf_plan_forward(p.plan, &p.run, p.out), PF_EARG);
    assert_string_equal(pf_error_message(), "a run without its input mask");
    p.run.in[0] = p.in[0];
    must(pf_plan_forward(p.plan, &p.run, p.out));
    float *gin[PF_PORTS_MAX] = {p.gin[0]};
    assert_int_equal(pf_plan_backward(p.plan, p.gout, NULL, gin), PF_EARG);
    assert_string_equal(pf_error_message(), "no place for the gradient along the input x");
    pf_plan_opt o = {.batch = B, .want_in = 4};
    assert_int_equal(pf_plan_create(p.g, &o, &plan), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "gradients are wanted along inputs 0x4 of a network with 2");
    o = (pf_plan_opt){.batch = B, .want_in = 1, .repeat = 1, .recompute = PF_RECOMPUTE_NORMS};
    assert_int_equal(pf_plan_create(p.g, &o, &plan), PF_EARG);
    pair_close(&p);
}

/* The operators with an input without a derivative; it depends on a number and a linear map of it. */
static pf_node without_slope(pf_graph *g, int i, pf_node x, pf_node v)
{
    const pf_levels_opt o = {"op", 4};
    switch (i) {
    case 0:
        return pf_positional(g, v, 4);
    case 1:
        return pf_fourier(g, "op", v, 2, 1.0);
    case 2:
        return pf_divide(g, x, v);
    case 3:
        return pf_sine(g, x, v, 1.0, 0.0);
    case 4:
        return pf_levels(g, x, v, number(g, "u"), &o);
    default:
        return pf_levels(g, x, number(g, "u"), v, &o);
    }
}

static void a_gradient_through_an_operator_without_one_is_refused(void **state)
{
    (void)state;
    static const char *const ops[] = {"positional", "fourier", "divide",
                                      "sine",       "levels",  "levels"};
    for (int i = 0; i < 6; i++) {
        char want[256];
        pf_graph *g = empty();
        pf_plan *p = NULL;
        pf_node x = image(g, 1, 1, 4), t = number(g, "t");
        pf_node h = without_slope(g, i, x, pf_linear(g, "map", t, 1, 1.0));
        must(pf_graph_finish(g, pf_concat(g, h, x)));
        pf_plan_opt o = {.batch = 1, .want_in = 1u << pf_graph_port(g, "t")};
        assert_int_equal(pf_plan_create(g, &o, &p), PF_EARG);
        snprintf(
            want, sizeof want,
            "(%s) has no derivative by its input map, through which the gradient along the "
            "input t is wanted",
            ops[i]);
        if (!strstr(pf_error_message(), want)) fail_msg("%s", pf_error_message());
        o = (pf_plan_opt){.batch = 1, .want_params = 1};
        assert_int_equal(pf_plan_create(g, &o, &p), PF_EARG);
        assert_non_null(
            strstr(pf_error_message(), "gradient along trained parameters is wanted"));
        o = (pf_plan_opt){.batch = 1, .want_in = 1u << pf_graph_port(g, "x")};
        must(pf_plan_create(g, &o, &p)); /* that one has a way */
        pf_plan_free(p);
        pf_graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_one_input),
        cmocka_unit_test(inputs_have_names_and_are_few),
        cmocka_unit_test(what_is_not_offered_is_named),
        cmocka_unit_test(a_name_may_be_what_a_node_returns),
        cmocka_unit_test(a_network_is_built_twice_under_two_prefixes),
        cmocka_unit_test(integers_are_no_floats),
        cmocka_unit_test(a_label_is_an_input_of_one_integer),
        cmocka_unit_test(a_label_picks_its_row_and_none_is_zero),
        cmocka_unit_test(rows_begin_as_normal_numbers),
        cmocka_unit_test(gradients_along_two_images_agree_with_central_differences),
        cmocka_unit_test(a_gradient_is_the_same_alone_repeated_and_with_all_others),
        cmocka_unit_test(what_a_plan_misses_is_named),
        cmocka_unit_test(a_gradient_through_an_operator_without_one_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
