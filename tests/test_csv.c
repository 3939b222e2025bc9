/* Tables of numbers: every bit comes back, roles are those that were asked for, and what is no number is
 * refused by row and column. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <float.h>
#include <math.h>
#include "source_files.h"

#define RESULTS PF_OUTPUT_CSV "point,logp,"

static void text_is(const char *path, const char *want)
{
    size_t n = 0;
    unsigned char *b = slurp(path, &n);
    b[n] = 0;
    assert_string_equal((char *)b, want);
    free(b);
}

/* ---- results ---- */

static void a_table_of_results_gives_every_bit_back(void **state)
{
    (void)state;
    static const double logp[] = {0.1, -0.0, DBL_MAX, DBL_TRUE_MIN, -INFINITY, 1.0 / 3.0};
    static const int64_t point[] = {0, -1, INT64_MAX, INT64_MIN, 4, 5};
    static const char *const remark[] = {"",      "a,b",  "say \"no\"",
                                         "plain", " led", "two\nlines"};
    const double x[12] = {1, 2, NAN, -NAN, 5, 6, 7, 8, 9, 10, 11, 12};
    const pf_column c[] = {{"point", 1, NULL, point, NULL},
                           {"logp", 1, logp, NULL, NULL},
                           {"x", 2, x, NULL, NULL},
                           {"remark", 1, NULL, NULL, remark}};
    const char *path = in_dir("r.csv");
    must(pf_csv_write(path, RESULTS, 6, c, 4));
    text_is(path, "point,logp,x_0,x_1,remark\n"
                  "0,0.10000000000000001,1,2,\"\"\n"
                  "-1,-0,nan,nan,\"a,b\"\n"
                  "9223372036854775807,1.7976931348623157e+308,5,6,\"say \"\"no\"\"\"\n"
                  "-9223372036854775808,4.9406564584124654e-324,7,8,plain\n"
                  "4,-inf,9,10,\" led\"\n"
                  "5,0.33333333333333331,11,12,\"two\nlines\"\n");
    must(pf_csv_write(path, RESULTS, 0, c, 4)); /* a table without rows is one too */
    text_is(path, "point,logp,x_0,x_1,remark\n");
    must(pf_csv_write(in_dir("c.csv"), PF_OUTPUT_CSV "# in nats\n", 1, c + 1, 1));
    text_is(in_dir("c.csv"), "# in nats\nlogp\n0.10000000000000001\n");
}

static void a_table_replaces_its_own_kind_alone(void **state)
{
    (void)state;
    static const double v[] = {1, 2};
    static const char *const theirs[] = {"point,logp\n1,2\n", "x,y\n1,2\n", "point", "",
                                         "point,logp;1\n",    "\211HDF"};
    const pf_column c[] = {
        {"point", 1, v, NULL, NULL}, {"logp", 1, v, NULL, NULL}, {"error", 1, v, NULL, NULL}};
    const char *path = in_dir("own.csv");
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        put_text("own.csv", theirs[i]);
        assert_int_equal(pf_csv_write(path, RESULTS, 2, c, 3), PF_EARG);
        assert_non_null(strstr(pf_error_message(), "own.csv"));
        text_is(path, theirs[i]);
    }
    unlink(path);
    assert_int_equal(pf_csv_write(path, RESULTS, 2, c + 1, 2), PF_EARG); /* begins otherwise */
    assert_int_equal(pf_csv_write(path, "dataset", 2, c, 3), PF_EARG);
    assert_int_equal(access(path, F_OK), -1);
    must(pf_csv_write(path, RESULTS, 1, c, 3));
    must(pf_csv_write(path, RESULTS, 2, c, 3));
    text_is(path, "point,logp,error\n1,1,1\n2,2,2\n");
}

static void a_table_that_finds_no_memory_leaves_the_old_one(void **state)
{
    (void)state;
    static const double v[64] = {1};
    const pf_column c[] = {
        {"point", 1, v, NULL, NULL}, {"logp", 1, v, NULL, NULL}, {"error", 1, v, NULL, NULL}};
    const char *path = in_dir("m.csv");
    must(pf_csv_write(path, RESULTS, 0, c, 3));
    size_t live = pf_alloc_live();
    pf_status st = PF_EMEM;
    int n = 0;
    while (st && ++n < 100) {
        pf_alloc_fail_at(n);
        st = pf_csv_write(path, RESULTS, 64, c, 3);
        pf_alloc_fail_at(0);
        assert_int_equal(pf_alloc_live(), live);
        if (st) text_is(path, "point,logp,error\n");
    }
    assert_true(n > 2 && n < 100);
}

