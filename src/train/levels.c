/* The frequencies of the levels in the training data, where the model asks for them (PF_INIT_LEVELS).
 *
 *     w_ck = (n_ck + 1) / (n_c + L),   n_ck entries of channel c at level k
 *
 * One more of each, so that no level is impossible.  Whole numbers are added, over shards and ranks,
 * so neither their number nor their order changes a bit. */
#include "train/loop.h"

#include <probflow/memory.h>

static PF_MUST_USE pf_status count(const pf_trainer *t, int channels, int levels, int64_t *n)
{
    for (int i = 0; i < t->cut.own; i++)
        PF_TRY(pf_shard_count_levels(t->data[i], channels, levels, n));
    return PF_OK;
}

static PF_MUST_USE pf_status fill(pf_trainer *t, const pf_param *v)
{
    int ranks = pf_comm_size(t->c), channels = v->dim[0], levels = v->dim[1];
    int64_t *mine = pf_zalloc(v->size * sizeof *mine);
    int64_t *all = pf_zalloc((size_t)ranks * v->size * sizeof *all);
    pf_status st = mine && all ? count(t, channels, levels, mine)
                               : pf_raise(PF_EMEM, PF_WHERE, "no memory to count levels");
    st = pf_comm_agree(t->c, st);
    if (!st) st = pf_comm_allgather(t->c, mine, v->size * sizeof *mine, all);
    for (int c = 0; !st && c < channels; c++) {
        int64_t *n = all + (size_t)c * (size_t)levels, total = 0;
        for (int k = 0; k < levels; k++) {
            for (int r = 1; r < ranks; r++) n[k] += n[(size_t)r * v->size + (size_t)k];
            total += n[k];
        }
        float *w = t->block.params + v->offset + (size_t)c * (size_t)levels;
        for (int k = 0; k < levels; k++)
            w[k] = (float)((double)(n[k] + 1) / (double)(total + levels));
    }
    pf_free(mine);
    pf_free(all);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

pf_status pf_trainer_levels(pf_trainer *t)
{
    for (int i = 0; i < t->net->n_views; i++) {
        const pf_param *v = &t->net->views[i];
        if (v->init != PF_INIT_LEVELS) continue;
        PF_TRY(fill(t, v));
        for (size_t j = v->offset; j < v->offset + v->size; j++)
            t->block.ema[j] = t->block.params[j];
    }
    return PF_OK;
}
