/* Columns of numbers as .npy (one structured array, a field a column) and .npz (an array a column).
 *
 * A ZIP is written by hand: its members are stored, so that the columns go to the disk from where they
 * are, in one form for all sizes (ZIP64), with a fixed time.
 *
 * Sources: NumPy's numpy.lib.format, version 1.0; PKWARE's APPNOTE.TXT 6.3, 4.3.7 to 4.3.16, 4.5.3. */
#include <probflow/data.h>
#include <probflow/file.h>
#include <probflow/memory.h>
#include <string.h>
#include <zlib.h>

enum { NPY_ROOM = 1 << 14, ALIGN = 64, NPY_MAGIC = 10, MOST = 128 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are of little-endian values");

static const void *values_of(const pf_column *c)
{
    return c->f64 ? (const void *)c->f64 : (const void *)c->i64;
}

static size_t bytes_of(const pf_column *c, int64_t n)
{
    return (size_t)n * (size_t)c->width * 8;
}

static int is_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n > 0 && n < 64 && !s[n];
}

static PF_MUST_USE pf_status check(const char *path, int64_t n, const pf_column *c, int k)
{
    PF_REQUIRE(n >= 0 && k > 0 && k <= MOST, PF_EARG, "%s: %d columns of %lld rows", path, k,
               (long long)n);
    for (int i = 0; i < k; i++) {
        PF_REQUIRE(is_name(c[i].name) && c[i].width > 0 && !c[i].f64 != !c[i].i64, PF_EARG,
                   "%s: the column %s is not of one name and one kind of values", path,
                   c[i].name);
        PF_REQUIRE(n <= INT64_MAX / 64 / c[i].width, PF_EARG, "%s: too many rows", path);
        for (int j = 0; j < i; j++)
            PF_REQUIRE(strcmp(c[i].name, c[j].name), PF_EARG, "%s: two columns are called %s",
                       path, c[i].name);
    }
    return PF_OK;
}

/* Magic, length, and the text padded so that the values begin at a multiple of 64. */
static size_t finish_head(char *head, size_t text)
{
    size_t all = (NPY_MAGIC + text + 1 + ALIGN - 1) / ALIGN * ALIGN, rest = all - NPY_MAGIC;
    memset(head + NPY_MAGIC + text, ' ', rest - text);
    memcpy(head, "\x93NUMPY\1\0", 8);
    head[8] = (char)(rest & 255);
    head[9] = (char)(rest >> 8);
    head[all - 1] = '\n';
    return all;
}

/* ---- .npy ---- */

static size_t table_head(char *head, int64_t n, const pf_column *c, int k)
{
    size_t at = NPY_MAGIC;
    at += (size_t)snprintf(head + at, NPY_ROOM - at, "{'descr': [");
    for (int i = 0; i < k; i++) {
        char shape[32] = "";
        if (c[i].width > 1) snprintf(shape, sizeof shape, ", (%d,)", c[i].width);
        at += (size_t)snprintf(head + at, NPY_ROOM - at, "%s('%s', '<%s'%s)", i ? ", " : "",
                               c[i].name, c[i].f64 ? "f8" : "i8", shape);
    }
    at += (size_t)snprintf(head + at, NPY_ROOM - at,
                           "], 'fortran_order': False, 'shape': (%lld,), }", (long long)n);
    return finish_head(head, at - NPY_MAGIC);
}

static void interleave(unsigned char *to, int64_t n, const pf_column *c, int k)
{
    for (int64_t r = 0; r < n; r++)
        for (int i = 0; i < k; i++) {
            size_t row = bytes_of(&c[i], 1);
            memcpy(to, (const unsigned char *)values_of(&c[i]) + (size_t)r * row, row);
            to += row;
        }
}

