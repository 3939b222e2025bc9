/* What the readers share: whole files, growing tables of rows, splits by name. */
#include <probflow/memory.h>
#include "data/format.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

const char *pf_base_name(const char *path)
{
    const char *end = path + strlen(path);
    while (end > path && end[-1] == '/') end--;
    while (end > path && end[-1] != '/') end--;
    return end;
}

int pf_split_of(const char *path)
{
    const char *name = pf_base_name(path);
    if (strcasestr(name, "test") || strcasestr(name, "t10k")) return PF_TEST;
    return strcasestr(name, "valid") ? PF_VALID : PF_TRAIN;
}

/* Twice the room, the first n bytes kept; NULL when memory is out.  Frees b. */
static unsigned char *twice(unsigned char *b, size_t n)
{
    unsigned char *more = pf_zalloc(2 * n);
    if (more) memcpy(more, b, n);
    pf_free(b);
    return more;
}

pf_status pf_slurp(const char *path, unsigned char **bytes, size_t *n)
{
    size_t cap = 1 << 20;
    *n = 0;
    gzFile f = gzopen(path, "rb"); /* reads plain files as they are */
    PF_REQUIRE(f, PF_EIO, "cannot open %s: %s", path, strerror(errno));
    unsigned char *b = pf_zalloc(cap);
    int got = 0;
    while (b) {
        size_t room = cap - *n;
        got = gzread(f, b + *n, room < 1u << 30 ? (unsigned)room : 1u << 30);
        if (got <= 0) break;
        *n += (size_t)got;
        if (*n < cap) continue;
        b = twice(b, cap);
        cap *= 2;
    }
    int closed = gzclose(f); /* Z_BUF_ERROR: the stream ends early */
    PF_REQUIRE(b, PF_EMEM, "no memory to read %s", path);
    if (closed != Z_OK || got != 0) {
        pf_free(b);
        PF_FAIL(PF_EIO, "cannot read %s: it is truncated or damaged", path);
    }
    *bytes = b;
    return PF_OK;
}

size_t pf_table_row_bytes(const pf_table *t)
{
    size_t one = t->kind == PF_DATA_IMAGES ? 1 : t->kind == PF_DATA_TOKENS ? 4 : 8;
    return one * (size_t)t->shape.h * (size_t)t->shape.w * (size_t)t->shape.c;
}

/* Grows *p from n to at least want items; the new ones are zero. */
static PF_MUST_USE pf_status grow(void **p, int64_t n, int64_t *cap, int64_t want, size_t item)
{
    if (want <= *cap) return PF_OK;
    int64_t more = *cap + *cap / 2 > want ? *cap + *cap / 2 : want;
    void *q = pf_zalloc((size_t)more * item);
    PF_REQUIRE(q, PF_EMEM, "no memory for %lld rows", (long long)more);
    if (n) memcpy(q, *p, (size_t)n * item);
    pf_free(*p);
    *p = q;
    *cap = more;
    return PF_OK;
}

pf_status pf_table_rows(pf_table *t, const char *path, int split, int64_t n, pf_shape shape,
                        unsigned char **values)
{
    pf_rows *r = &t->split[split];
    if (t->shape.h == 0) t->shape = shape;
    PF_REQUIRE(!memcmp(&t->shape, &shape, sizeof shape), PF_EFORMAT,
               "%s holds images of %dx%dx%d, the sources before it %dx%dx%d", path, shape.h,
               shape.w, shape.c, t->shape.h, t->shape.w, t->shape.c);
    PF_TRY(grow((void **)&r->values, r->n, &r->cap, r->n + n, pf_table_row_bytes(t)));
    *values = r->values + (size_t)r->n * pf_table_row_bytes(t);
    r->n += n;
    return PF_OK;
}

pf_status pf_table_labels(pf_table *t, int split, int64_t n, int32_t **labels)
{
    pf_rows *r = &t->split[split];
    PF_TRY(grow((void **)&r->labels, r->n_labels, &r->cap_labels, r->n_labels + n,
                sizeof *r->labels));
    *labels = r->labels + r->n_labels;
    r->n_labels += n;
    return PF_OK;
}

void pf_table_free(pf_table *t)
{
    for (int s = 0; s < PF_SPLITS; s++) {
        pf_free(t->split[s].values);
        pf_free(t->split[s].labels);
        pf_free(t->split[s].logp);
    }
    memset(t, 0, sizeof *t);
}