/* ---- tables ---- */

/* A table of D values, and what it holds; conditions: NULL-terminated, as asked for. */
typedef struct good {
    const char *name, *text, *label, *condition[3];
    int n, d, k; /* k: conditions */
    double x[8];
    int labels[4];
    double conditions[4];
} good;

static void holds_table(const good *g)
{
    pf_points p;
    const pf_convert_opt opt = {.label = g->label, .condition = g->condition};
    put_text(g->name, g->text);
    if (pf_points_read(in_dir(g->name), &opt, &p))
        fail_msg("%s: %s: %s", g->name, g->text, pf_error_message());
    if (p.space.kind != PF_REAL || p.n != g->n || p.space.shape.c != g->d ||
        p.space.conditions != g->k)
        fail_msg("%s: %s: %lld rows of %d values", g->name, g->text, (long long)p.n,
                 p.space.shape.c);
    assert_memory_equal(p.x, g->x, (size_t)(g->n * g->d) * sizeof *g->x);
    assert_int_equal(p.labels != NULL, g->labels[3]);
    for (int i = 0; p.labels && i < g->n; i++) assert_int_equal(p.labels[i], g->labels[i]);
    if (g->k)
        assert_memory_equal(p.conditions, g->conditions,
                            (size_t)(g->n * g->k) * sizeof *g->conditions);
    pf_points_free(&p);
}

