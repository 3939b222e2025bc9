/* Chains of Gaussians with a fixed schedule (Sohl-Dickstein et al. 2015, Ho et al. 2020).
 *
 *     q(x_i | x_(i-1)) = N(sqrt(1 - b_i) x_(i-1), b_i),     i = 0 .. T-1,  x_(-1) = x_0 the data
 *     q(x_i | x_0)     = N(sqrt(abar_i) x_0, 1 - abar_i),   abar_i = prod_(j<=i) (1 - b_j)
 *     q(x_(i-1) | x_i, x_0) = N(c1_i x_0 + c2_i x_i, btilde_i)
 *
 * The index i is the published code's: 0 is the least noisy.  The model is a Gaussian about a mean that a
 * network predicts.  Everything here is in double, works on rows of n entries of one datum, and is
 * Local.  Bits a dimension are nats/(n ln 2).
 *
 * Source  Ho et al. 2020, eq. 5 to 12, and its published code.
 * Test    test_gauss; check_vectors on gauss_*.h5 */
#ifndef PROBFLOW_SRC_METHOD_GAUSS_H
#define PROBFLOW_SRC_METHOD_GAUSS_H

#include <probflow/status.h>
#include <stddef.h>

/* ---- schedules ---- */
typedef enum pf_schedule {
    PF_SCHEDULE_LINEAR,   /* b0 .. b1 in equal steps                       */
    PF_SCHEDULE_QUAD,     /* squares of sqrt(b0) .. sqrt(b1) in equal steps */
    PF_SCHEDULE_CONST,    /* b1                                            */
    PF_SCHEDULE_JSD,      /* 1/(T - i): the last is 1, pure noise          */
    PF_SCHEDULE_WARMUP10, /* b0 .. b1 over the first tenth, then b1        */
    PF_SCHEDULE_WARMUP50  /* the same over the first half                  */
} pf_schedule;
extern const char *const pf_schedule_words[]; /* in this order, NULL-terminated */

/* beta [T].  Fails PF_EARG: T below 2, or a beta outside (0, 1) but for the last of jsd. */
PF_MUST_USE pf_status pf_gauss_betas(pf_schedule s, double b0, double b1, int T, double *beta);

/* ---- tables ---- */
typedef struct pf_gauss {
    int T;
    double *beta, *abar;
    double *noise; /* 1 - abar, without cancellation */
    double *log_abar;
    double *variance;     /* btilde; [0] is 0 */
    double *log_variance; /* its logarithm; [0] is [1]'s */
    double *c1, *c2;
} pf_gauss;

/* Owned.  beta [T], T >= 2, as pf_gauss_betas leaves it (checked).  Fails PF_EARG, PF_EMEM. */
PF_MUST_USE pf_status pf_gauss_create(int T, const double *beta, pf_gauss **out);
void pf_gauss_free(pf_gauss *g); /* NULL allowed */
/* abar_(i-1), 1 at i = 0; abar_(i+1), 0 at i = T-1. */
double pf_gauss_abar_before(const pf_gauss *g, int i);
double pf_gauss_abar_after(const pf_gauss *g, int i);

/* ---- one index of the model ---- */
typedef enum pf_predicts { PF_PREDICTS_NOISE, PF_PREDICTS_DATA, PF_PREDICTS_MEAN } pf_predicts;
typedef enum pf_variance {
    PF_VARIANCE_FIXED_SMALL, /* btilde                            */
    PF_VARIANCE_FIXED_LARGE  /* beta, at i = 0 btilde of i = 1    */
} pf_variance;

typedef struct pf_gauss_at {
    int i;
    pf_predicts predicts;
    double root, std;              /* x_i = root x_0 + std z */
    double c1, c2;                 /* mean of q(x_(i-1) | x_i, x_0) */
    double q_log_variance;         /* its log variance, clipped at i = 0 */
    double from_x, from_net;       /* x_0 predicted = from_x x_i + from_net net */
    double slope;                  /* d(mean without clipping)/d net */
    double variance, log_variance; /* of the model */
} pf_gauss_at;
pf_gauss_at pf_gauss_index(const pf_gauss *g, pf_predicts p, pf_variance v, int i);

/* x_i from x_0 and noise z. */
void pf_gauss_noised(const pf_gauss_at *a, size_t n, const double *x0, const double *z,
                     double *xi);
/* Mean of q(x_(i-1) | x_i, x_0). */
void pf_gauss_posterior(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                        double *mean);
/* The model's prediction of x_0 and its mean.  clip: the prediction is cut to [-1, 1], and the mean follows
 * it unless the network gives the mean itself. */
void pf_gauss_predict(const pf_gauss_at *a, int clip, size_t n, const double *xi,
                      const double *net, double *x0, double *mean);
/* The noise that belongs to a prediction of x_0.  i = 0 .. T-1 with abar_i > 0. */
void pf_gauss_noise_of(const pf_gauss_at *a, size_t n, const double *xi, const double *x0,
                       double *noise);
/* x_(i-1) = mean + std z of the model; the mean itself at i = 0. */
void pf_gauss_step(const pf_gauss_at *a, size_t n, const double *mean, const double *z,
                   double *x);

/* ---- terms ---- */
/* KL(N(m1, exp lv1) || N(m2, exp lv2)) in nats. */
double pf_normal_kl(double m1, double lv1, double m2, double lv2);
/* Sum over the row of KL(q(x_(i-1) | x_i, x_0) || model), nats; dmean [n] (NULL: unwanted) its derivative
 * with respect to the mean. */
double pf_gauss_kl(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                   const double *mean, double *dmean);
/* Sum over the row of KL(q(x_T | x_0) || N(0, 1)), nats. */
double pf_gauss_prior(const pf_gauss *g, size_t n, const double *x0);
/* Sum over the row of squared errors of net against what it is asked for; dnet (NULL: unwanted) its
 * derivative. */
double pf_gauss_squares(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                        const double *z, const double *net, double *dnet);

/* ---- discretised Gaussian, the decoder of i = 0 ---- */
typedef enum pf_cdf {
    PF_CDF_TANH, /* the published one: an approximate distribution function, each probability >= 1e-12 */
    PF_CDF_EXACT /* the normal distribution: the bins add up to 1, far tails keep their digits */
} pf_cdf;
typedef struct pf_decoder {
    pf_cdf cdf;
    int levels; /* L >= 2: x = 2k/(L-1) - 1, bins of half width 1/(L-1), the outer ones open */
} pf_decoder;

/* 1/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) */
double pf_cdf_tanh(double z);
/* log of the standard normal distribution function, for any z. */
double pf_log_cdf(double z);
/* Log probability [nats] of the bin of x under N(mean, exp(2 log_std)); *dmean (NULL: unwanted) its
 * derivative with respect to the mean.  x is on the grid. */
double pf_decode(const pf_decoder *d, double x, double mean, double log_std, double *dmean);
/* Minus the sum over the row, nats; dmean [n] (NULL: unwanted) its derivative. */
double pf_gauss_decode(const pf_gauss_at *a, const pf_decoder *d, size_t n, const double *x0,
                       const double *mean, double *dmean);
/* Term i of the bound, sum over the row, nats: the decoder at i = 0, else the KL divergence.  dmean as above. */
double pf_gauss_term(const pf_gauss_at *a, const pf_decoder *d, size_t n, const double *x0,
                     const double *xi, const double *mean, double *dmean);

#endif
