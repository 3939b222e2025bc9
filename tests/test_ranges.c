/* Files with a seal that holds and content that cannot be: each is refused by a sentence that names the
 * file and the place. */
#include <math.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "foreign.h"

enum { ROWS = 5, D = 6 };

/* Changes a file of ours, which drops its seal, and seals it again. */
static void edit(const char *path, void (*change)(hid_t f, const void *with), const void *with)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(fapl, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    hid_t f = H5Fopen(path, H5F_ACC_RDWR, fapl);
    H5Pclose(fapl);
    assert_true(f > 0);
    change(f, with);
    H5Fclose(f);
    must(pf_h5_seal_append(path));
}

/* ---- datasets -------------------------------------------------------------------------------- */

static void write_images(const char *path, int levels, const uint8_t *k)
{
    static const int32_t labels[ROWS] = {0, 1, 2, 1, 0};
    pf_dataset_info info = {.name = "d", .space = {.levels = levels, .shape = {2, 3, 1}}};
    pf_dataset_split s = {.split = "train", .n = ROWS, .values = k, .labels = labels};
    must(pf_dataset_write(path, &info, &s, 1));
}

static pf_status read_split(const char *path)
{
    uint8_t k[ROWS * D];
    double x[ROWS * D];
    int32_t label[ROWS];
    pf_dataset *d = NULL;
    PF_TRY(pf_dataset_open(path, "train", &d));
    const pf_dataset_info *a = pf_dataset_about(d);
    pf_status st = a->space.kind == PF_LEVELS ? pf_dataset_images(d, 0, a->n, k)
                                              : pf_dataset_x(d, 0, a->n, x);
    if (!st && a->has_labels) st = pf_dataset_labels(d, 0, a->n, label);
    if (!st) st = pf_dataset_check(d, 0, a->n);
    pf_dataset_close(d);
    return st;
}

static void replace_images(hid_t f, const void *type)
{
    static const double v[ROWS * D] = {1, 0, 1};
    H5Ldelete(f, "train/images", H5P_DEFAULT);
    add(f, "train/images", *(const hid_t *)type, 4, (hsize_t[]){ROWS, 2, 3, 1},
        H5T_NATIVE_DOUBLE, H5Tget_class(*(const hid_t *)type) == H5T_ENUM ? NULL : v, 0);
}

static void images_of_another_type_are_refused(void **state)
{
    (void)state;
    static const uint8_t k[ROWS * D] = {0};
    const char *path = in_dir("type.h5");
    hid_t boolean = H5Tenum_create(H5T_STD_U8LE);
    H5Tenum_insert(boolean, "FALSE", (uint8_t[]){0});
    H5Tenum_insert(boolean, "TRUE", (uint8_t[]){1});
    const hid_t types[] = {H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_STD_I8LE,  H5T_STD_U16LE,
                           H5T_STD_I32LE,  H5T_STD_I64LE,  H5T_STD_U64BE, boolean};
    const char *have[] = {"holds float32, want uint8", "holds float64, want uint8",
                          "holds int8, want uint8",    "holds uint16, want uint8",
                          "holds int32, want uint8",   "holds int64, want uint8",
                          "holds uint64, want uint8",  "holds other8, want uint8"};
    for (int i = 0; i < 8; i++) {
        write_images(path, 256, k);
        must(read_split(path));
        edit(path, replace_images, &types[i]);
        refused(path, read_split(path), have[i]);
        assert_non_null(strstr(pf_error_message(), "the dataset /train/images "));
    }
    write_images(path, 256, k);
    hid_t same = H5T_STD_U8BE;
    edit(path, replace_images, &same); /* the check refuses types, not edits */
    must(read_split(path));
    H5Tclose(boolean);
}

static void pixels_reach_their_levels_by_name(void **state)
{
    (void)state;
    const char *path = in_dir("levels.h5");
    char why[96];
    for (int levels = 2; levels <= 255; levels += 11)
        for (int at = 0; at < ROWS * D; at += 7) {
            uint8_t k[ROWS * D] = {0};
            k[(at + 3) % (ROWS * D)] = (uint8_t)(levels - 1);
            write_images(path, levels, k);
            must(read_split(path));
            k[at] = (uint8_t)levels;
            write_images(path, levels, k);
            snprintf(why, sizeof why, "image %d holds the value %d, the dataset has %d levels",
                     at / D, levels, levels);
            refused(path, read_split(path), why);
        }
}

