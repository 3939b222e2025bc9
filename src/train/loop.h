/* What the files of the training loop share. */
#ifndef PROBFLOW_SRC_TRAIN_LOOP_H
#define PROBFLOW_SRC_TRAIN_LOOP_H

#include <probflow/net.h>
#include <probflow/times.h>
#include <probflow/train.h>

#include <stdatomic.h>

enum { PF_LANES = 16 };

/* ---- what a run starts from: its directory, its data, its newest usable checkpoint ---- */

typedef struct pf_start {
    pf_run_dir dir;         /* rank 0 */
    char content[65];       /* of the training split */
    char path[PF_PATH_MAX]; /* checkpoint to go on from; "": from the beginning */
} pf_start;
/* Collective.  Settles in e what the directory and the data decide: keys left out of a run begun
 * earlier, options that the data have no use for.  To be closed also after a failure.
 * Fails  PF_EARG: the directory is of another configuration or of other data, steps that were made
 *        would have had another rate, ranks read different data, a choice has no effect; as reading
 *        does.
 * Test   a_run_knows_its_data (command line), steps_made_keep_their_rate */
PF_MUST_USE pf_status pf_start_open(pf_comm *c, pf_experiment *e, const char *dir,
                                    pf_start *out);
/* Whether a checkpoint of `step` made under train.steps = was may go on under now: no step so far has
 * another rate. */
int pf_rate_stays(const pf_train_opt *o, int64_t was, int64_t now, int64_t step);

/* ---- one worker: a plan, a tree and the buffers of one shard's batch ---- */

typedef struct pf_worker {
    pf_plan *plan;
    pf_plan *exact; /* of evaluation losses, always float; the same as plan when that is */
    pf_tree *tree;
    float *x;         /* [b,D] clean, model scale */
    uint64_t *sample; /* [b] */
    uint64_t *
        row; /* [rows b] the sample that each network row belongs to; one row a sample: the same memory */
    int32_t *label;    /* [b]; NULL: neither the network nor the loss reads any */
    float *condition;  /* [b,C+1]; NULL: the network reads none */
    void *scratch;     /* of the method, for b samples */
    pf_inputs inputs;  /* what the network reads */
    pf_run run;        /* on them, without dropout */
    float *net, *gout; /* [rows b, output] */
    double *loss;      /* [b] */
    struct pf_trainer *trainer;
    int bucket, last; /* of the shard's gradient: buckets not yet final; 1: no shard follows */
    size_t bytes;
    double busy;      /* seconds in tasks so far */
    pf_status failed; /* of the last task, with its sentence: threads have their own record */
    char sentence[512];
} pf_worker;

/* What of the batch is this rank's. */
typedef struct pf_cut {
    int shards, own, first; /* own shards first .. first+own-1 on this rank */
    int b;                  /* samples a shard and step */
} pf_cut;

/* The flat block over the ranks: every rank has all parameters, and the moments of its pieces. */
typedef struct pf_block {
    size_t floats, padded; /* padded: a multiple of shards * PF_LANES, as every bucket */
    size_t pieces;         /* floats of this rank's pieces of all buckets */
    pf_exchange *exchange; /* of gradients and parameters */
    float *params, *ema;   /* [padded]; ema is up to date on the pieces only */
    float *m, *v;          /* [pieces], bucket by bucket */
    float *whole;          /* [padded] the second moment to be saved, more than one rank */
    float *gradient;       /* [padded] worker 0's root, borrowed */
    atomic_int *arrived;   /* [buckets, n_workers] workers that are through with a bucket */
} pf_block;

/* The numbers of a step, and the one small exchange after which all ranks have the same. */
typedef struct pf_tally {
    double *shard_loss;         /* [own] sums of the last task */
    double *norm;               /* [own] sums of squares, chunk by chunk */
    double *message, *messages; /* what is exchanged */
    double *sums;               /* [shards] */
    int stop;                   /* agreed on: somebody asked to stop */
    double loss, squares, grad_norm;
    double waited; /* seconds in which this rank's steps waited for other ranks */
} pf_tally;

/* The evaluation loss. */
typedef struct pf_eval {
    int64_t n, first; /* images; this rank's first */
    float *x;         /* this rank's images; NULL: no evaluation */
    int32_t *label;   /* of them, where the network or the loss reads it */
    float *condition; /* [C+1] each, where the network reads them */
} pf_eval;

/* The indices of a step's samples, where the method leaves them to a law that learns. */
typedef struct pf_indices {
    pf_times *law; /* NULL: the method draws, and the rest is NULL, too */
    int32_t *index;
    double *weight; /* [batch] of the step, of all ranks */
    double *loss;   /* [own,b] unweighted, of this rank's samples */
    double *losses; /* [batch] of all ranks' */
} pf_indices;

typedef struct pf_trainer {
    pf_comm *c;
    const pf_experiment *e;
    const char *dir;
    const char *content; /* of the training split; borrowed */
    char *config;        /* canonical text, owned */
    uint64_t seed;
    pf_cut cut;
    int dim; /* entries a sample */
    pf_net *net;
    pf_shard **data; /* [own] */
    size_t data_bytes, worker_bytes;
    pf_block block;
    pf_tally tally;
    pf_eval eval;
    pf_indices indices;
    int n_workers;
    pf_worker *w;
    int64_t step; /* finished steps */
    double lr;
} pf_trainer;

/* A task of every worker: self is the trainer, or what has it. */
typedef pf_status pf_task(void *self, int worker);

