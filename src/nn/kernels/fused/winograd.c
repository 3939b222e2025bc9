/* 3x3 convolutions with stride 1 and padding 1 by Winograd's minimal filtering F(4x4, 3x3):
 *
 *     y = A' [ sum_c U_c * V_c ] A,    V = B' d B  of 6x6 pixels d,    U = G g G'  of a kernel g
 *
 * 36 products a tile and pair of channels instead of 144.  For each of the 36 points the sum over
 * channels is a matrix product [tiles,cin] [cin,cout].  The gradients are transposes: dx is the
 * same with kernels turned by half a turn, and dU = sum over tiles of V' (A dy A').
 *
 * Tiles go through in chunks, read from and written to NHWC directly: small enough for the transforms
 * to stay in the second-level cache, large enough for the kernels not to be what memory is busy
 * with.
 *
 * Transformed kernels are four times as large as the parameters, and all layers' are more than a
 * cache holds.  So each pass makes them anew in working space that all layers share and that stays
 * in the cache, which costs less than to read them from memory.  They are prepared only where one
 * layer's alone leave the second-level cache and the parameters serve many passes of few images,
 * in likelihoods.  Rounding is about twice that of the direct sum.  Source: Lavin and Gray 2016. */
#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/winograd.h"
#include <probflow/memory.h>
#include <string.h>

enum { CACHE_BYTES = 384 * 1024, LEAST_TILES = 24, CACHED_BYTES = 1024 * 1024 };

typedef struct winograd {
    pf_wg_image x, y;
    int tiles, room; /* tiles of the batch; a chunk, a multiple of PF_GEMM_ROWS */
    int kept;        /* 1: transformed kernels, and where wanted turned ones, are prepared */
} winograd;

static int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}

pf_wg_image pf_wg_image_of(pf_shape s)
{
    return (pf_wg_image){.h = s.h,
                         .w = s.w,
                         .C = s.c,
                         .rows = (s.h + PF_WG_OUT - 1) / PF_WG_OUT,
                         .columns = (s.w + PF_WG_OUT - 1) / PF_WG_OUT};
}

int pf_wg_applies(const pf_site *s)
{
    const pf_attr *a = &s->attr;
    int cin = s->in[0].c, cout = s->out.c;
    if (a->kernel != 3 || a->stride != 1 || a->pad_lo != 1 || a->pad_hi != 1) return 0;
    if (a->dilation > 1) return 0;
    if (cin % PF_WG_BLOCK || cout % PF_WG_BLOCK) return 0;
    if (cin > PF_WG_CHANNELS || cout > PF_WG_CHANNELS) return 0;
    pf_wg_image m = pf_wg_image_of(s->out);
    return 2 * m.h * m.w > m.rows * m.columns * PF_WG_OUT * PF_WG_OUT;
}

/* Equal chunks.  The transforms of T tiles are T (cin + cout) numbers a point, the kernels cin
 * cout: below a third of those, a chunk would spend its time reading kernels. */
static int tiles_a_chunk(const winograd *k)
{
    int channels = k->x.C + k->y.C;
    int room = CACHE_BYTES / (PF_WG_POINTS * (int)sizeof(float) * channels);
    int least = k->x.C * k->y.C / (3 * channels);
    if (room < LEAST_TILES) room = LEAST_TILES;
    if (room < least) room = least;
    int chunks = (k->tiles + room - 1) / room;
    return round_up((k->tiles + chunks - 1) / chunks, PF_GEMM_ROWS);
}

static size_t kernel_floats(const winograd *k)
{
    return PF_WG_POINTS * pf_wg_stride((size_t)k->x.C * (size_t)k->y.C);
}

static pf_status open(const pf_site *s, void **ctx)
{
    winograd *k = pf_zalloc(sizeof *k);
    PF_REQUIRE(k, PF_EMEM, "no memory for %s", s->name);
    k->x = pf_wg_image_of(s->in[0]);
    k->y = pf_wg_image_of(s->out);
    k->tiles = s->B * k->x.rows * k->x.columns;
    k->room = tiles_a_chunk(k);
    k->kept = s->repeat && kernel_floats(k) * sizeof(float) > CACHED_BYTES;
    *ctx = k;
    return PF_OK;
}

static size_t prepared(const pf_site *s, void *ctx)
{
    const winograd *k = ctx;
    return k->kept ? kernel_floats(k) * (s->want_dx[0] ? 2 : 1) : 0;
}

static pf_status prepare(void *ctx, const pf_call *c)
{
    const winograd *k = ctx;
    float *turned = c->prepared + kernel_floats(k);
    pf_wg_weight(c->param[0], k->x.C, k->y.C, c->prepared);
    if (c->site->want_dx[0]) pf_wg_weight_turned(c->param[0], k->x.C, k->y.C, turned);
    return PF_OK;
}

/* Floats from one point to the next of a chunk. */
static size_t stride(const winograd *k, int C)
{
    return pf_wg_stride((size_t)k->room * (size_t)C);
}

