/* What the rows need of oneDNN, free of its version: oneDNN 2.x and 3.x differ in how primitives
 * are described, and only engine.c knows.
 *
 * Everything runs on the calling thread.  An op owns its primitive and memory objects, so it
 * belongs to one plan; the compiled code behind it is shared by oneDNN's own cache. */
#ifndef PROBFLOW_SRC_NN_KERNELS_ONEDNN_ENGINE_H
#define PROBFLOW_SRC_NN_KERNELS_ONEDNN_ENGINE_H

#include "nn/kernel.h"

typedef struct dnn_lib dnn_lib; /* engine and stream */
PF_MUST_USE pf_status dnn_open(dnn_lib **out);
void dnn_close(dnn_lib *l); /* NULL allowed */

enum { DNN_MAX_ARGS = 4 };
typedef struct dnn_op dnn_op; /* one primitive with its memory objects */
void dnn_op_free(dnn_op *op); /* NULL allowed */
/* Bytes of scratch an execution needs, and of an argument. */
size_t dnn_op_scratch(const dnn_op *op);
size_t dnn_op_bytes(const dnn_op *op, int arg);
/* Runs on ptr [number of arguments of the op], in the order its maker names. */
PF_MUST_USE pf_status dnn_run(dnn_lib *l, dnn_op *op, const void *const *ptr, void *scratch);

typedef struct dnn_conv_shape { /* activations NHWC */
    int B, h, w, cin, oh, ow, cout, kernel, stride, pad_lo, pad_hi;
    int dilation; /* pixels from tap to tap, at least 1 */
    int in_out;   /* layout of the 1x1 weight outside oneDNN: 1 = [in,out], 0 = OIHW */
    int bias;
    int bf16; /* of activations and weights; bias and gradients of parameters stay f32 */
} dnn_conv_shape;

/* Of a convolution or a linear map. */
dnn_conv_shape dnn_conv_shape_of(const pf_site *s);

typedef enum dnn_conv_kind {
    DNN_CONV_FORWARD, /* x, weight, bias, y       */
    DNN_CONV_DATA,    /* dy, weight, dx           */
    DNN_CONV_WEIGHTS  /* x, dy, dweight, dbias    */
} dnn_conv_kind;
/* The weight has the layout the primitive likes best. */
PF_MUST_USE pf_status dnn_conv_create(dnn_lib *l, dnn_conv_kind kind, const dnn_conv_shape *s,
                                      dnn_op **out);
size_t dnn_conv_weight_bytes(const dnn_op *conv);
/* Between that layout and the parameter's: from, to.  *out = NULL when they are the same. */
PF_MUST_USE pf_status dnn_conv_pack_create(dnn_lib *l, const dnn_op *conv,
                                           const dnn_conv_shape *s, dnn_op **out);
PF_MUST_USE pf_status dnn_conv_unpack_create(dnn_lib *l, const dnn_op *conv,
                                             const dnn_conv_shape *s, dnn_op **out);

/* Floats from a matrix to the next one, along both axes, and from a row to the next one; zeros: they lie
 * one after the other. */
typedef struct dnn_rows {
    size_t batch, head, row;
} dnn_rows;

typedef struct dnn_matmul_shape { /* C [n,M,N] = A [n,M,K] B [n,K,N] */
    int n, M, N, K;
    int ta, tb; /* 1: A is stored as [K,M]; B as [N,K] */
    float scale;
    int bf16;
    int add;          /* 1: C += */
    int heads;        /* > 0: that many products for each of n, the second axis of A, B and C */
    dnn_rows a, b, c; /* as they are stored */
} dnn_matmul_shape;
/* A, B, C */
PF_MUST_USE pf_status dnn_matmul_create(dnn_lib *l, const dnn_matmul_shape *s, dnn_op **out);

#endif
