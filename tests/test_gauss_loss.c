/* Losses of chains of Gaussians: their parts, weights and gradients. */
#include "gauss_rig.h"

/* Three entries, the outer ones at the ends of the grid. */
enum { N = 3 };
typedef struct trial {
    pf_gauss_at a;
    double x0[N], z[N], xi[N], net[N], variance[N], grad[N], grad_variance[N];
    pf_gauss_sums sums;
} trial;

static double cost(trial *t, int with_gradient)
{
    const pf_gauss_seen s = {t->x0, t->xi, t->z};
    const pf_gauss_net out = {t->net, pf_gauss_learns(t->a.opt.variance) ? t->variance : NULL};
    const pf_gauss_slope d = {t->grad, t->grad_variance};
    return pf_gauss_loss(&t->a, N, &s, &out, with_gradient ? &d : NULL, &t->sums);
}

/* Of a loss with respect to one number. */
static double difference(trial *t, double *of)
{
    double kept = *of, h = 1e-5, side[2];
    for (int k = 0; k < 2; k++) {
        *of = kept + (k ? h : -h);
        side[k] = cost(t, 0);
    }
    *of = kept;
    return (side[1] - side[0]) / (2.0 * h);
}

static trial trial_of(const pf_gauss *g, const pf_gauss_opt *o, int i)
{
    trial t = {.a = pf_gauss_index(g, o, i),
               .x0 = {-1.0, 51.0 / 255.0, 1.0},
               .z = {0.7, -1.1, 0.2},
               .net = {0.5, -0.9, 0.3},
               .variance = {-0.4, 0.3, 1.2}};
    pf_gauss_noised(&t.a, N, t.x0, t.z, t.xi);
    if (o->predicts == PF_PREDICTS_MEAN) pf_gauss_posterior(&t.a, N, t.x0, t.xi, t.net);
    for (int j = 0; j < N; j++) {
        if (o->predicts == PF_PREDICTS_MEAN) t.net[j] += 0.1 * t.z[j];
        if (o->variance == PF_VARIANCE_LEARNED) t.variance[j] += t.a.log_variance;
    }
    return t;
}

/* Of every loss with respect to all that a network returns, at index 0 with the decoder.  The mean is held fixed
 * in the bound behind simple, so there its gradient is that of the squares alone. */
static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-3, 0.1, 60);
    for (int c = 0; c < 4 * 4 * 4 * 4; c++) {
        const pf_gauss_opt o = {.predicts = (pf_predicts)(c % 4),
                                .variance = (pf_variance)(c / 4 % 4),
                                .loss = (pf_gauss_loss_kind)(c / 16 % 4),
                                .weight = c % 4 == PF_PREDICTS_MEAN ? PF_WEIGHT_NONE
                                                                    : PF_WEIGHT_MIN_SNR,
                                .gamma = 2.0,
                                .decoder = {c / 64 & 1 ? PF_CDF_EXACT : PF_CDF_TANH, 256}};
        int learns = pf_gauss_learns(o.variance);
        trial t = trial_of(g, &o, c / 128 ? 23 : 0), plain = t;
        int squares = o.loss == PF_LOSS_SIMPLE || o.loss == PF_LOSS_RESCALED_SIMPLE;
        plain.a.nats = 0.0;
        (void)cost(&t, 1);
        (void)cost(&plain, 1);
        assert_true((t.sums.squares > 0.0) == squares);
        assert_true((t.sums.nats != 0.0) == (learns || !squares));
        for (int j = 0; j < N; j++) {
            double mean = difference(squares ? &plain : &t, &(squares ? &plain : &t)->net[j]);
            assert_near(t.grad[j], mean, 2e-6 * fmax(1.0, fabs(mean)));
            if (squares) assert_near(t.grad[j], plain.grad[j], 0.0);
            if (!learns) continue;
            double variance = difference(&t, &t.variance[j]);
            assert_near(t.grad_variance[j], variance, 2e-6 * fmax(1.0, fabs(variance)));
            assert_near(plain.grad_variance[j], 0.0, squares ? 0.0 : INFINITY);
        }
    }
    pf_gauss_free(g);
}

static void losses_are_the_bound_and_squares_as_they_are_weighed(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-3, 0.1, 60);
    const double want[4][2] = {{1.0, 1.0}, {0.0, 1.0}, {1.0, 60.0 / 1000.0}, {0.0, 60.0}};
    for (int k = 0; k < 8; k++) {
        int kind = k % 4, squared = want[kind][0] != 0.0;
        double share = k < 4 ? 1.0 : 0.001; /* of the bound, beside squares */
        const pf_gauss_opt o = {.variance = PF_VARIANCE_LEARNED_RANGE,
                                .loss = (pf_gauss_loss_kind)kind,
                                .vb_weight = k < 4 ? 0.0 : share,
                                .decoder = {PF_CDF_EXACT, 256}};
        trial t = trial_of(g, &o, 12);
        double loss = cost(&t, 0) / t.a.unit;
        double squares = 0.0, bits = t.sums.nats / M_LN2;
        for (int j = 0; j < N; j++) squares += (t.net[j] - t.z[j]) * (t.net[j] - t.z[j]);
        assert_near(loss,
                    want[kind][0] * squares + (squared ? share : 1.0) * want[kind][1] * bits,
                    1e-12 * loss);
    }
    pf_gauss_free(g);
}

