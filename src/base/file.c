/* Whole files by way of a temporary, and locks.
 *
 * A lock belongs to the open file description (F_OFD_SETLK), not to the process: closing another
 * descriptor of the same file does not lose it.  A temporary is locked by its writer too, so what a
 * killed one left is told from what a living one still writes. */
#include <probflow/file.h>
#include <probflow/log.h>
#include <probflow/memory.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OWNER_MAX = 128, HEAD_MAX = 16, STEM_MAX = 200, LINKS_MAX = 40 };
static const char pattern[] = ".probflow-00000000.tmp"; /* 0: a digit of a random number */

struct pf_lock {
    int fd;
    int spare; /* the file was there, and empty: it stays */
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

/* ---- what a path stands for ------------------------------------------------------------------ */

const char *pf_file_folder(const char *path, char dir[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= PATH_MAX) n = PATH_MAX - 1;
    memcpy(dir, path, n);
    memcpy(dir + n, n ? "" : ".", n ? 1 : 2);
    return slash ? slash + 1 : path;
}

/* The path that the link at `path` leads to in place of it: 1; 0: it is no link. */
static int follow(char path[PATH_MAX])
{
    char link[PATH_MAX], dir[PATH_MAX];
    ssize_t n = readlink(path, link, sizeof link - 1);
    if (n < 0) return 0;
    link[n] = 0;
    pf_file_folder(path, dir);
    int k = link[0] == '/' || !strchr(path, '/') ? snprintf(path, PATH_MAX, "%s", link)
                                                 : snprintf(path, PATH_MAX, "%s/%s", dir, link);
    return k < PATH_MAX ? 1 : LINKS_MAX;
}

static const char *kind_of(mode_t m)
{
    return S_ISDIR(m)    ? "folder"
           : S_ISFIFO(m) ? "FIFO"
           : S_ISCHR(m)  ? "character device"
           : S_ISBLK(m)  ? "block device"
           : S_ISSOCK(m) ? "socket"
                         : "special file";
}

/* Are both names of one file?  Another writer may replace it between two looks. */
static int same_file(const char *a, const char *b)
{
    struct stat x, y;
    for (int tries = 0; tries < 100; tries++)
        if (!stat(a, &x) && !stat(b, &y) && x.st_ino == y.st_ino && x.st_dev == y.st_dev)
            return 1;
    return 0;
}

pf_status pf_file_target(const char *path, char target[PATH_MAX])
{
    char dir[PATH_MAX];
    struct stat here;
    int links = 0, more = 1, absent = stat(path, &here) ? errno : 0;
    PF_REQUIRE(strlen(path) + sizeof pattern < PATH_MAX, PF_EARG,
               "the path %.60s... is too long", path);
    PF_REQUIRE(!absent || absent == ENOENT || absent == ELOOP, PF_EIO, "cannot create %s: %s",
               path, strerror(absent));
    PF_REQUIRE(absent || S_ISREG(here.st_mode), PF_EARG,
               "%s is a %s, not a file: it cannot become an output", path,
               kind_of(here.st_mode));
    strcpy(target, path);
    while (more && links < LINKS_MAX) links += more = follow(target);
    PF_REQUIRE(links < LINKS_MAX, PF_EARG, "%s is a link that leads nowhere: %s", path,
               strerror(ELOOP));
    PF_REQUIRE(*pf_file_folder(target, dir), PF_EARG, "\"%s\" does not name a file", path);
    /* Links of the kernel's own (/proc/self/fd) say a name that need not be one. */
    PF_REQUIRE(absent || links == 0 || same_file(path, target), PF_EARG,
               "%s cannot be replaced: its file has no name", path);
    return PF_OK;
}

/* ---- temporaries ----------------------------------------------------------------------------- */

static int lock_whole(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole) ? errno : 0;
}

static int is_held(int bad)
{
    return bad == EAGAIN || bad == EACCES;
}

/* Descriptor of a new file beside target, locked, its path in tmp; -1: see errno.  *unlocked: why it
 * could not be locked, 0 when it is. */
static int open_temporary(const char *target, char tmp[PATH_MAX], int *unlocked)
{
    char dir[PATH_MAX];
    const char *name = pf_file_folder(target, dir);
    for (int tries = 0; tries < 100; tries++) {
        unsigned number = 0;
        struct stat sb;
        if (getrandom(&number, sizeof number, 0) != sizeof number) return -1;
        int k =
            snprintf(tmp, PATH_MAX, "%s/%.*s.probflow-%08x.tmp", dir, STEM_MAX, name, number);
        if (k < 0 || k >= PATH_MAX) break;
        int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) return -1;
        if (fd < 0) continue;
        /* One who tidies may have found it before it was locked. */
        *unlocked = lock_whole(fd);
        if (!is_held(*unlocked) && !fstat(fd, &sb) && sb.st_nlink > 0) return fd;
        close(fd);
    }
    errno = EEXIST;
    return -1;
}

