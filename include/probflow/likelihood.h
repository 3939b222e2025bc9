/* Exact log-likelihood by the probability-flow ODE, and the denoising-score-matching bound.
 *
 *     log p_0(x) = log p_1(x_1) + integral_{t_min}^1 div f(x_t, t) dt      (Song et al. 2021, eq. 39)
 *
 * Two estimands, named and never mixed:
 *   nll_ode  clean dequantised x placed at t_min
 *   bound    DSM bound on [t_min, 1] with the decoder term at t_min      (Song et al. 2021b, thm. 1, 3)
 *
 * All figures are bits per dimension unless a name says nats. */
#ifndef PROBFLOW_LIKELIHOOD_H
#define PROBFLOW_LIKELIHOOD_H

#include <probflow/flow.h>
#include <probflow/ledger.h>
#include <probflow/random.h>

typedef enum pf_dequant {
    PF_DEQUANT_NONE,
    PF_DEQUANT_UNIFORM,
    PF_DEQUANT_TRUNCATED_NORMAL
} pf_dequant;
typedef enum pf_estimand { PF_NLL_ODE, PF_BOUND, PF_NLL_AND_BOUND } pf_estimand;

typedef struct pf_likelihood_opt {
    pf_ode_opt ode;
    int estimand;       /* pf_estimand */
    int dequantisation; /* pf_dequant */
    int draws;          /* J dequantisation draws an image */
    int probe;          /* pf_probe */
    int probes;         /* K */
    int group;          /* images a solve: part of the definition of the result */
    int bound_samples;  /* times an image for the bound */
    int check_groups; /* groups repeated at a tenth of the tolerances for the solver's share */
    int64_t seed;
} pf_likelihood_opt;
extern const pf_opt pf_likelihood_opts[];

/* Scores images [first, first+B) of one group.  pixels uint8 [B,D] when dequantising (levels
 * values), else x double [B,D] in model scale.  rows [draws*B] is filled draw by draw.
 * score: this worker's, batch >= B.  repeat = 1 also fills solver_error.  Local. */
typedef struct pf_group {
    int64_t first;
    int B, levels;
    const unsigned char *pixels;
    const double *x;
    int repeat;
} pf_group;
PF_MUST_USE pf_status pf_likelihood_group(const pf_sde *sde, pf_score *score,
                                          const pf_likelihood_opt *opt, const pf_group *group,
                                          pf_ledger *rows);

/* Bytes that pf_likelihood_group takes while it runs for images of dim entries: the solver's
 * vectors, probes and their products.  What the score holds is not among them. */
size_t pf_likelihood_bytes(const pf_likelihood_opt *opt, int dim);

/* Mean and standard error over images; rows in any order, draws of one image together averaged first.
 * All NaN when n = 0 or memory is exhausted. */
void pf_likelihood_summary(const pf_ledger *rows, int64_t n, pf_summary *out);

/* Dequantises pixel values k of `levels` into model scale [-1,1]: x = 2 (k + u)/levels - 1.
 * Writes x [D] and log q(u|x) summed over the D entries [nats, in units of u].
 * truncated_normal: u - 1/2 = N(0, s^2) cut to +-1/2, s set so that it matches the model's std
 * at t_min in pixel units. */
void pf_dequantise(const pf_sde *sde, const pf_likelihood_opt *opt, const pf_draw *draw,
                   int dim, int levels, const unsigned char *pixels, double *x, double *log_q);

#endif
