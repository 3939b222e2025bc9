/* The solver's state of a batch, x [B,D] then div [B,K], as an N_Vector with our norm. */
#ifndef PROBFLOW_SRC_FLOW_STATE_H
#define PROBFLOW_SRC_FLOW_STATE_H

#include <probflow/flow.h>
#include <probflow/memory.h>
#include <sundials/sundials_nvector.h>

typedef struct pf_layout {
    int B, D, K; /* K divergences an image */
    int norm;    /* pf_norm */
} pf_layout;

static inline size_t pf_layout_size(const pf_layout *l)
{
    return (size_t)l->B * ((size_t)l->D + (size_t)l->K);
}

/* Bytes of the arena. */
size_t pf_state_bytes(const pf_layout *l);
/* Zeroed state; it and the solver's copies of it live in the arena, which pf_state_arena makes
 * large enough and which outlives them.  Free with N_VDestroy.  Fail PF_EMEM. */
PF_MUST_USE pf_status pf_state_arena(const pf_layout *l, pf_arena **out);
PF_MUST_USE pf_status pf_state_create(const pf_layout *l, SUNContext ctx, pf_arena *a,
                                      N_Vector *out);

#endif
