/* What several commands share: an experiment with its --set, a loaded checkpoint, and points read
 * from a file. */
#ifndef PROBFLOW_SRC_CLI_COMMON_H
#define PROBFLOW_SRC_CLI_COMMON_H

#include "cli/cli.h"

#include <probflow/experiment.h>
#include <probflow/store.h>

/* Two lines: CPU and threads; the instruction set in use and what the libraries made of it. */
void pf_print_machine(const pf_comm *c);

/* The experiment that c describes once every --set of args is in it.  Frees c. */
PF_MUST_USE pf_status pf_read_experiment(pf_config *c, const pf_args *args, pf_experiment *out);

/* A checkpoint ready for evaluation: its experiment, and its network with averaged parameters
 * (parameters where the file has no average, or where they are asked for). */
typedef struct pf_loaded {
    char path[4096]; /* of the file */
    char held
        [32]; /* the same file by its descriptor, whatever becomes of its name; "": not held */
    int fd;
    int raw; /* 1: parameters, though there is an average */
    pf_checkpoint file;
    pf_experiment e;
    pf_net *net;
    float *params; /* in the network's layout; owned */
} pf_loaded;

/* Collective.  Rank 0 chooses the checkpoint of run_or_file (as pf_checkpoint_find does) and all ranks
 * open that one, so that neither a newer one nor the end of this one comes between them: pf_load with
 * the same args then reads it. */
PF_MUST_USE pf_status pf_hold_checkpoint(pf_comm *c, const char *run_or_file, pf_args *args);

/* run_or_file as in pf_checkpoint_find; sets override keys of the stored experiment ("likelihood.
 * group=64"); they may not change the network.  params: --params, "ema", "raw" or NULL: the average where
 * there is one, with a word when it is still mostly initial values.  Local.  Free with
 * pf_loaded_free (also after a failure). */
PF_MUST_USE pf_status pf_load(const char *run_or_file, const pf_args *args, const char *params,
                              pf_loaded *out);
void pf_loaded_free(pf_loaded *l);

/* *data, of --data, or the data set the model was trained on where it is NULL.  Fails PF_EIO, naming
 * --data, when that one is not there.  Borrowed. */
PF_MUST_USE pf_status pf_data_or_stored(const pf_loaded *l, const char **data);
/* What the solves of a closed-form model fitted without noise fail of and which option helps, said after
 * its path; NULL of other models. */
const char *pf_noise_hint(const pf_loaded *l);

/* Collective.  Fail as pf_ranks_same_command unless all ranks have the same configuration, and the
 * same checkpoint with it. */
PF_MUST_USE pf_status pf_ranks_same_experiment(pf_comm *c, const pf_experiment *e);
PF_MUST_USE pf_status pf_ranks_same_model(pf_comm *c, const pf_loaded *l);

/* Reads GROUP/NAME [n,H,W,C] (or [n,D] for vectors) that must fit the network; n <= 0: any n.
 * PF_EIO when it is absent. */
PF_MUST_USE pf_status pf_read_points(const pf_loaded *l, const char *path, const char *group,
                                     const char *name, int64_t n, pf_array *out);
/* Collective.  Prints latency and bandwidth of the exchange between ranks; about `budget` seconds. */
PF_MUST_USE pf_status pf_bench_exchange(pf_comm *c, double budget);

/* *has: whether GROUP/NAME exists. */
PF_MUST_USE pf_status pf_has_points(const char *path, const char *group, const char *name,
                                    int *has);

#endif
