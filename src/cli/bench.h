/* Inside of `probflow bench`: what is measured, and how it is told. */
#ifndef PROBFLOW_SRC_CLI_BENCH_H
#define PROBFLOW_SRC_CLI_BENCH_H

#include "cli/common.h"

#include <probflow/limit.h>
#include <probflow/train.h>

enum { PF_BENCH_ROUNDS = 4096, PF_BENCH_LEAST = 3 };

typedef struct pf_bench {
    pf_comm *c;
    pf_experiment e;
    pf_space space;
    double parameters, flops; /* of the network; flops: forward, a row */
    int rows;                 /* that a sample takes in training */
    int threads, profile;
    double budget; /* seconds a measurement */
    FILE *csv;     /* NULL: not asked for */
} pf_bench;

/* When a measurement began, and when its first round did that counts; of pf_seconds(). */
typedef struct pf_bench_clock {
    double begun, rounds;
} pf_bench_clock;

/* One kind of work, measured round by round: the work, then its limit. */
typedef struct pf_bench_row {
    const char *what;
    double images, gflop; /* of a round */
    size_t bytes;         /* in memory with everything that the work needs and nothing else */
    size_t peak;          /* the most that the process held so far */
    pf_bench_clock clock;
    int n;                /* rounds */
    double *work, *limit; /* [PF_BENCH_ROUNDS] seconds; limit 0: no library to compare with */
    /* [PF_BENCH_ROUNDS] % of work outside kernels, and those of them in which a worker waited for
     * the others; NULL: not measured */
    double *outside, *idle;
    int bf16;    /* the arithmetic of the limit */
    int n_plans; /* of the workers, with their profiles; borrowed */
    pf_plan **plan;
} pf_bench_row;

/* Local.  Owned; free also after a failure. */
PF_MUST_USE pf_status pf_bench_row_init(pf_bench_row *r, const char *what, int workers);
void pf_bench_row_free(pf_bench_row *r);
/* 1 when n rounds are enough: the budget [s] is spent, opening and warm-up counted, and
 * PF_BENCH_LEAST rounds are done or the rounds alone have spent more than it. */
int pf_bench_enough(double budget, const pf_bench_clock *c, int n);

/* What is printed and written is on its way when a function returns. */
void pf_bench_print_head(const pf_bench *b);
void pf_bench_print_row(const pf_bench *b, const pf_bench_row *r);
/* One number, printed and written. */
typedef struct pf_bench_number {
    const char *what, *unit;
    double low, median, high;
} pf_bench_number;
void pf_bench_print_number(const pf_bench *b, const pf_bench_number *n);
/* Sorts v [n > 0]. */
pf_bench_number pf_bench_spread(const char *what, const char *unit, double *v, int n);

/* The limit of each worker's plan, to be run `times` a round; all NULL in a build without one. */
typedef struct pf_bench_limits {
    int n, times;
    pf_limit **limit;
} pf_bench_limits;
PF_MUST_USE pf_status pf_bench_limits_open(const pf_bench_row *r, int times,
                                           pf_bench_limits *out);
void pf_bench_limits_free(pf_bench_limits *l);
/* All workers at once; seconds 0 without a library. */
PF_MUST_USE pf_status pf_bench_limits_run(const pf_bench_limits *l, double *seconds);

/* The measurements. */
PF_MUST_USE pf_status pf_bench_training(const pf_bench *b);
PF_MUST_USE pf_status pf_bench_likelihood(const pf_bench *b);
PF_MUST_USE pf_status pf_bench_optimiser(const pf_bench *b);
/* The training split of this file, read and cut into batches by one thread. */
PF_MUST_USE pf_status pf_bench_reader(const pf_bench *b, const char *file);
/* `probflow info` of this file, as its own process. */
PF_MUST_USE pf_status pf_bench_startup(const pf_bench *b, const char *file);

#endif
