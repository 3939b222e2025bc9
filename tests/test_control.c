/* Laws of the divergence estimate: control variate, sets of probes by colour, subspace. */
#include "analytic.h"
#include "likelihood_rows.h"

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
    o.trace.control = PF_CONTROL_GAUSSIAN;
    o.trace.control_noise = 0.0;
    o.trace.probe = probe;
    o.trace.probes = probes;
    return o;
}

static void one_probe_is_exact_when_the_control_is_the_model(void **state)
{
    (void)state;
    enum { D = 16, B = 3 };
    for (int kind = PF_RADEMACHER; kind <= PF_GAUSSIAN; kind++)
        for (int k = 0; pf_sdes[k]; k++) {
            analytic a;
            double x[B * D];
            row one[B], exact[B], plain[B];
            gaussian_create(D, pf_sdes[k]->name, B, &a);
            gaussian_samples(&a, 1e-5, 76, B, x);
            pf_control *c = NULL;
            must(make_control(D, a.params, a.params + D, &c));
            pf_group g = {.first = 5, .B = B, .x = x, .control = c};
            pf_likelihood_opt o = options(kind, 1);
            must(score_rows(&a.sde, &a.score, &o, &g, one));
            o.trace.control = PF_CONTROL_NONE;
            must(score_rows(&a.sde, &a.score, &o, &g, plain));
            o.trace.probe = PF_EXACT;
            must(score_rows(&a.sde, &a.score, &o, &g, exact));
            for (int b = 0; b < B; b++) { /* solver at 1e-8 a step, covariance in float */
                assert_near(one[b].integral, exact[b].integral, 2e-6);
                assert_true(fabs(plain[b].integral - exact[b].integral) > 1e-3);
            }
            pf_control_free(c);
            analytic_free(&a);
        }
}

typedef struct estimator {
    int probe, colours, control, subspace;
} estimator;

