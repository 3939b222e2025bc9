/* Laws of the Gaussian diffusion of 2015: its bound, its ends, its steps, what a network is shown. */
#include "nets.h"

#include "method/sohl2015.h"

#include <probflow/memory.h>
#include <probflow/scoring.h>

#include <math.h>
#include <string.h>

enum { B = 3, H = 5, W = 4, C = 8, D = H * W * C, K = 3 }; /* more than one piece of a row */
static const pf_space images = {.kind = PF_LEVELS, .shape = {H, W, C}, .levels = 256};
static const pf_space points = {.kind = PF_REAL, .shape = {1, 1, 2}};

static pf_method method_with(const char *const *set, int n)
{
    pf_method m;
    must(pf_method_init("sohl2015", &m));
    for (int i = 0; i < n; i += 2)
        must(pf_opt_set(m.ops->opts, "method", set[i], set[i + 1], &m.opt));
    return m;
}

static pf_sohl_tables *tables(pf_sohl_schedule s, double first, int T)
{
    pf_sohl_tables *t;
    double *beta = pf_zalloc((size_t)T * sizeof *beta);
    pf_sohl_betas(s, first, 0.5, T, beta);
    must(pf_sohl_create(T, beta, 10, &t));
    pf_free(beta);
    return t;
}

/* Expected KL of data N(0, s^2) at an index, under the best step whose mean is linear: four points integrate a
 * quadratic exactly. */
static double expected_kl(const pf_gauss_at *a, double s, double slope, double variance)
{
    double sum = 0.0;
    for (int p = 0; p < 4; p++) {
        double y = p & 1 ? s : -s, z = p & 2 ? 1.0 : -1.0, xi, mean, lv = log(variance);
        const pf_gauss_model model = {NULL, &mean, &lv};
        pf_gauss_noised(a, 1, &y, &z, &xi);
        mean = slope * xi;
        sum += 0.25 * pf_gauss_kl(a, 1, &y, &xi, &model, NULL);
    }
    return sum;
}

static void standard_normal_data_cost_nothing(void **state)
{
    (void)state;
    static const int length[] = {2, 30, 1000};
    for (int k = 0; k < 6; k++) {
        pf_sohl_tables *t =
            tables(k < 3 ? PF_SOHL_PUBLISHED : PF_SOHL_GEOMETRIC, 1e-3, length[k % 3]);
        double sum = 0.0, mean, lv;
        for (int i = 1; i < t->T; i++) {
            const pf_sohl_at *a = &t->at[i];
            pf_sohl_reverse(a, 1.0, 0.0, 0.0, &mean, &lv, NULL);
            double kl = expected_kl(&a->gauss, 1.0, mean, exp(lv));
            double want = 0.5 * log(t->gauss->noise[i] / t->gauss->noise[i - 1]);
            assert_near(kl, want, 1e-13);
            sum += kl;
        }
        assert_near(pf_sohl_bound(t, 1.0, sum), 0.0, 1e-13 * t->T);
        /* the published factor T for T - 1 terms */
        double excess = pf_sohl_bound(t, t->T / (t->T - 1.0), sum);
        assert_near(excess, sum / (t->T - 1), 1e-13 * t->T);
        pf_sohl_free(t);
    }
}

