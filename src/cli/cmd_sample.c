/* probflow sample: draws images from a trained model. */
#include "cli/common.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>

enum { BATCH = 32 }; /* samples an item of the queue; a sample does not depend on it */

typedef struct job {
    pf_args args;
    const char *n_text, *out, *png, *params;
    long n;
    size_t dim;
    pf_loaded model;
    const pf_sampler_ops *sampler;
    pf_score *scores; /* [threads] */
    double *x;        /* rank 0: [n,D] model scale */
    double evaluations;
    int64_t finished;
} job;

typedef struct piece { /* what a worker sends back */
    int64_t evaluations;
    double x[];
} piece;

static int piece_size(const job *j, int64_t item)
{
    int64_t left = j->n - item * BATCH;
    return (int)(left < BATCH ? left : BATCH);
}

static pf_status work(void *self, int worker, int64_t item, void *result)
{
    job *j = self;
    piece *p = result;
    pf_score *score = &j->scores[worker];
    if (!score->eval) PF_TRY(pf_net_score(j->model.net, BATCH, 0, &j->scores[0], score));
    PF_TRY(j->sampler->draw(&j->model.net->sde, score, &j->model.e.sample, item * BATCH,
                            piece_size(j, item), p->x, &p->evaluations));
    return PF_OK;
}

static pf_status done(void *self, int64_t item, const void *result)
{
    job *j = self;
    const piece *p = result;
    int n = piece_size(j, item);
    memcpy(j->x + (size_t)(item * BATCH) * j->dim, p->x, sizeof(double) * (size_t)n * j->dim);
    j->evaluations += (double)p->evaluations;
    j->finished += n;
    if (pf_progress_due()) pf_progress(0, "sample %lld/%ld", (long long)j->finished, j->n);
    return PF_OK;
}

/* Model scale [-1,1] to pixels: the bin that holds the value, as dequantised data are made. */
static uint8_t *to_pixels(const job *j)
{
    const pf_space bytes = {.kind = PF_LEVELS, .levels = 256};
    size_t n = (size_t)j->n * j->dim;
    uint8_t *p = pf_zalloc(n);
    if (p) pf_from_model(&bytes, n, j->x, p);
    return p;
}

static pf_status write_files(const job *j, const uint8_t *pixels)
{
    pf_shape s = j->model.file.shape;
    pf_out_array arrays[] = {
        {"x", 4, {j->n, s.h, s.w, s.c}, j->x, NULL, NULL},
        {"images", 4, {j->n, s.h, s.w, s.c}, NULL, NULL, pixels},
    };
    pf_out_attr attrs[] = {
        {"sampler", j->sampler->name, 0},
        {"config", j->model.file.config, 0},
        {"step", NULL, (double)j->model.file.step},
        {"evaluations", NULL, j->evaluations},
        {"params", "raw", 0},
    };
    PF_TRY(pf_store_write(j->out, arrays, 2, attrs, j->model.raw ? 5 : 4));
    int columns = (int)ceil(sqrt((double)j->n));
    if (j->png) PF_TRY(pf_png_grid(j->png, pixels, (int)j->n, s, columns));
    return PF_OK;
}

static pf_status finish(job *j, double seconds)
{
    uint8_t *pixels = to_pixels(j);
    PF_REQUIRE(pixels, PF_EMEM, "no memory for %ld images", j->n);
    pf_status st = write_files(j, pixels);
    pf_free(pixels);
    PF_TRY(st);
    pf_progress(1, "sample %ld/%ld", j->n, j->n);
    printf("samples       %ld by %s in %.1f s\nresults       %s\n", j->n, j->sampler->name,
           seconds, j->out);
    if (j->png) printf("grid          %s\n", j->png);
    return PF_OK;
}

static pf_status prepare(job *j, int threads, int root)
{
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->params, &j->model));
    PF_TRY(pf_sampler_find(j->model.e.sampler, &j->sampler));
    pf_shape s = j->model.file.shape;
    j->dim = pf_shape_entries(s);
    PF_REQUIRE(!j->png || s.c == 1 || s.c == 3, PF_ESHAPE,
               "--png needs images of 1 or 3 channels, the model has %d", s.c);
    j->scores = pf_zalloc(sizeof *j->scores * (size_t)threads);
    if (root) j->x = pf_zalloc(sizeof *j->x * (size_t)j->n * j->dim);
    PF_REQUIRE(j->scores && (j->x || !root), PF_EMEM, "no memory for %ld samples", j->n);
    /* before the other workers start, since it has the prepared weights of all */
    PF_TRY(pf_net_score(j->model.net, BATCH, 0, NULL, &j->scores[0]));
    return PF_OK;
}

static pf_status check_outputs(const job *j)
{
    const char *const used[] = {j->model.path, j->out};
    PF_TRY(pf_take_output(j->out, "arrays/x", used, 1));
    if (j->png) PF_TRY(pf_take_output(j->png, PF_OUTPUT_PNG, used, 2));
    return PF_OK;
}

static pf_status draw_all(pf_comm *c, job *j)
{
    int threads = pf_comm_threads(c), root = pf_comm_rank(c) == 0;
    PF_TRY(pf_hold_checkpoint(c, j->args.positional[0], &j->args));
    pf_status st = prepare(j, threads, root);
    if (!st && root) st = check_outputs(j);
    PF_TRY(pf_comm_agree(c, st));
    PF_TRY(pf_ranks_same_model(c, &j->model));
    double start = pf_seconds();
    pf_queue_job q = {
        .n = (j->n + BATCH - 1) / BATCH,
        .result_bytes = sizeof(piece) + sizeof(double) * BATCH * j->dim,
        .threads = threads,
        .self = j,
        .work = work,
        .done = done,
    };
    st = pf_queue_run(c, &q);
    for (int i = 0; i < threads; i++) pf_score_free(&j->scores[i]);
    PF_TRY(st);
    PF_TRY(pf_comm_agree(c, root ? finish(j, pf_seconds() - start) : PF_OK));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    pf_status st = draw_all(c, j);
    pf_free(j->scores);
    pf_free(j->x);
    pf_loaded_free(&j->model);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    const pf_arg flags[] = {{"-n", &j.n_text, NULL},
                            {"--out", &j.out, NULL},
                            {"--png", &j.png, NULL},
                            {"--params", &j.params, NULL},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    if (!j.n_text || !j.out)
        return pf_usage_error(PF_WHERE, "sample needs -n N and --out F.h5");
    PF_TRY(pf_arg_int("-n", j.n_text, 1, 10000000, &j.n));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_sample = {
    .name = "sample",
    .usage = "RUN_OR_CKPT -n N --out F.h5 [--png grid.png] [--params ema|raw] [--set k=v]...",
    .help =
        "draws samples from a trained model\n\n"
        "  -n N          how many; sample i is the same whatever N and the number of ranks\n"
        "  --out F.h5    x (model scale) and images (8 bit)\n"
        "  --png G.png   a grid of them\n"
        "  --params P    ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves\n"
        "  --set K=V     for example --set sample.name=reverse_diffusion, sample.steps=500",
    .run = run,
};
