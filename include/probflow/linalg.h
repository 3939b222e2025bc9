/* Dense linear algebra in double, by LAPACK and BLAS.  Matrices are row-major.  Local. */
#ifndef PROBFLOW_LINALG_H
#define PROBFLOW_LINALG_H

#include <probflow/status.h>

/* What computes: the library and its kernels, "OpenBLAS Haswell".  A static string. */
const char *pf_linalg_library(void);

/* Eigendecomposition of symmetric a [n,n] = V diag(w) V'.  On return a holds V' : row i is the
 * eigenvector of w[i]; w ascends.  Fails PF_EEXT when LAPACK does not converge. */
PF_MUST_USE pf_status pf_linalg_eigh(int n, double *a, double *w);

/* Cholesky factor: a [n,n] symmetric positive definite -> lower triangle L with a = L L'.
 * logdet (NULL: not wanted) = log det a.  Fails PF_ENUMERIC when a is not positive definite. */
PF_MUST_USE pf_status pf_linalg_cholesky(int n, double *a, double *logdet);

/* x [m,n] <- L^-1 applied to each of the m rows, L [n,n] lower triangular. */
void pf_linalg_solve_lower(int m, int n, const double *l, double *x);

/* log sum_i exp z_i of z [n], n > 0, without overflow; -infinity where all are. */
double pf_log_sum_exp(int n, const double *z);

/* a [n,n], n up to PF_LINALG_INVERT_MAX, becomes its inverse; log_det (NULL: not wanted) = log |det a|.  Takes no memory.
 * Fails PF_EARG: n; PF_ENUMERIC: a has none, or is not finite.  Test  an_inverse_undoes_its_matrix */
enum { PF_LINALG_INVERT_MAX = 64 };
PF_MUST_USE pf_status pf_linalg_invert(int n, double *a, double *log_det);

/* c [m,n] = alpha op(a) op(b) + beta c;  ta/tb: 0 as stored, 1 transposed; k is the inner length. */
typedef struct pf_gemm {
    int ta, tb, m, n, k;
    double alpha, beta;
} pf_gemm;
void pf_linalg_gemm(const pf_gemm *g, const double *a, const double *b, double *c);

#endif
