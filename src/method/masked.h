/* Masked (absorbing) diffusion of categories in continuous time, after MD4 (Shi et al. 2024) and MDLM (Sahoo et al. 2024).
 *
 *     q(z_t | x): each entry is kept with chance alpha(t), else it is the mask, symbol K;   t in [0,1]
 *     sigma = -log alpha,     m = 1 - alpha the chance of the mask
 *
 * One integrand, w(t) = -alpha'/(1 - alpha) = sigma'/(exp(sigma) - 1), of the two published estimators:
 *
 *     integral = int_(t0)^1 w(t) E sum over masked entries of -log p(x_l | z_t) dt
 *     md4    t0 = 0,    alpha from 1 - eps to eps, eps 1e-4
 *     mdlm   t0 = 1e-3, alpha from 1 - 1e-3 (1 - 1e-3) to 1e-3 (loglinear)
 *
 * What stands at the ends belongs to the bound, since alpha(t0) < 1 and alpha(1) > 0:
 *
 *     exact      first  n (1 - alpha(t0)) log K   p(x | z_t0) guesses evenly where a mask is left
 *                prior  n alpha(1) log K          KL(q(z_1 | x) || p(z_1)), p(z_1) = alpha(1)/K + (1 - alpha(1)) [mask]
 *                The sum is a bound of -log p of this model, whatever the network; of an even network it is n log K.
 *     published  md4   first as above, the prior left out, where it would be infinite of an all-masked p(z_1)
 *                mdlm  integral/(1 - t0), both ends left out: no bound; of one entry (1 - eps) times the code length
 *
 * The integral does not depend on the schedule between its ends where the network is not told the time, and tends to the
 * mean over all orders of the entries of the autoregressive code length.
 *
 * Finite time, T steps, t = i/T, s = t - 1/T, in place of the integral the mean over i = 1 .. T of
 *
 *     md4    T (alpha_s - alpha_t)/(1 - alpha_t) sum over masked of -log p,   ends as above with t0 = 0
 *     mdlm   with alpha = 1 - t (exact: masks too; published: masks of the schedule, t at most 1 - 1e-4 in factors),
 *            p_m what the network gives the mask (0 for subs):
 *            T [1/(tT) (log(alpha_t p_m/t + 1) - log p_x) + (1 - 1/(tT)) (log(alpha_t p_m/t + 1) - log(alpha_s p_m/s + 1))]
 *            At i = 1, where s = 0 and published code has 0 log(./0), the second part is 0.  Nothing is left at the ends.
 *
 * Predictions: subs, never the mask and the symbol seen where there is one; d3pm (finite, mdlm), the mask is a symbol of
 * the softmax, and the datum is read once more without noise, -log p(x | x); sedd, log ratios, whose score entropy is
 *
 *     sigma' [sum_k exp(r_k) - q r_x + q (log q - 1)],   r_k = z_k - log(exp(sigma) - 1) - log K,   q = 1/(exp(sigma) - 1)
 *
 * All in double, and Local.
 * Source  Shi et al. 2024 (MD4), eq. 4 to 11; Sahoo et al. 2024 (MDLM), eq. 8 to 11; Lou et al. 2024 (SEDD); published
 *         code of MD4 and MDLM
 * Test    test_masked; check_vectors on md4.h5 and mdlm.h5 */
#ifndef PROBFLOW_SRC_METHOD_MASKED_H
#define PROBFLOW_SRC_METHOD_MASKED_H

#include <probflow/net.h>

#include "method/categorical.h"

/* ---- schedules ---- */

typedef enum pf_masked_schedule {
    /* alpha = (1 - 2 eps) a + eps */
    PF_MASKED_LINEAR, /* a = 1 - t */
    PF_MASKED_COSINE, /* a = 1 - cos(pi/2 (1 - t)) */
    PF_MASKED_POLY,   /* a = 1 - t^power */
    /* alpha = 1 - (1 - eps) t; eps + (1 - eps) cos(pi t/2); .. its square; */
    PF_MASKED_LOGLINEAR,
    PF_MASKED_MDLM_COSINE,
    PF_MASKED_MDLM_COSINESQR,
    /* sigma = least + (most - least) t; least^(1-t) most^t */
    PF_MASKED_SIGMA_LINEAR,
    PF_MASKED_GEOMETRIC
} pf_masked_schedule;

typedef struct pf_masked_noise {
    pf_masked_schedule kind;
    double eps, power, least, most;
} pf_masked_noise;
/* eps, least and most below 0: as published. */
pf_masked_noise pf_masked_noise_of(pf_masked_schedule kind, double eps, double power,
                                   const double sigma[2]);
double pf_masked_alpha(const pf_masked_noise *n, double t);
double pf_masked_hidden(const pf_masked_noise *n, double t); /* 1 - alpha */
double pf_masked_slope(const pf_masked_noise *n, double t);  /* d alpha/dt */
double pf_masked_sigma(const pf_masked_noise *n, double t);
double pf_masked_rate(const pf_masked_noise *n, double t); /* d sigma/dt */
/* The ends of f = log(1 - exp(-sigma)) as published, of loglinear and of linear sigma. */
void pf_masked_ends(const pf_masked_noise *n, double f[2]);
/* The time at which f is u of its way, u in [0,1]: the integrand is flat there. */
double pf_masked_importance(const pf_masked_noise *n, double u);

