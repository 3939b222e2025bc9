/* Chains of Gaussians: laws of the tables, the terms and the decoder. */
#include "method/gauss.h"

#include <probflow/memory.h>
#include "checks.h"

static pf_gauss *chain(pf_schedule s, double b0, double b1, int T)
{
    double *beta = pf_zalloc((size_t)T * sizeof *beta);
    pf_gauss *g = NULL;
    must(pf_gauss_betas(s, b0, b1, T, beta));
    must(pf_gauss_create(T, beta, &g));
    pf_free(beta);
    return g;
}

static const int all[] = {PF_SCHEDULE_LINEAR, PF_SCHEDULE_QUAD,     PF_SCHEDULE_CONST,
                          PF_SCHEDULE_JSD,    PF_SCHEDULE_WARMUP10, PF_SCHEDULE_WARMUP50};
enum { N_SCHEDULES = sizeof all / sizeof *all };

static void schedules_keep_their_ends(void **state)
{
    (void)state;
    double b[50];
    for (int i = 0; i < N_SCHEDULES; i++) {
        int jsd = all[i] == PF_SCHEDULE_JSD, flat = all[i] == PF_SCHEDULE_CONST;
        must(pf_gauss_betas((pf_schedule)all[i], 1e-4, 0.02, 50, b));
        assert_near(b[0], jsd ? 1.0 / 50 : flat ? 0.02 : 1e-4, 1e-18);
        assert_near(b[49], jsd ? 1.0 : 0.02, 1e-17);
    }
    assert_near(b[24], 0.02, 0.0); /* warmup50 */
    assert_true(b[23] < 0.02);
    must(pf_gauss_betas(PF_SCHEDULE_WARMUP10, 1e-4, 0.02, 5, b)); /* no step is a tenth of 5 */
    assert_near(b[0], 0.02, 0.0);
}

