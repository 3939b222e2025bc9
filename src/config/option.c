/* Option tables: text to fields and back.
 *
 * Doubles print with the fewest digits that read back to the same bits. */
#include "config/set.h"

#include <probflow/option.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 64, FULL_MAX = 160, WORDS_TEXT = 256 };

static void full_name(const char *section, const char *name, char buf[FULL_MAX])
{
    int top = !section || !section[0];
    snprintf(buf, FULL_MAX, "%s%s%s", top ? "" : section, top ? "" : ".", name);
}

/* "a, b or c" */
static void join_words(const char *const *words, char *buf, size_t n)
{
    size_t used = 0;
    buf[0] = 0;
    for (int i = 0; words[i] && used < n; i++) {
        const char *glue = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        int k = snprintf(buf + used, n - used, "%s%s", glue, words[i]);
        used += k > 0 ? (size_t)k : 0;
    }
}

static void double_text(double v, char *buf, size_t n)
{
    if (v == rint(v) && fabs(v) < 1e7) {
        snprintf(buf, n, "%.0f", v);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buf, n, "%.*g", digits, v);
        if (strtod(buf, NULL) == v) return;
    }
}

int32_t pf_utf8_next(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    if (p[0] < 0x80) {
        *s += p[0] != 0;
        return p[0];
    }
    int n = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1; /* bytes that follow */
    static const int32_t least[] = {0, 0x80, 0x800, 0x10000};
    int32_t c = p[0] & (0x3f >> n);
    if (p[0] < 0xc0 || p[0] > 0xf7) return -1;
    for (int i = 1; i <= n; i++) {
        if ((p[i] & 0xc0) != 0x80) return -1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return -1;
    *s += n + 1;
    return c;
}

int pf_is_utf8(const char *s)
{
    int32_t c;
    while ((c = pf_utf8_next(&s)) > 0) {
    }
    return c == 0;
}

static int blank(const char *s)
{
    while (isspace((unsigned char)*s)) s++;
    return *s == 0;
}

/* 1 and *v when all of text is a number.  One too small for a double is none: 0 is another. */
static int parse_double(const char *text, double *v)
{
    char *end;
    if (blank(text)) return 0;
    errno = 0;
    *v = strtod(text, &end);
    return blank(end) && isfinite(*v) && !(errno == ERANGE && *v == 0.0);
}

/* 1 and *v when all of text is a whole number; 1e6 is one.  A long double holds each int64_t. */
static int parse_whole(const char *text, int64_t *v)
{
    char *end;
    if (blank(text)) return 0;
    errno = 0;
    *v = strtoll(text, &end, 10);
    if (blank(end)) return errno == 0;
    long double d = strtold(text, &end);
    if (!blank(end) || !(fabsl(d) < 0x1p63L) || d != rintl(d)) return 0;
    if (d == 0.0L && errno == ERANGE) return 0;
    *v = (int64_t)d;
    return 1;
}

static int parse_bool(const char *text, int *v)
{
    static const char *const yes[] = {"true", "yes", "on", "1", NULL};
    static const char *const no[] = {"false", "no", "off", "0", NULL};
    for (int i = 0; yes[i]; i++) {
        *v = 1;
        if (!strcasecmp(text, yes[i])) return 1;
    }
    *v = 0;
    for (int i = 0; no[i]; i++)
        if (!strcasecmp(text, no[i])) return 1;
    return 0;
}

static PF_MUST_USE pf_status bad_number(const pf_opt *o, const char *full, const char *text)
{
    char lo[32], hi[32];
    double_text(o->lo, lo, sizeof lo);
    double_text(o->hi, hi, sizeof hi);
    PF_FAIL(PF_EARG, "%s is \"%.80s\"; want %s from %s to %s", full, text,
            o->kind == PF_F64    ? "a number"
            : o->kind == PF_INTS ? "a list of up to 12 whole numbers"
                                 : "a whole number",
            lo, hi);
}

/* Begin and end of the entries of "[a,b]" or "a,b"; 0 when a bracket lacks its partner. */
static int list_inside(const char *text, const char **from, const char **to)
{
    const char *a = text, *b = text + strlen(text);
    while (isspace((unsigned char)*a)) a++;
    while (b > a && isspace((unsigned char)b[-1])) b--;
    int opened = *a == '[', closed = b > a && b[-1] == ']';
    *from = a + opened;
    *to = b - closed;
    return opened == closed && *from <= *to;
}

/* A comma stands between two entries and nowhere else. */
static int parse_ints(const pf_opt *o, const char *text, pf_ints *list)
{
    char word[64];
    const char *at, *to;
    if (!list_inside(text, &at, &to)) return 0;
    if (blank(at) || at + strspn(at, " ") == to) return 1; /* an empty list */
    for (;; at++) {
        int64_t v;
        size_t n = strcspn(at, ",");
        if (at + n > to) n = (size_t)(to - at);
        if (n >= sizeof word || list->n == PF_INTS_MAX) return 0;
        memcpy(word, at, n);
        word[n] = 0;
        if (!parse_whole(word, &v) || (double)v < o->lo || (double)v > o->hi) return 0;
        list->v[list->n++] = (int)v;
        at += n;
        if (at == to) return 1;
    }
}

static PF_MUST_USE pf_status set_ints(const pf_opt *o, const char *full, const char *text,
                                      pf_ints *out)
{
    pf_ints list = {0};
    if (!parse_ints(o, text, &list)) return bad_number(o, full, text);
    *out = list;
    return PF_OK;
}

/* yes and true are one word of YAML in two spellings. */
static int same_word(const char *a, const char *b)
{
    int x, y;
    return !strcmp(a, b) || (parse_bool(a, &x) && parse_bool(b, &y) && x == y);
}

static PF_MUST_USE pf_status set_enum(const pf_opt *o, const char *full, const char *text,
                                      int *out)
{
    for (int i = 0; o->words[i]; i++)
        if (same_word(o->words[i], text)) {
            *out = i;
            return PF_OK;
        }
    char words[WORDS_TEXT];
    join_words(o->words, words, sizeof words);
    PF_FAIL(PF_EARG, "%s is \"%.80s\"; want %s", full, text, words);
}

/* Words of a set and those that stand for several, as "a, b or c". */
static void join_set(const pf_opt *o, char *buf, size_t n)
{
    const char *all[ROWS_MAX + 1] = {0};
    pf_set_words(o, all, ROWS_MAX);
    join_words(all, buf, n);
}

static PF_MUST_USE pf_status set_set(const pf_opt *o, const char *full, const char *text,
                                     int *out)
{
    char words[WORDS_TEXT];
    int set = pf_set_parse(o, text);
    join_set(o, words, sizeof words);
    PF_REQUIRE(set, PF_EARG, "%s is \"%.80s\"; want %s, or a list of them", full, text, words);
    *out = set;
    return PF_OK;
}

static PF_MUST_USE pf_status set_field(const pf_opt *o, const char *full, const char *text,
                                       void *field)
{
    int64_t whole;
    double real;
    int yes;
    switch (o->kind) {
    case PF_INT:
    case PF_I64:
        if (!parse_whole(text, &whole) || (double)whole < o->lo || (double)whole > o->hi)
            return bad_number(o, full, text);
        if (o->kind == PF_INT) *(int *)field = (int)whole;
        else *(int64_t *)field = whole;
        return PF_OK;
    case PF_F64:
        if (!parse_double(text, &real) || real < o->lo || real > o->hi)
            return bad_number(o, full, text);
        *(double *)field = real;
        return PF_OK;
    case PF_BOOL:
        PF_REQUIRE(parse_bool(text, &yes), PF_EARG, "%s is \"%.80s\"; want true or false", full,
                   text);
        *(int *)field = yes;
        return PF_OK;
    case PF_ENUM:
        return set_enum(o, full, text, field);
    case PF_STR:
        PF_REQUIRE(strlen(text) < PF_STR_MAX, PF_EARG, "%s is longer than %d characters", full,
                   PF_STR_MAX - 1);
        PF_REQUIRE(pf_is_utf8(text), PF_EARG,
                   "%s is not UTF-8 text, so no file of the run could hold it", full);
        memset(field, 0, PF_STR_MAX);
        memcpy(field, text, strlen(text));
        return PF_OK;
    case PF_INTS:
        return set_ints(o, full, text, field);
    case PF_SET:
        return set_set(o, full, text, field);
    case PF_OPT_END:
    case PF_NEST:
        break;
    }
    PF_FAIL(PF_EARG, "%s has an option row of unknown kind %d", full, (int)o->kind);
}

static void default_field(const pf_opt *o, void *field)
{
    switch (o->kind) {
    case PF_INT:
    case PF_BOOL:
    case PF_ENUM:
    case PF_SET:
        *(int *)field = (int)o->def;
        break;
    case PF_I64:
        *(int64_t *)field = (int64_t)o->def;
        break;
    case PF_F64:
        *(double *)field = o->def;
        break;
    case PF_STR:
        snprintf(field, PF_STR_MAX, "%s", o->text ? o->text : "");
        break;
    case PF_INTS:
        PF_ASSERT(set_ints(o, o->name, o->text ? o->text : "", field) == PF_OK);
        break;
    case PF_OPT_END:
    case PF_NEST:
        break;
    }
}

/* "0 to 1000" or the words; "" for text. */
static void range_text(const pf_opt *o, char *buf, size_t n)
{
    char lo[32], hi[32];
    buf[0] = 0;
    if (o->kind == PF_ENUM) join_words(o->words, buf, n);
    else if (o->kind == PF_SET) join_set(o, buf, n);
    else if (o->kind == PF_BOOL) snprintf(buf, n, "true or false");
    else if (o->kind != PF_STR) {
        double_text(o->lo, lo, sizeof lo);
        double_text(o->hi, hi, sizeof hi);
        snprintf(buf, n, "%s to %s", lo, hi);
    }
}

/* Text of a row's default, made by the code that reads it. */
static void default_text(const pf_opt *o, char *buf, size_t n)
{
    union {
        double align;
        int i;
        int64_t i64;
        char s[PF_STR_MAX];
        pf_ints list;
    } value = {0};
    pf_opt alone = *o;
    alone.offset = 0;
    default_field(&alone, &value);
    pf_opt_text(&alone, &value, buf, n);
}

const pf_opt *pf_opt_next(pf_opt_walk *w)
{
    while (w->depth >= 0) {
        const pf_opt *o = w->at[w->depth];
        if (!o || !o->name) {
            w->depth--;
            continue;
        }
        w->at[w->depth]++;
        w->row = *o;
        w->row.offset += w->base[w->depth];
        if (o->kind != PF_NEST) return &w->row;
        PF_ASSERT(w->depth + 1 < PF_NEST_MAX);
        w->depth++;
        w->at[w->depth] = o->rows;
        w->base[w->depth] = w->row.offset;
    }
    return NULL;
}

const pf_opt *pf_opt_first(const pf_opt *opts, pf_opt_walk *w)
{
    w->depth = 0;
    w->at[0] = opts;
    w->base[0] = 0;
    return pf_opt_next(w);
}

int pf_opt_is_default(const pf_opt *o, const void *obj)
{
    char now[PF_STR_MAX], def[PF_STR_MAX];
    pf_opt_text(o, obj, now, sizeof now);
    default_text(o, def, sizeof def);
    return !strcmp(now, def);
}

void pf_opt_defaults(const pf_opt *opts, void *obj)
{
    pf_opt_walk w;
    for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w))
        default_field(o, (char *)obj + o->offset);
}

