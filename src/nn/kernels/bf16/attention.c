/* Attention over all n = h w pixels, each head of d channels for itself, with products in bf16 and softmax in
 * float:
 *
 *     P = softmax(q k' d^-1/2)      y = P v
 *     dv = P' dy      dP = dy v'      dS = P (dP - rowsum(dP P)) d^-1/2
 *     dq = dS k       dk = dS' q
 *
 * q, k, v, P, dy and dS are rounded where they are multiplied; P [B,heads,n,n] is kept in float.  Packed heads
 * that would keep more than KEPT numbers a sample are left to other rows. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/product.h"
#include "nn/kernels/bf16/rows.h"
#include "nn/kernels/fused/softmax.h"
#include "nn/kernels/heads.h"
#include <probflow/memory.h>
#include <math.h>

enum { L = 16, KEPT = 1 << 20 };

typedef struct attention {
    pf_heads at;
    int B;
    float scale;
    pf_bf16_run *product;
} attention;

/* Pieces of the scratch memory, in words: two matrices in halves, their packings, dS. */
typedef struct places {
    size_t half[2], packed[2], ds, all;
} places;

static int up(int n)
{
    return (n + L - 1) / L * L;
}

static places places_of(const attention *a)
{
    /* room for any of the matrices in words of one number, while they hold two */
    int d = a->at.d;
    size_t n = (size_t)up(a->at.n), most = n * (size_t)up(a->at.n > d ? a->at.n : d);
    return (places){{0, most}, {2 * most, 3 * most}, 4 * most, 4 * most + n * n};
}

static int applies(const pf_site *s)
{
    const pf_heads a = pf_heads_of(s);
    if (s->attr.sequence) return 0;
    return s->n_in == 3 || (size_t)a.heads * (size_t)a.n * (size_t)a.n <= KEPT;
}

static pf_status open(const pf_site *s, void **ctx)
{
    attention *a = pf_zalloc(sizeof *a);
    if (!a) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    *a = (attention){.B = s->B, .at = pf_heads_of(s)};
    a->scale = 1.0f / sqrtf((float)a->at.d);
    a->product = pf_bf16_best();
    *ctx = a;
    return PF_OK;
}

static void close(void *ctx)
{
    pf_free(ctx);
}

static size_t saved(const pf_site *s, void *ctx)
{
    const attention *a = ctx;
    (void)s;
    return (size_t)a->B * (size_t)a->at.heads * (size_t)a->at.n * (size_t)a->at.n;
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)s;
    return places_of(ctx).all;
}

/* A matrix [n,columns] in float, its rows `row` floats apart; turned: its transpose is meant. */
typedef struct side {
    const float *x;
    int columns, turned;
    size_t row;
} side;

typedef struct result { /* its rows `row` floats apart; NULL: not wanted */
    float *x;
    size_t row;
} result;

/* out [M,N] = left right of one head, where the matrices have n rows as they lie in memory. */
static void multiply(const attention *a, const side *left, const side *right, result out,
                     float *scratch)
{
    places p = places_of(a);
    uint32_t *x = (uint32_t *)(scratch + p.half[0]), *y = (uint32_t *)(scratch + p.half[1]);
    uint32_t *px = (uint32_t *)(scratch + p.packed[0]),
             *py = (uint32_t *)(scratch + p.packed[1]);
    int n = a->at.n, terms = left->turned ? n : left->columns;
    size_t half_x = (size_t)pf_bf16_even(left->columns) / 2,
           half_y = (size_t)pf_bf16_even(right->columns) / 2;
    pf_bf16_product g = {.M = left->turned ? left->columns : n,
                         .N = right->turned ? n : right->columns,
                         .pairs = pf_bf16_even(terms) / 2,
                         .row = half_x,
                         .column = 1,
                         .ldc = out.row};
    g.ldb = (size_t)up(g.N);
    pf_bf16_round_rows(n, left->columns, left->x, left->row, (uint16_t *)x);
    pf_bf16_round_rows(n, right->columns, right->x, right->row, (uint16_t *)y);
    if (left->turned) { /* pairs along the rows */
        pf_bf16_pair_rows(n, left->columns, (const uint16_t *)x, 2 * half_x, px,
                          (size_t)left->columns);
        g.row = 1;
        g.column = (size_t)left->columns;
    }
    if (right->turned) pf_bf16_turn(n, (int)half_y, y, py, g.ldb);
    else pf_bf16_pair_rows(n, right->columns, (const uint16_t *)y, 2 * half_y, py, g.ldb);
    a->product(&g, left->turned ? px : x, py, out.x);
}

/* What a head's products read: q, k and v, P, and rows of the output from `own` on. */
typedef struct head {
    side q, k, v;
    float *p;
    size_t own, width;
} head;

static head head_of(const attention *a, const pf_call *c, int b, int h)
{
    const pf_heads *at = &a->at;
    size_t n = (size_t)at->n, width = (size_t)at->heads * (size_t)at->d;
    return (head){.q = {PF_HEADS_PART(at, c->in, 0, b, h), at->d, 0, at->row},
                  .k = {PF_HEADS_PART(at, c->in, 1, b, h), at->d, 0, at->row},
                  .v = {PF_HEADS_PART(at, c->in, 2, b, h), at->d, 0, at->row},
                  .p = c->saved + (size_t)(b * at->heads + h) * n * n,
                  .own = (size_t)b * n * width + (size_t)(h * at->d),
                  .width = width};
}

static side turned(side s)
{
    s.turned = 1;
    return s;
}

static pf_status forward(void *ctx, const pf_call *c)
{
    const attention *a = ctx;
    int n = a->at.n;
    for (int bh = 0; bh < a->B * a->at.heads; bh++) {
        head h = head_of(a, c, bh / a->at.heads, bh % a->at.heads);
        side probability = {h.p, n, 0, (size_t)n}, k = turned(h.k);
        multiply(a, &h.q, &k, (result){h.p, (size_t)n}, c->scratch);
        pf_softmax.forward(n, n, a->scale, h.p);
        multiply(a, &probability, &h.v, (result){c->out + h.own, h.width}, c->scratch);
    }
    return PF_OK;
}

static void head_backward(const attention *a, const pf_call *c, int b, int number)
{
    const pf_heads *at = &a->at;
    int n = at->n;
    head h = head_of(a, c, b, number);
    result dq = {PF_HEADS_PART(at, c->gin, 0, b, number), at->row},
           dk = {PF_HEADS_PART(at, c->gin, 1, b, number), at->row},
           dv = {PF_HEADS_PART(at, c->gin, 2, b, number), at->row};
    float *ds = c->scratch + places_of(a).ds;
    side p = {h.p, n, 1, (size_t)n}, dy = {c->gout + h.own, at->d, 0, h.width}, v = turned(h.v),
         s = {ds, n, 0, (size_t)n}, s_turned = turned(s);
    if (dv.x) multiply(a, &p, &dy, dv, c->scratch);
    if (!dq.x && !dk.x) return;
    multiply(a, &dy, &v, (result){ds, (size_t)n}, c->scratch);
    pf_softmax.backward(n, n, a->scale, h.p, ds);
    if (dq.x) multiply(a, &s, &h.k, dq, c->scratch);
    if (dk.x) multiply(a, &s_turned, &h.q, dk, c->scratch);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    const attention *a = ctx;
    for (int b = 0; b < a->B; b++)
        for (int h = 0; h < a->at.heads; h++) head_backward(a, c, b, h);
    return PF_OK;
}

const pf_row pf_bf16_attention = {
    .backend = "bf16",
    .applies = applies,
    .open = open,
    .close = close,
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