static void chains_that_cannot_be_are_refused(void **state)
{
    (void)state;
    double b[50];
    pf_gauss *g = NULL;
    const struct {
        int schedule, T;
        double b0, b1;
    } bad[] = {{PF_SCHEDULE_LINEAR, 1, 1e-4, 0.02}, {PF_SCHEDULE_LINEAR, 20, 0.005, 1.0},
               {PF_SCHEDULE_LINEAR, 10, 0.01, 2.0}, {PF_SCHEDULE_QUAD, 10, 0.0, 0.02},
               {PF_SCHEDULE_CONST, 10, 0.5, 1.0},   {PF_SCHEDULE_CONST, 10, 0.5, NAN},
               {PF_SCHEDULE_JSD, 1, 1e-4, 0.02}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(
            pf_gauss_betas((pf_schedule)bad[i].schedule, bad[i].b0, bad[i].b1, bad[i].T, b),
            PF_EARG);
    assert_int_equal(pf_gauss_create(2, (double[]){1.0, 0.5}, &g), PF_EARG);
    assert_null(g);
}

static void tables_are_those_of_bayes(void **state)
{
    (void)state;
    for (int k = 0; k < N_SCHEDULES; k++) {
        pf_gauss *g = chain((pf_schedule)all[k], 1e-4, 0.02, 100);
        long double abar = 1.0L;
        for (int i = 0; i < g->T; i++) {
            /* precisions add up: of x_(i-1) given x_0, and of x_i given x_(i-1) */
            long double before = abar, b = g->beta[i];
            abar *= 1.0L - b;
            assert_near(g->abar[i], (double)abar, 1e-15);
            assert_near(g->noise[i] / (double)(1.0L - abar), 1.0, 1e-13);
            assert_near(pf_gauss_abar_before(g, i), (double)before, 1e-15);
            if (i) assert_near(pf_gauss_abar_after(g, i - 1), g->abar[i], 0.0);
            if (!i) continue;
            long double v =
                b == 1.0L ? 1.0L - before : 1.0L / (1.0L / (1.0L - before) + (1.0L - b) / b);
            assert_near(g->variance[i] / (double)v, 1.0, 1e-12);
            assert_near(g->c1[i], (double)(v * sqrtl(before) / (1.0L - before)), 1e-13);
            assert_near(g->c2[i], (double)(v * sqrtl(1.0L - b) / b), 1e-12);
        }
        assert_near(pf_gauss_abar_after(g, g->T - 1), 0.0, 0.0);
        assert_near(g->c1[0], 1.0, 1e-15);
        assert_near(g->c2[0], 0.0, 0.0);
        pf_gauss_free(g);
    }
}

static double information(const pf_gauss *g, double s, int i)
{
    return 0.5 * log1p(g->abar[i] * s * s / g->noise[i]);
}

/* E of term i over data N(0, s^2) and noise, with the best linear prediction of the noise and, where own is
 * set, that log variance.  The term is a quadratic of (x_0, z), which four points integrate exactly. */
static double expected_term(const pf_gauss *g, pf_variance v, const double *own, double s,
                            int i)
{
    pf_gauss_at a = pf_gauss_index(g, PF_PREDICTS_NOISE, v, i);
    double best = a.std / (g->abar[i] * s * s + g->noise[i]), sum = 0.0;
    if (own) a.log_variance = *own;
    for (int p = 0; p < 4; p++) {
        double x0 = p & 1 ? s : -s, z = p & 2 ? 1.0 : -1.0, xi, net, data, mean;
        pf_gauss_noised(&a, 1, &x0, &z, &xi);
        net = best * xi;
        pf_gauss_predict(&a, 0, 1, &xi, &net, &data, &mean);
        sum += 0.25 * pf_gauss_kl(&a, 1, &x0, &xi, &mean, NULL);
    }
    return sum;
}

static void terms_of_gaussian_data_telescope_for_any_schedule(void **state)
{
    (void)state;
    for (int k = 0; k < N_SCHEDULES; k++) {
        if (all[k] == PF_SCHEDULE_JSD) continue; /* its last step has no noise to predict */
        double s = 0.5, sum = 0.0;
        pf_gauss *g = chain((pf_schedule)all[k], 1e-4, 0.05, 200);
        for (int i = 1; i < g->T; i++) {
            double m = g->abar[i] * s * s + g->noise[i];
            double best = log(g->variance[i] + g->c1[i] * g->c1[i] * s * s * g->noise[i] / m);
            double term = expected_term(g, PF_VARIANCE_FIXED_SMALL, &best, s, i);
            assert_near(term, information(g, s, i - 1) - information(g, s, i), 1e-12);
            sum += term;
        }
        assert_near(sum, information(g, s, 0) - information(g, s, g->T - 1), 1e-10);
        pf_gauss_free(g);
    }
}

static void fixed_large_is_best_for_unit_data_and_fixed_small_for_none(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-4, 0.02, 1000);
    for (int i = 1; i < g->T; i += 37) {
        double large = expected_term(g, PF_VARIANCE_FIXED_LARGE, NULL, 1.0, i);
        assert_near(large, information(g, 1.0, i - 1) - information(g, 1.0, i), 1e-13);
        assert_true(large <= expected_term(g, PF_VARIANCE_FIXED_SMALL, NULL, 1.0, i));
        assert_near(expected_term(g, PF_VARIANCE_FIXED_SMALL, NULL, 0.0, i), 0.0, 1e-13);
        assert_true(expected_term(g, PF_VARIANCE_FIXED_LARGE, NULL, 0.0, i) > 0.0);
    }
    pf_gauss_free(g);
}

static void prior_is_small_for_long_chains_and_nothing_for_pure_noise(void **state)
{
    (void)state;
    double one = 1.0;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-4, 0.02, 1000);
    assert_near(g->abar[999], 4.035830e-5, 1e-11); /* of the published defaults */
    assert_near(pf_gauss_prior(g, 1, &one) / M_LN2, 2.9e-5, 5e-7);
    pf_gauss_free(g);
    g = chain(PF_SCHEDULE_JSD, 0.0, 0.0, 30);
    assert_near(pf_gauss_prior(g, 1, &one), 0.0, 0.0);
    pf_gauss_free(g);
}