/* Local. */
PF_MUST_USE pf_status pf_workers_create(pf_trainer *t);
void pf_workers_free(pf_trainer *t);
/* Runs task(self, worker) for every worker, each on its own thread. */
PF_MUST_USE pf_status pf_workers_run(pf_trainer *t, pf_task *task, void *self);
/* The worker's part of preparing the parameters for all; then the gradient and loss sums of its
 * shards at t->step. */
pf_task pf_worker_prepare, pf_worker_gradient; /* of a pf_trainer */
/* The worker's rows as the positions from `first` on of a batch of `total`. */
pf_batch pf_worker_batch(const pf_worker *w, int64_t first, int64_t total);

/* w->net <- the network's output for this batch, which is in the worker's inputs: of the second pass where the method
 * looks twice.  Local. */
PF_MUST_USE pf_status pf_worker_pass(pf_worker *w, pf_plan *plan, const pf_run *run,
                                     const pf_batch *b);

/* Floats of a bucket of the flat vector, given those of the smallest part (shards * PF_LANES). */
size_t pf_bucket_floats(size_t padded, size_t unit);
/* Where the piece of bucket b lies in the moments. */
size_t pf_piece_at(const pf_trainer *t, int b);

/* The chunks of this rank's pieces that fall to a worker: from .. to-1. */
void pf_worker_chunks(const pf_trainer *t, int w, int *from, int *to);
/* Floats of chunks from .. to-1 of this rank's piece of bucket b, counted from v's begin. */
pf_slice pf_chunks(const pf_trainer *t, int b, int from, int to);

/* Adds to the lanes of a sum what the floats of a slice, which lies in bucket b, give it. */
typedef void pf_lanes_add(void *self, int b, pf_slice s, double lane[PF_LANES]);
/* tally.norm[k] <- the sum over all buckets of chunk k, in order, of the chunks of worker w. */
void pf_chunk_norms(pf_trainer *t, int w, pf_lanes_add *add, void *self);

/* Sum of n (a power of two) numbers in one fixed tree; x is scratch. */
double pf_tree_sum(double *x, int n);

/* Local: whether the shards of e can be spread over these ranks. */
PF_MUST_USE pf_status pf_check_ranks(const pf_comm *c, const pf_experiment *e);
/* Local.  What of the batch is this rank's; c and e are borrowed. */
PF_MUST_USE pf_status pf_trainer_create(pf_comm *c, const pf_experiment *e, pf_trainer **out);
/* Local: data, network, buffers and workers; parameters are zero, the optimiser has no state. */
PF_MUST_USE pf_status pf_trainer_open(pf_trainer *t);
/* Local: the optimiser's state, after pf_trainer_open. */
PF_MUST_USE pf_status pf_trainer_open_state(pf_trainer *t);
/* NULL and half-built ones allowed. */
void pf_trainer_free(pf_trainer *t);

/* Collective.  The gradient of the next step, summed over all shards, on this rank's pieces;
 * loss and grad_norm.  Fails PF_ENUMERIC when one of the two is not finite. */
PF_MUST_USE pf_status pf_trainer_gradient(pf_trainer *t);
/* The small exchange of a step.  Collective: all ranks leave it with one verdict, the loss of the
 * batch and the sum `squares` of all ranks' norm. */
PF_MUST_USE pf_status pf_trainer_share(pf_trainer *t, pf_status mine);
/* Collective. */
PF_MUST_USE pf_status pf_trainer_step(pf_trainer *t);
PF_MUST_USE pf_status pf_trainer_save(pf_trainer *t);
/* Local: from the file, or the initial values when path is "". */
PF_MUST_USE pf_status pf_trainer_load(pf_trainer *t, const char *path);
/* Collective: the parameters that are counts of the data, in new parameters and their average. */
PF_MUST_USE pf_status pf_trainer_levels(pf_trainer *t);
/* Local: the parameters alone.  `path` names the checkpoint in messages. */
PF_MUST_USE pf_status pf_trainer_use_params(pf_trainer *t, const pf_checkpoint *c,
                                            const char *path);

/* Local, where the method has such a law (else all of these do nothing): memory for it. */
PF_MUST_USE pf_status pf_indices_open(pf_trainer *t);
void pf_indices_free(pf_trainer *t);
/* Local: the indices of the step that comes next. */
void pf_indices_draw(pf_trainer *t);
/* Collective: the losses of a step whose gradient is good. */
PF_MUST_USE pf_status pf_indices_gather(pf_trainer *t);
/* Local: what was gathered is remembered. */
void pf_indices_learn(pf_trainer *t);
/* Local: what is remembered, borrowed by a checkpoint, and back from one.  `path` names it in messages.
 * Fails  PF_EFORMAT: a checkpoint after step 0 without it, one of another chain, damage.
 * Test   losses_that_a_checkpoint_lacks_are_missed */
void pf_indices_save(const pf_trainer *t, pf_checkpoint *c);
PF_MUST_USE pf_status pf_indices_load(pf_trainer *t, const pf_checkpoint *c, const char *path);

/* Local: this rank's part of the first images of the evaluation's split; none when there is no split
 * and none is asked for. */
PF_MUST_USE pf_status pf_eval_open(pf_trainer *t);
/* Collective: mean loss of the averaged parameters, times and noise fixed. */
PF_MUST_USE pf_status pf_eval_loss(pf_trainer *t, double *loss);

/* Fills v from its losses, from |mean gradient|^2 and from residual_sq [v->batches], where entry j
 * is |g_j - mean of g_0 .. g_(j-1)|^2 j/(j+1); entry 0 is not used. */
void pf_variance_estimate(const double *residual_sq, double mean_sq, pf_variance *v);

/* Collective: closed-form models. */
PF_MUST_USE pf_status pf_train_analytic(pf_comm *c, const pf_experiment *e, const char *dir,
                                        const pf_start *start);

#endif
