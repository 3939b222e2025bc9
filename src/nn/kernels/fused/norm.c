/* Group normalisation with its neighbours fused: y = dropout(silu(w xhat + b)),
 *
 *     xhat = (x + e - mean_g) / sqrt(var_g + eps)      statistics over the pixels and channels of g
 *     dx   = r_g (w g - mean_g(w g) - xhat mean_g(w g xhat)),      r_g = 1/sqrt(var_g + eps)
 *     dw   = sum g xhat,   db = sum g,   de = sum over pixels of dx
 *
 * with g the gradient at the normalised value.  (Wu and He 2018, eq. 1 to 3.)  A vector [s, t] that scales and
 * shifts makes w (1 + s) of w and b (1 + s) + t of b in each sample, and dt = db, ds = w dw + b db, dw and db of
 * that sample and before the factor 1 + s that these get then.
 *
 * A sample is read as rows of L = T C floats, T pixels each, and the channels' coefficients are
 * tiled to L: every inner loop is long and contiguous whatever the number of channels.  Sums are
 * floats for 64 rows at most, doubles beyond. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

enum { ROW_FLOATS = 256, ROWS_PER_BLOCK = 64, MASK_PAD = 16 };

typedef struct norm {
    const pf_site *site;
    int C, G, n, L; /* n pixels */
    size_t size;    /* n C */
    const float *w, *b;
    float *c[4];     /* tiled coefficients [L] */
    float *part[2];  /* float sums [L] */
    double *sum[2];  /* channel sums [C] */
    double *dw, *db; /* [C] over the batch */
    float *buf;      /* one sample: the dropout mask, or a gradient nobody asked for */
} norm;

static int row_floats(int C)
{
    return C >= ROW_FLOATS ? C : ROW_FLOATS / C * C;
}

static size_t round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static void setup(const pf_call *call, norm *k)
{
    const pf_site *s = call->site;
    k->site = s;
    k->C = s->out.c;
    k->G = s->attr.groups;
    k->n = s->out.h * s->out.w;
    k->L = row_floats(k->C);
    k->size = pf_shape_size(s->out);
    k->w = call->param[0];
    k->b = call->param[1];
    float *p = call->scratch;
    for (int i = 0; i < 4; i++, p += round16((size_t)k->L)) k->c[i] = p;
    for (int i = 0; i < 2; i++, p += round16((size_t)k->L)) k->part[i] = p;
    double *q = (double *)p;
    for (int i = 0; i < 2; i++, q += round16((size_t)k->C)) k->sum[i] = q;
    k->dw = q;
    k->db = q + round16((size_t)k->C);
    k->buf = (float *)(k->db + round16((size_t)k->C));
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return 6 * round16((size_t)row_floats(s->out.c)) + 8 * round16((size_t)s->out.c) +
           pf_shape_size(s->out);
}

/* Mean and r of every group, then whether dropout was on, then its mask, one byte an element. */
static size_t saved(const pf_site *s, void *ctx)
{
    (void)ctx;
    size_t stats = round16((size_t)s->B * (size_t)s->attr.groups * 2);
    size_t bytes = s->attr.rate > 0.0 ? (size_t)s->B * pf_shape_size(s->out) : 0;
    return stats + MASK_PAD + round16((bytes + 3) / 4);
}

static float *mask_on(const norm *k, float *saved)
{
    return saved + round16((size_t)k->site->B * (size_t)k->G * 2);
}

static uint8_t *mask_bytes(const norm *k, float *saved, int b)
{
    return (uint8_t *)(mask_on(k, saved) + MASK_PAD) + (size_t)b * k->size;
}

static void tile(const norm *k, float *c)
{
    for (int i = k->C; i < k->L; i++) c[i] = c[i - k->C];
}

static void fold(const norm *k, float *part, double *sum)
{
    for (int i = 0, c = 0; i < k->L; i++) {
        sum[c] += (double)part[i];
        part[i] = 0.0f;
        if (++c == k->C) c = 0;
    }
}

