/* Base: the error record, memory and log helpers. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/status.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static PF_MUST_USE pf_status inner(int n)
{
    PF_REQUIRE(n > 0, PF_EARG, "length is %d, want > 0", n);
    return PF_OK;
}

static PF_MUST_USE pf_status outer(int n)
{
    PF_TRY(inner(n));
    return PF_OK;
}

static void show_error(int with_trail, char *text, size_t n)
{
    memset(text, 0, n);
    FILE *f = fmemopen(text, n, "w");
    pf_error_show_trail(with_trail);
    pf_error_print(f);
    pf_error_show_trail(0);
    fclose(f);
}

static void a_failure_keeps_its_sentence_and_every_place(void **state)
{
    (void)state;
    char text[512] = "";
    assert_int_equal(outer(-3), PF_EARG);
    assert_string_equal(pf_error_message(), "length is -3, want > 0");
    show_error(0, text, sizeof text);
    assert_string_equal(text, "probflow: error: length is -3, want > 0\n");
    show_error(1, text, sizeof text);
    assert_non_null(strstr(text, "probflow: error: length is -3, want > 0\n"));
    char *first = strstr(text, "test_base.c:");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "test_base.c:"));
}

static void a_new_failure_may_quote_the_old_one(void **state)
{
    (void)state;
    assert_int_equal(outer(-1), PF_EARG);
    (void)pf_raise(PF_EIO, PF_WHERE, "while opening: %s", pf_error_message());
    assert_string_equal(pf_error_message(), "while opening: length is -1, want > 0");
}

static void an_adopted_failure_speaks_with_the_other_sentence(void **state)
{
    (void)state;
    assert_int_equal(pf_error_adopt(PF_ENUMERIC, "rank 3 met NaN"), PF_ENUMERIC);
    assert_string_equal(pf_error_message(), "rank 3 met NaN");
}

static void *fail_quietly(void *arg)
{
    *(pf_status *)arg = outer(0);
    return NULL;
}

static void threads_have_their_own_record(void **state)
{
    (void)state;
    (void)pf_error_adopt(PF_EIO, "mine");
    pthread_t t;
    pf_status st = PF_OK;
    assert_int_equal(pthread_create(&t, NULL, fail_quietly, &st), 0);
    pthread_join(t, NULL);
    assert_int_equal(st, PF_EARG);
    assert_string_equal(pf_error_message(), "mine");
}

static void blocks_are_aligned_zeroed_and_counted(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    for (size_t n = 0; n < 3000; n = 2 * n + 1) {
        unsigned char *p = pf_zalloc(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xa5, n);
        assert_int_equal(pf_alloc_live(), before + n);
        pf_free(p);
        assert_int_equal(pf_alloc_live(), before);
    }
    pf_free(NULL);
}

static void only_the_chosen_allocation_fails(void **state)
{
    (void)state;
    pf_alloc_fail_at(2);
    void *a = pf_zalloc(8), *b = pf_zalloc(8), *c = pf_zalloc(8);
    assert_non_null(a);
    assert_null(b);
    assert_non_null(c);
    pf_free(a);
    pf_free(c);
    pf_alloc_fail_at(1);
    pf_arena *arena = NULL;
    assert_int_equal(pf_arena_create(100, &arena), PF_EMEM);
    pf_alloc_fail_at(2);
    assert_int_equal(pf_arena_create(100, &arena), PF_EMEM);
    pf_alloc_fail_at(0);
}

static void an_arena_hands_out_zeroed_pieces_apart_and_refuses_when_full(void **state)
{
    (void)state;
    pf_arena *a = NULL;
    assert_int_equal(pf_arena_create(256, &a), PF_OK);
    assert_null(pf_arena_alloc(a, SIZE_MAX));
    unsigned char *p = pf_arena_alloc(a, 100);
    assert_non_null(p);
    memset(p, 1, 100);
    unsigned char *q = pf_arena_alloc(a, 128);
    assert_non_null(q);
    assert_int_equal((uintptr_t)q % 64, 0);
    for (int i = 0; i < 128; i++) assert_int_equal(q[i], 0);
    memset(q, 2, 128);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 1);
    assert_null(pf_arena_alloc(a, 1));
    pf_arena_free(a);
    pf_arena_free(NULL);
}

static void durations_read_naturally(void **state)
{
    (void)state;
    char b[32];
    assert_string_equal(pf_duration(12.2, b, sizeof b), "12s");
    assert_string_equal(pf_duration(190, b, sizeof b), "3m10s");
    assert_string_equal(pf_duration(3720, b, sizeof b), "1h02m");
    assert_string_equal(pf_duration(59.7, b, sizeof b), "1m00s");
    assert_string_equal(pf_duration(-1, b, sizeof b), "?");
}

static void the_clock_counts_seconds_and_never_runs_backwards(void **state)
{
    (void)state;
    double first = pf_seconds(), last = first;
    usleep(2000);
    assert_true(pf_seconds() >= first + 0.002); /* the sleep is at least as long as asked */
    assert_true(pf_seconds() < first + 60);     /* and no other unit */
    for (int i = 0; i < 1000; i++) {
        double now = pf_seconds();
        assert_true(now >= last);
        last = now;
    }
}

static void the_peak_stays_when_memory_is_given_back(void **state)
{
    (void)state;
    size_t before = pf_peak_bytes(), mib = 1 << 20;
    if (before == 0) skip(); /* a system that does not tell */
    size_t more = before - pf_resident_bytes() + 64 * mib;
    pf_free(pf_zalloc(more));
    pf_alloc_trim();
    assert_in_range(pf_peak_bytes(), before + 32 * mib, before + 128 * mib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_keeps_its_sentence_and_every_place),
        cmocka_unit_test(a_new_failure_may_quote_the_old_one),
        cmocka_unit_test(an_adopted_failure_speaks_with_the_other_sentence),
        cmocka_unit_test(threads_have_their_own_record),
        cmocka_unit_test(blocks_are_aligned_zeroed_and_counted),
        cmocka_unit_test(only_the_chosen_allocation_fails),
        cmocka_unit_test(an_arena_hands_out_zeroed_pieces_apart_and_refuses_when_full),
        cmocka_unit_test(durations_read_naturally),
        cmocka_unit_test(the_clock_counts_seconds_and_never_runs_backwards),
        cmocka_unit_test(the_peak_stays_when_memory_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
