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

extern const pf_method_ops pf_method_ddpm;

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
