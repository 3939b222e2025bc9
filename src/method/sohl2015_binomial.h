/* Binomial diffusion of Sohl-Dickstein et al. 2015, on bits.
 *
 *     q(x_t = 1 | x_(t-1)) = x_(t-1) (1 - b_t) + b_t/2,     b_t = 1/(T - t + 1),     t = 1 .. T, x_0 the data
 *     q(x_t = 1 | x_0)     = 1/2 + (x_0 - 1/2)(T - t)/T,    which is 1/2 at T
 *     p(x_0 | x_1)         = the forward kernel of step 1, which leaves uniform bits as they are
 *
 *     K [bits a datum] = - sum_(t=2..T) E KL_t + H_q(x_T | x_0) - H_q(x_1 | x_0) - L  <=  log2 p(x_0)
 *
 * with H_q(x_T | x_0) = L exactly.  All in double, of one bit, and Local.  Bits are 0 and 1.
 * Source  Sohl-Dickstein et al. 2015, section 2 and appendix B.2 (no code of it was published)
 * Test    test_sohl2015_binomial; check_vectors on sd15_*.h5 */
#ifndef PROBFLOW_SRC_METHOD_SOHL2015_BINOMIAL_H
#define PROBFLOW_SRC_METHOD_SOHL2015_BINOMIAL_H

#include <probflow/net.h>
#include <probflow/random.h>

#include "method/told.h"

/* ---- pieces ---- */

double pf_bits_beta(int T, int t);         /* b_t */
double pf_bits_kept(int T, int t);         /* (T - t)/T */
double pf_bits_noised(double kept, int x); /* q(x_t = 1 | x_0 = x) */
double pf_bits_entropy(double p);          /* nats of a bit that is 1 with p */
/* q(x_(t-1) = 1 | x_t = xt, x_0 = x) by Bayes' rule, t >= 2. */
double pf_bits_posterior(int T, int t, int xt, int x);

/* What the network returns for each bit is a logit. */
typedef enum pf_bits_predicts {
    PF_BITS_BEFORE, /* of p(x_(t-1) = 1 | x_t), as published */
    PF_BITS_DATA    /* of p(x_0 = 1 | x_t): p(x_(t-1) | x_t) is the posterior's mean over it */
} pf_bits_predicts;
/* p(x_(t-1) = 1 | x_t). */
double pf_bits_reverse(pf_bits_predicts what, int T, int t, int xt, double logit);
/* KL of the posterior of bits x_t and x_0 against it, nats; slope (NULL: unwanted) its derivative by the logit. */
double pf_bits_kl(pf_bits_predicts what, int T, int t, const int bits[2], double logit,
                  double *slope);
/* Nats a bit of the ends: H_q(x_1 | x_0), which the decoder costs.  The prior costs nothing. */
double pf_bits_decoder(int T);

/* ---- the method ---- */

extern const pf_method_ops pf_method_sohl2015_binomial;

typedef struct pf_bits_opt {
    int steps, predicts, times;
    double rate;
} pf_bits_opt;

/* What open makes. */
typedef struct pf_bits {
    pf_bits_opt opt;
    pf_shape shape;
    int T;
    size_t D, bytes; /* bits of a datum; bytes of a sample's scratch */
} pf_bits;

/* x [D] of a state at t: in model scale, -1 and 1, to the network; what it reads beside it. */
void pf_bits_show(const pf_bits *m, int s, int t, const unsigned char *x, void *const *in);
/* Bits [D] of x_t: those of x_0 [D] with the noise of the draw. */
void pf_bits_draw(const pf_bits *m, int t, const pf_draw *d, const unsigned char *x0,
                  unsigned char *xt);

/* The chain of a trained network; see pf_method_ops.chain. */
PF_MUST_USE pf_status pf_bits_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
