/* Attention over all n = h w pixels by batched matrix products, each head of d channels for itself, where it
 * lies among the others:
 *
 *     P = softmax(q k' d^-1/2)      y = P v
 *     dv = P' dy      dP = dy v'      dS = P (dP - rowsum(dP P)) d^-1/2
 *     dq = dS k       dk = dS' q
 *
 * P [B,heads,n,n] is kept for the backward pass.  Where the heads of a sample would keep more than KEPT
 * numbers, only blocks of whole rows of P are ever there, BLOCK numbers in all, and backward makes them again.
 * The last block begins early enough to have as many rows as the others; rows that the block before it had
 * are then no part of the sums dk and dv. */
#include "nn/kernels/fused/softmax.h"
#include "nn/kernels/heads.h"
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>
#include <math.h>
#include <string.h>

enum { SCORES, VALUES, DV, DP, DQ, DK, PRODUCTS };
enum { KEPT = 1 << 20, BLOCK = 1 << 19, CACHED = 1 << 18, ROWS_STEP = 8 };

PF_CLONE_TABLE(const pf_softmax_ops, pf_softmax, softmax);

typedef struct attention {
    dnn_lib *lib;
    dnn_op *op[PRODUCTS];
    pf_heads at;
    int B, samples, rows; /* that a product is of; rows of P: n, or fewer */
    float scale;
} attention;

static int whole(const attention *a)
{
    return a->rows == a->at.n;
}

/* Attention of sequences has a row of its own (fused/attend.c); this one knows no masks. */
static int applies(const pf_site *s)
{
    return !s->attr.sequence;
}

/* Rows of P at a time.  Three inputs: all, whatever their number. */
static int rows_of(const pf_site *s, const pf_heads *a)
{
    size_t row = (size_t)a->heads * (size_t)a->n;
    if (s->n_in == 3 || row * (size_t)a->n <= KEPT) return a->n;
    int rows = (int)(BLOCK / row) / ROWS_STEP * ROWS_STEP;
    if (rows < ROWS_STEP) rows = ROWS_STEP;
    return rows < a->n ? rows : a->n;
}

/* Samples at a time: as many as divide the batch and keep P in a cache.  Three inputs: all. */
static int samples_of(const pf_site *s, const attention *a)
{
    if (s->n_in == 3) return s->B;
    int most = (int)(CACHED / ((size_t)a->at.heads * (size_t)a->rows * (size_t)a->at.n));
    int n = most < s->B ? most : s->B;
    while (n > 1 && s->B % n) n--;
    return n > 1 ? n : 1;
}

