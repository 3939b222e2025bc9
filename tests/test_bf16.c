/* The bf16 rows against the plain ones in float, on inputs that bf16 holds exactly.
 *
 * Then products are exact and sums are made in float, so convolutions and linear maps must agree as
 * closely as two ways of adding floats do: a product taken in less than float, a value rounded
 * that should not be (the bias) or a sum kept in bf16 is 100 times as far off.
 *
 * Attention also rounds the probabilities and their gradient, by up to 2^-8 each, half a unit of the
 * last of 8 bits.  Where the terms of a sum cancel that is much of what is left, so each element is
 * allowed 2^-8 of the sum of its terms' sizes: no rounding can reach beyond, and a missing term or one
 * rounded twice in many elements does.
 *
 * Winograd rounds pixels and kernels after their transforms: 2^-9/sqrt(3) = 0.0011 to 0.0023 each,
 * 0.0024 of a product in the root mean square, and the transforms enlarge that 5 times (the rows of A'
 * with sqrt(2)^3; the same sums in double, with nothing but that rounding, give 0.0120).  A kernel that
 * rounds once more, or leaves out one of 144 or more terms, is beyond 0.014.  Of 1e5 elements the
 * worst is 5 typical errors off, at the corners of a tile, where they are 1.5 times as large. */
#include "nn/kernels/bf16/pack.h"
#include "nn/kernels/bf16/product.h"
#include "nn/kernels/bf16/rows.h"
#include <probflow/config.h>
#include <probflow/net.h>
#include <probflow/plan.h>

#include "kernel_compare.h"

static const double half_a_unit = 0.00390625; /* 2^-8 */
static const double tile_noise = 0.014, tile_worst = 0.04;

PF_CLONE_TABLE(const pf_row, pf_bf16_winograd, winograd);

static void agrees(bench *t)
{
    t->site.precision = PF_BF16;
    const pf_row *row = pf_kernel_row("fast", &t->site);
    assert_string_equal(row->backend, "bf16");
    if (row == winograd[pf_isa_clone()]) {
        t->tolerance = tile_worst;
        t->noise = tile_noise;
    }
    check(t);
}

static void conv(pf_shape in, int cout, int kernel, int stride, int lo, int hi)
{
    pf_attr a = {.kernel = kernel, .stride = stride, .pad_lo = lo, .pad_hi = hi};
    bench t = conv_site(in, cout, &a);
    agrees(&t);
}

static void every_convolution_agrees_with_ref_on_rounded_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape(), other = any_shape();
        in.h += 2;
        in.w += 2;
        conv(in, other.c, 3, 1, 1, 1);
        conv(in, other.c, 1, 1, 0, 0);
        conv(in, other.c, 3, 2, 0, 1);
        conv(in, other.c, 5, 2, 2, 1);
        pf_attr a = {
            .kernel = 3, .stride = pick(1, 2), .pad_lo = 4, .pad_hi = 2, .dilation = 3};
        bench t = conv_site(in, other.c, &a);
        t.site.n_param = 1 + i % 2; /* without a bias, too */
        agrees(&t);
    }
    for (int few = 1; few <= 4; few++) {
        conv((pf_shape){pick(3, 28), pick(3, 28), few}, 32, 3, 1, 1, 1);
        conv((pf_shape){pick(3, 28), pick(3, 28), 32}, few, 3, 1, 1, 1);
        conv((pf_shape){pick(3, 28), pick(3, 28), few}, few, 3, 1, 1, 1);
    }
}