/* Data N(0, s^2) under the best linear steps; the entropy is that of the data. */
static void the_exact_bound_is_one_for_data_of_any_variance(void **state)
{
    (void)state;
    static const double std[] = {0.5, 1.0, 2.0};
    for (int k = 0; k < 3; k++) {
        double s = std[k], entropy = 0.5 * log(2.0 * M_PI * M_E * s * s), sum = 0.0;
        pf_sohl_tables *t = tables(PF_SOHL_PUBLISHED, 1e-3, 1000);
        const pf_gauss *g = t->gauss;
        for (int i = 1; i < t->T; i++) {
            double m = g->abar[i] * s * s + g->noise[i];
            double slope = g->c1[i] * s * s * sqrt(g->abar[i]) / m + g->c2[i];
            double best = g->variance[i] + g->c1[i] * g->c1[i] * s * s * g->noise[i] / m;
            sum += expected_kl(&t->at[i].gauss, s, slope, best);
        }
        double b0 = g->beta[0], ends = pf_gauss_prior(g, 1, &s) +
                                       0.5 * (log(2.0 * M_PI * b0) + 1.0 - b0 + b0 * s * s);
        double published = pf_sohl_bound(t, 1.0, sum) + 0.5 * log(2.0 * M_PI * M_E);
        assert_true(sum + ends >= entropy - 1e-12 && sum + ends < entropy + 0.01);
        if (s > 1.0) assert_true(published < entropy); /* it is none */
        if (s == 1.0) assert_near(published, sum + ends, 1e-12);
        pf_sohl_free(t);
    }
}

static void products_of_normals_add_precisions(void **state)
{
    (void)state;
    double mean = 0.3, variance = 0.04;
    pf_sohl_multiply(-1.0, 0.5, &mean, &variance);
    assert_near(1.0 / variance, 25.0 + 4.0, 1e-12);
    assert_near(mean, (25.0 * 0.3 - 4.0) / 29.0, 1e-15);
    pf_sohl_multiply(2.0, 0.0, &mean, &variance);
    assert_true(mean == 2.0 && variance == 0.0);
}

static void bumps_add_up_to_one_and_weights_to_one(void **state)
{
    (void)state;
    double phi[10], sum;
    for (int i = 0; i < 40; i++) {
        pf_sohl_bumps(40, i, 10, phi);
        sum = 0.0;
        for (int k = 0; k < 10; k++) sum += phi[k];
        assert_near(sum, 1.0, 1e-15);
    }
    sum = 0.0;
    for (int i = 0; i < 40; i++) sum += pf_sohl_weight(7.3, i);
    assert_near(sum, 1.0, 1e-14);
    assert_true(pf_sohl_weight(7.0, 7) == 1.0 && pf_sohl_weight(7.0, 8) == 0.0);
}

/* 5.4 bits a pixel of three colours, of data whose standard deviation is 1/4 of their range, are 4.2 bits/dim; and
 * 11.5 are those above a standard normal. */
static void published_figures_are_converted(void **state)
{
    (void)state;
    enum { PIXELS = 32 * 32 };
    const struct pf_scored_chain c = {.dim = 3 * PIXELS,
                                      .unit = 3 * PIXELS * log(128.0 * 0.5),
                                      .null = 3 * PIXELS * 0.5 * log(2.0 * M_PI * M_E)};
    double k = pf_scored_k(&c, 4.2) / PIXELS;
    assert_near(k, 5.4, 1e-12);
    assert_near(pf_scored_k(&c, log2(256.0 * 0.25) - 5.4 / 3.0) / PIXELS, 5.4, 1e-12);
    assert_near(k - pf_scored_k_null(&c) / PIXELS, 11.54, 0.01);
}

/* ---- training ---- */

typedef struct rig {
    float x[B * D], seen[B * D], cond[B], sigma[B], mean[B], net[B * D * 2 * K],
        gout[B * D * 2 * K];
    uint64_t sample[B];
    double term[B];
    char *scratch;
    void *in[PF_TOLD];
    pf_batch batch;
} rig;

static const char *const short_chain[] = {"steps", "20",   "bumps", "3",
                                          "shift", "0.25", "scale", "0.5"};

