/* Structured diffusion of categories (D3PM, Austin et al. 2021): a chain of V symbols with a matrix for each step.
 *
 *     q(x_i = k | x_(i-1) = j) = Q_i[j,k],     q(x_i = k | x_0 = j) = C_i[j,k],     C_i = Q_0 .. Q_i,   i = 0 .. T-1
 *
 * Here x_i is what index i makes of the datum, and C_(-1) is the identity.  Kernels, rows sum to 1:
 *
 *     uniform    (1 - b) I + b/V;  with bands n, b/V where 0 < |j - k| <= n, and the rest on the diagonal
 *     absorbing  (1 - b) I + b [k = m],  m the mask: a symbol of its own behind the data's, or their value K/2
 *     gaussian   v_|j-k| where 0 < |j - k| <= n, and the rest on the diagonal;
 *                v = softmax over d = -n .. n of -(r d)^2/b,   r = 2/(V-1), published r = 2/(V-1) 255/(V-1), the same of 256
 *     betas      linear from b_0 to b_(T-1);  cosine, min(1 - f((i+1)/T)/f(i/T), .999), f(t) = cos((t + .008)/1.008 pi/2);
 *                jsd, 1/(T - i)
 *
 * The network's softmax p is of the datum.  With floors e of the model and e' of the posterior,
 *
 *     model      p(x_(i-1) = k | x_i)       ~  (sum_j p_j C_(i-1)[j,k] + e) (Q_i[k,x_i] + e),     e 1e-6 as published
 *     posterior  q(x_(i-1) = k | x_i, x_0)  ~  (C_(i-1)[x_0,k] + e') (Q_i[k,x_i] + e')
 *     before     p(x_(i-1) | x_i) is the network's softmax itself, where its logits are said to be of the step before
 *     i = 0      p itself (logits, published for images), or by the model's line (posterior, published for text),
 *                of symbols that data have
 *
 * Terms, in nats of an entry:
 *
 *     L_i = KL(posterior || model), i > 0;     L_0 = -log p(x_0 | x_0-th noise);
 *     prior = sum_k C_(T-1)[x_0,k] (log(C_(T-1)[x_0,k] + e') - log(pi_k + e')),   pi 1/V, absorbing [k = m]
 *
 * Bound exact: e' = 0, so the sum is a bound of -log p of the model, floor and all.  Published: e' = e.  Where e is 0 a
 * chance that rounds to 0 stands as 1e-300.
 *
 * Heads: logits, of K symbols (K + 1: the mask's too), to which residual adds the one-hot of the symbol seen; or logistic, of
 * two numbers (h, l) an entry of levels,
 *
 *     z_k = log(S(a_k) - S(b_k)) up to the floor,   S the logistic function,   a_k, b_k = (c_k -+ w/2 - m)/s,
 *     m = tanh(h + x),   s = exp(l - 2),   c_k = 2k/(K-1) - 1,   w = 2/(K-1),   x the place of the symbol seen
 *     as published  log S(a_k) + log(1 - S(b_k)/S(a_k) + e)
 *
 * whose ends are no wider than other levels; their softmax is the distribution.
 *
 * All in double, of one entry, and Local.
 * Source  Austin et al. 2021, section 3 and appendix A; their published code of images and text
 * Test    test_d3pm, test_d3pm_bound; check_vectors on d3pm.h5 */
#ifndef PROBFLOW_SRC_METHOD_D3PM_H
#define PROBFLOW_SRC_METHOD_D3PM_H

#include <probflow/net.h>

#include "method/categorical.h"

/* ---- kernels ---- */

typedef enum pf_d3pm_kind { PF_D3PM_ABSORBING, PF_D3PM_UNIFORM, PF_D3PM_GAUSSIAN } pf_d3pm_kind;
typedef enum pf_d3pm_schedule {
    PF_D3PM_AS_KERNEL, /* gaussian linear, uniform cosine, absorbing jsd */
    PF_D3PM_LINEAR,
    PF_D3PM_COSINE,
    PF_D3PM_JSD
} pf_d3pm_schedule;
/* beta [T]; ends: of linear. */
void pf_d3pm_betas(pf_d3pm_schedule schedule, int T, const double ends[2], double *beta);

/* What a kernel is made of. */
typedef struct pf_d3pm_matrices {
    pf_d3pm_kind kind;
    int T, V;
    int mask;    /* of absorbing; else -1 */
    int bands;   /* 0: all */
    double unit; /* r of gaussian */
} pf_d3pm_matrices;
/* Uniform without bands and absorbing are closed forms.  The other matrices look the same from both ends, [j,k] =
 * [V-1-j,V-1-k], so tables hold the first h = ceil(V/2) rows of C_i: T h V numbers, 262 MB of 256 symbols and 1000 steps.
 * They are products of numbers that are not negative, which keep their digits however small they are.  What a kernel
 * gives below 1e-40 is 0. */
typedef struct pf_d3pm_kernel {
    pf_d3pm_matrices is;
    int h, n;     /* rows kept; distances that have a chance */
    double *beta; /* [T] */
    double *kept; /* [T] product of 1 - beta, of closed forms */
    double *step; /* [T,n+1] chance of a distance d > 0; NULL: a closed form */
    double *stay; /* [T,h] the diagonal */
    double *rows; /* [T,h,V] of C */
} pf_d3pm_kernel;
/* Symbols that tables can be of. */
enum { PF_D3PM_WIDE = 1024 };
/* beta [T], read.  To be freed also after a failure.  Fails PF_EARG: bands or gaussian of more than PF_D3PM_WIDE symbols, or a
 * table above 16 GB; PF_EMEM. */
PF_MUST_USE pf_status pf_d3pm_kernel_open(const pf_d3pm_matrices *is, const double *beta,
                                          pf_d3pm_kernel *k);
