/* The transforms of winograd_points.h, computed in float, with points rounded to bf16: two
 * neighbouring channels share a word where channels are summed over, two tiles where tiles are. */
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/winograd.h"
#include "nn/kernels/fused/winograd_points.h"

enum { POINTS = PF_WG_POINTS, FAR_BYTES = 1 << 20 };

/* One vector of channels */
PF_INLINE void input_points(const float *const *at, int c, pf_vec *p)
{
    pf_vec t[N][N]; /* [point][column] */
    for (int j = 0; j < N; j++) {
        pf_vec d[N], q[N];
        for (int i = 0; i < N; i++) d[i] = pf_load(at[j * N + i] + c);
        to_points(d, q);
        for (int i = 0; i < N; i++) t[i][j] = q[i];
    }
    for (int i = 0; i < N; i++) to_points(t[i], p + i * N);
}

PF_INLINE void output_back_points(const float *const *at, int c, pf_vec *p, pf_vec *total)
{
    pf_vec t[N][M];
    for (int j = 0; j < M; j++) {
        pf_vec d[M], q[N];
        for (int i = 0; i < M; i++) d[i] = pf_load(at[j * M + i] + c);
        *total += (d[0] + d[1]) + (d[2] + d[3]);
        from_points_back(d, q);
        for (int i = 0; i < N; i++) t[i][j] = q[i];
    }
    for (int i = 0; i < N; i++) from_points_back(t[i], p + i * N);
}

PF_INLINE void store_pairs(const pf_vec *low, const pf_vec *high, uint32_t *to, size_t point)
{
    for (int i = 0; i < POINTS; i++) {
        pf_words w = pf_bf16_pair(low[i], high[i]);
        memcpy(to + (size_t)i * point, &w, sizeof w);
    }
}

/* Past the caches, for what would fill them and is read only after all other layers' kernels. */
PF_INLINE void stream_pairs(const pf_vec *low, const pf_vec *high, uint32_t *to, size_t point)
{
#ifdef __SSE2__
    for (int i = 0; i < POINTS; i++) {
        pf_words w = pf_bf16_pair(low[i], high[i]);
        __m128i part[sizeof w / sizeof(__m128i)];
        memcpy(part, &w, sizeof w);
        for (size_t k = 0; k < sizeof w / sizeof *part; k++)
            _mm_stream_si128((__m128i *)(to + (size_t)i * point) + k, part[k]);
    }
#else
    store_pairs(low, high, to, point);
#endif
}

PF_INLINE uint32_t *word_of(const pf_wgb_slot *v, int c)
{
    return v->at + (size_t)(c / v->width) * v->block + (size_t)(c % v->width);
}

void pf_wgb_input(const pf_wg_image *m, const float *x, int tile, uint32_t *v, size_t point)
{
    int y0, x0;
    const float *image = place(m, x, tile, &y0, &x0), *at[N * N];
    pixels(m, image, y0 - 1, x0 - 1, N, at);
    for (int c = 0; c < m->C; c += L, v += L / 2) {
        pf_vec p[POINTS];
        input_points(at, c, p);
        for (int i = 0; i < POINTS; i++) {
            pf_halves h = pf_bf16_half(p[i]);
            memcpy(v + (size_t)i * point, &h, sizeof h);
        }
    }
}

void pf_wgb_input_pair(const pf_wg_image *m, const float *x, int tile, int both, pf_wgb_slot v)
{
    const float *at[2][N * N];
    for (int k = 0; k <= both; k++) {
        int y0, x0;
        const float *image = place(m, x, tile + k, &y0, &x0);
        pixels(m, image, y0 - 1, x0 - 1, N, at[k]);
    }
    for (int c = 0; c < m->C; c += L) {
        pf_vec low[POINTS], high[POINTS] = {{0}};
        input_points(at[0], c, low);
        if (both) input_points(at[1], c, high);
        store_pairs(low, high, word_of(&v, c), v.point);
    }
}

void pf_wgb_output_back_pair(const pf_wg_image *m, const float *dy, int tile, int both,
                             pf_wgb_slot v, float *sum)
{
    const float *at[2][M * M];
    for (int k = 0; k <= both; k++) {
        int y0, x0;
        const float *image = place(m, dy, tile + k, &y0, &x0);
        pixels(m, image, y0, x0, M, at[k]);
    }
    for (int c = 0; c < m->C; c += L) {
        pf_vec low[POINTS], high[POINTS] = {{0}}, total = pf_load(sum + c);
        output_back_points(at[0], c, low, &total);
        if (both) output_back_points(at[1], c, high, &total);
        pf_store(sum + c, total);
        store_pairs(low, high, word_of(&v, c), v.point);
    }
}

