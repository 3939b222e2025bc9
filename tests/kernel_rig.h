/* One operator with its memory, and four variants of every operator: shared by kernel tests. */
#ifndef PF_TESTS_KERNEL_RIG_H
#define PF_TESTS_KERNEL_RIG_H

#include <probflow/memory.h>
#include <probflow/random.h>

#include "nn/kernel.h"
#include "checks.h"
#include "kernel_flows.h"

enum { VARIANTS = 4, BATCH = 3 };

/* One operator with its memory. */
typedef struct rig {
    pf_site site;
    const pf_row *row;
    pf_run run;
    float *in[PF_MAX_INPUTS], *gin[PF_MAX_INPUTS];
    float *param[PF_MAX_PARAMS], *gparam[PF_MAX_PARAMS];
    float *out, *gout, *saved, *scratch;
} rig;

static const uint64_t samples[BATCH] = {11, 5, 1000000007};

static inline float *floats(size_t n)
{
    float *a = pf_zalloc(n * sizeof *a);
    assert_non_null(a);
    return a;
}

static inline float *noise(size_t n, uint32_t key)
{
    float *a = floats(n);
    pf_draw d = {.seed = 3, .stream = PF_STREAM_TEST, .sample = key, .step = 0};
    pf_draw_normal(&d, 0, n, a);
    return a;
}

static inline size_t in_size(const rig *r, int k)
{
    return (size_t)r->site.B * pf_shape_size(r->site.in[k]);
}

static inline size_t out_size(const rig *r)
{
    return (size_t)r->site.B * pf_shape_size(r->site.out);
}

static inline pf_shape shape(int h, int w, int c)
{
    return (pf_shape){h, w, c};
}

static inline int out_length(int n, int up, int pads, int kernel, int stride)
{
    return (n * up + pads - kernel) / stride + 1;
}

static inline void two_params(pf_site *s, size_t weight, size_t bias)
{
    s->n_param = 2;
    s->param_size[0] = weight;
    s->param_size[1] = bias;
}

static inline void describe_conv(int v, pf_site *s)
{
    static const pf_attr kind[VARIANTS] = {
        {.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1},
        {.kernel = 3, .stride = 2, .pad_lo = 0, .pad_hi = 1, .dilation = 2},
        {.kernel = 1, .stride = 1},
        {.kernel = 5, .stride = 2, .pad_lo = 2, .pad_hi = 1}};
    const pf_attr *a = &kind[v];
    pf_shape in = s->in[0];
    int pads = a->pad_lo + a->pad_hi;
    int reach = a->dilation ? (a->kernel - 1) * a->dilation + 1 : a->kernel;
    s->attr = *a;
    s->out = shape(out_length(in.h, 1, pads, reach, a->stride),
                   out_length(in.w, 1, pads, reach, a->stride), v == 2 ? 1 : 5);
    two_params(s, (size_t)s->out.c * in.c * a->kernel * a->kernel, s->out.c);
    if (v == 3) s->n_param = 1; /* no bias */
}

static inline void describe_fir(int v, pf_site *s)
{
    static const pf_attr kind[VARIANTS] = {
        {.up = 2, .stride = 1, .pad_lo = 2, .pad_hi = 1, .a = 4.0},
        {.up = 1, .stride = 2, .pad_lo = 1, .pad_hi = 1, .a = 1.0},
        {.up = 1, .stride = 1, .pad_lo = 2, .pad_hi = 1, .a = 1.0},
        {.up = 3, .stride = 2, .pad_lo = 0, .pad_hi = 3, .a = 9.0}};
    const pf_attr *a = &kind[v];
    int pads = a->pad_lo + a->pad_hi;
    s->attr = *a;
    s->out.h = out_length(s->in[0].h, a->up, pads, 4, a->stride);
    s->out.w = out_length(s->in[0].w, a->up, pads, 4, a->stride);
}

static inline void describe_norm(int v, pf_site *s)
{
    static const int groups[VARIANTS] = {1, 1, 2, 4}; /* of one pixel: three channels each */
    s->attr =
        (pf_attr){.groups = groups[v], .eps = 1e-2, .silu = v != 1, .rate = v % 2 ? 0.3 : 0.0};
    s->n_in = v == 1 ? 1 : 2;
    s->attr.scale_shift = v == 0 || v == 2;
    s->in[1] = shape(1, 1, s->in[0].c * (1 + s->attr.scale_shift));
    two_params(s, s->in[0].c, s->in[0].c);
}

