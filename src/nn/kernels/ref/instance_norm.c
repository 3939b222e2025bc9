/* Instance normalisation ++.  Of one sample, with n pixels and C channels, x_pc:
 *
 *   m_c = <x>, v_c = <(x - m)^2>  over pixels          h = (x - m) r,   r = 1/sqrt(v + eps)
 *   M = <m>,   V = sum (m - M)^2 / (C - 1)             u = (m - M) R,   R = 1/sqrt(V + eps)
 *   y = gamma (h + alpha u) + beta
 *
 * Backward, with g the gradient at y, S0 = sum g and S1 = sum g h over pixels:
 *
 *   dbeta = S0,   dgamma = S1 + alpha u S0,   dalpha = gamma u S0,   du = gamma alpha S0
 *   dm = R (du - <du> - u sum_c(du u)/(C - 1))
 *   dx = r gamma (g - S0/n - h S1/n) + dm/n
 *
 * Sums are taken in double.  Saved: m, r and u of each sample, and R.
 * Source: Song and Ermon 2019, appendix A. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

typedef struct norm { /* of one sample */
    size_t n, c;      /* pixels, channels */
    const float *alpha, *gamma, *beta;
    float *m, *r, *u, *R; /* saved */
} norm;

size_t pf_ref_instance_norm_saved(const pf_site *s, void *ctx)
{
    return (size_t)s->B * (3 * (size_t)s->out.c + 1);
}

static norm sample_of(const pf_call *call, int b)
{
    const pf_site *s = call->site;
    size_t c = (size_t)s->out.c;
    norm k = {.n = (size_t)s->out.h * s->out.w, .c = c};
    k.m = call->saved + (size_t)b * (3 * c + 1);
    k.r = k.m + c;
    k.u = k.r + c;
    k.R = k.u + c;
    if (s->n_in > 1) {
        k.gamma = call->in[1] + (size_t)b * 3 * c;
        k.alpha = k.gamma + c;
        k.beta = k.alpha + c;
    } else {
        k.alpha = call->param[0];
        k.gamma = call->param[1];
        k.beta = call->param[2];
    }
    return k;
}

static void of_pixels(const norm *k, const float *x, double eps, size_t i)
{
    double sum = 0.0, square = 0.0;
    for (size_t p = 0; p < k->n; p++) sum += x[p * k->c + i];
    double m = sum / (double)k->n;
    for (size_t p = 0; p < k->n; p++) {
        double d = x[p * k->c + i] - m;
        square += d * d;
    }
    k->m[i] = (float)m;
    k->r[i] = (float)(1.0 / sqrt(square / (double)k->n + eps));
}

static void of_channels(const norm *k, double eps)
{
    double sum = 0.0, square = 0.0;
    for (size_t i = 0; i < k->c; i++) sum += k->m[i];
    double mean = sum / (double)k->c;
    for (size_t i = 0; i < k->c; i++) square += (k->m[i] - mean) * (k->m[i] - mean);
    double R = 1.0 / sqrt(square / (double)(k->c - 1) + eps);
    for (size_t i = 0; i < k->c; i++) k->u[i] = (float)((k->m[i] - mean) * R);
    *k->R = (float)R;
}

pf_status pf_ref_instance_norm(void *ctx, const pf_call *call)
{
    const pf_site *s = call->site;
    for (int b = 0; b < s->B; b++) {
        norm k = sample_of(call, b);
        const float *x = call->in[0] + (size_t)b * k.n * k.c;
        float *y = call->out + (size_t)b * k.n * k.c;
        for (size_t i = 0; i < k.c; i++) of_pixels(&k, x, s->attr.eps, i);
        of_channels(&k, s->attr.eps);
        for (size_t j = 0; j < k.n * k.c; j++) {
            size_t i = j % k.c;
            double h = ((double)x[j] - k.m[i]) * k.r[i];
            y[j] = (float)(k.gamma[i] * (h + (double)k.alpha[i] * k.u[i]) + k.beta[i]);
        }
    }
    return PF_OK;
}

static void sums_of(const norm *k, const float *x, const float *g, size_t i, double sum[2])
{
    sum[0] = sum[1] = 0.0;
    for (size_t p = 0; p < k->n; p++) {
        size_t at = p * k->c + i;
        sum[0] += g[at];
        sum[1] += g[at] * ((double)x[at] - k->m[i]) * k->r[i];
    }
}

/* Where the gradients of alpha, gamma and beta go: overwritten for a table, added up for parameters. */
static void add_gains(const pf_call *call, const norm *k, int b, size_t i, const double sum[2])
{
    double ua = (double)k->u[i] * sum[0];
    double alpha = k->gamma[i] * ua, gamma = sum[1] + k->alpha[i] * ua;
    if (call->site->n_in > 1) {
        float *e = call->gin[1];
        if (!e) return;
        e += (size_t)b * 3 * k->c + i;
        e[0] = (float)gamma;
        e[k->c] = (float)alpha;
        e[2 * k->c] = (float)sum[0];
        return;
    }
    if (call->gparam[0]) call->gparam[0][i] += (float)alpha;
    if (call->gparam[1]) call->gparam[1][i] += (float)gamma;
    if (call->gparam[2]) call->gparam[2][i] += (float)sum[0];
}

static void channel_data(const norm *k, const float *x, const float *g, size_t i,
                         const double sum[2], double dm, float *dx)
{
    double n = (double)k->n;
    for (size_t p = 0; p < k->n; p++) {
        size_t at = p * k->c + i;
        double h = ((double)x[at] - k->m[i]) * k->r[i];
        dx[at] =
            (float)(k->r[i] * k->gamma[i] * (g[at] - sum[0] / n - h * sum[1] / n) + dm / n);
    }
}

static void sample_back(const pf_call *call, int b)
{
    norm k = sample_of(call, b);
    const float *x = call->in[0] + (size_t)b * k.n * k.c,
                *g = call->gout + (size_t)b * k.n * k.c;
    double sum[2], all = 0.0, along = 0.0;
    for (size_t i = 0; i < k.c; i++) {
        sums_of(&k, x, g, i, sum);
        add_gains(call, &k, b, i, sum);
        double du = (double)k.gamma[i] * k.alpha[i] * sum[0];
        all += du / (double)k.c;
        along += du * k.u[i] / (double)(k.c - 1);
    }
    for (size_t i = 0; call->gin[0] && i < k.c; i++) {
        sums_of(&k, x, g, i, sum);
        double du = (double)k.gamma[i] * k.alpha[i] * sum[0];
        double dm = *k.R * (du - all - k.u[i] * along);
        channel_data(&k, x, g, i, sum, dm, call->gin[0] + (size_t)b * k.n * k.c);
    }
}

pf_status pf_ref_instance_norm_back(void *ctx, const pf_call *call)
{
    for (int j = 0; j < 3; j++)
        if (call->gparam[j])
            memset(call->gparam[j], 0, (size_t)call->site->out.c * sizeof(float));
    for (int b = 0; b < call->site->B; b++) sample_back(call, b);
    return PF_OK;
}
