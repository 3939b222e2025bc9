/* The noise expected from the frequencies of the levels, in float, one entry at a time over its bins;
 * the formulas are in ref/levels.c.
 *
 * Where a bin's mass is the difference of two normal tails, both are tails of the same side: no
 * digits are lost to 1. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"
#include "nn/kernels/ref/ref.h"

#define REACH     7.0f
#define REACH_FAR 9.0f /* of points: exp(-40) of a rare one's neighbours is nothing beside it */
#define FAR \
    6.0f /* deviations outside: y^2 and p2/p agree in their leading digits, so in double */

typedef struct place { /* of one entry */
    float u, v;
    const float *w;
    int n;
    const pf_attr *attr;
} place;

typedef struct expected {
    float y, slope; /* slope: dy/du */
} expected;

typedef struct line { /* of points: first + k step; per = 1/step */
    double first, step, per;
} line;

static line line_of(const pf_attr *a)
{
    pf_space s = {.kind = PF_LEVELS, .levels = a->levels};
    line l = {.step = pf_grid_step(&s, a->grid)};
    pf_to_model(&s, a->grid == PF_GRID_DEQUANTISED ? PF_GRID_CENTRES : a->grid, 1,
                &(uint8_t){0}, NULL, &l.first);
    l.per = 1.0 / l.step;
    return l;
}

/* a_k = first - k step for n edges, z_k = a_k + far: density of the normal at z_k over that at
 * `far`, and the lower tail P(z_k), less 1 where z_k >= 0, likewise. */
PF_INLINE void edges(int n, float first, float step, float far, float *f, float *tails)
{
    PF_SIMD
    for (int k = 0; k < n; k++) {
        float a = first - (float)k * step, z = a + far;
        float e = pf_exp(-0.5f * a * (a + 2.0f * far)),
              q = e * pf_tail(fabsf(z) * 0.707106781f);
        f[k] = 0.398942280f * e;
        tails[k] = z >= 0.0f ? -q : q;
    }
}

PF_INLINE expected of_bins(const place *e, float *f, float *tails)
{
    float bin = 2.0f / (float)e->n, c = fminf(fmaxf(e->u, -1.0f), 1.0f), rate = 1.0f / e->v;
    if (fabsf(e->u - c) * rate > FAR) {
        pf_expected d = pf_ref_levels_at(e->w, e->attr, e->u, e->v);
        return (expected){(float)d.y, (float)d.slope};
    }
    int lo = (int)fmaxf(floorf((c + 1.0f - REACH * e->v) / bin), 0.0f);
    int hi = (int)fminf(ceilf((c + 1.0f + REACH * e->v) / bin), (float)e->n);
    float first = (c + 1.0f - (float)lo * bin) * rate, step = bin * rate;
    float far = (e->u - c) * rate, p = 0.0f, p1 = 0.0f, p2 = 0.0f;
    const float *w = e->w + lo;

    edges(hi - lo + 1, first, step, far, f, tails);
    PF_SIMD_SUM(p, p1, p2)
    for (int k = 0; k < hi - lo; k++) {
        float a = first - (float)k * step + far, b = first - (float)(k + 1) * step + far;
        float inside = a >= 0.0f && b < 0.0f ? 1.0f : 0.0f;
        p += w[k] * (tails[k] - tails[k + 1] + inside);
        p1 += w[k] * (f[k] - f[k + 1]);
        p2 += w[k] * (b * f[k + 1] - a * f[k]);
    }
    float y = -p1 / p;
    return (expected){y, (y * y - p2 / p) * rate};
}

