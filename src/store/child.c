/* Work on a file in a process of its own.
 *
 * libhdf5 crashes on damaged files.  What may be damaged is therefore read by a child: its crash, its
 * endless loop or its hunger for memory ends the child alone, and becomes one sentence here.  The
 * child only reads and answers; it never touches MPI, threads or the streams of its parent. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
    __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

typedef struct answer {
    int status;
    char sentence[1024];
} answer;

typedef struct limits {
    unsigned seconds, patience; /* of work; by the clock */
    uint64_t memory;            /* beside what the process has */
} limits;

/* What reading a file of this size can ask for.  Compressed bytes grow by 1032 at most, at about a
 * gigabyte a second. */
static limits limits_of(uint64_t size)
{
    uint64_t mb = size >> 20, seconds = 2 + (SANITIZED ? 4 * mb : mb);
    if (seconds > 100000) seconds = 100000;
    return (limits){(unsigned)seconds, (unsigned)(30 + 4 * seconds),
                    ((uint64_t)512 << 20) + 4 * size};
}

static void limit(int what, uint64_t most)
{
    struct rlimit r;
    if (getrlimit(what, &r)) return;
    if (r.rlim_cur == RLIM_INFINITY || r.rlim_cur > most) r.rlim_cur = most;
    setrlimit(what, &r);
}

/* Bytes of address space of this process; 0 where the system does not tell. */
static uint64_t address_space(void)
{
    char text[64] = {0};
    unsigned long long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (read(fd, text, sizeof text - 1) <= 0 || sscanf(text, "%llu", &pages) != 1) pages = 0;
    close(fd);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A crash kills; a stop asked for is the parent's to answer, and the child dies with it. */
static void default_signals(void)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    sigset_t none;
    for (int s = 1; s < NSIG; s++) signal(s, SIG_DFL);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) signal(stops[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

#if SANITIZED
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
#endif

static void confine(const limits *l)
{
    uint64_t held = address_space();
    default_signals();
    /* The parent has one sentence to say; the C library and the sanitizers would add theirs. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) dup2(null, 1), dup2(null, 2);
#if SANITIZED
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(NULL);
#endif
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, l->seconds);
    if (held && !SANITIZED) limit(RLIMIT_AS, held + l->memory);
}

static void be_child(int out, const limits *l, pf_status (*work)(void *), void *self)
{
    answer a = {0};
    confine(l);
    a.status = work(self);
    if (a.status) snprintf(a.sentence, sizeof a.sentence, "%s", pf_error_message());
    (void)!write(out, &a, sizeof a); /* less than a pipe takes at once */
    _exit(0);
}

/* 1: a whole answer, 0: the child ended without, -1: it took too long. */
static int receive(int in, unsigned patience, answer *a)
{
    struct timespec begin, now;
    size_t n = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while (n < sizeof *a) {
        struct pollfd p = {in, POLLIN, 0};
        int k = poll(&p, 1, 1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - begin.tv_sec > (time_t)patience) return -1;
        if (k == 0 || (k < 0 && errno == EINTR)) continue;
        ssize_t got = read(in, (char *)a + n, sizeof *a - n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        n += (size_t)got;
    }
    return 1;
}

static PF_MUST_USE pf_status judge(const char *path, int received, int status, const limits *l,
                                   answer *a)
{
    a->sentence[sizeof a->sentence - 1] = 0;
    if (received > 0 && a->status == PF_OK) return PF_OK;
    if (received > 0) PF_FAIL((pf_status)a->status, "%s", a->sentence);
    int killer = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    PF_REQUIRE(received == 0 && killer != SIGXCPU, PF_EFORMAT,
               "%s is damaged: reading it did not end within %u s", path, l->seconds);
    const char *name = sigabbrev_np(killer);
    PF_REQUIRE(!killer, PF_EFORMAT, "%s is damaged: reading it ended by SIG%s", path,
               name ? name : "?");
    PF_FAIL(PF_EFORMAT, "%s is damaged: reading it ended without an answer", path);
}

pf_status pf_h5_in_child(const char *path, uint64_t size, pf_status (*work)(void *), void *self)
{
    int ends[2], status = 0;
    answer a = {0};
    limits l = limits_of(size);
    PF_REQUIRE(!pipe2(ends, O_CLOEXEC), PF_EMEM, "cannot read %s: %s", path, strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(ends[1], &l, work, self);
    }
    int bad = errno;
    close(ends[1]);
    int received = child > 0 ? receive(ends[0], l.patience, &a) : 0;
    close(ends[0]);
    PF_REQUIRE(child > 0, PF_EMEM, "cannot read %s in a process of its own: %s", path,
               strerror(bad));
    if (received < 0) kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    PF_TRY(judge(path, received, status, &l, &a));
    return PF_OK;
}
