/* What holds for every reader of the store: a failing read or allocation frees once, a child reads the
 * same, a comparison leaves nothing out, and no work grows with the square of the members. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <fcntl.h>
#include "foreign.h"
#include "ledger_rows.h"

static pf_status compare(const char *a, const char *b, int *same, char *text, size_t n)
{
    FILE *f = fmemopen(text, n, "w");
    pf_status st = pf_store_compare(a, b, f, same);
    fclose(f);
    return st;
}

/* ---- every failing read and allocation --------------------------------------------------------- */

static const pf_results_info about = {.images = 5,
                                      .draws = 1,
                                      .group = 2,
                                      .config = "a: b\n",
                                      .columns = ROW_CELLS,
                                      .column = row_columns};

static pf_status read_dataset(const char *path)
{
    pf_dataset *d = NULL;
    uint8_t k[4 * 6];
    int32_t label[4];
    PF_TRY(pf_dataset_open(path, "train", &d));
    pf_status st = pf_dataset_images(d, 0, 4, k);
    if (!st) st = pf_dataset_labels(d, 0, 4, label);
    pf_dataset_close(d);
    return st;
}

static pf_status read_checkpoint(const char *path)
{
    pf_checkpoint c;
    pf_status st = pf_checkpoint_read(path, 0, &c);
    if (!st) pf_checkpoint_free(&c);
    return st;
}

static pf_status read_results(const char *path)
{
    pf_results *r = NULL;
    pf_ledger rows = {0};
    PF_TRY(pf_results_open(path, &about, &r));
    pf_status st = pf_results_rows(r, &rows);
    pf_free(rows.cell);
    pf_status closed = pf_results_close(r);
    return st ? st : closed;
}

static pf_status read_group(const char *path)
{
    int n = 0;
    pf_param *v = NULL;
    float *flat = NULL;
    pf_status st = pf_store_read_group(path, "params", &n, &v, &flat);
    pf_free(v);
    pf_free(flat);
    return st;
}

static pf_status compare_with_itself(const char *path)
{
    char text[512];
    int same = 0;
    pf_status st = compare(path, path, &same, text, sizeof text);
    return st ? st : same ? PF_OK : PF_EFORMAT;
}

static pf_status fetch_text(const char *path)
{
    char *text = NULL;
    pf_status st = pf_store_read_attr(path, "kind", &text);
    pf_free(text);
    return st;
}

static pf_status read_arrays(const char *path)
{
    int n = 0, fd = open(path, O_RDONLY);
    pf_foreign *f = NULL;
    pf_status st = pf_foreign_open(fd, path, &f);
    const pf_foreign_array *a = st ? NULL : pf_foreign_list(f, &n);
    for (int i = 0; i < n && !st; i++) {
        float v[6];
        st = pf_foreign_choose(f, i);
        if (!st) st = pf_foreign_read(f, 1, a[i].dim[0] - 1, v);
        if (!st && v[4] != 6) st = PF_EFORMAT;
    }
    pf_foreign_close(f);
    close(fd);
    return st;
}

