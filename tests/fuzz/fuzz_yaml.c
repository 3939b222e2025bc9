/* Configurations, assignments and the values of options: what is accepted is written so that it reads
 * back to the same.
 *
 *     input   how, then a text
 *     how     0: a file; 1: an assignment; 2 + k: the value of option k */
#include <probflow/config.h>
#include <probflow/memory.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz.h"

typedef struct options {
    int whole, yes, word;
    int64_t large;
    double real;
    char text[PF_STR_MAX];
    pf_ints list;
} options;

static const char *const words[] = {"no", "yes", "hosts", NULL};
static const pf_opt rows[] = {
    PF_OPT(options, whole, PF_INT, 3, -100, 100, "a whole number"),
    PF_OPT(options, large, PF_I64, 7, -1e15, 1e15, "a large one"),
    PF_OPT(options, real, PF_F64, 0.5, -1e30, 1e30, "a real one"),
    PF_OPT(options, yes, PF_BOOL, 1, 0, 1, "a truth value"),
    PF_OPT_ENUM(options, word, 0, words, "a word"),
    PF_OPT_STR(options, text, "", "a text"),
    PF_OPT_INTS(options, list, "1,2", 0, 1000, "a list"),
    {0},
};
enum { ROWS = sizeof rows / sizeof rows[0] - 1 };

static const char *const sections[] = {"train", "model", NULL};

/* The canonical text of both sections, owned. */
static char *write_all(const options o[2])
{
    pf_text t = {0};
    for (int s = 0; s < 2; s++)
        if (pf_config_write(&t, sections[s], NULL, rows, &o[s]))
            fuzz_finding("cannot be written");
    return t.s;
}

static pf_status read_all(pf_config *c, options o[2])
{
    memset(o, 0, 2 * sizeof *o);
    for (int s = 0; s < 2; s++) PF_TRY(pf_config_section(c, sections[s], rows, &o[s]));
    PF_TRY(pf_config_check(c, sections));
    return PF_OK;
}

static void comes_back(const options o[2])
{
    options again[2];
    pf_config *c = NULL;
    char *text = write_all(o);
    if (pf_config_parse(text, "written", &c) || read_all(c, again)) {
        fprintf(stderr, "%s\n%s\n", pf_error_message(), text);
        fuzz_finding("what was accepted and written cannot be read");
    }
    if (memcmp(o, again, sizeof again)) {
        fprintf(stderr, "%s\n", text);
        fuzz_finding("what was accepted and written reads back as something else");
    }
    pf_config_free(c);
    pf_free(text);
}

static void one_value(int row, const char *text)
{
    options o[2] = {{0}};
    for (int s = 0; s < 2; s++) pf_opt_defaults(rows, &o[s]);
    if (!pf_opt_set(rows, "train", rows[row].name, text, &o[0])) comes_back(o);
}

static void whole_text(const uint8_t *data, size_t size, const char *assignment)
{
    options o[2];
    pf_config *c = NULL;
    pf_status st = assignment ? pf_config_parse("train: {whole: 4}\n", "base", &c)
                              : pf_config_load(fuzz_put("c.yaml", data, size), &c);
    if (!st && assignment) st = pf_config_set(c, assignment);
    if (!st && !read_all(c, o)) comes_back(o);
    pf_config_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    char *text = calloc(size, 1); /* ends with a zero byte, as an argument does */
    memcpy(text, data + 1, size - 1);
    if (data[0] >= 2) one_value((data[0] - 2) % ROWS, text);
    else whole_text(data + 1, size - 1, data[0] ? text : NULL);
    free(text);
    return 0;
}
