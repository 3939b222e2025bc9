/* Opening a file: once, only a regular one, and HDF5 sees it when its seal held.  What has no seal is
 * foreign, or a kill left it: a child reads it and leaves a plain copy, which is opened instead. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int all_in_child;

void pf_h5_read_in_child(int on)
{
    all_in_child = on;
}

pf_status pf_h5_open_regular(const char *path, int flags, int *fd)
{
    struct stat sb;
    *fd = open(path, flags | O_NONBLOCK | O_CLOEXEC); /* a FIFO without a writer would wait */
    int bad = errno;
    if (*fd >= 0 && !fstat(*fd, &sb) && S_ISREG(sb.st_mode)) return PF_OK;
    int folder = *fd >= 0 ? S_ISDIR(sb.st_mode) : bad == EISDIR;
    int opened = *fd >= 0;
    if (opened) close(*fd);
    *fd = -1;
    PF_REQUIRE(!folder, PF_EIO, "%s is a folder, not a file", path);
    PF_REQUIRE(opened, PF_EIO, "cannot open %s: %s", path, strerror(bad));
    PF_FAIL(PF_EIO, "%s is no regular file", path);
}

/* ---- what is wrong with a file that HDF5 refuses ------------------------------------------------ */

/* Size the superblock promises, 0 when it cannot be told. */
static uint64_t promised_size(int fd)
{
    unsigned char b[48] = {0};
    if (pf_h5_pread(fd, b, sizeof b, 0) < (ssize_t)sizeof b ||
        memcmp(b, "\211HDF\r\n\032\n", 8))
        return 0;
    int at = b[8] >= 2 ? 28 : 40; /* format specification: versions 2, 3 and version 0 */
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | b[at + i];
    return n;
}

static PF_MUST_USE pf_status explain(int fd, const char *path)
{
    uint64_t want = promised_size(fd), size = 0;
    PF_TRY(pf_h5_fd_size(fd, path, &size));
    PF_REQUIRE(size > 0, PF_EIO, "%s is empty", path);
    if (want > size)
        PF_FAIL(PF_EIO, "%s is truncated: %llu of %llu bytes are there", path,
                (unsigned long long)size, (unsigned long long)want);
    PF_REQUIRE(want, PF_EFORMAT, "%s is not an HDF5 file", path);
    PF_FAIL(PF_EIO, "%s is damaged: HDF5 cannot read it", path);
}

/* ---- HDF5 over an open file --------------------------------------------------------------------- */

/* Could a writer have the file open?  Then its superblock is of version 3. */
static int could_grow(int fd)
{
    unsigned char b[9] = {0};
    return pf_h5_pread(fd, b, sizeof b, 0) == (ssize_t)sizeof b && b[8] >= 3;
}

static PF_MUST_USE pf_status open_fd(int fd, const char *path, int live, hid_t *file)
{
    static int error; /* outlives the file; set when it cannot be opened */
    hid_t fapl = pf_h5_access();
    unsigned flags = H5F_ACC_RDONLY;
    *file = 0;
    pf_status st = pf_h5_set_driver(fapl, fd, &error);
    if (live) {
        flags |= H5F_ACC_SWMR_READ;
        H5Pset_metadata_read_attempts(fapl, 10);
    }
    if (!st) *file = H5Fopen(path, flags, fapl);
    H5Pclose(fapl);
    PF_TRY(st);
    if (*file > 0) return PF_OK;
    *file = 0;
    PF_REQUIRE(error != ENOMEM, PF_EMEM, "no memory to open %s", path);
    PF_TRY(explain(fd, path));
    return PF_OK;
}

static PF_MUST_USE pf_status open_sealed(int fd, const char *path, hid_t *file)
{
    PF_TRY(open_fd(fd, path, 0, file));
    pf_status st = pf_h5_walk(*file, path);
    if (!st) return PF_OK;
    pf_h5_close(*file);
    *file = 0;
    return pf_trail(st, PF_WHERE);
}

/* ---- by way of a child -------------------------------------------------------------------------- */

typedef struct errand {
    const char *path, *only;
    int what, sealed, from, to;
} errand;

