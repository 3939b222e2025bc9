/* Lines and fields of a table of numbers.  Source: RFC 4180 for quotes. */
#include <math.h>
#include <probflow/memory.h>
#include "data/csv.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BLOCK = 1 << 16, LINE_MOST = 1 << 24 };

/* ---- lines ---- */

/* Room behind b[n), so that a line that goes on can be read on. */
static PF_MUST_USE pf_status make_room(pf_lines *l)
{
    size_t kept = l->n - l->at;
    if (l->at && kept) memmove(l->b, l->b + l->at, kept);
    l->at = 0;
    l->n = kept;
    if (kept + 1 < l->cap) return PF_OK; /* 1: the end of a last line without one */
    PF_REQUIRE(l->cap < LINE_MOST, PF_EFORMAT,
               "%s: line %lld is longer than %d MiB, so this is no table", l->s->path,
               (long long)l->number, LINE_MOST >> 20);
    size_t cap = l->cap ? 2 * l->cap : BLOCK;
    char *b = pf_zalloc(cap);
    PF_REQUIRE(b, PF_EMEM, "no memory to read %s", l->s->path);
    if (kept) memcpy(b, l->b, kept);
    pf_free(l->b);
    l->b = b;
    l->cap = cap;
    return PF_OK;
}

static PF_MUST_USE pf_status check_text(const pf_lines *l, size_t n)
{
    const char *t = l->text;
    int wide =
        l->number == 1 && n > 1 && (!memcmp(t, "\xff\xfe", 2) || !memcmp(t, "\xfe\xff", 2));
    PF_REQUIRE(!wide, PF_EFORMAT, "%s is UTF-16: save it as UTF-8", l->s->path);
    PF_REQUIRE(!memchr(t, 0, n), PF_EFORMAT,
               "%s is no table of text: line %lld holds a zero byte", l->s->path,
               (long long)l->number);
    return PF_OK;
}

pf_status pf_lines_next(pf_lines *l)
{
    size_t seen = 0, got = 0;
    char *end = NULL;
    l->text = NULL;
    l->number++;
    for (;;) {
        if (l->n > l->at + seen) end = memchr(l->b + l->at + seen, '\n', l->n - l->at - seen);
        if (end || l->end) break;
        seen = l->n - l->at;
        PF_TRY(make_room(l));
        PF_TRY(pf_input_read(l->s->file, l->b + l->n, l->cap - 1 - l->n, &got));
        l->end = got < l->cap - 1 - l->n;
        l->n += got;
    }
    if (l->at == l->n) return PF_OK;
    if (!end) end = l->b + l->n;
    *end = 0;
    l->text = l->b + l->at;
    size_t n = (size_t)(end - l->text);
    l->at = (size_t)(end - l->b) < l->n ? (size_t)(end - l->b) + 1 : l->n;
    PF_TRY(check_text(l, n));
    if (n && end[-1] == '\r') end[-1] = 0;
    if (l->number == 1 && !strncmp(l->text, "\xef\xbb\xbf", 3)) l->text += 3;
    return PF_OK;
}

void pf_lines_restart(pf_lines *l)
{
    l->at = l->n = 0;
    l->end = 0;
    l->number = 0;
}

void pf_lines_free(pf_lines *l)
{
    pf_free(l->b);
    l->b = NULL;
}

/* ---- fields ---- */

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *past_blanks(char *p, char separator)
{
    while (is_blank(*p) && *p != separator) p++;
    return p;
}

/* From behind an opening quote; NULL: it has no end. */
static char *take_quoted(char *p)
{
    for (char *to = p;; *to++ = *p++) {
        if (!*p) return NULL;
        if (*p != '"') continue;
        if (*++p == '"') continue;
        *to = 0;
        return p; /* which may be at the new end: to < p */
    }
}

/* Ends a field; its end, at a separator or the end of the line. */
static char *take_bare(char *p, char separator)
{
    char *begin = p;
    if (separator == ' ') {
        while (*p && !is_blank(*p)) p++;
        return p;
    }
    while (*p && *p != separator) p++;
    for (char *last = p; last > begin && is_blank(last[-1]);) *--last = 0;
    return p;
}

int64_t pf_fields_cut(char *text, char separator, char **field, int64_t most)
{
    char *p = past_blanks(text, separator == ' ' ? 0 : separator);
    int64_t n = 0;
    for (;;) {
        char *begin = p, *end;
        int quoted = *p == '"';
        if (quoted) {
            begin = ++p;
            if (!(end = take_quoted(p))) return -1;
            p = separator == ' ' ? end : past_blanks(end, separator);
            if (*p && *p != separator && !(separator == ' ' && is_blank(*p))) return -1;
        } else p = take_bare(p, separator);
        char at = *p;
        if (!quoted) *p = 0;
        if (n < most) field[n] = begin;
        n++;
        if (!at) return n;
        p = past_blanks(p + 1, separator == ' ' ? 0 : separator);
        if (separator == ' ' && !*p) return n;
    }
}

