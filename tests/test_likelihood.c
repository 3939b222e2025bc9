/* Laws of the likelihood: dequantisation, ledger, bound, summary. */
#include "analytic.h"
#include "likelihood_rows.h"

static pf_likelihood_opt options(void)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.ode.rtol = o.ode.atol = o.ode.div_tol = 1e-6;
    o.trace.control = PF_CONTROL_NONE;
    return o;
}

static void defaults_are_those_of_the_solver(void **state)
{
    (void)state;
    pf_likelihood_opt o;
    pf_ode_opt ode;
    pf_opt_defaults(pf_likelihood_opts, &o);
    pf_opt_defaults(pf_ode_opts, &ode);
    assert_int_equal(o.ode.solver, ode.solver);
    assert_int_equal(o.ode.max_steps, ode.max_steps);
    assert_true(o.ode.rtol == ode.rtol && o.ode.atol == ode.atol);
    assert_true(o.ode.div_tol == ode.div_tol && o.ode.t_min == ode.t_min);
}

/* -------- a Gaussian on the pixel grid: exact code lengths are products of erf differences -- */

enum { L = 16, PIX = 6 };

static void pixel_gaussian(const char *sde, int batch, analytic *a)
{
    *a = (analytic){.ops = &pf_model_gaussian, .D = PIX};
    pf_opt_defaults(a->ops->opts, &a->opt);
    a->params = pf_zalloc(sizeof(float) * PIX * (PIX + 1));
    for (int i = 0; i < PIX; i++) {
        a->params[i] = (float)(0.2 * normal(40, i));
        a->params[PIX + i * (PIX + 1)] = 0.08f + 0.02f * (float)i; /* std of some 2 to 4 bins */
    }
    analytic_bind(a, sde, batch);
}

static double phi(double z)
{
    return 0.5 * erfc(-z * M_SQRT1_2);
}

/* -log2 P(k) / D of the bins under the density of x = z/scale, z the Gaussian at t_min. */
static double exact_bpd(const analytic *a, const unsigned char *k, double t_min, int scaled)
{
    double m, s, bits = 0.0;
    pf_sde_marginal(&a->sde, t_min, &m, &s);
    for (int i = 0; i < PIX; i++) {
        double std = sqrt(m * m * (double)a->params[PIX + i * (PIX + 1)] + s * s);
        double lo = 2.0 * k[i] / L - 1.0, hi = lo + 2.0 / L, f = scaled ? m : 1.0;
        double mu = m * (double)a->params[i];
        bits -= log2(phi((f * hi - mu) / std) - phi((f * lo - mu) / std));
    }
    return bits / PIX;
}

static void draw_pixels(const analytic *a, int B, unsigned char *k)
{
    double x[64 * PIX];
    gaussian_samples(a, 1e-5, 41, B, x);
    for (int i = 0; i < B * PIX; i++)
        k[i] = (unsigned char)fmin(fmax(floor((x[i] + 1.0) * L / 2), 0), L - 1);
}

/* Jensen: E[total] >= the exact code length, and the gap is E KL(q(u) || p(u|k)). */
static void dequantised(const char *sde, int kind, double t_min, double gap_min, double gap_max)
{
    enum { B = 16, J = 60 };
    analytic a;
    unsigned char k[B * PIX];
    row rows[B * J];
    pixel_gaussian(sde, B, &a);
    draw_pixels(&a, B, k);
    pf_likelihood_opt o = options();
    o.dequantisation = kind;
    o.draws = J;
    o.trace.probe = PF_EXACT;
    o.ode.t_min = t_min;
    pf_group g = {.first = 100, .B = B, .space = {.levels = L}, .pixels = k};
    must(score_rows(&a.sde, &a.score, &o, &g, rows));

    double gap = 0.0, se2 = 0.0;
    for (int b = 0; b < B; b++) {
        double mean = 0.0, var = 0.0;
        for (int j = 0; j < J; j++) mean += rows[j * B + b].nll / J;
        for (int j = 0; j < J; j++) var += pow(rows[j * B + b].nll - mean, 2) / (J - 1);
        gap +=
            (mean - exact_bpd(&a, k + b * PIX, t_min, kind == PF_DEQUANT_TRUNCATED_NORMAL)) / B;
        se2 += var / J / B / B;
    }
    /* 4 standard errors: 3e-5 by chance */
    assert_true(gap > gap_min - 4.0 * sqrt(se2));
    assert_true(gap < gap_max + 4.0 * sqrt(se2));
    assert_true(sqrt(se2) < 0.01);
    analytic_free(&a);
}