/* With the same data predicted, the loss is the weight of their squares, whatever the network returns. */
static void weights_make_losses_of_the_data(void **state)
{
    (void)state;
    const int asked[] = {PF_PREDICTS_NOISE, PF_PREDICTS_DATA, PF_PREDICTS_V};
    pf_gauss *g = chain(PF_SCHEDULE_COSINE, 0.0, 0.0, 40);
    const double x0 = -0.3, z = 0.8, wrong = 0.1;
    for (int k = 0; k < 6 * g->T; k++) {
        const pf_gauss_opt o = {.predicts = (pf_predicts)asked[k % 3],
                                .weight = k / 3 % 2 ? PF_WEIGHT_MIN_SNR : PF_WEIGHT_SNR,
                                .gamma = 3.0};
        pf_gauss_at a = pf_gauss_index(g, &o, k / 6);
        double snr = g->abar[a.i] / g->noise[a.i], w = k / 3 % 2 ? fmin(snr, 3.0) : snr, xi;
        pf_gauss_sums sums;
        pf_gauss_noised(&a, 1, &x0, &z, &xi);
        double net = (wrong - a.from_x * xi) / a.from_net,
               squares = (wrong - x0) * (wrong - x0);
        const pf_gauss_seen s = {&x0, &xi, &z};
        const pf_gauss_net out = {&net, NULL};
        double loss = pf_gauss_loss(&a, 1, &s, &out, NULL, &sums);
        assert_near(loss / (w * squares), 1.0, 1e-9);
        if (o.predicts == PF_PREDICTS_NOISE && !(k / 3 % 2)) assert_near(a.squares, 1.0, 0.0);
    }
    pf_gauss_free(g);
    g = chain(PF_SCHEDULE_JSD, 0.0, 0.0, 20); /* at pure noise a weight is 0, not none */
    const pf_gauss_opt o = {.predicts = PF_PREDICTS_V,
                            .variance = PF_VARIANCE_LEARNED_RANGE,
                            .weight = PF_WEIGHT_SNR,
                            .decoder = {PF_CDF_EXACT, 256}};
    trial t = trial_of(g, &o, 19);
    (void)cost(&t, 1);
    assert_near(t.a.squares, 0.0, 0.0);
    for (int j = 0; j < N; j++) assert_true(t.grad[j] == 0.0 && t.grad_variance[j] != 0.0);
    pf_gauss_free(g);
}

/* Whatever a network says of the variance, a loss is a number or infinite, and finite where the variance is. */
static void wild_variances_give_no_nan(void **state)
{
    (void)state;
    const double wild[] = {-1e8, -1e5, -1e3, -300.0, 300.0, 1e3, 1e5, 1e8};
    for (int c = 0; c < 8 * 2 * 2 * 3; c++) {
        pf_gauss *g = chain(PF_SCHEDULE_COSINE, 0.0, 0.0, 30);
        const int at[] = {0, 11, 29};
        const pf_gauss_opt o = {.variance =
                                    c / 8 & 1 ? PF_VARIANCE_LEARNED : PF_VARIANCE_LEARNED_RANGE,
                                .loss = PF_LOSS_KL,
                                .decoder = {c / 16 & 1 ? PF_CDF_TANH : PF_CDF_EXACT, 256}};
        trial t = trial_of(g, &o, at[c / 32]);
        double v = wild[c % 8];
        for (int j = 0; j < N; j++) t.variance[j] = v;
        double loss = cost(&t, 1);
        assert_false(isnan(loss));
        if (fabs(v) <= 300.0) assert_true(isfinite(loss));
        if (!t.a.i && o.decoder.cdf == PF_CDF_TANH) /* each probability is at least 1e-12 */
            for (int j = 0; j < N; j++) assert_true(isfinite(loss) && isfinite(t.grad[j]));
        pf_gauss_free(g);
    }
}

static void pure_noise_has_a_learned_range_too(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_JSD, 0.0, 0.0, 20);
    for (int p = PF_PREDICTS_DATA; p <= PF_PREDICTS_V; p++) {
        const pf_gauss_opt o = {.predicts = (pf_predicts)p,
                                .variance = PF_VARIANCE_LEARNED_RANGE,
                                .loss = PF_LOSS_KL,
                                .decoder = {PF_CDF_EXACT, 256}};
        trial t = trial_of(g, &o, 19);
        for (int j = 0; j < N; j++) t.variance[j] = 1.0;
        assert_true(isfinite(cost(&t, 1)) && isfinite(t.grad[0]));
        assert_near(t.a.from + t.a.range, 0.0, 0.0); /* beta is 1 */
    }
    pf_gauss_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(losses_are_the_bound_and_squares_as_they_are_weighed),
        cmocka_unit_test(weights_make_losses_of_the_data),
        cmocka_unit_test(wild_variances_give_no_nan),
        cmocka_unit_test(pure_noise_has_a_learned_range_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
