/* A checkpoint made ready for evaluation. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/published.h>
#include <probflow/run.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The network is what its checkpoint says; only how it is used may change. */
static PF_MUST_USE pf_status check_override(const pf_method *m, const char *set)
{
    const char *key = strncmp(set, "method.", 7) ? "" : set + 7;
    int length = (int)strcspn(set, "="), fixed = *key && !pf_method_is_free(m, key);
    PF_REQUIRE(strncmp(set, "model.", 6) && strncmp(set, "sde.", 4) && !fixed, PF_EARG,
               "%.*s is fixed by the checkpoint and cannot be set here", length, set);
    return PF_OK;
}

static PF_MUST_USE pf_status check_overrides(pf_config *stored, const pf_load_opt *o)
{
    pf_method m;
    PF_TRY(pf_method_read(stored, &m));
    for (int i = 0; i < o->n_sets; i++) PF_TRY(check_override(&m, o->sets[i]));
    return PF_OK;
}

/* A run that goes on removes old checkpoints: one that is gone before it is open is not the newest any
 * more.  *gone: the next try may find another. */
static PF_MUST_USE pf_status open_checkpoint(const char *path, int *fd, int *gone)
{
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    *gone = *fd < 0 && errno == ENOENT;
    PF_REQUIRE(*fd >= 0, PF_EIO, "cannot open %s: %s", path, strerror(errno));
    return PF_OK;
}

