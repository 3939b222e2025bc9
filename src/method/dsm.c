/* Weighted denoising score matching:
 *
 *     x_t = m x + s z,      loss = w(t) mean_D or half-sum_D of r^2,
 *     r = s score + z = k net + s a x_t + z,      score = a x_t + c net,      k = s c
 *
 * a is 0 and k is -1 for networks that predict the noise (r = z - net), and k is s where the network is
 * the score, so the score is never divided by s and nothing blows up as t -> 0.  The likelihood weight is
 * g^2/s^2 on r^2, or 1 when the times are drawn in proportion to it.
 *
 * Times are the shifted grid of time.h, mapped through the inverse distribution.
 * Source: Song et al. 2021, eq. 7; Song et al. 2021b, eq. 7 and section 4. */
#include "method/dsm.h"
#include "method/time.h"

#include <math.h>

static const char *const weights[] = {"sigma2", "likelihood", NULL};
static const char *const laws[] = {"uniform", "importance", NULL};
static const char *const reductions[] = {"mean", "half_sum", NULL};
const char *const pf_cond_words[] = {"by_sde", "t", "sigma", "label", NULL};

/* clang-format off */
const pf_opt pf_objective_opts[] = {
    PF_OPT_ENUM(pf_objective_opt, weight, PF_WEIGHT_LIKELIHOOD, weights, "sigma2: noise prediction, equal weights; likelihood: g^2/std^2"),
    PF_OPT_ENUM(pf_objective_opt, time, PF_TIME_IMPORTANCE, laws, "times uniform, or importance-sampled in proportion to the likelihood weight"),
    PF_OPT_ENUM(pf_objective_opt, reduce, PF_REDUCE_MEAN, reductions, "over the entries of a sample: mean, or half the sum"),
    PF_OPT(pf_objective_opt, t_min, PF_F64, 1e-5, 1e-12, 0.5, "smallest time"),
    { 0 }
};

const pf_opt pf_sde_method_opts[] = {
    PF_OPT_ENUM_QUIET(pf_sde_method, predicts, PF_PREDICT_BY_SDE, pf_predict_words, "what the network returns: the noise, the score, the data, v = mean noise - std data; by_sde: as published, the score with ve, else the noise"),
    PF_OPT_ENUM_QUIET(pf_sde_method, cond, PF_COND_BY_SDE, pf_cond_words, "how the network is told the time: 999 t, or sigma = std/mean, or the label of one of `levels`, as published networks of vp and ve in discrete time; by_sde: as published, sigma with ve, else t"),
    { "levels", PF_INT, offsetof(pf_sde_method, levels), 1000, 2, 1e6, NULL, NULL, "noise levels of cond=label", 1 },
    { 0 }
};
/* clang-format on */

static pf_predict predicts(const pf_sde_method *m)
{
    if (m->predicts != PF_PREDICT_BY_SDE) return (pf_predict)m->predicts;
    return m->sde.ops->returns_score ? PF_PREDICT_SCORE : PF_PREDICT_NOISE;
}

double pf_sde_method_cond(const pf_sde_method *m, double t)
{
    double mean, std;
    if (m->cond == PF_COND_LABEL) return m->sde.ops->label(&m->sde.opt, m->levels, t, &std);
    int sigma = m->cond == PF_COND_BY_SDE ? m->sde.ops->sees_sigma : m->cond == PF_COND_SIGMA;
    if (!sigma) return 999.0 * t;
    pf_sde_marginal(&m->sde, t, &mean, &std);
    return std / mean;
}

double pf_sde_method_noise(const pf_sde_method *m, double t)
{
    double mean, std;
    pf_sde_marginal(&m->sde, t, &mean, &std);
    if (m->cond == PF_COND_LABEL) m->sde.ops->label(&m->sde.opt, m->levels, t, &std);
    return std;
}

pf_affine_score pf_sde_method_score(const pf_sde_method *m, double t)
{
    double mean, std;
    pf_sde_marginal(&m->sde, t, &mean, &std);
    return pf_predict_score(predicts(m), mean, pf_sde_method_noise(m, t));
}

