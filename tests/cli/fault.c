/* A disk and a memory that fail on request, for the command-line tests: LD_PRELOAD=libfault.so.
 *
 *   PF_FAULT_PATH   calls on files whose path matches this pattern (fnmatch) are counted; without
 *                   it none are
 *   PF_FAULT_READ   1: reads of these files are counted too
 *   PF_FAULT_ALLOC  1: allocations of the project are counted instead
 *   PF_FAULT_RANK   on this rank only; default 0
 *   PF_FAULT_AT     the call, counted from 1, that gets the fault; "7+": this and all later ones.
 *                   Without it nothing fails
 *   PF_FAULT_DO     ENOSPC (the default), EDQUOT, EIO, EROFS, EFBIG, ENOLCK: the call fails with it
 *                   short: half of the bytes are written and said to be written
 *                   kill: half of the bytes are written, up to the end of a page of the file, then the
 *                   process is killed by SIGKILL; the kernel too cuts a write between pages only
 *   PF_FAULT_PTRACE 1: no process may read or write another's memory, as in a container
 *   PF_FAULT_LOG    a line is added for each fault, or for each counted call when nothing fails:
 *                   "NUMBER CALL PATH" */
#undef _FILE_OFFSET_BITS /* both names of each call are wanted: open and open64 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHORT = -1, KILL = -2 }; /* beside the error numbers */

static struct {
    const char *path, *log;
    int alloc, reads, what, onwards;
    long at; /* 0: nothing fails */
} plan;
static atomic_long calls;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int number_of(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EIO", EIO},     {"EROFS", EROFS},
                 {"EFBIG", EFBIG},   {"ENOLCK", ENOLCK}, {"short", SHORT}, {"kill", KILL}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name)) return known[i].number;
    fprintf(stderr, "fault: unknown PF_FAULT_DO=%s\n", name);
    _exit(99);
}

static void read_plan(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *mine = getenv("PF_FAULT_RANK");
    const char *at = getenv("PF_FAULT_AT"), *what = getenv("PF_FAULT_DO");
    if (strcmp(rank ? rank : "0", mine ? mine : "0")) return;
    plan.path = getenv("PF_FAULT_PATH");
    plan.alloc = getenv("PF_FAULT_ALLOC") != NULL;
    plan.reads = getenv("PF_FAULT_READ") != NULL;
    plan.log = getenv("PF_FAULT_LOG");
    plan.at = at ? atol(at) : 0;
    plan.onwards = at && strchr(at, '+');
    plan.what = number_of(what ? what : "ENOSPC");
}

static void note(long n, const char *call, const char *path)
{
    char line[PATH_MAX + 64];
    if (!plan.log) return;
    int k = snprintf(line, sizeof line, "%ld %s %s\n", n, call, path);
    long fd = syscall(SYS_openat, AT_FDCWD, plan.log, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd >= 0 && k > 0) syscall(SYS_write, fd, line, (size_t)k);
    if (fd >= 0) syscall(SYS_close, fd);
}

/* What this counted call gets: 0 nothing, an error number, SHORT or KILL. */
static int due(const char *call, const char *path)
{
    long n = atomic_fetch_add(&calls, 1) + 1;
    int now = plan.at > 0 && (n == plan.at || (plan.onwards && n > plan.at));
    if (now || plan.at == 0) note(n, call, path);
    return now ? plan.what : 0;
}

static int fault_at(const char *call, const char *path)
{
    pthread_once(&once, read_plan);
    if (plan.alloc || !plan.path || !path || fnmatch(plan.path, path, 0)) return 0;
    return due(call, path);
}

