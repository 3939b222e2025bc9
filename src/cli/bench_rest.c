/* The optimiser alone, the reader, and the start of a process. */
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

/* ---- reader ---- */

/* One thread reads all rows from the file, then makes batches of them for the rest of the time. */
typedef struct reading {
    float *x;                                                     /* [batch,D] */
    double from_file[PF_BENCH_ROUNDS], to_batch[PF_BENCH_ROUNDS]; /* rows/s */
} reading;

static PF_MUST_USE pf_status read_once(const pf_bench *b, pf_dataset *d, reading *r, int k)
{
    pf_shard *s = NULL;
    int batch = b->e.train.batch;
    double since = pf_seconds();
    PF_TRY(pf_shard_open(d, &b->e.data, 0, 1, b->e.run.seed, &s));
    double read = pf_seconds();
    int64_t steps = 1 + (pf_shard_size(s) - 1) / batch;
    for (int64_t i = 0; i < steps; i++) pf_shard_batch(s, i, batch, r->x);
    double done = pf_seconds();
    r->from_file[k] = (double)pf_shard_size(s) / (read - since);
    r->to_batch[k] = (double)(steps * batch) / (done - read);
    pf_shard_free(s);
    return PF_OK;
}

static PF_MUST_USE pf_status read_rounds(const pf_bench *b, pf_dataset *d, reading *r, int *n)
{
    double begun = pf_seconds();
    const pf_bench_clock clock = {begun, begun};
    while (!pf_bench_enough(0.2 * b->budget, &clock, *n)) {
        PF_TRY(read_once(b, d, r, *n));
        ++*n;
    }
    return PF_OK;
}

pf_status pf_bench_reader(const pf_bench *b, const char *file)
{
    pf_dataset *d = NULL;
    int n = 0;
    reading *r = pf_zalloc(sizeof *r);
    PF_REQUIRE(r, PF_EMEM, "no memory for measurements");
    r->x =
        pf_zalloc((size_t)b->e.train.batch * pf_shape_entries(b->space.shape) * sizeof *r->x);
    pf_status st = r->x ? pf_dataset_open(file, "train", &d)
                        : pf_raise(PF_EMEM, PF_WHERE, "no memory for a batch");
    if (!st) st = read_rounds(b, d, r, &n);
    if (!st) {
        pf_bench_number from = pf_bench_spread("reader: file to memory", "rows/s", r->from_file,
                                               n),
                        to = pf_bench_spread("reader: memory to batch", "rows/s", r->to_batch,
                                             n);
        pf_bench_print_number(b, &from);
        pf_bench_print_number(b, &to);
    }
    pf_dataset_close(d);
    pf_free(r->x);
    pf_free(r);
    pf_alloc_trim();
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- start ---- */

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
