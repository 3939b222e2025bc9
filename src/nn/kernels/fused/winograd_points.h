/* The transforms of F(4x4, 3x3) with the interpolation points 0, a, -a, b, -b and infinity for
 * a = sqrt(1/2), b = sqrt(2):
 *
 *        | 1   0 -5/2   0  1  0 |         |  6   0   0 |
 *        | 0 -2a  -2    a  1  0 |         | -4 -4a  -2 |           | 1   1    1   1   1  0 |
 *   B' = | 0  2a  -2   -a  1  0 |   6 G = | -4  4a  -2 |      A' = | 0   a   -a   b  -b  0 |
 *        | 0 -b/2 -1/2  b  1  0 |         |  1   b   2 |           | 0 1/2  1/2   2   2  0 |
 *        | 0  b/2 -1/2 -b  1  0 |         |  1  -b   2 |           | 0 a/2 -a/2  2b -2b  1 |
 *        | 0   1   0  -5/2 0  1 |         |  0   0   6 |
 *
 * These points are reciprocal in pairs, which keeps all entries near 1: rounding is twice that of
 * the direct sum, where the usual points 0, 1, -1, 2, -2 lose another factor of 2 on average and 4
 * in the worst element (measured on normal data).  Each transform works on a vector of channels,
 * since channels are what lies next to each other in NHWC.
 * Source: Lavin and Gray 2016, section 4; Toom-Cook interpolation for the matrices. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_WINOGRAD_POINTS_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_WINOGRAD_POINTS_H

#include "nn/kernels/fused/vec.h"
#include "nn/kernels/fused/winograd.h"

enum { N = PF_WG_IN, M = PF_WG_OUT, L = PF_LANES, TAPS = 3 };

#define A 0.70710678f
#define B 1.41421356f

/* d -> B' d */
PF_INLINE void to_points(const pf_vec *d, pf_vec *t)
{
    pf_vec even_a = d[4] - 2.0f * d[2], odd_a = A * (d[3] - 2.0f * d[1]);
    pf_vec even_b = d[4] - 0.5f * d[2], odd_b = B * (d[3] - 0.5f * d[1]);
    t[0] = d[0] - 2.5f * d[2] + d[4];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = d[1] - 2.5f * d[3] + d[5];
}

/* m -> A' m */
PF_INLINE void from_points(const pf_vec *m, pf_vec *y)
{
    pf_vec sum_a = m[1] + m[2], diff_a = m[1] - m[2];
    pf_vec sum_b = m[3] + m[4], diff_b = m[3] - m[4];
    y[0] = m[0] + sum_a + sum_b;
    y[1] = A * diff_a + B * diff_b;
    y[2] = 0.5f * sum_a + 2.0f * sum_b;
    y[3] = 0.5f * A * diff_a + 2.0f * B * diff_b + m[5];
}

/* y -> A y */
PF_INLINE void from_points_back(const pf_vec *y, pf_vec *m)
{
    pf_vec even_a = y[0] + 0.5f * y[2], odd_a = A * (y[1] + 0.5f * y[3]);
    pf_vec even_b = y[0] + 2.0f * y[2], odd_b = B * (y[1] + 2.0f * y[3]);
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
}

/* g -> G g */
PF_INLINE void taps_to_points(const pf_vec *g, pf_vec *u)
{
    pf_vec even_a = g[0] * (-2.0f / 3) - g[2] * (1.0f / 3), odd_a = g[1] * (-2.0f / 3 * A);
    pf_vec even_b = g[0] * (1.0f / 6) + g[2] * (1.0f / 3), odd_b = g[1] * (1.0f / 6 * B);
    u[0] = g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[2];
}

/* u -> G' u */
PF_INLINE void taps_to_points_back(const pf_vec *u, pf_vec *g)
{
    pf_vec sum_a = u[1] + u[2], diff_a = u[1] - u[2];
    pf_vec sum_b = u[3] + u[4], diff_b = u[3] - u[4];
    g[0] = u[0] - sum_a * (2.0f / 3) + sum_b * (1.0f / 6);
    g[1] = diff_b * (1.0f / 6 * B) - diff_a * (2.0f / 3 * A);
    g[2] = (sum_b - sum_a) * (1.0f / 3) + u[5];
}

/* Top left pixel of a tile, and its image. */
PF_INLINE const float *place(const pf_wg_image *m, const float *x, int tile, int *y0, int *x0)
{
    int per = m->rows * m->columns, in = tile % per;
    *y0 = in / m->columns * M;
    *x0 = in % m->columns * M;
    return x + (size_t)(tile / per) * (size_t)m->h * (size_t)m->w * (size_t)m->C;
}

/* Where n x n pixels from (y0,x0) on are read, column by column; zeros outside the image. */
PF_INLINE void pixels(const pf_wg_image *m, const float *image, int y0, int x0, int n,
                      const float **at)
{
    for (int j = 0; j < n; j++) {
        int x = x0 + j, column = x >= 0 && x < m->w;
        ptrdiff_t offset = ((ptrdiff_t)y0 * m->w + x) * m->C;
        for (int i = 0; i < n; i++, offset += (ptrdiff_t)m->w * m->C) {
            int y = y0 + i;
            at[j * n + i] = column && y >= 0 && y < m->h ? image + offset : pf_wg_zeros;
        }
    }
}

/* Kernels that lie `stride` floats apart, the taps in order or turned by half a turn. */
PF_INLINE void gather(const float *w, size_t stride, int turned, pf_vec g[TAPS][TAPS])
{
    for (int tap = 0; tap < TAPS * TAPS; tap++) {
        const float *p = w + (turned ? TAPS * TAPS - 1 - tap : tap);
        pf_vec v = {0};
        for (int l = 0; l < L; l++) v[l] = p[(size_t)l * stride];
        g[tap / TAPS][tap % TAPS] = v;
    }
}

#undef A
#undef B

#endif
