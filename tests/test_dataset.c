/* Datasets: rows come back, and damaged ones are not believed. */
#include <probflow/log.h>
#include <probflow/store.h>
#include "scratch.h"

enum { ROWS = 10, H = 4, W = 3, C = 3, D = H * W * C };
static uint8_t images[ROWS * D];
static int32_t labels[ROWS];

static void write_dataset(const char *path)
{
    pf_dataset_info info = {.name = "tiny",
                            .source = "made here",
                            .space = {.kind = PF_LEVELS, .shape = {H, W, C}, .levels = 256}};
    strcpy(info.sha256, "00ff");
    for (int i = 0; i < ROWS * D; i++) images[i] = (uint8_t)(i * 37 + i / 7);
    for (int i = 0; i < ROWS; i++) labels[i] = i % 3;
    pf_dataset_split s[] = {{"train", ROWS, images, labels}, {"test", 4, images + D, NULL}};
    assert_int_equal(pf_dataset_write(path, &info, s, 2), PF_OK);
}

static void dataset_rows_come_back(void **state)
{
    (void)state;
    uint8_t x[ROWS * D];
    int32_t y[ROWS];
    pf_dataset *d = NULL;
    write_dataset(in_dir("d.h5"));
    assert_int_equal(pf_dataset_open(in_dir("d.h5"), "train", &d), PF_OK);
    const pf_dataset_info *a = pf_dataset_about(d);
    assert_string_equal(a->name, "tiny");
    assert_string_equal(a->source, "made here");
    assert_int_equal(a->n, ROWS);
    assert_int_equal(a->space.levels, 256);
    assert_true(a->space.shape.h == H && a->space.shape.w == W && a->space.shape.c == C &&
                a->has_labels);
    for (int first = 0; first < ROWS; first++) {
        int n = ROWS - first;
        assert_int_equal(pf_dataset_images(d, first, n, x), PF_OK);
        assert_memory_equal(x, images + first * D, (size_t)n * D);
    }
    assert_int_equal(pf_dataset_labels(d, 3, 4, y), PF_OK);
    assert_memory_equal(y, labels + 3, 4 * sizeof *y);
    assert_int_equal(pf_dataset_images(d, ROWS - 1, 2, x), PF_EARG);
    pf_dataset_close(d);
    assert_int_equal(pf_dataset_open(in_dir("d.h5"), "test", &d), PF_OK);
    assert_int_equal(pf_dataset_images(d, 0, 4, x), PF_OK);
    assert_memory_equal(x, images + D, 4 * D);
    assert_int_equal(pf_dataset_labels(d, 0, 1, y), PF_EARG);
    pf_dataset_close(d);
    assert_int_equal(pf_dataset_open(in_dir("d.h5"), "valid", &d), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "train, test"));
    pf_checkpoint c;
    assert_int_equal(pf_checkpoint_read(in_dir("d.h5"), 0, &c), PF_EFORMAT);
}

static void continuous_and_token_datasets_come_back(void **state)
{
    (void)state;
    double x[6] = {0.1, -2, 3e300, 4, 5, 1e-300}, got[6];
    int32_t t[6] = {0, 1, 26, 3, 70000, 5}; /* as wide as that many symbols ask for */
    pf_dataset *d = NULL;
    pf_dataset_info info = {.name = "points", .space = {.kind = PF_REAL, .shape = {1, 1, 2}}};
    assert_int_equal(
        pf_dataset_write(in_dir("x.h5"), &info, &(pf_dataset_split){"train", 3, x, NULL}, 1),
        PF_OK);
    assert_int_equal(pf_dataset_open(in_dir("x.h5"), "train", &d), PF_OK);
    assert_int_equal(pf_dataset_about(d)->space.kind, PF_REAL);
    assert_int_equal(pf_dataset_x(d, 0, 3, got), PF_OK);
    assert_memory_equal(got, x, sizeof x);
    pf_dataset_close(d);

    info.space.kind = PF_TOKENS;
    info.space.shape.c = 3;
    info.space.levels = 70001;
    assert_int_equal(
        pf_dataset_write(in_dir("t.h5"), &info, &(pf_dataset_split){"train", 2, t, NULL}, 1),
        PF_OK);
    assert_int_equal(pf_dataset_open(in_dir("t.h5"), "train", &d), PF_OK);
    assert_int_equal(pf_dataset_about(d)->space.kind, PF_TOKENS);
    assert_int_equal(pf_dataset_x(d, 0, 2, got), PF_OK);
    for (int i = 0; i < 6; i++) assert_true(got[i] == (double)t[i]);
    pf_dataset_close(d);
}

