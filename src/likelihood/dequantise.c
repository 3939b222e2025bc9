/* Dequantisation: pixel k of L levels becomes x = 2 (k + u)/L - 1, u in [0,1), and
 *
 *     log P(k) = log of integral over the bin of p(x) dx
 *              >= E_q [ log p(x) + log(2/L) - log q(u) ]          (Jensen)
 *
 * uniform: q = 1.  Truncated normal: u = 1/2 + s e, e ~ N(0,1) cut to |e| < tau, with s the
 * model's own noise at t_min in pixel units, so that mean x is distributed like the grid value
 * diffused to t_min:
 *
 *     s = L std / (2 mean),  tau = 1/(2 s) = mean/(L std),   Z = erf(tau/sqrt 2)
 *     log q(u) = -log(s Z) - log(2 pi)/2 - e^2/2,            e = sqrt(2) erfinv((2p - 1) Z)
 *
 * Source: Theis et al. 2016 (uniform); Zheng et al. 2023, i-DODE (truncated normal). */
#include <math.h>
#include <probflow/likelihood.h>

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

static double truncated_normal(const pf_draw *draw, int dim, double s, double *u)
{
    double tau = 0.5 / s, z = erf(tau * M_SQRT1_2), sum = 0.0;
    for (int d = 0; d < dim; d++) {
        /* half a unit of the last place in, so that p = 0 is not infinitely far out */
        double p = pf_draw_uniform_f64(draw, (size_t)d) + 0x1p-54;
        double e = M_SQRT2 * erfinv((2.0 * p - 1.0) * z);
        e = fmin(fmax(e, -tau), tau);
        u[d] = 0.5 + s * e;
        sum -= 0.5 * e * e;
    }
    return sum - dim * (log(s * z) + 0.5 * log(2.0 * M_PI));
}

void pf_dequantise(const pf_sde *sde, const pf_likelihood_opt *opt, const pf_draw *draw,
                   int dim, int levels, const unsigned char *pixels, double *x, double *log_q)
{
    double mean, std;
    *log_q = 0.0;
    if (opt->dequantisation == PF_DEQUANT_TRUNCATED_NORMAL) {
        pf_sde_marginal(sde, opt->ode.t_min, &mean, &std);
        *log_q = truncated_normal(draw, dim, 0.5 * levels * std / mean, x);
    } else {
        for (int d = 0; d < dim; d++)
            x[d] = opt->dequantisation == PF_DEQUANT_UNIFORM
                       ? pf_draw_uniform_f64(draw, (size_t)d)
                       : 0.5;
    }
    for (int d = 0; d < dim; d++) x[d] = 2.0 * (pixels[d] + x[d]) / levels - 1.0;
}