/* A table's rows in even variants, parameters in odd ones. */
static inline void describe_instance_norm(int v, pf_site *s)
{
    if (v == 1) s->in[0].c = s->out.c = 2;
    int c = s->in[0].c;
    s->attr.eps = 1e-2;
    s->n_in = 2 - v % 2;
    s->in[1] = shape(1, 1, 3 * c);
    s->n_param = v % 2 ? 3 : 0;
    for (int k = 0; k < s->n_param; k++) s->param_size[k] = (size_t)c;
}

/* Three inputs, or heads packed in one input; with padding, causal, in windows. */
static inline void describe_attention(int v, pf_site *s)
{
    pf_shape in = s->in[0];
    s->n_in = v % 2 ? 3 : v ? 1 : 2;
    s->in[1] = s->in[2] = in;
    if (v == 1) s->attr = (pf_attr){.heads = 1, .mask = PF_MASK_WINDOW, .window = 3};
    if (v % 2) return;
    s->out = v ? shape(2, 3, 6) : in;
    s->attr = (pf_attr){.heads = v ? 3 : 2,
                        .order = v ? PF_PARTS_WITHIN_HEADS : PF_HEADS_WITHIN_PARTS,
                        .mask = v ? PF_MASK_NONE : PF_MASK_CAUSAL};
    s->in[0] = shape(s->out.h, s->out.w, 3 * s->out.c);
    s->in[1] = shape(s->out.h, s->out.w, 1);
}

static inline void describe_linear_attention(int v, pf_site *s)
{
    static const int heads[VARIANTS] = {2, 1, 3, 2};
    if (v == 2) s->in[0] = s->out = shape(2, 3, 6); /* of one position only v has a slope */
    s->attr.heads = heads[v];
    s->n_in = 3 + v % 2;
    s->in[1] = s->in[2] = s->in[0];
    s->in[3] = shape(s->out.h, s->out.w, 1);
}

static inline void describe_layer_norm(int v, pf_site *s)
{
    s->attr = (pf_attr){.eps = 0.3, .rms = v % 2}; /* too smooth for differences to err */
    two_params(s, s->out.c, s->out.c);
    if (v == 1 || v == 2) s->n_param = 1; /* no bias */
}

static inline void describe_pick(int v, pf_site *s)
{
    static const int kind[VARIANTS][3] = {{1, 1, 2}, {0, 1, 1}, {1, 2, 3}, {2, 3, 2}};
    s->attr = (pf_attr){.first = kind[v][0], .step = kind[v][1]};
    s->out.c = kind[v][2];
}

/* Two tables whose last window is short, or one. */
static inline void describe_positions(int v, pf_site *s)
{
    int n = s->out.h * s->out.w, c = s->out.c, window = v % 2 ? n : n > 4 ? 4 : 1;
    s->attr.window = window;
    two_params(s, (size_t)((n + window - 1) / window * c), (size_t)(window * c));
}

static inline void describe_rotary(int v, pf_site *s)
{
    static const int turned[VARIANTS] = {4, 2, 6, 4}, heads[VARIANTS] = {1, 1, 3, 2};
    if (v == 1) s->in[0].c = s->out.c = 2;
    s->attr = (pf_attr){.turned = turned[v], .heads = heads[v], .a = 100.0};
}

/* Degrees that let some channels see all, some one and some none. */
static inline void describe_masked_linear(int v, pf_site *s)
{
    static const int in[8] = {1, 0, 3, 2, 2, 5, 4, 0}, out[5] = {2, 9, 0, -1, 3};
    s->out.c = v == 2 ? 1 : 5;
    s->attr = (pf_attr){.in_degree = in, .out_degree = out, .same = v % 2};
    two_params(s, (size_t)(s->out.c * s->in[0].c), (size_t)s->out.c);
}

/* Forwards, backwards with padding. */
static inline void describe_lstm(int v, pf_site *s)
{
    static const int hidden[VARIANTS] = {3, 5, 2, 1};
    size_t h = (size_t)hidden[v], c = (size_t)s->in[0].c;
    const size_t size[] = {4 * h * c, 4 * h * h, 4 * h, 4 * h};
    s->attr.reverse = v % 2;
    s->n_in = 1 + v % 2;
    s->in[1] = shape(s->out.h, s->out.w, 1);
    s->out.c = hidden[v];
    s->n_param = 4;
    memcpy(s->param_size, size, sizeof size);
}

static inline void describe_places(pf_site *s)
{
    const int width = 3;
    s->out.c += width;
    two_params(s, (size_t)(2 * width * (s->out.h * s->out.w + 2)), (size_t)width);
}

