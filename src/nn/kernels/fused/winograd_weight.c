/* The transform of the kernels of F(4x4, 3x3), u = G g G', and its transpose; G stands in
 * winograd_points.h.
 *
 * Parameters lie tap by tap, [cout,cin,3,3], the transforms have 16 output (or, turned, input)
 * channels next to each other.  So 16 x 16 kernels, 16 rows of 144 floats, go through registers by
 * transposing squares of 16 floats. */
#include <nn/kernels/fused/winograd_points.h>

enum { K = TAPS * TAPS };

/* clang-format off */
#define SWAP(i, s, lo, hi)                                      \
    do {                                                        \
        pf_v16 a_ = r[i], b_ = r[(i) + (s)];                    \
        r[i] = __builtin_shufflevector(a_, b_, lo);             \
        r[(i) + (s)] = __builtin_shufflevector(a_, b_, hi);     \
    } while (0)
#define LO8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HI8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LO4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HI4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LO2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HI2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LO1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HI1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
/* clang-format on */

/* Squares of 8 floats change places across the diagonal, then of 4, 2 and 1. */
PF_INLINE void transpose(pf_v16 r[L])
{
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) SWAP(i, 8, LO8, HI8);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) SWAP(i / 4 * 8 + i % 4, 4, LO4, HI4);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) SWAP(i / 2 * 4 + i % 2, 2, LO2, HI2);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) SWAP(2 * i, 1, LO1, HI1);
}

/* 16 kernels g, tap by tap, to 36 vectors that lie `point` floats apart. */
PF_INLINE void one_weight(const pf_v16 g[TAPS][TAPS], float *u, size_t point)
{
    pf_v16 t[N][TAPS];
    for (int j = 0; j < TAPS; j++) {
        pf_v16 column[TAPS] = {g[0][j], g[1][j], g[2][j]}, p[N];
        taps_to_points(column, p);
        for (int i = 0; i < N; i++) t[i][j] = p[i];
    }
    for (int i = 0; i < N; i++) {
        pf_v16 p[N];
        taps_to_points(t[i], p);
        for (int j = 0; j < N; j++) pf_store16(u + (size_t)(i * N + j) * point, p[j]);
    }
}

/* 16 kernels' points, `point` floats apart, to their taps. */
PF_INLINE void one_weight_back(const float *u, size_t point, pf_v16 g[TAPS][TAPS])
{
    pf_v16 t[TAPS][N];
    for (int j = 0; j < N; j++) {
        pf_v16 p[N], q[TAPS];
        for (int i = 0; i < N; i++) p[i] = pf_load16(u + (size_t)(i * N + j) * point);
        taps_to_points_back(p, q);
        for (int i = 0; i < TAPS; i++) t[i][j] = q[i];
    }
    for (int i = 0; i < TAPS; i++) taps_to_points_back(t[i], g[i]);
}

/* 16 rows of 144 floats, `row` apart, to t [144]: vectors over the rows. */
PF_INLINE void load_block(const float *w, size_t row, pf_v16 t[K * L])
{
    for (int q = 0; q < K; q++) {
        pf_v16 r[L];
        for (size_t l = 0; l < L; l++) r[l] = pf_load16(w + l * row + (size_t)q * L);
        transpose(r);
        for (int l = 0; l < L; l++) t[q * L + l] = r[l];
    }
}

PF_CLONES void pf_wg_weight(const float *w, int cin, int cout, float *u)
{
    size_t point = pf_wg_stride((size_t)cin * (size_t)cout), row = (size_t)cin * K;
    for (int k = 0; k < cout; k += L)
        for (int c = 0; c < cin; c += L) {
            pf_v16 t[K * L];
            load_block(w + (size_t)k * row + (size_t)c * K, row, t);
            for (int l = 0; l < L; l++, u += L) {
                const pf_v16 *v = t + l * K;
                pf_v16 g[TAPS][TAPS];
                for (int tap = 0; tap < K; tap++) g[tap / TAPS][tap % TAPS] = v[tap];
                one_weight(g, u, point);
            }
        }
}

PF_CLONES void pf_wg_weight_turned(const float *w, int cin, int cout, float *u)
{
    size_t point = pf_wg_stride((size_t)cin * (size_t)cout), row = (size_t)cin * K;
    for (int c = 0; c < cin; c += L)
        for (int k = 0; k < cout; k += L) {
            pf_v16 t[K * L];
            load_block(w + (size_t)k * row + (size_t)c * K, row, t);
            for (int tap = 0; tap < K; tap++) { /* vectors over input channels */
                pf_v16 r[L];
                for (int l = 0; l < L; l++) r[l] = t[l * K + tap];
                transpose(r);
                for (int l = 0; l < L; l++) t[l * K + tap] = r[l];
            }
            for (int l = 0; l < L; l++, u += L) {
                const pf_v16 *v = t + l * K;
                pf_v16 g[TAPS][TAPS];
                for (int tap = 0; tap < K; tap++) g[tap / TAPS][tap % TAPS] = v[K - 1 - tap];
                one_weight(g, u, point);
            }
        }
}

PF_CLONES void pf_wg_weight_back(const float *du, int cin, int cout, float *dw)
{
    size_t point = pf_wg_stride((size_t)cin * (size_t)cout), row = (size_t)cin * K;
    for (int k = 0; k < cout; k += L)
        for (int c = 0; c < cin; c += L) {
            pf_v16 t[K * L];
            for (int l = 0; l < L; l++, du += L) {
                pf_v16 g[TAPS][TAPS];
                one_weight_back(du, point, g);
                for (int tap = 0; tap < K; tap++) t[l * K + tap] = g[tap / TAPS][tap % TAPS];
            }
            float *out = dw + (size_t)k * row + (size_t)c * K;
            for (int q = 0; q < K; q++) {
                pf_v16 r[L];
                for (int l = 0; l < L; l++) r[l] = t[q * L + l];
                transpose(r);
                for (size_t l = 0; l < L; l++) pf_store16(out + l * row + (size_t)q * L, r[l]);
            }
        }
}
