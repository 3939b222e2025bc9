/* Weighted denoising score matching.
 *
 *     x_t = mean(t) x + std(t) z,      w(t) ||std score + z||^2
 *
 *   weight sigma2       w = 1               t ~ U[t_min, 1]
 *   weight likelihood   w = g^2/std^2       t ~ U[t_min, 1], or importance-sampled:
 *   time importance     p(t) ~ g^2/std^2, w = 1 (the normaliser is left out, as published)
 *
 * (Song et al. 2021b, eq. 7 and section 4.)  The score is never divided by std: with a network n
 * that returns -std*score the residual is z - n.  Times are low-discrepancy over the global
 * batch: u_i = (u0(step) + i/B) mod 1. */
#ifndef PROBFLOW_OBJECTIVE_H
#define PROBFLOW_OBJECTIVE_H

#include <probflow/option.h>
#include <probflow/plan.h>
#include <probflow/sde.h>

typedef enum pf_weight { PF_WEIGHT_SIGMA2, PF_WEIGHT_LIKELIHOOD } pf_weight;
typedef enum pf_time_law { PF_TIME_UNIFORM, PF_TIME_IMPORTANCE } pf_time_law;
typedef enum pf_reduce { PF_REDUCE_MEAN, PF_REDUCE_HALF_SUM } pf_reduce;

typedef struct pf_objective_opt {
    int weight, time; /* pf_weight, pf_time_law */
    int reduce; /* mean over D, or half the sum over D (both then averaged over the batch) */
    double t_min;
} pf_objective_opt;
extern const pf_opt pf_objective_opts[];

/* One batch with its noise.  Everything borrowed; D = dim. */
typedef struct pf_dsm {
    const pf_sde *sde;
    const pf_objective_opt *opt;
    int B, dim;
    const float *x;  /* [B,D] clean, model scale */
    const float *z;  /* [B,D] noise */
    const double *t; /* [B] */
} pf_dsm;

/* Times of global batch positions first .. first+B-1 of `total`, from u0 in [0,1). */
void pf_objective_times(const pf_sde *sde, const pf_objective_opt *opt, double u0,
                        int64_t first, int B, int64_t total, double *t);

/* What a network sees of a batch: xt [B,D], conditioning values cond [B], noise levels sigma [B] =
 * std/mean factor, mean factors mean [B].  Arrays are the caller's. */
typedef struct pf_dsm_inputs {
    float *xt, *cond, *sigma, *mean;
} pf_dsm_inputs;
void pf_objective_inputs(const pf_dsm *d, const pf_dsm_inputs *to);

/* loss [B] per sample from the raw network output net [B,D]; gout [B,D] (NULL: not wanted)
 * = scale * d(sum_b loss_b)/d net.  Sums in double. */
void pf_objective_loss(const pf_dsm *d, const float *net, double scale, double *loss,
                       float *gout);

#endif
