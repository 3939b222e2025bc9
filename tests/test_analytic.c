/* Acceptance laws of the likelihood, against densities known in closed form. */
#include "analytic.h"
#include "likelihood_rows.h"

/* |flow - closed form| <= rel |closed form| for B points at t_min.  The flow starts from the
 * prior instead of the true p_1, so the closed form is of p_1 replaced likewise: the comparison
 * takes log p_t_min(x) - log p_1(z) + log prior(z). */
static double worst_error(analytic *a, const pf_ode_opt *o, int B, const double *x)
{
    size_t n = (size_t)B * a->D;
    double *z = pf_zalloc(n * sizeof *z), div[16], want[16], end[16], worst = 0.0;
    memcpy(z, x, n * sizeof *z);
    pf_ode_problem p = {.flow = a->flow, .B = B, .exact = 1, .t0 = o->t_min, .t1 = 1.0};
    must(pf_ode_solve(&p, o, z, div, NULL));
    must(a->ops->logp(a->state, &a->sde, o->t_min, B, x, want));
    must(a->ops->logp(a->state, &a->sde, 1.0, B, z, end));
    for (int b = 0; b < B; b++) /* the instantaneous change of variables, end to end */
        worst = fmax(worst, fabs(end[b] + div[b] - want[b]) / fmax(fabs(want[b]), 1.0));
    pf_free(z);
    return worst;
}

static void likelihood_of_a_gaussian_is_exact(void **state)
{
    (void)state;
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[3 * 64];
        gaussian_create(64, pf_sdes[k]->name, 3, &a);
        gaussian_samples(&a, 1e-5, 70, 3, x);
        /* where the mean falls to 5e-5 the solve spans log SNR of 40, and the scaled state grows to 2e4 */
        double m, s, most;
        pf_sde_marginal(&a.sde, 1.0, &m, &s);
        most = m < 1e-3 ? 5e-5 : 1e-6;
        for (int i = 0; i < 2 * N_FORMS; i++) {
            pf_ode_opt o = in_form(ode_options(i % 2 ? PF_ERK : PF_ADAMS, 1e-8), i / 2);
            assert_true(worst_error(&a, &o, 3, x) < most);
        }
        analytic_free(&a);
    }
}

static void likelihood_on_nodes_converges_geometrically_in_their_number(void **state)
{
    (void)state;
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[2 * 16], worst[3];
        gaussian_create(16, pf_sdes[k]->name, 2, &a);
        gaussian_samples(&a, 1e-5, 84, 2, x);
        pf_ode_opt o = ode_options(PF_ADAMS, 1e-9);
        for (int i = 0; i < 3; i++) {
            o.div_nodes = 8 << i;
            worst[i] = worst_error(&a, &o, 2, x);
        }
        /* Poles at +-i pi/2 from the half-lengths 6 (VP), 9.4 (sub-VP) and 4.3 (VE) of the axis of
         * log(std/mean): errors fall as rho^-2n, rho = 1.3, 1.18 and 1.4. */
        assert_true(worst[1] < 0.5 * worst[0]);
        assert_true(worst[2] < 0.05 * worst[1] && worst[2] < 1e-3);
        analytic_free(&a);
    }
}

/* The repeat doubles the nodes, so it sees what too few of them leave out. */
static void solver_error_sees_too_few_nodes(void **state)
{
    (void)state;
    analytic a;
    double x[2 * 6], error[2];
    row few[2], many[2];
    gaussian_create(6, "vp", 2, &a);
    gaussian_samples(&a, 1e-5, 45, 2, x);
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.ode = ode_options(PF_ADAMS, 1e-6);
    o.dequantisation = PF_DEQUANT_NONE;
    pf_group g = {.B = 2, .x = x, .repeat = 1};
    o.ode.div_nodes = 64;
    must(score_rows(&a.sde, &a.score, &o, &g, many));
    o.ode.div_nodes = 5;
    must(score_rows(&a.sde, &a.score, &o, &g, few));
    for (int b = 0; b < 2; b++) {
        error[b] = few[b].nll - many[b].nll;
        assert_true(fabs(many[b].solver_error) < 1e-4); /* of tolerances of 1e-6 */
        assert_true(fabs(error[b]) > 1e-3);
        assert_near(few[b].solver_error, error[b], 0.5 * fabs(error[b]));
    }
    analytic_free(&a);
}