/* Is file a temporary of `name` (NULL: of any)? */
static int is_temporary(const char *file, const char *name)
{
    size_t n = strlen(file), tail = sizeof pattern - 1, stem = n - tail;
    if (n <= tail || strncmp(file + stem, pattern, 10) ||
        strspn(file + stem + 10, "0123456789abcdef") != 8 || strcmp(file + n - 4, ".tmp"))
        return 0;
    return !name || (strnlen(name, STEM_MAX) == stem && !strncmp(file, name, stem));
}

static void remove_stale(int dir, const char *file, const void *head, size_t n)
{
    unsigned char begin[HEAD_MAX];
    struct stat sb;
    if (fstatat(dir, file, &sb, AT_SYMLINK_NOFOLLOW) || !S_ISREG(sb.st_mode) ||
        sb.st_uid != geteuid())
        return;
    int fd = openat(dir, file, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t k = pread(fd, begin, n < HEAD_MAX ? n : HEAD_MAX, 0);
    if (k >= 0 && !memcmp(begin, head, (size_t)k) && !lock_whole(fd)) unlinkat(dir, file, 0);
    close(fd);
}

void pf_file_tidy(const char *dir, const char *name, const void *head, size_t n)
{
    DIR *d = opendir(dir);
    const struct dirent *f;
    while (d && (f = readdir(d)) != NULL)
        if (is_temporary(f->d_name, name)) remove_stale(dirfd(d), f->d_name, head, n);
    if (d) closedir(d);
}

static void tidy_beside(const char *target, const void *head, size_t n)
{
    char dir[PATH_MAX];
    const char *name = pf_file_folder(target, dir);
    pf_file_tidy(dir, name, head, n);
}

/* ---- whole files ----------------------------------------------------------------------------- */

/* 0, or the error number. */
static int write_all(int fd, const char *target, const pf_bytes *part, int n)
{
    struct stat old;
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        int bad = pf_write_at(fd, part[i].p, part[i].n, at);
        if (bad) return bad;
        at += (int64_t)part[i].n;
    }
    /* A file system without modes is no reason to stop. */
    if (!stat(target, &old)) (void)!fchmod(fd, old.st_mode & 0777);
    return fsync(fd) ? errno : 0;
}

/* The rename is only safe on disk once the folder is.  Some file systems cannot: then it is as
 * safe as they make it. */
static PF_MUST_USE pf_status sync_folder(const char *path)
{
    char dir[PATH_MAX];
    pf_file_folder(path, dir);
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
    char target[PATH_MAX], tmp[PATH_MAX];
    int unlocked = 0;
    PF_TRY(pf_file_target(path, target));
    if (n > 0) tidy_beside(target, part[0].p, part[0].n < 8 ? part[0].n : 8);
    int fd = open_temporary(target, tmp, &unlocked);
    PF_REQUIRE(fd >= 0, PF_EIO, "cannot create %s: %s", path, strerror(errno));
    int bad = write_all(fd, target, part, n);
    if (!bad && rename(tmp, target)) bad = errno;
    if (bad) unlink(tmp);
    close(fd);
    PF_REQUIRE(!bad, PF_EIO, "cannot write %s: %s", path, strerror(bad));
    PF_TRY(sync_folder(target));
    return PF_OK;
}

/* ---- locks ----------------------------------------------------------------------------------- */

static const char owner_begin[] = "process ";

static void read_owner(int fd, char owner[OWNER_MAX])
{
    ssize_t n = pread(fd, owner, OWNER_MAX - 1, 0);
    owner[n > 0 ? n : 0] = 0;
}

/* "process N on HOST\n", and nothing else. */
static int is_owner(const char *text)
{
    size_t n = strlen(text), at = sizeof owner_begin - 1;
    if (n >= OWNER_MAX - 1 || strncmp(text, owner_begin, at)) return 0;
    size_t digits = strspn(text + at, "0123456789");
    return digits > 0 && !strncmp(text + at + digits, " on ", 4) &&
           strcspn(text, "\n") == n - 1;
}

/* 0, or the error number. */
static int write_owner(int fd)
{
    char owner[OWNER_MAX], host[64] = "?";
    gethostname(host, sizeof host - 1);
    int n = snprintf(owner, sizeof owner, "process %ld on %s\n", (long)getpid(), host);
    int bad = pf_write_at(fd, owner, (size_t)n, 0);
    if (!bad && ftruncate(fd, n)) bad = errno;
    return bad;
}

