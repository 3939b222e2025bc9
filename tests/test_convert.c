/* Conversion: sources come back pixel for pixel, and damage is refused by name. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "checks.h"
#include "scratch.h"

static void spill_gz(const char *path, const void *b, size_t n)
{
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, b, (unsigned)n), n);
    gzclose(f);
}

static void make_folder(const char *path)
{
    assert_int_equal(mkdir(path, 0777), 0);
}

/* Any pattern in which each pixel differs from its neighbours. */
static void pattern(unsigned char *p, size_t n, unsigned salt)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)((i * 2654435761u + salt * 40503u) >> 13);
}

/* ---- sha-256 ---- */

static void sha256_gives_the_published_digests(void **state)
{
    (void)state;
    /* FIPS 180-2, appendix B, and the empty message. */
    static const char *const text[] = {
        "", "abc", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"};
    static const char *const want[] = {
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"};
    char hex[65];
    for (int i = 0; i < 3; i++) {
        spill(in_dir("m"), text[i], strlen(text[i]));
        assert_int_equal(pf_sha256_file(in_dir("m"), hex), PF_OK);
        assert_string_equal(hex, want[i]);
    }
    char *a = malloc(1000000);
    memset(a, 'a', 1000000);
    spill(in_dir("m"), a, 1000000);
    assert_int_equal(pf_sha256_file(in_dir("m"), hex), PF_OK);
    assert_string_equal(hex,
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(a);
    assert_int_equal(pf_sha256_file(in_dir("absent"), hex), PF_EIO);
}

static void sha256_does_not_depend_on_how_the_message_is_cut(void **state)
{
    (void)state;
    unsigned char m[300];
    char whole[65], cut[65];
    pattern(m, sizeof m, 1);
    for (size_t n = 50; n < sizeof m; n += 7) {
        pf_sha256 a, b;
        pf_sha256_init(&a);
        pf_sha256_add(&a, m, n);
        pf_sha256_hex(&a, whole);
        pf_sha256_init(&b);
        for (size_t i = 0; i < n;) {
            size_t k = 1 + i % 71 < n - i ? 1 + i % 71 : n - i;
            pf_sha256_add(&b, m + i, k);
            i += k;
        }
        pf_sha256_hex(&b, cut);
        assert_string_equal(whole, cut);
    }
}

/* ---- conversion ---- */

enum { N = 7, H = 5, W = 4, M = 3 };

static size_t idx_images(unsigned char *b, int n, unsigned salt)
{
    static const unsigned char head[] = {0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, H, 0, 0, 0, W};
    memcpy(b, head, sizeof head);
    b[7] = (unsigned char)n;
    pattern(b + 16, (size_t)n * H * W, salt);
    return 16 + (size_t)n * H * W;
}

static size_t idx_labels(unsigned char *b, int n)
{
    static const unsigned char head[] = {0, 0, 8, 1, 0, 0, 0, 0};
    memcpy(b, head, sizeof head);
    b[7] = (unsigned char)n;
    for (int i = 0; i < n; i++) b[8 + i] = (unsigned char)(i * 3 % 10);
    return 8 + (size_t)n;
}

static void expect_split(const char *path, const char *split, const unsigned char *want,
                         int64_t n, pf_shape s)
{
    pf_dataset *d = NULL;
    assert_int_equal(pf_dataset_open(path, split, &d), PF_OK);
    const pf_dataset_info *a = pf_dataset_about(d);
    assert_int_equal(a->n, n);
    assert_memory_equal(&a->space.shape, &s, sizeof s);
    size_t bytes = (size_t)n * (size_t)(s.h * s.w * s.c);
    unsigned char *got = malloc(bytes);
    assert_int_equal(pf_dataset_images(d, 0, n, got), PF_OK);
    assert_memory_equal(got, want, bytes);
    free(got);
    pf_dataset_close(d);
}

static void idx_files_come_back_plain_and_compressed(void **state)
{
    (void)state;
    unsigned char a[16 + N * H * W], l[8 + N], b[16 + M * H * W];
    size_t na = idx_images(a, N, 1), nl = idx_labels(l, N), nb = idx_images(b, M, 2);
    spill(in_dir("train-images-idx3-ubyte"), a, na);
    spill_gz(in_dir("train-labels-idx1-ubyte.gz"), l, nl);
    spill_gz(in_dir("t10k-images-idx3-ubyte.gz"), b, nb);
    const char *src[] = {in_dir("train-images-idx3-ubyte"),
                         in_dir("train-labels-idx1-ubyte.gz"),
                         in_dir("t10k-images-idx3-ubyte.gz")};
    assert_int_equal(pf_data_convert(src, NULL, 3, NULL, in_dir("idx.h5")), PF_OK);
    expect_split(in_dir("idx.h5"), "train", a + 16, N, (pf_shape){H, W, 1});
    expect_split(in_dir("idx.h5"), "test", b + 16, M, (pf_shape){H, W, 1});
    pf_dataset *d = NULL;
    int32_t y[N];
    assert_int_equal(pf_dataset_open(in_dir("idx.h5"), "train", &d), PF_OK);
    assert_string_equal(pf_dataset_about(d)->name, "idx");
    assert_int_equal(pf_dataset_about(d)->space.levels, 256);
    assert_int_equal(pf_dataset_labels(d, 0, N, y), PF_OK);
    for (int i = 0; i < N; i++) assert_int_equal(y[i], i * 3 % 10);
    pf_dataset_close(d);
}

static void truncated_source_is_refused_and_the_old_dataset_stays(void **state)
{
    (void)state;
    unsigned char a[16 + N * H * W], gz[4096];
    size_t na = idx_images(a, N, 1);
    const char *good[] = {in_dir("good-idx3")}, *bad[] = {in_dir("bad-idx3")};
    spill(good[0], a, na);
    assert_int_equal(pf_data_convert(good, NULL, 1, NULL, in_dir("kept.h5")), PF_OK);
    for (size_t keep = 0; keep < na; keep += 11) {
        spill(bad[0], a, keep);
        pf_status st = pf_data_convert(bad, NULL, 1, NULL, in_dir("kept.h5"));
        assert_true(st == PF_EFORMAT || st == PF_EIO);
        assert_non_null(strstr(pf_error_message(), "bad-idx3"));
    }
    spill_gz(in_dir("whole.gz"), a, na);
    FILE *f = fopen(in_dir("whole.gz"), "rb");
    size_t n = fread(gz, 1, sizeof gz, f);
    fclose(f);
    spill(bad[0], gz, n - 9);
    assert_int_equal(pf_data_convert(bad, NULL, 1, NULL, in_dir("kept.h5")), PF_EIO);
    assert_non_null(strstr(pf_error_message(), "bad-idx3"));
    expect_split(in_dir("kept.h5"), "train", a + 16, N, (pf_shape){H, W, 1});
    const char *absent[] = {in_dir("absent")};
    assert_int_equal(pf_data_convert(absent, NULL, 1, NULL, in_dir("kept.h5")), PF_EIO);
    spill(bad[0], "nothing that is known", 21);
    assert_int_equal(pf_data_convert(bad, NULL, 1, NULL, in_dir("kept.h5")), PF_EFORMAT);
}

static void labels_must_be_as_many_as_images(void **state)
{
    (void)state;
    unsigned char a[16 + N * H * W], l[8 + N];
    spill(in_dir("some-images"), a, idx_images(a, N, 1));
    spill(in_dir("some-labels"), l, idx_labels(l, N - 1));
    const char *src[] = {in_dir("some-images"), in_dir("some-labels")};
    assert_int_equal(pf_data_convert(src, NULL, 2, NULL, in_dir("x.h5")), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "7 images and 6 labels"));
    assert_int_equal(access(in_dir("x.h5"), F_OK), -1);
}

enum { CN = 3, CD = 3072 };

static void cifar_binary_and_png_sheets_give_the_same_rows(void **state)
{
    (void)state;
    static unsigned char rows[2 * CN * CD], bin[CN * (CD + 1)];
    pattern(rows, sizeof rows, 5);
    const char *bins[] = {in_dir("data_batch_1.bin"), in_dir("data_batch_2.bin")};
    const char *pngs[] = {in_dir("data_batch_1.png"), in_dir("data_batch_2.png"),
                          in_dir("train_lables.json")};
    for (int k = 0; k < 2; k++) {
        const unsigned char *batch = rows + k * CN * CD;
        for (int i = 0; i < CN; i++) {
            bin[i * (CD + 1)] = (unsigned char)(3 * k + i);
            for (int p = 0; p < 1024; p++)
                for (int c = 0; c < 3; c++)
                    bin[i * (CD + 1) + 1 + c * 1024 + p] = batch[i * CD + 3 * p + c];
        }
        spill(bins[k], bin, sizeof bin);
        /* A sheet is a picture of CN rows of 1024 pixels. */
        assert_int_equal(pf_png_grid(pngs[k], batch, CN, (pf_shape){1, 1024, 3}, 1), PF_OK);
    }
    spill(pngs[2], "[0, 1,2,\n3,4,5]", 15);
    assert_int_equal(pf_data_convert(bins, NULL, 2, NULL, in_dir("bin.h5")), PF_OK);
    assert_int_equal(pf_data_convert(pngs, NULL, 3, NULL, in_dir("png.h5")), PF_OK);
    for (int k = 0; k < 2; k++) {
        const char *path = in_dir(k ? "png.h5" : "bin.h5");
        int32_t y[2 * CN];
        pf_dataset *d = NULL;
        expect_split(path, "train", rows, 2 * CN, (pf_shape){32, 32, 3});
        assert_int_equal(pf_dataset_open(path, "train", &d), PF_OK);
        assert_int_equal(pf_dataset_labels(d, 0, 2 * CN, y), PF_OK);
        for (int i = 0; i < 2 * CN; i++) assert_int_equal(y[i], i);
        pf_dataset_close(d);
    }
    spill(bins[0], bin, sizeof bin - 1);
    assert_int_equal(pf_data_convert(bins, NULL, 1, NULL, in_dir("bin.h5")), PF_EFORMAT);
    spill(pngs[2], "[0, 1,2,\n3,4,5", 14);
    assert_int_equal(pf_data_convert(pngs, NULL, 3, NULL, in_dir("png.h5")), PF_EFORMAT);
}

static void png_folders_become_splits_and_classes(void **state)
{
    (void)state;
    unsigned char im[4][H * W * 3];
    const char *names[] = {"f/train/cat/0.png", "f/train/cat/1.PNG", "f/train/dog/0.png",
                           "f/test/dog/9.png"};
    static const char *const folders[] = {"f",           "f/train",     "f/test",
                                          "f/train/cat", "f/train/dog", "f/test/dog"};
    for (size_t i = 0; i < 6; i++) make_folder(in_dir(folders[i]));
    for (int i = 0; i < 4; i++) {
        pattern(im[i], sizeof im[i], 10 + (unsigned)i);
        assert_int_equal(pf_png_grid(in_dir(names[i]), im[i], 1, (pf_shape){H, W, 3}, 1),
                         PF_OK);
    }
    const char *src[] = {in_dir("f")};
    assert_int_equal(pf_data_convert(src, NULL, 1, NULL, in_dir("f.h5")), PF_OK);
    expect_split(in_dir("f.h5"), "train", im[0], 3, (pf_shape){H, W, 3});
    expect_split(in_dir("f.h5"), "test", im[3], 1, (pf_shape){H, W, 3});
    int32_t y[3];
    pf_dataset *d = NULL;
    assert_int_equal(pf_dataset_open(in_dir("f.h5"), "train", &d), PF_OK);
    assert_int_equal(pf_dataset_labels(d, 0, 3, y), PF_OK);
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == 1);
    pf_dataset_close(d);

    assert_int_equal(
        pf_png_grid(in_dir("f/train/dog/odd.png"), im[0], 1, (pf_shape){H * W, 1, 3}, 1),
        PF_OK);
    assert_int_equal(pf_data_convert(src, NULL, 1, NULL, in_dir("f.h5")), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "odd.png"));
}

