/* Laws of the method argmax: its graph, its gradients, its samples and all its rows together. */
#include <probflow/mixture_cdf.h>
#include <probflow/sample.h>

#include "argmax_rig.h"

enum { ROW = 2, BITS = 2, FULL = 4, ROWS = 16, DRAWS = 4000 };

/* Row r of FULL symbols. */
static void row_number(int r, float *x)
{
    for (int l = 0; l < ROW; l++, r /= FULL) x[l] = (float)(r % FULL);
}

static const char *const shapes[] = {"steps=1",
                                     "steps=2",
                                     "steps=3;channels=mix",
                                     "steps=2;turn=false;channels=mix",
                                     "steps=2;actnorm=true",
                                     "steps=3;channels=mix;actnorm=true",
                                     "steps=3;channels=shuffle"};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* What the flow makes of v is what v was made of. */
static void a_sample_is_taken_back_to_its_noise(void **state)
{
    (void)state;
    enum { D = 5, N = D * BITS };
    for (int kind = 0; kind < SHAPES * KINDS; kind++) {
        flow f;
        double base[N], v[N], want = 0.0, got = 0.0, scale = 0.0;
        float noise[N], out[D * 64];
        int32_t tokens[D];
        flow_open(&f, kind % KINDS, shapes[kind / KINDS], row_of(D, FULL), 1);
        flow_encode_by(&f, 1.0, 1);
        must(flow_samples(&f, 1, 3, base, v));
        for (int l = 0; l < D; l++) {
            tokens[l] = pf_argmax_code(BITS, v + l * BITS);
            for (int b = 0; b < BITS; b++) {
                const float *loc = view_of(&f, "base_dist.loc", NULL),
                            *log_scale = view_of(&f, "base_dist.log_scale", NULL);
                double z = (base[l * BITS + b] - (double)loc[b]) / exp((double)log_scale[b]);
                noise[l * BITS + b] = (float)pf_softplus_inverse(fabs(v[l * BITS + b]));
                want += 0.5 * z * z + 0.5 * log(2.0 * M_PI) + (double)log_scale[b];
            }
        }
        flow_outputs(&f, tokens, noise, out);
        for (int l = 0; l < D; l++)
            got += (double)out[l * ((const pf_argmax *)f.net->self)->columns + 1];
        scale = fabs(want);
        /* v is a float, and so is all that the network makes of it: some tens of roundings */
        assert_near(got, want, 1e-5 * scale);
        flow_close(&f);
    }
}

/* p(x) of all rows by the mean of exp(bound), and the variance of their sum. */
static double all_rows(const flow *f, double *p)
{
    float x[ROWS * ROW];
    double variance = 0.0;
    for (int r = 0; r < ROWS; r++) row_number(r, x + r * ROW);
    for (int r = 0; r < ROWS; r++) p[r] = 0.0;
    double squares[ROWS] = {0};
    for (int d = 0; d < DRAWS; d++) {
        double nats[ROWS];
        flow_terms(f, ROWS, x, 0, (uint32_t)d, nats);
        for (int r = 0; r < ROWS; r++) {
            double w = exp(-nats[r]);
            p[r] += w / DRAWS;
            squares[r] += w * w / DRAWS;
        }
    }
    for (int r = 0; r < ROWS; r++) variance += (squares[r] - p[r] * p[r]) / DRAWS;
    return variance;
}

static void rows_share_all_of_the_probability(void **state)
{
    (void)state;
    static const char *const of[] = {
        "steps=1", "steps=2;channels=mix",
        "steps=2;actnorm=true;channels=shuffle;encoder_steps=3;encoder_width=5",
        "steps=1;actnorm=true;channels=mix;encoder_steps=2;encoder_width=5"};
    for (int kind = 0; kind < 8; kind++) {
        flow f;
        double p[ROWS], sum = 0.0;
        flow_open(&f, kind % 2, of[kind / 2], row_of(ROW, FULL), ROWS);
        flow_encode_by(&f, 2.5, ROWS);
        double error = sqrt(all_rows(&f, p));
        for (int r = 0; r < ROWS; r++) sum += p[r];
        assert_true(error < 0.02); /* the check is not loose */
        assert_near(sum, 1.0, 4.0 * error);
        flow_close(&f);
    }
}

