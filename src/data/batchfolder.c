/* Folders as CIFAR and MNIST are published: batches NAME.bin with the names of their classes, or IDX
 * files, in the order of the numbers in their names.  A folder that holds pictures or other folders is
 * none of these.
 *
 * Of a file and its .gz the file is read; of IDX files there is one set a split. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { NAMES_MOST = 1 << 16 };

typedef enum kind { OTHER, CIFAR, IDX, FINE, COARSE } kind;

typedef struct walk {
    pf_source *s;
    pf_table *t;
    char **name; /* [n], owned, in order */
    size_t n, cap;
    int split;                                    /* where the name of a file says none */
    int64_t labels[PF_SPLITS], coarse[PF_SPLITS]; /* of the table before */
    const char *images_of[PF_SPLITS], *labels_of[PF_SPLITS]; /* IDX files; names of this list */
    pf_left left;
} walk;

static kind kind_of(const char *name)
{
    size_t n = strlen(name);
    const char *idx = strcasestr(name, "idx");
    if (pf_is_hidden(name)) return OTHER;
    if (!strcmp(name, "batches.meta.txt") || !strcmp(name, "fine_label_names.txt")) return FINE;
    if (!strcmp(name, "coarse_label_names.txt")) return COARSE;
    if (idx && idx[3] >= '1' && idx[3] <= '4' && idx[4] == '-') return IDX;
    if (n > 3 && !strcasecmp(name + n - 3, ".gz")) n -= 3;
    return n > 4 && !strncasecmp(name + n - 4, ".bin", 4) ? CIFAR : OTHER;
}

static int in_order(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    return strverscmp(x, y);
}

/* ---- what the folder holds ---- */

static PF_MUST_USE pf_status add_name(walk *w, const char *name)
{
    if (w->n == w->cap) {
        size_t more = 2 * w->cap + 16;
        char **q = pf_zalloc(more * sizeof *q);
        PF_REQUIRE(q, PF_EMEM, "no memory to list %s", w->s->path);
        if (w->n) memcpy(q, w->name, w->n * sizeof *q);
        pf_free(w->name);
        w->name = q;
        w->cap = more;
    }
    w->name[w->n] = pf_strdup(name);
    PF_REQUIRE(w->name[w->n], PF_EMEM, "no memory to list %s", w->s->path);
    w->n++;
    return PF_OK;
}