static void uniform_dequantisation_bounds_the_code_length_from_above(void **state)
{
    (void)state;
    /* the density is nearly log-linear in a bin: the gap is its slope^2/24 nats, some 0.03 bits */
    dequantised("vp", PF_DEQUANT_UNIFORM, 1e-5, 0.0, 0.08);
    dequantised("ve", PF_DEQUANT_UNIFORM, 1e-5, 0.0, 0.08);
}

static void truncated_normal_dequantisation_bounds_the_code_length_from_above(void **state)
{
    (void)state;
    /* noise of the bin's own width leaves q nearly flat: close to uniform's gap */
    dequantised("vp", PF_DEQUANT_TRUNCATED_NORMAL, 0.05, 0.0, 0.12);
    dequantised("subvp", PF_DEQUANT_TRUNCATED_NORMAL, 0.2, 0.0, 0.12);
}

enum { N = 20000 };

/* N draws within the lowest of 256 levels. */
static void dequantise_zeros(const pf_sde *sde, const pf_likelihood_opt *o, const pf_draw *d,
                             double x[N], double *log_q)
{
    static const unsigned char k[N];
    pf_dequantise(&(pf_dequantiser){sde, o, &(pf_space){.levels = 256}, N}, d, k, x, log_q);
}

static void log_q_is_a_density_that_its_draws_follow(void **state)
{
    (void)state;
    pf_sde sde;
    pf_likelihood_opt o = options();
    static double x[N];
    double log_q, mean, std;
    must(pf_sde_init("vp", &sde));
    o.dequantisation = PF_DEQUANT_TRUNCATED_NORMAL;
    for (int c = 0; c < 3; c++) {
        o.ode.t_min = (double[]){1e-5, 1e-4, 2e-3}[c]; /* tau = 3.9, 1.2, 0.2 at 256 levels */
        pf_sde_marginal(&sde, o.ode.t_min, &mean, &std);
        double s = 128.0 * std / mean, tau = 0.5 / s, z = erf(tau * M_SQRT1_2);
        double e2 = 1.0 - 2.0 * tau * exp(-0.5 * tau * tau) / sqrt(2.0 * M_PI) / z;
        pf_draw d = {3, PF_STREAM_EVAL_DEQUANT, (uint64_t)c, 0};
        dequantise_zeros(&sde, &o, &d, x, &log_q);
        double m1 = 0.0, m2 = 0.0;
        for (int i = 0; i < N; i++) {
            double u = (x[i] + 1.0) * 128.0;
            assert_true(u >= 0.0 && u <= 1.0);
            m1 += (u - 0.5) / s / N;
            m2 += (u - 0.5) * (u - 0.5) / s / s / N;
        }
        assert_true(fabs(m1) < 5.0 * sqrt(e2 / N));
        assert_true(fabs(m2 - e2) < 5.0 * sqrt(2.0 / N) * e2);
        /* E log q in closed form; its sampling error is that of m2/2 */
        double want = -log(s * z) - 0.5 * log(2.0 * M_PI) - 0.5 * e2;
        assert_true(fabs(log_q / N - want) < 3.0 * sqrt(2.0 / N) * e2);
    }
}

/* i-DODE's published constants at log SNR 13.3: h = E[-log q(z)] per entry. */
static void truncated_normal_gives_the_published_constant(void **state)
{
    (void)state;
    pf_sde sde;
    pf_likelihood_opt o = options();
    static double x[N];
    double lo = 1e-9, hi = 1.0, mean, std, log_q;
    must(pf_sde_init("vp", &sde));
    for (int i = 0; i < 200; i++) {
        double t = sqrt(lo * hi);
        pf_sde_marginal(&sde, t, &mean, &std);
        if (2.0 * log(mean / std) > 13.3) lo = t;
        else hi = t;
    }
    o.dequantisation = PF_DEQUANT_TRUNCATED_NORMAL;
    o.ode.t_min = lo;
    pf_draw d = {5, PF_STREAM_EVAL_DEQUANT, 0, 0};
    dequantise_zeros(&sde, &o, &d, x, &log_q);
    double h = -log_q / N + log(2.0 * mean / 256.0);      /* from u to z */
    assert_true(fabs(h + 5.24628) < 5.0 * sqrt(0.5 / N)); /* sd of e^2/2 is at most sqrt(1/2) */
}

