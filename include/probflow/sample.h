/* Samplers: x at t = 1 from the prior, integrated to t_min.  A new sampler is one file and one
 * row in samplers.c. */
#ifndef PROBFLOW_SAMPLE_H
#define PROBFLOW_SAMPLE_H

#include <probflow/comm.h>
#include <probflow/flow.h>
#include <probflow/likelihood.h>
#include <probflow/net.h>
#include <probflow/random.h>
#include <probflow/view.h>

typedef struct pf_sample_opt {
    pf_ode_opt ode;      /* sampler `ode` */
    int steps;           /* predictors */
    int corrector_steps; /* Langevin steps after each predictor step, 0: none */
    double snr;          /* Langevin signal-to-noise ratio */
    int denoise;         /* last step without noise */
    double t_min;
    /* Of chains: which steps are kept, whether predictions are cut (pf_view_opt); of ddim: share of the noise; of
     * guidance: its scale. */
    char respacing[PF_STR_MAX];
    int clip; /* pf_clip */
    double eta, guide_scale;
    /* Of langevin: steps a level, levels where the model offers none, whether known entries keep their noise through a
     * level; the step size of the last level, in published units. */
    int langevin_steps, levels, known_noise;
    double step_size;
    int64_t seed;
} pf_sample_opt;
extern const pf_opt pf_sample_opts[];

/* B samples to be drawn.  Borrowed. */
typedef struct pf_drawing {
    const pf_view *view;
    const pf_space *space;
    const pf_sample_opt *opt;
    int64_t first; /* these are global samples first .. first+B-1 */
    int B;
    const int32_t *label; /* [B]; NULL: the model is told none.  A score knows both already */
    const double *condition; /* [B,C]; the same */
    /* Guides to the label; NULL: nothing does.  The chain itself is then not told the label where it reads none. */
    const pf_classifier *guide;
    /* What the samples shall agree with; see pf_sampling. */
    const double *known; /* [B,D] */
    const unsigned char *mask;
    double known_std;
    int interpolate;
    double *x; /* [B,D] is filled, model scale */
    /* NULL, or [B,D] data: they are encoded in place of drawing from the prior, and their codes are filled in. */
    double *code;
    int previews;         /* how many, at equal distances, the last of them the sample itself */
    double *preview;      /* [previews,B,D] is filled; NULL: none */
    int64_t *evaluations; /* += network calls */
    pf_unfit *unfit;      /* += of these samples, where the chain knows it */
} pf_drawing;

typedef struct pf_sampler_ops {
    const char *name, *help;
    unsigned needs;   /* PF_NEEDS_...: what of a model it draws with */
    int previews;     /* 1: it can show what is expected of the sample on the way */
    int encodes;      /* 1: it has a way back from data */
    int guided;       /* 1: a classifier can guide it */
    int inpaints;     /* 1: samples agree with what is known of them exactly */
    int denoises;     /* 1: and with what is known of them with noise */
    int interpolates; /* 1: it has rows of samples between two draws */
    /* Each sample has its own random stream, so it does not depend on the batch it was drawn in. */
    pf_status (*draw)(const pf_drawing *d);
} pf_sampler_ops;
extern const pf_sampler_ops *const pf_samplers
    []; /* ode, reverse_diffusion, euler_maruyama, ancestral, chain, ddim, langevin; NULL-terminated */
PF_MUST_USE pf_status pf_sampler_find(const char *name, const pf_sampler_ops **out);

/* to += sign from. */
void pf_unfit_add(pf_unfit *to, const pf_unfit *from, int sign);
/* What a model gives to samples that hold what is no datum, estimated from samples as they were first drawn, u->samples > 0:
 *     rows     the share of such samples, m
 *     entries  the share of such entries, of all samples together
 *     bits     -log2(1 - m)/D: what the model, scored as it is, lies above the same model without that mass, bits a dimension
 * with standard errors.  Of rows these are binomial; entries of a sample know of each other, so that theirs are from sample
 * to sample.  Errors are those of two samples more, one with one such entry and one with none: never 0, and the same where
 * many are counted.  Test  shares_of_what_is_no_datum_have_their_errors */
