/* The linear noise rate of VP and sub-VP (Ho et al. 2020 in continuous time). */
#include "sde/linear_beta.h"

#include <math.h>

/* clang-format off */
const pf_opt pf_linear_beta_opts[] = {
    PF_OPT(pf_linear_beta, beta_min, PF_F64, 0.1,  0.0, 1e3, "noise rate b(0), 1/time"),
    PF_OPT(pf_linear_beta, beta_max, PF_F64, 20.0, 1e-6, 1e3, "noise rate b(1), 1/time"),
    { 0 }
};
/* clang-format on */

double pf_beta(const void *self, double t)
{
    const pf_linear_beta *s = self;
    return s->beta_min + t * (s->beta_max - s->beta_min);
}

double pf_beta_integral(const void *self, double t)
{
    const pf_linear_beta *s = self;
    return t * (s->beta_min + 0.5 * t * (s->beta_max - s->beta_min));
}

double pf_beta_integral_inverse(const void *self, double b)
{
    const pf_linear_beta *s = self;
    double slope = s->beta_max - s->beta_min;
    /* the root in the form that neither cancels as b -> 0 nor divides by slope = 0 */
    return 2.0 * b / (s->beta_min + sqrt(s->beta_min * s->beta_min + 2.0 * slope * b));
}

double pf_unit_prior_std(const void *self)
{
    (void)self;
    return 1.0;
}
