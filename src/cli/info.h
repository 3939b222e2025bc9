/* A call of `probflow info`. */
#ifndef PROBFLOW_SRC_CLI_INFO_H
#define PROBFLOW_SRC_CLI_INFO_H

#include "cli/common.h"

typedef struct pf_info_job {
    pf_args args;
    int ladder, moments;
    const char *split, *end_text, *T_text, *limit_text;
    double sigma_end;
    long T, limit; /* rows compared; 0: all */
} pf_info_job;

/* Prints levels and step size for the data set.  Local.  Fails as reading and pf_ladder_largest_distance do; PF_EARG:
 * too few dimensions, rows nearer than the last level. */
PF_MUST_USE pf_status pf_info_ladder(const pf_info_job *j);

#endif
