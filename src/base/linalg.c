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

double pf_linalg_invert(int n, double *a, double *inverse)
{
    double sum = 0.0;
    for (int i = 0; inverse && i < n * n; i++) inverse[i] = i % (n + 1) == 0;
    for (int k = 0; k < n; k++) {
        int best = k;
        for (int i = k; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        double pivot = a[best * n + k];
        if (pivot == 0.0) return -INFINITY;
        sum += log(fabs(pivot));
        for (int half = 0; half < 1 + !!inverse; half++) {
            double *m = half ? inverse : a;
            for (int j = 0; j < n; j++) {
                double row = m[best * n + j] / pivot;
                m[best * n + j] = m[k * n + j];
                m[k * n + j] = row;
            }
        }
        for (int i = 0; i < n; i++) {
            double times = i == k ? 0.0 : a[i * n + k];
            for (int j = 0; j < n; j++) a[i * n + j] -= times * a[k * n + j];
            for (int j = 0; inverse && j < n; j++)
                inverse[i * n + j] -= times * inverse[k * n + j];
        }
    }
    return sum;
}
