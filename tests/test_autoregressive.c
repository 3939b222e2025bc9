/* The operators of autoregressive networks against their formulas. */
#include "kernel_rig.h"

#include <probflow/plan.h>

#include <stdlib.h>

static void a_masked_map_is_the_map_of_the_masked_weight(void **state)
{
    (void)state;
    for (int v = 0; v < VARIANTS; v++) {
        rig masked, plain;
        rig_make(&masked, PF_OP_MASKED_LINEAR, v);
        pf_site s = masked.site;
        s.op = PF_OP_LINEAR;
        rig_open(&plain, &s);
        for (int o = 0, k = 0; o < s.out.c; o++)
            for (int i = 0; i < s.in[0].c; i++, k++) {
                int sees = v % 2 ? s.attr.in_degree[i] == s.attr.out_degree[o]
                                 : s.attr.in_degree[i] <= s.attr.out_degree[o];
                if (!sees) plain.param[0][k] = 0.0f;
            }
        forward(&masked);
        forward(&plain);
        for (size_t i = 0; i < out_size(&plain); i++)
            assert_true(fabs((double)masked.out[i] - (double)plain.out[i]) < 1e-5);
        backward(&masked, ~0u);
        for (int o = 0, k = 0; o < s.out.c; o++)
            for (int i = 0; i < s.in[0].c; i++, k++)
                assert_true(!pf_sees(&s.attr, o, i) == (masked.gparam[0][k] == 0.0f));
        rig_close(&masked);
        rig_close(&plain);
    }
}

static void a_shift_hides_each_position_from_itself(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_SHIFT, 0);
    forward(&r);
    for (int i = 0; i < BATCH * 60; i++)
        assert_true(r.out[i] == (i % 60 < 4 ? 0.0f : r.in[0][i - 4]));
    rig_close(&r);
}

static void places_count_from_both_ends(void **state)
{
    (void)state;
    enum { L = 15, C = 4, W = 3, N = L + 2 };
    rig r;
    rig_make(&r, PF_OP_PLACES, 0);
    forward(&r);
    for (int p = 0; p < BATCH * L; p++)
        for (int i = 0; i < C + W; i++) {
            const float *w = r.param[0] + (i - C) * 2 * N;
            int l = p % L;
            double want =
                i < C ? (double)r.in[0][p * C + i]
                      : (double)r.param[1][i - C] + (double)w[l] + (double)w[N + L - 1 - l];
            assert_true(fabs((double)r.out[p * (C + W) + i] - want) < 1e-6);
        }
    rig_close(&r);
}

static void whole_positions_are_dropped(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_DROPOUT, 3);
    forward(&r);
    int dropped = 0, n = BATCH * 36, C = 8;
    for (int p = 0; p < n; p++) {
        int gone = r.out[p * C] == 0.0f;
        dropped += gone;
        for (int i = p * C; i < (p + 1) * C; i++)
            assert_true(r.out[i] == (gone ? 0.0f : r.in[0][i]));
    }
    /* rate 0.4, five standard deviations */
    assert_true(fabs((double)dropped / n - 0.4) < 5.0 * sqrt(0.24 / n));
    r.run.train = 0;
    forward(&r);
    assert_memory_equal(r.out, r.in[0], out_size(&r) * sizeof(float));
    rig_close(&r);
}

static double logistic(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* Gate q of unit j, before its function: rows i, f, g, o of the weights. */
static double gate(const rig *r, int q, int j, const float *x, const double *h)
{
    int C = r->site.in[0].c, H = r->site.out.c, row = q * H + j;
    double sum = (double)r->param[2][row] + (double)r->param[3][row];
    for (int i = 0; i < C; i++) sum += (double)r->param[0][row * C + i] * (double)x[i];
    for (int i = 0; i < H; i++) sum += (double)r->param[1][row * H + i] * h[i];
    return sum;
}

static void an_lstm_is_its_recurrence(void **state)
{
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        rig r;
        rig_make(&r, PF_OP_LSTM, 0);
        enum { L = 15, H = 3 };
        r.site.attr.reverse = reverse;
        forward(&r);
        for (int b = 0; b < BATCH; b++) {
            double c[H] = {0}, h[H] = {0}, next[H];
            for (int k = 0; k < L; k++) {
                int l = b * L + (reverse ? L - 1 - k : k);
                const float *x = r.in[0] + l * 4;
                for (int j = 0; j < H; j++) {
                    c[j] = logistic(gate(&r, 1, j, x, h)) * c[j] +
                           logistic(gate(&r, 0, j, x, h)) * tanh(gate(&r, 2, j, x, h));
                    next[j] = logistic(gate(&r, 3, j, x, h)) * tanh(c[j]);
                }
                memcpy(h, next, sizeof h);
                for (int j = 0; j < H; j++)
                    assert_true(fabs((double)r.out[l * H + j] - h[j]) < 1e-6);
            }
        }
        rig_close(&r);
    }
}

