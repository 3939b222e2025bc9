/* Estimands: what number is computed, and what its ledger holds.  A row of estimands.c and a file each. */
#ifndef PROBFLOW_ESTIMAND_H
#define PROBFLOW_ESTIMAND_H

#include <probflow/likelihood.h>

typedef struct pf_estimand_ops {
    const char *name, *help;
    unsigned needs; /* of a view */
    /* Its ledger.  Estimands are asked for together where they share one. */
    const pf_ledger_column *columns;
    int n;
    int total; /* its column */
    /* Names in a table of points, which holds log-likelihoods: of its column, what the names of its errors
     * and parts begin with, and on the page. */
    const char *table, *prefix, *page;
    /* Do these options suit the data and the view?  group NULL, where a chain is needed: the view alone.
     * Fails PF_EARG. */
    pf_status (*check)(const pf_likelihood_opt *opt, const pf_view *view,
                       const pf_group *group);
    /* Independent repeats inside a row: 0: nothing in it is random; 1: the row does not say its variance;
     * n: its column of variances does, with n - 1 degrees of freedom. */
    int (*repeats)(const pf_likelihood_opt *opt);
    /* Options with `times` as many of them; NULL: there are none to be had. */
    void (*repeat)(pf_likelihood_opt *opt, int times);
    size_t (*bytes)(const pf_likelihood_opt *opt, int dim);
    /* Fills its columns of rows that pf_ledger_clear made and that have their keys: cells [draws*B,n], draw
     * by draw.  Others that it shares are theirs to fill. */
    pf_status (*group)(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group,
                       double *cells);
} pf_estimand_ops;

extern const pf_estimand_ops
    *const pf_estimands[];                    /* bit i of a set is row i; NULL-terminated */
extern const char *const pf_estimand_words[]; /* of PF_SET */

/* The i-th row that is asked for; NULL: there are not so many. */
const pf_estimand_ops *pf_estimand_asked(const pf_likelihood_opt *opt, int i);
/* 1 when the ledger's variances, errors and parts are this one's: its total is the first. */
int pf_estimand_is_first(const pf_estimand_ops *e);
/* 1 when dequantisation is among the columns. */
int pf_estimand_dequantises(const pf_estimand_ops *e);

#endif