/* Rows of 3 of K symbols, [4,3], from the file as bytes of theirs and as doubles. */
static void tokens_of(int K, const void *values, const int32_t *lengths, const double *want)
{
    uint8_t narrow[48];
    double x[12];
    char stored[65];
    int32_t length[4];
    pf_dataset *d = NULL;
    pf_dataset_info info = {.name = "t", .space = {PF_TOKENS, {1, 1, 3}, .levels = K}};
    pf_dataset_split s = {.split = "train", .n = 4, .values = values, .lengths = lengths};
    must(pf_dataset_write(in_dir("k.h5"), &info, &s, 1));
    must(pf_dataset_open(in_dir("k.h5"), "train", &d));
    assert_int_equal(pf_dataset_about(d)->token_bytes, (int)pf_token_bytes(K));
    must(pf_dataset_tokens(d, 0, 4, narrow));
    assert_memory_equal(narrow, values, 12 * pf_token_bytes(K));
    must(pf_dataset_tokens(d, 1, 2, narrow));
    assert_memory_equal(narrow, (const char *)values + 3 * pf_token_bytes(K),
                        6 * pf_token_bytes(K));
    must(pf_dataset_x(d, 0, 4, x));
    assert_memory_equal(x, want, sizeof x);
    must(pf_dataset_lengths(d, 0, 4, length));
    for (int i = 0; i < 4; i++) assert_int_equal(length[i], lengths ? lengths[i] : 3);
    must(pf_dataset_content(d, stored));
    assert_string_equal(pf_dataset_about(d)->vocabulary ? "some" : "none", "none");
    pf_dataset_close(d);
}

static void tokens_come_back_with_their_lengths(void **state)
{
    (void)state;
    const uint8_t a[12] = {0, 1, 2, 255, 4, 0, 9, 0, 0, 1, 1, 1};
    const uint16_t b[12] = {0, 1, 2, 65535, 4, 0, 9, 0, 0, 1, 1, 1};
    const int32_t length[4] = {3, 2, 1, 3};
    double all[12], want[12];
    for (int i = 0; i < 12; i++) {
        all[i] = want[i] = a[i];
        if (i % 3 >= length[i / 3]) want[i] = PF_NO_TOKEN;
    }
    tokens_of(256, a, NULL, all);
    tokens_of(256, a, length, want);
    all[3] = want[3] = 65535;
    tokens_of(65536, b, NULL, all);
    tokens_of(65536, b, length, want);
    for (int i = 0; i < 2; i++) { /* a length of no row */
        const int32_t wrong[4] = {3, i ? 4 : 0, 3, 3};
        pf_dataset *d = NULL;
        double x[12];
        pf_dataset_info info = {.name = "t", .space = {PF_TOKENS, {1, 1, 3}, .levels = 256}};
        pf_dataset_split s = {.split = "train", .n = 4, .values = a, .lengths = wrong};
        must(pf_dataset_write(in_dir("k.h5"), &info, &s, 1));
        must(pf_dataset_open(in_dir("k.h5"), "train", &d));
        assert_int_equal(pf_dataset_x(d, 0, 4, x), PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), "row 1 has the length"));
        pf_dataset_close(d);
    }
}

