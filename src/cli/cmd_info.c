/* probflow info: what a file holds; with two files, whether they hold the same; with none, what this
 * machine computes with. */
#include <probflow/store.h>
#include "cli/common.h"

static pf_status body(pf_comm *c, void *self)
{
    const pf_args *a = self;
    int same = 0;
    if (pf_comm_rank(c) != 0) return PF_OK;
    if (a->n_positional == 0) {
        pf_print_machine(c);
        return PF_OK;
    }
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
    PF_TRY(pf_args_parse(argc, argv, NULL, 0, 2, &a));
    PF_TRY(pf_with_comm(body, &a));
    return PF_OK;
}

const pf_command pf_command_info = {
    .name = "info",
    .usage = "[FILE [FILE2]]",
    .help =
        "what a file holds, or whether two files hold the same\n\n"
        "  (none)       the CPU, its threads, the instruction set in use (the best, or the\n"
        "               lesser one that PROBFLOW_ISA names: sse2, avx2, avx512, avx512_bf16,\n"
        "               amx) and what the libraries use\n"
        "  FILE         dataset, checkpoint, metrics or results: prints its content, its\n"
        "               configuration and what built it; any other HDF5 file is listed\n"
        "  FILE2        compares the two dataset by dataset: prints `identical`, or the\n"
        "               first difference and ends with status 1",
    .run = run,
};