/* Two logistics or one. */
static inline void describe_mixture_cdf(int v, pf_site *s)
{
    int c = s->in[0].c, M = v % 2 ? 1 : 2;
    s->n_in = 2;
    s->in[1] = shape(s->in[0].h, s->in[0].w, c * (2 + 3 * M));
    s->out.c = 2 * c;
    two_params(s, (size_t)c, (size_t)(c * M));
}

/* The second and third input of those that have them. */
static inline void more_inputs(pf_site *s)
{
    pf_shape in = s->in[0];
    switch (s->op) {
    case PF_OP_ADD_SCALE:
        s->in[1] = in;
        break;
    case PF_OP_CONCAT:
        s->in[1] = shape(in.h, in.w, 3);
        break;
    case PF_OP_ADD_CHANNEL:
        s->in[1] = shape(1, 1, in.c);
        break;
    case PF_OP_SINE:
    case PF_OP_DIVIDE:
        s->in[1] = shape(1, 1, 1);
        break;
    case PF_OP_MODULATE:
    case PF_OP_GATE:
        s->in[1] = s->in[2] = shape(1, 1, in.c);
        if (s->op == PF_OP_GATE) s->in[2] = in;
        s->n_in = 3;
        return;
    case PF_OP_LEVELS:
        s->in[1] = s->in[2] = shape(1, 1, 1);
        s->n_in = 3;
        return;
    default:
        return;
    }
    s->n_in = 2;
}

/* The input of integers that says what is there; -1: none. */
static inline int padding_of(const pf_site *s)
{
    int attends =
        s->op == PF_OP_ATTENTION || s->op == PF_OP_LINEAR_ATTENTION || s->op == PF_OP_LSTM;
    if (s->op == PF_OP_BITS || s->op == PF_OP_TURN || s->op == PF_OP_CELLS) return s->n_in - 1;
    return attends && s->n_in % 2 == 0 ? s->n_in - 1 : -1;
}

