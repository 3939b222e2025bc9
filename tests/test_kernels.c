/* The plain kernels: closed forms, and each backward against central differences. */
#include "kernel_rig.h"

#include <stdlib.h>

/* gout . y(values + h e_i), in double. */
static double functional(rig *r, float *values, size_t i, float to)
{
    float old = values[i];
    values[i] = to;
    forward(r);
    values[i] = old;
    double sum = 0.0;
    for (size_t j = 0; j < out_size(r); j++) sum += (double)r->gout[j] * r->out[j];
    return sum;
}

/* Largest difference between a gradient and central differences, over the gradient's size. */
static double worst_error(rig *r, float *values, const float *gradient, size_t n)
{
    double worst = 0.0, size = 1e-30;
    for (size_t i = 0; i < n; i++) {
        float h =
            0.0078125f; /* 2^-7: h^2 f'''/6 and the rounding 1e-7 f/h are both near 1e-5 */
        double hi = functional(r, values, i, values[i] + h);
        double lo = functional(r, values, i, values[i] - h);
        double d = (hi - lo) / ((double)(values[i] + h) - (double)(values[i] - h));
        worst = fmax(worst, fabs(d - gradient[i]));
        size = fmax(size, fabs(gradient[i]));
    }
    return worst / size;
}

static int has_backward(pf_op op)
{
    return pf_ref_rows[op]->backward != NULL;
}

static void check_gradient(rig *r, float *values, const float *gradient, size_t n)
{
    double e = worst_error(r, values, gradient, n);
    if (!(e < 1e-3))
        fail_msg("%s variant %d: error %g", pf_op_name(r->site.op), r->site.index - 7, e);
}

static void backward_agrees_with_central_differences(void **state)
{
    (void)state;
    for (int op = 0; op < PF_OP_COUNT; op++)
        for (int v = 0; has_backward(op) && v < VARIANTS; v++) {
            rig r;
            rig_make(&r, op, v);
            forward(&r);
            backward(&r, ~0u);
            for (int k = 0; k < r.site.n_in; k++)
                if (r.site.want_dx[k]) check_gradient(&r, r.in[k], r.gin[k], in_size(&r, k));
            for (int k = 0; r.site.want_dp && k < r.site.n_param; k++)
                check_gradient(&r, r.param[k], r.gparam[k], r.site.param_size[k]);
            rig_close(&r);
        }
}

static void a_gradient_does_not_depend_on_which_others_are_asked_for(void **state)
{
    (void)state;
    for (int op = 0; op < PF_OP_COUNT; op++) {
        if (!has_backward(op)) continue;
        rig all, one;
        rig_make(&all, op, 0);
        forward(&all);
        backward(&all, ~0u);
        for (int bit = 0; bit < PF_MAX_INPUTS + PF_MAX_PARAMS; bit++) {
            rig_make(&one, op, 0);
            forward(&one);
            backward(&one, 1u << bit);
            int k = bit < PF_MAX_INPUTS ? bit : bit - PF_MAX_INPUTS;
            if (bit < PF_MAX_INPUTS && k < one.site.n_in && one.site.want_dx[k])
                assert_memory_equal(one.gin[k], all.gin[k], in_size(&one, k) * sizeof(float));
            if (bit >= PF_MAX_INPUTS && one.site.want_dp && k < one.site.n_param)
                assert_memory_equal(one.gparam[k], all.gparam[k],
                                    one.site.param_size[k] * sizeof(float));
            rig_close(&one);
        }
        rig_close(&all);
    }
}

static void operators_marked_inplace_may_write_over_their_input(void **state)
{
    (void)state;
    for (int op = 0; op < PF_OP_COUNT; op++)
        for (int v = 0; pf_op_inplace(op) && v < VARIANTS; v++) {
            rig r;
            rig_make(&r, op, v);
            forward(&r);
            pf_call c = call_of(&r);
            c.out = r.in[0];
            assert_int_equal(r.row->forward(NULL, &c), PF_OK);
            assert_memory_equal(r.in[0], r.out, out_size(&r) * sizeof(float));
            rig_close(&r);
        }
}

