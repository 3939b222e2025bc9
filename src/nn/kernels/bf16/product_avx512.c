/* Products of bf16 numbers by the instruction of AVX512_BF16: twice the multiply-adds of float. */
#include <nn/kernels/bf16/pack.h>
#include <nn/kernels/bf16/product.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define DOT(sum, x, y) \
    (sum) = (pf_v16)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(y))
#include <nn/kernels/bf16/product_block.h>

TARGET static void native(const pf_bf16_product *g, const uint32_t *a, const uint32_t *b,
                          float *c)
{
    all_panels(g, a, b, c);
}

pf_bf16_run *pf_bf16_native(void)
{
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") ? native
                                                                                      : NULL;
}
#else
pf_bf16_run *pf_bf16_native(void)
{
    return NULL;
}
#endif
