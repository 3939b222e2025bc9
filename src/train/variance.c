/* Variance of the training gradient from batch to batch at fixed parameters.
 *
 *     e_j = sqrt((j-1)/j) (g_j - mean of g_1 .. g_(j-1)),   j = 2 .. N     (Helmert)
 *     sum_j |e_j|^2 = sum_j |g_j - mean g|^2 = sum_j |g_j|^2 - N |mean g|^2
 *
 * So one running mean is all that is kept, nothing cancels, and as the e_j of independent batches
 * are uncorrelated with E|e_j|^2 = tr Cov(g) each, the spread of |e_j|^2 gives the standard error
 * of their mean.  Each rank keeps the mean on its pieces of the buckets; squares are summed over
 * chunks by the fixed tree of the gradient norm. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <math.h>

typedef struct run {
    pf_trainer *t;
    double *mean; /* [pieces] of gradients */
    int seen;     /* gradients in it */
} run;

static double *mean_of(const run *r, int b, pf_slice s)
{
    return r->mean + pf_piece_at(r->t, b) +
           (s.first - pf_exchange_piece(r->t->block.exchange, b).first);
}

static void add_distance(void *self, int b, pf_slice s, double lane[PF_LANES])
{
    const run *r = self;
    double share = 1.0 / (r->seen + 1), *mean = mean_of(r, b, s);
    const float *g = r->t->block.gradient + s.first;
    for (size_t j = 0; j < s.n; j += PF_LANES)
        for (int l = 0; l < PF_LANES; l++) {
            double d = (double)g[j + l] - mean[j + l];
            lane[l] += d * d;
            mean[j + l] += share * d;
        }
}

/* Moves the mean by one gradient; norm: squared distance of that gradient from the mean before. */
static pf_status move_mean(void *self, int w)
{
    pf_chunk_norms(((run *)self)->t, w, add_distance, self);
    return PF_OK;
}

static void add_squares(void *self, int b, pf_slice s, double lane[PF_LANES])
{
    const double *mean = mean_of(self, b, s);
    for (size_t j = 0; j < s.n; j += PF_LANES)
        for (int l = 0; l < PF_LANES; l++) lane[l] += mean[j + l] * mean[j + l];
}

static pf_status square_mean(void *self, int w)
{
    pf_chunk_norms(((run *)self)->t, w, add_squares, self);
    return PF_OK;
}

/* Mean and unbiased variance of n >= 2 numbers; NAN for fewer. */
static void moments(const double *x, int n, double *mean, double *variance)
{
    double sum = 0, sq = 0;
    for (int i = 0; i < n; i++) sum += x[i];
    *mean = sum / n;
    for (int i = 0; i < n; i++) sq += (x[i] - *mean) * (x[i] - *mean);
    *variance = n > 1 ? sq / (n - 1) : NAN;
}

void pf_variance_estimate(const double *residual_sq, double mean_sq, pf_variance *v)
{
    double spread;
    moments(v->loss, v->batches, &v->loss_mean, &v->loss_variance);
    moments(residual_sq + 1, v->batches - 1, &v->variance, &spread);
    v->variance_se = sqrt(spread / (v->batches - 1));
    v->mean_sq = mean_sq - v->variance / v->batches;
    v->relative = v->mean_sq > 0 ? v->variance / v->mean_sq : INFINITY;
}

/* Local. */
static PF_MUST_USE pf_status prepare(run *r, const pf_checkpoint *at)
{
    pf_trainer *t = r->t;
    PF_TRY(pf_trainer_open(t));
    pf_shape a = at->space.shape, b = t->net->space.shape;
    PF_REQUIRE(pf_shape_same(a, b), PF_ESHAPE,
               "%s holds %dx%dx%d values a row, the checkpoint was made for %dx%dx%d",
               t->e->data.path, b.h, b.w, b.c, a.h, a.w, a.c);
    PF_TRY(pf_trainer_use_params(t, at, "the checkpoint"));
    PF_TRY(pf_indices_load(t, at, "the checkpoint"));
    r->mean = pf_zalloc(t->block.pieces * sizeof *r->mean);
    PF_REQUIRE(r->mean, PF_EMEM, "no memory for the mean of %zu gradients", t->block.floats);
    return PF_OK;
}

/* Collective. */
static PF_MUST_USE pf_status measure(run *r, const pf_checkpoint *at, double *residual_sq,
                                     pf_variance *v)
{
    pf_trainer *t = r->t;
    PF_TRY(pf_comm_agree(t->c, prepare(r, at)));
    for (r->seen = 0; r->seen < v->batches; r->seen++) {
        int j = r->seen;
        t->step = at->step + j;
        PF_TRY(pf_trainer_gradient(t));
        v->loss[j] = t->tally.loss;
        v->grad_sq[j] = t->tally.squares;
        PF_TRY(pf_trainer_share(t, pf_workers_run(t, move_mean, r)));
        residual_sq[j] = t->tally.squares * j / (j + 1.0);
        if (pf_comm_rank(t->c) == 0 && (j + 1 == v->batches || pf_progress_due()))
            pf_progress(j + 1 == v->batches, "batch %d/%d", j + 1, v->batches);
    }
    PF_TRY(pf_trainer_share(t, pf_workers_run(t, square_mean, r)));
    pf_variance_estimate(residual_sq, t->tally.squares, v);
    return PF_OK;
}

static PF_MUST_USE pf_status check(const pf_comm *c, const pf_experiment *e,
                                   const pf_variance *v)
{
    PF_TRY(pf_check_ranks(c, e));
    PF_REQUIRE(v->batches >= 2, PF_EARG, "a variance of %d batches; want 2 or more",
               v->batches);
    PF_REQUIRE(e->model.ops->build, PF_ENOSUPP,
               "model %s is fitted in closed form and has no training gradient",
               e->model.ops->name);
    return PF_OK;
}

pf_status pf_train_variance(pf_comm *c, const pf_experiment *e, const pf_checkpoint *at,
                            pf_variance *v)
{
    run r = {0};
    double *residual_sq = NULL;
    pf_status st = check(c, e, v);
    if (!st) st = pf_trainer_create(c, e, &r.t);
    if (!st) {
        residual_sq = pf_zalloc((size_t)v->batches * sizeof *residual_sq);
        if (!residual_sq)
            st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %d batches", v->batches);
    }
    st = pf_comm_agree(c, st);
    if (!st) st = measure(&r, at, residual_sq, v);
    pf_trainer_free(r.t);
    pf_free(r.mean);
    pf_free(residual_sq);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}