static void every_operator_has_a_plain_kernel(void **state)
{
    (void)state;
    for (int op = 0; op < PF_OP_COUNT; op++) {
        assert_non_null(pf_ref_rows[op]->forward);
        assert_true(strlen(pf_op_name(op)) > 0);
        pf_site s;
        describe(op, 0, &s);
        assert_ptr_equal(pf_kernel_row("ref", &s), pf_ref_rows[op]);
        assert_non_null(pf_kernel_row("fast", &s));
    }
}

static void convolution_of_an_impulse_is_the_mirrored_filter(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_CONV,
                 .name = "c",
                 .B = 1,
                 .n_in = 1,
                 .in = {{5, 5, 1}},
                 .out = {5, 5, 2},
                 .attr = {.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1}};
    two_params(&s, 18, 2);
    rig r;
    rig_open(&r, &s);
    memset(r.in[0], 0, 25 * sizeof(float));
    r.in[0][2 * 5 + 3] = 1.0f;
    forward(&r);
    for (int y = 0; y < 5; y++)
        for (int x = 0; x < 5; x++)
            for (int o = 0; o < 2; o++) {
                int ky = 2 - y + 1, kx = 3 - x + 1; /* input pixel = output pixel + k - 1 */
                int inside = ky >= 0 && ky < 3 && kx >= 0 && kx < 3;
                float want = r.param[1][o] + (inside ? r.param[0][o * 9 + ky * 3 + kx] : 0.0f);
                assert_true(r.out[(y * 5 + x) * 2 + o] == want);
            }
    rig_close(&r);
}

static void group_norm_gives_each_group_mean_zero_and_variance_one(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_GROUP_NORM,
                 .name = "n",
                 .B = 2,
                 .n_in = 1,
                 .in = {{7, 5, 6}},
                 .out = {7, 5, 6},
                 .attr = {.groups = 3, .eps = 1e-6}};
    two_params(&s, 6, 6);
    rig r;
    rig_open(&r, &s);
    for (int c = 0; c < 6; c++) {
        r.param[0][c] = 1.0f;
        r.param[1][c] = 0.0f;
    }
    for (size_t i = 0; i < in_size(&r, 0); i++) r.in[0][i] = 1000.0f + 3.0f * r.in[0][i];
    forward(&r);
    for (int b = 0; b < 2; b++)
        for (int g = 0; g < 3; g++) {
            double m = 0.0, q = 0.0;
            for (int p = 0; p < 35; p++)
                for (int c = 2 * g; c < 2 * g + 2; c++) {
                    double y = r.out[(b * 35 + p) * 6 + c];
                    m += y / 70;
                    q += y * y / 70;
                }
            assert_true(fabs(m) < 2e-5); /* the saved mean, near 1000, is a float */
            assert_true(fabs(q - 1.0) < 1e-5);
        }
    rig_close(&r);
}

static void attention_with_equal_keys_returns_the_mean_value(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_ATTENTION, 3);
    size_t size = pf_shape_size(r.site.out);
    int c = r.site.out.c, n = (int)size / c;
    for (size_t i = 0; i < in_size(&r, 1); i++) r.in[1][i] = r.in[1][i % c];
    forward(&r);
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < c; i++) {
            double mean = 0.0;
            for (int p = 0; p < n; p++) mean += r.in[2][b * size + p * c + i] / n;
            for (int p = 0; p < n; p++)
                assert_true(fabs(r.out[b * size + p * c + i] - mean) < 1e-6);
        }
    rig_close(&r);
}

static void a_norm_is_scaled_and_shifted(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_GROUP_NORM, .name = "n", .B = 2, .n_in = 1};
    s.in[0] = s.out = shape(3, 5, 4);
    s.attr = (pf_attr){.groups = 2, .eps = 1e-5};
    two_params(&s, 4, 4);
    rig plain, by;
    rig_open(&plain, &s);
    s.n_in = 2;
    s.in[1] = shape(1, 1, 8);
    s.attr.scale_shift = 1;
    rig_open(&by, &s);
    forward(&plain);
    forward(&by);
    for (size_t i = 0; i < out_size(&by); i++) {
        const float *m = by.in[1] + i / 60 * 8 + i % 4;
        assert_true(fabs(by.out[i] - (plain.out[i] * (1.0 + m[0]) + m[4])) < 1e-5);
    }
    rig_close(&plain);
    rig_close(&by);
}

