/* Normal noise in a bin; see bin_noise.h. */
#include "likelihood/bin_noise.h"

#include <math.h>

/* Winitzki's approximation, then Newton steps with Halley's correction (f''/f' = -2x). */
static double erfinv(double y)
{
    const double a = 0.147;
    double l = log1p(-y * y), h = 2.0 / (M_PI * a) + 0.5 * l;
    double x = copysign(sqrt(sqrt(h * h - l / a) - h), y);
    for (int i = 0; i < 3; i++) {
        double e = (erf(x) - y) * (0.5 * sqrt(M_PI)) * exp(x * x);
        x -= e / (1.0 + x * e);
    }
    return x;
}

pf_bin_noise pf_bin_noise_cut(int levels, double mean, double std)
{
    double s = 0.5 * levels * std / mean, tau = 0.5 / s;
    return (pf_bin_noise){s, tau, erf(tau * M_SQRT1_2)};
}

pf_bin_noise pf_bin_noise_whole(int levels, double mean, double std)
{
    return (pf_bin_noise){0.5 * levels * std / mean, INFINITY, 1.0};
}

double pf_bin_noise_quantile(const pf_bin_noise *n, double p)
{
    double e = M_SQRT2 * erfinv((2.0 * p - 1.0) * n->mass);
    return fmin(fmax(e, -n->tau), n->tau);
}

double pf_bin_noise_log_q(const pf_bin_noise *n, double e)
{
    return -0.5 * e * e - 0.5 * log(2.0 * M_PI) - log(n->s * n->mass);
}

double pf_bin_noise_entropy(const pf_bin_noise *n)
{
    double cut = isinf(n->tau)
                     ? 0.0
                     : n->tau * exp(-0.5 * n->tau * n->tau) / (sqrt(2.0 * M_PI) * n->mass);
    return 0.5 * (1.0 + log(2.0 * M_PI)) + log(n->s * n->mass) - cut;
}
