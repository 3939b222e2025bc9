/* For tests of methods of categories: rows of four entries of three categories, all of whose states are counted. */
#ifndef PROBFLOW_TESTS_CATEGORIES_H
#define PROBFLOW_TESTS_CATEGORIES_H

#include "nets.h"

#include <math.h>
#include <string.h>

enum { L = 4, K = 3, STATES = 81 };
static const pf_space triples = {.kind = PF_LEVELS, .shape = {1, 1, L}, .levels = K};

typedef struct categories {
    pf_net *net;
    float *params;
    pf_chain chain;
} categories;

/* Settings "key=value;key=value" of a method. */
static inline pf_method categories_method(const char *name, const char *settings)
{
    pf_method m;
    char text[512], *save = NULL;
    must(pf_method_init(name, &m));
    snprintf(text, sizeof text, "%s", settings);
    for (char *s = strtok_r(text, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
        char *value = strchr(s, '=');
        *value++ = 0;
        must(pf_opt_set(m.ops->opts, "method", s, value, &m.opt));
    }
    return m;
}

static inline void categories_reopen(categories *c)
{
    const pf_view_opt view = {.batch = STATES};
    pf_chain_free(&c->chain);
    must(pf_net_chain(c->net, &view, &c->chain));
    assert_true(c->chain.dim == L && c->chain.state == L);
}

static inline void categories_open(const char *name, const char *settings, categories *c)
{
    pf_model mlp = model("mlp", "width=8;depth=1;embed=8");
    pf_method m = categories_method(name, settings);
    *c = (categories){0};
    must(pf_net_create(&mlp, &m, &triples, &c->net));
    c->params = random_params(c->net);
    for (size_t j = 0; j < c->net->floats; j++) c->params[j] *= 3.0f;
    must(pf_net_set_params(c->net, c->params));
    categories_reopen(c);
}

static inline void categories_close(categories *c)
{
    pf_chain_free(&c->chain);
    pf_net_free(c->net);
    pf_free(c->params);
}

/* State s of V symbols an entry. */
static inline void categories_state(int s, int V, int32_t *x)
{
    for (int j = 0; j < L; j++, s /= V) x[j] = s % V;
}

/* What the network returns, z [states, its output], of all states of V symbols, told `cond`. */
static inline void categories_logits(const categories *c, int V, int states, double cond,
                                     float *z)
{
    const pf_cat cat = {.space = triples, .K = K, .D = L};
    const pf_plan_opt o = {.batch = states};
    pf_inputs inputs;
    pf_run run = {0};
    pf_plan *plan;
    void *in[PF_PORTS_MAX];
    must(pf_inputs_create(c->net, states, &inputs));
    pf_inputs_run(&inputs, &run);
    pf_net_ports(c->net, &inputs, in);
    for (int s = 0; s < states; s++) {
        int32_t x[L];
        categories_state(s, V, x);
        pf_cat_show(&cat, V, (size_t)s, x, cond, in);
    }
    must(pf_plan_create(c->net->graph, &o, &plan));
    must(pf_plan_set_params(plan, c->net->params));
    must(pf_plan_forward(plan, &run, z));
    pf_plan_free(plan);
    pf_inputs_free(&inputs);
}

/* All terms of all data, added up, with the noise of one draw. */
static inline double categories_bound(const categories *c, int draw)
{
    uint8_t data[STATES * L];
    uint64_t sample[STATES];
    double nats[STATES], sum = 0.0;
    int at[STATES];
    for (int s = 0; s < STATES; s++) {
        int32_t x[L];
        categories_state(s, K, x);
        for (int j = 0; j < L; j++) data[s * L + j] = (uint8_t)x[j];
        sample[s] = (uint64_t)s;
    }
    for (int i = 0; i <= c->chain.steps; i++) {
        const pf_batch b = {.space = &triples,
                            .B = STATES,
                            .total = STATES,
                            .k = data,
                            .sample = sample,
                            .seed = 2,
                            .step = (uint32_t)draw,
                            .eval = 1};
        for (int s = 0; s < STATES; s++) at[s] = i;
        must(c->chain.term(c->chain.self, &b, at, nats));
        for (int s = 0; s < STATES; s++) sum += nats[s];
    }
    return sum;
}

/* Their mean over draws is the expected one within 4 of its standard errors, as the draws show them, which are below
 * one percent of it: the check is not loose. */
static inline void categories_find(const categories *c, int draws, double expected)
{
    double sum = 0.0, squares = 0.0;
    for (int d = 0; d < draws; d++) {
        double v = categories_bound(c, d);
        sum += v / draws;
        squares += v * v / draws;
    }
    double error = sqrt((squares - sum * sum) / (draws - 1));
    assert_true(error < 0.01 * expected);
    assert_near(sum, expected, 4.0 * error);
}

/* Samples have the chances p [STATES]. */
static inline void categories_samples_follow(const categories *c, const double *p)
{
    enum { N = 250 * STATES };
    static double count[STATES];
    double x[STATES * L], out[STATES * L], chi = 0.0;
    const pf_move how = {.kind = PF_MOVE_ANCESTRAL};
    memset(count, 0, sizeof count);
    for (int n = 0; n < N; n += STATES) {
        uint64_t sample[STATES];
        for (int s = 0; s < STATES; s++) sample[s] = (uint64_t)(n + s);
        const pf_batch b = {.space = &triples,
                            .B = STATES,
                            .total = STATES,
                            .sample = sample,
                            .seed = 4,
                            .eval = 1};
        must(c->chain.prior(c->chain.self, &b, x));
        for (int i = c->chain.steps; i > 0; i--)
            must(c->chain.step(c->chain.self, &b, &how, i, x, NULL));
        must(c->chain.datum(c->chain.self, STATES, x, out));
        for (int s = 0; s < STATES; s++) {
            int number = 0;
            for (int j = L; j-- > 0;) {
                double k = (out[s * L + j] + 1.0) / 2.0 * (K - 1);
                assert_true(k == floor(k) && k >= 0.0 && k < K);
                number = number * K + (int)k;
            }
            count[number]++;
        }
    }
    for (int s = 0; s < STATES; s++) chi += pow(count[s] - N * p[s], 2) / (N * p[s]);
    if (!(chi < 133.0)) fail_msg("chi^2 %g", chi); /* 80 degrees of freedom: once in 10,000 */
}

/* Known entries are what samples have there. */
static inline void categories_known(const char *name, const char *settings)
{
    categories c;
    const double known[2 * L] = {1, -1, 0, 1, -1, -1, 1, 0};
    const unsigned char mask[L] = {1, 0, 1, 1};
    const uint64_t sample[2] = {1, 2};
    const pf_batch b = {
        .space = &triples, .B = 2, .total = 2, .sample = sample, .seed = 4, .eval = 1};
    pf_move how = {.kind = PF_MOVE_ANCESTRAL, .known = known, .mask = mask};
    double x[2 * L], x0[2 * L], out[2 * L];
    categories_open(name, settings, &c);
    must(c.chain.prior(c.chain.self, &b, x));
    for (int i = c.chain.steps; i > 0; i--)
        must(c.chain.step(c.chain.self, &b, &how, i, x, x0));
    assert_memory_equal(x, x0, sizeof x);
    must(c.chain.datum(c.chain.self, 2, x, out));
    for (int j = 0; j < 2 * L; j++) assert_true(!mask[j % L] || out[j] == known[j]);
    how.known_std = 0.5;
    assert_int_equal(c.chain.step(c.chain.self, &b, &how, 1, x, NULL), PF_EARG);
    categories_close(&c);
}

enum { SLOPES = 1024 };

/* Gradients of a loss whose network returns `columns` logits an entry of `rows` rows a sample, by differences. */
static inline void categories_slopes(const char *name, const char *settings, int columns,
                                     int rows)
{
    enum { B = 5 };
    pf_method m = categories_method(name, settings);
    void *self, *in[PF_PORTS_MAX] = {0};
    size_t all = (size_t)(B * L * columns * rows), row = (size_t)(L * columns);
    float x[B * L], z[SLOPES], gout[SLOPES];
    uint64_t sample[B] = {3, 4, 5, 6, 7};
    double loss[B], side[2], h = 1.0 / 256;
    assert_true(all <= SLOPES);
    must(m.ops->open(&m.opt, &triples, &self));
    for (int j = 0; j < B * L; j++) x[j] = (float)(j * 7 % 3 - 1);
    for (size_t j = 0; j < all; j++) z[j] = (float)((int)(j * 5 % 9) - 4) / 2.0f;
    char *scratch = pf_zalloc(B * m.ops->scratch(self));
    const pf_batch b = {
        .space = &triples, .B = B, .total = B, .x = x, .sample = sample, .seed = 1};
    m.ops->see(self, &b, scratch, in);
    m.ops->loss(self, &b, scratch, z, 3.0, loss, gout);
    for (size_t j = 0; j < all; j++) {
        float kept = z[j];
        for (int e = 0; e < 2; e++) {
            z[j] = kept + (float)(e ? h : -h);
            m.ops->loss(self, &b, scratch, z, 3.0, loss, NULL);
            side[e] = loss[j / row % B];
        }
        z[j] = kept;
        double want = 3.0 * (side[1] - side[0]) / (2.0 * h);
        assert_near((double)gout[j], want, 2e-4 * fabs(want) + 2e-5);
    }
    pf_free(scratch);
    m.ops->close(self);
}

/* Tokens of a row that is shorter than the others: shown as none, and neither loss nor gradient knows of them. */
static inline void categories_padding(const char *name, const char *settings)
{
    enum { WIDE = 6, BOTH = 2 };
    const pf_space space[BOTH] = {{.kind = PF_TOKENS, .shape = {1, 1, L}, .levels = K},
                                  {.kind = PF_TOKENS, .shape = {1, 1, WIDE}, .levels = K}};
    const float x[WIDE] = {2, 0, 1, 2, -1, -1};
    const uint64_t sample[1] = {9};
    double loss[BOTH];
    for (int w = 0; w < BOTH; w++) {
        size_t n = w ? WIDE : L;
        pf_method m = categories_method(name, settings);
        pf_ports o;
        void *self, *in[PF_PORTS_MAX] = {0};
        must(m.ops->open(&m.opt, &space[w], &self));
        m.ops->ports(self, &o);
        size_t V = (size_t)o.port[1].shape.c, columns = (size_t)o.out.c;
        assert_true(o.port[0].integer && o.port[0].classes == (int)V);
        assert_true(o.port[0].shape.w == (int)n && o.out.w == (int)n);
        int32_t tokens[WIDE];
        float hot[WIDE * 8], z[WIDE * 8], gout[WIDE * 8];
        assert_true(V <= 8 && columns <= 8);
        in[0] = tokens;
        in[1] = hot;
        for (size_t j = 0; j < n * columns; j++) z[j] = (float)((int)(j * 5 % 7) - 3) / 2.0f;
        char *scratch = pf_zalloc(m.ops->scratch(self));
        const pf_batch b = {
            .space = &space[w], .B = 1, .total = 1, .x = x, .sample = sample, .seed = 1};
        m.ops->see(self, &b, scratch, in);
        for (size_t j = 0; j < n; j++) {
            float sum = 0.0f;
            for (size_t k = 0; k < V; k++) sum += hot[j * V + k];
            assert_true((tokens[j] < 0) == (j >= L) && sum == (j < L ? 1.0f : 0.0f));
        }
        m.ops->loss(self, &b, scratch, z, 1.0, &loss[w], gout);
        for (size_t j = L * columns; j < n * columns; j++) assert_true(gout[j] == 0.0f);
        pf_free(scratch);
        m.ops->close(self);
    }
    assert_true(loss[0] == loss[1] && loss[0] > 0.0);
}

#endif
