/* What VP and sub-VP share: b(t) = beta_min + t (beta_max - beta_min) and its integral. */
#ifndef PROBFLOW_SRC_SDE_LINEAR_BETA_H
#define PROBFLOW_SRC_SDE_LINEAR_BETA_H

#include <probflow/sde.h>

typedef struct pf_linear_beta {
    double beta_min, beta_max;
} pf_linear_beta;

extern const pf_opt pf_linear_beta_opts[];

double pf_beta(const void *self, double t);
double pf_beta_integral(const void *self, double t);         /* B(t) */
double pf_beta_integral_inverse(const void *self, double b); /* t with B(t) = b */
double pf_unit_prior_std(const void *self);                  /* 1 */

#endif
