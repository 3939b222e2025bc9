/* Convolutions and the linear map in bf16: pixels, kernels and gradients are rounded, the
 * products summed in float.  With the pixels under each output pixel as rows X [pixels, k k cin]
 * and the kernels as W [cout, k k cin],
 *
 *     y = X W' + b,   dX = dy W,   dW = dy' X,   db = sum of dy in float,
 *
 * row chunk by row chunk, so that X never exists as a whole; dX is added up into pixels. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/product.h"
#include "nn/kernels/bf16/rows.h"
#include "nn/kernels/fused/rows.h"
#include <probflow/memory.h>
#include <string.h>

enum { L = 16, CHUNK_HALVES = 128 * 1024, LEAST_ROWS = 16, MOST_ROWS = 256 };

typedef struct conv {
    int B, h, w, cin, oh, ow, cout, k, stride, pad, dilation;
    int in_out;          /* weight is [cin,cout] */
    int plain;           /* one tap: rows are pixels */
    int K, pixels, room; /* length of a row; rows of the batch and of a chunk */
    pf_bf16_run *product;
} conv;

/* Packed kernels. */
typedef struct kernels {
    uint32_t *forward; /* [even(K)/2][up(cout)] */
    uint32_t *data;    /* [even(cout)/2][up(K)] */
} kernels;

/* Pieces of the scratch memory, in words. */
typedef struct places {
    size_t image, rows, grads, pairs_rows, pairs_grads, columns, turned, all;
} places;

static int up(int n)
{
    return (n + L - 1) / L * L;
}

static size_t words(int rows, int columns)
{
    return ((size_t)rows * (size_t)columns + L - 1) / L * L;
}

static places places_of(const conv *c)
{
    places p = {0};
    int half = c->room / 2;
    size_t whole = (size_t)c->B * (size_t)c->h * (size_t)c->w * (size_t)c->cin;
    p.rows = c->plain ? 0 : (whole + 2 * L - 1) / (2 * L) * L;
    p.grads = p.rows + words(c->room, pf_bf16_even(c->K) / 2);
    p.pairs_rows = p.grads + words(c->room, pf_bf16_even(c->cout) / 2);
    p.pairs_grads = p.pairs_rows + words(half, up(c->K));
    p.columns = p.pairs_grads + words(half, up(c->cout));
    p.turned = p.columns + (c->plain ? 0 : words(c->room, c->K));
    p.all = p.turned + (c->plain ? 0 : words(c->cout, c->K));
    size_t packing = words(1, c->K) + words(c->in_out ? c->cin : c->cout,
                                            pf_bf16_even(c->in_out ? c->cout : c->K) / 2);
    if (packing > p.all) p.all = packing;
    return p;
}

static pf_status open(const pf_site *s, void **ctx)
{
    conv *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for %s", s->name);
    *c = (conv){.B = s->B,
                .h = s->in[0].h,
                .w = s->in[0].w,
                .cin = s->in[0].c,
                .oh = s->out.h,
                .ow = s->out.w,
                .cout = s->out.c,
                .k = 1,
                .stride = 1,
                .dilation = 1,
                .in_out = s->attr.in_out};
    if (s->op == PF_OP_CONV) {
        c->k = s->attr.kernel;
        c->stride = s->attr.stride;
        c->pad = s->attr.pad_lo;
        if (s->attr.dilation > 1) c->dilation = s->attr.dilation;
        c->in_out = 0;
    }
    c->plain = c->k == 1 && c->stride == 1 && c->h == c->oh && c->w == c->ow && !c->pad;
    c->K = c->k * c->k * c->cin;
    c->pixels = c->B * c->oh * c->ow;
    c->room = CHUNK_HALVES / c->K / 8 * 8;
    if (c->room > MOST_ROWS) c->room = MOST_ROWS;
    if (c->room < LEAST_ROWS) c->room = LEAST_ROWS;
    if (c->room > c->pixels) c->room = pf_bf16_even(c->pixels);
    c->product = pf_bf16_best();
    *ctx = c;
    return PF_OK;
}

static size_t forward_words(const conv *c)
{
    return words(pf_bf16_even(c->K) / 2, up(c->cout));
}

static kernels kernels_of(const conv *c, const pf_call *call)
{
    uint32_t *forward = (uint32_t *)call->prepared;
    return (kernels){forward, forward + forward_words(c)};
}

