/* The leaves of the fixed binary tree on one rank.
 *
 * Eight shards s0..s7 are always summed as ((s0+s1)+(s2+s3))+((s4+s5)+(s6+s7)), each element
 * on its own, so cutting the shards over 1, 2, 4 or 8 ranks and the vector into parts changes no
 * bit.  exchange.c goes on over the ranks.
 *
 * No leaf has a buffer of its own: an even one is stored where its sum will be, an odd one added
 * to its left neighbour.  So n > 1 leaves need log2(n) buffers, and two neighbouring trees of one
 * leaf share one: x + y = y + x, whoever comes first stores and the other adds.  They go through
 * the vector in the same blocks, from the end to the begin; `front` is how far the first of them
 * has claimed.  Its coordinate falls from sum to sum, so that nothing is reset between them. */
#include <probflow/comm.h>
#include <probflow/memory.h>

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { LEVELS_MAX = 31, BLOCK = 1 << 15 };

struct pf_tree {
    int leaves, leaf; /* the open one, from 0; -1: none */
    size_t len, from; /* of the open leaf, what lies from here on is added */
    float *buf[LEVELS_MAX];
    pf_tree *other;         /* of a pair; NULL: alone */
    _Atomic int64_t *front; /* of a pair, common */
    _Atomic int64_t own_front, done;
    int64_t base; /* coordinate of element 0 in this sum */
};

static PF_MUST_USE pf_status fill_tree(pf_tree *t, int leaves, size_t len, pf_tree *left)
{
    PF_REQUIRE(leaves > 0 && (leaves & (leaves - 1)) == 0, PF_EARG,
               "a tree of %d leaves; want a power of two", leaves);
    PF_REQUIRE(!left || (leaves == 1 && left->leaves == 1 && left->len == len && !left->other),
               PF_EARG, "a pair is of trees of one leaf and one length");
    t->leaves = leaves;
    t->leaf = -1;
    t->len = len;
    t->done = t->own_front = INT64_MAX;
    if (left) {
        t->other = left;
        t->buf[0] = left->buf[0];
        t->front = &left->own_front;
        left->front = &left->own_front;
        left->other = t;
        return PF_OK;
    }
    for (int k = 0; k == 0 || leaves >> (k + 1); k++) {
        t->buf[k] = pf_zalloc(len * sizeof(float));
        PF_REQUIRE(t->buf[k], PF_EMEM, "no memory for %zu floats of partial sums", len);
    }
    return PF_OK;
}

pf_status pf_tree_create(int leaves, size_t len, pf_tree *left, pf_tree **out)
{
    pf_tree *t = pf_zalloc(sizeof *t);
    PF_REQUIRE(t, PF_EMEM, "no memory for a tree of %d leaves", leaves);
    pf_status st = fill_tree(t, leaves, len, left);
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
    int borrowed = t->front && t->front != &t->own_front;
    for (int k = 0; !borrowed && k < LEVELS_MAX; k++) pf_free(t->buf[k]);
    pf_free(t);
}

size_t pf_tree_bytes(const pf_tree *t)
{
    size_t n = 0;
    int borrowed = t->front && t->front != &t->own_front;
    for (int k = 0; !borrowed && k < LEVELS_MAX; k++) n += t->buf[k] ? t->len : 0;
    return n * sizeof(float);
}

void pf_tree_leaf(pf_tree *t)
{
    t->leaf = (t->leaf + 1) % t->leaves;
    t->from = t->len;
    if (t->leaf == 0) t->base -= (int64_t)t->len;
}

static void add(float *restrict a, const float *restrict b, size_t n)
{
    for (size_t j = 0; j < n; j++) a[j] += b[j];
}

/* A binary counter: each trailing one is a finished left neighbour of the same size. */
static void count(pf_tree *t, size_t first, size_t n, const float *g)
{
    int depth = __builtin_popcount((unsigned)t->leaf);
    if (t->leaf % 2 == 0) {
        memcpy(t->buf[depth] + first, g, n * sizeof *g);
        return;
    }
    add(t->buf[--depth] + first, g, n);
    for (int i = t->leaf >> 1; i & 1; i >>= 1, depth--)
        add(t->buf[depth - 1] + first, t->buf[depth] + first, n);
}

static void meet(pf_tree *t, size_t first, size_t n, const float *g)
{
    int64_t at = t->base + (int64_t)first, front = atomic_load(t->front);
    int mine = 0;
    while (!mine && front > at) mine = atomic_compare_exchange_weak(t->front, &front, at);
    if (mine) memcpy(t->buf[0] + first, g, n * sizeof *g);
    else {
        while (atomic_load(&t->other->done) > at) sched_yield(); /* it is storing this block */
        add(t->buf[0] + first, g, n);
    }
    atomic_store(&t->done, at);
}

void pf_tree_add(pf_tree *t, size_t first, size_t n, const float *g)
{
    PF_ASSERT(t->leaf >= 0 && n <= t->from && first <= t->from - n);
    t->from = first;
    for (size_t end = n; end > 0;) { /* blocks stay in the cache on their way up */
        size_t begin = end > BLOCK ? end - BLOCK : 0;
        if (t->other) meet(t, first + begin, end - begin, g + begin);
        else count(t, first + begin, end - begin, g + begin);
        end = begin;
    }
}

float *pf_tree_root(pf_tree *t)
{
    return t->buf[0];
}
