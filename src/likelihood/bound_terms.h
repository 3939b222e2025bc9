/* What the bound of an SDE is made of, of one datum x [D] at a time t, x_t = m x + s z [nats].  Up to the mean over z
 * the three forms are one:
 *
 *     -log p(x) <=  end + 1/2 integral rate F dt + start + 1/2 |z + s score|^2 at t_min,     rate = g^2/s^2
 *
 *     dsm       F = |s score|^2 + 2 s score.z - 2 f D/rate                            at x_t
 *     sliced    F = |s score|^2 + 2 s^2 v' d(score)/dx v - 2 f D/rate                 E vv' = I
 *               end = E[-log prior(x_1)],  start = -D log m - D/2
 *     residual  F = |s score + z|^2
 *               end = KL(q(x_1|x) || prior),  start = D/2 log(2 pi s^2/m^2)
 *
 * start and the square beside it are Jensen's terms of x given x_t by Tweedie's mean and the noise of the marginal.
 *
 * Source  Song et al. 2021b, theorems 1 and 3, and their published code (dsm, sliced); Kingma et al. 2021, eq. 15
 *         (residual).  Their Jensen term has a difference of squares here taken together.
 * Test    check_vectors bound.h5; bound_of_a_gaussian_has_its_closed_form_as_mean */
#ifndef PROBFLOW_SRC_LIKELIHOOD_BOUND_TERMS_H
#define PROBFLOW_SRC_LIKELIHOOD_BOUND_TERMS_H

#include <probflow/sde.h>

typedef enum pf_bound_form { PF_BOUND_RESIDUAL, PF_BOUND_DSM, PF_BOUND_SLICED } pf_bound_form;
typedef enum pf_bound_times { PF_BOUND_IMPORTANCE, PF_BOUND_UNIFORM } pf_bound_times;

typedef struct pf_bound_at {
    double mean, std, f, rate;
} pf_bound_at;
pf_bound_at pf_bound_at_time(const pf_sde *sde, double t);

/* Sums over the entries of one datum. */
typedef struct pf_bound_sums {
    double residual; /* |s score + z|^2 */
    double noise;    /* |z|^2 */
    double score;    /* |s score|^2 */
    double cross;    /* s score.z */
} pf_bound_sums;
pf_bound_sums pf_bound_sum(double std, int D, const double *score, const float *z);
/* F; product = v' d(score)/dx v, read where sliced. */
double pf_bound_term(pf_bound_form form, const pf_bound_at *at, int D, const pf_bound_sums *s,
                     double product);
/* t of u in [0,1] on [t_min, 1]; weight: 1/2 integral rate F dt = mass/2 times the mean over u of weight F, mass that
 * of the SDE's row. */
double pf_bound_time(const pf_sde *sde, pf_bound_times law, double t_min, double u,
                     double *weight);
/* What has a closed form: at t = 1, of x2 = |x|^2, and at t_min. */
double pf_bound_end(pf_bound_form form, const pf_sde *sde, int D, double x2);
double pf_bound_start(pf_bound_form form, const pf_bound_at *at, int D);

#endif
