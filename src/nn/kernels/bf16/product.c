/* Products of bf16 numbers in float, and the choice. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/product.h"

/* Beside the sums there are words, the half of them that is multiplied, and a broadcast. */
enum { R = PF_LANES / 2 };
#define TERMS                   2
#define FACTOR(words, term)     ((pf_vec)((term) ? (words) << 16 : (words)&0xFFFF0000u))
#define MULTIPLY_ADD(sum, x, y) ((sum) += (x) * (y))
typedef pf_vec factor;
#include "nn/kernels/bf16/product_block.h"

void pf_bf16_float(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b, float *c)
{
    all_panels(g, a, b, c);
}

pf_bf16_run *pf_bf16_best(void)
{
#if defined(__AVX512F__)
    if (pf_isa_used() >= PF_ISA_AVX512_BF16) return pf_bf16_native;
#endif
    return pf_bf16_float;
}