static void grey_png_comes_back(void **state)
{
    (void)state;
    unsigned char im[6 * H * W], *got = NULL;
    pf_shape s;
    pattern(im, sizeof im, 3);
    assert_int_equal(pf_png_grid(in_dir("grid.png"), im, 6, (pf_shape){H, W, 1}, 4), PF_OK);
    pf_input *f = NULL;
    must(pf_input_open(in_dir("grid.png"), NULL, &f));
    must(pf_png_read(f, in_dir("grid.png"), 0, &s, &got));
    pf_input_close(f);
    assert_true(s.h == 2 * H && s.w == 4 * W && s.c == 1);
    for (int i = 0; i < 6; i++)
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                assert_int_equal(got[((i / 4) * H + y) * 4 * W + (i % 4) * W + x],
                                 im[(i * H + y) * W + x]);
    assert_int_equal(got[(2 * H - 1) * 4 * W + 4 * W - 1], 0); /* the empty place */
    pf_free(got);
    assert_int_equal(pf_png_grid(in_dir("no/grid.png"), im, 6, (pf_shape){H, W, 1}, 4), PF_EIO);
}

static void text_is_cut_in_three_and_spells_itself(void **state)
{
    (void)state;
    enum { CHARS = 20 * 256 * 2 };
    char *text = malloc(CHARS), split_text[256 * 2];
    for (int i = 0; i < CHARS; i++)
        text[i] = " abcdefghijklmnopqrstuvwxyz"[(i * 7 + i / 100) % 27];
    spill(in_dir("t.txt"), text, CHARS);
    const char *src[] = {in_dir("t.txt")};
    assert_int_equal(pf_data_convert(src, NULL, 1, NULL, in_dir("t.h5")), PF_OK);
    static const char *const splits[] = {"train", "valid", "test"};
    int64_t at = 0;
    char *vocabulary = NULL;
    assert_int_equal(pf_store_read_attr(in_dir("t.h5"), "vocabulary", &vocabulary), PF_OK);
    for (int s = 0; s < 3; s++) {
        pf_dataset *d = NULL;
        double x[256];
        assert_int_equal(pf_dataset_open(in_dir("t.h5"), splits[s], &d), PF_OK);
        assert_int_equal(pf_dataset_about(d)->space.levels, 27);
        assert_int_equal(pf_dataset_about(d)->n, s ? 2 : 36);
        for (int64_t r = 0; r < pf_dataset_about(d)->n; r++, at += 256) {
            assert_int_equal(pf_dataset_x(d, r, 1, x), PF_OK);
            for (int i = 0; i < 256; i++) {
                unsigned byte = 0;
                assert_int_equal(sscanf(vocabulary + 2 * (int)x[i], "%2x", &byte), 1);
                split_text[i] = (char)byte;
            }
            assert_memory_equal(split_text, text + at, 256);
        }
        pf_dataset_close(d);
    }
    pf_free(vocabulary);
    free(text);
}