static void every_prediction_of_the_truth_gives_the_truth(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-3, 0.1, 60);
    const double x0[2] = {0.3, -0.9}, z[2] = {1.2, -0.4};
    for (int i = 0; i < g->T; i++)
        for (int p = PF_PREDICTS_NOISE; p <= PF_PREDICTS_MEAN; p++) {
            pf_gauss_at a = pf_gauss_index(g, (pf_predicts)p, PF_VARIANCE_FIXED_SMALL, i);
            double xi[2], net[2], data[2], mean[2], q[2], back[2];
            pf_gauss_noised(&a, 2, x0, z, xi);
            pf_gauss_posterior(&a, 2, x0, xi, q);
            for (int j = 0; j < 2; j++)
                net[j] = p == PF_PREDICTS_NOISE ? z[j] : p == PF_PREDICTS_DATA ? x0[j] : q[j];
            assert_near(pf_gauss_squares(&a, 2, x0, xi, z, net, NULL), 0.0, 1e-28);
            pf_gauss_predict(&a, 1, 2, xi, net, data, mean);
            pf_gauss_noise_of(&a, 2, xi, data, back);
            for (int j = 0; j < 2; j++) {
                assert_near(data[j], x0[j], 1e-12);
                assert_near(mean[j], q[j], 1e-12);
                assert_near(back[j], z[j], 1e-10);
            }
            assert_near(pf_gauss_kl(&a, 2, x0, xi, mean, NULL), 0.0, 1e-15);
            pf_gauss_step(&a, 2, mean, z, back); /* the last step draws nothing */
            if (!i) assert_near(back[0], mean[0], 0.0);
            else assert_near(back[0], mean[0] + sqrt(g->variance[i]) * z[0], 1e-14);
        }
    pf_gauss_free(g);
}

static void clipping_moves_the_mean_unless_it_is_given(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-3, 0.1, 60);
    double x = 0.2, net = 7.0, data, mean;
    for (int p = PF_PREDICTS_NOISE; p <= PF_PREDICTS_MEAN; p++) {
        pf_gauss_at a = pf_gauss_index(g, (pf_predicts)p, PF_VARIANCE_FIXED_SMALL, 30);
        pf_gauss_predict(&a, 1, 1, &x, &net, &data, &mean);
        assert_near(fabs(data), 1.0, 0.0);
        assert_near(mean, p == PF_PREDICTS_MEAN ? net : a.c1 * data + a.c2 * x, 1e-15);
    }
    pf_gauss_free(g);
}

/* Of a term with respect to the network's output, at several indices, index 0 with the decoder. */
static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-3, 0.1, 60);
    const double x0[3] = {-1.0, 51.0 / 255.0, 1.0}, z[3] = {0.7, -1.1, 0.2}, h = 1e-5;
    for (int c = 0; c < 12; c++) {
        pf_decoder d = {c & 1 ? PF_CDF_EXACT : PF_CDF_TANH, 256};
        pf_gauss_at a = pf_gauss_index(
            g, (pf_predicts)(c / 2 % 3),
            c & 1 ? PF_VARIANCE_FIXED_LARGE : PF_VARIANCE_FIXED_SMALL, c < 6 ? 0 : 23);
        double xi[3], net[3] = {0.5, -0.9, 0.3}, data[3], mean[3], grad[3], squares[3];
        pf_gauss_noised(&a, 3, x0, z, xi);
        if (a.predicts == PF_PREDICTS_MEAN) pf_gauss_posterior(&a, 3, x0, xi, net);
        pf_gauss_predict(&a, 0, 3, xi, net, data, mean);
        (void)pf_gauss_term(&a, &d, 3, x0, xi, mean, grad);
        (void)pf_gauss_squares(&a, 3, x0, xi, z, net, squares);
        for (int j = 0; j < 3; j++) {
            double at[2], square[2], kept = net[j];
            for (int side = 0; side < 2; side++) {
                net[j] = kept + (side ? h : -h);
                pf_gauss_predict(&a, 0, 3, xi, net, data, mean);
                at[side] = pf_gauss_term(&a, &d, 3, x0, xi, mean, NULL);
                square[side] = pf_gauss_squares(&a, 3, x0, xi, z, net, NULL);
            }
            net[j] = kept;
            double want = (at[1] - at[0]) / (2.0 * h), got = grad[j] * a.slope;
            assert_near(got, want, 1e-6 * fmax(1.0, fabs(want)));
            assert_near(squares[j], (square[1] - square[0]) / (2.0 * h), 1e-6);
        }
    }
    pf_gauss_free(g);
}

