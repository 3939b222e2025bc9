/* Laws of the solver and its norm. */
#include "analytic.h"

#include "flow/quadrature.h"
#include "flow/variable.h"

#include <probflow/stop.h>

/* dx/dt = A(t) x with a known solution: x(t) = x0 exp(rate (t - t0)), entry by entry. */
typedef struct decay {
    int D, calls;
    const double *rate;
    double bad_after; /* NaN from here on */
} decay;

static pf_status decay_drift(void *self, double t, int B, const double *x, double *f)
{
    decay *d = self;
    d->calls++;
    for (int i = 0; i < B * d->D; i++) f[i] = t > d->bad_after ? NAN : d->rate[i % d->D] * x[i];
    return PF_OK;
}

static pf_status decay_vjp(void *self, double t, int B, const double *x, int K, const double *v,
                           double *f, double *jv)
{
    decay *d = self;
    for (int i = 0; i < K * B * d->D; i++) jv[i] = d->rate[i % d->D] * v[i];
    return decay_drift(self, t, B, x, f);
}

static pf_status refuse(void *self, double t, int B, const double *x, double *f)
{
    (void)self, (void)B, (void)x, (void)f;
    PF_FAIL(PF_EIO, "the score is on strike at t = %g", t);
}

static pf_status last_before_stop(void *self, double t, int B, const double *x, double *f)
{
    decay *d = self;
    if (d->calls == 4) pf_stop();
    return decay_drift(self, t, B, x, f);
}

static double no_prior(void *self, const double *z)
{
    (void)self, (void)z;
    return 0.0;
}

static pf_flow decay_flow(decay *d, int batch)
{
    return (pf_flow){d, d->D, batch, decay_drift, decay_vjp, no_prior, NULL};
}

static void a_stop_ends_a_solve_at_its_next_evaluation(void **state)
{
    (void)state;
    double rate[3] = {-5.0, 0.5, 2.0};
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        decay d = {.D = 3, .rate = rate, .bad_after = 2.0};
        pf_flow f = decay_flow(&d, 2);
        double x[6] = {1, 2, 3, -1, 0.5, 4};
        f.drift = last_before_stop;
        pf_ode_opt o = ode_options(solver, 1e-8);
        pf_ode_problem p = {.flow = &f, .B = 2, .t0 = 0.1, .t1 = 1.0};
        assert_int_equal(pf_ode_solve(&p, &o, x, NULL, NULL), PF_ESTOP);
        assert_int_equal(d.calls, 5);
        pf_stop_clear();
    }
}

static void solution_is_exact_within_tolerance(void **state)
{
    (void)state;
    double rate[3] = {-5.0, 0.5, 2.0};
    decay d = {.D = 3, .rate = rate, .bad_after = 2.0};
    pf_flow f = decay_flow(&d, 2);
    const char *const *words = pf_opt_find(pf_ode_opts, "solver").words;
    for (int solver = PF_ADAMS; words[solver]; solver++) {
        double x[6] = {1, 2, 3, -1, 0.5, 4}, x0[6], div[2];
        pf_ode_opt o = ode_options(solver, 1e-8);
        pf_ode_problem p = {.flow = &f, .B = 2, .exact = 1, .t0 = 0.1, .t1 = 1.0};
        memcpy(x0, x, sizeof x);
        must(pf_ode_solve(&p, &o, x, div, NULL));
        for (int i = 0; i < 6; i++) /* global error: a few hundred steps' worth of tolerance */
            assert_true(fabs(x[i] - x0[i] * exp(0.9 * rate[i % 3])) < 3e-6 * fabs(x0[i]) * 10);
        for (int b = 0; b < 2; b++)
            assert_true(fabs(div[b] - 0.9 * (rate[0] + rate[1] + rate[2])) < 1e-7);
    }
}