/* A row with holes is the row without them, and 0 in them. */
static void padding_leaves_the_state_alone(void **state)
{
    (void)state;
    enum { L = 28, H = 5 };
    rig r, dense;
    rig_make(&r, PF_OP_LSTM, 1); /* backwards */
    pf_site s = r.site;
    s.B = 1;
    for (int b = 0; b < BATCH; b++) {
        int at[L], n = 0;
        for (int l = 0; l < L; l++) {
            int32_t label;
            memcpy(&label, r.in[1] + b * L + l, sizeof label);
            if (label >= 0) at[n++] = l;
        }
        s.in[0] = shape(1, n, 1);
        s.out = shape(1, n, H);
        s.n_in = 1;
        rig_open(&dense, &s);
        for (int k = 0; k < n; k++) dense.in[0][k] = r.in[0][b * L + at[k]];
        forward(&dense);
        forward(&r);
        double sum = 0.0, all = 0.0;
        for (int k = 0; k < n; k++)
            for (int j = 0; j < H; j++) {
                assert_true(dense.out[k * H + j] == r.out[(b * L + at[k]) * H + j]);
                sum += fabs((double)dense.out[k * H + j]);
            }
        for (int i = 0; i < L * H; i++) all += fabs((double)r.out[b * L * H + i]);
        assert_true(fabs(all - sum) < 1e-12 * all);
        assert_true(b == 0 ? n == L : n < L);
        rig_close(&dense);
    }
    rig_close(&r);
}

static void refused(pf_graph *g, pf_node y, const char *why)
{
    assert_int_equal(pf_graph_finish(g, y), PF_ESHAPE);
    if (!strstr(pf_error_message(), why)) fail_msg("%s", pf_error_message());
    pf_graph_free(g);
}

static pf_graph *with(pf_node *x)
{
    pf_graph *g = NULL;
    assert_int_equal(pf_graph_create(&g), PF_OK);
    *x = pf_port_node(g, &(pf_port){.name = "x", .shape = {1, 6, 4}});
    return g;
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    pf_node x;
    pf_graph *g = with(&x);
    refused(g, pf_concat_places(g, "t", x, 5, 2), "6 positions, want at most 5");
    g = with(&x);
    refused(g, pf_mixture_map(g, "m", x, x, 2), "the parameters are 1x6x4, want 1x6x32");
    g = with(&x);
    refused(g, pf_mixture_map(g, "m", x, x, 257), "257 logistics, want 1 to 256");
    g = with(&x);
    refused(g, pf_lstm(g, x, &(pf_lstm_opt){.name = "l", .padding = PF_NONE}),
            "0 hidden channels");
    g = with(&x);
    pf_node k = pf_port_node(g, &(pf_port){"k", {1, 7, 1}, 1, 5});
    refused(g, pf_lstm(g, x, &(pf_lstm_opt){.name = "l", .hidden = 3, .padding = k}),
            "the padding is 1x7x1, want 1x6x1");
}

static void parameters_have_the_names_of_their_authors(void **state)
{
    (void)state;
    static const char *const want[] = {"lstm.weight_ih_l1_reverse", "lstm.weight_hh_l1_reverse",
                                       "lstm.bias_ih_l1_reverse", "lstm.bias_hh_l1_reverse"};
    static const int rows[] = {20, 20, 20, 20}, columns[] = {4, 5, 0, 0};
    pf_node x;
    pf_graph *g = with(&x);
    pf_lstm_opt o = {"lstm", 1, 5, 1, PF_NONE};
    assert_int_equal(pf_graph_finish(g, pf_lstm(g, x, &o)), PF_OK);
    assert_int_equal(pf_graph_param_count(g), 4);
    float *w = floats(pf_graph_param_floats(g));
    pf_graph_init_params(g, 1, w);
    for (int k = 0; k < 4; k++) {
        const pf_param *p = &pf_graph_params(g)[k];
        assert_string_equal(p->name, want[k]);
        assert_int_equal(p->dim[0], rows[k]);
        assert_int_equal(p->dim[1], columns[k]);
        double most = 0.0;
        for (size_t i = 0; i < p->size; i++) most = fmax(most, fabs((double)w[p->offset + i]));
        assert_true(most <= 1.0 / sqrt(5.0) && most > 0.7 / sqrt(5.0)); /* 0.7^20 = 8e-4 */
    }
    /* x U and h W of each of six positions */
    assert_true(pf_graph_flops(g) == 6 * 2.0 * 20 * (4 + 5));
    pf_free(w);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_masked_map_is_the_map_of_the_masked_weight),
        cmocka_unit_test(a_shift_hides_each_position_from_itself),
        cmocka_unit_test(places_count_from_both_ends),
        cmocka_unit_test(whole_positions_are_dropped),
        cmocka_unit_test(an_lstm_is_its_recurrence),
        cmocka_unit_test(padding_leaves_the_state_alone),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(parameters_have_the_names_of_their_authors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