static void replace_tokens(hid_t f, const void *v)
{
    H5Ldelete(f, "train/tokens", H5P_DEFAULT);
    add(f, "train/tokens", H5T_NATIVE_INT32, 2, (hsize_t[]){ROWS, D}, H5T_NATIVE_INT32, v, 0);
}

static pf_status read_tokens(const char *path)
{
    uint8_t k[ROWS * D];
    pf_dataset *d = NULL;
    PF_TRY(pf_dataset_open(path, "train", &d));
    pf_status st = pf_dataset_tokens(d, 0, ROWS, k);
    pf_dataset_close(d);
    return st;
}

static void tokens_and_points_are_checked_by_row(void **state)
{
    (void)state;
    const char *path = in_dir("rows.h5");
    pf_dataset_info info = {.name = "d",
                            .space = {.kind = PF_TOKENS, .shape = {1, 1, D}, .levels = 9}};
    uint8_t t[ROWS * D] = {8, 0};
    int32_t wide[ROWS * D] = {8, 0};
    pf_dataset_split s = {.split = "train", .n = ROWS, .values = t};
    must(pf_dataset_write(path, &info, &s, 1));
    must(read_split(path));
    t[D * 3 + 2] = 9;
    must(pf_dataset_write(path, &info, &s, 1));
    refused(path, read_split(path), "row 3 holds the value 9");
    edit(path, replace_tokens, wide); /* as files were before tokens were narrow */
    must(read_split(path));
    const int32_t wrong[] = {9, -1, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        wide[D * i + 2] = wrong[i];
        edit(path, replace_tokens, wide);
        wide[D * i + 2] = 0;
        char why[64];
        snprintf(why, sizeof why, "row %d holds the value %d", i, wrong[i]);
        refused(path, read_split(path), why);
        refused(path, read_tokens(path), why);
    }
    double x[ROWS * D] = {-1e300, 1e300};
    const double infinite[] = {NAN, INFINITY, -INFINITY};
    info.space.kind = PF_REAL;
    info.space.levels = 0;
    s.values = x;
    must(pf_dataset_write(path, &info, &s, 1));
    must(read_split(path));
    for (int i = 0; i < 3; i++) {
        x[ROWS * D - 1 - i] = infinite[i];
        must(pf_dataset_write(path, &info, &s, 1));
        x[ROWS * D - 1 - i] = 0;
        refused(path, read_split(path), "row 4 holds a value that is not finite");
    }
}

static void text_labels(hid_t f, const void *with)
{
    (void)with;
    const char *word[ROWS] = {"1", "2", "3", "4", "5"};
    hid_t t = text_type(H5T_VARIABLE);
    H5Ldelete(f, "train/labels", H5P_DEFAULT);
    add(f, "train/labels", t, 1, (hsize_t[]){ROWS}, t, word, 0);
    H5Tclose(t);
}

static void wide_labels(hid_t f, const void *with)
{
    H5Ldelete(f, "train/labels", H5P_DEFAULT);
    add(f, "train/labels", H5T_STD_I64LE, 1, (hsize_t[]){ROWS}, H5T_NATIVE_INT64, with, 0);
}

static void float_labels(hid_t f, const void *with)
{
    H5Ldelete(f, "train/labels", H5P_DEFAULT);
    add(f, "train/labels", H5T_IEEE_F32LE, 1, (hsize_t[]){ROWS}, H5T_NATIVE_INT64, with, 0);
}

static void labels_are_integers_that_fit(void **state)
{
    (void)state;
    static const uint8_t k[ROWS * D] = {0};
    const char *path = in_dir("labels.h5");
    const int64_t fit[ROWS] = {INT32_MIN, INT32_MAX, 3},
                  wide[ROWS] = {0, 1, (int64_t)INT32_MAX + 1, 0, 0};
    write_images(path, 256, k);
    edit(path, wide_labels, fit);
    must(read_split(path));
    edit(path, wide_labels, wide);
    refused(path, read_split(path), "row 2 has the label 2147483648");
    edit(path, float_labels, fit);
    refused(path, read_split(path), "/train/labels holds float32, want integers");
    edit(path, text_labels, NULL);
    refused(path, read_split(path), "/train/labels holds text, want integers");
}

