/* Self-attention over the n = h w pixels of a sample, each head of d channels for itself:
 *
 *   a_ij = softmax_j(q_i . k_j / sqrt(d)),   y_i = sum_j a_ij v_j
 *
 * where j runs over the keys that i sees and that are there: a_ij = 0 for the others, and all where there is none.
 *
 * Backward, row by row (probabilities are computed again, not kept):
 *
 *   da_ij = g_i . v_j,   dl_ij = a_ij (da_ij - sum_m a_im da_im)
 *   dv_j += a_ij g_i,   dq_i = sum_j dl_ij k_j / sqrt(d),   dk_j += dl_ij q_i / sqrt(d)
 *
 * Source: Vaswani et al. 2017, eq. 1. */
#include "nn/kernels/heads.h"
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

/* Row of probabilities of query i of sample b over the keys. */
static void probabilities(const pf_heads *v, const pf_call *c, int b, int h, int i)
{
    const float *q = PF_HEADS_PART(v, c->in, 0, b, h) + (size_t)i * v->row,
                *k = PF_HEADS_PART(v, c->in, 1, b, h);
    float *a = c->scratch;
    pf_keys seen = pf_heads_keys(v, i);
    double top = -INFINITY, sum = 0.0, scale = 1.0 / sqrt((double)v->d);
    for (int j = 0; j < v->n; j++) {
        int sees = j >= seen.first && j < seen.end && pf_heads_there(v, c->in, b, j);
        a[j] = sees ? (float)(scale * dot(q, k + (size_t)j * v->row, v->d)) : -INFINITY;
        if (a[j] > top) top = a[j];
    }
    for (int j = 0; j < v->n; j++) {
        a[j] = a[j] == -INFINITY ? 0.0f : (float)exp(a[j] - top);
        sum += a[j];
    }
    for (int j = 0; sum != 0.0 && j < v->n; j++) a[j] = (float)(a[j] / sum);
}

/* Two rows of n: probabilities and their gradient. */
size_t pf_ref_attention_scratch(const pf_site *s, void *ctx)
{
    return 2 * (size_t)s->out.h * s->out.w;
}

/* The rows of a head in the output, or in its gradient. */
static size_t own_rows(const pf_heads *v, int b, int head)
{
    return (size_t)b * v->n * v->heads * v->d + (size_t)head * v->d;
}

pf_status pf_ref_attention(void *ctx, const pf_call *c)
{
    const pf_heads v = pf_heads_of(c->site);
    memset(c->out, 0, (size_t)c->site->B * pf_shape_size(c->site->out) * sizeof *c->out);
    for (int bh = 0; bh < c->site->B * v.heads; bh++) {
        int b = bh / v.heads, h = bh % v.heads;
        const float *values = PF_HEADS_PART(&v, c->in, 2, b, h);
        float *y = c->out + own_rows(&v, b, h);
        for (int i = 0; i < v.n; i++, y += v.heads * v.d) {
            probabilities(&v, c, b, h, i);
            for (int j = 0; j < v.n; j++)
                add_to(y, c->scratch[j], values + (size_t)j * v.row, v.d);
        }
    }
    return PF_OK;
}

static float *shifted(float *a, size_t by)
{
    return a ? a + by : NULL;
}

static void head_back(const pf_call *c, const pf_heads *v, int b, int h)
{
    const float *q = PF_HEADS_PART(v, c->in, 0, b, h), *k = PF_HEADS_PART(v, c->in, 1, b, h),
                *values = PF_HEADS_PART(v, c->in, 2, b, h), *g = c->gout + own_rows(v, b, h);
    float *dq = PF_HEADS_PART(v, c->gin, 0, b, h), *dk = PF_HEADS_PART(v, c->gin, 1, b, h),
          *dv = PF_HEADS_PART(v, c->gin, 2, b, h), *a = c->scratch, *da = c->scratch + v->n;
    double scale = 1.0 / sqrt((double)v->d);
    for (size_t i = 0; i < (size_t)v->n; i++, g += v->heads * v->d) {
        double mean = 0.0;
        probabilities(v, c, b, h, (int)i);
        for (int j = 0; j < v->n; j++) {
            da[j] = (float)dot(g, values + (size_t)j * v->row, v->d);
            mean += (double)a[j] * da[j];
        }
        for (int j = 0; j < v->n; j++) {
            size_t at = (size_t)j * v->row;
            double dl = scale * a[j] * (da[j] - mean);
            add_to(shifted(dq, i * v->row), dl, k + at, v->d);
            add_to(shifted(dk, at), dl, q + i * v->row, v->d);
            add_to(shifted(dv, at), a[j], g, v->d);
        }
    }
}

pf_status pf_ref_attention_back(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    const pf_heads v = pf_heads_of(s);
    for (int k = 0; k < s->n_in; k++)
        if (c->gin[k]) /* never the padding */
            memset(c->gin[k], 0, (size_t)s->B * pf_shape_size(s->in[k]) * sizeof(float));
    for (int b = 0; b < s->B; b++)
        for (int h = 0; h < v.heads; h++) head_back(c, &v, b, h);
    return PF_OK;
}
