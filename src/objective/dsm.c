/* Weighted denoising score matching:
 *
 *     x_t = m x + s z,      loss = w(t) mean_D or half-sum_D of r^2,
 *     r = s score + z = k net + z,      k = s pf_sde_score_scale(t)
 *
 * k is -1 for networks that predict the noise (r = z - net) and s where the network is the score,
 * so the score is never divided by s and nothing blows up as t -> 0.  The likelihood weight is
 * g^2/s^2 on r^2, or 1 when the times are drawn in proportion to it.
 *
 * Times of the global batch are one shifted grid, u_i = (u0 + i/total) mod 1, mapped through the
 * inverse distribution: each part of a batch takes its own i, so the cut does not matter.
 * Source: Song et al. 2021, eq. 7; Song et al. 2021b, eq. 7 and section 4; the grid is Kingma et
 * al. 2021, appendix I. */
#include <probflow/objective.h>
#include <math.h>

static const char *const weights[] = {"sigma2", "likelihood", NULL};
static const char *const laws[] = {"uniform", "importance", NULL};
static const char *const reductions[] = {"mean", "half_sum", NULL};

/* clang-format off */
const pf_opt pf_objective_opts[] = {
    PF_OPT_ENUM(pf_objective_opt, weight, PF_WEIGHT_LIKELIHOOD, weights, "sigma2: noise prediction, equal weights; likelihood: g^2/std^2"),
    PF_OPT_ENUM(pf_objective_opt, time, PF_TIME_IMPORTANCE, laws, "times uniform, or importance-sampled in proportion to the likelihood weight"),
    PF_OPT_ENUM(pf_objective_opt, reduce, PF_REDUCE_MEAN, reductions, "over the entries of a sample: mean, or half the sum"),
    PF_OPT(pf_objective_opt, t_min, PF_F64, 1e-5, 1e-12, 0.5, "smallest time"),
    { 0 }
};
/* clang-format on */

void pf_objective_times(const pf_sde *sde, const pf_objective_opt *opt, double u0,
                        int64_t first, int B, int64_t total, double *t)
{
    double t0 = opt->t_min, all = sde->ops->mass(&sde->opt, t0, 1.0);

    for (int b = 0; b < B; b++) {
        double u = u0 + (double)(first + b) / (double)total;
        u -= floor(u);
        double s = opt->time == PF_TIME_IMPORTANCE
                       ? sde->ops->mass_inverse(&sde->opt, t0, u * all)
                       : t0 + u * (1.0 - t0);
        t[b] = fmin(fmax(s, t0), 1.0); /* the inverse may round past an end */
    }
}

void pf_objective_inputs(const pf_dsm *d, const pf_dsm_inputs *to)
{
    size_t D = (size_t)d->dim;

    for (int b = 0; b < d->B; b++) {
        double m, s;
        pf_sde_marginal(d->sde, d->t[b], &m, &s);
        to->cond[b] = (float)d->sde->ops->cond(&d->sde->opt, d->t[b]);
        to->sigma[b] = (float)(s / m);
        to->mean[b] = (float)m;
        for (size_t i = (size_t)b * D; i < (size_t)(b + 1) * D; i++)
            to->xt[i] = (float)(m * (double)d->x[i] + s * (double)d->z[i]);
    }
}

static double weight(const pf_dsm *d, double t, double std)
{
    double f, g2;
    if (d->opt->weight != PF_WEIGHT_LIKELIHOOD || d->opt->time == PF_TIME_IMPORTANCE)
        return 1.0;
    pf_sde_coef(d->sde, t, &f, &g2);
    return g2 / (std * std);
}

void pf_objective_loss(const pf_dsm *d, const float *net, double scale, double *loss,
                       float *gout)
{
    size_t D = (size_t)d->dim;
    double reduce = d->opt->reduce == PF_REDUCE_MEAN ? 1.0 / (double)d->dim : 0.5;

    for (int b = 0; b < d->B; b++) {
        double m, s, sum = 0.0;
        pf_sde_marginal(d->sde, d->t[b], &m, &s);
        double k = s * pf_sde_score_scale(d->sde, d->t[b]);
        double w = reduce * weight(d, d->t[b], s);
        const float *n = net + (size_t)b * D, *z = d->z + (size_t)b * D;
        for (size_t i = 0; i < D; i++) {
            double r = k * (double)n[i] + (double)z[i];
            sum += r * r;
            if (gout) gout[(size_t)b * D + i] = (float)(2.0 * scale * w * k * r);
        }
        loss[b] = w * sum;
    }
}
