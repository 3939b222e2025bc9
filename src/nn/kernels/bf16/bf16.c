/* The bf16 rows: what multiplies.  Everything else stays in float. */
#include "nn/kernels/bf16/rows.h"

static const pf_kernel kernels[] = {
    {PF_OP_CONV, &pf_bf16_few},
    {PF_OP_CONV, &pf_bf16_winograd},
    {PF_OP_CONV, &pf_bf16_conv},
    {PF_OP_LINEAR, &pf_bf16_conv},
    {PF_OP_ATTENTION, &pf_bf16_attention},
    {0, NULL},
};

const pf_kernel *const PF_CLONED(pf_bf16_kernels) = kernels;
