/* A call of `probflow sample`. */
#ifndef PROBFLOW_SRC_CLI_SAMPLE_H
#define PROBFLOW_SRC_CLI_SAMPLE_H

#include "cli/common.h"

#include <probflow/scoring.h>

typedef struct pf_sample_job {
    pf_args args, guide_args;
    const char *n_text, *out, *png, *params, *previews_text, *label, *condition, *guide_path,
        *encode, *data, *dataset;
    long n, previews;
    char previews_png[4200]; /* "": none */
    int unconditional, score;
    int32_t *labels;    /* [n]; NULL: none given */
    double *conditions; /* [n,C]; NULL: none given */
    double *from;       /* [n,D] to be encoded; NULL: none */
    pf_loaded model, guide;
    pf_likelihood_opt bound; /* of --score */
    pf_sampling sampling;
} pf_sample_job;

/* Fills labels, conditions and from, once the models are loaded.  A model that reads something is told it, or the
 * user says that it is not.  Local. */
PF_MUST_USE pf_status pf_sample_given(pf_sample_job *j);

#endif