static PF_MUST_USE pf_status attention_init(attention *a, const pf_site *s)
{
    a->at = pf_heads_of(s);
    a->B = s->B;
    a->rows = rows_of(s, &a->at);
    a->samples = samples_of(s, a);
    a->scale = 1.0f / sqrtf((float)a->at.d);
    int r = a->rows, n = a->at.n, d = a->at.d, add = !whole(a);
    int B = a->samples, heads = s->n_in == 3 ? 0 : a->at.heads;
    size_t c = (size_t)s->out.c, pixels = (size_t)n;
    const dnn_rows in = {pixels * a->at.row, a->at.head, a->at.row},
                   out = {pixels * c, (size_t)d, c}, p = {0};
    const dnn_matmul_shape shape[PRODUCTS] = {
        [SCORES] = {B, r, n, d, 0, 1, 1.0f, .heads = heads, .a = in, .b = in, .c = p},
        [VALUES] = {B, r, d, n, 0, 0, 1.0f, .heads = heads, .a = p, .b = in, .c = out},
        [DV] = {B, n, d, r, 1, 0, 1.0f, .heads = heads, .add = add, .a = p, .b = out, .c = in},
        [DP] = {B, r, n, d, 0, 1, 1.0f, .heads = heads, .a = out, .b = in, .c = p},
        [DQ] = {B, r, d, n, 0, 0, 1.0f, .heads = heads, .a = p, .b = in, .c = in},
        [DK] = {B, n, d, r, 1, 0, 1.0f, .heads = heads, .add = add, .a = p, .b = in, .c = in},
    };
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

/* Rows of P that a product makes, of all heads. */
static int rows_at_once(const attention *a)
{
    return a->samples * a->at.heads * a->rows;
}

static size_t block_floats(const attention *a)
{
    return (size_t)rows_at_once(a) * (size_t)a->at.n;
}

static size_t saved(const pf_site *s, void *ctx)
{
    const attention *a = ctx;
    (void)s;
    return whole(a) ? block_floats(a) * (size_t)(a->B / a->samples) : 0;
}

/* dS after the products' own scratch, then a P that is not kept. */
static size_t scratch(const pf_site *s, void *ctx)
{
    (void)s;
    return own_floats(ctx) + block_floats(ctx) * (whole(ctx) ? 1 : 2);
}

static PF_MUST_USE pf_status product(attention *a, int which, const float *x, const float *y,
                                     float *out, const pf_call *c)
{
    const void *ptr[] = {x, y, out};
    return dnn_run(a->lib, a->op[which], ptr, c->scratch);
}

/* Rows `first` .. of samples b ..: what the products are made of. */
typedef struct rows {
    size_t q, y;                 /* floats from the first row of all to the first of these */
    const float *in[3], *gout;   /* q, k, v of sample b, and the rows' dy */
    float *gin[3], *out, *p, *d; /* dq, dk, dv; the rows' y; P and dS */
} rows;

static rows rows_from(const attention *a, const pf_call *c, int b, int first)
{
    float *d = c->scratch + own_floats(a);
    size_t width = (size_t)a->at.heads * (size_t)a->at.d;
    rows r = {.q = (size_t)first * a->at.row, .d = d};
    r.p =
        whole(a) ? c->saved + (size_t)(b / a->samples) * block_floats(a) : d + block_floats(a);
    r.y = ((size_t)b * (size_t)a->at.n + (size_t)first) * width;
    for (int k = 0; k < 3; k++) {
        r.in[k] = PF_HEADS_PART(&a->at, c->in, k, b, 0);
        r.gin[k] = PF_HEADS_PART(&a->at, c->gin, k, b, 0);
    }
    r.out = c->out + r.y;
    r.gout = c->gout + r.y;
    return r;
}

static PF_MUST_USE pf_status probabilities(attention *a, const pf_call *c, const rows *r)
{
    PF_TRY(product(a, SCORES, r->in[0] + r->q, r->in[1], r->p, c));
    softmax[pf_isa_clone()]->forward(rows_at_once(a), a->at.n, a->scale, r->p);
    return PF_OK;
}

static PF_MUST_USE pf_status rows_forward(attention *a, const pf_call *c, int b, int first)
{
    const rows r = rows_from(a, c, b, first);
    PF_TRY(probabilities(a, c, &r));
    return product(a, VALUES, r.p, r.in[2], r.out, c);
}

/* The first `done` rows of every head are 0 from now on. */
static void drop_rows(const attention *a, int done, float *p)
{
    size_t n = (size_t)a->at.n;
    for (int h = 0; h < a->at.heads; h++)
        memset(p + (size_t)h * (size_t)a->rows * n, 0, (size_t)done * n * sizeof *p);
}

static PF_MUST_USE pf_status rows_backward(attention *a, const pf_call *c, int b, int first,
                                           int done)
{
    const rows r = rows_from(a, c, b, first);
    if (!whole(a)) PF_TRY(probabilities(a, c, &r));
    if (r.gin[0] || r.gin[1]) {
        PF_TRY(product(a, DP, r.gout, r.in[2], r.d, c));
        softmax[pf_isa_clone()]->backward(rows_at_once(a), a->at.n, a->scale, r.p, r.d);
        if (r.gin[0]) PF_TRY(product(a, DQ, r.d, r.in[1], r.gin[0] + r.q, c));
        drop_rows(a, done, r.d);
        if (r.gin[1]) PF_TRY(product(a, DK, r.d, r.in[0] + r.q, r.gin[1], c));
    }
    drop_rows(a, done, r.p);
    return r.gin[2] ? product(a, DV, r.p, r.gout, r.gin[2], c) : PF_OK;
}

static pf_status forward(void *ctx, const pf_call *c)
{
    attention *a = ctx;
    int last = a->at.n - a->rows;
    for (int b = 0; b < a->B; b += a->samples)
        for (int i = 0; i < a->at.n; i += a->rows)
            PF_TRY(rows_forward(a, c, b, i < last ? i : last));
    return PF_OK;
}

static pf_status backward(void *ctx, const pf_call *c)
{
    attention *a = ctx;
    int last = a->at.n - a->rows;
    if (!whole(a) && c->gin[0])
        memset(c->gin[0], 0, (size_t)a->B * pf_shape_size(c->site->in[0]) * sizeof(float));
    for (int b = 0; b < a->B; b += a->samples)
        for (int i = 0; i < a->at.n; i += a->rows) {
            int first = i < last ? i : last;
            PF_TRY(rows_backward(a, c, b, first, i - first));
        }
    return PF_OK;
}

const pf_row pf_dnn_attention = {
    .backend = "onednn",
    .applies = applies,
    .open = open,
    .close = close,
    .saved = saved,
    .scratch = scratch,
    .forward = forward,
    .backward = backward,
};
