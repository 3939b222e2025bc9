/* The table of estimands. */
#include <probflow/estimand.h>

extern const pf_estimand_ops pf_estimand_nll_ode, pf_estimand_bound, pf_estimand_vlb;

const pf_estimand_ops *const pf_estimands[] = {&pf_estimand_nll_ode, &pf_estimand_bound,
                                               &pf_estimand_vlb, NULL};
/* nll_and_bound: the word of older configurations. */
const char *const pf_estimand_words[] = {"nll_ode",       "bound",         "vlb", NULL,
                                         "nll_and_bound", "nll_ode,bound", NULL};

const pf_estimand_ops *pf_estimand_asked(const pf_likelihood_opt *opt, int i)
{
    for (int k = 0; pf_estimands[k]; k++)
        if (opt->estimand & 1 << k && i-- == 0) return pf_estimands[k];
    return NULL;
}

int pf_estimand_is_first(const pf_estimand_ops *e)
{
    for (int c = 0; c < e->total; c++)
        if (e->columns[c].role == PF_ROLE_TOTAL) return 0;
    return 1;
}

int pf_estimand_dequantises(const pf_estimand_ops *e)
{
    for (int c = 0; c < e->n; c++)
        if (e->columns[c].role == PF_ROLE_DEQUANT) return 1;
    return 0;
}

int pf_likelihood_columns(const pf_likelihood_opt *opt, const pf_ledger_column **columns)
{
    const pf_estimand_ops *first = pf_estimand_asked(opt, 0), *e;
    *columns = first ? first->columns : NULL;
    for (int i = 1; (e = pf_estimand_asked(opt, i)); i++)
        if (e->columns != *columns) return 0;
    return first ? first->n : 0;
}
