/* Laws of argmax flows: cells and their maps, densities, bounds against exact probabilities. */
#include "method/argmax.h"

#include <probflow/random.h>

#include "checks.h"

enum { BITS = 3, CODES = 1 << BITS, NODES = 4001 };
static const double loc[BITS] = {0.6, -0.4, 0.1}, log_scale[BITS] = {0.2, -0.3, 0.6};
static const double mean[BITS] = {0.3, -0.8, 0.5}, log_std[BITS] = {-0.4, 0.2, -0.1};
static const pf_argmax_normal prior = {loc, log_scale}, encoder = {mean, log_std};

static double number(uint64_t key, size_t i, double from, double to)
{
    const pf_draw d = {.seed = 5, .stream = PF_STREAM_TEST, .sample = key};
    return from + (to - from) * pf_draw_uniform_f64(&d, i);
}

static void a_symbol_has_as_many_bits_as_its_number_needs(void **state)
{
    (void)state;
    const int K[] = {2, 3, 4, 5, 27, 32, 33, 256, 257, 65536},
              bits[] = {1, 2, 2, 3, 5, 5, 6, 8, 9, 16};
    for (size_t i = 0; i < sizeof K / sizeof *K; i++)
        assert_int_equal(pf_argmax_bits(K[i]), bits[i]);
    /* the most significant bit first */
    assert_true(pf_argmax_sign(3, 4, 0) == 1.0 && pf_argmax_sign(3, 4, 1) == -1.0 &&
                pf_argmax_sign(3, 4, 2) == -1.0);
}

static void what_is_mapped_lies_in_its_cell_and_comes_back(void **state)
{
    (void)state;
    for (int k = 0; k < CODES; k++) {
        double u[CODES], v[CODES], back[CODES];
        /* down to -30 softplus is far from 0, and up to 30 far from its asymptote's last bit */
        for (size_t i = 0; i < CODES; i++) u[i] = number((uint64_t)k, i, -30.0, 30.0);
        pf_argmax_product(BITS, k, u, v);
        assert_int_equal(pf_argmax_code(BITS, v), k);
        pf_argmax_product_inverse(BITS, v, back);
        /* u of 1e-13 errs by a rounding of v over its slope: 1e-16 times v/sigmoid(u) = 1 */
        for (int b = 0; b < BITS; b++) assert_near(back[b], u[b], 1e-13);

        for (size_t i = 0; i < CODES; i++) u[i] = number((uint64_t)k, i, -4.0, 4.0);
        pf_argmax_softplus(CODES, k, u, v);
        for (int i = 0; i < CODES; i++) assert_true(i == k || v[i] < v[k]);
        pf_argmax_softplus_inverse(CODES, k, v, back);
        /* top - v of 3e-4 at least: rounding of 4 over it */
        for (int i = 0; i < CODES; i++) assert_near(back[i], u[i], 1e-11);
    }
}

static void a_gumbel_threshold_keeps_the_maximum_and_comes_back(void **state)
{
    (void)state;
    enum { K = 5 };
    for (int x = 0; x < K; x++) {
        double phi[K], w[K], v[K], back[K];
        for (size_t i = 0; i < K; i++) {
            phi[i] = number(20, i, -2.0, 2.0);
            w[i] = number(21 + (uint64_t)x, i, 0.01, 0.99);
        }
        pf_argmax_gumbel(K, x, phi, w, v);
        for (int i = 0; i < K; i++) assert_true(i == x || v[i] < v[x]);
        pf_argmax_gumbel_inverse(K, x, phi, v, back);
        for (int i = 0; i < K; i++) assert_near(back[i], w[i], 1e-13);
    }
}

