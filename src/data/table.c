/* The rows of all sources, split by split, with their labels. */
#include <probflow/memory.h>
#include "data/format.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

size_t pf_table_row_bytes(const pf_table *t)
{
    const pf_space *l = &t->space;
    size_t one = l->kind == PF_LEVELS   ? 1
                 : l->kind == PF_TOKENS ? pf_token_bytes(l->levels)
                                        : sizeof(double);
    return one * pf_shape_entries(l->shape);
}

/* Grows *p from n to at least want items; the new ones are zero.  PF_EMEM without a sentence. */
static pf_status grow(void **p, int64_t n, int64_t *cap, int64_t want, size_t item)
{
    if (want <= *cap) return PF_OK;
    int64_t more = *cap + *cap / 2 > want ? *cap + *cap / 2 : want;
    void *q = (uint64_t)more < SIZE_MAX / 2 / item ? pf_zalloc((size_t)more * item) : NULL;
    if (!q) return PF_EMEM;
    if (n) memcpy(q, *p, (size_t)n * item);
    pf_free(*p);
    *p = q;
    *cap = more;
    return PF_OK;
}

/* What grows: *used items of `item` bytes at *at, with room for *cap. */
typedef struct heap {
    void **at;
    int64_t *used, *cap;
    size_t item;
    const char *what;
} heap;

/* Room for n more items behind the used ones, which are then theirs too. */
static PF_MUST_USE pf_status more(heap h, int64_t n, const char *path, void *room)
{
    PF_REQUIRE(!grow(h.at, *h.used, h.cap, *h.used + n, h.item), PF_EMEM,
               "no memory for the %s of %s", h.what, path);
    void *first = (unsigned char *)*h.at + (size_t)*h.used * h.item;
    memcpy(room, &first, sizeof first);
    *h.used += n;
    return PF_OK;
}

static const char *kind_name(const pf_space *l)
{
    return l->kind == PF_LEVELS ? "images" : l->kind == PF_TOKENS ? "text" : "points";
}

static PF_MUST_USE pf_status fits(pf_table *t, const char *path, pf_space l)
{
    const pf_shape s = l.shape, *b = &t->space.shape;
    int images = l.kind == PF_LEVELS;
    PF_REQUIRE(s.h < 1 << 15 && s.w < 1 << 15 && s.c < (images ? 1 << 10 : 1 << 24) &&
                   (int64_t)s.h * s.w * s.c <= (images ? 1 << 28 : 1 << 24),
               PF_EFORMAT, "%s: %s of %dx%dx%d are larger than any that are read", path,
               kind_name(&l), s.h, s.w, s.c);
    if (b->h == 0) {
        t->space = l;
        snprintf(t->of_layout, sizeof t->of_layout, "%s", path);
    }
    PF_REQUIRE(l.kind == t->space.kind && l.levels == t->space.levels, PF_EFORMAT,
               "%s holds %s of %d levels, the sources before it %s of %d", path, kind_name(&l),
               l.levels, kind_name(&t->space), t->space.levels);
    PF_REQUIRE(s.c == b->c || !images, PF_EFORMAT,
               "%s has %d channel%s, but %s has %d; --rgb or --grey makes them alike", path,
               s.c, s.c == 1 ? "" : "s", t->of_layout, b->c);
    PF_REQUIRE(!memcmp(b, &s, sizeof s), PF_EFORMAT,
               "%s is of size %dx%dx%d, but %s of %dx%dx%d%s", path, s.h, s.w, s.c,
               t->of_layout, b->h, b->w, b->c,
               images ? "; --crop HxW or --resize HxW makes them alike" : "");
    return PF_OK;
}

pf_status pf_table_room(pf_table *t, const char *path, int split, int64_t n, pf_space space,
                        unsigned char **values)
{
    pf_rows *r = &t->split[split];
    PF_TRY(fits(t, path, space));
    heap h = {(void **)&r->values, &r->n, &r->cap, pf_table_row_bytes(t), "rows"};
    PF_TRY(more(h, n, path, values));
    r->of_rows = path;
    return PF_OK;
}

