/* .npy, one array of NumPy: magic, version, length of the header, a Python dictionary, the values.
 *
 * The dictionary is read as a literal of exactly the three keys; nothing of it is run.
 * Source: NumPy, numpy.lib.format, versions 1.0, 2.0 and 3.0. */
#include <probflow/memory.h>
#include <string.h>
#include <strings.h>
#include "data/arrays.h"

enum { HEAD_MOST = 1 << 16, BUFFER = 1 << 16, TYPE = 16 };

/* ---- the header ---- */

typedef struct text {
    const char *p, *end;
} text;

static void skip_space(text *t)
{
    while (t->p < t->end && strchr(" \t\r\n", *t->p) && *t->p) t->p++;
}

static int accept(text *t, const char *word)
{
    size_t n = strlen(word);
    skip_space(t);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n)) return 0;
    t->p += n;
    return 1;
}

/* 'letters', cut to fit; 0: there is no string without escapes. */
static int take_string(text *t, char *to, size_t room)
{
    skip_space(t);
    char quote = t->p < t->end ? *t->p : 0;
    if (quote != '\'' && quote != '"') return 0;
    const char *from = ++t->p;
    while (t->p < t->end && *t->p != quote && *t->p != '\\' && *t->p != '\n' && *t->p) t->p++;
    if (t->p == t->end || *t->p != quote) return 0;
    snprintf(to, room, "%.*s", (int)(t->p - from), from);
    t->p++;
    return 1;
}

/* A number of Python, 2 or 3. */
static int take_size(text *t, int64_t *n)
{
    skip_space(t);
    const char *from = t->p;
    for (*n = 0; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
        if (__builtin_mul_overflow(*n, 10, n) || __builtin_add_overflow(*n, *t->p - '0', n))
            return 0;
    int there = t->p > from;
    if (there && t->p < t->end && *t->p == 'L') t->p++;
    return there;
}

static int take_shape(text *t, pf_named *a)
{
    if (!accept(t, "(")) return 0;
    for (a->rank = 0; !accept(t, ")"); a->rank++) {
        if (a->rank == PF_ARRAY_RANK || !take_size(t, &a->dim[a->rank])) return 0;
        if (accept(t, ",")) continue;
        a->rank++;
        return a->rank > 1 && accept(t, ")"); /* (3) is no tuple */
    }
    return 1;
}

static const char *other_type(char letter)
{
    switch (letter) {
    case 'O':
        return "pickled Python objects, which are never run";
    case 'c':
        return "complex numbers";
    case 'S':
    case 'a':
    case 'U':
        return "text";
    case 'M':
    case 'm':
        return "dates or times";
    case 'V':
        return "raw or structured values";
    default:
        return NULL;
    }
}

/* "<f4" */
static int take_type(const char *s, pf_named *a)
{
    static const struct {
        char letter;
        int type;
        const char *sizes;
    } known[] = {{'b', PF_NUMBER_BOOL, "1"},
                 {'i', PF_NUMBER_SIGNED, "1248"},
                 {'u', PF_NUMBER_UNSIGNED, "1248"},
                 {'f', PF_NUMBER_FLOAT, "248"}};
    a->swapped = *s == '>';
    if (!*s || !strchr("<>|=", *s++)) return 0;
    a->type = PF_NUMBER_NONE;
    a->no = *s == 'f' ? "floats of more than 64 bits" : other_type(*s);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (*s != known[i].letter || !s[1] || s[2] || !strchr(known[i].sizes, s[1])) continue;
        a->type = known[i].type;
        a->size = s[1] - '0';
        a->no = NULL;
    }
    return a->type != PF_NUMBER_NONE || a->no;
}

/* Over a value of brackets and strings, as structured types are; 0: it does not end. */
static int skip_list(text *t)
{
    int depth = 0;
    char ignored[8];
    do {
        skip_space(t);
        if (t->p == t->end) return 0;
        if (*t->p == '\'' || *t->p == '"') {
            if (!take_string(t, ignored, sizeof ignored)) return 0;
            continue;
        }
        if (*t->p == '[' || *t->p == '(') depth++;
        if (*t->p == ']' || *t->p == ')') depth--;
        if (!*t->p || !strchr("[](),0123456789", *t->p)) return 0;
        t->p++;
    } while (depth > 0);
    return 1;
}

static int take_entry(text *t, pf_named *a, int seen[3])
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    char key[TYPE], type[TYPE];
    int k = 0;
    if (!take_string(t, key, sizeof key) || !accept(t, ":")) return 0;
    while (k < 3 && strcmp(key, keys[k])) k++;
    if (k == 3 || seen[k]++) return 0;
    if (k == 2) return take_shape(t, a);
    if (k == 1) {
        a->fortran = accept(t, "True");
        return a->fortran || accept(t, "False");
    }
    if (take_string(t, type, sizeof type)) return take_type(type, a);
    a->no = "structured values";
    return t->p < t->end && *t->p == '[' && skip_list(t);
}

