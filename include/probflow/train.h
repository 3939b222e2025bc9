/* Training: shards, objective, fixed-tree reduction, Adam on this rank's slice, EMA, checkpoints. */
#ifndef PROBFLOW_TRAIN_H
#define PROBFLOW_TRAIN_H

#include <probflow/plan.h>
#include <probflow/run.h>

/* Fused Adam + EMA on a slice; t counts from 1; g is scaled by `scale` first (clipping). */
typedef struct pf_adam {
    double lr, beta1, beta2, eps, ema, scale;
    int64_t t;
} pf_adam;
void pf_adam_update(const pf_adam *a, size_t n, const float *g, float *p, float *m, float *v,
                    float *ema);

/* Collective.  Trains e into run directory dir (created), resuming from its newest good
 * checkpoint.  An existing directory with another configuration is refused with the first
 * difference named; a larger train.steps alone is allowed.  So are data whose train split holds
 * something else; the same data may lie elsewhere.  Where train.decay gives steps that were made
 * another rate under another train.steps, it resumes from the newest checkpoint before them, or fails.
 * When a stop is asked for (probflow/stop.h), or after train.max_hours, it finishes the step, writes
 * a checkpoint and returns PF_ESTOP; the same call continues.
 * Same bits on any number of ranks and threads, and after any interruption.
 * Files: dir/config.yaml, dir/checkpoint-STEP.h5 (last train.keep, every train.keep_every-th), dir/metrics.h5. */
PF_MUST_USE pf_status pf_train(pf_comm *c, const pf_experiment *e, const char *dir);

/* How much the gradient of one training step varies from batch to batch at fixed parameters.
 * With g_j the gradient and l_j the loss of batch j = 0 .. N-1:
 *
 *     variance = sum_j |g_j - mean g|^2 / (N-1)        estimates tr Cov(g)
 *     mean_sq  = |mean g|^2 - variance/N               estimates |E g|^2
 *     relative = variance / mean_sq                    inf when mean_sq <= 0
 *
 * A batch is the unit: its samples depend on each other, as their times lie on one shifted grid.
 * The relative variance alone compares objectives, whose losses differ by a factor. */
typedef struct pf_variance {
    int batches;            /* N >= 2, set by the caller */
    double *loss, *grad_sq; /* [N] filled; owned by the caller */
    double loss_mean, loss_variance;
    double mean_sq, variance, relative;
    double variance_se; /* standard error of variance; NAN when N = 2 */
} pf_variance;

/* Collective.  Measures at the parameters (not the averaged ones) of checkpoint `at`.  Batch j is
 * the one that step at->step + j of training under e would take, dropout included, indices drawn by the
 * losses that `at` remembers; nothing is clipped, updated or written.
 * Same bits on any number of ranks and threads.
 * Fails  PF_EARG: fewer than 2 batches, or ranks or batch that do not fit the shards; PF_ENOSUPP:
 *        a closed-form model; PF_EFORMAT, PF_ESHAPE: `at` is of another network or data shape,
 *        or lacks those losses; PF_ENUMERIC: a loss or gradient that is not finite.
 * Test   the_variance_is_that_of_the_gradients_training_used */
PF_MUST_USE pf_status pf_train_variance(pf_comm *c, const pf_experiment *e,
                                        const pf_checkpoint *at, pf_variance *v);

/* Real training steps without a run directory, to be measured: data, objective, dropout, exchange
 * and optimiser as in pf_train, from fresh parameters; nothing is evaluated or written. */
typedef struct pf_rehearsal pf_rehearsal;
typedef struct pf_rehearsal_time {
    double seconds; /* of the step */
    double kernels; /* of them in the plan's operators: the mean over the workers */
    double idle;    /* of them without work, the same: the others were not ready yet */
    double waited;  /* of them for other ranks */
} pf_rehearsal_time;
/* Local.  Borrows both.  Fails as pf_train does before its first step. */
PF_MUST_USE pf_status pf_rehearsal_open(pf_comm *c, const pf_experiment *e, pf_rehearsal **out);
void pf_rehearsal_free(pf_rehearsal *r); /* NULL allowed */
/* Collective.  Takes the next step; time may be NULL. */
PF_MUST_USE pf_status pf_rehearsal_step(pf_rehearsal *r, pf_rehearsal_time *time);
/* Workers of this rank, the shards each runs in a step, samples of a shard. */
void pf_rehearsal_cut(const pf_rehearsal *r, int *workers, int *shards, int *samples);
/* Profiled since the rehearsal was opened; borrowed. */
pf_plan *pf_rehearsal_plan(pf_rehearsal *r, int worker);

#endif
