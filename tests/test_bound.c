/* Laws of the bound of an SDE: on Gaussians every term has a closed form. */
#include "analytic.h"
#include "likelihood_rows.h"

static pf_likelihood_opt options(void)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.ode.rtol = o.ode.atol = o.ode.div_tol = 1e-6;
    o.dequantisation = PF_DEQUANT_NONE;
    o.estimand = PF_BOUND;
    return o;
}

/* Of a Gaussian every term of the bound is a sum over eigenvalues: with a = m^2 w/(m^2 w + s^2),
 * E|s score + z|^2 = sum a^2 + (1-a)^2 m^2 e^2/s^2 for the offset e from the mean. */
static double gaussian_bound(const analytic *a, const double *w, const double *e,
                             const double *x, double t_min)
{
    const pf_sde_ops *ops = a->sde.ops;
    int D = a->D, N = 20000;
    double mass = ops->mass(&a->sde.opt, t_min, 1.0), sum = 0.0, m, s, total = 0.0, x2 = 0.0;
    for (int n = 0; n <= N; n++) {
        double t = n < N ? ops->mass_inverse(&a->sde.opt, t_min, mass * (n + 0.5) / N) : t_min;
        pf_sde_marginal(&a->sde, t, &m, &s);
        double r = 0.0;
        for (int i = 0; i < D; i++) {
            double v = m * m * w[i] + s * s, al = m * m * w[i] / v;
            r += al * al + s * s * m * m * e[i] * e[i] / (v * v);
        }
        sum += n < N ? mass / N * r : r;
    }
    total += 0.5 * sum + 0.5 * D * log(2.0 * M_PI * s * s / (m * m));
    pf_sde_marginal(&a->sde, 1.0, &m, &s);
    double p = ops->prior_std(&a->sde.opt), v = s * s / p / p;
    for (int i = 0; i < D; i++) x2 += x[i] * x[i];
    return total + 0.5 * (D * (v - 1.0 - log(v)) + m * m * x2 / p / p);
}

/* Whatever the form and the law of its times. */
static void bound_of_a_gaussian_has_its_closed_form_as_mean(void **state)
{
    (void)state;
    enum { D = 8, J = 400, FORMS = 3, LAWS = 2 };
    static row rows[J];
    for (int i = 0; pf_sdes[i / FORMS / LAWS]; i++) {
        const char *sde = pf_sdes[i / FORMS / LAWS]->name;
        analytic a;
        double x[D], y[D], e[D], w[D], basis[D * D], mean = 0.0, var = 0.0;
        gaussian_create(D, sde, 1, &a);
        gaussian_samples(&a, 1e-5, 50, 1, x);
        for (int k = 0; k < D * D; k++) basis[k] = (double)a.params[D + k];
        must(pf_linalg_eigh(D, basis, w));
        for (int k = 0; k < D; k++) y[k] = x[k] - (double)a.params[k];
        pf_linalg_gemm(&(pf_gemm){.tb = 1, .m = 1, .n = D, .k = D, .alpha = 1.0}, y, basis, e);
        pf_likelihood_opt o = options();
        o.draws = J;
        o.bound_samples = 20;
        o.bound_form = i % FORMS;
        o.bound_times = i / FORMS % LAWS;
        o.ode.t_min =
            o.bound_times ? 0.01 : o.ode.t_min; /* even times see little of the rest */
        pf_group g = {.first = 3, .B = 1, .x = x};
        must(score_rows(&a.sde, &a.score, &o, &g, rows));
        for (int j = 0; j < J; j++) mean += rows[j].bound / J;
        for (int j = 0; j < J; j++) var += pow(rows[j].bound - mean, 2) / (J - 1) / J;
        double want = gaussian_bound(&a, w, e, x, o.ode.t_min) / (D * M_LN2);
        assert_true(fabs(mean - want) < 4.0 * sqrt(var)); /* 6e-5 by chance */
        if (!o.bound_times) assert_true(sqrt(var) < (o.bound_form ? 0.2 : 0.05));
        assert_true(isnan(rows[0].nll));
        analytic_free(&a);
    }
}

/* With the exact score the reverse SDE is the data's own, so over the data the bound exceeds the
 * code length by two gaps only [nats]: the prior's, and the decoder's, whose posterior variance
 * w s^2/(m^2 w + s^2) an eigenvalue is called s^2/m^2. */
static double least_gap(const pf_sde *sde, const double *w, int D, double t_min)
{
    double gap = 0.0, m, s, p = sde->ops->prior_std(&sde->opt);
    for (int i = 0; i < D; i++) {
        pf_sde_marginal(sde, t_min, &m, &s);
        double r = m * m * w[i] / (m * m * w[i] + s * s);
        gap += 0.5 * (r - 1.0 - log(r));
        pf_sde_marginal(sde, 1.0, &m, &s);
        double v = (m * m * w[i] + s * s) / (p * p);
        gap += 0.5 * (v - 1.0 - log(v));
    }
    return gap;
}

