/* The optimiser alone, and the start of a process. */
#include "cli/bench.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <fcntl.h>
#include <omp.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ARRAYS = 5, STARTS = 21 };

/* Adam and the average as in a step: every thread its part of one parameter block. */
static double update_once(const pf_bench *b, float *all, size_t n)
{
    double since = pf_seconds();
#pragma omp parallel num_threads(b->threads)
    {
        float *v = all + ARRAYS * n * (size_t)omp_get_thread_num();
        pf_adam a = {1e-3, 0.9, 0.999, 1e-8, 0.999, 1.0, 1};
        pf_adam_update(&a, n, v, v + n, v + 2 * n, v + 3 * n, v + 4 * n);
    }
    return pf_seconds() - since;
}

pf_status pf_bench_optimiser(const pf_bench *b)
{
    size_t n = (size_t)b->parameters / (size_t)b->threads;
    float *all = pf_zalloc(ARRAYS * n * (size_t)b->threads * sizeof *all);
    PF_REQUIRE(all, PF_EMEM, "no memory for the state of the optimiser");
    double rate[PF_BENCH_ROUNDS], begun = pf_seconds();
    const pf_bench_clock clock = {begun, begun};
    int k = 0;
    while (!pf_bench_enough(0.2 * b->budget, &clock, k))
        rate[k++] = 1e-6 * (double)(n * (size_t)b->threads) / update_once(b, all, n);
    pf_free(all);
    pf_alloc_trim();
    pf_bench_number number = pf_bench_spread("optimiser", "million parameters/s", rate, k);
    pf_bench_print_number(b, &number);
    return PF_OK;
}

/* Seconds of one `probflow info file`; < 0 when it fails. */
static double start_once(const char *self, const char *file)
{
    char *argv[] = {(char *)"probflow", (char *)"info", (char *)file, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;
    if (posix_spawn_file_actions_init(&actions)) return -1.0;
    double since = pf_seconds();
    if (!posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) &&
        !posix_spawn(&pid, self, &actions, NULL, argv, environ) &&
        waitpid(pid, &status, 0) != pid)
        status = -1;
    double seconds = pf_seconds() - since;
    posix_spawn_file_actions_destroy(&actions);
    return status == 0 ? seconds : -1.0;
}

pf_status pf_bench_startup(const pf_bench *b, const char *file)
{
    double ms[STARTS], begun = pf_seconds();
    const pf_bench_clock clock = {begun, begun};
    char self[4096];
    int k = 0;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) return PF_OK; /* a system that does not tell */
    self[n] = 0;
    while (k < STARTS && !pf_bench_enough(b->budget, &clock, k)) {
        double seconds = start_once(self, file);
        PF_REQUIRE(seconds >= 0, PF_EIO, "probflow info %s fails", file);
        ms[k++] = 1e3 * seconds;
    }
    pf_bench_number number = pf_bench_spread("start of probflow info", "ms", ms, k);
    pf_bench_print_number(b, &number);
    return PF_OK;
}
