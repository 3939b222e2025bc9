/* What likelihood and samplers see of a model with steps instead of a time: a chain x_T .. x_0.
 *
 *     -log p(k) <= E [ -log p(k | x_1) + sum_i KL(q(x_i | x_(i+1), k) || p(x_i | x_(i+1))) + KL(q(x_T | k) || p(x_T)) ]
 *
 * One object serves one thread; make one per worker.
 * Source  Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5 */
#ifndef PROBFLOW_CHAIN_H
#define PROBFLOW_CHAIN_H

#include <probflow/space.h>
#include <probflow/status.h>

/* B samples of a global batch (training) or of a split (evaluation).  Everything borrowed. */
typedef struct pf_batch {
    const pf_space *space;
    int B;
    int64_t first, total;   /* these are positions first .. first+B-1 of `total` */
    const void *k;          /* levels or tokens; NULL: not given */
    const float *x;         /* [B,D] in model scale */
    const int32_t *label;   /* [B], -1: none; NULL: withheld */
    const float *condition; /* [B,C+1] as pf_conditions_known makes them; NULL: withheld */
    const uint64_t *sample; /* [B] global numbers, which key the draws */
    uint64_t seed;
    uint32_t step;
    int eval; /* 1: the draws of evaluation */
    /* [B] the index of each sample, drawn by a law that learns (times.h), and how much its loss counts;
     * NULL, both: the method draws */
    const int32_t *index;
    const double *weight;
} pf_batch;

/* p(label | x) of a classifier that knows the noise of a chain.  x [B,D] is noised by `number` steps of the chain that
 * was trained, less one: 0 is the least noisy.  B is at most `batch`.  One object serves one thread.
 * Both fail  PF_EARG: too many samples, no such step, a label that is no class or none told; as a plan does.
 * Test       test_classifier */
typedef struct pf_classifier {
    void *self; /* owned */
    int batch, classes;
    /* log_p [B,classes], nats. */
    pf_status (*log_p)(void *self, const pf_batch *b, int number, const double *x,
                       double *log_p);
    /* g [B,D] = grad_x log p(b->label | x); 0 of a label below 0. */
    pf_status (*gradient)(void *self, const pf_batch *b, int number, const double *x,
                          double *g);
    void (*free)(void *self);
} pf_classifier;

static inline void
pf_classifier_free(pf_classifier *c) /* frees self; c itself is the caller's */
{
    if (c->free) c->free(c->self);
    *c = (pf_classifier){0};
}

/* How a step is taken. */
typedef enum pf_move_kind {
    PF_MOVE_ANCESTRAL, /* x_i -> x_(i-1) drawn from the model */
    PF_MOVE_DDIM, /* x_i -> x_(i-1), with eta of that noise: 0, none (Song, Meng and Ermon 2021) */
    PF_MOVE_ENCODE /* x_i -> x_(i+1) without noise, the data taken for x_1 */
} pf_move_kind;
typedef struct pf_move {
    pf_move_kind kind;
    double eta; /* of PF_MOVE_DDIM */
    /* Guidance by scale grad log p(label | x): ancestral, of the mean; else of the noise.  NULL: none.
     * Source  Dhariwal and Nichol 2021, algorithms 1 and 2 */
    const pf_classifier *guide;
    double scale;
    /* What the sample shall agree with, by multiplication with a second distribution: known [B,D] in model scale, of
     * the entries that mask [D] has 1 for (NULL: all); exactly where known_std is 0, else about the sample with that
     * deviation.  NULL: nothing; a chain that does not multiply is told nothing.
     * Source  Sohl-Dickstein et al. 2015, section 2.5 */
    const double *known;
    const unsigned char *mask;
    double known_std;
} pf_move;

/* Of samples as they were first drawn: how many there are, how many of them hold entries that are no datum, as codes of no
 * symbol; of the number of such entries of a sample the sum, and the sum of squares. */
typedef struct pf_unfit {
    int64_t samples, some, entries, squares;
} pf_unfit;

typedef struct pf_chain {
    void *self; /* owned */
    int dim;    /* D */
    int passes; /* of the network in a term; 0: 1 */
    int steps;  /* T */
    int whole;  /* steps of the chain that was trained, of which these are kept; 0: not known */
    int clips;  /* 1: predictions of the data are cut to their range */
    int multiplies; /* 1: its steps honour what a move says is known */
    /* Calls of the network so far, where a step or term need not make one; NULL: each step makes one, each term but the
     * prior `passes`. */
    const int64_t *calls;
    const pf_unfit *unfit; /* of the samples so far; NULL: all are data, always */
    int batch;             /* largest B of one call */
    size_t state;          /* doubles of the state of a sample, = dim for Gaussian chains */
    /* Where bounds are published as K, bits a datum on a scale of the method's own: nats of -log p that K leaves out,
     * and nats of K's null model.  null 0: they are not. */
    double unit, null;
    /* nats [B] <- term i [B] of the bound, one of each sample: 0 the decoder, 1 .. steps-1 the KL of that step,
     * steps the prior.  Its noise is keyed by (seed, sample, step, i), so that neither the batch nor the
     * order of the terms changes a bit. */
    pf_status (*term)(void *self, const pf_batch *b, const int *i, double *nats);
    pf_status (*prior)(void *self, const pf_batch *b, double *x); /* x_T [B,state] */
    /* A step from x_i, in place, i = 1 .. steps.  x0 [B,state] (NULL: unwanted): what is expected of the end,
     * on the way. */
    pf_status (*step)(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0);
    pf_status (*datum)(void *self, int B, const double *x,
                       double *out); /* state -> model scale [B,D] */
    void (*free)(void *self);
} pf_chain;

static inline void pf_chain_free(pf_chain *c) /* frees self; c itself is the caller's */
{
    if (c->free) c->free(c->self);
    *c = (pf_chain){0};
}

#endif
