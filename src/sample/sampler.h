/* What the samplers share. */
#ifndef PROBFLOW_SRC_SAMPLE_SAMPLER_H
#define PROBFLOW_SRC_SAMPLE_SAMPLER_H

#include <probflow/sample.h>

/* x [B,D] ~ prior, each sample from its own stream. */
PF_MUST_USE pf_status pf_sample_prior(const pf_sde *sde, const pf_sample_opt *opt,
                                      int64_t first, int B, int D, double *x);

#endif
