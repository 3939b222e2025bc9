/* Laws of masked diffusion: schedules, the bound against orders and the exact probability, steps, calls, gradients. */
#include "method/masked.h"

#include "categories.h"
#include "quadrature.h"

enum { V = K + 1, SEEN = V * V * V * V, NODES = 64 };

static pf_masked *open_masked(const char *settings)
{
    pf_method m = categories_method("masked", settings);
    void *self;
    must(m.ops->open(&m.opt, &triples, &self));
    return self;
}

static const char *const schedules[] = {"linear",         "cosine",      "poly",
                                        "loglinear",      "mdlm_cosine", "mdlm_cosinesqr",
                                        "mdlm_geometric", "mdlm_linear", NULL};

static void rates_are_slopes_of_their_schedules(void **state)
{
    (void)state;
    for (int k = 0; schedules[k]; k++) {
        char settings[64];
        snprintf(settings, sizeof settings, "schedule=%s", schedules[k]);
        pf_masked *m = open_masked(settings);
        const pf_masked_noise *n = &m->noise;
        for (double t = 0.05; t < 0.99; t += 0.05) {
            double h = 1e-5,
                   slope = (pf_masked_alpha(n, t + h) - pf_masked_alpha(n, t - h)) / (2 * h);
            /* a difference of numbers of rounding 1e-16 over 2h: 1e-11; its own error is h^2 of a third slope */
            assert_near(pf_masked_slope(n, t), slope, 1e-7 * fmax(1.0, fabs(slope)));
            /* the same divided by alpha, which is down to 2e-5 */
            assert_near(pf_masked_rate(n, t), -slope / pf_masked_alpha(n, t),
                        1e-5 * fmax(1.0, pf_masked_rate(n, t)));
            assert_near(pf_masked_alpha(n, t) + pf_masked_hidden(n, t), 1.0, 1e-15);
            assert_near(exp(-pf_masked_sigma(n, t)), pf_masked_alpha(n, t), 1e-15);
        }
        pf_method_masked.close(m);
    }
}

/* Of a network that gives every symbol the same chance: what it costs does not depend on masks, only how many. */
static double even_bound(const char *settings)
{
    pf_masked *m = open_masked(settings);
    double x[NODES], w[NODES], z[V] = {0}, sum = L * (m->first + m->prior);
    const pf_cat_slope none = {NULL, NULL};
    gauss_legendre(NODES, x, w);
    for (int i = 0; m->opt.time == PF_MASKED_CONTINUOUS && i < NODES; i++) {
        const pf_masked_at a = pf_masked_at_time(m, m->t0 + (1.0 - m->t0) * x[i]);
        sum += w[i] * L * a.hidden * pf_masked_entry(m, &a, 1, (pf_cat_row){.d = z}, 0.0, none);
    }
    for (int i = 1; m->opt.time == PF_MASKED_FINITE && i <= m->opt.steps; i++) {
        const pf_masked_at a = pf_masked_at_step(m, i);
        sum += L * a.hidden * pf_masked_entry(m, &a, 1, (pf_cat_row){.d = z}, 0.0, none) /
               m->opt.steps;
    }
    pf_method_masked.close(m);
    return sum;
}

static void an_even_network_scores_log_k_an_entry(void **state)
{
    (void)state;
    for (int k = 0; schedules[k]; k++)
        for (int w = 0; w < 4; w++) {
            char settings[128];
            snprintf(settings, sizeof settings, "schedule=%s;estimator=%s;time=%s;steps=7",
                     schedules[k], w & 1 ? "mdlm" : "md4", w & 2 ? "finite" : "continuous");
            assert_near(even_bound(settings), L * log(K), 1e-12);
        }
    /* as published, mdlm leaves its ends out: of one entry, (1 - eps) times the code length */
    assert_near(even_bound("estimator=mdlm;schedule=loglinear;bound=published"),
                (1.0 - 1e-3) * L * log(K), 1e-12);
    /* and md4 the prior, which counts as much as its first step */
    assert_near(even_bound("bound=published"), (1.0 - 1e-4) * L * log(K), 1e-12);
}

