/* .npz, the archive of NumPy: a ZIP whose members are .npy arrays.
 *
 * libzip reads it through the file that is open already.  A member is believed to hold no more than its
 * stored bytes can unpack to, and all of them together to be stored no larger than the file. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <string.h>
#include <strings.h>
#include <zip.h>
#include "data/arrays.h"

enum { BUFFER = 1 << 16, RATIO = 1032, SMALL = 64 };

typedef struct archive {
    pf_source *s;
    size_t at;                /* where libzip reads */
    pf_status failed;         /* of the file under it */
    zip_error_t error;        /* for libzip */
    zip_t *zip;               /* owned */
    zip_file_t *member;       /* owned, open or NULL */
    const char *name;         /* of it */
    size_t size, left, value; /* bytes a member; of values; a value */
    unsigned char *buffer;    /* [BUFFER], owned */
    pf_named *list;           /* owned */
} archive;

/* ---- the file under libzip ---- */

static zip_int64_t fetch(archive *z, void *to, zip_uint64_t n)
{
    size_t got = 0;
    pf_status st = pf_input_at(z->s->file, z->at, to, n, &got);
    if (st) {
        z->failed = st;
        zip_error_set(&z->error, ZIP_ER_READ, 0);
        return -1;
    }
    z->at += got;
    return (zip_int64_t)got;
}

static zip_int64_t seek_to(archive *z, void *how, zip_uint64_t n)
{
    zip_int64_t to =
        zip_source_seek_compute_offset(z->at, pf_input_size(z->s->file), how, n, &z->error);
    if (to < 0) return -1;
    z->at = (size_t)to;
    return 0;
}

static zip_int64_t tell_size(archive *z, void *to, zip_uint64_t n)
{
    zip_stat_t *st = to;
    if (n < sizeof *st) return -1;
    zip_stat_init(st);
    st->size = pf_input_size(z->s->file);
    st->valid |= ZIP_STAT_SIZE;
    return sizeof *st;
}

static zip_int64_t serve(void *self, void *data, zip_uint64_t n, zip_source_cmd_t command)
{
    archive *z = self;
    switch (command) {
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_SEEKABLE;
    case ZIP_SOURCE_OPEN:
        z->at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return fetch(z, data, n);
    case ZIP_SOURCE_SEEK:
        return seek_to(z, data, n);
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)z->at;
    case ZIP_SOURCE_STAT:
        return tell_size(z, data, n);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&z->error, data, n);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    default:
        return -1;
    }
}

/* What libzip says, or the reason below it. */
static PF_MUST_USE pf_status refuse(const archive *z, const char *what, int code)
{
    zip_error_t e;
    char why[128];
    if (z->failed) return pf_trail(z->failed, PF_WHERE);
    zip_error_init_with_code(&e, code);
    snprintf(why, sizeof why, "%s", zip_error_strerror(&e));
    zip_error_fini(&e);
    PF_REQUIRE(code != ZIP_ER_MEMORY, PF_EMEM, "no memory to read %s", z->s->path);
    PF_FAIL(PF_EFORMAT, "cannot read %s%s%s: %s", what, *what ? " of " : "", z->s->path, why);
}

static PF_MUST_USE pf_status open_archive(archive *z)
{
    zip_error_t e;
    zip_error_init(&z->error);
    zip_error_init(&e);
    zip_source_t *under = zip_source_function_create(serve, z, &e);
    if (under) z->zip = zip_open_from_source(under, ZIP_RDONLY, &e);
    int code = zip_error_code_zip(&e);
    zip_error_fini(&e);
    if (z->zip) return PF_OK;
    if (under) zip_source_free(under);
    PF_TRY(refuse(z, "", code));
    return PF_OK;
}

/* ---- a member ---- */

static pf_status take(void *self, void *to, size_t n)
{
    archive *z = self;
    zip_int64_t got = zip_fread(z->member, to, n);
    if (got < 0) PF_TRY(refuse(z, z->name, zip_error_code_zip(zip_file_get_error(z->member))));
    PF_REQUIRE(got == (zip_int64_t)n, PF_EFORMAT, "%s of %s is truncated", z->name, z->s->path);
    return PF_OK;
}

static PF_MUST_USE pf_status open_member(archive *z, size_t id, const char *name)
{
    if (z->member) zip_fclose(z->member);
    z->name = name;
    z->member = zip_fopen_index(z->zip, id, 0);
    if (!z->member) PF_TRY(refuse(z, name, zip_error_code_zip(zip_get_error(z->zip))));
    return PF_OK;
}

static pf_status begin(void *self, const pf_named *a)
{
    archive *z = self;
    pf_named again = {0};
    size_t head = 0;
    PF_TRY(open_member(z, a->id, a->name));
    PF_TRY(pf_npy_head(take, z, a->name, &again, &head));
    z->value = (size_t)a->size;
    z->left = a->values * z->value;
    return PF_OK;
}

static pf_status next(void *self, const unsigned char **block, size_t *values)
{
    archive *z = self;
    size_t n = z->left < BUFFER ? z->left : BUFFER;
    PF_TRY(take(z, z->buffer, n));
    z->left -= n;
    *block = z->buffer;
    *values = n / z->value;
    return PF_OK;
}

