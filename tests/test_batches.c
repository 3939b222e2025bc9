/* CIFAR batches, IDX labels of every integer, and the folders they come in. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "source_files.h"

enum { PLANES = 3072 };

/* n records with `labels` bytes before the pixels; byte k of a record's pixels is a pattern of its salt. */
static void put_batch(const char *name, int n, int labels, const unsigned char *label,
                      unsigned salt)
{
    size_t record = (size_t)labels + PLANES;
    unsigned char *b = malloc((size_t)n * record);
    for (int i = 0; i < n; i++) {
        memcpy(b + (size_t)i * record, label + i * labels, (size_t)labels);
        pattern(b + (size_t)i * record + labels, PLANES, salt + (unsigned)i);
    }
    spill(with_folders(name), b, (size_t)n * record);
    free(b);
}

/* Row i of a split is the record of this salt, with this label and coarse label (-1: none). */
static void row_is(const char *split, int64_t i, unsigned salt, int label, int coarse)
{
    unsigned char want[PLANES], got[PLANES];
    int32_t y = -1, z = -1;
    pf_dataset *d = NULL;
    must(pf_dataset_open(in_dir("b.h5"), split, &d));
    must(pf_dataset_images(d, i, 1, got));
    must(pf_dataset_labels(d, i, 1, &y));
    assert_int_equal(pf_dataset_about(d)->has_coarse, coarse >= 0);
    if (coarse >= 0) must(pf_dataset_coarse(d, i, 1, &z));
    pf_dataset_close(d);
    pattern(want, PLANES, salt);
    for (int p = 0; p < 1024; p++)
        for (int c = 0; c < 3; c++) assert_int_equal(got[3 * p + c], want[1024 * c + p]);
    assert_int_equal(y, label);
    assert_int_equal(z, coarse);
}

static void cifar100_has_fine_classes_and_coarse_ones(void **state)
{
    (void)state;
    put_batch("train.bin", 3, 2, (const unsigned char[]){19, 99, 0, 0, 7, 42}, 1);
    put_batch("test.bin", 1, 2, (const unsigned char[]){4, 5}, 9);
    const char *src[] = {in_dir("train.bin"), in_dir("test.bin")};
    must(pf_data_convert(src, NULL, 2, NULL, in_dir("b.h5")));
    row_is("train", 0, 1, 99, 19);
    row_is("train", 2, 3, 42, 7);
    row_is("test", 0, 9, 5, 4);
    /* a class of the one is no class of the other, whatever their splits */
    put_batch("test_batch.bin", 1, 1, (const unsigned char[]){3}, 20);
    const char *ten = in_dir("test_batch.bin");
    for (int i = 0; i < 2; i++) {
        const char *mixed[] = {i ? ten : src[0], i ? src[0] : ten};
        assert_int_equal(pf_data_convert(mixed, NULL, 2, NULL, in_dir("x.h5")), PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), mixed[0]));
        assert_non_null(strstr(pf_error_message(), mixed[1]));
    }
}

static void records_of_cifar_are_whole_and_labelled(void **state)
{
    (void)state;
    unsigned char b[3074] = {0};
    spill(in_dir("odd.bin"), b, 3072);
    refused("odd.bin", "odd.bin", "3073");
    b[0] = 10;
    spill(in_dir("label.bin"), b, 3073);
    refused("label.bin", "label.bin", "label 10");
    b[0] = 20;
    spill(in_dir("coarse.bin"), b, 3074);
    refused("coarse.bin", "coarse.bin", "label 20");
    b[0] = 19, b[1] = 100;
    spill(in_dir("fine.bin"), b, 3074);
    refused("fine.bin", "fine.bin", "label 100");
    memcpy(b, "\0\0\10\3", 4); /* begins as IDX does */
    spill(in_dir("dark.bin"), b, 3073);
    must(convert("dark.bin", "b.h5"));
}

