/* Options of data and logp that say what becomes of the rows of a source. */
#ifndef PROBFLOW_SRC_CLI_CONVERT_ARGS_H
#define PROBFLOW_SRC_CLI_CONVERT_ARGS_H

#include <probflow/data.h>
#include "cli/cli.h"

/* As given; NULL and 0: not. */
typedef struct pf_convert_args {
    const char *alpha, *crop, *resize, *shrink, *label, *binarise, *levels;
    const char *condition[PF_CLI_MAX + 1]; /* NULL-terminated */
    int n_condition, grey, rgb;
} pf_convert_args;

/* clang-format off */
/* Rows of a table of flags. */
#define PF_CONVERT_ARGS(a) \
    {"--alpha", &(a).alpha, NULL}, {"--grey", NULL, &(a).grey}, {"--rgb", NULL, &(a).rgb}, \
    {"--crop", &(a).crop, NULL}, {"--resize", &(a).resize, NULL}, {"--shrink", &(a).shrink, NULL}, \
    {"--binarise", &(a).binarise, NULL}, {"--levels", &(a).levels, NULL}, {"--label", &(a).label, NULL}, {"--condition", (a).condition, &(a).n_condition}
/* clang-format on */

/* 1 when any was given. */
int pf_convert_args_given(const pf_convert_args *a);
/* opt borrows from a.  Fails PF_EARG as a usage error. */
PF_MUST_USE pf_status pf_convert_args_parse(const pf_convert_args *a, pf_convert_opt *opt);

#endif
