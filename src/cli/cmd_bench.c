/* probflow bench: speed of real training steps and of likelihood right-hand sides, beside the
 * library's bare matrix work, taken in turns within the same run.
 *
 * Every worker thread runs its own plan, as in training and evaluation. */
#include "cli/bench.h"

#include <probflow/file.h>
#include <probflow/memory.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
    pf_bench b;
    pf_args args;
    const char *size, *tokens, *seconds, *csv;
    char folder[256], made[272]; /* dataset of noise, removed at the end; "": none */
} job;

enum { SHARDS_MAX = 256 };

/* The published DDPM++, or a transformer of tokens, with eight rows a step, a shard a thread. */
static PF_MUST_USE pf_status default_config(const job *j, pf_config **out)
{
    char text[256];
    int shards = 1;
    while (2 * shards <= j->b.threads && shards < SHARDS_MAX) shards *= 2;
    snprintf(text, sizeof text,
             "name: bench\nshards: %d\n%s\ntrain: {batch: %d}\nlikelihood: {group: 8}\n",
             shards,
             j->tokens ? "method: {name: masked}\nmodel: {name: transformer, depth: 12}"
                       : "sde: {name: vp}\nmodel: {name: ddpmpp}",
             shards > 8 ? shards : 8);
    return pf_config_parse(text, "built-in", out);
}

static PF_MUST_USE pf_status read_experiment(job *j)
{
    pf_config *cfg = NULL;
    if (j->args.n_positional) PF_TRY(pf_config_load(j->args.positional[0], &cfg));
    else PF_TRY(default_config(j, &cfg));
    PF_TRY(pf_experiment_take(cfg, j->args.n_sets, j->args.sets, &j->b.e));
    PF_REQUIRE(j->b.e.model.ops->build, PF_EARG,
               "model %s is analytic: bench measures networks", j->b.e.model.ops->name);
    return PF_OK;
}

/* A training split of noise in the shape to be measured: speed does not depend on the values.  It has rows enough to
 * measure how they are read. */
enum { NOISE_BYTES = 1 << 22 };
static PF_MUST_USE pf_status make_data(job *j)
{
    const pf_space *s = &j->b.space;
    const char *tmp = getenv("TMPDIR");
    int64_t n = 4 * (int64_t)j->b.e.train.batch, row = (int64_t)pf_shape_entries(s->shape);
    if (n < NOISE_BYTES / row) n = NOISE_BYTES / row;
    size_t bytes = (size_t)(n * row);
    snprintf(j->folder, sizeof j->folder,
             "%.200s/probflow-bench-"
             "XX"
             "XX"
             "XX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(j->folder)) {
        j->folder[0] = 0;
        PF_FAIL(PF_EIO, "cannot create a folder in %s: %s", tmp ? tmp : "/tmp",
                strerror(errno));
    }
    snprintf(j->made, sizeof j->made, "%s/noise.h5", j->folder);
    uint8_t *pixels = pf_zalloc(bytes);
    PF_REQUIRE(pixels, PF_EMEM, "no memory for %lld images", (long long)n);
    for (size_t i = 0; i < bytes; i++) {
        uint8_t k = (uint8_t)((i * 2654435761u) >> 16);
        pixels[i] = s->kind == PF_TOKENS ? (uint8_t)(k % s->levels) : k;
    }
    pf_dataset_info info = {.name = "noise", .space = *s};
    pf_dataset_split split = {.split = "train", .n = n, .values = pixels};
    pf_status st = pf_dataset_write(j->made, &info, &split, 1);
    pf_free(pixels);
    PF_TRY(st);
    snprintf(j->b.e.data.path, sizeof j->b.e.data.path, "%s", j->made);
    j->b.e.data.limit = 0;
    return PF_OK;
}

/* The experiment's data; where it is absent or --size HxWxC or --tokens K,L is given, noise of that shape (default:
 * CIFAR-10's). */
static PF_MUST_USE pf_status find_data(job *j)
{
    pf_dataset *d = NULL;
    pf_space *s = &j->b.space;
    *s = (pf_space){PF_LEVELS, {32, 32, 3}, 256, 0, 0};
    char more;
    if (j->tokens) {
        *s = (pf_space){.kind = PF_TOKENS, .shape = {1, 1, 1}};
        if (j->size || sscanf(j->tokens, "%d,%d%c", &s->levels, &s->shape.c, &more) != 2 ||
            s->levels < 2 || s->levels > 256 || s->shape.c < 1)
            return pf_usage_error(PF_WHERE,
                                  "--tokens: '%s' is not K,L: 2 to 256 symbols and "
                                  "the length of a row, without --size",
                                  j->tokens);
    } else if (j->size) {
        pf_shape *z = &s->shape;
        if (sscanf(j->size, "%dx%dx%d%c", &z->h, &z->w, &z->c, &more) != 3 || z->h < 1 ||
            z->w < 1 || z->c < 1)
            return pf_usage_error(PF_WHERE, "--size: '%s' is not HxWxC", j->size);
    } else if (j->b.e.data.path[0] && !pf_dataset_open(j->b.e.data.path, "train", &d)) {
        pf_status st = pf_experiment_space(&j->b.e, d, s);
        pf_dataset_close(d);
        return st ? pf_trail(st, PF_WHERE) : PF_OK;
    }
    return make_data(j);
}

