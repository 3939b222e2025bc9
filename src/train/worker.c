/* Workers: each thread has its own plan, tree and batch buffers and runs whole shards.
 *
 * What a shard computes depends on (seed, step, shard) alone: noise and dropout are keyed by the
 * sample's number step * batch + position, times by one u0 a step.  So neither threads nor ranks
 * change a bit.
 *
 * Backward makes the last parameters' gradients first.  Operator by operator they go up the
 * worker's tree and, after the worker's last shard, bucket by bucket over the workers and, while
 * the rest of the gradient is still being computed, to the other ranks. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <omp.h>
#include <string.h>

static void *take(pf_worker *w, size_t bytes)
{
    w->bytes += bytes;
    return pf_zalloc(bytes);
}

/* A worker's root is final on bucket b.  Of two neighbours in the tree the later one adds both
 * and goes on up; whoever makes the last sum hands the bucket to the other ranks.  So the order of
 * arrival changes who adds, not what is added. */
static void climb(pf_trainer *t, int index, int b)
{
    pf_slice s = pf_exchange_bucket(t->block.exchange, b);
    for (int stride = 1; stride < t->n_workers; stride *= 2) {
        int left = index & ~(2 * stride - 1), right = left + stride;
        if (atomic_fetch_add(&t->block.arrived[b * t->n_workers + right], 1) == 0) return;
        if (stride == 1 && t->n_workers == t->cut.own) continue; /* a pair with one root */
        float *restrict sum = pf_tree_root(t->w[left].tree) + s.first;
        const float *restrict more = pf_tree_root(t->w[right].tree) + s.first;
        for (size_t j = 0; j < s.n; j++) sum[j] += more[j];
    }
    pf_exchange_ready(t->block.exchange, b);
}

/* The shard's gradient is in the tree from `from` on: whole buckets go up over the workers. */
static void passed(pf_worker *w, size_t from)
{
    pf_trainer *t = w->trainer;
    while (w->bucket > 0 &&
           pf_exchange_bucket(t->block.exchange, w->bucket - 1).first >= from) {
        w->bucket--;
        if (w->last) climb(t, (int)(w - t->w), w->bucket);
    }
}

static void on_gradient(void *self, size_t first, size_t n, const float *g)
{
    pf_worker *w = self;
    pf_tree_add(w->tree, first, n, g);
    passed(w, first);
}

static PF_MUST_USE pf_status create_plans(pf_trainer *t, pf_worker *w, const pf_worker *first)
{
    int rows = pf_net_rows(t->net) * t->cut.b;
    pf_plan_opt opt = {.batch = rows,
                       .want_params = 1,
                       .precision = (pf_precision)t->e->train.precision,
                       .put = on_gradient,
                       .self = w,
                       .recompute = (pf_recompute)t->e->train.recompute,
                       .with = first ? first->plan : NULL};
    pf_plan_opt exact = {.batch = rows, .with = first ? first->exact : NULL};
    PF_TRY(pf_plan_create(t->net->graph, &opt, &w->plan));
    w->exact = w->plan;
    if (opt.precision != PF_F32 && t->e->train.eval_every > 0) {
        w->exact = NULL;
        PF_TRY(pf_plan_create(t->net->graph, &exact, &w->exact));
    }
    return PF_OK;
}

/* Worker 0 first: its plans hold the prepared parameters of all. */
static PF_MUST_USE pf_status create(pf_trainer *t, int index)
{
    pf_worker *w = &t->w[index];
    const pf_net *net = t->net;
    int rows = pf_net_rows(net) * t->cut.b;
    size_t n = (size_t)t->cut.b,
           out = (size_t)rows * pf_shape_entries(net->offered.out) * sizeof(float);
    PF_TRY(create_plans(t, w, index ? &t->w[0] : NULL));
    w->trainer = t;
    PF_TRY(pf_inputs_create(net, rows, &w->inputs));
    w->bytes += pf_inputs_bytes(net, rows);
    pf_inputs_run(&w->inputs, &w->run);
    w->x = take(w, n * (size_t)t->dim * sizeof *w->x);
    w->sample = take(w, n * sizeof *w->sample);
    w->row = rows == t->cut.b ? w->sample : take(w, (size_t)rows * sizeof *w->row);
    w->scratch = take(w, n * net->method.ops->scratch(net->self));
    w->net = take(w, out);
    w->gout = take(w, out);
    w->loss = take(w, n * sizeof *w->loss);
    int labels = pf_net_labels(net), conditions = pf_net_reads(net, "condition");
    size_t C = (size_t)net->space.conditions + 1;
    if (labels) w->label = take(w, n * sizeof *w->label);
    if (conditions) w->condition = take(w, n * C * sizeof *w->condition);
    PF_REQUIRE(w->x && w->sample && w->row && w->scratch && w->net && w->gout && w->loss &&
                   !labels == !w->label && !conditions == !w->condition,
               PF_EMEM, "no memory for a batch of %d samples", t->cut.b);
    return PF_OK;
}

