/* Option tables: defaults, text and back, and sentences for what is refused. */
#include <probflow/option.h>
#include <probflow/random.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

typedef struct thing {
    int width;
    int64_t steps;
    double rate;
    int flip, kind;
    char path[PF_STR_MAX];
    pf_ints mult;
} thing;

static const char *const kinds[] = {"round", "square", "flat", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(thing, width, PF_INT, 64, 1, 1024, "channels"),
    PF_OPT(thing, steps, PF_I64, 1000000, 0, 1e12, "steps"),
    PF_OPT(thing, rate, PF_F64, 2e-4, 0, 1, "rate, 1/step"),
    PF_OPT(thing, flip, PF_BOOL, 1, 0, 1, "flips"),
    PF_OPT_ENUM(thing, kind, 1, kinds, "shape"),
    PF_OPT_STR(thing, path, "a b.h5", "file"),
    PF_OPT_INTS(thing, mult, "1,2,2,2", 1, 16, "multipliers"),
    { 0 }
};
/* clang-format on */

static thing t;

static int reset(void **state)
{
    (void)state;
    memset(&t, 0xff, sizeof t);
    pf_opt_defaults(opts, &t);
    return 0;
}

static void refused(const char *name, const char *text, const char *sentence)
{
    thing before = t;
    assert_int_equal(pf_opt_set(opts, "thing", name, text, &t), PF_EARG);
    assert_string_equal(pf_error_message(), sentence);
    assert_memory_equal(&before, &t, sizeof t);
}

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    assert_int_equal(t.width, 64);
    assert_int_equal(t.steps, 1000000);
    assert_true(t.rate == 2e-4);
    assert_int_equal(t.flip, 1);
    assert_int_equal(t.kind, 1);
    assert_string_equal(t.path, "a b.h5");
    assert_int_equal(t.mult.n, 4);
    assert_int_equal(t.mult.v[0], 1);
    assert_int_equal(t.mult.v[3], 2);
}

static void every_field_reads_back_from_its_text(void **state)
{
    (void)state;
    pf_draw d = {.seed = 1, .stream = PF_STREAM_TEST};
    thing back;
    memset(&back, 0xff, sizeof back);
    for (size_t k = 0; k < 2000; k++) {
        t.rate = exp(-700.0 * pf_draw_uniform_f64(&d, k));
        t.steps = (int64_t)(1e12 * pf_draw_uniform_f64(&d, k + 5000));
        t.kind = (int)(k % 3);
        t.flip = (int)(k % 2);
        for (const pf_opt *o = opts; o->name; o++) {
            char text[PF_STR_MAX];
            pf_opt_text(o, &t, text, sizeof text);
            assert_int_equal(pf_opt_set(opts, NULL, o->name, text, &back), PF_OK);
        }
        assert_true(back.rate == t.rate);
        assert_true(back.steps == t.steps);
        assert_int_equal(back.kind, t.kind);
        assert_int_equal(back.flip, t.flip);
        assert_string_equal(back.path, t.path);
        assert_memory_equal(&back.mult, &t.mult, 5 * sizeof(int));
    }
}

static void doubles_print_with_the_fewest_digits(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } row[] = {{0.1, "0.1"}, {1e-5, "1e-05"},    {1.0 / 3, "0.3333333333333333"},
               {20, "20"},   {0.9999, "0.9999"}, {0.5 + 0x1p-53, "0.5000000000000001"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[64];
        t.rate = row[i].v;
        pf_opt_text(&opts[2], &t, text, sizeof text);
        assert_string_equal(text, row[i].text);
    }
}

static void numbers_words_and_lists_are_read_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *want;
    } row[] = {{"steps", "1e6", "1000000"},
               {"steps", "300", "300"},
               {"flip", "no", "false"},
               {"flip", "True", "true"},
               {"flip", "off", "false"},
               {"mult", "[1, 2,2]", "1,2,2"},
               {"mult", "1,2,2,4", "1,2,2,4"},
               {"rate", " 1e-3 ", "0.001"},
               {"steps", "0x10", "16"},
               {"steps", "+5.0", "5"},
               {"mult", " [ 4 ] ", "4"},
               {"mult", "[]", ""},
               {"mult", "", ""}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const pf_opt *o = opts;
        char text[PF_STR_MAX];
        while (strcmp(o->name, row[i].name)) o++;
        assert_int_equal(pf_opt_set(opts, "thing", o->name, row[i].text, &t), PF_OK);
        pf_opt_text(o, &t, text, sizeof text);
        assert_string_equal(text, row[i].want);
    }
}

