/* 3x3 convolutions with stride 1 and padding 1 into or out of images proper, which have at most
 * four channels: blocked kernels would work on mostly empty vectors.  Here vectors run over the
 * many channels of the other side.  With z the few, x the many, k the taps:
 *
 *     gather    z(p,f) = < x(p + k), w(f,k) >        into few, and gradient of what came out of few
 *     spread    x(p)   = sum_fk z(p + k, f) w(f,k)   out of few, and gradient of what went into few
 *     weights   dw(f,k) = sum_p z(p + k, f) x(p)     (few in; k turned by half a turn: few out)
 *
 * z is copied into a frame of zeros, so that no tap needs a test.  Gather first takes all products
 * < x(q), w(f,k) > of an image as one matrix product and then adds nine of them a pixel. */
#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"
#include <probflow/memory.h>

enum { MOST = 4, L = PF_GEMM_COLUMNS, V = PF_LANES, TAPS = 9, BLOCK_ROWS = 8 };

typedef struct few {
    int B, h, w, few, many, out; /* out: the few are the output's channels */
    int columns;                 /* 9 few, rounded up to whole vectors */
} few;

/* The kernels as the two directions read them. */
typedef struct kernels {
    float *spread; /* [few][9][many] */
    float *gather; /* [many][columns] */
} kernels;

static int applies(const pf_site *s)
{
    const pf_attr *a = &s->attr;
    int in = s->in[0].c, out = s->out.c;
    if (a->kernel != 3 || a->stride != 1 || a->pad_lo != 1 || a->pad_hi != 1) return 0;
    if (a->dilation > 1) return 0;
    if (s->out.h * s->out.w < PF_GEMM_ROWS) return 0;
    return (in <= MOST && out % L == 0) || (out <= MOST && in % L == 0);
}

static pf_status open(const pf_site *site, void **ctx)
{
    few *s = pf_zalloc(sizeof *s);
    if (!s) PF_FAIL(PF_EMEM, "no memory for %s", site->name);
    int in = site->in[0].c, out = site->out.c;
    *s = (few){.B = site->B, .h = site->out.h, .w = site->out.w, .out = out <= MOST};
    s->few = s->out ? out : in;
    s->many = s->out ? in : out;
    s->columns = (s->few * TAPS + L - 1) / L * L;
    *ctx = s;
    return PF_OK;
}

static size_t kernel_floats(const few *s)
{
    return (size_t)s->few * TAPS * (size_t)s->many;
}

static kernels kernels_of(const few *s, const pf_call *call)
{
    return (kernels){call->prepared, call->prepared + kernel_floats(s)};
}

static size_t prepared(const pf_site *site, void *ctx)
{
    const few *s = ctx;
    (void)site;
    return kernel_floats(s) + (size_t)s->many * (size_t)s->columns;
}

/* Where tap k of the kernel between few channel f and many channel c lies in w [cout,cin,3,3]. */
static size_t oihw(const few *s, int f, int c, int k)
{
    int kernel = s->out ? f * s->many + c : c * s->few + f;
    return (size_t)kernel * TAPS + (size_t)k;
}

static size_t packed(const few *s, int f, int c, int k)
{
    return ((size_t)f * TAPS + (size_t)k) * (size_t)s->many + (size_t)c;
}

static pf_status prepare(void *ctx, const pf_call *call)
{
    const few *s = ctx;
    kernels to = kernels_of(s, call);
    for (int f = 0; f < s->few; f++)
        for (int k = 0; k < TAPS; k++)
            for (int c = 0; c < s->many; c++) {
                float w = call->param[0][oihw(s, f, c, k)];
                int turned = TAPS - 1 - k; /* the gradient of what went in turns the kernel */
                int g = s->out ? k : turned, t = s->out ? turned : k;
                to.gather[c * s->columns + f * TAPS + g] = w;
                to.spread[packed(s, f, c, t)] = w;
            }
    return PF_OK;
}

