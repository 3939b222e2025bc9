/* The operators of transformers against their closed forms. */
#include "kernel_rig.h"

#include <stdlib.h>

static void a_layer_norm_is_of_each_position(void **state)
{
    (void)state;
    enum { C = 6, N = 2 * 5 };
    for (int rms = 0; rms < 2; rms++) {
        pf_site s = {.op = PF_OP_LAYER_NORM, .name = "n", .B = 2, .n_in = 1};
        s.in[0] = s.out = shape(1, 5, C);
        s.attr = (pf_attr){.eps = 1e-9, .rms = rms};
        two_params(&s, C, C);
        rig r;
        rig_open(&r, &s);
        for (int i = 0; i < C; i++) r.param[0][i] = 2.0f, r.param[1][i] = 1.0f;
        for (int i = 0; i < N * C; i++) r.in[0][i] += 3.0f * (float)(i / C);
        forward(&r);
        for (int p = 0; p < N; p++) {
            double mean = 0.0, square = 0.0;
            for (int i = 0; i < C; i++) {
                double y = (r.out[p * C + i] - 1.0) / 2.0;
                mean += y / C;
                square += y * y / C;
            }
            assert_true(rms || fabs(mean) < 1e-5);
            assert_true(fabs(square - 1.0) < 1e-5);
            double share = (r.out[p * C] - 1.0) / (r.out[p * C + 1] - 1.0);
            assert_true(!rms || fabs(share * r.in[0][p * C + 1] / r.in[0][p * C] - 1.0) < 1e-5);
        }
        rig_close(&r);
    }
}

static void gelu_and_softplus_are_what_their_names_say(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_GELU, .name = "g", .B = 1, .n_in = 1};
    s.in[0] = s.out = shape(1, 1, 4);
    s.attr.curve = PF_GELU_ERF;
    static const float x[4] = {-30.0f, -1.0f, 0.5f, 30.0f};
    /* torch.nn.functional: gelu, gelu of approximate tanh, softplus */
    static const double want[3][4] = {{0.0, -0.158655254, 0.345731231, 30.0},
                                      {0.0, -0.158808009, 0.345714010, 30.0},
                                      {9.35762297e-14, 0.313261688, 0.974076984, 30.0}};
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 1) s.attr.curve = PF_GELU_TANH;
        if (kind == 2) s.op = PF_OP_SOFTPLUS;
        rig r;
        rig_open(&r, &s);
        memcpy(r.in[0], x, sizeof x);
        forward(&r);
        for (int i = 0; i < 4; i++)
            assert_true(fabs(r.out[i] - want[kind][i]) <= 1e-6 * fabs(want[kind][i]));
        rig_close(&r);
    }
}

static void modulation_and_gates_are_by_channel(void **state)
{
    (void)state;
    rig m, g, p;
    rig_make(&m, PF_OP_MODULATE, 0);
    rig_make(&g, PF_OP_GATE, 0);
    rig_make(&p, PF_OP_PICK, 3);
    forward(&m);
    forward(&g);
    forward(&p);
    for (int i = 0; i < BATCH * 60; i++) {
        int e = i / 60 * 4 + i % 4;
        assert_true(fabs(m.out[i] - (m.in[0][i] * (1.0 + m.in[2][e]) + m.in[1][e])) < 1e-6);
        assert_true(fabs(g.out[i] - (g.in[0][i] + g.in[1][e] * (double)g.in[2][i])) < 1e-6);
    }
    for (int i = 0; i < BATCH * 36 * 2; i++) /* channels 2 and 5 of 8 */
        assert_true(p.out[i] == p.in[0][i / 2 * 8 + 2 + 3 * (i % 2)]);
    rig_close(&m);
    rig_close(&g);
    rig_close(&p);
}

static void positions_are_added_by_place(void **state)
{
    (void)state;
    rig two;
    rig_make(&two, PF_OP_POSITIONS, 0); /* 15 positions in windows of 4 */
    forward(&two);
    for (int i = 0; i < BATCH * 60; i++) {
        int l = i / 4 % 15, c = i % 4;
        double e = two.param[0][l / 4 * 4 + c] + (double)two.param[1][l % 4 * 4 + c];
        assert_true(fabs(two.out[i] - two.in[0][i] - e) < 1e-6);
    }
    rig_close(&two);
}

static int sees(const pf_attr *a, int i, int j)
{
    if (a->mask == PF_MASK_CAUSAL) return j <= i;
    if (a->mask == PF_MASK_WINDOW) return abs(i / a->window - j / a->window) <= 1;
    return 1;
}

static int32_t label_at(const rig *r, int at)
{
    int32_t k;
    memcpy(&k, r->in[3] + at, sizeof k);
    return k;
}

/* Channel j of head h of query i of sample b by the formula. */
static double attended(const rig *r, int b, int h, int i, int j)
{
    enum { N = 14, HEADS = 2, D = 3, C = HEADS * D };
    double top = 0.0, sum = 0.0;
    for (int k = 0; k < N; k++) {
        double score = 0.0;
        if (!sees(&r->site.attr, i, k) || label_at(r, b * N + k) < 0) continue;
        for (int c = h * D; c < (h + 1) * D; c++)
            score += (double)r->in[0][(b * N + i) * C + c] * r->in[1][(b * N + k) * C + c];
        double e = exp(score / sqrt(D));
        sum += e;
        top += e * r->in[2][(b * N + k) * C + h * D + j];
    }
    return sum > 0.0 ? top / sum : 0.0;
}

