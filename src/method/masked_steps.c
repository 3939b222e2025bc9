/* What a mask becomes in a step; see masked.h.
 *
 * With e = exp(sigma_t - sigma_s) - 1 and ratios r_k of the marginals, the analytic step of SEDD gives symbols e r_k and the
 * mask 1 - e sum_k r_k; where that is below 0 the mask is left. */
#include "method/masked.h"

#include <math.h>

static const double never = -1e6;

void pf_masked_say(const pf_masked *m, double sigma, int x, pf_cat_row z, double *log_p)
{
    int K = m->cat.K, subs = m->opt.predicts == PF_MASKED_SUBS;
    size_t mask = (size_t)K;
    if (m->opt.predicts == PF_MASKED_SEDD) {
        double shift = pf_masked_shift(m, sigma);
        for (size_t k = 0; k <= mask; k++)
            log_p[k] = k < (size_t)m->columns ? pf_cat_logit(z, k) - shift : never;
        log_p[x] = 0.0;
    } else if (subs && x < K) {
        for (size_t k = 0; k <= mask; k++) log_p[k] = never;
        log_p[x] = 0.0;
    } else {
        int n = subs ? K : m->columns;
        double sum = pf_cat_log_sum(n, z);
        log_p[mask] = never - sum;
        for (size_t k = 0; k < (size_t)m->columns; k++) log_p[k] = pf_cat_logit(z, k) - sum;
        if (subs && m->columns > K) log_p[mask] += never;
    }
}

/* By the noise that a step of finite time has. */
static double hidden(const pf_masked *m, double t)
{
    int plain = m->opt.time == PF_MASKED_FINITE && m->opt.estimator == PF_MASKED_MDLM &&
                m->opt.bound == PF_MASKED_EXACT;
    return plain || m->opt.sampler == PF_MASKED_DDPM_CACHE ? t : pf_masked_hidden(&m->noise, t);
}

double pf_masked_shown(const pf_masked *m, double t, double s)
{
    return (hidden(m, t) - hidden(m, s)) / hidden(m, t);
}

/* log e, and the ratios of the symbols by chances where the network gives those. */
static void move_analytic(const pf_masked *m, double t, double s, const double *log_p,
                          double *log_w)
{
    double sigma = pf_masked_sigma(&m->noise, t),
           e = expm1(sigma - pf_masked_sigma(&m->noise, s));
    double shift = m->opt.predicts == PF_MASKED_SEDD ? 0.0 : log(expm1(sigma)), sum = 0.0;
    for (int k = 0; k < m->cat.K; k++) {
        log_w[k] = log_p[k] - shift + log(e);
        sum += exp(log_w[k]);
    }
    log_w[m->cat.K] = sum < 1.0 ? log1p(-sum) : -INFINITY;
}

void pf_masked_move(const pf_masked *m, double t, double s, const double *log_p, double *log_w)
{
    if (m->opt.sampler == PF_MASKED_ANALYTIC) {
        move_analytic(m, t, s, log_p, log_w);
        return;
    }
    double shown = log(pf_masked_shown(m, t, s));
    for (int k = 0; k < m->cat.K; k++) log_w[k] = log_p[k] + shown;
    log_w[m->cat.K] = log(hidden(m, s) / hidden(m, t));
}

double pf_masked_grid_time(const pf_masked *m, int i)
{
    static const double published_end = 1e-5; /* of MDLM's steps */
    double share = (double)i / m->opt.steps, end = 0.0;
    if (m->opt.grid == PF_MASKED_GRID_COSINE) share = cos(0.5 * M_PI * (1.0 - share));
    if (m->opt.estimator == PF_MASKED_MDLM && m->opt.bound == PF_MASKED_PUBLISHED)
        end = published_end;
    else if (m->opt.time == PF_MASKED_CONTINUOUS) end = m->t0;
    return end + (1.0 - end) * share;
}