static void dequantisation_none_refuses_pixels(void **state)
{
    (void)state;
    analytic a;
    unsigned char k[PIX] = {0};
    row one;
    pixel_gaussian("vp", 1, &a);
    pf_likelihood_opt o = options();
    o.dequantisation = PF_DEQUANT_NONE;
    pf_group g = {.B = 1, .space = {.levels = L}, .pixels = k};
    assert_int_equal(score_rows(&a.sde, &a.score, &o, &g, &one), PF_EARG);
    o.dequantisation = PF_DEQUANT_UNIFORM;
    g = (pf_group){.B = 1, .space = {.levels = L}, .x = (double[PIX]){0}};
    assert_int_equal(score_rows(&a.sde, &a.score, &o, &g, &one), PF_EARG);
    analytic_free(&a);
}

static void every_failing_allocation_is_reported_and_leaves_nothing_behind(void **state)
{
    (void)state;
    analytic a;
    unsigned char k[2 * PIX];
    row rows[2];
    pixel_gaussian("vp", 2, &a);
    draw_pixels(&a, 2, k);
    pf_likelihood_opt o = options();
    o.estimand = PF_NLL_AND_BOUND;
    o.bound_samples = 2;
    pf_group g = {.B = 2, .space = {.levels = L}, .pixels = k};
    for (int solver = PF_ADAMS; solver <= PF_ERK; solver++) {
        o.ode.solver = solver;
        must(score_rows(&a.sde, &a.score, &o, &g, rows));
        size_t before = pf_alloc_live();
        int n = 0;
        pf_status st;
        do {
            pf_alloc_fail_at(++n);
            st = score_rows(&a.sde, &a.score, &o, &g, rows);
            pf_alloc_fail_at(0);
            assert_int_equal(pf_alloc_live(), before);
            assert_true(!st || pf_error_message()[0]);
        } while (st);
        assert_true(n > 10);
    }
    analytic_free(&a);
}

/* ------------------------------------------------------------------------------- the ledger -- */

static void ledger_adds_up_and_rows_are_draw_by_draw(void **state)
{
    (void)state;
    enum { B = 3, J = 2 };
    analytic a;
    unsigned char k[B * PIX];
    row rows[B * J];
    pixel_gaussian("vp", B, &a);
    draw_pixels(&a, B, k);
    pf_likelihood_opt o = options();
    o.dequantisation = PF_DEQUANT_TRUNCATED_NORMAL;
    o.draws = J;
    o.trace.probes = 2;
    o.estimand = PF_NLL_AND_BOUND;
    pf_group g = {.first = 7, .B = B, .space = {.levels = L}, .pixels = k, .repeat = 1};
    must(score_rows(&a.sde, &a.score, &o, &g, rows));
    for (int j = 0; j < J; j++)
        for (int b = 0; b < B; b++) {
            const row *r = &rows[j * B + b];
            assert_int_equal(r->image, 7 + b);
            assert_int_equal(r->draw, j);
            assert_true(r->nll == r->prior + r->integral + r->dequantisation + r->offset);
            assert_true(fabs(r->offset - log2(L / 2)) < 1e-5); /* mean(t_min) is 1 - 5e-7 */
            assert_true(isfinite(r->bound) && r->probe_variance >= 0.0);
            assert_true(r->solver_error != 0.0 && fabs(r->solver_error) < 1e-4);
            assert_true(r->evaluations > r->steps && r->steps > 5);
        }
    analytic_free(&a);
}

static void solver_error_is_nan_unless_asked(void **state)
{
    (void)state;
    analytic a;
    row one;
    gaussian_create(4, "vp", 1, &a);
    pf_likelihood_opt o = options();
    o.dequantisation = PF_DEQUANT_NONE;
    pf_group g = {.B = 1, .x = (double[4]){0.1, 0.2, 0.3, 0.4}};
    must(score_rows(&a.sde, &a.score, &o, &g, &one));
    assert_true(isnan(one.solver_error) && isnan(one.bound) && isnan(one.probe_variance));
    assert_true(one.offset == 0.0 && one.dequantisation == 0.0);
    analytic_free(&a);
}

/* Draws are named by the image's global index, so cutting the groups otherwise only changes the
 * steps of the solver. */
static void group_composition_does_not_change_an_image(void **state)
{
    (void)state;
    enum { B = 8 };
    analytic a;
    unsigned char k[B * PIX];
    row all[2 * B], part[2 * B];
    pixel_gaussian("subvp", B, &a);
    draw_pixels(&a, B, k);
    pf_likelihood_opt o = options();
    o.draws = 2;
    o.estimand = PF_NLL_AND_BOUND;
    o.bound_samples = 8;
    pf_group g = {.first = 40, .B = B, .space = {.levels = L}, .pixels = k};
    must(score_rows(&a.sde, &a.score, &o, &g, all));
    for (int first = 0; first < B; first += 4) {
        pf_group h = {
            .first = 40 + first, .B = 4, .space = {.levels = L}, .pixels = k + first * PIX};
        must(score_rows(&a.sde, &a.score, &o, &h, part));
        for (int j = 0; j < 2; j++)
            for (int b = 0; b < 4; b++) {
                const row *p = &part[j * 4 + b], *q = &all[j * B + first + b];
                assert_int_equal(p->image, q->image);
                assert_true(fabs(p->nll - q->nll) < 2e-5);      /* tolerance 1e-6 a step */
                assert_true(fabs(p->bound - q->bound) < 1e-12); /* no solver in it */
            }
    }
    analytic_free(&a);
}