static void likelihood_of_a_mixture_is_exact(void **state)
{
    (void)state;
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[6 * 2];
        mixture_create(2, pf_sdes[k]->name, 6, &a);
        mixture_samples(&a, 1e-5, 72, 6, x);
        for (int i = 0; i < 2 * N_FORMS; i++) {
            pf_ode_opt o = in_form(ode_options(i % 2 ? PF_ERK : PF_ADAMS, 1e-8), i / 2);
            assert_true(worst_error(&a, &o, 6, x) < 1e-5);
        }
        analytic_free(&a);
    }
}

/* What the prior leaves out: VP ends at mean(1) = 0.0066 of the data and not at N(0, I). */
static void nll_with_the_prior_differs_from_the_data_by_the_priors_mismatch_only(void **state)
{
    (void)state;
    analytic a;
    double x[2 * 16], lp[2], want[2];
    gaussian_create(16, "vp", 2, &a);
    gaussian_samples(&a, 1e-5, 74, 2, x);
    pf_ode_opt o = ode_options(PF_ERK, 1e-9);
    flow_logp(&a, &o, 2, x, lp);
    must(a.ops->logp(a.state, &a.sde, o.t_min, 2, x, want));
    /* 0.0066 |mu| |z| summed over 16 entries */
    for (int b = 0; b < 2; b++) assert_true(fabs(lp[b] - want[b]) < 16 * 0.0066);
    for (int b = 0; b < 2; b++) assert_true(lp[b] != want[b]);
    analytic_free(&a);
}

static void hutchinson_mean_equals_the_exact_divergence_within_its_own_error(void **state)
{
    (void)state;
    enum { D = 16, K = 64 };
    for (int kind = PF_RADEMACHER; kind <= PF_GAUSSIAN; kind++)
        for (int k = 0; pf_sdes[k]; k++) {
            analytic a;
            double x[D];
            row exact, row;
            pf_likelihood_opt o;
            gaussian_create(D, pf_sdes[k]->name, 1, &a);
            gaussian_samples(&a, 1e-5, 76, 1, x);
            pf_opt_defaults(pf_likelihood_opts, &o);
            o.ode = ode_options(PF_ERK, 1e-7);
            o.dequantisation = PF_DEQUANT_NONE;
            o.trace.probes = K;
            o.trace.probe = kind;
            o.trace.control = PF_CONTROL_NONE;
            pf_group g = {.first = 12, .B = 1, .x = x};
            must(score_rows(&a.sde, &a.score, &o, &g, &row));
            o.trace.probe = PF_EXACT;
            must(score_rows(&a.sde, &a.score, &o, &g, &exact));
            double se = sqrt(row.probe_variance);
            assert_true(se > 0.0 && se < 0.5);
            assert_true(fabs(row.integral - exact.integral) < 3.0 * se);
            assert_true(exact.probe_variance == 0.0);
            analytic_free(&a);
        }
}

/* Scales a Gaussian's parameters by c, which p(cx) c^D = p(x) must undo.  The SDE breaks the
 * scaling, so only its end to end density keeps it. */
static void scaling_the_data_by_c_adds_d_log_c(void **state)
{
    (void)state;
    enum { D = 12 };
    const double c = 3.0;
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[D], cx[D], z[D], div[1], lp[2], end[1];
        gaussian_create(D, pf_sdes[k]->name, 1, &a);
        gaussian_samples(&a, 1e-5, 78, 1, x);
        pf_ode_opt o = ode_options(PF_ERK, 1e-9);
        o.t_min = 1e-7;
        for (int s = 0; s < 2; s++) {
            for (int i = 0; i < D; i++) z[i] = cx[i] = s ? c * x[i] : x[i];
            pf_ode_problem p = {.flow = a.flow, .B = 1, .exact = 1, .t0 = o.t_min, .t1 = 1.0};
            must(pf_ode_solve(&p, &o, z, div, NULL));
            must(a.ops->logp(a.state, &a.sde, 1.0, 1, z, end));
            lp[s] = end[0] + div[0];
            for (int i = 0; !s && i < D; i++) a.params[i] *= (float)c;
            for (int i = 0; !s && i < D * D; i++) a.params[D + i] *= (float)(c * c);
            analytic_rebind(&a, pf_sdes[k]->name, 1);
        }
        /* VE keeps noise 0.01 at t = 0, which does not scale: 0.01^2 tr(C^-1) nats, some 0.1 */
        double slack = k == 2 ? 0.5 : 1e-3;
        assert_true(fabs(lp[0] - lp[1] - D * log(c)) < slack);
        analytic_free(&a);
    }
}

