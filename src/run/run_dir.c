/* The run directory and its configuration.
 *
 * A directory belongs to one configuration.  What may change between two runs of it decides
 * when something is written or when to stop, never what the parameters are at a given step. */
#include <probflow/run.h>

#include <probflow/memory.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const may_differ[] = {
    "data.path",   /* its content may not: see start.c */
    "train.steps", /* where it leaves the rate of steps made: same */
    "train.eval_split",
    "train.log_every",
    "train.eval_every",
    "train.eval_images",
    "train.checkpoint_every",
    "train.keep",
    "train.keep_every",
    "train.max_hours",
    "train.overlap",
    "train.recompute",
    "name",
    "likelihood.", /* whole sections end in a dot */
    "sample.",
    NULL};

typedef struct line { /* of a canonical text: "key: value" under a section */
    char key[160], value[PF_STR_MAX];
} line;

/* *made: whether dir itself is new. */
static PF_MUST_USE pf_status make_dirs(const char *dir, int *made)
{
    char path[PF_PATH_MAX];
    PF_REQUIRE(dir[0] && strlen(dir) + 64 < sizeof path, PF_EARG,
               "run directory \"%.60s\" is not usable as a path", dir);
    snprintf(path, sizeof path, "%s", dir);
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/') continue;
        char was = *p;
        *p = 0;
        *made = mkdir(path, 0777) == 0;
        PF_REQUIRE(*made || errno == EEXIST, PF_EIO, "cannot create %s: %s", path,
                   strerror(errno));
        if (!was) return PF_OK;
        *p = was;
    }
}

/* Next "section.key", value of *at; 0 at the end.  section is kept between calls. */
static int next_line(const char **at, char section[80], line *out)
{
    while (**at) {
        const char *s = *at, *end = s + strcspn(s, "\n");
        const char *colon = memchr(s, ':', (size_t)(end - s));
        *at = end + (*end == '\n');
        if (!colon) continue;
        int inside = *s == ' ';
        s += strspn(s, " ");
        const char *value = colon + 1 + (colon[1] == ' ');
        if (!inside && colon[1] != ' ') { /* "section:" */
            snprintf(section, 80, "%.*s", (int)(colon - s), s);
            continue;
        }
        snprintf(out->key, sizeof out->key, "%s%s%.*s", inside ? section : "",
                 inside ? "." : "", (int)(colon - s), s);
        snprintf(out->value, sizeof out->value, "%.*s", (int)(end - value), value);
        return 1;
    }
    return 0;
}

static int allowed(const char *key)
{
    for (int i = 0; may_differ[i]; i++) {
        size_t n = strlen(may_differ[i]);
        if (may_differ[i][n - 1] == '.' ? !strncmp(may_differ[i], key, n)
                                        : !strcmp(may_differ[i], key))
            return 1;
    }
    return 0;
}

static PF_MUST_USE pf_status compare(const char *dir, const char *was, const char *now)
{
    char s1[80] = "", s2[80] = "";
    line a, b;
    for (;;) {
        int more = next_line(&was, s1, &a), also = next_line(&now, s2, &b);
        if (!more && !also) return PF_OK;
        if (!more) a = (line){"nothing", ""};
        if (!also) b = (line){"nothing", ""};
        PF_REQUIRE(
            !strcmp(a.key, b.key), PF_EARG,
            "run directory %s belongs to another configuration: it has %s where this one "
            "has %s; choose another directory",
            dir, a.key, b.key);
        PF_REQUIRE(!strcmp(a.value, b.value) || allowed(a.key), PF_EARG,
                   "run directory %s belongs to another configuration: its %s is %s, not %s; "
                   "choose another directory",
                   dir, a.key, a.value, b.value);
    }
}

/* Keys whose defaults depend on when a run was begun are the run's where they were left out. */
static PF_MUST_USE pf_status inherit(const pf_experiment *was, pf_experiment *e)
{
    char text[PF_STR_MAX];
    pf_opt attention = pf_opt_find(e->model.ops->opts, "attention");
    if (!e->given.ema_warmup) e->train.ema_warmup = was->train.ema_warmup;
    if (e->given.attention || !attention.name || was->model.ops != e->model.ops) return PF_OK;
    pf_opt_text(&attention, &was->model.opt, text, sizeof text);
    PF_TRY(pf_opt_set(e->model.ops->opts, "model", "attention", text, &e->model.opt));
    return PF_OK;
}

