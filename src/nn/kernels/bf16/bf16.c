/* The bf16 rows: what multiplies.  Everything else stays in float. */
#include <nn/kernels/bf16/product.h>
#include <nn/kernels/bf16/rows.h>

const pf_kernel pf_bf16_kernels[] = {
    {PF_OP_CONV, &pf_bf16_few},
    {PF_OP_CONV, &pf_bf16_winograd},
    {PF_OP_CONV, &pf_bf16_conv},
    {PF_OP_LINEAR, &pf_bf16_conv},
    {PF_OP_ATTENTION, &pf_bf16_attention},
    {0, NULL},
};

int pf_bf16_is_native(void)
{
    return pf_bf16_native() != NULL;
}