/* Gives a file its name where nothing has that name: 0, or the error number. */
static int publish(const char *tmp, const char *path)
{
    struct stat sb;
    int bad = link(tmp, path) ? errno : 0;
    /* Some file systems know no second names. */
    if (bad && bad != EEXIST && lstat(path, &sb) && errno == ENOENT)
        bad = rename(tmp, path) ? errno : 0;
    return bad;
}

/* The file is there with its text, and held, from the start: what a kill leaves is known as ours.
 * *bad: EAGAIN when another was faster, or why it cannot be locked. */
static PF_MUST_USE pf_status create_lock(pf_lock *l, int *bad)
{
    char tmp[PATH_MAX];
    l->fd = open_temporary(l->path, tmp, bad);
    PF_REQUIRE(l->fd >= 0, PF_EIO, "cannot create %s: %s", l->path, strerror(errno));
    int failed = write_owner(l->fd);
    if (!failed) failed = publish(tmp, l->path);
    unlink(tmp);
    if (!failed) return PF_OK;
    close(l->fd);
    l->fd = -1;
    if (failed == EEXIST) *bad = EAGAIN;
    PF_REQUIRE(failed == EEXIST, PF_EIO, "cannot create %s: %s", l->path, strerror(failed));
    return PF_OK;
}

static PF_MUST_USE pf_status refuse_foreign(const char *path)
{
    char to[256];
    ssize_t n = readlink(path, to, sizeof to - 1);
    to[n > 0 ? n : 0] = 0;
    PF_FAIL(PF_EARG, "%s%s%s is no lock of probflow and is left as it is: move it away", path,
            n > 0 ? ", a link to " : "", to);
}

/* A file that is there: ours, held or left by a kill, or foreign. */
static PF_MUST_USE pf_status open_lock(pf_lock *l, int *bad, char owner[OWNER_MAX])
{
    struct stat sb;
    int ours = !lstat(l->path, &sb) && S_ISREG(sb.st_mode);
    if (ours) {
        l->fd = open(l->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (l->fd < 0 && errno == ENOENT) ours = 0; /* its holder has just removed it */
        else PF_REQUIRE(l->fd >= 0, PF_EIO, "cannot open %s: %s", l->path, strerror(errno));
    }
    *bad = ours ? lock_whole(l->fd) : EAGAIN;
    if (l->fd >= 0) {
        read_owner(l->fd, owner);
        l->spare = !owner[0];
        ours = l->spare || is_owner(owner);
        if (!fstat(l->fd, &sb) && sb.st_nlink == 0) *bad = EAGAIN;
    }
    if (!ours || is_held(*bad)) {
        if (l->fd >= 0) close(l->fd);
        l->fd = -1;
    }
    if (!ours && !lstat(l->path, &sb)) return refuse_foreign(l->path);
    if (l->fd >= 0) (void)write_owner(l->fd); /* for the sentence of others only */
    return PF_OK;
}

static PF_MUST_USE pf_status take(pf_lock *l, const char *what)
{
    char owner[OWNER_MAX] = "";
    struct stat sb;
    int bad = 0;
    tidy_beside(l->path, owner_begin, sizeof owner_begin - 1);
    for (int tries = 0; tries <= 30; tries++) {
        int absent = lstat(l->path, &sb) && errno == ENOENT;
        PF_TRY(absent ? create_lock(l, &bad) : open_lock(l, &bad, owner));
        if (l->fd >= 0) break;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    owner[strcspn(owner, "\n")] = 0;
    PF_REQUIRE(l->fd >= 0, PF_EIO, "%s is being written by %s; wait for it or stop it", what,
               owner[0] ? owner : "another process");
    if (bad)
        pf_log("%s cannot be locked (%s): see to it that no second job writes it", what,
               strerror(bad));
    return PF_OK;
}

pf_status pf_lock_take(const char *path, const char *what, pf_lock **out)
{
    PF_REQUIRE(strlen(path) + sizeof pattern < PATH_MAX, PF_EARG,
               "the path %.60s... is too long", path);
    pf_lock *l = pf_zalloc(sizeof *l);
    PF_REQUIRE(l, PF_EMEM, "no memory for the lock of %s", what);
    l->fd = -1;
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
    struct stat here, there;
    if (!l) return;
    if (l->spare) (void)!ftruncate(l->fd, 0);
    else if (!fstat(l->fd, &here) && !lstat(l->path, &there) && here.st_ino == there.st_ino &&
             here.st_dev == there.st_dev)
        unlink(l->path);
    close(l->fd);
    pf_free(l);
}