/* Variant v of an operator: odd sizes, one channel, one pixel. */
static inline void describe(pf_op op, int v, pf_site *s)
{
    static const pf_shape in[VARIANTS] = {{5, 3, 4}, {4, 7, 1}, {1, 1, 6}, {6, 6, 8}};
    pf_shape twice = shape(2 * in[v].h, 2 * in[v].w, in[v].c);
    *s = (pf_site){.op = op, .name = "case", .index = 7 + v, .B = BATCH};
    s->n_in = 1;
    s->in[0] = s->out = in[v];
    more_inputs(s);
    if (op == PF_OP_CONV) describe_conv(v, s);
    if (op == PF_OP_FIR) describe_fir(v, s);
    if (op == PF_OP_GROUP_NORM) describe_norm(v, s);
    if (op == PF_OP_ATTENTION) describe_attention(v, s);
    if (op == PF_OP_LINEAR) {
        s->attr.in_out = v % 2;
        s->out.c = v == 2 ? 1 : 5;
        two_params(s, (size_t)s->out.c * in[v].c, s->out.c);
        if (v == 3) s->n_param = 1;
    }
    if (op == PF_OP_DROPOUT) s->attr = (pf_attr){.rate = 0.4, .positions = v == 3};
    if (op == PF_OP_UP2) s->out = twice;
    if (op == PF_OP_DOWN2) s->in[0] = twice;
    if (op == PF_OP_CONCAT) s->out.c += s->in[1].c;
    if (op == PF_OP_ADD_SCALE) s->attr.a = 0.7071;
    if (op == PF_OP_AFFINE) s->attr = (pf_attr){.a = -1.5, .b = 0.25};
    if (op == PF_OP_SINE) s->attr = (pf_attr){.a = 0.3, .b = 0.1};
    if (op == PF_OP_LEVELS) {
        s->attr.levels = v == 0 ? 3 : 16;
        s->n_param = 1;
        s->param_size[0] = (size_t)s->out.c * s->attr.levels;
    }
    if (op == PF_OP_POSITIONAL || op == PF_OP_FOURIER) {
        s->in[0] = shape(1, 1, 1);
        s->out = shape(1, 1, 8);
        s->n_param = op == PF_OP_FOURIER;
        s->param_size[0] = s->n_param ? 4 : 0;
    }
    if (op == PF_OP_LEAKY_RELU) s->attr.a = 0.1;
    if (op == PF_OP_INSTANCE_NORM) describe_instance_norm(v, s);
    if (op == PF_OP_POOL)
        s->attr =
            (pf_attr){.kernel = v == 1 ? 3 : 5, .pool = v % 2 ? PF_POOL_MEAN : PF_POOL_MAX};
    if (op == PF_OP_BILINEAR) {
        static const int to[VARIANTS][2] = {{9, 4}, {1, 3}, {3, 2}, {11, 2}};
        s->out = shape(to[v][0], to[v][1], in[v].c);
    }
    if (op == PF_OP_RESHAPE) s->out = shape(in[v].c, in[v].h, in[v].w);
    if (op == PF_OP_EMBED || op == PF_OP_EMBED_BETWEEN) {
        s->in[0] = shape(1, 1, 1);
        s->out = shape(1, 1, 8);
        s->n_param = 1;
        s->param_size[0] = (size_t)(3 + v) * 8;
    }
    if (op == PF_OP_MEAN || op == PF_OP_FIRST) s->out = shape(1, 1, in[v].c);
    if (op == PF_OP_TOKENS) {
        s->out = shape(1, in[v].h * in[v].w + 1, in[v].c);
        s->n_param = 1;
        s->param_size[0] = pf_shape_size(s->out);
    }
    if (op == PF_OP_EMBED && v == 3) s->in[0] = shape(2, 3, 1), s->out = shape(2, 3, 8);
    if (op == PF_OP_GELU) s->attr.curve = v % 2 ? PF_GELU_TANH : PF_GELU_ERF;
    if (op == PF_OP_LAYER_NORM) describe_layer_norm(v, s);
    if (op == PF_OP_PICK) describe_pick(v, s);
    if (op == PF_OP_POSITIONS) describe_positions(v, s);
    if (op == PF_OP_ROTARY) describe_rotary(v, s);
    if (op == PF_OP_LINEAR_ATTENTION) describe_linear_attention(v, s);
    if (op == PF_OP_BITS) describe_bits(v, s);
    if (op == PF_OP_TURN) describe_turn(v, s);
    if (op == PF_OP_INVERTIBLE) describe_invertible(s);
    if (op == PF_OP_NORMAL_NATS) describe_normal_nats(s);
    if (op == PF_OP_DRAW) describe_draw(s);
    if (op == PF_OP_CELLS) describe_cells(s);
    if (op == PF_OP_BOUNDED) describe_bounded(s);
    if (op == PF_OP_ACT_NORM) describe_act_norm(s);
    if (op == PF_OP_SHUFFLE) describe_shuffle(s);
    if (op == PF_OP_MASKED_LINEAR) describe_masked_linear(v, s);
    if (op == PF_OP_LSTM) describe_lstm(v, s);
    if (op == PF_OP_PLACES) describe_places(s);
    if (op == PF_OP_MIXTURE_CDF) describe_mixture_cdf(v, s);
    if (op == PF_OP_SCALE_BY) s->n_param = 1, s->param_size[0] = 1;
    for (int k = 0; k < s->n_in; k++)
        s->want_dx[k] = (pf_op_slopes(op) >> k & 1) && k != padding_of(s);
    s->want_dp = s->n_param > 0 && op != PF_OP_LEVELS && op != PF_OP_SHUFFLE;
}

/* Bins of 2/levels under noise below and above 8/levels; frequencies far from equal. */
static inline void levels_inputs(rig *r)
{
    for (int b = 0; b < r->site.B; b++) {
        r->in[1][b] = 0.3f * (float)(1 << 2 * b);
        r->in[2][b] = 1.0f - 0.2f * (float)b;
    }
    for (size_t i = 0; i < r->site.param_size[0]; i++) r->param[0][i] *= r->param[0][i];
}

/* Away from the kink, where differences are no derivative. */
static inline void leave_zero(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) < 0.02f) x[i] += 0.1f;
}

/* Far enough apart for no difference to change their order. */
static inline void keep_apart(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = 0.05f * (float)(i * 7919 % n) - 1.0f;
}

/* Scales that differences follow, and whose bounds are away from their kink at 0. */
static inline void calm(rig *r)
{
    for (size_t i = 0; i < in_size(r, 1); i++) r->in[1][i] *= 0.5f;
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < r->site.param_size[k]; i++) r->param[k][i] *= 0.3f;
        leave_zero(r->param[k], r->site.param_size[k]);
    }
}

static inline void places(rig *r, int v)
{
    const float place[BATCH] = {v % 2 ? 1.75f : 0.25f, 2.0f, 0.25f};
    memcpy(r->in[0], place, sizeof place);
}

/* One label twice; in other variants none as well. */
static inline void labels(rig *r, int v)
{
    const int32_t label[BATCH] = {2, v % 2 ? -1 : 1, 2};
    for (size_t i = 0; i < in_size(r, 0); i++)
        memcpy(r->in[0] + i, label + i % BATCH, sizeof *label);
}

