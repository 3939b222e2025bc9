/* One training step.
 *
 *   shards -> worker trees -> workers -> recursive halving over ranks, bucket by bucket from the
 *   end of the flat block, each as soon as the backward pass has left it
 *   -> one small exchange {stop, failed, losses of shards, squared norms of chunks}
 *   -> clip, Adam and EMA on this rank's piece of every bucket -> parameters gathered, again
 *   bucket by bucket while the next one is updated
 *
 * Each bucket is cut into as many chunks as there are shards, whatever the number of ranks.  The
 * norm is the fixed-tree sum over k of the squares in chunk k of all buckets, in order and in
 * double, so its bits, and with them the clipping, are those of a single rank. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/stop.h>

#include <math.h>

enum { BUCKETS = 16, BUCKET_MIN = 1 << 12, BUCKET_MAX = 1 << 20 }; /* floats */
enum { STOP, FAILED, FIRST_CHUNK, HEAD };                          /* words before the sums */

double pf_tree_sum(double *x, int n)
{
    for (; n > 1; n /= 2)
        for (int i = 0; i < n / 2; i++) x[i] = x[2 * i] + x[2 * i + 1];
    return x[0];
}

void pf_worker_chunks(const pf_trainer *t, int w, int *from, int *to)
{
    *from = (int)((int64_t)t->cut.own * w / t->n_workers);
    *to = (int)((int64_t)t->cut.own * (w + 1) / t->n_workers);
}

/* Enough buckets that little is left to send when the backward pass ends, none so small that
 * sending it is all latency. */
size_t pf_bucket_floats(size_t padded, size_t unit)
{
    size_t n = padded / BUCKETS;
    if (n > BUCKET_MAX) n = BUCKET_MAX;
    if (n < BUCKET_MIN) n = BUCKET_MIN;
    return (n + unit - 1) / unit * unit;
}

size_t pf_piece_at(const pf_trainer *t, int b)
{
    return pf_exchange_bucket(t->block.exchange, b).first / (size_t)pf_comm_size(t->c);
}

pf_slice pf_chunks(const pf_trainer *t, int b, int from, int to)
{
    pf_slice piece = pf_exchange_piece(t->block.exchange, b);
    size_t chunk = piece.n / (size_t)t->cut.own;
    return (pf_slice){piece.first + (size_t)from * chunk, (size_t)(to - from) * chunk};
}

void pf_chunk_norms(pf_trainer *t, int w, pf_lanes_add *add, void *self)
{
    int from, to;
    pf_worker_chunks(t, w, &from, &to);
    for (int k = from; k < to; k++) {
        double lane[PF_LANES] = {0};
        for (int b = 0; b < pf_exchange_buckets(t->block.exchange); b++)
            add(self, b, pf_chunks(t, b, k, k + 1), lane);
        t->tally.norm[k] = pf_tree_sum(lane, PF_LANES);
    }
}

static void add_squares(void *self, int b, pf_slice s, double lane[PF_LANES])
{
    const pf_trainer *t = self;
    const float *g = t->block.gradient + s.first;
    (void)b;
    for (size_t j = 0; j < s.n; j += PF_LANES)
        for (int l = 0; l < PF_LANES; l++) lane[l] += (double)g[j + l] * (double)g[j + l];
}

static pf_status square_norms(void *self, int w)
{
    pf_chunk_norms(self, w, add_squares, self);
    return PF_OK;
}

static pf_status update_pieces(void *self, int w)
{
    pf_trainer *t = self;
    const pf_train_opt *o = &t->e->train;
    double clip =
        o->clip > 0 && t->tally.grad_norm > o->clip ? o->clip / t->tally.grad_norm : 1.0;
    pf_adam a = {t->lr, o->beta1,   o->beta2, o->eps, pf_ema_decay(o, t->step + 1),
                 clip,  t->step + 1};
    int from, to;
    pf_worker_chunks(t, w, &from, &to);
    for (int b = pf_exchange_buckets(t->block.exchange) - 1; b >= 0; b--) {
        pf_slice s = pf_chunks(t, b, from, to);
        size_t at =
            pf_piece_at(t, b) + (s.first - pf_exchange_piece(t->block.exchange, b).first);
        pf_adam_update(&a, s.n, t->block.gradient + s.first, t->block.params + s.first,
                       t->block.m + at, t->block.v + at, t->block.ema + s.first);
        if (atomic_fetch_add(&t->block.arrived[b * t->n_workers], 1) == t->n_workers - 1)
            pf_exchange_ready(t->block.exchange, b);
    }
    return PF_OK;
}

