/* The score function of a network, through a plan.  Internal to the model module and its tests. */
#ifndef PROBFLOW_SRC_MODEL_NETWORK_SCORE_H
#define PROBFLOW_SRC_MODEL_NETWORK_SCORE_H

#include <probflow/model.h>

typedef struct pf_network_opt {
    int batch, with_vjp;
    const char *backend;  /* as in pf_plan_opt */
    const pf_score *with; /* as in pf_net_score; NULL: none */
} pf_network_opt;

/* score(x, t) = net(x, cond(t)) pf_sde_score_scale(t), float32 inside.  n is borrowed, its parameters
 * are set. */
PF_MUST_USE pf_status pf_network_score(const pf_net *n, const pf_network_opt *o, pf_score *out);

#endif