/* Does c stand outside quotes? */
static int holds(const char *s, char c)
{
    for (int quoted = 0; *s; s++) {
        quoted ^= *s == '"';
        if (*s == c && !quoted) return 1;
    }
    return 0;
}

static int holds_blanks(const char *s)
{
    s += strspn(s, " \t");
    for (int quoted = 0; *s; s++) {
        quoted ^= *s == '"';
        if (is_blank(*s) && !quoted) return s[strspn(s, " \t")] != 0;
    }
    return 0;
}

/* 1,5 2,5: numbers between blanks, some with a decimal comma. */
static int has_decimal_commas(const char *s)
{
    int n = 0, commas = 0;
    for (s += strspn(s, " \t"); *s; s += strspn(s, " \t"), n++) {
        char word[64];
        double v;
        size_t k = strcspn(s, " \t");
        if (k >= sizeof word) return 0;
        memcpy(word, s, k);
        word[k] = 0;
        pf_field is = pf_field_number(word, &v);
        if (is != PF_FIELD_NUMBER && is != PF_FIELD_COMMA) return 0;
        commas += is == PF_FIELD_COMMA;
        s += k;
    }
    return n > 1 && commas;
}

char pf_fields_separator(const char *first, const char *second, int loose)
{
    if (!loose && holds(first, '\t')) return '\t';
    if (holds(first, ';')) return ';';
    if (holds(first, ',')) return has_decimal_commas(first) ? ' ' : ',';
    return holds_blanks(first) && (!second || holds_blanks(second)) ? ' ' : ',';
}

const char *pf_field_shown(const char *text, char to[64])
{
    size_t n = strnlen(text, 40);
    for (size_t i = 0; i < n; i++) to[i] = (unsigned char)text[i] < ' ' ? '?' : text[i];
    strcpy(to + n, text[n] ? "..." : "");
    return to;
}

uint64_t pf_field_hash(uint64_t before, const char *text)
{
    uint64_t h = before ? before : 14695981039346656037u;
    do h = (h ^ (unsigned char)*text) * 1099511628211u;
    while (*text++);
    return h;
}

/* ---- numbers ---- */

static int one_of(const char *text, const char *const *word)
{
    while (*word && strcasecmp(text, *word)) word++;
    return *word != NULL;
}

static int is_numeral(const char *s)
{
    const char *p = s;
    while ((*p >= '0' && *p <= '9') || *p == '.' || *p == '-' || *p == '+' || *p == 'e' ||
           *p == 'E')
        p++;
    return p > s && !*p;
}

/* 0: not all of text is a number. */
static int parse(const char *text, double *v)
{
    char *end;
    *v = strtod(text, &end);
    return !*end;
}

static int is_comma_number(const char *text)
{
    char copy[64];
    size_t n = strlen(text), at = strcspn(text, ",");
    double v;
    if (n >= sizeof copy || at == 0 || at + 1 >= n || text[at + 1] < '0' ||
        text[at + 1] > '9' || text[at - 1] < '0' || text[at - 1] > '9')
        return 0;
    memcpy(copy, text, n + 1);
    copy[at] = '.';
    return is_numeral(copy) && parse(copy, &v);
}

pf_field pf_field_number(const char *text, double *v)
{
    static const char *const missing[] = {"",     "na",   "n/a", "#n/a", "nan", "-nan", "+nan",
                                          "null", "none", ".",   "?",    "-",   "--",   NULL};
    static const char *const infinite[] = {"inf",       "+inf",      "-inf", "infinity",
                                           "+infinity", "-infinity", NULL};
    if (is_numeral(text) && parse(text, v))
        return isfinite(*v) ? PF_FIELD_NUMBER : PF_FIELD_TOO_LARGE;
    if (one_of(text, missing)) return PF_FIELD_MISSING;
    if (one_of(text, infinite)) return PF_FIELD_INFINITE;
    return is_comma_number(text) ? PF_FIELD_COMMA : PF_FIELD_OTHER;
}

int pf_fields_are_numbers(const pf_source *s)
{
    char head[sizeof s->head + 1], *p = head;
    memcpy(head, s->head, s->n_head);
    head[s->n_head] = 0;
    if (strlen(head) < s->n_head) return 0;
    for (;;) {
        p += strspn(p, " \t\r\n");
        if (*p != '#') break;
        p += strcspn(p, "\n");
    }
    size_t n = strcspn(p, "\r\n"), whole = p[n] || s->n_head < sizeof s->head;
    int numbers = 0;
    for (char *end = p + n; p < end; numbers++) {
        double v;
        char *stop = p + strcspn(p, ",; \t\r\n"), was = *stop;
        if (stop == end && !whole) break;
        *stop = 0;
        if (pf_field_number(p, &v) != PF_FIELD_NUMBER) return 0;
        *stop = was;
        p = stop + strspn(stop, ",; \t");
    }
    return numbers > 1 || (numbers == 1 && whole);
}