/* The transforms of a chunk on both sides. */
static size_t chunk_floats(const winograd *k)
{
    return PF_WG_POINTS * (stride(k, k->x.C) + stride(k, k->y.C));
}

/* After them the transformed kernels, where they are not kept, or their gradient and a bias gradient
 * that nobody asked for. */
static size_t scratch(const pf_site *s, void *ctx)
{
    const winograd *k = ctx;
    return chunk_floats(k) + (s->want_dp || !k->kept ? kernel_floats(k) : 0) +
           (s->want_dp ? (size_t)k->y.C : 0);
}

static pf_wg_slot slot(const winograd *k, float *v, int C, int i)
{
    return (pf_wg_slot){v + (size_t)i * PF_WG_BLOCK, stride(k, C),
                        (size_t)k->room * PF_WG_BLOCK};
}

/* to = convolution of from with the kernels u [36][from.C][to.C] */
static void convolve(const winograd *k, const pf_wg_image *from, const pf_wg_image *to,
                     const float *u, const float *bias, const float *x, float *y,
                     float *scratch)
{
    size_t sv = stride(k, from->C), sm = stride(k, to->C);
    size_t su = pf_wg_stride((size_t)from->C * (size_t)to->C);
    float *v = scratch, *m = v + PF_WG_POINTS * sv;
    for (int first = 0; first < k->tiles; first += k->room) {
        int n = k->tiles - first < k->room ? k->tiles - first : k->room;
        for (int i = 0; i < n; i++) pf_wg_input(from, x, first + i, slot(k, v, from->C, i));
        /* rows beyond n hold what an earlier chunk left; nobody reads their products */
        pf_blocked_gemm g = {.M = round_up(n, PF_GEMM_ROWS), .N = to->C, .K = from->C};
        for (size_t p = 0; p < PF_WG_POINTS; p++)
            pf_blocked_gemm_run(&g, (pf_blocked){v + p * sv, k->room},
                                (pf_blocked){(float *)u + p * su, from->C},
                                (pf_blocked){m + p * sm, k->room});
        for (int i = 0; i < n; i++) pf_wg_output(to, slot(k, m, to->C, i), bias, y, first + i);
    }
}

static pf_status forward(void *ctx, const pf_call *c)
{
    const winograd *k = ctx;
    const float *bias = c->site->n_param > 1 ? c->param[1] : NULL;
    float *own = c->scratch + chunk_floats(k);
    if (!k->kept) pf_wg_weight(c->param[0], k->x.C, k->y.C, own);
    convolve(k, &k->x, &k->y, k->kept ? c->prepared : own, bias, c->in[0], c->out, c->scratch);
    return PF_OK;
}

static void weight_gradient(const winograd *k, const pf_call *c)
{
    size_t sv = stride(k, k->x.C), sm = stride(k, k->y.C);
    size_t su = pf_wg_stride((size_t)k->x.C * (size_t)k->y.C);
    float *v = c->scratch, *m = v + PF_WG_POINTS * sv, *du = c->scratch + chunk_floats(k);
    float *sum = c->gparam[1] ? c->gparam[1] : du + kernel_floats(k);
    memset(sum, 0, (size_t)k->y.C * sizeof(float));
    for (int first = 0; first < k->tiles; first += k->room) {
        int n = k->tiles - first < k->room ? k->tiles - first : k->room;
        for (int i = 0; i < n; i++) {
            pf_wg_input(&k->x, c->in[0], first + i, slot(k, v, k->x.C, i));
            pf_wg_output_back(&k->y, c->gout, first + i, slot(k, m, k->y.C, i), sum);
        }
        pf_blocked_gemm g = {
            .M = k->x.C, .N = k->y.C, .K = n, .transposed = 1, .add = first > 0};
        for (size_t p = 0; p < PF_WG_POINTS; p++)
            pf_blocked_gemm_run(&g, (pf_blocked){v + p * sv, k->room},
                                (pf_blocked){m + p * sm, k->room},
                                (pf_blocked){du + p * su, k->x.C});
    }
    pf_wg_weight_back(du, k->x.C, k->y.C, c->gparam[0]);
}

static pf_status backward(void *ctx, const pf_call *c)
{
    const winograd *k = ctx;
    float *own = c->scratch + chunk_floats(k);
    if (c->gin[0]) {
        if (!k->kept) pf_wg_weight_turned(c->param[0], k->x.C, k->y.C, own);
        const float *u = k->kept ? c->prepared + kernel_floats(k) : own;
        convolve(k, &k->y, &k->x, u, NULL, c->gout, c->gin[0], c->scratch);
    }
    if (c->gparam[0]) weight_gradient(k, c);
    return PF_OK;
}

const pf_row pf_fused_winograd = {
    .backend = "fused",
    .applies = pf_wg_applies,
    PF_ROW_PREPARED,
};
