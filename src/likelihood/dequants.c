/* The table of dequantisations.  Pixel k of L levels becomes x = 2 (k + u)/L - 1, u in [0,1), and
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

static double draw_truncated_normal(const pf_sde *sde, double t_min, const pf_draw *draw,
                                    int dim, int levels, double *u)
{
    double mean, std;
    pf_sde_marginal(sde, t_min, &mean, &std);
    double s = 0.5 * levels * std / mean;
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

static double draw_uniform(const pf_sde *sde, double t_min, const pf_draw *draw, int dim,
                           int levels, double *u)
{
    (void)sde, (void)t_min, (void)levels;
    for (int d = 0; d < dim; d++) u[d] = pf_draw_uniform_f64(draw, (size_t)d);
    return 0.0;
}

static double place_as_it_is(const pf_sde *sde, double t_min)
{
    (void)sde, (void)t_min;
    return 1.0;
}

static double place_at_the_mean(const pf_sde *sde, double t_min)
{
    double mean, std;
    pf_sde_marginal(sde, t_min, &mean, &std);
    return mean;
}

static const pf_dequant_ops none = {"none", NULL, place_as_it_is};
static const pf_dequant_ops uniform = {"uniform", draw_uniform, place_as_it_is};
static const pf_dequant_ops truncated_normal = {"truncated_normal", draw_truncated_normal,
                                                place_at_the_mean};

const pf_dequant_ops *const pf_dequants[] = {&none, &uniform, &truncated_normal, NULL};
const char *const pf_dequant_words[] = {"none", "uniform", "truncated_normal", NULL};

void pf_dequantise(const pf_dequantiser *q, const pf_draw *draw, const unsigned char *pixels,
                   double *x, double *log_q)
{
    const pf_dequant_ops *ops = pf_dequants[q->opt->dequantisation];
    *log_q = ops->draw(q->sde, q->opt->ode.t_min, draw, q->dim, q->space->levels, x);
    for (int d = 0; d < q->dim; d++) x[d] += pixels[d];
    pf_bins_to_model(q->space, (size_t)q->dim, x);
}
