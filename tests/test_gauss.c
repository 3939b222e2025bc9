/* Chains of Gaussians: laws of the tables, the terms and the decoder; losses are in test_gauss_loss.c. */
#include "gauss_rig.h"

enum { N_SCHEDULES = PF_SCHEDULE_SIGMOID + 1 };

/* The model at an index, with a decoder of 256 levels. */
static pf_gauss_at index_of(const pf_gauss *g, int predicts, int variance, int i)
{
    const pf_gauss_opt o = {.predicts = (pf_predicts)predicts,
                            .variance = (pf_variance)variance,
                            .decoder = {PF_CDF_EXACT, 256}};
    return pf_gauss_index(g, &o, i);
}

/* A model of one entry. */
typedef struct one {
    double x0, mean, log_variance;
} one;
static one predict(const pf_gauss_at *a, int clip, double xi, double net, double variance)
{
    one r;
    const pf_gauss_net out = {&net, pf_gauss_learns(a->opt.variance) ? &variance : NULL};
    const pf_gauss_model m = {&r.x0, &r.mean, &r.log_variance};
    pf_gauss_predict(a, clip, 1, &xi, &out, &m);
    return r;
}
static double kl(const pf_gauss_at *a, double x0, double xi, one r)
{
    const pf_gauss_model m = {&r.x0, &r.mean, &r.log_variance};
    return pf_gauss_kl(a, 1, &x0, &xi, &m, NULL);
}

static void schedules_keep_their_ends(void **state)
{
    (void)state;
    double b[50];
    for (int i = 0; i < PF_SCHEDULE_COSINE; i++) {
        int jsd = i == PF_SCHEDULE_JSD, flat = i == PF_SCHEDULE_CONST;
        must(pf_gauss_betas(&(pf_betas){.schedule = (pf_schedule)i, .b0 = 1e-4, .b1 = 0.02}, 50,
                            b));
        assert_near(b[0], jsd ? 1.0 / 50 : flat ? 0.02 : 1e-4, 1e-18);
        assert_near(b[49], jsd ? 1.0 : 0.02, 1e-17);
    }
    assert_near(b[24], 0.02, 0.0); /* warmup50 */
    assert_true(b[23] < 0.02);
    must(pf_gauss_betas(&(pf_betas){.schedule = PF_SCHEDULE_WARMUP10, .b0 = 1e-4, .b1 = 0.02},
                        5, b)); /* no step is a tenth of 5 */
    assert_near(b[0], 0.02, 0.0);
    must(
        pf_gauss_betas(&(pf_betas){.schedule = PF_SCHEDULE_LINEAR_SCALED, .b0 = NAN, .b1 = NAN},
                       50, b)); /* reads no ends */
    assert_near(b[0], 0.002, 0.0);
    assert_near(b[49], 0.4, 0.0);
    must(pf_gauss_betas(&(pf_betas){.schedule = PF_SCHEDULE_COSINE, .b0 = NAN, .b1 = NAN}, 50,
                        b));
    assert_near(b[49], 0.999, 0.0);
    const pf_betas wide = {
        .schedule = PF_SCHEDULE_SIGMOID, .start = 0.0, .end = 3.0, .tau = 0.7};
    double abar = 1.0, f[3], sigmoid[50];
    must(pf_gauss_betas(&wide, 50, sigmoid));
    assert_near(sigmoid[49], 0.999, 0.0);
    for (int i = 0; i < 49; i++) { /* abar is a falling piece of the sigmoid, 1 at the start */
        abar *= 1.0 - sigmoid[i];
        for (int k = 0; k < 3; k++) /* at the start, here, at the end */
            f[k] = 1.0 / (1.0 + exp(-3.0 * (double[]){0.0, (i + 1) / 50.0, 1.0}[k] / 0.7));
        assert_near(abar, (f[2] - f[1]) / (f[2] - f[0]), 1e-14);
    }
    abar = 1.0;
    for (int i = 0; i < 49; i++) { /* abar is the cosine's square, 1 at the start */
        abar *= 1.0 - b[i];
        f[0] = cos(0.008 / 1.008 * M_PI / 2.0);
        f[1] = cos(((i + 1) / 50.0 + 0.008) / 1.008 * M_PI / 2.0);
        assert_near(abar, f[1] * f[1] / (f[0] * f[0]), 1e-14);
    }
}