/* x -> Q x with Q a reflection: the density moves along, the likelihood stays. */
static void rotating_the_data_leaves_the_likelihood(void **state)
{
    (void)state;
    enum { D = 10 };
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a, r;
        double x[D], u[D], q[D * D], c[D * D], t[D * D], y[D], mean[D], lp, lq, u2 = 0.0;
        gaussian_create(D, pf_sdes[k]->name, 1, &a);
        gaussian_create(D, pf_sdes[k]->name, 1, &r);
        gaussian_samples(&a, 1e-5, 80, 1, x);
        for (int i = 0; i < D; i++) u[i] = normal(81, i), u2 += u[i] * u[i];
        for (int i = 0; i < D * D; i++)
            q[i] = (i % (D + 1) == 0) - 2.0 * u[i / D] * u[i % D] / u2;
        for (int i = 0; i < D * D; i++) c[i] = (double)a.params[D + i];
        for (int i = 0; i < D; i++) mean[i] = (double)a.params[i];
        pf_gemm mm = {.m = D, .n = D, .k = D, .alpha = 1.0},
                mv = {.m = 1, .n = D, .k = D, .alpha = 1.0};
        pf_linalg_gemm(&mm, q, c, t); /* q is symmetric */
        pf_linalg_gemm(&mm, t, q, c);
        pf_linalg_gemm(&mv, x, q, y);
        pf_linalg_gemm(&mv, mean, q, t);
        for (int i = 0; i < D; i++) r.params[i] = (float)t[i];
        for (int i = 0; i < D * D; i++) r.params[D + i] = (float)c[i];
        analytic_rebind(&r, pf_sdes[k]->name, 1);
        pf_ode_opt o = ode_options(PF_ADAMS, 1e-9);
        flow_logp(&a, &o, 1, x, &lp);
        flow_logp(&r, &o, 1, y, &lq);
        /* float parameters: 6e-8 relative, through eigenvalues two decades below the largest */
        assert_true(fabs(lp - lq) < 1e-4);
        analytic_free(&a);
        analytic_free(&r);
    }
}

/* A method of order p has local errors h^(p+1) held at tol: the global error goes as
 * tol^(p/(p+1)).  For tol/1000 that is 300 at order 5; accept a factor of 10 around it. */
static void tightening_the_tolerance_reduces_the_error_by_the_predicted_order(void **state)
{
    (void)state;
    analytic a;
    double x[4 * 16];
    gaussian_create(16, "vp", 4, &a);
    gaussian_samples(&a, 1e-5, 82, 4, x);
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver += 2) {
        pf_ode_opt loose = ode_options(solver, 1e-4), tight = ode_options(solver, 1e-7);
        double ratio = worst_error(&a, &loose, 4, x) / worst_error(&a, &tight, 4, x);
        assert_true(ratio > 30.0 && ratio < 30000.0);
    }
    analytic_free(&a);
}

/* -------------------------------------------------------------- the models' own derivatives -- */

