/* The matrix work of a pass as bare primitives: what is left of a plan when every operator between
 * the products, every reorder and all bookkeeping cost nothing.
 *
 * A product reads each argument from memory as warm as in the pass.  What the operator before has
 * just written comes from a block that stays in the cache (WARM); what backward reads of the
 * forward pass (COLD) and all that is written (OUT) has a pool each as large as the plan, of which
 * every product takes the next piece; each run begins where it began before.  Weights have memory
 * of their own (OWN).  What is read is never written, so it keeps ordinary values. */
#include "nn/kernels/heads.h"
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>
#include <probflow/random.h>
#include <string.h>

enum { POOL_BYTES = 256 * 1024 * 1024, LINE = 64, MOST = 6 /* products of a site */ };

typedef enum role { WARM, COLD, OWN, OUT } role;

typedef struct product {
    dnn_op *op;
    int times; /* one after the other, as the steps of a recurrence */
    int n;     /* arguments */
    role role[DNN_MAX_ARGS];
    size_t bytes[DNN_MAX_ARGS];
    void *own[DNN_MAX_ARGS];
} product;

struct pf_limit {
    dnn_lib *lib;
    int bf16;
    product *all; /* in the order of a run: forward, then backward from the last site */
    int n, room;
    void *scratch;
    unsigned char *room_of[OUT + 1]; /* WARM, COLD, OUT; owned */
    size_t bytes[OUT + 1];
    double flops;
};

/* Owns op from now on. */
static void add(pf_limit *l, dnn_op *op, int n, const role *role, double flops)
{
    PF_ASSERT(l->n < l->room);
    product *p = &l->all[l->n++];
    *p = (product){.op = op, .times = 1, .n = n};
    for (int i = 0; i < n; i++) {
        p->role[i] = role[i];
        p->bytes[i] = (dnn_op_bytes(op, i) + LINE - 1) / LINE * LINE;
    }
    l->flops += flops;
}

static PF_MUST_USE pf_status add_conv(pf_limit *l, dnn_conv_kind kind, const pf_site *s)
{
    static const role roles[][DNN_MAX_ARGS] = {
        [DNN_CONV_FORWARD] = {WARM, OWN, OWN, OUT},
        [DNN_CONV_DATA] = {WARM, OWN, OUT},
        [DNN_CONV_WEIGHTS] = {COLD, WARM, OUT, OUT},
    };
    static const role without_bias[] = {WARM, OWN, OUT};
    dnn_conv_shape c = dnn_conv_shape_of(s);
    dnn_op *op = NULL;
    c.bf16 = l->bf16;
    double flops = 2.0 * c.B * c.oh * c.ow * c.cout * c.cin * c.kernel * c.kernel;
    PF_TRY(dnn_conv_create(l->lib, kind, &c, &op));
    int n = kind == DNN_CONV_DATA ? 3 : 3 + c.bias;
    int plain = kind == DNN_CONV_FORWARD && !c.bias;
    add(l, op, n, plain ? without_bias : roles[kind], flops);
    return PF_OK;
}

static PF_MUST_USE pf_status add_matmul(pf_limit *l, dnn_matmul_shape m, const role *role)
{
    dnn_op *op = NULL;
    m.bf16 = l->bf16;
    PF_TRY(dnn_matmul_create(l->lib, &m, &op));
    add(l, op, 3, role, 2.0 * m.n * (double)m.M * m.N * m.K);
    return PF_OK;
}

/* first .. last of a site's products; see attention.c for what they are. */
static PF_MUST_USE pf_status add_attention(pf_limit *l, const pf_site *s, int first, int last)
{
    static const role roles[MOST][3] = {
        {WARM, WARM, OUT}, {WARM, WARM, OUT}, /* q k', P v       */
        {COLD, WARM, OUT}, {WARM, COLD, OUT}, /* P' dy, dy v'    */
        {WARM, COLD, OUT}, {WARM, COLD, OUT}, /* dS k, dS' q     */
    };
    const pf_heads a = pf_heads_of(s);
    int n = a.n, d = a.d, B = s->B * a.heads, k = n; /* keys that a query sees */
    if (a.mask == PF_MASK_WINDOW && 3 * (double)a.window < n) k = 3 * a.window;
    const dnn_matmul_shape shape[MOST] = {
        {B, n, k, d, 0, 1, 1.0f}, {B, n, d, k, 0, 0, 1.0f}, {B, k, d, n, 1, 0, 1.0f},
        {B, n, k, d, 0, 1, 1.0f}, {B, n, d, k, 0, 0, 1.0f}, {B, k, d, n, 1, 0, 1.0f},
    };
    for (int i = first; i <= last; i++) PF_TRY(add_matmul(l, shape[i], roles[i]));
    return PF_OK;
}

