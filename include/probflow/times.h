/* Indices 0 .. T-1 of a chain, drawn by the second moment of their loss.
 *
 *     w_i = sqrt(mean L^2) / sum_j of the same,     over the last 10 losses L of index i
 *     p_i = w_i (1 - 0.001) + 0.001/T,              and a loss counts 1/(T p_i)
 *
 * Until every index has 10 losses, and where all of them are 0, p_i = 1/T.  As sum_i p_i L_i/(T p_i) is the mean
 * of L, the weighted loss has the mean that uniform indices give, whatever is remembered.
 *
 * The law `decaying` remembers one number h_i of an index, 0 at first, which a loss changes to 0.1 L^2 + 0.9 h_i, losses
 * of one index in a batch one after the other in global order.  Until every index has more than 10 losses p_i = 1/T;
 * then
 *
 *     p_i = w_i/sum_j w_j,     w_i = sqrt(h_i + 1e-10) + 1e-4,     w_0 := w_1
 *
 * since the loss of the first index, a decoder's, is of another kind.  A loss counts 1/(T p_i) there too.
 *
 * All Local.  The same losses in the same order give the same bits.
 * Source  Nichol and Dhariwal 2021, eq. 18, and its published code; decaying: Hoogeboom et al. 2021, their published code.
 * Test    test_times; check_vectors on gauss_*.h5 (the resampler) and multinomial_*.h5 (importance) */
#ifndef PROBFLOW_TIMES_H
#define PROBFLOW_TIMES_H

#include <probflow/chain.h>

enum { PF_TIMES_KEPT = 10 }; /* losses of an index that are remembered */
typedef enum pf_times_law { PF_TIMES_LAST_TEN, PF_TIMES_DECAYING } pf_times_law;

typedef struct pf_times pf_times;
/* T > 0 indices, no losses.  Fails PF_EMEM. */
PF_MUST_USE pf_status pf_times_create(int T, pf_times_law law, pf_times **out);
void pf_times_free(pf_times *t); /* NULL allowed */

/* Remembers n finite, unweighted losses, in this order. */
void pf_times_add(pf_times *t, int n, const int32_t *index, const double *loss);
int pf_times_number(const pf_times *t);                /* T */
double pf_times_probability(const pf_times *t, int i); /* p_i */
double pf_times_weight(const pf_times *t, int i);      /* 1/(T p_i) */
/* The first index up to which the probabilities sum to more than u in [0,1); the last one where rounding
 * leaves none. */
int pf_times_index(const pf_times *t, double u);
/* index [B] and weight [B] of a batch: u is the shifted grid over the global batch that a method draws from
 * itself, f(seed, step, first, total).  So while p is uniform the indices are those of uniform draws. */
void pf_times_draw(const pf_times *t, const pf_batch *b, int32_t *index, double *weight);

/* What is remembered, for files; borrowed, until the next loss is added. */
int pf_times_kept(const pf_times *t);             /* PF_TIMES_KEPT; decaying: 1 */
const double *pf_times_losses(const pf_times *t); /* [T,kept], the oldest first; decaying: h */
const int32_t *
pf_times_counts(const pf_times *t); /* [T] of them, the others are 0; decaying: of all ever */
/* The same back from a file of that name: loss [T,kept], count [T].  What t remembered is forgotten.
 * Fails  PF_EFORMAT, t then stays as it is: another T or kept, a loss that is not finite, a count that is
 *        not of 0 .. kept; decaying: below 0. */
PF_MUST_USE pf_status pf_times_set(pf_times *t, const char *file, int T, int kept,
                                   const double *loss, const int32_t *count);

#endif
