/* The rows of this folder; bf16.c is their table. */
#ifndef PROBFLOW_SRC_NN_KERNELS_BF16_ROWS_H
#define PROBFLOW_SRC_NN_KERNELS_BF16_ROWS_H

#include "nn/kernel.h"
#include <probflow/isa.h>

#define pf_bf16_few       PF_CLONED(pf_bf16_few)
#define pf_bf16_winograd  PF_CLONED(pf_bf16_winograd)
#define pf_bf16_conv      PF_CLONED(pf_bf16_conv)
#define pf_bf16_attention PF_CLONED(pf_bf16_attention)

extern const pf_row pf_bf16_few;      /* 3x3, where one side has at most four channels */
extern const pf_row pf_bf16_winograd; /* 3x3, channels in full vectors, many tiles */
extern const pf_row pf_bf16_conv;     /* every convolution, and the linear map */
extern const pf_row pf_bf16_attention;

#endif
