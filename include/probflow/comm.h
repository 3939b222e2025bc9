/* Ranks: one verdict for all, the fixed-tree reduction over shards, and the work queue.
 *
 * This module is the only user of MPI.  A process that no launcher started runs as one rank
 * without MPI_Init. */
#ifndef PROBFLOW_COMM_H
#define PROBFLOW_COMM_H

#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pf_comm pf_comm;

/* 1: a launcher started this process, so that pf_comm_open waits for the other ranks. */
int pf_comm_launched(void);

/* Collective.  Duplicates the world with MPI_ERRORS_RETURN.  Thread level multiple is asked for.
 * Afterwards the calling thread may run on all CPUs of the process, and OpenMP starts one thread where a
 * program does not say how many.
 * tell (NULL: nobody) is called on rank 0 with the status when the ranks have met and one of them cannot go
 * on.  Then all ranks fail, but only after that call: a launcher ends the job as soon as one rank has left
 * with an error, and rank 0 could no longer speak.
 * Errors: PF_EEXT, PF_EMEM. */
PF_MUST_USE pf_status pf_comm_open(pf_comm **out, void (*tell)(pf_status));
/* Collective.  NULL allowed.  Finalises MPI. */
void pf_comm_close(pf_comm *c);
/* Ends the whole job at once with this exit status (rank fails alone, signal).  Does not return. */
void pf_comm_abort(pf_comm *c, int exit_status) __attribute__((noreturn));

int pf_comm_rank(const pf_comm *c);
int pf_comm_size(const pf_comm *c);

/* Worker threads for this rank: OMP_NUM_THREADS when set, else the least of
 *     the cores this rank may use / the ranks that share them (hyperthreads are not cores)
 *     the CPU time of its control group / the ranks of its host
 *     what SLURM gave it
 * and at least 1; never more than OMP_THREAD_LIMIT.  See probflow/cores.h. */
int pf_comm_threads(const pf_comm *c);

/* 1: all ranks are on one host, as MPI sees it, so what they exchange crosses no network. */
int pf_comm_one_host(const pf_comm *c);

/* Collective.  Every rank returns the worst status held by any rank; a rank that had none gets
 * the sentence of the lowest failing rank. */
PF_MUST_USE pf_status pf_comm_agree(pf_comm *c, pf_status mine);

/* Collective.  Bytes of `root` to all. */
PF_MUST_USE pf_status pf_comm_bcast(pf_comm *c, int root, void *buf, size_t bytes);

/* Collective.  The text of rank 0 and its length on every rank, a zero behind it; owned by the caller,
 * pf_free.  n may differ between ranks. */
PF_MUST_USE pf_status pf_comm_first(pf_comm *c, const char *mine, size_t n, char **text,
                                    size_t *length);

/* Collective.  Concatenates `bytes` of each rank in rank order into all [size*bytes] everywhere. */
PF_MUST_USE pf_status pf_comm_allgather(pf_comm *c, const void *mine, size_t bytes, void *all);

/* Collective.  Mean seconds of one exchange of `bytes` with rank ^ mask, both ways at once, over
 * `times` of them: what a step of the reduction costs.  Size and mask must be powers of two,
 * mask < size.  The longest of all ranks.  Fails PF_EARG, PF_EEXT: MPI. */
PF_MUST_USE pf_status pf_comm_ping(pf_comm *c, int mask, size_t bytes, int times,
                                   double *seconds);

/* The leaves of the fixed binary tree on one rank: adds shard gradients as they come.  Shard i of
 * n (power of two) must arrive in order; max(1, log2(n)) buffers are kept.
 *     pf_tree *t; pf_tree_create(n, len, NULL, &t);
 *     for each shard: pf_tree_leaf(t); pf_tree_add(t, first, n, g) for its parts from the end to
 *     the begin, cut alike in all shards; what no part covers stays 0
 *     pf_tree_root(t) -> the sum, valid until the next leaf
 * While the last leaf is added the root holds the sum from the last part's first float on. */
typedef struct pf_tree pf_tree;
/* left: NULL, or a tree of one leaf and the same length, borrowed, to which this one, also of one
 * leaf, is the right neighbour: the two share a root, which holds the sum of both where both have
 * added.  Each has a thread of its own; all of a sum ends before the next one begins. */
