/* The transform of the kernels of F(4x4, 3x3), u = G g G', and its transpose; G stands in
 * winograd_points.h.
 *
 * Parameters lie tap by tap, [cout,cin,3,3], the transforms have 16 output (or, turned, input)
 * channels next to each other.  So squares of kernels, as many rows and columns as a vector has
 * floats, go through registers by transposing squares of floats. */
#include "nn/kernels/fused/winograd_points.h"

enum { K = TAPS * TAPS };

/* clang-format off */
#define SWAP(i, s, lo, hi)                                      \
    do {                                                        \
        pf_vec a_ = r[i], b_ = r[(i) + (s)];                    \
        r[i] = __builtin_shufflevector(a_, b_, lo);             \
        r[(i) + (s)] = __builtin_shufflevector(a_, b_, hi);     \
    } while (0)
#if defined(__AVX512F__)
#define LO8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HI8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LO4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HI4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LO2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HI2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LO1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HI1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#elif defined(__AVX__)
#define LO4 0, 1, 2, 3, 8, 9, 10, 11
#define HI4 4, 5, 6, 7, 12, 13, 14, 15
#define LO2 0, 1, 8, 9, 4, 5, 12, 13
#define HI2 2, 3, 10, 11, 6, 7, 14, 15
#define LO1 0, 8, 2, 10, 4, 12, 6, 14
#define HI1 1, 9, 3, 11, 5, 13, 7, 15
#else
#define LO2 0, 1, 4, 5
#define HI2 2, 3, 6, 7
#define LO1 0, 4, 2, 6
#define HI1 1, 5, 3, 7
#endif
/* clang-format on */

/* Squares of half the side change places across the diagonal, then of a quarter, and so on. */
PF_INLINE void transpose(pf_vec r[L])
{
#ifdef LO8
    PF_UNROLL
    for (int i = 0; i < 8; i++) SWAP(i, 8, LO8, HI8);
#endif
#ifdef LO4
    PF_UNROLL
    for (int i = 0; i < L / 2; i++) SWAP(i / 4 * 8 + i % 4, 4, LO4, HI4);
#endif
    PF_UNROLL
    for (int i = 0; i < L / 2; i++) SWAP(i / 2 * 4 + i % 2, 2, LO2, HI2);
    PF_UNROLL
    for (int i = 0; i < L / 2; i++) SWAP(2 * i, 1, LO1, HI1);
}

/* A vector of kernels g, tap by tap, to 36 vectors that lie `point` floats apart. */
PF_INLINE void one_weight(const pf_vec g[TAPS][TAPS], float *u, size_t point)
{
    pf_vec t[N][TAPS];
    for (int j = 0; j < TAPS; j++) {
        pf_vec column[TAPS] = {g[0][j], g[1][j], g[2][j]}, p[N];
        taps_to_points(column, p);
        for (int i = 0; i < N; i++) t[i][j] = p[i];
    }
    for (int i = 0; i < N; i++) {
        pf_vec p[N];
        taps_to_points(t[i], p);
        for (int j = 0; j < N; j++) pf_store(u + (size_t)(i * N + j) * point, p[j]);
    }
}

/* A vector of kernels' points, `point` floats apart, to their taps. */
PF_INLINE void one_weight_back(const float *u, size_t point, pf_vec g[TAPS][TAPS])
{
    pf_vec t[TAPS][N];
    for (int j = 0; j < N; j++) {
        pf_vec p[N], q[TAPS];
        for (int i = 0; i < N; i++) p[i] = pf_load(u + (size_t)(i * N + j) * point);
        taps_to_points_back(p, q);
        for (int i = 0; i < TAPS; i++) t[i][j] = q[i];
    }
    for (int i = 0; i < TAPS; i++) taps_to_points_back(t[i], g[i]);
}

/* L rows of 9 L floats, `row` apart, to t [9 L]: vectors over the rows. */
PF_INLINE void load_block(const float *w, size_t row, pf_vec t[K * L])
{
    for (int q = 0; q < K; q++) {
        pf_vec r[L];
        for (size_t l = 0; l < L; l++) r[l] = pf_load(w + l * row + (size_t)q * L);
        transpose(r);
        for (int l = 0; l < L; l++) t[q * L + l] = r[l];
    }
}

