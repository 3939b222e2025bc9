/* oneDNN 2.x: engine, streams and the making of primitives (operation descriptors). */
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>
#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <probflow/isa.h>
#include <pthread.h>

struct dnn_lib {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

struct dnn_op {
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t prim;
    int n; /* arguments, without the scratchpad, which comes last */
    dnnl_exec_arg_t arg[DNN_MAX_ARGS + 1];
    const void *bound[DNN_MAX_ARGS + 1];
    dnnl_memory_desc_t weight; /* convolutions */
    size_t scratch;
};

/* oneDNN asks OpenMP how many threads to use, both when it makes and when it runs a primitive. */
#define ALONE(call)                                                                        \
    do {                                                                                   \
        int threads_ = omp_get_max_threads();                                              \
        if (threads_ != 1) omp_set_num_threads(1);                                         \
        dnnl_status_t r_ = (call);                                                         \
        if (threads_ != 1) omp_set_num_threads(threads_);                                  \
        PF_REQUIRE(r_ == dnnl_success, PF_EEXT, "oneDNN: %s failed with status %d", #call, \
                   (int)r_);                                                               \
    } while (0)
#define TRY_DNN(call)                                                                      \
    do {                                                                                   \
        dnnl_status_t r_ = (call);                                                         \
        PF_REQUIRE(r_ == dnnl_success, PF_EEXT, "oneDNN: %s failed with status %d", #call, \
                   (int)r_);                                                               \
    } while (0)

static PF_MUST_USE pf_status lib_init(dnn_lib *l)
{
    TRY_DNN(dnnl_engine_create(&l->engine, dnnl_cpu, 0));
    TRY_DNN(dnnl_stream_create(&l->stream, l->engine, dnnl_stream_in_order));
    return PF_OK;
}

/* Makes the primitive of op->pd and one memory object per argument, unbound as yet. */
static PF_MUST_USE pf_status op_finish(dnn_lib *l, dnn_op *op, int n, const int *id)
{
    ALONE(dnnl_primitive_create(&op->prim, op->pd));
    op->n = n;
    for (int i = 0; i <= n; i++) {
        int a = i < n ? id[i] : DNNL_ARG_SCRATCHPAD;
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(op->pd, dnnl_query_exec_arg_md, a);
        PF_REQUIRE(md, PF_EEXT, "oneDNN: primitive without argument %d", a);
        op->arg[i].arg = a;
        TRY_DNN(dnnl_memory_create(&op->arg[i].memory, md, l->engine, DNNL_MEMORY_NONE));
        if (a == DNNL_ARG_SCRATCHPAD) op->scratch = dnnl_memory_desc_get_size(md);
    }
    return PF_OK;
}

/* C = scale A B, or C += */
typedef struct outcome {
    float scale;
    int add;
} outcome;

static dnnl_status_t describe_outcome(dnnl_primitive_attr_t attr, const outcome *o)
{
    dnnl_post_ops_t sum;
    if (o->scale != 1.0f) {
        dnnl_status_t st = dnnl_primitive_attr_set_output_scales(attr, 1, 0, &o->scale);
        if (st) return st;
    }
    if (!o->add) return dnnl_success;
    dnnl_status_t st = dnnl_post_ops_create(&sum);
    if (st) return st;
    st = dnnl_post_ops_append_sum(sum, 1.0f);
    if (!st) st = dnnl_primitive_attr_set_post_ops(attr, sum);
    dnnl_post_ops_destroy(sum);
    return st;
}

static PF_MUST_USE pf_status make_pd(dnn_lib *l, dnn_op *op, const void *desc, outcome o,
                                     const_dnnl_primitive_desc_t hint)
{
    dnnl_primitive_attr_t attr;
    TRY_DNN(dnnl_primitive_attr_create(&attr));
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dnnl_status_t st = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!st) st = describe_outcome(attr, &o);
    if (!st) st = dnnl_primitive_desc_create(&op->pd, desc, attr, l->engine, hint);
    omp_set_num_threads(threads);
    dnnl_primitive_attr_destroy(attr);
    PF_REQUIRE(!st, PF_EEXT, "oneDNN: no such primitive, status %d", (int)st);
    return PF_OK;
}

typedef struct conv_mds {
    dnnl_memory_desc_t x, w, b, y;
    dnnl_dims_t stride, more, lo, hi; /* more: pixels left out between taps */
} conv_mds;

