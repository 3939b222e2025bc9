/* A user's HDF5: datasets called images, labels, conditions and so on, at the root or in groups called
 * train, valid and test (arrays.c has the rule), read by the store. */
#include <probflow/memory.h>
#include <string.h>
#include "data/arrays.h"

enum { BLOCK = 1 << 20 };

typedef struct reader {
    pf_source *s;
    pf_foreign *file;      /* owned */
    pf_named *list;        /* owned */
    unsigned char *buffer; /* owned; of the array that is read */
    int64_t at, rows, many;
    size_t row; /* values */
} reader;

static pf_status begin(void *self, const pf_named *a)
{
    reader *r = self;
    PF_TRY(pf_foreign_choose(r->file, (int)a->id));
    r->at = 0;
    r->rows = a->dim[0];
    r->row = a->values / (size_t)a->dim[0];
    size_t bytes = r->row * (size_t)a->size;
    r->many = bytes < BLOCK ? (int64_t)(BLOCK / bytes) : 1;
    if (r->many > r->rows) r->many = r->rows;
    pf_free(r->buffer);
    r->buffer = pf_zalloc((size_t)r->many * bytes);
    PF_REQUIRE(r->buffer, PF_EMEM, "no memory to read %s", r->s->path);
    return PF_OK;
}

static pf_status next(void *self, const unsigned char **block, size_t *values)
{
    reader *r = self;
    int64_t n = r->rows - r->at < r->many ? r->rows - r->at : r->many;
    PF_TRY(pf_foreign_read(r->file, r->at, n, r->buffer));
    r->at += n;
    *block = r->buffer;
    *values = (size_t)n * r->row;
    return PF_OK;
}

static pf_status end(void *self)
{
    (void)self;
    return PF_OK;
}

static PF_MUST_USE pf_status describe(const char *path, const pf_foreign_array *from, size_t id,
                                      pf_named *a)
{
    static const int types[] = {[PF_FOREIGN_OTHER] = PF_NUMBER_NONE,
                                [PF_FOREIGN_SIGNED] = PF_NUMBER_SIGNED,
                                [PF_FOREIGN_UNSIGNED] = PF_NUMBER_UNSIGNED,
                                [PF_FOREIGN_FLOAT] = PF_NUMBER_FLOAT};
    PF_REQUIRE(strlen(from->name) < sizeof a->name, PF_EFORMAT,
               "%s: the name %.40s... is too long", path, from->name);
    strcpy(a->name, from->name);
    a->type = types[from->type];
    a->no = "no integers or floats";
    a->size = from->size;
    a->rank = from->rank;
    a->id = id;
    for (int k = 0; k < from->rank; k++) a->dim[k] = from->dim[k];
    PF_TRY(pf_array_count(path, a));
    return PF_OK;
}

static PF_MUST_USE pf_status read_into(reader *r, pf_table *t)
{
    const char *path = r->s->path;
    pf_arrays from = {.s = r->s, .self = r, .begin = begin, .next = next, .end = end};
    PF_REQUIRE(!pf_input_packed(r->s->file), PF_EFORMAT, "%s is HDF5 inside gzip", path);
    PF_TRY(pf_foreign_open(pf_input_descriptor(r->s->file), path, &r->file));
    const pf_foreign_array *there = pf_foreign_list(r->file, &from.n);
    PF_REQUIRE(from.n > 0, PF_EFORMAT, "%s has no datasets", path);
    r->list = pf_zalloc((size_t)from.n * sizeof *r->list);
    PF_REQUIRE(r->list, PF_EMEM, "no memory to read %s", path);
    from.list = r->list;
    for (int i = 0; i < from.n; i++) PF_TRY(describe(path, &there[i], (size_t)i, &r->list[i]));
    PF_TRY(pf_arrays_take(&from, t));
    return PF_OK;
}

static int knows(const pf_source *s)
{
    return s->file && s->n_head >= 8 && !memcmp(s->head, "\211HDF\r\n\032\n", 8);
}

static pf_status read(pf_source *s, pf_table *t)
{
    reader r = {.s = s};
    pf_status st = read_into(&r, t);
    pf_foreign_close(r.file);
    pf_free(r.buffer);
    pf_free(r.list);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_format pf_format_h5 = {"HDF5", knows, read};
