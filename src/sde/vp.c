/* Variance-preserving SDE.
 *
 *     dx = -1/2 b(t) x dt + sqrt(b(t)) dw,     b(t) = b0 + t (b1 - b0),   B(t) = integral of b
 *     mean = exp(-B/2),   std^2 = 1 - exp(-B),   prior N(0, 1)
 *     g^2/std^2 = b / (1 - exp(-B)),   its integral = log(expm1 B(t) / expm1 B(t_min))
 *
 * Source: Song et al. 2021, eq. 11 and appendix C, and their published code (labels); the importance
 * law and its inverse follow by integrating g^2/std^2 dt = dB / (1 - exp(-B)). */
#include "sde/linear_beta.h"

#include <math.h>

static void marginal(const void *self, double t, double *mean, double *std)
{
    double b = pf_beta_integral(self, t);
    *mean = exp(-0.5 * b);
    *std = sqrt(-expm1(-b)); /* 1 - exp(-b) cancels as t -> 0 */
}

static void coef(const void *self, double t, double *f, double *g2)
{
    double beta = pf_beta(self, t);
    *f = -0.5 * beta;
    *g2 = beta;
}

static double mass(const void *self, double t_min, double t)
{
    /* log expm1(B) = B + log(1 - exp(-B)): no overflow for large B */
    double b = pf_beta_integral(self, t), a = pf_beta_integral(self, t_min);
    return b - a + log(expm1(-b) / expm1(-a));
}

static double mass_inverse(const void *self, double t_min, double m)
{
    double a = pf_beta_integral(self, t_min);
    return pf_beta_integral_inverse(self, log1p(expm1(a) * exp(m)));
}

/* The levels are DDPM's: betas even from b0/n to b1/n.  The label is (n - 1) t as it is, its level the one below. */
static double label(const void *self, int n, double t, double *std)
{
    const pf_linear_beta *s = self;
    double at = (n - 1) * t, log_abar = 0.0;
    for (int i = 0; i <= (int)at; i++)
        log_abar += log1p(-(s->beta_min + (s->beta_max - s->beta_min) * i / (n - 1)) / n);
    *std = sqrt(-expm1(log_abar));
    return at;
}

const pf_sde_ops pf_sde_vp = {
    .name = "vp",
    .help = "variance preserving: dx = -b(t) x/2 dt + sqrt(b(t)) dw",
    .size = sizeof(pf_linear_beta),
    .opts = pf_linear_beta_opts,
    .marginal = marginal,
    .coef = coef,
    .prior_std = pf_unit_prior_std,
    .mass = mass,
    .mass_inverse = mass_inverse,
    .label = label,
};
