/* The network of the files of categories: logits[l,k] = sum_j W[l,k,j,x_j] + c[l,k] + time d[l,k], symbols x_j of V. */
#ifndef PF_TESTS_VECTORS_TOY_NET_H
#define PF_TESTS_VECTORS_TOY_NET_H

#include "vectors.h"

typedef struct toy_net {
    size_t L, K, V;          /* positions, logits, symbols */
    const double *W, *c, *d; /* borrowed */
} toy_net;

/* From the arrays of a group.  0: they are not there, or do not fit. */
int toy_net_open(const vectors *v, const char *group, toy_net *out);
/* out [L,K] of symbols x [L], below 0: none. */
void toy_net_logits(const toy_net *n, double time, const int32_t *x, double *out);
/* State `number` of K^L, in the order of digits with the first the most significant. */
void toy_net_state(const toy_net *n, size_t number, size_t K, int32_t *x);

#endif
