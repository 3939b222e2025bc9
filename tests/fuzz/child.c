/* A child for readings in which libhdf5 may die.
 *
 * The counters of coverage are put into memory that both processes share, so that the fuzzer sees what
 * the child reached.  The sanitizer's report, made in the child, says whose fault it was. */
#include <dlfcn.h>
#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fuzz.h"

enum { SECONDS = 9, OURS = 71, THEIRS = 72, FRAMES = 8 };

extern uint8_t __start___sancov_cntrs[], __stop___sancov_cntrs[];
extern const uintptr_t __start___sancov_pcs[],
    __stop___sancov_pcs[]; /* {place, flags} of our code */

static int said; /* what the child says: a file in memory, shown with a finding only */

static void share_counters(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)__start___sancov_cntrs + page - 1) / page * page;
    uintptr_t to = (uintptr_t)__stop___sancov_cntrs / page * page;
    if (to > from)
        mmap((void *)from, to - from, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    said = memfd_create("said", MFD_CLOEXEC);
}

static int is_ours(uintptr_t pc)
{
    uintptr_t low = UINTPTR_MAX, high = 0;
    for (const uintptr_t *p = __start___sancov_pcs; p < __stop___sancov_pcs; p += 2) {
        if (*p < low) low = *p;
        if (*p > high) high = *p;
    }
    return pc >= low && pc <= high;
}

/* Did libhdf5 stand nearer to the fault than our own code? */
static int in_hdf5(const char *report)
{
    for (int frame = 0; frame < FRAMES; frame++) {
        char mark[16];
        Dl_info where;
        snprintf(mark, sizeof mark, "    #%d 0x", frame);
        report = strstr(report, mark);
        if (!report) return 0;
        uintptr_t pc = (uintptr_t)strtoull(strstr(report, "0x"), NULL, 16);
        if (is_ours(pc)) return 0;
        if (dladdr((void *)pc, &where) && strstr(where.dli_fname, "libhdf5")) return 1;
    }
    return 0;
}

static void on_report(const char *report)
{
    _exit(in_hdf5(report) ? THEIRS : OURS);
}

static void run_child(void (*body)(void *self), void *self)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    dup2(said, 2);
    /* The fuzzer's own handlers would make a finding of a death inside libhdf5. */
    signal(SIGABRT, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    __sanitizer_set_death_callback(NULL);
    __asan_set_error_report_callback(on_report);
    alarm(SECONDS);
    body(self);
    _exit(0);
}

static void show_said(void)
{
    char part[4096];
    ssize_t n;
    lseek(said, 0, SEEK_SET);
    while ((n = read(said, part, sizeof part)) > 0) (void)!write(2, part, (size_t)n);
}

void fuzz_in_child(void (*body)(void *self), void *self)
{
    static int prepared;
    int status = 0;
    struct rusage used;
    const char *what = NULL;
    if (!prepared++) share_counters();
    (void)!ftruncate(said, 0);
    lseek(said, 0, SEEK_SET);
    pid_t child = fork();
    if (child < 0) return;
    if (child == 0) run_child(body, self);
    while (wait4(child, &status, 0, &used) != child)
        if (errno != EINTR) fuzz_finding("the child is lost");
    if (WIFSIGNALED(status))
        what = WTERMSIG(status) == SIGALRM ? "no end after 9 s" : "a signal";
    else if (WEXITSTATUS(status) && WEXITSTATUS(status) != THEIRS) what = "a fault in our code";
    else if (used.ru_maxrss > 2048L * 1024) what = "more than 2 GB";
    if (!what) return;
    show_said();
    fuzz_finding(what);
}
