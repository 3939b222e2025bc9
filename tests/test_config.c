/* Configuration: YAML in, typed structs out, canonical text that reads back. */
#include <probflow/config.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "config/entries.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
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
    assert_string_equal(pf_config_get(c, "run.mult"), "[1,2,2,2]");
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
    refused("seed: 1\n---\nseed: 2\n",
            "test.yaml:2: a second document begins (---); a configuration is one");
    refused("run: {lr: !!float 1}\n",
            "test.yaml:1: the tag tag:yaml.org,2002:float is not read; give the value alone");
    refused("run: !mine {lr: 1}\n",
            "test.yaml:1: the tag !mine is not read; give the value alone");
    refused("a: &a {x: 1}\nb: {<<: *a}\n", "test.yaml:2: merge keys (<<) are not read");
    refused("run: {mult: [\"1,2\", 3]}\n",
            "test.yaml:1: \"1,2\" is no entry of the list run.mult");
    refused("a: \"x\\0y\"\n", "test.yaml:1: a holds a zero byte");
    refused("\"a\\0b\": 1\n", "test.yaml:1: \"a\" is not a key");
    pf_config *c = NULL;
    assert_int_equal(pf_config_parse("a: [1, 2\nb: 3\n", "test.yaml", &c), PF_EFORMAT);
    assert_non_null(strstr(pf_error_message(), "test.yaml:2: "));
    assert_int_equal(pf_config_load("/nonexistent/x.yaml", &c), PF_EIO);
}

static void a_list_is_no_single_value(void **state)
{
    (void)state;
    pf_config *c = parse("run: {steps: [7]}\n");
    part p;
    assert_int_equal(pf_config_section(c, "run", opts, &p), PF_EARG);
    assert_string_equal(pf_error_message(),
                        "run.steps is \"[7]\"; want a whole number from 1 to 1000000");
    pf_config_free(c);
}

static char *repeated(const char *head, const char *piece, int n)
{
    pf_text t = {0};
    assert_int_equal(pf_text_add(&t, "%s", head), PF_OK);
    for (int i = 0; i < n; i++) assert_int_equal(pf_text_add(&t, piece, i), PF_OK);
    return t.s;
}

/* Texts of at most 256 KiB that a reader without bounds takes minutes or gigabytes for. */
static void time_and_memory_are_bounded(void **state)
{
    (void)state;
    pf_text laughs = {0};
    assert_int_equal(pf_text_add(&laughs, "a: &a {"), PF_OK);
    for (int i = 0; i < 900; i++) assert_int_equal(pf_text_add(&laughs, "k%d: 1, ", i), PF_OK);
    char *aliases = repeated("}\n", "s%d: *a\n", 1000);
    assert_int_equal(pf_text_add(&laughs, "%s", aliases), PF_OK);
    pf_text grown = {0};
    char *list = repeated("a: &a [1", ",%d", 3900), *uses = repeated("]\n", "s%d: *a\n", 90);
    assert_int_equal(pf_text_add(&grown, "%s%s", list, uses), PF_OK);
    const struct {
        char *text;
        const char *sentence;
    } row[] = {
        {repeated("a: ", "[", 200000), "nested too deep"},
        {repeated("a: ", "{", 200000), "nested too deep"},
        {repeated("", "{a: ", 50000), "nested too deep"},
        {repeated("", "- ", 100000), "nested too deep"},
        {repeated("a: [", "&a%d 1, ", 18000), "more than"},
        {repeated("", "a%d: 1\n", 2000), "more than 1024 keys"},
        {repeated("", "%%TAG !a%d! x\n", 15000), "test.yaml:"},
        {repeated("a: ", "b", PF_CONFIG_BYTES), "longer than"},
        {laughs.s, "more than 1024 keys"},
        {grown.s, "values of test.yaml are longer"},
    };
    size_t before = pf_alloc_live();
    double begun = pf_seconds();
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        pf_config *c = NULL;
        assert_int_equal(pf_config_parse(row[i].text, "test.yaml", &c), PF_EFORMAT);
        assert_non_null(strstr(pf_error_message(), row[i].sentence));
        assert_int_equal(pf_alloc_live(), before);
    }
    assert_true(pf_seconds() - begun < 10.0); /* well under a second where nothing else runs */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) pf_free(row[i].text);
    pf_free(aliases);
    pf_free(list);
    pf_free(uses);
}

