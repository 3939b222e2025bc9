/* 3x3 convolutions with stride 1 and padding 1 in bf16, by Winograd's F(4x4, 3x3) as in
 * fused/winograd.c: transforms and sums in float, the 36 points of pixels, kernels and gradients
 * rounded to bf16 before they are multiplied.
 *
 * Products are twice as fast here, so memory sets the pace: transformed kernels are read once per
 * chunk of tiles, in blocks of 64 output channels whose sums stay in the second-level cache, and
 * the kernels' gradient leaves that cache only as taps. */
#include "nn/kernels/bf16/product.h"
#include "nn/kernels/bf16/rows.h"
#include "nn/kernels/bf16/winograd.h"
#include "nn/kernels/fused/winograd.h"
#include <probflow/memory.h>
#include <string.h>

enum { FEWEST_TILES = 16, CHUNK = 64, CHUNK_BACK = 512, POINTS = PF_WG_POINTS };

typedef struct winograd {
    pf_wg_image x, y;
    int tiles, room,
        room_back; /* tiles of the batch, of a chunk, and of one of the gradient's */
    pf_bf16_run *product;
} winograd;

/* Enough tiles for the transforms of the kernels to pay. */
static int applies(const pf_site *s)
{
    pf_wg_image m = pf_wg_image_of(s->out);
    return pf_wg_applies(s) && s->B * m.rows * m.columns >= FEWEST_TILES;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static pf_status open(const pf_site *s, void **ctx)
{
    winograd *k = pf_zalloc(sizeof *k);
    PF_REQUIRE(k, PF_EMEM, "no memory for %s", s->name);
    k->x = pf_wg_image_of(s->in[0]);
    k->y = pf_wg_image_of(s->out);
    k->tiles = s->B * k->x.rows * k->x.columns;
    k->room = smaller(k->tiles, CHUNK);
    k->room_back = smaller(k->tiles, CHUNK_BACK);
    k->product = pf_bf16_best();
    *ctx = k;
    return PF_OK;
}

/* Transformed kernels, then turned ones. */
static uint32_t *kernels_of(const winograd *k, const pf_call *c, int turned)
{
    uint32_t *u = (uint32_t *)c->prepared;
    return turned ? u + pf_wgb_weight_words(k->x.C, k->y.C) : u;
}

static size_t prepared(const pf_site *s, void *ctx)
{
    int cin = s->in[0].c, cout = s->out.c;
    (void)ctx;
    return pf_wgb_weight_words(cin, cout) +
           (s->want_dx[0] ? pf_wgb_weight_words(cout, cin) : 0);
}

static pf_status prepare(void *ctx, const pf_call *c)
{
    const winograd *k = ctx;
    pf_wgb_weight(c->param[0], k->x.C, k->y.C, kernels_of(k, c, 0));
    if (c->site->want_dx[0])
        pf_wgb_weight_turned(c->param[0], k->x.C, k->y.C, kernels_of(k, c, 1));
    return PF_OK;
}

/* Words from one point to the next: of a chunk, of the sums of one block, of tiles in pairs. */
static size_t point_of(const winograd *k, int C)
{
    return pf_wg_stride((size_t)k->room * (size_t)C / 2);
}

static size_t point_of_sums(const winograd *k, int C)
{
    return pf_wg_stride((size_t)k->room * (size_t)pf_wgb_width(C));
}

static pf_wgb_slot pairs_of(const winograd *k, int C, uint32_t *at)
{
    int width = pf_wgb_width(C), blocks = (C + width - 1) / width;
    size_t block = (size_t)((k->room_back + 1) / 2) * (size_t)width;
    return (pf_wgb_slot){at, pf_wg_stride((size_t)blocks * block), block, width};
}

static size_t gradient_point(const winograd *k)
{
    return pf_wg_stride((size_t)pf_wgb_width(k->x.C) * (size_t)pf_wgb_width(k->y.C));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t scratch(const pf_site *s, void *ctx)
{
    const winograd *k = ctx;
    int cin = k->x.C, cout = k->y.C;
    size_t n = point_of(k, cin) + point_of_sums(k, cout);
    if (s->want_dx[0]) n = larger(n, point_of(k, cout) + point_of_sums(k, cin));
    size_t back =
        pairs_of(k, cin, NULL).point + pairs_of(k, cout, NULL).point + gradient_point(k);
    /* a bias gradient that nobody asked for comes first */
    return s->want_dp ? larger(POINTS * n, POINTS * back + (size_t)cout) : POINTS * n;
}

/* to = convolution of from with the transformed kernels u */
static void convolve(const winograd *k, const pf_wg_image *from, const pf_wg_image *to,
                     const uint32_t *u, const float *bias, const float *x, float *y,
                     float *scratch)
{
    size_t sv = point_of(k, from->C), sm = point_of_sums(k, to->C), half = (size_t)from->C / 2;
    uint32_t *v = (uint32_t *)scratch;
    float *m = scratch + POINTS * sv;
    for (int first = 0; first < k->tiles; first += k->room) {
        int n = smaller(k->tiles - first, k->room);
        for (int i = 0; i < n; i++) pf_wgb_input(from, x, first + i, v + (size_t)i * half, sv);
        for (int c = 0; c < to->C; c += PF_WGB_CHANNELS) {
            int width = pf_wgb_width(to->C - c);
            size_t su = pf_wgb_weight_point(from->C, width), wide = (size_t)width;
            const uint32_t *at = u + pf_wgb_weight_block(from->C, c / PF_WGB_CHANNELS);
            pf_bf16_product g = {.M = n,
                                 .N = width,
                                 .pairs = from->C / 2,
                                 .row = half,
                                 .column = 1,
                                 .ldb = wide,
                                 .ldc = wide};
            for (size_t p = 0; p < POINTS; p++)
                k->product(&g, v + p * sv, at + p * su, m + p * sm);
            for (int i = 0; i < n; i++) {
                pf_wgb_sums sums = {m + (size_t)i * wide, sm, c, width};
                pf_wgb_output(to, sums, bias, y, first + i);
            }
        }
    }
}

static pf_status forward(void *ctx, const pf_call *c)
{
    const winograd *k = ctx;
    const float *bias = c->site->n_param > 1 ? c->param[1] : NULL;
    convolve(k, &k->x, &k->y, kernels_of(k, c, 0), bias, c->in[0], c->out, c->scratch);
    return PF_OK;
}

/* One block of kernels from n tiles: sums of products of the points over tiles, then taps. */
static void block_gradient(const winograd *k, int n, const pf_wgb_slot *v, const pf_wgb_slot *m,
                           const pf_wgb_kernels *part, float *du, float *dw)
{
    size_t point = gradient_point(k);
    pf_bf16_product g = {.M = part->ins,
                         .N = part->outs,
                         .pairs = (n + 1) / 2,
                         .row = 1,
                         .column = (size_t)v->width,
                         .ldb = (size_t)m->width,
                         .ldc = (size_t)part->outs};
    for (size_t p = 0; p < POINTS; p++)
        k->product(&g, v->at + p * v->point, m->at + p * m->point, du + p * point);
    pf_wgb_weight_back(part, du, point, dw);
}

static void weight_gradient(const winograd *k, const pf_call *c)
{
    int cin = k->x.C, cout = k->y.C;
    float *sum = c->gparam[1] ? c->gparam[1] : c->scratch;
    pf_wgb_slot v = pairs_of(k, cin, (uint32_t *)(c->scratch + cout));
    pf_wgb_slot m = pairs_of(k, cout, v.at + POINTS * v.point);
    float *du = (float *)(m.at + POINTS * m.point);
    memset(sum, 0, (size_t)cout * sizeof(float));
    for (int first = 0; first < k->tiles; first += k->room_back) {
        int n = smaller(k->tiles - first, k->room_back);
        for (int i = 0; i < n; i += 2) {
            pf_wgb_slot vi = v, mi = m;
            vi.at += (size_t)(i / 2) * (size_t)v.width;
            mi.at += (size_t)(i / 2) * (size_t)m.width;
            pf_wgb_input_pair(&k->x, c->in[0], first + i, i + 1 < n, vi);
            pf_wgb_output_back_pair(&k->y, c->gout, first + i, i + 1 < n, mi, sum);
        }
        for (int i = 0; i < cin; i += v.width)
            for (int o = 0; o < cout; o += m.width) {
                pf_wgb_slot vb = v, mb = m;
                vb.at += (size_t)(i / v.width) * v.block;
                mb.at += (size_t)(o / m.width) * m.block;
                pf_wgb_kernels part = {cin, smaller(cin - i, v.width),
                                       smaller(cout - o, m.width), first > 0};
                block_gradient(k, n, &vb, &mb, &part, du,
                               c->gparam[0] + ((size_t)o * (size_t)cin + (size_t)i) * 9);
            }
    }
}

static pf_status backward(void *ctx, const pf_call *c)
{
    const winograd *k = ctx;
    if (c->gin[0])
        convolve(k, &k->y, &k->x, kernels_of(k, c, 1), NULL, c->gout, c->gin[0], c->scratch);
    if (c->gparam[0]) weight_gradient(k, c);
    return PF_OK;
}

const pf_row pf_bf16_winograd = {
    .backend = "bf16",
    .applies = applies,
    PF_ROW_PREPARED,
};