static pf_opt as_before(const pf_opt *o)
{
    pf_opt row = *o;
    row.name = o->before;
    row.words = o->before_words;
    return row;
}

pf_opt pf_opt_written(const pf_opt *o, const void *obj)
{
    int value = 0, n = 0;
    if (o->before) memcpy(&value, (const char *)obj + o->offset, sizeof value);
    while (o->before && o->before_words[n]) n++;
    return value < n ? as_before(o) : *o;
}

pf_status pf_opt_set(const pf_opt *opts, const char *section, const char *name,
                     const char *text, void *obj)
{
    char full[FULL_MAX];
    const char *names[ROWS_MAX + 1] = {0};
    pf_opt_walk w;
    int n = 0;
    full_name(section, name, full);
    for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w)) {
        int renamed = o->before && !strcmp(o->before, name);
        if (renamed || !strcmp(o->name, name)) {
            pf_opt row = renamed ? as_before(o) : *o;
            PF_TRY(set_field(&row, full, text, (char *)obj + o->offset));
            return PF_OK;
        }
        if (n < ROWS_MAX) names[n++] = o->name;
    }
    const char *near = pf_nearest(name, names);
    if (near) {
        char guess[FULL_MAX];
        full_name(section, near, guess);
        PF_FAIL(PF_EARG, "unknown option %s; did you mean %s?", full, guess);
    }
    PF_FAIL(PF_EARG, "unknown option %s%s", full, n ? "" : " (this section has no options)");
}

