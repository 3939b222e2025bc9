/* Training: preparation, the loop, and what is said about it.
 *
 * Rank r of R owns shards [r S/R, (r+1) S/R).  Between two collectives there is only local work
 * whose verdict is agreed on, so all ranks go on together or stop together. */
#include "train/loop.h"

#include <probflow/isa.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/stop.h>

#include <math.h>
#include <string.h>

static const char *const columns[] = {"step",         "loss",    "grad_norm", "lr",
                                      "images_per_s", "seconds", "eval_loss", "comm_seconds"};
enum { COLUMNS = sizeof columns / sizeof *columns };

typedef struct clockwork {                   /* rates and progress; rank 0 shows them */
    double begun, row_at, line_at, loss_sum; /* of the steps since the last line */
    double row_waited;
    int64_t first, row_step, line_step;
} clockwork;

pf_status pf_check_ranks(const pf_comm *c, const pf_experiment *e)
{
    int ranks = pf_comm_size(c), shards = e->run.shards;
    PF_REQUIRE((ranks & (ranks - 1)) == 0 && shards % ranks == 0, PF_EARG,
               "training on %d ranks with %d shards; the ranks must be a power of two that "
               "divides the shards",
               ranks, shards);
    PF_REQUIRE(e->train.batch % shards == 0, PF_EARG,
               "train.batch is %d, which does not divide by %d shards", e->train.batch, shards);
    return PF_OK;
}

