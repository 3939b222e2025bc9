/* What a library's bare primitives need for the matrix work of a plan: the measure of how near a
 * plan comes to the machine. */
#ifndef PROBFLOW_LIMIT_H
#define PROBFLOW_LIMIT_H

#include <probflow/plan.h>

typedef struct pf_limit pf_limit;

/* Every convolution, linear map, product of attention (also of windows and linear attention) and step of a recurrence of
 * one forward and one backward of p, in their order, as oneDNN's own primitives on NHWC activations and nothing else.  Shapes and gradients are
 * those of p.  Convolutions are direct sums.  Weights are packed beforehand in the layout oneDNN prefers, and
 * their gradients stay in it.  bf16 = 0: all in f32; 1: activations and weights in bf16.
 * Memory is as cold as in a plan: each weight has its own; what backward reads of the forward pass, and
 * everything that is written, lies in a pool as large as the plan (256 MiB at most) that is gone through in
 * turn.  Only an input that a pass has just written is read from the place where it was written.
 * Owned.  p is needed only here.  Fails PF_EMEM, PF_EEXT, and PF_ENOSUPP in a build without oneDNN
 * or on a processor it has no bf16 products for.
 * Test   the_limit_is_the_matrix_work_of_the_pass, the_limit_knows_attention_over_positions,
 *         the_limit_knows_the_steps_of_a_recurrence */
PF_MUST_USE pf_status pf_limit_create(const pf_plan *p, int bf16, pf_limit **out);
void pf_limit_free(pf_limit *l); /* NULL allowed */

/* All of it once, on the calling thread. */
PF_MUST_USE pf_status pf_limit_run(pf_limit *l);

/* Multiply-adds (x2) of one run: three times pf_graph_flops a sample with parameter gradients,
 * twice for an input product, less what no gradient asks for. */
double pf_limit_flops(const pf_limit *l);

#endif
