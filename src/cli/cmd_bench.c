/* probflow bench: speed of a training step and of a likelihood right-hand side.
 *
 * Every worker thread runs its own plan, as in training and evaluation.  `limit` is what the
 * same run spent in convolutions, matrix products and attention alone: the speed that would be
 * reached if every memory-bound operator and all bookkeeping cost nothing. */
#include "cli/common.h"

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/plan.h>
#include <probflow/train.h>

#include <omp.h>
#include <string.h>

typedef struct job {
    pf_args args;
    const char *size, *seconds;
    int profile;
    pf_experiment e;
    pf_shape shape;
    pf_net *net;
    float *params;
    int threads;
    double budget; /* seconds a measurement */
} job;

typedef struct bench { /* one worker */
    pf_plan *plan;
    int batch;
    float *x, *cond, *sigma, *out, *gout, *grad;
    uint64_t *sample;
    pf_status status;
    char message[512];
    int passes;
    double seconds, preparing; /* of them in new parameters */
} bench;

static const char default_config[] = "name: bench\n"
                                     "sde: {name: vp}\n"
                                     "model: {name: ddpmpp}\n"
                                     "train: {batch: 64}\n";

static int is_compute(const char *op)
{
    return !strcmp(op, "conv") || !strcmp(op, "linear") || !strcmp(op, "attention");
}

static void bench_free(bench *b)
{
    pf_plan_free(b->plan);
    pf_free(b->x);
    pf_free(b->cond);
    pf_free(b->sigma);
    pf_free(b->out);
    pf_free(b->gout);
    pf_free(b->grad);
    pf_free(b->sample);
}

static pf_status bench_open(const job *j, pf_pass pass, int batch, bench *b)
{
    pf_plan_opt po = {batch, pass, NULL};
    size_t n = (size_t)batch * (size_t)j->shape.h * (size_t)j->shape.w * (size_t)j->shape.c;
    b->batch = batch;
    PF_TRY(pf_plan_create(j->net->graph, &po, &b->plan));
    b->x = pf_zalloc(n * sizeof(float));
    b->sigma = pf_zalloc((size_t)batch * sizeof(float));
    b->cond = pf_zalloc((size_t)batch * sizeof(float));
    b->out = pf_zalloc(n * sizeof(float));
    b->gout = pf_zalloc(n * sizeof(float));
    b->grad = pf_zalloc((pass == PF_PASS_PARAM ? j->net->floats : n) * sizeof(float));
    b->sample = pf_zalloc((size_t)batch * sizeof(uint64_t));
    PF_REQUIRE(b->x && b->cond && b->sigma && b->out && b->gout && b->grad && b->sample,
               PF_EMEM, "no memory for a batch of %d", batch);
    pf_draw d = {1, PF_STREAM_TEST, 0, 0};
    pf_draw_normal(&d, 0, n, b->x);
    d.step = 1;
    pf_draw_normal(&d, 0, n, b->gout);
    for (int i = 0; i < batch; i++) {
        b->cond[i] = 10.0f + (float)i;
        b->sigma[i] = 0.01f * (float)(1 + i);
    }
    PF_TRY(pf_plan_set_params(b->plan, j->params));
    return PF_OK;
}

static pf_status one_pass(const job *j, pf_pass pass, bench *b)
{
    pf_run run = {b->x, b->cond, pass == PF_PASS_PARAM, 1, b->sample, 0, b->sigma};
    if (pass == PF_PASS_PARAM) { /* as in a step */
        double start = pf_seconds();
        PF_TRY(pf_plan_set_params(b->plan, j->params));
        b->preparing += pf_seconds() - start;
    }
    PF_TRY(pf_plan_forward(b->plan, &run, b->out));
    PF_TRY(pf_plan_backward(b->plan, b->gout, pass == PF_PASS_PARAM ? b->grad : NULL,
                            pass == PF_PASS_PARAM ? NULL : b->grad));
    return PF_OK;
}

static pf_status worker(const job *j, pf_pass pass, int batch, bench *b)
{
    PF_TRY(bench_open(j, pass, batch, b));
    PF_TRY(one_pass(j, pass, b)); /* warm-up */
    pf_plan_profile(b->plan, 1);
    b->preparing = 0;
    double start = pf_seconds();
    do {
        PF_TRY(one_pass(j, pass, b));
        b->passes++;
        b->seconds = pf_seconds() - start;
    } while (b->seconds < j->budget || b->passes < 3);
    return PF_OK;
}

