/* Laws of the binomial diffusion of 2015: kernels, the bound against the exact probability, steps, gradients. */
#include "nets.h"

#include "method/sohl2015_binomial.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

enum { L = 4, STATES = 1 << L, T = 6 };
static const pf_space bits = {.kind = PF_LEVELS, .shape = {1, 1, L}, .levels = 2};

static pf_method method_with(const char *predicts)
{
    pf_method m;
    must(pf_method_init("sohl2015_binomial", &m));
    must(pf_opt_set(m.ops->opts, "method", "steps", "6", &m.opt));
    must(pf_opt_set(m.ops->opts, "method", "predicts", predicts, &m.opt));
    return m;
}

static void steps_compose_to_the_marginal(void **state)
{
    (void)state;
    for (int x = 0; x < 2; x++) {
        double p = x;
        for (int t = 1; t <= 50; t++) {
            double b = pf_bits_beta(50, t);
            p = p * (1.0 - b) + 0.5 * b;
            assert_near(p, pf_bits_noised(pf_bits_kept(50, t), x), 1e-14);
        }
        assert_true(p == 0.5);
    }
}

/* sum over x_t of q(x_t | x_0) q(x_(t-1) | x_t, x_0) = q(x_(t-1) | x_0) */
static void posteriors_average_to_the_marginal(void **state)
{
    (void)state;
    for (int t = 2; t <= 9; t++)
        for (int x = 0; x < 2; x++) {
            double one = pf_bits_noised(pf_bits_kept(9, t), x);
            double got = one * pf_bits_posterior(9, t, 1, x) +
                         (1.0 - one) * pf_bits_posterior(9, t, 0, x);
            assert_near(got, pf_bits_noised(pf_bits_kept(9, t - 1), x), 1e-14);
        }
}

static void a_sure_prediction_of_the_datum_is_the_posterior(void **state)
{
    (void)state;
    for (int t = 2; t <= T; t++)
        for (int k = 0; k < 4; k++) {
            const int b[2] = {k & 1, k >> 1};
            double slope;
            assert_near(pf_bits_reverse(PF_BITS_DATA, T, t, b[0], b[1] ? 60.0 : -60.0),
                        pf_bits_posterior(T, t, b[0], b[1]), 1e-14);
            assert_near(pf_bits_kl(PF_BITS_DATA, T, t, b, b[1] ? 60.0 : -60.0, &slope), 0.0,
                        1e-14);
            /* sure and wrong, of either kind, costs a finite amount */
            for (int w = 0; w < 2; w++)
                assert_true(isfinite(pf_bits_kl((pf_bits_predicts)w, T, t, b, 900.0, &slope)) &&
                            isfinite(slope));
        }
}

/* ---- a network of its own, against all states ---- */

static pf_net *net;
static float *params;
static pf_chain chain;

static void open_chain(const char *predicts)
{
    pf_model mlp = model("mlp", "width=8;depth=1;embed=8");
    pf_method m = method_with(predicts);
    const pf_view_opt view = {.batch = STATES};
    must(pf_net_create(&mlp, &m, &bits, &net));
    params = random_params(net);
    must(pf_net_set_params(net, params));
    must(pf_net_chain(net, &view, &chain));
    assert_true(chain.steps == T && chain.dim == L);
}

static void close_chain(void)
{
    pf_chain_free(&chain);
    pf_net_free(net);
    pf_free(params);
}

/* All states, and the network's logits of them at t. */
static void logits(int t, float *out)
{
    const pf_bits *m = net->self;
    pf_inputs inputs;
    pf_run run = {0};
    pf_plan *plan;
    const pf_plan_opt o = {.batch = STATES};
    void *in[PF_PORTS_MAX];
    must(pf_inputs_create(net, STATES, &inputs));
    pf_inputs_run(&inputs, &run);
    pf_net_ports(net, &inputs, in);
    for (int s = 0; s < STATES; s++) {
        unsigned char x[L];
        for (int i = 0; i < L; i++) x[i] = s >> i & 1;
        pf_bits_show(m, s, t, x, in);
    }
    must(pf_plan_create(net->graph, &o, &plan));
    must(pf_plan_set_params(plan, net->params));
    must(pf_plan_forward(plan, &run, out));
    pf_plan_free(plan);
    pf_inputs_free(&inputs);
}

