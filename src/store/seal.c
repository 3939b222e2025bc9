/* The seal: a trailer behind the HDF5 file that guards its metadata.
 *
 *     ranges   [n] {offset, size}   raw data, which carries checksums of its own
 *     footer   magic, bytes before the trailer, n, crc32 of all bytes outside the ranges,
 *              crc32 of the trailer up to here
 *
 * HDF5's own checks do not cover every byte of its metadata, and a wrong byte can crash it.  So
 * nothing is shown to HDF5 before the seal was found whole.  HDF5 ignores what follows its end of
 * file, so other readers see an ordinary file; one that writes drops the seal. */
#include <probflow/file.h>
#include <probflow/memory.h>
#include "store/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

typedef struct range {
    uint64_t offset, size;
} range;

typedef struct footer {
    char magic[8];
    uint64_t bytes, n;
    uint32_t crc_rest, crc_trailer;
} footer;

static const char magic[8] = "PFSEAL1\n";

/* ---- collecting the ranges of a file that is still open ------------------------------------- */

typedef struct collected {
    range *v;
    size_t n, cap;
    int failed;
} collected;

static void add(collected *c, haddr_t offset, hsize_t size)
{
    if (offset == HADDR_UNDEF || size == 0) return;
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 64;
        range *v = pf_zalloc(cap * sizeof *v);
        if (!v) {
            c->failed = 1;
            return;
        }
        if (c->n) memcpy(v, c->v, c->n * sizeof *v);
        pf_free(c->v);
        c->v = v;
        c->cap = cap;
    }
    c->v[c->n++] = (range){offset, size};
}

/* From the first to the last chunk: they are written in order, and the metadata is elsewhere. */
static void add_chunks(collected *c, hid_t d, hid_t plist)
{
    pf_h5_shape s = {0};
    size_t n = 0;
    hsize_t chunk[PF_RANK_MAX] = {0}, first[PF_RANK_MAX] = {0}, last[PF_RANK_MAX] = {0},
            size[2] = {0};
    haddr_t at[2] = {HADDR_UNDEF, HADDR_UNDEF};
    unsigned mask = 0;
    if (pf_h5_shape_of(d, &s, &n) || n == 0) return;
    if (H5Pget_chunk(plist, PF_RANK_MAX, chunk) != s.rank) return;
    for (int i = 0; i < s.rank; i++) last[i] = (s.dim[i] - 1) / chunk[i] * chunk[i];
    if (H5Dget_chunk_info_by_coord(d, first, &mask, &at[0], &size[0]) < 0) return;
    if (H5Dget_chunk_info_by_coord(d, last, &mask, &at[1], &size[1]) < 0) return;
    if (at[0] == HADDR_UNDEF || at[1] == HADDR_UNDEF || at[1] < at[0]) return;
    add(c, at[0], at[1] + size[1] - at[0]);
}

static herr_t visit(hid_t root, const char *name, const H5O_info_t *info, void *self)
{
    collected *c = self;
    if (info->type != H5O_TYPE_DATASET) return 0;
    hid_t d = H5Dopen2(root, name, H5P_DEFAULT);
    if (d <= 0) return -1;
    hid_t plist = H5Dget_create_plist(d);
    if (H5Pget_layout(plist) == H5D_CONTIGUOUS)
        add(c, H5Dget_offset(d), H5Dget_storage_size(d));
    else if (H5Pget_layout(plist) == H5D_CHUNKED) add_chunks(c, d, plist);
    H5Pclose(plist);
    H5Dclose(d);
    return c->failed ? -1 : 0;
}

static int by_offset(const void *a, const void *b)
{
    const range *p = a, *q = b;
    return p->offset < q->offset ? -1 : p->offset > q->offset;
}

/* Sorted and disjoint, neighbours joined. */
static void join(collected *c)
{
    size_t n = 0;
    if (c->n) qsort(c->v, c->n, sizeof *c->v, by_offset);
    for (size_t i = 0; i < c->n; i++) {
        uint64_t end = n ? c->v[n - 1].offset + c->v[n - 1].size : 0,
                 stop = c->v[i].offset + c->v[i].size;
        if (n && c->v[i].offset <= end) {
            if (stop > end) c->v[n - 1].size = stop - c->v[n - 1].offset;
        } else {
            c->v[n++] = c->v[i];
        }
    }
    c->n = n;
}

static uint32_t crc_of(uint32_t crc, const void *p, size_t n)
{
    return (uint32_t)crc32_z(crc, p, n);
}

pf_status pf_h5_seal_ranges(hid_t file, void **ranges, size_t *n)
{
    collected c = {0};
    herr_t bad = H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, visit, &c, H5O_INFO_BASIC);
    *ranges = NULL;
    *n = 0;
    if (bad < 0) {
        pf_free(c.v);
        PF_REQUIRE(!c.failed, PF_EMEM, "no memory for a file's seal");
        PF_FAIL(PF_EEXT, "cannot collect the data ranges of a new file");
    }
    join(&c);
    *ranges = c.v;
    *n = c.n;
    return PF_OK;
}