/* Where the j-th channel of head h of q, k or v lies in a pixel. */
static int packed_at(const pf_site *s, int part, int h, int j)
{
    int d = s->out.c / s->attr.heads;
    if (s->attr.order == PF_HEADS_WITHIN_PARTS) return (part * s->attr.heads + h) * d + j;
    return (3 * h + part) * d + j;
}

static void heads_are_attention_on_their_channels(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        enum { N = 12, HEADS = 3, D = 5 };
        pf_site s = {.op = PF_OP_ATTENTION, .name = "h", .B = 2, .n_in = 1};
        s.in[0] = shape(3, 4, 3 * HEADS * D);
        s.out = shape(3, 4, HEADS * D);
        s.attr = (pf_attr){.heads = HEADS, .order = order};
        pf_site t = {.op = PF_OP_ATTENTION, .name = "1", .B = 2, .n_in = 3};
        t.in[0] = t.in[1] = t.in[2] = t.out = shape(3, 4, D);
        rig all, one;
        rig_open(&all, &s);
        rig_open(&one, &t);
        forward(&all);
        for (int h = 0; h < HEADS; h++) {
            for (int i = 0; i < 2 * N * D; i++)
                for (int k = 0; k < 3; k++)
                    one.in[k][i] =
                        all.in[0][i / D * 3 * HEADS * D + packed_at(&s, k, h, i % D)];
            forward(&one);
            for (int i = 0; i < 2 * N * D; i++)
                assert_true(one.out[i] == all.out[i / D * HEADS * D + h * D + i % D]);
        }
        rig_close(&all);
        rig_close(&one);
    }
}

static void resampling_leaves_a_constant_alone_away_from_the_border(void **state)
{
    (void)state;
    const pf_attr fir[2] = {{.up = 2, .stride = 1, .pad_lo = 2, .pad_hi = 1, .a = 4.0},
                            {.up = 1, .stride = 2, .pad_lo = 1, .pad_hi = 1, .a = 1.0}};
    for (int v = 0; v < 2; v++) {
        pf_site s = {.op = PF_OP_FIR,
                     .name = "f",
                     .B = 1,
                     .n_in = 1,
                     .in = {{8, 8, 2}},
                     .out = v ? shape(4, 4, 2) : shape(16, 16, 2),
                     .attr = fir[v]};
        rig r;
        rig_open(&r, &s);
        for (size_t i = 0; i < in_size(&r, 0); i++) r.in[0][i] = 2.5f;
        forward(&r);
        for (int y = 2; y < s.out.h - 2; y++)
            for (int x = 2; x < s.out.w - 2; x++)
                assert_true(fabsf(r.out[(y * s.out.w + x) * 2] - 2.5f) < 1e-6f);
        rig_close(&r);
    }
}

static void time_features_are_sines_then_cosines(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_POSITIONAL, 0);
    for (int b = 0; b < BATCH; b++) r.in[0][b] = 999.0f * (b + 1) / BATCH;
    forward(&r);
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < 4; i++) {
            double a = r.in[0][b] * pow(10000.0, -i / 3.0);
            assert_true(fabs(r.out[8 * b + i] - sin(a)) < 1e-6);
            assert_true(fabs(r.out[8 * b + 4 + i] - cos(a)) < 1e-6);
        }
    r.site.attr.cosine_first = 1;
    forward(&r);
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < 4; i++) {
            double a = r.in[0][b] * pow(10000.0, -i / 4.0);
            assert_true(fabs(r.out[8 * b + i] - cos(a)) < 1e-6);
            assert_true(fabs(r.out[8 * b + 4 + i] - sin(a)) < 1e-6);
        }
    rig_close(&r);
    rig_make(&r, PF_OP_FOURIER, 0);
    for (int b = 0; b < BATCH; b++) r.in[0][b] = 0.01f * powf(70.0f, (float)b);
    forward(&r);
    for (int b = 0; b < BATCH; b++)
        for (int i = 0; i < 4; i++) {
            double a = 2.0 * M_PI * r.param[0][i] * log(r.in[0][b]);
            assert_true(fabs(r.out[8 * b + i] - sin(a)) < 1e-6);
            assert_true(fabs(r.out[8 * b + 4 + i] - cos(a)) < 1e-6);
        }
    rig_close(&r);
}

