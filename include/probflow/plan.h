/* A plan runs a graph at one batch size: primitives made once, buffers assigned once from the
 * lifetimes, nothing allocated afterwards.
 *
 * A plan and its kernels run on the calling thread alone.  Parallelism comes from running one
 * plan per thread on different shards or likelihood groups, so no result depends on the number
 * of threads. */
#ifndef PROBFLOW_PLAN_H
#define PROBFLOW_PLAN_H

#include <probflow/graph.h>
#include <probflow/random.h>

typedef struct pf_plan pf_plan;

/* PF_BF16 is for training alone.  Convolutions, linear maps and the products of attention round
 * what they multiply to bf16 (8 bits, to the nearest) and sum in float, but for packed heads with more
 * than 2^20 scores a sample, and pf_attend; 3x3 convolutions with
 * full channel vectors and at least 16 tiles of 4x4 pixels a batch multiply in Winograd's domain,
 * where pixels and kernels are rounded after their transforms.  All else stays in float:
 * parameters, biases, values between operators, norms, softmax, gradients of the parameters.  The
 * bits are the same on CPUs with and without bf16 instructions.
 * Test  every_convolution_agrees_with_ref_on_rounded_numbers, with_any_instructions_the_bits_agree */
typedef enum pf_precision { PF_F32, PF_BF16 } pf_precision;

/* What backward computes again instead of keeping it: a plan whose backward runs once trades time
 * for memory.  The bits are the same.
 *   NORMS   what is cheap: norms, concatenations, resampled images, activations
 *   BLOCKS  everything but the ends of residual blocks and what skips read: one more forward pass
 * Test  computing_again_changes_no_bit_and_saves_memory */
typedef enum pf_recompute {
    PF_RECOMPUTE_NONE,
    PF_RECOMPUTE_NORMS,
    PF_RECOMPUTE_BLOCKS
} pf_recompute;

typedef struct pf_plan_opt {
    int batch;
    unsigned want_in;    /* bit i: gradients along input i, by its index (pf_graph_port) */
    int want_params;     /* 1: gradients of the parameters */
    int repeat;          /* 1: backward runs any number of times after a forward; 0: once */
    const char *backend; /* "fast" (fused and oneDNN rows over ref) or "ref"; NULL = "fast" */
    pf_precision precision; /* PF_BF16: backend "fast" and want_params only */
    /* NULL: backward writes parameter gradients to its gparams.  Else it takes none, and calls
     * put(self, first, n, g) on its thread after each operator that has some: g [n] is its part of
     * the flat block from `first` on, padding and fixed views 0, valid during the call.  `first`
     * falls from call to call; parts that are never put are 0. */
    void (*put)(void *self, size_t first, size_t n, const float *g);
    void *self;
    pf_recompute recompute; /* with gradients and without repeat only */
    /* A plan of the same graph, with the same options up to here but for put: its prepared parameters
     * serve this one too, which is ready when that one is.  Borrowed, it must live as long as this
     * one runs.  NULL: own ones. */
    const pf_plan *with;
} pf_plan_opt;

/* 1: the instruction set in use multiplies bf16 numbers itself; 0: the same sums are made in
 * float. */
int pf_bf16_is_native(void);
/* The library of convolutions and the instruction set that it uses, "oneDNN 2.6.3 avx2", or
 * "no oneDNN".  A static string. */
const char *pf_kernel_library(void);

/* Owned.  graph is borrowed and must outlive the plan.  Where a fast backend has no row, the plain one
 * serves.
 * Fails  PF_EARG: options that do not go together, or with was made otherwise; a wanted gradient meets an
 *        operator's input without a derivative (ops.def), which the sentence names.  PF_EMEM, PF_EEXT,
 *        PF_ENOSUPP (unknown backend).
 * Test   a_gradient_through_an_operator_without_one_is_refused */
PF_MUST_USE pf_status pf_plan_create(const pf_graph *g, const pf_plan_opt *opt, pf_plan **out);
void pf_plan_free(pf_plan *p);

/* Bytes of activations, gradients and scratch this plan holds. */
size_t pf_plan_bytes(const pf_plan *p);

/* New parameter values (borrowed, [pf_graph_param_floats]); kernels may prepare their own copy,
 * so call this whenever the values have changed.  Plans that share it must not run meanwhile. */
PF_MUST_USE pf_status pf_plan_set_params(pf_plan *p, const float *params);
/* The same as a task of several plans made with one of them: each prepares an own part (0 ..
 * parts-1) at the same time, and runs when all have returned. */
PF_MUST_USE pf_status pf_plan_set_params_part(pf_plan *p, const float *params, int part,
                                              int parts);

typedef struct pf_run {
    const void *in[PF_PORTS_MAX]; /* [B, shape] of each input, by its index; float or int32 */
    int train;                    /* 1: dropout on, keyed as below */
    uint64_t seed;                /* dropout: stream DROPOUT, sample = sample[b], step */
    const uint64_t *sample;       /* [B] global sample numbers; NULL when train = 0 */
    uint32_t step;
} pf_run;
/* Values [B, shape] of the input with this name, where the network reads it. */
void pf_run_set(pf_run *run, const pf_graph *g, const char *name, const void *values);

/* out [B, shape of the output] is written.  Local.  Fails PF_EARG naming an input without values. */
PF_MUST_USE pf_status pf_plan_forward(pf_plan *p, const pf_run *run, float *out);

/* After pf_plan_forward; any number of times with repeat, else once, because gradients overwrite the
 * values (a second call fails PF_EARG).  gout [B, shape of the output] = d loss / d out.
 * gparams [floats], with want_params: overwritten with the gradient; fixed views get 0.  Else NULL.
 * gin [PF_PORTS_MAX]: gin[i] [B, shape of input i] is overwritten with gout' d out / d in[i] for each
 * wanted input; the others are not read.  NULL where none is wanted.
 * Test   gradients_along_two_images_agree_with_central_differences */
PF_MUST_USE pf_status pf_plan_backward(pf_plan *p, const float *gout, float *gparams,
                                       float *const *gin);

/* Per-operator seconds, for --profile: name of row i, calls, seconds; returns 0 past the end.
 * Timing is off until pf_plan_profile(p, 1), which begins anew. */
void pf_plan_profile(pf_plan *p, int on);
typedef struct pf_op_time {
    const char *op, *name, *backend;
    double prepare_s, forward_s, backward_s; /* prepare: new parameters */
    double gflop_forward;                    /* multiply-adds count 2; 0 where memory-bound */
} pf_op_time;
int pf_plan_profile_row(const pf_plan *p, int i, pf_op_time *row);

/* Multiply-add operations (x2) of convolutions, matrix products and attention, one sample, forward. */
double pf_graph_flops(const pf_graph *g);

#endif
