/* Where the queries, keys and values of attention lie: three inputs [n,c] of one head, or one input [n,3c]
 * that packs heads of d channels in one of two orders (pf_heads_order). */
#ifndef PROBFLOW_SRC_NN_KERNELS_HEADS_H
#define PROBFLOW_SRC_NN_KERNELS_HEADS_H

#include "nn/kernel.h"

typedef struct pf_heads {
    int n, heads, d;  /* pixels, heads, channels of a head */
    size_t row, head; /* floats from a pixel to the next one, and from a head to the next one */
    int in[3];        /* the input that holds q, k, v */
    size_t at[3];     /* the place of the first head's q, k, v in a pixel */
} pf_heads;

static inline pf_heads pf_heads_of(const pf_site *s)
{
    size_t c = (size_t)s->out.c;
    pf_heads a = {.n = s->out.h * s->out.w, .heads = 1, .d = s->out.c, .row = c, .head = c};
    if (s->n_in == 3) {
        a.in[1] = 1;
        a.in[2] = 2;
        return a;
    }
    int by_part = s->attr.order == PF_HEADS_WITHIN_PARTS;
    a.heads = s->attr.heads;
    a.d /= a.heads;
    a.row = 3 * c;
    a.head = (size_t)a.d * (by_part ? 1 : 3);
    for (int k = 0; k < 3; k++) a.at[k] = (size_t)k * (by_part ? c : (size_t)a.d);
    return a;
}

/* The first row of q, k or v (k = 0, 1, 2) of a sample's head in the arrays of all inputs; NULL where that
 * array is.  The output's rows are those of n x heads x d. */
#define PF_HEADS_PART(a, array, k, b, h)                                                   \
    ((array)[(a)->in[k]] ? (array)[(a)->in[k]] + (size_t)(b) * (size_t)(a)->n * (a)->row + \
                               (a)->at[k] + (size_t)(h) * (a)->head                        \
                         : NULL)

#endif
