/* Numbers mapped by mixtures of logistics; formulas, names and layout are in ref/mixture_cdf.c and base/mixture_cdf.c.
 *
 * The logistics of a number are a loop over vectors of doubles.  Its only function is the exponential: a bounded scale is
 * e (1 - 2/(1 + exp(2 raw/k))), good to a rounding of e.  Weights are divided by their sum at the end. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

#include <probflow/mixture_cdf.h>

enum { MOST = PF_MIXTURE_CDF_MAX };

/* exp(x) = 2^n exp(r) as pf_exp, in double: r^k/k! up to 13 errs by 4e-18 at ln(2)/2; x is clamped to [-700, 700]. */
PF_INLINE double exp64(double x)
{
    static const double c[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
                               1.0 / 3628800.0,    1.0 / 362880.0,    1.0 / 40320.0,
                               1.0 / 5040.0,       1.0 / 720.0,       1.0 / 120.0,
                               1.0 / 24.0,         1.0 / 6.0,         0.5};
    double y = x < -700.0 ? -700.0 : x;
    y = y > 700.0 ? 700.0 : y;
    double shifted = y * 1.4426950408889634 + 6755399441055744.0; /* 1.5 2^52 */
    int64_t i;
    memcpy(&i, &shifted, sizeof i);
    double n = shifted - 6755399441055744.0;
    double r = (y - n * 0.693145751953125) - n * 1.42860682030941723212e-6, p = c[0];
    for (int k = 1; k < 12; k++) p = p * r + c[k];
    double q = p * r * r + r + 1.0;
    int64_t bits;
    memcpy(&bits, &q, sizeof bits);
    bits = (int64_t)((uint64_t)bits + ((uint64_t)i << 52));
    memcpy(&q, &bits, sizeof q);
    return q;
}

typedef struct mixtures {
    size_t entries, c, M;
    double *e, *per,
        *slope; /* of each scale: exp(f), 1/max(exp(f), 1), and whether that follows f; [c (1+M)] */
    double *sum; /* slopes of all f, [c (1+M)] */
} mixtures;

static mixtures of(const pf_site *s, float *scratch)
{
    size_t c = s->param_size[0], M = s->param_size[1] / c, n = c * (1 + M);
    double *at = (double *)scratch;
    return (mixtures){
        (size_t)s->B * pf_shape_size(s->in[0]), c, M, at, at + n, at + 2 * n, at + 3 * n};
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    return 8 * (s->param_size[0] + s->param_size[1]);
}

/* Of channel i: its own f at i (1+M), then those of its logistics. */
static void take_bounds(const mixtures *v, const pf_call *call)
{
    for (size_t i = 0; i < v->c; i++)
        for (size_t k = 0; k <= v->M; k++) {
            double f = k ? (double)call->param[1][i * v->M + k - 1] : (double)call->param[0][i];
            size_t at = i * (1 + v->M) + k;
            v->e[at] = exp(f);
            v->per[at] = f >= 0.0 ? 1.0 / v->e[at] : 1.0;
            v->slope[at] = f >= 0.0;
        }
}

typedef struct number { /* one of the numbers that are mapped */
    const float *param; /* t, raw s, logits, means, raw scales */
    const double *e, *per, *slope;
    double z, top, s; /* top: the largest logit */
} number;

static number take(const mixtures *v, const pf_call *call, size_t i)
{
    size_t at = i % v->c * (1 + v->M);
    number x = {call->in[1] + i * (2 + 3 * v->M), v->e + at, v->per + at, v->slope + at};
    x.z = (double)call->in[0][i];
    x.top = (double)x.param[2];
    for (size_t k = 1; k < v->M; k++)
        if ((double)x.param[2 + k] > x.top) x.top = (double)x.param[2 + k];
    x.s = x.e[0] * tanh((double)x.param[1] * x.per[0]);
    return x;
}

typedef struct sums {
    double P, F, Q, D;
} sums;

/* What backward needs of each logistic. */
typedef struct each {
    double p[MOST], sharp[MOST], th[MOST], u[MOST], a[MOST], b[MOST];
} each;

/* to NULL: the sums alone */
PF_INLINE sums add_up(const number *x, int M, each *to)
{
    const float *logit = x->param + 2, *mean = logit + M, *raw = mean + M;
    const double *e = x->e + 1, *per = x->per + 1;
    double P = 0.0, F = 0.0, Q = 0.0, D = 0.0, z = x->z, top = x->top;
    PF_PRAGMA(omp simd reduction(+ : P, F, Q, D))
    for (int k = 0; k < M; k++) {
        double p = exp64((double)logit[k] - top);
        double th = 1.0 - 2.0 / (1.0 + exp64(2.0 * (double)raw[k] * per[k]));
        double sharp = exp64(-e[k] * th), u = (z - (double)mean[k]) * sharp;
        u = u < -700.0 ? -700.0 : u;
        u = u > 700.0 ? 700.0 : u;
        double q = exp64(-fabs(u)), near = 1.0 / (1.0 + q), tail = q / (1.0 + q);
        double a = u > 0.0 ? near : tail, b = u > 0.0 ? tail : near;
        P += p;
        F += p * a;
        Q += p * b;
        D += p * a * b * sharp;
        if (to) {
            to->p[k] = p;
            to->sharp[k] = sharp;
            to->th[k] = th;
            to->u[k] = u;
            to->a[k] = a;
            to->b[k] = b;
        }
    }
    return (sums){P, F, Q, D};
}

