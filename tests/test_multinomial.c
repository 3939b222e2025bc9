/* Laws of multinomial diffusion: kernels, the bound against the exact probability, steps, gradients, padding. */
#include "method/multinomial.h"

#include "categories.h"

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
        categories_logits(c, K, STATES, i, z);
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
        assert_near(categories_found(&c, 400), expected, 0.02 * expected);
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
