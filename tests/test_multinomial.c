/* Laws of multinomial diffusion: kernels, the bound against the exact probability, steps, gradients, padding. */
#include "method/multinomial.h"

#include "categories.h"

/* ---- rows of logits, draws ---- */

static void cross_entropies_of_wide_rows_are_exact_in_their_tails(void **state)
{
    (void)state;
    enum { WIDE = 50258 };
    double *z = pf_zalloc(2 * WIDE * sizeof *z), *g = z + WIDE;
    float *f = pf_zalloc(2 * WIDE * sizeof *f);
    assert_true(z && f);
    /* all alike, far from 0 */
    for (int k = 0; k < WIDE; k++) z[k] = f[k] = 1000.0f;
    assert_near(
        pf_cat_cross_entropy(WIDE, (pf_cat_row){.d = z}, 7, 1.0, (pf_cat_slope){.d = g}),
        log(WIDE), 1e-12);
    for (int k = 0; k < WIDE; k++) assert_near(g[k], 1.0 / WIDE - (k == 7), 1e-15);
    assert_near(
        pf_cat_cross_entropy(WIDE, (pf_cat_row){.f = f}, 7, 1.0, (pf_cat_slope){.f = f + WIDE}),
        log(WIDE), 1e-12);
    for (int k = 0; k < WIDE; k++)
        assert_near((double)f[WIDE + k], 1.0 / WIDE - (k == 7), 1e-7);
    /* sure and right: what is left of 1 - p; sure and wrong: finite */
    for (int k = 0; k < WIDE; k++) z[k] = k ? 0.0 : 50.0;
    double left = (WIDE - 1) * exp(-50.0);
    assert_near(
        pf_cat_cross_entropy(WIDE, (pf_cat_row){.d = z}, 0, 1.0, (pf_cat_slope){.d = g}), left,
        1e-15);
    assert_near(g[0], -left, 1e-15);
    z[0] = 1e6;
    assert_near(
        pf_cat_cross_entropy(WIDE, (pf_cat_row){.d = z}, 1, 1.0, (pf_cat_slope){.d = g}), 1e6,
        1e-6);
    pf_free(z);
    pf_free(f);
}

static void uniform_numbers_are_neither_0_nor_1_and_do_not_depend_on_pieces(void **state)
{
    (void)state;
    enum { N = 300 };
    const pf_draw d = {.seed = 3, .stream = PF_STREAM_TEST, .sample = 8};
    double u[N], v[N];
    pf_cat_uniform(&d, 0, N, u);
    pf_cat_uniform(&d, 0, 7, v);
    pf_cat_uniform(&d, 7, N - 7, v + 7);
    assert_memory_equal(u, v, sizeof u);
    for (int i = 0; i < N; i++) {
        assert_true(u[i] > 0.0 && u[i] < 1.0);
        assert_true(u[i] ==
                    pf_draw_uniform_f64(&d, (size_t)i)); /* 53 bits, unless they are 0 */
    }
}

/* Chances down to 1e-4: floats of 24 bits draw the likely ones too often. */
static void draws_have_the_chances_of_their_logits(void **state)
{
    (void)state;
    enum { WAYS = 6, N = 400000 };
    const double p[WAYS] = {0.9, 0.09, 0.009, 0.0007, 0.0002, 0.0001};
    double log_p[WAYS], u[WAYS], count[WAYS] = {0}, chi = 0.0;
    const pf_draw d = {.seed = 5, .stream = PF_STREAM_TEST, .sample = 1};
    for (int k = 0; k < WAYS; k++) log_p[k] = log(p[k]) + 17.0; /* up to a factor */
    for (int n = 0; n < N; n++) {
        pf_cat_uniform(&d, (size_t)n * WAYS, WAYS, u);
        count[pf_cat_draw(WAYS, log_p, u)]++;
    }
    for (int k = 0; k < WAYS; k++) chi += pow(count[k] - N * p[k], 2) / (N * p[k]);
    if (!(chi < 25.7)) fail_msg("chi^2 %g", chi); /* 5 degrees of freedom: once in 10,000 */
    for (int k = 0; k < WAYS; k++) assert_int_equal(pf_cat_even(WAYS, (k + 0.5) / WAYS), k);
    assert_int_equal(pf_cat_even(WAYS, 1.0 - 0x1p-53), WAYS - 1);
}