PF_INLINE expected of_narrow(const place *e)
{
    float bin = 2.0f / (float)e->n, end = 1.0f - 0.5f * bin, c = fminf(fmaxf(e->u, -end), end);
    float s = sqrtf(e->v * e->v + bin * bin / 12.0f), rate = 1.0f / s;
    int lo = (int)fmaxf(floorf((c + end - REACH * s) / bin), 0.0f);
    int hi = (int)fminf(ceilf((c + end + REACH * s) / bin), (float)(e->n - 1));
    float first = (c + end - (float)lo * bin) * rate, step = bin * rate,
          far = (e->u - c) * rate;
    float sum = 0.0f, one = 0.0f, two = 0.0f;
    const float *w = e->w + lo;

    PF_SIMD_SUM(sum, one, two)
    for (int k = 0; k <= hi - lo; k++) {
        float a = first - (float)k * step, g = w[k] * pf_exp(-0.5f * a * (a + 2.0f * far));
        sum += g;
        one += g * a;
        two += g * a * a;
    }
    float mean = one / sum, var = two / sum - mean * mean;
    return (expected){e->v * rate * (far + mean), e->v * rate * rate * (1.0f - var)};
}

/* Distances a_k from the nearest point, itself z0 deviations away, carry all: the largest term but for
 * the weights is then w of the nearest. */
PF_INLINE expected of_points(const place *e, const line *on)
{
    float rate = 1.0f / e->v, last = (float)(e->n - 1);
    float at = (float)(((double)e->u - on->first) * on->per), c = fminf(fmaxf(at, 0.0f), last);
    float near = rintf(c), reach = REACH_FAR * e->v * (float)on->per;
    float z0 = (float)((double)e->u - on->first - on->step * (double)near) * rate;
    int lo = (int)fmaxf(floorf(c - reach), 0.0f), hi = (int)fminf(ceilf(c + reach), last);
    float first = (near - (float)lo) * (float)on->step * rate, step = (float)on->step * rate;
    float sum = 0.0f, one = 0.0f, two = 0.0f;
    const float *w = e->w + lo;

    PF_SIMD_SUM(sum, one, two)
    for (int k = 0; k <= hi - lo; k++) {
        float a = first - (float)k * step, g = w[k] * pf_exp(-0.5f * a * (a + 2.0f * z0));
        sum += g;
        one += g * a;
        two += g * a * a;
    }
    if (!(sum > 0.0f)) { /* the nearest never occurs */
        pf_expected d = pf_ref_levels_at(e->w, e->attr, e->u, e->v);
        return (expected){(float)d.y, (float)d.slope};
    }
    float mean = one / sum, var = two / sum - mean * mean;
    return (expected){z0 + mean, rate * (1.0f - var)};
}

/* One sample: y [pixels,C], and dy/dx unless slope is NULL; work: 2 (n + 1) floats */
static void sample(const pf_call *c, int b, float *y, float *slope, float *work)
{
    int C = c->site->out.c, n = c->site->attr.levels;
    size_t size = pf_shape_size(c->site->out);
    float v = c->in[1][b], m = c->in[2][b];
    const float *x = c->in[0] + (size_t)b * size;

    const pf_attr *attr = &c->site->attr;
    line on = line_of(attr);

    for (size_t i = 0; i < size; i++) {
        place at = {x[i] / m, v, c->param[0] + i % (size_t)C * (size_t)n, n, attr};
        expected e = attr->grid != PF_GRID_DEQUANTISED ? of_points(&at, &on)
                     : v * (float)n < 8.0f             ? of_bins(&at, work, work + n + 1)
                                                       : of_narrow(&at);
        y[i] = e.y;
        if (slope) slope[i] = e.slope / m;
    }
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return 2 * ((size_t)s->attr.levels + 1);
}

static pf_status forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    size_t size = pf_shape_size(c->site->out);
    for (int b = 0; b < c->site->B; b++) {
        float *slope = c->site->want_dx[0] ? c->saved + (size_t)b * size : NULL;
        sample(c, b, c->out + (size_t)b * size, slope, c->scratch);
    }
    return PF_OK;
}

static void times(size_t n, const float *a, const float *b, float *y)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static pf_status backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    size_t n = (size_t)c->site->B * pf_shape_size(c->site->out);
    if (c->gin[0]) times(n, c->saved, c->gout, c->gin[0]);
    return PF_OK;
}

const pf_row pf_fused_levels = {.backend = "fused",
                                .saved = pf_ref_levels_saved,
                                .scratch = scratch,
                                .forward = forward,
                                .backward = backward};