static size_t prepared(const pf_site *s, void *ctx)
{
    const conv *c = ctx;
    (void)s;
    return forward_words(c) + words(pf_bf16_even(c->cout) / 2, up(c->K));
}

static size_t scratch(const pf_site *s, void *ctx)
{
    (void)s;
    return places_of(ctx).all;
}

/* One output channel's kernel [cin][taps] as [taps][cin], or back. */
static void turn_taps(const conv *c, const float *from, float *to, int back)
{
    int taps = c->k * c->k;
    for (int i = 0; i < c->cin; i++)
        for (int t = 0; t < taps; t++) {
            if (back) to[i * taps + t] = from[t * c->cin + i];
            else to[t * c->cin + i] = from[i * taps + t];
        }
}

static pf_status prepare(void *ctx, const pf_call *call)
{
    const conv *c = ctx;
    kernels to = kernels_of(c, call);
    int rows = c->in_out ? c->cin : c->cout, n = c->in_out ? c->cout : c->K;
    int even = pf_bf16_even(n);
    float *row = call->scratch;
    uint16_t *m = (uint16_t *)(row + words(1, c->K));
    for (int r = 0; r < rows; r++) {
        const float *from = call->param[0] + (size_t)r * (size_t)n;
        if (c->k > 1) turn_taps(c, from, row, 0);
        pf_bf16_round_rows(1, n, c->k > 1 ? row : from, 0, m + (size_t)r * (size_t)even);
    }
    uint32_t *turned = c->in_out ? to.data : to.forward;
    uint32_t *paired = c->in_out ? to.forward : to.data;
    pf_bf16_turn(rows, even / 2, m, turned, (size_t)up(rows));
    pf_bf16_pair_rows(rows, n, m, (size_t)even, paired, (size_t)up(n));
    return PF_OK;
}

/* The whole input in bf16, from which rows are gathered. */
static void round_image(const conv *c, const pf_call *call, const places *p)
{
    int n = c->h * c->w * c->cin;
    uint16_t *to = (uint16_t *)(call->scratch + p->image);
    if (c->plain) return;
    for (int b = 0; b < c->B; b++)
        pf_bf16_round_rows(1, n, call->in[0] + (size_t)b * (size_t)n, 0,
                           to + (size_t)b * (size_t)n);
}

/* Number of the input pixel under tap t of output pixel r; -1: outside. */
static ptrdiff_t under(const conv *c, int r, int t)
{
    int b = r / (c->oh * c->ow), in = r % (c->oh * c->ow);
    int y = in / c->ow * c->stride + t / c->k * c->dilation - c->pad;
    int x = in % c->ow * c->stride + t % c->k * c->dilation - c->pad;
    if (y < 0 || y >= c->h || x < 0 || x >= c->w) return -1;
    return ((ptrdiff_t)b * c->h + y) * c->w + x;
}

/* Rows first .. first+n-1 of X. */
static void gather_rows(const conv *c, const pf_call *call, const places *p, int first, int n)
{
    uint16_t *to = (uint16_t *)(call->scratch + p->rows);
    const uint16_t *image = (const uint16_t *)(call->scratch + p->image);
    size_t cin = (size_t)c->cin, bytes = cin * sizeof *to;
    if (c->plain) {
        pf_bf16_round_rows(n, c->cin, call->in[0] + (size_t)first * cin, cin, to);
        return;
    }
    for (int r = first; r < first + n; r++, to += pf_bf16_even(c->K)) {
        for (int t = 0; t < c->k * c->k; t++) {
            ptrdiff_t at = under(c, r, t);
            if (at < 0) memset(to + (size_t)t * cin, 0, bytes);
            else memcpy(to + (size_t)t * cin, image + (size_t)at * cin, bytes);
        }
        if (c->K % 2) to[c->K] = 0;
    }
}

static pf_status forward(void *ctx, const pf_call *call)
{
    const conv *c = ctx;
    places p = places_of(c);
    pf_bf16_product g = {.N = c->cout,
                         .pairs = pf_bf16_even(c->K) / 2,
                         .row = (size_t)pf_bf16_even(c->K) / 2,
                         .column = 1,
                         .ldb = (size_t)up(c->cout),
                         .ldc = (size_t)c->cout,
                         .bias = call->site->n_param > 1 ? call->param[1] : NULL};
    round_image(c, call, &p);
    for (int first = 0; first < c->pixels; first += c->room) {
        g.M = c->pixels - first < c->room ? c->pixels - first : c->room;
        gather_rows(c, call, &p, first, g.M);
        c->product(&g, (const uint32_t *)(call->scratch + p.rows), kernels_of(c, call).forward,
                   call->out + (size_t)first * (size_t)c->cout);
    }
    return PF_OK;
}

