/* Linear attention over n positions, each head of d channels for itself:
 *
 *   p_i = softmax over channels of q_i d^-1/4,   r = softmax over the positions that are there of k d^-1/4
 *   M = r' v   [d,d],   y_i = p_i M
 *
 * Backward, with g_i the gradient at y_i:
 *
 *   dM = p' g,   dp_i = M g_i,   dr_j = dM v_j,   dv_j = r_j dM
 *   dq_i = p_i (dp_i - p_i . dp_i) d^-1/4,   dk_ja = r_ja (dr_ja - sum_m r_ma dr_ma) d^-1/4
 *
 * Working space: p, r and their gradients, M and dM of one head.
 * Source: Shen et al. 2021, eq. 4 and 5. */
#include "nn/kernels/heads.h"
#include "nn/kernels/ref/ref.h"

#include <math.h>
#include <string.h>

typedef struct work { /* [n,d] and [d,d] of one head */
    float *p, *r, *dp, *dr, *M, *dM;
} work;

size_t pf_ref_linear_attention_scratch(const pf_site *s, void *ctx)
{
    const pf_heads a = pf_heads_of(s);
    return 4 * (size_t)a.n * a.d + 2 * (size_t)a.d * a.d;
}

static work work_of(const pf_heads *a, float *scratch)
{
    size_t nd = (size_t)a->n * a->d, dd = (size_t)a->d * a->d;
    return (work){scratch,          scratch + nd,     scratch + 2 * nd,
                  scratch + 3 * nd, scratch + 4 * nd, scratch + 4 * nd + dd};
}

/* y [count] = softmax of scale x; -infinity counts for nothing.  Both step by their strides. */
typedef struct line {
    int count;
    size_t from, to;
} line;

static void softmax(const line *l, double scale, const float *x, float *y)
{
    double top = -INFINITY, sum = 0.0;
    for (int i = 0; i < l->count; i++) top = fmax(top, x[i * l->from]);
    for (int i = 0; i < l->count; i++) {
        double e = top == -INFINITY ? 0.0 : exp(scale * (x[i * l->from] - top));
        y[i * l->to] = (float)e;
        sum += e;
    }
    for (int i = 0; sum > 0.0 && i < l->count; i++) y[i * l->to] = (float)(y[i * l->to] / sum);
}

static double scale_of(const pf_heads *a)
{
    return pow(a->d, -0.25);
}

static void softmaxes(const pf_call *c, const pf_heads *a, const work *w, int b, int h)
{
    const float *q = PF_HEADS_PART(a, c->in, 0, b, h), *k = PF_HEADS_PART(a, c->in, 1, b, h);
    size_t d = (size_t)a->d;
    const line channels = {a->d, 1, 1}, positions = {a->n, d, d};
    for (size_t i = 0; i < (size_t)a->n; i++) {
        softmax(&channels, scale_of(a), q + i * a->row, w->p + i * d);
        for (size_t j = 0; j < d; j++)
            w->dr[i * d + j] =
                pf_heads_there(a, c->in, b, (int)i) ? k[i * a->row + j] : -INFINITY;
    }
    for (size_t j = 0; j < d; j++) softmax(&positions, scale_of(a), w->dr + j, w->r + j);
}

/* M = x' y over the positions, x [n,d] and the rows of y [d] at strides */
static void outer(const pf_heads *a, const float *x, const float *y, size_t row, float *M)
{
    int d = a->d;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) {
            double sum = 0.0;
            for (size_t l = 0; l < (size_t)a->n; l++)
                sum += (double)x[l * (size_t)d + i] * y[l * row + j];
            M[i * d + j] = (float)sum;
        }
}

/* y_l = x_l M, or M x_l when turned, at strides of their own */
typedef struct map {
    const float *x, *M;
    float *y;
    size_t from, to;
    int turned;
} map;

static void apply(const pf_heads *a, const map *m)
{
    int d = a->d;
    for (size_t l = 0; m->y && l < (size_t)a->n; l++)
        for (int j = 0; j < d; j++) {
            double sum = 0.0;
            for (int i = 0; i < d; i++)
                sum += (double)m->x[l * m->from + i] * m->M[m->turned ? j * d + i : i * d + j];
            m->y[l * m->to + j] = (float)sum;
        }
}

pf_status pf_ref_linear_attention(void *ctx, const pf_call *c)
{
    const pf_heads a = pf_heads_of(c->site);
    const work w = work_of(&a, c->scratch);
    size_t d = (size_t)a.d, width = d * (size_t)a.heads;
    for (int b = 0; b < c->site->B; b++)
        for (int h = 0; h < a.heads; h++) {
            float *y = c->out + (size_t)b * a.n * width + (size_t)h * d;
            softmaxes(c, &a, &w, b, h);
            outer(&a, w.r, PF_HEADS_PART(&a, c->in, 2, b, h), a.row, w.M);
            apply(&a, &(map){w.p, w.M, y, d, width, 0});
        }
    return PF_OK;
}

/* g = p (g - p . g) scale along a line of both */
static void through_softmax(const line *l, double scale, const float *p, const float *g,
                            float *to)
{
    double dot = 0.0;
    for (int i = 0; i < l->count; i++) dot += (double)p[i * l->from] * g[i * l->from];
    for (int i = 0; i < l->count; i++)
        to[i * l->to] = (float)(p[i * l->from] * (g[i * l->from] - dot) * scale);
}

static void head_back(const pf_call *c, const pf_heads *a, int b, int h)
{
    const work w = work_of(a, c->scratch);
    size_t d = (size_t)a->d, width = d * (size_t)a->heads;
    const float *g = c->gout + (size_t)b * a->n * width + (size_t)h * d,
                *v = PF_HEADS_PART(a, c->in, 2, b, h);
    float *dq = PF_HEADS_PART(a, c->gin, 0, b, h), *dk = PF_HEADS_PART(a, c->gin, 1, b, h),
          *dv = PF_HEADS_PART(a, c->gin, 2, b, h);
    softmaxes(c, a, &w, b, h);
    outer(a, w.r, v, a->row, w.M);
    outer(a, w.p, g, width, w.dM);
    apply(a, &(map){g, w.M, w.dp, width, d, 1});
    apply(a, &(map){v, w.dM, w.dr, a->row, d, 1});
    apply(a, &(map){w.r, w.dM, dv, d, a->row, 0});
    const line channels = {a->d, 1, 1}, positions = {a->n, d, a->row};
    for (size_t i = 0; dq && i < (size_t)a->n; i++)
        through_softmax(&channels, scale_of(a), w.p + i * d, w.dp + i * d, dq + i * a->row);
    for (size_t j = 0; dk && j < d; j++)
        through_softmax(&positions, scale_of(a), w.r + j, w.dr + j, dk + j);
}

pf_status pf_ref_linear_attention_back(void *ctx, const pf_call *c)
{
    const pf_heads a = pf_heads_of(c->site);
    for (int b = 0; b < c->site->B; b++)
        for (int h = 0; h < a.heads; h++) head_back(c, &a, b, h);
    return PF_OK;
}