static int fault_on(const char *call, int fd)
{
    char link[64], path[PATH_MAX];
    pthread_once(&once, read_plan);
    if (plan.alloc || !plan.path) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    return fault_at(call, path);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* For calls that write nothing: fails them or ends the process. */
static int refused(int fault)
{
    if (fault == KILL) die();
    if (fault > 0) errno = fault;
    return fault > 0;
}

/* So much of a write of n bytes at `at` that it ends between two pages, near part bytes; else 0. */
static size_t whole_pages(off_t at, size_t n, size_t part)
{
    off_t page = 4096, cut = (at + (off_t)part + page - 1) / page * page;
    if (cut >= at + (off_t)n) cut -= page;
    return cut > at ? (size_t)(cut - at) : 0;
}

static ssize_t write_part(int fault, int fd, const void *p, size_t n, off_t at)
{
    if (fault > 0) return refused(fault) ? -1 : 0;
    size_t part = fault ? (n + 1) / 2 : n;
    if (fault == KILL) part = whole_pages(at < 0 ? lseek(fd, 0, SEEK_CUR) : at, n, part);
    long done =
        at < 0 ? syscall(SYS_write, fd, p, part) : syscall(SYS_pwrite64, fd, p, part, at);
    if (fault == KILL) die();
    return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
    return write_part(fault_on("write", fd), fd, p, n, -1);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    return write_part(fault_on("pwrite", fd), fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
    return write_part(fault_on("pwrite", fd), fd, p, n, at);
}

static ssize_t read_or_not(int fd, void *p, size_t n, off_t at)
{
    pthread_once(&once, read_plan);
    if (plan.reads && refused(fault_on("pread", fd))) return -1;
    return syscall(SYS_pread64, fd, p, n, at);
}

ssize_t read(int fd, void *p, size_t n)
{
    pthread_once(&once, read_plan);
    if (plan.reads && refused(fault_on("read", fd))) return -1;
    return syscall(SYS_read, fd, p, n);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    return read_or_not(fd, p, n, at);
}

ssize_t pread64(int fd, void *p, size_t n, off64_t at)
{
    return read_or_not(fd, p, n, at);
}

int fsync(int fd)
{
    return refused(fault_on("fsync", fd)) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return refused(fault_on("fdatasync", fd)) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t n)
{
    return refused(fault_on("ftruncate", fd)) ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int ftruncate64(int fd, off64_t n)
{
    return ftruncate(fd, n);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    return refused(fault_on("fallocate", fd)) ? -1
                                              : (int)syscall(SYS_fallocate, fd, mode, at, n);
}

int fallocate64(int fd, int mode, off64_t at, off64_t n)
{
    return fallocate(fd, mode, at, n);
}

int rename(const char *from, const char *to)
{
    return refused(fault_at("rename", to)) ? -1 : (int)syscall(SYS_rename, from, to);
}

int mkdir(const char *path, mode_t mode)
{
    return refused(fault_at("mkdir", path)) ? -1 : (int)syscall(SYS_mkdir, path, mode);
}

static int lock_or_not(int fd, int cmd, void *arg)
{
    int locks = cmd == F_OFD_SETLK || cmd == F_SETLK;
    if (locks && refused(fault_on("lock", fd))) return -1;
    return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

int fcntl(int fd, int cmd, ...)
{
    va_list ap;
    va_start(ap, cmd);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return lock_or_not(fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...) __attribute__((alias("fcntl")));

static int open_or_not(const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && refused(fault_at("create", path))) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    return open_or_not(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = va_arg(ap, mode_t);
    va_end(ap);
    return open_or_not(path, flags, mode);
}

/* All memory of the project comes from here; that of other libraries is left alone. */
void *aligned_alloc(size_t alignment, size_t n)
{
    static void *(*real)(size_t, size_t);
    Dl_info who;
    pthread_once(&once, read_plan);
    if (!real) real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
    if (plan.alloc && dladdr(__builtin_return_address(0), &who) &&
        strstr(who.dli_fname, "probflow") && refused(due("alloc", "-")))
        return NULL;
    return real(alignment, n);
}

/* process_vm_readv and its twin. */
static ssize_t other_memory(long number, pid_t pid, const struct iovec *a, unsigned long n,
                            const struct iovec *b, unsigned long m, unsigned long flags)
{
    if (getenv("PF_FAULT_PTRACE")) {
        errno = EPERM;
        return -1;
    }
    return syscall(number, pid, a, n, b, m, flags);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *a, unsigned long n,
                         const struct iovec *b, unsigned long m, unsigned long flags)
{
    return other_memory(SYS_process_vm_readv, pid, a, n, b, m, flags);
}

ssize_t process_vm_writev(pid_t pid, const struct iovec *a, unsigned long n,
                          const struct iovec *b, unsigned long m, unsigned long flags)
{
    return other_memory(SYS_process_vm_writev, pid, a, n, b, m, flags);
}
