/* The state of training, to a checkpoint and back.
 *
 * Adam's moments live on each rank's pieces of the buckets; a checkpoint holds them whole and in flat order, so a run
 * continues on any number of ranks. */
#include "train/loop.h"

#include <probflow/log.h>

#include <string.h>

static void put_pieces(const pf_trainer *t, const float *own, float *whole)
{
    for (int b = 0; b < pf_exchange_buckets(t->block.exchange); b++) {
        pf_slice s = pf_exchange_piece(t->block.exchange, b);
        memcpy(whole + s.first, own + pf_piece_at(t, b), s.n * sizeof *whole);
    }
}

/* The parts of a whole moment that this rank's pieces cover; padding stays zero. */
static void take_pieces(const pf_trainer *t, const float *whole, float *own)
{
    for (int b = 0; b < pf_exchange_buckets(t->block.exchange); b++) {
        pf_slice s = pf_exchange_piece(t->block.exchange, b);
        size_t end = s.first + s.n < t->block.floats ? s.first + s.n : t->block.floats;
        if (s.first < end)
            memcpy(own + pf_piece_at(t, b), whole + s.first, (end - s.first) * sizeof *own);
    }
}

/* Whole moments: our own when there is one rank, else gathered; the gradient is done with. */
static PF_MUST_USE pf_status gather_moments(pf_trainer *t, float **m, float **v)
{
    *m = t->block.m;
    *v = t->block.v;
    if (pf_comm_size(t->c) == 1) return PF_OK;
    *m = t->block.gradient;
    *v = t->block.whole;
    put_pieces(t, t->block.m, *m);
    put_pieces(t, t->block.v, *v);
    PF_TRY(pf_exchange_gather(t->block.exchange, *m));
    PF_TRY(pf_exchange_gather(t->block.exchange, *v));
    return PF_OK;
}

static PF_MUST_USE pf_status write(const pf_trainer *t, float *m, float *v)
{
    char path[PF_PATH_MAX];
    pf_checkpoint_path(t->dir, t->step, path, sizeof path);
    pf_checkpoint c = {
        .n_views = t->net->n_views,
        .views = t->net->views,
        .floats = t->block.floats,
        .params = t->block.params,
        .ema = t->block.ema,
        .adam_m = m,
        .adam_v = v,
        .step = t->step,
        .seed = t->seed,
        .shards = t->cut.shards,
        .space = t->net->space,
        .config = t->config,
    };
    pf_indices_save(t, &c);
    memcpy(c.data_content, t->content, sizeof c.data_content);
    PF_TRY(pf_checkpoint_write(path, &c));
    pf_checkpoint_prune(t->dir, t->step, &t->e->train);
    return PF_OK;
}

pf_status pf_trainer_use_params(pf_trainer *t, const pf_checkpoint *c, const char *path)
{
    PF_REQUIRE(c->floats == t->block.floats && c->n_views == t->net->n_views, PF_EFORMAT,
               "%s holds %zu parameters, the model has %zu", path, c->floats, t->block.floats);
    for (int i = 0; i < c->n_views; i++) {
        const pf_param *a = &c->views[i], *b = &t->net->views[i];
        PF_REQUIRE(!strcmp(a->name, b->name) && a->offset == b->offset && a->size == b->size,
                   PF_EFORMAT, "%s holds parameter %s where the model has %s", path, a->name,
                   b->name);
    }
    memcpy(t->block.params, c->params, t->block.floats * sizeof *t->block.params);
    return PF_OK;
}

static PF_MUST_USE pf_status use(pf_trainer *t, const pf_checkpoint *c, const char *path)
{
    PF_TRY(pf_trainer_use_params(t, c, path));
    PF_REQUIRE(c->ema && c->adam_m && c->adam_v, PF_EFORMAT,
               "%s holds no optimiser state to continue from", path);
    PF_REQUIRE(c->seed == t->seed && c->shards == t->cut.shards, PF_EFORMAT,
               "%s was written with another seed or number of shards", path);
    PF_TRY(pf_indices_load(t, c, path));
    memcpy(t->block.ema, c->ema, t->block.floats * sizeof *t->block.ema);
    take_pieces(t, c->adam_m, t->block.m);
    take_pieces(t, c->adam_v, t->block.v);
    t->step = c->step;
    return PF_OK;
}

pf_status pf_trainer_save(pf_trainer *t)
{
    float *m, *v;
    PF_TRY(pf_exchange_gather(t->block.exchange, t->block.ema));
    PF_TRY(gather_moments(t, &m, &v));
    pf_status st = pf_comm_rank(t->c) == 0 ? write(t, m, v) : PF_OK;
    PF_TRY(pf_comm_agree(t->c, st));
    return PF_OK;
}

pf_status pf_trainer_load(pf_trainer *t, const char *path)
{
    if (!path[0]) {
        pf_graph_init_params(t->net->graph, t->seed, t->block.params);
        memcpy(t->block.ema, t->block.params, t->block.floats * sizeof *t->block.ema);
        return PF_OK;
    }
    pf_checkpoint c = {0};
    PF_TRY(pf_checkpoint_read(path, 1, &c));
    pf_status st = use(t, &c, path);
    pf_checkpoint_free(&c);
    if (st) return pf_trail(st, PF_WHERE);
    pf_log("continuing from %s at step %lld", path, (long long)t->step);
    return PF_OK;
}