static void print_profile(const bench *all, int threads, double total)
{
    enum { MAX = 64 };
    struct {
        const char *op, *backend;
        double forward, backward;
    } sum[MAX] = {{0}};
    int n = 0;
    pf_op_time row;
    for (int t = 0; t < threads; t++) {
        for (int i = 0; pf_plan_profile_row(all[t].plan, i, &row); i++) {
            int k = 0;
            while (k < n && (strcmp(sum[k].op, row.op) || strcmp(sum[k].backend, row.backend)))
                k++;
            if (k == MAX) continue;
            if (k == n) {
                n++;
                sum[k].op = row.op;
                sum[k].backend = row.backend;
            }
            sum[k].forward += row.forward_s;
            sum[k].backward += row.backward_s;
        }
    }
    printf("    %-14s %-8s %9s %9s %7s\n", "operator", "kernel", "forward", "backward",
           "share");
    for (int k = 0; k < n; k++)
        printf("    %-14s %-8s %8.3fs %8.3fs %6.1f%%\n", sum[k].op, sum[k].backend,
               sum[k].forward, sum[k].backward,
               100 * (sum[k].forward + sum[k].backward) / total);
}

static void print_row(const job *j, const char *what, const bench *all, double factor)
{
    double images_s = 0, compute = 0, total = 0;
    size_t bytes = 0;
    pf_op_time row;
    for (int t = 0; t < j->threads; t++) {
        images_s += all[t].passes * all[t].batch / all[t].seconds;
        total += all[t].seconds;
        bytes += pf_plan_bytes(all[t].plan);
        for (int i = 0; pf_plan_profile_row(all[t].plan, i, &row); i++)
            if (is_compute(row.op)) compute += row.forward_s + row.backward_s;
    }
    printf("%-26s %9.2f %10.1f %8.1f%% %9.0f\n", what, images_s,
           images_s * factor * pf_graph_flops(j->net->graph) * 1e-9, 100 * compute / total,
           (double)bytes / 1048576.0);
    if (j->profile) print_profile(all, j->threads, total);
    if (all->preparing > 0)
        printf("%-26s %9.2f ms a step and worker\n", "  preparing weights",
               1e3 * all->preparing / all->passes);
}

