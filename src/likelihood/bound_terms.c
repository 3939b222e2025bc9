/* The parts of the bound; see bound_terms.h. */
#include "likelihood/bound_terms.h"

#include <math.h>

pf_bound_at pf_bound_at_time(const pf_sde *sde, double t)
{
    pf_bound_at at;
    double g2;
    pf_sde_marginal(sde, t, &at.mean, &at.std);
    pf_sde_coef(sde, t, &at.f, &g2);
    at.rate = g2 / (at.std * at.std);
    return at;
}

pf_bound_sums pf_bound_sum(double std, int D, const double *score, const float *noise)
{
    pf_bound_sums to = {0};
    for (int i = 0; i < D; i++) {
        double z = (double)noise[i], e = std * score[i], r = e + z;
        to.residual += r * r;
        to.noise += z * z;
        to.score += e * e;
        to.cross += e * z;
    }
    return to;
}

double pf_bound_term(pf_bound_form form, const pf_bound_at *at, int D, const pf_bound_sums *s,
                     double product)
{
    double drift = 2.0 * at->f * D / at->rate;
    if (form == PF_BOUND_DSM) return s->score + 2.0 * s->cross - drift;
    if (form == PF_BOUND_SLICED) return s->score + 2.0 * at->std * at->std * product - drift;
    return s->residual;
}

double pf_bound_time(const pf_sde *sde, pf_bound_times law, double t_min, double u,
                     double *weight)
{
    double mass = sde->ops->mass(&sde->opt, t_min, 1.0), t = t_min + u * (1.0 - t_min);
    *weight = 1.0;
    if (law == PF_BOUND_IMPORTANCE) return sde->ops->mass_inverse(&sde->opt, t_min, mass * u);
    *weight = (1.0 - t_min) * pf_bound_at_time(sde, t).rate / mass;
    return t;
}

double pf_bound_end(pf_bound_form form, const pf_sde *sde, int D, double x2)
{
    double m, s, prior = sde->ops->prior_std(&sde->opt);
    pf_sde_marginal(sde, 1.0, &m, &s);
    double v = s * s / (prior * prior);
    double kl = 0.5 * (D * (v - 1.0 - log(v)) + m * m * x2 / (prior * prior));
    return form == PF_BOUND_RESIDUAL ? kl : kl + 0.5 * D * (1.0 + log(2.0 * M_PI * s * s));
}

double pf_bound_start(pf_bound_form form, const pf_bound_at *at, int D)
{
    if (form != PF_BOUND_RESIDUAL) return -D * log(at->mean) - 0.5 * D;
    return 0.5 * D * log(2.0 * M_PI * at->std * at->std / (at->mean * at->mean));
}
