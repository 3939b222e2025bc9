/* The leaves of the fixed binary tree on one rank.
 *
 * Eight shards s0..s7 are always summed as ((s0+s1)+(s2+s3))+((s4+s5)+(s6+s7)), each element
 * on its own, so cutting the shards over 1, 2, 4 or 8 ranks and the vector into parts changes no
 * bit.  exchange.c goes on over the ranks. */
#include <probflow/comm.h>
#include <probflow/memory.h>

#include <string.h>

enum { LEVELS_MAX = 31 };

struct pf_tree {
    int leaves, pushed, depth; /* depth: partial sums on the stack */
    size_t len, from;          /* the open leaf is pushed from here on */
    float *buf[LEVELS_MAX + 1];
};

static PF_MUST_USE pf_status fill_tree(pf_tree *t, int leaves, size_t len)
{
    PF_REQUIRE(leaves > 0 && (leaves & (leaves - 1)) == 0, PF_EARG,
               "a tree of %d leaves; want a power of two", leaves);
    t->leaves = leaves;
    t->len = len;
    for (int k = 0; leaves >> k; k++) {
        t->buf[k] = pf_zalloc(len * sizeof(float));
        PF_REQUIRE(t->buf[k], PF_EMEM, "no memory for %zu floats of partial sums", len);
    }
    return PF_OK;
}

pf_status pf_tree_create(int leaves, size_t len, pf_tree **out)
{
    pf_tree *t = pf_zalloc(sizeof *t);
    PF_REQUIRE(t, PF_EMEM, "no memory for a tree of %d leaves", leaves);
    pf_status st = fill_tree(t, leaves, len);
    if (st) {
        pf_tree_free(t);
        return pf_trail(st, PF_WHERE);
    }
    *out = t;
    return PF_OK;
}

void pf_tree_free(pf_tree *t)
{
    if (!t) return;
    for (int k = 0; k <= LEVELS_MAX; k++) pf_free(t->buf[k]);
    pf_free(t);
}

float *pf_tree_leaf(pf_tree *t)
{
    if (t->pushed == t->leaves) t->pushed = t->depth = 0;
    float *leaf = t->buf[t->depth];
    memset(leaf, 0, t->len * sizeof *leaf);
    t->from = t->len;
    return leaf;
}

void pf_tree_push(pf_tree *t, size_t from)
{
    PF_ASSERT(t->pushed < t->leaves && from <= t->from);
    int k = t->depth;
    /* A binary counter: each trailing one is a finished left neighbour of the same size. */
    for (int i = t->pushed; i & 1; i >>= 1, k--) {
        float *restrict a = t->buf[k - 1];
        const float *restrict b = t->buf[k];
        for (size_t j = from; j < t->from; j++) a[j] += b[j];
    }
    t->from = from;
    if (from > 0) return;
    t->depth = k + 1;
    t->pushed++;
}

float *pf_tree_root(pf_tree *t)
{
    return t->buf[0];
}