/* Odd numbers of tiles, overhanging tiles, more than one chunk, blocks of channels that are not full. */
static void convolutions_of_full_channel_blocks_agree(void **state)
{
    (void)state;
    static const pf_shape shapes[] = {{16, 16, 16}, {28, 28, 32},  {20, 14, 48}, {15, 14, 80},
                                      {33, 34, 16}, {14, 30, 128}, {19, 18, 96}};
    for (int i = 0; i < 7; i++) {
        pf_attr a = {.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1};
        int couts[] = {16 * pick(1, 9), shapes[i].c};
        for (int k = 0; k < 2; k++) {
            bench t = conv_site(shapes[i], couts[k], &a);
            t.site.precision = PF_BF16;
            assert_ptr_equal(pf_kernel_row("fast", &t.site), winograd[pf_isa_clone()]);
            agrees(&t);
        }
    }
    pf_attr a = {.kernel = 3, .stride = 1, .pad_lo = 1, .pad_hi = 1};
    bench t =
        conv_site((pf_shape){64, 52, 16}, 16, &a); /* gradients of the kernels in two chunks */
    t.site.B = 3;
    agrees(&t);
}

static void linear_maps_agree_in_both_layouts(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        if (i % 3 == 0) in.h = in.w = 1;
        bench t = linear_site(in, any_shape().c, i % 2);
        agrees(&t);
    }
}

/* P = softmax(q k'/sqrt(c)) and dS of one sample, in double. */
static void exact_attention(const bench *t, size_t b, double *p, double *ds)
{
    int n = t->site.in[0].h * t->site.in[0].w, c = t->site.in[0].c;
    size_t at = b * (size_t)(n * c);
    const float *q = t->in[0] + at, *k = t->in[1] + at, *v = t->in[2] + at, *g = t->gout + at;
    for (int i = 0; i < n; i++, p += n, ds += n) {
        double all = 0, dot = 0;
        for (int j = 0; j < n; j++) {
            double score = 0, dp = 0;
            for (int l = 0; l < c; l++) {
                score += (double)q[i * c + l] * (double)k[j * c + l];
                dp += (double)g[i * c + l] * (double)v[j * c + l];
            }
            p[j] = exp(score / sqrt(c));
            ds[j] = dp;
            all += p[j];
        }
        for (int j = 0; j < n; j++) dot += (p[j] /= all) * ds[j];
        for (int j = 0; j < n; j++) ds[j] = p[j] * (ds[j] - dot) / sqrt(c);
    }
}

/* more [n,c] += 2^-8 |w| |x|, w [n,n] or its transpose */
static void add_rounding(int n, int c, const double *w, int turned, const float *x,
                         double *more)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int l = 0; l < c; l++)
                more[i * c + l] += half_a_unit * fabs(w[turned ? j * n + i : i * n + j]) *
                                   fabs((double)x[j * c + l]);
}

static double *doubles(size_t n)
{
    double *x = pf_zalloc(n * sizeof *x);
    assert_non_null(x);
    return x;
}

static void allow_rounding_inside(bench *t)
{
    int n = t->site.in[0].h * t->site.in[0].w, c = t->site.in[0].c;
    double *p = doubles((size_t)(n * n)), *ds = doubles((size_t)(n * n));
    t->more_out = doubles(out_size(t));
    for (int k = 0; k < 3; k++) t->more_gin[k] = doubles(in_size(t, k));
    for (size_t b = 0; b < (size_t)t->site.B; b++) {
        size_t at = b * (size_t)(n * c);
        exact_attention(t, b, p, ds);
        add_rounding(n, c, p, 0, t->in[2] + at, t->more_out + at);
        add_rounding(n, c, ds, 0, t->in[1] + at, t->more_gin[0] + at);
        add_rounding(n, c, ds, 1, t->in[0] + at, t->more_gin[1] + at);
        add_rounding(n, c, p, 1, t->gout + at, t->more_gin[2] + at);
    }
    pf_free(p);
    pf_free(ds);
}

static void attention_agrees(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_ATTENTION, 3, in, in);
        t.site.precision = PF_BF16;
        begin(&t);
        assert_string_equal(t.row[0]->backend, "bf16");
        allow_rounding_inside(&t);
        check_begun(&t);
    }
}

/* The channels of part k of head h, dense [B n,d]. */
static void take_head(const pf_site *s, int k, int h, const float *packed, float *dense)
{
    int heads = s->attr.heads, c = s->out.c, d = c / heads;
    int by_part = s->attr.order == PF_HEADS_WITHIN_PARTS;
    int first = by_part ? k * c + h * d : (3 * h + k) * d;
    for (int i = 0; i < s->B * s->out.h * s->out.w; i++) {
        const float *from = packed + (size_t)i * 3 * (size_t)c + first;
        memcpy(dense + (size_t)i * (size_t)d, from, (size_t)d * sizeof *from);
    }
}

