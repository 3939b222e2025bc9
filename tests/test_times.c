/* The law of indices that learns from their losses. */
#include <probflow/memory.h>
#include <probflow/random.h>
#include <probflow/times.h>
#include "checks.h"

enum { T = 4, KEPT = PF_TIMES_KEPT };

/* Adds ten losses of each of n indices: loss[i] for index i. */
static pf_times *filled(int n, const double *loss)
{
    pf_times *t = NULL;
    must(pf_times_create(n, PF_TIMES_LAST_TEN, &t));
    for (int k = 0; k < KEPT; k++)
        for (int32_t i = 0; i < n; i++) pf_times_add(t, 1, &i, &loss[i]);
    return t;
}

static void until_every_index_has_ten_losses_all_are_alike(void **state)
{
    (void)state;
    pf_times *t = NULL;
    const double loss = 3.0;
    must(pf_times_create(T, PF_TIMES_LAST_TEN, &t));
    for (int k = 0; k < KEPT * T; k++) {
        int32_t i = k / KEPT;
        for (int j = 0; j < T; j++) {
            assert_true(pf_times_probability(t, j) == 0.25 && pf_times_weight(t, j) == 1.0);
            assert_int_equal(pf_times_index(t, (j + 0.99) / T), j);
        }
        pf_times_add(t, 1, &i, &loss);
        assert_int_equal(pf_times_counts(t)[i], k % KEPT + 1);
    }
    pf_times_free(t);
    /* and one more loss of the last index is what it takes */
    const double losses[] = {1, 2, 3, 4};
    t = filled(T, losses);
    assert_true(pf_times_probability(t, 3) > pf_times_probability(t, 0));
    pf_times_free(t);
}

static void probabilities_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    const double losses[] = {1, 2, 3,
                             -4}; /* roots of mean squares 1, 2, 3, 4: shares .1 .. .4 */
    pf_times *t = filled(T, losses);
    double sum = 0.0;
    for (int i = 0; i < T; i++) {
        double p = (i + 1) / 10.0 * 0.999 + 0.00025;
        assert_near(pf_times_probability(t, i), p, 1e-15);
        assert_near(pf_times_weight(t, i), 0.25 / p, 1e-14);
        sum += pf_times_probability(t, i);
    }
    assert_near(sum, 1.0, 1e-15);
    /* One loss of 7 in place of index 0's oldest 1: mean square (9 + 49)/10. */
    const int32_t first = 0;
    const double seven = 7.0;
    pf_times_add(t, 1, &first, &seven);
    double root = sqrt(5.8);
    assert_near(pf_times_probability(t, 0), root / (root + 9) * 0.999 + 0.00025, 1e-15);
    assert_true(pf_times_losses(t)[KEPT - 1] == 7.0 && pf_times_losses(t)[0] == 1.0);
    pf_times_free(t);
}

static void the_ten_last_losses_are_kept_in_order(void **state)
{
    (void)state;
    pf_times *t = NULL;
    must(pf_times_create(2, PF_TIMES_LAST_TEN, &t));
    for (int k = 0; k < 25; k++) {
        const int32_t index[] = {1};
        const double loss[] = {k};
        pf_times_add(t, 1, index, loss);
    }
    assert_int_equal(pf_times_counts(t)[0], 0);
    assert_int_equal(pf_times_counts(t)[1], KEPT);
    for (int k = 0; k < KEPT; k++) {
        assert_true(pf_times_losses(t)[k] == 0.0);
        assert_true(pf_times_losses(t)[KEPT + k] == 15.0 + k);
    }
    pf_times_free(t);
}

static void draws_come_as_often_as_their_probability(void **state)
{
    (void)state;
    enum { N = 200000 };
    const double losses[] = {0.5, 0.0, 8.0, 1.5}; /* index 1 keeps its share of the 0.001 */
    pf_times *t = filled(T, losses);
    double sum = 0.0;
    int hit[T] = {0};
    pf_draw d = {.seed = 3, .stream = PF_STREAM_TEST};
    for (int k = 0; k < N; k++) hit[pf_times_index(t, pf_draw_uniform_f64(&d, (uint64_t)k))]++;
    for (int i = 0; i < T; i++) {
        double p = pf_times_probability(t, i), sd = sqrt(N * p * (1 - p));
        assert_near(hit[i], N * p, 4 * sd);
        /* the first one whose sum exceeds u: not the one whose sum is u */
        if (i) assert_int_equal(pf_times_index(t, sum), i);
        sum += p;
        assert_int_equal(pf_times_index(t, sum - 1e-9), i);
    }
    assert_int_equal(pf_times_index(t, 0.0), 0);
    assert_int_equal(pf_times_index(t, 1.0 - 0x1p-53), T - 1);
    pf_times_free(t);
}

