/* Whose split and class a source is. */
#include <probflow/data.h>
#include <probflow/log.h>
#include "source_files.h"

/* ---- splits ---- */

static void names_say_their_split(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int split;
    } known[] = {
        {"train", PF_TRAIN},
        {"train_32x32", PF_TRAIN},
        {"TRAINING", PF_TRAIN},
        {"train-images.gz", PF_TRAIN},
        {"train2", PF_TRAIN},
        {"trainImages", PF_TRAIN},
        {"val", PF_VALID},
        {"VAL", PF_VALID},
        {"val-images-idx3-ubyte", PF_VALID},
        {"valid_32x32", PF_VALID},
        {"Validation", PF_VALID},
        {"dev-set", PF_VALID},
        {"test", PF_TEST},
        {"imagenet_test", PF_TEST},
        {"test_batch.bin", PF_TEST},
        {"Testing", PF_TEST},
        {"t10k-images", PF_TEST},
        {"T10K", PF_TEST},
        {"10test20", PF_TEST},
        {"test\xe9\x9b\x86", PF_TEST}, /* a character of another script follows */
        {"latest", PF_SPLIT_UNSAID},
        {"contest", PF_SPLIT_UNSAID},
        {"retrain", PF_SPLIT_UNSAID},
        {"trains", PF_SPLIT_UNSAID},
        {"trainval", PF_SPLIT_UNSAID},
        {"device", PF_SPLIT_UNSAID},
        {"value", PF_SPLIT_UNSAID},
        {"interval", PF_SPLIT_UNSAID},
        {"invalid", PF_SPLIT_UNSAID},
        {"t10", PF_SPLIT_UNSAID},
        {"pr\xc3\xa9test", PF_SPLIT_UNSAID}, /* an accented letter precedes */
        {"test\xc3\xa9", PF_SPLIT_UNSAID},
        {"data_batch_1.bin", PF_SPLIT_UNSAID},
        {"", PF_SPLIT_UNSAID},
        {"train_test", PF_SPLIT_TWO},
        {"val-of-training", PF_SPLIT_TWO},
        {"dev-validation", PF_VALID},
        {"contest_train", PF_TRAIN},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (pf_split_of_name(known[i].name) != known[i].split)
            fail_msg("%s says %d, not %d", known[i].name, pf_split_of_name(known[i].name),
                     known[i].split);
}

static void a_source_belongs_to_the_split_it_names(void **state)
{
    (void)state;
    /* IDX rows continue a pattern over all images: one image a file keeps them apart */
    const char *src[] = {spill_idx("images", 1, 1), spill_idx("dev-images", 1, 2),
                         spill_idx("latest", 1, 3)};
    put_png("imagenet_test/a.png", 4);
    const char *all[] = {src[0], src[1], src[2], in_dir("imagenet_test")};
    must(pf_data_convert(all, NULL, 4, NULL, in_dir("s.h5")));
    holds("s.h5", "train", 2, (unsigned[]){1, 3}, NULL);
    holds("s.h5", "valid", 1, (unsigned[]){2}, NULL);
    holds("s.h5", "test", 1, (unsigned[]){4}, NULL);
    /* outright: whatever the names say */
    const int splits[] = {PF_TEST, PF_TRAIN, PF_SPLIT_UNSAID, PF_VALID};
    must(pf_data_convert(all, splits, 4, NULL, in_dir("s.h5")));
    holds("s.h5", "test", 1, (unsigned[]){1}, NULL);
    holds("s.h5", "train", 2, (unsigned[]){2, 3}, NULL);
    holds("s.h5", "valid", 1, (unsigned[]){4}, NULL);
    spill_idx("train_test", 1, 1);
    refused("train_test", "train_test", "--split");
}

static void folders_name_splits_above_classes(void **state)
{
    (void)state;
    static const char *const roots[] = {"pets", "wrapped"};
    static const char *const files[][2] = {
        {"pets/Train/cat/a.png", "wrapped/images/train/cat/a.png"},
        {"pets/Train/dog/a.png", "wrapped/images/train/dog/a.png"},
        {"pets/Validation/dog/b.png", "wrapped/images/val/dog/b.png"}};
    for (int r = 0; r < 2; r++) {
        for (unsigned i = 0; i < 3; i++) put_png(files[i][r], i);
        must(convert(roots[r], "f.h5"));
        holds("f.h5", "train", 2, (unsigned[]){0, 1}, (int32_t[]){0, 1});
        holds("f.h5", "valid", 1, (unsigned[]){2}, (int32_t[]){1});
        has_no_split("f.h5", "test");
        classes_are("f.h5", "cat\ndog");
    }
    /* a folder of several splits is none of them, whatever its name */
    put_png("with-test/train/a.png", 1);
    put_png("with-test/test/a.png", 2);
    must(convert("with-test", "f.h5"));
    holds("f.h5", "train", 1, (unsigned[]){1}, NULL);
    holds("f.h5", "test", 1, (unsigned[]){2}, NULL);
    put_png("test-sets/valid/train/cat/a.png", 3);
    put_png("test-sets/valid/dev/cat/a.png", 4);
    must(convert("test-sets/valid", "f.h5"));
    holds("f.h5", "train", 1, (unsigned[]){3}, (int32_t[]){0});
    holds("f.h5", "valid", 1, (unsigned[]){4}, (int32_t[]){0});
    /* the source itself is the split */
    put_png("val_set/cat/a.png", 1);
    put_png("val_set/bus/a.png", 2);
    must(convert("val_set", "f.h5"));
    holds("f.h5", "valid", 2, (unsigned[]){2, 1}, (int32_t[]){0, 1});
    /* classes above splits */
    put_png("above/cat/test/a.png", 1);
    put_png("above/cat/train/a.png", 2);
    put_png("above/dog/train/a.png", 3);
    must(convert("above", "f.h5"));
    holds("f.h5", "train", 2, (unsigned[]){2, 3}, (int32_t[]){0, 1});
    holds("f.h5", "test", 1, (unsigned[]){1}, (int32_t[]){0});
    /* a class may be called train when its split is said outright */
    put_png("vehicles/bus/a.png", 1);
    put_png("vehicles/train/a.png", 2);
    const char *src[] = {in_dir("vehicles")};
    must(pf_data_convert(src, (const int[]){PF_VALID}, 1, NULL, in_dir("f.h5")));
    holds("f.h5", "valid", 2, (unsigned[]){1, 2}, (int32_t[]){0, 1});
    classes_are("f.h5", "bus\ntrain");
}