/* ---- densities ---- */

/* What points.h5 says. */
static double stated_entropy(void)
{
    char *text = NULL;
    must(pf_store_read_attr(in_dir("points.h5"), "entropy", &text));
    double entropy = strtod(text, NULL);
    pf_free(text);
    return entropy;
}

/* Mean of -log p over the points, its standard error, and the second moments of a point. */
static void points_of(const char *spec, double *entropy, double *se, double moment[2])
{
    enum { POINTS = 20000 };
    const char *src[] = {spec}, *out = in_dir("points.h5");
    pf_array logp = {0}, x = {0};
    double sum = 0, sum2 = 0;
    must(pf_data_convert(src, NULL, 1, NULL, out));
    must(pf_store_read_array(out, "train/logp", &logp));
    must(pf_store_read_array(out, "train/x", &x));
    assert_int_equal(logp.size, POINTS);
    assert_int_equal(x.size, 2 * POINTS);
    moment[0] = moment[1] = 0;
    for (int i = 0; i < POINTS; i++) {
        assert_true(isfinite(logp.v[i])); /* inside the support */
        sum -= logp.v[i];
        sum2 += logp.v[i] * logp.v[i];
        for (int k = 0; k < 2; k++) moment[k] += x.v[2 * i + k] * x.v[2 * i + k] / POINTS;
    }
    *entropy = sum / POINTS;
    *se = sqrt(fmax(sum2 / POINTS - *entropy * *entropy, 0) / POINTS);
    pf_array_free(&logp);
    pf_array_free(&x);
}

