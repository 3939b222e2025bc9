/* Texts become rows of symbols: by which rule, cut where, and what each symbol stands for. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/vocabulary.h>
#include "scratch.h"

static pf_status convert(const char *name, const pf_convert_opt *opt)
{
    const char *src[] = {in_dir(name)};
    return pf_data_convert(src, NULL, 1, opt, in_dir("t.h5"));
}

/* What the rows of a split say, each row in its own length, with a | between rows. */
static const char *said(const char *split)
{
    static char text[8192];
    pf_dataset *d = NULL;
    pf_vocabulary v = {0};
    double x[1024];
    if (pf_dataset_open(in_dir("t.h5"), split, &d)) return "none";
    const pf_dataset_info *a = pf_dataset_about(d);
    must(pf_vocabulary_parse(a->vocabulary, &v));
    assert_int_equal(v.n, a->space.levels);
    size_t used = 0, D = (size_t)a->space.shape.c;
    for (int64_t i = 0; i < a->n; i++) {
        must(pf_dataset_x(d, i, 1, x));
        if (i) text[used++] = '|';
        assert_true(used + pf_vocabulary_spell(&v, D, x, NULL) < sizeof text);
        used += pf_vocabulary_spell(&v, D, x, text + used);
    }
    text[used] = 0;
    pf_vocabulary_free(&v);
    pf_dataset_close(d);
    return text;
}

static void text8_spells_digits_and_folds_blanks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"Hello, World!\n", "hello world "},
        {" anarchism originated", " anarchism originated"}, /* text8 itself stays */
        {"10 a7b", " one zero a seven b"},
        {"\n\n  A--Z\t\xc3\xa9.", " a z "},
        {"IX 1984", "ix one nine eight four "},
    };
    int splits[] = {PF_TEST};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        spill(in_dir("a.txt"), cases[i].text, strlen(cases[i].text));
        const char *src[] = {in_dir("a.txt")};
        must(pf_data_convert(src, splits, 1, &(pf_convert_opt){.text = "text8"},
                             in_dir("t.h5")));
        assert_string_equal(said("test"), cases[i].want);
    }
}

static void no_symbol_is_dropped_unless_that_is_asked_for(void **state)
{
    (void)state;
    char text[101];
    for (int i = 0; i < 100; i++) text[i] = "abcdefg "[i % 8];
    text[100] = 0;
    spill(in_dir("a.txt"), text, 100);
    must(convert("a.txt", &(pf_convert_opt){.length = 8}));
    assert_string_equal(said("valid"), "cdefg"); /* symbols 90 .. 94 */
    assert_string_equal(said("test"), " abcd");
    const char *train = said("train");
    assert_int_equal(strlen(train), 90 + 11);
    assert_string_equal(train + 99, "ab");
    must(convert("a.txt", &(pf_convert_opt){.length = 8, .drop = 1}));
    assert_string_equal(said("valid"), "none");
    assert_int_equal(strlen(said("train")), 88 + 10);
    must(convert("a.txt", NULL)); /* one row a split, shorter than 256 */
    assert_int_equal(strlen(said("train")), 90);
    assert_int_equal(convert("a.txt", &(pf_convert_opt){.length = 200, .drop = 1}), PF_EFORMAT);
}

static void lines_are_rows_of_their_own_length(void **state)
{
    (void)state;
    char text[1000] = "";
    for (int i = 0; i < 20; i++)
        sprintf(text + strlen(text), "%c%s%s", 'a' + i, i == 3 ? "0123456789" : "",
                i % 2 ? "\n" : "\r\n\n");
    text[strlen(text) - 1] = 0; /* the last line does not end */
    spill(in_dir("a.txt"), text, strlen(text));
    must(convert("a.txt", &(pf_convert_opt){.lines = 1, .length = 4}));
    assert_string_equal(said("train"), "a|b|c|d012|3456|789|e|f|g|h|i|j|k|l|m|n|o|p|q|r");
    assert_string_equal(said("valid"), "s");
    assert_string_equal(said("test"), "t");
    spill(in_dir("b.txt"), "\n\n\n", 3);
    assert_int_equal(convert("b.txt", &(pf_convert_opt){.lines = 1}), PF_EFORMAT);
}

