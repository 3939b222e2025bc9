/* Instance normalisation ++; the formulas are in ref/instance_norm.c.
 *
 * Channels are innermost, so they are what vectors run over.  Three passes over a sample forward (mean, variance,
 * values) and two backward.  Sums are floats for 64 pixels at most, doubles beyond. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"
#include "nn/kernels/ref/ref.h"

enum { LANES = 256, BLOCK_PIXELS = 64, PARTS = 3 /* alpha, gamma, beta */ };

typedef struct norm { /* of one sample */
    int n;
    size_t C;
    const float *alpha, *gamma, *beta;
    float *m, *r, *u, *R; /* saved */
    double *s0, *s1;      /* sums of a channel [C] */
    float *a, *b, *d;     /* coefficients [C] */
    double *dp[PARTS];    /* gradients over the batch [C] */
} norm;

static size_t round16(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return (2 * (2 + PARTS) + 3) * round16((size_t)s->out.c);
}

static void setup(const pf_call *call, norm *k)
{
    const pf_site *s = call->site;
    size_t C = (size_t)s->out.c, room = round16(C);
    double *sums = (double *)call->scratch;
    *k = (norm){.n = s->out.h * s->out.w, .C = C, .s0 = sums, .s1 = sums + room};
    for (int i = 0; i < PARTS; i++) k->dp[i] = sums + (size_t)(2 + i) * room;
    k->a = (float *)(sums + (2 + PARTS) * room);
    k->b = k->a + room;
    k->d = k->b + room;
    if (s->n_in > 1) return;
    k->alpha = call->param[0];
    k->gamma = call->param[1];
    k->beta = call->param[2];
}

static void take_sample(const pf_call *call, int b, norm *k)
{
    k->m = call->saved + (size_t)b * (3 * k->C + 1);
    k->r = k->m + k->C;
    k->u = k->r + k->C;
    k->R = k->u + k->C;
    if (call->site->n_in < 2) return;
    k->gamma = call->in[1] + (size_t)b * 3 * k->C;
    k->alpha = k->gamma + k->C;
    k->beta = k->alpha + k->C;
}

/* s0 = sum of w, s1 = sum of w (x - m) over the pixels, w = g, or x - m without one */
PF_INLINE void sums(const norm *k, const float *x, const float *g)
{
    float p0[LANES], p1[LANES];
    for (size_t c0 = 0; c0 < k->C; c0 += LANES) {
        int len = k->C - c0 < LANES ? (int)(k->C - c0) : LANES;
        const float *m = k->m + c0;
        double *s0 = k->s0 + c0, *s1 = k->s1 + c0;
        for (int i = 0; i < len; i++) s0[i] = s1[i] = 0.0;
        for (int first = 0; first < k->n; first += BLOCK_PIXELS) {
            int end = k->n - first < BLOCK_PIXELS ? k->n : first + BLOCK_PIXELS;
            for (int i = 0; i < len; i++) p0[i] = p1[i] = 0.0f;
            for (int p = first; p < end; p++) {
                const float *row = x + (size_t)p * k->C + c0;
                const float *w = g ? g + (size_t)p * k->C + c0 : NULL;
                PF_SIMD
                for (int i = 0; i < len; i++) {
                    float d = row[i] - m[i], v = w ? w[i] : d;
                    p0[i] += v;
                    p1[i] += v * d;
                }
            }
            for (int i = 0; i < len; i++) {
                s0[i] += (double)p0[i];
                s1[i] += (double)p1[i];
            }
        }
    }
}

static void sums_of_squares(const norm *k, const float *x)
{
    sums(k, x, NULL);
}

static void sums_of_gradients(const norm *k, const float *x, const float *g)
{
    sums(k, x, g);
}

static void statistics(const norm *k, const float *x, double eps)
{
    double n = (double)k->n, mean = 0.0, square = 0.0;
    pf_fused_sum_rows(k->n, (int)k->C, x, k->m);
    for (size_t i = 0; i < k->C; i++) {
        k->m[i] = (float)((double)k->m[i] / n);
        mean += (double)k->m[i];
    }
    mean /= (double)k->C;
    sums_of_squares(k, x);
    for (size_t i = 0; i < k->C; i++) {
        double off = k->s0[i] / n, d = (double)k->m[i] - mean; /* m is a float */
        k->r[i] = (float)(1.0 / sqrt(k->s1[i] / n - off * off + eps));
        square += d * d;
    }
    double R = 1.0 / sqrt(square / (double)(k->C - 1) + eps);
    for (size_t i = 0; i < k->C; i++) k->u[i] = (float)(((double)k->m[i] - mean) * R);
    *k->R = (float)R;
}