static pf_status create_first(void *self, int index)
{
    pf_trainer *t = self;
    return index ? PF_OK : create(t, index);
}

static pf_status create_others(void *self, int index)
{
    pf_trainer *t = self;
    return index ? create(t, index) : PF_OK;
}

static void release(pf_worker *w)
{
    if (w->exact != w->plan) pf_plan_free(w->exact);
    pf_plan_free(w->plan);
    pf_tree_free(w->tree);
    pf_inputs_free(&w->inputs);
    pf_free(w->x);
    if (w->row != w->sample) pf_free(w->row);
    pf_free(w->sample);
    pf_free(w->label);
    pf_free(w->condition);
    pf_free(w->scratch);
    pf_free(w->net);
    pf_free(w->gout);
    pf_free(w->loss);
}

/* What a batch is beside its rows, which w has. */
pf_batch pf_worker_batch(const pf_worker *w, int64_t first, int64_t total)
{
    const pf_trainer *t = w->trainer;
    return (pf_batch){.space = &t->net->space,
                      .B = t->cut.b,
                      .first = first,
                      .total = total,
                      .x = w->x,
                      .label = w->label,
                      .condition = w->condition,
                      .sample = w->sample,
                      .seed = t->seed};
}

/* What is known of the rows beside them; of train.drop_conditions of the samples the network is told nothing.
 * Labels that the loss reads stay. */
static void draw_given(const pf_trainer *t, pf_worker *w, const pf_shard *data)
{
    size_t C = (size_t)t->net->space.conditions + 1;
    if (!w->label && !w->condition) return;
    pf_shard_given(data, t->step, t->cut.b, w->label, w->condition);
    for (int i = 0; i < t->cut.b; i++) {
        if (!pf_withheld(&t->e->train, t->seed, w->sample[i])) continue;
        if (w->label && !t->net->method.ops->labels) w->label[i] = -1;
        if (w->condition) memset(w->condition + (size_t)i * C, 0, C * sizeof *w->condition);
    }
}

/* The rows of one shard at this step, and what the network sees of them. */
static pf_batch draw_batch(pf_trainer *t, pf_worker *w, int shard)
{
    int64_t at = (int64_t)shard * t->cut.b, batch = t->e->train.batch;
    pf_shard_batch(t->data[shard - t->cut.first], t->step, t->cut.b, w->x);
    for (int i = 0; i < t->cut.b; i++) w->sample[i] = (uint64_t)(t->step * batch + at + i);
    draw_given(t, w, t->data[shard - t->cut.first]);
    pf_batch b = pf_worker_batch(w, at, batch);
    b.step = (uint32_t)t->step;
    if (t->indices.law) {
        b.index = t->indices.index + at;
        b.weight = t->indices.weight + at;
    }
    pf_net_see(t->net, &b, w->scratch, &w->inputs);
    return b;
}

/* The sum of a shard's losses as they count; those that a law of indices learns from are kept as they are. */
static double sum_of(pf_trainer *t, const pf_worker *w, const pf_batch *b, int shard)
{
    double sum = 0.0;
    for (int i = 0; i < b->B; i++) sum += b->weight ? b->weight[i] * w->loss[i] : w->loss[i];
    if (t->indices.law)
        memcpy(t->indices.loss + (shard - t->cut.first) * t->cut.b, w->loss,
               (size_t)b->B * sizeof *w->loss);
    return sum;
}

pf_status pf_worker_pass(pf_worker *w, pf_plan *plan, const pf_run *run, const pf_batch *b)
{
    const pf_net *net = w->trainer->net;
    if (pf_net_looks_twice(net)) {
        PF_TRY(pf_plan_forward(plan, run, w->net));
        pf_net_again(net, b, w->scratch, w->net, &w->inputs);
    }
    PF_TRY(pf_plan_forward(plan, run, w->net));
    return PF_OK;
}