pf_opt pf_opt_find(const pf_opt *opts, const char *name)
{
    pf_opt_walk w;
    for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w))
        if (!strcmp(o->name, name) || (o->before && !strcmp(o->before, name))) return *o;
    return (pf_opt){0};
}

void pf_opt_text(const pf_opt *o, const void *obj, char *buf, size_t n)
{
    const void *f = (const char *)obj + o->offset;
    const pf_ints *list = f;
    size_t used = 0;
    if (n) buf[0] = 0;
    switch (o->kind) {
    case PF_INT:
        snprintf(buf, n, "%d", *(const int *)f);
        break;
    case PF_I64:
        snprintf(buf, n, "%lld", (long long)*(const int64_t *)f);
        break;
    case PF_F64:
        double_text(*(const double *)f, buf, n);
        break;
    case PF_BOOL:
        snprintf(buf, n, "%s", *(const int *)f ? "true" : "false");
        break;
    case PF_ENUM:
        snprintf(buf, n, "%s", o->words[*(const int *)f]);
        break;
    case PF_STR:
        snprintf(buf, n, "%s", (const char *)f);
        break;
    case PF_SET:
        pf_set_text(o, *(const int *)f, buf, n);
        break;
    case PF_INTS:
        for (int i = 0; i < list->n && used < n; i++) {
            int k = snprintf(buf + used, n - used, "%s%d", i ? "," : "", list->v[i]);
            used += k > 0 ? (size_t)k : 0;
        }
        break;
    case PF_OPT_END:
    case PF_NEST:
        break;
    }
}

void pf_opt_help(const pf_opt *opts, const char *section, FILE *f)
{
    pf_opt_walk w;
    for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w)) {
        char full[FULL_MAX], def[PF_STR_MAX], range[WORDS_TEXT];
        full_name(section, o->name, full);
        default_text(o, def, sizeof def);
        range_text(o, range, sizeof range);
        fprintf(f, "  %-36s %s", full, o->help ? o->help : "");
        fprintf(f, " [%s%s%s]\n", def[0] ? def : "empty", range[0] ? "; " : "", range);
    }
}