static void map(const number *x, int M, float *y, float *ldj)
{
    sums s = add_up(x, M, NULL);
    *y = (float)((log(s.F / s.Q) + (double)x->param[0]) * exp(x->s));
    *ldj = (float)(x->s + log(s.D / s.F * s.P / s.Q));
}

static pf_status forward(void *ctx, const pf_call *call)
{
    (void)ctx;
    mixtures v = of(call->site, call->scratch);
    take_bounds(&v, call);
    for (size_t i = 0; i < v.entries; i++) {
        number x = take(&v, call, i);
        float *y = call->out + i / v.c * 2 * v.c + i % v.c;
        map(&x, (int)v.M, y, y + v.c);
    }
    return PF_OK;
}

/* Slopes along what a number's map reads; sum [1+M] +=: along the f of its scales. */
typedef struct slopes {
    float z, param[2 + 3 * MOST];
    double *sum;
} slopes;

/* A, B and C: of log F, log Q and log D */
PF_INLINE double each_back(const number *x, int M, const sums *s, const each *of,
                           const double by[3], slopes *to)
{
    float *logit = to->param + 2, *mean = logit + M, *raw = mean + M;
    const float *raws = x->param + 2 + 2 * M;
    const double *e = x->e + 1, *per = x->per + 1, *slope = x->slope + 1;
    double A = by[0], B = by[1], C = by[2], iF = 1.0 / s->F, iQ = 1.0 / s->Q, iD = 1.0 / s->D,
           iP = 1.0 / s->P, z = 0.0, *sum = to->sum + 1;
    PF_PRAGMA(omp simd reduction(+ : z))
    for (int k = 0; k < M; k++) {
        double p = of->p[k], a = of->a[k], b = of->b[k], sharp = of->sharp[k], th = of->th[k];
        double in = p * a * iF, out = p * b * iQ, d = p * a * b * sharp * iD;
        double g = A * in * b - B * out * a + C * d * (b - a), by_scale = -g * of->u[k] - C * d;
        double bend = (1.0 - th * th) * e[k] * per[k];
        z += g * sharp;
        mean[k] = (float)(-g * sharp);
        logit[k] = (float)(A * in + B * out + C * d - (A + B + C) * p * iP);
        raw[k] = (float)(by_scale * bend);
        sum[k] += by_scale * (e[k] * th - slope[k] * bend * (double)raws[k]);
    }
    return z;
}

static void number_back(const number *x, int M, double gy, double gldj, slopes *to)
{
    each w;
    sums s = add_up(x, M, &w);
    double v = log(s.F / s.Q) + (double)x->param[0], by_v = gy * exp(x->s),
           by_s = by_v * v + gldj, th = x->s / x->e[0],
           bend = (1.0 - th * th) * x->e[0] * x->per[0];
    const double by[] = {by_v - gldj, -by_v - gldj, gldj};
    to->param[0] = (float)by_v;
    to->param[1] = (float)(by_s * bend);
    to->sum[0] += by_s * (x->s - x->slope[0] * bend * (double)x->param[1]);
    to->z = (float)each_back(x, M, &s, &w, by, to);
}

static void put_sums(const mixtures *v, const pf_call *call)
{
    for (size_t i = 0; i < v->c; i++) {
        const double *sum = v->sum + i * (1 + v->M);
        if (call->gparam[0]) call->gparam[0][i] = (float)sum[0];
        for (size_t k = 0; call->gparam[1] && k < v->M; k++)
            call->gparam[1][i * v->M + k] = (float)sum[1 + k];
    }
}

static pf_status backward(void *ctx, const pf_call *call)
{
    (void)ctx;
    mixtures v = of(call->site, call->scratch);
    size_t n = 2 + 3 * v.M;
    slopes to;
    take_bounds(&v, call);
    memset(v.sum, 0, v.c * (1 + v.M) * sizeof *v.sum);
    for (size_t i = 0; i < v.entries; i++) {
        number x = take(&v, call, i);
        const float *g = call->gout + i / v.c * 2 * v.c + i % v.c;
        to.sum = v.sum + i % v.c * (1 + v.M);
        number_back(&x, (int)v.M, (double)g[0], (double)g[v.c], &to);
        if (call->gin[0]) call->gin[0][i] = to.z;
        if (call->gin[1]) memcpy(call->gin[1] + i * n, to.param, n * sizeof(float));
    }
    put_sums(&v, call);
    return PF_OK;
}

const pf_row pf_fused_mixture = {
    .backend = "fused", .scratch = scratch, .forward = forward, .backward = backward};
