/* What `probflow bench` says: a table for people, lines "what,unit,min,median,max" for programs. */
#include "cli/bench.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <stdlib.h>
#include <string.h>

pf_status pf_bench_row_init(pf_bench_row *r, const char *what, int workers)
{
    size_t bytes = PF_BENCH_ROUNDS * sizeof(double);
    *r = (pf_bench_row){.what = what,
                        .n_plans = workers,
                        .work = pf_zalloc(bytes),
                        .limit = pf_zalloc(bytes),
                        .plan = pf_zalloc((size_t)workers * sizeof *r->plan)};
    PF_REQUIRE(r->work && r->limit && r->plan, PF_EMEM, "no memory for measurements");
    return PF_OK;
}

void pf_bench_row_free(pf_bench_row *r)
{
    pf_free(r->work);
    pf_free(r->limit);
    pf_free(r->outside);
    pf_free(r->idle);
    pf_free(r->plan);
}

int pf_bench_enough(double budget, const pf_bench_clock *c, int n)
{
    double now = pf_seconds();
    if (n < 1 || n == PF_BENCH_ROUNDS) return n > 0;
    return now - c->begun >= budget && (n >= PF_BENCH_LEAST || now - c->rounds > budget);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

pf_bench_number pf_bench_spread(const char *what, const char *unit, double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_size);
    double median = 0.5 * (v[(n - 1) / 2] + v[n / 2]);
    return (pf_bench_number){what, unit, v[0], median, v[n - 1]};
}

/* A pipe shows a row when it is done, and an end by a time limit loses none. */
static void flush(const pf_bench *b)
{
    if (b->csv) fflush(b->csv);
    fflush(stdout);
}

static void write_line(const pf_bench *b, const pf_bench_number *n)
{
    if (b->csv)
        fprintf(b->csv, "%s,%s,%.6g,%.6g,%.6g\n", n->what, n->unit, n->low, n->median, n->high);
}

void pf_bench_print_number(const pf_bench *b, const pf_bench_number *n)
{
    char text[96], of[3][24];
    const double v[3] = {n->low, n->median, n->high};
    for (int i = 0; i < 3; i++)
        snprintf(of[i], sizeof of[i], v[i] < 1000 ? "%.4g" : "%.0f", v[i]);
    if (n->low < n->high) snprintf(text, sizeof text, "%s  (%s to %s)", of[1], of[0], of[2]);
    else snprintf(text, sizeof text, "%s", of[1]);
    printf("%-26s %-30s %s\n", n->what, text, n->unit);
    write_line(b, n);
    flush(b);
}

void pf_bench_print_head(const pf_bench *b)
{
    printf("%-26s %9s %10s %26s %9s %9s\n", "", "images/s", "GFLOP/s",
           "of limit, min/median/max", "compute", "MiB");
    if (b->csv) fputs(PF_BENCH_HEAD, b->csv);
    flush(b);
}

static int is_compute(const char *op)
{
    return !strcmp(op, "conv") || !strcmp(op, "linear") || !strcmp(op, "attention");
}

typedef struct op_sum {
    const char *op, *backend;
    double prepare, forward, backward, gflop;
} op_sum;

enum { OPS_MAX = 64 };

/* Sums over plans and operators of a kind and kernel. */
static int collect(const pf_bench_row *r, op_sum sum[OPS_MAX])
{
    int n = 0;
    pf_op_time row;
    for (int t = 0; t < r->n_plans; t++)
        for (int i = 0; pf_plan_profile_row(r->plan[t], i, &row); i++) {
            int k = 0;
            while (k < n && (strcmp(sum[k].op, row.op) || strcmp(sum[k].backend, row.backend)))
                k++;
            if (k == OPS_MAX) continue;
            if (k == n) sum[n++] = (op_sum){.op = row.op, .backend = row.backend};
            sum[k].prepare += row.prepare_s;
            sum[k].forward += row.forward_s;
            sum[k].backward += row.backward_s;
            sum[k].gflop += row.gflop_forward;
        }
    return n;
}

static void print_profile(const op_sum *sum, int n, double total)
{
    printf("    %-14s %-8s %9s %9s %9s %7s\n", "operator", "kernel", "prepare", "forward",
           "backward", "share");
    for (int k = 0; k < n; k++) {
        double all = sum[k].prepare + sum[k].forward + sum[k].backward;
        if (all < 5e-4 * total) continue;
        printf("    %-14s %-8s %8.3fs %8.3fs %8.3fs %6.1f%%\n", sum[k].op, sum[k].backend,
               sum[k].prepare, sum[k].forward, sum[k].backward, 100 * all / total);
    }
}

/* What else a training step holds. */
static void print_step(const pf_bench *b, const pf_bench_row *r, const op_sum *sum, int n)
{
    double ms = 0, peak = (double)r->peak / 1048576.0;
    for (int k = 0; k < n; k++) ms += 1e3 * sum[k].prepare / r->n / r->n_plans;
    const pf_bench_number all[] = {
        pf_bench_spread("  outside kernels", "% of the step", r->outside, r->n),
        pf_bench_spread("  idle workers", "% of the step", r->idle, r->n),
        {"  preparing weights", "ms a step and worker", ms, ms, ms},
        {"  memory at its peak", "MiB", peak, peak, peak}};
    for (int i = 0; i < 4; i++) pf_bench_print_number(b, &all[i]);
}

/* work and limit turn into images/s and shares. */
void pf_bench_print_row(const pf_bench *b, const pf_bench_row *r)
{
    op_sum sum[OPS_MAX];
    int n = collect(r, sum);
    double total = 0, compute = 0, ratio[PF_BENCH_ROUNDS], rate[PF_BENCH_ROUNDS];
    for (int i = 0; i < r->n; i++) {
        total += r->work[i] * r->n_plans;
        rate[i] = r->images / r->work[i];
        ratio[i] = 100 * r->limit[i] / r->work[i];
    }
    for (int k = 0; k < n; k++)
        if (is_compute(sum[k].op)) compute += sum[k].prepare + sum[k].forward + sum[k].backward;
    pf_bench_number images = pf_bench_spread(r->what, "images/s", rate, r->n);
    pf_bench_number of = pf_bench_spread(r->what, "% of limit", ratio, r->n);
    double scale = r->gflop / r->images, share = 100 * compute / total,
           mib = (double)r->bytes / 1048576.0;
    pf_bench_number gflop = {r->what, "GFLOP/s", scale * images.low, scale * images.median,
                             scale * images.high};
    pf_bench_number in = {r->what, "% compute", share, share, share};
    pf_bench_number memory = {r->what, "MiB", mib, mib, mib};
    char limit[64] = "-";
    if (of.high > 0)
        snprintf(limit, sizeof limit, "%.1f/%.1f/%.1f%%", of.low, of.median, of.high);
    printf("%-26s %9.2f %10.1f %26s %8.1f%% %9.0f\n", r->what, images.median, gflop.median,
           limit, share, mib);
    if (b->profile) print_profile(sum, n, total);
    write_line(b, &images);
    write_line(b, &gflop);
    if (of.high > 0) write_line(b, &of);
    write_line(b, &in);
    write_line(b, &memory);
    if (r->outside) print_step(b, r, sum, n);
    flush(b);
}
