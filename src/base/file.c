/* Whole files by way of a temporary, and locks.
 *
 * A lock belongs to the open file description (F_OFD_SETLK), not to the process: closing another
 * descriptor of the same file does not lose it. */
#include <probflow/file.h>
#include <probflow/log.h>
#include <probflow/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OWNER_MAX = 128 };

struct pf_lock {
    int fd;
    char path[PATH_MAX];
};

int pf_write_at(int fd, const void *p, size_t n, int64_t at)
{
    const unsigned char *b = p;
    while (n > 0) {
        ssize_t k = pwrite(fd, b, n < (1u << 30) ? n : 1u << 30, at);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return k < 0 ? errno : ENOSPC;
        b += k, at += k, n -= (size_t)k;
    }
    return 0;
}

static PF_MUST_USE pf_status write_all(const char *path, const pf_bytes *part, int n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), bad = 0;
    PF_REQUIRE(fd >= 0, PF_EIO, "cannot create %s: %s", path, strerror(errno));
    int64_t at = 0;
    for (int i = 0; i < n && !bad; i++) {
        bad = pf_write_at(fd, part[i].p, part[i].n, at);
        at += (int64_t)part[i].n;
    }
    if (!bad && fsync(fd)) bad = errno;
    if (close(fd) && !bad) bad = errno;
    PF_REQUIRE(!bad, PF_EIO, "cannot write %s: %s", path, strerror(bad));
    return PF_OK;
}

/* The rename is only safe on disk once the folder is.  Some file systems cannot: then it is as
 * safe as they make it. */
static PF_MUST_USE pf_status sync_folder(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(dir, path, n);
    memcpy(dir + n, n ? "" : ".", n ? 1 : 2);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return PF_OK;
    int bad = fsync(fd) ? errno : 0;
    close(fd);
    PF_REQUIRE(!bad || bad == EINVAL || bad == ENOTSUP || bad == ENOSYS || bad == EBADF, PF_EIO,
               "cannot sync the folder of %s: %s", path, strerror(bad));
    return PF_OK;
}

pf_status pf_file_put(const char *path, const pf_bytes *part, int n)
{
    char tmp[PATH_MAX];
    int k = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    PF_REQUIRE(k > 0 && (size_t)k < sizeof tmp, PF_EARG, "the path %.60s... is too long", path);
    pf_status st = write_all(tmp, part, n);
    if (st) {
        unlink(tmp);
        return pf_trail(st, PF_WHERE);
    }
    if (rename(tmp, path)) {
        int bad = errno;
        unlink(tmp);
        PF_FAIL(PF_EIO, "cannot rename %s to %s: %s", tmp, path, strerror(bad));
    }
    PF_TRY(sync_folder(path));
    return PF_OK;
}

/* Descriptor of the locked file; *bad: error number, 0 when it is ours. */
static int open_locked(const char *path, int *bad)
{
    for (;;) {
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        struct stat here, there;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        *bad = fd < 0 || fcntl(fd, F_OFD_SETLK, &whole) ? errno : 0;
        if (*bad) return fd;
        /* The last holder may have removed the file after we opened it. */
        if (!fstat(fd, &here) && !stat(path, &there) && here.st_ino == there.st_ino &&
            here.st_dev == there.st_dev)
            return fd;
        close(fd);
    }
}

static void read_owner(int fd, char owner[OWNER_MAX])
{
    ssize_t n = pread(fd, owner, OWNER_MAX - 1, 0);
    owner[n > 0 ? n : 0] = 0;
    owner[strcspn(owner, "\n")] = 0;
    if (!owner[0]) strcpy(owner, "another process");
}

/* For the sentence of others only: that it may fail does not matter. */
static void write_owner(int fd)
{
    char owner[OWNER_MAX], host[64] = "?";
    gethostname(host, sizeof host - 1);
    int n = snprintf(owner, sizeof owner, "process %ld on %s\n", (long)getpid(), host);
    if (!ftruncate(fd, 0)) (void)!pwrite(fd, owner, (size_t)n, 0);
}

static PF_MUST_USE pf_status take(pf_lock *l, const char *what)
{
    char owner[OWNER_MAX];
    int bad = 0;
    for (int tries = 0; tries <= 30; tries++) {
        l->fd = open_locked(l->path, &bad);
        PF_REQUIRE(l->fd >= 0, PF_EIO, "cannot create %s: %s", l->path, strerror(bad));
        if (bad != EAGAIN && bad != EACCES) break;
        read_owner(l->fd, owner);
        close(l->fd);
        l->fd = -1;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    PF_REQUIRE(l->fd >= 0, PF_EIO, "%s is being written by %s; wait for it or stop it", what,
               owner);
    if (bad)
        pf_log("%s cannot be locked (%s): see to it that no second job writes it", what,
               strerror(bad));
    write_owner(l->fd);
    return PF_OK;
}

pf_status pf_lock_take(const char *path, const char *what, pf_lock **out)
{
    PF_REQUIRE(strlen(path) < PATH_MAX, PF_EARG, "the path %.60s... is too long", path);
    pf_lock *l = pf_zalloc(sizeof *l);
    PF_REQUIRE(l, PF_EMEM, "no memory for the lock of %s", what);
    strcpy(l->path, path);
    pf_status st = take(l, what);
    if (st) {
        pf_free(l);
        return pf_trail(st, PF_WHERE);
    }
    *out = l;
    return PF_OK;
}

void pf_lock_release(pf_lock *l)
{
    if (!l) return;
    unlink(l->path);
    close(l->fd);
    pf_free(l);
}
