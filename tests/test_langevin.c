/* Annealed Langevin dynamics and the sampler langevin. */
#include "analytic.h"

#include "sample/langevin.h"

#include <probflow/ladder.h>
#include <probflow/sample.h>

/* ---- the loop itself ---- */

typedef struct walk {
    pf_langevin l;
    double sigma[32];
    pf_ladder ladder;
    double v0;           /* of Gaussian data; 0: two modes */
    double variance[32]; /* mean square after each level */
} walk;

/* Weights .8 and .2 at (5,5) and (-5,-5), both points. */
static void two_modes(double sigma, const double *x, double *s)
{
    double v = sigma * sigma, log_odds = log(4.0) + 10.0 * (x[0] + x[1]) / v,
           r = 1.0 / (1.0 + exp(-log_odds));
    for (int i = 0; i < 2; i++) s[i] = (5.0 * (2.0 * r - 1.0) - x[i]) / v;
}

static pf_status score(void *self, int level, const double *x, double *s)
{
    walk *w = self;
    double sigma = w->sigma[level];
    for (size_t i = 0; w->v0 > 0.0 && i < w->l.B * w->l.D; i++)
        s[i] = -x[i] / (w->v0 + sigma * sigma);
    for (size_t b = 0; w->v0 == 0.0 && b < w->l.B; b++) two_modes(sigma, x + 2 * b, s + 2 * b);
    return PF_OK;
}

static void noise(void *self, int n, double *z)
{
    walk *w = self;
    for (size_t b = 0; b < w->l.B; b++) {
        float draw[2000];
        pf_draw d = {9, PF_STREAM_TEST, b, (uint32_t)n};
        pf_draw_normal(&d, 0, w->l.D, draw);
        for (size_t i = 0; i < w->l.D; i++) z[b * w->l.D + i] = (double)draw[i];
    }
}

static void after(void *self, int n, const double *x)
{
    walk *w = self;
    double sum = 0.0;
    for (size_t i = 0; i < w->l.B * w->l.D; i++) sum += x[i] * x[i];
    w->variance[n / w->l.T] = sum / (double)(w->l.B * w->l.D);
}

/* x [B,D] through `levels` levels. */
static void go(walk *w, int levels, double begin, double end, double *x)
{
    pf_ladder_fill(PF_LADDER_GEOMETRIC, begin, end, levels, w->sigma);
    w->ladder = (pf_ladder){levels, w->sigma, NULL};
    w->l.ladder = &w->ladder;
    w->l.self = w;
    w->l.score = score;
    w->l.noise = noise;
    w->l.after = after;
    must(pf_langevin_run(&w->l, x));
}

/* The share of samples in the heavy mode: .8 when annealed, up to the .01 that 20 levels miss; when not, what they
 * began with. */
static void annealing_restores_the_weights_of_far_modes(void **state)
{
    (void)state;
    enum { N = 4000 };
    static double x[2 * N];
    for (int plain = 0; plain < 2; plain++) {
        int n = plain ? N / 4 : N, heavy = 0;
        walk w = {.l = {.T = plain ? 1000 : 50, .eps = 0.1, .B = (size_t)n, .D = 2}};
        for (int i = 0; i < 2 * n; i++) {
            pf_draw d = {8, PF_STREAM_TEST, 0, 0};
            x[i] = 16.0 * pf_draw_uniform_f64(&d, (size_t)i) - 8.0;
        }
        go(&w, plain ? 1 : 20, plain ? 1.0 : 20.0, 1.0, x);
        for (int i = 0; i < n; i++) heavy += x[2 * i] + x[2 * i + 1] > 0.0;
        double share = (double)heavy / n; /* its standard error is .006, of fewer .013 */
        if (plain) assert_true(share < 0.6);
        else assert_near(share, 0.8, 0.03);
    }
}

/* v <- (1 - a/(v0 + sigma^2))^2 v + 2 a, a step, from 100000 values that each level leaves. */
static void the_variance_of_gaussian_data_follows_its_recursion(void **state)
{
    (void)state;
    enum { B = 50, D = 2000 };
    static double x[B * D];
    walk w = {.v0 = 0.3, .l = {.T = 5, .eps = 0.002, .B = B, .D = D}};
    double v = 4.0;
    for (int i = 0; i < B * D; i++) x[i] = 2.0 * normal(3, (size_t)i);
    go(&w, 6, 2.0, 0.1, x);
    for (int l = 0; l < 6; l++) {
        double s2 = w.sigma[l] * w.sigma[l], a = 0.002 * s2 / 0.01;
        for (int k = 0; k < 5; k++) v = pow(1.0 - a / (0.3 + s2), 2) * v + 2.0 * a;
        assert_near(w.variance[l] / v, 1.0, 5.0 * sqrt(2.0 / (B * D)));
    }
}