static void a_bad_value_is_refused_with_what_is_wanted(void **state)
{
    (void)state;
    refused("width", "0", "thing.width is \"0\"; want a whole number from 1 to 1024");
    refused("width", "3.5", "thing.width is \"3.5\"; want a whole number from 1 to 1024");
    refused("rate", "2", "thing.rate is \"2\"; want a number from 0 to 1");
    refused("rate", "nan", "thing.rate is \"nan\"; want a number from 0 to 1");
    refused("rate", "1x", "thing.rate is \"1x\"; want a number from 0 to 1");
    refused("rate", "", "thing.rate is \"\"; want a number from 0 to 1");
    refused("flip", "maybe", "thing.flip is \"maybe\"; want true or false");
    refused("kind", "rond", "thing.kind is \"rond\"; want round, square or flat");
    refused("mult", "1,99",
            "thing.mult is \"1,99\"; want a list of up to 12 whole numbers from 1 to 16");
    static const char *const lists[] = {"1,,2", "[1,2",    "1,2]", "1,2,", ",1,2",    ",",
                                        "1 2",  "[[1],2]", "[",    "1,x",  "[1],[2]", "1;2"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char want[128];
        snprintf(want, sizeof want,
                 "thing.mult is \"%s\"; want a list of up to 12 whole numbers from 1 to 16",
                 lists[i]);
        refused("mult", lists[i], want);
    }
    static const char *const numbers[] = {"1e400",  "inf",   "5 6",   "1e3.5", "1_0", "0,5",
                                          "1e-400", "0.1.2", "--0.5", "e-3",   ".",   "0.5f"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char want[128];
        snprintf(want, sizeof want, "thing.rate is \"%s\"; want a number from 0 to 1",
                 numbers[i]);
        refused("rate", numbers[i], want);
    }
    refused("steps", "99999999999999999999999",
            "thing.steps is \"99999999999999999999999\"; want a whole number from 0 to 1e+12");
}

/* A double would round them. */
static void whole_numbers_are_exact_in_any_form(void **state)
{
    (void)state;
    struct {
        int64_t v;
    } seed;
    const pf_opt row[] = {{"v", PF_I64, 0, 0, 0, 9e18, NULL, NULL, "seed"}, {0}};
    static const struct {
        const char *text;
        int64_t v;
    } whole[] = {{"1e17", 100000000000000000},
                 {"9007199254740993", 9007199254740993},
                 {"9.007199254740993e15", 9007199254740993},
                 {"123456789012345678e0", 123456789012345678},
                 {"8999999999999999999", 8999999999999999999}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        char text[64];
        assert_int_equal(pf_opt_set(row, NULL, "v", whole[i].text, &seed), PF_OK);
        assert_true(seed.v == whole[i].v);
        pf_opt_text(row, &seed, text, sizeof text);
        assert_int_equal(pf_opt_set(row, NULL, "v", text, &seed), PF_OK);
        assert_true(seed.v == whole[i].v);
    }
    static const char *const none[] = {"1e19", "9.1e18", "-1", "1e-1", "123456789012345678.5"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(pf_opt_set(row, NULL, "v", none[i], &seed), PF_EARG);
}

static void text_that_is_no_utf8_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"M\xfcnchen",
                                      "\x80",
                                      "a\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "a\xed\xa0\x80"
                                      "b",
                                      "\xed\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xff",
                                      "\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused("path", bad[i],
                "thing.path is not UTF-8 text, so no file of the run could hold it");
}

static void a_word_that_is_a_truth_value_may_be_written_as_any(void **state)
{
    (void)state;
    static const char *const modes[] = {"no", "yes", "some", NULL};
    const pf_opt modal[] = {PF_OPT_ENUM(thing, kind, 2, modes, "mode"), {0}};
    static const char *const same[][2] = {
        {"yes", "true"}, {"no", "False"}, {"no", "0"}, {"some", "some"}};
    for (int i = 0; i < 4; i++) {
        t.kind = -1;
        assert_int_equal(pf_opt_set(modal, "thing", "kind", same[i][1], &t), PF_OK);
        assert_string_equal(modes[t.kind], same[i][0]);
    }
    refused("kind", "true", "thing.kind is \"true\"; want round, square or flat");
}

static void an_unknown_name_names_the_nearest(void **state)
{
    (void)state;
    refused("widht", "3", "unknown option thing.widht; did you mean thing.width?");
    refused("Rate", "3", "unknown option thing.Rate; did you mean thing.rate?");
    refused("temperature", "3", "unknown option thing.temperature");
}

