/* The fast rows of the operators of transformers against the plain ones; see kernel_compare.h. */
#include "kernel_compare.h"

static int has_onednn(void)
{
    return pf_onednn_kernels[0].row != NULL;
}

static void two_params(bench *t, size_t weight, size_t bias)
{
    t->site.n_param = 2;
    t->site.param_size[0] = weight;
    t->site.param_size[1] = bias;
}

static void layer_norms_agree(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        in.c = i % 3 ? in.c + 1 : 2 * in.c + 7; /* one channel is all mean */
        bench t = site(PF_OP_LAYER_NORM, 1, in, in);
        t.site.attr = (pf_attr){.eps = 1e-5, .rms = i % 2};
        two_params(&t, (size_t)in.c, (size_t)in.c);
        if (i % 4 > 1) t.site.n_param = 1;
        check(&t);
    }
}

static void curves_agree(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape();
        bench t = site(PF_OP_GELU, 1, in, in);
        t.site.attr.curve = i % 2 ? PF_GELU_ERF : PF_GELU_TANH;
        check(&t);
        t = site(PF_OP_SOFTPLUS, 1, in, in);
        check(&t);
    }
}

/* Relative to the value itself, tails and all: a few roundings of the exponent -x^2/2. */
static void curves_keep_their_digits_in_the_tails(void **state)
{
    (void)state;
    enum { N = 4001 };
    for (int kind = 0; kind < 2; kind++) {
        bench t = site(kind ? PF_OP_SOFTPLUS : PF_OP_GELU, 1, (pf_shape){1, 1, N},
                       (pf_shape){1, 1, N});
        t.site.B = 1;
        t.site.attr.curve = PF_GELU_ERF;
        begin(&t);
        for (int i = 0; i < N; i++) t.in[0][i] = (float)(i - N / 2) * (10.0f / (N / 2));
        pf_call c = call_of(&t, 0);
        assert_int_equal(t.row[0]->forward(NULL, &c), PF_OK);
        for (int i = 0; i < N; i++) {
            double x = (double)t.in[0][i];
            double want = kind ? log1p(exp(x)) : 0.5 * x * erfc(-x / sqrt(2.0));
            double within = (kind ? 5e-7 : 5e-7 + 1e-7 * x * x) * fabs(want);
            if (fabs((double)c.out[i] - want) > within)
                fail_msg("kind %d at %g: %g, not %g", kind, x, (double)c.out[i], want);
        }
        end(&t);
    }
}

static void what_goes_by_channel_agrees(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape(), vector = {1, 1, in.c};
        bench t = site(PF_OP_MODULATE, 3, in, in);
        t.site.in[1] = t.site.in[2] = vector;
        check(&t);
        t = site(PF_OP_GATE, 3, in, in);
        t.site.in[1] = vector;
        check(&t);
        t = site(PF_OP_SCALE_BY, 1, in, in);
        t.site.n_param = 1;
        t.site.param_size[0] = 1;
        check(&t);
        int first = pick(0, in.c - 1), step = pick(1, 3);
        pf_shape out = {in.h, in.w, (in.c - 1 - first) / step + 1};
        t = site(PF_OP_PICK, 1, in, out);
        t.site.attr = (pf_attr){.first = first, .step = step};
        check(&t);
    }
}

static void positions_agree(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape();
        int n = in.h * in.w, window = pick(1, n);
        bench t = site(PF_OP_POSITIONS, 1, in, in);
        t.site.attr.window = window;
        two_params(&t, (size_t)((n + window - 1) / window * in.c), (size_t)(window * in.c));
        check(&t);
        int heads = pick(1, 4), d = 2 * pick(1, 20);
        in.c = heads * d + pick(0, 1) * 5;
        t = site(PF_OP_ROTARY, 1, in, in);
        t.site.attr = (pf_attr){.turned = heads * d, .heads = heads, .a = 10000.0};
        check(&t);
    }
}

/* Integers among the inputs: 0 .. most-1, and -1 now and then. */
static void put_labels(bench *t, int input, int most)
{
    for (size_t i = 0; i < in_size(t, input); i++) {
        int32_t k = pick(0, 9) ? pick(0, most - 1) : -1;
        memcpy(t->in[input] + i, &k, sizeof k);
    }
}

static void tables_at_many_positions_agree(void **state)
{
    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = any_shape(), labels = {in.h, in.w + 1, 1};
        int classes = pick(1, 30);
        bench t = site(PF_OP_EMBED, 1, labels, (pf_shape){labels.h, labels.w, in.c});
        t.site.n_param = 1;
        t.site.param_size[0] = (size_t)(classes * in.c);
        t.site.want_dx[0] = 0;
        begin(&t);
        put_labels(&t, 0, classes);
        check_begun(&t);
    }
}

/* Where whole blocks of channels are; where not, as in other networks. */
static void linear_maps_of_positions_agree(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    static const int channels[][2] = {{16, 16}, {48, 80}, {64, 256}, {256, 32}, {24, 40}};
    for (int i = 0; i < 2 * TRIALS; i++) {
        const int *c = channels[i % 5];
        bench t = linear_site((pf_shape){1, pick(2, 300), c[0]}, c[1], 0);
        t.site.attr.sequence = 1;
        check(&t);
    }
}

