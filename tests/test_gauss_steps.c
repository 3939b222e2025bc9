/* Chains of Gaussians: laws of respacing, of the steps that need no noise, of guidance and of the whole bound. */
#include "method/gauss.h"

#include <probflow/memory.h>
#include "checks.h"

#include <stdio.h>

enum { N_SCHEDULES = PF_SCHEDULE_SIGMOID + 1 };

static pf_gauss *chain(int schedule, int T)
{
    double *beta = pf_zalloc((size_t)T * sizeof *beta);
    pf_gauss *g = NULL;
    must(pf_gauss_betas(&(pf_betas){(pf_schedule)schedule, 1e-4, 0.02, -3.0, 3.0, 1.0}, T,
                        beta));
    must(pf_gauss_create(T, beta, &g));
    pf_free(beta);
    return g;
}

/* The part of a chain that a text keeps; keep [T]. */
static pf_gauss *part_of(const pf_gauss *g, const char *text, int *keep)
{
    int n;
    pf_gauss *part = NULL;
    must(pf_gauss_spacing(text, g->T, keep, &n));
    must(pf_gauss_respace(g, keep, n, &part));
    assert_int_equal(part->T, n);
    return part;
}

/* ---- respacing ---- */

enum { LONG = 400 };

static void sections_keep_their_ends_and_strides_are_equal(void **state)
{
    (void)state;
    int keep[LONG], n, count = 0;
    must(pf_gauss_spacing("10,1,0,25", 103, keep, &n)); /* of 26, 26, 26 and 25 steps */
    assert_int_equal(n, 36);
    assert_true(keep[0] == 0 && keep[9] == 25 && keep[10] == 26 && keep[11] == 78);
    for (int j = 11; j < 36; j++) assert_int_equal(keep[j], 67 + j);
    must(pf_gauss_spacing("3", 6, keep, &n)); /* 0, 2.5, 5: a half goes to the even one */
    assert_true(n == 3 && keep[1] == 2 && keep[2] == 5);
    for (int N = 2; N <= 100; N++) {
        char text[16];
        snprintf(text, sizeof text, "ddim%d", N);
        if (pf_gauss_spacing(text, 100, keep, &n)) continue;
        count++;
        assert_int_equal(n, N);
        for (int j = 1; j < n; j++) assert_int_equal(keep[j] - keep[j - 1], keep[1]);
        assert_true(keep[0] == 0 && keep[n - 1] < 100 && keep[n - 1] + keep[1] >= 100);
    }
    assert_int_equal(count, 18); /* as many as ceil(100/S) has values above 1 */
    for (int N = 2; N <= 100; N++) {
        char text[16];
        snprintf(text, sizeof text, "even%d", N);
        must(pf_gauss_spacing(text, 100, keep, &n));
        assert_true(n == N && keep[N - 1] == 99);
        for (int j = 0; j < n; j++) { /* the step before the first is -1 */
            int step = keep[j] - (j ? keep[j - 1] : -1);
            assert_true(step == 100 / N || step == (100 + N - 1) / N);
        }
    }
}

static void texts_that_keep_nothing_sensible_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text, *says;
    } bad[] = {
        {"ten", "respacing is 'ten', want numbers with commas"},
        {"10,", "respacing is '10,', want numbers with commas"},
        {",10", "respacing is ',10', want numbers with commas"},
        {"10,,10", "want numbers with commas"},
        {"10;10", "want numbers with commas"},
        {" 10", "want numbers with commas"},
        {"+10", "want numbers with commas"},
        {"-1", "want numbers with commas"},
        {"1e1", "want numbers with commas"},
        {"99999999999999999999", "want numbers with commas"},
        {"101", "respacing 101: section 1 has 100 steps, of which 101 cannot be kept"},
        {"3,51", "respacing 3,51: section 2 has 50 steps, of which 51 cannot be kept"},
        {"ddim", "respacing is 'ddim', want ddim and a number"},
        {"ddim0", "respacing is 'ddim0', want ddim and a number"},
        {"ddim-5", "want ddim and a number"},
        {"ddim5x", "want ddim and a number"},
        {"ddim51", "no whole stride keeps exactly 51 of 100 steps"},
        {"ddim101", "no whole stride keeps exactly 101 of 100 steps"},
        {"ddim1", "no whole stride keeps exactly 1 of 100 steps"},
        {"even", "respacing is 'even', want even and a number"},
        {"even5,5", "respacing is 'even5,5', want even and a number"},
        {"even101", "respacing even101: there are 100 steps, of which 101 cannot be kept"},
        {"even1", "respacing even1 keeps 1 of 100 steps, want at least 2"},
        {"1", "respacing 1 keeps 1 of 100 steps, want at least 2"},
        {"0,1", "respacing 0,1 keeps 1 of 100 steps, want at least 2"},
        {"0", "respacing 0 keeps 0 of 100 steps, want at least 2"}};
    int keep[100], n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pf_gauss_spacing(bad[i].text, 100, keep, &n), PF_EARG);
        if (!strstr(pf_error_message(), bad[i].says))
            fail_msg("'%s' says: %s", bad[i].text, pf_error_message());
    }
}

