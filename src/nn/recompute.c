/* Which operators run once more in the backward pass, and when.
 *
 * A value that backward reads is kept, or computed again right before the first backward step that
 * needs it; then its own inputs are needed at that moment, too.  Steps are visited from the last
 * to the first, so every reader of a value, forward, backward or again, is known before the value
 * itself: the earliest of these moments is that of the reader with the largest number. */
#include <probflow/memory.h>

#include "nn/plan_impl.h"

int pf_step_reads_inputs(const pf_step *st)
{
    int reads = pf_op_reads(st->site.op), any_dx = 0;
    for (int k = 0; k < st->site.n_in; k++) any_dx |= st->site.want_dx[k];
    return ((reads & PF_DX_IN) && any_dx) || ((reads & PF_DP_IN) && st->site.want_dp);
}

static int is_cheap(pf_op op)
{
    return op == PF_OP_GROUP_NORM || op == PF_OP_CONCAT || op == PF_OP_UP2 ||
           op == PF_OP_DOWN2 || op == PF_OP_FIR || op == PF_OP_SILU ||
           op == PF_OP_INSTANCE_NORM || op == PF_OP_ELU || op == PF_OP_LEAKY_RELU ||
           op == PF_OP_BILINEAR || op == PF_OP_GELU || op == PF_OP_SOFTPLUS ||
           op == PF_OP_LAYER_NORM || op == PF_OP_PICK || op == PF_OP_MODULATE ||
           op == PF_OP_ROTARY;
}

/* Sums end residual blocks, and what a concatenation reads is a skip: both are what all else is
 * computed from.  Values of one pixel are not worth the time. */
static int may_run_again(const pf_plan *p, int i, const unsigned char *skip)
{
    const pf_gnode *n = &p->graph->node[i];
    if (n->op == PF_OP_INPUT || n->shape.h * n->shape.w == 1 || i == p->graph->output) return 0;
    if (p->opt.recompute == PF_RECOMPUTE_NORMS) return is_cheap(n->op);
    return n->op != PF_OP_ADD_SCALE && n->op != PF_OP_GATE && !skip[i];
}

static void visit(pf_plan *p, int i, int *need, unsigned char *skip)
{
    const pf_gnode *n = &p->graph->node[i];
    pf_step *st = &p->step[i];
    if (need[i] >= 0 && may_run_again(p, i, skip)) st->again = need[i];
    int first = st->again;
    if (pf_step_reads_inputs(st) && i > first) first = i;
    for (int k = 0; k < n->n_in; k++) {
        if (first > need[n->in[k]]) need[n->in[k]] = first;
        skip[n->in[k]] |= n->op == PF_OP_CONCAT;
    }
}

pf_status pf_plan_choose_again(pf_plan *p)
{
    for (int i = 0; i < p->n_step; i++) p->step[i].again = -1;
    if (p->opt.recompute == PF_RECOMPUTE_NONE) return PF_OK;
    int *need = pf_zalloc((size_t)p->n_step * sizeof *need); /* a step; -1: at no moment */
    unsigned char *skip = pf_zalloc((size_t)p->n_step);
    int ready = need && skip;
    for (int i = 0; ready && i < p->n_step; i++) need[i] = -1;
    for (int i = p->n_step - 1; ready && i >= 0; i--)
        if (p->step[i].live) visit(p, i, need, skip);
    pf_free(skip);
    pf_free(need);
    PF_REQUIRE(ready, PF_EMEM, "no memory for a plan");
    return PF_OK;
}
