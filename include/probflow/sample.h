/* Samplers: x at t = 1 from the prior, integrated to t_min.  A new sampler is one file and one
 * row in samplers.c. */
#ifndef PROBFLOW_SAMPLE_H
#define PROBFLOW_SAMPLE_H

#include <probflow/flow.h>
#include <probflow/random.h>

typedef struct pf_sample_opt {
    pf_ode_opt ode;      /* sampler `ode` */
    int steps;           /* predictors */
    int corrector_steps; /* Langevin steps after each predictor step, 0: none */
    double snr;          /* Langevin signal-to-noise ratio */
    int denoise;         /* last step without noise */
    double t_min;
    int64_t seed;
} pf_sample_opt;
extern const pf_opt pf_sample_opts[];

typedef struct pf_sampler_ops {
    const char *name, *help;
    /* x [B,D] of global samples first .. first+B-1 (each its own random stream, so a sample does
     * not depend on the batch it was drawn in); evaluations += network calls. */
    pf_status (*draw)(const pf_sde *sde, pf_score *score, const pf_sample_opt *opt,
                      int64_t first, int B, double *x, int64_t *evaluations);
} pf_sampler_ops;
extern const pf_sampler_ops *const
    pf_samplers[]; /* ode, reverse_diffusion, euler_maruyama, ancestral; NULL-terminated */
PF_MUST_USE pf_status pf_sampler_find(const char *name, const pf_sampler_ops **out);

#endif
