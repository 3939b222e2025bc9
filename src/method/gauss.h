/* Chains of Gaussians with a fixed schedule (Sohl-Dickstein et al. 2015, Ho et al. 2020).
 *
 *     q(x_i | x_(i-1)) = N(sqrt(1 - b_i) x_(i-1), b_i),     i = 0 .. T-1,  x_(-1) = x_0 the data
 *     q(x_i | x_0)     = N(sqrt(abar_i) x_0, 1 - abar_i),   abar_i = prod_(j<=i) (1 - b_j)
 *     q(x_(i-1) | x_i, x_0) = N(c1_i x_0 + c2_i x_i, btilde_i)
 *
 * The index i is the published code's: 0 is the least noisy.  The model is a Gaussian about a mean that a
 * network predicts, of a variance that is fixed or predicted too.  Everything here is in double, works on rows of
 * n entries of one datum, and is Local.  Bits a dimension are nats/(n ln 2).
 *
 * Source  Ho et al. 2020, eq. 5 to 12; Nichol and Dhariwal 2021, eq. 15 to 17; their published code.
 * Test    test_gauss; check_vectors on gauss_*.h5 */
#ifndef PROBFLOW_SRC_METHOD_GAUSS_H
#define PROBFLOW_SRC_METHOD_GAUSS_H

#include <probflow/status.h>
#include <stddef.h>

/* ---- schedules ---- */
typedef enum pf_schedule {
    PF_SCHEDULE_LINEAR,   /* b0 .. b1 in equal steps                                     */
    PF_SCHEDULE_QUAD,     /* squares of sqrt(b0) .. sqrt(b1) in equal steps              */
    PF_SCHEDULE_CONST,    /* b1                                                          */
    PF_SCHEDULE_JSD,      /* 1/(T - i): the last is 1, pure noise                        */
    PF_SCHEDULE_WARMUP10, /* b0 .. b1 over the first tenth, then b1                      */
    PF_SCHEDULE_WARMUP50, /* the same over the first half                                */
    PF_SCHEDULE_COSINE,   /* abar_i ~ cos^2((t + 0.008)/1.008 pi/2), t = (i+1)/T; b <= 0.999 */
    PF_SCHEDULE_LINEAR_SCALED, /* 0.1/T .. 20/T: the noise of T = 1000 for any T > 20        */
    PF_SCHEDULE_SIGMOID /* abar_i ~ s(end) - s(start + (end - start) t), t = (i+1)/T; b <= 0.999 */
} pf_schedule;
extern const char *const pf_schedule_words[]; /* in this order, NULL-terminated */

typedef struct pf_betas {
    pf_schedule schedule;
    double b0, b1;          /* of linear, quad, const and warmup */
    double start, end, tau; /* of sigmoid, s(u) = 1/(1 + exp(-u/tau)) */
} pf_betas;
/* beta [T].  Fails PF_EARG: T below 2, a sigmoid that does not rise, or a beta outside (0, 1) but for the last of
 * jsd. */
PF_MUST_USE pf_status pf_gauss_betas(const pf_betas *s, int T, double *beta);
/* ln(abar/(1 - abar)) at time t in [0, 1] of the two schedules that are continuous in time,
 *     linear  -ln(expm1(1e-4 + 10 t^2))        cosine  -ln(max(cos^-2((t + 0.008)/1.008 pi/2) - 1, 1e-5))
 * Source  denoising-diffusion-pytorch, published code.  Test  check_vectors lucid.h5 */
double pf_log_snr_linear(double t);
double pf_log_snr_cosine(double t);

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
/* The indices that a chain of T steps keeps, keep [T], rising, n of them.  The text is
 *     "A,B,..":  T is cut into as many sections as there are numbers, the first T mod sections of them longer by
 *                one; A, B, .. indices of each, from its first to its last in steps as equal as rounding (halves
 *                to even) lets them
 *     "ddimN":   every S-th from 0, S the smallest that keeps N
 *     "evenN":   floor(k T/N) - 1 for k = 1 .. N: the last one, and steps as equal as they can be downwards
 *     "":        all
 * Fails PF_EARG: another text, fewer indices in a section than are to be kept, no such S, fewer than 2 in all.
 * Source  Nichol and Dhariwal 2021, section 4 and published code; Song, Meng and Ermon 2021; evenN
 *         denoising-diffusion-pytorch, published code, which rounds k T/N. */
PF_MUST_USE pf_status pf_gauss_spacing(const char *text, int T, int *keep, int *n);
/* The chain of these indices of another, b_j = 1 - abar_(keep j)/abar_(keep j-1): what is kept has the same
 * marginals.  Owned.  Fails as pf_gauss_create does. */
PF_MUST_USE pf_status pf_gauss_respace(const pf_gauss *g, const int *keep, int n,
                                       pf_gauss **out);
