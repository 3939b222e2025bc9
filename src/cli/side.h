/* The models that a likelihood command scores: one, or two that are compared (--against). */
#ifndef PROBFLOW_SRC_CLI_SIDE_H
#define PROBFLOW_SRC_CLI_SIDE_H

#include "cli/common.h"

#include <probflow/scoring.h>

typedef struct pf_side {
    const char *given; /* run directory or checkpoint */
    pf_args args;
    pf_loaded model;
    pf_scoring scoring;
    char path[4200]; /* results file */
    pf_ledger rows;  /* rank 0, when it is scored; its cells are owned */
} pf_side;

/* Of zeroed sides [2]: what the command line names, the second NULL for none.  Returns how many. */
int pf_sides_name(pf_side *sides, const pf_args *args, const char *against);
/* Collective.  All ranks take the same files: pf_hold_checkpoint of each. */
PF_MUST_USE pf_status pf_sides_hold(pf_comm *c, pf_side *sides, int n);
/* Local.  pf_load of each. */
PF_MUST_USE pf_status pf_sides_load(pf_side *sides, int n, const char *params);
/* Collective.  pf_ranks_same_model of each. */
PF_MUST_USE pf_status pf_sides_agree(pf_comm *c, const pf_side *sides, int n);
/* The model as pf_scoring wants it; borrowed. */
pf_scorer pf_side_scorer(const pf_loaded *l);
/* Ends the scoring of each and frees what they own.  Returns st, or how the ending failed. */
PF_MUST_USE pf_status pf_sides_end(pf_side *sides, int n, pf_status st);

#endif