static void forward_then_back_returns_to_the_start(void **state)
{
    (void)state;
    for (int k = 0; pf_sdes[k]; k++)
        for (int form = 0; form < N_FORMS; form++) {
            analytic a;
            mixture_create(6, pf_sdes[k]->name, 4, &a);
            double x[24], z[24];
            pf_ode_opt o = in_form(ode_options(PF_ERK, 1e-9), form);
            mixture_samples(&a, o.t_min, 20, 4, x);
            memcpy(z, x, sizeof z);
            pf_ode_problem p = {.flow = a.flow, .B = 4, .t0 = o.t_min, .t1 = 1.0};
            must(pf_ode_solve(&p, &o, z, NULL, NULL));
            p.t0 = 1.0;
            p.t1 = o.t_min;
            must(pf_ode_solve(&p, &o, z, NULL, NULL));
            /* the flow contracts where it leads data to the prior least, so errors grow on the way
             * back */
            for (int i = 0; i < 24; i++) assert_true(fabs(x[i] - z[i]) < 1e-6);
            analytic_free(&a);
        }
}

/* -------------------------------------------------------------------- variables of the solve -- */

static void a_variable_gives_back_its_time_and_its_slope(void **state)
{
    (void)state;
    const double at[] = {1e-5, 1e-3, 0.1, 0.5, 0.99};
    const char *const *words = pf_opt_find(pf_ode_opts, "variable").words;
    for (int k = 0; pf_sdes[k]; k++)
        for (int v = 0; words[v]; v++)
            for (int i = 0; i < 5; i++) {
                pf_sde sde;
                double rate, other, h = 1e-4 * fmin(at[i], 1.0 - at[i]);
                must(pf_sde_init(pf_sdes[k]->name, &sde));
                const pf_variable *row = &pf_variables[v];
                double u = pf_variable_of(row, &sde, at[i]);
                assert_near(pf_variable_time(row, &sde, u, &rate), at[i], 1e-11 * at[i]);
                double rise =
                    pf_variable_of(row, &sde, at[i] + h) - pf_variable_of(row, &sde, at[i] - h);
                assert_near(rate * rise / (2.0 * h), 1.0, 1e-6); /* h^2, rounding/h */
                assert_near(pf_variable_time(row, &sde, pf_variable_of(row, &sde, 0.3), &other),
                            0.3, 1e-11);
            }
}

/* Probes of any length: what the scaled state leaves to the closed form is v'v log(mean). */
static void end_and_divergences_do_not_depend_on_the_variable(void **state)
{
    (void)state;
    enum { D = 6, B = 3, K = 2 };
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[B * D], v[K * B * D], z[2][B * D], div[2][B * K];
        mixture_create(D, pf_sdes[k]->name, B, &a);
        for (int i = 0; i < K * B * D; i++) v[i] = (1.0 + i % 3) * normal(25, i);
        mixture_samples(&a, 1e-5, 26, B, x);
        for (int form = 0; form < N_FORMS; form++) {
            pf_ode_opt o = in_form(ode_options(PF_ERK, 1e-9), form);
            double *end = z[form > 0], *got = div[form > 0];
            pf_ode_problem p = {
                .flow = a.flow, .B = B, .K = K, .t0 = o.t_min, .t1 = 1.0, .probe = v};
            memcpy(end, x, sizeof x);
            must(pf_ode_solve(&p, &o, end, got, NULL));
            /* some hundred steps of 1e-9, x up to 150 in VE, divergences of D nats times v'v */
            for (int i = 0; form && i < B * D; i++) assert_near(end[i], z[0][i], 1e-5);
            for (int i = 0; form && i < B * K; i++) assert_near(got[i], div[0][i], 1e-5);
        }
        analytic_free(&a);
    }
}

