/* Multinomial diffusion: schedule, kernels and terms of one entry; see multinomial.h.
 *
 * With w_k = A p_k + B, A = A_(i-1), B = (1 - A)/K, and c_k = q(x_i | k), the model is w_k c_k/Z, where Z = sum w_k c_k
 * = a w_xt + (1 - a)/K, and the posterior is the same with a one-hot for p.  So the KL needs one logarithm an entry,
 *
 *     KL = sum_k q_k (log w'_k - log w_k) + log Z - log Z',     ' with the one-hot,
 *
 * and its derivative by p_k is A (c_k/Z - q_k/w_k). */
#include "method/multinomial.h"

#include <math.h>

static const double floor_of_one_hot = 1e-30;

static double cosine(double t)
{
    double c = cos((t + 0.008) / 1.008 * M_PI * 0.5);
    return c * c;
}

static double log_keep(int T, int i)
{
    double ratio = cosine((i + 1.0) / T) / cosine((double)i / T);
    return 0.5 * log(fmin(fmax(ratio, 0.001), 1.0));
}

void pf_multi_schedule(int T, double *log_a, double *log_kept)
{
    double sum = 0.0;
    for (int i = 0; i < T; i++) {
        log_a[i] = log_keep(T, i);
        log_kept[i] = sum += log_a[i];
    }
}

double pf_multi_moved(double log_a)
{
    return log(-expm1(log_a) + 1e-40);
}

void pf_multi_table(int T, int K, pf_multi_at *at)
{
    double sum = 0.0;
    for (int i = 0; i < T; i++) {
        double log_a = log_keep(T, i);
        at[i] = (pf_multi_at){.i = i,
                              .K = K,
                              .keep = exp(log_a),
                              .moved = -expm1(log_a) / K,
                              .before = i ? at[i - 1].kept : 1.0,
                              .other = i ? at[i - 1].spread : floor_of_one_hot};
        sum += log_a;
        at[i].kept = exp(sum);
        at[i].spread = -expm1(sum) / K;
    }
}

/* keep [k = x] + each */
static void spread(int K, double keep, double each, int x, double *log_q)
{
    double other = log(each);
    for (int k = 0; k < K; k++) log_q[k] = other;
    log_q[x] = log(keep + each);
}

void pf_multi_step(const pf_multi_at *a, int x, double *log_q)
{
    spread(a->K, a->keep, a->moved, x, log_q);
}

void pf_multi_noised(const pf_multi_at *a, int x, double *log_q)
{
    spread(a->K, a->kept, a->spread, x, log_q);
}

/* log c_k added, and the sum made 1. */
static void normalise(const pf_multi_at *a, int xt, double *log_p)
{
    double moved = log(a->moved), kept = log(a->keep + a->moved);
    for (int k = 0; k < a->K; k++) log_p[k] += k == xt ? kept : moved;
    pf_cat_log_softmax(a->K, (pf_cat_row){.d = log_p}, log_p);
}

void pf_multi_posterior(const pf_multi_at *a, int xt, int x, double *log_q)
{
    spread(a->K, a->before, a->other, x, log_q);
    normalise(a, xt, log_q);
}

void pf_multi_reverse(pf_multi_predicts what, const pf_multi_at *a, int xt, pf_cat_row z,
                      double *log_p)
{
    pf_cat_log_softmax(a->K, z, log_p);
    if (what == PF_MULTI_BEFORE) return;
    for (int k = 0; a->i && k < a->K; k++) log_p[k] = log(a->before * exp(log_p[k]) + a->other);
    normalise(a, xt, log_p);
}

/* The posterior's three values. */
typedef struct posterior {
    int x, xt;
    double at_x, at_xt, other, sum; /* of q; sum: log Z' */
    double c_xt, c;                 /* of the kernel, at xt and elsewhere */
} posterior;

static posterior posterior_of(const pf_multi_at *a, const int32_t xt_and_x[2])
{
    posterior q = {.x = xt_and_x[1], .xt = xt_and_x[0], .c = a->moved};
    int same = q.x == q.xt;
    q.c_xt = a->keep + a->moved;
    double at_x = (a->before + a->other) * (same ? q.c_xt : q.c), at_xt = a->other * q.c_xt,
           other = a->other * q.c;
    double sum = at_x + (same ? 0.0 : at_xt) + (a->K - (same ? 1 : 2)) * other;
    q.at_x = at_x / sum;
    q.at_xt = same ? q.at_x : at_xt / sum;
    q.other = other / sum;
    q.sum = log(sum);
    return q;
}

static double chance(const posterior *q, int k)
{
    return k == q->x ? q->at_x : k == q->xt ? q->at_xt : q->other;
}

/* KL to the softmax itself. */
static double term_before(const pf_multi_at *a, const posterior *q, pf_cat_row z, double scale,
                          pf_cat_slope g)
{
    double sum = pf_cat_log_sum(a->K, z), nats = 0.0;
    for (int k = 0; k < a->K; k++) {
        double p = chance(q, k), log_p = pf_cat_logit(z, (size_t)k) - sum;
        nats += p * (log(p) - log_p);
        if (pf_cat_wants(g)) pf_cat_put(g, (size_t)k, scale * (exp(log_p) - p));
    }
    return nats;
}

