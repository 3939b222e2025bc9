/* The product of two matrices with many rows along these, the gradient of a linear map's weight. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_OUTER_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_OUTER_H

#include <probflow/isa.h>

#include <stddef.h>

typedef struct pf_outer { /* A' B of A [rows,M], B [rows,N] */
    int rows, M, N;       /* M and N multiples of 16 */
} pf_outer;

typedef struct pf_outer_out {
    float *product; /* [M,N] */
    float *sum;     /* [M], of the rows of A; NULL: not wanted */
} pf_outer_out;

typedef struct pf_outer_ops {
    size_t (*scratch)(const pf_outer *o); /* floats */
    void (*run)(const pf_outer *o, const float *a, const float *b, const pf_outer_out *to,
                float *scratch);
} pf_outer_ops;

#ifdef PF_CLONE
#define pf_outer_product PF_CLONED(pf_outer_product)
extern const pf_outer_ops pf_outer_product;
#endif

#endif
