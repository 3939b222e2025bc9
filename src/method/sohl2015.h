/* Gaussian diffusion of Sohl-Dickstein et al. 2015, on data y of about unit variance.
 *
 *     q(x_i | x_(i-1)) = N(sqrt(1 - b_i) x_(i-1), b_i)                       i = 0 .. T-1, as in gauss.h
 *     p(x_(i-1) | x_i) = N(x_i sqrt(1 - b_i) + m sqrt(b_i), sigmoid(r/sqrt(T) + logit b_i))        i >= 1
 *     p(y | x_0)       = N(x_0 sqrt(1 - b_0), b_0)
 *
 * The network returns Z [.., 2, n] for each entry, coefficients of n bumps in time: m = sum_k Z_0k phi_k(i), r the
 * same of Z_1k.  The last step is the forward kernel, which leaves a standard normal as it is.
 *
 * The bound with its right factor, for i uniform on 1 .. T-1, in nats an entry above a standard normal's:
 *
 *     (T - 1) KL_i + 1/2 log b_0 - 1/2 log(1 - abar_(T-1))
 *
 * It counts E y^2 as 1 at both ends.  `exact` does not: its ends are those of this y, and the sum is a bound of -log p
 * for any data,
 *
 *     prior  KL(q(x_(T-1) | y) || N(0, 1)),     decoder  E -log p(y | x_0) = 1/2 (log 2 pi b_0 + 1 - b_0 + b_0 y^2)
 *
 * All in double, of one entry unless a size is given, and Local.
 * Source  Sohl-Dickstein et al. 2015, eq. 1 to 14 and appendix; their published code (model.py, sampler.py)
 * Test    test_sohl2015; check_vectors on sd15_*.h5 */
#ifndef PROBFLOW_SRC_METHOD_SOHL2015_H
#define PROBFLOW_SRC_METHOD_SOHL2015_H

#include <probflow/net.h>

#include "method/gauss.h"
#include "method/told.h"

/* ---- pieces ---- */

typedef enum pf_sohl_schedule {
    PF_SOHL_PUBLISHED, /* 1/linspace(T, 2, T), kept off 0 and 1, plus `first` in the first step */
    PF_SOHL_GEOMETRIC /* from `first` to `last` in equal ratios */
} pf_sohl_schedule;
/* beta [T], T >= 2. */
void pf_sohl_betas(pf_sohl_schedule s, double first, double last, int T, double *beta);

enum { PF_SOHL_BUMPS_MAX = 64 };
/* phi [n], n >= 2: the bumps at index i of T, which add up to 1. */
void pf_sohl_bumps(int T, int i, int n, double *phi);
/* How much index i counts at a real-valued time t: 1 at t = i, falling to 0 at its neighbours. */
double pf_sohl_weight(double t, int i);

typedef struct pf_sohl_at {
    pf_gauss_at gauss; /* its model is a mean and a log variance */
    double keep, add;  /* sqrt(1 - b), sqrt(b) */
    double logit;      /* of b */
    double range;      /* 1/sqrt(T) */
    int n;
    const double *phi; /* [n] */
} pf_sohl_at;
typedef struct pf_sohl_tables {
    int T;
    pf_gauss *gauss;
    double *phi;    /* [T,n] */
    pf_sohl_at *at; /* [T] */
} pf_sohl_tables;
/* Owned.  Fails PF_EARG: a beta outside (0, 1); PF_EMEM. */
PF_MUST_USE pf_status pf_sohl_create(int T, const double *beta, int n, pf_sohl_tables **out);
void pf_sohl_free(pf_sohl_tables *t); /* NULL allowed */

/* y moved within its bin: width (u - 1/2), the width in the scale of y. */
double pf_sohl_spread(double y, double width, double u);
/* sum_k z[k] phi_k */
double pf_sohl_read(const pf_sohl_at *a, const double *z);
/* The model of a step, i >= 1, with d(log variance)/dr (NULL: unwanted); at i = 0 what it is for any m and r. */
void pf_sohl_reverse(const pf_sohl_at *a, double x, double m, double r, double *mean,
                     double *log_variance, double *slope);
/* N(mean, variance) times N(x; known, std^2), renormalised; std 0: known. */
void pf_sohl_multiply(double known, double std, double *mean, double *variance);
/* Nats an entry above a standard normal's, for a KL [nats an entry] that counts `factor` times: T - 1 for one of
 * T - 1 terms, 1 for their sum. */
double pf_sohl_bound(const pf_sohl_tables *t, double factor, double kl);

/* ---- the method ---- */

extern const pf_method_ops pf_method_sohl2015;

typedef enum pf_sohl_ends { PF_SOHL_EXACT, PF_SOHL_AS_PUBLISHED } pf_sohl_ends;

typedef struct pf_sohl_opt {
    int steps, schedule, bumps, bound, times;
    double step1_beta, last_beta, shift, scale;
} pf_sohl_opt;

/* What open makes. */
typedef struct pf_sohl {
    pf_sohl_opt opt;
    pf_space space;
    size_t D, bytes; /* entries of a datum; of a sample's scratch */
    pf_sohl_tables *t;
} pf_sohl;

/* Entries of a row that are worked on at once, on the stack. */
enum { PF_SOHL_PIECE = 128 };
typedef struct pf_sohl_model {
    double mean[PF_SOHL_PIECE], log_variance[PF_SOHL_PIECE], slope[PF_SOHL_PIECE];
} pf_sohl_model;
/* Of n entries at xi [n]; net is what the network returned for them, [n,2,bumps]. */
void pf_sohl_predict(const pf_sohl_at *a, size_t n, const double *xi, const float *net,
                     pf_sohl_model *to);
/* What the network reads of sample s at index i besides x. */
void pf_sohl_show_index(const pf_sohl *m, int s, int i, void *const *in);
/* Model scale to the scale of y. */
double pf_sohl_unit(const pf_sohl *m, double x);

/* The chain of a trained network; see pf_method_ops.chain. */
PF_MUST_USE pf_status pf_sohl_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
