/* A small matrix product on vectors of 16 floats (two, four or one register each). */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_GEMM_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_GEMM_H

#include <stddef.h>

enum { PF_GEMM_ROWS = 8, PF_GEMM_COLUMNS = 16 };

typedef struct pf_small_gemm { /* C [M,N] = or += A [M,K] B [K,N] */
    int M, N, K;               /* M a multiple of 8, N of 16 */
    size_t row, column;        /* A(i,k) = a[i row + k column]: both transpositions */
    int add;                   /* B and C are dense, row by row */
} pf_small_gemm;

void pf_small_gemm_run(const pf_small_gemm *g, const float *a, const float *b, float *c);

#endif