static void check_score(analytic *a, int B, const double *x, double t0)
{
    int D = a->D;
    double t[8], s[8 * 8], sp[8 * 8], sm[8 * 8], v[2 * 8 * 8] = {0}, jv[2 * 8 * 8], lp[8],
                                                           lm[8], y[8 * 8];
    const double h = 1e-5;
    for (int b = 0; b < B; b++) t[b] = t0;
    for (int i = 0; i < 2 * B * D; i++) v[i] = normal(90, i);
    must(a->score.vjp(a->score.self, B, t, x, 2, v, s, jv));
    for (int d = 0; d < D; d++) { /* central differences of log p */
        for (int b = 0; b < B * D; b++) y[b] = x[b] + (b % D == d ? h : 0.0);
        must(a->ops->logp(a->state, &a->sde, t0, B, y, lp));
        for (int b = 0; b < B * D; b++) y[b] = x[b] - (b % D == d ? h : 0.0);
        must(a->ops->logp(a->state, &a->sde, t0, B, y, lm));
        for (int b = 0; b < B; b++) {
            double want = (lp[b] - lm[b]) / (2 * h);
            assert_true(fabs(s[b * D + d] - want) < 1e-4 * fmax(1.0, fabs(want)));
        }
    }
    for (int k = 0; k < 2;
         k++) { /* the Jacobian is symmetric, so v'J is a difference along v */
        for (int i = 0; i < B * D; i++) y[i] = x[i] + h * v[k * B * D + i];
        must(a->score.eval(a->score.self, B, t, y, sp));
        for (int i = 0; i < B * D; i++) y[i] = x[i] - h * v[k * B * D + i];
        must(a->score.eval(a->score.self, B, t, y, sm));
        for (int i = 0; i < B * D; i++) {
            double want = (sp[i] - sm[i]) / (2 * h);
            assert_true(fabs(jv[k * B * D + i] - want) < 1e-4 * fmax(1.0, fabs(want)) + 1e-3);
        }
    }
}

static void scores_are_the_gradients_of_their_densities(void **state)
{
    (void)state;
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[4 * 5];
        for (int i = 0; i < 20; i++) x[i] = 0.4 * normal(91, i);
        gaussian_create(5, pf_sdes[k]->name, 4, &a);
        check_score(&a, 4, x, 0.3);
        analytic_free(&a);
        mixture_create(5, pf_sdes[k]->name, 4, &a);
        check_score(&a, 4, x, 0.3);
        analytic_free(&a);
    }
}

static void score_takes_a_time_for_each_sample(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        analytic a;
        double x[6], s[6], one[3], t[2] = {0.1, 0.7};
        if (kind) mixture_create(3, "vp", 2, &a);
        else gaussian_create(3, "vp", 2, &a);
        for (int i = 0; i < 6; i++) x[i] = normal(92, i);
        must(a.score.eval(a.score.self, 2, t, x, s));
        for (int b = 0; b < 2; b++) {
            must(a.score.eval(a.score.self, 1, t + b, x + 3 * b, one));
            for (int i = 0; i < 3; i++)
                assert_true(fabs(one[i] - s[3 * b + i]) < 1e-12 * fabs(one[i]));
        }
        analytic_free(&a);
    }
}

/* ------------------------------------------------------------------------------------- fits -- */

typedef struct table {
    int D;
    const double *x;
} table;

static pf_status read_table(void *self, int64_t first, int64_t n, double *x)
{
    table *t = self;
    memcpy(x, t->x + (size_t)first * t->D, (size_t)n * t->D * sizeof *x);
    return PF_OK;
}

static void gaussian_fit_is_the_sample_moments(void **state)
{
    (void)state;
    enum { N = 700, D = 3 }; /* more than one block */
    static double x[N * D];
    float p[D + D * D];
    pf_model_ops const *ops = &pf_model_gaussian;
    char opt[PF_MODEL_BYTES];
    table t = {D, x};
    pf_sample_source src = {&t, N, D, read_table};
    for (int i = 0; i < N * D; i++)
        x[i] = 100.0 + normal(93, i) + (i % D ? 0.5 * normal(93, i - 1) : 0.0);
    pf_opt_defaults(ops->opts, opt);
    must(pf_opt_set(ops->opts, NULL, "noise_variance", "0.25", opt));
    must(ops->fit(opt, &src, p));
    for (int i = 0; i < D; i++) {
        double mi = 0.0;
        for (int n = 0; n < N; n++) mi += x[n * D + i] / N;
        assert_true(fabs((double)p[i] - mi) < 1e-5); /* float at 100 */
        for (int j = 0; j < D; j++) {
            double mj = 0.0, c = i == j ? 0.25 : 0.0;
            for (int n = 0; n < N; n++) mj += x[n * D + j] / N;
            for (int n = 0; n < N; n++) c += (x[n * D + i] - mi) * (x[n * D + j] - mj) / N;
            assert_true(fabs((double)p[D + i * D + j] - c) < 1e-6);
        }
    }
}

