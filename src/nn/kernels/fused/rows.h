/* The rows of this folder, one or more a file; fused.c is their table. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_ROWS_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_ROWS_H

#include <nn/kernel.h>
#include <stdint.h>

extern const pf_row pf_fused_few;      /* 3x3, where one side has at most four channels */
extern const pf_row pf_fused_winograd; /* 3x3, channels in full vectors */
extern const pf_row pf_fused_norm;
extern const pf_row pf_fused_silu, pf_fused_affine, pf_fused_add_scale, pf_fused_add_channel;
extern const pf_row pf_fused_levels;
extern const pf_row pf_fused_sine, pf_fused_divide, pf_fused_dropout;
extern const pf_row pf_fused_concat, pf_fused_up2, pf_fused_down2, pf_fused_fir;

/* d [n] = g where byte is 1, times keep; 0 elsewhere */
void pf_fused_undrop(size_t n, const uint8_t *byte, float keep, const float *g, float *d);
/* e [C] = sum of the rows of g [n,C] */
void pf_fused_sum_rows(int n, int C, const float *g, float *e);

#endif
