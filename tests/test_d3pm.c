/* Laws of D3PM: kernels, terms, two other diffusions that are cases of it, what is shown and refused. */
#include "method/d3pm.h"
#include "method/masked.h"
#include "method/multinomial.h"

#include "categories.h"

#include <stdlib.h>

static const pf_cat_slope none = {NULL, NULL};

/* ---- kernels ---- */

typedef struct kernel_case {
    pf_d3pm_matrices is;
    pf_d3pm_schedule schedule;
} kernel_case;

static const kernel_case cases[] = {
    {{PF_D3PM_UNIFORM, 9, 5, -1, 0, 0.0}, PF_D3PM_COSINE},
    {{PF_D3PM_UNIFORM, 9, 6, -1, 2, 0.0}, PF_D3PM_LINEAR},
    {{PF_D3PM_ABSORBING, 9, 6, 3, 0, 0.0}, PF_D3PM_JSD},
    {{PF_D3PM_ABSORBING, 9, 6, 5, 0, 0.0}, PF_D3PM_LINEAR},
    {{PF_D3PM_GAUSSIAN, 9, 7, -1, 0, 2.0 / 6.0}, PF_D3PM_LINEAR},
    {{PF_D3PM_GAUSSIAN, 9, 6, -1, 3, 2.0 / 5.0}, PF_D3PM_JSD},
};
enum { CASES = sizeof cases / sizeof *cases, MOST = 8 };

static void open_case(int n, pf_d3pm_kernel *k)
{
    const double ends[2] = {0.02, 0.4};
    double beta[9];
    pf_d3pm_betas(cases[n].schedule, 9, ends, beta);
    must(pf_d3pm_kernel_open(&cases[n].is, beta, k));
}

/* Q_i[from,to] */
static double step_of(const pf_d3pm_kernel *k, int i, int from, int to)
{
    double q;
    pf_d3pm_column(k, i, to, (pf_d3pm_part){from, 1}, &q);
    return q;
}

static void schedules_are_their_formulas(void **state)
{
    (void)state;
    enum { T = 12 };
    const double ends[2] = {0.01, 0.3};
    double beta[T], kept = 1.0;
    pf_d3pm_betas(PF_D3PM_JSD, T, ends, beta);
    for (int i = 0; i < T; i++) {
        kept *= 1.0 - beta[i];
        assert_near(1.0 - kept, (i + 1.0) / T, 1e-15); /* the share that is masked */
    }
    assert_true(beta[T - 1] == 1.0);
    pf_d3pm_betas(PF_D3PM_COSINE, T, ends, beta);
    for (int i = 0; i < T; i++) kept = (i ? kept : 1.0) * (1.0 - beta[i]);
    assert_true(beta[T - 1] == 0.999); /* the last cosine is 0 */
    /* those before telescope */
    assert_near(kept / 0.001,
                cos((1.0 - 1.0 / T + 0.008) / 1.008 * M_PI / 2) / cos(0.008 / 1.008 * M_PI / 2),
                1e-13);
    pf_d3pm_betas(PF_D3PM_LINEAR, T, ends, beta);
    assert_true(beta[0] == 0.01 && beta[T - 1] == 0.3);
    for (int i = 1; i + 1 < T; i++)
        assert_near(beta[i + 1] + beta[i - 1], 2.0 * beta[i], 1e-16);
}

static void rows_sum_to_one_and_steps_compose(void **state)
{
    (void)state;
    for (int n = 0; n < CASES; n++) {
        pf_d3pm_kernel k;
        open_case(n, &k);
        int V = k.is.V;
        for (int x = 0; x < V; x++) {
            double p[MOST] = {0}, next[MOST], row[MOST];
            p[x] = 1.0;
            for (int i = 0; i < k.is.T; i++) {
                double out = 0.0, in = 0.0;
                memset(next, 0, sizeof next);
                for (int a = 0; a < V; a++) {
                    out += step_of(&k, i, x, a);
                    in += step_of(&k, i, a, x);
                    assert_true(step_of(&k, i, x, a) >= 0.0);
                    for (int b = 0; b < V; b++) next[b] += p[a] * step_of(&k, i, a, b);
                }
                assert_near(out, 1.0, 1e-15);
                if (k.is.kind != PF_D3PM_ABSORBING)
                    assert_near(in, 1.0, 1e-15); /* doubly stochastic */
                memcpy(p, next, sizeof p);
                pf_d3pm_row(&k, i, x, (pf_d3pm_part){0, V}, row);
                for (int b = 0; b < V; b++) assert_near(row[b], p[b], 1e-14);
            }
        }
        pf_d3pm_kernel_close(&k);
    }
}