/* At its end libzip has compared the checksum. */
static pf_status end(void *self)
{
    archive *z = self;
    char beyond;
    zip_int64_t more = zip_fread(z->member, &beyond, 1);
    if (more < 0) PF_TRY(refuse(z, z->name, zip_error_code_zip(zip_file_get_error(z->member))));
    PF_REQUIRE(more == 0, PF_EFORMAT, "%s of %s is too long", z->name, z->s->path);
    return PF_OK;
}

/* ---- all members ---- */

static PF_MUST_USE pf_status check_member(const archive *z, const zip_stat_t *st,
                                          size_t *stored)
{
    const char *path = z->s->path;
    size_t size = pf_input_size(z->s->file);
    PF_REQUIRE(st->encryption_method == ZIP_EM_NONE, PF_EFORMAT, "%s of %s is encrypted",
               st->name, path);
    PF_REQUIRE(st->comp_method == ZIP_CM_STORE || st->comp_method == ZIP_CM_DEFLATE, PF_EFORMAT,
               "%s of %s is packed by method %d; stored and deflate are read", st->name, path,
               st->comp_method);
    PF_REQUIRE(st->comp_size <= size - *stored, PF_EFORMAT,
               "%s is damaged: with %s its members are larger than the file", path, st->name);
    *stored += st->comp_size;
    size_t most =
        st->comp_method == ZIP_CM_STORE ? st->comp_size : st->comp_size * RATIO + SMALL;
    PF_REQUIRE(st->comp_size < SIZE_MAX / (2 * RATIO) && st->size <= most, PF_EFORMAT,
               "%s is damaged: %s claims %llu bytes, %llu are stored", path, st->name,
               (unsigned long long)st->size, (unsigned long long)st->comp_size);
    return PF_OK;
}

static PF_MUST_USE pf_status list_member(archive *z, const zip_stat_t *st, size_t id,
                                         pf_named *a)
{
    char what[PF_ARRAY_NAME + 512];
    size_t head = 0;
    snprintf(what, sizeof what, "%s of %s", st->name, z->s->path);
    PF_TRY(pf_npy_name(z->s->path, st->name, a));
    a->id = id;
    PF_TRY(open_member(z, id, a->name));
    PF_TRY(pf_npy_head(take, z, what, a, &head));
    PF_TRY(pf_array_count(z->s->path, a));
    size_t all = head + a->values * (size_t)a->size;
    PF_REQUIRE(!a->type || all == st->size, PF_EFORMAT,
               "%s of %s is truncated or too long: its header promises %zu bytes, it has %llu",
               st->name, z->s->path, all, (unsigned long long)st->size);
    return PF_OK;
}

static int is_array(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcasecmp(name + n - 4, ".npy");
}

static PF_MUST_USE pf_status list_all(archive *z, pf_arrays *from)
{
    size_t stored = 0;
    int others = 0;
    zip_int64_t n = zip_get_num_entries(z->zip, 0);
    z->list = pf_zalloc((size_t)n * sizeof *z->list);
    PF_REQUIRE(z->list, PF_EMEM, "no memory for the %lld members of %s", (long long)n,
               z->s->path);
    for (zip_int64_t i = 0; i < n; i++) {
        zip_stat_t st;
        const zip_uint64_t want = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                  ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
        if (zip_stat_index(z->zip, (zip_uint64_t)i, 0, &st))
            PF_TRY(refuse(z, "a member", zip_error_code_zip(zip_get_error(z->zip))));
        PF_REQUIRE((st.valid & want) == want, PF_EFORMAT, "%s is damaged: member %lld",
                   z->s->path, (long long)i);
        PF_TRY(check_member(z, &st, &stored));
        if (is_array(st.name)) PF_TRY(list_member(z, &st, (size_t)i, &z->list[from->n++]));
        else others++;
    }
    PF_REQUIRE(from->n > 0, PF_EFORMAT,
               "%s is a ZIP archive without a member that ends in .npy", z->s->path);
    if (others)
        pf_log("data: %s: %d member%s not read, which do not end in .npy", z->s->path, others,
               others == 1 ? "" : "s");
    return PF_OK;
}

static PF_MUST_USE pf_status read_into(archive *z, pf_table *t)
{
    pf_arrays from = {.s = z->s, .self = z, .begin = begin, .next = next, .end = end};
    PF_REQUIRE(!pf_input_packed(z->s->file), PF_EFORMAT, "%s is a ZIP archive inside gzip",
               z->s->path);
    z->buffer = pf_zalloc(BUFFER);
    PF_REQUIRE(z->buffer, PF_EMEM, "no memory to read %s", z->s->path);
    PF_TRY(open_archive(z));
    PF_TRY(list_all(z, &from));
    from.list = z->list;
    PF_TRY(pf_arrays_take(&from, t));
    return z->failed ? pf_trail(z->failed, PF_WHERE) : PF_OK;
}

static int knows(const pf_source *s)
{
    return s->file && s->n_head >= 4 &&
           (!memcmp(s->head, "PK\3\4", 4) || !memcmp(s->head, "PK\5\6", 4));
}

static pf_status read(pf_source *s, pf_table *t)
{
    archive z = {.s = s};
    pf_status st = read_into(&z, t);
    if (z.member) zip_fclose(z.member);
    if (z.zip) zip_discard(z.zip);
    pf_free(z.list);
    pf_free(z.buffer);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_format pf_format_npz = {"NPZ", knows, read};