static void shrinkage_keeps_the_trace(void **state)
{
    (void)state;
    enum { N = 50, D = 4 };
    static double x[N * D];
    float p[2][D + D * D];
    char opt[PF_MODEL_BYTES];
    table t = {D, x};
    pf_sample_source src = {&t, N, D, read_table};
    for (int i = 0; i < N * D; i++) x[i] = (1 + i % D) * normal(94, i);
    for (int k = 0; k < 2; k++) {
        pf_opt_defaults(pf_model_gaussian.opts, opt);
        must(pf_opt_set(pf_model_gaussian.opts, NULL, "shrink", k ? "1" : "0", opt));
        must(pf_model_gaussian.fit(opt, &src, p[k]));
    }
    float trace = p[0][D] + p[0][2 * D + 1] + p[0][3 * D + 2] + p[0][4 * D + 3];
    for (int i = 0; i < D * D; i++) {
        float want = i % (D + 1) ? 0.0f : trace / D;
        assert_true(fabsf(p[1][D + i] - want) < 1e-5f);
    }
}

static void mixture_fit_finds_its_components_and_is_deterministic(void **state)
{
    (void)state;
    enum { N = 3000, D = 2, C = 3, P = C * (1 + D + D * D) };
    static double x[N * D], lp[N];
    float p[2][P];
    analytic a;
    mixture_create(D, "vp", 1, &a);
    mixture_samples(&a, 1e-9, 1000, N, x); /* a third each */
    table t = {D, x};
    pf_sample_source src = {&t, N, D, read_table};
    for (int k = 0; k < 2; k++) must(a.ops->fit(&a.opt, &src, p[k]));
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    double truth = 0.0, fitted = 0.0;
    for (int c = 0; c < C; c++) a.params[c] = 1.0f;
    for (int k = 0; k < 2; k++) {
        void *st;
        must(a.ops->prepare(&a.opt, (pf_shape){1, 1, D}, k ? p[0] : a.params, &st));
        must(a.ops->logp(st, NULL, 0.0, N, x, lp));
        for (int n = 0; n < N; n++) *(k ? &fitted : &truth) += lp[n] / N;
        a.ops->release(st);
    }
    /* maximum likelihood on its own data gains about (parameters)/(2N) = 0.003 nats a sample */
    assert_true(fitted > truth && fitted < truth + 0.01);
    analytic_free(&a);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    float p[6] = {0, 0, 1, 2, 2, 1}; /* eigenvalues 3 and -1 */
    void *st;
    char opt[PF_MODEL_BYTES];
    pf_opt_defaults(pf_model_gaussian.opts, opt);
    assert_int_equal(pf_model_gaussian.prepare(opt, (pf_shape){1, 1, 2}, p, &st), PF_ENUMERIC);
    float w[14] = {-1, 2};
    pf_opt_defaults(pf_model_mixture.opts, opt);
    assert_int_equal(pf_model_mixture.prepare(opt, (pf_shape){1, 1, 2}, w, &st), PF_ENUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likelihood_of_a_gaussian_is_exact),
        cmocka_unit_test(likelihood_on_nodes_converges_geometrically_in_their_number),
        cmocka_unit_test(solver_error_sees_too_few_nodes),
        cmocka_unit_test(likelihood_of_a_mixture_is_exact),
        cmocka_unit_test(nll_with_the_prior_differs_from_the_data_by_the_priors_mismatch_only),
        cmocka_unit_test(hutchinson_mean_equals_the_exact_divergence_within_its_own_error),
        cmocka_unit_test(scaling_the_data_by_c_adds_d_log_c),
        cmocka_unit_test(rotating_the_data_leaves_the_likelihood),
        cmocka_unit_test(tightening_the_tolerance_reduces_the_error_by_the_predicted_order),
        cmocka_unit_test(scores_are_the_gradients_of_their_densities),
        cmocka_unit_test(score_takes_a_time_for_each_sample),
        cmocka_unit_test(gaussian_fit_is_the_sample_moments),
        cmocka_unit_test(shrinkage_keeps_the_trace),
        cmocka_unit_test(mixture_fit_finds_its_components_and_is_deterministic),
        cmocka_unit_test(bad_parameters_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