/* Collective.  *gone: on any rank. */
static PF_MUST_USE pf_status any_gone(pf_comm *c, int *gone)
{
    int n = pf_comm_size(c), *all = pf_zalloc((size_t)n * sizeof *all);
    PF_TRY(pf_comm_agree(c, all ? PF_OK
                                : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d ranks", n)));
    pf_status st = pf_comm_allgather(c, gone, sizeof *gone, all);
    for (int r = 0; !st && r < n; r++) *gone |= all[r];
    pf_free(all);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_checkpoint_hold(pf_comm *c, const char *run_or_file, pf_held *out)
{
    pf_status st = PF_OK;
    for (int tries = 0, gone = 1; gone && tries < 10; tries++) {
        st = PF_OK;
        if (pf_comm_rank(c) == 0)
            st = pf_checkpoint_find(run_or_file, out->path, sizeof out->path);
        PF_TRY(pf_comm_agree(c, st));
        PF_TRY(pf_comm_bcast(c, 0, out->path, sizeof out->path));
        st = open_checkpoint(out->path, &out->fd, &gone);
        PF_TRY(any_gone(c, &gone));
        if (gone && !st) close(out->fd);
    }
    PF_TRY(pf_comm_agree(c, st));
    return PF_OK;
}

/* By its name, for the sentences; by its descriptor when the name has gone to another file. */
static PF_MUST_USE pf_status read_held(pf_loaded *out)
{
    struct stat here, there;
    snprintf(out->held, sizeof out->held, "/proc/self/fd/%d", out->fd);
    pf_status st = pf_checkpoint_read(out->path, 0, &out->file);
    if (!fstat(out->fd, &here) && !stat(out->path, &there) && here.st_ino == there.st_ino &&
        here.st_dev == there.st_dev)
        return st ? pf_trail(st, PF_WHERE) : PF_OK;
    pf_checkpoint_free(&out->file);
    PF_TRY(pf_checkpoint_read(out->held, 0, &out->file));
    return PF_OK;
}

static PF_MUST_USE pf_status read_checkpoint(const pf_load_opt *o, pf_loaded *out)
{
    int gone = 0;
    if (o->held && o->held->path[0]) {
        strcpy(out->path, o->held->path);
        out->fd = o->held->fd;
    } else {
        PF_TRY(pf_checkpoint_find(o->from, out->path, sizeof out->path));
        PF_TRY(open_checkpoint(out->path, &out->fd, &gone));
    }
    PF_TRY(read_held(out));
    return PF_OK;
}

/* The values to evaluate. */
static PF_MUST_USE pf_status choose_params(pf_loaded *l, int params, const float **flat)
{
    const pf_checkpoint *f = &l->file;
    l->raw = f->ema && params == PF_PARAMS_RAW;
    PF_REQUIRE(f->ema || params != PF_PARAMS_EMA, PF_EARG,
               "%s holds no average; set --params raw", l->path);
    *flat = f->ema && !l->raw ? f->ema : f->params;
    double initial = pf_ema_initial(&l->e.train, f->step);
    if (*flat == f->ema && params == PF_PARAMS_BEST && initial > 0.5)
        pf_log("%s: after %lld steps the average is %.0f %% initial values (train.ema is %g); "
               "--params raw takes the parameters themselves",
               l->path, (long long)f->step, 100.0 * initial, l->e.train.ema);
    return PF_OK;
}

/* The law by which training drew its indices, where it learned one. */
static PF_MUST_USE pf_status take_law(pf_loaded *l)
{
    const pf_method_ops *m = l->net->method.ops;
    const pf_checkpoint *f = &l->file;
    int T = m->times ? m->times(l->net->self) : 0;
    if (T < 1 || !f->times) return PF_OK;
    PF_TRY(pf_times_create(T, m->times_law, &l->law));
    PF_TRY(
        pf_times_set(l->law, l->path, f->times, f->times_kept, f->times_loss, f->times_count));
    return PF_OK;
}

pf_status pf_loaded_open(const pf_load_opt *o, pf_loaded *out)
{
    pf_config *c = NULL;
    const float *flat = NULL;
    memset(out, 0, sizeof *out);
    PF_TRY(read_checkpoint(o, out));
    PF_TRY(pf_config_parse(out->file.config, out->path, &c));
    pf_config_stored(c);
    pf_status st = check_overrides(c, o);
    if (st) pf_config_free(c);
    PF_TRY(st);
    PF_TRY(pf_experiment_take(c, o->n_sets, o->sets, &out->e));
    PF_TRY(pf_net_create(&out->e.model, &out->e.method, &out->file.space, &out->net));
    out->params = pf_zalloc(out->net->floats * sizeof *out->params);
    PF_REQUIRE(out->params, PF_EMEM, "no memory for the parameters of %s", out->path);

    PF_TRY(choose_params(out, o->params, &flat));
    pf_named from = {
        .origin = out->path, .n = out->file.n_views, .views = out->file.views, .flat = flat};
    PF_TRY(pf_match_params(out->net->n_views, out->net->views, &from, out->params));
    PF_TRY(pf_net_set_params(out->net, out->params));
    PF_TRY(take_law(out));
    return PF_OK;
}

void pf_loaded_free(pf_loaded *l)
{
    pf_net_free(l->net);
    pf_times_free(l->law);
    pf_free(l->params);
    pf_checkpoint_free(&l->file);
    if (l->fd > 0) close(l->fd);
    memset(l, 0, sizeof *l);
}

pf_status pf_data_or_stored(const pf_loaded *l, const char **data)
{
    const char *stored = l->e.data.path;
    if (*data) return PF_OK;
    PF_REQUIRE(stored[0], PF_EARG,
               "%s does not say what it was trained on; give the data set "
               "with --data",
               l->path);
    PF_REQUIRE(!access(stored, R_OK), PF_EIO,
               "cannot open %s, which %s was trained on: %s; give the data set with --data",
               stored, l->path, strerror(errno));
    *data = stored;
    return PF_OK;
}

const char *pf_noise_hint(const pf_loaded *l)
{
    const pf_model *m = &l->e.model;
    pf_opt o = pf_opt_find(m->ops->opts, "noise_variance");
    if (m->ops->build || !o.name || *(const double *)((const char *)&m->opt + o.offset) != 0.0)
        return NULL;
    return "was fitted without noise: train it with model.noise_variance above 0";
}
