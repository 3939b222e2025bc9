/* Configuration: YAML in, typed structs out, canonical text that reads back. */
#include <probflow/config.h>
#include <probflow/memory.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

typedef struct part {
    double beta;
    int steps, fast;
    char path[PF_STR_MAX];
    pf_ints mult;
} part;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(part, beta, PF_F64, 20, 0, 100, "noise"),
    PF_OPT(part, steps, PF_INT, 10, 1, 1e6, "steps"),
    PF_OPT(part, fast, PF_BOOL, 0, 0, 1, "fast"),
    PF_OPT_STR(part, path, "", "file"),
    PF_OPT_INTS(part, mult, "1,2", 1, 16, "multipliers"),
    { 0 }
};
/* clang-format on */

static pf_config *parse(const char *yaml)
{
    pf_config *c = NULL;
    assert_int_equal(pf_config_parse(yaml, "test.yaml", &c), PF_OK);
    return c;
}

static void refused(const char *yaml, const char *sentence)
{
    pf_config *c = NULL;
    assert_int_equal(pf_config_parse(yaml, "test.yaml", &c), PF_EFORMAT);
    assert_string_equal(pf_error_message(), sentence);
    assert_null(c);
}

static void sections_and_scalars_are_read(void **state)
{
    (void)state;
    pf_config *c = parse("seed: 42\nsde: {name: vp, beta: 12.5}\nrun:\n  mult: [1, 2, 2, 2]\n"
                         "  path: \"a: b\"\n  fast: yes\n");
    part p;
    assert_string_equal(pf_config_get(c, "seed"), "42");
    assert_string_equal(pf_config_get(c, "sde.name"), "vp");
    assert_string_equal(pf_config_get(c, "run.mult"), "1,2,2,2");
    assert_null(pf_config_get(c, "run.steps"));
    assert_int_equal(pf_config_section(c, "sde", opts, &p), PF_OK);
    assert_true(p.beta == 12.5);
    assert_int_equal(p.steps, 10);
    assert_int_equal(pf_config_section(c, "run", opts, &p), PF_OK);
    assert_true(p.beta == 20);
    assert_string_equal(p.path, "a: b");
    assert_int_equal(p.fast, 1);
    assert_int_equal(p.mult.n, 4);
    const char *const sections[] = {"sde", "run", NULL};
    assert_int_equal(pf_config_check(c, sections), PF_OK);
    pf_config_free(c);
}

static void json_is_read_as_the_same_configuration(void **state)
{
    (void)state;
    pf_config *c =
        parse("{\"seed\": 1, \"run\": {\"mult\": [3, 4], \"path\": \"x\", \"beta\": 1e-1}}");
    part p;
    assert_int_equal(pf_config_section(c, "run", opts, &p), PF_OK);
    assert_true(p.beta == 0.1);
    assert_int_equal(p.mult.v[1], 4);
    pf_config_free(c);
}

static void an_empty_file_means_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# nothing\n", "run:\n", "run: {}\n"};
    const char *const sections[] = {"run", NULL};
    for (int i = 0; i < 4; i++) {
        pf_config *c = parse(texts[i]);
        part p;
        assert_int_equal(pf_config_section(c, "run", opts, &p), PF_OK);
        assert_int_equal(p.steps, 10);
        assert_int_equal(pf_config_check(c, sections), PF_OK);
        pf_config_free(c);
    }
}

static void malformed_files_are_refused_with_their_line(void **state)
{
    (void)state;
    refused("a: 1\nb: 2\na: 3\n", "test.yaml:3: a is given twice");
    refused("run: {x: 1, x: 2}\n", "test.yaml:1: run.x is given twice");
    refused("run:\n  deep:\n    er: 1\n",
            "test.yaml:3: run.deep is nested too deep; the form is section: {key: value}");
    refused("- 1\n- 2\n", "test.yaml:1: want sections of the form section: {key: value}");
    refused("run: {lr: }\n", "test.yaml:1: run.lr has no value");
    pf_config *c = NULL;
    assert_int_equal(pf_config_parse("a: [1, 2\nb: 3\n", "test.yaml", &c), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "test.yaml:2: "));
    assert_int_equal(pf_config_load("/nonexistent/x.yaml", &c), PF_EIO);
}