/* The products of linear attention: r' v and p M; backward dp = dy M', dM = p' dy, dr = v dM', dv = r dM. */
static PF_MUST_USE pf_status add_linear_attention(pf_limit *l, const pf_site *s, int backward)
{
    static const role fresh[] = {WARM, WARM, OUT}, kept[] = {WARM, COLD, OUT};
    const pf_heads a = pf_heads_of(s);
    int n = a.n, d = a.d, B = s->B * a.heads, keys = s->want_dx[1] || s->want_dx[2];
    const dnn_matmul_shape outer = {B, d, d, n, 1, 0, 1.0f}, map = {B, n, d, d, 0, 0, 1.0f},
                           turned = {B, n, d, d, 0, 1, 1.0f};
    if (!backward) {
        PF_TRY(add_matmul(l, outer, fresh));
        return add_matmul(l, map, fresh);
    }
    if (s->want_dx[0]) PF_TRY(add_matmul(l, turned, kept));
    if (keys) PF_TRY(add_matmul(l, outer, kept));
    if (s->want_dx[1]) PF_TRY(add_matmul(l, turned, kept));
    if (s->want_dx[2]) PF_TRY(add_matmul(l, map, kept));
    return PF_OK;
}

/* The products of an LSTM: that of all inputs, and one after the other those of its steps. */
static PF_MUST_USE pf_status add_steps(pf_limit *l, int steps, const dnn_matmul_shape *m)
{
    static const role roles[] = {WARM, OWN, OUT};
    double before = l->flops;
    PF_TRY(add_matmul(l, *m, roles));
    l->all[l->n - 1].times = steps;
    l->flops += (l->flops - before) * (steps - 1);
    return PF_OK;
}

static PF_MUST_USE pf_status add_lstm(pf_limit *l, const pf_site *s, int backward)
{
    static const role kept[] = {COLD, WARM, OUT};
    int L = s->out.h * s->out.w, h = s->out.c, in = s->in[0].c, rows = s->B * L;
    const dnn_matmul_shape inputs = {1, rows, 4 * h, in, 0, 1, 1.0f},
                           step = {1, s->B, 4 * h, h, 0, 1, 1.0f},
                           dx = {1, rows, in, 4 * h, 0, 0, 1.0f},
                           back = {1, s->B, h, 4 * h, 0, 0, 1.0f},
                           dw = {1, 4 * h, in, rows, 1, 0, 1.0f},
                           du = {1, 4 * h, h, rows, 1, 0, 1.0f};
    if (!backward) {
        PF_TRY(add_steps(l, 1, &inputs));
        return add_steps(l, L, &step);
    }
    if (!s->want_dx[0] && !s->want_dp) return PF_OK;
    PF_TRY(add_steps(l, L, &back));
    if (s->want_dx[0]) PF_TRY(add_steps(l, 1, &dx));
    if (!s->want_dp) return PF_OK;
    PF_TRY(add_matmul(l, dw, kept));
    return add_matmul(l, du, kept);
}

static int is_map(const pf_site *s)
{
    return s->op == PF_OP_CONV || s->op == PF_OP_LINEAR || s->op == PF_OP_MASKED_LINEAR;
}

static PF_MUST_USE pf_status add_forward(pf_limit *l, const pf_site *s)
{
    if (s->op == PF_OP_ATTENTION) return add_attention(l, s, 0, 1);
    if (s->op == PF_OP_LINEAR_ATTENTION) return add_linear_attention(l, s, 0);
    if (s->op == PF_OP_LSTM) return add_lstm(l, s, 0);
    if (is_map(s)) return add_conv(l, DNN_CONV_FORWARD, s);
    return PF_OK;
}

static PF_MUST_USE pf_status add_backward(pf_limit *l, const pf_site *s)
{
    if (s->op == PF_OP_ATTENTION) {
        if (s->n_in < 3) return s->want_dx[0] ? add_attention(l, s, 2, MOST - 1) : PF_OK;
        if (s->want_dx[2]) PF_TRY(add_attention(l, s, 2, 2));
        if (s->want_dx[0] || s->want_dx[1]) PF_TRY(add_attention(l, s, 3, 3));
        if (s->want_dx[0]) PF_TRY(add_attention(l, s, 4, 4));
        if (s->want_dx[1]) PF_TRY(add_attention(l, s, 5, 5));
        return PF_OK;
    }
    if (s->op == PF_OP_LINEAR_ATTENTION) return add_linear_attention(l, s, 1);
    if (s->op == PF_OP_LSTM) return add_lstm(l, s, 1);
    if (!is_map(s)) return PF_OK;
    if (s->want_dx[0]) PF_TRY(add_conv(l, DNN_CONV_DATA, s));
    if (s->want_dp) PF_TRY(add_conv(l, DNN_CONV_WEIGHTS, s));
    return PF_OK;
}

