/* Samplers: x at t = 1 from the prior, integrated to t_min.  A new sampler is one file and one
 * row in samplers.c. */
#ifndef PROBFLOW_SAMPLE_H
#define PROBFLOW_SAMPLE_H

#include <probflow/comm.h>
#include <probflow/flow.h>
#include <probflow/net.h>
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
    unsigned needs; /* PF_NEEDS_...: what of a model it draws with */
    /* x [B,D] of global samples first .. first+B-1 (each its own random stream, so a sample does
     * not depend on the batch it was drawn in); evaluations += network calls. */
    pf_status (*draw)(const pf_sde *sde, pf_score *score, const pf_sample_opt *opt,
                      int64_t first, int B, double *x, int64_t *evaluations);
} pf_sampler_ops;
extern const pf_sampler_ops *const
    pf_samplers[]; /* ode, reverse_diffusion, euler_maruyama, ancestral; NULL-terminated */
PF_MUST_USE pf_status pf_sampler_find(const char *name, const pf_sampler_ops **out);

/* Samples 0 .. n-1 of a network, drawn by the workers of all ranks. */
typedef struct pf_sampling {
    /* Given; borrowed. */
    const pf_net *net; /* with its parameters */
    const pf_sampler_ops *sampler;
    const pf_sample_opt *opt;
    int64_t n;
    /* Filled on rank 0. */
    double *x; /* [n,D] in model scale; owned */
    double evaluations;
} pf_sampling;
/* Collective.  Sample i is the same whatever n, the number of ranks and of threads (samplers that choose
 * their steps: for the same batch of 32).  To be freed also after a failure.
 * Fails  PF_EARG: the sampler needs something else than a score; as pf_net_score, the sampler and
 *        pf_queue_run do.
 * Test   samples_do_not_depend_on_how_many_are_drawn */
PF_MUST_USE pf_status pf_sampling_run(pf_comm *c, pf_sampling *s);
void pf_sampling_free(pf_sampling *s); /* a zeroed one allowed */

/* Where the samples go, and what their file says of the model. */
typedef struct pf_sample_files {
    const char *out;    /* x, in model scale, and images, of 8 bit */
    const char *png;    /* a grid of them, of 1 or 3 channels; NULL: none */
    const char *config; /* of the model's checkpoint */
    int64_t step;
    int raw; /* parameters, though there is an average */
} pf_sample_files;
/* Local, rank 0, after pf_sampling_run.  Fails as pf_store_write and pf_png_grid do; PF_EMEM. */
PF_MUST_USE pf_status pf_sampling_write(const pf_sampling *s, const pf_sample_files *f);

#endif