/* ---- kernels ---- */

static void steps_compose_to_the_marginal(void **state)
{
    (void)state;
    enum { K = 5, T = 40 };
    pf_multi_at at[T];
    double p[K] = {0.0, 0.0, 1.0}, next[K], log_q[K];
    pf_multi_table(T, K, at);
    for (int i = 0; i < T; i++) {
        memset(next, 0, sizeof next);
        for (int x = 0; x < K; x++) {
            pf_multi_step(&at[i], x, log_q);
            for (int k = 0; k < K; k++) next[k] += p[x] * exp(log_q[k]);
        }
        memcpy(p, next, sizeof p);
        pf_multi_noised(&at[i], 2, log_q);
        for (int k = 0; k < K; k++) assert_near(p[k], exp(log_q[k]), 1e-13);
    }
}

static void a_sure_prediction_of_the_datum_is_the_posterior(void **state)
{
    (void)state;
    enum { K = 4, T = 9 };
    pf_multi_at at[T];
    double z[K] = {-800.0, 0.0, -800.0, -800.0}, p[K], q[K];
    const pf_cat_slope none = {NULL, NULL};
    pf_multi_table(T, K, at);
    for (int i = 1; i < T; i++)
        for (int32_t xt = 0; xt < K; xt++) {
            const int32_t pair[2] = {xt, 1};
            pf_multi_reverse(PF_MULTI_DATA, &at[i], xt, (pf_cat_row){.d = z}, p);
            pf_multi_posterior(&at[i], xt, 1, q);
            for (int k = 0; k < K; k++) assert_near(exp(p[k]), exp(q[k]), 1e-14);
            assert_near(
                pf_multi_term(PF_MULTI_DATA, &at[i], pair, (pf_cat_row){.d = z}, 0.0, none),
                0.0, 1e-13);
        }
}

static void terms_are_the_divergence_of_both_steps(void **state)
{
    (void)state;
    enum { K = 6, T = 7 };
    pf_multi_at at[T];
    double z[K], p[K], q[K];
    pf_multi_table(T, K, at);
    normals(1, K, z);
    for (int w = 0; w < 2; w++)
        for (int i = 1; i < T; i++)
            for (int32_t n = 0; n < K * K; n++) {
                const int32_t pair[2] = {n % K, n / K};
                pf_multi_reverse((pf_multi_predicts)w, &at[i], pair[0], (pf_cat_row){.d = z},
                                 p);
                pf_multi_posterior(&at[i], pair[0], pair[1], q);
                assert_near(pf_multi_term((pf_multi_predicts)w, &at[i], pair,
                                          (pf_cat_row){.d = z}, 0.0,
                                          (pf_cat_slope){NULL, NULL}),
                            pf_cat_kl(K, q, p), 1e-12);
            }
}

/* ---- a network of its own, against all states ---- */

enum { T = 5 };

/* p [STATES] of the data, exactly; bound [STATES] in expectation over q. */
static void enumerate(const categories *c, pf_multi_predicts what, double *p, double *bound)
{
    const pf_multi *m = c->net->self;
    double next[STATES], log_p[L * K], q[K];
    float z[STATES * L * K];
    for (int s = 0; s < STATES; s++) {
        p[s] = 1.0 / STATES;
        bound[s] = -L * pf_multi_prior(&m->at[T - 1]);
    }
    for (int i = T; i-- > 0;) {
        memset(next, 0, sizeof next);
        categories_logits(c, K, STATES, pf_multi_cond(m, i), z);
        for (int s = 0; s < STATES; s++) {
            int32_t xt[L], x[L];
            categories_state(s, K, xt);
            for (int j = 0; j < L; j++)
                pf_multi_reverse(what, &m->at[i], xt[j], (pf_cat_row){.f = z + (s * L + j) * K},
                                 log_p + j * K);
            for (int r = 0; r < STATES; r++) {
                double chance = 0.0, from = 0.0, nats = 0.0;
                categories_state(r, K, x);
                for (int j = 0; j < L; j++) {
                    const int32_t pair[2] = {xt[j], x[j]};
                    pf_multi_noised(&m->at[i], x[j], q);
                    from += q[xt[j]];
                    chance += log_p[j * K + x[j]];
                    nats += pf_multi_term(what, &m->at[i], pair,
                                          (pf_cat_row){.f = z + (s * L + j) * K}, 0.0,
                                          (pf_cat_slope){NULL, NULL});
                }
                next[r] += p[s] * exp(chance);
                bound[r] -= exp(from) * nats;
            }
        }
        memcpy(p, next, sizeof next);
    }
}