/* Numbers about `scale` in size, both as floats and as pairs of bf16. */
static void *noise(size_t bytes, uint64_t key, float scale)
{
    uint32_t *a = pf_zalloc(bytes);
    pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST, .sample = key};
    if (a) pf_draw_normal(&d, 0, bytes / sizeof(float), (float *)a);
    for (size_t i = 0; a && i < bytes / sizeof *a; i++) {
        float x;
        memcpy(&x, &a[i], sizeof x);
        x *= scale;
        memcpy(&a[i], &x, sizeof x);
        a[i] = (a[i] & 0xffff0000u) | a[i] >> 16;
    }
    return a;
}

/* Bytes a product takes of each pool. */
static void needs(const product *p, size_t bytes[OUT + 1])
{
    for (int r = WARM; r <= OUT; r++) bytes[r] = 0;
    for (int i = 0; i < p->n; i++) bytes[p->role[i]] += p->bytes[i];
}

static PF_MUST_USE pf_status allocate(pf_limit *l, size_t floats)
{
    size_t scratch = 0, pool = floats * sizeof(float), own[OUT + 1];
    l->bytes[COLD] = l->bytes[OUT] = pool < POOL_BYTES ? pool : POOL_BYTES;
    for (int k = 0; k < l->n; k++) {
        product *p = &l->all[k];
        for (int i = 0; i < p->n; i++) {
            if (p->role[i] != OWN) continue;
            p->own[i] = noise(p->bytes[i], (uint64_t)(k * DNN_MAX_ARGS + i), 0.01f);
            PF_REQUIRE(p->own[i], PF_EMEM, "no memory for packed weights");
        }
        needs(p, own);
        for (int r = WARM; r <= OUT; r++)
            if (own[r] > l->bytes[r]) l->bytes[r] = own[r];
        if (dnn_op_scratch(p->op) > scratch) scratch = dnn_op_scratch(p->op);
    }
    l->bytes[OWN] = 0;
    l->scratch = pf_zalloc(scratch);
    PF_REQUIRE(l->scratch, PF_EMEM, "no memory for bare products");
    for (int r = WARM; r <= OUT; r++) {
        l->room_of[r] = noise(l->bytes[r], (uint64_t)(r + 1) << 32, 1.0f);
        PF_REQUIRE(l->room_of[r], PF_EMEM, "no memory for bare products");
    }
    return PF_OK;
}

static PF_MUST_USE pf_status create(pf_limit *l, const pf_site *const *site, int n,
                                    size_t floats)
{
    l->room = MOST * n;
    l->all = pf_zalloc((size_t)l->room * sizeof *l->all);
    PF_REQUIRE(l->all, PF_EMEM, "no memory for the products of %d operators", n);
    PF_TRY(dnn_open(&l->lib));
    for (int i = 0; i < n; i++) PF_TRY(add_forward(l, site[i]));
    for (int i = n - 1; i >= 0; i--) PF_TRY(add_backward(l, site[i]));
    return allocate(l, floats);
}

pf_status pf_bare_create(const pf_bare_opt *o, pf_limit **out)
{
    pf_limit *l = pf_zalloc(sizeof *l);
    if (!l) PF_FAIL(PF_EMEM, "no memory for bare products");
    l->bf16 = o->bf16;
    pf_status st = create(l, o->site, o->n, o->floats);
    if (st) {
        pf_limit_free(l);
        if (o->bf16 && st == PF_EEXT)
            PF_FAIL(PF_ENOSUPP, "oneDNN has no bf16 products on this processor");
        return pf_trail(st, PF_WHERE);
    }
    *out = l;
    return PF_OK;
}

void pf_limit_free(pf_limit *l)
{
    if (!l) return;
    for (int k = 0; k < l->n; k++) {
        for (int i = 0; i < DNN_MAX_ARGS; i++) pf_free(l->all[k].own[i]);
        dnn_op_free(l->all[k].op);
    }
    pf_free(l->all);
    for (int r = WARM; r <= OUT; r++) pf_free(l->room_of[r]);
    pf_free(l->scratch);
    dnn_close(l->lib);
    pf_free(l);
}

pf_status pf_limit_run(pf_limit *l)
{
    size_t at[OUT + 1] = {0}, own[OUT + 1];
    for (int k = 0; k < l->n; k++) {
        product *p = &l->all[k];
        const void *ptr[DNN_MAX_ARGS];
        needs(p, own);
        at[WARM] = 0;
        for (int r = COLD; r <= OUT; r++)
            if (at[r] + own[r] > l->bytes[r]) at[r] = 0;
        for (int i = 0; i < p->n; i++) {
            role r = p->role[i];
            ptr[i] = r == OWN ? p->own[i] : l->room_of[r] + at[r];
            at[r] += p->bytes[i];
        }
        for (int i = 0; i < p->times; i++) PF_TRY(dnn_run(l->lib, p->op, ptr, l->scratch));
    }
    return PF_OK;
}

double pf_limit_flops(const pf_limit *l)
{
    return l->flops;
}