/* log |det a|, a [n,n] is destroyed. */
static double log_det(int n, double *a)
{
    double sum = 0.0;
    for (int k = 0; k < n; k++) {
        int best = k;
        for (int i = k; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        for (int j = 0; j < n; j++) {
            double swap = a[k * n + j];
            a[k * n + j] = a[best * n + j];
            a[best * n + j] = swap;
        }
        sum += log(fabs(a[k * n + k]));
        for (int i = k + 1; i < n; i++) {
            double times = a[i * n + k] / a[k * n + k];
            for (int j = k; j < n; j++) a[i * n + j] -= times * a[k * n + j];
        }
    }
    return sum;
}

static void volumes_are_determinants_of_differences(void **state)
{
    (void)state;
    for (int onehot = 0; onehot < 2; onehot++)
        for (int x = 0; x < 4; x++) {
            int n = onehot ? 4 : BITS;
            double u[4], v[4], up[4], down[4], a[16], h = 1e-5;
            for (size_t i = 0; i < 4; i++) u[i] = number(30 + (uint64_t)x, i, -2.0, 2.0);
            double got =
                onehot ? pf_argmax_softplus(4, x, u, v) : pf_argmax_product(BITS, x, u, v);
            for (int j = 0; j < n; j++) {
                double at = u[j];
                for (int side = 0; side < 2; side++) {
                    u[j] = at + (side ? -h : h);
                    if (onehot) pf_argmax_softplus(4, x, u, side ? down : up);
                    else pf_argmax_product(BITS, x, u, side ? down : up);
                }
                u[j] = at;
                for (int i = 0; i < n; i++) a[i * n + j] = (up[i] - down[i]) / (2.0 * h);
            }
            /* rounding 1e-16/h and h^2 of a third slope */
            assert_near(got, log_det(n, a), 1e-9);
        }
}

/* The maximum of Gumbels is one, and the others are Gumbels cut off there: the other way to write the density. */
static void a_gumbel_threshold_is_a_maximum_and_truncated_ones(void **state)
{
    (void)state;
    enum { K = 5 };
    for (int x = 0; x < K; x++) {
        double phi[K], w[K], v[K], all = 0.0, want;
        for (size_t i = 0; i < K; i++) {
            phi[i] = number(40, i, -2.0, 2.0);
            w[i] = number(41 + (uint64_t)x, i, 0.01, 0.99);
            all += exp(phi[i]);
        }
        double got = pf_argmax_gumbel(K, x, phi, w, v), top = v[x];
        want = log(all) - top - all * exp(-top);
        for (int i = 0; i < K; i++)
            if (i != x) want += phi[i] - v[i] - exp(phi[i] - v[i]) + exp(phi[i] - top);
        assert_near(got, want, 1e-12 * fmax(1.0, fabs(want)));
    }
}

static void codes_share_all_of_a_density(void **state)
{
    (void)state;
    double p[CODES], sum = 0.0;
    for (int k = 0; k < CODES; k++) sum += p[k] = exp(pf_argmax_log_orthant(BITS, k, prior));
    assert_near(sum, 1.0, 1e-14);
    for (int K = 1; K <= CODES; K++) {
        double unused = 0.0;
        for (int k = K; k < CODES; k++) unused += p[k];
        assert_near(pf_argmax_unused(BITS, K, prior), unused, 1e-14);
    }
}

static void a_small_mass_on_no_symbols_is_not_lost(void **state)
{
    (void)state;
    const double far[BITS] = {-20.0, 1.0, 0.5}, one[BITS] = {0};
    const pf_argmax_normal p = {far, one};
    double want = 0.0;
    for (int k = 5; k < CODES; k++) want += exp(pf_argmax_log_orthant(BITS, k, p));
    assert_true(want < 1e-80); /* far below what 1 - sum could tell */
    assert_near(pf_argmax_unused(BITS, 5, p) / want, 1.0, 1e-13);
}

/* The mean of w, or of exp(w), over a normal number e, one bit at a time, by the trapezoid rule.  exp(w) times the
 * density of e falls like sigmoid(u) below, by 1e-20 at e = -80. */
static double over_noise(int b, int sign, int exponential)
{
    double sum = 0.0, h = 120.0 / (NODES - 1);
    const pf_argmax_normal q = {mean + b, log_std + b}, p = {loc + b, log_scale + b};
    for (int i = 0; i < NODES; i++) {
        double e = -80.0 + i * h, v;
        double log_q = pf_argmax_encode(1, sign > 0, q, &e, &v);
        double w = pf_argmax_log_density(1, p, &v) - log_q;
        double log_n = -0.5 * e * e - 0.5 * log(2.0 * M_PI);
        sum += h * (exponential ? exp(w + log_n) : w * exp(log_n));
    }
    return sum;
}

static void importance_weights_average_to_the_probability(void **state)
{
    (void)state;
    for (int k = 0; k < CODES; k++) {
        double elbo = 0.0, log_p = 0.0;
        double exact = pf_argmax_log_orthant(BITS, k, prior);
        for (int b = 0; b < BITS; b++) {
            int sign = (int)pf_argmax_sign(BITS, k, b);
            elbo += over_noise(b, sign, 0);
            log_p += log(over_noise(b, sign, 1));
        }
        assert_near(log_p, exact, 1e-12);
        assert_true(elbo < exact - 1e-3); /* a bound, and not a tight one */
    }
}

/* An encoder whose weights vary little. */
static const double wide_std[BITS] = {0.4, 0.4, 0.4};
static const pf_argmax_normal wide = {mean, wide_std};

static double draw_weight(uint64_t sample, int k)
{
    const pf_draw d = {.seed = 6, .stream = PF_STREAM_TEST, .sample = sample};
    float z[BITS];
    double noise[BITS], v[BITS];
    pf_draw_normal(&d, 0, BITS, z);
    for (int b = 0; b < BITS; b++) noise[b] = (double)z[b];
    double log_q = pf_argmax_encode(BITS, k, wide, noise, v);
    return pf_argmax_log_density(BITS, prior, v) - log_q;
}

/* Of n bounds, each of `draws`: their mean and its standard error. */
static double mean_bound(int n, int draws, double *error)
{
    double sum = 0.0, squares = 0.0, w[256];
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < draws; j++) w[j] = draw_weight((uint64_t)(i * draws + j), 5);
        double v = pf_argmax_bound(draws, w, NULL);
        sum += v / n;
        squares += v * v / n;
    }
    *error = sqrt((squares - sum * sum) / (n - 1));
    return sum;
}