static void gauss_legendre_is_exact_for_polynomials(void **state)
{
    (void)state;
    for (int n = 1; n <= 40; n++) {
        double x[40], w[40];
        pf_gauss_legendre(n, x, w);
        for (int p = 0; p < 2 * n; p++) {
            double sum = 0.0;
            for (int i = 0; i < n; i++) sum += w[i] * pow(x[i], p);
            assert_near(sum, p % 2 ? 0.0 : 2.0 / (p + 1), 1e-13); /* rounding of n terms */
        }
        for (int i = 1; i < n; i++) assert_true(x[i] > x[i - 1]);
    }
}

/* Either way along the path; x never feels the nodes. */
static void nodes_give_the_divergence_and_leave_the_path_alone(void **state)
{
    (void)state;
    enum { D = 6, B = 3, K = 2, NODES = 256 };
    for (int k = 0; pf_sdes[k]; k++)
        for (int form = 0; form < 2 * N_FORMS; form++) {
            analytic a;
            double x[B * D], y[B * D], z[B * D], v[K * B * D], along[B * K], div[B * K];
            pf_ode_stat path, nodes;
            mixture_create(D, pf_sdes[k]->name, B, &a);
            pf_ode_opt o = in_form(ode_options(form % 2 ? PF_ERK : PF_ADAMS, 1e-8), form / 2);
            mixture_samples(&a, form % 3 ? o.t_min : 1.0, 27, B, x);
            memcpy(y, x, sizeof x);
            memcpy(z, x, sizeof x);
            for (int i = 0; i < K * B * D; i++) v[i] = normal(28, i);
            pf_ode_problem p = {.flow = a.flow, .B = B, .t0 = o.t_min, .t1 = 1.0, .probe = v};
            if (form % 3 == 0) p.t0 = 1.0, p.t1 = o.t_min;
            must(pf_ode_solve(&p, &o, z, NULL, &path));
            p.K = K;
            must(pf_ode_solve(&p, &o, x, along, NULL));
            o.div_nodes = NODES;
            must(pf_ode_solve(&p, &o, y, div, &nodes));
            assert_memory_equal(y, z, sizeof y);
            assert_int_equal(nodes.steps, path.steps);
            if (o.solver == PF_ADAMS) /* ARKODE evaluates to interpolate */
                assert_int_equal(nodes.evaluations - NODES, path.evaluations);
            /* what the solvers leave between their steps, in nats: 2e-4 measured, ERK */
            for (int i = 0; i < B * K; i++) assert_near(div[i], along[i], 2e-3);
            analytic_free(&a);
        }
}

/* What the corrector's iteration leaves is below the error of the step itself. */
static void corrections_beyond_the_first_cost_evaluations_and_gain_nothing(void **state)
{
    (void)state;
    enum { D = 6, B = 4 };
    const double tol = 1e-5;
    for (int k = 0; pf_sdes[k]; k++) {
        analytic a;
        double x[B * D], z[3][B * D], div[3][B];
        pf_ode_stat stat[3];
        mixture_create(D, pf_sdes[k]->name, B, &a);
        pf_ode_opt o = in_form(ode_options(PF_ADAMS, tol), PF_IN_ARSINH);
        pf_ode_opt opt[3] = {o, o, ode_options(PF_ERK, 1e-10)};
        opt[0].corrector = 0.4;
        opt[1].corrector = 0.02;
        mixture_samples(&a, o.t_min, 31, B, x);
        pf_ode_problem p = {.flow = a.flow, .B = B, .exact = 1, .t0 = o.t_min, .t1 = 1.0};
        for (int i = 0; i < 3; i++) {
            memcpy(z[i], x, sizeof x);
            must(pf_ode_solve(&p, &opt[i], z[i], div[i], &stat[i]));
        }
        assert_true(5 * stat[0].evaluations < 4 * stat[1].evaluations);
        /* nats; div_tol is in bits/dim, and steps' errors add up to some tens of it */
        for (int b = 0; b < B; b++)
            assert_true(fabs(div[0][b] - div[2][b]) < 30 * tol * D * M_LN2);
        analytic_free(&a);
    }
}

