/* Options of weighted denoising score matching, the loss of method `sde`.
 *
 *     x_t = mean(t) x + std(t) z,      w(t) ||std score + z||^2
 *
 *   weight sigma2       w = 1               t ~ U[t_min, 1]
 *   weight likelihood   w = g^2/std^2       t ~ U[t_min, 1], or importance-sampled:
 *   time importance     p(t) ~ g^2/std^2, w = 1 (the normaliser is left out, as published)
 *
 * (Song et al. 2021b, eq. 7 and section 4.) */
#ifndef PROBFLOW_OBJECTIVE_H
#define PROBFLOW_OBJECTIVE_H

#include <probflow/option.h>

typedef enum pf_weight { PF_WEIGHT_SIGMA2, PF_WEIGHT_LIKELIHOOD } pf_weight;
typedef enum pf_time_law { PF_TIME_UNIFORM, PF_TIME_IMPORTANCE } pf_time_law;
typedef enum pf_reduce { PF_REDUCE_MEAN, PF_REDUCE_HALF_SUM } pf_reduce;

typedef struct pf_objective_opt {
    int weight, time; /* pf_weight, pf_time_law */
    int reduce; /* mean over D, or half the sum over D (both then averaged over the batch) */
    double t_min;
} pf_objective_opt;
extern const pf_opt pf_objective_opts[];

#endif