/* abar_(i-1), 1 at i = 0; abar_(i+1), 0 at i = T-1. */
double pf_gauss_abar_before(const pf_gauss *g, int i);
double pf_gauss_abar_after(const pf_gauss *g, int i);

/* ---- discretised Gaussian, the decoder of i = 0 ---- */
typedef enum pf_cdf {
    PF_CDF_TANH, /* the published one: an approximate distribution function, with a floor */
    PF_CDF_EXACT /* the normal distribution: the bins add up to 1, far tails keep their digits */
} pf_cdf;
typedef struct pf_decoder {
    pf_cdf cdf;
    int levels; /* L >= 2: x = 2k/(L-1) - 1, bins of half width 1/(L-1), the outer ones open */
    double floor; /* of tanh: each probability is at least that; 0: the published 1e-12 */
} pf_decoder;

/* 1/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) */
double pf_cdf_tanh(double z);
/* log of the standard normal distribution function, for any z. */
double pf_log_cdf(double z);
/* Log probability [nats] of the bin of x under N(mean, exp(2 log_std)); slope (NULL: unwanted) its derivatives
 * with respect to the mean and to log_std.  x is on the grid. */
double pf_decode(const pf_decoder *d, double x, double mean, double log_std, double slope[2]);

/* ---- one index of the model ---- */
typedef enum pf_predicts {
    PF_PREDICTS_NOISE,
    PF_PREDICTS_DATA,
    PF_PREDICTS_MEAN, /* of q(x_(i-1) | x_i, x_0) */
    PF_PREDICTS_V     /* sqrt(abar) z - sqrt(1 - abar) x_0 (Salimans and Ho 2022) */
} pf_predicts;
typedef enum pf_variance {
    PF_VARIANCE_FIXED_SMALL,  /* btilde                            */
    PF_VARIANCE_FIXED_LARGE,  /* beta, at i = 0 btilde of i = 1    */
    PF_VARIANCE_LEARNED,      /* exp v, v from the network         */
    PF_VARIANCE_LEARNED_RANGE /* exp(f ln beta + (1 - f) ln btilde), f = (v + 1)/2 */
} pf_variance;
/* vb: term i of the bound in bits a dimension. */
typedef enum pf_gauss_loss_kind {
    PF_LOSS_SIMPLE, /* squared error; + vb with its mean held fixed where the variance is learned */
    PF_LOSS_KL,     /* vb */
    PF_LOSS_RESCALED_SIMPLE, /* the same with vb T/1000 */
    PF_LOSS_RESCALED_KL      /* T vb */
} pf_gauss_loss_kind;
/* Of the squares, by the ratio snr = abar/(1 - abar):   min_snr  w = min(snr, gamma)
 *     noise  w/snr          data  w          v  w/(snr + 1)
 * Source  Hang et al. 2023, section 3.4; denoising-diffusion-pytorch, published code, whose weights without a clip snr
 *         is. */
typedef enum pf_gauss_weight {
    PF_WEIGHT_NONE,
    PF_WEIGHT_SNR, /* w = snr */
    PF_WEIGHT_MIN_SNR
} pf_gauss_weight;
typedef struct pf_gauss_opt {
    pf_predicts predicts;
    pf_variance variance;
    pf_gauss_loss_kind loss;
    pf_decoder decoder;
    pf_gauss_weight weight; /* not of predicted means */
    double gamma;           /* of min_snr */
    double vb_weight;       /* further factor of vb beside squares; 0: 1 */
    int floor_log_variance; /* 1: ln btilde is ln max(btilde, 1e-20), also at i = 0, where else i = 1's stands */
} pf_gauss_opt;
/* 1: the network returns a number for the variance of each entry too. */
int pf_gauss_learns(pf_variance v);

typedef struct pf_gauss_at {
    int i;
    pf_gauss_opt opt;
    double root, std;              /* x_i = root x_0 + std z */
    double c1, c2;                 /* mean of q(x_(i-1) | x_i, x_0) */
    double q_log_variance;         /* its log variance, clipped at i = 0 */
    double from_x, from_net;       /* x_0 predicted = from_x x_i + from_net net */
    double slope;                  /* d(mean without clipping)/d net */
    double variance, log_variance; /* of the model where it is fixed */
    double from, range;            /* where it is learned: log variance = from + range v */
    double before, after;          /* abar_(i-1), abar_(i+1) */
    int simple;                    /* 1: the loss has squares */
    double squares, nats, unit;    /* loss = (squares sum_squares + nats sum_nats)/(D unit) */
} pf_gauss_at;
pf_gauss_at pf_gauss_index(const pf_gauss *g, const pf_gauss_opt *o, int i);