static PF_MUST_USE pf_status shard_gradient(pf_trainer *t, pf_worker *w, int shard)
{
    const pf_net *net = t->net;
    pf_batch b = draw_batch(t, w, shard);
    pf_run run = w->run;
    for (int i = 0; i < pf_net_rows(net) * t->cut.b; i++) w->row[i] = w->sample[i % t->cut.b];
    run.train = 1;
    run.seed = t->seed;
    run.sample = w->row; /* the rows of a sample have one dropout */
    run.step = (uint32_t)t->step;
    PF_TRY(pf_worker_pass(w, w->plan, &run, &b));
    net->method.ops->loss(net->self, &b, w->scratch, w->net, 1.0 / t->e->train.batch, w->loss,
                          w->gout);
    t->tally.shard_loss[shard - t->cut.first] = sum_of(t, w, &b, shard);
    w->bucket = pf_exchange_buckets(t->block.exchange);
    pf_tree_leaf(w->tree);
    PF_TRY(pf_plan_backward(w->plan, w->gout, NULL, NULL));
    passed(w, 0);
    return PF_OK;
}

pf_status pf_worker_prepare(void *self, int index)
{
    pf_trainer *t = self;
    return pf_plan_set_params_part(t->w[index].plan, t->block.params, index, t->n_workers);
}

pf_status pf_worker_gradient(void *self, int index)
{
    pf_trainer *t = self;
    pf_worker *w = &t->w[index];
    int n = t->cut.own / t->n_workers;
    for (int i = 0; i < n; i++) {
        w->last = i == n - 1;
        PF_TRY(shard_gradient(t, w, t->cut.first + index * n + i));
    }
    return PF_OK;
}

pf_status pf_workers_run(pf_trainer *t, pf_task *task, void *self)
{
#pragma omp parallel for num_threads(t->n_workers) schedule(static, 1)
    for (int i = 0; i < t->n_workers; i++) {
        int before = omp_get_max_threads();
        omp_set_num_threads(1); /* a plan and the libraries under it stay on this thread */
        pf_worker *w = &t->w[i];
        double since = pf_seconds();
        w->failed = task(self, i);
        w->busy += pf_seconds() - since;
        if (w->failed) snprintf(w->sentence, sizeof w->sentence, "%s", pf_error_message());
        omp_set_num_threads(before);
    }
    for (int i = 0; i < t->n_workers; i++)
        if (t->w[i].failed)
            return pf_trail(pf_error_adopt(t->w[i].failed, t->w[i].sentence), PF_WHERE);
    return PF_OK;
}

/* Workers of one shard share a root with their neighbour. */
static PF_MUST_USE pf_status create_trees(pf_trainer *t)
{
    int leaves = t->cut.own / t->n_workers;
    for (int i = 0; i < t->n_workers; i++) {
        pf_tree *left = leaves == 1 && i % 2 ? t->w[i - 1].tree : NULL;
        PF_TRY(pf_tree_create(leaves, t->block.padded, left, &t->w[i].tree));
    }
    return PF_OK;
}

pf_status pf_workers_create(pf_trainer *t)
{
    int threads = pf_comm_threads(t->c);
    t->n_workers = 1;
    while (2 * t->n_workers <= threads && 2 * t->n_workers <= t->cut.own) t->n_workers *= 2;
    t->w = pf_zalloc((size_t)t->n_workers * sizeof *t->w);
    size_t arrivals = (size_t)pf_exchange_buckets(t->block.exchange) * (size_t)t->n_workers;
    t->block.arrived = pf_zalloc(arrivals * sizeof *t->block.arrived);
    PF_REQUIRE(t->w && t->block.arrived, PF_EMEM, "no memory for %d workers", t->n_workers);
    PF_TRY(pf_workers_run(t, create_first, t));
    PF_TRY(pf_workers_run(t, create_others, t));
    PF_TRY(create_trees(t));
    t->block.gradient = pf_tree_root(t->w[0].tree);
    return PF_OK;
}

void pf_workers_free(pf_trainer *t)
{
    for (int i = 0; t->w && i < t->n_workers; i++) release(&t->w[i]);
    pf_free(t->w);
    pf_free(t->block.arrived);
    t->w = NULL;
    t->block.arrived = NULL;
}
