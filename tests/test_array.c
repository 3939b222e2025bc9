/* Plain arrays and attributes of any HDF5 file. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include <math.h>
#include "scratch.h"

static void arrays_and_attributes_come_back(void **state)
{
    (void)state;
    double a[6] = {1, 2, 3, 4, 5, NAN};
    float f[2] = {0.1f, 2};
    uint8_t u[3] = {1, 2, 255};
    pf_out_array arrays[] = {{.name = "ode/x", .rank = 2, .dim = {2, 3}, .f64 = a},
                             {.name = "f", .rank = 1, .dim = {2}, .f32 = f},
                             {.name = "u", .rank = 1, .dim = {3}, .u8 = u},
                             {.name = "one", .rank = 0, .f64 = a + 3}};
    pf_out_attr attrs[] = {{.name = "net", .text = "{\"nf\": 16}"},
                           {.name = "empty", .text = ""},
                           {.name = "beta", .number = 0.1}};
    assert_int_equal(pf_store_write(in_dir("w.h5"), arrays, 4, attrs, 3), PF_OK);
    pf_array r;
    assert_int_equal(pf_store_read_array(in_dir("w.h5"), "ode/x", &r), PF_OK);
    assert_true(r.rank == 2 && r.dim[0] == 2 && r.dim[1] == 3 && r.size == 6);
    assert_memory_equal(r.v, a, sizeof a);
    pf_array_free(&r);
    assert_int_equal(pf_store_read_array(in_dir("w.h5"), "u", &r), PF_OK);
    assert_true(r.v[2] == 255);
    pf_array_free(&r);
    assert_int_equal(pf_store_read_array(in_dir("w.h5"), "one", &r), PF_OK);
    assert_true(r.rank == 0 && r.size == 1 && r.v[0] == 4);
    pf_array_free(&r);
    assert_int_equal(pf_store_read_array(in_dir("w.h5"), "ode/y", &r), PF_EIO);
    int there = 0;
    assert_int_equal(pf_store_has(in_dir("w.h5"), "ode/x", &there), PF_OK);
    assert_true(there);
    assert_int_equal(pf_store_has(in_dir("w.h5"), "no/x", &there), PF_OK);
    assert_false(there);
    assert_int_equal(pf_store_has(in_dir("absent.h5"), "x", &there), PF_EIO);

    char *text = NULL;
    assert_int_equal(pf_store_read_attr(in_dir("w.h5"), "net", &text), PF_OK);
    assert_string_equal(text, "{\"nf\": 16}");
    pf_free(text);
    assert_int_equal(pf_store_read_attr(in_dir("w.h5"), "empty", &text), PF_OK);
    assert_string_equal(text, "");
    pf_free(text);
    assert_int_equal(pf_store_read_attr(in_dir("w.h5"), "beta", &text), PF_OK);
    assert_true(strtod(text, NULL) == 0.1);
    pf_free(text);
    assert_int_equal(pf_store_read_attr(in_dir("w.h5"), "gone", &text), PF_EIO);

    int n = 0;
    pf_param *v = NULL;
    float *flat = NULL;
    assert_int_equal(pf_store_read_group(in_dir("w.h5"), "ode", &n, &v, &flat), PF_OK);
    assert_int_equal(n, 1);
    assert_string_equal(v[0].name, "x");
    assert_true(flat[4] == 5);
    pf_free(v);
    pf_free(flat);
    assert_int_equal(pf_store_read_group(in_dir("w.h5"), "none", &n, &v, &flat), PF_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_and_attributes_come_back),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
