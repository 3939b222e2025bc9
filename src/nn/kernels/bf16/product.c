/* Products of bf16 numbers in portable C, and the choice. */
#include <nn/kernels/bf16/pack.h>
#include <nn/kernels/bf16/product.h>

#define TARGET
#define DOT(sum, x, y)                                                  \
    do {                                                                \
        (sum) += (pf_v16)((x)&0xFFFF0000u) * (pf_v16)((y)&0xFFFF0000u); \
        (sum) += (pf_v16)((x) << 16) * (pf_v16)((y) << 16);             \
    } while (0)
#include <nn/kernels/bf16/product_block.h>

PF_CLONES void pf_bf16_portable(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                                float *c)
{
    all_panels(g, a, b, c);
}

pf_bf16_run *pf_bf16_best(void)
{
    pf_bf16_run *native = pf_bf16_native();
    return native ? native : pf_bf16_portable;
}