/* sum[0] += d and sum[1] += d^2 per channel, d = x - c[0]; four rows at a time, so that the
 * partial sums are not what memory is busy with. */
static void moments(const norm *k, const float *x)
{
    const float *shift = k->c[0];
    float *s0 = k->part[0], *s1 = k->part[1];
    size_t L = (size_t)k->L, at = 0;
    int rows = 0;
    for (; at + 4 * L <= k->size; at += 4 * L) {
        const float *a = x + at, *b = a + L, *c = b + L, *d = c + L;
        PF_SIMD
        for (size_t i = 0; i < L; i++) {
            float p = a[i] - shift[i], q = b[i] - shift[i];
            float r = c[i] - shift[i], t = d[i] - shift[i];
            s0[i] += (p + q) + (r + t);
            s1[i] += (p * p + q * q) + (r * r + t * t);
        }
        if ((rows += 4) % ROWS_PER_BLOCK) continue;
        fold(k, s0, k->sum[0]);
        fold(k, s1, k->sum[1]);
    }
    for (; at < k->size; at += L) {
        size_t len = k->size - at < L ? k->size - at : L;
        PF_SIMD
        for (size_t i = 0; i < len; i++) {
            float d = x[at + i] - shift[i];
            s0[i] += d;
            s1[i] += d * d;
        }
    }
    fold(k, s0, k->sum[0]);
    fold(k, s1, k->sum[1]);
}

static void clear_sums(const norm *k)
{
    for (int i = 0; i < 2; i++) {
        memset(k->part[i], 0, (size_t)k->L * sizeof(float));
        memset(k->sum[i], 0, (size_t)k->C * sizeof(double));
    }
}

/* stat = mean and r of each group.  One pass over x: each channel's moments about its first
 * pixel, which lies about a deviation from its mean, so that nothing cancels; then
 * sum (u - mean_g)^2 = sum over channels of their own squares and of n (mean_c - mean_g)^2. */
static void statistics(const norm *k, const float *x, const float *e, float *stat)
{
    int per = k->C / k->G;
    double n = (double)k->n;
    memcpy(k->c[0], x, (size_t)k->C * sizeof(float));
    tile(k, k->c[0]);
    clear_sums(k);
    moments(k, x);
    for (int g = 0; g < k->G; g++) {
        double mean = 0.0, squares = 0.0;
        for (int c = g * per; c < (g + 1) * per; c++) {
            double first = (double)x[c] + (e ? (double)e[c] : 0.0), m = k->sum[0][c] / n;
            squares += k->sum[1][c] - n * m * m;
            k->sum[0][c] = first + m;
            mean += (first + m) / per;
        }
        for (int c = g * per; c < (g + 1) * per; c++) {
            double d = k->sum[0][c] - mean;
            squares += n * d * d;
        }
        if (squares < 0.0) squares = 0.0; /* rounding, where all are equal */
        stat[2 * g] = (float)mean;
        stat[2 * g + 1] = (float)(1.0 / sqrt(squares / (per * n) + k->site->attr.eps));
    }
}

/* The vector of a sample: what is added, and scales and shifts; NULL: not there. */
typedef struct vector {
    const float *e, *m;
} vector;

static vector vector_of(const norm *k, const pf_call *call, int b)
{
    size_t C = (size_t)k->C, n = (size_t)b;
    if (k->site->n_in < 2) return (vector){0};
    if (k->site->attr.scale_shift) return (vector){.m = call->in[1] + n * 2 * C};
    return (vector){.e = call->in[1] + n * C};
}

/* c[0], c[1]: xhat = x c0 + c1;  c[2], c[3]: w and b, scaled and shifted */
static void coefficients(const norm *k, vector by, const float *stat)
{
    const float *e = by.e, *m = by.m;
    int per = k->C / k->G;
    for (int c = 0; c < k->C; c++) {
        float mean = stat[2 * (c / per)], r = stat[2 * (c / per) + 1];
        k->c[0][c] = r;
        k->c[1][c] = ((e ? e[c] : 0.0f) - mean) * r;
        k->c[2][c] = m ? k->w[c] * (1.0f + m[c]) : k->w[c];
        k->c[3][c] = m ? k->b[c] * (1.0f + m[c]) + m[k->C + c] : k->b[c];
    }
    for (int i = 0; i < 4; i++) tile(k, k->c[i]);
}