static int take_dictionary(text *t, pf_named *a)
{
    int seen[3] = {0};
    if (!accept(t, "{")) return 0;
    while (!accept(t, "}")) {
        if (!take_entry(t, a, seen)) return 0;
        if (accept(t, ",")) continue;
        if (!accept(t, "}")) return 0;
        break;
    }
    skip_space(t);
    return seen[0] && seen[1] && seen[2] && t->p == t->end;
}

pf_status pf_npy_head(pf_status (*take)(void *self, void *to, size_t n), void *self,
                      const char *what, pf_named *a, size_t *bytes)
{
    unsigned char b[12] = {0};
    size_t wide, n;
    PF_TRY(take(self, b, 8));
    PF_REQUIRE(!memcmp(b, "\x93NUMPY", 6), PF_EFORMAT, "%s is no NPY array", what);
    PF_REQUIRE(b[6] >= 1 && b[6] <= 3 && b[7] == 0, PF_EFORMAT,
               "%s is an NPY array of version %d.%d, which is not known here", what, b[6],
               b[7]);
    wide = b[6] == 1 ? 2 : 4;
    PF_TRY(take(self, b, wide));
    n = b[0] | (size_t)b[1] << 8;
    if (wide == 4) n |= (size_t)b[2] << 16 | (size_t)b[3] << 24;
    PF_REQUIRE(n <= HEAD_MOST, PF_EFORMAT, "%s: its NPY header claims %zu bytes", what, n);
    char *head = pf_zalloc(n + 1);
    PF_REQUIRE(head, PF_EMEM, "no memory to read %s", what);
    pf_status st = take(self, head, n);
    text t = {head, head + n};
    if (!st && !take_dictionary(&t, a))
        st = pf_raise(PF_EFORMAT, PF_WHERE,
                      "%s: its NPY header is no dictionary of descr, fortran_order and shape",
                      what);
    pf_free(head);
    PF_TRY(st);
    *bytes = 8 + wide + n;
    return PF_OK;
}

pf_status pf_npy_name(const char *path, const char *name, pf_named *a)
{
    size_t n = strlen(name);
    if (n > 4 && !strcasecmp(name + n - 4, ".npy")) n -= 4;
    PF_REQUIRE(n < PF_ARRAY_NAME, PF_EFORMAT, "%s: the name %.40s... is too long", path, name);
    snprintf(a->name, sizeof a->name, "%.*s", (int)n, name);
    return PF_OK;
}

/* ---- a file of one array ---- */

typedef struct reader {
    pf_source *s;
    size_t left;           /* bytes of values */
    size_t size;           /* of one */
    unsigned char *buffer; /* [BUFFER], owned */
} reader;

static pf_status take(void *self, void *to, size_t n)
{
    reader *r = self;
    size_t got = 0;
    PF_TRY(pf_input_read(r->s->file, to, n, &got));
    PF_REQUIRE(got == n, PF_EFORMAT, "%s is truncated", r->s->path);
    return PF_OK;
}

static pf_status begin(void *self, const pf_named *a)
{
    reader *r = self;
    r->size = (size_t)a->size;
    r->left = a->values * r->size;
    return PF_OK;
}

static pf_status next(void *self, const unsigned char **block, size_t *values)
{
    reader *r = self;
    size_t n = r->left < BUFFER ? r->left : BUFFER;
    PF_TRY(take(r, r->buffer, n));
    r->left -= n;
    *block = r->buffer;
    *values = n / r->size;
    return PF_OK;
}

static pf_status end(void *self)
{
    PF_TRY(pf_input_end(((reader *)self)->s->file));
    return PF_OK;
}

static int knows(const pf_source *s)
{
    return s->file && s->n_head >= 6 && !memcmp(s->head, "\x93NUMPY", 6);
}

static PF_MUST_USE pf_status read_into(reader *r, pf_table *t)
{
    pf_source *s = r->s;
    pf_named a = {0};
    pf_arrays from = {s, 1, &a, r, begin, next, end};
    size_t head = 0, size = pf_input_size(s->file);
    r->buffer = pf_zalloc(BUFFER);
    PF_REQUIRE(r->buffer, PF_EMEM, "no memory to read %s", s->path);
    PF_TRY(pf_npy_name(s->path, s->name, &a));
    PF_TRY(pf_npy_head(take, r, s->path, &a, &head));
    PF_TRY(pf_array_count(s->path, &a));
    size_t all = head + a.values * (size_t)a.size;
    PF_REQUIRE(
        !a.type || (pf_input_packed(s->file) ? all <= pf_input_most(s->file) : all == size),
        PF_EFORMAT, "%s is truncated or too long: its header promises %zu bytes, it has %zu%s",
        s->path, all, size, pf_input_packed(s->file) ? ", compressed" : "");
    PF_TRY(pf_arrays_take(&from, t));
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    reader r = {.s = s};
    pf_status st = read_into(&r, t);
    pf_free(r.buffer);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_format pf_format_npy = {"NPY", knows, read};