/* Samples of the rows that hold symbols below K alone, whose chances p are to share all. */
static void samples_follow(const flow *f, int K, const double *p)
{
    enum { N = 3200, BATCH = 16 };
    double count[ROWS] = {0}, all = 0.0, chi = 0.0, x[BATCH * ROW * BITS], symbol[BATCH * ROW];
    int used = 0;
    for (int n = 0; n < N; n += BATCH) {
        must(flow_samples(f, BATCH, (uint64_t)n, NULL, x));
        must(f->chain.datum(f->chain.self, BATCH, x, symbol));
        for (int s = 0; s < BATCH; s++) {
            assert_true(symbol[s * ROW] < K && symbol[s * ROW + 1] < K);
            count[(int)symbol[s * ROW] + FULL * (int)symbol[s * ROW + 1]]++;
        }
    }
    for (int r = 0; r < ROWS; r++)
        if (r % FULL < K && r / FULL < K) all += p[r], used++;
    for (int r = 0; r < ROWS; r++)
        if (r % FULL < K && r / FULL < K)
            chi += pow(count[r] - N * p[r] / all, 2) / (N * p[r] / all);
    /* 15 or 8 degrees of freedom: 48 and 36 are passed once in 30,000 */
    if (!(chi < (used == ROWS ? 48.0 : 36.0))) fail_msg("chi^2 %g of %d rows", chi, used);
}

static void samples_follow_the_probabilities_of_their_rows(void **state)
{
    (void)state;
    for (int coupling = 0; coupling < 2; coupling++) {
        flow f;
        double p[ROWS];
        flow_open(&f, coupling, "steps=2;channels=mix", row_of(ROW, FULL), ROWS);
        flow_encode_by(&f, 2.5, ROWS);
        (void)all_rows(&f, p);
        samples_follow(&f, FULL, p);
        flow_close(&f);
    }
}

/* The same flow where the last code is no symbol: what is left is in proportion. */
static void rows_with_codes_that_are_no_symbol_are_drawn_again(void **state)
{
    (void)state;
    flow whole, some;
    double p[ROWS];
    flow_open(&whole, 0, "steps=1", row_of(ROW, FULL), ROWS);
    flow_encode_by(&whole, 2.5, ROWS);
    (void)all_rows(&whole, p);
    flow_open(&some, 0, "steps=1", row_of(ROW, FULL - 1), ROWS);
    flow_encode_by(&some, 2.5, ROWS);
    samples_follow(&some, FULL - 1, p);
    assert_true(some.chain.unfit->some > 0);
    flow_close(&some);
    flow_close(&whole);
}

/* Nothing is told to a step's network: positions and bits are drawn alike and apart. */
static void tell_nothing(flow *f)
{
    size_t n = 0;
    float *taps = view_of(f, "taps.weight", &n);
    memset(taps, 0, n * sizeof *taps);
    flow_reopen(f, ROWS);
}

/* What a position of such a flow of one step gives to codes of no symbol, exactly: v_b > 0 where y_b is above the y of 0. */
static double mass_of_a_position(const flow *f, int K)
{
    enum { M = 2, PER = 2 + 3 * M };
    const float *bias = view_of(f, "taps.bias", NULL), *loc = view_of(f, "base_dist.loc", NULL),
                *f1 = view_of(f, "3.scaling_factor", NULL),
                *fm = view_of(f, "mixture_scaling_factor", NULL),
                *scale = view_of(f, "base_dist.log_scale", NULL);
    double at[BITS], log_scale[BITS];
    for (int b = 0; b < BITS; b++) {
        double param[PER], own[M];
        for (int i = 0; i < PER; i++) param[i] = (double)bias[b * PER + i];
        for (int i = 0; i < M; i++) own[i] = (double)fm[b * M + i];
        const pf_mixture_cdf m = {M, param, (double)f1[b], own};
        at[b] = (double)loc[b] - pf_mixture_cdf_at(&m, 0.0, NULL);
        log_scale[b] = (double)scale[b];
    }
    return pf_argmax_unused(BITS, K, (pf_argmax_normal){at, log_scale});
}

static void near_an_estimate(double want, pf_estimate got)
{
    assert_true(got.error < 0.2 * want); /* the check is not loose */
    assert_near(got.is, want, 4.0 * got.error);
}