/* ---- a network of its own, against all masks ---- */

static int symbol(int s, int j)
{
    for (; j > 0; j--) s /= V;
    return s % V;
}

/* -log p(x_j | seen), [SEEN,L,K]. */
static void costs(const categories *c, double cond, double *cost)
{
    static float z[SEEN * L * K];
    categories_logits(c, V, SEEN, cond, z);
    for (int r = 0; r < SEEN * L; r++)
        for (int k = 0; k < K; k++)
            cost[r * K + k] = pf_cat_cross_entropy(K, (pf_cat_row){.f = z + r * K}, k, 0.0,
                                                   (pf_cat_slope){NULL, NULL});
}

/* The state of datum x behind a mask. */
static int behind(const int32_t *x, unsigned mask)
{
    int s = 0;
    for (int j = L; j-- > 0;) s = s * V + (mask >> j & 1 ? K : x[j]);
    return s;
}

/* Of datum x, the costs behind all masks of m entries, summed. */
static void by_count(const double *cost, const int32_t *x, double *sum)
{
    memset(sum, 0, (L + 1) * sizeof *sum);
    for (unsigned mask = 1; mask < 1u << L; mask++)
        for (int j = 0; j < L; j++)
            if (mask >> j & 1)
                sum[__builtin_popcount(mask)] += cost[(behind(x, mask) * L + j) * K + x[j]];
}

/* Mean over the orders of the entries of the autoregressive code length, one entry after the other. */
static double mean_over_orders(const double *cost, const int32_t *x, unsigned left)
{
    double sum = 0.0;
    for (int j = 0; j < L; j++)
        if (left >> j & 1)
            sum += cost[(behind(x, left) * L + j) * K + x[j]] +
                   mean_over_orders(cost, x, left & ~(1u << j));
    return left ? sum / __builtin_popcount(left) : 0.0;
}

static double integral(const pf_masked *m, const double *sum)
{
    double x[NODES], w[NODES], total = L * (m->first + m->prior);
    gauss_legendre(NODES, x, w);
    for (int i = 0; i < NODES; i++) {
        const pf_masked_at a = pf_masked_at_time(m, m->t0 + (1.0 - m->t0) * x[i]);
        for (int n = 1; n <= L; n++)
            total +=
                w[i] * a.scale * a.weight * pow(a.hidden, n) * pow(a.alpha, L - n) * sum[n];
    }
    return total;
}

static double cost[SEEN * L * K];

static void the_bound_is_the_mean_over_orders_on_any_schedule(void **state)
{
    (void)state;
    static const char *const all[] = {"eps=0",
                                      "eps=0;schedule=cosine",
                                      "eps=0;schedule=poly",
                                      "eps=0;schedule=poly;power=3",
                                      "eps=0;schedule=loglinear;estimator=mdlm;t_min=0",
                                      NULL};
    categories c;
    categories_open("masked", "steps=4", &c);
    costs(&c, 0.0, cost);
    for (int k = 0; all[k]; k++) {
        pf_masked *m = open_masked(all[k]);
        for (int s = 0; s < STATES; s += 7) {
            int32_t x[L];
            double sum[L + 1];
            categories_state(s, K, x);
            by_count(cost, x, sum);
            assert_near(integral(m, sum), mean_over_orders(cost, x, (1u << L) - 1), 1e-12);
        }
        pf_method_masked.close(m);
    }
    categories_close(&c);
}

/* Terms of the chain, averaged over draws, are the integral with its ends. */
static void terms_add_up_to_the_integral(void **state)
{
    (void)state;
    static const char *const all[] = {"steps=4", "steps=3;estimator=mdlm;schedule=loglinear",
                                      "steps=5;bound=published;schedule=cosine", NULL};
    for (int k = 0; all[k]; k++) {
        categories c;
        double expected = 0.0;
        categories_open("masked", all[k], &c);
        costs(&c, 0.0, cost);
        for (int s = 0; s < STATES; s++) {
            int32_t x[L];
            double sum[L + 1];
            categories_state(s, K, x);
            by_count(cost, x, sum);
            expected += integral(c.net->self, sum);
        }
        categories_find(&c, 300, expected);
        categories_close(&c);
    }
}

