/* The fast rows of the kernel table against the plain ones, called as a plan calls them: odd
 * sizes, one channel, channel counts that fill no vector, each set of wanted gradients.
 *
 * Tolerance: both sum the same n products in float, in another order.  The rounding of such a
 * sum is about sqrt(n) 6e-8 of the typical term, and n <= 2e4 here; 2e-5 of the largest element
 * leaves room for cancellation in one element but for no wrong, missing or misplaced term.
 * Where all elements cancel (the gradient of a shift that the norm removes) hundreds of terms of
 * size 1 set the scale instead: hence the floors. */
#include <nn/kernel.h>
#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const double tolerance = 2e-5, floor_of_scale = 1e-3, floor_of_cancelling = 2.0;
enum { TRIALS = 12, MAX_BATCH = 3 };

typedef struct buffers { /* one side of the comparison */
    void *ctx;
    float *out, *saved, *scratch, *gin[PF_MAX_INPUTS], *gparam[PF_MAX_PARAMS];
} buffers;

typedef struct bench {
    pf_site site;
    pf_run run;
    uint64_t sample[MAX_BATCH];
    float *in[PF_MAX_INPUTS], *param[PF_MAX_PARAMS], *gout;
    const pf_row *row[2]; /* fast, ref */
    buffers side[2];
} bench;

static unsigned draws;

/* An integer in [lo, hi], the same on every run. */
static int pick(int lo, int hi)
{
    pf_draw d = {.seed = 7, .stream = PF_STREAM_TEST, .sample = 1};
    uint32_t bits;
    pf_draw_bits(&d, draws++, 1, &bits);
    return lo + (int)(bits % (uint32_t)(hi - lo + 1));
}

static float *normals(size_t n)
{
    pf_draw d = {.seed = 8, .stream = PF_STREAM_TEST, .sample = draws++};
    float *x = pf_zalloc(n * sizeof *x);
    assert_non_null(x);
    pf_draw_normal(&d, 0, n, x);
    return x;
}

/* A block that holds NaN, so that what a kernel leaves unwritten is found. */
static float *blank(size_t n)
{
    float *x = pf_zalloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

static size_t in_size(const bench *t, int k)
{
    return (size_t)t->site.B * pf_shape_size(t->site.in[k]);
}

static size_t out_size(const bench *t)
{
    return (size_t)t->site.B * pf_shape_size(t->site.out);
}

static void begin(bench *t)
{
    pf_site *s = &t->site;
    s->name = "test";
    s->pass = PF_PASS_BOTH;
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
    for (int b = 0; b < s->B; b++) t->sample[b] = (uint64_t)pick(0, 1000);
    t->run.sample = t->sample;
    for (int i = 0; i < 2; i++) {
        buffers *v = &t->side[i];
        const pf_row *r = t->row[i];
        if (r->open) assert_int_equal(r->open(s, &v->ctx), PF_OK);
        v->saved = blank(r->saved ? r->saved(s, v->ctx) : 0);
        v->scratch = blank(r->scratch ? r->scratch(s, v->ctx) : 0);
        v->out = blank(out_size(t));
        for (int k = 0; k < s->n_in; k++) v->gin[k] = blank(in_size(t, k));
        for (int k = 0; k < s->n_param; k++) v->gparam[k] = blank(s->param_size[k]);
    }
}

static void end(bench *t)
{
    for (int i = 0; i < 2; i++) {
        buffers *v = &t->side[i];
        if (t->row[i]->close) t->row[i]->close(v->ctx);
        pf_free(v->saved);
        pf_free(v->scratch);
        pf_free(v->out);
        for (int k = 0; k < PF_MAX_INPUTS; k++) pf_free(v->gin[k]);
        for (int k = 0; k < PF_MAX_PARAMS; k++) pf_free(v->gparam[k]);
    }
    for (int k = 0; k < PF_MAX_INPUTS; k++) pf_free(t->in[k]);
    for (int k = 0; k < PF_MAX_PARAMS; k++) pf_free(t->param[k]);
    pf_free(t->gout);
}

static pf_call call_of(bench *t, int side)
{
    pf_call c = {.site = &t->site,
                 .run = &t->run,
                 .out = t->side[side].out,
                 .saved = t->side[side].saved,
                 .scratch = t->side[side].scratch,
                 .gout = t->gout};
    for (int k = 0; k < t->site.n_in; k++) c.in[k] = t->in[k];
    for (int k = 0; k < t->site.n_param; k++) c.param[k] = t->param[k];
    return c;
}

static void compare(const bench *t, const char *what, size_t n, const float *fast,
                    const float *ref)
{
    int cancels = t->site.op == PF_OP_GROUP_NORM && ref == t->side[1].gin[1];
    double top = cancels ? floor_of_cancelling : floor_of_scale;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs((double)ref[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)fast[i] - (double)ref[i]) <= tolerance * top))
            fail_msg("%s %s, batch %d, [%d,%d,%d] -> [%d,%d,%d]: element %zu is %g, not %g",
                     pf_op_name(t->site.op), what, t->site.B, t->site.in[0].h, t->site.in[0].w,
                     t->site.in[0].c, t->site.out.h, t->site.out.w, t->site.out.c, i,
                     (double)fast[i], (double)ref[i]);
}