static void the_bound_is_below_the_exact_probability(void **state)
{
    (void)state;
    for (int w = 0; w < 2; w++) {
        categories c;
        double p[STATES], bound[STATES], total = 0.0, expected = 0.0;
        categories_open("multinomial", w ? "steps=5;predicts=before" : "steps=5", &c);
        enumerate(&c, (pf_multi_predicts)w, p, bound);
        for (int s = 0; s < STATES; s++) {
            assert_true(bound[s] <= log(p[s]) + 1e-12);
            total += p[s];
            expected -= bound[s];
        }
        assert_near(total, 1.0, 1e-12);
        categories_find(&c, 400, expected);
        categories_close(&c);
    }
}

static void samples_follow_the_exact_probabilities(void **state)
{
    (void)state;
    categories c;
    double p[STATES], bound[STATES];
    categories_open("multinomial", "steps=5", &c);
    enumerate(&c, PF_MULTI_DATA, p, bound);
    categories_samples_follow(&c, p);
    categories_close(&c);
}

static void a_network_of_zeros_is_uniform(void **state)
{
    (void)state;
    categories c;
    categories_open("multinomial", "steps=5", &c);
    memset(c.params, 0, c.net->floats * sizeof *c.params);
    must(pf_net_set_params(c.net, c.params));
    categories_reopen(&c);
    double p[STATES], bound[STATES];
    enumerate(&c, PF_MULTI_DATA, p, bound);
    for (int s = 0; s < STATES; s++) assert_near(log(p[s]), -L * log(K), 1e-9);
    categories_close(&c);
}

static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    for (int w = 0; w < 4; w++)
        categories_slopes("multinomial",
                          w == 0   ? "steps=5"
                          : w == 1 ? "steps=5;predicts=before"
                          : w == 2 ? "steps=2"
                                   : "steps=2;predicts=before",
                          K, 1);
}

static void known_entries_stay(void **state)
{
    (void)state;
    categories_known("multinomial", "steps=5");
}

static void padding_costs_and_teaches_nothing(void **state)
{
    (void)state;
    categories_padding("multinomial", "steps=5");
    categories_padding("multinomial", "steps=5;predicts=before");
}

static void other_data_are_refused(void **state)
{
    (void)state;
    const pf_space one = {.kind = PF_TOKENS, .shape = {1, 1, L}, .levels = 1};
    pf_method m = categories_method("multinomial", "");
    void *self = NULL;
    assert_int_equal(m.ops->open(&m.opt, &one, &self), PF_EARG);
    assert_non_null(
        strstr(pf_error_message(), "two categories or more, and these data have 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropies_of_wide_rows_are_exact_in_their_tails),
        cmocka_unit_test(uniform_numbers_are_neither_0_nor_1_and_do_not_depend_on_pieces),
        cmocka_unit_test(draws_have_the_chances_of_their_logits),
        cmocka_unit_test(steps_compose_to_the_marginal),
        cmocka_unit_test(a_sure_prediction_of_the_datum_is_the_posterior),
        cmocka_unit_test(terms_are_the_divergence_of_both_steps),
        cmocka_unit_test(the_bound_is_below_the_exact_probability),
        cmocka_unit_test(samples_follow_the_exact_probabilities),
        cmocka_unit_test(a_network_of_zeros_is_uniform),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(known_entries_stay),
        cmocka_unit_test(padding_costs_and_teaches_nothing),
        cmocka_unit_test(other_data_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