static void points_lie_in_the_support_and_their_entropy_is_the_stated_one(void **state)
{
    (void)state;
    double entropy, se, moment[2];
    points_of("density:checkerboard:20000", &entropy, &se, moment);
    assert_near(entropy, log(8.0), 1e-12); /* the same for every point */
    /* a coordinate is uniform on [-2,2]: second moment 4/3, its variance 64/45 */
    for (int k = 0; k < 2; k++)
        assert_near(moment[k], 4.0 / 3.0, 4 * sqrt(64.0 / 45.0 / 20000));
    points_of("density:ring:20000:7", &entropy, &se, moment);
    assert_near(entropy, 1.6868186756039854,
                4 * se); /* quadrature, as the data set states it */
    /* 1.5^2/2 + 0.2^2; a point's square varies by less than its largest mean, 1.5^2 */
    for (int k = 0; k < 2; k++) assert_near(moment[k], 1.125 + 0.04, 4 * 2.25 / sqrt(20000));
    /* the quadrature itself: eight parts that hardly touch have the entropy of one and log 8 */
    double apart = log(8.0) + log(2.0 * 3.14159265358979 * 0.04) + 1.0;
    assert_true(1.6868186756039854 < apart && 1.6868186756039854 > apart - 0.3);
    points_of("density:swiss_roll:20000", &entropy, &se, moment);
    double stated = stated_entropy();
    assert_near(entropy, stated, 4 * se);
    /* noise across a curve whose length element is sqrt(1 + a^2)/10 da, a uniform: an end adds less than 1e-3 */
    double along = 0.0, from = 1.5 * 3.14159265358979, per = 2.0 * from;
    for (int i = 0; i < 10000; i++) {
        double a = from + per * (i + 0.5) / 10000;
        along += log(0.1 * per * sqrt(1.0 + a * a)) / 10000;
    }
    assert_near(stated, along + 0.5 * log(2.0 * 3.14159265358979 * exp(1.0) * 1e-6), 2e-3);
}

