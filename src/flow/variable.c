/* Changes of the solver's variable.  For a linear SDE the noise to signal ratio obeys
 *
 *     l = log(std/mean),     dl/dt = g^2/(2 std^2)
 *
 * so the SDE's importance law, mass(s, t) = integral of g^2/std^2 = 2 (l(t) - l(s)), and its
 * inverse give every function of l and its t.  With the scaled state y = x/mean
 *
 *     dy/dt = -g^2 score/(2 mean),     dy/d(std/mean) = -std score = the predicted noise
 *
 * has no linear part left, whose divergence D log(mean(t1)/mean(t0)) has a closed form.
 *
 *     t        the SDE's own
 *     log_snr  -2 l: equal steps are equal factors of the signal to noise ratio
 *     noise    e^l = std/mean: the predicted noise is then the whole field
 *     arsinh   asinh(e^l/s), s = 1/20: as noise below s, as log_snr above
 *
 * A new variable is one row here and one word in ode.c.
 * Source: Kingma et al. 2021 (log SNR); Karras et al. 2022, eq. 3 and 4 (noise, scaled state). */
#include "flow/variable.h"

#include <math.h>

static double log_snr(double l)
{
    return -2.0 * l;
}

static double log_snr_inverse(double u)
{
    return -0.5 * u;
}

static double log_snr_slope(double l)
{
    (void)l;
    return -2.0;
}

static const double knee = 1.0 / 20.0;

static double arsinh(double l)
{
    return asinh(exp(l) / knee);
}

static double arsinh_inverse(double u)
{
    return log(knee * sinh(u));
}

static double arsinh_slope(double l)
{
    return 1.0 / sqrt(1.0 + knee * knee * exp(-2.0 * l));
}

const pf_variable pf_variables[] = {
    {NULL, NULL, NULL},
    {log_snr, log_snr_inverse, log_snr_slope},
    {exp, log, exp},
    {arsinh, arsinh_inverse, arsinh_slope},
};

static double log_noise(const pf_sde *sde, double t)
{
    double mean, std;
    pf_sde_marginal(sde, t, &mean, &std);
    return log(std / mean);
}

double pf_variable_of(const pf_variable *v, const pf_sde *sde, double t)
{
    return v->of ? v->of(log_noise(sde, t)) : t;
}

double pf_variable_time(const pf_variable *v, const pf_sde *sde, double tau, double *rate)
{
    const double from = 1e-3; /* any time will do */
    double f, g2, mean, std, l, t;

    *rate = 1.0;
    if (!v->of) return tau;
    l = v->inverse(tau);
    t = sde->ops->mass_inverse(&sde->opt, from, 2.0 * (l - log_noise(sde, from)));
    pf_sde_coef(sde, t, &f, &g2);
    pf_sde_marginal(sde, t, &mean, &std);
    *rate = 2.0 * std * std / (g2 * v->slope(l));
    return t;
}
