/* Two rows of the kernel table for one operator, called as a plan calls them: odd sizes, one
 * channel, channel counts that fill no vector, each set of wanted gradients.
 *
 * Tolerance: both sum the same n products in float, in another order.  The rounding of such a
 * sum is about sqrt(n) 6e-8 of the typical term, and n <= 2e4 here; 2e-5 of the largest element
 * leaves room for cancellation in one element but for no wrong, missing or misplaced term.
 * Where all elements cancel (the gradient of a shift that the norm removes) hundreds of terms of
 * size 1 set the scale instead: hence the floors. */
#ifndef PF_TESTS_KERNEL_COMPARE_H
#define PF_TESTS_KERNEL_COMPARE_H

#include "nn/kernel.h"
#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const double tolerance = 2e-5, floor_of_scale = 1e-3, floor_of_cancelling = 2.0;
enum { TRIALS = 12, MAX_BATCH = 3, SAMPLES_MAX = 32 };

typedef struct buffers { /* one side of the comparison */
    void *ctx;
    float *out, *prepared, *saved, *scratch, *gin[PF_MAX_INPUTS], *gparam[PF_MAX_PARAMS];
} buffers;

typedef struct bench {
    pf_site site;
    pf_run run;
    uint64_t sample[SAMPLES_MAX];
    float *in[PF_MAX_INPUTS], *param[PF_MAX_PARAMS], *gout;
    const pf_row *row[2]; /* fast, ref */
    buffers side[2];
    double tolerance; /* 0: as above */
    double noise;     /* > 0: largest root mean square error, relative */
    /* what rounding inside may add to the error of each element; NULL: nothing */
    double *more_out, *more_gin[PF_MAX_INPUTS];
} bench;

static unsigned draws;

/* Every test begins with the first draw, whatever ran before it. */
static inline int first_draw(void **state)
{
    (void)state;
    draws = 0;
    return 0;
}
#define drawing_test(f) cmocka_unit_test_setup(f, first_draw)

/* An integer in [lo, hi], the same on every run. */
static inline int pick(int lo, int hi)
{
    pf_draw d = {.seed = 7, .stream = PF_STREAM_TEST, .sample = 1};
    uint32_t bits;
    pf_draw_bits(&d, draws++, 1, &bits);
    return lo + (int)(bits % (uint32_t)(hi - lo + 1));
}

static inline float *normals(size_t n)
{
    pf_draw d = {.seed = 8, .stream = PF_STREAM_TEST, .sample = draws++};
    float *x = pf_zalloc(n * sizeof *x);
    assert_non_null(x);
    pf_draw_normal(&d, 0, n, x);
    return x;
}

/* To the nearest number with 8 bits, ties away from zero. */
static inline void round_bf16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int e;
        double m = ldexp(frexp((double)x[i], &e), 8);
        x[i] = (float)ldexp(round(m), e - 8);
    }
}