static void forward(bench *t)
{
    for (int i = 0; i < 2; i++) {
        pf_call c = call_of(t, i);
        if (t->row[i]->params) assert_int_equal(t->row[i]->params(t->side[i].ctx, &c), PF_OK);
        assert_int_equal(t->row[i]->forward(t->side[i].ctx, &c), PF_OK);
    }
    compare(t, "value", out_size(t), t->side[0].out, t->side[1].out);
}

/* Backward with the gradients of the mask: inputs in its low bits, then all parameters. */
static void backward(bench *t, int mask)
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
                    t->side[0].gin[k], t->side[1].gin[k]);
    for (int k = 0; k < s->n_param; k++)
        if (mask >> s->n_in & 1)
            compare(t, k ? "gradient of the bias" : "gradient of the weight", s->param_size[k],
                    t->side[0].gparam[k], t->side[1].gparam[k]);
}

/* Value, then every set of gradients that may be asked for, all after the same forward. */
static void check(bench *t)
{
    begin(t);
    assert_ptr_not_equal(t->row[0], t->row[1]);
    forward(t);
    int allowed = 0, kinds = t->site.n_in + (t->site.n_param > 0);
    for (int k = 0; k < t->site.n_in; k++) allowed |= t->site.want_dx[k] << k;
    if (t->site.n_param) allowed |= 1 << t->site.n_in;
    for (int mask = 1; mask < 1 << kinds; mask++)
        if ((mask & ~allowed) == 0) backward(t, mask);
    end(t);
}

static bench site(pf_op op, int n_in, pf_shape in, pf_shape out)
{
    bench t = {.site = {.op = op, .B = pick(1, MAX_BATCH), .n_in = n_in, .out = out}};
    for (int k = 0; k < n_in; k++) {
        t.site.in[k] = in;
        t.site.want_dx[k] = 1;
    }
    return t;
}

static pf_shape any_shape(void)
{
    static const int channels[] = {1, 2, 3, 5, 8, 16, 20, 32, 48, 64, 100, 128};
    return (pf_shape){pick(1, 15), pick(1, 15), channels[pick(0, 11)]};
}

/* Rows of backends that this build does not have fall back to ref: nothing to compare. */
static int has_onednn(void)
{
    return pf_onednn_kernels[0].row != NULL;
}

