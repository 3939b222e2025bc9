/* Self-attention over the n = h w pixels of a sample, one head of c channels:
 *
 *   a_ij = softmax_j(q_i . k_j / sqrt(c)),   y_i = sum_j a_ij v_j
 *
 * Backward, row by row (probabilities are computed again, not kept):
 *
 *   da_ij = g_i . v_j,   dl_ij = a_ij (da_ij - sum_m a_im da_im)
 *   dv_j += a_ij g_i,   dq_i = sum_j dl_ij k_j / sqrt(c),   dk_j += dl_ij q_i / sqrt(c)
 *
 * Source: Vaswani et al. 2017, eq. 1. */
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

static double dot(const float *a, const float *b, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* y += s x; y may be absent. */
static void add_to(float *y, double s, const float *x, int n)
{
    for (int i = 0; y && i < n; i++) y[i] += (float)(s * x[i]);
}

/* Row of probabilities of query q over n keys. */
static void probabilities(const float *q, const float *k, int n, int c, float *a)
{
    double top = -INFINITY, sum = 0.0, scale = 1.0 / sqrt((double)c);
    for (int j = 0; j < n; j++) {
        a[j] = (float)(scale * dot(q, k + (size_t)j * c, c));
        if (a[j] > top) top = a[j];
    }
    for (int j = 0; j < n; j++) {
        a[j] = (float)exp(a[j] - top);
        sum += a[j];
    }
    for (int j = 0; j < n; j++) a[j] = (float)(a[j] / sum);
}

/* Two rows of n: probabilities and their gradient. */
size_t pf_ref_attention_scratch(const pf_site *s, void *ctx)
{
    return 2 * (size_t)s->out.h * s->out.w;
}

pf_status pf_ref_attention(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->out;
    int n = s.h * s.w;
    size_t size = pf_shape_size(s);
    memset(c->out, 0, (size_t)c->site->B * size * sizeof *c->out);
    for (int r = 0; r < c->site->B * n; r++) {
        size_t sample = (size_t)(r / n) * size, row = (size_t)r * s.c;
        probabilities(c->in[0] + row, c->in[1] + sample, n, s.c, c->scratch);
        for (int j = 0; j < n; j++)
            add_to(c->out + row, c->scratch[j], c->in[2] + sample + (size_t)j * s.c, s.c);
    }
    return PF_OK;
}

static float *shifted(float *a, size_t by)
{
    return a ? a + by : NULL;
}

pf_status pf_ref_attention_back(void *ctx, const pf_call *c)
{
    pf_shape s = c->site->out;
    int n = s.h * s.w;
    size_t size = pf_shape_size(s);
    float *a = c->scratch, *da = c->scratch + n;
    double scale = 1.0 / sqrt((double)s.c);
    for (int k = 0; k < 3; k++)
        if (c->gin[k]) memset(c->gin[k], 0, (size_t)c->site->B * size * sizeof(float));
    for (int r = 0; r < c->site->B * n; r++) {
        size_t sample = (size_t)(r / n) * size, row = (size_t)r * s.c;
        const float *q = c->in[0] + row, *g = c->gout + row;
        double mean = 0.0;
        probabilities(q, c->in[1] + sample, n, s.c, a);
        for (int j = 0; j < n; j++) {
            da[j] = (float)dot(g, c->in[2] + sample + (size_t)j * s.c, s.c);
            mean += (double)a[j] * da[j];
        }
        for (int j = 0; j < n; j++) {
            size_t at = sample + (size_t)j * s.c;
            double dl = scale * a[j] * (da[j] - mean);
            add_to(shifted(c->gin[0], row), dl, c->in[1] + at, s.c);
            add_to(shifted(c->gin[1], at), dl, q, s.c);
            add_to(shifted(c->gin[2], at), a[j], g, s.c);
        }
    }
    return PF_OK;
}
