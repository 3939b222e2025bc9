/* The fast rows of the kernel table against the plain ones; see kernel_compare.h. */
#include "kernel_compare.h"

/* Rows of backends that this build does not have fall back to ref: nothing to compare. */
static int has_onednn(void)
{
    return pf_onednn_kernels[0].row != NULL;
}

static void one_conv(pf_shape in, int cout, int kernel, int stride, int lo, int hi)
{
    pf_attr a = {.kernel = kernel, .stride = stride, .pad_lo = lo, .pad_hi = hi};
    bench t = conv_site(in, cout, &a);
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
        one_conv(in, other.c, 3, 2, 1, 1);
    }
}

/* An image that a filter reaches over once at least, whatever the padding. */
static bench dilated_site(void)
{
    pf_attr a = {.kernel = pick(1, 4), .stride = pick(1, 3), .dilation = pick(2, 5)};
    a.pad_lo = pick(0, 6);
    a.pad_hi = pick(0, 6);
    pf_shape in = any_shape();
    int least = (a.kernel - 1) * a.dilation + 1 - a.pad_lo - a.pad_hi;
    if (in.h < least) in.h = least;
    if (in.w < least) in.w = least;
    return conv_site(in, any_shape().c, &a);
}

static void dilated_convolutions_agree(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int i = 0; i < 2 * TRIALS; i++) {
        bench t = dilated_site();
        if (i % 3 == 0) t.site.n_param = 1; /* no bias */
        check(&t);
    }
    for (int d = 2; d <= 4; d += 2) { /* as published: the size stays */
        pf_attr a = {.kernel = 3, .stride = 1, .pad_lo = d, .pad_hi = d, .dilation = d};
        bench t = conv_site((pf_shape){14, 14, 64}, 48, &a);
        check(&t);
    }
}

static void convolutions_without_a_bias_agree(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    static const pf_shape in[] = {{9, 7, 12}, {16, 16, 32}, {12, 12, 3}, {12, 12, 32}};
    static const int cout[] = {20, 48, 32, 2};
    pf_attr a = {.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1};
    for (int i = 0; i < 4; i++) {
        bench t = conv_site(in[i], cout[i], &a);
        t.site.n_param = 1;
        check(&t);
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

/* A likelihood keeps the large kernels that a training step makes anew: the numbers are those of
 * the same sums. */
static void kept_and_passing_kernels_give_the_same_bits(void **state)
{
    (void)state;
    for (int channels = 96; channels <= 160; channels += 32) {
        pf_shape in = {7, 10, channels};
        bench t = site(PF_OP_CONV, 1, in, in);
        t.site.attr = (pf_attr){.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1};
        t.site.n_param = 2;
        t.site.param_size[0] = 9 * (size_t)channels * (size_t)channels;
        t.site.param_size[1] = (size_t)channels;
        begin(&t);
        pf_site likelihood = t.site;
        likelihood.want_dp = 0;
        likelihood.repeat = 1;
        t.row[1] = t.row[0]; /* not ref, and its own context */
        assert_int_equal(t.row[1]->open(&likelihood, &t.side[1].ctx), PF_OK);
        pf_free(t.side[1].scratch);
        t.side[1].scratch = blank(t.row[1]->scratch(&likelihood, t.side[1].ctx));
        size_t kept = t.row[1]->prepared(&likelihood, t.side[1].ctx);
        assert_true(kept > 0);
        assert_int_equal(t.row[0]->prepared(&t.site, t.side[0].ctx), 0);
        pf_free(t.side[1].prepared);
        t.side[1].prepared = pf_zalloc(kept * sizeof(float));
        assert_non_null(t.side[1].prepared);
        for (int i = 0; i < 2; i++) {
            pf_call c = call_of(&t, i);
            c.gin[0] = t.side[i].gin[0];
            if (i == 1) assert_int_equal(t.row[0]->prepare(t.side[i].ctx, &c), PF_OK);
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
        pf_shape in = any_shape();
        int cout = any_shape().c;
        if (i % 3 == 0) in.h = in.w = 1;
        bench t = linear_site(in, cout, i % 2);
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

static bench heads_site(pf_shape out, int heads, int order)
{
    bench t = site(PF_OP_ATTENTION, 1, (pf_shape){out.h, out.w, 3 * out.c}, out);
    t.site.attr = (pf_attr){.heads = heads, .order = order};
    return t;
}

static void heads_of_attention_agree(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int i = 0; i < 2 * TRIALS; i++) {
        int heads = pick(1, 6), d = pick(1, 40);
        pf_shape out = {pick(1, 15), pick(1, 15), heads * d};
        bench t = heads_site(out, heads, i % 2);
        check(&t);
    }
}

/* More than 2^20 scores a sample: not kept, and the last block of rows overlaps the one before. */
static void attention_in_blocks_agrees(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    static const pf_shape shapes[] = {{33, 19, 40}, {1, 1025, 8}, {31, 37, 4}};
    static const int heads[] = {5, 1, 1};
    for (int i = 0; i < 3; i++) {
        bench t = heads_site(shapes[i], heads[i], i % 2);
        begin(&t);
        size_t all = (size_t)t.site.B * (size_t)heads[i],
               n = (size_t)(shapes[i].h * shapes[i].w);
        assert_int_equal(t.row[0]->saved(&t.site, t.side[0].ctx), 0);
        assert_true(t.row[0]->scratch(&t.site, t.side[0].ctx) < 2 * all * n * n);
        check_begun(&t);
    }
}

/* vector: 0 none, 1 added, 2 scales and shifts */
static void one_norm(pf_shape in, int groups, int vector, double rate)
{
    bench t = site(PF_OP_GROUP_NORM, 1 + (vector > 0), in, in);
    if (vector) t.site.in[1] = (pf_shape){1, 1, vector * in.c};
    t.site.attr = (pf_attr){.groups = groups,
                            .silu = pick(0, 1),
                            .scale_shift = vector == 2,
                            .eps = 1e-6,
                            .rate = rate};
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
        one_norm(in, groups, i % 3, i % 4 ? 0.1 : 0.0);
    }
    one_norm((pf_shape){70, 70, 48}, 12, 1, 0.2);
    one_norm((pf_shape){3, 3, 320}, 32, 1, 0.0);
    one_norm((pf_shape){9, 7, 320}, 32, 2, 0.1);
}

static void instance_norms_agree(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        in.h++; /* one pixel has no variance to divide by */
        if (in.c == 1) in.c = pick(2, 300);
        bench t = site(PF_OP_INSTANCE_NORM, 1 + i % 2, in, in);
        t.site.in[1] = (pf_shape){1, 1, 3 * in.c};
        t.site.n_param = i % 2 ? 0 : 3;
        for (int k = 0; k < t.site.n_param; k++) t.site.param_size[k] = (size_t)in.c;
        t.site.attr.eps = 1e-5;
        check(&t);
    }
}

/* Values, and gradients where equals are many. */
static void pools_and_interpolation_agree(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_POOL, 1, in, in);
        t.site.attr =
            (pf_attr){.kernel = 2 * pick(0, 4) + 1, .pool = i % 2 ? PF_POOL_MAX : PF_POOL_MEAN};
        begin(&t);
        if (i % 4 == 1) /* equals */
            for (size_t k = 0; k < in_size(&t, 0); k++) t.in[0][k] = rintf(t.in[0][k]);
        check_begun(&t);
        t = site(PF_OP_BILINEAR, 1, in, (pf_shape){pick(1, 20), pick(1, 20), in.c});
        check(&t);
    }
}