static double chance(const double *one, int s)
{
    double p = 1.0;
    for (int i = 0; i < L; i++) p *= s >> i & 1 ? one[i] : 1.0 - one[i];
    return p;
}

/* p [STATES] of the data, exactly; kl [T+1][STATES,STATES] of x_t and x_0. */
static void enumerate(pf_bits_predicts what, double *p, double (*kl)[STATES * STATES])
{
    float z[STATES * L];
    double next[STATES], one[L];
    for (int s = 0; s < STATES; s++) p[s] = 1.0 / STATES;
    for (int t = T; t >= 1; t--) {
        memset(next, 0, sizeof next);
        if (t > 1) logits(t, z);
        for (int s = 0; s < STATES; s++) {
            for (int i = 0; i < L; i++)
                one[i] = t == 1 ? pf_bits_noised(pf_bits_kept(T, 1), s >> i & 1)
                                : pf_bits_reverse(what, T, t, s >> i & 1, (double)z[s * L + i]);
            for (int r = 0; r < STATES; r++) next[r] += p[s] * chance(one, r);
            for (int x0 = 0; t > 1 && x0 < STATES; x0++)
                for (int i = 0; i < L; i++) {
                    const int b[2] = {s >> i & 1, x0 >> i & 1};
                    kl[t][s * STATES + x0] +=
                        pf_bits_kl(what, T, t, b, (double)z[s * L + i], NULL);
                }
        }
        memcpy(p, next, sizeof next);
    }
}

/* In expectation over q, of each datum; and the chain's terms, averaged over draws, are those expectations. */
static void the_bound_is_below_the_exact_probability(void **state)
{
    (void)state;
    enum { DRAWS = 400 };
    for (int w = 0; w < 2; w++) {
        static double kl[T + 1][STATES * STATES];
        double p[STATES], one[L], total = 0.0, found = 0.0, nats[STATES];
        memset(kl, 0, sizeof kl);
        open_chain(w == PF_BITS_DATA ? "data" : "before");
        enumerate((pf_bits_predicts)w, p, kl);
        for (int x0 = 0; x0 < STATES; x0++) {
            double k = -L * pf_bits_decoder(T);
            for (int t = 2; t <= T; t++)
                for (int s = 0; s < STATES; s++) {
                    for (int i = 0; i < L; i++)
                        one[i] = pf_bits_noised(pf_bits_kept(T, t), x0 >> i & 1);
                    k -= chance(one, s) * kl[t][s * STATES + x0];
                }
            assert_true(k <= log(p[x0]) + 1e-12);
            total += k;
        }
        uint8_t data[STATES * L];
        uint64_t sample[STATES];
        for (int j = 0; j < STATES * L; j++) data[j] = j / L >> j % L & 1;
        for (int s = 0; s < STATES; s++) sample[s] = (uint64_t)s;
        for (int d = 0; d < DRAWS; d++)
            for (int i = 0; i <= T; i++) {
                int at[STATES];
                const pf_batch b = {.space = &bits,
                                    .B = STATES,
                                    .total = STATES,
                                    .k = data,
                                    .sample = sample,
                                    .seed = 2,
                                    .step = (uint32_t)d,
                                    .eval = 1};
                for (int s = 0; s < STATES; s++) at[s] = i;
                must(chain.term(chain.self, &b, at, nats));
                for (int s = 0; s < STATES; s++) found -= nats[s] / DRAWS;
            }
        assert_near(found, total, 0.02 * fabs(total));
        close_chain();
    }
}

static void samples_follow_the_exact_probabilities(void **state)
{
    (void)state;
    enum { N = 1000 * STATES };
    static double kl[T + 1][STATES * STATES];
    double p[STATES], x[STATES * L], out[STATES * L], count[STATES] = {0}, chi = 0.0;
    const pf_move how = {.kind = PF_MOVE_ANCESTRAL};
    open_chain("before");
    enumerate(PF_BITS_BEFORE, p, kl);
    for (int n = 0; n < N; n += STATES) {
        uint64_t sample[STATES];
        for (int s = 0; s < STATES; s++) sample[s] = (uint64_t)(n + s);
        const pf_batch b = {.space = &bits,
                            .B = STATES,
                            .total = STATES,
                            .sample = sample,
                            .seed = 4,
                            .eval = 1};
        must(chain.prior(chain.self, &b, x));
        for (int i = T; i > 0; i--) must(chain.step(chain.self, &b, &how, i, x, NULL));
        must(chain.datum(chain.self, STATES, x, out));
        for (int s = 0; s < STATES; s++) {
            int number = 0;
            for (int i = 0; i < L; i++) {
                assert_true(out[s * L + i] == 1.0 || out[s * L + i] == -1.0);
                number |= (out[s * L + i] > 0.0) << i;
            }
            count[number]++;
        }
    }
    for (int s = 0; s < STATES; s++) chi += pow(count[s] - N * p[s], 2) / (N * p[s]);
    assert_true(chi < 45.0); /* 15 degrees of freedom: once in 10,000 */
    close_chain();
}

