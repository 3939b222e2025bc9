/* A child for readings in which libhdf5 may die.
 *
 * It hands its counters of coverage back, so that the fuzzer sees what it reached.  The sanitizer's report, made in the child, says whose fault it was. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "fuzz.h"

enum { IMPATIENT = 2, SECONDS = 9, OURS = 71, THEIRS = 72, LATE = 73, FRAMES = 8 };

extern uint8_t __start___sancov_cntrs[], __stop___sancov_cntrs[];
extern const uintptr_t __start___sancov_pcs[],
    __stop___sancov_pcs[]; /* {place, flags} of our code */

static int said; /* what the child says: a file in memory, shown with a finding only */
static uint8_t *
    reached; /* the child's counters of coverage, then 1 for a fault of ours; in shared memory */

static size_t counted(void)
{
    return (size_t)(__stop___sancov_cntrs - __start___sancov_cntrs);
}

static void prepare(void)
{
    reached =
        mmap(NULL, counted() + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    said = memfd_create("said", MFD_CLOEXEC);
    if (reached == MAP_FAILED || said < 0) fuzz_finding("no memory to share with a child");
}

/* The child's only way out, so that the fuzzer learns what it reached. */
static void leave(int status)
{
    memcpy(reached, __start___sancov_cntrs, counted());
    _exit(status);
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
    int theirs = in_hdf5(report);
    if (!theirs) reached[counted()] = 1; /* a child of the child is heard by this alone */
    leave(theirs ? THEIRS : OURS);
}

static int may_die, waited; /* may_die: libhdf5 may; waited: seconds of this step */
static time_t begun;

void fuzz_begin_step(void)
{
    if (time(NULL) - begun > SECONDS / 2) leave(0); /* the steps to come would take as long */
    waited = IMPATIENT;
    alarm(IMPATIENT);
}

/* A loop inside libhdf5 is as good as its death. */
static void on_alarm(int sig)
{
    void *pc[32];
    Dl_info where;
    int n = backtrace(pc, 32), late = waited >= SECONDS;
    (void)sig;
    for (int i = 2; i < n && !is_ours((uintptr_t)pc[i]);
         i++) /* 0 and 1: this, the signal's frame */
        if (dladdr(pc[i], &where) && strstr(where.dli_fname, "libhdf5") && (late || may_die))
            leave(THEIRS);
    if (late) leave(LATE);
    waited = SECONDS;
    alarm(SECONDS - IMPATIENT);
}

static void run_child(void (*body)(void *self), void *self)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    dup2(said, 2);
    /* The fuzzer's own handlers would make a finding of a death inside libhdf5. */
    signal(SIGABRT, SIG_DFL);
    signal(SIGALRM, on_alarm);
    __sanitizer_set_death_callback(NULL);
    __asan_set_error_report_callback(on_report);
    begun = time(NULL);
    fuzz_begin_step();
    body(self);
    leave(0);
}

static void show_said(void)
{
    char part[4096];
    ssize_t n;
    lseek(said, 0, SEEK_SET);
    while ((n = read(said, part, sizeof part)) > 0) (void)!write(2, part, (size_t)n);
}

void fuzz_in_child(void (*body)(void *self), void *self, int hdf5_may_die)
{
    static int prepared;
    int status = 0;
    struct rusage used;
    const char *what = NULL;
    if (!prepared++) prepare();
    memset(reached, 0, counted() + 1);
    (void)!ftruncate(said, 0);
    lseek(said, 0, SEEK_SET);
    may_die = hdf5_may_die;
    pid_t child = fork();
    if (child < 0) return;
    if (child == 0) run_child(body, self);
    while (wait4(child, &status, 0, &used) != child)
        if (errno != EINTR) fuzz_finding("the child is lost");
    for (size_t i = 0; i < counted(); i++) __start___sancov_cntrs[i] |= reached[i];
    if (WIFSIGNALED(status)) what = "a signal";
    else if (WEXITSTATUS(status) == LATE) what = "no end after 9 s";
    else if (reached[counted()] || (WEXITSTATUS(status) && WEXITSTATUS(status) != THEIRS))
        what = "a fault in our code";
    else if (WEXITSTATUS(status) && !may_die)
        what = "a fault in libhdf5, outside the reading child";
    else if (used.ru_maxrss > 2048L * 1024) what = "more than 2 GB";
    if (!what) return;
    show_said();
    fuzz_finding(what);
}
