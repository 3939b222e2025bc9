/* What several commands share: a loaded checkpoint, and points read from a file. */
#ifndef PROBFLOW_SRC_CLI_COMMON_H
#define PROBFLOW_SRC_CLI_COMMON_H

#include "cli/cli.h"

#include <probflow/run.h>

/* Two lines: CPU and threads; the instruction set in use and what the libraries made of it. */
void pf_print_machine(const pf_comm *c);

/* pf_checkpoint_hold for what the command line names: pf_load with the same args then reads it. */
PF_MUST_USE pf_status pf_hold_checkpoint(pf_comm *c, const char *run_or_file, pf_args *args);
/* pf_loaded_open with the --set of args.  params: --params, "ema", "raw" or NULL (pf_load_opt). */
PF_MUST_USE pf_status pf_load(const char *run_or_file, const pf_args *args, const char *params,
                              pf_loaded *out);

/* Reads GROUP/NAME [n,H,W,C] (or [n,D] for vectors) that must fit the network; n <= 0: any n.
 * PF_EIO when it is absent. */
PF_MUST_USE pf_status pf_read_points(const pf_loaded *l, const char *path, const char *group,
                                     const char *name, int64_t n, pf_array *out);
/* Collective.  Prints latency and bandwidth of the exchange between ranks; about `budget` seconds. */
PF_MUST_USE pf_status pf_bench_exchange(pf_comm *c, double budget);

/* For commands whose input has no room for labels and conditions.  Fails PF_EARG: the model reads some, and
 * --unconditional does not say that it is told none. */
PF_MUST_USE pf_status pf_told_nothing(const pf_loaded *l, int unconditional);

/* *has: whether GROUP/NAME exists. */
PF_MUST_USE pf_status pf_has_points(const char *path, const char *group, const char *name,
                                    int *has);

#endif
