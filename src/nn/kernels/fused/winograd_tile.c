/* The transforms of tiles of F(4x4, 3x3), between pixels and points; the matrices are in
 * winograd_points.h, the kernels' side in winograd_weight.c. */
#include <nn/kernels/fused/winograd_points.h>

const float pf_wg_zeros[PF_WG_CHANNELS];

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
