/* What a network is told beside its data: the label and the conditions of a row, and what is withheld. */
#include <probflow/experiment.h>
#include <probflow/memory.h>
#include <probflow/net.h>
#include <probflow/random.h>
#include "checks.h"
#include "nets.h"

/* One score of an mlp or a U-net that is told of 2 classes and 2 conditions; C of its rows are given. */
static void score_given(pf_net *n, int given, const int32_t *label, const double *condition,
                        double *s)
{
    enum { B = 3 };
    int D = pf_space_dim(&n->space);
    double t[B] = {0.3, 0.5, 0.9}, *x = pf_zalloc((size_t)(B * D) * sizeof *x);
    pf_score f;
    normals(5, (size_t)(B * D), x);
    assert_int_equal(pf_net_score(n, &(pf_view_opt){.batch = B + 1}, &f), PF_OK);
    assert_non_null(f.give);
    if (given) assert_int_equal(f.give(f.self, given, label, condition), PF_OK);
    assert_int_equal(f.eval(f.self, B, t, x, s), PF_OK);
    pf_score_free(&f);
    pf_free(x);
}

enum { TOLD = 3 * 8 * 8 };

static pf_net *told(const char *name, const char *settings, pf_shape s, float **params)
{
    pf_model m = model(name, settings);
    pf_sde sde;
    pf_net *n = NULL;
    const pf_space space = {.kind = PF_REAL, .shape = s, .classes = 2, .conditions = 2};
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    const pf_method method = pf_method_of_sde(&sde);
    if (pf_net_create(&m, &method, &space, &n)) fail_msg("%s", pf_error_message());
    *params = random_params(n);
    assert_int_equal(pf_net_set_params(n, *params), PF_OK);
    return n;
}

static const struct {
    const char *model, *settings;
    pf_shape shape;
} told_models[] = {
    {"mlp", "width=8;depth=1;label=true;condition=true", {1, 1, 5}},
    {"ddpmpp", "width=8;multipliers=1;blocks=1;label=true;condition=true", {8, 8, 1}},
};

static int differ(const double *a, const double *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) != 0;
}

static void a_label_and_a_condition_change_the_output(void **state)
{
    (void)state;
    const int32_t first[] = {0, 0, 0}, last[] = {0, 0, 1};
    const double none[6] = {0}, some[6] = {0, 0, 0, 0, 0, 0.5};
    double a[TOLD], b[TOLD];
    for (int i = 0; i < 2; i++) {
        float *params;
        pf_net *n =
            told(told_models[i].model, told_models[i].settings, told_models[i].shape, &params);
        size_t D = (size_t)pf_space_dim(&n->space);
        score_given(n, 3, first, none, a);
        score_given(n, 3, last, none, b);
        assert_false(differ(a, b, 2 * D)); /* of the third row alone */
        assert_true(differ(a + 2 * D, b + 2 * D, D));
        score_given(n, 3, first, some, b);
        assert_false(differ(a, b, 2 * D));
        assert_true(differ(a + 2 * D, b + 2 * D, D));
        score_given(n, 1, first, none, b); /* other rows are as the last that was given */
        assert_false(differ(a, b, 3 * D));
        pf_net_free(n);
        pf_free(params);
    }
}

static void what_is_withheld_is_as_none(void **state)
{
    (void)state;
    const int32_t label[] = {-1, -1, -1};
    const double zero[6] = {0};
    double a[TOLD], b[TOLD];
    for (int i = 0; i < 2; i++) {
        float *params;
        pf_net *n =
            told(told_models[i].model, told_models[i].settings, told_models[i].shape, &params);
        size_t D = (size_t)pf_space_dim(&n->space);
        score_given(n, 0, NULL, NULL, a);
        score_given(n, 3, NULL, NULL, b);
        assert_false(differ(a, b, 3 * D));
        score_given(n, 3, label, NULL, b);
        assert_false(differ(a, b, 3 * D));
        score_given(n, 3, NULL, zero, b); /* known to be zero is not unknown */
        assert_true(differ(a, b, 3 * D));
        pf_net_free(n);
        pf_free(params);
    }
}

static void what_the_data_lack_cannot_be_read(void **state)
{
    (void)state;
    pf_model m = model("mlp", "width=8;depth=1;label=true");
    pf_sde sde;
    pf_net *n = NULL;
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    const pf_method method = pf_method_of_sde(&sde);
    const pf_space space = {.kind = PF_REAL, .shape = {1, 1, 5}};
    assert_int_equal(pf_net_create(&m, &method, &space, &n), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "reads an input label; offered is x, cond"));
}

/* The experiment of an mlp with this section train. */
static pf_status read_train(const char *train, pf_experiment *e)
{
    char text[512];
    pf_config *c = NULL;
    snprintf(text, sizeof text, "name: tiny\nsde: {name: vp}\nmodel: {name: mlp}\n%s", train);
    assert_int_equal(pf_config_parse(text, "test.yaml", &c), PF_OK);
    pf_status st = pf_experiment_read(c, e);
    pf_config_free(c);
    return st;
}

static void the_share_of_withheld_samples_is_that_asked_for(void **state)
{
    (void)state;
    pf_experiment e;
    enum { N = 100000 };
    assert_int_equal(read_train("", &e), PF_OK);
    for (uint64_t i = 0; i < 1000; i++) assert_false(pf_withheld(&e.train, 7, i));
    assert_int_equal(read_train("train: {drop_conditions: 0.1}\n", &e), PF_OK);
    int n = 0, both = 0;
    for (uint64_t i = 0; i < N; i++) {
        n += pf_withheld(&e.train, 7, i);
        both += pf_withheld(&e.train, 7, i) && pf_withheld(&e.train, 8, i);
    }
    assert_in_range(n, 0.1 * N - 4 * 95, 0.1 * N + 4 * 95);      /* sd = sqrt(N 0.1 0.9) = 95 */
    assert_in_range(both, 0.01 * N - 4 * 31, 0.01 * N + 4 * 31); /* seeds are independent */
    e.train.drop_conditions = 1.0;
    for (uint64_t i = 0; i < 1000; i++) assert_true(pf_withheld(&e.train, 7, i));
    pf_text with = {0}, without = {0};
    assert_int_equal(pf_experiment_text(&e, &with), PF_OK);
    assert_non_null(strstr(with.s, "drop_conditions: 1"));
    e.train.drop_conditions = 0.0;
    assert_int_equal(pf_experiment_text(&e, &without), PF_OK);
    assert_null(strstr(without.s, "condition")); /* texts of before stay what they were */
    pf_free(with.s);
    pf_free(without.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_and_a_condition_change_the_output),
        cmocka_unit_test(what_is_withheld_is_as_none),
        cmocka_unit_test(what_the_data_lack_cannot_be_read),
        cmocka_unit_test(the_share_of_withheld_samples_is_that_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
