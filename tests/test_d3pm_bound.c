/* Laws of D3PM: its bound against the exact probability, steps, heads, gradients, known entries. */
#include "method/d3pm.h"

#include "categories.h"

static void normalised(int V, const double *log_p, double *out)
{
    pf_cat_log_softmax(V, (pf_cat_row){.d = log_p}, out);
}

enum { V_MOST = K + 1, SEEN_MOST = V_MOST * V_MOST * V_MOST * V_MOST };

/* What the network returns of all states that can be seen at index i, z [SEEN,its output]. */
static void returned(const categories *c, int i, int states, float *z)
{
    const pf_d3pm *m = c->net->self;
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
        categories_state(s, m->V, x);
        pf_d3pm_show(m, (size_t)s, x, i, in);
    }
    must(pf_plan_create(c->net->graph, &o, &plan));
    must(pf_plan_set_params(plan, c->net->params));
    must(pf_plan_forward(plan, &run, z));
    pf_plan_free(plan);
    pf_inputs_free(&inputs);
}

/* Chances of what follows state s, and what data cost there: log_p [L,V], cost [L,K]. */
static void from_state(const pf_d3pm *m, int i, const int32_t *xt, const float *z,
                       double *log_p, double *cost)
{
    double held[256];
    for (size_t j = 0; j < L; j++) {
        double *to = log_p + j * (size_t)m->V;
        pf_d3pm_reverse(&m->model, i, xt[j], pf_d3pm_read(m, z, j, xt[j], held), to);
        normalised(m->V, to, to);
        for (int32_t k = 0; k < K; k++) {
            const int32_t pair[2] = {xt[j], k};
            cost[j * K + (size_t)k] = pf_d3pm_entry(m, i, j, pair, z, 0.0, NULL).term;
        }
    }
}

/* The chance that the datum r is seen as xt. */
static double noised(const pf_d3pm *m, int i, int r, const int32_t *xt)
{
    double q = 1.0;
    int32_t x[L];
    categories_state(r, K, x);
    for (int j = 0; j < L; j++) {
        double one;
        pf_d3pm_row(&m->kernel, i, x[j], (pf_d3pm_part){xt[j], 1}, &one);
        q *= one;
    }
    return q;
}

/* p [STATES] of the data, exactly; bound [STATES] in expectation over q. */
static void enumerate(const categories *c, double *p, double *bound)
{
    static double now[SEEN_MOST], next[SEEN_MOST];
    static float z[SEEN_MOST * L * V_MOST];
    const pf_d3pm *m = c->net->self;
    int V = m->V, S = V * V * V * V, all_masked = 0;
    size_t out = m->opt.head == PF_D3PM_LOGISTIC ? 2 * L : L * (size_t)m->model.columns;
    for (int j = 0; j < L; j++)
        all_masked = all_masked * V + (m->kernel.is.mask < 0 ? 0 : m->kernel.is.mask);
    for (int s = 0; s < S; s++) now[s] = m->kernel.is.mask < 0 ? 1.0 / S : s == all_masked;
    for (int r = 0; r < STATES; r++) {
        int32_t x[L];
        categories_state(r, K, x);
        bound[r] = 0.0;
        for (int j = 0; j < L; j++) bound[r] -= m->prior[x[j]];
    }
    for (int i = m->T; i-- > 0;) {
        memset(next, 0, sizeof next);
        returned(c, i, S, z);
        for (int s = 0; s < S; s++) {
            double log_p[L * V_MOST], cost[L * K];
            int32_t xt[L], x[L];
            categories_state(s, V, xt);
            from_state(m, i, xt, z + (size_t)s * out, log_p, cost);
            for (int r = 0; r < S; r++) {
                double chance = 0.0;
                categories_state(r, V, x);
                for (int j = 0; j < L; j++) chance += log_p[j * V + x[j]];
                if (now[s] > 0.0) next[r] += now[s] * exp(chance); /* else it has no next */
            }
            for (int r = 0; r < STATES; r++) {
                double q = noised(m, i, r, xt), nats = 0.0;
                categories_state(r, K, x);
                for (int j = 0; j < L; j++) nats += cost[j * K + x[j]];
                if (q > 0.0) bound[r] -= q * nats;
            }
        }
        memcpy(now, next, sizeof next);
    }
    for (int r = 0; r < STATES; r++) { /* a datum among the states that can be seen */
        int32_t x[L];
        int s = 0;
        categories_state(r, K, x);
        for (int j = L; j-- > 0;) s = s * V + x[j];
        p[r] = now[s];
    }
}

static const char *const models[] = {
    "steps=4",
    "steps=4;floor=0;first=posterior",
    "steps=4;mask=own",
    "steps=4;mask=own;first=posterior;mask_logit=yes;residual=no",
    "steps=4;mask=own;mask_logit=yes",
    "steps=4;kernel=uniform",
    "steps=4;predicts=before;residual=no",
    "steps=4;mask=own;mask_logit=yes;predicts=before;residual=no",
    "steps=4;kernel=gaussian;beta_end=0.9;head=logistic;predicts=before",
    "steps=4;kernel=uniform;schedule=linear;bands=1;first=posterior;floor=1e-3",
    "steps=4;kernel=gaussian;beta_end=0.9;head=logistic",
    "steps=4;kernel=gaussian;beta_start=0.5;beta_end=1;first=posterior;floor=0",
};
enum { MODELS = sizeof models / sizeof *models };

