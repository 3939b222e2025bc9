/* Arrays of NumPy and HDF5: what their names, types and shapes make of them, to the exact value. */
#include <hdf5.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "source_files.h"

#define HEAD(type, order, shape) \
    "{'descr': '" type "', 'fortran_order': " order ", 'shape': " shape ", }\n"

static pf_dataset *opened(const char *out, const char *split)
{
    pf_dataset *d = NULL;
    must(pf_dataset_open(in_dir(out), split, &d));
    return d;
}

static void points_are(const char *name, int n, int width, const double *want)
{
    double got[64];
    assert_int_equal(access(in_dir(name), F_OK), 0);
    must(convert(name, "p.h5"));
    pf_dataset *d = opened("p.h5", "train");
    assert_int_equal(pf_dataset_about(d)->space.kind, PF_REAL);
    assert_int_equal(pf_dataset_about(d)->n, n);
    assert_int_equal(pf_dataset_about(d)->space.shape.c, width);
    must(pf_dataset_x(d, 0, n, got));
    for (int i = 0; i < n * width; i++)
        if (got[i] != want[i])
            fail_msg("%s: value %d is %.17g, not %.17g", name, i, got[i], want[i]);
    pf_dataset_close(d);
}

/* The bytes 0, 1, 2, ... as each type, in both orders of bytes and of axes. */
static void every_number_type_is_read_to_the_value(void **state)
{
    (void)state;
    put_npy("i1", HEAD("|i1", "False", "(2, 2)"), 4);
    points_are("i1", 2, 2, (double[]){0, 1, 2, 3});
    put_npy("u2", HEAD("<u2", "False", "(2, 2)"), 8);
    points_are("u2", 2, 2, (double[]){0x100, 0x302, 0x504, 0x706});
    put_npy("i2", HEAD(">i2", "True", "(2, 2)"), 8);
    points_are("i2", 2, 2, (double[]){0x001, 0x405, 0x203, 0x607});
    put_npy("i4", HEAD(">i4", "False", "(2,)"), 8);
    points_are("i4", 2, 1, (double[]){0x00010203, 0x04050607});
    put_npy("u4", HEAD("<u4", "True", "(1, 2)"), 8);
    points_are("u4", 1, 2, (double[]){0x03020100, 0x07060504});
    put_npy("i8", HEAD(">i8", "False", "(1, 1)"), 8);
    points_are("i8", 1, 1, (double[]){0x0001020304050607});
    put_npy("f8", HEAD(">f8", "False", "(1, 1)"), 8);
    points_are("f8", 1, 1, (double[]){0x0.1020304050607p-1022});
    put_npy("f4", HEAD("<f4", "False", "(1, 1)"), 4);
    points_are("f4", 1, 1, (double[]){0x1.0402000000000p-121});
    put_npy("f2", HEAD("<f2", "False", "(1, 3)"), 6);
    points_are("f2", 1, 3,
               (double[]){0x1.0000000000000p-16, 0x1.8100000000000p-15, 0x1.4100000000000p-14});
    /* beyond 2^53: the last byte is the highest */
    put_npy("wide", HEAD("<i8", "False", "(1,)"), 8);
    refused("wide", "row 0", "2^53");
    put_npy("wide", HEAD("<u8", "False", "(1,)"), 8);
    refused("wide", "row 0", "2^53");
}

static void images_are(const char *name, int h, int w, int c, const unsigned char *want)
{
    unsigned char got[256];
    must(convert(name, "i.h5"));
    pf_dataset *d = opened("i.h5", "train");
    pf_shape s = pf_dataset_about(d)->space.shape;
    assert_true(s.h == h && s.w == w && s.c == c);
    int n = (int)pf_dataset_about(d)->n;
    must(pf_dataset_images(d, 0, n, got));
    assert_memory_equal(got, want, (size_t)(n * h * w * c));
    pf_dataset_close(d);
}

