/* Argmax flows (Hoogeboom et al. 2021): a category is the argmax of continuous numbers, whose density is a flow.
 *
 *     p(x) = integral of p(v) over the cell of x,     x = argmax v
 *     log p(x) >= E_q [ log p(v) - log q(v | x) ],    q(v | x) a density on the cell of x
 *
 * Three maps from numbers u, or uniform ones, onto a cell, each with the density that comes of it:
 *
 *     product    symbol k is B = ceil(log2 K) bits, the most significant first; bit b is 1 where v_b > 0
 *                v_b = softplus(u_b) (2 bit_b - 1),       log |dv/du| = sum_b log sigmoid(u_b)
 *     softplus   v_x = u_x,  v_i = u_x - softplus(u_x - u_i),   log |dv/du| = sum_(i != x) log sigmoid(u_x - u_i)
 *     gumbel     top ~ Gumbel(log sum_i exp phi_i),  v_x = top,
 *                v_i = phi_i - log(exp(phi_i - top) - log w_i),   w uniform,
 *                log q(v | x) = sum_i log Gumbel(v_i; phi_i) - log softmax(phi)_x
 *
 * log q(v | x) = log q(u) - log |dv/du| of the first two.  Of product 2^B - K codes are no symbol; what the flow gives
 * to their cells is lost for good.
 *
 * The pieces are in double and Local.
 * Source  Hoogeboom et al. 2021, sections 3 and 4 and appendix A; their published code (argmax_product.py)
 * Test    test_argmax; check_vectors on argmax.h5 */
#ifndef PROBFLOW_SRC_METHOD_ARGMAX_H
#define PROBFLOW_SRC_METHOD_ARGMAX_H

#include <probflow/net.h>

#include "method/categorical.h"

/* ---- cells ---- */

enum { PF_ARGMAX_BITS_MAX = 30 };

/* ceil(log2 K), K > 1. */
int pf_argmax_bits(int K);
/* +1 or -1: bit b of code k among B. */
static inline double pf_argmax_sign(int B, int k, int b)
{
    return k >> (B - 1 - b) & 1 ? 1.0 : -1.0;
}
/* The code whose cell v [B] lies in; it may be K or more, and then is no symbol. */
int pf_argmax_code(int B, const double *v);

/* log(1 + exp u), its inverse for v > 0, and log sigmoid, to the last bits everywhere. */
double pf_softplus_f64(double u);
double pf_softplus_inverse(double v);
double pf_log_sigmoid(double u);

/* v from u for a symbol; log |dv/du|.  Of product v may be u. */
double pf_argmax_product(int B, int k, const double *u, double *v);  /* u, v [B] */
double pf_argmax_softplus(int K, int x, const double *u, double *v); /* u, v [K] */
/* u from v that lies in its cell. */
void pf_argmax_product_inverse(int B, const double *v, double *u);
void pf_argmax_softplus_inverse(int K, int x, const double *v, double *u);
/* v [K] for symbol x from w [K] in (0,1); log q(v | x).  And w from v. */
double pf_argmax_gumbel(int K, int x, const double *phi, const double *w, double *v);
void pf_argmax_gumbel_inverse(int K, int x, const double *phi, const double *v, double *w);
/* sum_i log Gumbel(v_i; phi_i) */
double pf_argmax_log_gumbels(int K, const double *phi, const double *v);

/* ---- normal densities of B numbers each ---- */

/* One entry's encoder, u = mean + exp(log_std) noise, and the density of v, N(loc, exp(log_scale)). */
typedef struct pf_argmax_normal {
    const double *at, *log_std; /* [B] */
} pf_argmax_normal;
typedef struct pf_argmax_slope { /* sums of gradients [B], added to; NULL: unwanted */
    double *mean, *log_std, *loc, *log_scale;
} pf_argmax_slope;

/* log q(v | x) of an entry of symbol k from its noise [B], and its v [B]. */
double pf_argmax_encode(int B, int k, pf_argmax_normal q, const double *noise, double *v);
/* log p(v) under N. */
double pf_argmax_log_density(int B, pf_argmax_normal p, const double *v);
/* scale times the gradient of log p(v) - log q(v | x) of that entry, the noise held. */
void pf_argmax_elbo_slope(int B, int k, pf_argmax_normal q, pf_argmax_normal p,
                          const double *noise, double scale, pf_argmax_slope g);
/* The bound of several draws, log mean_j exp w_j, w [draws] their log p(v) - log q(v | x); share [draws] (NULL:
 * unwanted) = d bound / d w_j.
 * Source  Burda et al. 2016 */
double pf_argmax_bound(int draws, const double *w, double *share);
/* log P(code k) of v ~ N: the probability of an orthant. */
double pf_argmax_log_orthant(int B, int k, pf_argmax_normal p);
/* P(code >= K): what the 2^B - K codes that are no symbol have; a sum of products, without cancellation. */
double pf_argmax_unused(int B, int K, pf_argmax_normal p);

/* ---- the method ---- */

extern const pf_method_ops pf_method_argmax;