static pf_status measure(const job *j, const char *what, pf_pass pass, int batch, double factor)
{
    bench *all = pf_zalloc(sizeof *all * (size_t)j->threads);
    PF_REQUIRE(all, PF_EMEM, "no memory for %d workers", j->threads);
#pragma omp parallel num_threads(j->threads)
    {
        bench *b = &all[omp_get_thread_num()];
        omp_set_num_threads(1);
        b->status = worker(j, pass, batch, b);
        if (b->status) snprintf(b->message, sizeof b->message, "%s", pf_error_message());
    }
    pf_status st = PF_OK;
    for (int t = 0; !st && t < j->threads; t++)
        if (all[t].status) st = pf_error_adopt(all[t].status, all[t].message);
    if (!st) print_row(j, what, all, factor);
    for (int t = 0; t < j->threads; t++) bench_free(&all[t]);
    pf_free(all);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Adam and the average as in a step: every thread its part of one parameter block. */
static pf_status measure_update(const job *j)
{
    enum { ARRAYS = 5 };
    size_t n = j->net->floats / (size_t)j->threads;
    float *all = pf_zalloc(ARRAYS * n * (size_t)j->threads * sizeof *all);
    PF_REQUIRE(all, PF_EMEM, "no memory for the state of %zu parameters", j->net->floats);
    double seconds = 0;
    int updates = 0;
    for (double start = pf_seconds(); seconds < 0.2 * j->budget || updates < 3;
         seconds = pf_seconds() - start, updates++) {
#pragma omp parallel num_threads(j->threads)
        {
            float *v = all + ARRAYS * n * (size_t)omp_get_thread_num();
            pf_adam a = {1e-3, 0.9, 0.999, 1e-8, 0.999, 1.0, 1};
            pf_adam_update(&a, n, v, v + n, v + 2 * n, v + 3 * n, v + 4 * n);
        }
    }
    pf_free(all);
    printf("%-26s %9.2f million parameters/s\n", "optimiser",
           1e-6 * (double)(n * (size_t)j->threads) * updates / seconds);
    return PF_OK;
}

static pf_status read_experiment(job *j)
{
    pf_config *cfg = NULL;
    if (j->args.n_positional) PF_TRY(pf_config_load(j->args.positional[0], &cfg));
    else PF_TRY(pf_config_parse(default_config, "built-in", &cfg));
    PF_TRY(pf_read_experiment(cfg, &j->args, &j->e));
    return PF_OK;
}

/* --size HxWxC, else the shape of the experiment's data, else CIFAR-10's. */
static pf_status find_shape(job *j)
{
    j->shape = (pf_shape){32, 32, 3};
    if (j->size) {
        if (sscanf(j->size, "%dx%dx%d", &j->shape.h, &j->shape.w, &j->shape.c) != 3 ||
            j->shape.h < 1 || j->shape.w < 1 || j->shape.c < 1)
            return pf_usage_error(PF_WHERE, "--size: '%s' is not HxWxC", j->size);
        return PF_OK;
    }
    pf_dataset *d = NULL;
    if (!j->e.data.path[0] || pf_dataset_open(j->e.data.path, "train", &d)) return PF_OK;
    j->shape = pf_dataset_about(d)->shape;
    pf_dataset_close(d);
    return PF_OK;
}

static pf_status bench_all(job *j)
{
    PF_TRY(read_experiment(j));
    PF_TRY(find_shape(j));
    PF_TRY(pf_net_create(&j->e.model, &j->e.sde, j->shape, &j->net));
    PF_REQUIRE(j->net->graph, PF_EARG, "model %s is analytic: bench measures networks",
               j->e.model.ops->name);
    j->params = pf_zalloc(j->net->floats * sizeof(float));
    PF_REQUIRE(j->params, PF_EMEM, "no memory for %zu parameters", j->net->floats);
    pf_graph_init_params(j->net->graph, 1, j->params);
    int batch = j->e.train.batch / j->e.run.shards, group = j->e.likelihood.group;
    printf("%s %dx%dx%d, %.2f M parameters, %.3f GFLOP forward, %d threads, batch %d and group "
           "%d a "
           "thread\n\n",
           j->e.model.ops->name, j->shape.h, j->shape.w, j->shape.c,
           (double)j->net->floats * 1e-6, pf_graph_flops(j->net->graph) * 1e-9, j->threads,
           batch, group);
    printf("%-26s %9s %10s %9s %9s\n", "", "images/s", "GFLOP/s", "of limit", "MiB");
    PF_TRY(measure(j, "training step", PF_PASS_PARAM, batch, 3.0));
    PF_TRY(measure(j, "likelihood evaluation", PF_PASS_VJP, group, 2.0));
    PF_TRY(measure_update(j));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    j->threads = pf_comm_threads(c);
    if (pf_comm_size(c) > 1) return pf_bench_exchange(c, j->budget);
    pf_status st = bench_all(j);
    pf_net_free(j->net);
    pf_free(j->params);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {.budget = 5};
    long seconds = 5;
    const pf_arg flags[] = {{"--size", &j.size, NULL},
                            {"--seconds", &j.seconds, NULL},
                            {"--profile", NULL, &j.profile},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 0, 1, &j.args));
    if (j.seconds) PF_TRY(pf_arg_int("--seconds", j.seconds, 1, 3600, &seconds));
    j.budget = (double)seconds;
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_bench = {
    .name = "bench",
    .usage = "[CONFIG] [--size HxWxC] [--seconds N] [--profile] [--set k=v]...",
    .help = "speed of a training step, of a likelihood evaluation and of the optimiser\n\n"
            "  CONFIG        an experiment; default DDPM++ with published options\n"
            "  --size HxWxC  image shape; default that of the experiment's data, else 32x32x3\n"
            "  --seconds N   a measurement, default 5\n"
            "  --profile     seconds by operator\n\n"
            "of limit: time in convolutions, matrix products and attention over all time.\n"
            "Under mpirun: latency and bandwidth of the exchange between the ranks instead.",
    .run = run,
};
