/* Where the queries, keys and values of attention lie: three inputs [n,c], or one input [n,3c] that packs them,
 * with heads of d channels in one of two orders (pf_heads_order); and which keys a query sees. */
#ifndef PROBFLOW_SRC_NN_KERNELS_HEADS_H
#define PROBFLOW_SRC_NN_KERNELS_HEADS_H

#include "nn/kernel.h"

#include <string.h>

typedef struct pf_heads {
    int n, heads, d;  /* pixels, heads, channels of a head */
    size_t row, head; /* floats from a pixel to the next one, and from a head to the next one */
    int in[3];        /* the input that holds q, k, v */
    size_t at[3];     /* the place of the first head's q, k, v in a pixel */
    int padding; /* the input of integers [n] that are below 0 where there is no key; -1: none */
    int mask, window;
} pf_heads;

static inline pf_heads pf_heads_of(const pf_site *s)
{
    size_t c = (size_t)s->out.c;
    int heads = s->attr.heads > 0 ? s->attr.heads : 1;
    pf_heads a = {.n = s->out.h * s->out.w,
                  .heads = heads,
                  .d = s->out.c / heads,
                  .row = c,
                  .padding = s->n_in % 2 ? -1 : s->n_in - 1,
                  .mask = s->attr.mask,
                  .window = s->attr.window};
    a.head = (size_t)a.d;
    if (s->n_in >= 3) {
        a.in[1] = 1;
        a.in[2] = 2;
        return a;
    }
    int by_part = s->attr.order == PF_HEADS_WITHIN_PARTS;
    a.row = 3 * c;
    a.head = (size_t)a.d * (by_part ? 1 : 3);
    for (int k = 0; k < 3; k++) a.at[k] = (size_t)k * (by_part ? c : (size_t)a.d);
    return a;
}

/* The keys first .. end-1 that a query may see, before padding. */
typedef struct pf_keys {
    int first, end;
} pf_keys;

static inline pf_keys pf_heads_keys(const pf_heads *a, int query)
{
    pf_keys k = {0, a->n};
    if (a->mask == PF_MASK_CAUSAL) k.end = query + 1;
    if (a->mask != PF_MASK_WINDOW) return k;
    int own = query / a->window * a->window;
    if (own > 0) k.first = own - a->window;
    if (a->n - own > 2 * a->window) k.end = own + 2 * a->window;
    return k;
}

/* Whether the key j of a sample is there; its four bytes are an integer. */
static inline int pf_heads_there(const pf_heads *a, const float *const *in, int b, int j)
{
    int32_t label = 0;
    if (a->padding >= 0)
        memcpy(&label, in[a->padding] + (size_t)b * (size_t)a->n + j, sizeof label);
    return label >= 0;
}

/* The first row of q, k or v (k = 0, 1, 2) of a sample's head in the arrays of all inputs; NULL where that
 * array is.  The output's rows are those of n x heads x d. */
#define PF_HEADS_PART(a, array, k, b, h)                                                   \
    ((array)[(a)->in[k]] ? (array)[(a)->in[k]] + (size_t)(b) * (size_t)(a)->n * (a)->row + \
                               (a)->at[k] + (size_t)(h) * (a)->head                        \
                         : NULL)

#endif
