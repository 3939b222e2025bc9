/* Variance-preserving SDE along a quarter of a circle.
 *
 *     mean = cos a,   std = sin a,   a(t) = a0 + w t,   prior N(0, 1)
 *     a0 = atan exp(-logsnr_max/2),   a1 = atan exp(-logsnr_min/2),   w = a1 - a0
 *     dx = -w tan(a) x dt + sqrt(2 w tan(a)) dw
 *     g^2/std^2 = 2 w/(sin a cos a),   its integral = 2 log(tan a(t) / tan a(t_min)), as log(std^2/mean^2) = 2 log tan a
 *
 * Near a right angle its complement b = pi/2 - a = b1 + w (1 - t) is what keeps the digits.
 *
 * Source: Nichol and Dhariwal 2021, eq. 17, in continuous time as in Kingma et al. 2021 and Salimans and Ho 2022, whose
 * ends lie at given log(mean^2/std^2). */
#include "sde/linear_beta.h"

#include <math.h>

typedef struct vp_cosine {
    double logsnr_max, logsnr_min;
} vp_cosine;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(vp_cosine, logsnr_max, PF_F64, 20.0, 0.1, 60.0, "log(mean^2/std^2) at t = 0"),
    PF_OPT(vp_cosine, logsnr_min, PF_F64, -20.0, -60.0, 0.0, "log(mean^2/std^2) at t = 1"),
    { 0 }
};
/* clang-format on */

typedef struct arc {
    double first, last, w; /* a0, b1 */
} arc;

static arc arc_of(const void *self)
{
    const vp_cosine *s = self;
    double first = atan(exp(-0.5 * s->logsnr_max)), last = atan(exp(0.5 * s->logsnr_min));
    return (arc){first, last, M_PI_2 - first - last};
}

/* a is at most half a right angle, or b is. */
static double tangent(const arc *c, double t)
{
    double a = c->first + c->w * t, b = c->last + c->w * (1.0 - t);
    return a < b ? tan(a) : 1.0 / tan(b);
}

static void marginal(const void *self, double t, double *mean, double *std)
{
    arc c = arc_of(self);
    *std = sin(c.first + c.w * t);
    *mean = sin(c.last + c.w * (1.0 - t));
}

static void coef(const void *self, double t, double *f, double *g2)
{
    arc c = arc_of(self);
    double slope = c.w * tangent(&c, t);
    *f = -slope;
    *g2 = 2.0 * slope;
}

static double mass(const void *self, double t_min, double t)
{
    arc c = arc_of(self);
    return 2.0 * log(tangent(&c, t) / tangent(&c, t_min));
}

static double mass_inverse(const void *self, double t_min, double m)
{
    arc c = arc_of(self);
    double ratio = tangent(&c, t_min) * exp(0.5 * m);
    return ratio < 1.0 ? (atan(ratio) - c.first) / c.w
                       : 1.0 - (atan(1.0 / ratio) - c.last) / c.w;
}

const pf_sde_ops pf_sde_vp_cosine = {
    .name = "vp_cosine",
    .help = "variance preserving: x cos a + z sin a, the angle a even in t",
    .size = sizeof(vp_cosine),
    .opts = opts,
    .marginal = marginal,
    .coef = coef,
    .prior_std = pf_unit_prior_std,
    .mass = mass,
    .mass_inverse = mass_inverse,
};