pf_status pf_h5_seal_make(const unsigned char *bytes, size_t size, const void *ranges, size_t n,
                          void **trailer, size_t *trailer_size)
{
    const range *r = ranges;
    size_t total = n * sizeof *r + sizeof(footer), at = 0;
    unsigned char *t = pf_zalloc(total);
    PF_REQUIRE(t, PF_EMEM, "no memory for a file's seal");
    footer f = {.bytes = size, .n = n};
    memcpy(f.magic, magic, sizeof magic);
    for (size_t i = 0; i <= n; i++) {
        size_t end = i < n ? r[i].offset : size;
        f.crc_rest = crc_of(f.crc_rest, bytes + at, end - at);
        if (i < n) at = end + r[i].size;
    }
    if (n) memcpy(t, r, n * sizeof *r);
    f.crc_trailer = crc_of(crc_of(0, t, n * sizeof *r), &f, offsetof(footer, crc_trailer));
    memcpy(t + n * sizeof *r, &f, sizeof f);
    *trailer = t;
    *trailer_size = total;
    return PF_OK;
}

/* ---- checking -------------------------------------------------------------------------------- */

static int read_at(int fd, void *p, size_t n, uint64_t at)
{
    return pf_h5_pread(fd, p, n, at) == (ssize_t)n ? 0 : -1;
}

static int crc_file(int fd, uint64_t from, uint64_t to, unsigned char *buf, size_t cap,
                    uint32_t *crc)
{
    while (from < to) {
        size_t n = to - from < cap ? (size_t)(to - from) : cap;
        if (read_at(fd, buf, n, from)) return -1;
        *crc = crc_of(*crc, buf, n);
        from += n;
    }
    return 0;
}

/* Ascending, disjoint and inside the file: so each byte is read once. */
static int in_order(const range *r, const footer *f)
{
    uint64_t at = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (r[i].offset < at || r[i].offset > f->bytes || r[i].size > f->bytes - r[i].offset)
            return 0;
        at = r[i].offset + r[i].size;
    }
    return 1;
}

/* 1: whole, 0: broken, -1: memory. */
static int whole(int fd, const footer *f)
{
    enum { BUFFER = 1 << 18 };
    size_t table = (size_t)f->n * sizeof(range);
    range *r = pf_zalloc(table);
    unsigned char *buf = pf_zalloc(BUFFER);
    int ok = r && buf ? 1 : -1;
    if (ok > 0 && read_at(fd, r, table, f->bytes)) ok = 0;
    if (ok > 0 && crc_of(crc_of(0, (void *)r, table), (const void *)f,
                         offsetof(footer, crc_trailer)) != f->crc_trailer)
        ok = 0;
    if (ok > 0) ok = in_order(r, f);
    uint64_t at = 0;
    uint32_t crc = 0;
    for (size_t i = 0; ok > 0 && i <= f->n; i++) {
        uint64_t end = i < f->n ? r[i].offset : f->bytes;
        if (crc_file(fd, at, end, buf, BUFFER, &crc)) ok = 0;
        if (i < f->n) at = end + r[i].size;
    }
    if (ok > 0 && crc != f->crc_rest) ok = 0;
    pf_free(r);
    pf_free(buf);
    return ok;
}

/* Do the numbers of the footer fit the size of the file?  Then the table does too. */
static int fits(const footer *f, uint64_t size)
{
    uint64_t room = size - sizeof *f;
    return f->n <= room / sizeof(range) && f->bytes == room - f->n * sizeof(range);
}

pf_status pf_h5_seal_check(int fd, const char *path, int *sealed)
{
    footer f;
    struct stat sb;
    int ok = 1;
    *sealed = 0;
    PF_REQUIRE(!fstat(fd, &sb), PF_EIO, "cannot read %s: %s", path, strerror(errno));
    uint64_t size = (uint64_t)sb.st_size;
    if (size <= sizeof f) return PF_OK;
    PF_REQUIRE(!read_at(fd, &f, sizeof f, size - sizeof f), PF_EIO, "cannot read %s: %s", path,
               strerror(errno));
    if (!memcmp(f.magic, magic, sizeof magic)) {
        *sealed = 1;
        ok = fits(&f, size) ? whole(fd, &f) : 0;
    }
    PF_REQUIRE(ok >= 0, PF_EMEM, "no memory to check %s", path);
    PF_REQUIRE(ok, PF_EFORMAT, "%s is damaged: its metadata does not match its checksum", path);
    return PF_OK;
}

static PF_MUST_USE pf_status append(int fd, const char *path, size_t size)
{
    unsigned char *bytes = pf_zalloc(size);
    void *trailer = NULL;
    size_t n = 0;
    PF_REQUIRE(bytes, PF_EMEM, "no memory to seal %s", path);
    pf_status st = read_at(fd, bytes, size, 0)
                       ? pf_raise(PF_EIO, PF_WHERE, "cannot read %s", path)
                       : pf_h5_seal_make(bytes, size, NULL, 0, &trailer, &n);
    int bad = st ? 0 : pf_write_at(fd, trailer, n, (int64_t)size);
    if (!bad && !st && fsync(fd)) bad = errno;
    if (bad) {
        (void)!ftruncate(fd, (off_t)size); /* no half seal */
        st = pf_raise(PF_EIO, PF_WHERE, "cannot write %s: %s", path, strerror(bad));
    }
    pf_free(trailer);
    pf_free(bytes);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_h5_seal_append(const char *path)
{
    struct stat sb;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    PF_REQUIRE(fd >= 0, PF_EIO, "cannot open %s: %s", path, strerror(errno));
    pf_status st = fstat(fd, &sb)
                       ? pf_raise(PF_EIO, PF_WHERE, "cannot read %s: %s", path, strerror(errno))
                       : append(fd, path, (size_t)sb.st_size);
    close(fd);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
