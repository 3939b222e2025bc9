/* The score function of a network under method `sde`, through a plan. */
#ifndef PROBFLOW_SRC_METHOD_NETWORK_SCORE_H
#define PROBFLOW_SRC_METHOD_NETWORK_SCORE_H

#include <probflow/net.h>

/* score(x, t) = a x + c net(x, cond(t)), float32 inside.  n is borrowed, its parameters are set; see
 * pf_method_ops.score. */
PF_MUST_USE pf_status pf_network_score(const pf_net *n, const pf_view_opt *o, pf_score *out);

#endif