static PF_MUST_USE pf_status open_data(pf_trainer *t)
{
    const pf_experiment *e = t->e;
    pf_dataset *d = NULL;
    PF_TRY(pf_dataset_open(e->data.path, "train", &d));
    pf_space space;
    pf_status st = pf_experiment_space(e, d, &space);
    if (!st) st = pf_net_create(&e->model, &e->method, &space, &t->net);
    if (!st) t->dim = pf_space_dim(&space);
    t->data = pf_zalloc((size_t)t->cut.own * sizeof *t->data);
    if (!st && !t->data)
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %d shards", t->cut.own);
    for (int i = 0; !st && i < t->cut.own; i++) {
        st = pf_shard_open(d, &e->data, t->cut.first + i, t->cut.shards, t->seed, &t->data[i]);
        if (!st)
            st = pf_shard_keep(t->data[i], d, pf_net_labels(t->net),
                               pf_net_reads(t->net, "condition"));
        int wide = pf_dataset_about(d)->space.kind == PF_REAL ? (int)sizeof(double) : 1;
        if (!st)
            t->data_bytes += (size_t)pf_shard_size(t->data[i]) * (size_t)t->dim * (size_t)wide +
                             pf_shard_given_bytes(t->data[i]);
    }
    pf_dataset_close(d);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

/* Within a host the cores that would hide the exchange are those that do it. */
static int overlaps(const pf_trainer *t)
{
    int asked = t->e->train.overlap;
    return asked == PF_OVERLAP_HOSTS ? !pf_comm_one_host(t->c) : asked;
}

static PF_MUST_USE pf_status allocate(pf_trainer *t)
{
    size_t unit = (size_t)t->cut.shards * PF_LANES, ranks = (size_t)pf_comm_size(t->c);
    size_t own = (size_t)t->cut.own, words = 3 + 2 * own;
    t->block.floats = t->net->floats;
    t->block.padded = (t->block.floats + unit - 1) / unit * unit;
    t->block.pieces = t->block.padded / ranks;
    PF_TRY(pf_exchange_create(t->c, t->block.padded, pf_bucket_floats(t->block.padded, unit),
                              overlaps(t), &t->block.exchange));
    t->block.params = pf_zalloc(t->block.padded * sizeof(float));
    t->tally.shard_loss = pf_zalloc(own * sizeof(double));
    t->tally.norm = pf_zalloc(own * sizeof(double));
    t->tally.message = pf_zalloc(words * sizeof(double));
    t->tally.messages = pf_zalloc(ranks * words * sizeof(double));
    t->tally.sums = pf_zalloc((size_t)t->cut.shards * sizeof(double));
    PF_REQUIRE(t->block.params && t->tally.shard_loss && t->tally.norm && t->tally.message &&
                   t->tally.messages && t->tally.sums,
               PF_EMEM, "no memory for %zu parameters", t->block.floats);
    return PF_OK;
}

pf_status pf_trainer_open_state(pf_trainer *t)
{
    t->block.ema = pf_zalloc(t->block.padded * sizeof(float));
    t->block.m = pf_zalloc(t->block.pieces * sizeof(float));
    t->block.v = pf_zalloc(t->block.pieces * sizeof(float));
    t->block.whole = pf_zalloc(pf_comm_size(t->c) > 1 ? t->block.padded * sizeof(float) : 0);
    PF_REQUIRE(t->block.ema && t->block.m && t->block.v && t->block.whole, PF_EMEM,
               "no memory for the optimiser's state of %zu parameters", t->block.floats);
    return PF_OK;
}

pf_status pf_trainer_create(pf_comm *c, const pf_experiment *e, pf_trainer **out)
{
    pf_trainer *t = pf_zalloc(sizeof *t);
    PF_REQUIRE(t, PF_EMEM, "no memory for training");
    t->c = c;
    t->e = e;
    t->seed = (uint64_t)e->run.seed;
    t->cut.shards = e->run.shards;
    t->cut.own = t->cut.shards / pf_comm_size(c);
    t->cut.first = pf_comm_rank(c) * t->cut.own;
    t->cut.b = e->train.batch / t->cut.shards;
    *out = t;
    return PF_OK;
}

void pf_trainer_free(pf_trainer *t)
{
    if (!t) return;
    pf_workers_free(t);
    for (int i = 0; t->data && i < t->cut.own; i++) pf_shard_free(t->data[i]);
    pf_free(t->data);
    pf_net_free(t->net);
    pf_free(t->block.params);
    pf_free(t->block.ema);
    pf_free(t->block.m);
    pf_free(t->block.v);
    pf_free(t->block.whole);
    pf_exchange_free(t->block.exchange);
    pf_free(t->tally.shard_loss);
    pf_free(t->tally.norm);
    pf_free(t->tally.message);
    pf_free(t->tally.messages);
    pf_free(t->tally.sums);
    pf_free(t->eval.x);
    pf_free(t->eval.label);
    pf_free(t->eval.condition);
    pf_indices_free(t);
    pf_free(t->config);
    pf_free(t);
}

pf_status pf_trainer_open(pf_trainer *t)
{
    PF_TRY(open_data(t));
    PF_TRY(allocate(t));
    PF_TRY(pf_indices_open(t));
    size_t before = pf_alloc_live();
    PF_TRY(pf_workers_create(t));
    t->worker_bytes = pf_alloc_live() - before;
    return PF_OK;
}

/* Local: everything but the directory. */
static PF_MUST_USE pf_status prepare(pf_trainer *t, const char *path)
{
    pf_text config = {0};
    PF_TRY(pf_experiment_text(t->e, &config));
    t->config = config.s;
    PF_TRY(pf_trainer_open(t));
    PF_TRY(pf_trainer_open_state(t));
    PF_TRY(pf_eval_open(t));
    PF_TRY(pf_trainer_load(t, path));
    return PF_OK;
}

/* What a rank holds, by kind.  The libraries are what is in memory beyond our own blocks; the
 * checkpoint comes on top while it is written (rank 0) or read (all). */
static void report_memory(const pf_trainer *t)
{
    double mb = 1e-6, plans = 0, trees = 0;
    for (int i = 0; i < t->n_workers; i++) {
        const pf_worker *w = &t->w[i];
        plans += (double)(pf_plan_bytes(w->plan) + w->bytes);
        trees += (double)pf_tree_bytes(w->tree);
        if (w->exact != w->plan) plans += (double)pf_plan_bytes(w->exact);
    }
    double state = (double)(2 * t->block.padded + 2 * t->block.pieces) * sizeof(float);
    double exchange = (double)pf_exchange_bytes(t->block.exchange);
    if (pf_comm_size(t->c) > 1) exchange += (double)t->block.padded * sizeof(float);
    double prepared = (double)t->worker_bytes - trees - plans;
    double resident = (double)pf_resident_bytes();
    double libraries = fmax(resident - (double)pf_alloc_live(), 0.0);
    double checkpoint =
        1.125 * 4.0 * (double)t->block.floats * sizeof(float); /* and HDF5's room */
    double data = (double)t->data_bytes;
    pf_log(
        "memory a rank [MB]: parameters, average and moments %.1f, gradients %.1f, exchange "
        "%.1f, activations %.1f, prepared weights %.1f, data %.1f, libraries %.1f; %.0f with "
        "the %.1f of a checkpoint",
        mb * state, mb * trees, mb * exchange, mb * plans, mb * prepared, mb * data,
        mb * libraries, mb * ((double)pf_alloc_live() + libraries + checkpoint),
        mb * checkpoint);
    const pf_method_ops *method = t->net->method.ops;
    double tables = method->tables ? mb * (double)method->tables(t->net->self) : 0.0;
    if (tables >= 1.0) pf_log("  of it %.1f for the tables of method %s", tables, method->name);
}

static void report(const pf_trainer *t)
{
    pf_log("%s: %zu parameters, %d ranks, %d threads a rank, %d shards of %d samples",
           t->net->model.ops->name, t->block.floats, pf_comm_size(t->c), t->n_workers,
           t->cut.shards, t->cut.b);
    if (t->e->train.precision == PF_BF16)
        pf_log("precision bf16: %s %s; evaluation losses and checkpoints in float",
               pf_isa_name(pf_isa_used()),
               pf_bf16_is_native()
                   ? "multiplies such numbers itself"
                   : "has no instruction for it: the same sums are made in float, "
                     "bit for bit; precision f32 is as fast or faster");
    if (pf_comm_size(t->c) > 1)
        pf_log("gradients are exchanged %s the backward pass",
               overlaps(t) ? "during" : "after");
    report_memory(t);
}

static void show_progress(const pf_trainer *t, clockwork *k)
{
    int64_t steps = t->e->train.steps;
    int last = t->step == steps || t->tally.stop;
    k->loss_sum += t->tally.loss;
    if (pf_comm_rank(t->c) != 0 || (!last && !pf_progress_due())) return;
    double now = pf_seconds(), spent = now - k->begun;
    double done = (double)(t->step - k->line_step), rate = done / fmax(now - k->line_at, 1e-9);
    char eta[32];
    double left = (double)(steps - t->step) * spent / (double)(t->step - k->first);
    pf_progress(last, "step %lld/%lld  loss %.4g  %.4g images/s  %s %s", (long long)t->step,
                (long long)steps, k->loss_sum / done, rate * t->e->train.batch,
                last ? "took" : "ETA", pf_duration(last ? spent : left, eta, sizeof eta));
    k->loss_sum = 0;
    k->line_at = now;
    k->line_step = t->step;
}

static int due(int64_t step, int64_t every, int64_t last)
{
    return step == last || (every > 0 && step % every == 0);
}

static PF_MUST_USE pf_status write_row(const pf_trainer *t, clockwork *k, pf_metrics *metrics,
                                       double eval_loss)
{
    double now = pf_seconds();
    double rate = (double)(t->step - k->row_step) / fmax(now - k->row_at, 1e-9);
    double waited = (t->tally.waited - k->row_waited) / (double)(t->step - k->row_step);
    double row[COLUMNS] = {
        (double)t->step,          t->tally.loss,  t->tally.grad_norm, t->lr,
        rate * t->e->train.batch, now - k->begun, eval_loss,          waited};
    k->row_at = now;
    k->row_waited = t->tally.waited;
    k->row_step = t->step;
    PF_TRY(pf_metrics_append(metrics, row));
    return PF_OK;
}

/* Collective: one step and what is due after it. */
static PF_MUST_USE pf_status advance(pf_trainer *t, clockwork *k, pf_metrics *metrics)
{
    const pf_train_opt *o = &t->e->train;
    double eval_loss = NAN;
    PF_TRY(pf_trainer_step(t));
    show_progress(t, k);
    int evaluate = t->eval.n > 0 && due(t->step, o->eval_every, o->steps);
    if (evaluate) PF_TRY(pf_eval_loss(t, &eval_loss));
    int save = t->tally.stop || due(t->step, o->checkpoint_every, o->steps);
    int row = evaluate || save || due(t->step, o->log_every, o->steps);
    if (row) {
        /* Rows stand on disk before the checkpoint that makes them final. */
        pf_status st = metrics ? write_row(t, k, metrics, eval_loss) : PF_OK;
        PF_TRY(pf_comm_agree(t->c, st));
    }
    if (evaluate) {
        double initial = pf_ema_initial(o, t->step);
        char remark[96] = "";
        if (initial > 0.5)
            snprintf(remark, sizeof remark, ", of an average that is %.0f %% initial values",
                     100.0 * initial);
        pf_log("step %lld: evaluation loss %.6g%s", (long long)t->step, eval_loss, remark);
    }
    if (save) PF_TRY(pf_trainer_save(t));
    return PF_OK;
}

static PF_MUST_USE pf_status loop(pf_trainer *t, pf_metrics *metrics)
{
    double now = pf_seconds();
    clockwork k = {now, now, now, 0, t->tally.waited, t->step, t->step, t->step};
    int64_t steps = t->e->train.steps;
    if (t->step >= steps) {
        pf_log("nothing to do: step %lld of %lld is done", (long long)t->step,
               (long long)steps);
        return PF_OK;
    }
    report(t);
    while (t->step < steps && !t->tally.stop) PF_TRY(advance(t, &k, metrics));
    if (pf_comm_size(t->c) > 1)
        pf_log("communication %.1f%% of the time",
               100.0 * t->tally.waited / fmax(pf_seconds() - k.begun, 1e-9));
    PF_REQUIRE(t->step == steps, PF_ESTOP,
               "stopped after step %lld of %lld; the same command continues",
               (long long)t->step, (long long)steps);
    return PF_OK;
}

static PF_MUST_USE pf_status run(pf_trainer *t, const char *path)
{
    char file[PF_PATH_MAX];
    pf_metrics *metrics = NULL;
    PF_TRY(pf_comm_agree(t->c, prepare(t, path)));
    if (!path[0]) PF_TRY(pf_trainer_levels(t));
    pf_status st = PF_OK;
    snprintf(file, sizeof file, "%.4000s/metrics.h5", t->dir);
    if (pf_comm_rank(t->c) == 0) {
        st = pf_run_dir_claim(t->dir, t->e);
        if (!st) st = pf_metrics_open(file, columns, COLUMNS, t->step, &metrics);
    }
    st = pf_comm_agree(t->c, st);
    if (!st) st = loop(t, metrics);
    PF_TRY(pf_comm_agree(t->c, pf_metrics_close(metrics, st)));
    return PF_OK;
}

static PF_MUST_USE pf_status train_network(pf_comm *c, const pf_experiment *e, const char *dir,
                                           const pf_start *start)
{
    pf_trainer *t = NULL;
    pf_status st = pf_comm_agree(c, pf_trainer_create(c, e, &t));
    if (!st) {
        t->dir = dir;
        t->content = start->content;
        st = run(t, start->path);
    }
    pf_trainer_free(t);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

pf_status pf_train(pf_comm *c, const pf_experiment *e, const char *dir)
{
    pf_experiment own = *e; /* settled by the directory and the data */
    pf_start start = {0};
    pf_status st = pf_comm_agree(c, pf_check_ranks(c, e));
    if (e->train.max_hours > 0) pf_stop_after(3600.0 * e->train.max_hours);
    if (!st) st = pf_start_open(c, &own, dir, &start);
    if (!st)
        st = own.model.ops->build ? train_network(c, &own, dir, &start)
                                  : pf_train_analytic(c, &own, dir, &start);
    pf_run_dir_close(dir, &start.dir, st);
    pf_stop_clear(); /* this call has answered it */
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}
