/* Categories: rows of logits, draws from them, and what methods of categories show a network.
 *
 * A datum has D entries, each one of K categories: 0 .. K-1, or -1 where a row of tokens ends before D.  Tokens are
 * their own numbers in model scale; levels of images are categories too, on the grid `published`.
 *
 * Rows are of floats, as networks return them, or of doubles; all sums are in double.  All Local.
 * Test  test_multinomial, test_masked; check_vectors on multinomial_*.h5, md4.h5 and mdlm.h5 */
#ifndef PROBFLOW_SRC_METHOD_CATEGORICAL_H
#define PROBFLOW_SRC_METHOD_CATEGORICAL_H

#include <probflow/chain.h>
#include <probflow/graph.h>
#include <probflow/random.h>

/* ---- rows of logits ---- */

/* One of both is there.  Of a slope neither: it is not wanted. */
typedef struct pf_cat_row {
    const float *f;
    const double *d;
} pf_cat_row;
typedef struct pf_cat_slope {
    float *f;
    double *d;
} pf_cat_slope;

static inline double pf_cat_logit(pf_cat_row z, size_t k)
{
    return z.f ? (double)z.f[k] : z.d[k];
}

static inline int pf_cat_wants(pf_cat_slope g)
{
    return g.f || g.d;
}

static inline void pf_cat_put(pf_cat_slope g, size_t k, double value)
{
    if (g.f) g.f[k] = (float)value;
    else if (g.d) g.d[k] = value;
}

/* The rows from entry `at` on. */
pf_cat_row pf_cat_row_at(pf_cat_row z, size_t at);
pf_cat_slope pf_cat_slope_at(pf_cat_slope g, size_t at);

/* p [n] = exp(z_k - shift) of the entries k = from .. from+n-1, as many as there are up to PF_CAT_PIECE; n. */
enum { PF_CAT_PIECE = 128 };
size_t pf_cat_chances(int K, pf_cat_row z, double shift, size_t from, double *p);
/* log sum_k exp z_k, K > 0. */
double pf_cat_log_sum(int K, pf_cat_row z);
/* -log softmax(z)_k, nats; g [K] = scale times its gradient along z.  One exponential an entry. */
double pf_cat_cross_entropy(int K, pf_cat_row z, int k, double scale, pf_cat_slope g);
/* log_p [K] = log softmax(z) */
void pf_cat_log_softmax(int K, pf_cat_row z, double *log_p);
/* sum_k q_k (log q_k - log p_k), nats, of distributions [K] given by their logarithms.  Where q_k is 0 nothing counts. */
double pf_cat_kl(int K, const double *log_q, const double *log_p);

/* ---- draws ---- */

/* Elements first .. first+n-1 of a draw, in (0,1): multiples of 2^-53, with 2^-54 in place of 0. */
void pf_cat_uniform(const pf_draw *d, size_t first, size_t n, double *u);
/* A category with the chances exp(log_p) [K] over their sum, by the largest log_p - log(-log u), u [K] in (0,1).
 * The first of equals.  In double, since 24 bits of u cut the tails of the noise off, which draws likely categories
 * too often.
 * Source  Gumbel 1954; Zheng et al. 2024 (the bias of floats) */
int pf_cat_draw(int K, const double *log_p, const double *u);
/* The category of K equally likely ones that u in [0,1) falls into. */
int pf_cat_even(int K, double u);

/* ---- data and ports ---- */

typedef struct pf_cat {
    pf_space space;
    int K;
    size_t D;
} pf_cat;
/* Fails PF_EARG: fewer than two categories, real data; name: of the method that takes them. */
PF_MUST_USE pf_status pf_cat_open(const pf_space *space, const char *name, pf_cat *out);
/* Categories k [D] of sample s of a batch, of b->k where levels are given, else of b->x; the number of entries that are
 * no padding. */
int pf_cat_take(const pf_cat *c, const pf_batch *b, int s, int32_t *k);
/* Model scale to category, the nearest one, and back. */
int pf_cat_at(const pf_cat *c, double x);
double pf_cat_place(const pf_cat *c, int k);
/* The data [B,D] in model scale of states [B,D] that are categories; see pf_chain.datum. */
void pf_cat_datum(const pf_cat *c, int B, const double *x, double *out);

/* The largest of z [K], the first of equals. */
int pf_cat_likeliest(int K, pf_cat_row z);
/* Entry j of sample s, a symbol of a state, and what is expected of it (NULL: unwanted), where a move knows it. */
void pf_cat_set_known(const pf_cat *c, const pf_move *how, int s, size_t j, double *x,
                      double *x0);

/* Ports of methods of categories.  V symbols are shown, `columns` logits asked for, of each entry:
 *     tokens  integer, {1,D,1} for tokens, else the image's shape; V classes, -1: padding
 *     x       one-hots, {1,D,V} for tokens, else {h,w,c V}, the V numbers of channel 0 first; all 0 at padding
 *     cond    [1,1,1], how the noise is told
 * The output is {1,D,columns}, or {h,w,c columns}. */
enum { PF_CAT_TOKENS, PF_CAT_X, PF_CAT_COND, PF_CAT_PORTS };
pf_ports pf_cat_ports(const pf_cat *c, int V, int columns);
/* Symbols k [D] and cond to row `row` of the ports that are read. */
void pf_cat_show(const pf_cat *c, int V, size_t row, const int32_t *k, double cond,
                 void *const *in);

#endif