static PF_MUST_USE pf_status create_copy(int fd, int *error, hid_t *file)
{
    hid_t fapl = pf_h5_access(), fcpl = H5Pcreate(H5P_FILE_CREATE);
    pf_status st = pf_h5_set_driver(fapl, fd, error);
    if (!st && H5Pset_obj_track_times(fcpl, 0) >= 0 &&
        H5Pset_link_creation_order(fcpl, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED) >= 0)
        *file = H5Fcreate("copy", H5F_ACC_TRUNC, fcpl, fapl);
    H5Pclose(fcpl);
    H5Pclose(fapl);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* In the child.  The foreign file is not closed: HDF5 could fail at that, to no end. */
static pf_status read_foreign(void *self)
{
    const errand *e = self;
    hid_t from = 0, to = 0;
    int error = 0;
    H5PLset_loading_state(0); /* no code from elsewhere */
    PF_TRY(open_fd(e->from, e->path, !e->sealed && could_grow(e->from), &from));
    PF_REQUIRE(e->sealed || !pf_h5_has_attr(from, "sealed"), PF_EIO,
               "%s is truncated, or was changed by another program: its checksum is missing",
               e->path);
    PF_TRY(create_copy(e->to, &error, &to));
    PF_REQUIRE(to > 0, PF_EEXT, "HDF5 cannot start a copy of %s", e->path);
    PF_TRY(pf_h5_copy(from, e->path, e->what, e->only, to));
    PF_REQUIRE(H5Fclose(to) >= 0 && !error, PF_EIO, "cannot copy %s: %s", e->path,
               strerror(error));
    return PF_OK;
}

/* A file without a name: in memory, or on disk when it may be large. */
static int nameless(uint64_t size)
{
    const char *tmp = getenv("TMPDIR");
    int fd = -1;
    if (size > (uint64_t)256 << 20)
        fd = open(tmp && *tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : memfd_create("probflow", MFD_CLOEXEC);
}

static PF_MUST_USE pf_status open_copy(errand *e, hid_t *file)
{
    uint64_t size = 0;
    PF_TRY(pf_h5_fd_size(e->from, e->path, &size));
    PF_REQUIRE(size > 0, PF_EIO, "%s is empty", e->path);
    e->to = nameless(e->what == PF_H5_LIST ? 0 : size);
    PF_REQUIRE(e->to >= 0, PF_EMEM, "cannot read %s: %s", e->path, strerror(errno));
    pf_status st = pf_h5_in_child(e->path, size, read_foreign, e);
    if (!st) st = open_fd(e->to, e->path, 0, file);
    close(e->to);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- doors -------------------------------------------------------------------------------------- */

pf_status pf_h5_open_fd(int fd, const char *path, int what, const char *only, int *direct,
                        hid_t *file)
{
    int sealed = 0;
    *file = 0;
    pf_h5_quiet();
    PF_TRY(pf_h5_seal_check(fd, path, &sealed));
    *direct = sealed && what == PF_H5_ALL && !all_in_child;
    errand e = {.path = path, .only = only, .what = what, .sealed = sealed, .from = fd};
    if (*direct) PF_TRY(open_sealed(fd, path, file));
    else PF_TRY(open_copy(&e, file));
    return PF_OK;
}

pf_status pf_h5_open(const char *path, int what, const char *only, hid_t *file)
{
    int fd = -1, direct = 0;
    *file = 0;
    PF_TRY(pf_h5_open_regular(path, O_RDONLY, &fd));
    pf_status st = pf_h5_open_fd(fd, path, what, only, &direct, file);
    close(fd);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_h5_close(hid_t file)
{
    if (file > 0) H5Fclose(file);
}

pf_status pf_h5_want_kind(hid_t file, const char *path, const char *kind)
{
    char *text = NULL;
    PF_REQUIRE(pf_h5_has_attr(file, "kind"), PF_EFORMAT, "%s is not a %s of probflow", path,
               kind);
    PF_TRY(pf_h5_get_text(file, path, "kind", &text));
    pf_status st = strcmp(text, kind) ? pf_raise(PF_EFORMAT, PF_WHERE, "%s is a %s, not a %s",
                                                 path, text, kind)
                                      : PF_OK;
    pf_free(text);
    return st;
}

pf_status pf_h5_open_kind(const char *path, const char *kind, const char *only, hid_t *file)
{
    PF_TRY(pf_h5_open(path, PF_H5_ALL, only, file));
    pf_status st = pf_h5_want_kind(*file, path, kind);
    if (!st) return PF_OK;
    pf_h5_close(*file);
    *file = 0;
    return pf_trail(st, PF_WHERE);
}