PF_INLINE void apply(const norm *k, const float *x, float *y, int silu)
{
    const float *r = k->c[0], *t = k->c[1], *w = k->c[2], *b = k->c[3];
    for (size_t at = 0; at < k->size; at += (size_t)k->L) {
        int len = k->size - at < (size_t)k->L ? (int)(k->size - at) : k->L;
        const float *row = x + at;
        float *out = y + at;
        PF_SIMD
        for (int i = 0; i < len; i++) {
            float v = (row[i] * r[i] + t[i]) * w[i] + b[i];
            out[i] = silu ? v * pf_sigmoid(v) : v;
        }
    }
}

static void apply_plain(const norm *k, const float *x, float *y)
{
    apply(k, x, y, 0);
}

static void apply_silu(const norm *k, const float *x, float *y)
{
    apply(k, x, y, 1);
}

static void drop(size_t n, const float *mask, float *y, uint8_t *byte)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) {
        y[i] *= mask[i];
        byte[i] = mask[i] != 0.0f;
    }
}

static pf_status forward(void *ctx, const pf_call *call)
{
    (void)ctx;
    norm k;
    setup(call, &k);
    const pf_site *s = call->site;
    int dropping = s->attr.rate > 0.0 && call->run && call->run->train;
    *mask_on(&k, call->saved) = (float)dropping;
    for (int b = 0; b < s->B; b++) {
        const float *x = call->in[0] + (size_t)b * k.size;
        const vector by = vector_of(&k, call, b);
        float *y = call->out + (size_t)b * k.size;
        float *stat = call->saved + (size_t)b * (size_t)k.G * 2;
        statistics(&k, x, by.e, stat);
        coefficients(&k, by, stat);
        if (s->attr.silu) apply_silu(&k, x, y);
        else apply_plain(&k, x, y);
        if (!dropping) continue;
        pf_dropout_mask(call, b, s->attr.rate, 0, k.size, k.buf);
        drop(k.size, k.buf, y, mask_bytes(&k, call->saved, b));
    }
    return PF_OK;
}

/* g = gradient at the normalised value; sum[0] += g, sum[1] += g xhat per channel.
 * byte: kept elements, scaled by keep; NULL: no dropout. */
PF_INLINE void pull(const norm *k, const float *x, const float *gout, float *g, int silu)
{
    const float *r = k->c[0], *t = k->c[1], *w = k->c[2], *b = k->c[3];
    float *s0 = k->part[0], *s1 = k->part[1];
    int rows = 0;
    for (size_t at = 0; at < k->size; at += (size_t)k->L) {
        int len = k->size - at < (size_t)k->L ? (int)(k->size - at) : k->L;
        const float *row = x + at, *in = gout + at;
        float *out = g + at;
        PF_SIMD
        for (int i = 0; i < len; i++) {
            float xhat = row[i] * r[i] + t[i], d = in[i];
            if (silu) {
                float v = xhat * w[i] + b[i], sig = pf_sigmoid(v);
                d *= sig * (1.0f + v * (1.0f - sig));
            }
            out[i] = d;
            s0[i] += d;
            s1[i] += d * xhat;
        }
        if (++rows % ROWS_PER_BLOCK) continue;
        fold(k, s0, k->sum[0]);
        fold(k, s1, k->sum[1]);
    }
    fold(k, s0, k->sum[0]);
    fold(k, s1, k->sum[1]);
}

static void pull_plain(const norm *k, const float *x, const float *gout, float *g)
{
    pull(k, x, gout, g, 0);
}

static void pull_silu(const norm *k, const float *x, const float *gout, float *g)
{
    pull(k, x, gout, g, 1);
}

