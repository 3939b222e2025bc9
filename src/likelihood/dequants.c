/* The table of dequantisations.  Pixel k of L levels becomes x = 2 (k + u)/L - 1, and
 *
 *     log P(k) = log of integral over the bin of p(x) dx
 *              >= E_q [ log p(x) + log(2/L) - log q(u) ]          (Jensen),     u in [0,1)
 *
 * uniform: q = 1.  Truncated normal: the model's own noise at t_min, cut to the bin; see bin_noise.h.
 *
 * Normal: the same noise whole, and the model is p(x) times the exact decoder of the level (space.h), so
 *
 *     log P(k) >= E_q [ log p(x) + log(2/L) - log q(u) + log p(k|x) ],     u on the line
 *
 * Source: Theis et al. 2016 (uniform); Zheng et al. 2023, i-DODE (truncated normal, and normal with a decoder); Kingma et
 * al. 2021, eq. 13 (the decoder). */
#include "likelihood/bin_noise.h"

#include <math.h>
#include <probflow/likelihood.h>

static double draw_truncated_normal(const pf_dequantiser *q, const pf_draw *draw,
                                    const unsigned char *pixels, double *u)
{
    double mean, std, sum = 0.0;
    (void)pixels;
    pf_sde_marginal(q->sde, q->opt->ode.t_min, &mean, &std);
    pf_bin_noise n = pf_bin_noise_cut(q->space->levels, mean, std);
    for (int d = 0; d < q->dim; d++) {
        /* half a unit of the last place in, so that p = 0 is not infinitely far out */
        double e = pf_bin_noise_quantile(&n, pf_draw_uniform_f64(draw, (size_t)d) + 0x1p-54);
        u[d] = 0.5 + n.s * e;
        sum -= 0.5 * e * e;
    }
    return sum - q->dim * (log(n.s * n.mass) + 0.5 * log(2.0 * M_PI));
}

static double draw_normal(const pf_dequantiser *q, const pf_draw *draw,
                          const unsigned char *pixels, double *u)
{
    double mean, std, sum = 0.0;
    pf_sde_marginal(q->sde, q->opt->ode.t_min, &mean, &std);
    int levels = q->space->levels;
    pf_bin_noise n = pf_bin_noise_whole(levels, mean, std);
    for (int d = 0; d < q->dim; d++) {
        float e;
        pf_draw_normal(draw, (size_t)d, 1, &e);
        u[d] = 0.5 + n.s * (double)e;
        double x = 2.0 * (pixels[d] + u[d]) / levels - 1.0;
        sum += pf_bin_noise_log_q(&n, (double)e) -
               pf_level_decode(levels, std / mean, x, pixels[d], NULL);
    }
    return sum;
}

static double draw_uniform(const pf_dequantiser *q, const pf_draw *draw,
                           const unsigned char *pixels, double *u)
{
    (void)pixels;
    for (int d = 0; d < q->dim; d++) u[d] = pf_draw_uniform_f64(draw, (size_t)d);
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
static const pf_dequant_ops normal = {"normal", draw_normal, place_at_the_mean};

const pf_dequant_ops *const pf_dequants[] = {&none, &uniform, &truncated_normal, &normal, NULL};
const char *const pf_dequant_words[] = {"none", "uniform", "truncated_normal", "normal", NULL};

void pf_dequantise(const pf_dequantiser *q, const pf_draw *draw, const unsigned char *pixels,
                   double *x, double *log_q)
{
    *log_q = pf_dequants[q->opt->dequantisation]->draw(q, draw, pixels, x);
    for (int d = 0; d < q->dim; d++) x[d] += pixels[d];
    pf_bins_to_model(q->space, (size_t)q->dim, x);
}