typedef struct pf_estimate {
    double is, error;
} pf_estimate;
typedef struct pf_unfit_shares {
    pf_estimate rows, entries, bits;
} pf_unfit_shares;
pf_unfit_shares pf_unfit_estimate(const pf_unfit *u, int D);

/* Samples 0 .. n-1 of a network, drawn by the workers of all ranks. */
typedef struct pf_sampling {
    /* Given; borrowed. */
    const pf_net *net; /* with its parameters */
    const pf_sampler_ops *sampler;
    const pf_sample_opt *opt;
    int64_t n;
    int previews;            /* of each sample; 0: none */
    const int32_t *label;    /* [n]; NULL: the model is told none */
    const double *condition; /* [n,C]; NULL: the model is told none */
    const pf_net *guide;     /* a classifier with its parameters; NULL: none */
    const double *from; /* [n,D] data in model scale that are encoded and decoded; NULL: none */
    /* What the samples shall agree with, [n,D] in model scale: of the entries that mask [D] has 1 for (NULL: all),
     * exactly where known_std is 0; else the samples are drawn from the model times N(known; x, known_std^2).
     * NULL: nothing. */
    const double *known;
    const unsigned char *mask;
    double known_std;
    int interpolate; /* samples i between two draws, i / interpolate the row; 0: each is a draw */
    /* The bound of each sample under the model, which is not guided, by its chain's steps: estimand vlb with these
     * options and one draw; NULL: not wanted. */
    const pf_likelihood_opt *score;
    /* Filled on rank 0. */
    double *x;       /* [n,D] in model scale; owned */
    double *code;    /* [n,D] the codes of `from`; owned */
    double *bound;   /* [n] bits/dim; owned */
    double *preview; /* [n,previews,D] what was expected of each on the way; owned */
    double evaluations;
    pf_unfit unfit; /* samples 0: all that the model draws are data */
} pf_sampling;
/* Collective.  Sample i is the same whatever n, the number of ranks and of threads (samplers that choose
 * their steps: for the same batch of 32).  To be freed also after a failure.
 * Fails  PF_EARG: the model has not what the sampler needs, or the sampler has no previews, no way back, no guidance,
 *        nothing known or no rows; as pf_net_score, pf_net_chain, the sampler and pf_queue_run do.
 * Test   samples_do_not_depend_on_how_many_are_drawn */
PF_MUST_USE pf_status pf_sampling_run(pf_comm *c, pf_sampling *s);
void pf_sampling_free(pf_sampling *s); /* a zeroed one allowed */

/* Where the samples go, and what their file says of the model. */
typedef struct pf_sample_files {
    /* x, in model scale, and images, of 8 bit; of tokens x, tokens as data sets have them, and entropy [bits], of the
     * symbols at each position over the samples */
    const char *out;
    const char *png; /* a grid of them, of 1 or 3 channels; NULL: none */
    const char
        *previews; /* a grid of what was expected on the way, a row a sample; NULL: none */
    const char
        *dataset; /* the samples as a data set, split test, with their labels; NULL: none */
    const char *vocabulary; /* of tokens in that data set; NULL: not known */
    const char *config;     /* of the model's checkpoint */
    int64_t step;
    int raw; /* parameters, though there is an average */
} pf_sample_files;
/* Entropy [D] of the symbols at each position over n samples of tokens x [n,D], bits, padding not counted.  Local.
 * Fails PF_EMEM.
 * Test  the_entropy_of_a_position_is_that_of_its_symbols */
PF_MUST_USE pf_status pf_symbol_entropy(const pf_space *s, int64_t n, const double *x,
                                        double *entropy);
/* Local, rank 0, after pf_sampling_run.  Fails as pf_store_write and pf_png_grid do; PF_EMEM. */
PF_MUST_USE pf_status pf_sampling_write(const pf_sampling *s, const pf_sample_files *f);

#endif