/* Every fifth bit, and each of the five rows often. */
static void beats_come_in_five_phases(void **state)
{
    (void)state;
    const char *src[] = {"density:heartbeat:500"};
    pf_array x = {0};
    int seen[5] = {0};
    must(pf_data_convert(src, NULL, 1, NULL, in_dir("beat.h5")));
    must(pf_store_read_array(in_dir("beat.h5"), "train/images", &x));
    assert_int_equal(x.size, 500 * 20);
    for (int n = 0; n < 500; n++) {
        int first = 0;
        while (x.v[20 * n + first] == 0.0) first++;
        for (int i = 0; i < 20; i++)
            assert_true(x.v[20 * n + i] == (i % 5 == first ? 1.0 : 0.0));
        seen[first]++;
    }
    for (int k = 0; k < 5; k++) assert_in_range(seen[k], 60, 140);
    pf_array_free(&x);
}

/* Rows of text cost what was stated on average; after a symbol one follows more than half of the time. */
static void text_of_a_chain_has_its_rate(void **state)
{
    enum { ROWS = 4000, L = 32, K = 27 };
    (void)state;
    const char *src[] = {"density:markov:4000"};
    pf_array x = {0}, logp = {0};
    double sum = 0, sum2 = 0, first = 0;
    must(pf_data_convert(src, NULL, 1, NULL, in_dir("points.h5")));
    must(pf_store_read_array(in_dir("points.h5"), "train/tokens", &x));
    must(pf_store_read_array(in_dir("points.h5"), "train/logp", &logp));
    assert_true(x.size == ROWS * L && logp.size == ROWS);
    for (int i = 0; i < ROWS; i++) {
        sum -= logp.v[i] / ROWS;
        sum2 += logp.v[i] * logp.v[i] / ROWS;
        for (double *at = x.v + i * L + 1; at < x.v + (i + 1) * L; at++)
            first += *at == (5 * (int)at[-1] + 1) % K;
    }
    double se = sqrt((sum2 - sum * sum) / ROWS), n = ROWS * (L - 1.0);
    assert_near(sum, stated_entropy(), 4 * se);
    assert_near(stated_entropy(), log(27.0) + 31.0 * 2.0861322127950506 * log(2.0), 1e-9);
    assert_near(first / n, 0.62173, 4 * 0.5 / sqrt(n)); /* 1/sum of (r + 1)^-2 */
    pf_array_free(&x);
    pf_array_free(&logp);
}

