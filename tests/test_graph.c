/* The graph builder: names, shapes, initial values, errors, counts. */
#include "small_unet.h"

static void parameters_have_published_names_shapes_and_order(void **state)
{
    (void)state;
    pf_graph *g = unet();
    const pf_param *c = find(g, "b1.c0.weight"), *l = find(g, "b1.d.weight"),
                   *n = find(g, "at.q.W");
    assert_int_equal(c->rank, 4);
    assert_int_equal(c->dim[0], 6);
    assert_int_equal(c->dim[1], 4);
    assert_int_equal(c->dim[2], 3);
    assert_int_equal(c->fan_in, 36);
    assert_int_equal(c->fan_out, 54);
    assert_int_equal(l->dim[0], 6);
    assert_int_equal(l->dim[1], 8);
    assert_int_equal(n->dim[0], 6);
    assert_int_equal(n->fan_in, 6);
    assert_int_equal(find(g, "at.q.b")->rank, 1);
    assert_int_equal(find(g, "four.W")->trainable, 0);
    assert_ptr_equal(find(g, "b1.c0.bias"), c + 1);
    pf_graph_free(g);
}

static void views_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    pf_graph *g = unet();
    size_t end = 0;
    for (int i = 0; i < pf_graph_param_count(g); i++) {
        const pf_param *v = &pf_graph_params(g)[i];
        assert_int_equal(v->offset % 16, 0);
        assert_true(v->offset >= end);
        end = v->offset + v->size;
    }
    assert_true(pf_graph_param_floats(g) >= end);
    assert_int_equal(pf_graph_param_floats(g) % 16, 0);
    pf_graph_free(g);
}

static void initial_values_follow_each_rule_and_padding_is_zero(void **state)
{
    (void)state;
    pf_graph *g = unet();
    size_t n = pf_graph_param_floats(g);
    float *p = noise(n, 1);
    pf_graph_init_params(g, 77, p);
    const pf_param *c = find(g, "b1.c1.weight"); /* 6 x 6 x 3 x 3 */
    double bound = sqrt(3.0 / 54.0), square = 0.0;
    for (size_t i = 0; i < c->size; i++) {
        assert_true(fabs(p[c->offset + i]) <= bound);
        square += pow(p[c->offset + i], 2) / (double)c->size;
    }
    assert_true(fabs(square * 54.0 - 1.0) <
                0.25); /* variance 1/fan; 324 draws: five deviations */
    assert_true(p[find(g, "at.n.weight")->offset] == 1.0f);
    assert_true(p[find(g, "at.n.bias")->offset] == 0.0f);
    size_t end = 0;
    for (int i = 0; i < pf_graph_param_count(g); i++) {
        const pf_param *v = &pf_graph_params(g)[i];
        for (; end < v->offset; end++) assert_true(p[end] == 0.0f);
        end = v->offset + v->size;
    }
    for (; end < n; end++) assert_true(p[end] == 0.0f);
    pf_free(p);
    pf_graph_free(g);
}

static void the_first_error_is_reported_and_later_calls_do_nothing(void **state)
{
    (void)state;
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node x = image(g, 4, 4, 6);
    pf_norm_opt o = {.name = "first", .groups = 4, .eps = 1e-6};
    pf_node h = pf_group_norm(g, x, PF_NONE, &o);
    assert_true(h.id < 0);
    h = pf_linear(g, "second", pf_concat(g, h, x), 3, 1.0);
    assert_int_equal(pf_graph_finish(g, h), PF_ESHAPE);
    assert_non_null(strstr(pf_error_message(), "first"));
    assert_non_null(strstr(pf_error_message(), "6 channels do not split into 4 groups"));
    assert_int_equal(pf_graph_param_count(g), 0);
    pf_graph_free(g);
}

static void an_odd_image_cannot_be_halved_and_the_error_says_where(void **state)
{
    (void)state;
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node x = image(g, 30, 30, 1);
    x = pf_down2(g, pf_down2(g, x));
    assert_int_equal(pf_graph_finish(g, x), PF_ESHAPE);
    assert_non_null(strstr(pf_error_message(), "30x30"));
    assert_non_null(strstr(pf_error_message(), "15x15"));
    pf_graph_free(g);
}

