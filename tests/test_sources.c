/* Nothing wrong is read in silence, and what fails in the middle fails once. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <errno.h>
#include <sys/syscall.h>
#include "jpeg_file.h"

/* ---- a disk that fails: the calls of this program come here before the C library ---- */

static long reads, failing_read; /* 0: none */

ssize_t read(int fd, void *p, size_t n)
{
    if (++reads != failing_read) return syscall(SYS_read, fd, p, n);
    errno = EIO;
    return -1;
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    if (++reads != failing_read) return syscall(SYS_pread64, fd, p, n, at);
    errno = EIO;
    return -1;
}

/* ---- what is refused ---- */

static void the_same_content_twice_is_refused(void **state)
{
    (void)state;
    unsigned char b[16 + 4 * PIXELS], gz[4096];
    size_t n = idx(b, 4, 1);
    const char *x = in_dir("twice"), *z = in_dir("twice.gz"), *copy = in_dir("test-copy");
    spill(x, b, n);
    spill(copy, b, n);
    spill(z, gz, packed(b, n, gz, sizeof gz));
    const char *pairs[][2] = {{x, x}, {x, z}, {x, copy}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pf_data_convert(pairs[i], NULL, 2, NULL, in_dir("x.h5")), PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), pairs[i][0]));
        assert_non_null(strstr(pf_error_message(), pairs[i][1]));
    }
    put_png("once/a.png", 1);
    put_png("again/b.png", 1);
    const char *folders[] = {in_dir("once"), in_dir("again")};
    assert_int_equal(pf_data_convert(folders, NULL, 2, NULL, in_dir("x.h5")), PF_EFORMAT);
    assert_int_equal(access(in_dir("x.h5"), F_OK), -1);
    /* labels of two splits may be the same */
    static const unsigned char one[] = {0, 0, 8, 1, 0, 0, 0, 1, 7};
    const char *src[] = {spill_idx("train-i", 1, 1), in_dir("train-l"),
                         spill_idx("test-i", 1, 2), in_dir("test-l")};
    spill(src[1], one, sizeof one);
    spill(src[3], one, sizeof one);
    must(pf_data_convert(src, NULL, 4, NULL, in_dir("l.h5")));
    holds("l.h5", "test", 1, (unsigned[]){2}, (int32_t[]){7});
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_dir("pipe"), 0666), 0);
    refused("pipe", "pipe", "no regular file");
    put_png("holds/a.png", 1);
    assert_int_equal(mkfifo(in_dir("holds/b.png"), 0666), 0);
    refused("holds", "holds/b.png", "no regular file");
    assert_int_equal(symlink("/dev/zero", in_dir("zero.txt")), 0);
    refused("zero.txt", "zero.txt", "device");
    put_png("loop/cat/a.png", 1);
    assert_int_equal(symlink("..", in_dir("loop/cat/up")), 0);
    refused("loop", "loop/cat/up", "link");
    spill(in_dir("empty"), "", 0);
    refused("empty", "empty", "empty");
}

static void gzip_streams_are_read_whole_and_alone(void **state)
{
    (void)state;
    unsigned char b[16 + 8 * PIXELS], gz[8192];
    size_t n = idx(b, 1, 1), k = packed(b, 30, gz, sizeof gz);
    k += packed("", 0, gz + k, sizeof gz - k);
    k += packed(b + 30, n - 30, gz + k, sizeof gz - k);
    spill(in_dir("members"), gz, k);
    must(convert("members", "m.h5"));
    holds("m.h5", "train", 1, (unsigned[]){1}, NULL);
    memcpy(gz + k, "x", 1);
    spill(in_dir("followed"), gz, k + 1);
    refused("followed", "followed", "behind");
    for (size_t cut = 3; cut < k; cut += 5) {
        spill(in_dir("cut"), gz, cut);
        refused("cut", "cut", "");
    }
    /* more or less than the header promises, far more than the file can hold */
    spill(in_dir("long"), gz, packed(b, n, gz, sizeof gz));
    b[7] = 2;
    spill(in_dir("short"), gz, packed(b, n, gz, sizeof gz));
    refused("short", "short", "truncated");
    b[7] = 1, b[n] = 0;
    spill(in_dir("long"), gz, packed(b, n + 1, gz, sizeof gz));
    refused("long", "long", "too long");
    b[4] = 255;
    spill(in_dir("vast"), gz, packed(b, n, gz, sizeof gz));
    refused("vast", "vast", "promises");
}