/* ---- text of a Markov chain, whose conditional chances are known ---- */

enum { LETTERS = 27, LENGTH = 32, MASKS = 4000 };

typedef struct markov {
    double power[LENGTH + 1][LETTERS][LETTERS]; /* of the transitions */
    double even[LETTERS];
} markov;

static void markov_make(markov *m)
{
    const pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST, .sample = 77};
    for (int a = 0; a < LETTERS; a++) {
        double sum = 0.0;
        for (int b = 0; b < LETTERS; b++)
            sum += m->power[1][a][b] =
                pow(pf_draw_uniform_f64(&d, (size_t)(a * LETTERS + b)), 12.0) + 1e-3;
        for (int b = 0; b < LETTERS; b++) m->power[1][a][b] /= sum;
        m->even[a] = 1.0 / LETTERS; /* the first letter */
    }
    for (int n = 2; n <= LENGTH; n++)
        for (int a = 0; a < LETTERS; a++)
            for (int b = 0; b < LETTERS; b++) {
                m->power[n][a][b] = 0.0;
                for (int c = 0; c < LETTERS; c++)
                    m->power[n][a][b] += m->power[n - 1][a][c] * m->power[1][c][b];
            }
}

/* Chances of letter j, up to a factor, by the letters that are seen on either side, as logits. */
static void markov_logits(const markov *m, const int32_t *z, int j, double *logits)
{
    int left = j, right = j;
    while (left >= 0 && z[left] == LETTERS) left--;
    while (right < LENGTH && z[right] == LETTERS) right++;
    for (int k = 0; k < LETTERS; k++) {
        double p = 0.0;
        if (left >= 0) p = m->power[j - left][z[left]][k];
        else if (j == 0) p = m->even[k];
        else
            for (int a = 0; a < LETTERS; a++) p += m->even[a] * m->power[j][a][k];
        if (right < LENGTH) p *= m->power[right - j][k][z[right]];
        logits[k] = log(p);
    }
}

/* With the exact conditionals every order has the same code length, so the bound is -log p of each text. */
static void a_network_that_knows_the_language_scores_its_text(void **state)
{
    (void)state;
    static markov m;
    const pf_space space = {.kind = PF_TOKENS, .shape = {1, 1, LENGTH}, .levels = LETTERS};
    const pf_draw d = {.seed = 2, .stream = PF_STREAM_TEST, .sample = 5};
    pf_method method = categories_method("masked", "eps=0;schedule=cosine");
    int32_t x[LENGTH], z[LENGTH];
    double nats = log(LETTERS), sum = 0.0, squares = 0.0, logits[LETTERS], log_p[LETTERS],
           u[LETTERS];
    void *self;
    must(method.ops->open(&method.opt, &space, &self));
    markov_make(&m);
    for (int j = 0; j < LENGTH; j++) {
        for (int k = 0; k < LETTERS; k++) log_p[k] = j ? log(m.power[1][x[j - 1]][k]) : 0.0;
        pf_cat_uniform(&d, (size_t)(j * LETTERS), LETTERS, u);
        x[j] = pf_cat_draw(LETTERS, log_p, u);
        if (j) nats -= log_p[x[j]];
    }
    for (int n = 0; n < MASKS; n++) {
        const pf_draw masks = {.seed = 3, .stream = PF_STREAM_TEST, .sample = (uint64_t)n};
        const pf_masked_at a = pf_masked_when(self, (n + 0.5) / MASKS);
        double cost = 0.0;
        pf_masked_mask(self, &a, &masks, x, z);
        for (int j = 0; j < LENGTH; j++) {
            if (z[j] < LETTERS) continue;
            markov_logits(&m, z, j, logits);
            cost += pf_masked_entry(self, &a, x[j], (pf_cat_row){.d = logits}, 0.0,
                                    (pf_cat_slope){NULL, NULL});
        }
        sum += cost / MASKS;
        squares += cost * cost / MASKS;
    }
    assert_near(sum, nats, 4.0 * sqrt((squares - sum * sum) / MASKS));
    assert_near(sum, nats, 0.02 * nats); /* the estimate itself is not loose */
    method.ops->close(self);
}

