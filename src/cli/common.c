/* Experiments with their --set, loaded checkpoints, points read from a file. */
#include "cli/common.h"

#include "model/published.h"

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/train.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The network is what its checkpoint says; only how it is used may change. */
static PF_MUST_USE pf_status check_override(const char *set)
{
    PF_REQUIRE(strncmp(set, "model.", 6) && strncmp(set, "sde.", 4), PF_EARG,
               "%.*s is fixed by the checkpoint and cannot be set here", (int)strcspn(set, "="),
               set);
    return PF_OK;
}

pf_status pf_read_experiment(pf_config *c, const pf_args *args, pf_experiment *out)
{
    pf_status st = PF_OK;
    for (int i = 0; !st && i < args->n_sets; i++) st = pf_config_set(c, args->sets[i]);
    if (!st) st = pf_experiment_read(c, out);
    pf_config_free(c);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
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

pf_status pf_hold_checkpoint(pf_comm *c, const char *run_or_file, pf_args *args)
{
    pf_status st = PF_OK;
    for (int tries = 0, gone = 1; gone && tries < 10; tries++) {
        st = PF_OK;
        if (pf_comm_rank(c) == 0)
            st = pf_checkpoint_find(run_or_file, args->checkpoint, sizeof args->checkpoint);
        PF_TRY(pf_comm_agree(c, st));
        PF_TRY(pf_comm_bcast(c, 0, args->checkpoint, sizeof args->checkpoint));
        st = open_checkpoint(args->checkpoint, &args->held, &gone);
        PF_TRY(any_gone(c, &gone));
        if (gone && !st) close(args->held);
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

static PF_MUST_USE pf_status read_checkpoint(const char *run_or_file, const pf_args *args,
                                             pf_loaded *out)
{
    int gone = 0;
    if (args->checkpoint[0]) {
        strcpy(out->path, args->checkpoint);
        out->fd = args->held;
    } else {
        PF_TRY(pf_checkpoint_find(run_or_file, out->path, sizeof out->path));
        PF_TRY(open_checkpoint(out->path, &out->fd, &gone));
    }
    PF_TRY(read_held(out));
    return PF_OK;
}

/* The values to evaluate. */
static PF_MUST_USE pf_status choose_params(pf_loaded *l, const char *params, const float **flat)
{
    const pf_checkpoint *f = &l->file;
    l->raw = f->ema && params && !strcmp(params, "raw");
    PF_REQUIRE(f->ema || !params || strcmp(params, "ema"), PF_EARG,
               "%s holds no average; set --params raw", l->path);
    *flat = f->ema && !l->raw ? f->ema : f->params;
    double initial = pf_ema_initial(&l->e.train, f->step);
    if (*flat == f->ema && params == NULL && initial > 0.5)
        pf_log("%s: after %lld steps the average is %.0f %% initial values (train.ema is %g); "
               "--params raw takes the parameters themselves",
               l->path, (long long)f->step, 100.0 * initial, l->e.train.ema);
    return PF_OK;
}

pf_status pf_load(const char *run_or_file, const pf_args *args, const char *params,
                  pf_loaded *out)
{
    pf_config *c = NULL;
    const float *flat = NULL;
    memset(out, 0, sizeof *out);
    if (params && strcmp(params, "ema") && strcmp(params, "raw"))
        return pf_usage_error(PF_WHERE, "--params is '%s'; want ema or raw", params);
    for (int i = 0; i < args->n_sets; i++) PF_TRY(check_override(args->sets[i]));
    PF_TRY(read_checkpoint(run_or_file, args, out));
    PF_TRY(pf_config_parse(out->file.config, out->path, &c));
    pf_config_stored(c);
    PF_TRY(pf_read_experiment(c, args, &out->e));
    PF_TRY(pf_net_create(&out->e.model, &out->e.sde, out->file.shape, &out->net));
    out->params = pf_zalloc(out->net->floats * sizeof *out->params);
    PF_REQUIRE(out->params, PF_EMEM, "no memory for the parameters of %s", out->path);

    PF_TRY(choose_params(out, params, &flat));
    pf_named from = {
        .origin = out->path, .n = out->file.n_views, .views = out->file.views, .flat = flat};
    PF_TRY(pf_match_params(out->net, &from, out->params));
    PF_TRY(pf_net_set_params(out->net, out->params));
    return PF_OK;
}

void pf_loaded_free(pf_loaded *l)
{
    pf_net_free(l->net);
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
    if (m->ops->build) return NULL;
    for (const pf_opt *o = m->ops->opts; o && o->name; o++)
        if (!strcmp(o->name, "noise_variance") &&
            *(const double *)((const char *)&m->opt + o->offset) == 0.0)
            return "was fitted without noise: train it with model.noise_variance above 0";
    return NULL;
}

static const char *join(const char *group, const char *name, char *buf, size_t n)
{
    snprintf(buf, n, "%s%s%s", group ? group : "", group && *group ? "/" : "", name);
    return buf;
}

pf_status pf_has_points(const char *path, const char *group, const char *name, int *has)
{
    char full[1024];
    PF_TRY(pf_store_has(path, join(group, name, full, sizeof full), has));
    return PF_OK;
}

static int fits(const pf_array *a, pf_shape s)
{
    if (a->rank == 4) return a->dim[1] == s.h && a->dim[2] == s.w && a->dim[3] == s.c;
    return a->rank == 2 && s.h == 1 && s.w == 1 && a->dim[1] == s.c;
}

pf_status pf_read_points(const pf_loaded *l, const char *path, const char *group,
                         const char *name, int64_t n, pf_array *out)
{
    char full[1024];
    pf_shape s = l->net->shape;

    PF_TRY(pf_store_read_array(path, join(group, name, full, sizeof full), out));
    PF_REQUIRE(fits(out, s), PF_ESHAPE,
               "%s: %s does not hold points of the model, [N,%d,%d,%d]", path, full, s.h, s.w,
               s.c);
    PF_REQUIRE(n <= 0 || out->dim[0] == n, PF_ESHAPE, "%s: %s holds %lld points, want %lld",
               path, full, (long long)out->dim[0], (long long)n);
    PF_REQUIRE(out->dim[0] > 0, PF_ESHAPE, "%s: %s holds no points", path, full);
    return PF_OK;
}
