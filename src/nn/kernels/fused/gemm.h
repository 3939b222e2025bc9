/* Small matrix products. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_GEMM_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_GEMM_H

#include <probflow/isa.h>

#include <stddef.h>

enum { PF_GEMM_ROWS = 8, PF_GEMM_COLUMNS = 16 };

#define pf_small_gemm_run   PF_CLONED(pf_small_gemm_run)
#define pf_blocked_gemm_run PF_CLONED(pf_blocked_gemm_run)

typedef struct pf_small_gemm { /* C [M,N] = or += A [M,K] B [K,N] */
    int M, N, K;               /* M a multiple of 8, N of 16 */
    size_t row, column;        /* A(i,k) = a[i row + k column]: both transpositions */
    int add;                   /* B and C are dense, row by row */
} pf_small_gemm;

void pf_small_gemm_run(const pf_small_gemm *g, const float *a, const float *b, float *c);

/* Matrices in blocks of 16 columns, one after the other: element (i,j) of X with X.rows rows is
 * at[(j / 16 * rows + i) 16 + j % 16].  So the product reads and writes whole cache lines one after
 * the other, whatever the sizes. */
typedef struct pf_blocked {
    float *at;
    int rows; /* of a block; a product may use fewer */
} pf_blocked;

typedef struct pf_blocked_gemm { /* C [M,N] = or += A [M,K] B [K,N] */
    int M, N, K;                 /* M a multiple of 8, N of 16 */
    int transposed;              /* 1: A is stored as [K,M]; 0: K a multiple of 16 */
    int add;
} pf_blocked_gemm;

void pf_blocked_gemm_run(const pf_blocked_gemm *g, pf_blocked a, pf_blocked b, pf_blocked c);

#endif