static void chains_that_cannot_be_are_refused(void **state)
{
    (void)state;
    double b[50];
    pf_gauss *g = NULL;
    const struct {
        int schedule, T;
        double b0, b1;
    } bad[] = {
        {PF_SCHEDULE_LINEAR, 1, 1e-4, 0.02},     {PF_SCHEDULE_LINEAR, 20, 0.005, 1.0},
        {PF_SCHEDULE_LINEAR, 10, 0.01, 2.0},     {PF_SCHEDULE_QUAD, 10, 0.0, 0.02},
        {PF_SCHEDULE_CONST, 10, 0.5, 1.0},       {PF_SCHEDULE_CONST, 10, 0.5, NAN},
        {PF_SCHEDULE_JSD, 1, 1e-4, 0.02},        {PF_SCHEDULE_LINEAR_SCALED, 20, 0.1, 0.1},
        {PF_SCHEDULE_LINEAR_SCALED, 7, 0.1, 0.1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pf_gauss_betas(&(pf_betas){.schedule = (pf_schedule)bad[i].schedule,
                                                    .b0 = bad[i].b0,
                                                    .b1 = bad[i].b1},
                                        bad[i].T, b),
                         PF_EARG);
    for (int T = 2; T <= 21; T++) { /* lucidrains' linear schedule gives NaN there */
        const pf_betas o = {.schedule = PF_SCHEDULE_LINEAR_SCALED};
        assert_int_equal(pf_gauss_betas(&o, T, b), T <= 20 ? PF_EARG : PF_OK);
        if (T == 20)
            assert_string_equal(pf_error_message(),
                                "the schedule linear_scaled of 20 steps ends "
                                "at a beta of 1, want one below 1");
    }
    const double flat[][3] = {
        {3.0, -3.0, 1.0}, {1.0, 1.0, 1.0}, {-3.0, 3.0, 0.0}, {-3.0, 3.0, NAN}};
    for (int i = 0; i < 4; i++) {
        const pf_betas o = {PF_SCHEDULE_SIGMOID, 0.0, 0.0, flat[i][0], flat[i][1], flat[i][2]};
        assert_int_equal(pf_gauss_betas(&o, 50, b), PF_EARG);
        assert_non_null(strstr(pf_error_message(), "does not rise"));
    }
    assert_int_equal(pf_gauss_create(2, (double[]){1.0, 0.5}, &g), PF_EARG);
    assert_null(g);
}

static void tables_are_those_of_bayes(void **state)
{
    (void)state;
    for (int k = 0; k < N_SCHEDULES; k++) {
        pf_gauss *g = chain((pf_schedule)k, 1e-4, 0.02, 100);
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

/* log of the best variance of a step over data N(0, s^2), whose best mean is linear. */
static double best_variance(const pf_gauss *g, double s, int i)
{
    double m = g->abar[i] * s * s + g->noise[i];
    return log(g->variance[i] + g->c1[i] * g->c1[i] * s * s * g->noise[i] / m);
}

/* E of term i over data N(0, s^2) and noise, with the best linear prediction of noise, data or v and this output for
 * the variance.  The term is a quadratic of (x_0, z), which four points integrate exactly. */
static double expected_term(const pf_gauss *g, const pf_gauss_at *a, double variance, double s)
{
    double m = g->abar[a->i] * s * s + g->noise[a->i], sum = 0.0;
    double noise = a->std / m, data = a->root * s * s / m;
    double best = a->opt.predicts == PF_PREDICTS_NOISE ? noise
                  : a->opt.predicts == PF_PREDICTS_V   ? a->root * noise - a->std * data
                                                       : data;
    for (int p = 0; p < 4; p++) {
        double x0 = p & 1 ? s : -s, z = p & 2 ? 1.0 : -1.0, xi;
        pf_gauss_noised(a, 1, &x0, &z, &xi);
        sum += 0.25 * kl(a, x0, xi, predict(a, 0, xi, best * xi, variance));
    }
    return sum;
}

static void terms_of_gaussian_data_telescope_for_any_schedule(void **state)
{
    (void)state;
    const int asked[] = {PF_PREDICTS_NOISE, PF_PREDICTS_DATA, PF_PREDICTS_V};
    for (int k = 0; k < 6 * N_SCHEDULES; k++) {
        int predicts = asked[k % 3];
        int variance = k / 3 & 1 ? PF_VARIANCE_LEARNED : PF_VARIANCE_LEARNED_RANGE;
        if (k / 6 == PF_SCHEDULE_JSD && predicts == PF_PREDICTS_NOISE)
            continue; /* its last step has no noise to predict */
        double s = 0.5, sum = 0.0;
        pf_gauss *g = chain((pf_schedule)(k / 6), 1e-4, 0.05, 200);
        for (int i = 1; i < g->T; i++) {
            pf_gauss_at a = index_of(g, predicts, variance, i);
            double v = (best_variance(g, s, i) - a.from) / a.range;
            if (variance == PF_VARIANCE_LEARNED_RANGE)
                assert_true(fabs(v) <= 1.0); /* the two fixed ones are the ends */
            double term = expected_term(g, &a, v, s);
            assert_near(term, information(g, s, i - 1) - information(g, s, i), 1e-11);
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
        pf_gauss_at l = index_of(g, PF_PREDICTS_NOISE, PF_VARIANCE_FIXED_LARGE, i);
        pf_gauss_at s = index_of(g, PF_PREDICTS_NOISE, PF_VARIANCE_FIXED_SMALL, i);
        double large = expected_term(g, &l, 0.0, 1.0);
        assert_near(large, information(g, 1.0, i - 1) - information(g, 1.0, i), 1e-13);
        assert_true(large <= expected_term(g, &s, 0.0, 1.0));
        assert_near(expected_term(g, &s, 0.0, 0.0), 0.0, 1e-13);
        assert_true(expected_term(g, &l, 0.0, 0.0) > 0.0);
    }
    pf_gauss_free(g);
}

static void the_ends_of_the_learned_range_are_the_fixed_variances(void **state)
{
    (void)state;
    for (int k = 0; k < N_SCHEDULES; k++) {
        pf_gauss *g = chain((pf_schedule)k, 1e-4, 0.05, 60);
        for (int i = 0; i < g->T; i++) {
            pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_LEARNED_RANGE, i);
            pf_gauss_at s = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, i);
            pf_gauss_at l = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_LEARNED, i);
            double small = predict(&a, 0, 0.3, 0.1, -1.0).log_variance;
            double large = predict(&a, 0, 0.3, 0.1, 1.0).log_variance;
            assert_near(small, predict(&s, 0, 0.3, 0.1, 0.0).log_variance, 1e-14);
            assert_near(large, log(g->beta[i]), 1e-14);
            assert_near(predict(&l, 0, 0.3, 0.1, -2.5).log_variance, -2.5, 0.0);
            assert_near(pf_gauss_variance(&l, -2.5), exp(-2.5), 0.0);
            assert_near(pf_gauss_variance(&s, small), g->variance[i], 0.0); /* none at i = 0 */
        }
        pf_gauss_free(g);
    }
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
    pf_gauss *g = chain(PF_SCHEDULE_COSINE, 0.0, 0.0, 60);
    const double x0 = -0.9, z = 1.2;
    for (int i = 0; i < g->T; i++)
        for (int p = PF_PREDICTS_NOISE; p <= PF_PREDICTS_V; p++) {
            pf_gauss_at a = index_of(g, p, PF_VARIANCE_FIXED_SMALL, i);
            double xi, q, back, sum;
            pf_gauss_sums sums;
            pf_gauss_noised(&a, 1, &x0, &z, &xi);
            pf_gauss_posterior(&a, 1, &x0, &xi, &q);
            const double truth[] = {z, x0, q, a.root * z - a.std * x0};
            double net = truth[p];
            const pf_gauss_seen s = {&x0, &xi, &z};
            const pf_gauss_net out = {&net, NULL};
            sum = pf_gauss_loss(&a, 1, &s, &out, NULL, &sums);
            assert_near(sum, 0.0, 1e-28);
            one r = predict(&a, 1, xi, net, 0.0);
            pf_gauss_noise_of(&a, 1, &xi, &r.x0, &back);
            assert_near(r.x0, x0, 1e-10); /* 1e4 of the rounding at the noisy end */
            assert_near(r.mean, q, 1e-12);
            assert_near(back, z, 1e-10);
            assert_near(kl(&a, x0, xi, r), 0.0, 1e-15);
        }
    pf_gauss_free(g);
}

static void clipping_moves_the_mean_unless_it_is_given_and_hides_no_nan(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR, 1e-3, 0.1, 60);
    double x = 0.2, net = 7.0;
    for (int p = PF_PREDICTS_NOISE; p <= PF_PREDICTS_V; p++) {
        pf_gauss_at a = index_of(g, p, PF_VARIANCE_FIXED_SMALL, 30);
        one r = predict(&a, 1, x, net, 0.0);
        assert_near(fabs(r.x0), 1.0, 0.0);
        assert_near(r.mean, p == PF_PREDICTS_MEAN ? net : a.c1 * r.x0 + a.c2 * x, 1e-15);
        r = predict(&a, 1, x, NAN, 0.0);
        assert_true(isnan(r.x0) && isnan(r.mean));
    }
    pf_gauss_free(g);
}

