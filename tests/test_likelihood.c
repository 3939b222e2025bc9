/* Laws of the likelihood: dequantisation, ledger, summary. */
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

/* The integral of N(z; mu, std) times the share of level k at x = z/m, whose noise is s/m: the trapezoidal rule. */
static double decoded(double mu, double std, double m, double s, int k)
{
    const double h = 1.0 / 32.0;
    double sum = 0.0;
    for (double e = -9.0; e <= 9.0; e += h)
        sum += h * exp(-0.5 * e * e + pf_level_decode(L, s / m, (mu + std * e) / m, k, NULL));
    return sum / sqrt(2.0 * M_PI);
}

/* -log2 P(k) / D under the Gaussian z at t_min: of the bins of x = z or z/m, or of the levels that decode z/m. */
static double exact_bpd(const analytic *a, const unsigned char *k, double t_min, int kind)
{
    double m, s, bits = 0.0;
    pf_sde_marginal(&a->sde, t_min, &m, &s);
    for (int i = 0; i < PIX; i++) {
        double std = sqrt(m * m * (double)a->params[PIX + i * (PIX + 1)] + s * s);
        double lo = 2.0 * k[i] / L - 1.0, hi = lo + 2.0 / L;
        double f = kind == PF_DEQUANT_TRUNCATED_NORMAL ? m : 1.0;
        double mu = m * (double)a->params[i];
        bits -= kind == PF_DEQUANT_NORMAL
                    ? log2(decoded(mu, std, m, s, k[i]))
                    : log2(phi((f * hi - mu) / std) - phi((f * lo - mu) / std));
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
        gap += (mean - exact_bpd(&a, k + b * PIX, t_min, kind)) / B;
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

static void normal_dequantisation_and_its_decoder_make_a_bound(void **state)
{
    (void)state;
    dequantised("vp", PF_DEQUANT_NORMAL, 0.05, 0.0, 0.3); /* noise of half a bin */
    dequantised("subvp", PF_DEQUANT_NORMAL, 0.2, 0.0, 0.3);
}

/* Log weights that are normal of deviation s: one draw has the mean, many have the mean and s^2/2. */
static void more_draws_close_the_gap(void **state)
{
    (void)state;
    enum { REPEATS = 2000, MOST = 256 };
    static double w[MOST];
    double before = -INFINITY;
    for (int K = 1; K <= MOST; K *= 4) {
        double mean = 0.0;
        for (int r = 0; r < REPEATS; r++) {
            for (int i = 0; i < K; i++) w[i] = 0.8 * normal(60, (size_t)r * MOST + i) - 1000.0;
            mean += pf_bound_of_draws(K, w) / REPEATS;
        }
        /* 4 standard errors of the mean of one draw, less of more */
        if (K == 1) assert_near(mean, -1000.0, 4.0 * 0.8 / sqrt(REPEATS));
        assert_true(mean > before && mean < -1000.0 + 0.32 + 4.0 * 0.8 / sqrt(REPEATS));
        /* what a Gaussian of this deviation gains by K draws */
        assert_near(mean + 1000.0, pf_gain_of_draws(0.8, K), 4.0 * 0.8 / sqrt(REPEATS));
        before = mean;
    }
    assert_true(pf_bound_of_draws(2, (double[]){-INFINITY, 0.0}) == -M_LN2);
}

/* Draws together lie between one draw and the code length; the noise of probes does not lower them. */
static void draws_of_dequantisation_are_one_bound(void **state)
{
    (void)state;
    enum { B = 16, J = 24, COPIES = 4000 };
    static row rows[B * J], sorted[COPIES * 4];
    analytic a;
    unsigned char k[B * PIX];
    pf_draws d;
    pixel_gaussian("vp", B, &a);
    draw_pixels(&a, B, k);
    pf_likelihood_opt o = options();
    o.draws = J;
    o.trace.probe = PF_EXACT;
    pf_group g = {.B = B, .space = {.levels = L}, .pixels = k};
    must(score_rows(&a.sde, &a.score, &o, &g, rows));
    double mean = 0.0, exact = 0.0;
    for (int i = 0; i < B * J; i++) {
        sorted[i] = rows[i % J * B + i / J];
        mean += rows[i].nll / (B * J);
        exact += exact_bpd(&a, k + i / J * PIX, o.ode.t_min, PF_DEQUANT_UNIFORM) / (B * J);
    }
    pf_ledger l = ledger_of_rows(sorted, B * J);
    must(pf_likelihood_draws(&l, PIX, &d));
    assert_int_equal(d.J, J);
    assert_true(d.probes == 0.0 && d.bound < mean);
    /* what is left of the gap is some deviation^2/(2 J); 4 standard errors of the draws */
    double left = d.deviation * d.deviation / (2 * J), error = d.deviation / sqrt(B * J);
    assert_near(d.bound, exact, (1.33 * left + 4.0 * error) / (PIX * M_LN2));
    assert_true(mean - exact > 4.0 * left / (PIX * M_LN2));
    free(l.cell);
    analytic_free(&a);

    /* four log weights with noise of deviation .3, as a ledger of 6 dimensions; 1e-3: what is of fourth order */
    const double w[] = {-8.0, -8.3, -9.0, -7.8}, noise = 0.3, nats = PIX * M_LN2;
    for (int i = 0; i < 4 * COPIES; i++)
        sorted[i] = (row){.image = i / 4,
                          .draw = i % 4,
                          .nll = (noise * normal(61, i) - w[i % 4]) / nats,
                          .probe_variance = noise * noise / nats / nats};
    l = ledger_of_rows(sorted, 4 * COPIES);
    must(pf_likelihood_draws(&l, PIX, &d));
    assert_near(d.bound * nats, -pf_bound_of_draws(4, w), 1e-3 + 4.0 * d.se * nats);
    assert_true(d.probes * nats > 0.02);
    free(l.cell);
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
        cmocka_unit_test(normal_dequantisation_and_its_decoder_make_a_bound),
        cmocka_unit_test(more_draws_close_the_gap),
        cmocka_unit_test(draws_of_dequantisation_are_one_bound),
        cmocka_unit_test(log_q_is_a_density_that_its_draws_follow),
        cmocka_unit_test(truncated_normal_gives_the_published_constant),
        cmocka_unit_test(dequantisation_none_refuses_pixels),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing_behind),
        cmocka_unit_test(ledger_adds_up_and_rows_are_draw_by_draw),
        cmocka_unit_test(solver_error_is_nan_unless_asked),
        cmocka_unit_test(group_composition_does_not_change_an_image),
        cmocka_unit_test(summary_does_not_depend_on_the_order_of_rows),
        cmocka_unit_test(summary_finds_the_shares_it_was_given),
        cmocka_unit_test(summary_of_one_image_has_no_standard_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
