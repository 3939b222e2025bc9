/* What a file about chains of Gaussians gives: a chain of its betas, rows of B data of D entries, networks. */
#ifndef PF_TESTS_VECTORS_GAUSS_JOB_H
#define PF_TESTS_VECTORS_GAUSS_JOB_H

#include "vectors.h"

#include "method/gauss.h"

/* Rows to fill [B,D] and sums [B]; ROW_OUT and ROW_OUT_MORE together hold the channels of mean and variance. */
enum {
    ROW_MEAN,
    ROW_LOG_VARIANCE,
    ROW_VARIANCE,
    ROW_DATA,
    ROW_NET,
    ROW_NET_VARIANCE,
    ROW_GRAD,
    ROW_GRAD_VARIANCE,
    ROW_OUT,
    ROW_OUT_MORE,
    ROWS
};
enum { SUM_LOSS, SUM_SQUARES, SUM_TERM, SUM_KL, SUM_DECODER, SUMS };
typedef struct gauss_job {
    vectors *v;
    pf_gauss *g; /* owned */
    int B;
    size_t D, C; /* C: channels of a datum */
    double *row[ROWS], *sum[SUMS];
} gauss_job;

extern const double gauss_tolerance;
extern const char *const gauss_means[], *const gauss_variances[]; /* published names, as ours */
int gauss_word(const char *const *words, const char *word);       /* its place, -1: none */

/* x [B,..] gives the sizes of the rows; there is no chain yet.  gauss_job_drop, also after a failure. */
PF_MUST_USE pf_status gauss_job_rows(gauss_job *j, vectors *v, const vectors_array *x);
/* The same with the chain of the file's betas. */
PF_MUST_USE pf_status gauss_job_prepare(gauss_job *j, vectors *v, const vectors_array *x);
void gauss_job_drop(gauss_job *j);
/* 1: t [B] are indices of the chain. */
int gauss_job_has(const gauss_job *j, const vectors_array *t);
void gauss_job_hold_rows(gauss_job *j, int row, const char *group, const char *name);
void gauss_job_hold_sums(gauss_job *j, int sum, const char *group, const char *name);
/* The model's rows from entry `at` on. */
pf_gauss_model gauss_job_model(const gauss_job *j, size_t at);

/* Index i of a model with the published decoder. */
pf_gauss_at gauss_index_of(const pf_gauss *g, pf_predicts p, pf_variance v, int i);

/* The affine network of a group: mean A[i] x + c[i], variance V[i] + w x, i an index of the whole chain. */
typedef struct gauss_affine {
    const vectors_array *A, *c, *V, *w; /* V: NULL where there is no variance; w: NULL: 0 */
} gauss_affine;
/* 1 when the file has it, with the variance where v is learned. */
int gauss_affine_find(const gauss_job *j, const char *group, pf_variance v, gauss_affine *to);
/* Its output at x [D], in the first D entries of ROW_NET and ROW_NET_VARIANCE. */
pf_gauss_net gauss_affine_at(gauss_job *j, const gauss_affine *f, pf_variance v, int i,
                             const double *x);

/* A part of a chain. */
typedef struct gauss_part {
    int *map; /* [g->T] indices that are kept; owned */
    pf_gauss *g;
} gauss_part;
/* By its text.  gauss_part_drop, also after a failure. */
PF_MUST_USE pf_status gauss_part_of(const pf_gauss *whole, const char *text, gauss_part *out);
void gauss_part_drop(gauss_part *p);
/* Holds GROUP/map. */
void gauss_part_hold_map(vectors *v, const gauss_part *p, const char *group);

#endif
