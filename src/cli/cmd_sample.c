/* probflow sample: draws images from a trained model. */
#include "cli/common.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    pf_args args;
    const char *n_text, *out, *png, *params, *previews_text, *label, *condition;
    long n, previews;
    char previews_png[4200]; /* "": none */
    int unconditional;
    int32_t *labels;    /* [n]; NULL: none given */
    double *conditions; /* [n,C]; NULL: none given */
    pf_loaded model;
    pf_sampling sampling;
} job;

/* --label K, or as many of each class in turn. */
static pf_status take_label(job *j)
{
    long k = 0, classes = j->model.net->space.classes;
    int all = !strcmp(j->label, "all");
    PF_REQUIRE(pf_net_reads(j->model.net, "label"), PF_EARG, "--label: %s reads no labels",
               j->model.path);
    if (!all) PF_TRY(pf_arg_int("--label", j->label, 0, classes - 1, &k));
    j->labels = pf_zalloc((size_t)j->n * sizeof *j->labels);
    PF_REQUIRE(j->labels, PF_EMEM, "no memory for %ld labels", j->n);
    for (long i = 0; i < j->n; i++) j->labels[i] = (int32_t)(all ? i % classes : k);
    return PF_OK;
}

/* --condition V,V,... of all samples. */
static pf_status take_condition(job *j)
{
    int C = j->model.net->space.conditions, found = 0;
    PF_REQUIRE(pf_net_reads(j->model.net, "condition"), PF_EARG,
               "--condition: %s reads no conditions", j->model.path);
    j->conditions = pf_zalloc((size_t)j->n * (size_t)C * sizeof *j->conditions);
    PF_REQUIRE(j->conditions, PF_EMEM, "no memory for %ld conditions", j->n);
    for (const char *at = j->condition; at; found++) {
        char *end;
        double v = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !isfinite(v))
            return pf_usage_error(PF_WHERE, "--condition: '%s' is no list of numbers",
                                  j->condition);
        if (found < C) j->conditions[found] = v;
        at = *end ? end + 1 : NULL;
    }
    if (found != C)
        return pf_usage_error(PF_WHERE, "--condition has %d numbers, %s reads %d", found,
                              j->model.path, C);
    for (long i = 1; i < j->n; i++)
        memcpy(j->conditions + i * C, j->conditions, (size_t)C * sizeof *j->conditions);
    return PF_OK;
}

/* A model that reads something is told it, or the user says that it is not. */
static pf_status take_given(job *j)
{
    const pf_net *net = j->model.net;
    if (j->unconditional && (j->label || j->condition))
        return pf_usage_error(PF_WHERE, "--unconditional tells the model nothing: leave out "
                                        "--label and --condition");
    if (j->label) PF_TRY(take_label(j));
    if (j->condition) PF_TRY(take_condition(j));
    PF_REQUIRE(j->unconditional || j->label || !pf_net_reads(net, "label"), PF_EARG,
               "%s reads a label from 0 to %d: say --label K, --label all or --unconditional",
               j->model.path, net->space.classes - 1);
    PF_REQUIRE(j->unconditional || j->condition || !pf_net_reads(net, "condition"), PF_EARG,
               "%s reads %d condition%s: say --condition or --unconditional", j->model.path,
               net->space.conditions, net->space.conditions == 1 ? "" : "s");
    return PF_OK;
}

static pf_status prepare(job *j)
{
    pf_loaded *m = &j->model;
    pf_sampling *s = &j->sampling;
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->params, m));
    PF_TRY(take_given(j));
    *s = (pf_sampling){.net = m->net,
                       .opt = &m->e.sample,
                       .n = j->n,
                       .previews = (int)j->previews,
                       .label = j->labels,
                       .condition = j->conditions};
    PF_TRY(pf_sampler_find(m->e.sampler, &s->sampler));
    int channels = m->file.space.shape.c;
    PF_REQUIRE(!j->png || channels == 1 || channels == 3, PF_ESHAPE,
               "--png needs images of 1 or 3 channels, the model has %d", channels);
    return PF_OK;
}

