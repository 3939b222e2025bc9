/* Products of bf16 numbers by the instruction of AVX512_BF16: twice the multiply-adds of float. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/product.h"

#include <immintrin.h>

enum { R = 8 };
#define TERMS                   1
#define FACTOR(words, term)     ((__m512bh)(words))
#define MULTIPLY_ADD(sum, x, y) ((sum) = (pf_vec)_mm512_dpbf16_ps((__m512)(sum), (x), (y)))
typedef __m512bh factor;
#include "nn/kernels/bf16/product_block.h"

void pf_bf16_native(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b, float *c)
{
    all_panels(g, a, b, c);
}