static size_t frame_floats(const few *s)
{
    return ((size_t)s->few * (size_t)(s->h + 2) * (size_t)(s->w + 2) + L - 1) / L * L;
}

/* Products, or the frame and after it the kernels' gradient [few][9][many]. */
static size_t scratch(const pf_site *site, void *ctx)
{
    const few *s = ctx;
    size_t frame = frame_floats(s) + (site->want_dp ? kernel_floats(s) : 0);
    size_t products = (size_t)s->columns * (size_t)s->h * (size_t)s->w;
    return frame > products ? frame : products;
}

/* frame [few][h+2][w+2] of one image z [h,w,few] */
static void frame_of(const few *s, const float *z, float *frame)
{
    size_t line = (size_t)s->w + 2, plane = line * ((size_t)s->h + 2);
    memset(frame, 0, (size_t)s->few * plane * sizeof *frame);
    for (int f = 0; f < s->few; f++)
        for (int i = 0; i < s->h; i++) {
            float *to = frame + (size_t)f * plane + (size_t)(i + 1) * line + 1;
            for (int j = 0; j < s->w; j++) to[j] = z[(i * s->w + j) * s->few + f];
        }
}

/* products [n,columns] = x [n,many] w; the last block of rows overlaps the one before. */
static void products_of(const few *s, const float *w, const float *x, float *products)
{
    int n = s->h * s->w, whole = n / PF_GEMM_ROWS * PF_GEMM_ROWS;
    pf_small_gemm g = {
        .M = whole, .N = s->columns, .K = s->many, .row = (size_t)s->many, .column = 1};
    pf_small_gemm_run(&g, x, w, products);
    if (whole == n) return;
    g.M = PF_GEMM_ROWS;
    n -= PF_GEMM_ROWS;
    pf_small_gemm_run(&g, x + n * s->many, w, products + n * s->columns);
}

/* z(p,f) of one pixel: the taps of rows [i0,i1) and columns [j0,j1) meet the image. */
PF_INLINE float nine(const few *s, const float *at, const int range[4])
{
    float sum = 0.0f;
    for (int i = range[0]; i < range[1]; i++)
        for (int j = range[2]; j < range[3]; j++)
            sum += at[((i - 1) * s->w + (j - 1)) * s->columns + 3 * i + j];
    return sum;
}

static void gather(const few *s, const float *w, const float *bias, const float *x,
                   float *products, float *z)
{
    for (int b = 0; b < s->B; b++, x += s->h * s->w * s->many) {
        products_of(s, w, x, products);
        const float *at = products;
        for (int i = 0; i < s->h; i++)
            for (int j = 0; j < s->w; j++, at += s->columns, z += s->few) {
                const int range[4] = {i == 0, i == s->h - 1 ? 2 : 3, j == 0,
                                      j == s->w - 1 ? 2 : 3};
                for (int f = 0; f < s->few; f++)
                    z[f] = (bias ? bias[f] : 0.0f) + nine(s, at + f * TAPS, range);
            }
    }
}

/* One vector of channels of one image */
PF_INLINE void spread_block(const few *s, const float *w, const float *bias, const float *frame,
                            float *x)
{
    size_t line = (size_t)s->w + 2, plane = line * ((size_t)s->h + 2);
    for (int i = 0; i < s->h; i++)
        for (int j = 0; j < s->w; j++, x += s->many) {
            pf_vec sum = {0};
            if (bias) sum = pf_load(bias);
            for (int f = 0; f < s->few; f++) {
                const float *q = frame + (size_t)f * plane + (size_t)i * line + (size_t)j;
                const float *k = w + f * TAPS * s->many;
                PF_UNROLL
                for (int t = 0; t < TAPS; t++)
                    sum +=
                        q[(size_t)(t / 3) * line + (size_t)(t % 3)] * pf_load(k + t * s->many);
            }
            pf_store(x, sum);
        }
}