static void run_once(bench *t)
{
    pf_call c = call_of(t, 0);
    for (int k = 0; k < t->site.n_in; k++) c.gin[k] = t->side[0].gin[k];
    assert_int_equal(t->row[0]->forward(t->side[0].ctx, &c), PF_OK);
    assert_int_equal(t->row[0]->backward(t->side[0].ctx, &c), PF_OK);
}

/* One head of a packed call, alone. */
static void one_head(bench *all, int h)
{
    const pf_site *s = &all->site;
    int d = s->out.c / s->attr.heads;
    pf_shape in = {s->out.h, s->out.w, d};
    bench one = site(PF_OP_ATTENTION, 3, in, in);
    one.site.precision = PF_BF16;
    one.site.B = s->B;
    begin(&one);
    size_t rows = (size_t)(s->B * in.h * in.w), bytes = (size_t)d * sizeof(float);
    for (int k = 0; k < 3; k++) take_head(s, k, h, all->in[0], one.in[k]);
    for (size_t i = 0; i < rows; i++)
        memcpy(one.gout + i * (size_t)d, all->gout + i * (size_t)s->out.c + h * d, bytes);
    run_once(&one);
    for (size_t i = 0; i < rows; i++)
        assert_memory_equal(one.side[0].out + i * (size_t)d,
                            all->side[0].out + i * (size_t)s->out.c + h * d, bytes);
    for (int k = 0; k < 3; k++) {
        take_head(s, k, h, all->side[0].gin[0], one.in[k]);
        assert_memory_equal(one.in[k], one.side[0].gin[k], rows * bytes);
    }
    end(&one);
}

static void packed_heads_have_the_bits_of_single_ones(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        int heads = pick(1, 4), c = heads * pick(1, 33);
        pf_shape out = {pick(1, 9), pick(1, 9), c};
        bench t = site(PF_OP_ATTENTION, 1, (pf_shape){out.h, out.w, 3 * c}, out);
        t.site.attr = (pf_attr){.heads = heads, .order = i % 2};
        t.site.precision = PF_BF16;
        begin(&t);
        assert_string_equal(t.row[0]->backend, "bf16");
        run_once(&t);
        for (int h = 0; h < heads; h++) one_head(&t, h);
        end(&t);
    }
}

typedef void round_fn(int rows, int n, const float *x, size_t from, uint16_t *y);
PF_CLONE_TABLE(round_fn, pf_bf16_round_rows, round_rows);
PF_CLONE_TABLE(pf_bf16_run, pf_bf16_float, in_float);

static void words(size_t n, uint32_t *w)
{
    float *x = normals(2 * n);
    round_rows[pf_isa_clone()](1, (int)(2 * n), x, 0, (uint16_t *)w);
    pf_free(x);
}

/* C of one way to multiply; from [M,N] is what it is added to. */
static float *product_of(pf_bf16_run *run, const pf_bf16_product *g, const uint32_t *a,
                         const uint32_t *b, const float *from)
{
    size_t n = (size_t)g->M * (size_t)g->N;
    float *c = pf_zalloc(n * sizeof *c);
    assert_non_null(c);
    memcpy(c, from, n * sizeof *c);
    run(g, a, b, c);
    return c;
}

static pf_bf16_run *instruction(void)
{
#if defined(__x86_64__)
    if (pf_isa_used() >= PF_ISA_AVX512_BF16) return pf_bf16_native;
#endif
    return NULL;
}