/* btilde is 0 at the first index alone. */
static void the_floor_of_the_log_variance_is_met_at_the_first_index(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_SIGMOID, 0.0, 0.0, 30);
    for (int v = PF_VARIANCE_FIXED_SMALL; v <= PF_VARIANCE_LEARNED_RANGE; v++)
        for (int i = 0; i < g->T; i++) {
            pf_gauss_opt o = {.variance = (pf_variance)v};
            const pf_gauss_at plain = pf_gauss_index(g, &o, i);
            o.floor_log_variance = 1;
            const pf_gauss_at a = pf_gauss_index(g, &o, i);
            if (!i) assert_near(a.q_log_variance, log(1e-20), 1e-12);
            else assert_memory_equal(&a.q_log_variance, &plain.q_log_variance, sizeof(double));
            assert_true(plain.q_log_variance == g->log_variance[i]);
            if (v == PF_VARIANCE_LEARNED_RANGE)
                assert_near(a.from - a.range, a.q_log_variance, 1e-12);
            if (v == PF_VARIANCE_FIXED_LARGE) assert_true(a.log_variance == plain.log_variance);
        }
    pf_gauss_free(g);
}

/* With respect to the mean and to log_std, on all sides and for both distributions. */
static void slopes_of_the_decoder_are_those_of_finite_differences(void **state)
{
    (void)state;
    const double x[] = {-1.0, 51.0 / 255.0, 1.0}, mean[] = {-0.9, 0.2, 0.87},
                 log_std[] = {-2.5, -1.0, 0.7}, h = 1e-6;
    for (int c = 0; c < 54; c++) {
        const pf_decoder d = {c / 27 ? PF_CDF_EXACT : PF_CDF_TANH, 256};
        double at = x[c % 3], m = mean[c / 3 % 3], s = log_std[c / 9 % 3], slope[2];
        double lp = pf_decode(&d, at, m, s, slope);
        assert_near(pf_decode(&d, at, m, s, NULL), lp, 0.0);
        if (d.cdf == PF_CDF_TANH && lp < log(1e-7))
            continue; /* near the floor its differences cancel */
        double dm = pf_decode(&d, at, m + h, s, NULL) - pf_decode(&d, at, m - h, s, NULL);
        double ds = pf_decode(&d, at, m, s + h, NULL) - pf_decode(&d, at, m, s - h, NULL);
        assert_near(slope[0], dm / (2.0 * h), 1e-6 * fmax(1.0, fabs(slope[0])));
        assert_near(slope[1], ds / (2.0 * h), 1e-6 * fmax(1.0, fabs(slope[1])));
    }
    const pf_decoder floor = {PF_CDF_TANH, 256}, lower = {PF_CDF_TANH, 256, 1e-15};
    double slope[2] = {1.0, 1.0};
    assert_near(pf_decode(&lower, 1.0, -1.0, -9.0, slope), log(1e-15), 0.0);
    assert_near(pf_decode(&floor, 1.0, -1.0, -9.0, slope), log(1e-12), 0.0);
    assert_near(fabs(slope[0]) + fabs(slope[1]), 0.0, 0.0);
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
        cmocka_unit_test(clipping_moves_the_mean_unless_it_is_given_and_hides_no_nan),
        cmocka_unit_test(the_ends_of_the_learned_range_are_the_fixed_variances),
        cmocka_unit_test(the_floor_of_the_log_variance_is_met_at_the_first_index),
        cmocka_unit_test(slopes_of_the_decoder_are_those_of_finite_differences),
        cmocka_unit_test(exact_probabilities_add_up_to_one),
        cmocka_unit_test(far_tails_keep_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
