/* Multinomial diffusion (Hoogeboom et al. 2021): categories that keep their value or are drawn anew.
 *
 *     q(x_i | x_(i-1)) = a_i [x_i = x_(i-1)] + (1 - a_i)/K,     A_i = a_0 .. a_i,   i = 0 .. T-1, the least noisy first
 *     q(x_i | x_0)     = A_i [x_i = x_0] + (1 - A_i)/K
 *     a_i = sqrt(clip(f((i+1)/T)/f(i/T), .001, 1)),   f(t) = cos^2((t + .008)/1.008 pi/2)
 *
 * Here x_i is what index i makes of the datum, so q(x_(i-1) | ..) of i = 0 is of the datum itself.  The clip leaves
 * A_(T-1) above 0, so the prior has a cost, which is counted.
 *
 *     posterior  q(x_(i-1) | x_i, x_0)  ~  q(x_(i-1) | x_0) q(x_i | x_(i-1))
 *     data       p(x_(i-1) | x_i)       ~  (sum_k p_k q(x_(i-1) | x_0 = k)) q(x_i | x_(i-1)),   p the network's softmax
 *     before     p(x_(i-1) | x_i)       =  the network's softmax
 *
 * Of `data` this is not the mean of the posteriors over p; it is what was published.  At i = 0 it is
 * p_k q(x_0-th noise | k), renormalised.  Terms, in nats of a row:
 *
 *     L_i = KL(posterior || p), i > 0;     L_0 = -log p(datum | x_0-th noise);     prior = KL(q(x_(T-1) | datum) || 1/K)
 *
 * Published code floors the logarithm of a one-hot at that of 1e-30, which shows in the posterior at i = 0 alone.
 *
 * All in double, of one entry, and Local.
 * Source  Hoogeboom et al. 2021, section 4 and appendix; their published code (diffusion_multinomial.py)
 * Test    test_multinomial; check_vectors on multinomial_*.h5 */
#ifndef PROBFLOW_SRC_METHOD_MULTINOMIAL_H
#define PROBFLOW_SRC_METHOD_MULTINOMIAL_H

#include <probflow/net.h>

#include "method/categorical.h"

/* ---- pieces ---- */

typedef struct pf_multi_at { /* an index */
    int i, K;
    double keep, moved;   /* a_i, (1 - a_i)/K */
    double before, other; /* A_(i-1), (1 - A_(i-1))/K; at 0: 1 and the floor 1e-30 */
    double kept, spread;  /* A_i, (1 - A_i)/K */
} pf_multi_at;

/* log_a [T], and log_kept [T] their sums. */
void pf_multi_schedule(int T, double *log_a, double *log_kept);
/* log(1 - exp(log_a)) */
double pf_multi_moved(double log_a);
/* at [T] */
void pf_multi_table(int T, int K, pf_multi_at *at);

/* Logarithms of chances, log_q [K]. */
void pf_multi_step(const pf_multi_at *a, int x, double *log_q);   /* q(x_i | x_(i-1) = x) */
void pf_multi_noised(const pf_multi_at *a, int x, double *log_q); /* q(x_i | x_0 = x) */
/* q(x_(i-1) | x_i = xt, x_0 = x) */
void pf_multi_posterior(const pf_multi_at *a, int xt, int x, double *log_q);

/* What the network's logits are of. */
typedef enum pf_multi_predicts { PF_MULTI_DATA, PF_MULTI_BEFORE } pf_multi_predicts;
/* log p(x_(i-1) | x_i = xt), log_p [K]; z [K] the network's logits. */
void pf_multi_reverse(pf_multi_predicts what, const pf_multi_at *a, int xt, pf_cat_row z,
                      double *log_p);
/* L_i of an entry x that became xt, nats; g [K] = scale dL_i/dz. */
double pf_multi_term(pf_multi_predicts what, const pf_multi_at *a, const int32_t xt_and_x[2],
                     pf_cat_row z, double scale, pf_cat_slope g);
/* The prior's cost of an entry, nats; a: the last index. */
double pf_multi_prior(const pf_multi_at *a);

/* ---- the method ---- */

extern const pf_method_ops pf_method_multinomial;

typedef struct pf_multi_opt {
    int steps, predicts, times;
} pf_multi_opt;

/* What open makes. */
typedef struct pf_multi {
    pf_multi_opt opt;
    pf_cat cat;
    int T;
    size_t bytes; /* of a sample's scratch */
    pf_multi_at *at;
} pf_multi;

/* What the network is told of index i: a place among 4000, as published networks take it. */
static inline double pf_multi_cond(const pf_multi *m, int i)
{
    return 4000.0 * i / m->T;
}

/* xt [D] from the datum x [D] at an index, with the noise of a draw; padding stays. */
void pf_multi_noise(const pf_multi *m, int i, const pf_draw *d, const int32_t *x, int32_t *xt);

/* The chain of a trained network; see pf_method_ops.chain.  Step i of the chain uses index i - 1, term i is L_i.
 * Known entries are set after each step. */
PF_MUST_USE pf_status pf_multi_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