static void more_draws_bring_the_bound_to_the_probability(void **state)
{
    (void)state;
    double exact = pf_argmax_log_orthant(BITS, 5, prior), error, before = -INFINITY;
    for (int draws = 1; draws <= 256; draws *= 4) {
        double got = mean_bound((1 << 16) / draws, draws, &error);
        /* the same draws, in larger groups: by Jensen's inequality not below, whatever they are */
        assert_true(got > before);
        assert_true(got < exact + 3.0 * error);
        before = got;
    }
    assert_true(
        error <
        0.02); /* the check is not loose; what is missing is variance/(2 draws), below it */
    assert_near(before, exact, 3.0 * error);
}

static double elbo(const double *m, const double *s, const double *l, const double *t)
{
    const double noise[BITS] = {0.7, -1.2, 0.3};
    const pf_argmax_normal q = {m, s}, p = {l, t};
    double v[BITS], log_q = pf_argmax_encode(BITS, 5, q, noise, v);
    return pf_argmax_log_density(BITS, p, v) - log_q;
}

static void slopes_of_a_bound_are_its_differences(void **state)
{
    (void)state;
    const double noise[BITS] = {0.7, -1.2, 0.3};
    double slope[4][BITS] = {0}, at[4][BITS], h = 1e-5;
    const pf_argmax_slope g = {slope[0], slope[1], slope[2], slope[3]};
    pf_argmax_elbo_slope(BITS, 5, encoder, prior, noise, 2.0, g);
    for (int b = 0; b < BITS; b++) {
        at[0][b] = mean[b];
        at[1][b] = log_std[b];
        at[2][b] = loc[b];
        at[3][b] = log_scale[b];
    }
    for (int k = 0; k < 4; k++)
        for (int b = 0; b < BITS; b++) {
            double x = at[k][b];
            at[k][b] = x + h;
            double up = elbo(at[0], at[1], at[2], at[3]);
            at[k][b] = x - h;
            double down = elbo(at[0], at[1], at[2], at[3]);
            at[k][b] = x;
            assert_near(slope[k][b], 2.0 * (up - down) / (2.0 * h), 1e-8);
        }
}

static void far_numbers_stay_numbers(void **state)
{
    (void)state;
    assert_near(pf_softplus_f64(800.0), 800.0, 0.0);
    assert_near(pf_softplus_f64(-800.0), 0.0, 0.0);
    assert_near(pf_log_sigmoid(-800.0), -800.0, 0.0);
    assert_near(pf_softplus_inverse(pf_softplus_f64(-700.0)), -700.0, 1e-12);
    const double w[2] = {-2000.0, -2001.0};
    assert_near(pf_argmax_bound(2, w, NULL), -2000.0 + log1p(exp(-1.0)) - log(2.0), 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_symbol_has_as_many_bits_as_its_number_needs),
        cmocka_unit_test(what_is_mapped_lies_in_its_cell_and_comes_back),
        cmocka_unit_test(a_gumbel_threshold_keeps_the_maximum_and_comes_back),
        cmocka_unit_test(volumes_are_determinants_of_differences),
        cmocka_unit_test(a_gumbel_threshold_is_a_maximum_and_truncated_ones),
        cmocka_unit_test(codes_share_all_of_a_density),
        cmocka_unit_test(a_small_mass_on_no_symbols_is_not_lost),
        cmocka_unit_test(importance_weights_average_to_the_probability),
        cmocka_unit_test(more_draws_bring_the_bound_to_the_probability),
        cmocka_unit_test(slopes_of_a_bound_are_its_differences),
        cmocka_unit_test(far_numbers_stay_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