static void bound_with_the_exact_score_is_tight_up_to_prior_and_decoder(void **state)
{
    (void)state;
    enum { D = 8, N = 2000 };
    static row rows[N];
    static double x[N * D], e[N * D], gap[N];
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double w[D], basis[D * D], mean = 0.0, var = 0.0;
        gaussian_create(D, pf_sdes[k]->name, N, &a);
        for (int i = 0; i < D; i++) a.params[i] = 0.0f;
        analytic_rebind(&a, pf_sdes[k]->name, N);
        for (int i = 0; i < D * D; i++) basis[i] = (double)a.params[D + i];
        must(pf_linalg_eigh(D, basis, w));
        for (int i = 0; i < N * D; i++) e[i] = sqrt(w[i % D]) * normal(55, i);
        pf_linalg_gemm(&(pf_gemm){.m = N, .n = D, .k = D, .alpha = 1.0}, e, basis, x);
        pf_likelihood_opt o = options();
        o.bound_samples = 100;
        pf_group g = {.B = N, .x = x};
        must(score_rows(&a.sde, &a.score, &o, &g, rows));
        for (int n = 0; n < N; n++) gap[n] = rows[n].bound * D * M_LN2;
        for (int i = 0; i < N * D; i++)
            gap[i / D] -= 0.5 * (log(2.0 * M_PI * w[i % D]) + e[i] * e[i] / w[i % D]);
        for (int n = 0; n < N; n++) mean += gap[n] / N;
        for (int n = 0; n < N; n++) var += pow(gap[n] - mean, 2) / (N - 1) / N;
        assert_near(mean, least_gap(&a.sde, w, D, o.ode.t_min), 4.0 * sqrt(var));
        assert_true(sqrt(var) < 0.05);
        analytic_free(&a);
    }
}

static pf_status read_moments(void *self, int64_t first, int64_t n, double *x)
{
    const double *all = self;
    memcpy(x, all + first * 8, (size_t)n * 8 * sizeof *x);
    return PF_OK;
}

/* Points at mean +- sqrt(D w_i) q_i have this mean and covariance: with the model's own every residual is known. */
static void a_control_that_is_the_model_leaves_nothing_to_chance(void **state)
{
    (void)state;
    enum { D = 8, J = 400 };
    static row rows[J];
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        pf_control *c = NULL;
        double x[D], y[D], e[D], w[D], basis[D * D], points[2 * D * D], se[2], mean[2];
        gaussian_create(D, pf_sdes[k]->name, 1, &a);
        gaussian_samples(&a, 1e-5, 51, 1, x);
        for (int i = 0; i < D * D; i++) basis[i] = (double)a.params[D + i];
        must(pf_linalg_eigh(D, basis, w));
        for (int i = 0; i < D; i++) y[i] = x[i] - (double)a.params[i];
        pf_linalg_gemm(&(pf_gemm){.tb = 1, .m = 1, .n = D, .k = D, .alpha = 1.0}, y, basis, e);
        for (int i = 0; i < 2 * D * D; i++)
            points[i] = (double)a.params[i % D] + (i / D / D ? -1.0 : 1.0) *
                                                      sqrt(D * w[i / D % D]) *
                                                      basis[i / D % D * D + i % D];
        must(pf_control_create(&(pf_sample_source){points, 2 * D, D, read_moments}, 0.0, &c));
        for (int with = 0; with < 2; with++) {
            pf_likelihood_opt o = options();
            double var = 0.0;
            o.draws = J;
            o.bound_samples = 20;
            o.bound_control = with ? PF_CONTROL_GAUSSIAN : PF_CONTROL_NONE;
            pf_group g = {.first = 3, .B = 1, .x = x, .control = c};
            must(score_rows(&a.sde, &a.score, &o, &g, rows));
            mean[with] = 0.0;
            for (int j = 0; j < J; j++) mean[with] += rows[j].bound / J;
            for (int j = 0; j < J; j++) var += pow(rows[j].bound - mean[with], 2) / (J - 1) / J;
            se[with] = sqrt(var);
            assert_near(mean[with], gaussian_bound(&a, w, e, x, o.ode.t_min) / (D * M_LN2),
                        4.0 * se[with] + (with ? 1e-5 : 0.0)); /* the sum over 20,000 times */
        }
        /* parameters are floats, and the points say their covariance to 1e-7 */
        assert_true(se[1] < 1e-4 * se[0]);
        pf_control_free(c);
        analytic_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bound_of_a_gaussian_has_its_closed_form_as_mean),
        cmocka_unit_test(a_control_that_is_the_model_leaves_nothing_to_chance),
        cmocka_unit_test(bound_with_the_exact_score_is_tight_up_to_prior_and_decoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