static void samples_tell_the_mass_of_codes_that_are_no_symbol(void **state)
{
    (void)state;
    enum { N = 3200, BATCH = 16, K = FULL - 1 };
    flow whole, some;
    double p[ROWS], x[BATCH * ROW * BITS], left = 0.0;
    flow_open(&whole, 0, "steps=1", row_of(ROW, FULL), ROWS);
    tell_nothing(&whole);
    flow_encode_by(&whole, 2.5, ROWS);
    assert_null(whole.chain.unfit); /* it has a symbol for each code */
    double q = mass_of_a_position(&whole, K), rows = 1.0 - (1.0 - q) * (1.0 - q);
    double error = sqrt(all_rows(&whole, p));
    for (int r = 0; r < ROWS; r++)
        if (r % FULL < K && r / FULL < K) left += p[r];
    assert_near(1.0 - left, rows, 4.0 * error);
    flow_open(&some, 0, "steps=1", row_of(ROW, K), BATCH);
    tell_nothing(&some);
    for (int n = 0; n < N; n += BATCH) must(flow_samples(&some, BATCH, (uint64_t)n, NULL, x));
    assert_int_equal(some.chain.unfit->samples, N); /* what is drawn again is no sample more */
    const pf_unfit_shares u = pf_unfit_estimate(some.chain.unfit, ROW);
    near_an_estimate(rows, u.rows);
    near_an_estimate(q, u.entries);
    near_an_estimate(-log2(1.0 - rows) / ROW, u.bits);
    flow_close(&some);
    flow_close(&whole);
}

static void shares_of_what_is_no_datum_have_their_errors(void **state)
{
    (void)state;
    /* 100 samples of 4 entries, of which three hold 1, 1 and 4 */
    const pf_unfit n = {100, 3, 6, 18}, none = {100, 0, 0, 0};
    pf_unfit_shares u = pf_unfit_estimate(&n, 4);
    double p = 4.0 / 102.0, e = 7.0 / 102.0;
    assert_near(u.rows.is, 0.03, 1e-15);
    assert_near(u.rows.error, sqrt(p * (1.0 - p) / 102.0), 1e-15);
    assert_near(u.entries.is, 6.0 / 400.0, 1e-15);
    assert_near(u.entries.error, sqrt((19.0 / 102.0 - e * e) / 102.0) / 4.0, 1e-15);
    assert_near(u.bits.is, -log2(0.97) / 4.0, 1e-15);
    u = pf_unfit_estimate(&none, 4);
    assert_true(u.rows.is == 0.0 && u.bits.is == 0.0);
    /* none of 100 was seen: a share above 3 % would have been, with 95 % */
    assert_true(u.rows.error > 0.009 && 3.0 * u.rows.error < 0.035);
}

static void what_is_no_symbol_for_good_is_told(void **state)
{
    (void)state;
    flow f;
    double x[ROW * BITS], symbol[ROW];
    for (int last = 0; last < 2; last++) {
        flow_open(&f, 0, last ? "steps=1;unused=last" : "steps=1", row_of(ROW, FULL - 1), 1);
        size_t n = 0;
        float *loc = view_of(&f, "base_dist.loc", &n);
        for (size_t i = 0; i < n; i++) loc[i] = 50.0f; /* all bits are 1 */
        float *taps = view_of(&f, "taps.weight", &n);
        for (size_t i = 0; i < n; i++) taps[i] = 0.0f;
        flow_reopen(&f, 1);
        pf_status st = flow_samples(&f, 1, 7, NULL, x);
        assert_int_equal(st, last ? PF_OK : PF_ENUMERIC);
        if (!last)
            assert_non_null(strstr(pf_error_message(),
                                   "sample 7, drawn 64 times, still has codes "
                                   "that are none of the 3 symbols"));
        if (last) must(f.chain.datum(f.chain.self, 1, x, symbol));
        for (int l = 0; last && l < ROW; l++) assert_true(symbol[l] == FULL - 2);
        flow_close(&f);
    }
}

static void a_sample_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    enum { D = 6, N = D * BITS, B = 5 };
    for (int kind = 0; kind < KINDS; kind++) {
        flow f;
        double all[B * N], one[N];
        flow_open(&f, kind, "steps=2;channels=mix", row_of(D, 3), B);
        must(flow_samples(&f, B, 0, NULL, all));
        for (int s = 0; s < B; s++) {
            must(flow_samples(&f, 1, (uint64_t)s, NULL, one));
            assert_memory_equal(one, all + s * N, sizeof one);
        }
        flow_close(&f);
    }
}

/* The second worker is the first to draw, by networks that are the first one's. */
static void workers_share_a_flow_and_draw_the_same(void **state)
{
    (void)state;
    enum { D = 6, N = D * BITS, B = 3 };
    for (int kind = 0; kind < KINDS; kind++) {
        flow f, second;
        double want[B * N], got[B * N], again[B * N];
        flow_open(&f, kind, "steps=2;channels=mix;actnorm=true", row_of(D, 3), B);
        must(flow_samples(&f, B, 0, NULL, want));
        flow_reopen(&f, B);
        second = f;
        const pf_view_opt view = {.batch = B, .with = f.chain.self};
        must(pf_net_chain(f.net, &view, &second.chain));
        must(flow_samples(&second, B, 0, NULL, got));
        must(flow_samples(&f, B, 0, NULL, again));
        assert_memory_equal(got, want, sizeof want);
        assert_memory_equal(again, want, sizeof want);
        assert_int_equal(*second.chain.calls, *f.chain.calls); /* each counts its own */
        pf_chain_free(&second.chain);
        flow_close(&f);
    }
}

