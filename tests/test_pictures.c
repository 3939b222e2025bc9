/* Pictures: what alpha, channels, crop and resize make of them, and JPEG. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "jpeg_file.h"

/* n images [h,w,c] as IDX of rank 4. */
static void put_idx4(const char *name, int n, pf_shape s, const unsigned char *pixels)
{
    unsigned char head[20] = {0, 0, 8, 4};
    size_t bytes = (size_t)n * (size_t)(s.h * s.w * s.c);
    put32(head + 4, (uint32_t)n);
    put32(head + 8, (uint32_t)s.h);
    put32(head + 12, (uint32_t)s.w);
    put32(head + 16, (uint32_t)s.c);
    unsigned char *b = malloc(20 + bytes);
    memcpy(b, head, 20);
    memcpy(b + 20, pixels, bytes);
    spill(in_dir(name), b, 20 + bytes);
    free(b);
}

/* The only picture of a source, converted; shape as stated. */
static void becomes(const char *source, pf_convert_opt o, pf_shape s, unsigned char *got)
{
    const char *path = in_dir(source);
    pf_dataset *d = NULL;
    must(pf_data_convert(&path, NULL, 1, &o, in_dir("p.h5")));
    must(pf_dataset_open(in_dir("p.h5"), "train", &d));
    assert_memory_equal(&pf_dataset_about(d)->space.shape, &s, sizeof s);
    must(pf_dataset_images(d, 0, 1, got));
    pf_dataset_close(d);
}

static void says(const char *want)
{
    char *text = NULL;
    pf_status st = pf_store_read_attr(in_dir("p.h5"), "converted", &text);
    if (!want) assert_int_equal(st, PF_EIO);
    else assert_string_equal(text, want);
    pf_free(text);
}

static void not_with(const char *source, pf_convert_opt o, const char *one, const char *two)
{
    const char *path = in_dir(source);
    assert_true(pf_data_convert(&path, NULL, 1, &o, in_dir("none.h5")) > PF_ESTOP);
    if (!strstr(pf_error_message(), one) || !strstr(pf_error_message(), two))
        fail_msg("not both '%s' and '%s': %s", one, two, pf_error_message());
    assert_int_equal(access(in_dir("none.h5"), F_OK), -1);
}

static void grey_is_the_luma_and_rgb_repeats_it(void **state)
{
    (void)state;
    static const unsigned char rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 12, 200, 77};
    /* 0.299, 0.587, 0.114 of 255; 0.299*12 + 0.587*200 + 0.114*77 = 129.8 */
    static const unsigned char grey[] = {76, 150, 29, 130};
    unsigned char got[12];
    put_idx4("rgb", 1, (pf_shape){2, 2, 3}, rgb);
    put_idx4("grey", 1, (pf_shape){2, 2, 1}, grey);
    becomes("rgb", (pf_convert_opt){.channels = 1}, (pf_shape){2, 2, 1}, got);
    assert_memory_equal(got, grey, 4);
    says("grey (19595 R + 38470 G + 7471 B + 32768) / 65536");
    becomes("grey", (pf_convert_opt){.channels = 3}, (pf_shape){2, 2, 3}, got);
    for (int i = 0; i < 12; i++) assert_int_equal(got[i], grey[i / 3]);
    says("rgb of grey");
    becomes("grey", (pf_convert_opt){.channels = 1, .drop_alpha = 1}, (pf_shape){2, 2, 1}, got);
    assert_memory_equal(got, grey, 4);
    says(NULL);
}

static void alpha_is_the_last_of_two_or_four(void **state)
{
    (void)state;
    unsigned char im[16], got[12];
    pattern(im, sizeof im, 3);
    put_idx4("four", 1, (pf_shape){2, 2, 4}, im);
    becomes("four", (pf_convert_opt){.drop_alpha = 1}, (pf_shape){2, 2, 3}, got);
    for (int i = 0; i < 12; i++) assert_int_equal(got[i], im[i / 3 * 4 + i % 3]);
    says("alpha dropped");
    not_with("four", (pf_convert_opt){.channels = 1}, "four", "--alpha drop");
    put_idx4("two", 1, (pf_shape){2, 4, 2}, im);
    becomes("two", (pf_convert_opt){.drop_alpha = 1, .channels = 3}, (pf_shape){2, 4, 3},
            (unsigned char[24]){0});
    becomes("two", (pf_convert_opt){.drop_alpha = 1}, (pf_shape){2, 4, 1}, got);
    for (int i = 0; i < 8; i++) assert_int_equal(got[i], im[2 * i]);
}

