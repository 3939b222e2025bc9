/* The oneDNN rows: convolution and matrix products. */
#include "nn/kernel.h"

extern const pf_row pf_dnn_conv, pf_dnn_masked, pf_dnn_attention, pf_dnn_linear_attention;

const pf_kernel pf_onednn_kernels[] = {
#ifdef PF_HAVE_ONEDNN
    {PF_OP_CONV, &pf_dnn_conv},
    {PF_OP_LINEAR, &pf_dnn_conv}, /* a 1x1 convolution */
    {PF_OP_MASKED_LINEAR, &pf_dnn_masked},
    {PF_OP_ATTENTION, &pf_dnn_attention},
    {PF_OP_LINEAR_ATTENTION, &pf_dnn_linear_attention},
#endif
    {0, NULL},
};
