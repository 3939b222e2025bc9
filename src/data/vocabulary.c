/* Vocabularies: their text, and the files that users write them into. */
#include <probflow/memory.h>
#include <probflow/vocabulary.h>
#include "data/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 65536 }; /* symbols */

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Room for symbols of so many bytes in all, so many symbols at most. */
static PF_MUST_USE pf_status make(pf_vocabulary *v, size_t bytes, size_t symbols)
{
    *v = (pf_vocabulary){.bytes = pf_zalloc(bytes + 1),
                         .at = pf_zalloc((symbols + 1) * sizeof *v->at)};
    PF_REQUIRE(v->bytes && v->at, PF_EMEM, "no memory for %zu symbols", symbols);
    return PF_OK;
}

void pf_vocabulary_free(pf_vocabulary *v)
{
    pf_free(v->bytes);
    pf_free(v->at);
    *v = (pf_vocabulary){0};
}

static PF_MUST_USE pf_status parse_into(pf_vocabulary *v, const char *text, int parted)
{
    size_t n = strlen(text), used = 0;
    PF_TRY(make(v, n / 2, n / 2));
    for (size_t i = 0; i < n; i += 2) {
        if (text[i] == ' ') {
            v->at[++v->n] = used;
            i++;
        }
        int high = digit(text[i]), low = high < 0 ? -1 : digit(text[i + 1]);
        PF_REQUIRE(low >= 0, PF_EFORMAT, "'%.20s' is no text of a vocabulary", text);
        v->bytes[used++] = (unsigned char)(16 * high + low);
        if (!parted) v->at[++v->n] = used;
    }
    if (parted) v->at[++v->n] = used;
    for (int k = 0; k < v->n; k++)
        PF_REQUIRE(pf_vocabulary_bytes(v, k) > 0, PF_EFORMAT,
                   "symbol %d of a vocabulary is empty", k);
    return PF_OK;
}

pf_status pf_vocabulary_parse(const char *text, pf_vocabulary *out)
{
    *out = (pf_vocabulary){0};
    PF_TRY(parse_into(out, text, strchr(text, ' ') != NULL));
    return PF_OK;
}

pf_status pf_vocabulary_text(const pf_vocabulary *v, char **text)
{
    size_t bytes = v->at[v->n];
    int parted = bytes > (size_t)v->n;
    *text = pf_zalloc(2 * bytes + (size_t)v->n + 1);
    PF_REQUIRE(*text, PF_EMEM, "no memory for the text of %d symbols", v->n);
    char *to = *text;
    for (int k = 0; k < v->n; k++) {
        if (parted && k) *to++ = ' ';
        for (size_t i = v->at[k]; i < v->at[k + 1]; i++, to += 2)
            snprintf(to, 3, "%02x", v->bytes[i]);
    }
    return PF_OK;
}

size_t pf_vocabulary_spell(const pf_vocabulary *v, size_t n, const double *x, char *to)
{
    size_t used = 0;
    for (size_t i = 0; i < n && x[i] >= 0.0 && x[i] < v->n; i++) {
        int k = (int)x[i];
        if (to) memcpy(to + used, v->bytes + v->at[k], pf_vocabulary_bytes(v, k));
        used += pf_vocabulary_bytes(v, k);
    }
    return used;
}

/* ---- files ---- */

/* One character of a line, as C writes it; -1: \ before something else. */
static int character(const unsigned char *b, size_t n, size_t *used)
{
    static const char letters[] = "ntr\\", means[] = "\n\t\r\\";
    *used = 1;
    if (b[0] != '\\') return b[0];
    if (n > 3 && b[1] == 'x') {
        int high = digit((char)b[2]), low = digit((char)b[3]);
        *used = 4;
        return high < 0 || low < 0 ? -1 : 16 * high + low;
    }
    const char *known = n > 1 && b[1] ? strchr(letters, b[1]) : NULL;
    *used = 2;
    return known ? means[known - letters] : -1;
}

static PF_MUST_USE pf_status take_line(pf_vocabulary *v, const char *path,
                                       const unsigned char *b, size_t n)
{
    size_t to = v->at[v->n], used;
    PF_REQUIRE(n > 0 && v->n < MOST, PF_EFORMAT, "%s: line %d %s", path, v->n + 1,
               n ? "is one symbol too many; 65536 are read" : "is empty, which is no symbol");
    for (size_t i = 0; i < n; i += used) {
        int c = character(b + i, n - i, &used);
        PF_REQUIRE(c >= 0, PF_EFORMAT,
                   "%s: line %d: a \\ wants n, t, r, x with two digits or another \\ behind it",
                   path, v->n + 1);
        v->bytes[to++] = (unsigned char)c;
    }
    v->at[++v->n] = to;
    return PF_OK;
}

typedef struct symbol {
    const unsigned char *b;
    size_t n;
    int k;
} symbol;

static int in_order(const void *x, const void *y)
{
    const symbol *a = x, *b = y;
    int c = memcmp(a->b, b->b, a->n < b->n ? a->n : b->n);
    return c ? c : a->n != b->n ? (a->n < b->n ? -1 : 1) : a->k - b->k;
}

static PF_MUST_USE pf_status refuse_twice(const pf_vocabulary *v, const char *path)
{
    symbol *s = pf_zalloc((size_t)v->n * sizeof *s);
    int first = -1, again = -1;
    PF_REQUIRE(s, PF_EMEM, "no memory for the symbols of %s", path);
    for (int k = 0; k < v->n; k++)
        s[k] = (symbol){v->bytes + v->at[k], pf_vocabulary_bytes(v, k), k};
    qsort(s, (size_t)v->n, sizeof *s, in_order);
    for (int i = 1; i < v->n && again < 0; i++)
        if (s[i].n == s[i - 1].n && !memcmp(s[i].b, s[i - 1].b, s[i].n))
            first = s[i - 1].k, again = s[i].k;
    pf_free(s);
    PF_REQUIRE(again < 0, PF_EFORMAT, "%s: lines %d and %d are the same symbol", path,
               first + 1, again + 1);
    return PF_OK;
}

static PF_MUST_USE pf_status read_lines(pf_vocabulary *v, const char *path,
                                        const unsigned char *b, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++) lines += b[i] == '\n';
    PF_TRY(make(v, n, lines));
    for (size_t i = 0; i < n;) {
        const unsigned char *end = memchr(b + i, '\n', n - i);
        size_t line = end ? (size_t)(end - (b + i)) : n - i;
        PF_TRY(take_line(v, path, b + i, line));
        i += line + 1;
    }
    PF_REQUIRE(v->n > 1, PF_EFORMAT, "%s holds %d symbol%s, a line each; want 2 at least", path,
               v->n, v->n == 1 ? "" : "s");
    PF_TRY(refuse_twice(v, path));
    return PF_OK;
}

pf_status pf_vocabulary_read(const char *path, pf_vocabulary *out)
{
    pf_input *file = NULL;
    unsigned char *b = NULL;
    size_t n = 0;
    *out = (pf_vocabulary){0};
    PF_TRY(pf_input_open(path, NULL, &file));
    pf_status st = pf_input_whole(file, path, &b, &n);
    if (!st) st = read_lines(out, path, b, n);
    pf_free(b);
    pf_input_close(file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