static void a_flow_without_its_sde_is_solved_in_t_only(void **state)
{
    (void)state;
    double rate[1] = {1.0}, x[1] = {1.0};
    decay d = {.D = 1, .rate = rate, .bad_after = 2.0};
    pf_flow f = decay_flow(&d, 1);
    pf_ode_problem p = {.flow = &f, .B = 1, .t0 = 0.25, .t1 = 1.0};
    double div[1];
    pf_ode_opt o = ode_options(PF_ADAMS, 1e-6);
    for (int form = 1; form < N_FORMS; form++) {
        pf_ode_opt changed = in_form(o, form);
        assert_int_equal(pf_ode_solve(&p, &changed, x, NULL, NULL), PF_EARG);
    }
    p.exact = 1;
    o.div_nodes = 8;
    assert_int_equal(pf_ode_solve(&p, &o, x, div, NULL), PF_EARG);
}

static void hutchinson_of_a_symmetric_part_is_its_quadratic_form(void **state)
{
    (void)state;
    double rate[2] = {-3.0, 1.0}, v[8] = {1, 1, -1, 1, 2, 0, 0.5, 3};
    decay d = {.D = 2, .rate = rate, .bad_after = 2.0};
    pf_flow f = decay_flow(&d, 2);
    double x[4] = {1, 1, 2, 2}, div[4];
    pf_ode_opt o = ode_options(PF_ADAMS, 1e-9);
    pf_ode_problem p = {.flow = &f, .B = 2, .K = 2, .t0 = 0.0, .t1 = 1.0, .probe = v};
    must(pf_ode_solve(&p, &o, x, div, NULL));
    for (int k = 0; k < 2; k++)
        for (int b = 0; b < 2; b++) {
            const double *w = v + (k * 2 + b) * 2;
            double want = rate[0] * w[0] * w[0] + rate[1] * w[1] * w[1];
            assert_true(fabs(div[b * 2 + k] - want) <
                        1e-8); /* constant in t: exact but for rounding */
        }
}

static void chunked_exact_divergence_equals_one_probe_per_dimension(void **state)
{
    (void)state;
    enum { D = 37 }; /* not a multiple of any chunk */
    double rate[D], x[D], div[1], sum = 0.0;
    for (int i = 0; i < D; i++) sum += rate[i] = 0.1 * i - 2.0, x[i] = 1.0;
    decay d = {.D = D, .rate = rate, .bad_after = 2.0};
    pf_flow f = decay_flow(&d, 1);
    pf_ode_opt o = ode_options(PF_ERK, 1e-6);
    pf_ode_problem p = {.flow = &f, .B = 1, .exact = 1, .t0 = 0.0, .t1 = 1.0};
    must(pf_ode_solve(&p, &o, x, div, NULL));
    assert_true(fabs(div[0] - sum) < 1e-10);
}

/* One stiff-to-follow image among quiet ones takes the steps it would take alone. */
static void norm_is_not_diluted_by_other_images(void **state)
{
    (void)state;
    analytic a;
    gaussian_create(8, "vp", 64, &a);
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        double x[64 * 8], alone[8], want[8], mean[8];
        pf_ode_opt o = ode_options(solver, 1e-5), exact = ode_options(PF_ERK, 1e-10);
        pf_ode_stat one, many;
        for (int i = 0; i < 8; i++) mean[i] = (double)a.params[i];
        for (int i = 0; i < 64 * 8; i++)
            x[i] = mean[i % 8]; /* at the mean the flow is gentle */
        for (int i = 0; i < 8; i++) x[i] = alone[i] = want[i] = mean[i] + 3.0 * normal(21, i);
        pf_ode_problem p = {.flow = a.flow, .B = 1, .t0 = 1e-5, .t1 = 1.0};
        must(pf_ode_solve(&p, &exact, want, NULL, NULL));
        must(pf_ode_solve(&p, &o, alone, NULL, &one));
        p.B = 64;
        must(pf_ode_solve(&p, &o, x, NULL, &many));
        /* a norm over the batch would let 8 times the error pass and need fewer steps */
        assert_true(many.steps >= one.steps);
        double e1 = 0.0, e64 = 0.0;
        for (int i = 0; i < 8; i++) {
            e1 = fmax(e1, fabs(alone[i] - want[i]));
            e64 = fmax(e64, fabs(x[i] - want[i]));
        }
        assert_true(e64 < 2.0 * e1 + 1e-6);
    }
    analytic_free(&a);
}