static PF_MUST_USE pf_status weigh(pf_bench *b)
{
    pf_net *net = NULL;
    PF_TRY(pf_net_create(&b->e.model, &b->e.method, &b->space, &net));
    b->parameters = (double)net->floats;
    b->flops = pf_graph_flops(net->graph);
    b->rows = pf_net_rows(net);
    pf_net_free(net);
    return PF_OK;
}

static void describe(const job *j)
{
    const pf_bench *b = &j->b;
    const pf_experiment *e = &b->e;
    pf_print_machine(b->c);
    printf("%s %dx%dx%d, %.2f M parameters, %.3f GFLOP forward\n"
           "%d threads, a step of %d images in %d shards, a group of %d a thread, "
           "%s\n\n",
           e->model.ops->name, b->space.shape.h, b->space.shape.w, b->space.shape.c,
           1e-6 * b->parameters, 1e-9 * b->flops, b->threads, e->train.batch, e->run.shards,
           e->likelihood.group, j->made[0] ? "noise" : e->data.path);
}

/* Line by line, so that an end by a time limit loses none; an older table ends only here. */
static PF_MUST_USE pf_status open_csv(job *j)
{
    const char *const used[] = {j->args.positional[0], j->b.e.data.path};
    char target[PATH_MAX];
    if (!j->csv) return PF_OK;
    PF_TRY(pf_take_output(j->csv, PF_OUTPUT_CSV PF_BENCH_HEAD, used, 2));
    PF_TRY(pf_file_target(j->csv, target));
    j->b.csv = fopen(target, "we");
    PF_REQUIRE(j->b.csv, PF_EIO, "cannot write %s: %s", j->csv, strerror(errno));
    return PF_OK;
}

static PF_MUST_USE pf_status measure_all(job *j)
{
    PF_TRY(read_experiment(j));
    PF_TRY(find_data(j));
    PF_TRY(weigh(&j->b));
    PF_TRY(open_csv(j));
    describe(j);
    pf_bench_print_head(&j->b);
    PF_TRY(pf_bench_training(&j->b));
    PF_TRY(pf_bench_likelihood(&j->b));
    printf("\n");
    PF_TRY(pf_bench_optimiser(&j->b));
    PF_TRY(pf_bench_reader(&j->b, j->b.e.data.path));
    PF_TRY(pf_bench_startup(&j->b, j->b.e.data.path));
    return PF_OK;
}

static PF_MUST_USE pf_status close_csv(job *j, pf_status st)
{
    if (!j->b.csv) return st;
    int bad = ferror(j->b.csv) | fclose(j->b.csv);
    if (!st && bad) return pf_raise(PF_EIO, PF_WHERE, "cannot write %s", j->csv);
    return st;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    j->b.c = c;
    j->b.threads = pf_comm_threads(c);
    if (pf_comm_size(c) > 1) return pf_bench_exchange(c, j->b.budget);
    pf_status st = close_csv(j, measure_all(j));
    if (j->made[0]) unlink(j->made);
    if (j->folder[0]) rmdir(j->folder);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {.b = {.budget = 5}};
    long seconds = 5;
    const pf_arg flags[] = {{"--size", &j.size, NULL},         {"--tokens", &j.tokens, NULL},
                            {"--seconds", &j.seconds, NULL},   {"--csv", &j.csv, NULL},
                            {"--profile", NULL, &j.b.profile}, {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 0, 1, &j.args));
    if (j.seconds) PF_TRY(pf_arg_int("--seconds", j.seconds, 1, 3600, &seconds));
    j.b.budget = (double)seconds;
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_bench = {
    .name = "bench",
    .usage = "[CONFIG] [--size HxWxC | --tokens K,L] [--seconds N] [--profile] [--csv FILE] "
             "[--set k=v]...",
    .help =
        "speed of training steps and of the likelihood, and how near the limit they come\n\n"
        "  CONFIG        an experiment; default DDPM++ with published options, 8 images a "
        "step\n"
        "  --size HxWxC  image shape, of noise; default the experiment's data, where it is\n"
        "                there, else noise of 32x32x3\n"
        "  --tokens K,L  rows of L symbols of K, of noise; without CONFIG of a transformer of "
        "12\n"
        "                layers\n"
        "  --seconds N   for each measurement, default 5; opening and warm-up count.  At least "
        "3\n"
        "                rounds are made, fewer where rounds alone take longer than N: the "
        "longest\n"
        "                is N, the opening, one warm-up and one round.  Rows come as they are "
        "done\n"
        "  --profile     seconds by operator, of all workers\n"
        "  --csv FILE    everything as lines: what,unit,min,median,max\n\n"
        "training step: whole steps as train takes them: data, objective, exchange, "
        "optimiser.\n"
        "likelihood evaluation: value and vector-Jacobian product of a group on every thread.\n"
        "of limit: time of the convolutions, linear maps and products of attention alone, as "
        "bare\n"
        "oneDNN primitives of the same shapes on the same threads (direct convolution, "
        "weights\n"
        "prepared beforehand; in bf16 where training is), over the time of the whole; the two "
        "take turns.  More\n"
        "than 100 % is possible: convolutions of our own do with fewer multiplications.\n"
        "reader: rows that one thread takes from the file, and puts into batches.\n"
        "compute: share of the time in convolutions, linear maps and attention.\n"
        "MiB: what the process holds in memory, libraries and all; at its peak: the most until "
        "the\n"
        "training steps were measured (VmHWM), the libraries it is compared with not yet "
        "made.\n"
        "Under mpirun: latency and bandwidth of the exchange between the ranks instead.",
    .run = run,
};
