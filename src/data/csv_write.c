/* Columns of results as CSV.  Source: RFC 4180, with lines that end as text does here. */
#include <locale.h>
#include <math.h>
#include <probflow/config.h>
#include <probflow/data.h>
#include <probflow/file.h>
#include <probflow/memory.h>
#include <string.h>

/* In quotes where a reader would take it for something else. */
static PF_MUST_USE pf_status add_text(pf_text *t, const char *s)
{
    size_t n = strlen(s);
    if (n && !strpbrk(s, ",\"\r\n\t;#") && s[0] != ' ' && s[n - 1] != ' ') {
        PF_TRY(pf_text_add(t, "%s", s));
        return PF_OK;
    }
    PF_TRY(pf_text_add(t, "\""));
    for (const char *quote; (quote = strchr(s, '"')); s = quote + 1)
        PF_TRY(pf_text_add(t, "%.*s\"\"", (int)(quote - s), s));
    PF_TRY(pf_text_add(t, "%s\"", s));
    return PF_OK;
}

static PF_MUST_USE pf_status add_field(pf_text *t, const pf_column *c, int64_t at)
{
    if (c->text) PF_TRY(add_text(t, c->text[at]));
    else if (c->i64) PF_TRY(pf_text_add(t, "%lld", (long long)c->i64[at]));
    else if (isnan(c->f64[at])) PF_TRY(pf_text_add(t, "nan")); /* whatever its sign */
    else PF_TRY(pf_text_add(t, "%.17g", c->f64[at]));
    return PF_OK;
}

/* Row `at` of all columns; -1: their names. */
static PF_MUST_USE pf_status add_line(pf_text *t, int64_t at, const pf_column *c, int n)
{
    char name[256];
    for (int k = 0; k < n; k++)
        for (int i = 0; i < c[k].width; i++) {
            if (k + i) PF_TRY(pf_text_add(t, ","));
            if (c[k].width == 1) snprintf(name, sizeof name, "%s", c[k].name);
            else snprintf(name, sizeof name, "%s_%d", c[k].name, i);
            PF_TRY(at < 0 ? add_text(t, name) : add_field(t, &c[k], at * c[k].width + i));
        }
    PF_TRY(pf_text_add(t, "\n"));
    return PF_OK;
}

static PF_MUST_USE pf_status build(pf_text *t, const char *known, int64_t n, const pf_column *c,
                                   int n_columns)
{
    PF_REQUIRE(n >= 0 && n_columns > 0, PF_EARG, "a table needs columns");
    for (int k = 0; k < n_columns; k++)
        PF_REQUIRE(c[k].width > 0 && !c[k].f64 + !c[k].i64 + !c[k].text == 2, PF_EARG,
                   "the column %s has not one kind of content", c[k].name);
    if (known[0] == '#') PF_TRY(pf_text_add(t, "%s", known));
    PF_TRY(add_line(t, -1, c, n_columns));
    PF_REQUIRE(!strncmp(t->s, known, strlen(known)), PF_EARG,
               "a table that is known by \"%s\" begins otherwise", known);
    for (int64_t i = 0; i < n; i++) PF_TRY(add_line(t, i, c, n_columns));
    return PF_OK;
}

pf_status pf_csv_write(const char *path, const char *kind, int64_t n, const pf_column *c,
                       int n_columns)
{
    size_t prefix = sizeof PF_OUTPUT_CSV - 1;
    pf_text t = {0};
    PF_REQUIRE(!strncmp(kind, PF_OUTPUT_CSV, prefix), PF_EARG, "%s is no kind of table", kind);
    PF_TRY(pf_output_check(path, kind, NULL, 0));
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0), was = uselocale(plain);
    pf_status st = build(&t, kind + prefix, n, c, n_columns);
    uselocale(was);
    if (plain) freelocale(plain);
    if (!st) st = pf_file_put(path, &(pf_bytes){t.s, t.n}, 1);
    pf_free(t.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