typedef enum pf_argmax_kind { PF_ARGMAX_AUTOREGRESSIVE, PF_ARGMAX_COUPLING } pf_argmax_kind;
typedef enum pf_argmax_unused_rule { PF_ARGMAX_REDRAW, PF_ARGMAX_LAST } pf_argmax_unused_rule;
typedef struct pf_argmax_opt {
    int flow, steps, mixtures, turn, channels;
    int encoder, context, context_layers, context_width;
    double context_dropout;
    int draws, unused;
    int actnorm, encoder_steps, encoder_width;
} pf_argmax_opt;
enum { PF_ARGMAX_CHANNELS_STAY, PF_ARGMAX_CHANNELS_MIX, PF_ARGMAX_CHANNELS_SHUFFLE };
enum { PF_ARGMAX_LSTM, PF_ARGMAX_PERCEPTRON };

/* What open makes.  Of the B numbers of an entry a step sees `kept` and maps `moved`: all B and B of an autoregressive flow,
 * the first half and the others of a coupling. */
typedef struct pf_argmax {
    pf_argmax_opt opt;
    pf_cat cat;
    int B, kept, moved;
    int columns;  /* of the network's output */
    size_t bytes; /* of a sample's scratch */
} pf_argmax;

/* Ports: symbols, their noise, and a place for what other methods tell of noise, which is 0. */
enum { PF_ARGMAX_TOKENS, PF_ARGMAX_NOISE, PF_ARGMAX_COND, PF_ARGMAX_PORTS };

/* Numbers v [1,D,B] of a graph under construction, and what is taken from their nats, the logs of the volumes of the steps
 * they went through (PF_NONE: none yet). */
typedef struct pf_argmax_way {
    const pf_argmax *a;
    pf_graph *g;
    pf_node tokens, v, volumes;
} pf_argmax_way;
/* y {1,D,B+volumes}: what a step made of v, and its volumes. */
void pf_argmax_take(pf_argmax_way *w, pf_node y, int volumes);
/* What lies between two steps, before the transform of this number. */
void pf_argmax_between(pf_argmax_way *w, int number);
/* v <- numbers in the cells of the symbols; log q(v | x) {1,D,1} before what w->volumes takes from it. */
pf_node pf_argmax_encoder(pf_argmax_way *w, pf_node noise);

/* The whole bound as a graph, {1,D,columns}: of each entry log q(v | x), the nats of what the flow makes of v under its
 * base density, and what is taken from these, the logs of the volumes of the steps.  See pf_method_ops.build. */
pf_node pf_argmax_build(const void *self, const pf_model *m, pf_graph *g,
                        const pf_ports *offered);
/* Does column c count against the bound (1) or for it (-1)? */
static inline double pf_argmax_side(int c)
{
    return c < 2 ? 1.0 : -1.0;
}
/* From the published number of a step's transform to that of the next, with what lies between them. */
static inline int pf_argmax_stride(const pf_argmax *a)
{
    return 1 + a->opt.actnorm + a->opt.turn + (a->opt.channels != PF_ARGMAX_CHANNELS_STAY);
}
/* The published number of the transform that is the mixture of step k. */
int pf_argmax_number(const pf_argmax *a, int k);
/* Symbols of sample s of a batch and its normal noise to the ports; the number of entries that are no padding. */
int pf_argmax_show(const pf_argmax *a, const pf_batch *b, int s, const pf_draw *d,
                   void *const *in);
/* Minus the bound of a row's first n entries, nats, from the network's output of it. */
double pf_argmax_nats(const pf_argmax *a, int n, const float *net);
/* What the model is offered in a step, among it x: {1,D,kept}, as a port; and what it shall return. */
pf_ports pf_argmax_offer(const pf_argmax *a, const pf_ports *offered);

/* The chain of a trained network, of one step; see pf_method_ops.chain.  Term 0 is minus the bound of method.draws draws,
 * the prior costs nothing. */
PF_MUST_USE pf_status pf_argmax_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out);

/* ---- from v to u and back: the flow the other way ---- */

typedef struct pf_argmax_inverse pf_argmax_inverse;
/* For rows of full length, at most `batch` of them; *calls counts passes of networks.  with: another one of the same network
 * and options, whose graphs and prepared parameters serve this one and which lives as long as this one is used; NULL: own
 * ones.  Owned.  Fails PF_EMEM, and as a network's creation does. */
PF_MUST_USE pf_status pf_argmax_inverse_create(const pf_net *n, const pf_view_opt *o,
                                               const pf_argmax_inverse *with, int64_t *calls,
                                               pf_argmax_inverse **out);
void pf_argmax_inverse_free(pf_argmax_inverse *v); /* NULL allowed */
/* Numbers y [B,D,bits] of the base density, normal ones of draw `again` of each sample of b; and v [B,D,bits] from them, in
 * place, under what is known of the samples.  Fails PF_ENUMERIC: a number is not finite; as a plan does. */
PF_MUST_USE pf_status pf_argmax_base(pf_argmax_inverse *v, const pf_batch *b, uint32_t again,
                                     double *y);
PF_MUST_USE pf_status pf_argmax_undo(pf_argmax_inverse *v, const pf_batch *b, double *x);

#endif
