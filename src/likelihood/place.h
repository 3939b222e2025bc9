/* Data of a group as the flow takes them: dequantised, in model scale. */
#ifndef PROBFLOW_SRC_LIKELIHOOD_PLACE_H
#define PROBFLOW_SRC_LIKELIHOOD_PLACE_H

#include <probflow/likelihood.h>

/* Do these options dequantise this group, or need not?  Fails PF_EARG. */
PF_MUST_USE pf_status pf_place_check(const pf_likelihood_opt *opt, const pf_group *group);
/* x [B,D] <- draw `draw` of the group; dequantisation and offset of its rows, cells [B,pf_flow_columns]. */
void pf_place_data(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group,
                   int draw, double *x, double *cells);
/* Factor on x where it is put at t_min, and the offset that goes with it [bits/dim]. */
double pf_place_mean(const pf_likelihood_opt *opt, const pf_sde *sde, const pf_group *group,
                     double *offset);

#endif
