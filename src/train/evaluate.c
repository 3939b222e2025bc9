/* Evaluation loss: the training objective of the averaged parameters on the first images of a split,
 * without dropout and in float whatever the training's precision, at the method's own times and with noise
 * that never change, so that its curve shows the parameters alone.  Image i of n has time position i
 * and noise f(seed, EVAL_NOISE, i); shard s of S holds images [n s/S, n (s+1)/S). */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <string.h>

static int64_t cut(const pf_trainer *t, int shard)
{
    return t->eval.n * shard / t->cut.shards;
}

/* Images first .. first+n-1 (n <= b); the rest of the batch repeats the last one. */
static pf_batch draw_batch(pf_trainer *t, pf_worker *w, int64_t first, int n)
{
    size_t dim = (size_t)t->dim, C = (size_t)t->net->space.conditions + 1;
    for (int i = 0; i < t->cut.b; i++) {
        int64_t image = first + (i < n ? i : n - 1);
        memcpy(w->x + (size_t)i * dim, t->eval.x + (size_t)(image - t->eval.first) * dim,
               dim * sizeof *w->x);
        w->sample[i] = (uint64_t)image;
        if (w->label) w->label[i] = t->eval.label[image - t->eval.first];
        if (w->condition)
            memcpy(w->condition + (size_t)i * C,
                   t->eval.condition + (size_t)(image - t->eval.first) * C,
                   C * sizeof *w->condition);
    }
    pf_batch b = pf_worker_batch(w, first, t->eval.n);
    b.eval = 1;
    pf_net_see(t->net, &b, w->scratch, &w->inputs);
    return b;
}

static PF_MUST_USE pf_status shard_loss(pf_trainer *t, pf_worker *w, int shard)
{
    const pf_net *net = t->net;
    double sum = 0.0;
    for (int64_t at = cut(t, shard); at < cut(t, shard + 1); at += t->cut.b) {
        int64_t left = cut(t, shard + 1) - at;
        int n = left < t->cut.b ? (int)left : t->cut.b;
        pf_batch b = draw_batch(t, w, at, n);
        PF_TRY(pf_worker_pass(w, w->exact, &w->run, &b));
        net->method.ops->loss(net->self, &b, w->scratch, w->net, 1.0, w->loss, NULL);
        for (int i = 0; i < n; i++) sum += w->loss[i];
    }
    t->tally.shard_loss[shard - t->cut.first] = sum;
    return PF_OK;
}

static pf_status worker_prepare(void *self, int index)
{
    pf_trainer *t = self;
    return pf_plan_set_params_part(t->w[index].exact, t->block.ema, index, t->n_workers);
}

static pf_status worker_loss(void *self, int index)
{
    pf_trainer *t = self;
    pf_worker *w = &t->w[index];
    int n = t->cut.own / t->n_workers;
    for (int i = 0; i < n; i++) PF_TRY(shard_loss(t, w, t->cut.first + index * n + i));
    return PF_OK;
}