static void axes_of_images_find_their_place(void **state)
{
    (void)state;
    unsigned char want[24];
    for (int i = 0; i < 24; i++) want[i] = (unsigned char)i;
    put_npy("c", HEAD("|u1", "False", "(2, 2, 2, 3)"), 24);
    images_are("c", 2, 2, 3, want);
    put_npy("grey", HEAD("|u1", "False", "(2, 3, 4)"), 24);
    images_are("grey", 3, 4, 1, want);
    for (int n = 0; n < 2;
         n++) /* image n, channel c, row y, column x, as Fortran orders them */
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++)
                for (int c = 0; c < 3; c++)
                    want[((n * 2 + y) * 2 + x) * 3 + c] =
                        (unsigned char)(n + 2 * y + 4 * x + 8 * c);
    put_npy("f", HEAD("|u1", "True", "(2, 2, 2, 3)"), 24);
    images_are("f", 2, 2, 3, want);
    for (int n = 0; n < 2; n++)
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++)
                for (int c = 0; c < 3; c++)
                    want[((n * 2 + y) * 2 + x) * 3 + c] =
                        (unsigned char)(n * 12 + c * 4 + y * 2 + x);
    put_npy("planes", HEAD("|u1", "False", "(2, 3, 2, 2)"), 24);
    images_are("planes", 2, 2, 3, want);
    for (int n = 0; n < 2; n++)
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++)
                for (int c = 0; c < 3; c++)
                    want[((n * 2 + y) * 2 + x) * 3 + c] =
                        (unsigned char)(n + 2 * c + 6 * y + 12 * x);
    put_npy("planes", HEAD("|u1", "True", "(2, 3, 2, 2)"), 24);
    images_are("planes", 2, 2, 3, want);
}

static void headers_are_literals_of_three_keys(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{'shape': (2, 2), 'descr': '<i1', 'fortran_order': False}",
        "{\"descr\":\"|i1\",\"fortran_order\":False,\"shape\":(2,2,)}   ",
        " { 'descr' : '=i1' , 'fortran_order' : False , 'shape' : ( 2L , 2L ) , }\n\n"};
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "[]",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 2)",
        "{'descr': '|i1', 'fortran_order': False}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 2), 'more': 1}",
        "{'descr': '|i1', 'descr': '|i1', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': '|i1', 'fortran_order': 0, 'shape': (2, 2)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (4)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': [2, 2]}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, -2)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 1+1)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (99999999999999999999, 2)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (4294967296, 4294967296, "
        "4294967296)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 2, 2)}",
        "{'descr': '|i1', 'fortran_order': False, 'shape': (2, 2)} x",
        "{'descr': '|i3', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': 'i1', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': '|q1', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': [, 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': __import__('os'), 'fortran_order': False, 'shape': (2, 2)}"};
    static const struct {
        const char *type, *says;
    } other[] = {{"'|O'", "pickled"},     {"'<c8'", "complex"},
                 {"'|S3'", "text"},       {"'<U3'", "text"},
                 {"'<M8[D]'", "dates"},   {"'<f16'", "64 bits"},
                 {"'|V4'", "structured"}, {"[('a', '<f4', (2,)), ('b', '|i1')]", "structured"}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        put_npy("good", good[i], 4);
        points_are("good", 2, 2, (double[]){0, 1, 2, 3});
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_npy("bad", bad[i], 4);
        refused("bad", "bad", "");
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char head[256];
        snprintf(head, sizeof head, "{'descr': %s, 'fortran_order': False, 'shape': (2, 2), }",
                 other[i].type);
        put_npy("other", head, 64);
        refused("other", "other", other[i].says);
    }
}

/* A file is as long as its header says. */
static void headers_of_arrays_are_held_against_the_file(void **state)
{
    (void)state;
    static const char *const shapes[] = {HEAD("|u1", "False", "(2, 2, 3)"),
                                         HEAD("|u1", "False", "(1, 2, 2)"),
                                         HEAD("|u1", "False", "(4611686018427387904, 2, 2)"),
                                         HEAD("<f8", "False", "(1073741824, 1024)"),
                                         HEAD("|u1", "False", "(0, 2, 2)"),
                                         HEAD("|u1", "False", "(2, 0, 2)"),
                                         HEAD("|u1", "False", "()")};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        put_npy("size", shapes[i], 8);
        refused("size", "size", "");
    }
    size_t n = 0;
    unsigned char *b = slurp(put_npy("whole", HEAD("|u1", "False", "(2, 2, 2)"), 8), &n),
                  gz[512];
    for (size_t keep = 1; keep < n; keep += 3) {
        spill(in_dir("cut"), b, keep);
        refused("cut", "cut", "");
    }
    spill(in_dir("p.npy.gz"), gz, packed(b, n, gz, sizeof gz));
    images_are("p.npy.gz", 2, 2, 1, (unsigned char[]){0, 1, 2, 3, 4, 5, 6, 7});
    b[6] = 4;
    spill(in_dir("version"), b, n);
    refused("version", "version 4", "");
    free(b);
}

