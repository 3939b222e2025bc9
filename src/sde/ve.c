/* Variance-exploding SDE with geometric noise.
 *
 *     dx = sigma(t) sqrt(2 log r) dw,   sigma(t) = sigma_min r^t,   r = sigma_max / sigma_min
 *     mean = 1,   std = sigma(t) (as published: std(0) = sigma_min, not 0),   prior N(0, sigma_max^2)
 *     g^2/std^2 = 2 log r: the importance law is uniform
 *
 * The network returns the score itself (it divides by sigma inside) and is conditioned on sigma.
 * Source: Song et al. 2021, eq. 9 and appendix C, and their published code (labels). */
#include <probflow/sde.h>

#include <math.h>

typedef struct ve {
    double sigma_min, sigma_max;
} ve;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(ve, sigma_min, PF_F64, 0.01, 1e-8, 1e3, "noise at t = 0, model scale"),
    PF_OPT(ve, sigma_max, PF_F64, 50.0, 1e-6, 1e6, "noise at t = 1, model scale"),
    { 0 }
};
/* clang-format on */

static double log_ratio(const ve *s)
{
    return log(s->sigma_max / s->sigma_min);
}

static double sigma(const void *self, double t)
{
    const ve *s = self;
    return s->sigma_min * exp(t * log_ratio(s));
}

static void marginal(const void *self, double t, double *mean, double *std)
{
    *mean = 1.0;
    *std = sigma(self, t);
}

static void coef(const void *self, double t, double *f, double *g2)
{
    double s = sigma(self, t);
    *f = 0.0;
    *g2 = 2.0 * log_ratio(self) * s * s;
}

static double prior_std(const void *self)
{
    return ((const ve *)self)->sigma_max;
}

static double mass(const void *self, double t_min, double t)
{
    return 2.0 * log_ratio(self) * (t - t_min);
}

static double mass_inverse(const void *self, double t_min, double m)
{
    return t_min + m / (2.0 * log_ratio(self));
}

/* The levels fall from sigma_max, label 0, to sigma_min in one ratio; the label is the nearest one's. */
static double label(const void *self, int n, double t, double *std)
{
    double at = rint((1.0 - t) * (n - 1));
    *std = sigma(self, 1.0 - at / (n - 1));
    return at;
}

const pf_sde_ops pf_sde_ve = {
    .name = "ve",
    .help = "variance exploding: x + sigma(t) z, sigma geometric",
    .size = sizeof(ve),
    .opts = opts,
    .marginal = marginal,
    .coef = coef,
    .prior_std = prior_std,
    .mass = mass,
    .mass_inverse = mass_inverse,
    .returns_score = 1,
    .sees_sigma = 1,
    .label = label,
};