static void contradictions_between_folders_are_refused(void **state)
{
    (void)state;
    put_png("in/test/train/a.png", 1);
    refused("in", "in/test/train", "split test");
    put_png("test/val/a.png", 1);
    refused("test", "test/val", "split test");
    put_png("deep/train/cat/dev/a.png", 1);
    refused("deep", "deep/train/cat/dev", "train");
    put_png("both/train-val/a.png", 1);
    refused("both", "both/train-val", "two splits");
    put_png("beside/train/a.png", 1);
    put_png("beside/more/b.png", 2);
    refused("beside", "beside/train", "beside/more");
    put_png("stray/train/a.png", 1);
    put_png("stray/b.png", 2);
    refused("stray", "stray/train", "outside");
    put_png("twofold/a/train/good/x.png", 1);
    put_png("twofold/b/train/good/x.png", 2);
    refused("twofold", "a and b", "classes below");
}

/* ---- classes ---- */

static void classes_have_one_order_over_splits_and_sources(void **state)
{
    (void)state;
    static const char *const turns[] = {"turns/train/0/a.png", "turns/train/180/a.png",
                                        "turns/train/90/a.png", "turns/train/270/a.png"};
    for (unsigned i = 0; i < 4; i++) put_png(turns[i], i);
    put_png("turns/test/270/b.png", 4);
    put_png("turns/test/90/b.png", 5);
    must(convert("turns", "c.h5"));
    holds("c.h5", "train", 4, (unsigned[]){0, 1, 3, 2}, (int32_t[]){0, 2, 3, 1});
    holds("c.h5", "test", 2, (unsigned[]){4, 5}, (int32_t[]){3, 1});
    classes_are("c.h5", "0\n90\n180\n270");
    /* another source has more classes: numbers, then names by their bytes */
    static const char *const more[] = {"more_val/-5/a.png",    "more_val/Zebra/a.png",
                                       "more_val/apple/a.png", "more_val/1e3/a.png",
                                       "more_val/2.5/a.png",   "more_val/090/a.png"};
    for (unsigned i = 0; i < 6; i++) put_png(more[i], 10 + i);
    mkdir(in_dir("more_val/empty"), 0777);
    put_text("more_val/__MACOSX/a.png", "x");
    put_text("more_val/.hidden/a.png", "x");
    put_text("more_val/notes/readme.txt", "x");
    const char *src[] = {in_dir("turns"), in_dir("more_val")};
    must(pf_data_convert(src, NULL, 2, NULL, in_dir("c.h5")));
    classes_are("c.h5", "-5\n0\n2.5\n090\n90\n180\n270\n1e3\nZebra\napple");
    holds("c.h5", "test", 2, (unsigned[]){4, 5}, (int32_t[]){6, 4});
    holds("c.h5", "valid", 6, (unsigned[]){10, 15, 13, 14, 11, 12},
          (int32_t[]){0, 3, 7, 2, 8, 9});
}

static void labels_without_names_store_none(void **state)
{
    (void)state;
    static const unsigned char two[] = {0, 0, 8, 1, 0, 0, 0, 1, 7};
    const char *src[] = {spill_idx("train-i", 1, 1), in_dir("train-l"), in_dir("named")};
    spill(src[1], two, sizeof two);
    must(pf_data_convert(src, NULL, 2, NULL, in_dir("l.h5")));
    holds("l.h5", "train", 1, (unsigned[]){1}, (int32_t[]){7});
    classes_are("l.h5", NULL);
    put_png("named/cat/a.png", 2);
    assert_int_equal(pf_data_convert(src, NULL, 3, NULL, in_dir("x.h5")), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "named"));
    put_png("part/cat/a.png", 2);
    put_png("part/b.png", 3);
    refused("part", "part/cat", "outside of any");
    put_png("line/a\nb/a.png", 2);
    refused("line", "line", "line break");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_say_their_split),
        cmocka_unit_test(a_source_belongs_to_the_split_it_names),
        cmocka_unit_test(folders_name_splits_above_classes),
        cmocka_unit_test(contradictions_between_folders_are_refused),
        cmocka_unit_test(classes_have_one_order_over_splits_and_sources),
        cmocka_unit_test(labels_without_names_store_none),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
