/* A multivariate normal in its eigenbasis: what the closed-form models are made of. */
#ifndef PROBFLOW_SRC_MODEL_NORMAL_H
#define PROBFLOW_SRC_MODEL_NORMAL_H

#include <probflow/graph.h>
#include <probflow/model.h>

typedef struct pf_normal {
    int D;
    double *mean;  /* [D] */
    double *var;   /* [D] eigenvalues of the covariance, >= 0 */
    double *basis; /* [D,D], row i belongs to var[i] */
} pf_normal;

/* mean [D], covariance [D,D] symmetric.  Fails PF_EMEM, PF_ENUMERIC when the covariance has an
 * eigenvalue below zero by more than rounding; `name` says whose it is. */
PF_MUST_USE pf_status pf_normal_init(pf_normal *n, int D, const float *mean, const float *cov,
                                     const char *name);
void pf_normal_free(pf_normal *n);

/* The Gaussian marginal of an SDE: x_t = scale x_0 + std z. */
typedef struct pf_marginal {
    double scale, std;
} pf_marginal;
pf_marginal pf_marginal_at(const pf_sde *sde, double t); /* sde NULL: {1, 0} */

/* y [rows,D] <- -(scale^2 C + std^2 I)^-1 y, row r with at[r]; log_n [rows] (NULL: not wanted)
 * = log N(y; 0, scale^2 C + std^2 I) of the y that came in.  work [rows,D]. */
void pf_normal_pull(const pf_normal *n, int rows, const pf_marginal *at, double *y,
                    double *work, double *log_n);

/* Buffers of one worker for pf_normal_pull; zeroed = empty. */
typedef struct pf_normal_rows {
    int rows;         /* room */
    double *y, *work; /* [rows,D] */
    pf_marginal *at;  /* [rows] */
} pf_normal_rows;
/* Makes room for this many rows of D (contents are lost when it grows).  Fails PF_EMEM. */
PF_MUST_USE pf_status pf_normal_rows_reserve(pf_normal_rows *b, int rows, int D);
void pf_normal_rows_free(pf_normal_rows *b);

/* A view named `name` of these dimensions (0: none) placed at *offset, which moves on. */
pf_param pf_analytic_view(const char *name, int d0, int d1, int d2, size_t *offset);

#endif
