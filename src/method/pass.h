/* A trained network inside a view of steps: one pass through its plan at a time.  Rows beyond those of a call hold what earlier
 * calls left there, which changes no result since the operators never mix samples. */
#ifndef PROBFLOW_SRC_METHOD_PASS_H
#define PROBFLOW_SRC_METHOD_PASS_H

#include <probflow/net.h>

typedef struct pf_pass {
    const pf_net *net; /* borrowed */
    pf_plan *plan;
    pf_run run;
    pf_inputs inputs;
    void *in[PF_PORTS_MAX]; /* of the method's ports, to be filled; NULL: not read */
    int batch;
    float *out; /* [batch, entries of the output] of the last pass */
} pf_pass;

/* Views that keep all steps and cut nothing, which is all that they can be asked for.  Fails PF_EARG. */
PF_MUST_USE pf_status pf_pass_takes(const pf_net *n, const pf_view_opt *o);
/* p: zeroed.  want_in: as in pf_plan_opt.  with: another pass of the same net and want_in, whose prepared parameters
 * serve this one and which lives as long; NULL: own ones.  To be freed also after a failure.  Fails PF_EMEM, and as
 * pf_plan_create does. */
PF_MUST_USE pf_status pf_pass_create(pf_pass *p, const pf_net *n, const pf_view_opt *o,
                                     unsigned want_in, const pf_pass *with);
void pf_pass_free(pf_pass *p); /* a zeroed one allowed */
/* Fails PF_EARG: more samples than were said. */
PF_MUST_USE pf_status pf_pass_fits(const pf_pass *p, const pf_batch *b);
/* Steps that are drawn as the method has them, without a guide, and, where `exact`, from nothing that is known with
 * noise.  Fails PF_EARG: another move. */
PF_MUST_USE pf_status pf_pass_moves(const pf_pass *p, const pf_move *how, int exact);
/* p->out from p->in, with what is known of the samples of b. */
PF_MUST_USE pf_status pf_pass_run(pf_pass *p, const pf_batch *b);

#endif
