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
 * in the worst element (measured on normal data).  Each transform works on 16 channels at once,
 * since channels are what lies next to each other in NHWC.  G is in winograd_weight.c.
 * Source: Lavin and Gray 2016, section 4; Toom-Cook interpolation for the matrices. */
#include <nn/kernels/fused/vec.h>
#include <nn/kernels/fused/winograd.h>

enum { N = PF_WG_IN, M = PF_WG_OUT, L = PF_WG_LANES };

#define A 0.70710678f
#define B 1.41421356f

/* d -> B' d */
PF_INLINE void to_points(const pf_v16 *d, pf_v16 *t)
{
    pf_v16 even_a = d[4] - 2.0f * d[2], odd_a = A * (d[3] - 2.0f * d[1]);
    pf_v16 even_b = d[4] - 0.5f * d[2], odd_b = B * (d[3] - 0.5f * d[1]);
    t[0] = d[0] - 2.5f * d[2] + d[4];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = d[1] - 2.5f * d[3] + d[5];
}

/* m -> A' m */
PF_INLINE void from_points(const pf_v16 *m, pf_v16 *y)
{
    pf_v16 sum_a = m[1] + m[2], diff_a = m[1] - m[2];
    pf_v16 sum_b = m[3] + m[4], diff_b = m[3] - m[4];
    y[0] = m[0] + sum_a + sum_b;
    y[1] = A * diff_a + B * diff_b;
    y[2] = 0.5f * sum_a + 2.0f * sum_b;
    y[3] = 0.5f * A * diff_a + 2.0f * B * diff_b + m[5];
}

/* y -> A y */
PF_INLINE void from_points_back(const pf_v16 *y, pf_v16 *m)
{
    pf_v16 even_a = y[0] + 0.5f * y[2], odd_a = A * (y[1] + 0.5f * y[3]);
    pf_v16 even_b = y[0] + 2.0f * y[2], odd_b = B * (y[1] + 2.0f * y[3]);
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
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
            at[j * n + i] = column && y >= 0 && y < m->h ? image + offset : m->zeros;
        }
    }
}

PF_CLONES void pf_wg_input(const pf_wg_image *m, const float *x, int tile, pf_wg_slot v)
{
    int y0, x0;
    const float *image = place(m, x, tile, &y0, &x0);
    const float *at[N * N];
    pixels(m, image, y0 - 1, x0 - 1, N, at);
    for (int c = 0; c < m->C; c += L) {
        pf_v16 t[N][N]; /* [point][column] */
        for (int j = 0; j < N; j++) {
            pf_v16 d[N], p[N];
            for (int i = 0; i < N; i++) d[i] = pf_load16(at[j * N + i] + c);
            to_points(d, p);
            for (int i = 0; i < N; i++) t[i][j] = p[i];
        }
        for (int i = 0; i < N; i++) {
            pf_v16 p[N];
            to_points(t[i], p);
            for (int j = 0; j < N; j++)
                pf_store16(v.at + (size_t)(i * N + j) * v.point + (size_t)(c / L) * v.block,
                           p[j]);
        }
    }
}

PF_CLONES void pf_wg_output(const pf_wg_image *m, pf_wg_slot v, const float *bias, float *y,
                            int tile)
{
    int y0, x0;
    float *image = (float *)place(m, y, tile, &y0, &x0);
    int h = m->h - y0 < M ? m->h - y0 : M, w = m->w - x0 < M ? m->w - x0 : M;
    for (int c = 0; c < m->C; c += L) {
        pf_v16 t[M][N], b = bias ? pf_load16(bias + c) : (pf_v16){0};
        for (int j = 0; j < N; j++) {
            pf_v16 p[N], q[M];
            for (int i = 0; i < N; i++)
                p[i] =
                    pf_load16(v.at + (size_t)(i * N + j) * v.point + (size_t)(c / L) * v.block);
            from_points(p, q);
            for (int i = 0; i < M; i++) t[i][j] = q[i];
        }
        for (int i = 0; i < h; i++) {
            pf_v16 q[M];
            from_points(t[i], q);
            float *row =
                image + ((size_t)(y0 + i) * (size_t)m->w + (size_t)x0) * (size_t)m->C + c;
            for (int j = 0; j < w; j++) pf_store16(row + (size_t)j * (size_t)m->C, q[j] + b);
        }
    }
}

PF_CLONES void pf_wg_output_back(const pf_wg_image *m, const float *dy, int tile, pf_wg_slot v,
                                 float *sum)
{
    int y0, x0;
    const float *image = place(m, dy, tile, &y0, &x0);
    const float *at[M * M];
    pixels(m, image, y0, x0, M, at);
    for (int c = 0; c < m->C; c += L) {
        pf_v16 t[N][M], total = pf_load16(sum + c);
        for (int j = 0; j < M; j++) {
            pf_v16 d[M], p[N];
            for (int i = 0; i < M; i++) d[i] = pf_load16(at[j * M + i] + c);
            total += (d[0] + d[1]) + (d[2] + d[3]);
            from_points_back(d, p);
            for (int i = 0; i < N; i++) t[i][j] = p[i];
        }
        pf_store16(sum + c, total);
        for (int i = 0; i < N; i++) {
            pf_v16 p[N];
            from_points_back(t[i], p);
            for (int j = 0; j < N; j++)
                pf_store16(v.at + (size_t)(i * N + j) * v.point + (size_t)(c / L) * v.block,
                           p[j]);
        }
    }
}
