/* probflow classify: how well a classifier names the images of a split. */
#include "cli/common.h"

#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/scoring.h>

#include <math.h>
#include <string.h>

enum { BATCH = 64 };

typedef struct job {
    pf_args args;
    const char *data, *split, *limit, *out, *params;
    pf_loaded model;
    pf_dataset *set;
    pf_classifier classifier;
    int64_t n;
    int K;
    uint8_t *levels;              /* [BATCH,D] */
    double *x;                    /* [BATCH,D] */
    double *log_p;                /* [BATCH,K] */
    int32_t *label;               /* [n] */
    int64_t *image, *told, *best; /* [n] */
    double *nats;                 /* [n] -log p of the label */
} job;

static PF_MUST_USE pf_status check_data(job *j)
{
    char why[256];
    const pf_dataset_info *about = pf_dataset_about(j->set);
    const pf_space *space = &j->model.net->space;
    PF_REQUIRE(pf_space_same(&about->space, space, why, sizeof why), PF_ESHAPE, "%s: %s",
               j->data, why);
    PF_REQUIRE(about->has_labels, PF_EARG, "split %s of %s has no labels to compare with",
               j->split, j->data);
    long limit = 0;
    if (j->limit) PF_TRY(pf_arg_int("--limit", j->limit, 1, 1000000000, &limit));
    j->n = limit && limit < about->n ? limit : about->n;
    PF_REQUIRE(j->n > 0, PF_EARG, "split %s of %s is empty", j->split, j->data);
    return PF_OK;
}

static PF_MUST_USE pf_status prepare(job *j)
{
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->params, &j->model));
    PF_TRY(pf_data_or_stored(&j->model, &j->data));
    PF_TRY(pf_dataset_open(j->data, j->split, &j->set));
    PF_TRY(check_data(j));
    pf_view_opt o = {.batch = BATCH};
    PF_TRY(pf_net_classifier(j->model.net, &o, &j->classifier));
    size_t D = pf_shape_entries(j->model.net->space.shape), n = (size_t)j->n;
    j->K = j->classifier.classes;
    j->levels = pf_zalloc(BATCH * D);
    j->x = pf_zalloc(BATCH * D * sizeof *j->x);
    j->log_p = pf_zalloc(BATCH * (size_t)j->K * sizeof *j->log_p);
    j->label = pf_zalloc(n * sizeof *j->label);
    j->image = pf_zalloc(3 * n * sizeof *j->image);
    j->nats = pf_zalloc(n * sizeof *j->nats);
    PF_REQUIRE(j->levels && j->x && j->log_p && j->label && j->image && j->nats, PF_EMEM,
               "no memory for %lld images", (long long)j->n);
    j->told = j->image + n;
    j->best = j->told + n;
    PF_TRY(pf_dataset_labels(j->set, 0, j->n, j->label));
    for (int64_t i = 0; i < j->n; i++)
        PF_REQUIRE(j->label[i] >= 0 && j->label[i] < j->K, PF_EARG,
                   "image %lld of %s has label %d, and the classifier knows %d classes",
                   (long long)i, j->data, j->label[i], j->K);
    if (j->out) {
        const char *const used[] = {j->model.path, j->data};
        PF_TRY(pf_take_output(j->out, PF_OUTPUT_CSV "image,label", used, 2));
    }
    return PF_OK;
}

static PF_MUST_USE pf_status classify(job *j, int64_t first, int B)
{
    const pf_space *space = &j->model.net->space;
    size_t D = pf_shape_entries(space->shape);
    uint64_t sample[BATCH];
    for (int b = 0; b < B; b++) sample[b] = (uint64_t)(first + b);
    PF_TRY(pf_dataset_images(j->set, first, B, j->levels));
    pf_to_model(space, PF_GRID_PUBLISHED, (size_t)B * D, j->levels, NULL, j->x);
    const pf_batch b = {
        .space = space, .B = B, .first = first, .total = j->n, .sample = sample, .eval = 1};
    PF_TRY(j->classifier.log_p(j->classifier.self, &b, 0, j->x, j->log_p));
    for (int s = 0; s < B; s++) {
        const double *p = j->log_p + s * j->K;
        int64_t i = first + s;
        int best = 0;
        for (int k = 1; k < j->K; k++) best = p[k] > p[best] ? k : best;
        j->image[i] = i;
        j->told[i] = j->label[i];
        j->best[i] = best;
        j->nats[i] = -p[j->label[i]];
    }
    return PF_OK;
}