static PF_MUST_USE pf_status list(walk *w)
{
    DIR *d = opendir(w->s->path);
    struct dirent *e;
    pf_status st = PF_OK;
    PF_REQUIRE(d, PF_EIO, "cannot list the folder %s: %s", w->s->path, strerror(errno));
    while (!st && (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) st = add_name(w, e->d_name);
    closedir(d);
    if (st) return pf_trail(st, PF_WHERE);
    if (w->n) qsort(w->name, w->n, sizeof *w->name, in_order);
    return PF_OK;
}

static int is_folder(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat sb;
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           !stat(path, &sb) && S_ISDIR(sb.st_mode);
}

static int knows(const pf_source *s)
{
    int ours = 0, others = 0;
    DIR *d = s->is_folder ? opendir(s->path) : NULL;
    const struct dirent *e;
    while (d && !others && (e = readdir(d)) != NULL) {
        if (pf_is_hidden(e->d_name)) continue;
        kind k = kind_of(e->d_name);
        ours |= k == CIFAR || k == IDX;
        others = pf_is_image(e->d_name) || is_folder(s->path, e->d_name);
    }
    if (d) closedir(d);
    return ours && !others;
}

/* ---- the names of classes ---- */

/* A name a line; empty lines and spaces at the ends of lines are none. */
static PF_MUST_USE pf_status read_names(pf_input *f, const char *path, char *to, int *n)
{
    size_t got = 0, end = 0;
    PF_TRY(pf_input_read(f, to, NAMES_MOST, &got));
    PF_REQUIRE(got < NAMES_MOST && !memchr(to, 0, got), PF_EFORMAT,
               "%s is no list of names of classes", path);
    to[got] = 0;
    *n = 0;
    for (char *line = to, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        size_t k = strlen(line);
        while (k && (line[k - 1] == '\r' || line[k - 1] == ' ')) k--;
        if (!k) continue;
        if ((*n)++) to[end++] = '\n';
        memmove(to + end, line, k);
        end += k;
    }
    to[end] = 0;
    PF_REQUIRE(*n > 0, PF_EFORMAT, "%s names no classes", path);
    return PF_OK;
}

static PF_MUST_USE pf_status take_names(walk *w, const char *path, int coarse, char *text)
{
    int n = 0;
    pf_input *f = NULL;
    PF_TRY(pf_input_open(path, NULL, &f));
    pf_status st = read_names(f, path, text, &n);
    pf_input_close(f);
    if (st) return pf_trail(st, PF_WHERE);
    for (int k = 0; k < PF_SPLITS; k++) {
        const pf_rows *r = &w->t->split[k];
        const int32_t *label = coarse ? r->coarse : r->labels;
        int64_t end = coarse ? r->n_coarse : r->n_labels;
        for (int64_t i = coarse ? w->coarse[k] : w->labels[k]; i < end; i++)
            PF_REQUIRE(label[i] < n, PF_EFORMAT, "%s names %d classes, but there is a label %d",
                       path, n, label[i]);
    }
    PF_TRY(pf_table_names(w->t, path, text, coarse));
    return PF_OK;
}

/* ---- the files ---- */

static PF_MUST_USE pf_status one_set(const walk *w, const char **of, int split,
                                     const char *name)
{
    PF_REQUIRE(
        !of[split], PF_EFORMAT,
        "the folder %s holds more than one set for the split %s, %s and %s; give the files "
        "of one",
        w->s->path, pf_split_name(split), of[split], name);
    of[split] = name;
    return PF_OK;
}

static PF_MUST_USE pf_status read_batch(walk *w, pf_source *f, const char *name)
{
    pf_rows before[PF_SPLITS];
    const pf_format *as = kind_of(name) == IDX ? &pf_format_idx : &pf_format_cifar;
    memcpy(before, w->t->split, sizeof before);
    if (f->given == PF_SPLIT_UNSAID && pf_split_of_name(f->name) == PF_SPLIT_UNSAID)
        f->given = w->split;
    f->opt = w->s->opt;
    PF_TRY(pf_input_rewind(f->file, NULL));
    PF_TRY(as->read(f, w->t));
    pf_table_came_from(w->t, before, w->s->path);
    for (int k = 0; as == &pf_format_idx && k < PF_SPLITS; k++) {
        if (w->t->split[k].n > before[k].n) PF_TRY(one_set(w, w->images_of, k, name));
        if (w->t->split[k].n_labels > before[k].n_labels)
            PF_TRY(one_set(w, w->labels_of, k, name));
    }
    return PF_OK;
}

/* Is NAME.gz there as NAME too? */
static int is_double(const walk *w, const char *name)
{
    char plain[NAME_MAX + 1];
    const char *key = plain;
    size_t n = strlen(name);
    if (n <= 3 || strcasecmp(name + n - 3, ".gz") || n > NAME_MAX) return 0;
    snprintf(plain, sizeof plain, "%.*s", (int)n - 3, name);
    return bsearch(&key, w->name, w->n, sizeof *w->name, in_order) != NULL;
}

static PF_MUST_USE pf_status read_entry(walk *w, const char *name, char *text)
{
    char path[PATH_MAX];
    kind k = kind_of(name);
    int names = k == FINE || k == COARSE;
    if (k == OTHER || is_double(w, name) || names != (text != NULL)) {
        if (!text && !names) pf_left_add(&w->left, name);
        return PF_OK;
    }
    PF_REQUIRE(snprintf(path, sizeof path, "%s/%s", w->s->path, name) < (int)sizeof path,
               PF_EARG, "a path in %.80s is too long", w->s->path);
    if (names) {
        PF_TRY(take_names(w, path, k == COARSE, text));
        return PF_OK;
    }
    pf_source f = {0};
    pf_status st = pf_source_open(&f, path, w->s->given);
    if (!st) st = read_batch(w, &f, name);
    pf_source_close(&f);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status read_all(walk *w, char *text)
{
    int by_default = 0;
    char left[512];
    PF_TRY(pf_source_split(w->s, &w->split, &by_default));
    for (int k = 0; k < PF_SPLITS; k++) {
        w->labels[k] = w->t->split[k].n_labels;
        w->coarse[k] = w->t->split[k].n_coarse;
    }
    PF_TRY(list(w));
    for (size_t i = 0; i < w->n; i++) PF_TRY(read_entry(w, w->name[i], NULL));
    for (size_t i = 0; i < w->n; i++) PF_TRY(read_entry(w, w->name[i], text));
    pf_left_list(&w->left, left, sizeof left);
    if (left[0]) pf_log("data: %s: not read: %s", w->s->path, left);
    if (w->s->given == PF_SPLIT_UNSAID) w->s->how = "by the names of its files";
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    walk w = {.s = s, .t = t};
    char *text = pf_zalloc(NAMES_MOST + 1);
    pf_status st = text ? read_all(&w, text)
                        : pf_raise(PF_EMEM, PF_WHERE, "no memory to read %s", s->path);
    for (size_t i = 0; i < w.n; i++) pf_free(w.name[i]);
    pf_free(w.name);
    pf_free(text);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_format pf_format_batch_folder = {"folder of batches", knows, read};