/* ---- the method ---- */

extern const pf_method_ops pf_method_masked;

typedef enum pf_masked_time { PF_MASKED_CONTINUOUS, PF_MASKED_FINITE } pf_masked_time;
typedef enum pf_masked_estimator { PF_MASKED_MD4, PF_MASKED_MDLM } pf_masked_estimator;
typedef enum pf_masked_bound { PF_MASKED_EXACT, PF_MASKED_PUBLISHED } pf_masked_bound;
typedef enum pf_masked_predicts {
    PF_MASKED_SUBS,
    PF_MASKED_D3PM,
    PF_MASKED_SEDD
} pf_masked_predicts;
typedef enum pf_masked_times {
    PF_MASKED_UNIFORM,
    PF_MASKED_IMPORTANCE,
    PF_MASKED_CHANGE
} pf_masked_times;
typedef enum pf_masked_cond {
    PF_MASKED_TOLD_NOTHING,
    PF_MASKED_TOLD_TIME,
    PF_MASKED_TOLD_SIGMA
} pf_masked_cond;
typedef enum pf_masked_sampler {
    PF_MASKED_ANCESTRAL,
    PF_MASKED_MEAN,
    PF_MASKED_DDPM,
    PF_MASKED_DDPM_CACHE,
    PF_MASKED_ANALYTIC
} pf_masked_sampler;
typedef enum pf_masked_grid { PF_MASKED_GRID_UNIFORM, PF_MASKED_GRID_COSINE } pf_masked_grid;

typedef struct pf_masked_opt {
    int steps, schedule, time, estimator, bound, predicts, mask_logit, times, cond, sampler,
        grid;
    double power, eps, t_min, sigma_min, sigma_max;
} pf_masked_opt;

/* What open makes. */
typedef struct pf_masked {
    pf_masked_opt opt;
    pf_cat cat;
    pf_masked_noise noise;
    double t0;           /* where the integral begins */
    double first, prior; /* nats an entry of the ends */
    double f[2];         /* of pf_masked_ends */
    int columns;         /* logits of an entry */
    size_t bytes;        /* of a sample's scratch */
} pf_masked;

/* ---- one time ---- */

typedef struct pf_masked_at {
    double t, s;          /* s: where a step of finite time ends */
    double hidden, alpha; /* chances of the mask and of the symbol */
    double sigma, rate;
    double weight; /* of a cross entropy */
    double
        scale; /* of all that an entry costs, such that its mean over u, or over the steps, is the integral */
    double cond; /* what the network is told */
} pf_masked_at;
/* At time t, of the integral. */
pf_masked_at pf_masked_at_time(const pf_masked *m, double t);
/* At t = i/T, i = 1 .. T, of finite time. */
pf_masked_at pf_masked_at_step(const pf_masked *m, int i);
/* Where training looks for u in [0,1), by method.times. */
pf_masked_at pf_masked_when(const pf_masked *m, double u);
/* Is an entry masked whose draw is u in [0,1)? */
int pf_masked_hides(const pf_masked *m, const pf_masked_at *a, double u);
/* Symbols z [D] from the datum x [D], with the noise of a draw; padding stays. */
void pf_masked_mask(const pf_masked *m, const pf_masked_at *a, const pf_draw *d,
                    const int32_t *x, int32_t *z);
/* Nats of a masked entry x; z [columns] the network's logits; g [columns] = scale times its gradient. */
double pf_masked_entry(const pf_masked *m, const pf_masked_at *a, int x, pf_cat_row z,
                       double scale, pf_cat_slope g);
/* log(exp(sigma) - 1) + log K, by which the logits of sedd are above its logarithms of ratios. */
double pf_masked_shift(const pf_masked *m, double sigma);
/* Of d3pm, -log p(x | x) of the datum read without noise. */
double pf_masked_again(const pf_masked *m, int x, pf_cat_row z, double scale, pf_cat_slope g);

/* ---- steps ---- */

/* Logarithms of what the network says at a symbol x, 0 .. K: of chances (subs, d3pm) or of ratios (sedd), log_p [K+1].
 * What cannot be is -1e6 less, as published. */
void pf_masked_say(const pf_masked *m, double sigma, int x, pf_cat_row z, double *log_p);
/* The chance that a mask at t is a symbol at s < t. */
double pf_masked_shown(const pf_masked *m, double t, double s);
/* Logarithms of chances, up to a factor, of what a mask at t is at s, log_w [K+1]; the mask's own is the last.  log_p [K+1]
 * is what pf_masked_say said of the mask. */
void pf_masked_move(const pf_masked *m, double t, double s, const double *log_p, double *log_w);
/* Step i of the grid, 0 .. steps: from where the chain ends to 1. */
double pf_masked_grid_time(const pf_masked *m, int i);

/* The chain of a trained network; see pf_method_ops.chain.
 *
 * It has steps + 1 steps.  Terms 1 .. steps are the parts of the integral over equal parts of time, each at one time drawn in
 * it with one draw of masks, or the steps of finite time; term 0 is `first`, and of d3pm -log p(x | x), the last one `prior`.
 * In sampling the first steps are those of the grid, and the last one fills in the masks that are left.  The network is
 * called when something has changed since its last call or it is told the time, and some mask is left.  Known entries are
 * shown from the first step on. */
PF_MUST_USE pf_status pf_masked_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
