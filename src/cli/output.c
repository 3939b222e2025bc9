/* Outputs of a command: checked and locked before the work, let go at its end. */
#include "cli/cli.h"

#include <probflow/file.h>
#include <probflow/store.h>

#include <limits.h>
#include <stdio.h>

enum { OUTPUTS_MAX = 4 };
static pf_lock *held[OUTPUTS_MAX];
static int n_held;

pf_status pf_take_output(const char *path, const char *kind, const char *const *inputs, int n)
{
    char target[PATH_MAX], lock[PATH_MAX + 8];
    PF_TRY(pf_output_check(path, kind, inputs, n));
    PF_TRY(pf_file_target(path, target)); /* one lock, by whatever link it is reached */
    snprintf(lock, sizeof lock, "%s.lock", target);
    PF_REQUIRE(n_held < OUTPUTS_MAX, PF_EARG, "a command has more than %d outputs",
               OUTPUTS_MAX);
    /* A file of somebody else's under the lock's name stays, and is no reason to stop: a file is put whole. */
    pf_status st = pf_lock_take(lock, path, &held[n_held]);
    if (st == PF_EARG) return PF_OK;
    PF_TRY(st);
    n_held++;
    return PF_OK;
}

void pf_release_outputs(void)
{
    while (n_held > 0) pf_lock_release(held[--n_held]);
}