static void make_ours(void)
{
    static float v[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t k[24] = {1, 0, 1};
    static const int32_t label[4] = {0, 1, 2, 3};
    pf_checkpoint c = small_checkpoint((pf_shape){1, 2, 3});
    c.adam_m = c.adam_v = v;
    must(pf_checkpoint_write(in_dir("c.h5"), &c));
    pf_dataset_info d = {.name = "d", .space = {.levels = 2, .shape = {2, 3, 1}}};
    pf_dataset_split s = {.split = "train", .n = 4, .values = k, .labels = label};
    must(pf_dataset_write(in_dir("d.h5"), &d, &s, 1));
    pf_results *r = NULL;
    row rows[2] = {{.image = 0, .nll = 1}, {.image = 1, .nll = 2}};
    pf_ledger l = ledger_of_rows(rows, 2);
    must(pf_results_open(in_dir("r.h5"), &about, &r));
    must(pf_results_put(r, 0, l.cell, 2));
    free(l.cell);
    must(pf_results_close(r));
    hid_t f = fresh(in_dir("f.h5"));
    add(f, "x", H5T_IEEE_F32LE, 1, (hsize_t[]){6}, H5T_NATIVE_FLOAT, v, 0);
    add(f, "params/w", H5T_IEEE_F32LE, 1, (hsize_t[]){6}, H5T_NATIVE_FLOAT, v, 0);
    attr(f, "kind", H5T_STD_I8LE, 0, H5T_NATIVE_FLOAT, v);
    H5Fclose(f);
}

static const struct {
    pf_status (*read)(const char *path);
    const char *file;
} readers[] = {{read_dataset, "d.h5"},        {read_checkpoint, "c.h5"},
               {read_results, "r.h5"},        {read_x, "f.h5"},
               {read_group, "f.h5"},          {fetch_text, "f.h5"},
               {read_group, "c.h5"},          {print_to_nowhere, "d.h5"},
               {print_to_nowhere, "c.h5"},    {print_to_nowhere, "r.h5"},
               {print_to_nowhere, "f.h5"},    {compare_with_itself, "d.h5"},
               {compare_with_itself, "f.h5"}, {compare_with_itself, "c.h5"},
               {read_arrays, "f.h5"}};

static void every_failure_frees_once(void (*fail_at)(int64_t), const char *what)
{
    make_ours();
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        const char *path = in_dir(readers[i].file);
        must(readers[i].read(path)); /* HDF5 keeps what it takes at first */
        int open = open_descriptors(), failures = 0;
        size_t live = pf_alloc_live();
        pf_status st = PF_EIO;
        for (int n = 1; st; n++) {
            fail_at(n);
            st = readers[i].read(path);
            fail_at(0);
            failures += st != PF_OK;
            if (pf_alloc_live() != live || open_descriptors() != open)
                fail_msg("%s %d of reader %zu leaves something open", what, n, i);
            if (n > 5000) fail_msg("%s: reader %zu never succeeds", what, i);
        }
        if (failures < 3) fail_msg("%s: reader %zu failed only %d times", what, i, failures);
        must(readers[i].read(path));
    }
}

static void every_failing_read_frees_once(void **state)
{
    (void)state;
    every_failure_frees_once(pf_h5_fail_read_at, "read");
}

static void every_failing_allocation_frees_once(void **state)
{
    (void)state;
    every_failure_frees_once(pf_alloc_fail_at, "allocation");
}

static void a_sealed_file_reads_the_same_in_a_child(void **state)
{
    (void)state;
    make_ours();
    pf_h5_read_in_child(1);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        must(readers[i].read(in_dir(readers[i].file)));
    pf_h5_read_in_child(0);
    must(read_results(in_dir("r.h5")));
}

/* ---- comparison ------------------------------------------------------------------------------ */

static hid_t start_pair(const char *path)
{
    const double v = 3;
    const char *word[2] = {"same", "word"};
    hid_t f = fresh(path), t = text_type(H5T_VARIABLE);
    add(f, "v", t, 1, (hsize_t[]){2}, t, word, 0);
    attr(f, "number", H5T_IEEE_F64LE, 0, H5T_NATIVE_DOUBLE, &v);
    attr(f, "words", t, 2, t, word);
    attr(f, "cpu", t, 0, t, &word[0]);
    H5Tclose(t);
    return f;
}

static void rewrite_attr(hid_t f, const char *name, hid_t type, hsize_t n, const void *v)
{
    H5Adelete(f, name);
    attr(f, name, type, n, type, v);
}

static void other_words(hid_t f)
{
    const char *word[2] = {"same", "ward"};
    hid_t t = text_type(H5T_VARIABLE), d = H5Dopen2(f, "v", H5P_DEFAULT);
    H5Dwrite(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, word);
    H5Dclose(d);
    H5Tclose(t);
}

