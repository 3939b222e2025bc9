/* Softmax of rows, in place. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_SOFTMAX_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_SOFTMAX_H

/* p [rows,n] = exp(scale p) / sum over the row */
void pf_fused_softmax(int rows, int n, float scale, float *p);
/* d = p (d - sum(p d)) scale, row by row */
void pf_fused_softmax_back(int rows, int n, float scale, const float *p, float *d);

#endif
