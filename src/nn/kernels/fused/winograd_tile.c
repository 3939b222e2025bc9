/* The transforms of tiles of F(4x4, 3x3), between pixels and points; the matrices are in
 * winograd_points.h, the kernels' side in winograd_weight.c. */
#include "nn/kernels/fused/winograd_points.h"

const float pf_wg_zeros[PF_WG_CHANNELS];

PF_INLINE float *point_of(const pf_wg_slot *v, int point, int channel)
{
    return v->at + (size_t)point * v->point + (size_t)(channel / PF_WG_BLOCK) * v->block +
           (size_t)(channel % PF_WG_BLOCK);
}

void pf_wg_input(const pf_wg_image *m, const float *x, int tile, pf_wg_slot v)
{
    int y0, x0;
    const float *image = place(m, x, tile, &y0, &x0);
    const float *at[N * N];
    pixels(m, image, y0 - 1, x0 - 1, N, at);
    for (int c = 0; c < m->C; c += L) {
        pf_vec t[N][N]; /* [point][column] */
        for (int j = 0; j < N; j++) {
            pf_vec d[N], p[N];
            for (int i = 0; i < N; i++) d[i] = pf_load(at[j * N + i] + c);
            to_points(d, p);
            for (int i = 0; i < N; i++) t[i][j] = p[i];
        }
        for (int i = 0; i < N; i++) {
            pf_vec p[N];
            to_points(t[i], p);
            for (int j = 0; j < N; j++) pf_store(point_of(&v, i * N + j, c), p[j]);
        }
    }
}

void pf_wg_output(const pf_wg_image *m, pf_wg_slot v, const float *bias, float *y, int tile)
{
    int y0, x0;
    float *image = (float *)place(m, y, tile, &y0, &x0);
    int h = m->h - y0 < M ? m->h - y0 : M, w = m->w - x0 < M ? m->w - x0 : M;
    for (int c = 0; c < m->C; c += L) {
        pf_vec t[M][N], b = bias ? pf_load(bias + c) : (pf_vec){0};
        for (int j = 0; j < N; j++) {
            pf_vec p[N], q[M];
            for (int i = 0; i < N; i++) p[i] = pf_load(point_of(&v, i * N + j, c));
            from_points(p, q);
            for (int i = 0; i < M; i++) t[i][j] = q[i];
        }
        for (int i = 0; i < h; i++) {
            pf_vec q[M];
            from_points(t[i], q);
            float *row =
                image + ((size_t)(y0 + i) * (size_t)m->w + (size_t)x0) * (size_t)m->C + c;
            for (int j = 0; j < w; j++) pf_store(row + (size_t)j * (size_t)m->C, q[j] + b);
        }
    }
}

void pf_wg_output_back(const pf_wg_image *m, const float *dy, int tile, pf_wg_slot v,
                       float *sum)
{
    int y0, x0;
    const float *image = place(m, dy, tile, &y0, &x0);
    const float *at[M * M];
    pixels(m, image, y0, x0, M, at);
    for (int c = 0; c < m->C; c += L) {
        pf_vec t[N][M], total = pf_load(sum + c);
        for (int j = 0; j < M; j++) {
            pf_vec d[M], p[N];
            for (int i = 0; i < M; i++) d[i] = pf_load(at[j * M + i] + c);
            total += (d[0] + d[1]) + (d[2] + d[3]);
            from_points_back(d, p);
            for (int i = 0; i < N; i++) t[i][j] = p[i];
        }
        pf_store(sum + c, total);
        for (int i = 0; i < N; i++) {
            pf_vec p[N];
            from_points_back(t[i], p);
            for (int j = 0; j < N; j++) pf_store(point_of(&v, i * N + j, c), p[j]);
        }
    }
}
