/* The ledger of nll_ode and bound, which share it. */
#ifndef PROBFLOW_SRC_LIKELIHOOD_COLUMNS_H
#define PROBFLOW_SRC_LIKELIHOOD_COLUMNS_H

#include <probflow/ledger.h>

/* Result files have had these columns, in this order, since there are any. */
enum {
    PF_FLOW_PRIOR = PF_AT_LABEL + 1,
    PF_FLOW_INTEGRAL,
    PF_FLOW_DEQUANTISATION,
    PF_FLOW_OFFSET,
    PF_FLOW_NLL,
    PF_FLOW_BOUND,
    PF_FLOW_PROBE_VARIANCE,
    PF_FLOW_SOLVER_ERROR,
    PF_FLOW_STEPS,
    PF_FLOW_EVALUATIONS,
    PF_FLOW_COLUMNS
};
extern const pf_ledger_column pf_flow_columns[PF_FLOW_COLUMNS];

#endif