/* As many steps as are published, of levels enough for a table: nothing is lost, and all ends even. */
static void long_products_lose_nothing(void **state)
{
    (void)state;
    enum { T = 1000, WIDE = 48 };
    const double ends[2] = {1e-4, 0.02};
    const pf_d3pm_matrices is = {PF_D3PM_GAUSSIAN, T, WIDE, -1, 0, 2.0 / (WIDE - 1)};
    double beta[T], row[WIDE], tail = 0.0;
    pf_d3pm_kernel k;
    pf_d3pm_betas(PF_D3PM_LINEAR, T, ends, beta);
    must(pf_d3pm_kernel_open(&is, beta, &k));
    for (int i = 0; i < T; i++)
        for (int x = 0; x < WIDE; x += 7) {
            double sum = 0.0;
            pf_d3pm_row(&k, i, x, (pf_d3pm_part){0, WIDE}, row);
            for (int j = 0; j < WIDE; j++) {
                assert_true(row[j] >= 0.0);
                sum += row[j];
            }
            assert_near(sum, 1.0, 1e-12); /* a rounding of 1e-16 a step, of a few */
            if (i == T - 1)
                for (int j = 0; j < WIDE; j++) tail = fmax(tail, fabs(row[j] * WIDE - 1.0));
        }
    assert_true(tail > 0.0 && tail < 0.01);
    pf_d3pm_kernel_close(&k);
}

/* Chances of the paper, by a softmax of its own; nothing beyond the bands. */
static void near_levels_are_likelier_by_the_law_of_the_paper(void **state)
{
    (void)state;
    const double ends[2] = {0.02, 0.4};
    double beta[9];
    pf_d3pm_betas(PF_D3PM_LINEAR, 9, ends, beta);
    for (int bands = 2; bands <= 6; bands += 4) {
        pf_d3pm_matrices is = {PF_D3PM_GAUSSIAN, 9, 7, -1, bands, 2.0 / 6.0};
        pf_d3pm_kernel k;
        must(pf_d3pm_kernel_open(&is, beta, &k));
        for (int i = 0; i < 9; i++) {
            double sum = 0.0;
            for (int d = -bands; d <= bands; d++) sum += exp(-4.0 * d * d / (36.0 * beta[i]));
            for (int a = 0; a < 7; a++)
                for (int b = 0; b < 7; b++) {
                    int d = abs(a - b);
                    double want = d > bands ? 0.0 : exp(-4.0 * d * d / (36.0 * beta[i])) / sum;
                    if (d) assert_near(step_of(&k, i, a, b), want, 1e-15);
                }
        }
        pf_d3pm_kernel_close(&k);
    }
    /* as published of 256 levels, both units are one */
    pf_method m = categories_method("d3pm", "kernel=gaussian;steps=2");
    const pf_space levels = {.kind = PF_LEVELS, .shape = {1, 1, 1}, .levels = 256};
    void *self[2];
    must(m.ops->open(&m.opt, &levels, &self[0]));
    m = categories_method("d3pm", "kernel=gaussian;steps=2;distance=published");
    must(m.ops->open(&m.opt, &levels, &self[1]));
    assert_near(((pf_d3pm *)self[0])->kernel.is.unit, ((pf_d3pm *)self[1])->kernel.is.unit,
                1e-17);
    for (int e = 0; e < 2; e++) m.ops->close(self[e]);
}

static void noise_has_the_chances_of_its_row(void **state)
{
    (void)state;
    enum { N = 20000 };
    for (int n = 0; n < CASES; n++) {
        pf_d3pm_kernel k;
        open_case(n, &k);
        for (int x = 0; x < k.is.V; x++) {
            double row[MOST];
            int count[MOST] = {0};
            for (int e = 0; e < N; e++) count[pf_d3pm_noised(&k, 4, x, (e + 0.5) / N)]++;
            pf_d3pm_row(&k, 4, x, (pf_d3pm_part){0, k.is.V}, row);
            /* a part of [0,1) holds as many points of the grid as its length says, within one for each of its ends; a
             * closed form has two parts of a symbol */
            for (int b = 0; b < k.is.V; b++) assert_near((double)count[b] / N, row[b], 4.0 / N);
        }
        pf_d3pm_kernel_close(&k);
    }
}