/* The norm of the published code, for comparison with it: one image among 63 at rest gets 8 times
 * the error of its own norm. */
static void group_norm_lets_quiet_images_hide_a_loud_one(void **state)
{
    (void)state;
    analytic a;
    gaussian_create(8, "vp", 64, &a);
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        double x[64 * 8], y[64 * 8];
        pf_ode_opt image = ode_options(solver, 1e-5), group = image;
        pf_ode_stat si, sg;
        group.norm = PF_NORM_GROUP;
        for (int i = 0; i < 64 * 8; i++)
            x[i] = (double)a.params[i % 8] + (i < 8 ? 3.0 * normal(21, i) : 0.0);
        memcpy(y, x, sizeof x);
        pf_ode_problem p = {.flow = a.flow, .B = 64, .t0 = 1e-5, .t1 = 1.0};
        must(pf_ode_solve(&p, &image, x, NULL, &si));
        must(pf_ode_solve(&p, &group, y, NULL, &sg));
        assert_true(sg.steps < si.steps);
    }
    analytic_free(&a);
}

static void a_batch_of_equal_images_takes_the_steps_of_one(void **state)
{
    (void)state;
    analytic a;
    mixture_create(6, "subvp", 16, &a);
    double x[16 * 6], one[6], lp1[1], lp16[16];
    for (int i = 0; i < 16 * 6; i++) x[i] = 0.4 * normal(22, i % 6);
    memcpy(one, x, sizeof one);
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        pf_ode_opt o = ode_options(solver, 1e-5);
        pf_ode_stat s1 = flow_logp(&a, &o, 1, one, lp1), s16 = flow_logp(&a, &o, 16, x, lp16);
        if (solver != PF_BDF) /* Krylov sums over images, so only its stopping differs */
            assert_int_equal(s1.steps, s16.steps);
        for (int b = 0; b < 16; b++)
            assert_true(fabs(lp16[b] - lp1[0]) < 1e-4 * fabs(lp1[0]) + 1e-4);
    }
    analytic_free(&a);
}

/* The divergence has its own tolerance: with x at ease, tightening div_tol alone adds steps. */
static void divergence_is_controlled_by_its_own_tolerance(void **state)
{
    (void)state;
    analytic a;
    gaussian_create(16, "vp", 1, &a);
    double x[16], lp[1];
    gaussian_samples(&a, 1e-5, 30, 1, x);
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver += 2) {
        pf_ode_opt loose = ode_options(solver, 1e-3), tight = loose;
        tight.div_tol = 1e-8;
        pf_ode_stat few = flow_logp(&a, &loose, 1, x, lp),
                    more = flow_logp(&a, &tight, 1, x, lp);
        assert_true(more.steps > 2 * few.steps);
    }
    analytic_free(&a);
}

static void nan_in_the_drift_is_one_sentence(void **state)
{
    (void)state;
    double rate[2] = {-1.0, 1.0}, x[2] = {1.0, 1.0};
    decay d = {.D = 2, .rate = rate, .bad_after = 0.5};
    pf_flow f = decay_flow(&d, 1);
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        pf_ode_opt o = ode_options(solver, 1e-6);
        pf_ode_problem p = {
            .flow = &f, .B = 1, .t0 = 0.0, .t1 = 1.0, .what = "image", .first = 70000};
        assert_int_equal(pf_ode_solve(&p, &o, x, NULL, NULL), PF_ENUMERIC);
        assert_true(d.calls < 1000); /* given up at once */
        assert_non_null(
            strstr(pf_error_message(), "the drift of image 70000 is not finite at t = "));
        x[0] = x[1] = 1.0;
    }
}