/* Where kernel (over, to) of `over` x some kernels lies among transformed ones, in floats. */
PF_INLINE size_t place_of(int all, int over, int to)
{
    return ((size_t)(to / PF_WG_BLOCK) * (size_t)all + (size_t)over) * PF_WG_BLOCK +
           (size_t)(to % PF_WG_BLOCK);
}

/* A square of kernels, rows of w from output channel k on and columns from input channel c on. */
PF_INLINE void square(const float *w, int cin, int cout, int k, int c, float *u)
{
    size_t point = pf_wg_stride((size_t)cin * (size_t)cout), row = (size_t)cin * K;
    pf_vec t[K * L];
    load_block(w + (size_t)k * row + (size_t)c * K, row, t);
    for (int l = 0; l < L; l++) {
        const pf_vec *v = t + l * K;
        pf_vec g[TAPS][TAPS];
        for (int tap = 0; tap < K; tap++) g[tap / TAPS][tap % TAPS] = v[tap];
        one_weight(g, u + place_of(cin, c + l, k), point);
    }
}

PF_INLINE void square_turned(const float *w, int cin, int cout, int k, int c, float *u)
{
    size_t point = pf_wg_stride((size_t)cin * (size_t)cout), row = (size_t)cin * K;
    pf_vec t[K * L];
    load_block(w + (size_t)k * row + (size_t)c * K, row, t);
    for (int tap = 0; tap < K; tap++) { /* vectors over input channels */
        pf_vec r[L];
        for (int l = 0; l < L; l++) r[l] = t[l * K + tap];
        transpose(r);
        for (int l = 0; l < L; l++) t[l * K + tap] = r[l];
    }
    for (int l = 0; l < L; l++) {
        const pf_vec *v = t + l * K;
        pf_vec g[TAPS][TAPS];
        for (int tap = 0; tap < K; tap++) g[tap / TAPS][tap % TAPS] = v[K - 1 - tap];
        one_weight(g, u + place_of(cout, k + l, c), point);
    }
}

PF_INLINE void square_back(const float *du, int cin, int cout, int k, int c, float *dw)
{
    size_t point = pf_wg_stride((size_t)cin * (size_t)cout), row = (size_t)cin * K;
    pf_vec t[K * L];
    for (int l = 0; l < L; l++) {
        pf_vec g[TAPS][TAPS];
        one_weight_back(du + place_of(cin, c + l, k), point, g);
        for (int tap = 0; tap < K; tap++) t[l * K + tap] = g[tap / TAPS][tap % TAPS];
    }
    float *out = dw + (size_t)k * row + (size_t)c * K;
    for (int q = 0; q < K; q++) {
        pf_vec r[L];
        for (int l = 0; l < L; l++) r[l] = t[q * L + l];
        transpose(r);
        for (size_t l = 0; l < L; l++) pf_store(out + l * row + (size_t)q * L, r[l]);
    }
}

/* Whole cache lines of transformed kernels, 16 of the channels they lead to, one after the other. */
void pf_wg_weight(const float *w, int cin, int cout, float *u)
{
    for (int block = 0; block < cout; block += PF_WG_BLOCK)
        for (int c = 0; c < cin; c += L)
            for (int k = block; k < block + PF_WG_BLOCK; k += L) square(w, cin, cout, k, c, u);
}

void pf_wg_weight_turned(const float *w, int cin, int cout, float *u)
{
    for (int block = 0; block < cin; block += PF_WG_BLOCK)
        for (int k = 0; k < cout; k += L)
            for (int c = block; c < block + PF_WG_BLOCK; c += L)
                square_turned(w, cin, cout, k, c, u);
}

void pf_wg_weight_back(const float *du, int cin, int cout, float *dw)
{
    for (int block = 0; block < cout; block += PF_WG_BLOCK)
        for (int c = 0; c < cin; c += L)
            for (int k = block; k < block + PF_WG_BLOCK; k += L)
                square_back(du, cin, cout, k, c, dw);
}