void pf_dsm_times(const pf_sde_method *m, double u0, int64_t first, int B, int64_t total,
                  double *t)
{
    const pf_sde *sde = &m->sde;
    double t0 = m->objective.t_min, all = sde->ops->mass(&sde->opt, t0, 1.0);

    for (int b = 0; b < B; b++) {
        double u = pf_time_share(u0, first + b, total);
        double s = m->objective.time == PF_TIME_IMPORTANCE
                       ? sde->ops->mass_inverse(&sde->opt, t0, u * all)
                       : t0 + u * (1.0 - t0);
        t[b] = fmin(fmax(s, t0), 1.0); /* the inverse may round past an end */
    }
}

pf_ports pf_dsm_ports(pf_shape data)
{
    pf_ports p = pf_told_ports(data, data);
    pf_told_add(&p, "log_snr", 0);
    return p;
}

void pf_dsm_show_time(const pf_sde_method *m, double t, int b, void *const *in)
{
    double mean, std;
    pf_sde_marginal(&m->sde, t, &mean, &std);
    std = pf_sde_method_noise(m, t);
    pf_told_noise(in, (size_t)b, pf_sde_method_cond(m, t), std / mean, mean);
    pf_told_put(in, PF_DSM_LOG_SNR, (size_t)b, 2.0 * log(mean / std));
}

void pf_dsm_show(const pf_dsm *d, void *const *in)
{
    size_t D = (size_t)d->dim;
    float *x = in[PF_TOLD_X];

    for (int b = 0; b < d->B; b++) {
        double m, s;
        pf_sde_marginal(&d->m->sde, d->t[b], &m, &s);
        pf_dsm_show_time(d->m, d->t[b], b, in);
        for (size_t i = (size_t)b * D; x && i < (size_t)(b + 1) * D; i++)
            x[i] = (float)(m * (double)d->x[i] + s * (double)d->z[i]);
    }
}

double pf_dsm_weight(const pf_sde_method *m, double t, int dim)
{
    const pf_objective_opt *o = &m->objective;
    double reduce = o->reduce == PF_REDUCE_MEAN ? 1.0 / (double)dim : 0.5, f, g2, mean, std;
    if (o->weight != PF_WEIGHT_LIKELIHOOD || o->time == PF_TIME_IMPORTANCE) return reduce;
    pf_sde_coef(&m->sde, t, &f, &g2);
    pf_sde_marginal(&m->sde, t, &mean, &std);
    return reduce * (g2 / (std * std));
}

void pf_dsm_square(const pf_dsm_at *at, size_t n, const double *x, const double *z,
                   const double *net, double factor, double *slope, double *sum)
{
    double k = at->std * at->f.c, of_x = at->std * at->f.a;
    for (size_t i = 0; i < n; i++) {
        double r = k * net[i] + z[i];
        if (of_x != 0.0) r += of_x * (at->mean * x[i] + at->std * z[i]);
        *sum += r * r;
        if (slope) slope[i] = factor * k * r;
    }
}

/* Entries that are widened at a time. */
enum { BLOCK = 256 };

static void widen(size_t n, const float *from, double *to)
{
    for (size_t i = 0; i < n; i++) to[i] = (double)from[i];
}

void pf_dsm_loss(const pf_dsm *d, const float *net, double scale, double *loss, float *gout)
{
    size_t D = (size_t)d->dim;
    double x[BLOCK], z[BLOCK], f[BLOCK], slope[BLOCK];

    for (int b = 0; b < d->B; b++) {
        pf_dsm_at at = {.f = pf_sde_method_score(d->m, d->t[b])};
        double sum = 0.0, w = pf_dsm_weight(d->m, d->t[b], d->dim);
        pf_sde_marginal(&d->m->sde, d->t[b], &at.mean, &at.std);
        for (size_t from = (size_t)b * D, end = from + D, n; from < end; from += n) {
            n = end - from < BLOCK ? end - from : BLOCK;
            widen(n, d->x + from, x);
            widen(n, d->z + from, z);
            widen(n, net + from, f);
            pf_dsm_square(&at, n, x, z, f, 2.0 * scale * w, gout ? slope : NULL, &sum);
            for (size_t i = 0; gout && i < n; i++) gout[from + i] = (float)slope[i];
        }
        loss[b] = w * sum;
    }
}