/* Adds rows of dX to the pixels they came from. */
static void scatter_rows(const conv *c, const float *columns, int first, int n, float *dx)
{
    for (int r = first; r < first + n; r++)
        for (int t = 0; t < c->k * c->k; t++, columns += c->cin) {
            ptrdiff_t at = under(c, r, t);
            if (at < 0) continue;
            float *to = dx + at * c->cin;
            PF_SIMD
            for (int i = 0; i < c->cin; i++) to[i] += columns[i];
        }
}

static void data_gradient(const conv *c, const pf_call *call, const places *p, int first, int n)
{
    float *columns = call->scratch + p->columns;
    if (c->plain) columns = call->gin[0] + (size_t)first * (size_t)c->cin;
    pf_bf16_product g = {.M = n,
                         .N = c->K,
                         .pairs = pf_bf16_even(c->cout) / 2,
                         .row = (size_t)pf_bf16_even(c->cout) / 2,
                         .column = 1,
                         .ldb = (size_t)up(c->K),
                         .ldc = (size_t)c->K};
    c->product(&g, (const uint32_t *)(call->scratch + p->grads), kernels_of(c, call).data,
               columns);
    if (!c->plain) scatter_rows(c, columns, first, n, call->gin[0]);
}

static void weight_gradient(const conv *c, const pf_call *call, const places *p, int first,
                            int n)
{
    uint32_t *x = (uint32_t *)(call->scratch + p->pairs_rows);
    uint32_t *dy = (uint32_t *)(call->scratch + p->pairs_grads);
    size_t wx = (size_t)up(c->K), wdy = (size_t)up(c->cout);
    gather_rows(c, call, p, first, n);
    pf_bf16_pair_rows(n, c->K, (const uint16_t *)(call->scratch + p->rows),
                      (size_t)pf_bf16_even(c->K), x, wx);
    pf_bf16_pair_rows(n, c->cout, (const uint16_t *)(call->scratch + p->grads),
                      (size_t)pf_bf16_even(c->cout), dy, wdy);
    pf_bf16_product g = {.M = c->in_out ? c->cin : c->cout,
                         .N = c->in_out ? c->cout : c->K,
                         .pairs = (n + 1) / 2,
                         .row = 1,
                         .column = c->in_out ? wx : wdy,
                         .ldb = c->in_out ? wdy : wx,
                         .add = first > 0};
    g.ldc = (size_t)g.N;
    float *dw = c->k > 1 ? call->scratch + p->turned : call->gparam[0];
    c->product(&g, c->in_out ? x : dy, c->in_out ? dy : x, dw);
}

static pf_status backward(void *ctx, const pf_call *call)
{
    const conv *c = ctx;
    places p = places_of(c);
    size_t cout = (size_t)c->cout, K = (size_t)c->K;
    size_t in = (size_t)c->B * (size_t)c->h * (size_t)c->w * (size_t)c->cin;
    if (call->gin[0] && !c->plain) memset(call->gin[0], 0, in * sizeof(float));
    if (call->gparam[0]) round_image(c, call, &p);
    for (int first = 0; first < c->pixels; first += c->room) {
        int n = c->pixels - first < c->room ? c->pixels - first : c->room;
        if (call->gin[0] || call->gparam[0])
            pf_bf16_round_rows(n, c->cout, call->gout + (size_t)first * cout, cout,
                               (uint16_t *)(call->scratch + p.grads));
        if (call->gin[0]) data_gradient(c, call, &p, first, n);
        if (call->gparam[0]) weight_gradient(c, call, &p, first, n);
    }
    for (size_t o = 0; call->gparam[0] && c->k > 1 && o < cout; o++)
        turn_taps(c, call->scratch + p.turned + o * K, call->gparam[0] + o * K, 1);
    if (call->gparam[1]) pf_fused_sum_rows(c->pixels, c->cout, call->gout, call->gparam[1]);
    return PF_OK;
}

const pf_row pf_bf16_conv = {
    .backend = "bf16",
    PF_ROW_PREPARED,
};
