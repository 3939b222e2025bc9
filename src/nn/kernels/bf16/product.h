/* C = A B of bf16 numbers, summed in float:
 *
 *     sum <- (sum + a[2k+1] b[2k+1]) + a[2k] b[2k],   k = 0, 1, ...
 *
 * with one rounding an addition; products of bf16 numbers are exact in float.  This is what the
 * instruction of AVX512_BF16 computes, so CPUs with and without it give the same bits (numbers
 * below 1.2e-38 aside, which the instruction takes for 0). */
#ifndef PROBFLOW_SRC_NN_KERNELS_BF16_PRODUCT_H
#define PROBFLOW_SRC_NN_KERNELS_BF16_PRODUCT_H

#include <probflow/isa.h>

#include <stddef.h>
#include <stdint.h>

typedef struct pf_bf16_product { /* C [M,N] = bias + A B, or C += A B */
    int M, N, pairs;             /* pairs of terms */
    size_t row, column;          /* words: A(i,2k), A(i,2k+1) share word a[i row + k column] */
    size_t ldb; /* B(2k,j), B(2k+1,j) share b[k ldb + j], j up to a multiple of 16 */
    size_t ldc;
    int add;
    const float *bias; /* [N], what sums start from without add; NULL: 0 */
} pf_bf16_product;

typedef void pf_bf16_run(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                         float *c);

/* Every clone in float, and by the instruction, from PF_ISA_AVX512_BF16 on; x86-64 alone has it. */
#define pf_bf16_float PF_CLONED(pf_bf16_float)
pf_bf16_run pf_bf16_float, pf_bf16_native;
/* The one of these that the instruction set in use asks for. */
#define pf_bf16_best PF_CLONED(pf_bf16_best)
pf_bf16_run *pf_bf16_best(void);

#endif