pf_status pf_npy_write(const char *path, int64_t n, const pf_column *c, int n_columns)
{
    char kind[80];
    size_t bytes = 0;
    PF_TRY(check(path, n, c, n_columns));
    snprintf(kind, sizeof kind, PF_OUTPUT_NPY "/%s", c[0].name);
    PF_TRY(pf_output_check(path, kind, NULL, 0));
    for (int i = 0; i < n_columns; i++) bytes += bytes_of(&c[i], n);
    char *head = pf_zalloc(NPY_ROOM + ALIGN);
    unsigned char *rows = pf_zalloc(bytes);
    pf_status st = PF_OK;
    if (!head || !rows) st = pf_raise(PF_EMEM, PF_WHERE, "no memory to write %s", path);
    else {
        interleave(rows, n, c, n_columns);
        const pf_bytes part[2] = {{head, table_head(head, n, c, n_columns)}, {rows, bytes}};
        st = pf_file_put(path, part, 2);
    }
    pf_free(rows);
    pf_free(head);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- .npz ---- */

enum {
    LOCAL = 30 + 20,   /* header of a member and its ZIP64 sizes, without its name */
    CENTRAL = 46 + 28, /* the same in the directory */
    TAIL = 56 + 20 + 22 + sizeof PF_NPZ_COMMENT - 1,
    NAME = 72,
    HEAD = 256, /* of an .npy member */
    DATE = 0x21 /* 1980-01-01, the first that a ZIP knows */
};

typedef struct member {
    char name[NAME], npy[HEAD];
    unsigned char local[LOCAL + NAME];
    size_t n_name, n_npy, size, at; /* size: of the whole .npy; at: where the member begins */
    uint32_t crc;
} member;

typedef struct out {
    unsigned char *p;
} out;

static void put(out *o, int bytes, uint64_t v)
{
    for (; bytes > 0; bytes--, v >>= 8) *o->p++ = (unsigned char)v;
}

static void describe(member *m, int64_t n, const pf_column *c)
{
    char shape[64], *text = m->npy + NPY_MAGIC;
    snprintf(shape, sizeof shape, c->width > 1 ? "(%lld, %d)" : "(%lld,)", (long long)n,
             c->width);
    int len = snprintf(text, HEAD - ALIGN - NPY_MAGIC,
                       "{'descr': '<%s', 'fortran_order': False, 'shape': %s, }",
                       c->f64 ? "f8" : "i8", shape);
    m->n_npy = finish_head(m->npy, (size_t)len);
    m->size = m->n_npy + bytes_of(c, n);
    m->crc = (uint32_t)crc32_z(crc32_z(0, (const unsigned char *)m->npy, m->n_npy),
                               values_of(c), bytes_of(c, n));
    m->n_name = (size_t)snprintf(m->name, NAME, "%s.npy", c->name);
}

/* Version 4.5, no flags, stored, the time; sizes stand in the extra field. */
static void put_common(out *o, const member *m, int extra)
{
    put(o, 2, 45), put(o, 2, 0), put(o, 2, 0), put(o, 2, 0), put(o, 2, DATE);
    put(o, 4, m->crc), put(o, 4, UINT32_MAX), put(o, 4, UINT32_MAX);
    put(o, 2, m->n_name), put(o, 2, (uint64_t)extra);
}

static void put_local(member *m)
{
    out o = {m->local};
    put(&o, 4, 0x04034b50);
    put_common(&o, m, 20);
    memcpy(o.p, m->name, m->n_name);
    o.p += m->n_name;
    put(&o, 2, 1), put(&o, 2, 16), put(&o, 8, m->size), put(&o, 8, m->size);
}

static void put_central(out *o, const member *m)
{
    put(o, 4, 0x02014b50), put(o, 2, 45);
    put_common(o, m, 28);
    put(o, 2, 0), put(o, 2, 0), put(o, 2, 0), put(o, 4, 0), put(o, 4, UINT32_MAX);
    memcpy(o->p, m->name, m->n_name);
    o->p += m->n_name;
    put(o, 2, 1), put(o, 2, 24), put(o, 8, m->size), put(o, 8, m->size), put(o, 8, m->at);
}

/* ZIP64 end, where it is, and the old end with the comment that says who wrote it. */
static void put_tail(out *o, uint64_t n, uint64_t size, uint64_t at)
{
    put(o, 4, 0x06064b50), put(o, 8, 44), put(o, 2, 45), put(o, 2, 45), put(o, 4, 0);
    put(o, 4, 0), put(o, 8, n), put(o, 8, n), put(o, 8, size), put(o, 8, at);
    put(o, 4, 0x07064b50), put(o, 4, 0), put(o, 8, at + size), put(o, 4, 1);
    put(o, 4, 0x06054b50), put(o, 2, 0), put(o, 2, 0), put(o, 2, n), put(o, 2, n);
    put(o, 4, UINT32_MAX), put(o, 4, UINT32_MAX), put(o, 2, sizeof PF_NPZ_COMMENT - 1);
    memcpy(o->p, PF_NPZ_COMMENT, sizeof PF_NPZ_COMMENT - 1);
    o->p += sizeof PF_NPZ_COMMENT - 1;
}

static PF_MUST_USE pf_status put_archive(const char *path, int64_t n, const pf_column *c, int k,
                                         void *work[3])
{
    member *m = work[0];
    pf_bytes *part = work[1];
    out o = {work[2]};
    uint64_t at = 0;
    for (int i = 0; i < k; i++) {
        describe(&m[i], n, &c[i]);
        m[i].at = at;
        put_local(&m[i]);
        part[3 * i] = (pf_bytes){m[i].local, LOCAL + m[i].n_name};
        part[3 * i + 1] = (pf_bytes){m[i].npy, m[i].n_npy};
        part[3 * i + 2] = (pf_bytes){values_of(&c[i]), bytes_of(&c[i], n)};
        at += LOCAL + m[i].n_name + m[i].size;
    }
    for (int i = 0; i < k; i++) put_central(&o, &m[i]);
    put_tail(&o, (uint64_t)k, (uint64_t)(o.p - (unsigned char *)work[2]), at);
    part[3 * k] = (pf_bytes){work[2], (size_t)(o.p - (unsigned char *)work[2])};
    PF_TRY(pf_file_put(path, part, 3 * k + 1));
    return PF_OK;
}

pf_status pf_npz_write(const char *path, int64_t n, const pf_column *c, int n_columns)
{
    PF_TRY(check(path, n, c, n_columns));
    PF_TRY(pf_output_check(path, PF_OUTPUT_NPZ, NULL, 0));
    size_t k = (size_t)n_columns;
    void *work[3] = {pf_zalloc(k * sizeof(member)), pf_zalloc((3 * k + 1) * sizeof(pf_bytes)),
                     pf_zalloc(k * (CENTRAL + NAME) + TAIL)};
    pf_status st = work[0] && work[1] && work[2]
                       ? put_archive(path, n, c, n_columns, work)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory to write %s", path);
    for (int i = 0; i < 3; i++) pf_free(work[i]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
