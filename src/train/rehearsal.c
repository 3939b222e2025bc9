/* Training steps to be measured. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

struct pf_rehearsal {
    pf_trainer *t;
};

static PF_MUST_USE pf_status open_into(pf_rehearsal *r, pf_comm *c, const pf_experiment *e)
{
    PF_TRY(pf_check_ranks(c, e));
    PF_REQUIRE(e->model.ops->build, PF_ENOSUPP,
               "model %s is fitted in closed form: it has no training steps",
               e->model.ops->name);
    PF_TRY(pf_trainer_create(c, e, &r->t));
    PF_TRY(pf_trainer_open(r->t));
    PF_TRY(pf_trainer_open_state(r->t));
    PF_TRY(pf_trainer_load(r->t, ""));
    for (int i = 0; i < r->t->n_workers; i++) pf_plan_profile(r->t->w[i].plan, 1);
    return PF_OK;
}

pf_status pf_rehearsal_open(pf_comm *c, const pf_experiment *e, pf_rehearsal **out)
{
    pf_rehearsal *r = pf_zalloc(sizeof *r);
    if (!r) PF_FAIL(PF_EMEM, "no memory for training");
    pf_status st = open_into(r, c, e);
    if (st) {
        pf_rehearsal_free(r);
        return pf_trail(st, PF_WHERE);
    }
    *out = r;
    return PF_OK;
}

void pf_rehearsal_free(pf_rehearsal *r)
{
    if (!r) return;
    pf_trainer_free(r->t);
    pf_free(r);
}

/* Seconds so far in operators, of a worker on average. */
static double kernel_seconds(const pf_trainer *t)
{
    double sum = 0.0;
    pf_op_time row;
    for (int w = 0; w < t->n_workers; w++)
        for (int i = 0; pf_plan_profile_row(t->w[w].plan, i, &row); i++)
            sum += row.prepare_s + row.forward_s + row.backward_s;
    return sum / t->n_workers;
}

static double busy_seconds(const pf_trainer *t)
{
    double sum = 0.0;
    for (int w = 0; w < t->n_workers; w++) sum += t->w[w].busy;
    return sum / t->n_workers;
}

pf_status pf_rehearsal_step(pf_rehearsal *r, pf_rehearsal_time *time)
{
    double busy = busy_seconds(r->t), kernels = kernel_seconds(r->t),
           waited = r->t->tally.waited, since = pf_seconds();
    PF_TRY(pf_trainer_step(r->t));
    if (!time) return PF_OK;
    time->seconds = pf_seconds() - since;
    time->kernels = kernel_seconds(r->t) - kernels;
    time->idle = time->seconds - (busy_seconds(r->t) - busy);
    time->waited = r->t->tally.waited - waited;
    return PF_OK;
}

void pf_rehearsal_cut(const pf_rehearsal *r, int *workers, int *shards, int *samples)
{
    *workers = r->t->n_workers;
    *shards = r->t->cut.own / r->t->n_workers;
    *samples = r->t->cut.b;
}

pf_plan *pf_rehearsal_plan(pf_rehearsal *r, int worker)
{
    return r->t->w[worker].plan;
}