/* ---- archives ---- */

static const double x[6] = {0.5, -1, 2, 3, 4, 1e300}, c[3] = {7, 8, 9.5};
static const int64_t y[3] = {5, -1, INT32_MAX}, wide_y[3] = {0, 1, INT64_C(1) << 31};

static void an_archive_gives_rows_labels_and_conditions_of_splits(void **state)
{
    (void)state;
    double got[6];
    int32_t labels[3];
    const pf_column all[] = {{"x_train", 2, x, NULL},
                             {"y_train", 1, NULL, y},
                             {"conditions_train", 1, c, NULL},
                             {"testFeatures", 2, x, NULL},
                             {"latest", 1, c, NULL}};
    must(pf_npz_write(in_dir("all.npz"), 3, all, 5));
    must(convert("all.npz", "a.h5"));
    pf_dataset *d = opened("a.h5", "train");
    must(pf_dataset_x(d, 0, 3, got));
    assert_memory_equal(got, x, sizeof x);
    must(pf_dataset_labels(d, 0, 3, labels));
    for (int i = 0; i < 3; i++) assert_int_equal(labels[i], y[i]);
    must(pf_dataset_conditions(d, 0, 3, got));
    assert_memory_equal(got, c, sizeof c);
    pf_dataset_close(d);
    d = opened("a.h5", "test");
    must(pf_dataset_x(d, 0, 3, got));
    assert_false(pf_dataset_about(d)->has_labels || pf_dataset_about(d)->space.conditions);
    pf_dataset_close(d);
    /* all of it as one split, or in memory: one behind the other */
    pf_points p;
    const pf_column two[] = {{"x_test", 2, x, NULL}, {"x_train", 2, x, NULL}};
    must(pf_npz_write(in_dir("two.npz"), 3, two, 2));
    must(pf_points_read(in_dir("two.npz"), NULL, &p));
    assert_int_equal(p.n, 6);
    assert_memory_equal(p.x + 6, x, sizeof x);
    pf_points_free(&p);
}

