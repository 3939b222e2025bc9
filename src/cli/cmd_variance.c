/* probflow variance: how much the training gradient varies at a checkpoint. */
#include "cli/common.h"

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/train.h>

#include <math.h>

typedef struct job {
    pf_args args;
    const char *data, *n_text, *out;
    long n;
    pf_loaded model;
    pf_variance v;
} job;

static pf_status prepare(job *j, int root)
{
    PF_TRY(pf_load(j->args.positional[0], &j->args, "raw", &j->model));
    pf_experiment *e = &j->model.e;
    PF_TRY(pf_data_or_stored(&j->model, &j->data));
    if (j->data != e->data.path)
        PF_TRY(pf_opt_set(pf_data_opts, "data", "path", j->data, &e->data));
    const char *const used[] = {j->model.path, e->data.path};
    if (j->out && root) PF_TRY(pf_take_output(j->out, "arrays/loss", used, 2));
    size_t bytes = (size_t)j->n * sizeof(double);
    j->v = (pf_variance){
        .batches = (int)j->n, .loss = pf_zalloc(bytes), .grad_sq = pf_zalloc(bytes)};
    PF_REQUIRE(j->v.loss && j->v.grad_sq, PF_EMEM, "no memory for %ld batches", j->n);
    return PF_OK;
}

static pf_status write_file(const job *j, const char *config)
{
    const pf_variance *v = &j->v;
    pf_out_array arrays[] = {
        {"loss", 1, {v->batches}, v->loss, NULL, NULL},
        {"grad_sq", 1, {v->batches}, v->grad_sq, NULL, NULL},
    };
    pf_out_attr attrs[] = {
        {"config", config, 0},
        {"batches", NULL, v->batches},
        {"step", NULL, (double)j->model.file.step},
        {"loss_mean", NULL, v->loss_mean},
        {"loss_variance", NULL, v->loss_variance},
        {"gradient_mean_sq", NULL, v->mean_sq},
        {"gradient_variance", NULL, v->variance},
        {"gradient_variance_se", NULL, v->variance_se},
        {"gradient_relative_variance", NULL, v->relative},
    };
    PF_TRY(pf_store_write(j->out, arrays, 2, attrs, sizeof attrs / sizeof *attrs));
    return PF_OK;
}

static void print_summary(const job *j)
{
    const pf_variance *v = &j->v;
    const pf_experiment *e = &j->model.e;
    long long step = j->model.file.step;
    printf("batches       %d of %d samples, as steps %lld to %lld would take them\n",
           v->batches, e->train.batch, step + 1, step + v->batches);
    printf("loss          %.6g, variance %.4g\n", v->loss_mean, v->loss_variance);
    printf("mean_sq       %.6g, the squared norm of the mean gradient, unbiased\n", v->mean_sq);
    printf("variance      %.6g", v->variance);
    if (!isnan(v->variance_se)) printf(" +- %.2g", v->variance_se);
    printf(", the trace of the gradient's covariance\n");
    if (isinf(v->relative))
        printf("relative      inf: the mean gradient is lost in the noise of %d batches\n",
               v->batches);
    else printf("relative      %.5g = variance / mean_sq\n", v->relative);
    if (j->out) printf("results       %s\n", j->out);
}

static pf_status finish(const job *j)
{
    pf_text config = {0};
    pf_status st = j->out ? pf_experiment_text(&j->model.e, &config) : PF_OK;
    if (!st && j->out) st = write_file(j, config.s);
    pf_free(config.s);
    PF_TRY(st);
    print_summary(j);
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    pf_status st = pf_hold_checkpoint(c, j->args.positional[0], &j->args);
    if (!st) st = pf_comm_agree(c, prepare(j, pf_comm_rank(c) == 0));
    if (!st) st = pf_ranks_same_model(c, &j->model);
    if (!st) st = pf_train_variance(c, &j->model.e, &j->model.file, &j->v);
    if (!st) st = pf_comm_agree(c, pf_comm_rank(c) == 0 ? finish(j) : PF_OK);
    pf_free(j->v.loss);
    pf_free(j->v.grad_sq);
    pf_loaded_free(&j->model);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {.n_text = "64"};
    const pf_arg flags[] = {{"--data", &j.data, NULL},
                            {"--batches", &j.n_text, NULL},
                            {"--out", &j.out, NULL},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    PF_TRY(pf_arg_int("--batches", j.n_text, 2, 10000000, &j.n));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_variance = {
    .name = "variance",
    .usage = "RUN_OR_CKPT [--data D.h5] [--batches N] [--out F.h5] [--set k=v]...",
    .help =
        "variance of the training gradient at a checkpoint\n\n"
        "Gradients of N whole batches at the checkpoint's parameters (not the averaged ones), "
        "batch j being\nthe one that the j-th step from there would take; nothing is clipped, "
        "and "
        "the run is left as it is.\n\n"
        "  --data D.h5   dataset; default: the one it was trained on\n"
        "  --batches N   default 64\n"
        "  --out F.h5    loss and squared gradient norm of each batch, and what is printed\n"
        "  --set K=V     another objective at the same parameters, for example --set "
        "objective.time=uniform;\n"
        "                losses of two objectives differ by a factor, their relative variances "
        "do not",
    .run = run,
};
