/* Tables of numbers: every bit comes back, roles are those that were asked for, and what is no number is
 * refused by row and column. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <float.h>
#include <math.h>
#include "source_files.h"

#define RESULTS PF_OUTPUT_CSV "point,logp,"

static void text_is(const char *path, const char *want)
{
    size_t n = 0;
    unsigned char *b = slurp(path, &n);
    b[n] = 0;
    assert_string_equal((char *)b, want);
    free(b);
}

/* ---- results ---- */

static void a_table_of_results_gives_every_bit_back(void **state)
{
    (void)state;
    static const double logp[] = {0.1, -0.0, DBL_MAX, DBL_TRUE_MIN, -INFINITY, 1.0 / 3.0};
    static const int64_t point[] = {0, -1, INT64_MAX, INT64_MIN, 4, 5};
    static const char *const remark[] = {"",      "a,b",  "say \"no\"",
                                         "plain", " led", "two\nlines"};
    const double x[12] = {1, 2, NAN, -NAN, 5, 6, 7, 8, 9, 10, 11, 12};
    const pf_column c[] = {{"point", 1, NULL, point, NULL},
                           {"logp", 1, logp, NULL, NULL},
                           {"x", 2, x, NULL, NULL},
                           {"remark", 1, NULL, NULL, remark}};
    const char *path = in_dir("r.csv");
    must(pf_csv_write(path, RESULTS, 6, c, 4));
    text_is(path, "point,logp,x_0,x_1,remark\n"
                  "0,0.10000000000000001,1,2,\"\"\n"
                  "-1,-0,nan,nan,\"a,b\"\n"
                  "9223372036854775807,1.7976931348623157e+308,5,6,\"say \"\"no\"\"\"\n"
                  "-9223372036854775808,4.9406564584124654e-324,7,8,plain\n"
                  "4,-inf,9,10,\" led\"\n"
                  "5,0.33333333333333331,11,12,\"two\nlines\"\n");
    must(pf_csv_write(path, RESULTS, 0, c, 4)); /* a table without rows is one too */
    text_is(path, "point,logp,x_0,x_1,remark\n");
    must(pf_csv_write(in_dir("c.csv"), PF_OUTPUT_CSV "# in nats\n", 1, c + 1, 1));
    text_is(in_dir("c.csv"), "# in nats\nlogp\n0.10000000000000001\n");
}

static void a_table_replaces_its_own_kind_alone(void **state)
{
    (void)state;
    static const double v[] = {1, 2};
    static const char *const theirs[] = {"point,logp\n1,2\n", "x,y\n1,2\n", "point", "",
                                         "point,logp;1\n",    "\211HDF"};
    const pf_column c[] = {
        {"point", 1, v, NULL, NULL}, {"logp", 1, v, NULL, NULL}, {"error", 1, v, NULL, NULL}};
    const char *path = in_dir("own.csv");
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        put_text("own.csv", theirs[i]);
        assert_int_equal(pf_csv_write(path, RESULTS, 2, c, 3), PF_EARG);
        assert_non_null(strstr(pf_error_message(), "own.csv"));
        text_is(path, theirs[i]);
    }
    unlink(path);
    assert_int_equal(pf_csv_write(path, RESULTS, 2, c + 1, 2), PF_EARG); /* begins otherwise */
    assert_int_equal(pf_csv_write(path, "dataset", 2, c, 3), PF_EARG);
    assert_int_equal(access(path, F_OK), -1);
    must(pf_csv_write(path, RESULTS, 1, c, 3));
    must(pf_csv_write(path, RESULTS, 2, c, 3));
    text_is(path, "point,logp,error\n1,1,1\n2,2,2\n");
}

static void a_table_that_finds_no_memory_leaves_the_old_one(void **state)
{
    (void)state;
    static const double v[64] = {1};
    const pf_column c[] = {
        {"point", 1, v, NULL, NULL}, {"logp", 1, v, NULL, NULL}, {"error", 1, v, NULL, NULL}};
    const char *path = in_dir("m.csv");
    must(pf_csv_write(path, RESULTS, 0, c, 3));
    size_t live = pf_alloc_live();
    pf_status st = PF_EMEM;
    int n = 0;
    while (st && ++n < 100) {
        pf_alloc_fail_at(n);
        st = pf_csv_write(path, RESULTS, 64, c, 3);
        pf_alloc_fail_at(0);
        assert_int_equal(pf_alloc_live(), live);
        if (st) text_is(path, "point,logp,error\n");
    }
    assert_true(n > 2 && n < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_of_results_gives_every_bit_back),
        cmocka_unit_test(a_table_replaces_its_own_kind_alone),
        cmocka_unit_test(a_table_that_finds_no_memory_leaves_the_old_one),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