/* Rows [n] of one datum. */
typedef struct pf_gauss_net { /* what the network returned */
    const double *mean;       /* as opt.predicts says */
    const double *variance;   /* NULL where the variance is fixed */
} pf_gauss_net;
typedef struct pf_gauss_model {  /* filled */
    double *x0;                  /* predicted */
    double *mean, *log_variance; /* of p(x_(i-1) | x_i) */
} pf_gauss_model;
typedef struct pf_gauss_slope { /* derivatives */
    double *mean, *log_variance;
} pf_gauss_slope;

/* x_i from x_0 and noise z. */
void pf_gauss_noised(const pf_gauss_at *a, size_t n, const double *x0, const double *z,
                     double *xi);
/* Mean of q(x_(i-1) | x_i, x_0). */
void pf_gauss_posterior(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                        double *mean);
/* The model.  clip: the prediction of x_0 is cut to [-1, 1], and the mean follows it unless the network gives the
 * mean itself. */
void pf_gauss_predict(const pf_gauss_at *a, int clip, size_t n, const double *xi,
                      const pf_gauss_net *net, const pf_gauss_model *to);
/* Its variance, given its log variance: fixed_small has none at i = 0. */
double pf_gauss_variance(const pf_gauss_at *a, double log_variance);
/* The noise that belongs to a prediction of x_0.  i = 0 .. T-1 with abar_i < 1. */
void pf_gauss_noise_of(const pf_gauss_at *a, size_t n, const double *xi, const double *x0,
                       double *noise);

/* ---- steps; x may be xi ---- */
/* x_(i-1) = mean + std z of the model; the mean itself at i = 0. */
void pf_gauss_step(const pf_gauss_at *a, size_t n, const pf_gauss_model *p, const double *z,
                   double *x);
/* x_(i-1) = sqrt(abar_(i-1)) x_0 + sqrt(1 - abar_(i-1) - s^2) noise + [i > 0] s z, the noise that of the predicted x_0,
 *     s = eta sqrt((1 - abar_(i-1))/(1 - abar_i)) sqrt(1 - abar_i/abar_(i-1)):
 * deterministic at eta = 0, of the variance btilde at eta = 1.
 * Source  Song, Meng and Ermon 2021, eq. 12 and 16. */
typedef struct pf_gauss_move {
    const double *xi, *z; /* z: NULL: no noise */
    double *x;
} pf_gauss_move;
void pf_gauss_ddim(const pf_gauss_at *a, double eta, size_t n, const double *x0,
                   const pf_gauss_move *m);
/* x_(i+1), the same backwards without noise: encoding.  At i = T-1 it is the noise itself. */
void pf_gauss_encode(const pf_gauss_at *a, size_t n, const double *x0, const pf_gauss_move *m);
/* Guidance by g = scale grad log p(y | x_i): the mean moves by variance g. */
void pf_gauss_guide_mean(const pf_gauss_at *a, size_t n, const double *g,
                         const pf_gauss_model *p);
/* Guidance of the noise, by -sqrt(1 - abar_i) g: the prediction of x_0 follows and is not cut again; so does the
 * mean.  Source  Dhariwal and Nichol 2021, algorithms 1 and 2. */
void pf_gauss_guide_noise(const pf_gauss_at *a, size_t n, const double *xi, const double *g,
                          const pf_gauss_model *p);

/* ---- terms ---- */
/* KL(N(m1, exp lv1) || N(m2, exp lv2)) in nats. */
double pf_normal_kl(double m1, double lv1, double m2, double lv2);
/* Sum over the row of KL(q(x_(i-1) | x_i, x_0) || model), nats; d (NULL: unwanted) its derivatives. */
double pf_gauss_kl(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                   const pf_gauss_model *p, const pf_gauss_slope *d);
/* Minus the sum over the row of the decoder's log probabilities, nats; d as above. */
double pf_gauss_decode(const pf_gauss_at *a, size_t n, const double *x0,
                       const pf_gauss_model *p, const pf_gauss_slope *d);
/* Term i of the bound, sum over the row, nats: the decoder at i = 0, else the KL divergence. */
double pf_gauss_term(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                     const pf_gauss_model *p, const pf_gauss_slope *d);
/* Sum over the row of KL(q(x_T | x_0) || N(0, 1)), nats. */
double pf_gauss_prior(const pf_gauss *g, size_t n, const double *x0);

/* ---- losses ---- */
typedef struct pf_gauss_seen {
    const double *x0, *xi, *z;
} pf_gauss_seen;
typedef struct pf_gauss_sums { /* over the row; 0 where the loss has no such part */
    double squares;            /* of net against what it is asked for */
    double nats;               /* term i */
} pf_gauss_sums;
/* a->squares sums.squares + a->nats sums.nats; d (NULL: unwanted) its derivatives with respect to what the network
 * returned, d->log_variance those of net->variance.  Nothing is clipped. */
double pf_gauss_loss(const pf_gauss_at *a, size_t n, const pf_gauss_seen *s,
                     const pf_gauss_net *net, const pf_gauss_slope *d, pf_gauss_sums *sums);

#endif
