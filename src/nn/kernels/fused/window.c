/* Pools with stride 1 and linear interpolation; the formulas are in ref/window.c.
 *
 * Channels are innermost: each step takes a whole pixel's, or a whole row of pixels.  Windows are taken
 * along their columns first and then along their rows.  The largest remembers its tap, a byte an entry, so that no
 * gradient needs the values again; its gradient is gathered, which vectorises, and not scattered. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

/* The window's pixels in the image around y, x: taps from .. to-1 of each axis. */
typedef struct window {
    int y0, y1, x0, x1;
} window;

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static window around(const pf_site *s, int y, int x)
{
    int k = s->attr.kernel, half = k / 2;
    return (window){larger(0, half - y), smaller(k, s->out.h + half - y), larger(0, half - x),
                    smaller(k, s->out.w + half - x)};
}

/* y = the larger of x and y, and its tap; of equals the first. */
static void take_larger(size_t n, const float *x, uint8_t tap, float *y, uint8_t *at)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        int more = x[i] > y[i] || x[i] != x[i];
        y[i] = more ? x[i] : y[i];
        at[i] = more ? tap : at[i];
    }
}

static void begin_with(size_t n, const float *x, const uint8_t *from, uint8_t columns, float *y,
                       uint8_t *at)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i];
        at[i] = (uint8_t)(from[i] + columns);
    }
}

/* The same where x comes with taps of its own, to which `columns` are added: a row above is the first of equals. */
static void take_larger_of(size_t n, const float *x, const uint8_t *from, uint8_t columns,
                           float *y, uint8_t *at)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        uint8_t tap = (uint8_t)(from[i] + columns);
        int more = x[i] > y[i] || x[i] != x[i] || (x[i] == y[i] && tap < at[i]);
        y[i] = more ? x[i] : y[i];
        at[i] = more ? tap : at[i];
    }
}

/* One sample, columns and then rows of a window; at [size]: the taps; row: working space of a row of values and
 * their taps. */
static void largest(const pf_site *s, const float *x, float *row, float *y, uint8_t *at)
{
    size_t C = (size_t)s->out.c, line = (size_t)s->out.w * C;
    int k = s->attr.kernel, half = k / 2;
    uint8_t *taps = (uint8_t *)(row + line);
    for (int r = 0; r < s->out.h; r++) {
        window w = around(s, r, 0);
        memcpy(row, x + (size_t)(r + w.y0 - half) * line, line * sizeof *row);
        memset(taps, w.y0 * k, line);
        for (int j = w.y0 + 1; j < w.y1; j++)
            take_larger(line, x + (size_t)(r + j - half) * line, (uint8_t)(j * k), row, taps);
        for (int q = 0; q < s->out.w; q++, y += C, at += C) {
            w = around(s, r, q);
            for (int i = w.x0; i < w.x1; i++) {
                size_t from = (size_t)(q + i - half) * C;
                if (i > w.x0) take_larger_of(C, row + from, taps + from, (uint8_t)i, y, at);
                else begin_with(C, row + from, taps + from, (uint8_t)i, y, at);
            }
        }
    }
}

static void add_where(size_t C, const uint8_t *at, uint8_t tap, const float *g, float *d)
{
    PF_SIMD
    for (size_t i = 0; i < C; i++) d[i] += at[i] == tap ? g[i] : 0.0f;
}

static void largest_back(const pf_site *s, const float *g, const uint8_t *at, float *d)
{
    size_t C = (size_t)s->out.c;
    int k = s->attr.kernel, half = k / 2;
    for (int r = 0; r < s->out.h; r++)
        for (int q = 0; q < s->out.w; q++, d += C) {
            window w = around(s, r, q);
            for (size_t i = 0; i < C; i++) d[i] = 0.0f;
            for (int j = w.y0; j < w.y1; j++)
                for (int i = w.x0; i < w.x1; i++) {
                    size_t pixel =
                        (size_t)(r + j - half) * (size_t)s->out.w + (size_t)(q + i - half);
                    int mirrored = (k - 1 - j) * k + k - 1 - i; /* the tap that reaches back */
                    add_where(C, at + pixel * C, (uint8_t)mirrored, g + pixel * C, d);
                }
        }
}

static void add(size_t n, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static void times(size_t n, float a, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] *= a;
}

/* One sample; row: working space of a row of pixels. */
static void means(const pf_site *s, const float *x, float *row, float *y)
{
    size_t C = (size_t)s->out.c, line = (size_t)s->out.w * C;
    int k = s->attr.kernel, half = k / 2;
    for (int r = 0; r < s->out.h; r++) {
        window w = around(s, r, 0);
        memset(row, 0, line * sizeof *row);
        for (int j = w.y0; j < w.y1; j++) add(line, x + (size_t)(r + j - half) * line, row);
        times(line, 1.0f / (float)(k * k), row);
        for (int q = 0; q < s->out.w; q++, y += C) {
            w = around(s, r, q);
            memcpy(y, row + (size_t)(q + w.x0 - half) * C, C * sizeof *y);
            for (int i = w.x0 + 1; i < w.x1; i++) add(C, row + (size_t)(q + i - half) * C, y);
        }
    }
}