static void other_text_attr(hid_t f)
{
    const char *word[2] = {"same", "ward"};
    hid_t t = text_type(H5T_VARIABLE);
    rewrite_attr(f, "words", t, 2, word);
    H5Tclose(t);
}

static void other_number(hid_t f)
{
    rewrite_attr(f, "number", H5T_NATIVE_DOUBLE, 0, (double[]){4});
}

static void other_number_type(hid_t f)
{
    rewrite_attr(f, "number", H5T_NATIVE_FLOAT, 0, (float[]){3});
}

static void other_number_shape(hid_t f)
{
    rewrite_attr(f, "number", H5T_NATIVE_DOUBLE, 1, (double[]){3});
}

static void more_attributes(hid_t f)
{
    attr(f, "more", H5T_NATIVE_INT, 0, H5T_NATIVE_INT, (int[]){1});
}

static void more_members(hid_t f)
{
    H5Gclose(H5Gcreate2(f, "w", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void other_cpu(hid_t f)
{
    const char *word = "another";
    hid_t t = text_type(H5T_VARIABLE);
    rewrite_attr(f, "cpu", t, 0, &word);
    H5Tclose(t);
}

static void identical_means_that_everything_was_compared(void **state)
{
    (void)state;
    static void (*const change[])(hid_t) = {
        other_words,        other_text_attr, other_number, other_number_type,
        other_number_shape, more_attributes, more_members, no_numbers};
    char text[4096];
    int same = 0;
    H5Fclose(start_pair(in_dir("a.h5")));
    H5Fclose(start_pair(in_dir("b.h5")));
    must(compare(in_dir("a.h5"), in_dir("b.h5"), &same, text, sizeof text));
    assert_true(same);
    assert_string_equal(text, "identical\n");
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        hid_t f = start_pair(in_dir("b.h5"));
        change[i](f);
        H5Fclose(f);
        must(compare(in_dir("a.h5"), in_dir("b.h5"), &same, text, sizeof text));
        if (same || strstr(text, "identical")) fail_msg("change %zu was not seen", i);
        must(compare(in_dir("b.h5"), in_dir("a.h5"), &same, text, sizeof text));
        if (same) fail_msg("change %zu was not seen the other way round", i);
    }
    hid_t f = start_pair(in_dir("b.h5"));
    other_cpu(f);
    H5Fclose(f);
    must(compare(in_dir("a.h5"), in_dir("b.h5"), &same, text, sizeof text));
    assert_true(same);
    assert_string_equal(text, "identical\n  made with another cpu\n");
    f = fresh(in_dir("a.h5"));
    no_numbers(f); /* the same in both, and no one can tell */
    H5Fclose(f);
    must(compare(in_dir("a.h5"), in_dir("a.h5"), &same, text, sizeof text));
    assert_false(same);
    assert_non_null(strstr(text, "cannot be compared"));
}

/* Nothing grows with the square of the number of members. */
static void many_members_are_read_at_once(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    const char *path = in_dir("many.h5");
    char name[32], text[256];
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(fapl, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    H5Pclose(fapl);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "params/%d", i);
        add(f, name, H5T_IEEE_F32LE, 1, (hsize_t[]){1}, H5T_NATIVE_FLOAT, (float[]){1}, 0);
    }
    H5Fclose(f);
    int n = 0, same = 0;
    pf_param *v = NULL;
    float *flat = NULL;
    must(pf_store_read_group(path, "params", &n, &v, &flat));
    assert_int_equal(n, MANY);
    pf_free(v);
    pf_free(flat);
    must(print_to_nowhere(path));
    must(compare(path, path, &same, text, sizeof text));
    assert_true(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_read_frees_once),
        cmocka_unit_test(every_failing_allocation_frees_once),
        cmocka_unit_test(a_sealed_file_reads_the_same_in_a_child),
        cmocka_unit_test(identical_means_that_everything_was_compared),
        cmocka_unit_test(many_members_are_read_at_once),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