/* Whatever the rank and the sizes, no more is believed than the file holds. */
static void headers_of_idx_are_held_against_the_file(void **state)
{
    (void)state;
    unsigned char b[64] = {0, 0, 8};
    for (int rank = 0; rank < 256; rank++) {
        b[3] = (unsigned char)rank;
        for (int i = 0; i < 10; i++) put32(b + 4 + 4 * i, 2);
        spill(in_dir("rank"), b, sizeof b);
        refused("rank", "rank", "");
    }
    static const uint32_t sizes[][3] = {{0, 2, 2},
                                        {2, 0, 2},
                                        {1u << 31, 1u << 31, 1u << 31},
                                        {UINT32_MAX, UINT32_MAX, 1},
                                        {1, 1u << 15, 1u << 15},
                                        {3, 2, 2},
                                        {1, 2, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        b[3] = 3;
        for (int k = 0; k < 3; k++) put32(b + 4 + 4 * k, sizes[i][k]);
        spill(in_dir("sizes"), b, 16 + 8);
        refused("sizes", "sizes", "");
    }
    for (int type = 9; type < 15; type++) {
        b[2] = (unsigned char)type;
        spill(in_dir("type"), b, sizeof b);
        refused("type", "type", "");
    }
}

static void json_labels_are_one_flat_array(void **state)
{
    (void)state;
    static const char *const good[] = {"[3]", " [ 3 ] \n", "[3\n]\t"};
    static const char *const bad[] = {
        "[3] x", "[3][4]",       "[3", "[3,]", "[,3]",    "[]",  "[-3]",  "[03]", "[3.0]",
        "[[3]]", "[2147483648]", "3",  "{3}",  "[\"3\"]", "[3}", "[3 4]", " "};
    const char *src[] = {spill_idx("train-i", 1, 1), in_dir("labels.json")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        spill(src[1], good[i], strlen(good[i]));
        must(pf_data_convert(src, NULL, 2, NULL, in_dir("j.h5")));
        holds("j.h5", "train", 1, (unsigned[]){1}, (int32_t[]){3});
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spill(src[1], bad[i], strlen(bad[i]));
        if (pf_data_convert(src, NULL, 2, NULL, in_dir("x.h5")) != PF_EFORMAT)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(pf_error_message(), "labels.json"));
    }
}

static void other_files_are_refused_by_name(void **state)
{
    (void)state;
    static unsigned char wide[4 * 1024];
    pattern(wide, sizeof wide, 1);
    must(pf_png_grid(in_dir("photo.png"), wide, 1, (pf_shape){4, 1024, 1}, 1));
    refused("photo.png", "photo.png", "folders of PNG");
    must(pf_png_grid(in_dir("cifar_batch.png"), wide, 1, (pf_shape){4, 1024, 1}, 1));
    must(convert("cifar_batch.png", "b.h5"));
    put_text("photos/cat/a.gif", "x");
    put_text("photos/cat/b.GIF", "x");
    put_text("photos/Thumbs.db", "x");
    refused("photos", "2 .gif", "1 .db");
    put_text("same.txt", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    refused("same.txt", "same.txt", "one byte");
}

/* A PNG of w x h in its header and `rows` rows of `line` bytes in its stream, all of one value; with
 * colour 3 its palette has one colour. */
typedef struct raw {
    uint32_t w, h;
    size_t rows, line;
    unsigned char colour, value;
} raw;

static unsigned char *put_chunk(unsigned char *p, const char *kind, const void *b, size_t n)
{
    put32(p, (uint32_t)n);
    memcpy(p + 4, kind, 4);
    if (n) memcpy(p + 8, b, n);
    put32(p + 8 + n, (uint32_t)crc32(0, p + 4, (unsigned)n + 4));
    return p + 12 + n;
}

static void put_raw_png(const char *name, raw r)
{
    unsigned char b[256], z[512], file[1024] = "\211PNG\r\n\032\n", *p = file + 8;
    unsigned char head[13] = {[8] = 8, [9] = r.colour};
    uLongf n = sizeof z;
    memset(b, r.value, sizeof b);
    for (size_t y = 0; y < r.rows; y++) b[y * (r.line + 1)] = 0; /* no filter */
    assert_int_equal(compress(z, &n, b, r.rows * (r.line + 1)), Z_OK);
    put32(head, r.w);
    put32(head + 4, r.h);
    p = put_chunk(p, "IHDR", head, sizeof head);
    if (r.colour == 3) p = put_chunk(p, "PLTE", "\1\2\3", 3);
    p = put_chunk(p, "IDAT", z, n);
    p = put_chunk(p, "IEND", NULL, 0);
    spill(with_folders(name), file, (size_t)(p - file));
}

static void headers_of_png_are_held_against_the_file(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {
        {60000, 60000}, {16384, 65500}, {30000, 2900}, {1u << 30, 1u << 30}, {0, 4}, {5, 4},
        {4, 5},         {3, 4},         {4, 3}};
    put_raw_png("raw/a.png", (raw){4, 4, 4, 4, 0, 9});
    must(convert("raw", "r.h5"));
    size_t before = pf_peak_bytes();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        put_raw_png("raw/a.png", (raw){sizes[i][0], sizes[i][1], 4, 4, 0, 9});
        refused("raw", "raw/a.png", "");
    }
    assert_true(pf_peak_bytes() < before + (64u << 20));
}