static void columns_beside_the_values_come_back(void **state)
{
    (void)state;
    double x[6] = {1, 2, 3, 4, 5, 6}, c[9] = {0.1, -2, 3e300, 4, 5, 6, 7, 8, 9}, got[9];
    int32_t y[3] = {-1, 7, INT32_MAX}, coarse[3] = {3, 1, 2}, labels_got[3];
    char bare[65], full[65];
    pf_dataset *d = NULL;
    pf_dataset_info info = {.name = "p",
                            .space = {.kind = PF_REAL, .shape = {1, 1, 2}, .conditions = 3}};
    pf_dataset_split s[] = {
        {.split = "train", .n = 3, .values = x, .labels = y, .coarse = coarse, .conditions = c},
        {.split = "test", .n = 3, .values = x}};
    must(pf_dataset_write(in_dir("c.h5"), &info, s, 2));
    must(pf_dataset_open(in_dir("c.h5"), "train", &d));
    assert_true(pf_dataset_about(d)->has_labels && pf_dataset_about(d)->has_coarse);
    assert_int_equal(pf_dataset_about(d)->space.conditions, 3);
    must(pf_dataset_labels(d, 0, 3, labels_got));
    assert_memory_equal(labels_got, y, sizeof y);
    must(pf_dataset_coarse(d, 1, 2, labels_got));
    assert_memory_equal(labels_got, coarse + 1, 2 * sizeof *coarse);
    must(pf_dataset_conditions(d, 1, 2, got));
    assert_memory_equal(got, c + 3, 6 * sizeof *c);
    assert_int_equal(pf_dataset_conditions(d, 2, 2, got), PF_EARG);
    must(pf_dataset_content(d, full));
    pf_dataset_close(d);
    must(pf_dataset_open(in_dir("c.h5"), "test", &d));
    assert_int_equal(pf_dataset_about(d)->space.conditions, 0);
    assert_int_equal(pf_dataset_conditions(d, 0, 1, got), PF_EARG);
    assert_int_equal(pf_dataset_coarse(d, 0, 1, labels_got), PF_EARG);
    must(pf_dataset_content(d, bare));
    pf_dataset_close(d);
    /* as it was before there were conditions */
    assert_string_equal(bare,
                        "246256ba6fefa702428430f6f993e631d25d91374c6a206af042a07f36f3fc89");
    for (int k = 0; k < 3; k++) { /* each is part of the content, and of the sum stored */
        char other[65];
        y[0] = k == 0, coarse[0] = k == 1 ? 9 : 3, c[8] = k == 2 ? NAN : 9;
        must(pf_dataset_write(in_dir("c.h5"), &info, s, 1));
        must(pf_dataset_open(in_dir("c.h5"), "train", &d));
        must(pf_dataset_content(d, other));
        assert_string_not_equal(other, full);
        if (k == 2) assert_int_equal(pf_dataset_conditions(d, 0, 3, got), PF_EFORMAT);
        if (k == 2) assert_non_null(strstr(pf_error_message(), "row 2"));
        pf_dataset_close(d);
    }
}

static int classes_of(const char *split)
{
    pf_dataset *d = NULL;
    int n = -1;
    must(pf_dataset_open(in_dir("n.h5"), split, &d));
    assert_int_equal(pf_dataset_about(d)->space.classes, 0);
    pf_status st = pf_dataset_classes(d, &n);
    assert_int_equal(pf_dataset_about(d)->space.classes, st ? 0 : n);
    pf_dataset_close(d);
    return st ? -1 : n;
}

static void classes_are_those_named_or_else_seen_in_training(void **state)
{
    (void)state;
    uint8_t x[3] = {0};
    int32_t y[3] = {0, 6, 2}, of_test[3] = {9, 0, 0};
    pf_dataset_info info = {.name = "n", .space = {.shape = {1, 1, 1}, .levels = 2}};
    pf_dataset_split s[] = {{.split = "train", .n = 3, .values = x, .labels = y},
                            {.split = "test", .n = 3, .values = x, .labels = of_test}};
    must(pf_dataset_write(in_dir("n.h5"), &info, s, 2));
    assert_int_equal(classes_of("train"), 7);
    assert_int_equal(classes_of("test"), 7);
    info.classes = "cat\ndog\nant";
    must(pf_dataset_write(in_dir("n.h5"), &info, s, 2));
    assert_int_equal(classes_of("test"), 3);
    info.classes = NULL;
    s[0].labels = NULL;
    must(pf_dataset_write(in_dir("n.h5"), &info, s, 2));
    assert_int_equal(classes_of("test"), 0);
    s[0].labels = y;
    y[1] = -1;
    must(pf_dataset_write(in_dir("n.h5"), &info, s, 2));
    assert_int_equal(classes_of("test"), -1);
    assert_non_null(strstr(pf_error_message(), "row 1 has the label -1"));
}

typedef struct made { /* a split of 6 rows of 2x3x4 values, as a case changes it */
    pf_dataset_info info;
    uint8_t x[144];
    int32_t y[6];
    int64_t n;
    int labelled;
} made;

