/* Vectorised portable C: vectors of the instruction set at hand, and a polynomial exponential.
 * For files that are compiled once for each instruction set. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_VEC_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_VEC_H

#include <probflow/isa.h>

#include <math.h>
#include <string.h>

#define PF_SIMD _Pragma("omp simd")
/* the same with sums of three */
#define PF_SIMD_SUM(a, b, c) PF_PRAGMA(omp simd reduction(+ : a, b, c))
#define PF_PRAGMA(...)       _Pragma(#__VA_ARGS__)
#define PF_INLINE            static inline __attribute__((always_inline))
/* Before a loop over the parts of a block of registers: without it the block is an array in memory. */
#if defined(__clang__)
#define PF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PF_UNROLL _Pragma("GCC unroll 16")
#endif
/* A function of its own, so that its inner loop has all registers. */
#define PF_OWN_REGISTERS static __attribute__((noinline))

/* The order of operations below is meant, though the kernels' flags let sums be reassociated
 * (and a vectorised __builtin_assoc_barrier is lost, GCC 12).  Holds for the including file. */
#if defined(__clang__)
#pragma clang fp reassociate(off)
#elif defined(__GNUC__)
#pragma GCC optimize("no-associative-math")
#endif

/* exp(x) = 2^n exp(r), r = x - n ln 2 in two parts (Cody and Waite 1980), |r| <= ln(2)/2, and
 * exp(r) by its minimax polynomial of degree 7 (Cephes).  Within 2 ulp; x is clamped to
 * [-87.3, 88.3], so results stay normal; NaN comes out as NaN.  less = 1: exp(x) - 1, exact to the same
 * digits near 0, where n = 0. */
PF_INLINE float pf_exp_less(float x, int less)
{
    float c = x < -87.3f ? -87.3f : x;
    c = c > 88.3f ? 88.3f : c;
    float shifted = c * 1.44269504f + 12582912.0f; /* 1.5 2^23: rounds to the nearest integer */
    int i;
    memcpy(&i, &shifted, sizeof i);
    i -= 0x4B400000;
    float n = (float)i;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float q = less ? 1.0f : p * r * r + r + 1.0f;
    int bits;
    memcpy(&bits, &q, sizeof bits);
    bits = (int)((unsigned)bits + ((unsigned)i << 23));
    memcpy(&q, &bits, sizeof q);
    return less ? q * (p * r * r + r) + (q - 1.0f) : q;
}

PF_INLINE float pf_exp(float x)
{
    return pf_exp_less(x, 0);
}

PF_INLINE float pf_expm1(float x)
{
    return pf_exp_less(x, 1);
}

/* sin(2 pi r) for a phase r in turns, |r| < 2^22: whole turns are dropped exactly, what is left is
 * folded into a quarter turn, where the Taylor polynomial of degree 13 errs by less than 1e-8. */
PF_INLINE float pf_sin_turns(float r)
{
    r -= (r + 12582912.0f) - 12582912.0f; /* 1.5 2^23: rounds to the nearest integer */
    float folded = r > 0.25f ? 0.5f - r : r;
    folded = r < -0.25f ? -0.5f - r : folded;
    float z = folded * 6.28318531f, s = z * z;
    float p = 1.6059044e-10f;
    p = p * s - 2.5052108e-8f;
    p = p * s + 2.7557319e-6f;
    p = p * s - 1.9841270e-4f;
    p = p * s + 8.3333333e-3f;
    p = p * s - 1.6666667e-1f;
    return p * s * z + z;
}

/* P(z) exp(z^2/2) at z = -sqrt(2) y, y >= 0, P the normal distribution: exp(y^2) erfc(y)/2.  A polynomial for
 * (1 + 2 y) exp(y^2) erfc(y) in (y - 2)/(y + 2), the form of Shepherd and Laframboise 1981, fitted to 3e-8. */
PF_INLINE float pf_tail(float y)
{
    static const float c[] = {9.49484937e-05f,  -2.47455376e-04f, -1.28459139e-03f,
                              1.14612682e-03f,  8.62373546e-03f,  -7.99801272e-03f,
                              -5.41963213e-02f, 1.64046758e-01f,  -1.66032391e-01f,
                              -9.27636556e-02f, 1.27697841e+00f};
    float s = (y - 2.0f) / (y + 2.0f), q = c[0];
    for (int i = 1; i < 11; i++) q = q * s + c[i];
    return 0.5f * q / (1.0f + 2.0f * y);
}

/* One register of floats of the instruction set that the file is compiled for; loads and stores need
 * no alignment. */
#if defined(__AVX512F__)
enum { PF_LANES = 16 };
#elif defined(__AVX__)
enum { PF_LANES = 8 };
#else
enum { PF_LANES = 4 };
#endif
typedef float pf_vec __attribute__((vector_size(4 * PF_LANES)));

#define pf_load(p)                   \
    __extension__({                  \
        pf_vec v_;                   \
        memcpy(&v_, (p), sizeof v_); \
        v_;                          \
    })

/* Macros: a vector parameter or result would make the compiler remark on its calling convention. */
#define pf_store(p, v)               \
    do {                             \
        pf_vec v_ = (v);             \
        memcpy((p), &v_, sizeof v_); \
    } while (0)

PF_INLINE float pf_sigmoid(float x)
{
    return 1.0f / (1.0f + pf_exp(-x));
}

#endif