static void leaky_units_keep_their_slope(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_LEAKY_RELU, 0);
    forward(&r);
    for (size_t i = 0; i < out_size(&r); i++)
        assert_true(r.out[i] == (r.in[0][i] > 0.0f ? r.in[0][i] : 0.1f * r.in[0][i]));
    rig_close(&r);
}

/* Channels that differ in nothing but their mean: with alpha the mean is seen, without it is lost. */
static void instance_norms_keep_what_tells_channels_apart(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_INSTANCE_NORM, .name = "n", .B = 1, .n_in = 1, .n_param = 3};
    s.in[0] = s.out = shape(3, 4, 3);
    s.attr.eps = 1e-8;
    for (int k = 0; k < 3; k++) s.param_size[k] = 3;
    rig r;
    rig_open(&r, &s);
    for (int i = 0; i < 36; i++)
        r.in[0][i] = (i / 3 % 2 ? 1.0f : -1.0f) + (float)(i % 3) * 10.0f;
    for (int c = 0; c < 3; c++) {
        r.param[0][c] = c == 2 ? 0.5f : 1.0f; /* alpha */
        r.param[1][c] = 2.0f;
        r.param[2][c] = (float)c;
    }
    forward(&r);
    for (int i = 0; i < 36; i++) { /* means 0, 10, 20: unbiased deviation 10 */
        double u = i % 3 - 1.0, a = r.param[0][i % 3];
        double want = 2.0 * ((i / 3 % 2 ? 1.0 : -1.0) + a * u) + i % 3;
        assert_true(fabs(r.out[i] - want) < 1e-5);
    }
    rig_close(&r);
}

static void pools_look_at_what_is_around_each_pixel(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_POOL, .name = "p", .B = 1, .n_in = 1, .want_dx = {1}};
    s.in[0] = s.out = shape(6, 7, 1);
    s.attr = (pf_attr){.kernel = 5, .pool = PF_POOL_MEAN};
    rig mean, max;
    rig_open(&mean, &s);
    s.attr.pool = PF_POOL_MAX;
    rig_open(&max, &s);
    for (int i = 0; i < 42; i++) {
        mean.in[0][i] = 1.0f;
        max.in[0][i] = -3.0f; /* the border is no 0 */
    }
    max.in[0][3 * 7 + 3] = -1.0f;
    forward(&mean);
    forward(&max);
    assert_true(fabsf(mean.out[0] - 9.0f / 25.0f) < 1e-6f); /* divided by 25 in corners, too */
    assert_true(fabsf(mean.out[2 * 7 + 3] - 1.0f) < 1e-6f);
    for (int i = 0; i < 42; i++) {
        int near = abs(i / 7 - 3) <= 2 && abs(i % 7 - 3) <= 2;
        assert_true(max.out[i] == (near ? -1.0f : -3.0f));
        max.gout[i] = 1.0f;
    }
    backward(&max, 1);
    assert_true(max.gin[0][3 * 7 + 3] == 25.0f);
    assert_true(max.gin[0][0] ==
                5.0f); /* the first of equals: of nine windows four see the larger */
    rig_close(&mean);
    rig_close(&max);
}

static void corners_stay_and_ramps_stay_ramps(void **state)
{
    (void)state;
    static const int size[][4] = {{3, 5, 7, 9}, {4, 4, 2, 3}, {1, 3, 4, 1}, {2, 1, 1, 5}};
    for (int v = 0; v < 4; v++) {
        const int *n = size[v];
        pf_site s = {.op = PF_OP_BILINEAR, .name = "b", .B = 1, .n_in = 1};
        s.in[0] = shape(n[0], n[1], 1);
        s.out = shape(n[2], n[3], 1);
        rig r;
        rig_open(&r, &s);
        for (int i = 0; i < n[0] * n[1]; i++) r.in[0][i] = (float)(10 * (i / n[1]) + i % n[1]);
        forward(&r);
        for (int i = 0; i < n[2] * n[3]; i++) {
            double y = n[2] > 1 ? (double)(i / n[3]) * (n[0] - 1) / (n[2] - 1) : 0.0;
            double x = n[3] > 1 ? (double)(i % n[3]) * (n[1] - 1) / (n[3] - 1) : 0.0;
            assert_true(fabs(r.out[i] - (10.0 * y + x)) < 1e-5);
        }
        rig_close(&r);
    }
}