static void crops_are_central(void **state)
{
    (void)state;
    unsigned char im[9 * 6], got[16];
    for (int i = 0; i < 54; i++) im[i] = (unsigned char)i;
    put_idx4("nine", 1, (pf_shape){9, 6, 1}, im);
    becomes("nine", (pf_convert_opt){.crop_h = 4, .crop_w = 3}, (pf_shape){4, 3, 1}, got);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 3; x++) assert_int_equal(got[3 * y + x], 6 * (y + 2) + x + 1);
    says("crop 4x3");
    becomes("nine", (pf_convert_opt){.crop_h = 9, .crop_w = 6}, (pf_shape){9, 6, 1},
            (unsigned char[54]){0});
    says(NULL);
    not_with("nine", (pf_convert_opt){.crop_h = 7, .crop_w = 7}, "nine", "9x6");
}

/* ---- resizing ---- */

static void a_flat_picture_stays_flat_and_no_change_is_none(void **state)
{
    (void)state;
    unsigned char im[7 * 5 * 3], got[64 * 64 * 3];
    static const int sizes[][2] = {{1, 1}, {3, 2}, {7, 4}, {8, 5}, {13, 64}, {64, 3}};
    for (int v = 0; v < 256; v += 51) {
        memset(im, v, sizeof im);
        put_idx4("flat", 1, (pf_shape){7, 5, 3}, im);
        for (int k = 0; k < 6; k++) {
            const int *z = sizes[k];
            becomes("flat", (pf_convert_opt){.resize_h = z[0], .resize_w = z[1]},
                    (pf_shape){z[0], z[1], 3}, got);
            for (int i = 0; i < z[0] * z[1] * 3; i++) assert_int_equal(got[i], v);
        }
    }
    pattern(im, sizeof im, 4);
    put_idx4("same", 1, (pf_shape){7, 5, 3}, im);
    becomes("same", (pf_convert_opt){.resize_h = 7, .resize_w = 5}, (pf_shape){7, 5, 3}, got);
    assert_memory_equal(got, im, sizeof im);
    says(NULL);
}

/* Half of a row: (1, 3, 3, 1)/8 inside, (3, 3, 1)/7 at its ends. */
static void halving_weighs_four_pixels(void **state)
{
    (void)state;
    static const unsigned char im[] = {7, 70, 140, 8, 16, 248, 80, 14};
    const int want[] = {(3 * 7 + 3 * 70 + 140 + 3) / 7, (70 + 3 * 140 + 3 * 8 + 16 + 4) / 8,
                        (8 + 3 * 16 + 3 * 248 + 80 + 4) / 8, (248 + 3 * 80 + 3 * 14 + 3) / 7};
    unsigned char got[4];
    put_idx4("row", 1, (pf_shape){1, 8, 1}, im);
    becomes("row", (pf_convert_opt){.resize_h = 1, .resize_w = 4}, (pf_shape){1, 4, 1}, got);
    for (int i = 0; i < 4; i++) assert_int_equal(got[i], want[i]);
    put_idx4("column", 1, (pf_shape){8, 1, 1}, im);
    becomes("column", (pf_convert_opt){.resize_h = 4, .resize_w = 1}, (pf_shape){4, 1, 1}, got);
    for (int i = 0; i < 4; i++) assert_int_equal(got[i], want[i]);
    says("resize 4x1 antialiased bilinear");
}

/* Away from the ends a line stays the line through the same points, larger and smaller. */
static void a_ramp_stays_a_ramp(void **state)
{
    (void)state;
    enum { W = 60 };
    unsigned char im[W], got[4 * W];
    static const int sizes[] = {12, 15, 20, 30, 90, 120, 180};
    for (int i = 0; i < W; i++) im[i] = (unsigned char)(4 * i + 5);
    put_idx4("ramp", 1, (pf_shape){1, W, 1}, im);
    for (int k = 0; k < 7; k++) {
        int w = sizes[k], edge = w < W ? 1 : 2;
        becomes("ramp", (pf_convert_opt){.resize_h = 1, .resize_w = w}, (pf_shape){1, w, 1},
                got);
        for (int i = edge; i < w - edge; i++)
            assert_near(got[i], 4 * ((i + 0.5) * W / w - 0.5) + 5, 0.5 + 1e-9);
    }
}