static PF_MUST_USE pf_status conv_layouts(const dnn_conv_shape *s, conv_mds *m)
{
    const dnnl_data_type_t type = s->bf16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dims_t x = {s->B, s->cin, s->h, s->w}, y = {s->B, s->cout, s->oh, s->ow};
    dnnl_dims_t w = {s->cout, s->cin, s->kernel, s->kernel}, b = {s->cout};
    TRY_DNN(dnnl_memory_desc_init_by_tag(&m->x, 4, x, type, dnnl_nhwc));
    TRY_DNN(dnnl_memory_desc_init_by_tag(&m->y, 4, y, type, dnnl_nhwc));
    TRY_DNN(dnnl_memory_desc_init_by_tag(&m->w, 4, w, type, dnnl_format_tag_any));
    TRY_DNN(dnnl_memory_desc_init_by_tag(&m->b, 1, b, dnnl_f32, dnnl_a));
    for (int i = 0; i < 2; i++) {
        m->stride[i] = s->stride;
        m->more[i] = s->dilation - 1;
        m->lo[i] = s->pad_lo;
        m->hi[i] = s->pad_hi;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status conv_forward_pd(dnn_lib *l, dnn_op *op, const dnn_conv_shape *s,
                                             conv_mds *m)
{
    dnnl_convolution_desc_t d;
    TRY_DNN(dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_training, dnnl_convolution_direct, &m->x, &m->w,
        s->bias ? &m->b : NULL, &m->y, m->stride, m->more, m->lo, m->hi));
    return make_pd(l, op, &d, (outcome){1.0f, 0}, NULL);
}

static PF_MUST_USE pf_status conv_init(dnn_lib *l, dnn_conv_kind kind, const dnn_conv_shape *s,
                                       dnn_op *op)
{
    static const int fwd_arg[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
    static const int fwd_bias[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
    static const int data_arg[] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
    static const int weights_arg[] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS,
                                      DNNL_ARG_DIFF_BIAS};
    conv_mds m;
    PF_TRY(conv_layouts(s, &m));
    if (kind == DNN_CONV_FORWARD) {
        PF_TRY(conv_forward_pd(l, op, s, &m));
        op->weight = *dnnl_primitive_desc_query_md(op->pd, dnnl_query_weights_md, 0);
        return op_finish(l, op, 3 + s->bias, s->bias ? fwd_bias : fwd_arg);
    }
    dnn_op hint = {0};
    PF_TRY(conv_forward_pd(l, &hint, s, &m));
    if (kind == DNN_CONV_WEIGHTS) m.w.data_type = dnnl_f32;
    dnnl_convolution_desc_t d;
    dnnl_status_t st =
        kind == DNN_CONV_DATA
            ? dnnl_dilated_convolution_backward_data_desc_init(
                  &d, dnnl_convolution_direct, &m.x, &m.w, &m.y, m.stride, m.more, m.lo, m.hi)
            : dnnl_dilated_convolution_backward_weights_desc_init(
                  &d, dnnl_convolution_direct, &m.x, &m.w, s->bias ? &m.b : NULL, &m.y,
                  m.stride, m.more, m.lo, m.hi);
    pf_status made = st ? PF_EEXT : make_pd(l, op, &d, (outcome){1.0f, 0}, hint.pd);
    dnnl_primitive_desc_destroy(hint.pd);
    PF_REQUIRE(!st, PF_EEXT, "oneDNN: gradient of a convolution refused, status %d", (int)st);
    PF_TRY(made);
    if (kind == DNN_CONV_DATA) {
        op->weight = *dnnl_primitive_desc_query_md(op->pd, dnnl_query_weights_md, 0);
        return op_finish(l, op, 3, data_arg);
    }
    op->weight = *dnnl_primitive_desc_query_md(op->pd, dnnl_query_diff_weights_md, 0);
    return op_finish(l, op, 3 + s->bias, weights_arg);
}

static PF_MUST_USE pf_status reorder_init(dnn_lib *l, const dnnl_memory_desc_t *from,
                                          const dnnl_memory_desc_t *to, dnn_op *op)
{
    static const int arg[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    dnnl_primitive_attr_t attr;
    TRY_DNN(dnnl_primitive_attr_create(&attr));
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    dnnl_status_t st = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!st)
        st = dnnl_reorder_primitive_desc_create(&op->pd, from, l->engine, to, l->engine, attr);
    omp_set_num_threads(threads);
    dnnl_primitive_attr_destroy(attr);
    PF_REQUIRE(!st, PF_EEXT, "oneDNN: no such reorder, status %d", (int)st);
    return op_finish(l, op, 2, arg);
}

static PF_MUST_USE pf_status plain_weight(const dnn_conv_shape *s, dnnl_memory_desc_t *md)
{
    dnnl_dims_t w = {s->cout, s->cin, s->kernel, s->kernel};
    dnnl_dims_t in_out = {1, s->cout, 1, 1};
    if (s->in_out) TRY_DNN(dnnl_memory_desc_init_by_strides(md, 4, w, dnnl_f32, in_out));
    else TRY_DNN(dnnl_memory_desc_init_by_tag(md, 4, w, dnnl_f32, dnnl_oihw));
    return PF_OK;
}

static PF_MUST_USE pf_status repack(dnn_lib *l, const dnn_op *conv, const dnn_conv_shape *s,
                                    int unpack, dnn_op **out)
{
    dnnl_memory_desc_t plain;
    PF_TRY(plain_weight(s, &plain));
    *out = NULL;
    if (dnnl_memory_desc_equal(&plain, &conv->weight)) return PF_OK;
    dnn_op *op = pf_zalloc(sizeof *op);
    if (!op) PF_FAIL(PF_EMEM, "no memory for a reorder of weights");
    const dnnl_memory_desc_t *from = unpack ? &conv->weight : &plain;
    pf_status st = reorder_init(l, from, unpack ? &plain : &conv->weight, op);
    if (st) {
        dnn_op_free(op);
        return pf_trail(st, PF_WHERE);
    }
    *out = op;
    return PF_OK;
}

/* Matrices [rows,columns] as they lie in memory; turned: their transposes are meant. */
static PF_MUST_USE pf_status matrices(const dnn_matmul_shape *s, int rows, int columns,
                                      int turned, dnn_rows lie, dnnl_memory_desc_t *md)
{
    const int heads = s->heads ? s->heads : 1, n = s->heads ? 4 : 3, m = n - 2;
    if (!lie.row) {
        lie.row = (size_t)columns;
        lie.head = (size_t)rows * lie.row;
        lie.batch = (size_t)heads * lie.head;
    }
    dnnl_dims_t dims = {s->n, heads}, strides = {(dnnl_dim_t)lie.batch, (dnnl_dim_t)lie.head};
    dims[m] = turned ? columns : rows;
    dims[m + 1] = turned ? rows : columns;
    strides[m] = turned ? 1 : (dnnl_dim_t)lie.row;
    strides[m + 1] = turned ? (dnnl_dim_t)lie.row : 1;
    TRY_DNN(
        dnnl_memory_desc_init_by_strides(md, n, dims, s->bf16 ? dnnl_bf16 : dnnl_f32, strides));
    return PF_OK;
}

static PF_MUST_USE pf_status matmul_init(dnn_lib *l, const dnn_matmul_shape *s, dnn_op *op)
{
    static const int arg[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_memory_desc_t a, b, c;
    PF_TRY(matrices(s, s->ta ? s->K : s->M, s->ta ? s->M : s->K, s->ta, s->a, &a));
    PF_TRY(matrices(s, s->tb ? s->N : s->K, s->tb ? s->K : s->N, s->tb, s->b, &b));
    PF_TRY(matrices(s, s->M, s->N, 0, s->c, &c));
    dnnl_matmul_desc_t d;
    TRY_DNN(dnnl_matmul_desc_init(&d, &a, &b, NULL, &c));
    PF_TRY(make_pd(l, op, &d, (outcome){s->scale, s->add}, NULL));
    return op_finish(l, op, 3, arg);
}

/* Before the first primitive: the instruction set in use is the most that oneDNN may use, where it is not
 * simply the best.  Else ONEDNN_MAX_CPU_ISA in the environment stands. */
static void limit_isa(void)
{
    static const dnnl_cpu_isa_t most[PF_ISA_COUNT] = {
        dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core,
        dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_all};
    if (pf_isa_is_fixed()) dnnl_set_max_cpu_isa(most[pf_isa_used()]);
}

static void settle(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, limit_isa);
}

const char *pf_kernel_library(void)
{
    static const struct {
        dnnl_cpu_isa_t isa;
        const char *name;
    } known[] = {{dnnl_cpu_isa_sse41, "sse41"},
                 {dnnl_cpu_isa_avx, "avx"},
                 {dnnl_cpu_isa_avx2, "avx2"},
                 {dnnl_cpu_isa_avx2_vnni, "avx2_vnni"},
                 {dnnl_cpu_isa_avx512_core, "avx512_core"},
                 {dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni"},
                 {dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16"},
                 {dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx"}};
    static char text[64];
    settle();
    const dnnl_version_t *v = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    const char *name = "unknown kernels";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].isa == isa) name = known[i].name;
    snprintf(text, sizeof text, "oneDNN %d.%d.%d %s", v->major, v->minor, v->patch, name);
    return text;
}

pf_status dnn_open(dnn_lib **out)
{
    settle();
    dnn_lib *l = pf_zalloc(sizeof *l);
    if (!l) PF_FAIL(PF_EMEM, "no memory for the oneDNN engine");
    pf_status st = lib_init(l);
    if (st) {
        dnn_close(l);
        return pf_trail(st, PF_WHERE);
    }
    *out = l;
    return PF_OK;
}

void dnn_close(dnn_lib *l)
{
    if (!l) return;
    if (l->stream) dnnl_stream_destroy(l->stream);
    if (l->engine) dnnl_engine_destroy(l->engine);
    pf_free(l);
}

void dnn_op_free(dnn_op *op)
{
    if (!op) return;
    for (int i = 0; i <= DNN_MAX_ARGS; i++)
        if (op->arg[i].memory) dnnl_memory_destroy(op->arg[i].memory);
    if (op->prim) dnnl_primitive_destroy(op->prim);
    if (op->pd) dnnl_primitive_desc_destroy(op->pd);
    pf_free(op);
}

size_t dnn_op_scratch(const dnn_op *op)
{
    return op ? op->scratch : 0;
}

size_t dnn_op_bytes(const dnn_op *op, int arg)
{
    const dnnl_memory_desc_t *md =
        dnnl_primitive_desc_query_md(op->pd, dnnl_query_exec_arg_md, op->arg[arg].arg);
    return dnnl_memory_desc_get_size(md);
}

pf_status dnn_run(dnn_lib *l, dnn_op *op, const void *const *ptr, void *scratch)
{
    for (int i = 0; i <= op->n; i++) {
        const void *p = i < op->n ? ptr[i] : scratch;
        if (op->bound[i] == p || (i == op->n && !op->scratch)) continue;
        /* A new handle makes oneDNN clear the padding of blocked layouts: bind once, keep. */
        TRY_DNN(dnnl_memory_set_data_handle(op->arg[i].memory, (void *)p));
        op->bound[i] = p;
    }
    ALONE(dnnl_primitive_execute(op->prim, l->stream, op->n + 1, op->arg));
    return PF_OK;
}

pf_status dnn_conv_create(dnn_lib *l, dnn_conv_kind kind, const dnn_conv_shape *s, dnn_op **out)
{
    dnn_op *op = pf_zalloc(sizeof *op);
    if (!op) PF_FAIL(PF_EMEM, "no memory for a convolution");
    pf_status st = conv_init(l, kind, s, op);
    if (st) {
        dnn_op_free(op);
        return pf_trail(st, PF_WHERE);
    }
    *out = op;
    return PF_OK;
}

size_t dnn_conv_weight_bytes(const dnn_op *conv)
{
    return dnnl_memory_desc_get_size(&conv->weight);
}

pf_status dnn_conv_pack_create(dnn_lib *l, const dnn_op *conv, const dnn_conv_shape *s,
                               dnn_op **out)
{
    return repack(l, conv, s, 0, out);
}

pf_status dnn_conv_unpack_create(dnn_lib *l, const dnn_op *conv, const dnn_conv_shape *s,
                                 dnn_op **out)
{
    return repack(l, conv, s, 1, out);
}

pf_status dnn_matmul_create(dnn_lib *l, const dnn_matmul_shape *s, dnn_op **out)
{
    dnn_op *op = pf_zalloc(sizeof *op);
    if (!op) PF_FAIL(PF_EMEM, "no memory for a matrix product");
    pf_status st = matmul_init(l, s, op);
    if (st) {
        dnn_op_free(op);
        return pf_trail(st, PF_WHERE);
    }
    *out = op;
    return PF_OK;
}
