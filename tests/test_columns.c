/* Tables of numbers as .npy and .npz: their bytes, and what they may replace. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "scratch.h"

enum { ROWS = 3 };
static const int64_t number[ROWS] = {0, -1, INT64_MAX};
static const double logp[ROWS] = {0.1, -1e308, 5e-324}, score[2 * ROWS] = {1, 2, 3, 4, 5, 6};
static const pf_column table[] = {
    {"row", 1, NULL, number}, {"logp", 1, logp, NULL}, {"score", 2, score, NULL}};

/* .npy holds the rows one behind the other, from a multiple of 64 on, behind a header of Python. */
static void columns_come_back(void **state)
{
    (void)state;
    static const char head[] =
        "{'descr': [('row', '<i8'), ('logp', '<f8'), ('score', '<f8', (2,))], "
        "'fortran_order': False, 'shape': (3,), }";
    size_t n = 0;
    must(pf_npy_write(in_dir("t.npy"), ROWS, table, 3));
    unsigned char *b = slurp(in_dir("t.npy"), &n);
    size_t length = b[8] + 256u * b[9] + 10;
    assert_memory_equal(b, "\x93NUMPY\1\0", 8);
    assert_memory_equal(b + 10, head, sizeof head - 1);
    assert_true(length % 64 == 0 && b[length - 1] == '\n' && n == length + 32 * ROWS);
    for (int i = 0; i < ROWS; i++) {
        assert_memory_equal(b + length + 32 * i, &number[i], 8);
        assert_memory_equal(b + length + 32 * i + 8, &logp[i], 8);
        assert_memory_equal(b + length + 32 * i + 16, &score[2 * i], 16);
    }
    free(b);
}

static void the_same_numbers_give_the_same_bytes(void **state)
{
    (void)state;
    size_t n[2];
    must(pf_npz_write(in_dir("a.npz"), ROWS, table, 3));
    must(pf_npz_write(in_dir("b.npz"), ROWS, table, 3));
    unsigned char *a = slurp(in_dir("a.npz"), &n[0]), *b = slurp(in_dir("b.npz"), &n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(a, b, n[0]);
    free(a);
    free(b);
}

/* Ours are replaced, those of others and of other first columns stay. */
static void only_tables_of_ours_are_replaced(void **state)
{
    (void)state;
    const pf_column other = {"logp", 1, logp, NULL};
    must(pf_npy_write(in_dir("o.npy"), ROWS, table, 2));
    must(pf_npy_write(in_dir("o.npy"), ROWS, table, 3));
    assert_int_equal(pf_npy_write(in_dir("o.npy"), ROWS, &other, 1), PF_EARG);
    must(pf_npz_write(in_dir("o.npz"), ROWS, table, 3));
    must(pf_npz_write(in_dir("o.npz"), ROWS, &other, 1));
    static const char *const names[] = {"o.npy", "o.npz", "empty"};
    spill(in_dir("empty"), "", 0);
    for (int i = 0; i < 3; i++) {
        size_t n = 0, now = 0;
        unsigned char *b = slurp(in_dir(names[i]), &n);
        if (n) b[n - 1] ^= 1, b[7] ^= 1; /* the version of the one, the comment of the other */
        spill(in_dir(names[i]), b, n);
        assert_int_equal(pf_npy_write(in_dir(names[i]), ROWS, table, 3), PF_EARG);
        assert_non_null(strstr(pf_error_message(), names[i]));
        assert_int_equal(pf_npz_write(in_dir(names[i]), ROWS, table, 3), PF_EARG);
        unsigned char *after = slurp(in_dir(names[i]), &now);
        assert_int_equal(now, n);
        assert_memory_equal(after, b, n);
        free(after);
        free(b);
    }
}

static void what_is_no_table_is_refused(void **state)
{
    (void)state;
    const pf_column bad[][2] = {
        {{"", 1, logp, NULL}},    {{"it's", 1, logp, NULL}},
        {{"a", 0, logp, NULL}},   {{"a", 1, NULL, NULL}},
        {{"a", 1, logp, number}}, {{"a", 1, logp, NULL}, {"a", 1, logp, NULL}}};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pf_npy_write(in_dir("n"), 1, bad[i], i == 5 ? 2 : 1), PF_EARG);
        assert_int_equal(pf_npz_write(in_dir("n"), 1, bad[i], i == 5 ? 2 : 1), PF_EARG);
    }
    assert_int_equal(pf_npz_write(in_dir("n"), 1, table, 0), PF_EARG);
    assert_int_equal(access(in_dir("n"), F_OK), -1);
}

static void a_failing_allocation_leaves_nothing(void **state)
{
    (void)state;
    pf_status (*const write[])(const char *, int64_t, const pf_column *, int) = {pf_npy_write,
                                                                                 pf_npz_write};
    for (int k = 0; k < 2; k++) {
        size_t live = pf_alloc_live();
        pf_status st = PF_EMEM;
        for (int at = 1; st; at++) {
            assert_true(at < 10);
            pf_alloc_fail_at(at);
            st = write[k](in_dir("m"), ROWS, table, 3);
            pf_alloc_fail_at(0);
            assert_true(st == PF_OK || st == PF_EMEM);
            assert_int_equal(pf_alloc_live(), live);
            assert_int_equal(access(in_dir("m"), F_OK), st ? -1 : 0);
        }
        unlink(in_dir("m"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_come_back),
        cmocka_unit_test(the_same_numbers_give_the_same_bytes),
        cmocka_unit_test(only_tables_of_ours_are_replaced),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(a_failing_allocation_leaves_nothing),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