static void slopes_go_back_by_the_transposed_matrix(void **state)
{
    (void)state;
    for (int n = 0; n < CASES; n++) {
        pf_d3pm_kernel k;
        double raw[3 * MOST], p[2][MOST], w[2][MOST], t[MOST];
        open_case(n, &k);
        int V = k.is.V;
        const pf_d3pm_part all = {0, V};
        normals(7, 3 * MOST, raw);
        for (int e = 0; e < 2; e++) {
            pf_cat_log_softmax(V, (pf_cat_row){.d = raw + e * MOST}, p[e]);
            for (int j = 0; j < V; j++) p[e][j] = exp(p[e][j]);
        }
        for (int i = -1; i < k.is.T; i++) {
            double left = 0.0, right = 0.0;
            for (int e = 0; e < 2; e++) pf_d3pm_mix(&k, i, p[e], 0.0, all, w[e]);
            pf_d3pm_back(&k, i, p[0], 0.0, raw + 2 * MOST, all, t);
            for (int j = 0; j < V; j++) {
                double row[MOST], sum = 0.0;
                left += raw[2 * MOST + j] * (w[1][j] - w[0][j]);
                right += t[j] * (p[1][j] - p[0][j]);
                for (int a = 0; a < V; a++) {
                    pf_d3pm_row(&k, i, a, all, row);
                    sum += p[0][a] * row[j];
                }
                assert_near(w[0][j], sum, 1e-15);
            }
            assert_near(left, right, 1e-14);
        }
        pf_d3pm_kernel_close(&k);
    }
}

/* ---- terms ---- */

static void normalised(int V, const double *log_p, double *out)
{
    pf_cat_log_softmax(V, (pf_cat_row){.d = log_p}, out);
}

static void terms_are_the_divergence_of_both_steps(void **state)
{
    (void)state;
    for (int n = 0; n < CASES; n++) {
        pf_d3pm_kernel k;
        open_case(n, &k);
        int V = k.is.V;
        pf_d3pm_model m = {
            .kernel = &k, .K = V, .columns = V, .floor = 1e-6, .floor_q = n % 2 ? 1e-6 : 0.0};
        double z[MOST], q[MOST], p[MOST];
        normals(1, MOST, z);
        for (int w = 0; w < 2 * (k.is.T - 1); w++)
            for (int32_t e = 0; e < V * V; e++) {
                const int32_t pair[2] = {e % V, e / V};
                int i = 1 + w / 2;
                double seen;
                m.before = w % 2;
                pf_d3pm_row(&k, i, pair[1], (pf_d3pm_part){pair[0], 1}, &seen);
                if (seen == 0.0) continue; /* never seen, so there is no posterior */
                pf_d3pm_posterior(&m, i, pair, q);
                pf_d3pm_reverse(&m, i, pair[0], (pf_cat_row){.d = z}, p);
                normalised(V, q, q);
                normalised(V, p, p);
                pf_d3pm_cost cost = pf_d3pm_term(&m, i, pair, (pf_cat_row){.d = z}, 0.0, none);
                assert_near(cost.term, pf_cat_kl(V, q, p), 1e-12);
                assert_near(cost.cross,
                            pf_cat_cross_entropy(V, (pf_cat_row){.d = z}, pair[1], 0.0, none),
                            1e-14);
            }
        pf_d3pm_kernel_close(&k);
    }
}

/* Rows of more symbols than a piece, of closed forms: the term from whole rows, and its gradient by differences. */
static void wide_rows_are_as_narrow_ones(void **state)
{
    (void)state;
    enum { WIDE = 2500, T = 5 };
    double *z = pf_zalloc(4 * WIDE * sizeof *z), *g = z + WIDE, *q = g + WIDE, *p = q + WIDE;
    double beta[T];
    assert_non_null(z);
    normals(3, WIDE, z);
    for (int w = 0; w < 3; w++) {
        const pf_d3pm_matrices is = {
            w ? PF_D3PM_ABSORBING : PF_D3PM_UNIFORM, T, WIDE, w ? WIDE - 1 : -1, 0, 0};
        const int32_t pair[2] = {w == 2 ? 17 : WIDE - 1, 17};
        const int at[] = {0, 17, 1023, 1024, 2100, WIDE - 2};
        pf_d3pm_kernel k;
        pf_d3pm_betas(w ? PF_D3PM_JSD : PF_D3PM_COSINE, T, NULL, beta);
        must(pf_d3pm_kernel_open(&is, beta, &k));
        const pf_d3pm_model m = {.kernel = &k,
                                 .K = w ? WIDE - 1 : WIDE,
                                 .columns = w ? WIDE - 1 : WIDE,
                                 .first_by_posterior = 1,
                                 .floor = 1e-6,
                                 .hybrid = 0.1};
        for (int i = 0; i < T - 1; i++) {
            pf_cat_row row = {.d = z};
            double nats = pf_d3pm_term(&m, i, pair, row, 1.0, (pf_cat_slope){.d = g}).term;
            pf_d3pm_posterior(&m, i, pair, q);
            pf_d3pm_reverse(&m, i, pair[0], row, p);
            normalised(WIDE, q, q);
            normalised(WIDE, p, p);
            assert_near(nats, pf_cat_kl(WIDE, q, p), 1e-11);
            for (size_t e = 0; e < sizeof at / sizeof *at; e++) {
                double kept = z[at[e]], side[2], h = 1e-4;
                for (int s = 0; s < 2; s++) {
                    z[at[e]] = kept + (s ? h : -h);
                    pf_d3pm_cost c = pf_d3pm_term(&m, i, pair, row, 0.0, none);
                    side[s] = c.term + 0.1 * c.cross;
                }
                z[at[e]] = kept;
                /* rounding 1e-15 of the nats over h, and h^2 of a third slope */
                assert_near(g[at[e]], (side[1] - side[0]) / (2 * h), 1e-9);
            }
        }
        pf_d3pm_kernel_close(&k);
    }
    pf_free(z);
}

