/* Plans that share prepared parameters: one copy, the same bits, made by all of them together. */
#include "small_unet.h"

enum { PLANS = 3, WIDE = 96, IMAGES = B * 8 * 8 * C };

typedef struct plans {
    pf_graph *g;
    float *params, *x, *v;
    pf_plan_opt opt;
    pf_plan *p[PLANS]; /* the first one's parameters serve all */
    pf_plan *alone;
    size_t bytes[PLANS]; /* that each took */
} plans;

/* A convolution whose transformed kernels are prepared, being larger than a cache, between two
 * with few channels, whose fast kernels prepare their parameters too. */
static pf_graph *wide(void)
{
    pf_graph *g;
    must(pf_graph_create(&g));
    pf_node h = image(g, 8, 8, C);
    h = pf_conv_same(g, "in", h, WIDE, 3, 1.0);
    h = pf_conv_same(g, "middle", pf_silu(g, h), WIDE, 3, 1.0);
    must(pf_graph_finish(g, pf_conv_same(g, "out", h, C, 3, 1.0)));
    return g;
}

static int setup(void **state)
{
    plans *s = pf_zalloc(sizeof *s);
    s->g = wide();
    s->params = noise(pf_graph_param_floats(s->g), 1);
    s->x = noise(IMAGES, 2);
    s->v = noise(IMAGES, 3);
    s->opt = wished(s->g, VJP);
    must(pf_plan_create(s->g, &s->opt, &s->alone));
    for (int i = 0; i < PLANS; i++) {
        size_t before = pf_alloc_live();
        s->opt.with = i ? s->p[0] : NULL;
        must(pf_plan_create(s->g, &s->opt, &s->p[i]));
        s->bytes[i] = pf_alloc_live() - before;
    }
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    plans *s = *state;
    pf_plan_free(s->alone);
    for (int i = PLANS - 1; i >= 0; i--) pf_plan_free(s->p[i]);
    pf_free(s->params);
    pf_free(s->x);
    pf_free(s->v);
    pf_graph_free(s->g);
    pf_free(s);
    return 0;
}

static void set_params(const plans *s)
{
    for (int i = 0; i < PLANS; i++) must(pf_plan_set_params_part(s->p[i], s->params, i, PLANS));
    must(pf_plan_set_params(s->alone, s->params));
}

/* out and gx [IMAGES] */
static void run(const plans *s, pf_plan *p, float *out, float *gx)
{
    must(pf_plan_forward(p, &(pf_run){.in = {s->x}}, out));
    must(pf_plan_backward(p, s->v, NULL, &gx)); /* x is the only input */
}

static void assert_same(const plans *s, pf_plan *p)
{
    float *out = noise(IMAGES, 4), *gx = noise(IMAGES, 5);
    float *want = noise(IMAGES, 6), *want_gx = noise(IMAGES, 7);
    run(s, p, out, gx);
    run(s, s->alone, want, want_gx);
    assert_memory_equal(out, want, IMAGES * sizeof *out);
    assert_memory_equal(gx, want_gx, IMAGES * sizeof *gx);
    pf_free(out);
    pf_free(gx);
    pf_free(want);
    pf_free(want_gx);
}

static void prepared_parameters_are_there_once(void **state)
{
    const plans *s = *state;
    /* kernels and turned kernels at 36 points: 8 times the middle's parameters and more */
    assert_true(s->bytes[0] >= s->bytes[1] + 8 * (WIDE * WIDE * 9) * sizeof(float));
    assert_int_equal(s->bytes[2], s->bytes[1]);
}

static void new_values_reach_all_plans(void **state)
{
    const plans *s = *state;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < pf_graph_param_floats(s->g); i++) s->params[i] *= -1.5f;
        set_params(s);
        for (int i = 0; i < PLANS; i++) assert_same(s, s->p[i]);
    }
}

static void a_plan_is_ready_when_the_first_one_is(void **state)
{
    plans *s = *state;
    float *out = noise(IMAGES, 4);
    for (int i = 0; i < PLANS; i++)
        assert_int_equal(pf_plan_forward(s->p[i], &(pf_run){.in = {s->x}}, out), PF_EARG);
    pf_free(out);
    set_params(s);
    pf_plan *late = NULL;
    must(pf_plan_create(s->g, &s->opt, &late));
    assert_same(s, late);
    pf_plan_free(late);
}

static void plans_that_differ_do_not_share(void **state)
{
    plans *s = *state;
    pf_plan *other = NULL;
    s->opt.batch = B + 1;
    assert_int_equal(pf_plan_create(s->g, &s->opt, &other), PF_EARG);
}

#define PLANS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANS_TEST(prepared_parameters_are_there_once),
        PLANS_TEST(new_values_reach_all_plans),
        PLANS_TEST(a_plan_is_ready_when_the_first_one_is),
        PLANS_TEST(plans_that_differ_do_not_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