static void one_conv(pf_shape in, int cout, int kernel, int stride, int lo, int hi)
{
    pf_shape out = {(in.h + lo + hi - kernel) / stride + 1,
                    (in.w + lo + hi - kernel) / stride + 1, cout};
    bench t = site(PF_OP_CONV, 1, in, out);
    t.site.attr = (pf_attr){.kernel = kernel, .stride = stride, .pad_lo = lo, .pad_hi = hi};
    t.site.n_param = 2;
    t.site.param_size[0] = (size_t)cout * (size_t)in.c * (size_t)(kernel * kernel);
    t.site.param_size[1] = (size_t)cout;
    check(&t);
}

static void convolutions_agree(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape(), other = any_shape();
        in.h += 2;
        in.w += 2;
        one_conv(in, other.c, 3, 1, 1, 1);
        one_conv(in, other.c, 1, 1, 0, 0);
        one_conv(in, other.c, 3, 2, 0, 1);
    }
}

static void convolutions_with_one_or_three_channels_agree(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int few = 1; few <= 4; few++) {
        one_conv((pf_shape){pick(3, 28), pick(3, 28), few}, 32, 3, 1, 1, 1);
        one_conv((pf_shape){pick(3, 28), pick(3, 28), 32}, few, 3, 1, 1, 1);
        one_conv((pf_shape){pick(3, 28), pick(3, 28), few}, 37, 3, 1, 1, 1);
        one_conv((pf_shape){pick(3, 28), pick(3, 28), 37}, few, 3, 1, 1, 1);
        one_conv((pf_shape){pick(3, 28), pick(3, 28), few}, few, 3, 1, 1, 1);
        one_conv((pf_shape){pick(3, 28), pick(3, 28), few}, 24, 1, 1, 0, 0);
    }
}

/* Those go by tiles of 4x4 pixels: whole tiles, overhanging ones, more than one chunk. */
static void convolutions_of_full_channel_blocks_agree(void **state)
{
    (void)state;
    static const pf_shape shapes[] = {{4, 4, 16},  {7, 7, 32},    {8, 12, 48}, {28, 28, 32},
                                      {9, 14, 64}, {14, 14, 128}, {6, 6, 256}, {32, 32, 16}};
    for (int i = 0; i < 8; i++) {
        one_conv(shapes[i], 16 * pick(1, 5), 3, 1, 1, 1);
        one_conv(shapes[i], shapes[i].c, 3, 1, 1, 1);
    }
}

/* A likelihood keeps what a training step makes anew: the numbers are those of the same sums. */
static void kept_and_passing_kernels_give_the_same_bits(void **state)
{
    (void)state;
    for (int channels = 32; channels <= 128; channels *= 2) {
        pf_shape in = {7, 10, channels};
        bench t = site(PF_OP_CONV, 1, in, in);
        t.site.attr = (pf_attr){.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1};
        t.site.n_param = 2;
        t.site.param_size[0] = 9 * (size_t)channels * (size_t)channels;
        t.site.param_size[1] = (size_t)channels;
        begin(&t);
        pf_site likelihood = t.site;
        likelihood.want_dp = 0;
        t.row[1] = t.row[0]; /* not ref, and its own context */
        assert_int_equal(t.row[1]->open(&likelihood, &t.side[1].ctx), PF_OK);
        pf_free(t.side[1].scratch);
        t.side[1].scratch = blank(t.row[1]->scratch(&likelihood, t.side[1].ctx));
        for (int i = 0; i < 2; i++) {
            pf_call c = call_of(&t, i);
            c.gin[0] = t.side[i].gin[0];
            assert_int_equal(t.row[0]->params(t.side[i].ctx, &c), PF_OK);
            assert_int_equal(t.row[0]->forward(t.side[i].ctx, &c), PF_OK);
            assert_int_equal(t.row[0]->backward(t.side[i].ctx, &c), PF_OK);
        }
        size_t bytes = out_size(&t) * sizeof(float);
        assert_memory_equal(t.side[0].out, t.side[1].out, bytes);
        assert_memory_equal(t.side[0].gin[0], t.side[1].gin[0], bytes);
        end(&t);
    }
}