static void masks_are_softmax_over_what_is_seen(void **state)
{
    (void)state;
    static const pf_attr kind[] = {{.mask = PF_MASK_NONE},
                                   {.mask = PF_MASK_CAUSAL},
                                   {.mask = PF_MASK_WINDOW, .window = 4},
                                   {.mask = PF_MASK_WINDOW, .window = 1},
                                   {.mask = PF_MASK_WINDOW, .window = 20}};
    for (int m = 0; m < 5; m++) {
        pf_site s = {.op = PF_OP_ATTENTION, .name = "a", .B = BATCH, .n_in = 4};
        s.in[0] = s.in[1] = s.in[2] = s.out = shape(1, 14, 6);
        s.in[3] = shape(1, 14, 1);
        s.attr = kind[m];
        s.attr.heads = 2;
        rig r;
        rig_open(&r, &s);
        forward(&r);
        for (int at = 0; at < BATCH * 14 * 6; at++) {
            int b = at / 84, i = at / 6 % 14, c = at % 6;
            assert_true(fabs(r.out[at] - attended(&r, b, c / 3, i, c % 3)) < 1e-5);
        }
        rig_close(&r);
    }
}

/* Queries and keys alike at all positions: scores are q R(j - i) k. */
static void rotary_attention_depends_on_distances(void **state)
{
    (void)state;
    enum { N = 9, D = 8 };
    pf_site s = {.op = PF_OP_ROTARY, .name = "r", .B = 1, .n_in = 1};
    s.in[0] = s.out = shape(1, N, 2 * D);
    s.attr = (pf_attr){.turned = 2 * D, .heads = 2, .a = 10000.0};
    rig r;
    rig_open(&r, &s);
    for (int i = 0; i < N * 2 * D; i++) r.in[0][i] = r.in[0][i % (2 * D)];
    forward(&r);
    double by_distance[2 * N], norm[2] = {0};
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) { /* q in the first head, k in the second */
            double score = 0.0;
            for (int c = 0; c < D; c++)
                score += (double)r.out[i * 2 * D + c] * r.out[j * 2 * D + D + c];
            if (i == 0 || j == 0) by_distance[N + j - i] = score;
            assert_true(fabs(score - by_distance[N + j - i]) < 1e-5);
        }
    assert_true(fabs(by_distance[N] - by_distance[N + 1]) > 1e-2);
    for (int i = 0; i < N * 2 * D; i++) {
        norm[0] += (double)r.in[0][i] * r.in[0][i];
        norm[1] += (double)r.out[i] * r.out[i];
    }
    assert_true(fabs(norm[1] / norm[0] - 1.0) < 1e-6);
    /* position 2, third pair of channels: phase 2 10000^(-4/8) */
    double x1 = r.in[0][2], x2 = r.in[0][6], phase = 2.0 * 0.01;
    assert_true(fabs(r.out[4 * D + 2] - (x1 * cos(phase) - x2 * sin(phase))) < 1e-6);
    assert_true(fabs(r.out[4 * D + 6] - (x2 * cos(phase) + x1 * sin(phase))) < 1e-6);
    rig_close(&r);
}

/* sum_j (softmax(q_i) . softmax(k)_j) v_j, as attention with these for its probabilities. */
static void linear_attention_is_two_softmaxes(void **state)
{
    (void)state;
    enum { N = 28 };
    rig r;
    rig_make(&r, PF_OP_LINEAR_ATTENTION, 1); /* one head of one channel, with padding */
    forward(&r);
    for (int b = 0; b < BATCH; b++) {
        double sum = 0.0, top = 0.0;
        for (int j = b * N; j < (b + 1) * N; j++) {
            if (label_at(&r, j) < 0) continue;
            sum += exp(r.in[1][j]);
            top += exp(r.in[1][j]) * r.in[2][j];
        }
        for (int i = b * N; i < (b + 1) * N; i++) /* softmax of one channel is 1 */
            assert_true(fabs(r.out[i] - top / sum) < 1e-5);
    }
    rig_close(&r);
    rig_make(&r, PF_OP_LINEAR_ATTENTION, 3);
    enum { D = 4, C = 8 };
    for (int i = 0; i < BATCH * 36 * C; i++) r.in[1][i] = 0.5f; /* keys alike: the mean value */
    for (int k = 0; k < BATCH * 36; k++) {
        const int32_t here = 0;
        memcpy(r.in[3] + k, &here, sizeof here);
    }
    forward(&r);
    for (int i = 0; i < C; i++) {
        double mean = 0.0;
        for (int p = 0; p < 36; p++) mean += r.in[2][p * C + i] / 36;
        assert_true(fabs(r.out[5 * C + i] - mean) < 1e-5); /* weights of channels sum to 1 */
    }
    rig_close(&r);
}