static void the_weighted_loss_has_the_uniform_mean_for_any_history(void **state)
{
    (void)state;
    enum { M = 37 };
    for (int trial = 0; trial < 20; trial++) {
        double losses[M], now[M], mean = 0, weighted = 0;
        pf_draw d = {.seed = 9, .stream = PF_STREAM_TEST, .sample = (uint64_t)trial};
        for (int i = 0; i < M; i++) {
            losses[i] = exp(8 * pf_draw_uniform_f64(&d, (uint64_t)(2 * i)) - 4);
            now[i] = pf_draw_uniform_f64(&d, (uint64_t)(2 * i + 1));
        }
        pf_times *t = filled(M, losses);
        for (int i = 0; i < M; i++) {
            mean += now[i] / M;
            weighted += pf_times_probability(t, i) * pf_times_weight(t, i) * now[i];
        }
        assert_near(weighted, mean, 1e-14);
        pf_times_free(t);
    }
}

static void losses_of_zero_and_of_any_size_give_probabilities(void **state)
{
    (void)state;
    const double none[T] = {0}, large[T] = {1e300, 2e300, 3e300, 4e300},
                 small[T] = {1e-300, 2e-300, 3e-300, 4e-300};
    pf_times *t = filled(T, none);
    for (int i = 0; i < T; i++) {
        assert_true(pf_times_probability(t, i) == 0.25 && pf_times_weight(t, i) == 1.0);
        assert_int_equal(pf_times_index(t, i / 4.0), i);
    }
    pf_times_free(t);
    for (int k = 0; k < 2; k++) {
        t = filled(T, k ? small : large);
        for (int i = 0; i < T; i++)
            assert_near(pf_times_probability(t, i), (i + 1) / 10.0 * 0.999 + 0.00025, 1e-15);
        pf_times_free(t);
    }
}

static void a_batch_is_drawn_alike_however_it_is_cut(void **state)
{
    (void)state;
    enum { B = 12 };
    const double losses[] = {1, 1, 8, 2};
    int32_t whole[B], part[B];
    double weight[B], again[B];
    pf_batch b = {.B = B, .total = B, .seed = 4, .step = 17};
    pf_times *t = filled(T, losses);
    pf_times_draw(t, &b, whole, weight);
    for (int i = 0; i < B; i++) assert_true(weight[i] == pf_times_weight(t, whole[i]));
    b.B = 3;
    for (b.first = 0; b.first < B; b.first += 3)
        pf_times_draw(t, &b, part + b.first, again + b.first);
    assert_memory_equal(whole, part, sizeof whole);
    assert_memory_equal(weight, again, sizeof weight);
    b = (pf_batch){.B = B, .total = B, .seed = 4, .step = 18};
    pf_times_draw(t, &b, part, again);
    assert_memory_not_equal(whole, part, sizeof whole);
    pf_times_free(t);
}

static void what_a_file_says_is_held_against_it(void **state)
{
    (void)state;
    const double losses[] = {1, 2, 3, 4};
    pf_times *t = filled(T, losses), *back = NULL;
    double loss[T * KEPT];
    int32_t count[T];
    memcpy(loss, pf_times_losses(t), sizeof loss);
    memcpy(count, pf_times_counts(t), sizeof count);
    must(pf_times_create(T, PF_TIMES_LAST_TEN, &back));
    must(pf_times_set(back, "a.h5", T, KEPT, loss, count));
    for (int i = 0; i < T; i++)
        assert_true(pf_times_probability(back, i) == pf_times_probability(t, i));

    const struct {
        int T, kept, count;
        double loss;
        const char *says;
    } bad[] = {
        {5, KEPT, 10, 1, "a.h5 holds the last 10 losses of 5 indices"},
        {T, 9, 10, 1, "a.h5 holds the last 9 losses of 4 indices"},
        {T, KEPT, 11, 1, "a.h5 is damaged: index 2 has 11 losses"},
        {T, KEPT, -1, 1, "a.h5 is damaged: index 2 has -1 losses"},
        {T, KEPT, 10, (double)NAN, "a.h5 is damaged: a loss of index 1 is"},
        {T, KEPT, 10, (double)INFINITY, "a.h5 is damaged: a loss of index 1 is"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        count[2] = bad[k].count;
        loss[KEPT + 3] = bad[k].loss;
        assert_int_equal(pf_times_set(back, "a.h5", bad[k].T, bad[k].kept, loss, count),
                         PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), bad[k].says));
        for (int i = 0; i < T; i++)
            assert_true(pf_times_probability(back, i) == pf_times_probability(t, i));
    }
    /* what lies beyond a count is no loss */
    count[2] = 3;
    loss[KEPT + 3] = 2.0;
    must(pf_times_set(back, "a.h5", T, KEPT, loss, count));
    assert_true(pf_times_probability(back, 2) == 0.25);
    assert_true(pf_times_losses(back)[2 * KEPT + 3] == 0.0);
    pf_times_free(back);
    pf_times_free(t);
}

