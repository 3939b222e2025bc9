/* The checker of reference files: what it counts, and that it can fail. */
#include "checks.h"
#include "foreign.h"
#include "vectors/vectors.h"

#include <probflow/memory.h>

static double off; /* what the checker below is wrong by */

/* Doubles what is given. */
static pf_status check(vectors *v)
{
    const vectors_array *x = vectors_find(v, "given/x");
    double got[3];
    PF_REQUIRE(x && x->size == 3, PF_EFORMAT, "no x");
    for (int i = 0; i < 3; i++) got[i] = 2.0 * x->v[i] + (i ? off : 0.0);
    vectors_hold(v, 1e-10, got, 3, "a/%s", "twice");
    vectors_hold(v, 1e-10, got, 2, "a/short");
    vectors_hold(v, 1e-10, got, 3, "a/absent");
    return PF_OK;
}

static const vectors_kind kind = {
    .stem = "v", .inputs = (const char *const[]){"given", NULL}, .check = check};

static void write_file(void)
{
    const hsize_t three = 3, two = 2;
    hid_t f = fresh(in_dir("v.h5"));
    add(f, "given/x", H5T_IEEE_F32LE, 1, &three, H5T_NATIVE_INT, (int[]){1, 2, -3}, 0);
    add(f, "a/twice", H5T_IEEE_F64LE, 1, &three, H5T_NATIVE_INT, (int[]){2, 4, -6}, 0);
    add(f, "a/short", H5T_STD_I64LE, 1, &two, H5T_NATIVE_INT, (int[]){2, 4}, 0);
    add(f, "b/rest", H5T_STD_U8LE, 1, &two, H5T_NATIVE_INT, (int[]){0, 0}, 0);
    attr(f, "s", H5T_IEEE_F64LE, 0, H5T_NATIVE_DOUBLE, &(double){0.5});
    H5Fclose(f);
}

static void counts_are(const char *const *pattern, int n, int passed, int failed)
{
    vectors v;
    int p = 0, f = 0;
    must(vectors_open(in_dir("v.h5"), &kind, pattern, n, &v));
    must(kind.check(&v));
    vectors_report(&v, &p, &f);
    vectors_close(&v);
    assert_int_equal(p, passed);
    assert_int_equal(f, failed);
}

static void every_output_of_the_part_counts_once(void **state)
{
    (void)state;
    write_file();
    counts_are(NULL, 0, 2, 1); /* b/rest is not checked */
    counts_are((const char *const[]){"a"}, 1, 2, 0);
    counts_are((const char *const[]){"a/tw*", "/b/"}, 2, 1, 1);
    counts_are((const char *const[]){"given"}, 1, 0, 0);
}

static void a_wrong_number_fails(void **state)
{
    (void)state;
    const double wrong[] = {1e-9, -1.0, NAN, INFINITY};
    write_file();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        off = wrong[i];
        counts_are((const char *const[]){"a"}, 1, 0, 2);
    }
    off = 0.0;
}

static void a_pattern_names_a_path_or_a_group_above_it(void **state)
{
    (void)state;
    assert_true(vectors_under("p", "p/x/y"));
    assert_true(vectors_under("p/*/y", "p/x/y"));
    assert_true(vectors_under("/p/x*/", "p/x1/y/z"));
    assert_true(vectors_under("", "p"));
    assert_false(vectors_under("p", "px/y"));
    assert_false(vectors_under("p/*/z", "p/x/y/z"));
    assert_false(vectors_under("y", "p/y"));
}

static void attributes_of_root_and_groups_are_text(void **state)
{
    (void)state;
    write_file();
    hid_t f = H5Fopen(in_dir("v.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t g = H5Gopen2(f, "given", H5P_DEFAULT);
    attr(g, "T", H5T_STD_I64LE, 0, H5T_NATIVE_INT, &(int){25});
    H5Gclose(g);
    H5Fclose(f);
    char *text = NULL;
    must(pf_store_read_attr(in_dir("v.h5"), "given/T", &text));
    assert_string_equal(text, "25");
    pf_free(text);
    must(pf_store_read_attr(in_dir("v.h5"), "s", &text));
    assert_string_equal(text, "0.5");
    pf_free(text);
    refused(in_dir("v.h5"), pf_store_read_attr(in_dir("v.h5"), "given/none", &text), "none");
    refused(in_dir("v.h5"), pf_store_read_attr(in_dir("v.h5"), "gone/T", &text), "gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_output_of_the_part_counts_once),
        cmocka_unit_test(a_wrong_number_fails),
        cmocka_unit_test(a_pattern_names_a_path_or_a_group_above_it),
        cmocka_unit_test(attributes_of_root_and_groups_are_text),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