static int is_max(const pf_site *s)
{
    return s->attr.pool == PF_POOL_MAX;
}

static size_t tap_floats(const pf_site *s)
{
    return is_max(s) ? ((size_t)s->B * pf_shape_size(s->out) + 3) / 4 : 0;
}

static size_t pool_saved(const pf_site *s, void *ctx)
{
    (void)ctx;
    return s->want_dx[0] ? tap_floats(s) : 0;
}

/* A row, and of the largest its taps, and all taps where nobody asks for them. */
static size_t pool_scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    size_t line = (size_t)s->out.w * (size_t)s->out.c;
    if (!is_max(s)) return line;
    return line + (line + 3) / 4 + (s->want_dx[0] ? 0 : tap_floats(s));
}

static pf_status pool_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out);
    size_t line = (size_t)s->out.w * (size_t)s->out.c;
    uint8_t *at = (uint8_t *)(s->want_dx[0] ? c->saved : c->scratch + line + (line + 3) / 4);
    for (size_t b = 0; b < (size_t)s->B; b++) {
        const float *x = c->in[0] + b * size;
        if (is_max(s)) largest(s, x, c->scratch, c->out + b * size, at + b * size);
        else means(s, x, c->scratch, c->out + b * size);
    }
    return PF_OK;
}

static pf_status pool_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out);
    const uint8_t *at = (const uint8_t *)c->saved;
    for (size_t b = 0; c->gin[0] && b < (size_t)s->B; b++) {
        const float *g = c->gout + b * size;
        if (is_max(s)) largest_back(s, g, at + b * size, c->gin[0] + b * size);
        else means(s, g, c->scratch, c->gin[0] + b * size); /* its own transpose */
    }
    return PF_OK;
}

/* Pixel i of n lies between two of m pixels, which weigh k. */
typedef struct place {
    size_t at[2];
    float k[2];
} place;

static place place_of(int i, int n, int m)
{
    double v = n > 1 ? (double)i * (m - 1) / (n - 1) : 0.0;
    int at = (int)v;
    float f = (float)(v - at);
    return (place){{(size_t)at, (size_t)smaller(at + 1, m - 1)}, {(float)(1.0 - (v - at)), f}};
}

static void mix(size_t n, const float *a, const float *b, const float k[2], float *y)
{
    float p = k[0], q = k[1];
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] = p * a[i] + q * b[i];
}

static void add_scaled(size_t n, float k, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] += k * x[i];
}

static size_t bilinear_scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return (size_t)s->in[0].w * (size_t)s->in[0].c;
}

static pf_status bilinear_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t C = (size_t)s->out.c, line = (size_t)s->in[0].w * C;
    float *row = c->scratch, *y = c->out;
    for (size_t b = 0; b < (size_t)s->B; b++) {
        const float *x = c->in[0] + b * pf_shape_size(s->in[0]);
        for (int r = 0; r < s->out.h; r++) {
            place v = place_of(r, s->out.h, s->in[0].h);
            mix(line, x + v.at[0] * line, x + v.at[1] * line, v.k, row);
            for (int q = 0; q < s->out.w; q++, y += C) {
                place u = place_of(q, s->out.w, s->in[0].w);
                mix(C, row + u.at[0] * C, row + u.at[1] * C, u.k, y);
            }
        }
    }
    return PF_OK;
}

static pf_status bilinear_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t C = (size_t)s->out.c, line = (size_t)s->in[0].w * C, in = pf_shape_size(s->in[0]);
    float *row = c->scratch;
    const float *g = c->gout;
    if (!c->gin[0]) return PF_OK;
    memset(c->gin[0], 0, (size_t)s->B * in * sizeof(float));
    for (size_t b = 0; b < (size_t)s->B; b++)
        for (int r = 0; r < s->out.h; r++) {
            place v = place_of(r, s->out.h, s->in[0].h);
            memset(row, 0, line * sizeof *row);
            for (int q = 0; q < s->out.w; q++, g += C) {
                place u = place_of(q, s->out.w, s->in[0].w);
                for (int k = 0; k < 2; k++) add_scaled(C, u.k[k], g, row + u.at[k] * C);
            }
            for (int k = 0; k < 2; k++)
                add_scaled(line, v.k[k], row, c->gin[0] + b * in + v.at[k] * line);
        }
    return PF_OK;
}

const pf_row pf_fused_pool = {.backend = "fused",
                              .saved = pool_saved,
                              .scratch = pool_scratch,
                              .forward = pool_forward,
                              .backward = pool_backward};
const pf_row pf_fused_bilinear = {.backend = "fused",
                                  .scratch = bilinear_scratch,
                                  .forward = bilinear_forward,
                                  .backward = bilinear_backward};
