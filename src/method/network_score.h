/* The score function of a network through a plan. */
#ifndef PROBFLOW_SRC_METHOD_NETWORK_SCORE_H
#define PROBFLOW_SRC_METHOD_NETWORK_SCORE_H

#include <probflow/net.h>

#include "method/predict.h"

/* What a method knows of time t: fills in[] for row b, by its ports, but for the data, which are its first port; and
 * score = a x + c net. */
typedef struct pf_timed {
    void (*show)(const pf_net *n, double t, int b, void *const *in);
    pf_affine_score (*score)(const pf_net *n, double t);
} pf_timed;

/* score(x, t) = a x + c net(x, cond(t)), float32 inside.  n and what it is asked by are borrowed, its parameters are
 * set; see pf_method_ops.score. */
PF_MUST_USE pf_status pf_network_score(const pf_net *n, const pf_timed *by,
                                       const pf_view_opt *o, pf_score *out);

#endif
