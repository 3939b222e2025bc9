/* probflow info: what a file holds; with two files, whether they hold the same; with none, what this
 * machine computes with. */
#include <probflow/data.h>
#include <probflow/store.h>
#include "cli/info.h"

#include <math.h>
#include <stdlib.h>

#include <stdio.h>

static PF_MUST_USE pf_status print_moments(const char *path)
{
    pf_dataset *d = NULL;
    pf_moments m;
    PF_TRY(pf_dataset_open(path, "train", &d));
    pf_status st = pf_data_moments(d, &m);
    pf_dataset_close(d);
    PF_TRY(st);
    printf("moments       of the train split in model scale: mean %.6g, standard deviation "
           "%.6g\n",
           m.mean, m.std);
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    const pf_info_job *j = self;
    const pf_args *a = &j->args;
    int same = 0;
    if (pf_comm_rank(c) != 0) return PF_OK;
    if (a->n_positional == 0) {
        pf_print_machine(c);
        return PF_OK;
    }
    if (j->ladder) {
        PF_TRY(pf_info_ladder(j));
        return PF_OK;
    }
    if (a->n_positional == 1) {
        PF_TRY(pf_store_info(a->positional[0], stdout));
        if (j->moments) PF_TRY(print_moments(a->positional[0]));
        return PF_OK;
    }
    PF_TRY(pf_store_compare(a->positional[0], a->positional[1], stdout, &same));
    PF_REQUIRE(same, PF_EARG, "%s and %s differ", a->positional[0], a->positional[1]);
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    pf_info_job j = {.sigma_end = 0.01, .T = 5};
    const pf_arg flags[] = {{"--moments", NULL, &j.moments},
                            {"--ladder", NULL, &j.ladder},
                            {"--split", &j.split, NULL},
                            {"--sigma-end", &j.end_text, NULL},
                            {"--steps", &j.T_text, NULL},
                            {"--limit", &j.limit_text, NULL},
                            {0}};
    char *end = NULL;
    PF_TRY(pf_args_parse(argc, argv, flags, 0, 2, &j.args));
    if (!j.ladder && (j.split || j.end_text || j.T_text || j.limit_text))
        return pf_usage_error(PF_WHERE,
                              "--split, --sigma-end, --steps and --limit belong to --ladder");
    if (j.ladder && j.args.n_positional != 1)
        return pf_usage_error(PF_WHERE, "--ladder is of one data set");
    if (j.T_text) PF_TRY(pf_arg_int("--steps", j.T_text, 1, 1000000, &j.T));
    if (j.limit_text) PF_TRY(pf_arg_int("--limit", j.limit_text, 2, 1000000000, &j.limit));
    if (j.end_text) j.sigma_end = strtod(j.end_text, &end);
    if (j.end_text && (*end || !(j.sigma_end > 0.0) || !isfinite(j.sigma_end)))
        return pf_usage_error(PF_WHERE, "--sigma-end: '%s' is no positive number", j.end_text);
    if (j.moments && (j.ladder || j.args.n_positional != 1))
        return pf_usage_error(PF_WHERE, "--moments are those of one data set");
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_info = {
    .name = "info",
    .usage = "[FILE [FILE2]] | DATA --moments | DATA --ladder [--split S] [--sigma-end S] "
             "[--steps T] [--limit N]",
    .help =
        "what a file holds, or whether two files hold the same\n\n"
        "  (none)       the CPU, its threads, the instruction set in use (the best, or the\n"
        "               lesser one that PROBFLOW_ISA names: sse2, avx2, avx512, avx512_bf16,\n"
        "               amx) and what the libraries use\n"
        "  FILE         dataset, checkpoint, metrics or results: prints its content, its\n"
        "               configuration and what built it; any other HDF5 file is listed\n"
        "  FILE2        compares the two dataset by dataset: prints `identical`, or the\n"
        "               first difference and ends with status 1\n"
        "  --ladder     of a dataset: the noise levels and the step size that its largest "
        "distance asks\n"
        "               for, as options of method ncsn and sampler langevin (Song and Ermon "
        "2020); "
        "n^2 D\n"
        "               operations of its n rows, of split train or S, or the first N of them; "
        "levels\n"
        "               down to .01 or S, 5 or T steps at each\n"
        "  --moments    of a dataset: mean and standard deviation of its train split in model\n"
        "               scale, which method sohl2015 takes as method.shift and method.scale",
    .run = run,
};