static rig *new_rig(const pf_method *m, void *self)
{
    rig *r = pf_zalloc(sizeof *r);
    for (int i = 0; i < B * D; i++) r->x[i] = (float)((i * 37 % 256 + 0.5) / 128.0 - 1.0);
    for (int i = 0; i < B * D * 2 * K; i++) r->net[i] = (float)(i * 29 % 17 - 8) / 8.0f;
    for (int b = 0; b < B; b++) r->sample[b] = 100 + (uint64_t)b;
    r->scratch = pf_zalloc(B * m->ops->scratch(self));
    r->in[PF_TOLD_X] = r->seen;
    r->in[PF_TOLD_COND] = r->cond;
    r->in[PF_TOLD_SIGMA] = r->sigma;
    r->in[PF_TOLD_MEAN] = r->mean;
    r->batch = (pf_batch){.space = &images,
                          .B = B,
                          .total = B,
                          .x = r->x,
                          .sample = r->sample,
                          .seed = 5,
                          .step = 9};
    return r;
}

static void free_rig(rig *r)
{
    pf_free(r->scratch);
    pf_free(r);
}

static void gradients_of_coefficients_are_those_of_finite_differences(void **state)
{
    (void)state;
    pf_method m = method_with(short_chain, 8);
    void *self;
    must(m.ops->open(&m.opt, &images, &self));
    rig *r = new_rig(&m, self);
    const double weight[B] = {1.0, 0.5, 2.0};
    r->batch.weight = weight;
    m.ops->see(self, &r->batch, r->scratch, r->in);
    m.ops->loss(self, &r->batch, r->scratch, r->net, 3.0, r->term, r->gout);
    for (int k = 0; k < 60; k++) {
        int b = k % B, j = (b * D + 53 * k % D) * 2 * K + k % (2 * K);
        double side[2], h = 1.0 / 1024, kept = (double)r->net[j];
        for (int e = 0; e < 2; e++) {
            r->net[j] = (float)(kept + (e ? h : -h));
            m.ops->loss(self, &r->batch, r->scratch, r->net, 3.0, r->term, NULL);
            side[e] = r->term[b];
        }
        r->net[j] = (float)kept;
        double want = 3.0 * weight[b] * (side[1] - side[0]) / (2.0 * h);
        assert_near((double)r->gout[j], want, 1e-4 * fabs(want) + 1e-7);
    }
    free_rig(r);
    m.ops->close(self);
}

static void what_is_shown_does_not_depend_on_how_a_batch_is_cut(void **state)
{
    (void)state;
    pf_method m = method_with(short_chain, 8);
    void *self;
    must(m.ops->open(&m.opt, &images, &self));
    rig *all = new_rig(&m, self), *part = new_rig(&m, self);
    m.ops->see(self, &all->batch, all->scratch, all->in);
    part->batch.B = 1;
    part->batch.first = 2;
    part->batch.x = all->x + 2 * D;
    part->batch.sample = all->sample + 2;
    part->in[PF_TOLD_SIGMA] = NULL;
    m.ops->see(self, &part->batch, part->scratch, part->in);
    assert_memory_equal(part->seen, all->seen + 2 * D, D * sizeof(float));
    assert_memory_equal(part->cond, all->cond + 2, sizeof(float));
    for (int b = 0; b < B; b++) { /* indices 1 .. T-1 */
        double i = (double)all->cond[b] * 19.0 / 999.0;
        assert_true(i > 0.99 && i < 19.01);
        double mean = (double)all->mean[b], sigma = (double)all->sigma[b];
        assert_near(mean * mean * (1.0 + sigma * sigma), 1.0, 1e-5);
    }
    free_rig(all);
    free_rig(part);
    m.ops->close(self);
}

/* ---- the chain ---- */

static pf_net *net;
static float *params;
static pf_chain chain;

static void open_chain(const pf_space *s, const char *const *set, int n, int zeros)
{
    pf_model mlp = model("mlp", "width=8;depth=1;embed=8");
    pf_method m = method_with(set, n);
    const pf_view_opt view = {.batch = 4};
    must(pf_net_create(&mlp, &m, s, &net));
    params = random_params(net);
    if (zeros) memset(params, 0, net->floats * sizeof *params);
    must(pf_net_set_params(net, params));
    must(pf_net_chain(net, &view, &chain));
}