/* All clones that this machine runs, and the instruction where it has it, against the first. */
static void with_any_instructions_the_bits_agree(void **state)
{
    (void)state;
    enum { MOST = 80 };
    static uint32_t a[MOST * MOST], b[MOST * (MOST + 16)];
    for (int i = 0; i < 100; i++) {
        int M = pick(1, MOST), N = pick(1, MOST), pairs = pick(1, MOST), turned = pick(0, 1);
        pf_bf16_product g = {.M = M,
                             .N = N,
                             .pairs = pairs,
                             .row = turned ? 1 : (size_t)pairs,
                             .column = turned ? (size_t)M : 1,
                             .ldb = (size_t)(N + 15) / 16 * 16,
                             .ldc = (size_t)N,
                             .add = pick(0, 1)};
        words((size_t)(M * pairs), a);
        words((size_t)pairs * g.ldb, b);
        float *from = normals((size_t)(M * N)), *bias = normals((size_t)N);
        g.bias = pick(0, 1) ? bias : NULL;
        float *want = product_of(in_float[0], &g, a, b, from);
        for (int k = 1; k <= pf_isa_clone() + (instruction() != NULL); k++) {
            pf_bf16_run *run = k <= pf_isa_clone() ? in_float[k] : instruction();
            float *c = product_of(run, &g, a, b, from);
            assert_memory_equal(c, want, (size_t)(M * N) * sizeof *c);
            pf_free(c);
        }
        pf_free(want);
        pf_free(from);
        pf_free(bias);
    }
}

/* One sum by the law of product.h, term by term. */
static void sums_are_made_in_the_stated_order(void **state)
{
    (void)state;
    enum { PAIRS = 37, N = 21 };
    static uint32_t a[PAIRS], b[PAIRS * 32];
    words(PAIRS, a);
    words(PAIRS * 32, b);
    pf_bf16_product g = {
        .M = 1, .N = N, .pairs = PAIRS, .row = PAIRS, .column = 1, .ldb = 32, .ldc = N};
    float c[N];
    in_float[pf_isa_clone()](&g, a, b, c);
    for (int j = 0; j < N; j++) {
        float sum = 0.0f;
        for (int k = 0; k < PAIRS; k++)
            for (int half = 1; half >= 0; half--) {
                uint32_t w[2] = {a[k], b[k * 32 + j]};
                float x[2];
                for (int s = 0; s < 2; s++) w[s] = half ? w[s] & 0xFFFF0000u : w[s] << 16;
                memcpy(x, w, sizeof x);
                sum = (float)((double)sum +
                              (double)x[0] * (double)x[1]); /* a 16-bit product: exact */
            }
        if (c[j] != sum) fail_msg("column %d is %.9g, not %.9g", j, (double)c[j], (double)sum);
    }
}

static void rounding_is_to_the_nearest_and_keeps_what_is_no_number(void **state)
{
    (void)state;
    static const struct {
        float x;
        uint16_t want;
    } cases[] = {{1.0f, 0x3F80},        {1.00390625f, 0x3F81}, {1.01171875f, 0x3F82},
                 {1.00390637f, 0x3F81}, {-3.0f, 0xC040},       {0.0f, 0},
                 {INFINITY, 0x7F80},    {3.4e38f, 0x7F80},     {-INFINITY, 0xFF80}};
    enum { CASES = sizeof cases / sizeof *cases };
    round_fn *rounding = round_rows[pf_isa_clone()];
    for (int n = 1; n < 40; n += 19) /* by element and by vector */
        for (int i = 0; i < CASES; i++) {
            float x[40];
            uint16_t y[40];
            for (int j = 0; j < n; j++) x[j] = cases[i].x;
            rounding(1, n, x, 0, y);
            for (int j = 0; j < n; j++) assert_int_equal(y[j], cases[i].want);
            for (int j = 0; j < n; j++) x[j] = NAN;
            rounding(1, n, x, 0, y);
            for (int j = 0; j < n; j++) assert_true((y[j] & 0x7F80) == 0x7F80 && y[j] & 0x7F);
        }
}

enum { SIDE = 16, BATCH = 4, PIXELS = SIDE * SIDE * 3 };