static bench attention_site(pf_op op, pf_shape in, int heads, int padded)
{
    in.c *= heads;
    bench t = site(op, 3 + padded, in, in);
    if (padded) {
        t.site.in[3] = (pf_shape){in.h, in.w, 1};
        t.site.want_dx[3] = 0;
    }
    t.site.attr = (pf_attr){.heads = heads, .sequence = 1};
    return t;
}

static void check_attention(bench *t)
{
    begin(t);
    if (t->site.n_in == 4) put_labels(t, 3, 3);
    check_begun(t);
}

static void masked_attention_agrees(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * TRIALS; i++) {
        pf_shape in = any_shape();
        in.c = pick(1, 40);
        bench t = attention_site(PF_OP_ATTENTION, in, pick(1, 5), i % 2);
        t.site.attr.mask = i % 3 ? i % 3 == 1 ? PF_MASK_CAUSAL : PF_MASK_WINDOW : PF_MASK_NONE;
        t.site.attr.window = pick(1, in.h * in.w + 3);
        if (i % 4 == 2) { /* packed */
            t.site.n_in = 1;
            t.site.in[0].c *= 3;
            t.site.attr.order = PF_HEADS_WITHIN_PARTS;
        }
        check_attention(&t);
    }
}

/* More positions than a block has rows; scores that are kept, and that are made again. */
static void attention_in_blocks_of_rows_agrees(void **state)
{
    (void)state;
    static const int length[] = {600, 517, 333, 1100}, window[] = {16, 100, 7, 150},
                     heads[] = {2, 2, 2, 1};
    for (int i = 0; i < 12; i++) {
        int L = length[i % 4], mask = i / 4;
        bench t = attention_site(PF_OP_ATTENTION, (pf_shape){1, L, 8}, heads[i % 4], i % 2);
        t.site.B = 1;
        t.site.attr.mask = mask == 0   ? PF_MASK_NONE
                           : mask == 1 ? PF_MASK_CAUSAL
                                       : PF_MASK_WINDOW;
        t.site.attr.window = window[i % 4];
        begin(&t);
        double kept = (double)t.row[0]->saved(&t.site, t.side[0].ctx),
               room = (double)t.row[0]->scratch(&t.site, t.side[0].ctx),
               all = (double)(heads[i % 4] * L) * L;
        assert_true(room < all);
        if (mask == 2) assert_true(kept > 0 && kept < all); /* windows keep what they see */
        else assert_true(all > 1 << 20 ? kept == 0 : kept > 0);
        if (t.site.n_in == 4) put_labels(&t, 3, 3);
        check_begun(&t);
    }
}

static void linear_attention_agrees(void **state)
{
    (void)state;
    if (!has_onednn()) skip();
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape in = any_shape();
        in.c = pick(1, 33);
        bench t = attention_site(PF_OP_LINEAR_ATTENTION, in, pick(1, 5), i % 2);
        check_attention(&t);
    }
}

static pf_node port(pf_graph *g, const char *name, pf_shape s)
{
    return pf_port_node(g, &(pf_port){.name = name, .shape = s});
}

/* Bytes of a plan beyond its inputs, its output and their gradients. */
static double more_than_ends(int length, int heads, int width, const pf_attend_opt *o)
{
    pf_graph *g = NULL;
    pf_plan *p = NULL;
    pf_shape s = {1, length, width};
    assert_int_equal(pf_graph_create(&g), PF_OK);
    pf_attend_opt with = *o;
    with.heads = heads;
    pf_node y = pf_attend(g, port(g, "q", s), port(g, "k", s), port(g, "v", s), &with);
    assert_int_equal(pf_graph_finish(g, y), PF_OK);
    pf_plan_opt want = {.batch = 1, .want_in = 7};
    assert_int_equal(pf_plan_create(g, &want, &p), PF_OK);
    double bytes = (double)pf_plan_bytes(p) - 4.0 * 4.0 * length * width;
    pf_plan_free(p);
    pf_graph_free(g);
    return bytes;
}

static void attention_over_4096_positions_fits_in_64_megabytes(void **state)
{
    (void)state;
    static const pf_attend_opt kind[] = {{.mask = PF_MASK_NONE},
                                         {.mask = PF_MASK_CAUSAL},
                                         {.mask = PF_MASK_WINDOW, .window = 128},
                                         {.mask = PF_MASK_WINDOW, .window = 1024}};
    for (int i = 0; i < 4; i++) {
        pf_attend_opt o = kind[i];
        o.padding = PF_NONE;
        double bytes = more_than_ends(4096, 8, 512, &o);
        if (!(bytes < 64e6)) fail_msg("kind %d: %g MB", i, bytes / 1e6);
    }
}

enum { L = 37, WIDTH = 32, SYMBOLS = 5, ROWS = 3 };

