/* A network and its method: what is offered, what is read, and what is refused. */
#include <probflow/memory.h>
#include <probflow/net.h>

#include "checks.h"

static pf_method method(void)
{
    pf_sde sde;
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    return pf_method_of_sde(&sde);
}

/* net(x) = x with the input `read` added to each channel. */
static const char *read_port;
static pf_node add_input(const void *opt, pf_graph *g, const pf_ports *offered)
{
    (void)opt;
    return pf_add_channel(g, pf_offered(g, offered, "x"), pf_offered(g, offered, read_port));
}

static const pf_opt no_opts[] = {{0}};
static const pf_model_ops adder = {
    .name = "adder", .help = "", .opts = no_opts, .build = add_input};

static const pf_space plain = {.kind = PF_REAL, .shape = {2, 2, 1}};

/* Score of the predicted noise: -(x + input)/std. */
static void a_model_reads_the_input_it_asks_for(void **state)
{
    (void)state;
    const pf_method m = method();
    const pf_model model = {.ops = &adder};
    double x[8] = {0.5, -1, 2, 0, 1, 1, -0.25, 3}, s[8], t[2] = {0.02, 0.7};
    float none[1] = {0};
    pf_net *n = NULL;
    pf_score f;
    read_port = "log_snr";
    if (pf_net_create(&model, &m, &plain, &n)) fail_msg("%s", pf_error_message());
    assert_int_equal(pf_net_set_params(n, none), PF_OK);
    assert_int_equal(pf_net_score(n, &(pf_view_opt){.batch = 2}, &f), PF_OK);
    assert_int_equal(f.eval(f.self, 2, t, x, s), PF_OK);
    for (int i = 0; i < 8; i++) {
        double mean, std;
        pf_sde_marginal(n->sde, t[i / 4], &mean, &std);
        double want = -(x[i] + 2.0 * log(mean / std)) / std;
        assert_near(s[i], want, 1e-6 * (1.0 + fabs(want)));
    }
    pf_score_free(&f);
    pf_net_free(n);
}

static void what_is_not_offered_is_named(void **state)
{
    (void)state;
    const pf_method m = method();
    const pf_model model = {.ops = &adder};
    pf_space tokens = {.kind = PF_TOKENS, .shape = {1, 1, 4}, .levels = 27};
    pf_net *n = NULL;
    read_port = "temperature";
    assert_int_equal(pf_net_create(&model, &m, &plain, &n), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "temperature"));
    assert_non_null(strstr(pf_error_message(), "log_snr")); /* among what is offered */
    read_port = "cond";
    assert_int_equal(pf_net_create(&model, &m, &tokens, &n), PF_EARG);
    assert_string_equal(pf_error_message(), "method sde does not take tokens");
}

/* The model on twice x, and that on it again: ((2 x + cond) + cond). */
static pf_node twice(const void *self, const pf_model *m, pf_graph *g, const pf_ports *offered)
{
    pf_ports inner = *offered;
    (void)self;
    pf_offer_node(g, &inner, "x", pf_affine(g, pf_offered(g, offered, "x"), 2.0, 0.0));
    pf_offer_node(g, &inner, "x", m->ops->build(&m->opt, g, &inner));
    return m->ops->build(&m->opt, g, &inner);
}

static void a_method_builds_around_its_model(void **state)
{
    (void)state;
    pf_method m = method();
    pf_method_ops around = *m.ops;
    const pf_model model = {.ops = &adder};
    double x[4] = {0.5, -1, 2, 0}, s[4], t = 0.3, mean, std;
    float none[1] = {0};
    pf_net *n = NULL;
    pf_score f;
    around.build = twice;
    m.ops = &around;
    read_port = "log_snr";
    must(pf_net_create(&model, &m, &plain, &n));
    must(pf_net_set_params(n, none));
    must(pf_net_score(n, &(pf_view_opt){.batch = 1}, &f));
    must(f.eval(f.self, 1, &t, x, s));
    pf_sde_marginal(n->sde, t, &mean, &std);
    for (int i = 0; i < 4; i++) {
        double want = -(2.0 * x[i] + 4.0 * log(mean / std)) / std;
        assert_near(s[i], want, 1e-6 * (1.0 + fabs(want)));
    }
    pf_score_free(&f);
    pf_net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_reads_the_input_it_asks_for),
        cmocka_unit_test(what_is_not_offered_is_named),
        cmocka_unit_test(a_method_builds_around_its_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