/* A length that both have: the labels decide, and where they cannot, nothing is guessed. */
static void a_length_of_both_is_decided_by_labels(void **state)
{
    (void)state;
    size_t n = 3073 * 3074;
    unsigned char *b = calloc(n, 1);
    spill(in_dir("both.bin"), b, n);
    refused("both.bin", "both.bin", "CIFAR-100");
    assert_non_null(strstr(pf_error_message(), "CIFAR-10 and"));
    memset(b, 12, n); /* no class of CIFAR-10 */
    spill(in_dir("both.bin"), b, n);
    must(convert("both.bin", "b.h5"));
    pf_dataset *d = NULL;
    must(pf_dataset_open(in_dir("b.h5"), "train", &d));
    assert_int_equal(pf_dataset_about(d)->n, 3073);
    pf_dataset_close(d);
    memset(b, 200, n);
    spill(in_dir("both.bin"), b, n);
    refused("both.bin", "both.bin", "CIFAR-10 binary");
    free(b);
}

/* ---- folders ---- */

static void a_folder_of_batches_is_read_in_the_order_of_its_numbers(void **state)
{
    (void)state;
    for (int i = 1; i <= 11; i++) {
        char name[64];
        snprintf(name, sizeof name, "ten/data_batch_%d.bin", i);
        put_batch(name, 1, 1, (const unsigned char[]){(unsigned char)(i % 3)}, (unsigned)i);
    }
    put_batch("ten/test_batch.bin", 1, 1, (const unsigned char[]){2}, 50);
    put_text("ten/readme.html", "<html>");
    put_text("ten/batches.meta.txt", "airplane\ncar \r\nbird\n\n");
    must(convert("ten", "b.h5"));
    for (int i = 1; i <= 11; i++) row_is("train", i - 1, (unsigned)i, i % 3, -1);
    row_is("test", 0, 50, 2, -1);
    classes_are("b.h5", "airplane\ncar\nbird");
    put_text("ten/batches.meta.txt", "airplane\ncar\n");
    refused("ten", "batches.meta.txt", "label 2");
    put_batch("ten/data_batch_2.bin", 1, 1, (const unsigned char[]){77}, 1);
    refused("ten", "ten/data_batch_2.bin", "label 77");
}

static void a_folder_of_cifar100_names_both_kinds_of_classes(void **state)
{
    (void)state;
    put_batch("hundred/train.bin", 2, 2, (const unsigned char[]){1, 2, 0, 1}, 1);
    put_batch("hundred/test.bin", 1, 2, (const unsigned char[]){0, 0}, 5);
    put_text("hundred/fine_label_names.txt", "apple\nbaby\nbear\n");
    put_text("hundred/coarse_label_names.txt", "fruit\npeople");
    must(convert("hundred", "b.h5"));
    row_is("train", 1, 2, 1, 0);
    row_is("test", 0, 5, 0, 0);
    classes_are("b.h5", "apple\nbaby\nbear");
    put_text("hundred/coarse_label_names.txt", "fruit");
    refused("hundred", "coarse_label_names.txt", "label 1");
    put_text("hundred/coarse_label_names.txt", "\n\n");
    refused("hundred", "coarse_label_names.txt", "names no classes");
}

static void a_folder_of_idx_holds_one_set(void **state)
{
    (void)state;
    with_folders("raw/x");
    spill_idx("raw/train-images-idx3-ubyte", 2, 1);
    spill_idx("raw/t10k-images-idx3-ubyte", 1, 7);
    spill(in_dir("raw/train-labels-idx1-ubyte"), "\0\0\10\1\0\0\0\2\6\3", 10);
    spill(in_dir("raw/t10k-labels-idx1-ubyte"), "\0\0\10\1\0\0\0\1\4", 9);
    /* torchvision leaves what it has unpacked */
    spill(in_dir("raw/t10k-labels-idx1-ubyte.gz"), "\37\213 not read", 11);
    must(convert("raw", "b.h5"));
    pf_dataset *d = NULL;
    int32_t y[2];
    must(pf_dataset_open(in_dir("b.h5"), "train", &d));
    must(pf_dataset_labels(d, 0, 2, y));
    pf_dataset_close(d);
    assert_true(y[0] == 6 && y[1] == 3);
    holds("b.h5", "test", 1, (unsigned[]){7}, (int32_t[]){4});
    spill_idx("raw/more-images-idx3-ubyte", 1, 3);
    refused("raw", "more-images-idx3-ubyte", "more than one set");
}

/* ---- labels of IDX ---- */