static void exact_probabilities_add_up_to_one(void **state)
{
    (void)state;
    const int levels[] = {2, 3, 8, 256, 65536};
    const double means[] = {0.0, 0.4437, -1.0, 1.3, -5.0},
                 stds[] = {1e-4, 3e-3, 0.08, 1.0, 30.0};
    for (size_t k = 0; k < 125; k++) {
        pf_decoder d = {PF_CDF_EXACT, levels[k % 5]};
        double sum = 0.0;
        for (int j = 0; j < d.levels; j++)
            sum += exp(pf_decode(&d, 2.0 * j / (d.levels - 1) - 1.0, means[k / 5 % 5],
                                 log(stds[k / 25]), NULL));
        assert_near(sum, 1.0, 1e-11);
    }
}

static void far_tails_keep_their_digits(void **state)
{
    (void)state;
    pf_decoder exact = {PF_CDF_EXACT, 256}, tanh = {PF_CDF_TANH, 256};
    assert_near(pf_log_cdf(-40.0), -804.608442013754, 1e-11); /* by 50 digits */
    assert_near(pf_log_cdf(0.0), -M_LN2, 1e-16);
    for (double z = -30.5; z < -29.5; z += 0.1) /* erfc and its series meet here */
        assert_near((pf_log_cdf(z + 1e-3) - pf_log_cdf(z - 1e-3)) / 2e-3, -z - 1.0 / z, 1e-3);
    /* a bin far away is its density times its width */
    double x = 51.0 / 255.0, std = 0.01, mean = x - 0.5, z = (x - mean) / std, half = 1.0 / 255;
    double got = pf_decode(&exact, x, mean, log(std), NULL), h = half / std;
    double want = -0.5 * z * z - 0.5 * log(2.0 * M_PI) + log((exp(z * h) - exp(-z * h)) / z) -
                  0.5 * h * h;
    assert_near(got, want, 0.02);
    assert_near(pf_decode(&tanh, x, mean, log(std), NULL), log(1e-12), 1e-12); /* the floor */
    for (int k = 0; k < 256; k++) { /* the published approximation is a good one */
        x = 2.0 * k / 255.0 - 1.0;
        assert_near(pf_decode(&tanh, x, 0.1, log(0.5), NULL),
                    pf_decode(&exact, x, 0.1, log(0.5), NULL), 3e-2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_keep_their_ends),
        cmocka_unit_test(chains_that_cannot_be_are_refused),
        cmocka_unit_test(tables_are_those_of_bayes),
        cmocka_unit_test(terms_of_gaussian_data_telescope_for_any_schedule),
        cmocka_unit_test(fixed_large_is_best_for_unit_data_and_fixed_small_for_none),
        cmocka_unit_test(prior_is_small_for_long_chains_and_nothing_for_pure_noise),
        cmocka_unit_test(every_prediction_of_the_truth_gives_the_truth),
        cmocka_unit_test(clipping_moves_the_mean_unless_it_is_given),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(exact_probabilities_add_up_to_one),
        cmocka_unit_test(far_tails_keep_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
