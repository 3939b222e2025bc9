/* The operators of flows of categories against their closed forms. */
#include "kernel_rig.h"

enum { L = 5, B = 3 };

static double normal_log_density(double x, double loc, double log_scale)
{
    double z = (x - loc) / exp(log_scale);
    return -0.5 * z * z - 0.5 * log(2.0 * M_PI) - log_scale;
}

static int32_t integer(const float *at)
{
    int32_t k;
    memcpy(&k, at, sizeof k);
    return k;
}

/* v lies in the cell of its symbol, and its density is that of u over |dv/du|, taken by differences of softplus. */
static void bits_are_cells_with_their_density(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_BITS, .name = "b", .B = BATCH, .n_in = 3};
    s.in[0] = shape(1, L, 2 * B);
    s.in[1] = shape(1, L, B);
    s.in[2] = shape(1, L, 1);
    s.out = shape(1, L, B + 1);
    rig r;
    rig_open(&r, &s);
    for (int p = 0; p < BATCH * L; p++) {
        int32_t k = p == 4 ? -1 : p % (1 << B);
        memcpy(r.in[2] + p, &k, sizeof k);
    }
    forward(&r);
    for (int p = 0; p < BATCH * L; p++) {
        int32_t k = integer(r.in[2] + p);
        double log_q = 0.0;
        for (int b = 0; b < B; b++) {
            double mean = r.in[0][p * 2 * B + b], log_std = r.in[0][p * 2 * B + B + b];
            double u = mean + exp(log_std) * r.in[1][p * B + b], v = log(1.0 + exp(u)),
                   h = 1e-5;
            double slope = (log(1.0 + exp(u + h)) - log(1.0 + exp(u - h))) / (2.0 * h);
            assert_near(r.out[p * (B + 1) + b],
                        k < 0                  ? 0.0
                        : k >> (B - 1 - b) & 1 ? v
                                               : -v,
                        1e-6 * fmax(1.0, v));
            log_q += normal_log_density(u, mean, log_std) - log(slope);
        }
        /* a float of it; differences err by 1e-10 */
        assert_near(r.out[p * (B + 1) + B], k < 0 ? 0.0 : log_q, 1e-6 * fmax(1.0, fabs(log_q)));
    }
    int32_t large = 1 << B;
    memcpy(r.in[2], &large, sizeof large);
    pf_call c = call_of(&r);
    assert_int_equal(r.row->forward(NULL, &c), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "symbol 8, want less than 8"));
    rig_close(&r);
}

static void a_row_turns_within_what_is_there(void **state)
{
    (void)state;
    for (int way = -1; way <= 1; way += 2) {
        pf_site s = {.op = PF_OP_TURN, .name = "t", .B = 2, .n_in = 2};
        s.in[0] = s.out = shape(1, L, 2);
        s.in[1] = shape(1, L, 1);
        s.attr.step = way;
        rig r;
        rig_open(&r, &s);
        for (int p = 0; p < 2 * L; p++) { /* the second row has three positions */
            int32_t k = p >= L + 3 ? -1 : 0;
            memcpy(r.in[1] + p, &k, sizeof k);
        }
        forward(&r);
        for (int p = 0; p < 2 * L; p++)
            for (int c = 0; c < 2; c++) {
                int l = p % L, n = p < L ? L : 3, from = p - l + (way < 0 ? n - 1 - l : l);
                float want = l < n ? r.in[0][from * 2 + c] : 0.0f;
                assert_true(r.out[p * 2 + c] == want);
            }
        rig_close(&r);
    }
}

static void an_invertible_map_knows_its_volume(void **state)
{
    (void)state;
    pf_site s = {.op = PF_OP_INVERTIBLE, .name = "i", .B = 1, .n_in = 1, .n_param = 1};
    s.in[0] = shape(1, 1, 2);
    s.out = shape(1, 1, 3);
    s.param_size[0] = 4;
    rig r;
    rig_open(&r, &s);
    const float w[4] = {0.0f, 2.0f, -3.0f, 0.5f}, x[2] = {1.0f, -1.0f};
    memcpy(r.param[0], w, sizeof w);
    memcpy(r.in[0], x, sizeof x);
    forward(&r);
    assert_near(r.out[0], -2.0, 0.0);
    assert_near(r.out[1], -3.5, 0.0);
    assert_near(r.out[2], log(6.0), 1e-6); /* det = 6 */
    r.param[0][0] = 1.0f, r.param[0][1] = 2.0f, r.param[0][2] = 2.0f, r.param[0][3] = 4.0f;
    pf_call c = call_of(&r);
    assert_int_equal(r.row->forward(NULL, &c), PF_ENUMERIC);
    assert_non_null(strstr(pf_error_message(), "its matrix has no inverse"));
    rig_close(&r);
}