/* y = (x - m) a + d, and g b more with a gradient g */
PF_INLINE void combine(const norm *k, const float *x, const float *g, float *y)
{
    const float *m = k->m, *a = k->a, *b = k->b, *d = k->d;
    int C = (int)k->C;
    for (int p = 0; p < k->n; p++, x += C, y += C) {
        PF_SIMD
        for (int i = 0; i < C; i++)
            y[i] = (x[i] - m[i]) * a[i] + d[i] + (g ? g[i] * b[i] : 0.0f);
        if (g) g += C;
    }
}

static void values(const norm *k, const float *x, float *y)
{
    combine(k, x, NULL, y);
}

static void gradients(const norm *k, const float *x, const float *g, float *dx)
{
    combine(k, x, g, dx);
}

static pf_status forward(void *ctx, const pf_call *call)
{
    (void)ctx;
    norm k;
    setup(call, &k);
    size_t size = (size_t)k.n * k.C;
    for (int b = 0; b < call->site->B; b++) {
        const float *x = call->in[0] + (size_t)b * size;
        take_sample(call, b, &k);
        statistics(&k, x, call->site->attr.eps);
        for (size_t i = 0; i < k.C; i++) {
            k.a[i] = k.gamma[i] * k.r[i];
            k.d[i] = k.gamma[i] * k.alpha[i] * k.u[i] + k.beta[i];
        }
        values(&k, x, call->out + (size_t)b * size);
    }
    return PF_OK;
}

/* Of a row of the table, or added to those of the parameters. */
static void gains_back(const norm *k, float *row)
{
    for (size_t i = 0; i < k->C; i++) {
        double S0 = k->s0[i], S1 = k->s1[i] * (double)k->r[i], uS = (double)k->u[i] * S0;
        double alpha = (double)k->gamma[i] * uS, gamma = S1 + (double)k->alpha[i] * uS;
        if (row) {
            row[i] = (float)gamma;
            row[k->C + i] = (float)alpha;
            row[2 * k->C + i] = (float)S0;
        } else {
            k->dp[0][i] += alpha;
            k->dp[1][i] += gamma;
            k->dp[2][i] += S0;
        }
    }
}

static void dx_coefficients(const norm *k)
{
    double n = (double)k->n, mean = 0.0, along = 0.0;
    for (size_t i = 0; i < k->C; i++) {
        double du = (double)k->gamma[i] * (double)k->alpha[i] * k->s0[i];
        mean += du / (double)k->C;
        along += du * (double)k->u[i] / (double)(k->C - 1);
    }
    for (size_t i = 0; i < k->C; i++) {
        double gr = (double)k->gamma[i] * (double)k->r[i],
               r2 = (double)k->r[i] * (double)k->r[i];
        double du = (double)k->gamma[i] * (double)k->alpha[i] * k->s0[i];
        double dm = (double)*k->R * (du - mean - (double)k->u[i] * along);
        k->a[i] = (float)(-gr * r2 * k->s1[i] / n);
        k->b[i] = (float)gr;
        k->d[i] = (float)((dm - gr * k->s0[i]) / n);
    }
}

static pf_status backward(void *ctx, const pf_call *call)
{
    (void)ctx;
    norm k;
    int table = call->site->n_in > 1;
    setup(call, &k);
    size_t size = (size_t)k.n * k.C;
    for (int j = 0; j < PARTS; j++) memset(k.dp[j], 0, k.C * sizeof(double));
    for (int b = 0; b < call->site->B; b++) {
        const float *x = call->in[0] + (size_t)b * size, *g = call->gout + (size_t)b * size;
        take_sample(call, b, &k);
        sums_of_gradients(&k, x, g);
        if (!table || call->gin[1])
            gains_back(&k, table ? call->gin[1] + (size_t)b * 3 * k.C : NULL);
        if (!call->gin[0]) continue;
        dx_coefficients(&k);
        gradients(&k, x, g, call->gin[0] + (size_t)b * size);
    }
    for (int j = 0; j < PARTS; j++)
        for (size_t i = 0; call->gparam[j] && i < k.C; i++)
            call->gparam[j][i] = (float)k.dp[j][i];
    return PF_OK;
}

const pf_row pf_fused_instance = {
    .backend = "fused",
    .saved = pf_ref_instance_norm_saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