PF_MUST_USE pf_status pf_tree_create(int leaves, size_t len, pf_tree *left, pf_tree **out);
void pf_tree_free(pf_tree *t);
void pf_tree_leaf(pf_tree *t);
void pf_tree_add(pf_tree *t, size_t first, size_t n, const float *g);
float *pf_tree_root(pf_tree *t);
size_t pf_tree_bytes(const pf_tree *t); /* of the buffers it owns */

/* The exchange of flat vectors [n] between ranks, cut into buckets of `bucket` floats (the last
 * one may be shorter).  Every rank owns one piece of every bucket; pieces of a bucket are equal
 * and their order follows the recursion, not the rank.
 *     pf_exchange_begin(x, kind, v);
 *     ... pf_exchange_ready(x, b) for each bucket, the last one first
 *     pf_exchange_end(x);
 * With overlap = 1 and more than one rank a thread exchanges the buckets that are ready while
 * the caller computes; else end does it all.  The bits are the same.
 * Source: Thakur, Rabenseifner and Gropp 2005, section 4.4 (recursive halving). */
typedef struct pf_exchange pf_exchange;
typedef struct pf_slice {
    size_t first, n;
} pf_slice;
typedef enum pf_exchange_kind {
    /* v is summed over ranks in the fixed binary tree (neighbours first: rank ^ 1, then rank ^ 2,
     * ...); this rank's pieces then hold the total, the rest is scratch.  Ranks that first sum
     * their shards in a pf_tree get the same bits on any number of ranks. */
    PF_EXCHANGE_SUM,
    /* Every rank gets all pieces of v. */
    PF_EXCHANGE_GATHER
} pf_exchange_kind;

/* Local.  n and bucket must divide by the number of ranks, a power of two (else PF_EARG).
 * Owned; the communicator is borrowed. */
PF_MUST_USE pf_status pf_exchange_create(pf_comm *c, size_t n, size_t bucket, int overlap,
                                         pf_exchange **out);
/* Local; not between begin and end.  NULL allowed. */
void pf_exchange_free(pf_exchange *x);
int pf_exchange_buckets(const pf_exchange *x);
pf_slice pf_exchange_bucket(const pf_exchange *x, int b);
pf_slice pf_exchange_piece(const pf_exchange *x, int b); /* first counts from v, too */
size_t pf_exchange_bytes(const pf_exchange *x);

/* Local.  v is borrowed until end; a bucket of it must not be touched once it is ready. */
void pf_exchange_begin(pf_exchange *x, pf_exchange_kind kind, float *v);
/* Local, any thread. */
void pf_exchange_ready(pf_exchange *x, int b);
/* Collective.  Returns when all buckets are exchanged.  A rank that failed meanwhile ends the
 * round as the others do: buckets it never called ready are exchanged as they are.
 * Fails  PF_EEXT: MPI. */
PF_MUST_USE pf_status pf_exchange_end(pf_exchange *x);
/* Collective.  begin, everything ready, end. */
PF_MUST_USE pf_status pf_exchange_gather(pf_exchange *x, float *v);

/* Work queue over ranks and threads: items 0 .. n-1 are handed out in order; whoever is free
 * takes the next.  Results (fixed size) come back to rank 0. */
typedef struct pf_queue_job {
    int64_t n;           /* items */
    size_t result_bytes; /* per item */
    int threads;         /* workers on this rank */
    void *self;
    /* On any worker, no collectives.  worker in [0, threads).  result is zeroed. */
    pf_status (*work)(void *self, int worker, int64_t item, void *result);
    /* On rank 0 only, one call at a time, in order of completion.  NULL allowed. */
    pf_status (*done)(void *self, int64_t item, const void *result);
    /* On rank 0: 1 = this item is already done, do not hand it out.  NULL: none is. */
    int (*skip)(void *self, int64_t item);
} pf_queue_job;
/* Collective.  The first failing item stops the hand-out; all ranks return that status. */
PF_MUST_USE pf_status pf_queue_run(pf_comm *c, const pf_queue_job *job);

#endif
