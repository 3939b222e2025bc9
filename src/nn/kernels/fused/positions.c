/* What tells positions apart, and the rows of a table at many of them; the formulas are in ref/positions.c and
 * ref/embed.c.  Gradients of tables are summed in double where there is more than one label a sample. */
#include "nn/kernels/fused/rows.h"
#include "nn/kernels/fused/vec.h"

#include <probflow/memory.h>

static size_t length_of(const pf_site *s)
{
    return (size_t)s->out.h * (size_t)s->out.w;
}

static pf_status positions_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t L = length_of(s), w = (size_t)s->attr.window;
    int C = s->out.c;
    const float *x = c->in[0];
    float *y = c->out;
    for (size_t p = 0; p < (size_t)s->B * L; p++, x += C, y += C) {
        size_t l = p % L;
        const float *e = c->param[0] + l / w * (size_t)C, *f = c->param[1] + l % w * (size_t)C;
        PF_SIMD
        for (int i = 0; i < C; i++) y[i] = x[i] + e[i] + f[i];
    }
    return PF_OK;
}

/* Doubles of the larger table. */
static size_t table_scratch(const pf_site *s, void *ctx)
{
    (void)ctx;
    size_t most = s->param_size[0];
    if (s->n_param > 1 && s->param_size[1] > most) most = s->param_size[1];
    return 2 * most;
}

static void add_row(double *sum, const float *g, int C)
{
    PF_SIMD
    for (int i = 0; i < C; i++) sum[i] += (double)g[i];
}

static void take(const double *sum, size_t n, float *to)
{
    PF_SIMD
    for (size_t i = 0; i < n; i++) to[i] = (float)sum[i];
}

static pf_status positions_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t L = length_of(s), w = (size_t)s->attr.window, C = (size_t)s->out.c;
    double *sum = (double *)c->scratch;
    for (int k = 0; k < s->n_param; k++) {
        if (!c->gparam[k]) continue;
        memset(sum, 0, s->param_size[k] * sizeof *sum);
        for (size_t p = 0; p < (size_t)s->B * L; p++) {
            size_t l = p % L, row = k ? l % w : l / w;
            add_row(sum + row * C, c->gout + p * C, s->out.c);
        }
        take(sum, s->param_size[k], c->gparam[k]);
    }
    if (c->gin[0] && c->gin[0] != c->gout)
        memcpy(c->gin[0], c->gout, (size_t)s->B * L * C * sizeof(float));
    return PF_OK;
}

static int32_t label_at(const pf_call *c, size_t p)
{
    int32_t k;
    memcpy(&k, c->in[0] + p, sizeof k);
    return k;
}

/* One label a sample stays with ref, whose sums are in float. */
static int embed_applies(const pf_site *s)
{
    return length_of(s) > 1;
}

static pf_status embed_forward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t C = (size_t)s->out.c;
    int classes = (int)(s->param_size[0] / C);
    for (size_t p = 0; p < (size_t)s->B * length_of(s); p++) {
        int k = label_at(c, p);
        PF_REQUIRE(k < classes, PF_EARG,
                   "operator %s (embed): label %d, want less than %d classes", s->name, k,
                   classes);
        if (k < 0) memset(c->out + p * C, 0, C * sizeof(float));
        else memcpy(c->out + p * C, c->param[0] + (size_t)k * C, C * sizeof(float));
    }
    return PF_OK;
}

static pf_status embed_backward(void *ctx, const pf_call *c)
{
    (void)ctx;
    const pf_site *s = c->site;
    size_t C = (size_t)s->out.c;
    double *sum = (double *)c->scratch;
    if (!c->gparam[0]) return PF_OK;
    memset(sum, 0, s->param_size[0] * sizeof *sum);
    for (size_t p = 0; p < (size_t)s->B * length_of(s); p++) {
        int k = label_at(c, p);
        if (k >= 0) add_row(sum + (size_t)k * C, c->gout + p * C, s->out.c);
    }
    take(sum, s->param_size[0], c->gparam[0]);
    return PF_OK;
}

/* cos and sin [L,d/2] of the phases */
static pf_status rotary_open(const pf_site *s, void **ctx)
{
    size_t L = length_of(s), half = (size_t)(s->attr.turned / s->attr.heads / 2);
    float *a = pf_zalloc(2 * L * half * sizeof *a);
    PF_REQUIRE(a, PF_EMEM, "no memory for %s", s->name);
    for (size_t l = 0; l < L; l++)
        for (size_t k = 0; k < half; k++) {
            double phase = (double)l * pow(s->attr.a, -(double)k / (double)half);
            a[2 * l * half + k] = (float)cos(phase);
            a[(2 * l + 1) * half + k] = (float)sin(phase);
        }
    *ctx = a;
    return PF_OK;
}

static void rotary_close(void *ctx)
{
    pf_free(ctx);
}

/* One head at one position; y may be x. */
static void turn(int half, const float *cosine, float sign, const float *x, float *y)
{
    const float *sine = cosine + half;
    PF_SIMD
    for (int k = 0; k < half; k++) {
        float x1 = x[k], x2 = x[k + half], turn = sign * sine[k];
        y[k] = x1 * cosine[k] - x2 * turn;
        y[k + half] = x2 * cosine[k] + x1 * turn;
    }
}

static void turn_all(const float *phases, const pf_site *s, float sign, const float *x,
                     float *y)
{
    size_t L = length_of(s), C = (size_t)s->out.c, turned = (size_t)s->attr.turned;
    int d = s->attr.turned / s->attr.heads;
    for (size_t p = 0; p < (size_t)s->B * L; p++, x += C, y += C) {
        for (int h = 0; h < s->attr.heads; h++)
            turn(d / 2, phases + p % L * (size_t)d, sign, x + h * d, y + h * d);
        if (x != y) memcpy(y + turned, x + turned, (C - turned) * sizeof *y);
    }
}

static pf_status rotary_forward(void *ctx, const pf_call *c)
{
    turn_all(ctx, c->site, 1.0f, c->in[0], c->out);
    return PF_OK;
}

static pf_status rotary_backward(void *ctx, const pf_call *c)
{
    if (c->gin[0]) turn_all(ctx, c->site, -1.0f, c->gout, c->gin[0]);
    return PF_OK;
}

const pf_row pf_fused_positions = {.backend = "fused",
                                   .scratch = table_scratch,
                                   .forward = positions_forward,
                                   .backward = positions_backward};
const pf_row pf_fused_embed = {.backend = "fused",
                               .applies = embed_applies,
                               .scratch = table_scratch,
                               .forward = embed_forward,
                               .backward = embed_backward};
const pf_row pf_fused_rotary = {.backend = "fused",
                                .open = rotary_open,
                                .close = rotary_close,
                                .forward = rotary_forward,
                                .backward = rotary_backward};