static void linear_maps_agree_in_both_layouts(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape(), out = in;
        out.c = any_shape().c;
        if (i % 3 == 0) in.h = in.w = out.h = out.w = 1;
        bench t = site(PF_OP_LINEAR, 1, in, out);
        t.site.attr.in_out = i % 2;
        t.site.n_param = 2;
        t.site.param_size[0] = (size_t)in.c * (size_t)out.c;
        t.site.param_size[1] = (size_t)out.c;
        check(&t);
    }
}

static void attention_agrees(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_ATTENTION, 3, in, in);
        check(&t);
    }
}

static void one_norm(pf_shape in, int groups, int with_e, double rate)
{
    bench t = site(PF_OP_GROUP_NORM, 1 + with_e, in, in);
    if (with_e) t.site.in[1] = (pf_shape){1, 1, in.c};
    t.site.attr = (pf_attr){.groups = groups, .silu = pick(0, 1), .eps = 1e-6, .rate = rate};
    t.site.n_param = 2;
    t.site.param_size[0] = t.site.param_size[1] = (size_t)in.c;
    t.run = (pf_run){.train = pick(0, 3) > 0, .seed = 3, .step = 5};
    check(&t);
}

static void group_norms_agree(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        int groups = pick(1, in.c);
        while (in.c % groups) groups--;
        in.h++; /* a group of one element has no variance to divide by */
        one_norm(in, groups, i % 2, i % 3 ? 0.1 : 0.0);
    }
    one_norm((pf_shape){70, 70, 48}, 12, 1, 0.2);
    one_norm((pf_shape){3, 3, 320}, 32, 1, 0.0);
}

static void elementwise_operators_agree(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_SILU, 1, in, in);
        check(&t);
        t = site(PF_OP_AFFINE, 1, in, in);
        t.site.attr = (pf_attr){.a = 2.0, .b = -1.0};
        check(&t);
        t = site(PF_OP_SINE, 2, in, in);
        t.site.in[1] = (pf_shape){1, 1, 1};
        t.site.want_dx[1] = 0;
        t.site.attr = (pf_attr){.a = 1 << (i % 7), .b = 0.25 * (i % 2)};
        check(&t);
        t = site(PF_OP_ADD_SCALE, 2, in, in);
        t.site.attr.a = 0.70710678118654752;
        check(&t);
        t = site(PF_OP_ADD_CHANNEL, 2, in, in);
        t.site.in[1] = (pf_shape){1, 1, in.c};
        check(&t);
        t = site(PF_OP_DIVIDE, 2, in, in);
        t.site.in[1] = (pf_shape){1, 1, 1};
        t.site.want_dx[1] = 0;
        check(&t);
    }
}

/* silu(x) / x = 1 / (1 + exp(-x)) carries the exponential's error alone: 2 ulp of exp, then two
 * roundings, so 5e-7 of the value. */
static void the_exponential_of_silu_is_good_to_a_few_ulp(void **state)
{
    (void)state;
    enum { N = 40001 };
    pf_shape in = {1, 1, N};
    bench t = site(PF_OP_SILU, 1, in, in);
    t.site.B = 1;
    begin(&t);
    for (int i = 0; i < N; i++) t.in[0][i] = (float)(i - N / 2) * (80.0f / (N / 2));
    pf_call c = call_of(&t, 0);
    assert_int_equal(t.row[0]->forward(NULL, &c), PF_OK);
    for (int i = 0; i < N; i++) {
        double x = (double)t.in[0][i], want = x / (1.0 + exp(-x));
        assert_true(fabs((double)c.out[i] - want) <= 5e-7 * fabs(want));
    }
    end(&t);
}