static void known_bits_stay(void **state)
{
    (void)state;
    const double known[2 * L] = {1, -1, 1, 1, -1, -1, 1, -1};
    const unsigned char mask[L] = {1, 0, 1, 1};
    const uint64_t sample[2] = {1, 2};
    const pf_batch b = {
        .space = &bits, .B = 2, .total = 2, .sample = sample, .seed = 4, .eval = 1};
    pf_move how = {.kind = PF_MOVE_ANCESTRAL, .known = known, .mask = mask};
    double x[2 * L], x0[2 * L], out[2 * L];
    open_chain("data");
    must(chain.prior(chain.self, &b, x));
    for (int i = T; i > 0; i--) must(chain.step(chain.self, &b, &how, i, x, x0));
    assert_memory_equal(x, x0, sizeof x);
    must(chain.datum(chain.self, 2, x, out));
    for (int j = 0; j < 2 * L; j++) assert_true(!mask[j % L] || out[j] == known[j]);
    how.known_std = 0.5;
    assert_int_equal(chain.step(chain.self, &b, &how, 3, x, NULL), PF_EARG);
    close_chain();
}

static void gradients_of_logits_are_those_of_finite_differences(void **state)
{
    (void)state;
    enum { B = 5 };
    for (int w = 0; w < 2; w++) {
        pf_method m = method_with(w ? "data" : "before");
        void *self;
        float x[B * L], seen[B * L], z[B * L], gout[B * L];
        uint64_t sample[B] = {3, 4, 5, 6, 7};
        double loss[B], side[2], h = 1.0 / 256;
        must(m.ops->open(&m.opt, &bits, &self));
        for (int j = 0; j < B * L; j++) x[j] = j * 7 % 3 ? 1.0f : -1.0f;
        for (int j = 0; j < B * L; j++) z[j] = (float)(j * 5 % 9 - 4) / 2.0f;
        char *scratch = pf_zalloc(B * m.ops->scratch(self));
        void *in[PF_TOLD] = {seen};
        const pf_batch b = {
            .space = &bits, .B = B, .total = B, .x = x, .sample = sample, .seed = 1};
        m.ops->see(self, &b, scratch, in);
        for (int j = 0; j < B * L; j++) assert_true(seen[j] == 1.0f || seen[j] == -1.0f);
        m.ops->loss(self, &b, scratch, z, 3.0, loss, gout);
        for (int j = 0; j < B * L; j++) {
            float kept = z[j];
            for (int e = 0; e < 2; e++) {
                z[j] = kept + (float)(e ? h : -h);
                m.ops->loss(self, &b, scratch, z, 3.0, loss, NULL);
                side[e] = loss[j / L];
            }
            z[j] = kept;
            double want = 3.0 * (side[1] - side[0]) / (2.0 * h);
            assert_near((double)gout[j], want, 1e-4 * fabs(want) + 1e-6);
        }
        pf_free(scratch);
        m.ops->close(self);
    }
}

static void other_data_than_bits_are_refused(void **state)
{
    (void)state;
    const pf_space bytes = {.kind = PF_LEVELS, .shape = {1, 1, L}, .levels = 256};
    pf_method m = method_with("data");
    void *self = NULL;
    assert_int_equal(m.ops->open(&m.opt, &bytes, &self), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "these data have 256 levels"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_compose_to_the_marginal),
        cmocka_unit_test(posteriors_average_to_the_marginal),
        cmocka_unit_test(a_sure_prediction_of_the_datum_is_the_posterior),
        cmocka_unit_test(the_bound_is_below_the_exact_probability),
        cmocka_unit_test(samples_follow_the_exact_probabilities),
        cmocka_unit_test(known_bits_stay),
        cmocka_unit_test(gradients_of_logits_are_those_of_finite_differences),
        cmocka_unit_test(other_data_than_bits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
