/* probflow train: a configuration and a run directory. */
#include "cli/common.h"

#include <probflow/train.h>

typedef struct job {
    pf_args args;
    const char *dir;
} job;

static pf_status read_experiment(const pf_args *a, pf_experiment *e)
{
    pf_config *cfg = NULL;
    PF_TRY(pf_config_load(a->positional[0], &cfg));
    PF_TRY(pf_experiment_take(cfg, a->n_sets, a->sets, e));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    pf_experiment e;
    PF_TRY(pf_comm_agree(c, read_experiment(&j->args, &e)));
    PF_TRY(pf_ranks_same_experiment(c, &e));
    pf_catch_signals();
    PF_TRY(pf_train(c, &e, j->dir));
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    const char *minutes = NULL;
    const pf_arg flags[] = {{"--run", &j.dir, NULL}, {"--max-minutes", &minutes, NULL}, {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    PF_TRY(pf_arg_minutes(minutes));
    if (!j.dir) return pf_usage_error(PF_WHERE, "train needs --run DIR");
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_train = {
    .name = "train",
    .usage = "CONFIG --run DIR [--max-minutes M] [--set section.key=value]... [--quiet]",
    .help =
        "trains a model; resumes when DIR holds a checkpoint\n\n"
        "  --run DIR    run directory: config.yaml, checkpoint-STEP.h5, metrics.h5\n"
        "  --set K=V    overrides one key of CONFIG, for example --set train.steps=500\n"
        "  --max-minutes M  stops in time for a batch system's limit, like a signal\n"
        "  --quiet      no log, no progress line\n\n"
        "The number of ranks (a power of two that divides `shards`) and of threads changes "
        "the\n"
        "speed, never the result.  SIGTERM, SIGUSR1 and SIGINT finish the step, write a\n"
        "checkpoint and exit with 75; the same command continues from it.  A second signal\n"
        "ends at once.",
    .run = run,
};
