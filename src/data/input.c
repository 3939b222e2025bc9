/* A source file: opened once, read from its beginning to its end, decompressed when it is gzip.
 *
 * Source: RFC 1952 (a file is one member or several, nothing behind them). */
#include <probflow/memory.h>
#include "data/format.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { BUFFER = 1 << 16, RATIO = 1032 }; /* deflate: 258 bytes for 2 bits at the best */

struct pf_input {
    const char *path; /* borrowed */
    int fd;
    size_t size, at, n;   /* bytes stored; in[at..n) is read and not used */
    unsigned char *in;    /* [BUFFER], owned */
    int packed, between;  /* gzip; no member is open */
    int members, unpacks; /* members that ended; z is to be freed */
    z_stream z;
    pf_sha256 *sum; /* borrowed; NULL: none */
};

static void *z_alloc(void *self, unsigned items, unsigned size)
{
    (void)self;
    return pf_zalloc((size_t)items * size);
}

static void z_free(void *self, void *p)
{
    (void)self;
    pf_free(p);
}

/* More bytes when none are left; none come at the end. */
static PF_MUST_USE pf_status fill(pf_input *s)
{
    ssize_t got;
    if (s->at < s->n) return PF_OK;
    do got = read(s->fd, s->in, BUFFER);
    while (got < 0 && errno == EINTR);
    PF_REQUIRE(got >= 0, PF_EIO, "cannot read %s: %s", s->path, strerror(errno));
    s->at = 0;
    s->n = (size_t)got;
    if (s->sum) pf_sha256_add(s->sum, s->in, s->n);
    return PF_OK;
}

static PF_MUST_USE pf_status take_plain(pf_input *s, unsigned char *to, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        PF_TRY(fill(s));
        size_t some = s->n - s->at < n - *got ? s->n - s->at : n - *got;
        if (some == 0) break;
        memcpy(to + *got, s->in + s->at, some);
        s->at += some;
        *got += some;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status stray(const pf_input *s)
{
    PF_FAIL(PF_EIO, "cannot read %s: something else stands behind its gzip stream", s->path);
}

static PF_MUST_USE pf_status unpack(pf_input *s, unsigned char *to, size_t n, size_t *made)
{
    size_t have = s->n - s->at;
    unsigned room = n < 1u << 30 ? (unsigned)n : 1u << 30;
    s->z.next_in = s->in + s->at;
    s->z.avail_in = (unsigned)have;
    s->z.next_out = to;
    s->z.avail_out = room;
    int rc = inflate(&s->z, Z_NO_FLUSH);
    s->at = s->n - s->z.avail_in;
    *made = room - s->z.avail_out;
    PF_REQUIRE(rc != Z_MEM_ERROR, PF_EMEM, "no memory to read %s", s->path);
    PF_REQUIRE(have > 0, PF_EIO, "cannot read %s: it is truncated", s->path);
    int bad = rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR;
    if (bad && s->members && !s->z.total_out) PF_TRY(stray(s));
    PF_REQUIRE(!bad, PF_EIO, "cannot read %s: its gzip stream is damaged", s->path);
    s->between = rc == Z_STREAM_END;
    s->members += s->between;
    return PF_OK;
}

static PF_MUST_USE pf_status take_packed(pf_input *s, unsigned char *to, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        size_t made = 0;
        PF_TRY(fill(s));
        if (s->between && s->at == s->n && s->members) break;
        if (s->between && s->members && s->in[s->at] != 0x1f) PF_TRY(stray(s));
        if (s->between) inflateReset(&s->z);
        PF_TRY(unpack(s, to + *got, n - *got, &made));
        *got += made;
    }
    return PF_OK;
}

static const char *what_it_is(mode_t mode)
{
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
                            : "a socket";
}