/* ---- finite time, exactly ---- */

enum { T = 4 };

/* p [STATES] of the data; bound [STATES] in expectation over q. */
static void enumerate(const categories *c, double *p, double *bound)
{
    const pf_masked *m = c->net->self;
    double alpha = m->prior / log(K), now[SEEN], next[SEEN];
    for (int s = 0; s < SEEN; s++) {
        now[s] = 1.0;
        for (int j = 0; j < L; j++) now[s] *= symbol(s, j) == K ? 1.0 - alpha : alpha / K;
    }
    for (int s = 0; s < STATES; s++) {
        bound[s] = -L * (m->first + m->prior);
        p[s] = 0.0;
    }
    for (int i = T; i > 0; i--) {
        const pf_masked_at a = pf_masked_at_step(m, i);
        double shown = pf_masked_shown(m, a.t, a.s);
        memset(next, 0, sizeof next);
        costs(c, a.cond, cost);
        for (int s = 0; s < SEEN; s++)
            for (int r = 0; r < SEEN; r++) {
                double chance = now[s];
                for (int j = 0; j < L && chance > 0.0; j++) {
                    int from = symbol(s, j), to = symbol(r, j);
                    if (from < K) chance *= from == to;
                    else
                        chance *=
                            to == K ? 1.0 - shown : shown * exp(-cost[(s * L + j) * K + to]);
                }
                next[r] += chance;
            }
        for (int s = 0; s < STATES; s++) {
            int32_t x[L];
            double sum[L + 1];
            categories_state(s, K, x);
            by_count(cost, x, sum);
            for (int n = 1; n <= L; n++)
                bound[s] -= a.weight / T * pow(a.hidden, n) * pow(a.alpha, L - n) * sum[n];
        }
        memcpy(now, next, sizeof now);
    }
    for (int s = 0; s < STATES; s++) {
        int32_t x[L];
        categories_state(s, K, x);
        for (unsigned mask = 0; mask < 1u << L; mask++)
            p[s] += now[behind(x, mask)] * pow(K, -__builtin_popcount(mask));
    }
}

static void the_bound_is_below_the_exact_probability(void **state)
{
    (void)state;
    static const char *const all[] = {"steps=4;time=finite;eps=0.05",
                                      "steps=4;time=finite;eps=0.05;cond=time;schedule=cosine",
                                      "steps=4;time=finite;estimator=mdlm;sampler=ddpm", NULL};
    for (int k = 0; all[k]; k++) {
        categories c;
        double p[STATES], bound[STATES], total = 0.0, expected = 0.0;
        categories_open("masked", all[k], &c);
        enumerate(&c, p, bound);
        for (int s = 0; s < STATES; s++) {
            assert_true(bound[s] <= log(p[s]) + 1e-12);
            total += p[s];
            expected -= bound[s];
        }
        assert_near(total, 1.0, 1e-12);
        categories_find(&c, 300, expected);
        categories_samples_follow(&c, p);
        categories_close(&c);
    }
}

static void samplers_of_one_law_draw_by_it(void **state)
{
    (void)state;
    static const char *const all[] = {"mean", "analytic", "ddpm", NULL};
    for (int k = 0; all[k]; k++) {
        categories c;
        char settings[128];
        double p[STATES], bound[STATES];
        snprintf(settings, sizeof settings, "steps=4;time=finite;eps=0.05;sampler=%s", all[k]);
        categories_open("masked", settings, &c);
        enumerate(&c, p, bound);
        categories_samples_follow(&c, p);
        categories_close(&c);
    }
}

