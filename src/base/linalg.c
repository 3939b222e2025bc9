/* LAPACK and BLAS for row-major doubles.
 *
 * A symmetric matrix is the same in both orders, so LAPACK's column-major eigenvectors (columns)
 * are our rows without a transposition, and its upper factor is our lower one. */
#include "base/blas_core.h"

#include <probflow/linalg.h>

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

const char *pf_linalg_library(void)
{
    pf_blas_settle();
    return pf_blas_name();
}

pf_status pf_linalg_eigh(int n, double *a, double *w)
{
    PF_REQUIRE(n > 0, PF_EARG, "eigendecomposition of a %d by %d matrix", n, n);
    pf_blas_settle();
    lapack_int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', n, a, n, w);
    PF_REQUIRE(info != LAPACK_WORK_MEMORY_ERROR, PF_EMEM,
               "no memory for eigenvectors of size %d", n);
    PF_REQUIRE(info == 0, PF_EEXT, "LAPACK dsyevd does not converge (info %d, size %d)",
               (int)info, n);
    return PF_OK;
}

pf_status pf_linalg_cholesky(int n, double *a, double *logdet)
{
    PF_REQUIRE(n > 0, PF_EARG, "Cholesky factor of a %d by %d matrix", n, n);
    pf_blas_settle();
    lapack_int info = LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', n, a, n);
    PF_REQUIRE(info >= 0, PF_EEXT, "LAPACK dpotrf refuses argument %d (not finite?)",
               -(int)info);
    PF_REQUIRE(info == 0, PF_ENUMERIC,
               "a %d by %d matrix is not positive definite (leading minor %d)", n, n,
               (int)info);
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        double *row = a + (size_t)i * (size_t)n;
        sum += 2.0 * log(row[i]);
        memset(row + i + 1, 0, sizeof(double) * (size_t)(n - 1 - i));
    }
    if (logdet) *logdet = sum;
    return PF_OK;
}

void pf_linalg_solve_lower(int m, int n, const double *l, double *x)
{
    pf_blas_settle();
    /* Row r of x solves L y = r, that is X <- X L^-T. */
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, m, n, 1.0, l,
                n, x, n);
}

void pf_linalg_gemm(const pf_gemm *g, const double *a, const double *b, double *c)
{
    pf_blas_settle();
    cblas_dgemm(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans,
                g->tb ? CblasTrans : CblasNoTrans, g->m, g->n, g->k, g->alpha, a,
                g->ta ? g->m : g->k, b, g->tb ? g->k : g->n, g->beta, c, g->n);
}

pf_status pf_linalg_invert(int n, double *a, double *log_det)
{
    lapack_int pivot[PF_LINALG_INVERT_MAX];
    double work[PF_LINALG_INVERT_MAX], sum = 0.0;
    PF_REQUIRE(n > 0 && n <= PF_LINALG_INVERT_MAX, PF_EARG,
               "inverse of a %d by %d matrix, want at most %d rows", n, n,
               PF_LINALG_INVERT_MAX);
    pf_blas_settle();
    /* the inverse of the transposed matrix is the transposed inverse, so the order does not matter */
    lapack_int info = LAPACKE_dgetrf(LAPACK_COL_MAJOR, n, n, a, n, pivot);
    for (int i = 0; !info && i < n; i++) sum += log(fabs(a[(size_t)i * (size_t)(n + 1)]));
    if (!info) info = LAPACKE_dgetri_work(LAPACK_COL_MAJOR, n, a, n, pivot, work, n);
    PF_REQUIRE(info == 0, PF_ENUMERIC, "a %d by %d matrix has no inverse", n, n);
    if (log_det) *log_det = sum;
    return PF_OK;
}

double pf_log_sum_exp(int n, const double *z)
{
    double most = z[0], sum = 0.0;
    for (int i = 1; i < n; i++) most = fmax(most, z[i]);
    if (isinf(most)) return most;
    for (int i = 0; i < n; i++) sum += exp(z[i] - most);
    return most + log(sum);
}
