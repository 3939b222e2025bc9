/* Weighted denoising score matching of a batch, and what a network sees of it; see dsm.c. */
#ifndef PROBFLOW_SRC_METHOD_DSM_H
#define PROBFLOW_SRC_METHOD_DSM_H

#include <probflow/objective.h>
#include <probflow/sde.h>
#include <stdint.h>

#include "method/predict.h"

/* How a network is told the time: 999 t, or std/mean. */
typedef enum pf_cond { PF_COND_BY_SDE, PF_COND_T, PF_COND_SIGMA } pf_cond;
extern const char *const pf_cond_words[]; /* NULL-terminated, by pf_cond */

/* Method `sde`. */
typedef struct pf_sde_method {
    pf_sde sde;
    pf_objective_opt objective;
    int predicts, cond; /* pf_predict, pf_cond */
} pf_sde_method;
extern const pf_opt pf_sde_method_opts[]; /* of section `method`: predicts and cond */

/* What the network is told of time t, in double. */
double pf_sde_method_cond(const pf_sde_method *m, double t);
/* score = a x + c net at time t. */
pf_affine_score pf_sde_method_score(const pf_sde_method *m, double t);

/* One batch with its noise.  Everything borrowed; D = dim. */
typedef struct pf_dsm {
    const pf_sde_method *m;
    int B, dim;
    const float *x;  /* [B,D] clean, model scale */
    const float *z;  /* [B,D] noise */
    const double *t; /* [B] */
} pf_dsm;

/* Times of global batch positions first .. first+B-1 of `total`, from u0 in [0,1). */
void pf_dsm_times(const pf_sde_method *m, double u0, int64_t first, int B, int64_t total,
                  double *t);

/* What a network sees: xt [B,D], conditioning values cond [B], noise levels sigma [B] = std/mean factor,
 * mean factors mean [B].  The caller's; NULL: not wanted. */
typedef struct pf_dsm_inputs {
    float *xt, *cond, *sigma, *mean;
} pf_dsm_inputs;
void pf_dsm_show(const pf_dsm *d, const pf_dsm_inputs *to);
/* cond, sigma and mean of sample b at time t. */
void pf_dsm_show_time(const pf_sde_method *m, double t, int b, const pf_dsm_inputs *to);

/* loss [B] per sample from the raw network output net [B,D]; gout [B,D] (NULL: not wanted)
 * = scale * d(sum_b loss_b)/d net.  Sums in double. */
void pf_dsm_loss(const pf_dsm *d, const float *net, double scale, double *loss, float *gout);

#endif