/* g <- g c0 + x c1 + c2 */
static void combine(const norm *k, const float *x, float *g)
{
    const float *a = k->c[0], *b = k->c[1], *d = k->c[2];
    for (size_t at = 0; at < k->size; at += (size_t)k->L) {
        int len = k->size - at < (size_t)k->L ? (int)(k->size - at) : k->L;
        const float *row = x + at;
        float *out = g + at;
        PF_SIMD
        for (int i = 0; i < len; i++) out[i] = out[i] * a[i] + row[i] * b[i] + d[i];
    }
}

/* The group means of w g and w g xhat turn into the three coefficients of dx. */
static void dx_coefficients(const norm *k, const float *stat)
{
    int per = k->C / k->G;
    double count = (double)per * k->n;
    for (int g = 0; g < k->G; g++) {
        double m1 = 0.0, m2 = 0.0, r = (double)stat[2 * g + 1];
        for (int c = g * per; c < (g + 1) * per; c++) {
            m1 += (double)k->c[2][c] * k->sum[0][c] / count;
            m2 += (double)k->c[2][c] * k->sum[1][c] / count;
        }
        for (int c = g * per; c < (g + 1) * per; c++) {
            double t = (double)k->c[1][c];
            k->c[0][c] = (float)((double)k->c[2][c] * r);
            k->c[1][c] = (float)(-r * r * m2);
            k->c[2][c] = (float)(-r * m1 - t * r * m2);
        }
    }
    for (int i = 0; i < 3; i++) tile(k, k->c[i]);
}

static void add_parameters(const norm *k, const float *m)
{
    for (int c = 0; c < k->C; c++) {
        double a = m ? 1.0 + (double)m[c] : 1.0;
        k->db[c] += a * k->sum[0][c];
        k->dw[c] += a * k->sum[1][c];
    }
}

/* ds and dt */
static void scale_shift_back(const norm *k, float *dm)
{
    for (int c = 0; c < k->C; c++) {
        dm[c] = (float)((double)k->w[c] * k->sum[1][c] + (double)k->b[c] * k->sum[0][c]);
        dm[k->C + c] = (float)k->sum[0][c];
    }
}

static void backward_sample(const norm *k, const pf_call *call, int b)
{
    const pf_site *s = call->site;
    const float *x = call->in[0] + (size_t)b * k->size;
    const vector by = vector_of(k, call, b);
    const float *gout = call->gout + (size_t)b * k->size;
    const float *stat = call->saved + (size_t)b * (size_t)k->G * 2;
    float *g = call->gin[0] ? call->gin[0] + (size_t)b * k->size : k->buf;
    if (*mask_on(k, call->saved) != 0.0f) {
        float keep = (float)(1.0 / (1.0 - s->attr.rate));
        pf_fused_undrop(k->size, mask_bytes(k, call->saved, b), keep, gout, g);
        gout = g;
    }
    coefficients(k, by, stat);
    clear_sums(k);
    if (s->attr.silu) pull_silu(k, x, gout, g);
    else pull_plain(k, x, gout, g);
    add_parameters(k, by.m);
    if (by.m && call->gin[1]) scale_shift_back(k, call->gin[1] + (size_t)b * 2 * (size_t)k->C);
    if (!call->gin[0] && (by.m || !call->gin[1])) return;
    dx_coefficients(k, stat);
    combine(k, x, g);
    if (by.m || !call->gin[1]) return;
    pf_fused_sum_rows(k->n, k->C, g, call->gin[1] + (size_t)b * (size_t)k->C);
}

static pf_status backward(void *ctx, const pf_call *call)
{
    (void)ctx;
    norm k;
    setup(call, &k);
    memset(k.dw, 0, (size_t)k.C * sizeof(double));
    memset(k.db, 0, (size_t)k.C * sizeof(double));
    for (int b = 0; b < call->site->B; b++) backward_sample(&k, call, b);
    for (int c = 0; c < k.C; c++) {
        if (call->gparam[0]) call->gparam[0][c] = (float)k.dw[c];
        if (call->gparam[1]) call->gparam[1][c] = (float)k.db[c];
    }
    return PF_OK;
}

const pf_row pf_fused_norm = {
    .backend = "fused",
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