static void a_file_that_never_ends_is_refused(void **state)
{
    (void)state;
    char fifo[64];
    pf_config *c = NULL;
    assert_int_equal(pf_config_load("/dev/zero", &c), PF_EIO);
    assert_int_equal(pf_config_load("/", &c), PF_EIO);
    snprintf(fifo, sizeof fifo, "/tmp/pf_test_config_%d", (int)getpid());
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int both = open(fifo, O_RDWR | O_NONBLOCK);
    assert_int_equal(write(both, "seed: 5\n", 8), 8);
    assert_int_equal(pf_config_load(fifo, &c), PF_EIO); /* somebody could write more */
    assert_non_null(strstr(pf_error_message(), "did not end"));
    close(both);
    unlink(fifo);
    assert_null(c);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], "seed: 5\n", 8), 8);
    close(pipes[1]);
    snprintf(fifo, sizeof fifo, "/dev/fd/%d", pipes[0]);
    assert_int_equal(pf_config_load(fifo, &c), PF_OK);
    assert_string_equal(pf_config_get(c, "seed"), "5");
    pf_config_free(c);
    close(pipes[0]);
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

/* A younger key changes no stored text until it is used. */
static void a_quiet_key_is_written_when_it_says_something(void **state)
{
    (void)state;
    const pf_opt row[] = {PF_OPT(part, beta, PF_F64, 0.9, 0, 1, "old"),
                          PF_OPT_QUIET(part, steps, PF_INT, 7, 0, 100, "young"),
                          {0}};
    part p = {0}, back = {0};
    pf_opt_defaults(row, &p);
    pf_text t = {0}, u = {0};
    assert_int_equal(pf_config_write(&t, "run", NULL, row, &p), PF_OK);
    assert_string_equal(t.s, "run:\n  beta: 0.9\n");
    p.steps = 8;
    assert_int_equal(pf_config_write(&u, "run", NULL, row, &p), PF_OK);
    assert_string_equal(u.s, "run:\n  beta: 0.9\n  steps: 8\n");
    pf_config *c = parse(u.s);
    assert_int_equal(pf_config_section(c, "run", row, &back), PF_OK);
    assert_int_equal(back.steps, 8);
    pf_config_free(c);
    pf_free(t.s);
    pf_free(u.s);
}

/* All of Unicode but zero and the halves of UTF-16 pairs: each is accepted and comes back. */
static void every_character_reads_back_from_its_text(void **state)
{
    (void)state;
    const pf_opt row[] = {PF_OPT_STR(part, path, "", "file"), {0}};
    char *text = pf_zalloc(PF_STR_MAX);
    for (int32_t c = 1; c <= 0x10ffff;) {
        part p = {0}, back = {0};
        int n = 0;
        for (text[n++] = 'a'; n < PF_STR_MAX - 5 && c <= 0x10ffff;
             c += c < 0x3000 || c > 0xd000 ? 1 : 97) {
            if (c >= 0xd800 && c < 0xe000) continue;
            if (c < 0x80) text[n++] = (char)c;
            else if (c < 0x800) text[n++] = (char)(0xc0 | c >> 6);
            else if (c < 0x10000) text[n++] = (char)(0xe0 | c >> 12);
            else text[n++] = (char)(0xf0 | c >> 18);
            for (int shift = c < 0x80      ? 0
                             : c < 0x800   ? 6
                             : c < 0x10000 ? 12
                                           : 18;
                 shift; shift -= 6)
                text[n++] = (char)(0x80 | ((c >> (shift - 6)) & 0x3f));
        }
        text[n] = 0;
        assert_int_equal(pf_opt_set(row, "run", "path", text, &p), PF_OK);
        assert_memory_equal(p.path, text, (size_t)n + 1);
        pf_text t = {0};
        assert_int_equal(pf_config_write(&t, "run", NULL, row, &p), PF_OK);
        pf_config *y = parse(t.s);
        assert_int_equal(pf_config_section(y, "run", row, &back), PF_OK);
        assert_memory_equal(p.path, back.path, sizeof p.path);
        pf_config_free(y);
        pf_free(t.s);
    }
    pf_free(text);
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
        cmocka_unit_test(a_list_is_no_single_value),
        cmocka_unit_test(time_and_memory_are_bounded),
        cmocka_unit_test(a_file_that_never_ends_is_refused),
        cmocka_unit_test(assignments_replace_and_add),
        cmocka_unit_test(what_nobody_reads_is_an_error_that_names_the_nearest),
        cmocka_unit_test(canonical_text_reads_back_to_the_same_values),
        cmocka_unit_test(a_quiet_key_is_written_when_it_says_something),
        cmocka_unit_test(every_character_reads_back_from_its_text),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