/* labels[3] = 1: there are labels. */
static void tables_come_back_to_the_bit(void **state)
{
    (void)state;
    static const good all[] = {
        {"a.csv", "1,2\n3,4\n", .n = 2, .d = 2, .x = {1, 2, 3, 4}},
        {"a.csv", "\xef\xbb\xbfu;v\r\n0.1;-2e-3\r\n+.5;6.", .n = 2, .d = 2,
         .x = {0.1, -2e-3, .5, 6}},
        {"a.tsv", "1\t2\n3\t 4 \n\n\n", .n = 2, .d = 2, .x = {1, 2, 3, 4}},
        {"a.txt", "  1.5   2\n\n3 \t 4\n", .n = 2, .d = 2, .x = {1.5, 2, 3, 4}},
        {"a.dat", "# u v\n# more\n1 2\n3 4\n", .n = 2, .d = 2, .x = {1, 2, 3, 4}},
        {"a.csv", "u\n1\n2\n", .n = 2, .d = 1, .x = {1, 2}},
        {"a.csv", "log p\n1\n2\n", .n = 2, .d = 1, .x = {1, 2}},
        {"a.csv", "\"u, v\",\"say \"\"w\"\"\"\n\"1\", \"2\" \n3,4\n", .n = 2, .d = 2,
         .x = {1, 2, 3, 4}},
        {"a.csv", "4.9406564584124654e-324,1.7976931348623157e308\n0.1,1e-400\n", .n = 2,
         .d = 2, .x = {DBL_TRUE_MIN, DBL_MAX, 0.1, 0}},
        /* labels */
        {"a.csv", "u,class\n1,3\n2,0\n", .n = 2, .d = 1, .x = {1, 2}, .labels = {3, 0, 0, 1}},
        {"a.csv", "Label,u\n3.0,1\n2.147483647e9,2\n", .n = 2, .d = 1, .x = {1, 2},
         .labels = {3, INT32_MAX, 0, 1}},
        {"a.csv", "u,class\n1,dog\n2,\"a cat\"\n3,dog\n", .n = 3, .d = 1, .x = {1, 2, 3},
         .labels = {1, 0, 1, 1}},
        {"a.csv", "u,target\n1,1\n2,-1\n", .n = 2, .d = 1, .x = {1, 2}, .labels = {1, 0, 0, 1}},
        {"a.csv", "u,target\n1,1\n2,0.5\n", .n = 2, .d = 2, .x = {1, 1, 2, 0.5}},
        {"a.csv", "x,y\n1,1\n2,0\n", .n = 2, .d = 2, .x = {1, 1, 2, 0}},
        {"a.csv", "u,y\n1,1\n2,0\n", .n = 2, .d = 1, .x = {1, 2}, .labels = {1, 0, 0, 1}},
        {"a.csv", "y,label\n1,1\n2,0\n", .n = 2, .d = 1, .x = {1, 2}, .labels = {1, 0, 0, 1}},
        {"a.dat", "# u, class\n1, 7\n2, 8\n", .n = 2, .d = 1, .x = {1, 2},
         .labels = {7, 8, 0, 1}},
        {"a.csv", "u,class\n1,3\n2,0\n", .label = "none", .n = 2, .d = 2, .x = {1, 3, 2, 0}},
        {"a.csv", "u,class\n1,3\n2,0\n", .label = "u", .n = 2, .d = 1, .x = {3, 0},
         .labels = {1, 2, 0, 1}},
        {"a.csv", "5.1,Iris-b\n3.5,Iris-a\n", .label = "2", .n = 2, .d = 1, .x = {5.1, 3.5},
         .labels = {1, 0, 0, 1}},
        {"a.csv", "2,1,label\n1,2,3\n", .label = "3", .n = 1, .d = 2, .x = {1, 2},
         .labels = {3, 0, 0, 1}},
        {"a.csv", "2,1,u\n1,2,3\n", .label = "2", .n = 1, .d = 2, .x = {2, 3},
         .labels = {1, 0, 0, 1}}, /* the name first */
        {"a.csv", ",u,v\n0,1,2\n1,3,4\n", .n = 2, .d = 2, .x = {1, 2, 3, 4}}, /* an index */
        /* conditions, in the order they are asked for */
        {"a.csv", "u,m,k,label\n1,10,20,5\n2,11,21,6\n", .condition = {"k", "2"}, .n = 2,
         .d = 1, .k = 2, .x = {1, 2}, .labels = {5, 6, 0, 1}, .conditions = {20, 10, 21, 11}},
        {"a.csv", "1,10\n2,11\n", .condition = {"2"}, .n = 2, .d = 1, .k = 1, .x = {1, 2},
         .conditions = {10, 11}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) holds_table(&all[i]);
}

static void what_is_no_table_of_numbers_is_refused_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *label, *condition, *one, *two;
    } bad[] = {
        {"mass,height\n1,2\n3,\n", NULL, NULL, "row 2 (line 3), column 2 (height)", "missing"},
        {"1,NA\n", NULL, NULL, "row 1 (line 1), column 2:", "missing"},
        {"1,2\nnan,3\n", NULL, NULL, "row 2 (line 2), column 1:", "missing"},
        {"1,2\n3,-inf\n", NULL, NULL, "column 2", "infinite"},
        {"1,2\n3,1e309\n", NULL, NULL, "'1e309'", "range of a double"},
        {"1,2\n3,0x10\n", NULL, NULL, "'0x10' is no number", "--label 2"},
        {"1,2\n3,4 5\n", NULL, NULL, "'4 5'", "no number"},
        {"1,2\n3,1e\n", NULL, NULL, "'1e'", "no number"},
        {"1;2,5\n", NULL, NULL, "'2,5'", "decimal comma"},
        {"1,5 2,5\n3,5 4,5\n", NULL, NULL, "'1,5'", "decimal comma"},
        {"1,2\n3\n", NULL, NULL, "row 2 (line 2) has 1 field,", "have 2"},
        {"u,v\n1,2,3\n", NULL, NULL, "row 1 (line 2) has 3 fields", "the names are 2"},
        {"1,2\n\n3,4\n", NULL, NULL, "line 2 is empty", "rows follow"},
        {"1,2\n\"3,4\n", NULL, NULL, "line 2", "quote"},
        {"1,2\n\"3\"x,4\n", NULL, NULL, "line 2", "quote"},
        {"\"", NULL, NULL, "line 1", "quote"},
        {"u,v\n", NULL, NULL, "names of columns", "no rows"},
        {"# u\n\n", NULL, NULL, "a.csv", "no rows"},
        {"\xff\xfe\1", NULL, NULL, "UTF-16", "UTF-8"},
        {"label\n1\n", NULL, NULL, "no column of values", ""},
        {"u,class\n1,\n", NULL, NULL, "column 2 (class)", "missing"},
        {"u,class\n1,0.5\n2,cat\n", NULL, NULL, "row 1", "row 2"},
        {"u,class\n1,0.5\n", "class", NULL, "column 2 (class)", "no label"},
        {"u,label,class\n1,2,3\n", NULL, NULL, "column 3", "--label"},
        {"u,v\n1,2\n", "w", NULL, "--label w", "1 to 2"},
        {"u,v\n1,2\n", "3", NULL, "--label 3", "1 to 2"},
        {"u,v\n1,2\n", "0", NULL, "--label 0", "1 to 2"},
        {"u,v\n1,2\n", NULL, "w", "--condition w", "1 to 2"},
        {"u,v\n1,2\n", "v", "v", "column 2", "both"},
        {"v,v\n1,2\n", "v", NULL, "--label v", "columns 1 and 2"},
    };
    pf_points p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const condition[] = {bad[i].condition, NULL};
        const pf_convert_opt opt = {.label = bad[i].label, .condition = condition};
        put_text("a.csv", bad[i].text);
        if (pf_points_read(in_dir("a.csv"), &opt, &p) != PF_EFORMAT)
            fail_msg("accepted: %s", bad[i].text);
        const char *said = pf_error_message();
        if (!strstr(said, bad[i].one) || !strstr(said, bad[i].two) || !strstr(said, "a.csv"))
            fail_msg("%s: %s", bad[i].text, said);
    }
    spill(in_dir("z.csv"), "1,2\n3,\0004\n", 9);
    refused("z.csv", "z.csv", "line 2 holds a zero byte");
}