/* -------------------------------------------------------------------------------- the bound -- */

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
        o.dequantisation = PF_DEQUANT_NONE;
        o.estimand = PF_BOUND;
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
        o.dequantisation = PF_DEQUANT_NONE;
        o.estimand = PF_BOUND;
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

/* ------------------------------------------------------------------------------ the summary -- */

static void summary_does_not_depend_on_the_order_of_rows(void **state)
{
    (void)state;
    enum { N = 50, J = 3 };
    row rows[N * J] = {0}, back[N * J];
    summary p, q;
    for (int i = 0; i < N * J; i++) {
        rows[i] = (row){.image = i % N,
                        .draw = i / N,
                        .nll = 3.0 + normal(60, i),
                        .bound = NAN,
                        .probe_variance = 0.01,
                        .solver_error = i < N ? 1e-4 * i : NAN};
        back[(i * 7) % (N * J)] = rows[i];
    }
    summarise(rows, N * J, &p);
    summarise(back, N * J, &q);
    assert_int_equal(p.images, N);
    assert_int_equal(p.rows, N * J);
    assert_memory_equal(&p.nll, &q.nll, sizeof p.nll);
    assert_memory_equal(&p.nll_se, &q.nll_se, sizeof p.nll_se);
    assert_true(isnan(p.bound) && p.solver_error_max == 1e-4 * (N - 1));
}

/* Rows made of three independent parts of known variance: the shares find them. */
static void summary_finds_the_shares_it_was_given(void **state)
{
    (void)state;
    enum { N = 4000, J = 2 };
    static row rows[N * J];
    const double image = 0.5, draw = 0.2, probe = 0.1;
    summary s;
    for (int i = 0; i < N * J; i++)
        rows[i] = (row){.image = i % N,
                        .draw = i / N,
                        .bound = NAN,
                        .solver_error = NAN,
                        .probe_variance = probe * probe,
                        .nll = 3.0 + image * normal(61, i % N) + draw * normal(62, i) +
                               probe * normal(63, i)};
    summarise(rows, N * J, &s);
    /* variances of 4000 terms: 2.2 % each, 5 of them allowed */
    assert_true(fabs(s.nll_se * sqrt(N) -
                     sqrt(image * image + (draw * draw + probe * probe) / J)) < 0.06);
    assert_true(fabs(s.probe_se * sqrt(N) - probe / sqrt(J)) < 1e-12);
    assert_true(fabs(s.dequant_se * sqrt(N) - draw / sqrt(J)) < 0.01);
    assert_true(fabs(s.nll - 3.0) < 5.0 * s.nll_se);
}

static void summary_of_one_image_has_no_standard_error(void **state)
{
    (void)state;
    row one = {.nll = 3.0, .bound = NAN, .probe_variance = NAN, .solver_error = NAN};
    summary s;
    summarise(&one, 1, &s);
    assert_true(s.nll == 3.0 && isnan(s.nll_se) && isnan(s.probe_se) && isnan(s.dequant_se));
    assert_true(isnan(s.solver_error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_solver),
        cmocka_unit_test(uniform_dequantisation_bounds_the_code_length_from_above),
        cmocka_unit_test(truncated_normal_dequantisation_bounds_the_code_length_from_above),
        cmocka_unit_test(log_q_is_a_density_that_its_draws_follow),
        cmocka_unit_test(truncated_normal_gives_the_published_constant),
        cmocka_unit_test(dequantisation_none_refuses_pixels),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing_behind),
        cmocka_unit_test(ledger_adds_up_and_rows_are_draw_by_draw),
        cmocka_unit_test(solver_error_is_nan_unless_asked),
        cmocka_unit_test(group_composition_does_not_change_an_image),
        cmocka_unit_test(bound_of_a_gaussian_has_its_closed_form_as_mean),
        cmocka_unit_test(bound_with_the_exact_score_is_tight_up_to_prior_and_decoder),
        cmocka_unit_test(summary_does_not_depend_on_the_order_of_rows),
        cmocka_unit_test(summary_finds_the_shares_it_was_given),
        cmocka_unit_test(summary_of_one_image_has_no_standard_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