static void a_bound_of_draws_is_the_logarithm_of_their_mean(void **state)
{
    (void)state;
    enum { D = 5, DRAWN = 4 };
    flow one, more;
    const float x[D] = {2, 0, 1, 2, 1};
    flow_open(&one, 1, "steps=2", row_of(D, 3), 1);
    flow_open(&more, 1, "steps=2;draws=4", row_of(D, 3), 1);
    for (uint32_t step = 0; step < 3; step++) {
        double w[DRAWN], got;
        for (uint32_t j = 0; j < DRAWN; j++) {
            flow_terms(&one, 1, x, 9, step * DRAWN + j, &got);
            w[j] = -got;
        }
        flow_terms(&more, 1, x, 9, step, &got);
        assert_near(got, -pf_argmax_bound(DRAWN, w, NULL), 0.0);
    }
    assert_int_equal(*more.chain.calls, 3 * DRAWN);
    flow_close(&one);
    flow_close(&more);
}

/* A row of two symbols that ends in one of five places, and in a network for two. */
static void where_a_row_has_ended_nothing_counts(void **state)
{
    (void)state;
    enum { D = 5, SHORT = 2 };
    const float x[D] = {2, 1, -1, -1, -1};
    static const char *const of[] = {
        "flow=coupling;steps=3;channels=mix;mixtures=2;context=4;context_width=8",
        "flow=coupling;steps=2;channels=shuffle;actnorm=true;mixtures=2;context=4;"
        "context_width=8;encoder_steps=3;encoder_width=5"};
    double nats[4];
    for (int k = 0; k < 4; k++) {
        flow f = {.space = row_of(k % 2 ? SHORT : D, 3)};
        pf_method m = categories_method("argmax", of[k / 2]);
        pf_model net = model("transformer", "width=8;depth=1;heads=2;cond_width=4");
        must(pf_net_create(&net, &m, &f.space, &f.net));
        f.params = random_params(f.net);
        for (int i = 0; i < f.net->n_views; i++) {
            const pf_param *v = &f.net->views[i];
            pf_draw d = {.seed = 13, .stream = PF_STREAM_TEST, .sample = (uint64_t)i};
            for (size_t j = 0; j < v->size && strstr(v->name, "nn."); j++)
                f.params[v->offset + j] = (float)(pf_draw_uniform_f64(&d, j) - 0.5);
        }
        flow_reopen(&f, 1);
        flow_terms(&f, 1, x, 3, 1, &nats[k]);
        flow_close(&f);
    }
    /* sums of floats in another order */
    for (int k = 0; k < 4; k += 2) assert_near(nats[k], nats[k + 1], 1e-5 * fabs(nats[k]));
}

/* ---- training ---- */

enum { TRAIN_D = 4, TRAIN_B = 6 };

/* The sum of the losses of a batch, and its gradient (NULL: not wanted). */
static double train_loss(const flow *f, float *gparams)
{
    const pf_argmax *a = f->net->self;
    static const float x[TRAIN_B * TRAIN_D] = {0, 1, 2, 0,  2, 2,  1,  0,  1, 0, 2, -1,
                                               2, 0, 1, -1, 0, -1, -1, -1, 1, 1, 1, 1};
    uint64_t sample[TRAIN_B] = {4, 5, 6, 7, 8, 9};
    char scratch[TRAIN_B * 16];
    double weight[TRAIN_B] = {1, 2, 1, 0.5, 1, 1}, loss[TRAIN_B], sum = 0.0;
    float out[TRAIN_B * TRAIN_D * 64], gout[TRAIN_B * TRAIN_D * 64];
    const pf_plan_opt o = {.batch = TRAIN_B, .want_params = 1};
    const pf_batch b = {.space = &f->space,
                        .B = TRAIN_B,
                        .total = TRAIN_B,
                        .x = x,
                        .sample = sample,
                        .weight = weight,
                        .seed = 3};
    pf_inputs inputs;
    pf_plan *plan;
    pf_run run = {0};
    assert_true(a->columns <= 64 && f->net->method.ops->scratch(a) <= 16);
    must(pf_inputs_create(f->net, TRAIN_B, &inputs));
    pf_inputs_run(&inputs, &run);
    pf_net_see(f->net, &b, scratch, &inputs);
    must(pf_plan_create(f->net->graph, &o, &plan));
    must(pf_plan_set_params(plan, f->params));
    must(pf_plan_forward(plan, &run, out));
    f->net->method.ops->loss(a, &b, scratch, out, 1.0, loss, gout);
    for (int s = 0; s < TRAIN_B; s++) sum += weight[s] * loss[s];
    if (gparams) must(pf_plan_backward(plan, gout, gparams, NULL));
    pf_plan_free(plan);
    pf_inputs_free(&inputs);
    return sum;
}

