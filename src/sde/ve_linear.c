/* Variance-exploding SDE with linear noise.
 *
 *     dx = sigma_max sqrt(2 t) dw
 *     mean = 1,   std = sigma_max t (std(0) = 0),   prior N(0, sigma_max^2)
 *     g^2/std^2 = 2/t,   its integral = 2 log(t/t_min)
 *
 * The network predicts the noise and is told 999 t.
 * Source: Song et al. 2021b, their published code (linearvesde); the importance law follows by integrating 2/t. */
#include <probflow/sde.h>

#include <math.h>

typedef struct ve_linear {
    double sigma_max;
} ve_linear;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(ve_linear, sigma_max, PF_F64, 50.0, 1e-6, 1e6, "noise at t = 1, model scale"),
    { 0 }
};
/* clang-format on */

static double sigma_max(const void *self)
{
    return ((const ve_linear *)self)->sigma_max;
}

static void marginal(const void *self, double t, double *mean, double *std)
{
    *mean = 1.0;
    *std = sigma_max(self) * t;
}

static void coef(const void *self, double t, double *f, double *g2)
{
    *f = 0.0;
    *g2 = 2.0 * sigma_max(self) * sigma_max(self) * t;
}

static double mass(const void *self, double t_min, double t)
{
    (void)self;
    return 2.0 * log(t / t_min);
}

static double mass_inverse(const void *self, double t_min, double m)
{
    (void)self;
    return t_min * exp(0.5 * m);
}

const pf_sde_ops pf_sde_ve_linear = {
    .name = "ve_linear",
    .help = "variance exploding: x + sigma_max t z",
    .size = sizeof(ve_linear),
    .opts = opts,
    .marginal = marginal,
    .coef = coef,
    .prior_std = sigma_max,
    .mass = mass,
    .mass_inverse = mass_inverse,
};
