/* Linear algebra: each routine by the identity that defines it. */
#include <probflow/linalg.h>
#include <probflow/random.h>

#include <math.h>
#include <string.h>

#include "checks.h"

enum { N = 17 };
/* Rounding of N-term sums of numbers of size 1 in double, with a margin of 100. */
static const double TOL = N * 1e-14;

static void fill(uint64_t sample, int n, double *a)
{
    pf_draw d = {.seed = 7, .stream = PF_STREAM_TEST, .sample = sample};
    for (int i = 0; i < n; i++) a[i] = 2 * pf_draw_uniform_f64(&d, (size_t)i) - 1;
}

static void spd(double *a)
{
    double b[N * N];
    fill(1, N * N, b);
    memset(a, 0, sizeof b);
    for (int i = 0; i < N; i++) a[i * N + i] = 1.0;
    pf_gemm g = {.tb = 1, .m = N, .n = N, .k = N, .alpha = 1.0, .beta = 1.0};
    pf_linalg_gemm(&g, b, b, a);
}

static double worst(const double *a, const double *b, int n)
{
    double w = 0;
    for (int i = 0; i < n; i++) w = fmax(w, fabs(a[i] - b[i]));
    return w;
}

static void gemm_is_the_sum_of_products_in_every_transposition(void **state)
{
    (void)state;
    enum { A = 3, B = 4, K = 5 };
    for (int ta = 0; ta < 2; ta++)
        for (int tb = 0; tb < 2; tb++) {
            double a[A * K], b[K * B], c[A * B], want[A * B];
            fill(2, A * K, a);
            fill(3, K * B, b);
            fill(4, A * B, c);
            for (int i = 0; i < A; i++)
                for (int j = 0; j < B; j++) {
                    double sum = 0;
                    for (int k = 0; k < K; k++)
                        sum += (ta ? a[k * A + i] : a[i * K + k]) *
                               (tb ? b[j * K + k] : b[k * B + j]);
                    want[i * B + j] = 1.5 * sum - 0.5 * c[i * B + j];
                }
            pf_gemm g = {ta, tb, A, B, K, 1.5, -0.5};
            pf_linalg_gemm(&g, a, b, c);
            assert_true(worst(c, want, A * B) < TOL);
        }
}

static void eigenvectors_rebuild_the_matrix(void **state)
{
    (void)state;
    double a[N * N], v[N * N], w[N], scaled[N * N], back[N * N];
    spd(a);
    memcpy(v, a, sizeof a);
    assert_int_equal(pf_linalg_eigh(N, v, w), PF_OK);
    for (int i = 0; i < N; i++) {
        if (i) assert_true(w[i] >= w[i - 1]);
        for (int j = 0; j < N; j++) scaled[i * N + j] = w[i] * v[i * N + j];
    }
    pf_gemm g = {.ta = 1, .m = N, .n = N, .k = N, .alpha = 1.0};
    pf_linalg_gemm(&g, v, scaled, back); /* V diag(w) V' with V' in rows */
    assert_true(worst(a, back, N * N) < TOL * w[N - 1]);
}

static void cholesky_factor_times_its_transpose_is_the_matrix(void **state)
{
    (void)state;
    double a[N * N], l[N * N], back[N * N], w[N], logdet, want = 0;
    spd(a);
    memcpy(l, a, sizeof a);
    assert_int_equal(pf_linalg_cholesky(N, l, &logdet), PF_OK);
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) assert_true(l[i * N + j] == 0.0);
    pf_gemm g = {.tb = 1, .m = N, .n = N, .k = N, .alpha = 1.0};
    pf_linalg_gemm(&g, l, l, back);
    assert_true(worst(a, back, N * N) < TOL * N);
    assert_int_equal(pf_linalg_eigh(N, a, w), PF_OK);
    for (int i = 0; i < N; i++) want += log(w[i]);
    assert_true(fabs(logdet - want) < TOL * N);
}

static void solving_with_the_factor_undoes_multiplying_by_it(void **state)
{
    (void)state;
    enum { ROWS = 4 };
    double l[N * N], x[ROWS * N], y[ROWS * N];
    spd(l);
    assert_int_equal(pf_linalg_cholesky(N, l, NULL), PF_OK);
    fill(5, ROWS * N, x);
    pf_gemm g = {.tb = 1, .m = ROWS, .n = N, .k = N, .alpha = 1.0};
    pf_linalg_gemm(&g, x, l, y); /* each row r becomes L r */
    pf_linalg_solve_lower(ROWS, N, l, y);
    assert_true(worst(x, y, ROWS * N) < 100 * TOL);
}

static void an_indefinite_matrix_is_refused_in_words(void **state)
{
    (void)state;
    double a[4] = {1, 2, 2, 1};
    assert_int_equal(pf_linalg_cholesky(2, a, NULL), PF_ENUMERIC);
    assert_non_null(strstr(pf_error_message(), "not positive definite"));
}

static void an_inverse_undoes_its_matrix(void **state)
{
    (void)state;
    double a[N * N], back[N * N], inverse[N * N], one[N * N], volume, of_inverse;
    fill(9, N * N, a);
    a[0] = 0.0; /* the first pivot is not on the diagonal */
    memcpy(inverse, a, sizeof a);
    must(pf_linalg_invert(N, inverse, &volume));
    pf_gemm g = {.m = N, .n = N, .k = N, .alpha = 1.0};
    pf_linalg_gemm(&g, a, inverse, one);
    for (int i = 0; i < N * N; i++)
        assert_true(fabs(one[i] - (i % (N + 1) == 0)) < 100 * TOL); /* times its condition */
    memcpy(back, inverse, sizeof back);
    must(pf_linalg_invert(N, back, &of_inverse));
    assert_true(fabs(of_inverse + volume) < 100 * TOL);
    double turn[4] = {0.0, -2.0, 3.0, 0.0}, none[4] = {1.0, 2.0, 2.0, 4.0};
    must(pf_linalg_invert(2, turn, &volume));
    assert_true(fabs(volume - log(6.0)) < 1e-15);
    assert_true(fabs(turn[1] - 1.0 / 3.0) < 1e-15 && fabs(turn[2] + 0.5) < 1e-15);
    assert_int_equal(pf_linalg_invert(2, none, NULL), PF_ENUMERIC);
    assert_string_equal(pf_error_message(), "a 2 by 2 matrix has no inverse");
    assert_int_equal(pf_linalg_invert(PF_LINALG_INVERT_MAX + 1, a, NULL), PF_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_is_the_sum_of_products_in_every_transposition),
        cmocka_unit_test(eigenvectors_rebuild_the_matrix),
        cmocka_unit_test(cholesky_factor_times_its_transpose_is_the_matrix),
        cmocka_unit_test(solving_with_the_factor_undoes_multiplying_by_it),
        cmocka_unit_test(an_indefinite_matrix_is_refused_in_words),
        cmocka_unit_test(an_inverse_undoes_its_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
