/* The discretised Gaussian: a normal distribution cut into one bin a level, the outer bins open.
 *
 * tanh, as published:   Phi(z) ~ 1/2 (1 + tanh a(z)),   a(z) = sqrt(2/pi) (z + 0.044715 z^3)
 *   Only the upper open bin is computed as a tail, 1/(1 + exp 2a); a bin between two others is the
 *   difference of two distribution functions.  Each probability is at least the floor, 1e-12.
 * exact:   the normal distribution function by erfc and its asymptotic series.  No floor, no cancellation:
 *   both open bins are tails.  A bin [m - h, m + h] is
 *       2 h phi(m) (1 + h^2 (m^2 - 1)/6 + h^4 (m^4 - 6 m^2 + 3)/120 + ..)     where h (1 + |m|) is small,
 *   else the difference of two tails on the side where they are small.
 *
 * Source: Ho et al. 2020, eq. 13, and its published code; the series is Taylor's about the middle. */
#include "method/gauss.h"

#include <math.h>

#define LOG_ROOT_2PI 0.91893853320467274178

/* a(z) and its derivative. */
static double tanh_argument(double z, double *slope)
{
    double c = sqrt(2.0 / M_PI);
    if (slope) *slope = c * (1.0 + 3.0 * 0.044715 * z * z);
    return c * (z + 0.044715 * z * z * z);
}

double pf_cdf_tanh(double z)
{
    return 0.5 * (1.0 + tanh(tanh_argument(z, NULL)));
}

/* d cdf_tanh/dz */
static double density_tanh(double z)
{
    double slope, t = tanh(tanh_argument(z, &slope));
    return 0.5 * (1.0 - t) * (1.0 + t) * slope;
}

double pf_log_cdf(double z)
{
    if (z > 0.0) return log1p(-0.5 * erfc(z * M_SQRT1_2));
    if (z > -30.0) return log(0.5 * erfc(-z * M_SQRT1_2));
    double r = 1.0 / (z * z); /* erfc is near its smallest number: Laplace's series */
    return -0.5 * z * z - log(-z) - LOG_ROOT_2PI +
           log1p(-r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r))));
}

static double log_density(double z)
{
    return -0.5 * z * z - LOG_ROOT_2PI;
}

/* log(Phi(m + h) - Phi(m - h)) */
static double log_bin(double m, double h)
{
    double mm = m * m, hh = h * h;
    if (h * (1.0 + fabs(m)) < 0.02)
        return log(2.0 * h) + log_density(m) +
               log1p(hh * ((mm - 1.0) / 6.0 + hh * (mm * mm - 6.0 * mm + 3.0) / 120.0));
    double middle = -fabs(m), upper = pf_log_cdf(middle + h), lower = pf_log_cdf(middle - h);
    return upper + log(-expm1(lower - upper));
}

/* Which of the bins: -1 the lowest, 1 the highest, 0 one between.  At 256 levels the limits are the published
 * -0.999 and 0.999. */
static int side_of(const pf_decoder *d, double x)
{
    double limit = 1.0 - 0.255 / (d->levels - 1);
    return x < -limit ? -1 : x > limit ? 1 : 0;
}

/* slope: d log p/d upper and minus d log p/d lower, the two ends of the bin in deviations from the mean. */
static double decode_tanh(int side, double floor, double lower, double upper, double slope[2])
{
    double p, du = 0.0, dl = 0.0, rise, a;
    if (side > 0) {
        a = tanh_argument(lower, &rise);
        p = 1.0 / (1.0 + exp(2.0 * a));
        dl = 2.0 * rise * p * (1.0 - p);
    } else {
        p = pf_cdf_tanh(upper) - (side < 0 ? 0.0 : pf_cdf_tanh(lower));
        if (slope) du = density_tanh(upper);
        if (slope && !side) dl = density_tanh(lower);
    }
    if (slope) {
        slope[0] = p < floor ? 0.0 : du / p;
        slope[1] = p < floor ? 0.0 : dl / p;
    }
    return log(fmax(p, floor));
}

static double decode_exact(int side, double lower, double upper, double slope[2])
{
    double lp = side > 0   ? pf_log_cdf(-lower)
                : side < 0 ? pf_log_cdf(upper)
                           : log_bin(0.5 * (lower + upper), 0.5 * (upper - lower));
    if (slope) {
        slope[0] = side > 0 ? 0.0 : exp(log_density(upper) - lp);
        slope[1] = side < 0 ? 0.0 : exp(log_density(lower) - lp);
    }
    return lp;
}

double pf_decode(const pf_decoder *d, double x, double mean, double log_std, double slope[2])
{
    /* beyond these a bin has all or next to nothing, and squares of its ends would overflow */
    double inverse = exp(log_std < -100.0 ? 100.0 : log_std > 300.0 ? -300.0 : -log_std);
    double half = 1.0 / (d->levels - 1);
    double lower = inverse * (x - mean - half), upper = inverse * (x - mean + half);
    double end[2], *ends = slope ? end : NULL;
    int side = side_of(d, x);
    double lp = d->cdf == PF_CDF_TANH
                    ? decode_tanh(side, d->floor > 0.0 ? d->floor : 1e-12, lower, upper, ends)
                    : decode_exact(side, lower, upper, ends);
    if (slope) { /* an end of the bin moves by -inverse with the mean, by minus itself with log_std */
        slope[0] = inverse * (end[1] - end[0]);
        slope[1] = lower * end[1] - upper * end[0];
    }
    return lp;
}
