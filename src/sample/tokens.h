/* Samples of tokens as files have them. */
#ifndef PROBFLOW_SRC_SAMPLE_TOKENS_H
#define PROBFLOW_SRC_SAMPLE_TOKENS_H

#include <probflow/sample.h>
#include <probflow/store.h>

typedef struct pf_token_samples {
    void *values; /* [n,L] of pf_token_bytes, owned */
    size_t bytes;
    int32_t *length; /* [n], owned */
    int shorter;     /* 1: some are shorter than L */
    double *entropy; /* [L], owned */
} pf_token_samples;

/* Of what pf_sampling_run filled.  Local.  Free with pf_token_samples_free, also after a failure.  Fails PF_EMEM. */
PF_MUST_USE pf_status pf_token_samples_make(const pf_sampling *s, pf_token_samples *out);
void pf_token_samples_free(pf_token_samples *t);
/* Its arrays, borrowed, into `to`, two at most; returns how many. */
int pf_token_samples_arrays(const pf_token_samples *t, const pf_sampling *s, pf_out_array *to);

#endif