static pf_node port(pf_graph *g, const char *name, pf_shape s, int integer)
{
    return pf_port_node(g, &(pf_port){.name = name, .shape = s, .integer = integer});
}

static const pf_param *only(const pf_graph *g, int i, const char *name)
{
    const pf_param *p = pf_graph_params(g) + i;
    assert_string_equal(p->name, name);
    return p;
}

static void parameters_have_the_names_that_are_given(void **state)
{
    (void)state;
    pf_graph *g = NULL;
    assert_int_equal(pf_graph_create(&g), PF_OK);
    pf_node tokens = port(g, "tokens", shape(1, 10, 1), 1);
    pf_node x = pf_embed(g, "first", tokens, 5, 12);
    x = pf_add_positions(g, x, "pos.weights_0", "pos.weights_1", 4);
    x = pf_layer_norm(g, x, &(pf_layer_norm_opt){.name = "norm", .eps = 1e-5, .no_bias = 1});
    pf_attend_opt o = {
        .heads = 2, .mask = PF_MASK_WINDOW, .window = 4, .padding = tokens, .rotary = 1e4};
    x = pf_attend(g, x, x, x, &o);
    x = pf_attend_linear(g, x, x, x, 3, tokens);
    x = pf_attend(g, x, PF_NONE, PF_NONE, &(pf_attend_opt){.heads = 2, .padding = PF_NONE});
    assert_int_equal(pf_graph_shape(g, x).c, 4);
    x = pf_scale_by(g, "rezero.alpha", x, 0.25);
    assert_int_equal(pf_graph_finish(g, x), PF_OK);
    assert_int_equal(pf_graph_param_count(g), 5);
    const pf_param *major = only(g, 1, "pos.weights_0"), *minor = only(g, 2, "pos.weights_1");
    assert_int_equal(only(g, 0, "first.weight")->size, 60);
    assert_int_equal(major->rank, 4);
    assert_int_equal(major->dim[1], 3);
    assert_int_equal(minor->dim[2], 4);
    assert_int_equal(minor->dim[3], 12);
    only(g, 3, "norm.weight");
    assert_true(only(g, 4, "rezero.alpha")->scale == 0.25);
    pf_graph_free(g);
}

static void refused(pf_graph *g, pf_node n, const char *why)
{
    assert_true(n.id < 0);
    assert_int_equal(pf_graph_finish(g, n), PF_ESHAPE);
    if (!strstr(pf_error_message(), why)) fail_msg("%s", pf_error_message());
    pf_graph_free(g);
}

static pf_graph *with(pf_node *x, pf_node *short_of, pf_node *labels)
{
    pf_graph *g = NULL;
    assert_int_equal(pf_graph_create(&g), PF_OK);
    *x = port(g, "x", shape(1, 10, 12), 0);
    *short_of = port(g, "y", shape(1, 9, 12), 0);
    *labels = port(g, "tokens", shape(1, 9, 1), 1);
    return g;
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    pf_node x, y, k;
    pf_attend_opt o = {.heads = 5, .padding = PF_NONE};
    pf_graph *g = with(&x, &y, &k);
    refused(g, pf_attend(g, x, x, x, &o), "12 channels are no queries of 5 heads");
    g = with(&x, &y, &k);
    o.heads = 4;
    refused(g, pf_attend(g, x, x, y, &o), "values are 1x9x12");
    g = with(&x, &y, &k);
    o.padding = k;
    refused(g, pf_attend(g, x, x, x, &o), "the padding is 1x9x1, want 1x10x1");
    g = with(&x, &y, &k);
    o.padding = x;
    refused(g, pf_attend(g, x, x, x, &o), "x is floats, want integers");
    g = with(&x, &y, &k);
    o = (pf_attend_opt){.heads = 4, .padding = PF_NONE, .rotary = 1e4};
    refused(g, pf_attend(g, x, x, x, &o), "heads of 3 channels, base 10000");
    g = with(&x, &y, &k);
    o = (pf_attend_opt){.heads = 4, .padding = PF_NONE, .mask = PF_MASK_WINDOW};
    refused(g, pf_attend(g, x, x, x, &o), "a window of 0 positions");
    g = with(&x, &y, &k);
    refused(g, pf_pick(g, x, 4, 3, 4), "4 channels from 4 on, every 3-th, are not among 12");
    g = with(&x, &y, &k);
    refused(g, pf_gate(g, x, y, x), "the gating vector is 1x9x12, want 1x1x12");
    g = with(&x, &y, &k);
    refused(g, pf_add_positions(g, x, "a", "b", 11), "window 11, want 1 to 10 positions");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_norm_is_of_each_position),
        cmocka_unit_test(gelu_and_softplus_are_what_their_names_say),
        cmocka_unit_test(modulation_and_gates_are_by_channel),
        cmocka_unit_test(positions_are_added_by_place),
        cmocka_unit_test(masks_are_softmax_over_what_is_seen),
        cmocka_unit_test(rotary_attention_depends_on_distances),
        cmocka_unit_test(linear_attention_is_two_softmaxes),
        cmocka_unit_test(parameters_have_the_names_that_are_given),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