/* What is known of this rank's images beside them, where the network or the loss reads it. */
static PF_MUST_USE pf_status read_given(pf_trainer *t, pf_dataset *d, int64_t mine)
{
    size_t n = (size_t)mine, C = (size_t)t->net->space.conditions;
    if (pf_net_labels(t->net)) {
        t->eval.label = pf_zalloc(n * sizeof *t->eval.label);
        PF_REQUIRE(t->eval.label, PF_EMEM, "no memory for %zu labels", n);
        PF_TRY(pf_dataset_labels(d, t->eval.first, mine, t->eval.label));
    }
    if (!pf_net_reads(t->net, "condition")) return PF_OK;
    PF_REQUIRE((size_t)pf_dataset_about(d)->space.conditions == C, PF_ESHAPE,
               "%s: the evaluation's split has %d conditions a row, the training split %zu",
               t->e->data.path, pf_dataset_about(d)->space.conditions, C);
    double *v = pf_zalloc(n * C * sizeof *v);
    t->eval.condition = pf_zalloc(n * (C + 1) * sizeof *t->eval.condition);
    pf_status st = v && t->eval.condition
                       ? pf_dataset_conditions(d, t->eval.first, mine, v)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu conditions", n);
    if (!st) pf_conditions_known((int)C, n, v, t->eval.condition);
    pf_free(v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status read_images(pf_trainer *t, pf_dataset *d, const char *split)
{
    const pf_experiment *e = t->e;
    int64_t n = pf_dataset_about(d)->n;
    char why[128];
    PF_REQUIRE(pf_space_same(&pf_dataset_about(d)->space, &t->net->space, why, sizeof why),
               PF_ESHAPE, "the %s split of %s holds %s as the training split", split,
               e->data.path, why);
    t->eval.n = n < e->train.eval_images ? n : e->train.eval_images;
    t->eval.first = cut(t, t->cut.first);
    int64_t mine = cut(t, t->cut.first + t->cut.own) - t->eval.first;
    size_t values = (size_t)mine * (size_t)t->dim;
    t->eval.x = pf_zalloc(values * sizeof *t->eval.x);
    double *x = pf_zalloc(values * sizeof *x);
    pf_draw draw = {t->seed, PF_STREAM_EVAL_DEQUANT, 0, 0};
    pf_status st = PF_OK;
    if (!x || !t->eval.x)
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %lld images", (long long)mine);
    if (!st) st = pf_rows_read(d, e->data.grid, &draw, t->eval.first, mine, x);
    for (size_t i = 0; !st && i < values; i++) t->eval.x[i] = (float)x[i];
    t->data_bytes += values * sizeof *t->eval.x;
    pf_free(x);
    PF_TRY(st);
    PF_TRY(read_given(t, d, mine));
    return PF_OK;
}

/* The split asked for, else valid, else test; NULL when there is neither. */
static PF_MUST_USE pf_status choose_split(const pf_experiment *e, const char **split)
{
    const char *in_turn[] = {"/valid", "/test"};
    *split = e->train.eval_split[0] ? e->train.eval_split : NULL;
    for (int i = 0, has = 0; !*split && i < 2; i++) {
        PF_TRY(pf_store_has(e->data.path, in_turn[i], &has));
        if (has) *split = in_turn[i] + 1;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status open_split(const pf_experiment *e, const char *split,
                                        pf_dataset **d)
{
    pf_status st = pf_dataset_open(e->data.path, split, d);
    if (st == PF_EFORMAT && e->train.eval_split[0])
        PF_FAIL(PF_EARG, "train.eval_split is %s, but %s", split, pf_error_message());
    PF_TRY(st);
    return PF_OK;
}

pf_status pf_eval_open(pf_trainer *t)
{
    const pf_train_opt *o = &t->e->train;
    int off = o->eval_every == 0 || o->eval_images == 0;
    if (off && !o->eval_split[0]) return PF_OK;
    const char *split = NULL;
    PF_TRY(choose_split(t->e, &split));
    if (!split) { /* such a dataset trains without evaluation */
        pf_log("no evaluation loss: %s has neither a valid nor a test split", t->e->data.path);
        return PF_OK;
    }
    pf_dataset *d = NULL;
    pf_status st = open_split(t->e, split, &d);
    if (!st && !off) st = read_images(t, d, split);
    if (!st && !off)
        pf_log("evaluation losses of the first %lld images of split %s", (long long)t->eval.n,
               split);
    pf_dataset_close(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_eval_loss(pf_trainer *t, double *loss)
{
    PF_TRY(pf_exchange_gather(t->block.exchange, t->block.ema));
    pf_status st = pf_workers_run(t, worker_prepare, t);
    if (!st) st = pf_workers_run(t, worker_loss, t);
    PF_TRY(pf_comm_agree(t->c, st));
    PF_TRY(pf_comm_allgather(t->c, t->tally.shard_loss,
                             (size_t)t->cut.own * sizeof *t->tally.sums, t->tally.sums));
    *loss = pf_tree_sum(t->tally.sums, t->cut.shards) / (double)t->eval.n;
    return PF_OK;
}
