/* Mixtures of logistics as increasing maps: the function in double, and the operator. */
#include "kernel_rig.h"

#include <probflow/mixture_cdf.h>

enum { M = 3, N = 2 + 3 * M };
static const double params[N] = {0.3, -0.7, 0.5, -0.2, 1.0, -1.5, 0.2, 2.0, -0.4, 0.6, 0.1},
                    scales[M] = {0.4, -0.3, 0.1};
static const pf_mixture_cdf map = {M, params, 0.25, scales};

static double bounded_by(double raw, double f)
{
    return exp(f) * tanh(raw / fmax(exp(f), 1.0));
}

static void a_logistic_maps_to_its_own_logit(void **state)
{
    (void)state;
    const double p[5] = {0.4, 0.8, 7.0, -1.25, 0.5}, fm = -0.2;
    const pf_mixture_cdf one = {1, p, 0.3, &fm};
    double s = bounded_by(0.8, 0.3), sm = bounded_by(0.5, -0.2), ldj;
    assert_true(fabs(pf_mixture_cdf_scale(0.8, 0.3) - s) < 1e-15);
    for (double z = -200.0; z < 200.0; z += 1.7) { /* both tails: no digit is lost in 1 - F */
        double y = pf_mixture_cdf_at(&one, z, &ldj),
               want = ((z + 1.25) * exp(-sm) + 0.4) * exp(s);
        assert_true(fabs(y - want) < 1e-14 * (1.0 + fabs(want)));
        assert_true(fabs(ldj - (s - sm)) < 1e-13);
    }
}

static void the_log_slope_is_that_of_differences(void **state)
{
    (void)state;
    for (double z = -12.0; z < 12.0; z += 0.37) {
        double h = 1e-4, ldj;
        pf_mixture_cdf_at(&map, z, &ldj);
        double d = pf_mixture_cdf_at(&map, z + h, NULL) - pf_mixture_cdf_at(&map, z - h, NULL);
        assert_true(fabs(log(d / (2.0 * h)) - ldj) < 1e-8); /* h^2 y'''/6, 1e-16 y/h */
    }
}

static void the_inverse_comes_back(void **state)
{
    (void)state;
    double ldj;
    for (double z = -60.0; z < 60.0; z += 0.31) {
        double y = pf_mixture_cdf_at(&map, z, &ldj), back = pf_mixture_cdf_inverse(&map, y);
        /* the roundings of y, by the slope, and those of z */
        double within = 4e-14 * ((1.0 + fabs(y)) * exp(-ldj) + fabs(z));
        if (!(fabs(back - z) < within)) fail_msg("%g comes back as %.17g", z, back);
    }
}

/* Logistics far apart: between them the map is nearly flat, where steps of Newton leave the bracket. */
static void the_inverse_finds_what_lies_between_far_logistics(void **state)
{
    (void)state;
    const double p[8] = {0.0, 0.0, 0.0, 0.0, -40.0, 40.0, -3.0, -3.0}, fm[2] = {2.0, 2.0};
    const pf_mixture_cdf two = {2, p, 0.0, fm};
    for (double y = -30.0; y < 30.0; y += 0.11) {
        double z = pf_mixture_cdf_inverse(&two, y), again = pf_mixture_cdf_at(&two, z, NULL);
        double ulp = 1e-15 * 40.0 * exp(2.7); /* of z, by the steepest slope */
        assert_true(fabs(again - y) < 1e-13 * (1.0 + fabs(y)) + ulp);
    }
}

/* One entry of z, params, f and fm moved by h. */
static double moved(int i, double h)
{
    double p[N], fm[M], z = 0.7, ldj;
    memcpy(p, params, sizeof p);
    memcpy(fm, scales, sizeof fm);
    pf_mixture_cdf m = {M, p, 0.25, fm};
    if (i == 0) z += h;
    else if (i == 1) m.f += h;
    else if (i < 2 + N) p[i - 2] += h;
    else fm[i - 2 - N] += h;
    double y = pf_mixture_cdf_at(&m, z, &ldj);
    return 1.3 * y - 0.6 * ldj;
}

static void slopes_are_differences(void **state)
{
    (void)state;
    double p[N], fm[M], h = 1e-5;
    pf_mixture_slopes to = {.param = p, .fm = fm};
    pf_mixture_cdf_back(&map, 0.7, 1.3, -0.6, &to);
    for (int i = 0; i < 2 + N + M; i++) {
        double got = i == 0 ? to.z : i == 1 ? to.f : i < 2 + N ? p[i - 2] : fm[i - 2 - N];
        double want = (moved(i, h) - moved(i, -h)) / (2.0 * h);
        if (!(fabs(got - want) < 1e-8)) fail_msg("slope %d: %g, want %g", i, got, want);
    }
}

static void a_mixture_maps_each_number_by_its_own_parameters(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_MIXTURE_CDF, 0);
    forward(&r);
    for (int i = 0; i < BATCH * 60; i++) {
        double p[8], fm[2], ldj;
        for (int k = 0; k < 8; k++) p[k] = (double)r.in[1][8 * i + k];
        for (int k = 0; k < 2; k++) fm[k] = (double)r.param[1][i % 4 * 2 + k];
        const pf_mixture_cdf m = {2, p, (double)r.param[0][i % 4], fm};
        double y = pf_mixture_cdf_at(&m, (double)r.in[0][i], &ldj);
        assert_true(r.out[i / 4 * 8 + i % 4] == (float)y);
        assert_true(r.out[i / 4 * 8 + 4 + i % 4] == (float)ldj);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_logistic_maps_to_its_own_logit),
        cmocka_unit_test(the_log_slope_is_that_of_differences),
        cmocka_unit_test(the_inverse_comes_back),
        cmocka_unit_test(the_inverse_finds_what_lies_between_far_logistics),
        cmocka_unit_test(slopes_are_differences),
        cmocka_unit_test(a_mixture_maps_each_number_by_its_own_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