static void what_an_archive_leaves_open_is_asked(void **state)
{
    (void)state;
    static const struct {
        pf_column c[2];
        const char *one, *two;
    } bad[] = {{{{"x", 2, x, NULL}, {"data", 2, x, NULL}}, "x", "data"},
               {{{"x_train", 2, x, NULL}, {"x", 2, x, NULL}}, "x_train", "split train"},
               {{{"foo", 2, x, NULL}, {"bar", 1, c, NULL}}, "foo, bar", "images"},
               {{{"x_train_test", 2, x, NULL}, {"y", 1, NULL, y}}, "x_train_test", "--split"},
               {{{"x", 2, x, NULL}, {"y", 2, x, NULL}}, "y", "argmax"},
               {{{"x", 2, x, NULL}, {"y", 1, c, NULL}}, "row 2", "9.5"},
               {{{"x", 2, x, NULL}, {"y", 1, NULL, wide_y}}, "row 2", "2147483648"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unlink(in_dir("bad.npz"));
        must(pf_npz_write(in_dir("bad.npz"), 3, bad[i].c, 2));
        refused("bad.npz", bad[i].one, bad[i].two);
    }
}

/* Every bit of an archive, and every length: the right content, or one sentence. */
static void damaged_archives_are_not_believed(void **state)
{
    (void)state;
    size_t n = 0;
    const pf_column two[] = {{"x", 2, x, NULL}, {"labels", 1, NULL, y}};
    must(pf_npz_write(in_dir("w.npz"), 3, two, 2));
    unsigned char *b = slurp(in_dir("w.npz"), &n);
    for (size_t i = 0; i < n; i += 1) {
        pf_points p;
        b[i] ^= (unsigned char)(1u << i % 8);
        spill(in_dir("flip.npz"), b, n);
        b[i] ^= (unsigned char)(1u << i % 8);
        if (pf_points_read(in_dir("flip.npz"), NULL, &p)) {
            assert_non_null(strstr(pf_error_message(), "flip.npz"));
        } else {
            assert_int_equal(p.n, 3);
            assert_memory_equal(p.x, x, sizeof x);
        }
        pf_points_free(&p);
    }
    for (size_t keep = 1; keep < n; keep += 13) {
        spill(in_dir("cut.npz"), b, keep);
        refused("cut.npz", "cut.npz", "");
    }
    free(b);
}

/* ---- HDF5 of others ---- */

static void put(hid_t f, const char *name, hid_t type, int rank, const hsize_t *dim,
                const void *v)
{
    hid_t s = H5Screate_simple(rank, dim, NULL), l = H5Pcreate(H5P_LINK_CREATE);
    hid_t memory = type == H5T_STD_I16BE ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE;
    H5Pset_create_intermediate_group(l, 1);
    hid_t d = H5Dcreate2(f, name, type, s, l, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(d > 0 && H5Dwrite(d, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) >= 0);
    H5Dclose(d);
    H5Pclose(l);
    H5Sclose(s);
}

static void hdf5_of_others_is_read_by_its_names(void **state)
{
    (void)state;
    double got[6];
    int32_t labels[2];
    hid_t f = H5Fcreate(in_dir("own.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(f, "train/images", H5T_STD_U8LE, 3, (hsize_t[]){1, 2, 2}, (double[]){1, 2, 255, 4});
    put(f, "valid/images", H5T_STD_U8LE, 3, (hsize_t[]){2, 2, 2},
        (double[]){1, 2, 3, 4, 5, 6, 7, 8});
    put(f, "valid/labels", H5T_STD_I16BE, 1, (hsize_t[]){2}, (int64_t[]){3, -4});
    put(f, "valid/conditions", H5T_IEEE_F32BE, 2, (hsize_t[]){2, 3}, x);
    H5Fclose(f);
    refused("own.h5", "own.h5", "not finite"); /* 1e300 as float32 */
    f = H5Fopen(in_dir("own.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    H5Ldelete(f, "valid/conditions", H5P_DEFAULT);
    put(f, "valid/conditions", H5T_IEEE_F64BE, 2, (hsize_t[]){2, 3}, x);
    H5Fclose(f);
    must(convert("own.h5", "h.h5"));
    pf_dataset *d = opened("h.h5", "valid");
    unsigned char k[8];
    must(pf_dataset_images(d, 0, 2, k));
    assert_memory_equal(k, "\1\2\3\4\5\6\7\10", 8);
    must(pf_dataset_labels(d, 0, 2, labels));
    assert_true(labels[0] == 3 && labels[1] == -4);
    must(pf_dataset_conditions(d, 0, 2, got));
    assert_memory_equal(got, x, sizeof x);
    pf_dataset_close(d);
    d = opened("h.h5", "train");
    must(pf_dataset_images(d, 0, 1, k));
    assert_memory_equal(k, "\1\2\377\4", 4);
    pf_dataset_close(d);
    refused("h.h5", "h.h5", "a dataset file of probflow");
}

/* Allocations of ours, in the child that reads too. */
static void every_failing_allocation_of_hdf5_frees_once(void **state)
{
    (void)state;
    hid_t f = H5Fcreate(in_dir("m.hdf5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(f, "x", H5T_IEEE_F32LE, 2, (hsize_t[]){1, 2}, x);
    H5Fclose(f);
    pf_status st = PF_EMEM;
    for (int at = 1; st; at++) {
        pf_points p;
        size_t live = pf_alloc_live();
        assert_true(at < 500);
        pf_alloc_fail_at(at);
        st = pf_points_read(in_dir("m.hdf5"), NULL, &p);
        pf_alloc_fail_at(0);
        if (st) assert_true(strlen(pf_error_message()) > 10);
        pf_points_free(&p);
        assert_int_equal(pf_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_type_is_read_to_the_value),
        cmocka_unit_test(axes_of_images_find_their_place),
        cmocka_unit_test(headers_are_literals_of_three_keys),
        cmocka_unit_test(headers_of_arrays_are_held_against_the_file),
        cmocka_unit_test(an_archive_gives_rows_labels_and_conditions_of_splits),
        cmocka_unit_test(what_an_archive_leaves_open_is_asked),
        cmocka_unit_test(damaged_archives_are_not_believed),
        cmocka_unit_test(hdf5_of_others_is_read_by_its_names),
        cmocka_unit_test(every_failing_allocation_of_hdf5_frees_once),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
