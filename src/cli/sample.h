/* A call of `probflow sample`. */
#ifndef PROBFLOW_SRC_CLI_SAMPLE_H
#define PROBFLOW_SRC_CLI_SAMPLE_H

#include "cli/common.h"

#include <probflow/scoring.h>

typedef struct pf_sample_job {
    pf_args args, guide_args;
    const char *n_text, *out, *png, *params, *previews_text, *label, *condition, *guide_path,
        *encode, *data, *dataset, *inpaint, *half, *denoise, *noise_text, *interpolate_text,
        *text;
    long n, previews, interpolate;
    char previews_png[4200]; /* "": none */
    int unconditional, score;
    int32_t *labels;    /* [n]; NULL: none given */
    double *conditions; /* [n,C]; NULL: none given */
    double *from;       /* [n,D] to be encoded; NULL: none */
    /* [n,D] images that are inpainted or denoised, what of them samples shall agree with, of which entries [D]; NULL:
     * none */
    double *whole, *known, noise;
    unsigned char *mask;
    pf_loaded model, guide;
    pf_likelihood_opt bound; /* of --score */
    pf_sampling sampling;
    /* of the tokens, from the data; owned; NULL: not read */
    char *vocabulary;
} pf_sample_job;

/* Fills labels, conditions and from, once the models are loaded.  A model that reads something is told it, or the
 * user says that it is not.  Local. */
PF_MUST_USE pf_status pf_sample_given(pf_sample_job *j);

/* ---- --text ---- */
/* Reads what the tokens stand for, where --text or --dataset want it, and holds what is asked of tokens against the
 * model.  Local. */
PF_MUST_USE pf_status pf_sample_text_prepare(pf_sample_job *j);
/* A line a sample to the file of --text, or to stdout.  Local, rank 0. */
PF_MUST_USE pf_status pf_sample_text_write(const pf_sample_job *j);
/* Prints the entropy of the symbols by position. */
PF_MUST_USE pf_status pf_sample_text_report(const pf_sample_job *j);

/* ---- --inpaint and --denoise ---- */
/* Checks the words of both before anything is loaded. */
PF_MUST_USE pf_status pf_sample_known_words(pf_sample_job *j);
/* Fills known and mask from `whole`. */
PF_MUST_USE pf_status pf_sample_known(pf_sample_job *j);
/* Prints how far the samples are from the images, root mean square. */
void pf_sample_known_report(const pf_sample_job *j);

#endif
