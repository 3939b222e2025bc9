/* Laws of what repeats and pairs say: variances of single estimates, the difference of two models. */
#include "analytic.h"

static double chi2(uint64_t i, int dof)
{
    double sum = 0.0;
    for (int k = 0; k < dof; k++) {
        double z = normal(70, (int)(i * 8 + (uint64_t)k));
        sum += z * z;
    }
    return sum;
}

/* Equal variances are seen as equal: every row gets nearly the mean of all, those without repeats
 * exactly that of the others. */
static void equal_variances_are_pooled(void **state)
{
    (void)state;
    enum { N = 4000 };
    static double spread[N], out[N];
    static int dof[N];
    double mean = 0.0, weight = 0.0;
    for (int i = 0; i < N; i++) {
        dof[i] = i % 4;
        spread[i] = dof[i] ? 9.0 * chi2((uint64_t)i, dof[i]) / dof[i] : NAN;
        if (dof[i]) mean += dof[i] * spread[i], weight += dof[i];
    }
    mean /= weight;
    pf_moderate_variance(N, spread, dof, out);
    assert_true(fabs(mean - 9.0) < 0.7); /* 4 of its standard errors, 9 sqrt(2/6000) */
    double far = 0.0;
    for (int i = 0; i < N; i++) {
        if (dof[i] == 0) assert_true(fabs(out[i] - mean) < 1e-12 * mean);
        far = fmax(far, fabs(out[i] / mean - 1.0));
    }
    /* c^2 is 0 within sqrt(8/6000)/3 or so: a spread of 15 times the mean then counts by 3 c^2/2 */
    assert_true(far < 0.5);
}

/* Variances that differ are told apart: under the prior the mean of the squared error of the posterior
 * mean is that of theory, and below that of the mean of all and of each row's own spread. */
static void repeats_give_each_row_its_variance(void **state)
{
    (void)state;
    enum { N = 40000, DOF = 4, PRIOR = 12 };
    static double spread[N], out[N], truth[N];
    static int dof[N];
    double moderated = 0.0, pooled = 0.0, own = 0.0, m = 0.0;
    for (int i = 0; i < N; i++) {
        truth[i] = PRIOR / chi2((uint64_t)(2 * N + 2 * i), 6) / 2.0; /* 6 + 6 below */
        truth[i] = PRIOR / (PRIOR / (2.0 * truth[i]) + chi2((uint64_t)(2 * N + 2 * i + 1), 6));
        dof[i] = DOF;
        spread[i] = truth[i] * chi2((uint64_t)i, DOF) / DOF;
        m += spread[i] / N;
    }
    pf_moderate_variance(N, spread, dof, out);
    for (int i = 0; i < N; i++) {
        moderated += pow(out[i] - truth[i], 2) / N;
        own += pow(spread[i] - truth[i], 2) / N;
        pooled += pow(m - truth[i], 2) / N;
    }
    /* Scaled inverse chi-squared of 12: mean 12/10, variance 2 12^2/(10^2 8) = 0.36, E of the square
     * 1.8; the own spread errs by 2/4 of that, the posterior mean by the harmonic mean of both. */
    assert_true(fabs(pooled / 0.36 - 1.0) < 0.15);
    assert_true(fabs(own / 0.9 - 1.0) < 0.15);
    assert_true(fabs(moderated / (1.0 / (1.0 / 0.36 + 1.0 / 0.9)) - 1.0) < 0.15);
}

static void without_repeats_nothing_is_known(void **state)
{
    (void)state;
    double spread[2] = {NAN, NAN}, out[2] = {0, 0};
    int dof[2] = {0, 0};
    pf_moderate_variance(2, spread, dof, out);
    assert_true(isnan(out[0]) && isnan(out[1]));
    spread[0] = 0.0, dof[0] = 1;
    pf_moderate_variance(2, spread, dof, out);
    assert_true(out[0] == 0.0 && out[1] == 0.0);
}

/* Two ledgers that share their noise: the difference is that of the images in both, to the last bit
 * 0 for a ledger and itself. */
static void a_paired_difference_is_that_of_the_images(void **state)
{
    (void)state;
    enum { N = 300, J = 2 };
    static pf_ledger a[N * J], b[N * J];
    for (int i = 0; i < N * J; i++) {
        double noise = normal(71, i / J), own = 0.01 * normal(72, i);
        a[i] = (pf_ledger){.image = 2 * (i / J), .draw = i % J, .nll = noise, .bound = NAN};
        b[i] = (pf_ledger){.image = 3 * (i / J), .draw = i % J, .nll = own - 5.0, .bound = NAN};
    }
    for (int i = 0; i < N * J; i++) /* image 6 k is row 3 k of a and 2 k of b */
        if (b[i].image % 2 == 0 && b[i].image < 2 * N) b[i].nll += a[b[i].image / 2 * J].nll;
    pf_difference d;
    must(pf_likelihood_difference(a, N * J, b, N * J, &d));
    assert_int_equal(d.images, N / 3);
    double mean = 0.0, square = 0.0;
    for (int i = 0; i < N / 3; i++) {
        const pf_ledger *p = &a[3 * i * J], *q = &b[2 * i * J];
        double v = 0.5 * (p[0].nll + p[1].nll) - 0.5 * (q[0].nll + q[1].nll);
        mean += v / (N / 3);
        square += v * v / (N / 3);
    }
    double se = sqrt((square - mean * mean) / (N / 3 - 1));
    assert_true(fabs(d.nll - mean) < 1e-12 && fabs(d.nll_se - se) < 1e-6 * se);
    assert_true(fabs(d.nll - 5.0) < 4.0 * d.nll_se && d.nll_se < 0.02 * d.nll_alone_se);
    assert_true(isnan(d.bound) && isnan(d.bound_se));
    must(pf_likelihood_difference(a, N * J, a, N * J, &d));
    assert_true(d.images == N && d.nll == 0.0 && d.nll_se == 0.0);
    must(pf_likelihood_difference(a, 0, b, N * J, &d));
    assert_true(d.images == 0 && isnan(d.nll));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_variances_are_pooled),
        cmocka_unit_test(repeats_give_each_row_its_variance),
        cmocka_unit_test(without_repeats_nothing_is_known),
        cmocka_unit_test(a_paired_difference_is_that_of_the_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
