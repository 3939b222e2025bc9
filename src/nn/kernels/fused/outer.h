/* The product of two matrices with many rows along these, the gradient of a linear map's weight. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_OUTER_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_OUTER_H

#include <probflow/isa.h>

#include <stddef.h>

typedef struct pf_outer { /* C [M,N] = A' B, A [rows,M], B [rows,N] */
    int rows, M, N;       /* M and N multiples of 16 */
} pf_outer;

typedef struct pf_outer_ops {
    size_t (*scratch)(const pf_outer *o); /* floats */
    void (*run)(const pf_outer *o, const float *a, const float *b, float *c, float *scratch);
    void (*sum)(int rows, int M, const float *a, float *c); /* c [M] = sum of the rows */
} pf_outer_ops;

#ifdef PF_CLONE
#define pf_outer_product PF_CLONED(pf_outer_product)
extern const pf_outer_ops pf_outer_product;
#endif

#endif