static void pixels_are_colours_of_their_palette(void **state)
{
    (void)state;
    unsigned char got[12];
    pf_dataset *d = NULL;
    put_raw_png("palette/a.png", (raw){2, 2, 2, 2, 3, 0});
    must(convert("palette", "p.h5"));
    must(pf_dataset_open(in_dir("p.h5"), "train", &d));
    must(pf_dataset_images(d, 0, 1, got));
    pf_dataset_close(d);
    assert_memory_equal(got, "\1\2\3\1\2\3\1\2\3\1\2\3", 12);
    put_raw_png("palette/a.png", (raw){2, 2, 2, 2, 3, 1});
    refused("palette", "palette/a.png", "palette");
}

static void kinds_of_sources_do_not_mix(void **state)
{
    (void)state;
    unsigned char words[1024], rows[16 + 4 + 512] = {0, 0, 8, 4};
    for (int i = 0; i < 1024; i++) words[i] = "ab"[i % 3 == 0];
    spill(in_dir("words.txt"), words, sizeof words);
    const uint32_t dims[] = {2, 1, 1, 256}; /* the shape that rows of text have */
    for (int i = 0; i < 4; i++) put32(rows + 4 + 4 * i, dims[i]);
    spill(in_dir("rows"), rows, 20 + 512);
    const char *text = in_dir("words.txt"), *images = in_dir("rows"),
               *points = "density:ring:50";
    const char *pairs[][2] = {{text, images},   {images, text}, {points, images},
                              {images, points}, {text, points}, {points, text}};
    must(pf_data_convert(&text, NULL, 1, NULL, in_dir("k.h5")));
    must(pf_data_convert(&images, NULL, 1, NULL, in_dir("k.h5")));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pf_data_convert(pairs[i], NULL, 2, NULL, in_dir("x.h5")), PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), pairs[i][1]));
    }
}

/* ---- failures in the middle ---- */

/* The n-th call fails, for all n: one sentence that names the source, nothing leaks or is freed
 * twice, and nothing is left. */
static void fails_everywhere(const char *const *src, int n, const pf_convert_opt *o)
{
    const char *never = in_dir("never.h5");
    size_t live = pf_alloc_live();
    for (int memory = 0; memory < 2; memory++)
        for (long at = 1;; at++) {
            assert_true(at < 2000);
            reads = 0;
            failing_read = memory ? 0 : at;
            pf_alloc_fail_at(memory ? at : 0);
            pf_status st = pf_data_convert(src, NULL, n, o, never);
            int due = memory ? st != PF_OK : reads >= at;
            failing_read = 0;
            pf_alloc_fail_at(0);
            assert_int_equal(pf_alloc_live(), live);
            if (!due) {
                must(st);
                assert_true(at > 1);
                unlink(never);
                break;
            }
            if (st != (memory ? PF_EMEM : PF_EIO))
                fail_msg("%s %ld of %s: status %d, %s", memory ? "allocation" : "read", at,
                         src[0], st, pf_error_message());
            assert_true(strlen(pf_error_message()) > 10);
            if (!memory) assert_non_null(strstr(pf_error_message(), scratch));
            assert_int_equal(access(never, F_OK), -1);
        }
}

