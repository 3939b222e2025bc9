/* What `probflow bpd` prints when it is done. */
#ifndef PROBFLOW_SRC_CLI_BPD_H
#define PROBFLOW_SRC_CLI_BPD_H

#include <probflow/scoring.h>

typedef struct pf_bpd_page {
    const char *split, *dataset, *results; /* names */
    const pf_likelihood_opt *o;
    double speed;             /* images a second; 0: none was scored by this call */
    int64_t groups, repeated; /* in the file; at a tenth of the tolerances */
    struct pf_scored_chain chain;
    pf_draws draws;   /* of one dequantisation together */
    int dim;          /* entries of a datum */
    int pixels;       /* of a datum; 1: it is no image */
    const char *unit; /* of the numbers */
    int of_tokens;
    int64_t symbols; /* of all rows of tokens; 0: of something else */
} pf_bpd_page;

/* Fills groups, repeated and, for tokens, symbols from rows sorted by image. */
void pf_bpd_count_groups(pf_bpd_page *p, const pf_ledger *rows);
void pf_bpd_print(const pf_bpd_page *p, const pf_summary *s);
void pf_bpd_print_difference(const pf_likelihood_opt *opt, const pf_difference *d,
                             const char *unit);

#endif