static void what_is_kept_has_its_marginal(void **state)
{
    (void)state;
    static const char *const texts[] = {"7",   "ddim25", "10,15,20", "1,1",
                                        "100", "0,50",   "even7"};
    int keep[100];
    for (int k = 0; k < N_SCHEDULES * 7; k++) {
        pf_gauss *g = chain(k / 7, 100), *part = part_of(g, texts[k % 7], keep);
        for (int j = 0; j < part->T; j++) {
            assert_near(part->abar[j], g->abar[keep[j]], 1e-14);
            assert_near(part->noise[j] / g->noise[keep[j]], 1.0, 1e-12);
        }
        pf_gauss_free(part);
        pf_gauss_free(g);
    }
}

static void a_chain_of_all_steps_is_the_chain_itself(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "100", "50,50", "ddim100", "even100"};
    int keep[100];
    for (int k = 0; k < N_SCHEDULES * 5; k++) {
        pf_gauss *g = chain(k / 5, 100), *same = part_of(g, texts[k % 5], keep);
        const double *a[] = {g->beta,     g->abar,         g->noise, g->log_abar,
                             g->variance, g->log_variance, g->c1,    g->c2},
                     *b[] = {same->beta,     same->abar,         same->noise, same->log_abar,
                             same->variance, same->log_variance, same->c1,    same->c2};
        for (int t = 0; t < 8; t++) assert_memory_equal(a[t], b[t], 100 * sizeof(double));
        pf_gauss_free(same);
        pf_gauss_free(g);
    }
}

/* ---- steps ---- */

static pf_gauss_at index_of(const pf_gauss *g, pf_predicts p, pf_variance v, int levels, int i)
{
    const pf_gauss_opt o = {.predicts = p, .variance = v, .decoder = {PF_CDF_EXACT, levels}};
    return pf_gauss_index(g, &o, i);
}

static double ddim(const pf_gauss_at *a, double eta, double x0, double xi, double z)
{
    double x;
    const pf_gauss_move m = {&xi, &z, &x};
    pf_gauss_ddim(a, eta, 1, &x0, &m);
    return x;
}

static double encode(const pf_gauss_at *a, double x0, double xi)
{
    double x;
    const pf_gauss_move m = {&xi, NULL, &x};
    pf_gauss_encode(a, 1, &x0, &m);
    return x;
}

static void ddim_is_the_posterior_at_eta_1_and_keeps_the_noise_at_eta_0(void **state)
{
    (void)state;
    const double x0 = 0.4, z = -0.7, other = 1.3;
    for (int k = 0; k < N_SCHEDULES; k++) {
        pf_gauss *g = chain(k, 60);
        for (int i = 0; i < g->T; i++) {
            pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, 256, i);
            double xi, before = pf_gauss_abar_before(g, i), mean;
            pf_gauss_noised(&a, 1, &x0, &z, &xi);
            pf_gauss_posterior(&a, 1, &x0, &xi, &mean);
            assert_near(ddim(&a, 1.0, x0, xi, 0.0), mean, 1e-12);
            for (int e = 0; e <= 4; e++) { /* of the variance eta^2 btilde */
                double d = ddim(&a, 0.25 * e, x0, xi, other) - ddim(&a, 0.25 * e, x0, xi, 0.0);
                assert_near(d, 0.25 * e * sqrt(g->variance[i]) * other, 1e-12);
            }
            assert_near(ddim(&a, 0.0, x0, xi, other),
                        sqrt(before) * x0 + sqrt(1.0 - before) * z, 1e-12);
        }
        pf_gauss_free(g);
    }
}

static void encoding_ends_in_the_noise_and_is_undone_by_ddim(void **state)
{
    (void)state;
    const double x0 = 0.4, z = -0.7;
    for (int k = 0; k < N_SCHEDULES; k++) {
        pf_gauss *g = chain(k, 60);
        for (int i = 0; i < g->T; i++) {
            pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, 256, i);
            double xi, up, want;
            pf_gauss_noised(&a, 1, &x0, &z, &xi);
            up = encode(&a, x0, xi);
            if (i == g->T - 1) {
                assert_near(up, z, 1e-12);
                continue;
            }
            pf_gauss_at b = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, 256, i + 1);
            pf_gauss_noised(&b, 1, &x0, &z, &want);
            assert_near(up, want, 1e-12);
            assert_near(ddim(&b, 0.0, x0, up, 0.0), xi, 1e-12);
        }
        pf_gauss_free(g);
    }
}