static void assignments_replace_and_add(void **state)
{
    (void)state;
    pf_config *c = parse("run: {steps: 3}\n");
    part p;
    assert_int_equal(pf_config_set(c, "run.steps=7"), PF_OK);
    assert_int_equal(pf_config_set(c, "run.mult=[5, 6]"), PF_OK);
    assert_int_equal(pf_config_set(c, "run.path=a=b"), PF_OK);
    assert_int_equal(pf_config_set(c, "seed=9"), PF_OK);
    assert_int_equal(pf_config_section(c, "run", opts, &p), PF_OK);
    assert_int_equal(p.steps, 7);
    assert_int_equal(p.mult.v[0], 5);
    assert_string_equal(p.path, "a=b");
    assert_string_equal(pf_config_get(c, "seed"), "9");
    static const char *const bad[] = {"steps", "=3", "a.b.c=1", ".x=1", "run.=1"};
    for (int i = 0; i < 5; i++) assert_int_equal(pf_config_set(c, bad[i]), PF_EARG);
    pf_config_free(c);
}

static void what_nobody_reads_is_an_error_that_names_the_nearest(void **state)
{
    (void)state;
    static const char *const row[][2] = {
        {"trian: {steps: 3}\n", "unknown section trian; did you mean train?"},
        {"seedd: 3\n", "unknown key seedd; did you mean seed?"},
        {"zzzzzzz: 3\n", "unknown key zzzzzzz"},
        {"train: {name: x}\n", "train.name has no use here"},
        {"train: 5\n", "train is a section; give its keys as train: {key: value}"}};
    const char *const sections[] = {"sde", "train", NULL};
    for (int i = 0; i < 5; i++) {
        char text[128];
        snprintf(text, sizeof text, "seed: 1\n%s", row[i][0]);
        pf_config *c = parse(text);
        part p;
        assert_string_equal(pf_config_get(c, "seed"), "1");
        assert_int_equal(pf_config_section(c, "train", opts, &p), PF_OK);
        assert_int_equal(pf_config_check(c, sections), PF_EARG);
        assert_string_equal(pf_error_message(), row[i][1]);
        pf_config_free(c);
    }
    pf_config *c = parse("train: {stepz: 3}\n");
    part p;
    assert_int_equal(pf_config_section(c, "train", opts, &p), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "unknown option train.stepz; did you mean train.steps?");
    pf_config_free(c);
}

static void canonical_text_reads_back_to_the_same_values(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",      "/data/x.h5", "a b: \"c\" \\ #d",  "null", "- x",
        "tab\t", "it's",       "\xc3\xa9t\xc3\xa9", "~",    "{a}"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        part p, back;
        memset(&p, 0, sizeof p);
        memset(&back, 0, sizeof back);
        pf_opt_defaults(opts, &p);
        p.beta = 1.0 / 3;
        snprintf(p.path, sizeof p.path, "%s", paths[i]);
        pf_text t = {0};
        assert_int_equal(pf_config_write(&t, "run", "vp", opts, &p), PF_OK);
        assert_int_equal(pf_config_write(&t, "none", NULL, NULL, NULL), PF_OK);
        pf_config *c = parse(t.s);
        assert_string_equal(pf_config_get(c, "run.name"), "vp");
        assert_int_equal(pf_config_section(c, "run", opts, &back), PF_OK);
        assert_memory_equal(&p, &back, sizeof p);
        pf_config_free(c);
        pf_free(t.s);
    }
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    size_t before = pf_alloc_live();
    pf_status st = PF_EMEM;
    int n = 0;
    while (st) {
        assert_true(++n < 100);
        pf_config *c = NULL;
        pf_alloc_fail_at(n);
        st = pf_config_parse("seed: 1\nrun: {a: 1, b: [1, 2]}\n", "test.yaml", &c);
        pf_alloc_fail_at(0);
        assert_true(st == PF_OK || st == PF_EMEM);
        pf_config_free(c);
        assert_int_equal(pf_alloc_live(), before);
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_and_scalars_are_read),
        cmocka_unit_test(json_is_read_as_the_same_configuration),
        cmocka_unit_test(an_empty_file_means_defaults),
        cmocka_unit_test(malformed_files_are_refused_with_their_line),
        cmocka_unit_test(assignments_replace_and_add),
        cmocka_unit_test(what_nobody_reads_is_an_error_that_names_the_nearest),
        cmocka_unit_test(canonical_text_reads_back_to_the_same_values),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