static void an_invertible_map_begins_as_a_rotation(void **state)
{
    (void)state;
    enum { C = 9 };
    pf_graph *g;
    float w[128];
    const pf_port x = {.name = "x", .shape = {1, 1, C}};
    must(pf_graph_create(&g));
    must(pf_graph_finish(g, pf_invertible(g, "conv", pf_port_node(g, &x))));
    assert_string_equal(pf_graph_params(g)[0].name, "conv.weight");
    assert_true(pf_graph_param_floats(g) <= 128);
    pf_graph_init_params(g, 5, w);
    for (int i = 0; i < C; i++)
        for (int j = 0; j < C; j++) {
            double along = 0.0;
            for (int l = 0; l < C; l++) along += (double)w[i * C + l] * w[j * C + l];
            assert_near(along, i == j, 1e-6); /* rounding of floats */
        }
    assert_true(fabs((double)w[0]) < 0.99); /* not the identity */
    pf_graph_free(g);
}

static void normal_nats_are_those_of_the_density(void **state)
{
    (void)state;
    rig r;
    rig_make(&r, PF_OP_NORMAL_NATS, 0);
    int c = r.site.in[0].c;
    forward(&r);
    for (size_t p = 0; p < out_size(&r); p++) {
        double want = 0.0;
        for (int i = 0; i < c; i++)
            want -= normal_log_density(r.in[0][p * (size_t)c + (size_t)i], r.param[0][i],
                                       r.param[1][i]);
        assert_near(r.out[p], want, 1e-6 * fmax(1.0, fabs(want)));
    }
    rig_close(&r);
}

/* What pf_bit_cells makes of the same parameters, noise and symbols. */
static void a_draw_and_its_cell_are_bits(void **state)
{
    (void)state;
    rig whole, draw, cells;
    rig_make(&draw, PF_OP_DRAW, 0);
    rig_make(&cells, PF_OP_CELLS, 0);
    pf_site s = draw.site;
    int n = s.in[1].c;
    s.op = PF_OP_BITS;
    s.n_in = 3;
    s.in[2] = cells.site.in[1];
    rig_open(&whole, &s);
    memcpy(whole.in[0], draw.in[0], in_size(&draw, 0) * sizeof(float));
    memcpy(whole.in[1], draw.in[1], in_size(&draw, 1) * sizeof(float));
    memcpy(whole.in[2], cells.in[1], in_size(&cells, 1) * sizeof(float));
    forward(&draw);
    for (size_t p = 0; p < in_size(&cells, 1); p++)
        memcpy(cells.in[0] + p * (size_t)n, draw.out + p * (size_t)(n + 1),
               (size_t)n * sizeof(float));
    forward(&cells);
    forward(&whole);
    for (size_t i = 0; i < out_size(&whole); i++) {
        double got = cells.out[i];
        int there = integer(cells.in[1] + i / (size_t)(n + 1)) >= 0;
        if (i % (size_t)(n + 1) == (size_t)n) got = there ? draw.out[i] - got : 0.0;
        /* u is a float on the way, which its slope of at most 1 passes on */
        assert_near(got, whole.out[i], 2e-6 * fmax(1.0, fabs(got)));
    }
    rig_close(&whole);
    rig_close(&draw);
    rig_close(&cells);
}

/* The maps are of each number, so that the volume is the sum of the logarithms of their slopes, here by differences. */
static void steps_know_their_volume(void **state)
{
    (void)state;
    const pf_op ops[] = {PF_OP_BOUNDED, PF_OP_ACT_NORM};
    for (int k = 0; k < 2; k++) {
        rig low, high;
        rig_make(&low, ops[k], 0);
        rig_make(&high, ops[k], 0);
        size_t c = (size_t)low.site.in[0].c;
        const float h =
            0.5f; /* straight lines: differences are exact, but for the rounding of floats */
        for (size_t i = 0; i < in_size(&high, 0); i++) high.in[0][i] += h;
        forward(&low);
        forward(&high);
        for (size_t p = 0; p < in_size(&low, 0) / c; p++) {
            double volume = 0.0;
            for (size_t i = p * (c + 1); i < p * (c + 1) + c; i++)
                volume += log(((double)high.out[i] - (double)low.out[i]) / h);
            assert_near(low.out[p * (c + 1) + c], volume, 1e-5);
        }
        rig_close(&low);
        rig_close(&high);
    }
}