/* Of data N(0, s^2), whose best prediction is linear: the ODE's two directions meet up to the length of a step. */
static double there_and_back(const pf_gauss *g, double s)
{
    double x = 1.0;
    for (int up = 1; up >= 0; up--)
        for (int k = 0; k < g->T - 1; k++) {
            int i = up ? k : g->T - 1 - k;
            pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, 256, i);
            double x0 = a.root * s * s / (g->abar[i] * s * s + g->noise[i]) * x;
            x = up ? encode(&a, x0, x) : ddim(&a, 0.0, x0, x, 0.0);
        }
    return fabs(x - 1.0);
}

static void encoding_and_decoding_meet_up_to_the_length_of_a_step(void **state)
{
    (void)state;
    static const int schedules[] = {PF_SCHEDULE_LINEAR_SCALED, PF_SCHEDULE_COSINE};
    static const char *const texts[] = {"125", "250", "500", "1000"};
    static int keep[4000];
    for (int k = 0; k < 2; k++) {
        double error[4];
        pf_gauss *g = chain(schedules[k], 4000);
        for (int e = 0; e < 4; e++) {
            pf_gauss *part = part_of(g, texts[e], keep);
            error[e] = there_and_back(part, 0.5);
            pf_gauss_free(part);
        }
        for (int e = 1; e < 4; e++) assert_near(error[e - 1] / error[e], 2.0, 0.2);
        assert_true(error[3] < 0.02);
        pf_gauss_free(g);
    }
}

/* ---- guidance ---- */

/* Data N(0, s^2), of which y = x_0 + tau noise is told: the gradient of log p(y | x_i) turns the best prediction of
 * x_0 into the best one given y as well. */
static void guidance_by_the_exact_gradient_is_the_posterior(void **state)
{
    (void)state;
    const double s = 0.6, tau = 0.3, y = 0.9, x = 0.35;
    pf_gauss *g = chain(PF_SCHEDULE_LINEAR_SCALED, 100);
    for (int i = 0; i < g->T; i++) {
        pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_LARGE, 256, i);
        double abar = g->abar[i], noise = g->noise[i];
        double slope = a.root * s * s / (abar * s * s + noise); /* of E[x_0 | x_i] */
        double spread = s * s * noise / (abar * s * s + noise); /* Var[x_0 | x_i] */
        double grad = slope * (y - slope * x) / (spread + tau * tau);
        double x0 = slope * x, lv = a.log_variance, mean = a.c1 * x0 + a.c2 * x;
        double unguided = mean;
        const pf_gauss_model m = {&x0, &mean, &lv};
        pf_gauss_guide_mean(&a, 1, &grad, &m);
        assert_near(mean, unguided + a.variance * grad, 1e-15);
        pf_gauss_guide_noise(&a, 1, &x, &grad, &m);
        double precision = 1.0 / (s * s) + abar / noise + 1.0 / (tau * tau);
        double want = (a.root * x / noise + y / (tau * tau)) / precision;
        assert_near(x0, want, 1e-11);
        assert_near(mean, a.c1 * want + a.c2 * x, 1e-11);
    }
    pf_gauss_free(g);
}

static void guidance_changes_neither_a_step_without_variance_nor_pure_noise(void **state)
{
    (void)state;
    pf_gauss *g = chain(PF_SCHEDULE_JSD, 20);
    const double grad = 2.0, x = 0.3;
    double x0 = 0.1, mean = 0.2, lv = 0.0;
    const pf_gauss_model m = {&x0, &mean, &lv};
    pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, 256, 0);
    pf_gauss_guide_mean(&a, 1, &grad, &m);
    assert_near(mean, 0.2, 0.0);
    a = index_of(g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, 256, 19);
    pf_gauss_guide_noise(&a, 1, &x, &grad, &m);
    assert_near(x0, 0.1, 0.0);
    pf_gauss_free(g);
}

/* ---- the bound ---- */

/* One entry of four levels with these chances. */
enum { LEVELS = 4 };
static const double chance[LEVELS] = {0.1, 0.45, 0.05, 0.4};

static double level(int k)
{
    return 2.0 * k / (LEVELS - 1) - 1.0;
}