static void close_chain(void)
{
    pf_chain_free(&chain);
    pf_net_free(net);
    pf_free(params);
}

static const uint64_t numbers[4] = {7, 8, 9, 10};

/* Without coefficients the chain is a standard normal of y, so that -log p(x) is that of N(shift, scale^2); over data of
 * that distribution the sum of all terms is its entropy, and the terms are those of the closed form. */
static void a_chain_without_coefficients_is_a_normal(void **state)
{
    (void)state;
    enum { N = 4000, T = 20 };
    static const char *const set[] = {"steps", "20", "shift", "3", "scale", "0.5"};
    double terms[4], sum = 0.0, square = 0.0, entropy = log(2.0 * M_PI * M_E * 0.25);
    open_chain(&points, set, 6, 1);
    for (int n = 0; n < N; n += 4) {
        float x[8];
        uint64_t sample[4];
        for (int s = 0; s < 4; s++) sample[s] = (uint64_t)(n + s);
        for (int s = 0; s < 4; s++) {
            const pf_draw d = {1, PF_STREAM_TEST, sample[s], 0};
            pf_draw_normal(&d, 0, 2, x + 2 * s);
        }
        for (int j = 0; j < 8; j++) x[j] = 3.0f + 0.5f * x[j];
        const pf_batch b = {.space = &points,
                            .B = 4,
                            .total = 4,
                            .x = x,
                            .sample = sample,
                            .seed = 3,
                            .eval = 1};
        double total[4] = {0};
        for (int i = 0; i <= T; i++) {
            const int at[4] = {i, i, i, i};
            must(chain.term(chain.self, &b, at, terms));
            for (int s = 0; s < 4; s++) total[s] += terms[s];
        }
        for (int s = 0; s < 4; s++) sum += total[s], square += total[s] * total[s];
    }
    double mean = sum / N, se = sqrt((square / N - mean * mean) / N);
    assert_near(mean, entropy, 4.0 * se);
    assert_near(chain.unit, 2.0 * log(0.5), 1e-15);
    close_chain();
}

/* Samples keep what is known of them, exactly; what is known with noise pulls them. */
static void samples_agree_with_what_is_known(void **state)
{
    (void)state;
    static const char *const set[] = {"steps", "20", "shift", "0.5", "scale", "2"};
    const double known[8] = {1.5, -2.0, 0.25, 3.0, -0.5, 0.0, 9.0, 1.0};
    const unsigned char mask[2] = {0, 1};
    const pf_batch b = {
        .space = &points, .B = 4, .total = 4, .sample = numbers, .seed = 3, .eval = 1};
    pf_move how = {.kind = PF_MOVE_ANCESTRAL, .known = known, .mask = mask};
    double x[8], x0[8], out[8];
    open_chain(&points, set, 6, 0);
    assert_true(chain.multiplies);
    must(chain.prior(chain.self, &b, x));
    for (int i = 20; i > 0; i--) must(chain.step(chain.self, &b, &how, i, x, x0));
    assert_memory_equal(x, x0, sizeof x); /* the end itself */
    must(chain.datum(chain.self, 4, x, out));
    for (int s = 0; s < 4; s++) {
        assert_near(out[2 * s + 1], known[2 * s + 1], 1e-14);
        assert_true(fabs(out[2 * s] - known[2 * s]) > 1e-3);
    }
    how.mask = NULL;
    how.known_std = 1e-6;
    must(chain.prior(chain.self, &b, x));
    for (int i = 20; i > 0; i--) must(chain.step(chain.self, &b, &how, i, x, NULL));
    must(chain.datum(chain.self, 4, x, out));
    for (int j = 0; j < 8; j++) assert_near(out[j], known[j], 1e-5);
    how.kind = PF_MOVE_DDIM;
    assert_int_equal(chain.step(chain.self, &b, &how, 3, x, NULL), PF_EARG);
    close_chain();
}

