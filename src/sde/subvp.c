/* Sub-variance-preserving SDE.
 *
 *     dx = -1/2 b(t) x dt + sqrt(b(t) (1 - exp(-2 B(t)))) dw,     B(t) = integral of b
 *     mean = exp(-B/2),   std = 1 - exp(-B),   prior N(0, 1)
 *     g^2/std^2 = b coth(B/2),   its integral = 2 log(sinh(B(t)/2) / sinh(B(t_min)/2))
 *
 * Source: Song et al. 2021, eq. 12 and appendix C; the importance law follows by integrating
 * coth(B/2) dB. */
#include "sde/linear_beta.h"

#include <math.h>

static void marginal(const void *self, double t, double *mean, double *std)
{
    double b = pf_beta_integral(self, t);
    *mean = exp(-0.5 * b);
    *std = -expm1(-b);
}

static void coef(const void *self, double t, double *f, double *g2)
{
    double beta = pf_beta(self, t);
    *f = -0.5 * beta;
    *g2 = -beta * expm1(-2.0 * pf_beta_integral(self, t));
}

static double mass(const void *self, double t_min, double t)
{
    /* 2 log sinh(B/2) = B + 2 log(1 - exp(-B)) - 2 log 2 */
    double b = pf_beta_integral(self, t), a = pf_beta_integral(self, t_min);
    return b - a + 2.0 * log(expm1(-b) / expm1(-a));
}

static double mass_inverse(const void *self, double t_min, double m)
{
    double a = pf_beta_integral(self, t_min);
    return pf_beta_integral_inverse(self, 2.0 * asinh(sinh(0.5 * a) * exp(0.5 * m)));
}

const pf_sde_ops pf_sde_subvp = {
    .name = "subvp",
    .help = "sub-variance preserving: the drift of vp, smaller diffusion",
    .size = sizeof(pf_linear_beta),
    .opts = pf_linear_beta_opts,
    .marginal = marginal,
    .coef = coef,
    .prior_std = pf_unit_prior_std,
    .mass = mass,
    .mass_inverse = mass_inverse,
};
