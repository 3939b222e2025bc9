/* Probes of one group of images and what becomes of their products. */
#ifndef PROBFLOW_SRC_LIKELIHOOD_PROBE_H
#define PROBFLOW_SRC_LIKELIHOOD_PROBE_H

#include <probflow/likelihood.h>

typedef struct pf_probes {
    const pf_likelihood_opt *opt;
    const pf_group *group;
    pf_control_use use;
    int D;
    int products;  /* an image and evaluation: subspace + probes; 1 when exact */
    double *v;     /* [products,B,D], the subspace first; empty when exact */
    double *known; /* [probes,B] of the control variate; NULL: none */
    double *work;  /* of products with the control */
    float *draw;   /* [D] */
} pf_probes;

/* Zeroed object.  Fails PF_EMEM. */
PF_MUST_USE pf_status pf_probes_init(pf_probes *p, const pf_sde *sde,
                                     const pf_likelihood_opt *opt, const pf_group *group,
                                     int D);
void pf_probes_free(pf_probes *p);
/* 1 when they need the covariance of the data: a control variate, or a subspace. */
int pf_trace_has_control(const pf_trace_opt *opt);
size_t pf_probes_bytes(const pf_trace_opt *opt, int B, int D);

/* Draws them for dequantisation draw `draw` of each image. */
void pf_probes_draw(pf_probes *p, int draw);

/* From div [products], the integrals of v'Jv of image b: the divergence, and the variance of that
 * estimate as the spread of its sets shows it (0 exact, NaN for one set) [nats]. */
void pf_probes_read(const pf_probes *p, int b, const double *div, double *mean,
                    double *variance);

#endif