static void declare_rows(hid_t f, const void *with)
{
    const hsize_t *n = with;
    hsize_t chunk[4] = {64, 2, 3, 1};
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    if (n[0] >= chunk[0]) H5Pset_chunk(p, 4, chunk);
    H5Ldelete(f, "train/images", H5P_DEFAULT);
    H5Ldelete(f, "train/labels", H5P_DEFAULT);
    add(f, "train/images", H5T_STD_U8LE, 4, (hsize_t[]){n[0], n[1], n[2], n[3]}, 0, NULL, p);
    H5Pclose(p);
}

static void rows_that_are_not_stored_are_refused(void **state)
{
    (void)state;
    static const uint8_t k[ROWS * D] = {0};
    const char *path = in_dir("declared.h5");
    const hsize_t dims[][4] = {{1 << 28, 2, 3, 1},          {(hsize_t)1 << 62, 2, 3, 1},
                               {(hsize_t)1 << 31, 4, 3, 1}, {1 << 20, 1 << 16, 1 << 16, 1},
                               {4, 1 << 23, 1 << 23, 1},    {4, 0, 3, 1}};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        write_images(path, 256, k);
        edit(path, declare_rows, dims[i]);
        pf_dataset *d = NULL;
        refused(path, pf_dataset_open(path, "train", &d), "");
    }
}

/* ---- checkpoints ------------------------------------------------------------------------------- */

static void write_checkpoint(const char *path)
{
    pf_checkpoint c = small_checkpoint((pf_shape){8, 8, 1});
    c.step = 4;
    must(pf_checkpoint_write(path, &c));
}

static pf_status read_checkpoint(const char *path)
{
    pf_checkpoint c;
    pf_status st = pf_checkpoint_read(path, 1, &c);
    if (!st) pf_checkpoint_free(&c);
    return st;
}

typedef struct setting {
    const char *name;
    int n;
    int64_t v[4];
} setting;

static void set_state(hid_t f, const void *with)
{
    const setting *s = with;
    hid_t g = H5Gopen2(f, "state", H5P_DEFAULT);
    H5Adelete(g, s->name);
    attr(g, s->name, H5T_STD_I64LE, (hsize_t)(s->n == 1 ? 0 : s->n), H5T_NATIVE_INT64, s->v);
    H5Gclose(g);
}

static void counters_of_a_checkpoint_are_held_against_its_parameters(void **state)
{
    (void)state;
    const char *path = in_dir("c.h5");
    static const setting wrong[] = {
        {"floats", 1, {(int64_t)3 << 28}},
        {"floats", 1, {5}},
        {"floats", 1, {-1}},
        {"floats", 1, {INT64_MAX}},
        {"floats", 2, {6, 6}},
        {"shape", 3, {((int64_t)1 << 32) + 8, 8, 1}},
        {"shape", 3, {8, -8, 1}},
        {"shape", 3, {8, 8, INT64_MIN}},
        {"shape", 4, {8, 8, 1, 1}},
        {"shards", 1, {((int64_t)1 << 32) + 1}},
        {"step", 1, {-1}},
        {"step", 3, {4, 4, 4}},
    };
    static const setting right = {"floats", 1, {6}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_checkpoint(path);
        edit(path, set_state, &wrong[i]);
        refused(path, read_checkpoint(path), "");
        assert_null(strstr(pf_error_message(), "no memory"));
    }
    write_checkpoint(path);
    edit(path, set_state, &right);
    must(read_checkpoint(path));
}

static void set_layout(hid_t f, const void *with)
{
    int64_t crc = pf_h5_crc(with, 4 * sizeof(int64_t));
    H5Ldelete(f, "state/layout", H5P_DEFAULT);
    add(f, "state/layout", H5T_STD_I64LE, 2, (hsize_t[]){2, 2}, H5T_NATIVE_INT64, with, 0);
    hid_t d = H5Dopen2(f, "state/layout", H5P_DEFAULT);
    attr(d, "crc32", H5T_STD_I64LE, 0, H5T_NATIVE_INT64, &crc);
    H5Dclose(d);
}

