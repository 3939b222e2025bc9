/* Attention over all n = h w pixels, one head, by batched matrix products:
 *
 *     P = softmax(q k' c^-1/2)      y = P v
 *     dv = P' dy      dP = dy v'      dS = P (dP - rowsum(dP P)) c^-1/2
 *     dq = dS k       dk = dS' q
 *
 * P [B,n,n] is kept for the backward pass. */
#include "nn/kernels/fused/softmax.h"
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>
#include <math.h>

enum { SCORES, VALUES, DV, DP, DQ, DK, PRODUCTS };

PF_CLONE_TABLE(const pf_softmax_ops, pf_softmax, softmax);

typedef struct attention {
    dnn_lib *lib;
    dnn_op *op[PRODUCTS];
    int rows, n; /* B n rows of n */
    float scale;
} attention;

static PF_MUST_USE pf_status attention_init(attention *a, const pf_site *s)
{
    int B = s->B, n = s->in[0].h * s->in[0].w, c = s->in[0].c;
    const dnn_matmul_shape shape[PRODUCTS] = {
        [SCORES] = {B, n, n, c, 0, 1, 1.0f}, [VALUES] = {B, n, c, n, 0, 0, 1.0f},
        [DV] = {B, n, c, n, 1, 0, 1.0f},     [DP] = {B, n, n, c, 0, 1, 1.0f},
        [DQ] = {B, n, c, n, 0, 0, 1.0f},     [DK] = {B, n, c, n, 1, 0, 1.0f},
    };
    a->rows = B * n;
    a->n = n;
    a->scale = 1.0f / sqrtf((float)c);
    PF_TRY(dnn_open(&a->lib));
    int count = s->want_dx[0] || s->want_dx[1] || s->want_dx[2] ? PRODUCTS : DV;
    for (int i = 0; i < count; i++) PF_TRY(dnn_matmul_create(a->lib, &shape[i], &a->op[i]));
    return PF_OK;
}

static void close(void *ctx)
{
    attention *a = ctx;
    if (!a) return;
    for (int i = 0; i < PRODUCTS; i++) dnn_op_free(a->op[i]);
    dnn_close(a->lib);
    pf_free(a);
}

static pf_status open(const pf_site *s, void **ctx)
{
    attention *a = pf_zalloc(sizeof *a);
    if (!a) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    pf_status st = attention_init(a, s);
    if (st) {
        close(a);
        return pf_trail(st, PF_WHERE);
    }
    *ctx = a;
    return PF_OK;
}

static size_t own_floats(const attention *a)
{
    size_t n = 0;
    for (int i = 0; i < PRODUCTS; i++) {
        size_t bytes = dnn_op_scratch(a->op[i]);
        n = bytes > n ? bytes : n;
    }
    return (n + 63) / 64 * 16;
}

static size_t saved(const pf_site *s, void *ctx)
{
    const attention *a = ctx;
    (void)s;
    return (size_t)a->rows * (size_t)a->n;
}

/* dS after the products' own scratch. */
static size_t scratch(const pf_site *s, void *ctx)
{
    return own_floats(ctx) + saved(s, ctx);
}

static PF_MUST_USE pf_status product(attention *a, int which, const float *x, const float *y,
                                     float *out, const pf_call *c)
{
    const void *ptr[] = {x, y, out};
    return dnn_run(a->lib, a->op[which], ptr, c->scratch);
}

static pf_status forward(void *ctx, const pf_call *c)
{
    attention *a = ctx;
    PF_TRY(product(a, SCORES, c->in[0], c->in[1], c->saved, c));
    softmax[pf_isa_clone()]->forward(a->rows, a->n, a->scale, c->saved);
    return product(a, VALUES, c->saved, c->in[2], c->out, c);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    attention *a = ctx;
    if (c->gin[2]) PF_TRY(product(a, DV, c->saved, c->gout, c->gin[2], c));
    if (!c->gin[0] && !c->gin[1]) return PF_OK;
    float *d = c->scratch + own_floats(a);
    PF_TRY(product(a, DP, c->gout, c->in[2], d, c));
    softmax[pf_isa_clone()]->backward(a->rows, a->n, a->scale, c->saved, d);
    if (c->gin[0]) PF_TRY(product(a, DQ, d, c->in[1], c->gin[0], c));
    if (c->gin[1]) PF_TRY(product(a, DK, d, c->in[0], c->gin[1], c));
    return PF_OK;
}

const pf_row pf_dnn_attention = {
    .backend = "onednn",
    .open = open,
    .close = close,
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