/* ---- two other diffusions ---- */

static void an_even_kernel_is_multinomial_diffusion(void **state)
{
    (void)state;
    enum { V = 5, T = 8 };
    const pf_d3pm_matrices is = {PF_D3PM_UNIFORM, T, V, -1, 0, 0};
    double beta[T], log_a[T], log_kept[T], z[V], g[2][V], p[2][V];
    pf_d3pm_kernel k;
    pf_multi_at at[T];
    pf_d3pm_betas(PF_D3PM_COSINE, T, NULL, beta);
    pf_multi_schedule(T, log_a, log_kept);
    for (int i = 0; i + 1 < T; i++)
        assert_near(log1p(-beta[i]), log_a[i], 1e-13); /* but for the last clip */
    must(pf_d3pm_kernel_open(&is, beta, &k));
    pf_multi_table(T, V, at);
    at[T - 1].keep = 1.0 - beta[T - 1];
    at[T - 1].moved = beta[T - 1] / V;
    const pf_d3pm_model m = {.kernel = &k, .K = V, .columns = V, .first_by_posterior = 1};
    normals(2, V, z);
    for (int i = 0; i < T; i++)
        for (int32_t e = 0; e < V * V; e++) {
            const int32_t pair[2] = {e % V, e / V};
            pf_cat_row row = {.d = z};
            double want =
                pf_multi_term(PF_MULTI_DATA, &at[i], pair, row, 1.0, (pf_cat_slope){.d = g[0]});
            assert_near(pf_d3pm_term(&m, i, pair, row, 1.0, (pf_cat_slope){.d = g[1]}).term,
                        want, 1e-10);
            pf_multi_reverse(PF_MULTI_DATA, &at[i], pair[0], row, p[0]);
            pf_d3pm_reverse(&m, i, pair[0], row, p[1]);
            normalised(V, p[1], p[1]);
            for (int j = 0; j < V; j++) {
                assert_near(g[1][j], g[0][j], 1e-10);
                assert_near(p[1][j], p[0][j], 1e-10);
            }
        }
    pf_d3pm_kernel_close(&k);
}

static void masks_of_their_own_are_masked_diffusion(void **state)
{
    (void)state;
    enum { T = 7 };
    pf_method d = categories_method("d3pm",
                                    "steps=7;mask=own;floor=0;first=posterior;hybrid=0"),
              f = categories_method("masked", "steps=7;time=finite;eps=0");
    void *self[2];
    must(d.ops->open(&d.opt, &triples, &self[0]));
    must(f.ops->open(&f.opt, &triples, &self[1]));
    const pf_d3pm *m = self[0];
    const pf_masked *o = self[1];
    double z[K], g[2][K];
    normals(5, K, z);
    assert_true(m->V == K + 1 && o->first == 0.0 && o->prior == 0.0);
    for (int i = 0; i < T; i++) {
        const pf_masked_at a = pf_masked_at_step(o, i + 1);
        double masked;
        pf_d3pm_row(&m->kernel, i, 1, (pf_d3pm_part){K, 1}, &masked);
        assert_near(masked, a.hidden, 1e-15);
        for (int32_t x = 0; x < K; x++) {
            const int32_t hidden[2] = {K, x}, seen[2] = {x, x};
            pf_cat_row row = {.d = z};
            double want =
                pf_masked_entry(o, &a, x, row, 1.0 / T, (pf_cat_slope){.d = g[0]}) / T;
            assert_near(
                pf_d3pm_term(&m->model, i, hidden, row, 1.0, (pf_cat_slope){.d = g[1]}).term,
                want, 1e-10);
            for (int k = 0; k < K; k++) assert_near(g[1][k], g[0][k], 1e-10);
            if (i + 1 < T)
                assert_near(pf_d3pm_term(&m->model, i, seen, row, 0.0, none).term, 0.0, 1e-15);
        }
    }
    for (int k = 0; k < K; k++) assert_true(m->prior[k] == 0.0);
    d.ops->close(self[0]);
    f.ops->close(self[1]);
}