static void every_reader_fails_once(void **state)
{
    (void)state;
    static unsigned char bin[3 * 3073], gz[4096], wide[2 * 1024 * 3], text[600];
    unsigned char b[16 + 4 * PIXELS];
    size_t n = idx(b, 4, 1);
    pattern(wide, sizeof wide, 1);
    pattern(text, sizeof text, 1);
    for (int i = 0; i < 3; i++) bin[i * 3073] = (unsigned char)i;
    spill(in_dir("f-idx.gz"), gz, packed(b, n, gz, sizeof gz));
    spill(in_dir("f.bin"), bin, sizeof bin);
    spill(in_dir("f.bin.gz"), gz, packed(bin, 2 * 3073, gz, sizeof gz));
    spill(in_dir("f.txt"), text, sizeof text);
    spill(in_dir("f.json"), "[1,2]", 5);
    put_text("f.csv", "# a comment\nu,class\n1,cat\n2,dog\n");
    must(pf_png_grid(in_dir("f_batch.png"), wide, 1, (pf_shape){2, 1024, 3}, 1));
    const pf_column columns[] = {{"x", 2, (double[]){1, 2, 3, 4}, NULL},
                                 {"labels", 1, NULL, (int64_t[]){0, 1}},
                                 {"other", 1, NULL, (int64_t[]){0, 1}}};
    must(pf_npz_write(in_dir("f.npz"), 2, columns, 3));
    put_npy("f.npy", "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }", 24);
    put_png("faults/train/cat/a.png", 1);
    put_png("faults/train/dog/b.png", 2);
    put_png("faults/val/dog/c.png", 3);
    const char *idx_file[] = {spill_idx("f-idx", 3, 1)};
    const char *idx_gz[] = {in_dir("f-idx.gz")}, *cifar[] = {in_dir("f.bin")};
    const char *cifar_gz[] = {in_dir("f.bin.gz")}, *words[] = {in_dir("f.txt")};
    const char *sheet[] = {in_dir("f_batch.png"), in_dir("f.json")};
    const char *folder[] = {in_dir("faults")};
    const char *npz[] = {in_dir("f.npz")}, *npy[] = {in_dir("f.npy")},
               *csv[] = {in_dir("f.csv")};
    fails_everywhere(idx_file, 1, NULL);
    fails_everywhere(idx_gz, 1, NULL);
    fails_everywhere(cifar, 1, NULL);
    fails_everywhere(cifar_gz, 1, NULL);
    fails_everywhere(words, 1, NULL);
    fails_everywhere(csv, 1, NULL);
    fails_everywhere(npz, 1, NULL);
    fails_everywhere(npy, 1, NULL);
    fails_everywhere(sheet, 2, NULL);
    spill(with_folders("hundred/train.bin"), bin, 3 * 3073 / 3074 * 3074);
    spill(in_dir("hundred/test.bin.gz"), gz, packed(bin, 3074, gz, sizeof gz));
    put_text("hundred/fine_label_names.txt", "a\nb\nc");
    put_text("hundred/coarse_label_names.txt", "d\ne\nf");
    const char *batches[] = {in_dir("hundred")};
    fails_everywhere(batches, 1, NULL);
    fails_everywhere(folder, 1, NULL);
    put_jpeg("faults/val/dog/d.jpg", 4, 6);
    fails_everywhere(folder, 1,
                     &(pf_convert_opt){.channels = 3, .crop_h = 5, .crop_w = 5, .resize_h = 7});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_content_twice_is_refused),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(gzip_streams_are_read_whole_and_alone),
        cmocka_unit_test(headers_of_idx_are_held_against_the_file),
        cmocka_unit_test(json_labels_are_one_flat_array),
        cmocka_unit_test(other_files_are_refused_by_name),
        cmocka_unit_test(headers_of_png_are_held_against_the_file),
        cmocka_unit_test(pixels_are_colours_of_their_palette),
        cmocka_unit_test(kinds_of_sources_do_not_mix),
        cmocka_unit_test(every_reader_fails_once),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