static void a_place_between_rows_is_their_mixture(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_EMBED_BETWEEN, 0);
    forward(&r);
    for (int i = 0; i < 8; i++) {
        const float *w = r.param[0] + i;
        assert_true(fabs(r.out[i] - (0.75 * w[0] + 0.25 * w[8])) < 1e-6);
        assert_true(r.out[8 + i] == w[16]); /* the last row itself */
    }
    const float outside[] = {-0.1f, 2.1f, NAN};
    for (int k = 0; k < 3; k++) {
        pf_call c = call_of(&r);
        r.in[0][1] = outside[k];
        assert_int_equal(r.row->forward(NULL, &c), PF_EARG);
        assert_non_null(strstr(pf_error_message(), "from 0 to 2"));
    }
    rig_close(&r);
}

static void dropout_keeps_the_right_share_and_the_mean(void **state)
{
    (void)state;
    enum { N = 100000 };
    rig r;
    rig_make(&r, PF_OP_DROPOUT, 0);
    float *mask = floats(N);
    pf_call c = call_of(&r);
    pf_dropout_mask(&c, 0, 0.1, 0, N, mask);
    double kept = 0.0;
    for (int i = 0; i < N; i++) {
        assert_true(mask[i] == 0.0f || mask[i] == (float)(1.0 / 0.9));
        kept += mask[i] > 0.0f;
    }
    assert_true(fabs(kept / N - 0.9) < 5.0 * sqrt(0.09 / N)); /* five standard deviations */
    r.run.train = 0;
    pf_dropout_mask(&c, 0, 0.1, 0, N, mask);
    for (int i = 0; i < N; i++) assert_true(mask[i] == 1.0f);
    pf_free(mask);
    rig_close(&r);
}

static void a_dropout_mask_belongs_to_its_site_sample_and_step(void **state)
{
    (void)state;
    enum { N = 1000 };
    rig r;
    rig_make(&r, PF_OP_DROPOUT, 0);
    float base[N], other[N];
    pf_call c = call_of(&r);
    pf_dropout_mask(&c, 1, 0.5, 0, N, base);
    for (size_t at = 0; at < N; at += 37)
        pf_dropout_mask(&c, 1, 0.5, at, N - at < 37 ? N - at : 37, other + at);
    assert_memory_equal(base, other, sizeof base); /* however it is cut */
    pf_dropout_mask(&c, 2, 0.5, 0, N, other);
    assert_memory_not_equal(base, other, sizeof base);
    r.site.index++;
    pf_dropout_mask(&c, 1, 0.5, 0, N, other);
    assert_memory_not_equal(base, other, sizeof base);
    r.site.index--;
    r.run.step++;
    pf_dropout_mask(&c, 1, 0.5, 0, N, other);
    assert_memory_not_equal(base, other, sizeof base);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_has_a_plain_kernel),
        cmocka_unit_test(backward_agrees_with_central_differences),
        cmocka_unit_test(a_gradient_does_not_depend_on_which_others_are_asked_for),
        cmocka_unit_test(operators_marked_inplace_may_write_over_their_input),
        cmocka_unit_test(convolution_of_an_impulse_is_the_mirrored_filter),
        cmocka_unit_test(group_norm_gives_each_group_mean_zero_and_variance_one),
        cmocka_unit_test(a_norm_is_scaled_and_shifted),
        cmocka_unit_test(attention_with_equal_keys_returns_the_mean_value),
        cmocka_unit_test(heads_are_attention_on_their_channels),
        cmocka_unit_test(resampling_leaves_a_constant_alone_away_from_the_border),
        cmocka_unit_test(time_features_are_sines_then_cosines),
        cmocka_unit_test(leaky_units_keep_their_slope),
        cmocka_unit_test(instance_norms_keep_what_tells_channels_apart),
        cmocka_unit_test(pools_look_at_what_is_around_each_pixel),
        cmocka_unit_test(corners_stay_and_ramps_stay_ramps),
        cmocka_unit_test(a_place_between_rows_is_their_mixture),
        cmocka_unit_test(dropout_keeps_the_right_share_and_the_mean),
        cmocka_unit_test(a_dropout_mask_belongs_to_its_site_sample_and_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