/* ---- what is shown ---- */

static void images_are_shown_as_images(void **state)
{
    (void)state;
    pf_method m = categories_method("d3pm", "steps=4;mask=own");
    pf_ports o;
    void *self, *in[PF_PORTS_MAX] = {0};
    float x[L], cond;
    int32_t tokens[L];
    const int32_t seen[L] = {0, 1, 2, K};
    must(m.ops->open(&m.opt, &triples, &self));
    m.ops->ports(self, &o);
    assert_true(pf_shape_same(o.port[PF_CAT_X].shape, triples.shape));
    assert_true(o.port[PF_CAT_TOKENS].classes == K + 1 && o.out.c == L * K);
    in[PF_CAT_TOKENS] = tokens;
    in[PF_CAT_X] = x;
    in[PF_CAT_COND] = &cond;
    pf_d3pm_show(self, 0, seen, 3, in);
    assert_true(x[0] == -1.0f && x[1] == 0.0f && x[2] == 1.0f && x[3] == 0.0f &&
                cond == 750.0f);
    assert_memory_equal(tokens, seen, sizeof seen);
    m.ops->close(self);
}

static void padding_costs_and_teaches_nothing(void **state)
{
    (void)state;
    categories_padding("d3pm", "steps=5");
    categories_padding("d3pm", "steps=5;mask_logit=yes;loss=bound");
    categories_padding("d3pm", "steps=5;kernel=uniform");
    categories_padding("d3pm", "steps=5;kernel=gaussian;beta_end=1");
}

static void what_does_not_go_together_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"schedule=linear;beta_end=0.5", "leaves symbols that are not masked"},
        {"schedule=cosine;bound=published;floor=0", "leaves symbols that are not masked"},
        {"mask_logit=yes", "a mask that is a symbol of its own"},
        {"mask=own;mask_logit=yes;head=logistic", "is of method.head=logits"},
        {"kernel=uniform;beta_end=0.5", "are of method.schedule=linear"},
        {"mask=own;predicts=before", "wants a logit for the mask"},
        {"kernel=gaussian;beta_start=0", "want above 0"}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        pf_method m = categories_method("d3pm", bad[k][0]);
        void *self = NULL;
        assert_int_equal(m.ops->open(&m.opt, &triples, &self), PF_EARG);
        if (!strstr(pf_error_message(), bad[k][1])) fail_msg("%s", pf_error_message());
    }
    const pf_space text = {.kind = PF_TOKENS, .shape = {1, 1, L}, .levels = 2000};
    static const char *const of_text[][2] = {
        {"kernel=gaussian", "for 1024 of them at most"},
        {"kernel=uniform;bands=3", "for 1024 of them at most"},
        {"head=logistic", "is of levels"},
        {"residual=yes", "is of levels"}};
    for (size_t k = 0; k < sizeof of_text / sizeof *of_text; k++) {
        pf_method m = categories_method("d3pm", of_text[k][0]);
        void *self = NULL;
        assert_int_equal(m.ops->open(&m.opt, &text, &self), PF_EARG);
        if (!strstr(pf_error_message(), of_text[k][1])) fail_msg("%s", pf_error_message());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_are_their_formulas),
        cmocka_unit_test(rows_sum_to_one_and_steps_compose),
        cmocka_unit_test(long_products_lose_nothing),
        cmocka_unit_test(near_levels_are_likelier_by_the_law_of_the_paper),
        cmocka_unit_test(noise_has_the_chances_of_its_row),
        cmocka_unit_test(slopes_go_back_by_the_transposed_matrix),
        cmocka_unit_test(terms_are_the_divergence_of_both_steps),
        cmocka_unit_test(wide_rows_are_as_narrow_ones),
        cmocka_unit_test(an_even_kernel_is_multinomial_diffusion),
        cmocka_unit_test(masks_of_their_own_are_masked_diffusion),
        cmocka_unit_test(images_are_shown_as_images),
        cmocka_unit_test(padding_costs_and_teaches_nothing),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