static pf_status check_outputs(const job *j)
{
    const char *const used[] = {j->model.path, j->out};
    PF_TRY(pf_take_output(j->out, "arrays/x", used, 1));
    if (j->png) PF_TRY(pf_take_output(j->png, PF_OUTPUT_PNG, used, 2));
    if (j->previews_png[0]) PF_TRY(pf_take_output(j->previews_png, PF_OUTPUT_PNG, used, 2));
    return PF_OK;
}

static pf_status finish(const job *j, double seconds)
{
    const pf_checkpoint *m = &j->model.file;
    pf_sample_files f = {.out = j->out,
                         .png = j->png,
                         .previews = j->previews_png[0] ? j->previews_png : NULL,
                         .config = m->config,
                         .step = m->step,
                         .raw = j->model.raw};
    PF_TRY(pf_sampling_write(&j->sampling, &f));
    pf_progress(1, "sample %ld/%ld", j->n, j->n);
    printf("samples       %ld by %s in %.1f s\nresults       %s\n", j->n,
           j->sampling.sampler->name, seconds, j->out);
    if (j->png) printf("grid          %s\n", j->png);
    if (j->previews_png[0]) printf("previews      %s\n", j->previews_png);
    return PF_OK;
}

static pf_status draw_all(pf_comm *c, job *j)
{
    int root = pf_comm_rank(c) == 0;
    PF_TRY(pf_hold_checkpoint(c, j->args.positional[0], &j->args));
    pf_status st = prepare(j);
    if (!st && root) st = check_outputs(j);
    PF_TRY(pf_comm_agree(c, st));
    PF_TRY(pf_ranks_same_model(c, &j->model));
    double start = pf_seconds();
    PF_TRY(pf_sampling_run(c, &j->sampling));
    PF_TRY(pf_comm_agree(c, root ? finish(j, pf_seconds() - start) : PF_OK));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    pf_status st = draw_all(c, j);
    pf_sampling_free(&j->sampling);
    pf_free(j->labels);
    pf_free(j->conditions);
    pf_loaded_free(&j->model);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* G.png: G-previews.png */
static void name_previews(job *j)
{
    size_t n = strlen(j->png), end = n > 4 && !strcmp(j->png + n - 4, ".png") ? n - 4 : n;
    snprintf(j->previews_png, sizeof j->previews_png, "%.*s-previews.png", (int)end, j->png);
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    const pf_arg flags[] = {{"-n", &j.n_text, NULL},
                            {"--out", &j.out, NULL},
                            {"--png", &j.png, NULL},
                            {"--previews", &j.previews_text, NULL},
                            {"--params", &j.params, NULL},
                            {"--label", &j.label, NULL},
                            {"--condition", &j.condition, NULL},
                            {"--unconditional", NULL, &j.unconditional},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    if (!j.n_text || !j.out)
        return pf_usage_error(PF_WHERE, "sample needs -n N and --out F.h5");
    PF_TRY(pf_arg_int("-n", j.n_text, 1, 10000000, &j.n));
    if (j.previews_text)
        PF_TRY(pf_arg_int("--previews", j.previews_text, 1, 1000, &j.previews));
    if (j.previews && j.png) name_previews(&j);
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_sample = {
    .name = "sample",
    .usage = "RUN_OR_CKPT -n N --out F.h5 [--png grid.png] [--previews P] [--label K|all] "
             "[--condition V,..] [--unconditional] [--params ema|raw] [--set k=v]...",
    .help =
        "draws samples from a trained model\n\n"
        "  -n N          how many; sample i is the same whatever N and the number of ranks\n"
        "  --out F.h5    x (model scale) and images (8 bit)\n"
        "  --png G.png   a grid of them\n"
        "  --previews P  sampler chain: P predictions of each sample on the way, evenly "
        "spaced, the array\n"
        "                previews, and with --png a picture G-previews.png, a row a sample\n"
        "  --label K     of a model that reads labels: the class; all: the classes in turn, "
        "again and again\n"
        "  --condition V[,V...]  of a model that reads conditions: their values, of all "
        "samples\n"
        "  --unconditional  such a model is told none\n"
        "  --params P    ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves\n"
        "  --set K=V     for example --set sample.name=reverse_diffusion, sample.steps=500",
    .run = run,
};