pf_status pf_table_labels(pf_table *t, const char *path, int split, int64_t n, pf_labelling how,
                          int32_t **labels)
{
    pf_rows *r = &t->split[split];
    PF_REQUIRE(t->labelling == PF_UNLABELLED || t->labelling == how, PF_EFORMAT,
               "%s has classes by %s, the sources before it by %s", path,
               how == PF_BY_NAME ? "name" : "number", how == PF_BY_NAME ? "number" : "name");
    t->labelling = how;
    heap h = {(void **)&r->labels, &r->n_labels, &r->cap_labels, sizeof *r->labels, "labels"};
    PF_TRY(more(h, n, path, labels));
    r->of_labels = path;
    return PF_OK;
}

pf_status pf_table_coarse(pf_table *t, const char *path, int split, int64_t n, int32_t **coarse)
{
    pf_rows *r = &t->split[split];
    heap h = {(void **)&r->coarse, &r->n_coarse, &r->cap_coarse, sizeof *r->coarse, "labels"};
    PF_TRY(more(h, n, path, coarse));
    r->of_labels = path;
    return PF_OK;
}

pf_status pf_table_lengths(pf_table *t, const char *path, int split, int64_t n,
                           int32_t **lengths)
{
    pf_rows *r = &t->split[split];
    heap h = {(void **)&r->lengths, &r->n_lengths, &r->cap_lengths, sizeof *r->lengths,
              "lengths"};
    PF_TRY(more(h, n, path, lengths));
    return PF_OK;
}

pf_status pf_table_conditions(pf_table *t, const char *path, int split, int64_t n, int width,
                              double **conditions)
{
    pf_rows *r = &t->split[split];
    PF_REQUIRE(width > 0 && width <= 1 << 20, PF_EFORMAT, "%s: %d conditions a row", path,
               width);
    if (!t->conditions) t->conditions = width;
    PF_REQUIRE(t->conditions == width, PF_EFORMAT,
               "%s has %d conditions a row, the sources before it %d", path, width,
               t->conditions);
    heap h = {(void **)&r->conditions, &r->n_conditioned, &r->cap_conditioned,
              (size_t)width * sizeof *r->conditions, "conditions"};
    PF_TRY(more(h, n, path, conditions));
    r->of_labels = path;
    return PF_OK;
}

void pf_table_came_from(pf_table *t, const pf_rows *before, const char *path)
{
    for (int k = 0; k < PF_SPLITS; k++) {
        pf_rows *r = &t->split[k];
        if (r->of_rows != before[k].of_rows) r->of_rows = path;
        if (r->of_labels != before[k].of_labels) r->of_labels = path;
    }
}

void pf_table_free(pf_table *t)
{
    for (int s = 0; s < PF_SPLITS; s++) {
        pf_free(t->split[s].values);
        pf_free(t->split[s].labels);
        pf_free(t->split[s].logp);
        pf_free(t->split[s].conditions);
        pf_free(t->split[s].coarse);
        pf_free(t->split[s].lengths);
    }
    for (int64_t i = 0; i < t->n_classes; i++) pf_free(t->class_of[i]);
    pf_free(t->class_of);
    pf_free(t->classes);
    pf_free(t->coarse_classes);
    pf_free(t->vocabulary);
    memset(t, 0, sizeof *t);
}

/* ---- classes ---- */

pf_status pf_table_class(pf_table *t, const char *path, const char *name, int32_t *label)
{
    PF_REQUIRE(!strchr(name, '\n'), PF_EFORMAT,
               "the folder %s is a class whose name holds a line break", path);
    PF_REQUIRE(t->n_classes < INT32_MAX, PF_EFORMAT, "%s: too many classes", path);
    int full = grow((void **)&t->class_of, t->n_classes, &t->cap_classes, t->n_classes + 1,
                    sizeof *t->class_of) != PF_OK;
    char *copy = full ? NULL : pf_strdup(name);
    PF_REQUIRE(copy, PF_EMEM, "no memory for the classes of %s", path);
    t->class_of[t->n_classes] = copy;
    *label = (int32_t)t->n_classes++;
    return PF_OK;
}

