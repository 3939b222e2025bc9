/* Attention over n = h w pixels by batched matrix products, each head of d channels for itself, where it
 * lies among the others:
 *
 *     P = softmax(q k' d^-1/2)      y = P v
 *     dv = P' dy      dP = dy v'      dS = P (dP - rowsum(dP P)) d^-1/2
 *     dq = dS k       dk = dS' q
 *
 * P [B,heads,n,n] is kept for the backward pass.  Where the heads of a sample would keep more than KEPT
 * numbers, only blocks of whole rows of P are ever there, BLOCK numbers in all, and backward makes them again.
 * The last block begins early enough to have as many rows as the others; rows that the block before it had
 * are then no part of the sums dk and dv.
 *
 * Rows that see windows of the keys go in blocks, too, each with as many keys as the block that sees most: P is
 * [B,heads,n,keys].  What a row does not see of its block's keys has P = 0. */
#include "nn/kernels/fused/softmax.h"
#include "nn/kernels/heads.h"
#include "nn/kernels/onednn/engine.h"
#include <probflow/memory.h>
#include <math.h>
#include <string.h>

enum { SCORES, VALUES, DV, DP, DQ, DK, PRODUCTS };
enum { KEPT = 1 << 20, BLOCK = 1 << 19, CACHED = 1 << 18, ROWS_STEP = 8, WINDOW_ROWS = 64 };

PF_CLONE_TABLE(const pf_softmax_ops, pf_softmax, softmax);

typedef struct attention {
    dnn_lib *lib;
    dnn_op *op[PRODUCTS];
    pf_heads at;
    int B, samples, rows; /* that a product is of; rows of P: n, or fewer */
    int keys;             /* of a block: n, or fewer */
    int kept;             /* 1: P stays for the backward pass */
    float scale;
} attention;

static int masked(const attention *a)
{
    return a->at.mask != PF_MASK_NONE || a->at.padding >= 0;
}

static int whole(const attention *a)
{
    return a->rows == a->at.n;
}

static int blocks(const attention *a)
{
    return (a->at.n + a->rows - 1) / a->rows;
}

/* The first row of a block that would begin at row i. */
static int first_row(const attention *a, int i)
{
    int last = a->at.n - a->rows;
    return i < last ? i : last;
}

/* The first of the keys of a block of rows. */
static int first_key(const attention *a, int row)
{
    int first = pf_heads_keys(&a->at, row).first, last = a->at.n - a->keys;
    return first < last ? first : last;
}

/* The most keys that a block of rows sees. */
static int keys_of(const attention *a)
{
    int most = 0;
    for (int i = 0; i < a->at.n; i += a->rows) {
        int first = first_row(a, i);
        int keys =
            pf_heads_keys(&a->at, first + a->rows - 1).end - pf_heads_keys(&a->at, first).first;
        if (keys > most) most = keys;
    }
    return most;
}

/* Rows and keys of a block: all where P is kept; of windows, whole windows that together have WINDOW_ROWS rows, where
 * these see fewer keys than there are.  A single head: all, whatever their number. */
static void choose_block(const pf_site *s, attention *a)
{
    size_t n = (size_t)a->at.n, heads = (size_t)a->at.heads;
    a->rows = a->keys = a->at.n;
    a->kept = 1;
    if (pf_heads_single(s)) return;
    if (a->at.mask == PF_MASK_WINDOW) {
        int w = a->at.window, rows = w * ((WINDOW_ROWS + w - 1) / w);
        if (rows < a->at.n / 2) a->rows = rows;
    }
    a->keys = a->at.mask == PF_MASK_WINDOW ? keys_of(a) : a->at.n;
    a->kept = heads * n * (size_t)a->keys <= KEPT;
    if (a->kept) return;
    int rows = (int)(BLOCK / (heads * (size_t)a->keys)) / ROWS_STEP * ROWS_STEP;
    if (rows < ROWS_STEP) rows = ROWS_STEP;
    if (rows < a->rows) a->rows = rows;
    if (a->at.mask == PF_MASK_WINDOW) a->keys = keys_of(a);
}