void pf_d3pm_kernel_close(pf_d3pm_kernel *k);
size_t pf_d3pm_kernel_bytes(const pf_d3pm_kernel *k);

/* A part of a row or column: symbols from .. from+n-1. */
typedef struct pf_d3pm_part {
    int from, n;
} pf_d3pm_part;
/* c [n] = Q_i[k,x] of the symbols k of a part. */
void pf_d3pm_column(const pf_d3pm_kernel *k, int i, int x, pf_d3pm_part part, double *c);
/* r [n] = C_i[x,k] of the symbols k of a part; i from -1 on. */
void pf_d3pm_row(const pf_d3pm_kernel *k, int i, int x, pf_d3pm_part part, double *r);
/* w [n] = sum_j p_j C_i[j,k] of the symbols k of a part, all of them where there are tables; p [n], of sum 1 over all
 * symbols.  What is below least counts as 0. */
void pf_d3pm_mix(const pf_d3pm_kernel *k, int i, const double *p, double least,
                 pf_d3pm_part part, double *w);
/* t [n] = sum_k C_i[j,k] s_k, up to one number that is the same of all j; of symbols whose p is below least it may be 0. */
void pf_d3pm_back(const pf_d3pm_kernel *k, int i, const double *p, double least,
                  const double *s, pf_d3pm_part part, double *t);
/* The symbol that u in [0,1) draws from C_i[x,.]. */
int pf_d3pm_noised(const pf_d3pm_kernel *k, int i, int x, double u);

/* ---- terms ---- */

typedef struct pf_d3pm_model {
    const pf_d3pm_kernel *kernel;   /* borrowed */
    int K, columns;                 /* symbols of data, logits */
    int first_by_posterior, before; /* before: logits, of all symbols, are of x_(i-1) */
    double floor, floor_q;          /* e, e' */
    double hybrid;                  /* how much of a cross entropy gradients have */
} pf_d3pm_model;

/* Logarithms, up to a factor, of q(x_(i-1) | x_i = xt, x_0 = x) and of p(x_(i-1) | x_i = xt) [V]; z [columns] the logits. */
void pf_d3pm_posterior(const pf_d3pm_model *m, int i, const int32_t xt_and_x[2], double *log_q);
void pf_d3pm_reverse(const pf_d3pm_model *m, int i, int xt, pf_cat_row z, double *log_p);
typedef struct pf_d3pm_cost {
    double term, cross; /* L_i, and -log p_x of the network's softmax, nats */
} pf_d3pm_cost;
/* Of an entry x that became xt; g [columns] = scale d(term + hybrid cross)/dz. */
pf_d3pm_cost pf_d3pm_term(const pf_d3pm_model *m, int i, const int32_t xt_and_x[2],
                          pf_cat_row z, double scale, pf_cat_slope g);
/* The prior's cost of an entry x, nats. */
double pf_d3pm_prior(const pf_d3pm_model *m, int x);

/* ---- the method ---- */

extern const pf_method_ops pf_method_d3pm;

typedef enum pf_d3pm_head { PF_D3PM_LOGITS, PF_D3PM_LOGISTIC } pf_d3pm_head;
typedef enum pf_d3pm_last { PF_D3PM_DRAWN, PF_D3PM_LIKELIEST } pf_d3pm_last;

typedef struct pf_d3pm_opt {
    int steps, kernel, schedule, bands, distance, mask, mask_logit, predicts, head, residual,
        first, bound, loss, times, last;
    double beta_start, beta_end, floor, hybrid;
} pf_d3pm_opt;

/* What open makes. */
typedef struct pf_d3pm {
    pf_d3pm_opt opt;
    pf_cat cat;
    pf_d3pm_kernel kernel;
    pf_d3pm_model model;
    int T, V, residual;
    double *prior; /* [K] nats */
    size_t bytes;  /* of a sample's scratch */
} pf_d3pm;

/* What the network is told of index i: a place among 1000. */
static inline double pf_d3pm_cond(const pf_d3pm *m, int i)
{
    return 1000.0 * i / m->T;
}

/* ---- heads ---- */

/* z [K] of h and l beside a symbol seen at x in [-1,1]; and back, from gz [K], along both. */
void pf_d3pm_logistic(int K, double floor, double x, const double hl[2], double *z);
void pf_d3pm_logistic_back(int K, double floor, double x, const double hl[2], const double *gz,
                           double ghl[2]);
/* Logits of entry j, which is seen as xt, from a sample's output of the network; z [256] holds them where they are not
 * the output itself. */
pf_cat_row pf_d3pm_read(const pf_d3pm *m, const float *net, size_t j, int xt, double *z);
/* The cost of entry j; gout (NULL: unwanted), of the sample, gets scale times the gradient. */
pf_d3pm_cost pf_d3pm_entry(const pf_d3pm *m, int i, size_t j, const int32_t xt_and_x[2],
                           const float *net, double scale, float *gout);

/* Symbols to row `row` of the ports that are read.  Those of images are shown as the image itself, x [h,w,c], on the
 * grid published, a mask of its own as 0, its middle; tokens as pf_cat_show has them. */
void pf_d3pm_show(const pf_d3pm *m, size_t row, const int32_t *k, int i, void *const *in);
/* xt [D] from the datum x [D] at an index, with the noise of a draw; padding stays. */
void pf_d3pm_noise(const pf_d3pm *m, int i, const pf_draw *d, const int32_t *x, int32_t *xt);
/* The chain of a trained network; see pf_method_ops.chain.  Step i of the chain uses index i - 1, term i is L_i.
 * Known entries are set after each step. */
PF_MUST_USE pf_status pf_d3pm_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

#endif
