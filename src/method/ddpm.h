/* Denoising diffusion probabilistic models (Ho et al. 2020) on data of levels, on the grid
 * x = 2k/(L-1) - 1.
 *
 * pf_method_ddpm trains.  The functions below it evaluate and sample a trained network, one index i of the
 * chain at a time:
 *
 *     bound [nats] = prior + sum_i term(i),     term(0) the decoder, term(i) a KL divergence
 *     x_(T-1) from start, then step(i) for i = T-1 .. 0
 *
 * Rows are in double; only what the network reads and returns is float.  `self` is what open made.  A batch
 * gives B, sample, seed and, but for start and step, x.  All Local.
 *
 * Test    test_ddpm, test_gauss; check_vectors on gauss_*.h5 (the functions of gauss.h beneath) */
#ifndef PROBFLOW_SRC_METHOD_DDPM_H
#define PROBFLOW_SRC_METHOD_DDPM_H

#include <probflow/net.h>

#include "method/gauss.h"

extern const pf_method_ops pf_method_ddpm;

enum { PF_DDPM_X, PF_DDPM_COND, PF_DDPM_SIGMA, PF_DDPM_MEAN, PF_DDPM_PORTS };

typedef struct pf_ddpm_opt {
    int steps, schedule, predicts, variance, loss, clip, cdf;
    double beta_start, beta_end;
} pf_ddpm_opt;

/* What open makes. */
typedef struct pf_ddpm {
    pf_ddpm_opt opt;
    pf_space space;
    pf_decoder decoder;
    size_t D, bytes; /* of a sample's scratch, a `seen` */
    pf_gauss *gauss;
    pf_gauss_at *at; /* [T] */
} pf_ddpm;

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
/* The levels' own numbers: the floats nearest to them are off by up to 6e-8. */
void pf_ddpm_on_grid(const pf_ddpm *m, size_t n, const float *from, double *to);
/* What the network reads of sample s at index i besides x. */
void pf_ddpm_show_index(const pf_ddpm *m, int s, int i, void *const *in);

/* ---- one index of the chain ---- */

int pf_ddpm_steps(const void *self);

/* x_i [B,D] of the bound at index i [B] of each sample: one draw an image, draw and index, f(seed, EVAL_NOISE,
 * sample, step T + i). */
void pf_ddpm_noised(const void *self, const pf_batch *b, const int *i, double *xi);
/* What the network reads at x_i [B,D]: fills in[p] of each port p that is not NULL. */
void pf_ddpm_show(const void *self, int B, const int *i, const double *xi, void *const *in);
/* nats [B]: term i [B] of the bound, from the network's output net [B,D] at x_i. */
void pf_ddpm_term(const void *self, const pf_batch *b, const int *i, const double *xi,
                  const float *net, double *nats);
/* nats [B]: what the last x_i knows of x_0. */
void pf_ddpm_prior(const void *self, const pf_batch *b, double *nats);
/* x [B,D]: the standard normal draw that sampling begins with, f(seed, PRIOR, sample). */
void pf_ddpm_start(const void *self, const pf_batch *b, double *x);
/* x_i -> x_(i-1) in place, with f(seed, SAMPLE, sample, i); x0 [B,D] (NULL: unwanted) the prediction of x_0 on
 * the way. */
void pf_ddpm_step(const void *self, const pf_batch *b, int i, const float *net, double *x,
                  double *x0);

/* The chain of a trained network, by these; see pf_method_ops.chain. */
PF_MUST_USE pf_status pf_ddpm_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