/* Samples at a time: as many as divide the batch and keep P in a cache.  A single head: all. */
static int samples_of(const pf_site *s, const attention *a)
{
    if (pf_heads_single(s)) return s->B;
    int most = (int)(CACHED / ((size_t)a->at.heads * (size_t)a->rows * (size_t)a->keys));
    int n = most < s->B ? most : s->B;
    while (n > 1 && s->B % n) n--;
    return n > 1 ? n : 1;
}

static PF_MUST_USE pf_status attention_init(attention *a, const pf_site *s)
{
    a->at = pf_heads_of(s);
    a->B = s->B;
    choose_block(s, a);
    a->samples = samples_of(s, a);
    a->scale = 1.0f / sqrtf((float)a->at.d);
    int r = a->rows, n = a->keys, d = a->at.d, add = !whole(a);
    int B = a->samples, heads = pf_heads_single(s) ? 0 : a->at.heads;
    size_t c = (size_t)s->out.c, pixels = (size_t)a->at.n;
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
    if (masked(a) && n < (size_t)a->keys) n = (size_t)a->keys; /* which of them are there */
    return (n + 63) / 64 * 16;
}

/* Rows of P that a product makes, of all heads. */
static int rows_at_once(const attention *a)
{
    return a->samples * a->at.heads * a->rows;
}

static size_t block_floats(const attention *a)
{
    return (size_t)rows_at_once(a) * (size_t)a->keys;
}

static size_t saved(const pf_site *s, void *ctx)
{
    const attention *a = ctx;
    (void)s;
    return a->kept ? block_floats(a) * (size_t)(a->B / a->samples * blocks(a)) : 0;
}

/* dS after the products' own scratch, then a P that is not kept. */
static size_t scratch(const pf_site *s, void *ctx)
{
    (void)s;
    const attention *a = ctx;
    return own_floats(a) + block_floats(a) * (a->kept ? 1 : 2);
}

static PF_MUST_USE pf_status product(attention *a, int which, const float *x, const float *y,
                                     float *out, const pf_call *c)
{
    const void *ptr[] = {x, y, out};
    return dnn_run(a->lib, a->op[which], ptr, c->scratch);
}

/* Rows `first` .. of samples b ..: what the products are made of. */
typedef struct rows {
    int b, first, key;           /* the first sample, row and key */
    const float *in[3], *gout;   /* their q, k, v, and the rows' dy */
    float *gin[3], *out, *p, *d; /* dq, dk, dv; the rows' y; P and dS */
} rows;

static float *by(float *a, size_t floats)
{
    return a ? a + floats : NULL;
}

static rows rows_from(const attention *a, const pf_call *c, int b, int first)
{
    float *d = c->scratch + own_floats(a);
    size_t width = (size_t)a->at.heads * (size_t)a->at.d,
           block = (size_t)(b / a->samples * blocks(a) + (first + a->rows - 1) / a->rows);
    rows r = {.b = b, .first = first, .key = first_key(a, first), .d = d};
    r.p = a->kept ? c->saved + block * block_floats(a) : d + block_floats(a);
    size_t y = ((size_t)b * (size_t)a->at.n + (size_t)first) * width;
    for (int k = 0; k < 3; k++) {
        size_t at = (size_t)(k ? r.key : first) * a->at.row;
        r.in[k] = PF_HEADS_PART(&a->at, c->in, k, b, 0) + at;
        r.gin[k] = by(PF_HEADS_PART(&a->at, c->gin, k, b, 0), at);
    }
    r.out = c->out + y;
    r.gout = c->gout + y;
    return r;
}