/* E[x_0 | x_i] and Var[x_0 | x_i]. */
static double expected_data(const pf_gauss_at *a, double xi, double *spread)
{
    double most = -INFINITY, log_weight[LEVELS], sum = 0.0, first = 0.0, second = 0.0;
    for (int k = 0; k < LEVELS; k++) {
        double r = (xi - a->root * level(k)) / a->std;
        log_weight[k] = log(chance[k]) - 0.5 * r * r;
        most = fmax(most, log_weight[k]);
    }
    for (int k = 0; k < LEVELS; k++) {
        double w = exp(log_weight[k] - most);
        sum += w;
        first += w * level(k);
        second += w * level(k) * level(k);
    }
    *spread = second / sum - first * first / (sum * sum);
    return first / sum;
}

/* E over data and noise of term i, or of Var[x_0 | x_i] where log_variance is NULL: trapezia over the noise. */
static double expectation(const pf_gauss_at *a, const double *log_variance)
{
    double sum = 0.0;
    for (int k = 0; k < LEVELS; k++)
        for (int q = -900; q <= 900; q++) {
            double x0 = level(k), z = 0.01 * q, xi, row[3], spread;
            const pf_gauss_model m = {row, row + 1, row + 2};
            pf_gauss_noised(a, 1, &x0, &z, &xi);
            double best = expected_data(a, xi, &spread);
            double weight = 0.01 * exp(-0.5 * z * z) / sqrt(2.0 * M_PI) * chance[k];
            const pf_gauss_net net = {&best,
                                      pf_gauss_learns(a->opt.variance) ? log_variance : NULL};
            if (!log_variance) sum += weight * spread;
            else {
                pf_gauss_predict(a, 1, 1, &xi, &net, &m);
                sum += weight * pf_gauss_term(a, 1, &x0, &xi, &m, NULL);
            }
        }
    return sum;
}

/* The whole bound, with the best variance a step can have where it is learned; *first the decoder's part. */
static double bound(const pf_gauss *g, pf_variance v, double *first)
{
    double sum = 0.0;
    for (int k = 0; k < LEVELS; k++) {
        double x0 = level(k);
        sum += chance[k] * pf_gauss_prior(g, 1, &x0);
    }
    for (int i = 0; i < g->T; i++) {
        pf_gauss_at a = index_of(g, PF_PREDICTS_DATA, v, LEVELS, i);
        double best = i ? log(g->variance[i] + g->c1[i] * g->c1[i] * expectation(&a, NULL))
                        : a.q_log_variance;
        double out = v == PF_VARIANCE_LEARNED_RANGE && !i ? 0.0 : (best - a.from) / a.range;
        double term = expectation(&a, &out);
        if (!i) *first = term;
        sum += term;
    }
    return sum;
}

static void the_bound_is_above_the_entropy_for_any_variance_and_respacing(void **state)
{
    (void)state;
    static const int schedules[] = {PF_SCHEDULE_COSINE, PF_SCHEDULE_LINEAR_SCALED,
                                    PF_SCHEDULE_JSD};
    static const char *const texts[] = {"", "8", "ddim6", "3,1,1"};
    int keep[30];
    double entropy = 0.0;
    for (int k = 0; k < LEVELS; k++) entropy -= chance[k] * log(chance[k]);
    for (int c = 0; c < 12; c++) {
        double nats[4], first[4];
        pf_gauss *g = chain(schedules[c / 4], 30), *part = part_of(g, texts[c % 4], keep);
        for (int v = 0; v < 4; v++) {
            nats[v] = bound(part, (pf_variance)v, &first[v]);
            assert_true(isfinite(nats[v]) && nats[v] >= entropy - 1e-9);
        }
        /* behind the decoder, no other variance of a step is better than the best */
        for (int v = 0; v < 3; v++)
            assert_true(nats[3] - first[3] <= nats[v] - first[v] + 1e-9);
        assert_near(nats[3] - first[3], nats[2] - first[2], 1e-9);
        pf_gauss_free(part);
        pf_gauss_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_keep_their_ends_and_strides_are_equal),
        cmocka_unit_test(texts_that_keep_nothing_sensible_are_refused),
        cmocka_unit_test(what_is_kept_has_its_marginal),
        cmocka_unit_test(a_chain_of_all_steps_is_the_chain_itself),
        cmocka_unit_test(ddim_is_the_posterior_at_eta_1_and_keeps_the_noise_at_eta_0),
        cmocka_unit_test(encoding_ends_in_the_noise_and_is_undone_by_ddim),
        cmocka_unit_test(encoding_and_decoding_meet_up_to_the_length_of_a_step),
        cmocka_unit_test(guidance_by_the_exact_gradient_is_the_posterior),
        cmocka_unit_test(guidance_changes_neither_a_step_without_variance_nor_pure_noise),
        cmocka_unit_test(the_bound_is_above_the_entropy_for_any_variance_and_respacing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
