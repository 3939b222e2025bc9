/* Noise levels, and what follows from the data and from each other. */
#include <probflow/ladder.h>
#include <probflow/random.h>

#include <stdlib.h>

#include "checks.h"

static void ladders_keep_their_ends_and_their_kind(void **state)
{
    (void)state;
    double a[7], b[7], one;
    pf_ladder_fill(PF_LADDER_GEOMETRIC, 3.0, 0.01, 7, a);
    pf_ladder_fill(PF_LADDER_UNIFORM, 3.0, 0.01, 7, b);
    pf_ladder_fill(PF_LADDER_GEOMETRIC, 3.0, 0.01, 1, &one);
    assert_true(one == 3.0 && a[0] == 3.0 && b[0] == 3.0 && a[6] == 0.01 && b[6] == 0.01);
    for (int i = 1; i < 7; i++) {
        assert_near(a[i - 1] / a[i], pow(300.0, 1.0 / 6.0), 1e-13);
        assert_near(b[i - 1] - b[i], 2.99 / 6.0, 1e-15);
    }
}

/* Technique 2 as an integral of the normal density, and its limit: of many dimensions sqrt(2D) (g - 1) is the point
 * where the upper tail of 3 deviations is one half. */
static void neighbouring_shells_overlap_by_half(void **state)
{
    (void)state;
    static const double D[] = {5, 6, 9, 784, 3072, 196608};
    for (int k = 0; k < 6; k++) {
        double g = pf_ladder_ratio(D[k]), far = sqrt(2.0 * D[k]) * (g - 1.0), sum = 0.0;
        enum { N = 20000 };
        for (int i = 0; i < N; i++) {
            double u = far - 3.0 * g + 6.0 * g * (i + 0.5) / N;
            sum += exp(-0.5 * u * u) / sqrt(2.0 * M_PI) * 6.0 * g / N;
        }
        assert_true(g > 1.0);
        assert_near(sum, 0.5, 1e-6);
    }
    assert_true(isnan(pf_ladder_ratio(4.0)));
    assert_int_equal(pf_ladder_levels(50.0, 0.01, pf_ladder_ratio(3072.0)), 220);
    assert_int_equal(pf_ladder_levels(1.0, 0.25, 2.0), 3);
}

static void the_step_size_is_the_least_variance(void **state)
{
    (void)state;
    for (int T = 1; T < 200; T *= 3) {
        double g = 1.04 + 0.02 * T, best = pf_ladder_share(g, T),
               least = pf_ladder_variance(g, best, T), walked = g * g;
        assert_true(best > 0.0 && best < 1.0 && least > 1.0 && least < g * g);
        for (double u = 1e-4; u < 1.0; u *= 1.05)
            assert_true(pf_ladder_variance(g, u, T) >= least);
        for (int k = 0; k < T; k++) walked = (1.0 - best) * (1.0 - best) * walked + 2.0 * best;
        assert_near(walked, least, 1e-12 * walked);
    }
    /* CIFAR-10: the published 6.2e-6 is near the minimum */
    double g = pow(5000.0, 1.0 / 231.0);
    assert_near(1e-4 * pf_ladder_share(g, 5), 6.184e-6, 1e-9);
}

typedef struct rows {
    int n, D;
    double *x;
} rows;

static pf_status read_rows(void *self, int64_t first, int64_t n, double *x)
{
    const rows *r = self;
    memcpy(x, r->x + first * r->D, (size_t)n * (size_t)r->D * sizeof *x);
    return PF_OK;
}

/* More rows than two blocks; the far pair lies in different ones, and far from 0. */
static void the_largest_distance_is_found_among_all_pairs(void **state)
{
    (void)state;
    rows r = {2500, 3, NULL};
    double got, want = 0.0;
    r.x = calloc((size_t)r.n * 3, sizeof *r.x);
    for (int i = 0; i < r.n * 3; i++) {
        pf_draw d = {4, PF_STREAM_TEST, 0, 0};
        r.x[i] = 1e4 + pf_draw_uniform_f64(&d, (size_t)i);
    }
    r.x[3 * 37] = 1e4 - 0.5;
    r.x[3 * 2400] = 1e4 + 1.7;
    for (int i = 0; i < r.n; i++)
        for (int j = 0; j < i; j++) {
            double d2 = 0.0;
            for (int k = 0; k < 3; k++) d2 += pow(r.x[3 * i + k] - r.x[3 * j + k], 2);
            want = fmax(want, d2);
        }
    const pf_sample_source src = {&r, r.n, 3, read_rows}, one = {&r, 1, 3, read_rows};
    must(pf_ladder_largest_distance(&src, &got));
    assert_near(got, sqrt(want), 1e-12 * got);
    assert_int_equal(pf_ladder_largest_distance(&one, &got), PF_EARG);
    free(r.x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ladders_keep_their_ends_and_their_kind),
        cmocka_unit_test(neighbouring_shells_overlap_by_half),
        cmocka_unit_test(the_step_size_is_the_least_variance),
        cmocka_unit_test(the_largest_distance_is_found_among_all_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
