/* Checkpoints of a run directory: the newest good one, and those that are kept. */
#include <probflow/run.h>

#include <probflow/log.h>
#include <probflow/memory.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct steps {
    int n, cap;
    int64_t *v; /* owned; newest first */
} steps;

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static PF_MUST_USE pf_status add(steps *s, int64_t step)
{
    if (s->n == s->cap) {
        int cap = s->cap ? 2 * s->cap : 64;
        int64_t *v = pf_zalloc((size_t)cap * sizeof *v);
        PF_REQUIRE(v, PF_EMEM, "no memory to list %d checkpoints", cap);
        if (s->n) memcpy(v, s->v, (size_t)s->n * sizeof *v);
        pf_free(s->v);
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = step;
    return PF_OK;
}

/* Is this "checkpoint-STEP.h5"? */
static int is_name(const char *name, long long *step)
{
    char whole[64];
    if (sscanf(name, "checkpoint-%lld.h5", step) != 1) return 0;
    snprintf(whole, sizeof whole, "checkpoint-%08lld.h5", *step);
    return !strcmp(whole, name);
}

/* s->v is to be freed in any case. */
static PF_MUST_USE pf_status list(const char *dir, steps *s)
{
    DIR *d = opendir(dir);
    PF_REQUIRE(d, PF_EIO, "cannot open run directory %s: %s", dir, strerror(errno));
    const struct dirent *f;
    long long step;
    pf_status st = PF_OK;
    while (!st && (f = readdir(d)) != NULL)
        if (is_name(f->d_name, &step)) st = add(s, step);
    closedir(d);
    if (s->n) qsort(s->v, (size_t)s->n, sizeof s->v[0], newest_first);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* What a look at a checkpoint found. */
typedef struct found {
    int usable, damaged;
    int gone; /* a run that goes on has removed it meanwhile */
} found;

/* Which checkpoint is looked for. */
typedef struct search {
    const char *dir;
    int with_state;
    pf_usable usable;
    void *self;
} search;

static PF_MUST_USE pf_status look_at(const search *s, const char *path, int64_t step, found *f)
{
    pf_checkpoint c = {0};
    pf_status st = pf_checkpoint_read(path, s->with_state, &c);
    *f = (found){0};
    PF_REQUIRE(st != PF_EMEM, PF_EMEM, "no memory to read %s", path);
    f->gone = st && access(path, F_OK) && errno == ENOENT;
    f->damaged = st && !f->gone;
    if (f->gone) return PF_OK;
    if (st) {
        pf_log("skipping a damaged checkpoint: %s", pf_error_message());
        return PF_OK;
    }
    f->usable = 1;
    if (c.step != step)
        st = pf_raise(PF_EFORMAT, PF_WHERE,
                      "%s holds step %lld, another one than its name tells; take it out of the "
                      "run directory",
                      path, (long long)c.step);
    if (!st && s->usable) st = s->usable(s->self, &c, &f->usable);
    pf_checkpoint_free(&c);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* path [n] <- the first of these that will do; "" when all are gone or unusable. */
static PF_MUST_USE pf_status newest_of(const search *want, const steps *s, char *path, size_t n,
                                       int *gone)
{
    int bad = 0;
    *gone = 0;
    for (int i = 0; i < s->n; i++) {
        found f;
        pf_checkpoint_path(want->dir, s->v[i], path, n);
        PF_TRY(look_at(want, path, s->v[i], &f));
        if (f.usable) return PF_OK;
        bad += f.damaged;
        *gone += f.gone;
    }
    path[0] = 0;
    PF_REQUIRE(s->n == *gone || bad < s->n - *gone, PF_EFORMAT,
               "no checkpoint of %s can be read, the oldest for: %s", want->dir,
               pf_error_message());
    return PF_OK;
}

void pf_checkpoint_path(const char *dir, int64_t step, char *path, size_t n)
{
    snprintf(path, n, "%s/checkpoint-%08lld.h5", dir, (long long)step);
}

pf_status pf_checkpoint_newest(const char *dir, int with_state, pf_usable usable, void *self,
                               char *path, size_t n)
{
    pf_status st = PF_OK;
    int gone = 1;
    search want = {dir, with_state, usable, self};
    path[0] = 0;
    for (int tries = 0; !st && gone && !path[0] && tries < 100; tries++) {
        steps s = {0};
        st = list(dir, &s);
        if (!st) st = newest_of(&want, &s, path, n, &gone);
        pf_free(s.v);
    }
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_checkpoint_prune(const char *dir, int64_t step, const pf_train_opt *o)
{
    steps s = {0};
    char path[PF_PATH_MAX];
    int kept = 0;
    pf_status st = list(dir, &s); /* a failure keeps all: the next one prunes more */
    for (int i = 0; !st && i < s.n; i++) {
        if (s.v[i] > step || kept++ < o->keep) continue;
        if (o->keep_every > 0 && s.v[i] % o->keep_every == 0) continue;
        pf_checkpoint_path(dir, s.v[i], path, sizeof path);
        /* Nothing of others, whatever its name. */
        pf_status is = pf_output_check(path, "checkpoint", NULL, 0);
        if (!is || is == PF_EFORMAT) unlink(path);
    }
    pf_free(s.v);
}

pf_status pf_checkpoint_check(const char *dir)
{
    steps s = {0};
    char path[PF_PATH_MAX];
    pf_status st = list(dir, &s);
    for (int i = 0; !st && i < s.n; i++) {
        pf_checkpoint_path(dir, s.v[i], path, sizeof path);
        st = pf_output_check(path, "checkpoint", NULL, 0);
        if (st == PF_EFORMAT)
            st = PF_OK; /* damaged: passed over, and written anew in its turn */
    }
    pf_free(s.v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_checkpoint_find(const char *run_or_file, char *path, size_t n)
{
    struct stat about;
    PF_REQUIRE(stat(run_or_file, &about) == 0, PF_EIO, "%s does not exist", run_or_file);
    PF_REQUIRE(strlen(run_or_file) + 32 < n, PF_EARG, "path %.60s... is too long", run_or_file);
    if (!S_ISDIR(about.st_mode)) {
        snprintf(path, n, "%s", run_or_file);
        return PF_OK;
    }
    pf_status st = pf_checkpoint_newest(run_or_file, 0, NULL, NULL, path, n);
    if (st == PF_EFORMAT) PF_FAIL(PF_EIO, "%s", pf_error_message());
    PF_TRY(st);
    PF_REQUIRE(path[0], PF_EIO, "run directory %s holds no checkpoint", run_or_file);
    return PF_OK;
}
