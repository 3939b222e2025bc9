/* What a run starts from.
 *
 * A run belongs to its data: to what they hold, not to where they lie or what they were made of.  Each
 * checkpoint names the content of the split it was trained on and the train.steps it was made under,
 * so whether a run may go on is asked of the checkpoint it would go on from. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <string.h>

/* The rate of step s (from 0) falls below its full value when s > steps - decay. */
int pf_rate_stays(const pf_train_opt *o, int64_t was, int64_t now, int64_t step)
{
    int64_t least = was < now ? was : now;
    return was == now || o->decay == 0 || step == 0 || step - 1 <= least - o->decay;
}

/* ---- options ---- */

/* Rank 0's choices, which its directory may have decided, to all. */
static PF_MUST_USE pf_status share_choices(pf_comm *c, pf_experiment *e, int *fresh)
{
    struct {
        int fresh, ema_warmup;
        char attention[PF_STR_MAX];
    } m = {.fresh = *fresh, .ema_warmup = e->train.ema_warmup};
    pf_opt attention = pf_opt_find(e->model.ops->opts, "attention");
    if (attention.name) pf_opt_text(&attention, &e->model.opt, m.attention, sizeof m.attention);
    PF_TRY(pf_comm_bcast(c, 0, &m, sizeof m));
    *fresh = m.fresh;
    e->train.ema_warmup = m.ema_warmup;
    if (attention.name)
        PF_TRY(
            pf_opt_set(e->model.ops->opts, "model", "attention", m.attention, &e->model.opt));
    return PF_OK;
}

static PF_MUST_USE pf_status settle(pf_experiment *e, const pf_dataset_info *a)
{
    PF_REQUIRE(!e->data.flip || a->space.shape.w > 1, PF_EARG,
               "data.flip is true, but the rows of %s have a width of 1: nothing to flip",
               e->data.path);
    PF_TRY(pf_method_acts(&e->method));
    if (e->model.ops->settle)
        PF_TRY(e->model.ops->settle(&e->model.opt, a->space.shape, e->given.attention));
    return PF_OK;
}

/* ---- data ---- */

static PF_MUST_USE pf_status content_of(const char *path, const char *split, pf_dataset **d,
                                        char hex[65])
{
    PF_TRY(pf_dataset_open(path, split, d));
    PF_TRY(pf_dataset_content(*d, hex));
    return PF_OK;
}

static PF_MUST_USE pf_status read_data(pf_experiment *e, int fresh, char content[65])
{
    pf_dataset *d = NULL;
    pf_status st = content_of(e->data.path, "train", &d, content);
    if (!st && fresh) st = settle(e, pf_dataset_about(d));
    pf_dataset_close(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- checkpoint ---- */

typedef struct choice {
    const pf_experiment *e;
    char content[65], path[PF_STR_MAX]; /* data of the chosen checkpoint */
    int64_t passed, passed_steps;       /* the newest one whose rate would change; -1: none */
} choice;

static pf_status usable(void *self, const pf_checkpoint *c, int *yes)
{
    choice *k = self;
    pf_config *was = NULL;
    const pf_train_opt *o = &k->e->train;
    pf_train_opt *then = pf_zalloc(sizeof *then);
    PF_REQUIRE(then, PF_EMEM, "no memory for a configuration");
    pf_status st = pf_config_parse(c->config ? c->config : "", "a checkpoint", &was);
    if (!st) st = pf_config_section(was, "train", pf_train_opts, then);
    if (!st) {
        const char *path = pf_config_get(was, "data.path");
        *yes = !k->e->model.ops->build || pf_rate_stays(o, then->steps, o->steps, c->step);
        if (!*yes && k->passed < 0) k->passed = c->step, k->passed_steps = then->steps;
        memcpy(k->content, c->data_content, sizeof k->content);
        snprintf(k->path, sizeof k->path, "%s", path ? path : "");
    }
    pf_config_free(was);
    pf_free(then);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status choose(const char *dir, choice *k, char path[PF_PATH_MAX])
{
    const pf_train_opt *o = &k->e->train;
    int with_state = k->e->model.ops->build != NULL;
    k->passed = -1;
    PF_TRY(pf_checkpoint_newest(dir, with_state, usable, k, path, PF_PATH_MAX));
    if (k->passed < 0) return PF_OK;
    int64_t least = o->steps < k->passed_steps ? o->steps : k->passed_steps;
    int64_t last = least - o->decay + 1;
    PF_REQUIRE(
        path[0], PF_EARG,
        "train.steps is %lld, but the %lld steps of run directory %s were made for %lld, and "
        "train.decay is %lld: their rate would have been another, and no checkpoint of "
        "step %lld or before is there to go on from; choose another directory",
        (long long)o->steps, (long long)k->passed, dir, (long long)k->passed_steps,
        (long long)o->decay, (long long)(last < 0 ? 0 : last));
    pf_log("train.steps was %lld and is %lld: with a train.decay of %lld the rate of steps "
           "made is "
           "another; continues from %s, where it was whole, and replaces what came after",
           (long long)k->passed_steps, (long long)o->steps, (long long)o->decay, path);
    return PF_OK;
}

/* A checkpoint that does not know its data is taken at the word of their path, or of the file that is
 * still there. */
static PF_MUST_USE pf_status check_data(const char *dir, const choice *k, const char *content)
{
    const char *now = k->e->data.path, *was = k->path;
    char before[65];
    snprintf(before, sizeof before, "%s", k->content);
    if (!before[0]) {
        pf_dataset *d = NULL;
        if (!was[0] || !strcmp(was, now)) return PF_OK;
        pf_status st = content_of(was, "train", &d, before);
        pf_dataset_close(d);
        PF_REQUIRE(
            !st, PF_EARG,
            "run directory %s was trained on %s, which cannot be read to see whether %s holds "
            "the same data; continue it once with data.path=%s, or choose another directory",
            dir, was, now, was);
    }
    PF_REQUIRE(
        !strcmp(before, content), PF_EARG,
        "%s holds other data in its train split than run directory %s was trained on; choose "
        "another directory",
        now, dir);
    return PF_OK;
}

static PF_MUST_USE pf_status find_checkpoint(const char *dir, const pf_experiment *e,
                                             pf_start *s)
{
    choice *k = pf_zalloc(sizeof *k);
    PF_REQUIRE(k, PF_EMEM, "no memory to look for checkpoints");
    k->e = e;
    pf_status st = choose(dir, k, s->path);
    if (!st && s->path[0]) st = check_data(dir, k, s->content);
    pf_free(k);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_start_open(pf_comm *c, pf_experiment *e, const char *dir, pf_start *out)
{
    int root = pf_comm_rank(c) == 0, network = e->model.ops->build != NULL;
    *out = (pf_start){0};
    PF_TRY(pf_comm_agree(c, root ? pf_run_dir_open(dir, e, &out->dir) : PF_OK));
    int fresh = out->dir.fresh;
    PF_TRY(share_choices(c, e, &fresh));
    /* Closed forms are fitted by rank 0 alone. */
    PF_TRY(pf_comm_agree(c, root || network ? read_data(e, fresh, out->content) : PF_OK));
    if (network) PF_TRY(pf_data_agree(c, e->data.path, "train", out->content));
    PF_TRY(pf_comm_agree(c, root ? find_checkpoint(dir, e, out) : PF_OK));
    PF_TRY(pf_comm_bcast(c, 0, out->path, sizeof out->path));
    return PF_OK;
}