/* One sample whole, one without its end, one with a hole. */
static inline void padding(rig *r, float *in)
{
    size_t n = pf_shape_size(r->site.out) / (size_t)r->site.out.c;
    for (size_t i = 0; i < n * (size_t)r->site.B; i++) {
        size_t b = i / n, l = i % n;
        int32_t label = (b == 1 && l >= n - n / 3) || (b == 2 && l == n / 2) ? -1 : 3;
        if ((r->site.op == PF_OP_BITS || r->site.op == PF_OP_CELLS) && label > 0)
            label = (int32_t)(l % (size_t)r->site.out.c);
        memcpy(in + i, &label, sizeof label);
    }
}

static inline void rig_open(rig *r, const pf_site *s)
{
    *r = (rig){.site = *s, .row = pf_ref_rows[s->op]};
    r->run = (pf_run){.train = 1, .seed = 99, .sample = samples, .step = 4};
    assert_true(!r->row->open && !r->row->prepare);
    for (int k = 0; k < s->n_in; k++) {
        r->in[k] = noise(in_size(r, k), 10 + k);
        r->gin[k] = noise(in_size(r, k), 77); /* kernels overwrite */
    }
    for (int k = 0; k < s->n_param; k++) {
        r->param[k] = noise(s->param_size[k], 20 + k);
        r->gparam[k] = noise(s->param_size[k], 77);
    }
    if (s->op == PF_OP_DIVIDE)
        for (int b = 0; b < s->B; b++) r->in[1][b] = 0.5f + b;
    if (s->op == PF_OP_LEVELS) levels_inputs(r);
    if (s->op == PF_OP_POOL) keep_apart(r->in[0], in_size(r, 0));
    if (s->op == PF_OP_EMBED_BETWEEN) places(r, s->index - 7);
    if (s->op == PF_OP_RELU || s->op == PF_OP_LEAKY_RELU) leave_zero(r->in[0], in_size(r, 0));
    if (s->op == PF_OP_INVERTIBLE) lift_diagonal(r->param[0], s->in[0].c);
    if (s->op == PF_OP_SHUFFLE) turn_order(r->param[0], s->param_size[0]);
    if (s->op == PF_OP_MIXTURE_CDF) calm(r);
    for (int k = 0; s->op == PF_OP_LSTM && k < 4; k++) /* differences forget the steps before */
        for (size_t i = 0; i < s->param_size[k]; i++) r->param[k][i] *= 0.4f;
    if (s->op == PF_OP_EMBED) labels(r, s->index - 7);
    if (padding_of(s) >= 0) padding(r, r->in[padding_of(s)]);
    r->out = floats(out_size(r));
    r->gout = noise(out_size(r), 30);
    r->saved = floats(r->row->saved ? r->row->saved(s, NULL) : 0);
    r->scratch = floats(r->row->scratch ? r->row->scratch(s, NULL) : 0);
}

static inline void rig_close(rig *r)
{
    for (int k = 0; k < PF_MAX_INPUTS; k++) {
        pf_free(r->in[k]);
        pf_free(r->gin[k]);
    }
    for (int k = 0; k < PF_MAX_PARAMS; k++) {
        pf_free(r->param[k]);
        pf_free(r->gparam[k]);
    }
    pf_free(r->out);
    pf_free(r->gout);
    pf_free(r->saved);
    pf_free(r->scratch);
}

static inline void rig_make(rig *r, pf_op op, int variant)
{
    pf_site s;
    describe(op, variant, &s);
    rig_open(r, &s);
}

static inline pf_call call_of(rig *r)
{
    pf_call c = {.site = &r->site,
                 .run = &r->run,
                 .out = r->out,
                 .saved = r->saved,
                 .scratch = r->scratch,
                 .gout = r->gout};
    for (int k = 0; k < r->site.n_in; k++) c.in[k] = r->in[k];
    for (int k = 0; k < r->site.n_param; k++) c.param[k] = r->param[k];
    return c;
}

static inline void forward(rig *r)
{
    pf_call c = call_of(r);
    assert_int_equal(r->row->forward(NULL, &c), PF_OK);
}

/* Gradients whose bit is set: inputs first, then parameters. */
static inline void backward(rig *r, unsigned wanted)
{
    pf_call c = call_of(r);
    for (int k = 0; k < r->site.n_in; k++)
        if (r->site.want_dx[k] && wanted >> k & 1) c.gin[k] = r->gin[k];
    for (int k = 0; k < r->site.n_param; k++)
        if (wanted >> (PF_MAX_INPUTS + k) & 1) c.gparam[k] = r->gparam[k];
    assert_int_equal(r->row->backward(NULL, &c), PF_OK);
}

#endif
