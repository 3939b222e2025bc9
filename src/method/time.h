/* Where the samples of a batch lie in time, before a method's own law: one shifted grid over the global batch,
 *
 *     u_i = (u0 + position/total) mod 1,     u0 = f(seed, TIME, step), or f(seed, EVAL_TIME) in evaluation
 *
 * so each part of a batch takes its own and the cut does not matter.
 * Source: Kingma et al. 2021, appendix I. */
#ifndef PROBFLOW_SRC_METHOD_TIME_H
#define PROBFLOW_SRC_METHOD_TIME_H

#include <probflow/chain.h>

/* u0 in [0,1) of a batch. */
double pf_time_shift(const pf_batch *b);
/* u in [0,1) of a position of the global batch. */
double pf_time_share(double u0, int64_t position, int64_t total);
/* The index 0 .. n-1 of sample s: the batch's where one is told, else floor(n u). */
int pf_time_index(const pf_batch *b, int s, double u0, int n);

#endif
