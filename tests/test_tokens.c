/* Rows of tokens of unequal length: their bound in bits a character, what is said of all of them, and samples. */
#include "checks.h"

#include <probflow/estimand.h>
#include <probflow/sample.h>

#include <math.h>

enum { L = 4, B = 5, T = 3, MOST = 2 * B, VLB = 6 };

/* Term i of row n costs (1 + i + .1 n) nats a character, and .3 more in a second draw. */
static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    (void)self;
    for (int r = 0; r < b->B; r++) {
        int n = 0;
        while (n < L && b->x[r * L + n] >= 0.0f) n++;
        nats[r] = n * (1.0 + i[r] + 0.1 * (double)b->sample[r] + 0.3 * b->step);
    }
    return PF_OK;
}

static const int lengths[B] = {4, 1, 3, 2, 4};

static pf_ledger score(const int *length, int draws, double shift, double *cells)
{
    double x[B * L];
    pf_chain chain = {.dim = L, .steps = T, .batch = B, .state = L, .term = term};
    pf_view view = {.chain = &chain};
    pf_group g = {.B = B, .space = {PF_TOKENS, {1, 1, L}, .levels = 3}, .x = x};
    pf_likelihood_opt o;
    pf_ledger l = {.rows = draws * B, .cell = cells};
    pf_opt_defaults(pf_likelihood_opts, &o);
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", "vlb", &o));
    o.draws = draws;
    for (int i = 0; i < B * L; i++) x[i] = i % L < length[i / L] ? i % 3 : PF_NO_TOKEN;
    must(pf_likelihood_group(&view, &o, &g, cells));
    l.n = pf_likelihood_columns(&o, &l.column);
    for (int i = 0; i < draws * B; i++) cells[i * l.n + VLB] += shift * (i % B);
    return l;
}

static void a_row_is_in_bits_a_character_of_its_own(void **state)
{
    (void)state;
    double cells[MOST * PF_LEDGER_MAX];
    pf_ledger l = score(lengths, 1, 0.0, cells);
    int at = pf_ledger_weights(&l);
    for (int b = 0; b < B; b++) { /* terms 0 .. 3: 1 + 2 + 3 + 4 nats, and .1 b each */
        assert_near(cells[b * l.n + VLB], (10.0 + 0.4 * b) / M_LN2, 1e-13);
        assert_true(cells[b * l.n + at] == lengths[b]);
    }
}

static void rows_of_unequal_length_are_weighed_by_it(void **state)
{
    (void)state;
    double cells[MOST * PF_LEDGER_MAX], mean = 0.0, squares = 0.0, all = 0.0, between = 0.0;
    pf_ledger l = score(lengths, 2, 0.0, cells);
    pf_summary s;
    pf_likelihood_summary(&l, &s);
    for (int b = 0; b < B; b++) all += lengths[b];
    for (int b = 0; b < B; b++) /* the mean of two draws: .15 nats a term above the first */
        mean += lengths[b] * (10.6 + 0.4 * b) / M_LN2 / all;
    for (int b = 0; b < B; b++) {
        squares += pow(lengths[b] * ((10.6 + 0.4 * b) / M_LN2 - mean), 2);
        between += pow(lengths[b] * 1.2 / M_LN2, 2) /
                   4.0; /* (d/2)^2 is the variance of the mean of two */
    }
    assert_near(pf_summary_figure(&s, "vlb"), mean, 1e-13);
    double se = sqrt(squares * B / (B - 1)) / all;
    assert_near(pf_summary_figure(&s, "vlb_se"), se, 1e-13);
    assert_near(pf_summary_figure(&s, "draws_se"), sqrt(between) / all, 1e-13);
    assert_near(pf_summary_figure(&s, "prior") + pf_summary_figure(&s, "diffusion") +
                    pf_summary_figure(&s, "decoder"),
                mean, 1e-12);
}

static void rows_of_one_length_are_as_before_to_the_bit(void **state)
{
    (void)state;
    const int equal[B] = {3, 3, 3, 3, 3};
    double cells[MOST * PF_LEDGER_MAX], other[MOST * PF_LEDGER_MAX];
    pf_ledger l = score(equal, 2, 0.0, cells), m = score(equal, 2, 0.1, other);
    int at = pf_ledger_weights(&l);
    pf_summary s, t;
    pf_difference d, e;
    pf_likelihood_summary(&l, &s);
    must(pf_likelihood_difference(&l, &m, &d));
    for (int i = 0; i < l.rows; i++) cells[i * l.n + at] = NAN; /* a file from before */
    pf_likelihood_summary(&l, &t);
    must(pf_likelihood_difference(&l, &m, &e));
    assert_int_equal(s.n, t.n);
    for (int i = 0; i < s.n; i++)
        assert_memory_equal(&s.figure[i].value, &t.figure[i].value, sizeof(double));
    assert_memory_equal(&d.total[0].mean, &e.total[0].mean, sizeof(double));
    assert_memory_equal(&d.total[0].se, &e.total[0].se, sizeof(double));
}

static void differences_are_weighed_too(void **state)
{
    (void)state;
    double cells[MOST * PF_LEDGER_MAX], other[MOST * PF_LEDGER_MAX], mean = 0.0, squares = 0.0,
                                                                     all = 0.0;
    pf_ledger l = score(lengths, 1, 0.1, cells), m = score(lengths, 1, 0.0, other);
    pf_difference d;
    must(pf_likelihood_difference(&l, &m, &d));
    for (int b = 0; b < B; b++) all += lengths[b], mean += lengths[b] * 0.1 * b;
    mean /= all;
    for (int b = 0; b < B; b++) squares += pow(lengths[b] * (0.1 * b - mean), 2);
    assert_near(d.total[0].mean, mean, 1e-12);
    assert_near(d.total[0].se, sqrt(squares * B / (B - 1)) / all, 1e-12);
}

static void the_entropy_of_a_position_is_that_of_its_symbols(void **state)
{
    (void)state;
    const pf_space s = {PF_TOKENS, {1, 1, 3}, .levels = 4};
    const double x[12] = {0, 1, 2, 1, 1, PF_NO_TOKEN, 2, 1, 3, 3, 0, 3};
    double h[3];
    must(pf_symbol_entropy(&s, 4, x, h));
    assert_near(h[0], 2.0, 1e-14);
    assert_near(h[1], 0.75 * log2(4.0 / 3.0) + 0.25 * 2.0, 1e-14);
    assert_near(h[2], log2(3.0) - 2.0 / 3.0, 1e-14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_in_bits_a_character_of_its_own),
        cmocka_unit_test(rows_of_unequal_length_are_weighed_by_it),
        cmocka_unit_test(rows_of_one_length_are_as_before_to_the_bit),
        cmocka_unit_test(differences_are_weighed_too),
        cmocka_unit_test(the_entropy_of_a_position_is_that_of_its_symbols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