static void gradients_reach_the_encoder_and_all_steps(void **state)
{
    (void)state;
    static const char *const of[] = {
        "steps=2;channels=mix", "steps=2;channels=mix;encoder=lstm",
        "steps=2;channels=mix;actnorm=true;encoder_steps=2;encoder_width=5",
        "steps=2;channels=shuffle;encoder_steps=2;encoder_width=5;encoder=lstm"};
    for (int kind = 0; kind < 2 * KINDS; kind++) {
        flow f;
        flow_open(&f, kind % KINDS,
                  of[(kind % KINDS & RECURRENT) / RECURRENT + kind / KINDS * 2],
                  row_of(TRAIN_D, 3), TRAIN_B);
        float *g = pf_zalloc(f.net->floats * sizeof *g);
        assert_non_null(g);
        (void)train_loss(&f, g);
        for (int i = 0; i < f.net->n_views; i++) {
            const pf_param *v = &f.net->views[i];
            if (!v->trainable) continue; /* an order */
            double want = 0.0, size = 0.0, h = 0.0;
            for (size_t j = 0; j < v->size; j++) size += pow((double)g[v->offset + j], 2);
            /* along the gradient itself, by 0.02 in all: difference and its slope are as large as they can be */
            h = 0.01 / fmax(sqrt(size), 1e-12);
            for (int side = -1; side <= 1; side += 2) {
                for (size_t j = v->offset; j < v->offset + v->size; j++)
                    f.params[j] += (float)(side * h) * g[j];
                want += side * train_loss(&f, NULL) / (2.0 * h);
                for (size_t j = v->offset; j < v->offset + v->size; j++)
                    f.params[j] -= (float)(side * h) * g[j];
            }
            /* of floats: 1e-6 of a loss of 30 over 0.02 of the length; curvature, h^2 */
            if (!(fabs(want - size) <= 2e-3 * sqrt(size) + 2e-3 * size))
                fail_msg("%s: %g by differences, not %g", v->name, want, size);
            if (!strstr(v->name, "taps") && !strstr(v->name, "nn.time"))
                assert_true(size > 0.0); /* it is reached */
        }
        pf_free(g);
        flow_close(&f);
    }
}

static void refused(const char *name, const char *settings, pf_space space,
                    const char *sentence)
{
    pf_model net = model(name, "");
    pf_method m = categories_method("argmax", settings);
    pf_net *n = NULL;
    assert_int_equal(pf_net_create(&net, &m, &space, &n), PF_EARG);
    if (!strstr(pf_error_message(), sentence)) fail_msg("%s", pf_error_message());
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    refused(
        "mlp", "flow=autoregressive", row_of(4, 3),
        "method.flow=autoregressive wants a model each of whose outputs sees only what comes "
        "before, as model lstm, and model mlp sees all; set method.flow=coupling");
    refused("mlp", "flow=coupling", row_of(4, 2),
            "method.flow=coupling parts the bits of a symbol, and 2 symbols have one");
    const pf_space real = {.kind = PF_REAL, .shape = {1, 4, 1}};
    refused("mlp", "flow=coupling", real, "method argmax does not take continuous data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_is_taken_back_to_its_noise),
        cmocka_unit_test(rows_share_all_of_the_probability),
        cmocka_unit_test(samples_follow_the_probabilities_of_their_rows),
        cmocka_unit_test(rows_with_codes_that_are_no_symbol_are_drawn_again),
        cmocka_unit_test(samples_tell_the_mass_of_codes_that_are_no_symbol),
        cmocka_unit_test(shares_of_what_is_no_datum_have_their_errors),
        cmocka_unit_test(what_is_no_symbol_for_good_is_told),
        cmocka_unit_test(a_sample_does_not_depend_on_its_batch),
        cmocka_unit_test(workers_share_a_flow_and_draw_the_same),
        cmocka_unit_test(a_bound_of_draws_is_the_logarithm_of_their_mean),
        cmocka_unit_test(where_a_row_has_ended_nothing_counts),
        cmocka_unit_test(gradients_reach_the_encoder_and_all_steps),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