/* Gradient of gout . net of a DDPM++ network with every kind of block, in one precision. */
static float *network_gradient(const pf_graph *g, const float *params, pf_precision precision)
{
    static const float cond[BATCH] = {3.0f, 120.0f, 480.0f, 900.0f};
    float *x = pf_zalloc(BATCH * PIXELS * sizeof *x),
          *gout = pf_zalloc(BATCH * PIXELS * sizeof *gout);
    float *out = pf_zalloc(BATCH * PIXELS * sizeof *out);
    float *gradient = pf_zalloc(pf_graph_param_floats(g) * sizeof *gradient);
    assert_true(x && gout && out && gradient);
    pf_draw d = {.seed = 5, .stream = PF_STREAM_TEST};
    pf_draw_normal(&d, 0, BATCH * PIXELS, x);
    d.step = 1;
    pf_draw_normal(&d, 0, BATCH * PIXELS, gout);
    pf_plan_opt o = {.batch = BATCH, .want_params = 1, .precision = precision};
    pf_plan *p = NULL;
    pf_run run = {0};
    pf_run_set(&run, g, "x", x);
    pf_run_set(&run, g, "cond", cond);
    assert_int_equal(pf_plan_create(g, &o, &p), PF_OK);
    assert_int_equal(pf_plan_set_params(p, params), PF_OK);
    assert_int_equal(pf_plan_forward(p, &run, out), PF_OK);
    assert_int_equal(pf_plan_backward(p, gout, gradient, NULL), PF_OK);
    pf_plan_free(p);
    pf_free(x);
    pf_free(gout);
    pf_free(out);
    return gradient;
}

/* About 20 layers add their 0.012 of noise each, on the way forward and again on the way back, and
 * what follows keeps their share: sqrt(40) 0.012 = 0.08 of the gradient, at right angles to it, so
 * the cosine is 1 - 0.08^2 / 2.  The bounds are one and a half times that. */
static void the_gradient_of_a_network_points_where_that_in_float_points(void **state)
{
    (void)state;
    pf_model m;
    pf_sde sde;
    pf_net *net = NULL;
    assert_int_equal(pf_model_init("ddpmpp", &m), PF_OK);
    pf_config *c = NULL;
    assert_int_equal(
        pf_config_parse(
            "model: {name: ddpmpp, width: 32, multipliers: [1, 2], blocks: 1, attention: [8], "
            "init_scale: 1}\n",
            "test", &c),
        PF_OK);
    assert_int_equal(pf_config_section(c, "model", m.ops->opts, &m.opt), PF_OK);
    pf_config_free(c);
    assert_int_equal(pf_sde_init("vp", &sde), PF_OK);
    const pf_method method = pf_method_of_sde(&sde);
    const pf_space space = {.kind = PF_REAL, .shape = {SIDE, SIDE, 3}};
    assert_int_equal(pf_net_create(&m, &method, &space, &net), PF_OK);
    float *params = pf_zalloc(net->floats * sizeof *params);
    pf_graph_init_params(net->graph, 1, params);
    float *a = network_gradient(net->graph, params, PF_F32);
    float *b = network_gradient(net->graph, params, PF_BF16);
    double aa = 0, ab = 0, bb = 0, off = 0;
    for (size_t i = 0; i < net->floats; i++) {
        double x = (double)a[i], y = (double)b[i];
        aa += x * x;
        ab += x * y;
        bb += y * y;
        off += (x - y) * (x - y);
    }
    assert_true(sqrt(off / aa) > 1e-3); /* else it was float twice */
    assert_true(sqrt(off / aa) < 0.12);
    assert_true(ab / sqrt(aa * bb) > 0.993);
    pf_free(a);
    pf_free(b);
    pf_free(params);
    pf_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        drawing_test(rounding_is_to_the_nearest_and_keeps_what_is_no_number),
        drawing_test(with_any_instructions_the_bits_agree),
        drawing_test(sums_are_made_in_the_stated_order),
        drawing_test(every_convolution_agrees_with_ref_on_rounded_numbers),
        drawing_test(convolutions_of_full_channel_blocks_agree),
        drawing_test(linear_maps_agree_in_both_layouts),
        drawing_test(attention_agrees),
        drawing_test(packed_heads_have_the_bits_of_single_ones),
        drawing_test(the_gradient_of_a_network_points_where_that_in_float_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