void pf_wgb_output(const pf_wg_image *m, pf_wgb_sums v, const float *bias, float *y, int tile)
{
    int y0, x0;
    float *image = (float *)place(m, y, tile, &y0, &x0) + v.first;
    int h = m->h - y0 < M ? m->h - y0 : M, w = m->w - x0 < M ? m->w - x0 : M;
    for (int c = 0; c < v.n; c += L) {
        pf_vec t[M][N], b = bias ? pf_load(bias + v.first + c) : (pf_vec){0};
        for (int j = 0; j < N; j++) {
            pf_vec p[N], q[M];
            for (int i = 0; i < N; i++)
                p[i] = pf_load(v.at + (size_t)(i * N + j) * v.point + c);
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

size_t pf_wgb_weight_point(int n, int width)
{
    return pf_wg_stride((size_t)(n / 2) * (size_t)width);
}

size_t pf_wgb_weight_block(int n, int b)
{
    return (size_t)b * POINTS * pf_wgb_weight_point(n, PF_WGB_CHANNELS);
}

size_t pf_wgb_weight_words(int cin, int cout)
{
    return pf_wgb_weight_block(cin, (cout + PF_WGB_CHANNELS - 1) / PF_WGB_CHANNELS);
}

/* A vector of kernels g, tap by tap */
PF_INLINE void kernel_points(const pf_vec g[TAPS][TAPS], pf_vec *u)
{
    pf_vec t[N][TAPS];
    for (int j = 0; j < TAPS; j++) {
        pf_vec column[TAPS] = {g[0][j], g[1][j], g[2][j]}, p[N];
        taps_to_points(column, p);
        for (int i = 0; i < N; i++) t[i][j] = p[i];
    }
    for (int i = 0; i < N; i++) taps_to_points(t[i], u + i * N);
}

/* Kernels of a sum over `over` channels to `to` channels: kernel (s, o) lies at s * sum + o * lane floats. */
typedef struct direction {
    int over, to, turned;
    size_t sum, lane;
} direction;

static void weights_to_points(const direction *d, const float *w, uint32_t *u)
{
    int far = pf_wgb_weight_words(d->over, d->to) * sizeof *u > FAR_BYTES;
    for (int o = 0; o < d->to; o += L) {
        int b = o / PF_WGB_CHANNELS, left = d->to - b * PF_WGB_CHANNELS;
        int width = pf_wgb_width(left);
        size_t point = pf_wgb_weight_point(d->over, width);
        uint32_t *to = u + pf_wgb_weight_block(d->over, b) + o % PF_WGB_CHANNELS;
        for (int s = 0; s < d->over; s += 2, to += width) {
            const float *at = w + (size_t)s * d->sum + (size_t)o * d->lane;
            pf_vec g[TAPS][TAPS], low[POINTS], high[POINTS];
            gather(at, d->lane, d->turned, g);
            kernel_points(g, low);
            gather(at + d->sum, d->lane, d->turned, g);
            kernel_points(g, high);
            if (far) stream_pairs(low, high, to, point);
            else store_pairs(low, high, to, point);
        }
    }
}

void pf_wgb_weight(const float *w, int cin, int cout, uint32_t *u)
{
    direction d = {cin, cout, 0, TAPS * TAPS, (size_t)cin * TAPS * TAPS};
    weights_to_points(&d, w, u);
}

void pf_wgb_weight_turned(const float *w, int cin, int cout, uint32_t *u)
{
    direction d = {cout, cin, 1, (size_t)cin * TAPS * TAPS, TAPS * TAPS};
    weights_to_points(&d, w, u);
}

/* 36 points of a vector of kernels to their taps */
PF_INLINE void points_to_kernel(const float *u, size_t point, pf_vec g[TAPS * TAPS])
{
    pf_vec t[TAPS][N];
    for (int j = 0; j < N; j++) {
        pf_vec p[N], q[TAPS];
        for (int i = 0; i < N; i++) p[i] = pf_load(u + (size_t)(i * N + j) * point);
        taps_to_points_back(p, q);
        for (int i = 0; i < TAPS; i++) t[i][j] = q[i];
    }
    for (int i = 0; i < TAPS; i++) taps_to_points_back(t[i], g + i * TAPS);
}

void pf_wgb_weight_back(const pf_wgb_kernels *k, const float *du, size_t point, float *dw)
{
    enum { KERNEL = TAPS * TAPS };
    size_t out = (size_t)k->cin * KERNEL;
    for (int o = 0; o < k->outs; o += L)
        for (int i = 0; i < k->ins; i++) {
            pf_vec g[KERNEL];
            points_to_kernel(du + i * k->outs + o, point, g);
            float *to = dw + (size_t)o * out + (size_t)i * KERNEL;
            for (size_t l = 0; l < L; l++)
                for (int t = 0; t < KERNEL; t++)
                    to[l * out + (size_t)t] =
                        k->add ? to[l * out + (size_t)t] + g[t][l] : g[t][l];
        }
}