static pf_conv_opt dilated(int dilation)
{
    return (pf_conv_opt){.name = "c",
                         .cout = 5,
                         .kernel = 3,
                         .stride = 1,
                         .pad_lo = 2,
                         .pad_hi = 2,
                         .dilation = dilation};
}

static pf_node misfit(pf_graph *g, int k, pf_node x)
{
    pf_conv_opt wide = dilated(4);
    if (k == 0) return pf_conv(g, x, &wide);
    if (k == 1) return pf_pool_same(g, x, 4, PF_POOL_MAX);
    if (k == 2) return pf_reshape(g, x, (pf_shape){3, 3, 3});
    if (k == 3) return pf_leaky_relu(g, x, 1.0);
    return pf_bilinear(g, x, 0, 3);
}

static void filters_and_shapes_that_do_not_fit_are_told(void **state)
{
    (void)state;
    static const char *const words[] = {"dilation 4", "kernel 4", "are no 3x3x3", "slope 1",
                                        "0x3x2"};
    pf_conv_opt fits = dilated(3);
    for (int k = 0; k < 5; k++) {
        pf_graph *g;
        must(pf_graph_create(&g));
        pf_node x = image(g, 4, 4, 2);
        pf_shape s = pf_graph_shape(g, pf_conv(g, x, &fits)); /* taps 0, 3, 6 of 8 pixels */
        assert_true(s.h == 2 && s.w == 2 && s.c == 5);
        assert_int_equal(pf_bilinear(g, x, 4, 4).id, x.id);
        s = pf_graph_shape(g, pf_reshape(g, x, (pf_shape){1, 1, 32}));
        assert_true(s.h == 1 && s.c == 32);
        assert_int_equal(pf_graph_finish(g, misfit(g, k, x)), PF_ESHAPE);
        if (!strstr(pf_error_message(), words[k])) fail_msg("%s", pf_error_message());
        pf_graph_free(g);
    }
}

static void a_parameter_name_is_used_once(void **state)
{
    (void)state;
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node x = image(g, 2, 2, 3);
    x = pf_linear(g, "same", pf_linear(g, "same", x, 3, 1.0), 3, 1.0);
    assert_int_equal(pf_graph_finish(g, x), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "same.weight is used twice"));
    pf_graph_free(g);
}

static void operations_are_counted_from_the_shapes(void **state)
{
    (void)state;
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node x = image(g, 4, 4, 3);
    x = pf_conv_same(g, "c", x, 5, 3, 1.0);
    x = pf_attention(g, x, x, pf_nin(g, "n", x, 5, 1.0));
    must(pf_graph_finish(g, x));
    double want = 2.0 * (16 * 27 * 5 + 16 * 25 + 2 * 16 * 16 * 5);
    assert_true(pf_graph_flops(g) == want);
    pf_plan_opt o = {.batch = 2, .backend = "ref"};
    pf_plan *p;
    must(pf_plan_create(g, &o, &p));
    pf_op_time row;
    double sum = 0.0;
    int rows = 0;
    while (pf_plan_profile_row(p, rows, &row)) {
        sum += row.gflop_forward;
        rows++;
    }
    assert_int_equal(rows, 4);
    assert_true(fabs(sum * 1e9 - 2.0 * want) < 1e-6 * want);
    pf_plan_free(p);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_have_published_names_shapes_and_order),
        cmocka_unit_test(views_are_aligned_and_do_not_overlap),
        cmocka_unit_test(initial_values_follow_each_rule_and_padding_is_zero),
        cmocka_unit_test(the_first_error_is_reported_and_later_calls_do_nothing),
        cmocka_unit_test(an_odd_image_cannot_be_halved_and_the_error_says_where),
        cmocka_unit_test(filters_and_shapes_that_do_not_fit_are_told),
        cmocka_unit_test(a_parameter_name_is_used_once),
        cmocka_unit_test(operations_are_counted_from_the_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