static PF_MUST_USE pf_status open_into(pf_input *s, const char *path, int *is_folder)
{
    struct stat sb;
    s->path = path;
    /* O_NONBLOCK: a pipe without a writer is refused and not waited for. */
    s->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    PF_REQUIRE(s->fd >= 0, PF_EIO, "cannot open %s: %s", path, strerror(errno));
    PF_REQUIRE(!fstat(s->fd, &sb), PF_EIO, "cannot open %s: %s", path, strerror(errno));
    if (is_folder) {
        *is_folder = S_ISDIR(sb.st_mode);
        if (*is_folder) return PF_OK;
    }
    PF_REQUIRE(S_ISREG(sb.st_mode), PF_EIO, "%s is no regular file but %s, which is not read",
               path, what_it_is(sb.st_mode));
    PF_REQUIRE(sb.st_size > 0, PF_EIO, "%s is empty", path);
    s->size = (size_t)sb.st_size;
    s->in = pf_zalloc(BUFFER);
    PF_REQUIRE(s->in, PF_EMEM, "no memory to read %s", path);
    PF_TRY(fill(s));
    PF_REQUIRE(s->n > 0, PF_EIO, "%s is empty", path);
    s->packed = s->n > 2 && s->in[0] == 0x1f && s->in[1] == 0x8b;
    if (!s->packed) return PF_OK;
    s->between = 1;
    s->z.zalloc = z_alloc;
    s->z.zfree = z_free;
    s->unpacks = inflateInit2(&s->z, 15 + 16) == Z_OK; /* 16: gzip alone */
    PF_REQUIRE(s->unpacks, PF_EMEM, "no memory to read %s", path);
    return PF_OK;
}

pf_status pf_input_rewind(pf_input *s, pf_sha256 *sum)
{
    PF_REQUIRE(lseek(s->fd, 0, SEEK_SET) == 0, PF_EIO, "cannot read %s again: %s", s->path,
               strerror(errno));
    s->at = s->n = 0;
    s->members = 0;
    s->between = s->packed;
    s->sum = sum;
    return PF_OK;
}

pf_status pf_input_read(pf_input *s, void *to, size_t n, size_t *got)
{
    PF_TRY(s->packed ? take_packed(s, to, n, got) : take_plain(s, to, n, got));
    return PF_OK;
}

pf_status pf_input_peek(pf_input *s, const unsigned char **b, size_t *n)
{
    PF_TRY(fill(s));
    *b = s->in + s->at;
    *n = s->n - s->at;
    return PF_OK;
}

pf_status pf_input_end(pf_input *s)
{
    unsigned char beyond;
    size_t more = 0;
    PF_TRY(pf_input_read(s, &beyond, 1, &more));
    PF_REQUIRE(!more, PF_EFORMAT, "%s is too long: bytes follow what its header promises",
               s->path);
    return PF_OK;
}

pf_status pf_input_drain(pf_input *s)
{
    do {
        s->at = s->n;
        PF_TRY(fill(s));
    } while (s->n > 0);
    return PF_OK;
}

pf_status pf_input_at(const pf_input *s, size_t at, void *to, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        ssize_t k = pread(s->fd, (char *)to + *got, n - *got, (off_t)(at + *got));
        if (k < 0 && errno == EINTR) continue;
        PF_REQUIRE(k >= 0, PF_EIO, "cannot read %s: %s", s->path, strerror(errno));
        if (k == 0) break;
        *got += (size_t)k;
    }
    return PF_OK;
}

int pf_input_descriptor(const pf_input *s)
{
    return s->fd;
}

size_t pf_input_size(const pf_input *s)
{
    return s->size;
}

int pf_input_packed(const pf_input *s)
{
    return s->packed;
}

size_t pf_input_most(const pf_input *s)
{
    return !s->packed ? s->size : s->size < SIZE_MAX / RATIO ? s->size * RATIO : SIZE_MAX;
}

pf_status pf_input_whole(pf_input *s, const char *path, unsigned char **b, size_t *n)
{
    size_t room = s->packed ? 1 << 16 : s->size, got = 0;
    *b = NULL;
    *n = 0;
    do { /* one byte more than there is tells the end */
        unsigned char *wider = room < SIZE_MAX / 2 ? pf_zalloc(room + 1) : NULL;
        PF_REQUIRE(wider, PF_EMEM, "no memory for %zu bytes of %s", room, path);
        if (*n) memcpy(wider, *b, *n);
        pf_free(*b);
        *b = wider;
        PF_TRY(pf_input_read(s, *b + *n, room + 1 - *n, &got));
        *n += got;
        room *= 2;
    } while (*n == room / 2 + 1);
    return PF_OK;
}

void pf_input_close(pf_input *s)
{
    if (!s) return;
    if (s->unpacks) inflateEnd(&s->z);
    if (s->fd >= 0) close(s->fd);
    pf_free(s->in);
    pf_free(s);
}

pf_status pf_input_open(const char *path, int *is_folder, pf_input **out)
{
    pf_input *s = pf_zalloc(sizeof *s);
    PF_REQUIRE(s, PF_EMEM, "no memory to read %s", path);
    s->fd = -1;
    pf_status st = open_into(s, path, is_folder);
    if (st || (is_folder && *is_folder)) {
        pf_input_close(s);
        return st ? pf_trail(st, PF_WHERE) : PF_OK;
    }
    *out = s;
    return PF_OK;
}
