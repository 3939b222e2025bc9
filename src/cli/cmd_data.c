/* probflow data: public files -> dataset HDF5. */
#include <probflow/data.h>
#include "cli/cli.h"

typedef struct job {
    pf_args args;
    const char *shrink;
} job;

static pf_status body(pf_comm *c, void *self)
{
    const job *j = self;
    const pf_args *a = &j->args;
    long shrink = 1;
    if (j->shrink) PF_TRY(pf_arg_int("--shrink", j->shrink, 1, 4096, &shrink));
    int n = a->n_positional - 1;
    const char *out = a->positional[n];
    if (pf_comm_rank(c) != 0) return PF_OK;
    PF_TRY(pf_data_convert(a->positional, n, (int)shrink, out));
    PF_TRY(pf_store_info(out, stdout));
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    const pf_arg flags[] = {{"--shrink", &j.shrink, NULL}, {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 2, PF_CLI_MAX, &j.args));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_data = {
    .name = "data",
    .usage = "SOURCE... OUT.h5 [--shrink K] [--quiet]",
    .help =
        "public files, or points of a known density -> dataset\n\n"
        "  SOURCE       one or more of: IDX files (also .gz); CIFAR-10 batches, binary or as\n"
        "               PNG sheets with JSON labels; folders of PNG files of one size, with\n"
        "               sub-folders train and test; or one text, cut 90/5/5 into train,\n"
        "               valid and test; or density:NAME:N[:SEED]: N training and N/5 test "
        "points\n"
        "               of the 2-D density checkerboard or ring, with its entropy in nats and\n"
        "               the log-density of each point\n"
        "  OUT.h5       dataset; an older file is replaced only by a whole new one\n"
        "  --shrink K   images made smaller: a pixel is the mean of a K x K square, rounded;\n"
        "               K must divide height and width\n\n"
        "Sources whose names hold \"test\" or \"t10k\" become the test split, others the\n"
        "training split, in the order given.",
    .run = run,
};
