/* Laws of the bound of a trained chain as a view shows it: which steps are kept, whether predictions are cut. */
#include "nets.h"

#include <probflow/estimand.h>

#include <math.h>
#include <string.h>

enum { D = 6, T = 12, B = 4, BANDS = 10, COLUMNS = 10 + BANDS };
enum { PRIOR = 3, DIFFUSION, DECODER, VLB, VARIANCE, EVALUATIONS, BAND };

static const pf_space space = {.kind = PF_LEVELS, .shape = {1, 1, D}, .levels = 16};
static unsigned char pixels[B * D];
static pf_net *chain_net;
static float *params;

/* A chain of T steps from 0.01 to 0.3 whose network has random parameters, or with zeros returns 0. */
static void open_net(int zeros)
{
    static const char *const set[] = {"steps",    "12",  "beta_start", "0.01",
                                      "beta_end", "0.3", "variance",   "fixed_small"};
    pf_model m = model("mlp", "width=8;depth=1;embed=8");
    pf_method method;
    must(pf_method_init("ddpm", &method));
    for (int i = 0; i < 8; i += 2)
        must(pf_opt_set(method.ops->opts, "method", set[i], set[i + 1], &method.opt));
    must(pf_net_create(&m, &method, &space, &chain_net));
    params = random_params(chain_net);
    if (zeros) memset(params, 0, chain_net->floats * sizeof *params);
    must(pf_net_set_params(chain_net, params));
    for (int i = 0; i < B * D; i++) pixels[i] = (unsigned char)(i * 7 % 16);
}

static void close_net(void)
{
    pf_net_free(chain_net);
    pf_free(params);
}

static pf_likelihood_opt options(int draws)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.estimand = PF_VLB;
    o.draws = draws;
    return o;
}

/* cells [draws*B,COLUMNS] of the chain that these words of clip and respacing choose. */
static void score(const pf_likelihood_opt *o, pf_clip clip, const char *respacing,
                  double *cells)
{
    const pf_view_opt how = {.batch = B, .clip = clip, .respacing = respacing};
    const pf_group g = {.B = B, .space = space, .pixels = pixels};
    pf_chain chain = {0};
    const pf_view v = {.chain = &chain};
    must(pf_net_chain(chain_net, &how, &chain));
    must(pf_likelihood_group(&v, o, &g, cells));
    pf_chain_free(&chain);
}

static void a_chain_of_all_steps_is_the_chain(void **state)
{
    (void)state;
    double whole[B * COLUMNS], all[B * COLUMNS];
    pf_likelihood_opt o = options(1);
    open_net(0);
    score(&o, PF_CLIP_METHOD, NULL, whole);
    score(&o, PF_CLIP_METHOD, "12", all);
    assert_memory_equal(whole, all, sizeof all);
    score(&o, PF_CLIP_METHOD, "6,6", all);
    assert_memory_equal(whole, all, sizeof all);
    assert_true(whole[EVALUATIONS] == T);
    o.terms = 4;
    score(&o, PF_CLIP_METHOD, "", whole);
    score(&o, PF_CLIP_YES, "12", all); /* the method's own default is to clip */
    assert_memory_equal(whole, all, sizeof all);
    close_net();
}

static void clipping_is_another_number(void **state)
{
    (void)state;
    double yes[B * COLUMNS], no[B * COLUMNS];
    pf_likelihood_opt o = options(1);
    open_net(0);
    score(&o, PF_CLIP_YES, NULL, yes);
    score(&o, PF_CLIP_NO, NULL, no);
    for (int b = 0; b < B; b++) {
        const double *p = yes + b * COLUMNS, *q = no + b * COLUMNS;
        assert_true(p[PRIOR] == q[PRIOR] && p[DIFFUSION] < q[DIFFUSION] && p[VLB] != q[VLB]);
    }
    close_net();
}

/* A network that predicts no noise, without clipping: with a_i = abar_i of the kept steps and btilde_i the
 * variance of the posterior and of the model,
 *     E KL_i = D c1_i^2 (1 - a_i)/a_i / (2 btilde_i),   KL(q(x_T) || N(0, 1)) as it stands,
 * where c1_i = sqrt(a_(i-1)) b_i/(1 - a_i), btilde_i = b_i (1 - a_(i-1))/(1 - a_i), b_i = 1 - a_i/a_(i-1). */
static void a_respaced_bound_is_that_of_the_kept_steps(void **state)
{
    (void)state;
    enum { J = 3000, KEPT = 4 };
    static const int keep[KEPT] = {0, 4, 7, 11}; /* steps of 11/3, rounded */
    static double cells[J * B * COLUMNS];
    pf_likelihood_opt o = options(J);
    double a[T], sum = 0.0, mean = 0.0, square = 0.0, product = 1.0;
    for (int i = 0; i < T; i++) a[i] = product *= 1.0 - (0.01 + 0.29 * i / (T - 1));
    open_net(1);
    score(&o, PF_CLIP_NO, "4", cells);
    for (int j = 1; j < KEPT; j++) {
        double p = a[keep[j - 1]], q = a[keep[j]], b = 1.0 - q / p,
               c1 = sqrt(p) * b / (1.0 - q);
        sum += c1 * c1 * (1.0 - q) / q / (2.0 * b * (1.0 - p) / (1.0 - q)) / M_LN2;
    }
    for (int r = 0; r < J * B; r++) {
        const double *c = cells + r * COLUMNS;
        double prior = 0.0, last = a[T - 1];
        for (int d = 0; d < D; d++) {
            double x = 2.0 * pixels[r % B * D + d] / 15.0 - 1.0;
            prior += 0.5 * (last * x * x + 1.0 - last - 1.0 - log(1.0 - last)) / (D * M_LN2);
        }
        assert_true(fabs(c[PRIOR] - prior) < 1e-12 && c[EVALUATIONS] == KEPT);
        mean += c[DIFFUSION] / (J * B);
        square += c[DIFFUSION] * c[DIFFUSION] / (J * B);
    }
    assert_true(fabs(mean - sum) < 4.0 * sqrt((square - mean * mean) / (J * B)));
    close_net();
}

/* What defines a result names both, and nothing while they are at their defaults. */
static void the_text_names_what_is_chosen(void **state)
{
    (void)state;
    static const char *const keys[] = {"clip", "respacing"};
    static const char *const values[] = {"no", "250"};
    for (int i = 0; i < 2; i++) {
        pf_likelihood_opt o = options(1), back = o;
        pf_text t = {0};
        char want[64];
        must(pf_config_write(&t, "likelihood", NULL, pf_likelihood_opts, &o));
        assert_null(strstr(t.s, keys[i]));
        pf_free(t.s);
        t = (pf_text){0};
        must(pf_opt_set(pf_likelihood_opts, "likelihood", keys[i], values[i], &o));
        must(pf_config_write(&t, "likelihood", NULL, pf_likelihood_opts, &o));
        snprintf(want, sizeof want, "  %s: %s\n", keys[i], values[i]);
        assert_non_null(strstr(t.s, want));
        pf_config *c = NULL;
        must(pf_config_parse(t.s, "text", &c));
        must(pf_config_section(c, "likelihood", pf_likelihood_opts, &back));
        assert_true(back.clip == o.clip && !strcmp(back.respacing, o.respacing));
        pf_config_free(c);
        pf_free(t.s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_of_all_steps_is_the_chain),
        cmocka_unit_test(clipping_is_another_number),
        cmocka_unit_test(a_respaced_bound_is_that_of_the_kept_steps),
        cmocka_unit_test(the_text_names_what_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
