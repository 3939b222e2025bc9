/* A run on disk: its directory, its checkpoints, and one of these made ready for evaluation.
 *
 * An experiment (experiment.h) holds the options of every other module, so this module lies above them;
 * what evaluates a network is handed its parts and does not know where they came from. */
#ifndef PROBFLOW_RUN_H
#define PROBFLOW_RUN_H

#include <probflow/comm.h>
#include <probflow/experiment.h>
#include <probflow/file.h>
#include <probflow/store.h>

enum { PF_PATH_MAX = 4096 };

/* ---- run directory: Local, rank 0 ---- */

typedef struct pf_run_dir {
    pf_lock *lock;
    int made, fresh; /* the directory is new; no configuration claims it yet */
} pf_run_dir;
/* Creates dir, locks it and refuses one that belongs to another configuration; keys that e leaves out
 * and whose default depends on when a run was begun become the run's.  It is claimed only when
 * everything else is ready, so that a first attempt with, say, a wrong path leaves it free.
 * To be closed also after a failure. */
PF_MUST_USE pf_status pf_run_dir_open(const char *dir, pf_experiment *e, pf_run_dir *out);
/* st: how the run ended; after a failure a directory that is new and empty goes. */
void pf_run_dir_close(const char *dir, pf_run_dir *d, pf_status st);
/* Stores the configuration: the directory belongs to it from now on. */
PF_MUST_USE pf_status pf_run_dir_claim(const char *dir, const pf_experiment *e);

/* ---- checkpoints of a run directory: Local ---- */

void pf_checkpoint_path(const char *dir, int64_t step, char *path, size_t n);
/* Newest checkpoint of a directory that reads without error and of which `usable` (NULL: all are) says
 * yes; "" when there is none.  with_state = 1: its optimiser state too.  Fails  PF_EFORMAT: every one is
 * damaged, or one holds another step than its name tells; as usable does. */
typedef pf_status (*pf_usable)(void *self, const pf_checkpoint *c, int *yes);
PF_MUST_USE pf_status pf_checkpoint_newest(const char *dir, int with_state, pf_usable usable,
                                           void *self, char *path, size_t n);
/* Newest good checkpoint of a run directory, or the path itself when it is a file.  Damaged ones
 * are reported by pf_log and skipped; PF_EIO when none is left. */
PF_MUST_USE pf_status pf_checkpoint_find(const char *run_or_file, char *path, size_t n);
/* After the checkpoint of `step` was written: removes older ones but the newest o->keep, that one
 * included, and every o->keep_every-th step.  Newer ones are left alone: they are damaged, else
 * training would have continued from them, and must not push out a good one. */
void pf_checkpoint_prune(const char *dir, int64_t step, const pf_train_opt *o);
/* Fails PF_EARG when a file with the name of a checkpoint is something else: a run would replace or
 * remove it.  Damaged ones are passed over. */
PF_MUST_USE pf_status pf_checkpoint_check(const char *dir);

/* ---- a checkpoint ready for evaluation ---- */

/* A checkpoint that was chosen and is open: neither a newer one nor the end of this one comes between
 * the choice and the reading.  Zeroed: none. */
typedef struct pf_held {
    char path[PF_PATH_MAX]; /* "": none */
    int fd;                 /* passes to the pf_loaded that reads it */
} pf_held;
/* Collective.  Rank 0 chooses the checkpoint of run_or_file, as pf_checkpoint_find does, and all ranks
 * open that one.  Fails on all ranks  PF_EIO: there is none, or a rank cannot open it. */
PF_MUST_USE pf_status pf_checkpoint_hold(pf_comm *c, const char *run_or_file, pf_held *out);

typedef enum pf_which_params { PF_PARAMS_BEST, PF_PARAMS_EMA, PF_PARAMS_RAW } pf_which_params;

typedef struct pf_load_opt {
    const char *from;    /* run directory or checkpoint, as in pf_checkpoint_find */
    const pf_held *held; /* of `from`; NULL or zeroed: it is looked for */
    int n_sets;
    /* "likelihood.group=64": keys of the stored experiment, in order; they may not change the network */
    const char *const *sets;
    int params; /* pf_which_params; best: the average where there is one, with a word when it is still
                 * mostly initial values */
} pf_load_opt;

/* Its experiment, and its network with the parameters asked for. */
typedef struct pf_loaded {
    char path[PF_PATH_MAX]; /* of the file */
    /* The same file by its descriptor, whatever becomes of its name; "": not held. */
    char held[32];
    int fd;
    int raw; /* 1: parameters, though there is an average */
    pf_checkpoint file;
    pf_experiment e;
    pf_net *net;
    float *params; /* in the network's layout; owned */
    pf_times *
        law; /* what training learned of the losses of the chain's indices; owned; NULL: nothing */
} pf_loaded;
/* Local.  Free with pf_loaded_free, also after a failure.
 * Fails  PF_EARG: a key that the checkpoint fixes, an average that is not there; as finding and reading
 *        the checkpoint, its experiment and its network do.
 * Test   test_run.c */
PF_MUST_USE pf_status pf_loaded_open(const pf_load_opt *o, pf_loaded *out);
void pf_loaded_free(pf_loaded *l); /* a zeroed one allowed */

/* *data, or the data set the model was trained on where it is NULL.  Fails PF_EARG, PF_EIO, naming
 * --data, when that one is not known or not there.  Borrowed. */
PF_MUST_USE pf_status pf_data_or_stored(const pf_loaded *l, const char **data);
/* What the solves of a closed-form model fitted without noise fail of and which option helps, said after
 * its path; NULL of other models. */
const char *pf_noise_hint(const pf_loaded *l);

/* ---- what all ranks must have alike ---- */

/* Collective.  Fail PF_EARG on all ranks, saying what a rank has and what rank 0, unless all hold the
 * same.  verb: "reads", of a rank.  Test  ranks_that_differ_are_told (command line) */
PF_MUST_USE pf_status pf_ranks_same_text(pf_comm *c, const char *verb, const char *text);
/* The same of many texts, compared one by one; behind each of them in `pieces` lies a zero.  made: the
 * status of making them on this rank.  Frees their text. */
PF_MUST_USE pf_status pf_ranks_same_pieces(pf_comm *c, const char *verb, pf_text *pieces,
                                           pf_status made);
/* The same configuration; and with it the same parameters of a file of the same name. */
PF_MUST_USE pf_status pf_ranks_same_experiment(pf_comm *c, const pf_experiment *e);
PF_MUST_USE pf_status pf_ranks_same_model(pf_comm *c, const pf_loaded *l);
/* The same contents (pf_dataset_content) of this split.  The sentence names one rank that has others. */
PF_MUST_USE pf_status pf_data_agree(pf_comm *c, const char *path, const char *split,
                                    const char hex[65]);

#endif