static void spread(const few *s, const float *w, const float *bias, const float *z,
                   float *frame, float *x)
{
    int n = s->h * s->w;
    for (int b = 0; b < s->B; b++, z += n * s->few, x += n * s->many) {
        frame_of(s, z, frame);
        for (int c = 0; c < s->many; c += V)
            spread_block(s, w + c, bias ? bias + c : NULL, frame, x + c);
    }
}

/* Rows [first,last) of one image, a vector of channels, one of the few: nine sums in registers. */
PF_INLINE void weights_block(const few *s, const float *x, const float *frame, int first,
                             int last, float *dw)
{
    size_t line = (size_t)s->w + 2;
    pf_vec sum[TAPS];
    for (int k = 0; k < TAPS; k++) sum[k] = pf_load(dw + k * s->many);
    for (int i = first; i < last; i++) {
        const float *p = x + i * s->w * s->many, *q = frame + (size_t)i * line;
        for (int j = 0; j < s->w; j++, p += s->many, q++) {
            pf_vec v = pf_load(p);
            PF_UNROLL
            for (int k = 0; k < TAPS; k++)
                sum[k] += v * q[(size_t)(k / 3) * line + (size_t)(k % 3)];
        }
    }
    for (int k = 0; k < TAPS; k++) pf_store(dw + k * s->many, sum[k]);
}

static void weights(const few *s, const float *x, const float *z, float *frame, float *dw)
{
    int n = s->h * s->w, plane = (s->h + 2) * (s->w + 2);
    memset(dw, 0, (size_t)s->few * TAPS * (size_t)s->many * sizeof *dw);
    for (int b = 0; b < s->B; b++, x += n * s->many, z += n * s->few) {
        frame_of(s, z, frame);
        for (int i = 0; i < s->h; i += BLOCK_ROWS) { /* rows stay near for all channels */
            int last = i + BLOCK_ROWS < s->h ? i + BLOCK_ROWS : s->h;
            for (int f = 0; f < s->few; f++)
                for (int c = 0; c < s->many; c += V)
                    weights_block(s, x + c, frame + f * plane, i, last,
                                  dw + f * TAPS * s->many + c);
        }
    }
}

static pf_status forward(void *ctx, const pf_call *call)
{
    const few *s = ctx;
    const float *bias = call->site->n_param > 1 ? call->param[1] : NULL;
    kernels w = kernels_of(s, call);
    if (s->out) gather(s, w.gather, bias, call->in[0], call->scratch, call->out);
    else spread(s, w.spread, bias, call->in[0], call->scratch, call->out);
    return PF_OK;
}

/* dw came as [few][9][many]; seen from few in, tap k of z meets x at p; seen from few out the
 * roles of input and gradient change, and so the kernel turns. */
static void write_gradient(const few *s, const float *dw, float *gw)
{
    for (int f = 0; f < s->few; f++)
        for (int k = 0; k < TAPS; k++)
            for (int c = 0; c < s->many; c++)
                gw[oihw(s, f, c, s->out ? TAPS - 1 - k : k)] = dw[packed(s, f, c, k)];
}

static pf_status backward(void *ctx, const pf_call *call)
{
    const few *s = ctx;
    kernels w = kernels_of(s, call);
    if (call->gin[0] && s->out)
        spread(s, w.spread, NULL, call->gout, call->scratch, call->gin[0]);
    if (call->gin[0] && !s->out)
        gather(s, w.gather, NULL, call->gout, call->scratch, call->gin[0]);
    if (call->gparam[0]) {
        float *dw = call->scratch + frame_floats(s);
        const float *x = s->out ? call->in[0] : call->gout;
        weights(s, x, s->out ? call->gout : call->in[0], call->scratch, dw);
        write_gradient(s, dw, call->gparam[0]);
    }
    if (call->gparam[1])
        pf_fused_sum_rows(s->B * s->h * s->w, call->site->out.c, call->gout, call->gparam[1]);
    return PF_OK;
}

const pf_row pf_fused_few = {
    .backend = "fused",
    .applies = applies,
    PF_ROW_PREPARED,
};
