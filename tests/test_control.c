/* Laws of the control variate of the divergence estimate. */
#include "analytic.h"

static const char *const sdes[] = {"vp", "subvp", "ve"};

/* 2 D rows whose mean and maximum-likelihood covariance are a Gaussian's: mean +- sqrt(D) times
 * each column of its Cholesky factor. */
typedef struct moments {
    int D;
    const float *mean;
    double *l;
} moments;

static pf_status read_moments(void *self, int64_t first, int64_t n, double *x)
{
    const moments *m = self;
    for (int64_t r = first; r < first + n; r++)
        for (int i = 0; i < m->D; i++)
            *x++ =
                (double)m->mean[i] + (r % 2 ? -1.0 : 1.0) * sqrt(m->D) * m->l[i * m->D + r / 2];
    return PF_OK;
}

static pf_status make_control(int D, const float *mean, const float *cov, pf_control **out)
{
    moments m = {D, mean, pf_zalloc((size_t)D * D * sizeof(double))};
    if (!m.l) return pf_raise(PF_EMEM, PF_WHERE, "test");
    for (int i = 0; i < D * D; i++) m.l[i] = (double)cov[i];
    must(pf_linalg_cholesky(D, m.l, NULL));
    pf_sample_source src = {&m, 2 * D, D, read_moments};
    pf_status st = pf_control_create(&src, 0.0, out);
    pf_free(m.l);
    return st;
}

static pf_likelihood_opt options(int probe, int probes)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.ode = ode_options(PF_ERK, 1e-8);
    o.dequantisation = PF_DEQUANT_NONE;
    o.control = PF_CONTROL_GAUSSIAN;
    o.probe = probe;
    o.probes = probes;
    return o;
}

static void one_probe_is_exact_when_the_control_is_the_model(void **state)
{
    (void)state;
    enum { D = 16, B = 3 };
    for (int kind = PF_RADEMACHER; kind <= PF_GAUSSIAN; kind++)
        for (int k = 0; k < 3; k++) {
            analytic a;
            double x[B * D];
            pf_ledger one[B], exact[B], plain[B];
            gaussian_create(D, sdes[k], B, &a);
            gaussian_samples(&a, 1e-5, 76, B, x);
            pf_control *c = NULL;
            must(make_control(D, a.params, a.params + D, &c));
            pf_group g = {.first = 5, .B = B, .x = x, .control = c};
            pf_likelihood_opt o = options(kind, 1);
            must(pf_likelihood_group(&a.sde, &a.score, &o, &g, one));
            o.control = PF_CONTROL_NONE;
            must(pf_likelihood_group(&a.sde, &a.score, &o, &g, plain));
            o.probe = PF_EXACT;
            must(pf_likelihood_group(&a.sde, &a.score, &o, &g, exact));
            for (int b = 0; b < B; b++) { /* solver at 1e-8 a step, covariance in float */
                assert_near(one[b].integral, exact[b].integral, 2e-6);
                assert_true(fabs(plain[b].integral - exact[b].integral) > 1e-3);
            }
            pf_control_free(c);
            analytic_free(&a);
        }
}

/* Whatever the control was made of, here a covariance that has nothing to do with the data. */
static void control_leaves_the_mean_on_a_mixture(void **state)
{
    (void)state;
    enum { D = 6, B = 3, K = 1000 };
    float mean[D] = {0}, cov[D * D];
    random_covariance(D, 1.0, 30, cov);
    for (int kind = PF_RADEMACHER; kind <= PF_GAUSSIAN; kind++)
        for (int k = 0; k < 3; k++) {
            analytic a;
            double x[B * D];
            pf_ledger rows[B], exact[B];
            pf_control *c = NULL;
            mixture_create(D, sdes[k], B, &a);
            mixture_samples(&a, 1e-5, 72, B, x);
            must(make_control(D, mean, cov, &c));
            pf_group g = {.first = 9, .B = B, .x = x, .control = c};
            pf_likelihood_opt o = options(kind, K);
            o.ode = ode_options(PF_ERK, 1e-5);
            must(pf_likelihood_group(&a.sde, &a.score, &o, &g, rows));
            o.probe = PF_EXACT;
            must(pf_likelihood_group(&a.sde, &a.score, &o, &g, exact));
            for (int b = 0; b < B; b++) {
                double se = sqrt(rows[b].probe_variance);
                assert_true(se > 1e-4 && se < 0.1);
                /* 4 standard errors: 6e-5 by chance, and the solver's share of 1e-4 */
                assert_near(rows[b].integral, exact[b].integral, 4.0 * se + 1e-4);
            }
            pf_control_free(c);
            analytic_free(&a);
        }
}

