/* A file driver for HDF5: over a file that is already open, so that what was checked is what is
 * read, and under which a write never fails.
 *
 * HDF5 does not survive a failing write: its caches refuse to let go of what they could not
 * store, and closing the file crashes.  So HDF5 is told that all is well; the first error number
 * is kept for us, and nothing reaches the disk after it.  The file then stands as after a kill:
 * what was written, in the order in which SWMR readers want it.
 *
 * It cannot lock, so HDF5 does not mark the file as being written: a mark that outlives a kill would
 * keep ordinary readers (h5dump) out.  Who may write is decided by the lock of the run directory. */
#include <probflow/file.h>
#include <probflow/memory.h>
#include "store/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct options {
    int *error; /* borrowed */
    int fd;     /* -1: to be opened by name */
} options;

typedef struct disk {
    H5FD_t pub; /* first: HDF5's own part */
    int fd, *error;
    haddr_t eoa, eof;
} disk;

static int64_t fail_in; /* 0: off; 1: the next read fails */

void pf_h5_fail_read_at(int64_t n)
{
    fail_in = n;
}

ssize_t pf_h5_pread(int fd, void *p, size_t n, uint64_t at)
{
    size_t done = 0;
    if (fail_in > 0 && --fail_in == 0) {
        errno = EIO;
        return -1;
    }
    while (done < n) {
        ssize_t k = pread(fd, (unsigned char *)p + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return -1;
        if (k == 0) break;
        done += (size_t)k;
    }
    return (ssize_t)done;
}

static H5FD_t *open_disk(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    (void)maxaddr;
    const options *o = H5Pget_driver_info(fapl);
    disk *d = pf_zalloc(sizeof *d);
    struct stat sb;
    if (!d) {
        *o->error = ENOMEM;
        return NULL;
    }
    d->error = o->error;
    d->fd = o->fd >= 0 ? fcntl(o->fd, F_DUPFD_CLOEXEC, 0)
                       : open(name, (flags & H5F_ACC_RDWR ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (d->fd < 0 || fstat(d->fd, &sb)) {
        *d->error = errno;
        if (d->fd >= 0) close(d->fd);
        pf_free(d);
        return NULL;
    }
    d->eof = (haddr_t)sb.st_size;
    return &d->pub;
}

static herr_t close_disk(H5FD_t *self)
{
    disk *d = (disk *)self;
    if (close(d->fd) && !*d->error) *d->error = errno;
    pf_free(d);
    return 0;
}

static herr_t query(const H5FD_t *self, unsigned long *features)
{
    (void)self;
    *features = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
                H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_AGGREGATE_SMALLDATA |
                H5FD_FEAT_SUPPORTS_SWMR_IO | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t get_eoa(const H5FD_t *self, H5FD_mem_t type)
{
    (void)type;
    return ((const disk *)self)->eoa;
}

static herr_t set_eoa(H5FD_t *self, H5FD_mem_t type, haddr_t at)
{
    (void)type;
    ((disk *)self)->eoa = at;
    return 0;
}

static haddr_t get_eof(const H5FD_t *self, H5FD_mem_t type)
{
    (void)type;
    return ((const disk *)self)->eof;
}

static herr_t read_disk(H5FD_t *self, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n,
                        void *to)
{
    (void)type, (void)dxpl;
    ssize_t k = pf_h5_pread(((disk *)self)->fd, to, n, at);
    if (k < 0) return -1;
    memset((unsigned char *)to + k, 0, n - (size_t)k); /* behind the end are zeros */
    return 0;
}

static herr_t write_disk(H5FD_t *self, H5FD_mem_t type, hid_t dxpl, haddr_t at, size_t n,
                         const void *from)
{
    (void)type, (void)dxpl;
    disk *d = (disk *)self;
    if (at + n > d->eof) d->eof = at + n;
    if (!*d->error) *d->error = pf_write_at(d->fd, from, n, (int64_t)at);
    return 0;
}

static herr_t truncate_disk(H5FD_t *self, hid_t dxpl, hbool_t closing)
{
    (void)dxpl, (void)closing;
    disk *d = (disk *)self;
    if (d->eoa != d->eof && !*d->error && ftruncate(d->fd, (off_t)d->eoa)) *d->error = errno;
    d->eof = d->eoa;
    return 0;
}

static herr_t get_handle(H5FD_t *self, hid_t fapl, void **handle)
{
    (void)fapl;
    *handle = &((disk *)self)->fd;
    return 0;
}

int pf_h5_fd(hid_t file)
{
    void *handle = NULL;
    return H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) < 0 ? -1 : *(int *)handle;
}

pf_status pf_h5_fd_size(int fd, const char *path, uint64_t *size)
{
    struct stat sb;
    PF_REQUIRE(fd >= 0 && !fstat(fd, &sb), PF_EIO, "cannot read %s: %s", path, strerror(errno));
    *size = (uint64_t)sb.st_size;
    return PF_OK;
}

pf_status pf_h5_size(hid_t file, const char *path, uint64_t *size)
{
    PF_TRY(pf_h5_fd_size(pf_h5_fd(file), path, size));
    return PF_OK;
}

void pf_h5_set_alignment(hid_t fapl)
{
    H5Pset_alignment(fapl, 1, 512);
    H5Pset_meta_block_size(fapl, 0); /* within a larger block nothing is aligned */
}

pf_status pf_h5_set_driver(hid_t fapl, int fd, int *error)
{
    static const H5FD_class_t class = {.name = "probflow",
                                       .maxaddr = INT64_MAX,
                                       .fc_degree = H5F_CLOSE_STRONG,
                                       .fapl_size = sizeof(options),
                                       .open = open_disk,
                                       .close = close_disk,
                                       .query = query,
                                       .get_eoa = get_eoa,
                                       .set_eoa = set_eoa,
                                       .get_eof = get_eof,
                                       .get_handle = get_handle,
                                       .read = read_disk,
                                       .write = write_disk,
                                       .truncate = truncate_disk,
                                       .fl_map = H5FD_FLMAP_DICHOTOMY};
    /* Registered once and for good: H5FD_close lets go of the driver before it calls it. */
    static hid_t id;
    options o = {error, fd};
    if (id <= 0) id = H5FDregister(&class);
    herr_t bad = id > 0 ? H5Pset_driver(fapl, id, &o) : -1;
    *error = 0;
    PF_REQUIRE(bad >= 0, PF_EEXT, "HDF5 refuses a file driver");
    return PF_OK;
}