static PF_MUST_USE pf_status check_against(const char *dir, const pf_experiment *was,
                                           pf_experiment *e)
{
    pf_text before = {0}, now = {0};
    PF_TRY(inherit(was, e));
    pf_status st = pf_experiment_text(was, &before);
    if (!st) st = pf_experiment_text(e, &now);
    if (!st) st = compare(dir, before.s, now.s);
    pf_free(before.s);
    pf_free(now.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* The stored configuration through the same reader, so that old files gain new defaults. */
static PF_MUST_USE pf_status check_stored(const char *dir, const char *path, pf_experiment *e)
{
    pf_config *c = NULL;
    pf_experiment *was = pf_zalloc(sizeof *was);
    PF_REQUIRE(was, PF_EMEM, "no memory for an experiment");
    pf_status st = pf_config_load(path, &c);
    if (!st) pf_config_stored(c);
    if (!st) st = pf_experiment_read(c, was);
    if (!st) st = check_against(dir, was, e);
    pf_config_free(c);
    pf_free(was);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Whatever has a name that a run writes must be of a run.  A damaged file is dealt with where it is
 * read. */
static PF_MUST_USE pf_status check_files(const char *dir)
{
    char path[PF_PATH_MAX], target[PATH_MAX];
    PF_TRY(pf_checkpoint_check(dir));
    snprintf(path, sizeof path, "%s/metrics.h5", dir);
    pf_status st = pf_output_check(path, "metrics", NULL, 0);
    if (st && st != PF_EFORMAT) return pf_trail(st, PF_WHERE);
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    PF_TRY(pf_file_target(path, target));
    return PF_OK;
}

pf_status pf_run_dir_open(const char *dir, pf_experiment *e, pf_run_dir *out)
{
    char path[PF_PATH_MAX], what[PF_PATH_MAX + 32];
    struct stat about;
    *out = (pf_run_dir){.fresh = 1};
    PF_TRY(make_dirs(dir, &out->made));
    snprintf(path, sizeof path, "%s/lock", dir);
    snprintf(what, sizeof what, "run directory %s", dir);
    PF_TRY(pf_lock_take(path, what, &out->lock));
    pf_store_tidy(dir);
    PF_TRY(check_files(dir));
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    out->fresh = stat(path, &about) != 0;
    if (!out->fresh) PF_TRY(check_stored(dir, path, e));
    return PF_OK;
}

void pf_run_dir_close(const char *dir, pf_run_dir *d, pf_status st)
{
    pf_lock_release(d->lock);
    if (st && d->made) rmdir(dir); /* stays when there is something in it */
    *d = (pf_run_dir){0};
}

/* Is this line as pf_experiment_text writes them? */
static int is_written_line(const char *s)
{
    size_t indent = strspn(s, " "), n = strcspn(s, "\n");
    size_t key = strspn(s + indent, "abcdefghijklmnopqrstuvwxyz0123456789_");
    const char *value = s + indent + key + 1;
    if (s[n] != '\n' || (indent && indent != 2) || !key || value[-1] != ':') return 0;
    const char *note = strstr(value, " #");
    return !(note && note < s + n) && (strncmp(value, " {", 2) || !strncmp(value, " {}\n", 4));
}

/* Is there a configuration in somebody's own hand, with remarks or in another form?  It says the same
 * as ours would, and stays. */
static int has_foreign(const char *path)
{
    char line[2 * PF_STR_MAX];
    FILE *f = fopen(path, "re");
    int ours = 1;
    for (int i = 0; f && ours && fgets(line, sizeof line, f); i++)
        ours = is_written_line(line) && (i || !strncmp(line, "name: ", 6));
    if (f) fclose(f);
    return !ours;
}

pf_status pf_run_dir_claim(const char *dir, const pf_experiment *e)
{
    char path[PF_PATH_MAX];
    pf_text now = {0};
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    if (has_foreign(path)) return PF_OK;
    PF_TRY(pf_experiment_text(e, &now));
    pf_bytes text = {now.s, strlen(now.s)};
    pf_status st = pf_file_put(path, &text, 1);
    pf_free(now.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