/* Softmax of one row over what it sees of its n keys; the rest is 0. */
static void softmax_seen(const attention *a, const rows *r, const unsigned char *there, int row,
                         float *p)
{
    pf_keys seen = pf_heads_keys(&a->at, row);
    int first = seen.first - r->key, end = seen.end - r->key, some = 0;
    while (end > first && !there[end - 1]) end--;
    for (int j = first; j < end; j++) {
        if (!there[j]) p[j] = -INFINITY;
        some |= there[j];
    }
    memset(p, 0, (size_t)first * sizeof *p);
    if (some) softmax[pf_isa_clone()]->forward(1, end - first, a->scale, p + first);
    for (int j = first; j < end; j++)
        if (!there[j]) p[j] = 0.0f;
    memset(p + end, 0, (size_t)(a->keys - end) * sizeof *p);
}

/* Which keys of sample b are there, in the scratch of the products. */
static const unsigned char *keys_there(const attention *a, const pf_call *c, int b, int key)
{
    unsigned char *there = (unsigned char *)c->scratch;
    for (int j = 0; j < a->keys; j++)
        there[j] = (unsigned char)pf_heads_there(&a->at, c->in, b, key + j);
    return there;
}

static PF_MUST_USE pf_status probabilities(attention *a, const pf_call *c, const rows *r)
{
    PF_TRY(product(a, SCORES, r->in[0], r->in[1], r->p, c));
    if (!masked(a)) {
        softmax[pf_isa_clone()]->forward(rows_at_once(a), a->keys, a->scale, r->p);
        return PF_OK;
    }
    float *p = r->p;
    for (int b = r->b; b < r->b + a->samples; b++) {
        const unsigned char *there = keys_there(a, c, b, r->key);
        for (int i = 0; i < a->at.heads * a->rows; i++, p += a->keys)
            softmax_seen(a, r, there, r->first + i % a->rows, p);
    }
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
    size_t n = (size_t)a->keys;
    for (int h = 0; h < a->samples * a->at.heads; h++)
        memset(p + (size_t)h * (size_t)a->rows * n, 0, (size_t)done * n * sizeof *p);
}

static PF_MUST_USE pf_status rows_backward(attention *a, const pf_call *c, int b, int first,
                                           int done)
{
    const rows r = rows_from(a, c, b, first);
    if (!a->kept) PF_TRY(probabilities(a, c, &r));
    if (r.gin[0] || r.gin[1]) {
        PF_TRY(product(a, DP, r.gout, r.in[2], r.d, c));
        softmax[pf_isa_clone()]->backward(rows_at_once(a), a->keys, a->scale, r.p, r.d);
        if (r.gin[0]) PF_TRY(product(a, DQ, r.d, r.in[1], r.gin[0], c));
        drop_rows(a, done, r.d);
        if (r.gin[1]) PF_TRY(product(a, DK, r.d, r.in[0], r.gin[1], c));
    }
    if (!r.gin[2]) return PF_OK;
    if (done) {
        memcpy(r.d, r.p, block_floats(a) * sizeof *r.d); /* backward may run again: P stays */
        drop_rows(a, done, r.d);
    }
    return product(a, DV, done ? r.d : r.p, r.gout, r.gin[2], c);
}

static pf_status forward(void *ctx, const pf_call *c)
{
    attention *a = ctx;
    for (int b = 0; b < a->B; b += a->samples)
        for (int i = 0; i < a->at.n; i += a->rows)
            PF_TRY(rows_forward(a, c, b, first_row(a, i)));
    return PF_OK;
}

static pf_status backward(void *ctx, const pf_call *c)
{
    attention *a = ctx;
    for (int k = 0; !whole(a) && k < c->site->n_in; k++)
        if (c->gin[k]) /* sums over blocks */
            memset(c->gin[k], 0, (size_t)a->B * pf_shape_size(c->site->in[k]) * sizeof(float));
    for (int b = 0; b < a->B; b += a->samples)
        for (int i = 0; i < a->at.n; i += a->rows) {
            int first = first_row(a, i);
            PF_TRY(rows_backward(a, c, b, first, i - first));
        }
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
