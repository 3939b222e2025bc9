/* Denoising diffusion probabilistic models (Ho et al. 2020; Nichol and Dhariwal 2021) on data of levels, on the
 * grid x = 2k/(L-1) - 1.
 *
 * pf_method_ddpm trains.  The functions below it evaluate and sample a trained network, one index i of the
 * chain at a time:
 *
 *     bound [nats] = prior + sum_i term(i),     term(0) the decoder, term(i) a KL divergence
 *     x_(T-1) from start, then step(i) for i = T-1 .. 0
 *
 * With self_condition the model of every term is one of two passes: the network is told nothing, then what it
 * predicted, and the output of the second pass is the model's.  That is a function of x_i, so the bound is one.
 * Samples are drawn with one pass a step, told the prediction of the step before, as published: by a chain
 * that remembers, not quite by the one of the bound.
 * Source  Chen, Zhang and Hinton 2023, section 2.2 (self-conditioning).
 *
 * Rows are in double; only what the network reads and returns is float.  `self` is what open made.  A batch
 * gives B, sample, seed and, but for start and step, x.  All Local.
 *
 * Test    test_ddpm, test_gauss; check_vectors on gauss_*.h5 (the functions of gauss.h beneath) */
#ifndef PROBFLOW_SRC_METHOD_DDPM_H
#define PROBFLOW_SRC_METHOD_DDPM_H

#include <probflow/net.h>

#include "method/gauss.h"
#include "method/told.h"

extern const pf_method_ops pf_method_ddpm;
extern const pf_acts pf_ddpm_acts[];

typedef struct pf_ddpm_opt {
    int steps, schedule, predicts, variance, loss, clip, cdf, rescale_timesteps, times;
    int weight, self_condition, log_variance_clip;
    double beta_start, beta_end, schedule_start, schedule_end, schedule_tau;
    double min_snr_gamma, vb_weight, decoder_floor, offset_noise;
} pf_ddpm_opt;

/* What see keeps of a sample for loss. */
typedef struct pf_ddpm_seen {
    int32_t index, twice; /* twice: the network is told its first prediction of the data */
    float noise[];        /* [D] */
} pf_ddpm_seen;

/* What open makes: the chain that is trained, or the part of its steps that a view keeps. */
typedef struct pf_ddpm {
    pf_ddpm_opt opt;
    pf_space space;
    size_t D, in, out; /* entries of a datum, of the network's x and of its output for it */
    size_t bytes;      /* of a sample's scratch, a pf_ddpm_seen */
    int T;             /* steps */
    int clip;          /* predictions of the data are cut */
    int *number;       /* [T] of these steps in the chain that is trained */
    pf_gauss *gauss;
    pf_gauss_at *at; /* [T] */
} pf_ddpm;

/* respacing: as pf_gauss_spacing, "": all steps.  Owned; pf_ddpm_close, NULL allowed.  Fails PF_EARG, PF_EMEM. */
PF_MUST_USE pf_status pf_ddpm_open(const pf_ddpm_opt *opt, const pf_space *space,
                                   const char *respacing, pf_ddpm **out);
void pf_ddpm_close(pf_ddpm *m);

/* ---- rows in pieces that stay on the stack ---- */

enum { PF_DDPM_PIECE = 256 };
/* Pieces of the rows of B samples, one after another: entries from .. from+n-1 of [B,D], which are at ..
 * at+n-1 of sample s.  Begins with a zeroed one. */
typedef struct pf_ddpm_piece {
    int s;
    size_t at, from, n;
} pf_ddpm_piece;
/* The next one; 0: there is none. */
int pf_ddpm_next(const pf_ddpm *m, int B, pf_ddpm_piece *p);
void pf_ddpm_widen(size_t n, const float *from, double *to);
/* A piece of what the network returned, net [B,out], and of derivatives with respect to it: of each pixel the
 * channels of the mean come first, then those of the variance where it is learned. */
typedef struct pf_ddpm_rows {
    double mean[PF_DDPM_PIECE], variance[PF_DDPM_PIECE];
} pf_ddpm_rows;
pf_gauss_net pf_ddpm_take(const pf_ddpm *m, const pf_ddpm_piece *p, const float *net,
                          pf_ddpm_rows *to);
void pf_ddpm_put(const pf_ddpm *m, const pf_ddpm_piece *p, double scale,
                 const pf_ddpm_rows *from, float *net);
/* A piece of the model. */
typedef struct pf_ddpm_model {
    double x0[PF_DDPM_PIECE], mean[PF_DDPM_PIECE], log_variance[PF_DDPM_PIECE];
} pf_ddpm_model;
/* Where entry `at` of a datum is in the network's x [in].  With self_condition each pixel has a prediction of the data
 * before it, as many channels, zeros where the network is told none. */
size_t pf_ddpm_seen_at(const pf_ddpm *m, size_t at);
/* Tells the network a piece of its prediction, x0 [n]. */
void pf_ddpm_tell(const pf_ddpm *m, const pf_ddpm_piece *p, const double *x0, void *const *in);
/* The levels' own numbers: the floats nearest to them are off by up to 6e-8. */
void pf_ddpm_on_grid(const pf_ddpm *m, size_t n, const float *from, double *to);
/* The number of index i that the network is told. */
double pf_ddpm_told(const pf_ddpm *m, int i);
/* What the network reads of sample s at index i besides x. */
void pf_ddpm_show_index(const pf_ddpm *m, int s, int i, void *const *in);

/* ---- one index of the chain ---- */

/* x_i [B,D] of the bound at index i [B] of each sample: one draw an image, draw and index, f(seed, EVAL_NOISE,
 * sample, step T + i), T and i those of the chain that is trained: steps that are kept have the noise they had. */
void pf_ddpm_noised(const pf_ddpm *m, const pf_batch *b, const int *i, double *xi);
/* What the network reads at x_i [B,D], told no prediction: fills in[p] of each port p that is not NULL. */
void pf_ddpm_show(const pf_ddpm *m, int B, const int *i, const double *xi, void *const *in);
/* x0 [B,D]: the data predicted by the network's output net [B,out] at x_i, cut where m->clip says so. */
void pf_ddpm_predict(const pf_ddpm *m, int B, const int *i, const double *xi, const float *net,
                     double *x0);
/* nats [B]: term i [B] of the bound, from the network's output net [B,out] at x_i. */
void pf_ddpm_term(const pf_ddpm *m, const pf_batch *b, const int *i, const double *xi,
                  const float *net, double *nats);
/* nats [B]: what the last x_i knows of x_0. */
void pf_ddpm_prior(const pf_ddpm *m, const pf_batch *b, double *nats);
/* x [B,D]: the standard normal draw that sampling begins with, f(seed, PRIOR, sample). */
void pf_ddpm_start(const pf_ddpm *m, const pf_batch *b, double *x);
/* One step in place at index i, from the network's output net [B,out]; see pf_move.  Noise is f(seed, SAMPLE, sample,
 * i).  g [B,D] the gradient of guidance, NULL: none.  x0 [B,D] (NULL: unwanted) the prediction of x_0 on the way. */
typedef struct pf_ddpm_here {
    int i;
    const pf_move *how;
    const float *net;
    const double *g;
} pf_ddpm_here;
void pf_ddpm_step(const pf_ddpm *m, const pf_batch *b, const pf_ddpm_here *at, double *x,
                  double *x0);

/* The chain of a trained network, by these; see pf_method_ops.chain. */
PF_MUST_USE pf_status pf_ddpm_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
