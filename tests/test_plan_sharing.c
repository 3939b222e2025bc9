/* Plans that share prepared parameters: one copy, the same bits, made by all of them together. */
#include "small_unet.h"

/* Convolutions whose fast kernels all prepare their parameters. */
static pf_graph *wide(void)
{
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node h = pf_input_x(g, (pf_shape){8, 8, C});
    h = pf_conv_same(g, "in", h, 32, 3, 1.0);
    h = pf_conv_same(g, "middle", pf_silu(g, h), 16, 3, 1.0);
    must(pf_graph_finish(g, pf_conv_same(g, "out", h, C, 3, 1.0)));
    return g;
}

static void plans_that_share_prepared_parameters_have_them_once(void **state)
{
    (void)state;
    enum { IMAGES = B * 8 * 8 * C, PLANS = 3 };
    pf_graph *g = wide();
    size_t n = pf_graph_param_floats(g), live[PLANS + 1], bytes = IMAGES * sizeof(float);
    float *params = noise(n, 1), *x = noise(IMAGES, 2), *v = noise(IMAGES, 3);
    float *out[PLANS], *gx[PLANS];
    pf_plan *p[PLANS], *other = NULL;
    pf_plan_opt opt = {.batch = B, .pass = PF_PASS_VJP};
    pf_run run = {.x = x};
    for (int i = 0; i < PLANS; i++) {
        out[i] = noise(IMAGES, 4);
        gx[i] = noise(IMAGES, 5);
    }
    for (int i = 0; i < PLANS; i++) {
        live[i] = pf_alloc_live();
        if (i) opt.with = p[0];
        must(pf_plan_create(g, &opt, &p[i]));
        assert_int_equal(pf_plan_forward(p[i], &run, out[i]), PF_EARG); /* no parameters yet */
    }
    live[PLANS] = pf_alloc_live();
    /* kernels and turned kernels at 36 points: 8 times the middle's parameters and more */
    size_t first = live[1] - live[0], more = live[2] - live[1];
    assert_true(first >= more + 8 * (32 * 16 * 9) * sizeof(float));
    assert_int_equal(live[3] - live[2], more);
    opt.batch = B + 1;
    assert_int_equal(pf_plan_create(g, &opt, &other), PF_EARG);
    opt.with = NULL;
    opt.batch = B;
    must(pf_plan_create(g, &opt, &other));

    for (int round = 0; round < 2; round++) { /* new values reach all of them */
        for (size_t i = 0; i < n; i++) params[i] *= -1.5f;
        for (int i = 0; i < PLANS; i++) must(pf_plan_set_params_part(p[i], params, i, PLANS));
        must(pf_plan_set_params(other, params));
        float *want = noise(IMAGES, 6), *want_x = noise(IMAGES, 7);
        must(pf_plan_forward(other, &run, want));
        must(pf_plan_backward(other, v, NULL, want_x));
        for (int i = 0; i < PLANS; i++) {
            must(pf_plan_forward(p[i], &run, out[i]));
            must(pf_plan_backward(p[i], v, NULL, gx[i]));
            assert_memory_equal(out[i], want, bytes);
            assert_memory_equal(gx[i], want_x, bytes);
        }
        pf_free(want);
        pf_free(want_x);
    }
    opt.with = p[0]; /* made late, it is ready at once */
    pf_plan_free(other);
    must(pf_plan_create(g, &opt, &other));
    must(pf_plan_forward(other, &run, gx[0]));
    assert_memory_equal(gx[0], out[0], bytes);
    pf_plan_free(other);
    for (int i = 0; i < PLANS; i++) {
        pf_plan_free(p[i]);
        pf_free(out[i]);
        pf_free(gx[i]);
    }
    pf_free(params);
    pf_free(x);
    pf_free(v);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_that_share_prepared_parameters_have_them_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