static void elementwise_operators_agree(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_SILU, 1, in, in);
        check(&t);
        t = site(PF_OP_ELU, 1, in, in);
        check(&t);
        t = site(PF_OP_LEAKY_RELU, 1, in, in);
        t.site.attr.a = 0.05;
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

/* exp(x) - 1 keeps its digits next to 0, where the one it subtracts would take them. */
static void elu_is_good_to_a_few_ulp(void **state)
{
    (void)state;
    enum { N = 40001 };
    pf_shape in = {1, 1, N};
    bench t = site(PF_OP_ELU, 1, in, in);
    t.site.B = 1;
    begin(&t);
    for (int i = 0; i < N; i++)
        t.in[0][i] = (float)(i % 2 ? (i - N / 2) * 0.005 : (i - N / 2) * 1e-7);
    pf_call c = call_of(&t, 0);
    assert_int_equal(t.row[0]->forward(NULL, &c), PF_OK);
    for (int i = 0; i < N; i++) {
        double x = (double)t.in[0][i], want = x > 0.0 ? x : expm1(x);
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
    static const pf_op ops[] = {PF_OP_SILU,      PF_OP_AFFINE, PF_OP_ELU,   PF_OP_LEAKY_RELU,
                                PF_OP_ADD_SCALE, PF_OP_SINE,   PF_OP_DIVIDE};
    for (int i = 0; i < 7; i++) {
        pf_shape in = {5, 7, 33};
        bench t = site(ops[i], 1 + (i >= 4), in, in);
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
        drawing_test(convolutions_agree),
        drawing_test(dilated_convolutions_agree),
        drawing_test(convolutions_without_a_bias_agree),
        drawing_test(convolutions_with_one_or_three_channels_agree),
        drawing_test(convolutions_of_full_channel_blocks_agree),
        drawing_test(kept_and_passing_kernels_give_the_same_bits),
        drawing_test(linear_maps_agree_in_both_layouts),
        drawing_test(attention_agrees),
        drawing_test(heads_of_attention_agree),
        drawing_test(attention_in_blocks_agrees),
        drawing_test(group_norms_agree),
        drawing_test(instance_norms_agree),
        drawing_test(pools_and_interpolation_agree),
        drawing_test(elementwise_operators_agree),
        drawing_test(elu_is_good_to_a_few_ulp),
        drawing_test(the_exponential_of_silu_is_good_to_a_few_ulp),
        drawing_test(dropout_is_the_same_bit_for_bit),
        drawing_test(joins_and_resampling_agree),
        drawing_test(fir_filters_agree),
        drawing_test(elementwise_operators_work_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