static void memory_that_runs_out_is_told(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    for (int n = 1; n <= 5; n++) {
        pf_times *t = NULL;
        pf_alloc_fail_at(n);
        assert_int_equal(pf_times_create(T, PF_TIMES_LAST_TEN, &t), PF_EMEM);
        pf_alloc_fail_at(0);
        assert_int_equal(pf_alloc_live(), before);
    }
}

static void decaying_losses_are_drawn_by_their_mean_square(void **state)
{
    (void)state;
    enum { N = 3, DRAWS = 11 };
    pf_times *t, *back;
    double h[N] = {0}, sum = 0.0, w[N];
    must(pf_times_create(N, PF_TIMES_DECAYING, &t));
    for (int n = 0; n < DRAWS; n++)
        for (int32_t i = 0; i < N; i++) {
            double loss = 1.0 + i + 0.1 * n;
            assert_true(pf_times_weight(t, 0) == 1.0);
            pf_times_add(t, 1, &i, &loss);
            h[i] = 0.1 * loss * loss + 0.9 * h[i];
        }
    for (int i = 0; i < N; i++) sum += w[i] = sqrt(h[i ? i : 1] + 1e-10) + 1e-4;
    for (int i = 0; i < N; i++) {
        assert_near(pf_times_losses(t)[i], h[i], 1e-14);
        assert_near(pf_times_probability(t, i), w[i] / sum, 1e-14);
        assert_near(pf_times_weight(t, i), sum / (N * w[i]), 1e-14);
    }
    assert_int_equal(pf_times_kept(t), 1);
    /* two losses of an index in one batch count one after the other */
    const int32_t twice[2] = {1, 1};
    const double losses[2] = {3.0, 7.0};
    pf_times_add(t, 2, twice, losses);
    assert_near(pf_times_losses(t)[1], 0.1 * 49.0 + 0.9 * (0.1 * 9.0 + 0.9 * h[1]), 1e-13);
    assert_int_equal(pf_times_counts(t)[1], DRAWS + 2);
    must(pf_times_create(N, PF_TIMES_DECAYING, &back));
    must(pf_times_set(back, "a.h5", N, 1, pf_times_losses(t), pf_times_counts(t)));
    for (int i = 0; i < N; i++)
        assert_true(pf_times_probability(back, i) == pf_times_probability(t, i));
    assert_int_equal(
        pf_times_set(back, "a.h5", N, KEPT, pf_times_losses(t), pf_times_counts(t)),
        PF_EFORMAT);
    const double below[N] = {1.0, -1.0, 1.0};
    assert_int_equal(pf_times_set(back, "a.h5", N, 1, below, pf_times_counts(t)), PF_EFORMAT);
    pf_times_free(t);
    pf_times_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(until_every_index_has_ten_losses_all_are_alike),
        cmocka_unit_test(probabilities_are_those_worked_out_by_hand),
        cmocka_unit_test(decaying_losses_are_drawn_by_their_mean_square),
        cmocka_unit_test(the_ten_last_losses_are_kept_in_order),
        cmocka_unit_test(draws_come_as_often_as_their_probability),
        cmocka_unit_test(the_weighted_loss_has_the_uniform_mean_for_any_history),
        cmocka_unit_test(losses_of_zero_and_of_any_size_give_probabilities),
        cmocka_unit_test(a_batch_is_drawn_alike_however_it_is_cut),
        cmocka_unit_test(what_a_file_says_is_held_against_it),
        cmocka_unit_test(memory_that_runs_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
