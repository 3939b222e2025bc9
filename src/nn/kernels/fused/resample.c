/* Operators that move pixels: concatenation, nearest and mean resampling by 2, and the separable
 * FIR filter k = [1,3,3,1]/8 on both axes (times a gain):
 *
 *     out(o) = sum_j k(j) z(o down + j - pad_lo),   z(u) = x(u / up) where up divides u, else 0
 *
 * k is symmetric, so true convolution and correlation agree. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

enum { L = PF_LANES };

/* n floats from x to y, a vector at a time where they are that many. */
PF_INLINE void copy_row(size_t n, const float *x, float *y)
{
    size_t i = 0;
    for (; i + L <= n; i += L) pf_store(y + i, pf_load(x + i));
    for (; i < n; i++) y[i] = x[i];
}

/* Rows of a floats of x and b floats of y beside each other in z; or, apart, back again (NULL:
 * not wanted). */
PF_INLINE void beside(size_t rows, size_t a, size_t b, const float *x, const float *y, float *z)
{
    for (size_t r = 0; r < rows; r++, x += a, y += b, z += a + b) {
        copy_row(a, x, z);
        copy_row(b, y, z + a);
    }
}

PF_INLINE void apart(size_t rows, size_t a, size_t b, const float *z, float *x, float *y)
{
    for (size_t r = 0; r < rows; r++, z += a + b) {
        if (x) copy_row(a, z, x + r * a);
        if (y) copy_row(b, z + a, y + r * b);
    }
}

/* clang-format off */
/* The channels of waves (see model/ddpmpp.c), joined by halves: lengths the compiler knows. */
#define SHORT(CASE) \
    CASE(1, 1) CASE(2, 1) CASE(2, 2) CASE(3, 2) CASE(3, 3) CASE(4, 3) CASE(4, 4) CASE(8, 7) CASE(8, 8)
/* clang-format on */

static void join(size_t rows, size_t a, size_t b, const float *x, const float *y, float *z)
{
#define CASE(p, q) \
    if (a == p && b == q) beside(rows, p, q, x, y, z), rows = 0;
    SHORT(CASE)
#undef CASE
    beside(rows, a, b, x, y, z);
}

static void part(size_t rows, size_t a, size_t b, const float *z, float *x, float *y)
{
#define CASE(p, q) \
    if (a == p && b == q) apart(rows, p, q, z, x, y), rows = 0;
    SHORT(CASE)
#undef CASE
    apart(rows, a, b, z, x, y);
}

static size_t concat_rows(const pf_site *s)
{
    return (size_t)s->B * (size_t)s->out.h * (size_t)s->out.w;
}

static pf_status concat_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    join(concat_rows(s), (size_t)s->in[0].c, (size_t)s->in[1].c, c->in[0], c->in[1], c->out);
    return PF_OK;
}

static pf_status concat_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    part(concat_rows(s), (size_t)s->in[0].c, (size_t)s->in[1].c, c->gout, c->gin[0], c->gin[1]);
    return PF_OK;
}

/* big [rows 2h, 2w, C] = each pixel of small [rows h, w, C] four times, times a */
static void spread(size_t rows, size_t w, size_t C, const float *small, float a, float *big)
{
    for (size_t r = 0; r < rows; r++, big += 4 * w * C) {
        for (size_t p = 0; p < w; p++, small += C) {
            float *b = big + 2 * p * C;
            PF_SIMD
            for (size_t i = 0; i < C; i++) {
                float v = small[i] * a;
                b[i] = v;
                b[C + i] = v;
                b[2 * w * C + i] = v;
                b[2 * w * C + C + i] = v;
            }
        }
    }
}

/* small = a times the sum of each 2x2 pixels of big */
static void gather(size_t rows, size_t w, size_t C, const float *big, float a, float *small)
{
    for (size_t r = 0; r < rows; r++, big += 4 * w * C) {
        for (size_t p = 0; p < w; p++, small += C) {
            const float *b = big + 2 * p * C;
            PF_SIMD
            for (size_t i = 0; i < C; i++)
                small[i] = ((b[i] + b[C + i]) + (b[2 * w * C + i] + b[2 * w * C + C + i])) * a;
        }
    }
}

static pf_status up2_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    pf_shape x = c->site->in[0];
    spread((size_t)c->site->B * (size_t)x.h, (size_t)x.w, (size_t)x.c, c->in[0], 1.0f, c->out);
    return PF_OK;
}

static pf_status up2_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    pf_shape x = c->site->in[0];
    if (c->gin[0])
        gather((size_t)c->site->B * (size_t)x.h, (size_t)x.w, (size_t)x.c, c->gout, 1.0f,
               c->gin[0]);
    return PF_OK;
}

static pf_status down2_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    pf_shape y = c->site->out;
    gather((size_t)c->site->B * (size_t)y.h, (size_t)y.w, (size_t)y.c, c->in[0], 0.25f, c->out);
    return PF_OK;
}

static pf_status down2_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    pf_shape y = c->site->out;
    if (c->gin[0])
        spread((size_t)c->site->B * (size_t)y.h, (size_t)y.w, (size_t)y.c, c->gout, 0.25f,
               c->gin[0]);
    return PF_OK;
}