static void the_smaller_side_becomes_the_size(void **state)
{
    (void)state;
    static unsigned char im[40 * 25], got[30 * 30];
    pattern(im, sizeof im, 1);
    put_idx4("tall", 1, (pf_shape){40, 25, 1}, im);
    becomes("tall", (pf_convert_opt){.resize_h = 10}, (pf_shape){16, 10, 1}, got);
    put_idx4("wide", 1, (pf_shape){2, 5, 1}, im);
    becomes("wide", (pf_convert_opt){.resize_h = 1}, (pf_shape){1, 2, 1}, got); /* 2.5 */
    becomes("wide", (pf_convert_opt){.resize_h = 3}, (pf_shape){3, 8, 1}, got); /* 7.5 */
    becomes("tall", (pf_convert_opt){.crop_h = 20, .crop_w = 20, .resize_h = 10, .shrink = 5},
            (pf_shape){2, 2, 1}, got);
    says("crop 20x20; resize 10x10 antialiased bilinear");
}

/* ---- folders and files ---- */

/* Sure pixels stay, others are 1 as often as they say, by seed and place alone. */
static void binarised_pixels_follow_their_rule(void **state)
{
    (void)state;
    enum { SIDE = 64, ALL = SIDE * SIDE, QUARTER = 51 }; /* chance 51/255 */
    static unsigned char pixels[ALL], got[3][ALL];
    const pf_shape s = {SIDE, SIDE, 1};
    for (int i = 0; i < ALL; i++)
        pixels[i] = (unsigned char)(i < 2        ? 127 + i
                                    : i % 3 == 0 ? 0
                                    : i % 3 == 1 ? 255
                                                 : QUARTER);
    put_idx4("grey", 1, s, pixels);
    becomes("grey", (pf_convert_opt){.binarise = PF_BINARISE_THRESHOLD}, s, got[0]);
    says("1 where 2 k >= levels, else 0");
    for (int i = 0; i < ALL; i++) assert_int_equal(got[0][i], pixels[i] >= 128);
    for (int e = 0; e < 3; e++)
        becomes("grey", (pf_convert_opt){.binarise = PF_BINARISE_DRAWN, .seed = e / 2}, s,
                got[e]);
    says("1 with chance k/(levels - 1), seed 1");
    assert_memory_equal(got[0], got[1], ALL);
    assert_memory_not_equal(got[0], got[2], ALL);
    int n = 0, ones = 0;
    for (int i = 2; i < ALL; i++) {
        if (pixels[i] != QUARTER) assert_int_equal(got[0][i], pixels[i] / 255);
        else ones += got[0][i];
        n += pixels[i] == QUARTER;
    }
    double p = QUARTER / 255.0;
    assert_true(fabs(ones - n * p) < 4.0 * sqrt(n * p * (1.0 - p))); /* once in 16,000 */
    pf_dataset *d = NULL;
    const char *path = in_dir("grey");
    const pf_convert_opt twice = {.binarise = PF_BINARISE_DRAWN, .copies = 2};
    must(pf_data_convert(&path, NULL, 1, &twice, in_dir("p.h5")));
    says("1 with chance k/(levels - 1), seed 0, training images 2 times");
    must(pf_dataset_open(in_dir("p.h5"), "train", &d));
    assert_int_equal(pf_dataset_about(d)->space.levels, 2);
    must(pf_dataset_images(d, 0, 2, got[1])); /* rows 1 and 2 of got */
    pf_dataset_close(d);
    assert_memory_equal(got[1], got[0], ALL);
    int differ = 0;
    for (int i = 0; i < ALL; i++) {
        differ += got[1][i] != got[2][i];
        assert_true(got[1][i] == got[2][i] || pixels[i] % 255);
    }
    assert_true(fabs(differ - n * 2 * p * (1 - p)) < 4.0 * sqrt(n * 2 * p * (1 - p)));
    static const char points[] = "a,b\n1.5,2\n3,4\n";
    spill(in_dir("points.csv"), (const unsigned char *)points, sizeof points - 1);
    not_with("points.csv", (pf_convert_opt){.binarise = PF_BINARISE_DRAWN}, "--binarise",
             "images");
}

