/* Softmax of rows or columns, in place. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_SOFTMAX_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_SOFTMAX_H

#include <probflow/isa.h>

typedef struct pf_softmax_ops {
    /* p [rows,n] = exp(scale p) / sum over the row */
    void (*forward)(int rows, int n, float scale, float *p);
    /* d = p (d - sum(p d)) scale, row by row */
    void (*backward)(int rows, int n, float scale, const float *p, float *d);
    /* The same for each column of p [rows,n]; rows whose byte of there [rows] is 0 are 0, and count for nothing.
     * sums [2 n] is working space. */
    void (*columns)(int rows, int n, float scale, const unsigned char *there, float *p,
                    float *sums);
    void (*columns_back)(int rows, int n, float scale, const float *p, float *d, float *sums);
} pf_softmax_ops;

#ifdef PF_CLONE
#define pf_softmax PF_CLONED(pf_softmax)
extern const pf_softmax_ops pf_softmax;
#endif

#endif