/* ---- the sampler ---- */

enum { D = 4 };
static const pf_space real = {.kind = PF_REAL, .shape = {1, 1, D}};

static pf_sample_opt options(void)
{
    pf_sample_opt o;
    pf_opt_defaults(pf_sample_opts, &o);
    o.levels = 24;
    o.langevin_steps = 40;
    o.step_size = 1e-5;
    o.t_min = 0.02; /* of ve: noise of 0.012 */
    return o;
}

static pf_status draw(analytic *a, const pf_sample_opt *o, pf_drawing d)
{
    const pf_sampler_ops *s;
    const pf_view v = {.sde = &a->sde, .score = &a->score};
    int64_t evaluations = 0;
    must(pf_sampler_find("langevin", &s));
    d.view = &v;
    d.space = &real;
    d.opt = o;
    if (!d.evaluations) d.evaluations = &evaluations;
    return s->draw(&d);
}

/* Mean m [free] and covariance c [free,free] of the last `free` entries of N(mean, cov) times a factor that pulls
 * entries 0 .. D-1 to y with precision p [D]: by the information form, the others marginalised. */
static void posterior(const analytic *a, const double *y, const double *p, double *m, double *c)
{
    double k[D * D], info[D * D], rhs[D] = {0};
    for (int i = 0; i < D * D; i++) k[i] = (double)a->params[D + i];
    must(pf_linalg_cholesky(D, k, NULL));
    for (int j = 0; j < D; j++) { /* inverse, a column at a time */
        double e[D] = {0};
        e[j] = 1.0;
        pf_linalg_solve_lower(1, D, k, e);
        for (int i = D - 1; i >= 0; i--) {
            for (int l = i + 1; l < D; l++) e[i] -= k[l * D + i] * e[l];
            e[i] /= k[i * D + i];
        }
        for (int i = 0; i < D; i++) info[i * D + j] = e[i];
    }
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) rhs[i] += info[i * D + j] * (double)a->params[j];
        rhs[i] += p[i] * y[i];
    }
    for (int i = 0; i < D; i++) info[i * (D + 1)] += p[i];
    must(pf_linalg_cholesky(D, info, NULL));
    for (int j = 0; j <= D; j++) {
        double e[D] = {0};
        for (int i = 0; i < D; i++) e[i] = j < D ? i == j : rhs[i];
        pf_linalg_solve_lower(1, D, info, e);
        for (int i = D - 1; i >= 0; i--) {
            for (int l = i + 1; l < D; l++) e[i] -= info[l * D + i] * e[l];
            e[i] /= info[i * (D + 1)];
        }
        for (int i = 0; i < D; i++) {
            if (j < D) c[i * D + j] = e[i];
            else m[i] = e[i];
        }
    }
}

enum { N = 600 };

/* Means and variances of entries from `first` on, within 6 standard errors and a slack in deviations. */
static void check_moments(const double *x, int first, const double *m, const double *c,
                          double slack)
{
    for (int i = first; i < D; i++) {
        double mean = 0.0, var = 0.0, std = sqrt(c[i * (D + 1)]);
        for (int b = 0; b < N; b++) mean += x[b * D + i] / N;
        for (int b = 0; b < N; b++) var += pow(x[b * D + i] - mean, 2) / N;
        assert_near(mean, m[i], (6.0 / sqrt(N) + slack) * std);
        assert_near(var / c[i * (D + 1)], 1.0, 6.0 * sqrt(2.0 / N) + slack);
    }
}

static void inpainting_draws_from_the_conditional(void **state)
{
    (void)state;
    static double x[N * D], known[N * D];
    static const unsigned char mask[D] = {1, 1, 0, 0};
    const double y[D] = {0.4, -0.3, 0, 0}, sure[D] = {1e9, 1e9, 0, 0};
    double m[D], c[D * D];
    analytic a;
    pf_sample_opt o = options();
    gaussian_create(D, "ve", N, &a);
    for (int i = 0; i < N * D; i++) known[i] = y[i % D];
    for (int by_level = 0; by_level < 2; by_level++) {
        o.known_noise = by_level;
        must(draw(&a, &o, (pf_drawing){.B = N, .x = x, .known = known, .mask = mask}));
        for (int i = 0; i < N * D; i++) assert_true(!mask[i % D] || x[i] == known[i]);
        posterior(&a, y, sure, m, c);
        check_moments(x, 2, m, c, 0.15);
    }
    analytic_free(&a);
}