static void parameters_lie_side_by_side_in_their_block(void **state)
{
    (void)state;
    const char *path = in_dir("layout.h5");
    static const int64_t wrong[][4] = {
        {0, 1, 2, 1}, {0, 1, 5, 1}, {-4, 1, 4, 1}, {0, 1, INT64_MAX, 1}, {INT64_MIN, 1, 4, 1}};
    static const int64_t right[4] = {2, 1, 0, 1};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_checkpoint(path);
        edit(path, set_layout, wrong[i]);
        refused(path, read_checkpoint(path), "is damaged");
    }
    write_checkpoint(path);
    edit(path, set_layout, right); /* in any order */
    must(read_checkpoint(path));
}

/* ---- attributes and sums ----------------------------------------------------------------------- */

static void numbers_for_people_are_one_number(void **state)
{
    (void)state;
    static char text[8192];
    static double many[4000];
    const char *path = in_dir("info.h5");
    const uint8_t done[3] = {1, 1, 1};
    const double one = 1.25;
    for (int kind = 0; kind < 3; kind++) {
        hid_t f = fresh(path), t = text_type(8);
        add(f, "done", H5T_STD_U8LE, 1, (hsize_t[]){3}, H5T_NATIVE_UINT8, done, 0);
        hid_t word = text_type(8);
        attr(f, "kind", word, 0, word, "results\0");
        if (kind == 0) attr(f, "nll", H5T_IEEE_F64LE, 0, H5T_NATIVE_DOUBLE, &one);
        if (kind == 1) attr(f, "nll", H5T_IEEE_F64LE, 4000, H5T_NATIVE_DOUBLE, many);
        if (kind == 2) attr(f, "nll", t, 0, t, "1.25\0\0\0\0");
        attr(f, "steps", H5T_IEEE_F64LE, 4000, H5T_NATIVE_DOUBLE, many);
        H5Tclose(word);
        H5Tclose(t);
        H5Fclose(f);
        FILE *out = fmemopen(text, sizeof text, "w");
        must(pf_store_info(path, out));
        fclose(out);
        assert_non_null(strstr(text, kind ? "(nll not readable)" : "1.2500 +-"));
        assert_non_null(strstr(text, "(steps not readable)"));
    }
}

static void sums_of_sizes_do_not_wrap(void **state)
{
    (void)state;
    const char *path = in_dir("sum.h5");
    char name[16];
    hsize_t chunk = 4096;
    hid_t p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, 1, &chunk);
    for (int deflated = 0; deflated < 2; deflated++) {
        if (deflated) H5Pset_deflate(p, 9);
        hid_t f = fresh(path);
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "params/a%d", i);
            add(f, name, H5T_IEEE_F32LE, 1, (hsize_t[]){((hsize_t)1 << 60) - 1}, 0, NULL, p);
        }
        add(f, "params/b", H5T_IEEE_F32LE, 1, (hsize_t[]){5}, 0, NULL, 0);
        H5Fclose(f);
        int n = 0;
        pf_param *v = NULL;
        float *flat = NULL;
        refused(path, pf_store_read_group(path, "params", &n, &v, &flat), "are stored");
        must(pf_h5_seal_append(path));
        refused(path, pf_store_read_group(path, "params", &n, &v, &flat), "are stored");
    }
    H5Pclose(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_of_another_type_are_refused),
        cmocka_unit_test(pixels_reach_their_levels_by_name),
        cmocka_unit_test(tokens_and_points_are_checked_by_row),
        cmocka_unit_test(labels_are_integers_that_fit),
        cmocka_unit_test(rows_that_are_not_stored_are_refused),
        cmocka_unit_test(counters_of_a_checkpoint_are_held_against_its_parameters),
        cmocka_unit_test(parameters_lie_side_by_side_in_their_block),
        cmocka_unit_test(numbers_for_people_are_one_number),
        cmocka_unit_test(sums_of_sizes_do_not_wrap),
    };
    pf_log_setup(0);
    pf_h5_quiet();
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