/* A map of K classes is data of K categories; a value beyond them is told with its place. */
static void images_have_the_levels_they_are_said_to_have(void **state)
{
    (void)state;
    static const unsigned char map[] = {0, 7, 3, 1, 2, 7}, other[] = {0, 8, 3, 1, 2, 7};
    static const char points[] = "a,b\n1.5,2\n3,4\n";
    const pf_shape s = {2, 3, 1};
    unsigned char got[6];
    pf_dataset *d = NULL;
    put_idx4("map", 1, s, map);
    put_idx4("other", 1, s, other);
    for (int levels = 0; levels <= 9; levels += levels ? 1 : 8) {
        becomes("map", (pf_convert_opt){.levels = levels}, s, got);
        assert_memory_equal(got, map, sizeof got);
        must(pf_dataset_open(in_dir("p.h5"), "train", &d));
        assert_int_equal(pf_dataset_about(d)->space.levels, levels ? levels : 256);
        pf_dataset_close(d);
    }
    becomes("map", (pf_convert_opt){.levels = 8, .binarise = PF_BINARISE_THRESHOLD}, s, got);
    for (int i = 0; i < 6; i++) assert_int_equal(got[i], map[i] >= 4); /* the upper half of 8 */
    not_with("other", (pf_convert_opt){.levels = 8}, "image 0 of the split train",
             "the value 8, and --levels 8 is of values from 0 to 7");
    spill(in_dir("table.csv"), (const unsigned char *)points, sizeof points - 1);
    not_with("table.csv", (pf_convert_opt){.levels = 8}, "--levels", "images");
}

static void pictures_of_a_folder_become_alike(void **state)
{
    (void)state;
    unsigned char im[9 * 8 * 3], got[8 * 8 * 3];
    pf_dataset *d = NULL;
    const char *path = in_dir("mixed");
    pattern(im, sizeof im, 1);
    must(pf_png_grid(with_folders("mixed/a.png"), im, 1, (pf_shape){8, 8, 3}, 1));
    must(pf_png_grid(in_dir("mixed/b.png"), im, 1, (pf_shape){9, 8, 1}, 1));
    refused("mixed", "mixed/b.png", "--grey");
    assert_non_null(strstr(pf_error_message(), "mixed/a.png"));
    not_with("mixed", (pf_convert_opt){.channels = 3}, "mixed/b.png", "--crop");
    not_with("mixed", (pf_convert_opt){.channels = 3, .crop_h = 9, .crop_w = 8}, "mixed/a.png",
             "8x8");
    pf_convert_opt o = {.channels = 3, .crop_h = 8, .crop_w = 8};
    must(pf_data_convert(&path, NULL, 1, &o, in_dir("p.h5")));
    must(pf_dataset_open(in_dir("p.h5"), "train", &d));
    assert_int_equal(pf_dataset_about(d)->n, 2);
    must(pf_dataset_images(d, 0, 1, got));
    assert_memory_equal(got, im, sizeof got);
    must(pf_dataset_images(d, 1, 1, got));
    for (int i = 0; i < 8 * 8 * 3; i++) assert_int_equal(got[i], im[i / 3]);
    pf_dataset_close(d);
    says("rgb of grey; crop 8x8");
}

static void options_for_images_are_errors_for_others(void **state)
{
    (void)state;
    char words[600];
    for (int i = 0; i < 600; i++) words[i] = "ab "[i * i % 7 % 3];
    spill(in_dir("words.txt"), words, sizeof words);
    must(convert("words.txt", "p.h5"));
    const char *sources[] = {"density:ring:50", in_dir("words.txt")};
    const pf_convert_opt o[] = {
        {.channels = 1}, {.drop_alpha = 1}, {.crop_h = 1, .crop_w = 1}, {.resize_h = 4}};
    for (int i = 0; i < 8; i++) {
        const char *path = sources[i % 2];
        assert_int_equal(pf_data_convert(&path, NULL, 1, &o[i / 2], in_dir("none.h5")),
                         PF_EARG);
        assert_non_null(strstr(pf_error_message(), path));
        assert_non_null(strstr(pf_error_message(), "--grey"));
    }
}

static void jpeg_comes_back_beside_png(void **state)
{
    (void)state;
    unsigned char im[JPEG_SIDE * JPEG_SIDE], got[3 * JPEG_SIDE * JPEG_SIDE];
    pf_dataset *d = NULL;
    put_jpeg("both/a.jpg", 1, 0);
    put_jpeg("both/b.JPEG", 2, 6);
    put_jpeg("both/c.png", 3, 0); /* by its content */
    flat_blocks(im, 4);
    must(pf_png_grid(in_dir("both/d.jpg"), im, 1, (pf_shape){JPEG_SIDE, JPEG_SIDE, 1}, 1));
    must(convert("both", "p.h5"));
    says("decoded from JPEG");
    must(pf_dataset_open(in_dir("p.h5"), "train", &d));
    assert_int_equal(pf_dataset_about(d)->n, 4);
    for (unsigned i = 0; i < 4; i++) {
        flat_blocks(im, i + 1);
        must(pf_dataset_images(d, i, 1, got));
        assert_memory_equal(got, im, sizeof im);
    }
    pf_dataset_close(d);
    becomes("both/a.jpg", (pf_convert_opt){.channels = 3}, (pf_shape){JPEG_SIDE, JPEG_SIDE, 3},
            got);
    for (int i = 0; i < JPEG_SIDE * JPEG_SIDE * 3; i++)
        assert_int_equal(got[i], block_of(1, i / 3 / JPEG_SIDE / 8, i / 3 % JPEG_SIDE / 8));
    says("decoded from JPEG; rgb of grey");
}