static void labels_are_integers_of_any_width(void **state)
{
    (void)state;
    static const struct {
        const char *b;
        size_t n;
        int32_t first, last;
    } good[] = {
        {"\0\0\10\1\0\0\0\2\0\377", 10, 0, 255},
        {"\0\0\11\1\0\0\0\2\0\177", 10, 0, 127},
        {"\0\0\13\1\0\0\0\2\1\2\177\377", 12, 258, 32767},
        {"\0\0\14\1\0\0\0\2\0\1\2\3\177\377\377\377", 16, 66051, INT32_MAX},
    };
    static const struct {
        const char *b;
        size_t n;
        const char *why;
    } bad[] = {
        {"\0\0\11\1\0\0\0\2\1\377", 10, "label 1 is -1"},
        {"\0\0\13\1\0\0\0\2\200\0\0\0", 12, "label 0 is -32768"},
        {"\0\0\13\1\0\0\0\2\0\0\0", 11, "truncated"},
        {"\0\0\14\1\0\0\0\2\0\0\0\0\0\0\0\0\0", 17, "too long"},
        {"\0\0\15\1\0\0\0\2\0\0\0\0\0\0\0\0", 16, "type 13"},
        {"\0\0\14\2\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0\0", 20, "2 columns"},
        {"\0\0\10\2\0\0\0\1\0\0\0\10\0\0\0\0\0\0\0\0", 20, "rank 2"},
    };
    const char *src[] = {spill_idx("train-i", 2, 1), in_dir("train-l")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        spill(src[1], good[i].b, good[i].n);
        must(pf_data_convert(src, NULL, 2, NULL, in_dir("l.h5")));
        int32_t y[2];
        pf_dataset *d = NULL;
        must(pf_dataset_open(in_dir("l.h5"), "train", &d));
        must(pf_dataset_labels(d, 0, 2, y));
        pf_dataset_close(d);
        assert_int_equal(y[0], good[i].first);
        assert_int_equal(y[1], good[i].last);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spill(src[1], bad[i].b, bad[i].n);
        assert_int_equal(pf_data_convert(src, NULL, 2, NULL, in_dir("x.h5")), PF_EFORMAT);
        if (!strstr(pf_error_message(), bad[i].why) || !strstr(pf_error_message(), "train-l"))
            fail_msg("not '%s': %s", bad[i].why, pf_error_message());
    }
}

static void the_class_of_qmnist_is_its_first_column(void **state)
{
    (void)state;
    enum { N = 200 }; /* more than one block of the reader */
    static unsigned char b[12 + 32 * N] = "\0\0\14\2", im[16 + N];
    memcpy(im, "\0\0\10\3", 4);
    put32(im + 4, N), put32(im + 8, 1), put32(im + 12, 1);
    put32(b + 4, N), put32(b + 8, 8);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 8; k++)
            put32(b + 12 + 32 * i + 4 * k, (uint32_t)(k ? 1000 + k : i % 10));
    spill(in_dir("qmnist-train-images-idx3-ubyte"), im, sizeof im);
    spill(in_dir("qmnist-train-labels-idx2-int"), b, sizeof b);
    const char *src[] = {in_dir("qmnist-train-images-idx3-ubyte"),
                         in_dir("qmnist-train-labels-idx2-int")};
    must(pf_data_convert(src, NULL, 2, NULL, in_dir("q.h5")));
    int32_t y[N];
    pf_dataset *d = NULL;
    must(pf_dataset_open(in_dir("q.h5"), "train", &d));
    must(pf_dataset_labels(d, 0, N, y));
    pf_dataset_close(d);
    for (int i = 0; i < N; i++) assert_int_equal(y[i], i % 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar100_has_fine_classes_and_coarse_ones),
        cmocka_unit_test(records_of_cifar_are_whole_and_labelled),
        cmocka_unit_test(a_length_of_both_is_decided_by_labels),
        cmocka_unit_test(a_folder_of_batches_is_read_in_the_order_of_its_numbers),
        cmocka_unit_test(a_folder_of_cifar100_names_both_kinds_of_classes),
        cmocka_unit_test(a_folder_of_idx_holds_one_set),
        cmocka_unit_test(labels_are_integers_of_any_width),
        cmocka_unit_test(the_class_of_qmnist_is_its_first_column),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