/* The sum of log w_k, eight at a time, whose product is far from the ends of doubles. */
static double sum_of_logs(size_t n, const double *w)
{
    double sum = 0.0;
    for (size_t from = 0; from < n; from += 8) {
        double product = 1.0;
        for (size_t j = from; j < n && j < from + 8; j++) product *= w[j];
        sum += log(product);
    }
    return sum;
}

/* What term_data needs of a piece of a row: p_k, w_k and c_k/Z - q_k/w_k. */
typedef struct piece {
    double p[PF_CAT_PIECE], w[PF_CAT_PIECE], slope[PF_CAT_PIECE];
} piece;

static size_t take_piece(const pf_multi_at *a, const posterior *q, pf_cat_row z, double sum,
                         size_t from, piece *to)
{
    size_t n = pf_cat_chances(a->K, z, sum, from, to->p);
    double Z =
        a->keep * (a->before * exp(pf_cat_logit(z, (size_t)q->xt) - sum) + a->other) + a->moved;
    for (size_t j = 0; j < n; j++) {
        to->w[j] = a->before * to->p[j] + a->other;
        to->slope[j] = q->c / Z - q->other / to->w[j];
    }
    for (int e = 0; e < 2; e++) { /* both that differ */
        size_t k = (size_t)(e ? q->x : q->xt), j = k - from;
        if (k < from || j >= n) continue;
        to->slope[j] = (k == (size_t)q->xt ? q->c_xt : q->c) / Z - chance(q, (int)k) / to->w[j];
    }
    return n;
}

static double term_data(const pf_multi_at *a, const posterior *q, pf_cat_row z, double scale,
                        pf_cat_slope g)
{
    double sum = pf_cat_log_sum(a->K, z), A = a->before, B = a->other, logs = 0.0, mean = 0.0;
    double at_x = A * exp(pf_cat_logit(z, (size_t)q->x) - sum) + B;
    double at_xt = A * exp(pf_cat_logit(z, (size_t)q->xt) - sum) + B;
    piece r;
    for (size_t from = 0, n; from < (size_t)a->K; from += n) {
        n = take_piece(a, q, z, sum, from, &r);
        logs += sum_of_logs(n, r.w);
        for (size_t j = 0; j < n; j++) mean += r.p[j] * r.slope[j];
    }
    double cross = q->other * logs + (q->at_x - q->other) * log(at_x);
    if (q->x != q->xt) cross += (q->at_xt - q->other) * log(at_xt);
    for (size_t from = 0, n; pf_cat_wants(g) && from < (size_t)a->K; from += n) {
        if (a->K > PF_CAT_PIECE) n = take_piece(a, q, z, sum, from, &r);
        else n = (size_t)a->K; /* it is there */
        for (size_t j = 0; j < n; j++)
            pf_cat_put(g, from + j, scale * A * r.p[j] * (r.slope[j] - mean));
    }
    return q->at_x * log(A + B) + (1.0 - q->at_x) * log(B) - cross +
           log(a->keep * at_xt + a->moved) - q->sum;
}

/* -log p_x c_x / sum_k p_k c_k: a softmax of z + log c. */
static double term_first(const pf_multi_at *a, const int32_t xt_and_x[2], pf_cat_row z,
                         double scale, pf_cat_slope g)
{
    double sum = pf_cat_log_sum(a->K, z), lift = a->keep / a->moved; /* c_xt/c - 1 */
    double p_xt = exp(pf_cat_logit(z, (size_t)xt_and_x[0]) - sum);
    double more = log1p(lift * p_xt), up = log1p(lift), nats;
    nats = sum + more - pf_cat_logit(z, (size_t)xt_and_x[1]);
    if (xt_and_x[0] == xt_and_x[1]) nats -= up;
    for (int k = 0; pf_cat_wants(g) && k < a->K; k++) {
        double log_p = pf_cat_logit(z, (size_t)k) - sum - more;
        double p = exp(k == xt_and_x[0] ? log_p + up : log_p);
        pf_cat_put(g, (size_t)k, scale * (k == xt_and_x[1] ? expm1(-nats) : p));
    }
    return nats;
}

double pf_multi_term(pf_multi_predicts what, const pf_multi_at *a, const int32_t xt_and_x[2],
                     pf_cat_row z, double scale, pf_cat_slope g)
{
    if (!a->i)
        return what == PF_MULTI_DATA ? term_first(a, xt_and_x, z, scale, g)
                                     : pf_cat_cross_entropy(a->K, z, xt_and_x[1], scale, g);
    const posterior q = posterior_of(a, xt_and_x);
    return what == PF_MULTI_DATA ? term_data(a, &q, z, scale, g)
                                 : term_before(a, &q, z, scale, g);
}

double pf_multi_prior(const pf_multi_at *a)
{
    double one = a->kept + a->spread, other = a->spread;
    return one * log(one * a->K) + (a->K - 1) * other * log(other * a->K);
}

void pf_multi_noise(const pf_multi *m, int i, const pf_draw *d, const int32_t *x, int32_t *xt)
{
    enum { PIECE = 64 };
    double u[PIECE], kept = m->at[i].kept;
    for (size_t from = 0; from < m->cat.D; from += PIECE) {
        size_t n = m->cat.D - from < PIECE ? m->cat.D - from : PIECE;
        pf_cat_uniform(d, from, n, u);
        for (size_t j = 0; j < n; j++) {
            size_t at = from + j;
            xt[at] = x[at] < 0 || u[j] < kept
                         ? x[at]
                         : pf_cat_even(m->cat.K, (u[j] - kept) / (1.0 - kept));
        }
    }
}