static PF_MUST_USE pf_status report(const job *j)
{
    char bar[2][32];
    int64_t named = 0;
    double n = (double)j->n, mean = 0.0, spread = 0.0;
    for (int64_t i = 0; i < j->n; i++) {
        named += j->best[i] == j->told[i];
        mean += j->nats[i] / n;
    }
    for (int64_t i = 0; i < j->n; i++) spread += (j->nats[i] - mean) * (j->nats[i] - mean);
    double right = (double)named / n, none = j->n > 1 ? 0.0 : NAN;
    printf("images        %lld of the %s split of %s\n", (long long)j->n, j->split, j->data);
    printf("accuracy      %.4f +- %s\n", right,
           pf_error_bar(none + sqrt(right * (1.0 - right) / fmax(n - 1.0, 1.0)), 4, bar[0]));
    printf("cross entropy %.4f +- %s nats an image\n", mean,
           pf_error_bar(none + sqrt(spread / fmax(n - 1.0, 1.0) / n), 4, bar[1]));
    if (!j->out) return PF_OK;
    const pf_column columns[] = {{.name = "image", .width = 1, .i64 = j->image},
                                 {.name = "label", .width = 1, .i64 = j->told},
                                 {.name = "best", .width = 1, .i64 = j->best},
                                 {.name = "nats", .width = 1, .f64 = j->nats}};
    PF_TRY(pf_csv_write(j->out, PF_OUTPUT_CSV "image,label", j->n, columns, 4));
    printf("results       %s\n", j->out);
    return PF_OK;
}

static PF_MUST_USE pf_status classify_all(job *j)
{
    PF_TRY(prepare(j));
    for (int64_t i = 0; i < j->n; i += BATCH) {
        PF_TRY(classify(j, i, (int)(j->n - i < BATCH ? j->n - i : BATCH)));
        if (pf_progress_due())
            pf_progress(0, "classify %lld/%lld", (long long)i, (long long)j->n);
    }
    PF_TRY(report(j));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    PF_TRY(pf_hold_checkpoint(c, j->args.positional[0], &j->args));
    pf_status st = pf_comm_rank(c) == 0 ? classify_all(j) : PF_OK;
    pf_classifier_free(&j->classifier);
    pf_dataset_close(j->set);
    pf_loaded_free(&j->model);
    pf_free(j->levels);
    pf_free(j->x);
    pf_free(j->log_p);
    pf_free(j->label);
    pf_free(j->image);
    pf_free(j->nats);
    PF_TRY(pf_comm_agree(c, st));
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {.split = "test"};
    const pf_arg flags[] = {{"--data", &j.data, NULL},     {"--split", &j.split, NULL},
                            {"--limit", &j.limit, NULL},   {"--out", &j.out, NULL},
                            {"--params", &j.params, NULL}, {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_classify = {
    .name = "classify",
    .usage = "RUN_OR_CKPT [--data D.h5] [--split S] [--limit N] [--out F.csv] "
             "[--params ema|raw]",
    .help = "how well a trained classifier names the images of a split\n\n"
            "  --data D.h5   default the data it was trained on\n"
            "  --split S     default test\n"
            "  --limit N     the first N images\n"
            "  --out F.csv   image, label, best (the class named), nats (-log p of the label)\n"
            "  --params P    ema: averaged parameters, the default where there are any; raw: "
            "the parameters\n"
            "                themselves\n\n"
            "Images are taken as the least noisy step of the chain has them.",
    .run = run,
};