/* A row larger than a block, rows across blocks, gzip; splits and classes of two files. */
static void tables_are_read_in_blocks_and_by_their_names(void **state)
{
    (void)state;
    enum { D = 20000, ROWS = 3 };
    char *text = malloc(ROWS * D * 8);
    unsigned char *gz = malloc(ROWS * D * 8);
    pf_points p;
    size_t n = 0;
    for (int i = 0; i < ROWS * D; i++)
        n += (size_t)sprintf(text + n, "%d%c", i, i % D == D - 1 ? '\n' : ',');
    spill(in_dir("wide.csv.gz"), gz, packed(text, n, gz, ROWS * D * 8));
    must(pf_points_read(in_dir("wide.csv.gz"), NULL, &p));
    assert_true(p.n == ROWS && p.space.shape.c == D);
    for (int i = 0; i < ROWS * D; i++) assert_true(p.x[i] == i);
    pf_points_free(&p);
    memset(text, '1', n);
    spill(in_dir("long.csv"), text, n); /* one number of more digits than a double has */
    refused("long.csv", "line 1", "range of a double");
    free(text);
    free(gz);
    put_text("train.csv", "u,class\n1,dog\n2,cat\n");
    put_text("test.csv", "u,class\n3,eel\n4,cat\n");
    const char *src[] = {in_dir("train.csv"), in_dir("test.csv")};
    must(pf_data_convert(src, NULL, 2, NULL, in_dir("two.h5")));
    classes_are("two.h5", "cat\ndog\neel");
    pf_dataset *d = NULL;
    int32_t y[2];
    double x[2];
    must(pf_dataset_open(in_dir("two.h5"), "test", &d));
    must(pf_dataset_labels(d, 0, 2, y));
    must(pf_dataset_x(d, 0, 2, x));
    assert_true(y[0] == 2 && y[1] == 0 && x[0] == 3 && x[1] == 4);
    pf_dataset_close(d);
}

/* .txt of words stays a text, of numbers it is a table. */
static void a_text_of_words_is_no_table(void **state)
{
    (void)state;
    static const char *const words[] = {"1984 by George Orwell. ", "3.14 is about pi, and ",
                                        "# Title\nwords and words, ", "11 11 words "};
    char text[2000];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        pf_dataset *d = NULL;
        size_t n = strlen(words[i]);
        for (size_t k = 0; k < sizeof text; k++) text[k] = words[i][k % n];
        spill(in_dir("w.txt"), text, sizeof text);
        must(convert("w.txt", "w.h5"));
        must(pf_dataset_open(in_dir("w.h5"), "train", &d));
        assert_int_equal(pf_dataset_about(d)->space.kind, PF_TOKENS);
        pf_dataset_close(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_of_results_gives_every_bit_back),
        cmocka_unit_test(a_table_replaces_its_own_kind_alone),
        cmocka_unit_test(a_table_that_finds_no_memory_leaves_the_old_one),
        cmocka_unit_test(tables_come_back_to_the_bit),
        cmocka_unit_test(what_is_no_table_of_numbers_is_refused_by_its_place),
        cmocka_unit_test(tables_are_read_in_blocks_and_by_their_names),
        cmocka_unit_test(a_text_of_words_is_no_table),
    };
    pf_log_setup(0);
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