static void a_shuffle_is_a_permutation(void **state)
{
    (void)state;
    enum { C = 9 };
    pf_graph *g;
    float order[64];
    int seen[C] = {0}, moved = 0;
    const pf_port x = {.name = "x", .shape = {1, 1, C}};
    must(pf_graph_create(&g));
    must(pf_graph_finish(g, pf_shuffle(g, "s", pf_port_node(g, &x))));
    assert_string_equal(pf_graph_params(g)[0].name, "s.permutation");
    assert_false(pf_graph_params(g)[0].trainable);
    pf_graph_init_params(g, 5, order);
    for (int i = 0; i < C; i++) seen[(int)order[i]]++, moved |= order[i] != (float)i;
    for (int i = 0; i < C; i++) assert_int_equal(seen[i], 1);
    assert_true(moved);
    pf_graph_free(g);
    rig r;
    rig_make(&r, PF_OP_SHUFFLE, 0); /* 4 channels */
    const float p[4] = {2.0f, 0.0f, 3.000001f, 1.0f};
    memcpy(r.param[0], p, sizeof p);
    forward(&r);
    for (size_t i = 0; i < out_size(&r); i++)
        assert_true(r.out[i] == r.in[0][i / 4 * 4 + (size_t)lrintf(p[i % 4])]);
    r.param[0][1] = 2.0f;
    pf_call c = call_of(&r);
    assert_int_equal(r.row->forward(NULL, &c), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "channel 0 goes nowhere"));
    rig_close(&r);
}

static void refused(pf_graph *g, pf_node y, const char *sentence)
{
    assert_true(pf_graph_finish(g, y) != PF_OK);
    if (!strstr(pf_error_message(), sentence)) fail_msg("%s", pf_error_message());
    pf_graph_free(g);
}

static void shapes_that_do_not_fit_are_named(void **state)
{
    (void)state;
    const pf_port x = {.name = "x", .shape = {1, L, 4}},
                  odd = {.name = "odd", .shape = {1, L, 3}},
                  k = {.name = "k", .shape = {1, L, 1}, .integer = 1},
                  wide = {.name = "wide", .shape = {1, 1, PF_INVERTIBLE_MAX + 1}};
    enum { GRAPHS = 8 };
    pf_graph *g[GRAPHS];
    for (int i = 0; i < GRAPHS; i++) must(pf_graph_create(&g[i]));
    pf_node y = pf_bit_cells(g[0], pf_port_node(g[0], &odd), pf_port_node(g[0], &x),
                             pf_port_node(g[0], &k));
    refused(g[0], y, "3 channels, want two for each of 1 to 30 bits");
    y = pf_bit_cells(g[1], pf_port_node(g[1], &x), pf_port_node(g[1], &odd),
                     pf_port_node(g[1], &k));
    refused(g[1], y, "noise of 1x5x3, want 1x5x2");
    y = pf_invertible(g[2], "w", pf_port_node(g[2], &wide));
    refused(g[2], y, "65 channels, want at most 64");
    y = pf_turn(g[3], pf_port_node(g[3], &x), pf_port_node(g[3], &odd), PF_WAY_BACK);
    refused(g[3], y, "odd is floats, want integers");
    y = pf_draw_normals(g[4], pf_port_node(g[4], &odd), pf_port_node(g[4], &x));
    refused(g[4], y, "3 channels, want two for each number");
    y = pf_cells_of(g[5], pf_port_node(g[5], &wide), pf_port_node(g[5], &k));
    refused(g[5], y, "65 channels, want 1 to 30 bits");
    y = pf_bounded_map(g[6], pf_port_node(g[6], &x), pf_port_node(g[6], &odd));
    refused(g[6], y, "parameters of 1x5x3, want 1x5x8");
    y = pf_shuffle(g[7], "s", pf_port_node(g[7], &wide));
    refused(g[7], y, "65 channels, want at most 64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_cells_with_their_density),
        cmocka_unit_test(a_row_turns_within_what_is_there),
        cmocka_unit_test(an_invertible_map_knows_its_volume),
        cmocka_unit_test(an_invertible_map_begins_as_a_rotation),
        cmocka_unit_test(normal_nats_are_those_of_the_density),
        cmocka_unit_test(a_draw_and_its_cell_are_bits),
        cmocka_unit_test(steps_know_their_volume),
        cmocka_unit_test(a_shuffle_is_a_permutation),
        cmocka_unit_test(shapes_that_do_not_fit_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