static void jpeg_is_whole_and_of_known_colours(void **state)
{
    (void)state;
    static unsigned char im[JPEG_SIDE * JPEG_SIDE * 4];
    unsigned long n;
    pattern(im, sizeof im, 2);
    unsigned char *b = jpeg(im, 4, 0, &n);
    spill(with_folders("ink/a.jpg"), b, n);
    free(b);
    refused("ink", "ink/a.jpg", "CMYK");
    b = jpeg(im, 3, 0, &n);
    spill(in_dir("ink/a.jpg"), b, n);
    must(convert("ink", "p.h5"));
    for (unsigned long cut = 0; cut < n; cut += 1 + n / 64) {
        spill(in_dir("ink/a.jpg"), b, cut);
        refused("ink", "ink/a.jpg", "");
    }
    /* more pixels than so small a file can hold: the sizes follow the marker SOF0 */
    unsigned long at = 0;
    while (memcmp(b + at, "\377\300\0\21", 4)) at++;
    memset(b + at + 5, 0x10, 4);
    spill(in_dir("ink/a.jpg"), b, n);
    size_t before = pf_peak_bytes();
    refused("ink", "ink/a.jpg", "more pixels");
    assert_true(pf_peak_bytes() < before + (64u << 20));
    free(b);
}

static void a_picture_is_a_point(void **state)
{
    (void)state;
    const pf_convert_opt o = {.channels = 3, .crop_h = 2, .crop_w = 2};
    pf_points p;
    unsigned char im[PIXELS];
    put_png("one.png", 5);
    image_of(im, 5);
    must(pf_points_read(in_dir("one.png"), &o, &p));
    assert_true(p.n == 1 && p.space.shape.h == 2 && p.space.shape.w == 2 &&
                p.space.shape.c == 3);
    for (int i = 0; i < 12; i++)
        assert_int_equal(p.pixels[i], im[(2 + i / 6) * SIDE + 2 + i / 3 % 2]);
    pf_points_free(&p);
}

/* Splits are not chosen there; folders below them are classes as ever. */
static void all_splits_of_a_folder_are_points(void **state)
{
    (void)state;
    static const char *const of[] = {"all/test/cat/a.png", "all/train/cat/b.png",
                                     "all/train/dog/c.png"};
    pf_points p;
    unsigned char im[PIXELS];
    for (int i = 0; i < 3; i++) put_png(of[i], i);
    must(pf_points_read(in_dir("all"), NULL, &p));
    assert_int_equal(p.n, 3);
    for (int i = 0; i < 3; i++) {
        image_of(im, i);
        assert_memory_equal(p.pixels + i * PIXELS, im, PIXELS);
        assert_int_equal(p.labels[i], i == 2);
    }
    pf_points_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey_is_the_luma_and_rgb_repeats_it),
        cmocka_unit_test(alpha_is_the_last_of_two_or_four),
        cmocka_unit_test(crops_are_central),
        cmocka_unit_test(a_flat_picture_stays_flat_and_no_change_is_none),
        cmocka_unit_test(halving_weighs_four_pixels),
        cmocka_unit_test(a_ramp_stays_a_ramp),
        cmocka_unit_test(the_smaller_side_becomes_the_size),
        cmocka_unit_test(binarised_pixels_follow_their_rule),
        cmocka_unit_test(images_have_the_levels_they_are_said_to_have),
        cmocka_unit_test(pictures_of_a_folder_become_alike),
        cmocka_unit_test(options_for_images_are_errors_for_others),
        cmocka_unit_test(jpeg_comes_back_beside_png),
        cmocka_unit_test(jpeg_is_whole_and_of_known_colours),
        cmocka_unit_test(a_picture_is_a_point),
        cmocka_unit_test(all_splits_of_a_folder_are_points),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
