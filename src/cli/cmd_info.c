/* probflow info: what a file holds; with two files, whether they hold the same. */
#include <probflow/store.h>
#include "cli/cli.h"

static pf_status body(pf_comm *c, void *self)
{
    const pf_args *a = self;
    int same = 0;
    if (pf_comm_rank(c) != 0) return PF_OK;
    if (a->n_positional == 1) {
        PF_TRY(pf_store_info(a->positional[0], stdout));
        return PF_OK;
    }
    PF_TRY(pf_store_compare(a->positional[0], a->positional[1], stdout, &same));
    PF_REQUIRE(same, PF_EARG, "%s and %s differ", a->positional[0], a->positional[1]);
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    pf_args a;
    PF_TRY(pf_args_parse(argc, argv, NULL, 1, 2, &a));
    PF_TRY(pf_with_comm(body, &a));
    return PF_OK;
}

const pf_command pf_command_info = {
    .name = "info",
    .usage = "FILE [FILE2]",
    .help = "what a file holds, or whether two files hold the same\n\n"
            "  FILE         dataset, checkpoint, metrics or results: prints its content, its\n"
            "               configuration and what built it; any other HDF5 file is listed\n"
            "  FILE2        compares the two dataset by dataset: prints `identical`, or the\n"
            "               first difference and ends with status 1",
    .run = run,
};
