/* Convolution and the linear map on the channel axis (a 1x1 convolution), by oneDNN.
 *
 * Activations stay NHWC.  Each primitive chooses its own weight layout; prepare() packs the
 * weights once per new value, and the weight gradient is unpacked after each backward pass.
 * Where weights are large and change every few passes, as in training, each pass packs them anew
 * in working space that all layers share: a copy less of all parameters, twice, for 1 % of a pass.
 *
 * The weight gradient of positions is a product along thousands of them, for which oneDNN takes twice the time
 * of ours. */
#include "nn/kernels/fused/outer.h"
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>

enum { KEPT_BYTES = 128 * 1024 };

PF_CLONE_TABLE(const pf_outer_ops, pf_outer_product, outer_ops);

typedef struct conv {
    dnn_lib *lib;
    dnn_conv_shape shape;
    int kept; /* 1: packed weights are prepared; 0: each pass packs them in working space */
    dnn_op *forward, *data, *weights;          /* the last two only where wanted */
    dnn_op *pack_forward, *pack_data, *unpack; /* NULL: the layouts agree */
    float *bias_sink;                          /* when the bias gradient is not asked for */
    pf_outer outer; /* the weight gradient where there is no `weights`; rows 0: none */
} conv;

dnn_conv_shape dnn_conv_shape_of(const pf_site *s)
{
    dnn_conv_shape c = {.B = s->B,
                        .h = s->in[0].h,
                        .w = s->in[0].w,
                        .cin = s->in[0].c,
                        .oh = s->out.h,
                        .ow = s->out.w,
                        .cout = s->out.c,
                        .kernel = 1,
                        .stride = 1,
                        .dilation = 1,
                        .bias = s->n_param > 1};
    if (s->op == PF_OP_CONV) {
        c.kernel = s->attr.kernel;
        c.stride = s->attr.stride;
        c.pad_lo = s->attr.pad_lo;
        c.pad_hi = s->attr.pad_hi;
        if (s->attr.dilation > 1) c.dilation = s->attr.dilation;
        return c;
    }
    c.in_out = s->attr.in_out;
    if (c.h * c.w == 1) { /* rows of a matrix: one image of B pixels has longer inner loops */
        c.w = c.ow = s->B;
        c.B = 1;
    }
    return c;
}

static int by_outer(const pf_site *s)
{
    int positions = s->in[0].h * s->in[0].w;
    return s->op == PF_OP_LINEAR && s->attr.sequence && positions > 1 && !s->attr.in_out &&
           s->in[0].c % 16 == 0 && s->out.c % 16 == 0;
}

static PF_MUST_USE pf_status conv_init(conv *c, const pf_site *s)
{
    c->shape = dnn_conv_shape_of(s);
    c->kept = !s->want_dp || s->param_size[0] * sizeof(float) <= KEPT_BYTES;
    PF_TRY(dnn_open(&c->lib));
    PF_TRY(dnn_conv_create(c->lib, DNN_CONV_FORWARD, &c->shape, &c->forward));
    PF_TRY(dnn_conv_pack_create(c->lib, c->forward, &c->shape, &c->pack_forward));
    if (s->want_dx[0]) {
        PF_TRY(dnn_conv_create(c->lib, DNN_CONV_DATA, &c->shape, &c->data));
        PF_TRY(dnn_conv_pack_create(c->lib, c->data, &c->shape, &c->pack_data));
    }
    if (s->want_dp && by_outer(s)) {
        c->outer = (pf_outer){s->B * s->in[0].h * s->in[0].w, s->out.c, s->in[0].c};
    } else if (s->want_dp) {
        PF_TRY(dnn_conv_create(c->lib, DNN_CONV_WEIGHTS, &c->shape, &c->weights));
        PF_TRY(dnn_conv_unpack_create(c->lib, c->weights, &c->shape, &c->unpack));
        c->bias_sink = pf_zalloc((size_t)c->shape.cout * sizeof(float));
        PF_REQUIRE(c->bias_sink, PF_EMEM, "no memory for the gradient of a bias");
    }
    return PF_OK;
}

static void close(void *ctx)
{
    conv *c = ctx;
    if (!c) return;
    dnn_op_free(c->forward);
    dnn_op_free(c->data);
    dnn_op_free(c->weights);
    dnn_op_free(c->pack_forward);
    dnn_op_free(c->pack_data);
    dnn_op_free(c->unpack);
    pf_free(c->bias_sink);
    dnn_close(c->lib);
    pf_free(c);
}

static pf_status open(const pf_site *s, void **ctx)
{
    conv *c = pf_zalloc(sizeof *c);
    if (!c) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    pf_status st = conv_init(c, s);
    if (st) {
        close(c);
        return pf_trail(st, PF_WHERE);
    }
    *ctx = c;
    return PF_OK;
}

static PF_MUST_USE pf_status repack(conv *c, dnn_op *op, const float *from, float *to,
                                    void *scratch)
{
    if (!op) return PF_OK;
    const void *ptr[] = {from, to};
    return dnn_run(c->lib, op, ptr, scratch);
}

