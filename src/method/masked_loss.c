/* What a masked entry costs at one time, and how training chooses it; see masked.h. */
#include "method/masked.h"

#include <math.h>

static const double latest = 1.0 - 1e-4; /* of t in published factors of finite time */

static double told(const pf_masked *m, double t, double sigma)
{
    return m->opt.cond == PF_MASKED_TOLD_TIME    ? 1000.0 * t
           : m->opt.cond == PF_MASKED_TOLD_SIGMA ? sigma
                                                 : 0.0;
}

pf_masked_at pf_masked_at_time(const pf_masked *m, double t)
{
    const pf_masked_noise *n = &m->noise;
    pf_masked_at a = {.t = t,
                      .hidden = pf_masked_hidden(n, t),
                      .alpha = pf_masked_alpha(n, t),
                      .sigma = pf_masked_sigma(n, t),
                      .rate = pf_masked_rate(n, t),
                      .weight = -pf_masked_slope(n, t) / pf_masked_hidden(n, t)};
    a.scale = m->opt.bound == PF_MASKED_EXACT ? 1.0 - m->t0 : 1.0;
    a.cond = told(m, t, a.sigma);
    return a;
}

pf_masked_at pf_masked_at_step(const pf_masked *m, int i)
{
    double T = m->opt.steps;
    int published = m->opt.bound == PF_MASKED_PUBLISHED;
    pf_masked_at a = pf_masked_at_time(m, i / T);
    a.s = (i - 1) / T;
    a.scale = 1.0;
    if (m->opt.estimator == PF_MASKED_MD4) {
        a.weight = T * (pf_masked_hidden(&m->noise, a.t) - pf_masked_hidden(&m->noise, a.s)) /
                   a.hidden;
        return a;
    }
    if (published && a.t > latest) {
        a.t = latest;
        a.s = a.t - 1.0 / T;
    } else if (!published) {
        a.hidden = a.t;
        a.alpha = 1.0 - a.t;
    }
    a.weight = 1.0 / a.t;
    return a;
}

pf_masked_at pf_masked_when(const pf_masked *m, double u)
{
    int T = m->opt.steps, exact = m->opt.bound == PF_MASKED_EXACT;
    double t = m->t0 + (1.0 - m->t0) * u;
    if (m->opt.time == PF_MASKED_FINITE) {
        int i = (int)((exact ? u : t) * T);
        return pf_masked_at_step(m, i < T ? i + 1 : T);
    }
    if (m->opt.times == PF_MASKED_UNIFORM) return pf_masked_at_time(m, t);
    pf_masked_at a = pf_masked_at_time(m, pf_masked_importance(&m->noise, t));
    if (m->opt.times == PF_MASKED_CHANGE) {
        a = pf_masked_at_time(m, t);
        a.hidden = exp(m->f[0] + t * (m->f[1] - m->f[0]));
        a.alpha = 1.0 - a.hidden;
        a.cond = told(m, t, t); /* the time stands for sigma, as published */
    }
    a.weight = exact ? m->f[1] - m->f[0] : -m->f[0];
    return a;
}

int pf_masked_hides(const pf_masked *m, const pf_masked_at *a, double u)
{
    return m->opt.estimator == PF_MASKED_MD4 ? u >= a->alpha : u < a->hidden;
}

void pf_masked_mask(const pf_masked *m, const pf_masked_at *a, const pf_draw *d,
                    const int32_t *x, int32_t *z)
{
    enum { PIECE = 64 };
    double u[PIECE];
    for (size_t from = 0; from < m->cat.D; from += PIECE) {
        size_t n = m->cat.D - from < PIECE ? m->cat.D - from : PIECE;
        pf_cat_uniform(d, from, n, u);
        for (size_t j = from; j < from + n; j++)
            z[j] = x[j] >= 0 && pf_masked_hides(m, a, u[j - from]) ? m->cat.K : x[j];
    }
}

static void fill(pf_cat_slope g, int from, int to, double value)
{
    for (int k = from; k < to; k++) pf_cat_put(g, (size_t)k, value);
}

/* The bound's step with the mask among the symbols. */
static double entry_d3pm(const pf_masked *m, const pf_masked_at *a, int x, pf_cat_row z,
                         double scale, pf_cat_slope g)
{
    int V = m->columns, mask = m->cat.K;
    double T = m->opt.steps, sum = pf_cat_log_sum(V, z);
    double one = 1.0 / (T * a->t), two = a->s > 0.5 / T ? 1.0 - one : 0.0;
    double log_x = pf_cat_logit(z, (size_t)x) - sum,
           p_mask = exp(pf_cat_logit(z, (size_t)mask) - sum);
    double now = (1.0 - a->t) / a->t, then = two > 0.0 ? (1.0 - a->s) / a->s : 0.0;
    double more = log1p(now * p_mask), less = log1p(then * p_mask);
    double nats = T * (one * (more - log_x) + two * (more - less));
    double by_x = -T * one, by_mask = T * ((one + two) * now / (now * p_mask + 1.0) -
                                           two * then / (then * p_mask + 1.0));
    for (int k = 0; pf_cat_wants(g) && k < V; k++) {
        double p = exp(pf_cat_logit(z, (size_t)k) - sum);
        double slope = by_x * ((k == x) - p) + by_mask * p_mask * ((k == mask) - p);
        pf_cat_put(g, (size_t)k, scale * slope);
    }
    return nats;
}

double pf_masked_shift(const pf_masked *m, double sigma)
{
    return log(expm1(sigma)) + log(m->cat.K);
}

static double entry_sedd(const pf_masked *m, const pf_masked_at *a, int x, pf_cat_row z,
                         double scale, pf_cat_slope g)
{
    double shift = pf_masked_shift(m, a->sigma), q = 1.0 / expm1(a->sigma), sum = 0.0;
    for (int k = 0; k < m->cat.K; k++) {
        double ratio = exp(pf_cat_logit(z, (size_t)k) - shift);
        sum += ratio;
        pf_cat_put(g, (size_t)k, scale * a->rate * (ratio - (k == x ? q : 0.0)));
    }
    fill(g, m->cat.K, m->columns, 0.0);
    return a->rate * (sum - q * (pf_cat_logit(z, (size_t)x) - shift) + q * (log(q) - 1.0));
}

double pf_masked_entry(const pf_masked *m, const pf_masked_at *a, int x, pf_cat_row z,
                       double scale, pf_cat_slope g)
{
    double each = a->scale * scale;
    if (m->opt.predicts == PF_MASKED_D3PM) return a->scale * entry_d3pm(m, a, x, z, each, g);
    if (m->opt.predicts == PF_MASKED_SEDD) return a->scale * entry_sedd(m, a, x, z, each, g);
    fill(g, m->cat.K, m->columns, 0.0);
    return a->scale * a->weight * pf_cat_cross_entropy(m->cat.K, z, x, each * a->weight, g);
}

double pf_masked_again(const pf_masked *m, int x, pf_cat_row z, double scale, pf_cat_slope g)
{
    return pf_cat_cross_entropy(m->columns, z, x, scale, g);
}
