/* Text that is written and read back: UTF-8, growing buffers, the canonical YAML of a section. */
#include <probflow/config.h>
#include <probflow/memory.h>

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

/* A word YAML reads back as it is. */
static int plain(const char *s)
{
    if (!isalnum((unsigned char)*s) && *s != '/' && *s != '_') return 0;
    if (!strcmp(s, "null")) return 0;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_./+-", *s)) return 0;
    return 1;
}

/* What YAML takes as it is: neither control characters, nor what it reads as the end of a line, nor
 * a byte order mark, nor what is no character.  Source: YAML 1.1, section 4.1. */
static int printable(int32_t c)
{
    if (c == 0x2028 || c == 0x2029 || c == 0xfeff) return 0;
    return (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c < 0xfffe) || c >= 0x10000;
}

/* text in double quotes, whose escapes give back every character but the zero. */
static PF_MUST_USE pf_status write_quoted(pf_text *t, const char *text)
{
    PF_TRY(pf_text_add(t, "\""));
    while (*text) {
        const char *at = text;
        int32_t c = pf_utf8_next(&text);
        PF_REQUIRE(c > 0, PF_EARG, "a text of the configuration is not UTF-8");
        if (c == '"' || c == '\\') PF_TRY(pf_text_add(t, "\\%c", (char)c));
        else if (printable(c)) PF_TRY(pf_text_add(t, "%.*s", (int)(text - at), at));
        else if (c < 256) PF_TRY(pf_text_add(t, "\\x%02x", (unsigned)c));
        else PF_TRY(pf_text_add(t, "\\u%04x", (unsigned)c));
    }
    PF_TRY(pf_text_add(t, "\""));
    return PF_OK;
}

static PF_MUST_USE pf_status write_value(pf_text *t, const pf_opt *o, const char *text)
{
    if (o->kind == PF_STR && !plain(text)) PF_TRY(write_quoted(t, text));
    else PF_TRY(pf_text_add(t, o->kind == PF_INTS ? "[%s]" : "%s", text));
    return PF_OK;
}

pf_status pf_text_add(pf_text *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    pf_status st = PF_OK;
    if (n >= 0 && t->n + (size_t)n + 1 > t->cap) {
        size_t cap = 2 * t->cap + (size_t)n + 64;
        char *s = pf_zalloc(cap);
        if (s) {
            if (t->n) memcpy(s, t->s, t->n);
            pf_free(t->s);
            t->s = s;
            t->cap = cap;
        } else st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu bytes of text", cap);
    }
    if (!st && n >= 0) {
        vsnprintf(t->s + t->n, t->cap - t->n, fmt, again);
        t->n += (size_t)n;
    }
    va_end(again);
    return st;
}

pf_status pf_config_write(pf_text *t, const char *section, const char *name, const pf_opt *opts,
                          const void *obj)
{
    const char *indent = section[0] ? "  " : "";
    int rows = opts && opts->name;
    if (section[0]) PF_TRY(pf_text_add(t, "%s:%s\n", section, name || rows ? "" : " {}"));
    if (name) PF_TRY(pf_text_add(t, "%sname: %s\n", indent, name));
    pf_opt_walk w;
    for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w)) {
        char text[PF_STR_MAX];
        if (o->quiet && pf_opt_is_default(o, obj)) continue;
        pf_opt row = pf_opt_written(o, obj);
        pf_opt_text(&row, obj, text, sizeof text);
        PF_TRY(pf_text_add(t, "%s%s: ", indent, row.name));
        PF_TRY(write_value(t, &row, text));
        PF_TRY(pf_text_add(t, "\n"));
    }
    return PF_OK;
}