/* Ends a round of the exchange; what it costs is what was not hidden. */
static PF_MUST_USE pf_status end_round(pf_trainer *t)
{
    double since = pf_seconds();
    PF_TRY(pf_exchange_end(t->block.exchange));
    t->tally.waited += pf_seconds() - since;
    return PF_OK;
}

pf_status pf_trainer_share(pf_trainer *t, pf_status mine)
{
    int words = HEAD + 2 * t->cut.own, failed = 0;
    double *m = t->tally.message;
    m[STOP] = pf_stop_asked();
    m[FAILED] = mine != PF_OK;
    pf_slice piece = pf_exchange_piece(t->block.exchange, 0);
    m[FIRST_CHUNK] = (double)(piece.first / (piece.n / (size_t)t->cut.own));
    for (int k = 0; k < t->cut.own; k++) {
        m[HEAD + k] = t->tally.shard_loss[k];
        m[HEAD + t->cut.own + k] = t->tally.norm[k];
    }
    double since = pf_seconds();
    PF_TRY(pf_comm_allgather(t->c, m, (size_t)words * sizeof *m, t->tally.messages));
    t->tally.waited += pf_seconds() - since;
    for (int r = 0; r < pf_comm_size(t->c); r++) {
        const double *in = t->tally.messages + (size_t)r * (size_t)words;
        t->tally.stop |= in[STOP] != 0;
        failed |= in[FAILED] != 0;
        for (int k = 0; k < t->cut.own; k++) t->tally.sums[r * t->cut.own + k] = in[HEAD + k];
    }
    if (failed) PF_TRY(pf_comm_agree(t->c, mine)); /* everybody knows, so everybody is here */
    t->tally.loss = pf_tree_sum(t->tally.sums, t->cut.shards) / t->e->train.batch;
    for (int r = 0; r < pf_comm_size(t->c); r++) {
        const double *in = t->tally.messages + (size_t)r * (size_t)words;
        for (int k = 0; k < t->cut.own; k++)
            t->tally.sums[(int)in[FIRST_CHUNK] + k] = in[HEAD + t->cut.own + k];
    }
    t->tally.squares = pf_tree_sum(t->tally.sums, t->cut.shards);
    return PF_OK;
}

pf_status pf_trainer_gradient(pf_trainer *t)
{
    for (int i = 0; i < pf_exchange_buckets(t->block.exchange) * t->n_workers; i++)
        t->block.arrived[i] = 0;
    pf_indices_draw(t);
    pf_exchange_begin(t->block.exchange, PF_EXCHANGE_SUM, t->block.gradient);
    pf_status st = pf_workers_run(t, pf_worker_prepare, t);
    if (!st) st = pf_workers_run(t, pf_worker_gradient, t);
    /* A rank that failed still takes part, with numbers nobody will use. */
    PF_TRY(end_round(t));
    if (!st) st = pf_workers_run(t, square_norms, t);
    PF_TRY(pf_trainer_share(t, st));
    t->tally.grad_norm = sqrt(t->tally.squares);
    /* The same numbers on all ranks, so all ranks take the same branch. */
    PF_REQUIRE(isfinite(t->tally.loss), PF_ENUMERIC,
               "step %lld: the loss is %g; the last checkpoint is intact",
               (long long)(t->step + 1), t->tally.loss);
    PF_REQUIRE(isfinite(t->tally.grad_norm), PF_ENUMERIC,
               "step %lld: the gradient norm is %g; the last checkpoint is intact",
               (long long)(t->step + 1), t->tally.grad_norm);
    return PF_OK;
}

pf_status pf_trainer_step(pf_trainer *t)
{
    t->lr = pf_learning_rate(&t->e->train, t->step);
    PF_TRY(pf_trainer_gradient(t));
    PF_TRY(pf_indices_gather(t));
    pf_exchange_begin(t->block.exchange, PF_EXCHANGE_GATHER, t->block.params);
    pf_status st = pf_workers_run(t, update_pieces, t);
    PF_TRY(end_round(t));
    PF_TRY(st);
    pf_indices_learn(t);
    t->step++;
    return PF_OK;
}