static made usual(void)
{
    made m = {
        .info = {.name = "a", .source = "a.gz", .space = {.kind = PF_LEVELS, .levels = 256}}};
    m.info.space.shape = (pf_shape){2, 3, 4};
    strcpy(m.info.sha256, "01");
    for (int i = 0; i < 144; i++) m.x[i] = (uint8_t)(7 * i);
    for (int i = 0; i < 6; i++) m.y[i] = i;
    m.n = 6;
    m.labelled = 1;
    return m;
}

static void content(const made *m, const char *split, char hex[65])
{
    pf_dataset *d = NULL;
    pf_dataset_split s = {split, m->n, m->x, m->labelled ? m->y : NULL};
    assert_int_equal(pf_dataset_write(in_dir("c.h5"), &m->info, &s, 1), PF_OK);
    assert_int_equal(pf_dataset_open(in_dir("c.h5"), split, &d), PF_OK);
    assert_int_equal(pf_dataset_content(d, hex), PF_OK);
    pf_dataset_close(d);
}

static void the_content_is_that_of_the_pixels_and_labels(void **state)
{
    (void)state;
    char want[65], got[65];
    made m = usual();
    content(&m, "train", want);
    assert_int_equal(strspn(want, "0123456789abcdef"), 64);
    strcpy(m.info.name, "b"); /* what it is called and was made of does not matter */
    strcpy(m.info.source, "b");
    strcpy(m.info.sha256, "02");
    content(&m, "test", got);
    assert_string_equal(got, want);
    for (int k = 0; k < 6; k++) {
        m = usual();
        if (k == 0) m.x[143] ^= 1;
        if (k == 1) m.y[5] ^= 1;
        if (k == 2) m.info.space.levels = 255;
        if (k == 3) m.info.space.shape = (pf_shape){3, 2, 4};
        if (k == 4) m.labelled = 0;
        if (k == 5) m.n = 5;
        content(&m, "train", got);
        assert_string_not_equal(got, want);
    }
}

/* 0 clean error, 1 right content, else worse. */
static int dataset_outcome(const char *path)
{
    uint8_t x[ROWS * D];
    int32_t y[ROWS];
    pf_dataset *d = NULL;
    if (pf_dataset_open(path, "train", &d)) return 0;
    int out = !pf_dataset_images(d, 0, ROWS, x) && !pf_dataset_labels(d, 0, ROWS, y);
    if (out && (memcmp(x, images, sizeof x) || memcmp(y, labels, sizeof y))) out = 3;
    pf_dataset_close(d);
    return out;
}

static void damaged_or_truncated_datasets_are_not_believed(void **state)
{
    (void)state;
    size_t n = 0;
    pf_dataset *d = NULL;
    write_dataset(in_dir("d.h5"));
    unsigned char *b = slurp(in_dir("d.h5"), &n);
    for (size_t i = 0; i < n; i += 7) {
        b[i] ^= 0x81;
        spill(in_dir("flip.h5"), b, n);
        b[i] ^= 0x81;
        assert_in_range(dataset_outcome(in_dir("flip.h5")), 0, 1);
    }
    for (size_t keep = 48; keep < n; keep += 119) {
        spill(in_dir("short.h5"), b, keep);
        assert_int_equal(pf_dataset_open(in_dir("short.h5"), "train", &d), PF_EIO);
        assert_non_null(strstr(pf_error_message(), "short.h5"));
    }
    free(b);
}

static void info_tells_what_a_dataset_holds(void **state)
{
    (void)state;
    static const char *const words[] = {"dataset ", "/train/images", "[10,4,3,3]", "made here"};
    static char text[8192];
    write_dataset(in_dir("d.h5"));
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_int_equal(pf_store_info(in_dir("d.h5"), f), PF_OK);
    fclose(f);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(text, words[i])) fail_msg("info lacks '%s'", words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dataset_rows_come_back),
        cmocka_unit_test(continuous_and_token_datasets_come_back),
        cmocka_unit_test(tokens_come_back_with_their_lengths),
        cmocka_unit_test(columns_beside_the_values_come_back),
        cmocka_unit_test(classes_are_those_named_or_else_seen_in_training),
        cmocka_unit_test(the_content_is_that_of_the_pixels_and_labels),
        cmocka_unit_test(damaged_or_truncated_datasets_are_not_believed),
        cmocka_unit_test(info_tells_what_a_dataset_holds),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
