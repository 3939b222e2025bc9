/* Laws of the forward SDEs, each checked against quadrature or an ODE, not against itself. */
#include <probflow/sde.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "quadrature.h"

static const double times[] = {1e-6, 1e-5, 3e-4, 1e-2, 0.1, 0.37, 0.5, 0.9, 1.0};
enum { N_TIMES = sizeof times / sizeof *times };

static int close_to(double a, double b, double rel)
{
    return fabs(a - b) <= rel * fmax(fabs(a), fabs(b));
}

static double weight(const void *self, double t)
{
    const pf_sde *s = self;
    double f, g2, m, sd;
    pf_sde_coef(s, t, &f, &g2);
    pf_sde_marginal(s, t, &m, &sd);
    return g2 / (sd * sd);
}

static double drift(const void *self, double t)
{
    const pf_sde *s = self;
    double f, g2;
    pf_sde_coef(s, t, &f, &g2);
    return f;
}

/* d var/dt = 2 f var + g^2, so var(t) exp(-2 int f) grows by g^2 exp(-2 int f). */
static double scaled_diffusion(const void *self, double t)
{
    const pf_sde *s = self;
    double f, g2, m, sd;
    pf_sde_coef(s, t, &f, &g2);
    pf_sde_marginal(s, t, &m, &sd);
    return g2 / (m * m);
}

static void each(void (*law)(const pf_sde *))
{
    for (int i = 0; pf_sdes[i]; i++) {
        pf_sde s;
        assert_int_equal(pf_sde_init(pf_sdes[i]->name, &s), PF_OK);
        law(&s);
    }
}

static void marginal_law(const pf_sde *s)
{
    double m0, s0;
    pf_sde_marginal(s, 1e-6, &m0, &s0);
    for (int i = 1; i < N_TIMES; i++) {
        double m, sd;
        pf_sde_marginal(s, times[i], &m, &sd);
        /* 1e-9: the error of the quadrature is far below; rounding of the slopes near a right angle is not */
        assert_true(close_to(m / m0, exp(double_exponential(drift, s, 1e-6, times[i])), 1e-9));
        double var =
            m * m *
            (s0 * s0 / (m0 * m0) + double_exponential(scaled_diffusion, s, 1e-6, times[i]));
        assert_true(close_to(sd * sd, var, 1e-9));
    }
}

static void marginals_solve_their_moment_odes(void **state)
{
    (void)state;
    each(marginal_law);
}

static void mass_law(const pf_sde *s)
{
    for (int i = 1; i < N_TIMES; i++) {
        double m = s->ops->mass(&s->opt, 1e-6, times[i]);
        assert_true(close_to(m, double_exponential(weight, s, 1e-6, times[i]), 1e-9));
        assert_true(close_to(s->ops->mass_inverse(&s->opt, 1e-6, m), times[i], 1e-12));
    }
}

static void importance_mass_is_the_integral_of_the_weight_and_inverts(void **state)
{
    (void)state;
    each(mass_law);
}

static void published_normalisers_are_met(void **state)
{
    (void)state;
    pf_sde s;
    /* integrals of g^2/std^2 to six figures, computed independently from the published formulas */
    assert_int_equal(pf_sde_init("vp", &s), PF_OK);
    assert_true(fabs(s.ops->mass(&s.opt, 1e-5, 1.0) - 23.8645) < 5e-5);
    assert_true(fabs(s.ops->mass(&s.opt, 5e-5, 1.0) - 22.2511) < 5e-5);
    assert_int_equal(pf_sde_init("subvp", &s), PF_OK);
    assert_true(fabs(s.ops->mass(&s.opt, 1e-2, 1.0) - 22.4841) < 5e-5);
    assert_true(fabs(s.ops->mass(&s.opt, 1e-5, 1.0) - 37.679) < 5e-4);
}

static void small_times_keep_full_precision(void **state)
{
    (void)state;
    pf_sde s;
    double m, sd, t = 1e-9; /* B = 1e-10: 1 - exp(-B) would keep 6 digits */
    assert_int_equal(pf_sde_init("vp", &s), PF_OK);
    pf_sde_marginal(&s, t, &m, &sd);
    double b = 0.1 * t + 0.5 * 19.9 * t * t;
    assert_true(close_to(sd * sd, b * (1 - 0.5 * b), 1e-14)); /* next term is b^2/6 ~ 1e-21 */
}

static void prior_is_a_normalised_gaussian(void **state)
{
    (void)state;
    pf_sde s;
    assert_int_equal(pf_sde_init("ve", &s), PF_OK);
    double sum = 0;
    for (int i = -4000; i < 4000; i++) { /* midpoint rule over +-8 std */
        double z = (i + 0.5) * 0.1;
        sum += 0.1 * exp(pf_sde_prior_logp(&s, 1, &z));
    }
    assert_true(fabs(sum - 1) < 1e-12); /* tails beyond 8 std hold 1e-15 */
}

static void unknown_names_name_the_nearest(void **state)
{
    (void)state;
    pf_sde s;
    assert_int_equal(pf_sde_init("subvq", &s), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "subvp"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marginals_solve_their_moment_odes),
        cmocka_unit_test(importance_mass_is_the_integral_of_the_weight_and_inverts),
        cmocka_unit_test(published_normalisers_are_met),
        cmocka_unit_test(small_times_keep_full_precision),
        cmocka_unit_test(prior_is_a_normalised_gaussian),
        cmocka_unit_test(unknown_names_name_the_nearest),
    };
    return cmocka_run_group_tests_name("sde", tests, NULL, NULL);
}