static void dropout_is_the_same_bit_for_bit(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_DROPOUT, 1, in, in);
        t.site.attr.rate = 0.3;
        t.run = (pf_run){.train = i > 0, .seed = 3, .step = 5};
        begin(&t);
        forward(&t);
        assert_memory_equal(t.side[0].out, t.side[1].out, out_size(&t) * sizeof(float));
        backward(&t, 1);
        assert_memory_equal(t.side[0].gin[0], t.side[1].gin[0], in_size(&t, 0) * sizeof(float));
        end(&t);
    }
}

static void joins_and_resampling_agree(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape(), other = {in.h, in.w, any_shape().c};
        bench t = site(PF_OP_CONCAT, 2, in, (pf_shape){in.h, in.w, in.c + other.c});
        t.site.in[1] = other;
        check(&t);
        pf_shape big = {2 * in.h, 2 * in.w, in.c};
        t = site(PF_OP_UP2, 1, in, big);
        check(&t);
        t = site(PF_OP_DOWN2, 1, big, in);
        check(&t);
    }
}

/* The filters of NCSN++: up by 2, down by 2, and the blur before a strided convolution. */
static void fir_filters_agree(void **state)
{
    (void)state;
    static const pf_attr kinds[] = {
        {.up = 2, .stride = 1, .pad_lo = 2, .pad_hi = 1, .a = 4.0},
        {.up = 1, .stride = 2, .pad_lo = 1, .pad_hi = 1, .a = 1.0},
        {.up = 1, .stride = 1, .pad_lo = 2, .pad_hi = 2, .a = 1.0},
        {.up = 3, .stride = 2, .pad_lo = 3, .pad_hi = 4, .a = 2.5},
    };
    for (int i = 0; i < 2 * TRIALS; i++) {
        const pf_attr *a = &kinds[i % 4];
        pf_shape in = any_shape();
        in.h += 2;
        in.w += 2;
        int pads = a->pad_lo + a->pad_hi - 4;
        pf_shape out = {(in.h * a->up + pads) / a->stride + 1,
                        (in.w * a->up + pads) / a->stride + 1, in.c};
        bench t = site(PF_OP_FIR, 1, in, out);
        t.site.attr = *a;
        check(&t);
    }
}

static void elementwise_operators_work_in_place(void **state)
{
    (void)state;
    static const pf_op ops[] = {PF_OP_SILU, PF_OP_AFFINE, PF_OP_ADD_SCALE, PF_OP_SINE,
                                PF_OP_DIVIDE};
    for (int i = 0; i < 5; i++) {
        pf_shape in = {5, 7, 33};
        bench t = site(ops[i], 1 + (i >= 2), in, in);
        if (ops[i] == PF_OP_SINE || ops[i] == PF_OP_DIVIDE) t.site.in[1] = (pf_shape){1, 1, 1};
        t.site.attr.a = 0.5;
        begin(&t);
        forward(&t);
        pf_call c = call_of(&t, 0);
        c.out = t.in[0];
        assert_int_equal(t.row[0]->forward(t.side[0].ctx, &c), PF_OK);
        assert_memory_equal(t.in[0], t.side[0].out, out_size(&t) * sizeof(float));
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_agree),
        cmocka_unit_test(convolutions_with_one_or_three_channels_agree),
        cmocka_unit_test(convolutions_of_full_channel_blocks_agree),
        cmocka_unit_test(kept_and_passing_kernels_give_the_same_bits),
        cmocka_unit_test(linear_maps_agree_in_both_layouts),
        cmocka_unit_test(attention_agrees),
        cmocka_unit_test(group_norms_agree),
        cmocka_unit_test(elementwise_operators_agree),
        cmocka_unit_test(the_exponential_of_silu_is_good_to_a_few_ulp),
        cmocka_unit_test(dropout_is_the_same_bit_for_bit),
        cmocka_unit_test(joins_and_resampling_agree),
        cmocka_unit_test(fir_filters_agree),
        cmocka_unit_test(elementwise_operators_work_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