static void noise_variance_is_that_of_the_dequantised_data(void **state)
{
    (void)state;
    enum { D = 5 };
    const double noise = 0.03;
    float mean[D] = {0}, cov[D * D];
    double l[D * D], v[D], work[2 * D], a, b;
    pf_sde sde;
    pf_control *c = NULL, *d = NULL;
    must(pf_sde_init("vp", &sde));
    random_covariance(D, 0.3, 31, cov);
    for (int i = 0; i < D; i++) v[i] = normal(32, i);
    for (int i = 0; i < D * D; i++) l[i] = (double)cov[i];
    must(pf_linalg_cholesky(D, l, NULL));
    moments m = {D, mean, l};
    pf_sample_source src = {&m, 2 * D, D, read_moments};
    must(pf_control_create(&src, noise, &c));
    for (int i = 0; i < D; i++) cov[i * (D + 1)] += (float)noise;
    must(make_control(D, mean, cov, &d));
    pf_control_integral(c, &sde, 1e-5, 1, v, work, &a);
    pf_control_integral(d, &sde, 1e-5, 1, v, work, &b);
    assert_near(a, b, 1e-5 * fabs(a)); /* the covariance is float */
    pf_control_free(c);
    pf_control_free(d);
}

static void control_of_another_size_or_none_is_refused(void **state)
{
    (void)state;
    enum { D = 4 };
    analytic a;
    double x[D] = {0};
    pf_ledger row;
    pf_control *c = NULL;
    gaussian_create(D, "vp", 1, &a);
    pf_likelihood_opt o = options(PF_RADEMACHER, 1);
    pf_group g = {.B = 1, .x = x};
    assert_int_equal(pf_likelihood_group(&a.sde, &a.score, &o, &g, &row), PF_EARG);
    const float cov[4] = {1, 0, 0, 1}, mean[2] = {0};
    must(make_control(2, mean, cov, &c));
    g.control = c;
    assert_int_equal(pf_likelihood_group(&a.sde, &a.score, &o, &g, &row), PF_EARG);
    o.probe = PF_EXACT; /* nothing to estimate: no control wanted */
    g.control = NULL;
    must(pf_likelihood_group(&a.sde, &a.score, &o, &g, &row));
    pf_control_free(c);
    analytic_free(&a);
}

static void every_failing_allocation_is_reported_and_leaves_nothing_behind(void **state)
{
    (void)state;
    enum { D = 3 };
    const float mean[D] = {0};
    float cov[D * D];
    size_t before = pf_alloc_live();
    int n = 0;
    pf_status st;
    random_covariance(D, 0.3, 33, cov);
    do {
        pf_control *c = NULL;
        pf_alloc_fail_at(++n);
        st = make_control(D, mean, cov, &c);
        pf_alloc_fail_at(0);
        assert_true(st ? !c : !!c);
        pf_control_free(c);
        assert_int_equal(pf_alloc_live(), before);
    } while (st);
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_probe_is_exact_when_the_control_is_the_model),
        cmocka_unit_test(control_leaves_the_mean_on_a_mixture),
        cmocka_unit_test(noise_variance_is_that_of_the_dequantised_data),
        cmocka_unit_test(control_of_another_size_or_none_is_refused),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