static void denoising_draws_from_the_posterior(void **state)
{
    (void)state;
    static double x[N * D], known[N * D];
    const double y[D] = {0.4, -0.3, 0.5, 0.1}, noise_std = 0.2, p[D] = {25, 25, 25, 25};
    double m[D], c[D * D];
    analytic a;
    pf_sample_opt o = options();
    gaussian_create(D, "ve", N, &a);
    for (int i = 0; i < N * D; i++) known[i] = y[i % D];
    must(draw(&a, &o, (pf_drawing){.B = N, .x = x, .known = known, .known_std = noise_std}));
    posterior(&a, y, p, m, c);
    check_moments(x, 0, m, c, 0.15);
    analytic_free(&a);
}

/* The ends of a row are the draws of its two noises: their cosines are 1 and 0. */
static void rows_lead_from_one_draw_to_another(void **state)
{
    (void)state;
    double x[12 * D], part[3 * D], one[D];
    analytic a;
    pf_sample_opt o = options();
    o.langevin_steps = 3;
    gaussian_create(D, "ve", 12, &a);
    must(draw(&a, &o, (pf_drawing){.B = 12, .x = x, .interpolate = 4}));
    must(draw(&a, &o, (pf_drawing){.first = 5, .B = 3, .x = part, .interpolate = 4}));
    for (int i = 0; i < 3 * D; i++)
        assert_near(part[i], x[5 * D + i], 1e-11 * (1.0 + fabs(part[i])));
    must(draw(&a, &o, (pf_drawing){.B = 1, .x = one})); /* sample 0 has the noise p of row 0 */
    for (int i = 0; i < D; i++) {
        assert_near(x[i], one[i], 1e-11 * (1.0 + fabs(one[i])));
        assert_true(x[i] != x[D + i] && x[i] != x[4 * D + i]);
    }
    analytic_free(&a);
}

static void previews_end_with_the_sample(void **state)
{
    (void)state;
    enum { P = 5 };
    double x[3 * D], y[3 * D], preview[P * 3 * D];
    analytic a;
    pf_sample_opt o = options();
    o.langevin_steps = 2;
    gaussian_create(D, "ve", 3, &a);
    must(draw(&a, &o, (pf_drawing){.B = 3, .x = x, .previews = P, .preview = preview}));
    must(draw(&a, &o, (pf_drawing){.B = 3, .x = y}));
    assert_memory_equal(x, y, sizeof x);
    assert_memory_equal(preview + (P - 1) * 3 * D, x, sizeof x);
    for (int p = 0; p + 1 < P; p++)
        assert_memory_not_equal(preview + p * 3 * D, preview + (p + 1) * 3 * D, sizeof x);
    analytic_free(&a);
}

/* The number of calls is 24 levels of 40 steps; the first level alone ends it. */
static void a_step_that_is_too_large_ends_with_its_level(void **state)
{
    (void)state;
    double x[D];
    int64_t calls = 0;
    analytic a;
    pf_sample_opt o = options();
    o.step_size = 1e6;
    gaussian_create(D, "ve", 1, &a);
    assert_int_equal(draw(&a, &o, (pf_drawing){.B = 1, .x = x, .evaluations = &calls}),
                     PF_ENUMERIC);
    assert_non_null(strstr(pf_error_message(), "after level 1 of 24; a smaller"));
    assert_in_range(calls, 40, 41);
    analytic_free(&a);
}

static void levels_of_one_mean_are_needed(void **state)
{
    (void)state;
    double x[D];
    analytic a;
    pf_sample_opt o = options();
    gaussian_create(D, "vp", 1, &a);
    assert_int_equal(draw(&a, &o, (pf_drawing){.B = 1, .x = x}), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "sde vp shrinks the data"));
    analytic_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(annealing_restores_the_weights_of_far_modes),
        cmocka_unit_test(the_variance_of_gaussian_data_follows_its_recursion),
        cmocka_unit_test(inpainting_draws_from_the_conditional),
        cmocka_unit_test(denoising_draws_from_the_posterior),
        cmocka_unit_test(rows_lead_from_one_draw_to_another),
        cmocka_unit_test(previews_end_with_the_sample),
        cmocka_unit_test(a_step_that_is_too_large_ends_with_its_level),
        cmocka_unit_test(levels_of_one_mean_are_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