/* Whatever the control was made of, here a covariance that has nothing to do with the data. */
static void every_estimator_has_the_exact_divergence_as_mean(void **state)
{
    (void)state;
    enum { D = 6, B = 3, K = 800, N = 7, N_SDE = 5 }; /* rows of pf_sdes */
    const estimator all[N] = {{PF_RADEMACHER, 1, 1, 0}, {PF_GAUSSIAN, 1, 1, 0},
                              {PF_RADEMACHER, 4, 0, 0}, {PF_RADEMACHER, 2, 1, 0},
                              {PF_RADEMACHER, 1, 0, 2}, {PF_RADEMACHER, 1, 1, 3},
                              {PF_GAUSSIAN, 1, 1, 1}};
    float mean[D] = {0}, cov[D * D];
    random_covariance(D, 1.0, 30, cov);
    for (int e = 0; e < N; e++) {
        analytic a;
        double x[B * D];
        row rows[B], exact[B];
        pf_control *c = NULL;
        mixture_create(D, pf_sdes[e % N_SDE]->name, B, &a);
        mixture_samples(&a, 1e-5, 72, B, x);
        must(make_control(D, mean, cov, &c));
        pf_group g = {.first = 9, .B = B, .space = {.shape = {2, 3, 1}}, .x = x, .control = c};
        pf_likelihood_opt o = options(all[e].probe, K);
        o.ode = ode_options(PF_ERK, 1e-5);
        o.trace.colours = all[e].colours;
        o.trace.control = all[e].control;
        o.trace.control_noise = 0.1;
        o.trace.subspace = all[e].subspace;
        must(score_rows(&a.sde, &a.score, &o, &g, rows));
        o.trace.probe = PF_EXACT;
        must(score_rows(&a.sde, &a.score, &o, &g, exact));
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

/* A Gaussian whose only couplings are between entry i and i ^ 1 of n. */
static void paired_gaussian(int n, int apart, analytic *a)
{
    *a = (analytic){.ops = &pf_model_gaussian, .D = n};
    pf_opt_defaults(a->ops->opts, &a->opt);
    a->params = pf_zalloc(sizeof(float) * (size_t)n * (n + 1));
    for (int i = 0; i < n; i++) {
        a->params[n + i * (n + 1)] = 0.1f + 0.01f * (float)i;
        a->params[n + i * n + (i ^ apart)] = 0.08f;
    }
    analytic_bind(a, "vp", 1);
}

static void a_set_does_not_see_couplings_between_colours(void **state)
{
    (void)state;
    enum { D = 32 };
    static const struct {
        pf_shape shape;
        int apart, colours; /* the least that tells i from i ^ apart */
    } all[] = {
        {{4, 8, 1}, 1, 2},  /* left and right of each other */
        {{4, 8, 1}, 8, 2},  /* above and below */
        {{4, 8, 1}, 9, 4},  /* across the corner */
        {{4, 8, 1}, 2, 8},  /* two apart */
        {{4, 8, 1}, 16, 8}, /* two rows */
        {{4, 4, 2}, 1, 2},  /* channels of a pixel */
        {{2, 4, 4}, 2, 4},  {{1, 1, 32}, 4, 8},
    };
    for (size_t t = 0; t < sizeof all / sizeof *all; t++) {
        analytic a;
        double x[D] = {0.1, -0.2, 0.3};
        row exact, set, fewer;
        paired_gaussian(D, all[t].apart, &a);
        pf_group g = {.first = 3, .B = 1, .space = {.shape = all[t].shape}, .x = x};
        pf_likelihood_opt o = options(PF_RADEMACHER, all[t].colours);
        o.trace.control = PF_CONTROL_NONE;
        o.trace.colours = all[t].colours;
        must(score_rows(&a.sde, &a.score, &o, &g, &set));
        assert_true(isnan(set.probe_variance)); /* one set has no spread */
        o.trace.colours /= 2;
        must(score_rows(&a.sde, &a.score, &o, &g, &fewer));
        o.trace.probe = PF_EXACT;
        must(score_rows(&a.sde, &a.score, &o, &g, &exact));
        assert_near(set.integral, exact.integral, 2e-6); /* solver at 1e-8 a step */
        assert_true(fabs(fewer.integral - exact.integral) > 1e-4);
        analytic_free(&a);
    }
}

static void subspace_is_exact_and_leaves_the_rest_to_the_probes(void **state)
{
    (void)state;
    enum { D = 8 };
    analytic a;
    double x[D];
    float mean[D] = {0}, cov[D * D];
    row exact, whole, part;
    pf_control *any = NULL, *own = NULL;
    gaussian_create(D, "vp", 1, &a);
    gaussian_samples(&a, 1e-5, 77, 1, x);
    random_covariance(D, 1.0, 34, cov);
    must(make_control(D, mean, cov, &any));
    must(make_control(D, a.params, a.params + D, &own));
    pf_group g = {.first = 3, .B = 1, .x = x, .control = any};
    pf_likelihood_opt o = options(PF_RADEMACHER, 1);
    o.trace.control = PF_CONTROL_NONE;
    o.trace.subspace = D; /* nothing is left, in any basis */
    must(score_rows(&a.sde, &a.score, &o, &g, &whole));
    o.trace.control = PF_CONTROL_GAUSSIAN;
    o.trace.subspace = 3; /* the control, which is the model, knows the rest */
    g.control = own;
    must(score_rows(&a.sde, &a.score, &o, &g, &part));
    o.trace.probe = PF_EXACT;
    must(score_rows(&a.sde, &a.score, &o, &g, &exact));
    assert_near(whole.integral, exact.integral, 2e-6);
    assert_near(part.integral, exact.integral, 2e-6);
    pf_control_free(any);
    pf_control_free(own);
    analytic_free(&a);
}

static void control_starts_where_the_noise_does(void **state)
{
    (void)state;
    for (int k = 0; pf_sdes[k]; k++) {
        pf_sde sde;
        double m, s;
        must(pf_sde_init(pf_sdes[k]->name, &sde));
        double t = pf_control_start(&sde, 1e-5, 0.3);
        pf_sde_marginal(&sde, t, &m, &s);
        assert_near(s / m, 0.3, 1e-9);
        assert_true(pf_control_start(&sde, 1e-5, 0.0) == 1e-5);
        assert_true(pf_control_start(&sde, 1e-5, 1e6) == 1.0);
    }
}

static void options_that_exclude_each_other_are_refused(void **state)
{
    (void)state;
    pf_likelihood_opt o = options(PF_RADEMACHER, 8);
    o.trace.colours = 4;
    must(pf_likelihood_check(&o));
    o.trace.colours = 3;
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
    o.trace.colours = 16;
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
    o.trace.colours = 4;
    o.trace.subspace = 1;
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
    o.trace.subspace = 0;
    o.trace.probe = PF_GAUSSIAN;
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
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
    pf_control_integral(&(pf_control_use){c, &sde, 1e-5, 1e-5, 0}, 1, v, work, &a);
    pf_control_integral(&(pf_control_use){d, &sde, 1e-5, 1e-5, 0}, 1, v, work, &b);
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
    row one;
    pf_control *c = NULL;
    gaussian_create(D, "vp", 1, &a);
    pf_likelihood_opt o = options(PF_RADEMACHER, 1);
    pf_group g = {.B = 1, .x = x};
    assert_int_equal(score_rows(&a.sde, &a.score, &o, &g, &one), PF_EARG);
    const float cov[4] = {1, 0, 0, 1}, mean[2] = {0};
    must(make_control(2, mean, cov, &c));
    g.control = c;
    assert_int_equal(score_rows(&a.sde, &a.score, &o, &g, &one), PF_EARG);
    o.trace.probe = PF_EXACT; /* nothing to estimate: no control wanted */
    g.control = NULL;
    must(score_rows(&a.sde, &a.score, &o, &g, &one));
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
        cmocka_unit_test(every_estimator_has_the_exact_divergence_as_mean),
        cmocka_unit_test(a_set_does_not_see_couplings_between_colours),
        cmocka_unit_test(subspace_is_exact_and_leaves_the_rest_to_the_probes),
        cmocka_unit_test(control_starts_where_the_noise_does),
        cmocka_unit_test(options_that_exclude_each_other_are_refused),
        cmocka_unit_test(noise_variance_is_that_of_the_dequantised_data),
        cmocka_unit_test(control_of_another_size_or_none_is_refused),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