/* A block that holds NaN, so that what a kernel leaves unwritten is found. */
static inline float *blank(size_t n)
{
    float *x = pf_zalloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

static inline size_t in_size(const bench *t, int k)
{
    return (size_t)t->site.B * pf_shape_size(t->site.in[k]);
}

static inline size_t out_size(const bench *t)
{
    return (size_t)t->site.B * pf_shape_size(t->site.out);
}

static inline void begin(bench *t)
{
    pf_site *s = &t->site;
    s->name = "test";
    s->want_dp = s->n_param > 0;
    t->row[0] = pf_kernel_row("fast", s);
    t->row[1] = pf_kernel_row("ref", s);
    assert_non_null(t->row[0]);
    assert_non_null(t->row[1]);
    for (int k = 0; k < s->n_in; k++) t->in[k] = normals(in_size(t, k));
    for (int k = 0; k < s->n_param; k++) t->param[k] = normals(s->param_size[k]);
    if (s->op == PF_OP_SINE) /* noise that leaves the waves visible */
        for (int b = 0; b < s->B; b++) t->in[1][b] *= 0.2f / (float)s->attr.a;
    t->gout = normals(out_size(t));
    if (s->precision == PF_BF16) {
        for (int k = 0; k < s->n_in; k++) round_bf16(t->in[k], in_size(t, k));
        if (s->n_param) round_bf16(t->param[0], s->param_size[0]); /* not the bias */
        round_bf16(t->gout, out_size(t));
    }
    for (int b = 0; b < s->B; b++) t->sample[b] = (uint64_t)pick(0, 1000);
    t->run.sample = t->sample;
    for (int i = 0; i < 2; i++) {
        buffers *v = &t->side[i];
        const pf_row *r = t->row[i];
        if (r->open) assert_int_equal(r->open(s, &v->ctx), PF_OK);
        v->prepared = pf_zalloc((r->prepared ? r->prepared(s, v->ctx) : 0) * sizeof(float));
        assert_non_null(v->prepared);
        v->saved = blank(r->saved ? r->saved(s, v->ctx) : 0);
        v->scratch = blank(r->scratch ? r->scratch(s, v->ctx) : 0);
        v->out = blank(out_size(t));
        for (int k = 0; k < s->n_in; k++) v->gin[k] = blank(in_size(t, k));
        for (int k = 0; k < s->n_param; k++) v->gparam[k] = blank(s->param_size[k]);
    }
}

static inline void end(bench *t)
{
    for (int i = 0; i < 2; i++) {
        buffers *v = &t->side[i];
        if (t->row[i]->close) t->row[i]->close(v->ctx);
        pf_free(v->prepared);
        pf_free(v->saved);
        pf_free(v->scratch);
        pf_free(v->out);
        for (int k = 0; k < PF_MAX_INPUTS; k++) pf_free(v->gin[k]);
        for (int k = 0; k < PF_MAX_PARAMS; k++) pf_free(v->gparam[k]);
    }
    for (int k = 0; k < PF_MAX_INPUTS; k++) pf_free(t->in[k]);
    pf_free(t->more_out);
    for (int k = 0; k < PF_MAX_INPUTS; k++) pf_free(t->more_gin[k]);
    for (int k = 0; k < PF_MAX_PARAMS; k++) pf_free(t->param[k]);
    pf_free(t->gout);
}

static inline pf_call call_of(bench *t, int side)
{
    pf_call c = {.site = &t->site,
                 .run = &t->run,
                 .out = t->side[side].out,
                 .prepared = t->side[side].prepared,
                 .saved = t->side[side].saved,
                 .scratch = t->side[side].scratch,
                 .gout = t->gout};
    for (int k = 0; k < t->site.n_in; k++) c.in[k] = t->in[k];
    for (int k = 0; k < t->site.n_param; k++) c.param[k] = t->param[k];
    return c;
}

static inline void complain(const bench *t, const char *what, const char *how)
{
    fail_msg("%s %s, batch %d, [%d,%d,%d] -> [%d,%d,%d]: %s", pf_op_name(t->site.op), what,
             t->site.B, t->site.in[0].h, t->site.in[0].w, t->site.in[0].c, t->site.out.h,
             t->site.out.w, t->site.out.c, how);
}

static inline void compare(const bench *t, const char *what, size_t n, const float *fast,
                           const float *ref, const double *more)
{
    char how[128];
    int cancels =
        t->site.op == PF_OP_GROUP_NORM && !t->site.attr.scale_shift && ref == t->side[1].gin[1];
    double top = cancels ? floor_of_cancelling : floor_of_scale, error = 0.0, size = 0.0;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs((double)ref[i]));
    double within = (t->tolerance > 0 ? t->tolerance : tolerance) * top;
    for (size_t i = 0; i < n; i++) {
        double off = (double)fast[i] - (double)ref[i];
        error += off * off;
        size += (double)ref[i] * (double)ref[i];
        if (fabs(off) <= within + (more ? more[i] : 0.0)) continue;
        snprintf(how, sizeof how, "element %zu is %g, not %g", i, (double)fast[i],
                 (double)ref[i]);
        complain(t, what, how);
    }
    snprintf(how, sizeof how, "%g of the size is noise", sqrt(error / size));
    if (t->noise > 0 && !(error <= t->noise * t->noise * size)) complain(t, what, how);
}