static void the_bound_is_below_the_exact_probability(void **state)
{
    (void)state;
    for (int w = 0; w < MODELS; w++) {
        categories c;
        double p[STATES], bound[STATES], total = 0.0, expected = 0.0;
        categories_open("d3pm", models[w], &c);
        enumerate(&c, p, bound);
        for (int s = 0; s < STATES; s++) {
            assert_true(bound[s] <= log(p[s]) + 1e-12);
            total += p[s];
            expected -= bound[s];
        }
        assert_near(total, 1.0, 1e-12); /* no mask is left at the end */
        categories_find(&c, 200, expected);
        categories_close(&c);
    }
}

static void samples_follow_the_exact_probabilities(void **state)
{
    (void)state;
    for (int w = 0; w < MODELS; w += 2) {
        categories c;
        double p[STATES], bound[STATES];
        categories_open("d3pm", models[w], &c);
        enumerate(&c, p, bound);
        categories_samples_follow(&c, p);
        categories_close(&c);
    }
}

/* Where nothing is known, each step back is the step forth, and the datum is as even as the prior. */
static void an_even_network_scores_log_k_an_entry(void **state)
{
    (void)state;
    static const char *const even[] = {
        "steps=5;kernel=uniform;floor=0;first=posterior;residual=no",
        "steps=5;kernel=uniform;schedule=linear;bands=1;floor=0;first=posterior;residual=no",
        "steps=5;kernel=gaussian;beta_end=0.5;floor=0;first=posterior;residual=no",
        "steps=5;mask=own;floor=0;first=posterior;residual=no"};
    for (size_t w = 0; w < sizeof even / sizeof *even; w++) {
        categories c;
        double p[STATES], bound[STATES];
        categories_open("d3pm", even[w], &c);
        memset(c.params, 0, c.net->floats * sizeof *c.params);
        must(pf_net_set_params(c.net, c.params));
        categories_reopen(&c);
        enumerate(&c, p, bound);
        for (int s = 0; s < STATES; s++) {
            assert_near(log(p[s]), -L * log(K), 1e-12);
            assert_near(bound[s], -L * log(K), 1e-12);
        }
        categories_close(&c);
    }
}

/* ---- heads ---- */

/* The bins of the distribution telescope, far in the tails too. */
static void a_logistic_head_cuts_one_distribution_into_levels(void **state)
{
    (void)state;
    enum { WIDE = 256 };
    const double pairs[][2] = {{0.0, 0.0}, {1.5, -2.0}, {-0.4, 3.0}, {6.0, -3.0}};
    for (size_t e = 0; e < 4; e++) {
        double z[WIDE], floored[WIDE], sum = 0.0, w = 2.0 / (WIDE - 1),
                                       s = exp(pairs[e][1] - 2.0);
        double mean = tanh(pairs[e][0] + 0.3);
        pf_d3pm_logistic(WIDE, 0.0, 0.3, pairs[e], z);
        pf_d3pm_logistic(WIDE, 1e-6, 0.3, pairs[e], floored);
        for (int k = 0; k < WIDE; k++) {
            double up = 1.0 / (1.0 + exp(-((k + 0.5) * w - 1.0 - mean) / s));
            double low = 1.0 / (1.0 + exp(-((k - 0.5) * w - 1.0 - mean) / s));
            sum += exp(z[k]);
            assert_near(exp(z[k]), up - low, 1e-14);
            /* as published, a floor in the second logarithm */
            assert_near(floored[k], log(up) + log(1.0 - low / up + 1e-6), 1e-9);
        }
        double ends = 1.0 / (1.0 + exp(-(1.0 + w / 2 - mean) / s)) -
                      1.0 / (1.0 + exp((1.0 + w / 2 + mean) / s));
        assert_near(sum, ends, 1e-13);
    }
}

/* However far a network goes astray, costs and gradients are numbers. */
static void a_logistic_head_is_finite_at_any_scale(void **state)
{
    (void)state;
    enum { WIDE = 256 };
    const double ends[] = {-1e30, -300.0, -5.0, 300.0, 1e30};
    for (size_t e = 0; e < 25; e++) {
        const double hl[2] = {ends[e / 5], ends[e % 5]};
        for (int f = 0; f < 2; f++) {
            double z[WIDE], g[WIDE], ghl[2], floor = f ? 1e-6 : 0.0;
            pf_d3pm_logistic(WIDE, floor, 0.1, hl, z);
            double nats = pf_cat_cross_entropy(WIDE, (pf_cat_row){.d = z}, 200, 1.0,
                                               (pf_cat_slope){.d = g});
            pf_d3pm_logistic_back(WIDE, floor, 0.1, hl, g, ghl);
            assert_true(isfinite(nats) && nats >= 0.0 && isfinite(ghl[0]) && isfinite(ghl[1]));
        }
    }
}

static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    for (int w = 0; w < MODELS; w++) {
        char settings[128];
        int columns = strstr(models[w], "logistic")     ? 2
                      : strstr(models[w], "mask_logit") ? K + 1
                                                        : K;
        for (int e = 0; e < 3; e++) {
            snprintf(settings, sizeof settings, "%s%s", models[w],
                     e == 0   ? ""
                     : e == 1 ? ";hybrid=0.5;loss=bound"
                              : ";hybrid=0.5;steps=2");
            categories_slopes("d3pm", settings, columns, 1);
        }
    }
}

static void known_entries_stay(void **state)
{
    (void)state;
    for (int w = 0; w < MODELS; w++) categories_known("d3pm", models[w]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_is_below_the_exact_probability),
        cmocka_unit_test(samples_follow_the_exact_probabilities),
        cmocka_unit_test(an_even_network_scores_log_k_an_entry),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(a_logistic_head_cuts_one_distribution_into_levels),
        cmocka_unit_test(a_logistic_head_is_finite_at_any_scale),
        cmocka_unit_test(known_entries_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