static void reason_of_a_failing_score_survives_the_solver(void **state)
{
    (void)state;
    double rate[1] = {1.0}, x[1] = {1.0};
    decay d = {.D = 1, .rate = rate};
    pf_flow f = decay_flow(&d, 1);
    f.drift = refuse;
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        pf_ode_opt o = ode_options(solver, 1e-6);
        pf_ode_problem p = {.flow = &f, .B = 1, .t0 = 0.25, .t1 = 1.0};
        assert_int_equal(pf_ode_solve(&p, &o, x, NULL, NULL), PF_EIO);
        assert_string_equal(pf_error_message(), "the score is on strike at t = 0.25");
    }
}

static void too_few_steps_are_an_error_that_says_where(void **state)
{
    (void)state;
    analytic a;
    gaussian_create(4, "vp", 1, &a);
    double x[4] = {0.1, 0.2, 0.3, 0.4};
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        pf_ode_opt o = ode_options(solver, 1e-8);
        o.max_steps = 3;
        pf_ode_problem p = {.flow = a.flow, .B = 1, .t0 = 1e-5, .t1 = 1.0};
        assert_int_equal(pf_ode_solve(&p, &o, x, NULL, NULL), PF_ENUMERIC);
        assert_non_null(strstr(pf_error_message(), "after 3 steps"));
    }
    analytic_free(&a);
}

static void solve_leaves_no_memory_behind(void **state)
{
    (void)state;
    analytic a;
    gaussian_create(4, "vp", 1, &a);
    double x[4] = {0.1, 0.2, 0.3, 0.4}, lp[1];
    pf_ode_opt o = ode_options(PF_ADAMS, 1e-4);
    flow_logp(&a, &o, 1, x, lp); /* the score keeps its room */
    size_t before = pf_alloc_live();
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        o.solver = solver;
        flow_logp(&a, &o, 1, x, lp);
        assert_int_equal(pf_alloc_live(), before);
    }
    analytic_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solution_is_exact_within_tolerance),
        cmocka_unit_test(forward_then_back_returns_to_the_start),
        cmocka_unit_test(a_variable_gives_back_its_time_and_its_slope),
        cmocka_unit_test(end_and_divergences_do_not_depend_on_the_variable),
        cmocka_unit_test(gauss_legendre_is_exact_for_polynomials),
        cmocka_unit_test(nodes_give_the_divergence_and_leave_the_path_alone),
        cmocka_unit_test(a_flow_without_its_sde_is_solved_in_t_only),
        cmocka_unit_test(group_norm_lets_quiet_images_hide_a_loud_one),
        cmocka_unit_test(hutchinson_of_a_symmetric_part_is_its_quadratic_form),
        cmocka_unit_test(chunked_exact_divergence_equals_one_probe_per_dimension),
        cmocka_unit_test(corrections_beyond_the_first_cost_evaluations_and_gain_nothing),
        cmocka_unit_test(norm_is_not_diluted_by_other_images),
        cmocka_unit_test(a_batch_of_equal_images_takes_the_steps_of_one),
        cmocka_unit_test(divergence_is_controlled_by_its_own_tolerance),
        cmocka_unit_test(nan_in_the_drift_is_one_sentence),
        cmocka_unit_test(reason_of_a_failing_score_survives_the_solver),
        cmocka_unit_test(a_stop_ends_a_solve_at_its_next_evaluation),
        cmocka_unit_test(too_few_steps_are_an_error_that_says_where),
        cmocka_unit_test(solve_leaves_no_memory_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
