/* Linear attention by batched matrix products, each head where it lies among the others:
 *
 *     M = r' v      y = p M
 *     dM = p' dy    dp = dy M'    dr = v dM'    dv = r dM
 *
 * with p, r the softmaxes of the queries over channels and of the keys over positions (ref/linear_attention.c); these
 * and M are kept for the backward pass. */
#include "nn/kernels/fused/softmax.h"
#include "nn/kernels/heads.h"
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>
#include <math.h>
#include <string.h>

PF_CLONE_TABLE(const pf_softmax_ops, pf_softmax, softmax);

enum { OUTER, APPLY, TURNED, PRODUCTS }; /* x' y, x M, x M' */

typedef struct linear {
    dnn_lib *lib;
    dnn_op *op[PRODUCTS];
    pf_heads at;
    int B;
    float scale;
} linear;

static PF_MUST_USE pf_status linear_init(linear *a, const pf_site *s)
{
    a->at = pf_heads_of(s);
    a->B = s->B;
    a->scale = (float)pow(a->at.d, -0.25);
    int B = s->B, heads = a->at.heads, n = a->at.n, d = a->at.d;
    const dnn_rows in = {(size_t)n * a->at.row, a->at.head, a->at.row}, dense = {0};
    const dnn_matmul_shape shape[PRODUCTS] = {
        [OUTER] = {B, d, d, n, 1, 0, 1.0f, .heads = heads, .a = in, .b = in, .c = dense},
        [APPLY] = {B, n, d, d, 0, 0, 1.0f, .heads = heads, .a = in, .b = dense, .c = in},
        [TURNED] = {B, n, d, d, 0, 1, 1.0f, .heads = heads, .a = in, .b = dense, .c = in},
    };
    PF_TRY(dnn_open(&a->lib));
    for (int i = 0; i < PRODUCTS; i++) PF_TRY(dnn_matmul_create(a->lib, &shape[i], &a->op[i]));
    return PF_OK;
}

static void close(void *ctx)
{
    linear *a = ctx;
    if (!a) return;
    for (int i = 0; i < PRODUCTS; i++) dnn_op_free(a->op[i]);
    dnn_close(a->lib);
    pf_free(a);
}

static pf_status open(const pf_site *s, void **ctx)
{
    linear *a = pf_zalloc(sizeof *a);
    if (!a) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    pf_status st = linear_init(a, s);
    if (st) {
        close(a);
        return pf_trail(st, PF_WHERE);
    }
    *ctx = a;
    return PF_OK;
}

static size_t up(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

static size_t map_floats(const linear *a)
{
    return up((size_t)a->B * (size_t)a->at.n * a->at.row);
}

static size_t matrix_floats(const linear *a)
{
    return up((size_t)(a->B * a->at.heads) * (size_t)(a->at.d * a->at.d));
}

static size_t own_floats(const linear *a)
{
    size_t n = 0;
    for (int i = 0; i < PRODUCTS; i++)
        if (dnn_op_scratch(a->op[i]) > n) n = dnn_op_scratch(a->op[i]);
    return up(n / sizeof(float) + 1);
}

/* Sums of columns, then bytes of the keys. */
static size_t column_floats(const linear *a)
{
    return up(2 * a->at.row) + up((size_t)a->at.n / sizeof(float) + 1);
}

static size_t saved(const pf_site *s, void *ctx)
{
    (void)s;
    return 2 * map_floats(ctx) + matrix_floats(ctx);
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)s;
    return own_floats(ctx) + column_floats(ctx) + matrix_floats(ctx);
}

typedef struct parts {
    float *p, *r, *M;   /* kept */
    float *sums, *dM;   /* working space */
    unsigned char *key; /* 1: it is there */
} parts;

static parts parts_of(const linear *a, const pf_call *c)
{
    parts v = {.p = c->saved, .sums = c->scratch + own_floats(a)};
    v.r = v.p + map_floats(a);
    v.M = v.r + map_floats(a);
    v.key = (unsigned char *)(v.sums + up(2 * a->at.row));
    v.dM = v.sums + column_floats(a);
    return v;
}

static PF_MUST_USE pf_status product(linear *a, int which, const float *x, const float *y,
                                     float *out, const pf_call *c)
{
    const void *ptr[] = {x, y, out};
    return dnn_run(a->lib, a->op[which], ptr, c->scratch);
}

static void softmaxes(const linear *a, const pf_call *c, const parts *v)
{
    size_t size = (size_t)a->at.n * a->at.row;
    memcpy(v->p, c->in[0], (size_t)a->B * size * sizeof(float));
    memcpy(v->r, c->in[1], (size_t)a->B * size * sizeof(float));
    softmax[pf_isa_clone()]->forward(a->B * a->at.n * a->at.heads, a->at.d, a->scale, v->p);
    for (int b = 0; b < a->B; b++) {
        for (int j = 0; j < a->at.n; j++)
            v->key[j] = (unsigned char)pf_heads_there(&a->at, c->in, b, j);
        softmax[pf_isa_clone()]->columns(a->at.n, (int)a->at.row, a->scale, v->key,
                                         v->r + (size_t)b * size, v->sums);
    }
}

static pf_status forward(void *ctx, const pf_call *c)
{
    linear *a = ctx;
    const parts v = parts_of(a, c);
    softmaxes(a, c, &v);
    PF_TRY(product(a, OUTER, v.r, c->in[2], v.M, c));
    return product(a, APPLY, v.p, v.M, c->out, c);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    linear *a = ctx;
    const parts v = parts_of(a, c);
    size_t size = (size_t)a->at.n * a->at.row;
    float *dq = c->gin[0], *dk = c->gin[1], *dv = c->gin[2];
    if (dq) {
        PF_TRY(product(a, TURNED, c->gout, v.M, dq, c));
        softmax[pf_isa_clone()]->backward(a->B * a->at.n * a->at.heads, a->at.d, a->scale, v.p,
                                          dq);
    }
    if (dk || dv) PF_TRY(product(a, OUTER, v.p, c->gout, v.dM, c));
    if (dv) PF_TRY(product(a, APPLY, v.r, v.dM, dv, c));
    if (!dk) return PF_OK;
    PF_TRY(product(a, TURNED, c->in[2], v.dM, dk, c));
    for (int b = 0; b < a->B; b++)
        softmax[pf_isa_clone()]->columns_back(a->at.n, (int)a->at.row, a->scale,
                                              v.r + (size_t)b * size, dk + (size_t)b * size,
                                              v.sums);
    return PF_OK;
}

const pf_row pf_dnn_linear_attention = {
    .backend = "onednn",
    .open = open,
    .close = close,
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