static void texts_become_symbols_by_the_longest_match(void **state)
{
    (void)state;
    static const char vocabulary[] = "a\nb\nab\nabc\n \n\\n\n\\x63\\x64\nz\\\\\n";
    int splits[] = {PF_TRAIN};
    pf_convert_opt opt = {.text = in_dir("v.txt"), .length = 3};
    const char *src[] = {in_dir("a.txt")};
    double x[16];
    pf_dataset *d = NULL;
    spill(opt.text, vocabulary, sizeof vocabulary - 1);
    spill(src[0], "abcab acd\nz\\", 12);
    must(pf_data_convert(src, splits, 1, &opt, in_dir("t.h5")));
    assert_string_equal(said("train"), "abcab |acd\n|z\\");
    must(pf_dataset_open(in_dir("t.h5"), "train", &d));
    must(pf_dataset_x(d, 0, 3, x));
    const double want[9] = {3, 2, 4, 0, 6, 5, 7, PF_NO_TOKEN, PF_NO_TOKEN};
    assert_memory_equal(x, want, sizeof want);
    pf_dataset_close(d);
    spill(src[0], "abcx", 4);
    assert_int_equal(pf_data_convert(src, splits, 1, &opt, in_dir("t.h5")), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "fits at byte 3, where 0x78 stands"));
    static const struct {
        const char *text, *why;
    } bad[] = {{"a\nb\na\n", "lines 1 and 3 are the same symbol"},
               {"a\n\nb\n", "line 2 is empty"},
               {"a\n", "holds 1 symbol,"},
               {"a\n\\q\n", "line 2: a \\ wants"},
               {"a\n\\x6\n", "line 2: a \\ wants"},
               {"a\n\\", "line 2: a \\ wants"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spill(opt.text, bad[i].text, strlen(bad[i].text));
        assert_int_equal(pf_data_convert(src, splits, 1, &opt, in_dir("t.h5")), PF_EFORMAT);
        if (!strstr(pf_error_message(), bad[i].why)) fail_msg("%s", pf_error_message());
    }
    opt.text = in_dir("nowhere");
    assert_int_equal(pf_data_convert(src, splits, 1, &opt, in_dir("t.h5")), PF_EIO);
}

static void many_symbols_take_two_bytes_and_fit(void **state)
{
    (void)state;
    enum { K = 700 };
    static char vocabulary[K * 8], text[K * 8];
    int splits[] = {PF_TEST};
    size_t n = 0, k = 0;
    for (int i = 0; i < K; i++) {
        n += (size_t)sprintf(vocabulary + n, "w%d.\n", i);
        k += (size_t)sprintf(text + k, "w%d.", K - 1 - i);
    }
    spill(in_dir("v.txt"), vocabulary, n);
    spill(in_dir("a.txt"), text, k);
    const char *src[] = {in_dir("a.txt")};
    must(pf_data_convert(src, splits, 1,
                         &(pf_convert_opt){.text = in_dir("v.txt"), .length = K},
                         in_dir("t.h5")));
    assert_string_equal(said("test"), text);
    pf_dataset *d = NULL;
    uint16_t t[K];
    must(pf_dataset_open(in_dir("t.h5"), "test", &d));
    assert_int_equal(pf_dataset_about(d)->space.levels, K);
    must(pf_dataset_tokens(d, 0, 1, t));
    for (int i = 0; i < K; i++) assert_int_equal(t[i], K - 1 - i);
    pf_dataset_close(d);
}

static void splits_by_files_share_one_alphabet(void **state)
{
    (void)state;
    spill(in_dir("train.txt"), "abcabc", 6);
    spill(in_dir("test.txt"), "bd", 2);
    spill(in_dir("c.txt"), "ccccccccccccccccccccd", 21);
    const char *src[] = {in_dir("train.txt"), in_dir("test.txt")};
    must(pf_data_convert(src, NULL, 2, NULL, in_dir("t.h5")));
    assert_string_equal(said("train"), "abcabc");
    assert_string_equal(said("test"), "bd");
    src[0] = in_dir("c.txt");
    assert_int_equal(pf_data_convert(src, NULL, 2, NULL, in_dir("t.h5")), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "c.txt was cut into train, valid and test"));
    src[1] = src[0];
    src[0] = in_dir("test.txt");
    assert_int_equal(pf_data_convert(src, NULL, 2, NULL, in_dir("t.h5")), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "c.txt would be cut"));
    must(pf_data_convert(src + 1, NULL, 1, &(pf_convert_opt){.text = "bytes"}, in_dir("t.h5")));
    pf_dataset *d = NULL;
    must(pf_dataset_open(in_dir("t.h5"), "train", &d));
    assert_int_equal(pf_dataset_about(d)->space.levels, 256);
    pf_dataset_close(d);
}

static void vocabularies_come_back_from_their_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int n;
    } good[] = {{"206162", 3}, {"20 6162", 2}, {"00ff", 2}};
    static const char *const bad[] = {"2", "2g", "20 ", "20  61", " 20", "20 616"};
    pf_vocabulary v;
    char *text = NULL;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        must(pf_vocabulary_parse(good[i].text, &v));
        assert_int_equal(v.n, good[i].n);
        must(pf_vocabulary_text(&v, &text));
        assert_string_equal(text, good[i].text);
        pf_free(text);
        pf_vocabulary_free(&v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (pf_vocabulary_parse(bad[i], &v) != PF_EFORMAT) fail_msg("accepted: '%s'", bad[i]);
        pf_vocabulary_free(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text8_spells_digits_and_folds_blanks),
        cmocka_unit_test(no_symbol_is_dropped_unless_that_is_asked_for),
        cmocka_unit_test(lines_are_rows_of_their_own_length),
        cmocka_unit_test(texts_become_symbols_by_the_longest_match),
        cmocka_unit_test(many_symbols_take_two_bytes_and_fit),
        cmocka_unit_test(splits_by_files_share_one_alphabet),
        cmocka_unit_test(vocabularies_come_back_from_their_text),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