static void nearest_is_null_when_none_is_close(void **state)
{
    (void)state;
    const char *const names[] = {"sde", "train", "likelihood", NULL};
    assert_string_equal(pf_nearest("trian", names), "train");
    assert_string_equal(pf_nearest("likelyhood", names), "likelihood");
    assert_null(pf_nearest("objective", names));
}

typedef struct outer {
    int64_t before;
    thing inside;
    int after;
} outer;

static const pf_opt twice[] = {PF_OPT_NEST(outer, inside, opts), {0}};
/* clang-format off */
static const pf_opt outer_opts[] = {
    PF_OPT(outer, before, PF_I64, 5, 0, 10, "first"),
    { .name = "a table of rows of the same struct", .kind = PF_NEST, .rows = twice },
    PF_OPT(outer, after, PF_INT, 7, 0, 10, "last"),
    { 0 }
};
/* clang-format on */

static void rows_of_a_nested_table_stand_in_their_place(void **state)
{
    (void)state;
    outer o;
    thing alone;
    pf_opt_walk w;
    int n = 0, own = 0;
    while (opts[own].name) own++;
    for (const pf_opt *row = pf_opt_first(outer_opts, &w); row; row = pf_opt_next(&w), n++)
        assert_string_equal(row->name, n == 0     ? "before"
                                       : n <= own ? opts[n - 1].name
                                                  : "after");
    assert_int_equal(n, own + 2);
    memset(&o, 0, sizeof o);
    memset(&alone, 0, sizeof alone);
    pf_opt_defaults(outer_opts, &o);
    pf_opt_defaults(opts, &alone);
    assert_memory_equal(&o.inside, &alone, sizeof alone);
    assert_true(o.before == 5 && o.after == 7);
    assert_int_equal(pf_opt_set(outer_opts, "s", "steps", "17", &o), PF_OK);
    assert_true(o.inside.steps == 17);
    pf_opt found = pf_opt_find(outer_opts, "steps");
    assert_int_equal(found.offset, offsetof(outer, inside) + offsetof(thing, steps));
    assert_null(pf_opt_find(outer_opts, "inside").name);
    assert_int_equal(pf_opt_set(outer_opts, "s", "inside", "17", &o), PF_EARG);
    assert_int_equal(pf_opt_set(outer_opts, "s", "stepps", "17", &o), PF_EARG);
    assert_string_equal(pf_error_message(), "unknown option s.stepps; did you mean s.steps?");
    assert_null(pf_opt_first(NULL, &w));
}

typedef struct plugin {
    const char *name;
    int number;
} plugin;

static void a_plugin_is_found_by_its_name(void **state)
{
    (void)state;
    static const plugin first = {"ancestral", 1}, second = {"ode", 2};
    static const plugin *const table[] = {&first, &second, NULL};
    const void *row = NULL;
    assert_int_equal(pf_row_find(table, "sampler", "ode", &row), PF_OK);
    assert_ptr_equal(row, &second);
    assert_int_equal(pf_row_find(table, "sampler", "ancestrel", &row), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "unknown sampler 'ancestrel'; did you mean 'ancestral'?");
}

static void help_shows_every_row_with_its_default(void **state)
{
    (void)state;
    static char text[4096];
    FILE *f = fmemopen(text, sizeof text, "w");
    pf_opt_help(opts, "thing", f);
    fclose(f);
    for (const pf_opt *o = opts; o->name; o++) assert_non_null(strstr(text, o->name));
    assert_non_null(strstr(text, "[1,2,2,2; 1 to 16]"));
    assert_non_null(strstr(text, "[0.0002; 0 to 1]"));
    assert_non_null(strstr(text, "[square; round, square or flat]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_those_of_the_table, reset),
        cmocka_unit_test_setup(every_field_reads_back_from_its_text, reset),
        cmocka_unit_test_setup(doubles_print_with_the_fewest_digits, reset),
        cmocka_unit_test_setup(numbers_words_and_lists_are_read_as_people_write_them, reset),
        cmocka_unit_test_setup(a_bad_value_is_refused_with_what_is_wanted, reset),
        cmocka_unit_test_setup(whole_numbers_are_exact_in_any_form, reset),
        cmocka_unit_test_setup(text_that_is_no_utf8_is_refused, reset),
        cmocka_unit_test_setup(a_word_that_is_a_truth_value_may_be_written_as_any, reset),
        cmocka_unit_test_setup(an_unknown_name_names_the_nearest, reset),
        cmocka_unit_test_setup(nearest_is_null_when_none_is_close, reset),
        cmocka_unit_test_setup(rows_of_a_nested_table_stand_in_their_place, reset),
        cmocka_unit_test_setup(a_plugin_is_found_by_its_name, reset),
        cmocka_unit_test_setup(help_shows_every_row_with_its_default, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