static inline void forward(bench *t)
{
    for (int i = 0; i < 2; i++) {
        pf_call c = call_of(t, i);
        if (t->row[i]->prepare && t->row[i]->prepared(&t->site, t->side[i].ctx))
            assert_int_equal(t->row[i]->prepare(t->side[i].ctx, &c), PF_OK);
        assert_int_equal(t->row[i]->forward(t->side[i].ctx, &c), PF_OK);
    }
    compare(t, "value", out_size(t), t->side[0].out, t->side[1].out, t->more_out);
}

/* Backward with the gradients of the mask: inputs in its low bits, then all parameters. */
static inline void backward(bench *t, int mask)
{
    const pf_site *s = &t->site;
    for (int i = 0; i < 2; i++) {
        pf_call c = call_of(t, i);
        for (int k = 0; k < s->n_in; k++)
            if (mask >> k & 1) c.gin[k] = t->side[i].gin[k];
        for (int k = 0; k < s->n_param; k++)
            if (mask >> s->n_in & 1) c.gparam[k] = t->side[i].gparam[k];
        assert_int_equal(t->row[i]->backward(t->side[i].ctx, &c), PF_OK);
    }
    for (int k = 0; k < s->n_in; k++)
        if (mask >> k & 1)
            compare(t, k ? "gradient of input 1 or 2" : "gradient of input 0", in_size(t, k),
                    t->side[0].gin[k], t->side[1].gin[k], t->more_gin[k]);
    for (int k = 0; k < s->n_param; k++)
        if (mask >> s->n_in & 1)
            compare(t, k ? "gradient of the bias" : "gradient of the weight", s->param_size[k],
                    t->side[0].gparam[k], t->side[1].gparam[k], NULL);
}

/* Value, then every set of gradients that may be asked for, all after the same forward. */
static inline void check_begun(bench *t)
{
    assert_ptr_not_equal(t->row[0], t->row[1]);
    forward(t);
    int allowed = 0, kinds = t->site.n_in + (t->site.n_param > 0);
    for (int k = 0; k < t->site.n_in; k++) allowed |= t->site.want_dx[k] << k;
    if (t->site.n_param) allowed |= 1 << t->site.n_in;
    for (int mask = 1; mask < 1 << kinds; mask++)
        if ((mask & ~allowed) == 0) backward(t, mask);
    end(t);
}

static inline void check(bench *t)
{
    begin(t);
    check_begun(t);
}

static inline bench site(pf_op op, int n_in, pf_shape in, pf_shape out)
{
    bench t = {.site = {.op = op, .B = pick(1, MAX_BATCH), .n_in = n_in, .out = out}};
    for (int k = 0; k < n_in; k++) {
        t.site.in[k] = in;
        t.site.want_dx[k] = 1;
    }
    return t;
}

static inline pf_shape any_shape(void)
{
    static const int channels[] = {1, 2, 3, 5, 8, 16, 20, 32, 48, 64, 100, 128};
    return (pf_shape){pick(1, 15), pick(1, 15), channels[pick(0, 11)]};
}

static inline bench conv_site(pf_shape in, int cout, const pf_attr *a)
{
    int reach = a->dilation > 1 ? (a->kernel - 1) * a->dilation + 1 : a->kernel;
    int pads = a->pad_lo + a->pad_hi - reach;
    pf_shape out = {(in.h + pads) / a->stride + 1, (in.w + pads) / a->stride + 1, cout};
    bench t = site(PF_OP_CONV, 1, in, out);
    t.site.attr = *a;
    t.site.n_param = 2;
    t.site.param_size[0] = (size_t)cout * (size_t)in.c * (size_t)(a->kernel * a->kernel);
    t.site.param_size[1] = (size_t)cout;
    return t;
}

static inline bench linear_site(pf_shape in, int cout, int in_out)
{
    bench t = site(PF_OP_LINEAR, 1, in, (pf_shape){in.h, in.w, cout});
    t.site.attr.in_out = in_out;
    t.site.n_param = 2;
    t.site.param_size[0] = (size_t)in.c * (size_t)cout;
    t.site.param_size[1] = (size_t)cout;
    return t;
}

#endif
