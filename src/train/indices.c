/* The indices of a step's samples, where the method leaves them to a law that learns from their losses.
 *
 * Every rank has the law and draws the indices of the whole batch.  Once the step's gradient is good, the losses
 * of all ranks are gathered in the order of the samples, and every rank remembers them alike.  So neither ranks
 * nor threads change a bit, and what is remembered belongs to the step as the parameters do. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

pf_status pf_indices_open(pf_trainer *t)
{
    pf_indices *x = &t->indices;
    const pf_method_ops *m = t->net->method.ops;
    int T = m->times ? m->times(t->net->self) : 0, batch = t->e->train.batch;
    if (!T) return PF_OK;
    PF_TRY(pf_times_create(T, m->times_law, &x->law));
    x->index = pf_zalloc((size_t)batch * sizeof *x->index);
    x->weight = pf_zalloc((size_t)batch * sizeof *x->weight);
    x->loss = pf_zalloc((size_t)(t->cut.own * t->cut.b) * sizeof *x->loss);
    x->losses = pf_zalloc((size_t)batch * sizeof *x->losses);
    PF_REQUIRE(x->index && x->weight && x->loss && x->losses, PF_EMEM,
               "no memory for the indices of %d samples", batch);
    return PF_OK;
}

void pf_indices_free(pf_trainer *t)
{
    pf_indices *x = &t->indices;
    pf_times_free(x->law);
    pf_free(x->index);
    pf_free(x->weight);
    pf_free(x->loss);
    pf_free(x->losses);
    *x = (pf_indices){0};
}

void pf_indices_draw(pf_trainer *t)
{
    int batch = t->e->train.batch;
    pf_batch whole = {.B = batch, .total = batch, .seed = t->seed, .step = (uint32_t)t->step};
    if (t->indices.law)
        pf_times_draw(t->indices.law, &whole, t->indices.index, t->indices.weight);
}

pf_status pf_indices_gather(pf_trainer *t)
{
    pf_indices *x = &t->indices;
    if (!x->law) return PF_OK;
    double since = pf_seconds();
    PF_TRY(pf_comm_allgather(t->c, x->loss, (size_t)(t->cut.own * t->cut.b) * sizeof *x->loss,
                             x->losses));
    t->tally.waited += pf_seconds() - since;
    return PF_OK;
}

void pf_indices_learn(pf_trainer *t)
{
    pf_indices *x = &t->indices;
    if (x->law) pf_times_add(x->law, t->e->train.batch, x->index, x->losses);
}

void pf_indices_save(const pf_trainer *t, pf_checkpoint *c)
{
    const pf_times *law = t->indices.law;
    if (!law) return;
    c->times = t->net->method.ops->times(t->net->self);
    c->times_kept = pf_times_kept(law);
    c->times_loss = pf_times_losses(law);
    c->times_count = pf_times_counts(law);
}

pf_status pf_indices_load(pf_trainer *t, const pf_checkpoint *c, const char *path)
{
    if (!t->indices.law || (!c->times && c->step == 0)) return PF_OK;
    PF_REQUIRE(c->times, PF_EFORMAT,
               "%s holds no losses that its indices could be drawn by; it was not trained with "
               "method.times=second_moment",
               path);
    PF_TRY(pf_times_set(t->indices.law, path, c->times, c->times_kept, c->times_loss,
                        c->times_count));
    return PF_OK;
}
