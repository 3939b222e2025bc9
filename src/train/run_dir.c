/* The run directory and its configuration.
 *
 * A directory belongs to one configuration.  What may change between two runs of it decides
 * when something is written or when to stop, never what the parameters are at a given step. */
#include "train/loop.h"

#include <probflow/memory.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const may_differ[] = {"train.steps",
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

static PF_MUST_USE pf_status make_dirs(const char *dir)
{
    char path[PF_PATH_MAX];
    PF_REQUIRE(dir[0] && strlen(dir) + 64 < sizeof path, PF_EARG,
               "run directory \"%.60s\" is not usable as a path", dir);
    snprintf(path, sizeof path, "%s", dir);
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/') continue;
        char was = *p;
        *p = 0;
        PF_REQUIRE(mkdir(path, 0777) == 0 || errno == EEXIST, PF_EIO, "cannot create %s: %s",
                   path, strerror(errno));
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

/* The stored configuration through the same reader, so that old files gain new defaults. */
static PF_MUST_USE pf_status check_stored(const char *dir, const char *path, const char *now)
{
    pf_config *c = NULL;
    pf_experiment *e = pf_zalloc(sizeof *e);
    pf_text was = {0};
    pf_status st = PF_OK;
    if (!e) st = pf_raise(PF_EMEM, PF_WHERE, "no memory for an experiment");
    if (!st) st = pf_config_load(path, &c);
    if (!st) st = pf_experiment_read(c, e);
    if (!st) st = pf_experiment_text(e, &was);
    if (!st) st = compare(dir, was.s, now);
    pf_free(was.s);
    pf_config_free(c);
    pf_free(e);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

pf_status pf_run_dir_open(const char *dir, const pf_experiment *e, pf_lock **lock)
{
    char path[PF_PATH_MAX], what[PF_PATH_MAX + 32];
    struct stat about;
    PF_TRY(make_dirs(dir));
    snprintf(path, sizeof path, "%s/lock", dir);
    snprintf(what, sizeof what, "run directory %s", dir);
    PF_TRY(pf_lock_take(path, what, lock));
    pf_checkpoint_tidy(dir);
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    if (stat(path, &about) != 0) return PF_OK;
    pf_text now = {0};
    PF_TRY(pf_experiment_text(e, &now));
    pf_status st = check_stored(dir, path, now.s);
    pf_free(now.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_run_dir_claim(const char *dir, const pf_experiment *e)
{
    char path[PF_PATH_MAX];
    pf_text now = {0};
    snprintf(path, sizeof path, "%s/config.yaml", dir);
    PF_TRY(pf_experiment_text(e, &now));
    pf_bytes text = {now.s, strlen(now.s)};
    pf_status st = pf_file_put(path, &text, 1);
    pf_free(now.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