/* A layer with each of the operators. */
static pf_graph *transformer(void)
{
    pf_graph *g = NULL;
    assert_int_equal(pf_graph_create(&g), PF_OK);
    pf_node tokens = pf_port_node(g, &(pf_port){"tokens", {1, L, 1}, 1, SYMBOLS});
    pf_node e =
        pf_softplus(g, pf_linear(g, "e", port(g, "cond", (pf_shape){1, 1, 4}), 96, 1.0));
    pf_attend_opt o = {.heads = 2, .mask = PF_MASK_CAUSAL, .padding = tokens, .rotary = 1e4};
    pf_node h =
        pf_add_positions(g, pf_embed(g, "embed", tokens, SYMBOLS, WIDTH), "p0", "p1", 8);
    pf_node x = pf_layer_norm(g, h, &(pf_layer_norm_opt){.name = "n1", .eps = 1e-5});
    x = pf_modulate(g, x, pf_pick(g, e, 0, 3, WIDTH), pf_pick(g, e, 32, 1, WIDTH));
    x = pf_linear(g, "qkv", x, 3 * WIDTH, 1.0);
    h = pf_gate(g, h, pf_pick(g, e, 64, 1, WIDTH), pf_attend(g, x, PF_NONE, PF_NONE, &o));
    x = pf_layer_norm(g, h,
                      &(pf_layer_norm_opt){.name = "n2", .eps = 1e-5, .rms = 1, .no_bias = 1});
    h = pf_add_scale(g, h, pf_attend_linear(g, x, h, x, 4, tokens), 1.0);
    x = pf_gelu(g, pf_linear(g, "w1", h, 2 * WIDTH, 1.0), PF_GELU_ERF);
    h = pf_add_scale(g, h, pf_linear(g, "w2", x, WIDTH, 1.0), 1.0);
    pf_node y = pf_scale_by(g, "alpha", pf_linear(g, "out", h, SYMBOLS, 1.0), 0.5);
    assert_int_equal(pf_graph_finish(g, y), PF_OK);
    return g;
}

/* Output and then the gradient of the parameters. */
static float *pass(const pf_graph *g, const char *backend, pf_recompute again, size_t *n)
{
    pf_plan_opt o = {.batch = ROWS, .want_params = 1, .backend = backend, .recompute = again};
    pf_plan *p = NULL;
    size_t out = (size_t)ROWS * L * SYMBOLS, params = pf_graph_param_floats(g);
    int32_t tokens[ROWS * L];
    float cond[ROWS * 4], *w = blank(params), *v = blank(out + params), *gout = blank(out);
    for (int i = 0; i < ROWS * L; i++)
        tokens[i] = i / L == 1 && i % L > 20 ? -1 : i * 7 % 11 % SYMBOLS;
    for (int i = 0; i < ROWS * 4; i++) cond[i] = 0.3f * (float)(i % 5 - 2);
    for (size_t i = 0; i < out; i++) gout[i] = 0.1f * (float)((int)(i * 31 % 17) - 8);
    pf_graph_init_params(g, 3, w);
    pf_run run = {.in = {tokens, cond}};
    assert_int_equal(pf_plan_create(g, &o, &p), PF_OK);
    assert_int_equal(pf_plan_set_params(p, w), PF_OK);
    assert_int_equal(pf_plan_forward(p, &run, v), PF_OK);
    assert_int_equal(pf_plan_backward(p, gout, v + out, NULL), PF_OK);
    pf_plan_free(p);
    pf_free(gout);
    pf_free(w);
    *n = out + params;
    return v;
}

static void a_transformer_computed_again_or_plainly_is_the_same(void **state)
{
    (void)state;
    pf_graph *g = transformer();
    size_t n;
    float *fast = pass(g, "fast", PF_RECOMPUTE_NONE, &n), *ref = pass(g, "ref", 0, &n);
    double most = 0.0, off = 0.0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)ref[i]));
        off = fmax(off, fabs((double)fast[i] - (double)ref[i]));
    }
    if (!(off < 1e-5 * most)) fail_msg("%g of %g", off, most);
    for (int again = PF_RECOMPUTE_NORMS; again <= PF_RECOMPUTE_BLOCKS; again++) {
        float *v = pass(g, "fast", (pf_recompute)again, &n);
        assert_memory_equal(v, fast, n * sizeof *v);
        pf_free(v);
    }
    pf_free(fast);
    pf_free(ref);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        drawing_test(layer_norms_agree),
        drawing_test(curves_agree),
        drawing_test(curves_keep_their_digits_in_the_tails),
        drawing_test(what_goes_by_channel_agrees),
        drawing_test(positions_agree),
        drawing_test(tables_at_many_positions_agree),
        drawing_test(linear_maps_of_positions_agree),
        drawing_test(masked_attention_agrees),
        drawing_test(attention_in_blocks_of_rows_agrees),
        drawing_test(linear_attention_agrees),
        drawing_test(a_transformer_computed_again_or_plainly_is_the_same),
        drawing_test(attention_over_4096_positions_fits_in_64_megabytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