static size_t bytes_to_floats(size_t bytes)
{
    return (bytes + 63) / 64 * 16;
}

static size_t packed_floats(const dnn_op *of, const dnn_op *pack)
{
    return pack ? bytes_to_floats(dnn_conv_weight_bytes(of)) : 0;
}

static size_t prepared(const pf_site *s, void *ctx)
{
    const conv *c = ctx;
    (void)s;
    if (!c->kept) return 0;
    return packed_floats(c->forward, c->pack_forward) + packed_floats(c->data, c->pack_data);
}

/* What of the prepared weights a primitive reads. */
static float *kept_weights(const conv *c, const pf_call *call, const dnn_op *pack)
{
    size_t first = pack == c->pack_data ? packed_floats(c->forward, c->pack_forward) : 0;
    return call->prepared + first;
}

static pf_status prepare(void *ctx, const pf_call *call)
{
    conv *c = ctx;
    dnn_op *packs[] = {c->pack_forward, c->pack_data};
    for (int i = 0; i < 2; i++)
        PF_TRY(repack(c, packs[i], call->param[0], kept_weights(c, call, packs[i]),
                      call->scratch));
    return PF_OK;
}

static size_t max2(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Floats of the weights that a pass packs itself: they come first in its working space. */
static size_t own_weights(const conv *c, const dnn_op *of, const dnn_op *pack)
{
    return c->kept ? 0 : packed_floats(of, pack);
}

static size_t packed_scratch(const conv *c, const dnn_op *of, const dnn_op *pack)
{
    if (!of) return 0;
    size_t own = max2(dnn_op_scratch(of), dnn_op_scratch(pack));
    return own_weights(c, of, pack) * sizeof(float) + own;
}

/* The weight gradient before unpacking comes first, then the primitive's own scratch. */
static size_t scratch(const pf_site *s, void *ctx)
{
    const conv *c = ctx;
    (void)s;
    size_t n = max2(packed_scratch(c, c->forward, c->pack_forward),
                    packed_scratch(c, c->data, c->pack_data));
    if (c->weights) {
        size_t own = max2(dnn_op_scratch(c->weights), dnn_op_scratch(c->unpack));
        size_t packed_gradient = c->unpack ? dnn_conv_weight_bytes(c->weights) : 0;
        n = max2(n, bytes_to_floats(packed_gradient) * sizeof(float) + own);
    }
    if (c->outer.rows)
        n = max2(n, outer_ops[pf_isa_clone()]->scratch(&c->outer) * sizeof(float));
    return bytes_to_floats(n);
}

/* The weights as a primitive wants them; *own is the working space left. */
static PF_MUST_USE pf_status weights_of(conv *c, dnn_op *pack, const pf_call *call,
                                        const float **w, float **own)
{
    dnn_op *of = pack == c->pack_forward ? c->forward : c->data;
    *own = call->scratch;
    *w = !pack ? call->param[0] : c->kept ? kept_weights(c, call, pack) : call->scratch;
    if (!pack || c->kept) return PF_OK;
    *own += own_weights(c, of, pack);
    return repack(c, pack, call->param[0], call->scratch, *own);
}

static pf_status forward(void *ctx, const pf_call *call)
{
    conv *c = ctx;
    const float *w;
    float *own;
    PF_TRY(weights_of(c, c->pack_forward, call, &w, &own));
    const void *with[] = {call->in[0], w, call->param[1], call->out};
    const void *without[] = {call->in[0], w, call->out};
    return dnn_run(c->lib, c->forward, c->shape.bias ? with : without, own);
}

static pf_status backward(void *ctx, const pf_call *call)
{
    conv *c = ctx;
    float *own;
    if (call->gin[0]) {
        const float *w;
        PF_TRY(weights_of(c, c->pack_data, call, &w, &own));
        const void *ptr[] = {call->gout, w, call->gin[0]};
        PF_TRY(dnn_run(c->lib, c->data, ptr, own));
    }
    if (!call->gparam[0]) return PF_OK;
    if (c->outer.rows) {
        const pf_outer_out to = {call->gparam[0], call->gparam[1]};
        outer_ops[pf_isa_clone()]->run(&c->outer, call->gout, call->in[0], &to, call->scratch);
        return PF_OK;
    }
    float *gw = c->unpack ? call->scratch : call->gparam[0];
    own = call->scratch;
    if (c->unpack) own += bytes_to_floats(dnn_conv_weight_bytes(c->weights));
    const void *ptr[] = {call->in[0], call->gout, gw,
                         call->gparam[1] ? call->gparam[1] : c->bias_sink};
    PF_TRY(dnn_run(c->lib, c->weights, ptr, own));
    return repack(c, c->unpack, gw, call->gparam[0], own);
}

const pf_row pf_dnn_conv = {
    .backend = "onednn",
    .open = open,
    .close = close,
    .prepared = prepared,
    .prepare = prepare,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
