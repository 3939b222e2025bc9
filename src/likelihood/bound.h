/* The denoising-score-matching bound on -log p(x) of the SDE's own model. */
#ifndef PROBFLOW_SRC_LIKELIHOOD_BOUND_H
#define PROBFLOW_SRC_LIKELIHOOD_BOUND_H

#include <probflow/likelihood.h>

/* Images first .. first+B-1, dequantisation draw `draw`. */
typedef struct pf_bound_call {
    const pf_sde *sde;
    pf_score *score;
    const pf_likelihood_opt *opt;
    int64_t first;
    int B, draw;
} pf_bound_call;

/* x [B,D] clean data, model scale; nats [B] <- the bound.  Fails PF_EMEM, as the score does, and
 * PF_ENUMERIC when a score is not finite. */
PF_MUST_USE pf_status pf_bound(const pf_bound_call *c, const double *x, double *nats);

#endif