/* Which inputs one output takes, along one axis. */
typedef struct taps {
    int n, at[4];
    float k[4];
} taps;

static taps taps_of(const pf_attr *a, int o, int size)
{
    static const float k[4] = {0.125f, 0.375f, 0.375f, 0.125f};
    taps t = {0};
    for (int j = 0; j < 4; j++) {
        int u = o * a->stride + j - a->pad_lo;
        if (u < 0 || u % a->up || u / a->up >= size) continue;
        t.at[t.n] = u / a->up;
        t.k[t.n++] = k[j];
    }
    return t;
}

/* y = sum_i k_i x_i over n <= 4 rows of len */
PF_INLINE void mix(int n, size_t len, const float *const *x, const float *k, float *y)
{
    if (n == 0) memset(y, 0, len * sizeof *y);
    if (n == 1) {
        PF_SIMD
        for (size_t i = 0; i < len; i++) y[i] = k[0] * x[0][i];
    } else if (n == 2) {
        PF_SIMD
        for (size_t i = 0; i < len; i++) y[i] = k[0] * x[0][i] + k[1] * x[1][i];
    } else if (n == 3) {
        PF_SIMD
        for (size_t i = 0; i < len; i++)
            y[i] = k[0] * x[0][i] + k[1] * x[1][i] + k[2] * x[2][i];
    } else if (n == 4) {
        PF_SIMD
        for (size_t i = 0; i < len; i++)
            y[i] = (k[0] * x[0][i] + k[1] * x[1][i]) + (k[2] * x[2][i] + k[3] * x[3][i]);
    }
}

static void fir_row(const pf_site *s, const float *x, const taps *ty, float *tmp, float *y)
{
    size_t C = (size_t)s->in[0].c, len = (size_t)s->in[0].w * C;
    const float *row[4];
    for (int i = 0; i < ty->n; i++) row[i] = x + (size_t)ty->at[i] * len;
    mix(ty->n, len, row, ty->k, tmp);
    for (int ox = 0; ox < s->out.w; ox++, y += C) {
        taps tx = taps_of(&s->attr, ox, s->in[0].w);
        for (int i = 0; i < tx.n; i++) {
            row[i] = tmp + (size_t)tx.at[i] * C;
            tx.k[i] *= (float)s->attr.a;
        }
        mix(tx.n, C, row, tx.k, y);
    }
}

static void add_to(size_t n, float k, const float *x, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] += k * x[i];
}

/* The transpose of fir_row. */
static void fir_row_back(const pf_site *s, const float *gy, const taps *ty, float *tmp,
                         float *gx)
{
    size_t C = (size_t)s->in[0].c, len = (size_t)s->in[0].w * C;
    memset(tmp, 0, len * sizeof *tmp);
    for (int ox = 0; ox < s->out.w; ox++, gy += C) {
        taps tx = taps_of(&s->attr, ox, s->in[0].w);
        for (int i = 0; i < tx.n; i++)
            add_to(C, tx.k[i] * (float)s->attr.a, gy, tmp + (size_t)tx.at[i] * C);
    }
    for (int i = 0; i < ty->n; i++) add_to(len, ty->k[i], tmp, gx + (size_t)ty->at[i] * len);
}

static size_t fir_scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return (size_t)s->in[0].w * (size_t)s->in[0].c;
}

static pf_status fir_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t row = (size_t)s->out.w * (size_t)s->out.c;
    for (size_t b = 0; b < (size_t)s->B; b++)
        for (int oy = 0; oy < s->out.h; oy++) {
            taps ty = taps_of(&s->attr, oy, s->in[0].h);
            fir_row(s, c->in[0] + b * pf_shape_size(s->in[0]), &ty, c->scratch,
                    c->out + b * pf_shape_size(s->out) + (size_t)oy * row);
        }
    return PF_OK;
}

static pf_status fir_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    if (!c->gin[0]) return PF_OK;
    size_t row = (size_t)s->out.w * (size_t)s->out.c, in = pf_shape_size(s->in[0]);
    memset(c->gin[0], 0, (size_t)s->B * in * sizeof(float));
    for (size_t b = 0; b < (size_t)s->B; b++)
        for (int oy = 0; oy < s->out.h; oy++) {
            taps ty = taps_of(&s->attr, oy, s->in[0].h);
            fir_row_back(s, c->gout + b * pf_shape_size(s->out) + (size_t)oy * row, &ty,
                         c->scratch, c->gin[0] + b * in);
        }
    return PF_OK;
}

const pf_row pf_fused_concat = {
    .backend = "fused", .forward = concat_forward, .backward = concat_backward};
const pf_row pf_fused_up2 = {
    .backend = "fused", .forward = up2_forward, .backward = up2_backward};
const pf_row pf_fused_down2 = {
    .backend = "fused", .forward = down2_forward, .backward = down2_backward};
const pf_row pf_fused_fir = {.backend = "fused",
                             .scratch = fir_scratch,
                             .forward = fir_forward,
                             .backward = fir_backward};
