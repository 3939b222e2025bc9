/* Attention over all n = h w pixels, one head, with products in bf16 and softmax in float:
 *
 *     P = softmax(q k' c^-1/2)      y = P v
 *     dv = P' dy      dP = dy v'      dS = P (dP - rowsum(dP P)) c^-1/2
 *     dq = dS k       dk = dS' q
 *
 * q, k, v, P, dy and dS are rounded where they are multiplied; P [B,n,n] is kept in float. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/product.h"
#include "nn/kernels/bf16/rows.h"
#include "nn/kernels/fused/softmax.h"
#include <probflow/memory.h>
#include <math.h>

enum { L = 16 };

typedef struct attention {
    int B, n, c;
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
    size_t n = (size_t)up(a->n), most = n * (size_t)up(a->n > a->c ? a->n : a->c);
    return (places){{0, most}, {2 * most, 3 * most}, 4 * most, 4 * most + n * n};
}

static pf_status open(const pf_site *s, void **ctx)
{
    attention *a = pf_zalloc(sizeof *a);
    if (!a) PF_FAIL(PF_EMEM, "no memory for %s", s->name);
    *a = (attention){.B = s->B, .n = s->in[0].h * s->in[0].w, .c = s->in[0].c};
    a->scale = 1.0f / sqrtf((float)a->c);
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
    return (size_t)a->B * (size_t)a->n * (size_t)a->n;
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)s;
    return places_of(ctx).all;
}

/* A matrix [n,columns] in float; turned: its transpose is meant. */
typedef struct side {
    const float *x;
    int columns, turned;
} side;

/* out [M,N] = left right of one sample, where the matrices have n rows as they lie in memory. */
static void multiply(const attention *a, const side *left, const side *right, float *out,
                     float *scratch)
{
    places p = places_of(a);
    uint32_t *x = (uint32_t *)(scratch + p.half[0]), *y = (uint32_t *)(scratch + p.half[1]);
    uint32_t *px = (uint32_t *)(scratch + p.packed[0]),
             *py = (uint32_t *)(scratch + p.packed[1]);
    int n = a->n, terms = left->turned ? n : left->columns;
    size_t half_x = (size_t)pf_bf16_even(left->columns) / 2,
           half_y = (size_t)pf_bf16_even(right->columns) / 2;
    pf_bf16_product g = {.M = left->turned ? left->columns : n,
                         .N = right->turned ? n : right->columns,
                         .pairs = pf_bf16_even(terms) / 2,
                         .row = half_x,
                         .column = 1};
    g.ldb = (size_t)up(g.N);
    g.ldc = (size_t)g.N;
    pf_bf16_round_rows(n, left->columns, left->x, (size_t)left->columns, (uint16_t *)x);
    pf_bf16_round_rows(n, right->columns, right->x, (size_t)right->columns, (uint16_t *)y);
    if (left->turned) { /* pairs along the rows */
        pf_bf16_pair_rows(n, left->columns, (const uint16_t *)x, 2 * half_x, px,
                          (size_t)left->columns);
        g.row = 1;
        g.column = (size_t)left->columns;
    }
    if (right->turned) pf_bf16_turn(n, (int)half_y, y, py, g.ldb);
    else pf_bf16_pair_rows(n, right->columns, (const uint16_t *)y, 2 * half_y, py, g.ldb);
    a->product(&g, left->turned ? px : x, py, out);
}

static pf_status forward(void *ctx, const pf_call *c)
{
    const attention *a = ctx;
    size_t image = (size_t)a->n * (size_t)a->c, square = (size_t)a->n * (size_t)a->n;
    for (size_t b = 0; b < (size_t)a->B; b++) {
        float *p = c->saved + b * square;
        side q = {c->in[0] + b * image, a->c, 0}, k = {c->in[1] + b * image, a->c, 1};
        side probability = {p, a->n, 0}, v = {c->in[2] + b * image, a->c, 0};
        multiply(a, &q, &k, p, c->scratch);
        pf_softmax.forward(a->n, a->n, a->scale, p);
        multiply(a, &probability, &v, c->out + b * image, c->scratch);
    }
    return PF_OK;
}

static void sample_backward(const attention *a, const pf_call *c, size_t b)
{
    size_t at = b * (size_t)a->n * (size_t)a->c;
    const float *p = c->saved + b * (size_t)a->n * (size_t)a->n;
    float *ds = c->scratch + places_of(a).ds;
    side turned_p = {p, a->n, 1}, dy = {c->gout + at, a->c, 0}, v = {c->in[2] + at, a->c, 1};
    side s = {ds, a->n, 0}, turned_s = {ds, a->n, 1};
    side q = {c->in[0] + at, a->c, 0}, k = {c->in[1] + at, a->c, 0};
    if (c->gin[2]) multiply(a, &turned_p, &dy, c->gin[2] + at, c->scratch);
    if (!c->gin[0] && !c->gin[1]) return;
    multiply(a, &dy, &v, ds, c->scratch);
    pf_softmax.backward(a->n, a->n, a->scale, p, ds);
    if (c->gin[0]) multiply(a, &s, &k, c->gin[0] + at, c->scratch);
    if (c->gin[1]) multiply(a, &turned_s, &q, c->gin[1] + at, c->scratch);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    const attention *a = ctx;
    for (size_t b = 0; b < (size_t)a->B; b++) sample_backward(a, c, b);
    return PF_OK;
}

const pf_row pf_bf16_attention = {
    .backend = "bf16",
    .open = open,
    .close = close,
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