static void points_depend_on_seed_and_number_alone(void **state)
{
    (void)state;
    const char *src[] = {"density:ring:50", "density:ring:200", "density:ring:50:2"};
    double first[3][100];
    for (int i = 0; i < 3; i++) {
        pf_array x = {0};
        must(pf_data_convert(&src[i], NULL, 1, NULL, in_dir("p.h5")));
        must(pf_store_read_array(in_dir("p.h5"), "train/x", &x));
        memcpy(first[i], x.v, sizeof first[i]);
        pf_array_free(&x);
    }
    assert_memory_equal(first[0], first[1], sizeof first[0]);
    assert_memory_not_equal(first[0], first[2], sizeof first[0]);
    static const char *const bad[] = {"density:rink:50",
                                      "density:ring",
                                      "density:ring:3",
                                      "density:ring:50:",
                                      "density:ring:50x",
                                      "density:ring:99999999999999999999",
                                      "density:ring:50:99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(pf_data_convert(&bad[i], NULL, 1, NULL, in_dir("bad.h5")), PF_EARG);
        assert_non_null(strstr(pf_error_message(), bad[i]));
    }
    assert_false(access(in_dir("bad.h5"), F_OK) == 0);
}

static void shrunk_pixels_are_means(void **state)
{
    (void)state;
    enum { HIGH = 2, WIDE = H * W / 2 }; /* the same bytes as images of another shape */
    unsigned char a[16 + N * H * W], small[N * WIDE / 2];
    size_t n = idx_images(a, N, 1);
    a[11] = HIGH;
    a[15] = WIDE;
    spill(in_dir("train-images-idx3-ubyte"), a, n);
    for (int i = 0; i < N; i++)
        for (int x = 0; x < WIDE; x += 2) {
            const unsigned char *p = a + 16 + i * HIGH * WIDE + x;
            double mean = (p[0] + p[1] + p[WIDE] + p[WIDE + 1]) / 4.0;
            small[i * WIDE / 2 + x / 2] = (unsigned char)floor(mean + 0.5);
        }
    const char *src[] = {in_dir("train-images-idx3-ubyte")};
    must(pf_data_convert(src, NULL, 1, &(pf_convert_opt){.shrink = 2}, in_dir("small.h5")));
    expect_split(in_dir("small.h5"), "train", small, N, (pf_shape){1, WIDE / 2, 1});
    assert_int_equal(
        pf_data_convert(src, NULL, 1, &(pf_convert_opt){.shrink = 5}, in_dir("small5.h5")),
        PF_EARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_digests),
        cmocka_unit_test(sha256_does_not_depend_on_how_the_message_is_cut),
        cmocka_unit_test(idx_files_come_back_plain_and_compressed),
        cmocka_unit_test(truncated_source_is_refused_and_the_old_dataset_stays),
        cmocka_unit_test(labels_must_be_as_many_as_images),
        cmocka_unit_test(cifar_binary_and_png_sheets_give_the_same_rows),
        cmocka_unit_test(png_folders_become_splits_and_classes),
        cmocka_unit_test(grey_png_comes_back),
        cmocka_unit_test(text_is_cut_in_three_and_spells_itself),
        cmocka_unit_test(points_lie_in_the_support_and_their_entropy_is_the_stated_one),
        cmocka_unit_test(beats_come_in_five_phases),
        cmocka_unit_test(text_of_a_chain_has_its_rate),
        cmocka_unit_test(points_depend_on_seed_and_number_alone),
        cmocka_unit_test(shrunk_pixels_are_means),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
