/* Rounding and packing of matrices for products of bf16 numbers. */
#include "nn/kernels/bf16/pack.h"

PF_INLINE uint16_t half(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)((u + 0x8000u) >> 16);
}

void pf_bf16_round_rows(int rows, int n, const float *x, size_t from, uint16_t *y)
{
    enum { L = PF_LANES };
    for (int r = 0; r < rows; r++, x += from, y += pf_bf16_even(n)) {
        int i = 0;
        for (; i + L <= n; i += L) {
            pf_halves h = pf_bf16_half(pf_load(x + i));
            memcpy(y + i, &h, sizeof h);
        }
        for (; i < n; i++) y[i] = half(x[i]);
        if (n % 2) y[n] = 0;
    }
}

void pf_bf16_round_floats(size_t n, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        u = (u + 0x8000u) & 0xFFFF0000u;
        memcpy(y + i, &u, sizeof u);
    }
}

void pf_bf16_pair_rows(int rows, int n, const uint16_t *x, size_t from, uint32_t *y, size_t to)
{
    for (int r = 0; r + 1 < rows; r += 2, x += 2 * from, y += to) {
        const uint16_t *odd = x + from;
        PF_SIMD
        for (int i = 0; i < n; i++) y[i] = (uint32_t)x[i] | (uint32_t)odd[i] << 16;
    }
    for (int i = 0; rows % 2 && i < n; i++) y[i] = x[i];
}

void pf_bf16_turn(int rows, int columns, const void *x, uint32_t *y, size_t to)
{
    enum { SQUARE = 16 }; /* whole cache lines of both sides */
    for (int i0 = 0; i0 < rows; i0 += SQUARE)
        for (int j0 = 0; j0 < columns; j0 += SQUARE) {
            int i1 = i0 + SQUARE < rows ? i0 + SQUARE : rows;
            int j1 = j0 + SQUARE < columns ? j0 + SQUARE : columns;
            for (int j = j0; j < j1; j++)
                for (int i = i0; i < i1; i++)
                    memcpy(y + (size_t)j * to + i,
                           (const char *)x +
                               ((size_t)i * (size_t)columns + (size_t)j) * sizeof *y,
                           sizeof *y);
        }
}
