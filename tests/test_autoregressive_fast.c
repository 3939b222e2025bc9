/* The fast rows of the operators of autoregressive networks against the plain ones; see kernel_compare.h. */
#include "kernel_compare.h"

static void put_padding(bench *t)
{
    for (size_t i = 0; t->site.n_in > 1 && i < in_size(t, 1); i++) {
        int32_t k = pick(0, 5) ? 1 : -1;
        memcpy(t->in[1] + i, &k, sizeof k);
    }
}

static bench lstm_site(pf_shape in, int h, int padded)
{
    bench t = site(PF_OP_LSTM, 1 + padded, in, (pf_shape){in.h, in.w, h});
    const int size[] = {4 * h * in.c, 4 * h * h, 4 * h, 4 * h};
    t.site.in[1] = (pf_shape){in.h, in.w, 1};
    t.site.want_dx[1] = 0;
    t.site.n_param = 4;
    for (int k = 0; k < 4; k++) t.site.param_size[k] = (size_t)size[k];
    return t;
}

/* Weights of a trained network's size: with larger ones the state is chaotic, and rounding grows from step to step. */
static void check_lstm(bench *t)
{
    begin(t);
    for (int k = 0; k < 4; k++)
        for (size_t i = 0; i < t->site.param_size[k]; i++)
            t->param[k][i] *= k ? 0.5f / sqrtf((float)t->site.out.c) : 0.3f;
    put_padding(t);
    check_begun(t);
}

static void lstms_agree(void **state)
{
    (void)state;
    static const int hidden[] = {1, 2, 5, 16, 17, 32, 48, 64};
    for (int i = 0; i < 2 * TRIALS; i++) {
        bench t = lstm_site(any_shape(), hidden[pick(0, 7)], i % 2);
        if (i % 4 == 3) { /* more rows than one product has */
            t.site.B = pick(8, 17);
            t.site.in[0].h = t.site.in[1].h = t.site.out.h = 2;
        }
        t.site.attr.reverse = i / 2 % 2;
        check_lstm(&t);
    }
}

/* Many chunks; so many steps that gates are made again. */
static void long_lstms_agree(void **state)
{
    (void)state;
    static const int length[] = {700, 11000, 12001};
    for (int i = 0; i < 6; i++) {
        int L = length[i / 2], h = 2 + i;
        bench t = lstm_site((pf_shape){1, L, 3}, h, i % 2);
        t.site.B = 2;
        t.site.attr.reverse = i == 3;
        begin(&t);
        size_t kept = t.row[0]->saved(&t.site, t.side[0].ctx);
        assert_true(i < 2 ? kept > (size_t)L * 8 * 16 * 6 : kept < (size_t)L * 8 * 16 * 2);
        end(&t);
        check_lstm(&t);
    }
}

/* Scales of a network's size: of far larger ones a rounding of a float is a part in a hundred of the slopes. */
static void mixtures_agree(void **state)
{
    (void)state;
    static const int logistics[] = {1, 2, 7, 8, 27, 256};
    for (int i = 0; i < TRIALS; i++) {
        pf_shape in = {pick(1, 3), pick(1, 9), pick(1, 5)};
        int M = logistics[i % 6];
        bench t = site(PF_OP_MIXTURE_CDF, 2, in, (pf_shape){in.h, in.w, 2 * in.c});
        t.site.in[1].c = in.c * (2 + 3 * M);
        t.site.n_param = 2;
        t.site.param_size[0] = (size_t)in.c;
        t.site.param_size[1] = (size_t)(in.c * M);
        begin(&t);
        for (int k = 0; k < 2; k++)
            for (size_t j = 0; j < t.site.param_size[k]; j++) t.param[k][j] *= 0.5f;
        check_begun(&t);
    }
}

/* Far from all means, where a distribution function has no digits left below 1. */
static void mixtures_keep_their_tails(void **state)
{
    (void)state;
    enum { N = 401 };
    pf_shape one = {1, N, 1};
    bench t = site(PF_OP_MIXTURE_CDF, 2, one, (pf_shape){1, N, 2});
    t.site.B = 1;
    t.site.in[1].c = 2 + 3 * 3;
    t.site.n_param = 2;
    t.site.param_size[0] = 1;
    t.site.param_size[1] = 3;
    begin(&t);
    for (int i = 0; i < N; i++) t.in[0][i] = (float)(i - N / 2);
    forward(&t);
    for (int i = 0; i < 2 * N; i++) {
        double fast = (double)t.side[0].out[i], ref = (double)t.side[1].out[i];
        if (!(fabs(fast - ref) <= 2e-7 * fabs(ref) + 1e-6))
            fail_msg("%d: %g, not %g", i, fast, ref);
    }
    end(&t);
}

static void masked_maps_agree(void **state)
{
    (void)state;
    if (!pf_onednn_kernels[0].row) skip();
    static int in[300], out[300];
    for (int i = 0; i < 2 * TRIALS; i++) {
        pf_shape shape = any_shape();
        bench t = linear_site(shape, pick(1, 300), 0);
        for (int k = 0; k < 300; k++) in[k] = pick(0, 4), out[k] = pick(-1, 5);
        t.site.op = PF_OP_MASKED_LINEAR;
        t.site.attr =
            (pf_attr){.in_degree = in, .out_degree = out, .same = i % 2, .sequence = i / 2 % 2};
        check(&t);
    }
}

/* Bytes of a plan beyond its ends: not those of all gates where these would be many. */
static void an_lstm_of_4096_steps_fits_in_64_megabytes(void **state)
{
    (void)state;
    enum { L = 4096, H = 256 };
    pf_graph *g = NULL;
    pf_plan *p = NULL;
    assert_int_equal(pf_graph_create(&g), PF_OK);
    pf_node x = pf_port_node(g, &(pf_port){.name = "x", .shape = {1, L, H}});
    pf_lstm_opt o = {.name = "l", .hidden = H, .padding = PF_NONE};
    assert_int_equal(pf_graph_finish(g, pf_lstm(g, x, &o)), PF_OK);
    pf_plan_opt want = {.batch = 8, .want_in = 1, .want_params = 1};
    assert_int_equal(pf_plan_create(g, &want, &p), PF_OK);
    double ends = 2.0 * 4.0 * 8 * L * H, gates = 4.0 * 4.0 * 8 * L * H;
    assert_true(gates > 128e6);
    double bytes = (double)pf_plan_bytes(p) - ends;
    if (!(bytes < 64e6)) fail_msg("%g MB", bytes / 1e6);
    pf_plan_free(p);
    pf_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        drawing_test(lstms_agree),
        drawing_test(long_lstms_agree),
        drawing_test(masked_maps_agree),
        drawing_test(mixtures_agree),
        drawing_test(mixtures_keep_their_tails),
        drawing_test(an_lstm_of_4096_steps_fits_in_64_megabytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