pf_status pf_table_names(pf_table *t, const char *path, const char *names, int coarse)
{
    char **to = coarse ? &t->coarse_classes : &t->classes;
    PF_REQUIRE(!*to || !strcmp(*to, names), PF_EFORMAT,
               "%s names other classes than a source before it", path);
    if (!*to) *to = pf_strdup(names);
    PF_REQUIRE(*to, PF_EMEM, "no memory for the classes of %s", path);
    return PF_OK;
}

/* -12, 007 and 2.5 are numbers; 1e3, 0x10 and nan are names. */
static int is_number(const char *s)
{
    s += *s == '-';
    size_t whole = strspn(s, "0123456789");
    s += whole;
    if (*s == '.') s += 1 + strspn(s + 1, "0123456789");
    return whole > 0 && !*s;
}

typedef struct named {
    const char *name;
    int32_t at; /* its label for now */
} named;

static int in_order(const void *x, const void *y)
{
    const char *a = ((const named *)x)->name, *b = ((const named *)y)->name;
    int na = is_number(a), nb = is_number(b);
    if (na != nb) return nb - na;
    double va = na ? strtod(a, NULL) : 0, vb = nb ? strtod(b, NULL) : 0;
    return va < vb ? -1 : va > vb ? 1 : strcmp(a, b);
}

/* place [n]: label for now -> label in the file. */
static void number(const named *c, int64_t n, int32_t *place, char *text)
{
    int32_t label = -1;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(c[i].name, c[i - 1].name)) {
            if (label++ >= 0) *text++ = '\n';
            text = stpcpy(text, c[i].name);
        }
        place[c[i].at] = label;
    }
}

pf_status pf_table_settle(pf_table *t)
{
    size_t bytes = 1;
    int64_t n = t->n_classes;
    if (t->labelling != PF_BY_NAME) return PF_OK;
    for (int64_t i = 0; i < n; i++) bytes += strlen(t->class_of[i]) + 1;
    t->classes = pf_zalloc(bytes);
    named *c = pf_zalloc((size_t)n * sizeof *c);
    int32_t *place = pf_zalloc((size_t)n * sizeof *place);
    int ok = t->classes && c && place;
    for (int64_t i = 0; ok && i < n; i++) c[i] = (named){t->class_of[i], (int32_t)i};
    if (ok) {
        qsort(c, (size_t)n, sizeof *c, in_order);
        number(c, n, place, t->classes);
    }
    for (int s = 0; ok && s < PF_SPLITS; s++)
        for (int64_t i = 0; i < t->split[s].n_labels; i++)
            t->split[s].labels[i] = place[t->split[s].labels[i]];
    pf_free(place);
    pf_free(c);
    PF_REQUIRE(ok, PF_EMEM, "no memory for %lld classes", (long long)n);
    return PF_OK;
}

/* ---- repeats ---- */

typedef struct seen {
    uint64_t key;
    const unsigned char *row;
    int split;
} seen;

static int by_key(const void *x, const void *y)
{
    const seen *a = x, *b = y;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

pf_status pf_table_repeats(const pf_table *t, int64_t *again, int64_t *across)
{
    size_t bytes = pf_table_row_bytes(t), n = 0, k = 0;
    *again = *across = 0;
    for (int s = 0; s < PF_SPLITS; s++) n += (size_t)t->split[s].n;
    seen *all = pf_zalloc(n * sizeof *all);
    PF_REQUIRE(all, PF_EMEM, "no memory to compare %zu images", n);
    for (int s = 0; s < PF_SPLITS; s++)
        for (int64_t i = 0; i < t->split[s].n; i++) {
            const unsigned char *row = t->split[s].values + (size_t)i * bytes;
            uint64_t crc = crc32_z(0, row, bytes), sum = adler32_z(1, row, bytes);
            all[k++] = (seen){crc << 32 | sum, row, s};
        }
    qsort(all, n, sizeof *all, by_key);
    for (size_t i = 1; i < n; i++) {
        if (all[i].key != all[i - 1].key || memcmp(all[i].row, all[i - 1].row, bytes)) continue;
        ++*again;
        *across += all[i].split != all[i - 1].split;
    }
    pf_free(all);
    return PF_OK;
}