/* ---- calls ---- */

/* Sample 5 with a batch of its own. */
static void draw_alone(const categories *c, double *x)
{
    const pf_move how = {.kind = PF_MOVE_ANCESTRAL};
    const uint64_t sample[1] = {5};
    const pf_batch b = {
        .space = &triples, .B = 1, .total = 1, .sample = sample, .seed = 4, .eval = 1};
    must(c->chain.prior(c->chain.self, &b, x));
    for (int i = c->chain.steps; i > 0; i--)
        must(c->chain.step(c->chain.self, &b, &how, i, x, NULL));
}

static void the_network_is_called_when_something_changed(void **state)
{
    (void)state;
    categories c;
    double once[L], again[L], told[L];
    categories_open("masked", "steps=200;bound=published", &c);
    draw_alone(&c, once);
    assert_true(*c.chain.calls >= 1 && *c.chain.calls <= L + 1);
    int64_t calls = *c.chain.calls;
    draw_alone(&c, again);
    assert_memory_equal(once, again, sizeof once);
    assert_true(*c.chain.calls == 2 * calls);
    categories_close(&c);
    /* one that is told the time is called at every step until no mask is left */
    categories_open("masked", "steps=200;bound=published;cond=time", &c);
    draw_alone(&c, told);
    assert_true(*c.chain.calls > L + 1 && *c.chain.calls <= 201);
    categories_close(&c);
}

static void known_entries_stay(void **state)
{
    (void)state;
    categories_known("masked", "steps=5");
    categories_known("masked", "steps=5;bound=published;sampler=ddpm;estimator=mdlm");
}

static void padding_costs_and_teaches_nothing(void **state)
{
    (void)state;
    categories_padding("masked", "steps=5");
    categories_padding("masked", "mask_logit=yes;estimator=mdlm;predicts=sedd");
}

static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    categories_slopes("masked", "", K, 1);
    categories_slopes("masked", "mask_logit=yes;time=finite;steps=3", K + 1, 1);
    categories_slopes(
        "masked", "mask_logit=yes;time=finite;steps=3;estimator=mdlm;predicts=d3pm", K + 1, 2);
    categories_slopes(
        "masked", "mask_logit=yes;estimator=mdlm;predicts=sedd;schedule=loglinear", K + 1, 1);
    categories_slopes("masked", "estimator=mdlm;schedule=loglinear;times=importance", K, 1);
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"predicts=sedd", "belongs to method.estimator=mdlm"},
        {"predicts=d3pm;estimator=mdlm", "set method.time=finite and method.mask_logit=yes"},
        {"predicts=sedd;estimator=mdlm;time=finite", "is of continuous time"},
        {"times=importance", "method.times=importance is of estimator mdlm"},
        {"schedule=mdlm_linear;sigma_min=8", "want 0 < sigma_min < sigma_max"}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        pf_method m = categories_method("masked", bad[k][0]);
        void *self = NULL;
        assert_int_equal(m.ops->open(&m.opt, &triples, &self), PF_EARG);
        if (!strstr(pf_error_message(), bad[k][1])) fail_msg("%s", pf_error_message());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_slopes_of_their_schedules),
        cmocka_unit_test(an_even_network_scores_log_k_an_entry),
        cmocka_unit_test(the_bound_is_the_mean_over_orders_on_any_schedule),
        cmocka_unit_test(terms_add_up_to_the_integral),
        cmocka_unit_test(a_network_that_knows_the_language_scores_its_text),
        cmocka_unit_test(the_bound_is_below_the_exact_probability),
        cmocka_unit_test(samplers_of_one_law_draw_by_it),
        cmocka_unit_test(the_network_is_called_when_something_changed),
        cmocka_unit_test(known_entries_stay),
        cmocka_unit_test(padding_costs_and_teaches_nothing),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