/* A step without coefficients draws from N(sqrt(1 - b) x, b), the last one too. */
static void the_last_step_is_taken_and_draws(void **state)
{
    (void)state;
    static const char *const set[] = {"steps", "20"};
    const pf_move how = {.kind = PF_MOVE_ANCESTRAL};
    double sum = 0.0, square = 0.0, b0 = 1e-3 + 1e-6 + (1.0 - 1e-3 - 1.1e-5) / 20.0;
    enum { N = 8000 };
    open_chain(&points, set, 2, 1);
    for (int n = 0; n < N; n += 4) {
        uint64_t sample[4] = {(uint64_t)n, (uint64_t)n + 1, (uint64_t)n + 2, (uint64_t)n + 3};
        const pf_batch b = {
            .space = &points, .B = 4, .total = 4, .sample = sample, .seed = 3, .eval = 1};
        double x[8] = {1, 1, 1, 1, 1, 1, 1, 1};
        must(chain.step(chain.self, &b, &how, 1, x, NULL));
        for (int j = 0; j < 8; j++) sum += x[j], square += x[j] * x[j];
    }
    double mean = sum / (2 * N), variance = square / (2 * N) - mean * mean;
    assert_near(mean, sqrt(1.0 - b0), 4.0 * sqrt(b0 / (2 * N)));
    assert_near(variance, b0, 4.0 * b0 * sqrt(2.0 / (2 * N)));
    close_chain();
}

/* Levels are dequantised over the width of a bin in the scale of y, and cost log(L/2 scale) more each. */
static void levels_are_spread_over_their_bins(void **state)
{
    (void)state;
    static const pf_space levels = {.kind = PF_LEVELS, .shape = {1, 1, 2}, .levels = 4};
    static const char *const set[] = {"steps", "20", "scale", "0.01", "shift", "0.25"};
    const uint8_t k[2] = {2, 2}; /* the bin from 0 to 0.5: y from -25 to 25 */
    const int decoder[1] = {0};
    double nats, sum = 0.0, square = 0.0, b0 = 1e-3 + 1e-6 + (1.0 - 1e-3 - 1.1e-5) / 20.0;
    enum { N = 3000 };
    open_chain(&levels, set, 6, 1);
    for (int n = 0; n < N; n++) {
        const uint64_t sample = (uint64_t)n;
        const pf_batch b = {.space = &levels,
                            .B = 1,
                            .total = 1,
                            .k = k,
                            .sample = &sample,
                            .seed = 3,
                            .eval = 1};
        must(chain.term(chain.self, &b, decoder, &nats));
        sum += nats;
        square += nats * nats;
    }
    double mean = sum / N, se = sqrt((square / N - mean * mean) / N);
    double want =
        log(2.0 * M_PI * b0) + 1.0 - b0 + b0 * 50.0 * 50.0 / 12.0 + 2.0 * log(0.5 * 4 * 0.01);
    assert_near(mean, want, 4.0 * se);
    close_chain();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standard_normal_data_cost_nothing),
        cmocka_unit_test(the_exact_bound_is_one_for_data_of_any_variance),
        cmocka_unit_test(products_of_normals_add_precisions),
        cmocka_unit_test(bumps_add_up_to_one_and_weights_to_one),
        cmocka_unit_test(published_figures_are_converted),
        cmocka_unit_test(gradients_of_coefficients_are_those_of_finite_differences),
        cmocka_unit_test(what_is_shown_does_not_depend_on_how_a_batch_is_cut),
        cmocka_unit_test(a_chain_without_coefficients_is_a_normal),
        cmocka_unit_test(samples_agree_with_what_is_known),
        cmocka_unit_test(the_last_step_is_taken_and_draws),
        cmocka_unit_test(levels_are_spread_over_their_bins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
