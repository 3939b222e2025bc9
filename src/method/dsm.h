/* Weighted denoising score matching of a batch, and what a network sees of it; see dsm.c. */
#ifndef PROBFLOW_SRC_METHOD_DSM_H
#define PROBFLOW_SRC_METHOD_DSM_H

#include <probflow/graph.h>
#include <probflow/objective.h>
#include <probflow/sde.h>
#include <stdint.h>

#include "method/predict.h"
#include "method/told.h"

/* How a network is told the time: 999 t, std/mean, or the label of a noise level, whose noise the score then has. */
typedef enum pf_cond { PF_COND_BY_SDE, PF_COND_T, PF_COND_SIGMA, PF_COND_LABEL } pf_cond;
extern const char *const pf_cond_words[]; /* NULL-terminated, by pf_cond */

/* Method `sde`. */
typedef struct pf_sde_method {
    pf_sde sde;
    pf_objective_opt objective;
    int predicts, cond; /* pf_predict, pf_cond */
    int levels;         /* of PF_COND_LABEL */
} pf_sde_method;
extern const pf_opt pf_sde_method_opts[]; /* of section `method`: predicts, cond and levels */

/* What the network is told of time t, in double. */
double pf_sde_method_cond(const pf_sde_method *m, double t);
/* The noise that the score and the network are told of: std(t), of labels that of their level. */
double pf_sde_method_noise(const pf_sde_method *m, double t);
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

/* What a network may see beside what told.h has: log(mean^2/std^2).  A further input is a number here, its name in
 * pf_dsm_ports and its value in dsm.c. */
enum { PF_DSM_LOG_SNR = PF_TOLD, PF_DSM_PORTS };
/* Offered for data of this shape; the output has it too. */
pf_ports pf_dsm_ports(pf_shape data);
/* Fills in[] [B, shape of the port], by these numbers; NULL: not wanted. */
void pf_dsm_show(const pf_dsm *d, void *const *in);
/* The same of sample b at time t, without the data. */
void pf_dsm_show_time(const pf_sde_method *m, double t, int b, void *const *in);

/* The factor that |s score + z|^2 of a sample of dim entries at time t has in the loss. */
double pf_dsm_weight(const pf_sde_method *m, double t, int dim);
typedef struct pf_dsm_at { /* a time */
    double mean, std;
    pf_affine_score f;
} pf_dsm_at;
/* Adds |s score + z|^2 over n entries of one sample to *sum: data x, noise z, network output net [n], x_t = mean x + std z,
 * score = f.a x_t + f.c net.  slope [n] (NULL: not wanted) = factor/2 times its derivative by net.  In double.
 * Test  check_vectors losses.h5 */
void pf_dsm_square(const pf_dsm_at *at, size_t n, const double *x, const double *z,
                   const double *net, double factor, double *slope, double *sum);

/* loss [B] per sample from the raw network output net [B,D]; gout [B,D] (NULL: not wanted)
 * = scale * d(sum_b loss_b)/d net.  Sums in double. */
void pf_dsm_loss(const pf_dsm *d, const float *net, double scale, double *loss, float *gout);

#endif
