/* Expectation maximisation of a Gaussian mixture. */
#ifndef PROBFLOW_SRC_MODEL_EM_H
#define PROBFLOW_SRC_MODEL_EM_H

#include <probflow/model.h>

typedef struct pf_em {
    int C, D, iterations;
    int64_t seed;
    double noise_variance, tolerance;
    double *weight, *mean, *cov; /* [C], [C,D], [C,D,D]: the result, caller's */
} pf_em;

/* Deterministic in (data, options).  Fails as the source does; PF_EMEM; PF_ENUMERIC when a
 * component's covariance becomes singular; PF_EARG for fewer samples than components. */
PF_MUST_USE pf_status pf_em_fit(const pf_em *em, const pf_sample_source *src);

#endif
