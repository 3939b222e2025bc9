/* The rows of this folder; bf16.c is their table. */
#ifndef PROBFLOW_SRC_NN_KERNELS_BF16_ROWS_H
#define PROBFLOW_SRC_NN_KERNELS_BF16_ROWS_H

#include <nn/kernel.h>

extern const pf_row pf_bf16_few;      /* 3x3, where one side has at most four channels */
extern const pf_row pf_bf16_winograd; /* 3x3, channels in full vectors, many tiles */
extern const pf_row pf_bf16_conv;     /* every convolution, and the linear map */
extern const pf_row pf_bf16_attention;

#endif
