/* Rules by which a text becomes symbols: as it is, text8's, bytes, a file of symbols. */
#include "data/symbols.h"

#include <probflow/memory.h>
#include <probflow/space.h>

#include <stdlib.h>
#include <string.h>

/* ---- symbols that grow ---- */

static PF_MUST_USE pf_status make_room(pf_symbols *s, size_t more)
{
    if (more <= s->cap - s->n) return PF_OK;
    size_t cap = s->cap + s->cap / 2;
    if (cap < s->n + more) cap = s->n + more;
    unsigned char *v = pf_zalloc(cap * s->bytes);
    PF_REQUIRE(v, PF_EMEM, "no memory for %zu symbols", cap);
    if (s->n) memcpy(v, s->v, s->n * s->bytes);
    pf_free(s->v);
    s->v = v;
    s->cap = cap;
    return PF_OK;
}

/* Where there is room. */
static void put(pf_symbols *s, int k)
{
    uint16_t wide = (uint16_t)k;
    if (s->bytes == 1) s->v[s->n] = (unsigned char)k;
    else memcpy(s->v + 2 * s->n, &wide, sizeof wide);
    s->n++;
}

/* ---- text8 ---- */

/* A letter from 1 on, or 0, which does not follow itself. */
static void put_letter(pf_symbols *s, int k, int *blank)
{
    if (k || !*blank) put(s, k);
    *blank = k == 0;
}

static PF_MUST_USE pf_status apply_text8(const unsigned char *b, size_t n, pf_symbols *out)
{
    static const char *const digits[] = {"zero", "one", "two",   "three", "four",
                                         "five", "six", "seven", "eight", "nine"};
    enum { MOST = 8 }; /* symbols of a byte: blank seven blank */
    int blank = 0;
    for (size_t i = 0; i < n; i++) {
        PF_TRY(make_room(out, MOST));
        int c = b[i] >= 'A' && b[i] <= 'Z' ? b[i] - 'A' + 'a' : b[i];
        if (c >= 'a' && c <= 'z') put_letter(out, c - 'a' + 1, &blank);
        else put_letter(out, 0, &blank);
        if (c < '0' || c > '9') continue;
        for (const char *p = digits[c - '0']; *p; p++) put_letter(out, *p - 'a' + 1, &blank);
        put_letter(out, 0, &blank);
    }
    return PF_OK;
}

/* ---- a file of symbols ---- */

typedef struct symbol {
    unsigned char first;
    size_t n;
    int k;
} symbol;

/* By the first byte, the longest first, so that the first that fits is it. */
static int in_order(const void *x, const void *y)
{
    const symbol *a = x, *b = y;
    return a->first != b->first ? a->first - b->first
           : a->n != b->n       ? (a->n > b->n ? -1 : 1)
                                : a->k - b->k;
}

static PF_MUST_USE pf_status sort_symbols(pf_rule *r)
{
    const pf_vocabulary *v = &r->v;
    symbol *s = pf_zalloc((size_t)v->n * sizeof *s);
    r->order = pf_zalloc((size_t)v->n * sizeof *r->order);
    int found = s && r->order;
    for (int k = 0; found && k < v->n; k++)
        s[k] = (symbol){v->bytes[v->at[k]], pf_vocabulary_bytes(v, k), k};
    if (found) qsort(s, (size_t)v->n, sizeof *s, in_order);
    for (int k = 0; found && k < v->n; k++) {
        r->order[k] = s[k].k;
        r->from[s[k].first + 1] = k + 1;
    }
    for (int c = 0; c < 256; c++)
        if (r->from[c + 1] < r->from[c]) r->from[c + 1] = r->from[c];
    pf_free(s);
    PF_REQUIRE(found, PF_EMEM, "no memory for %d symbols", v->n);
    return PF_OK;
}

static int fits(const pf_vocabulary *v, int k, const unsigned char *b, size_t n)
{
    return pf_vocabulary_bytes(v, k) <= n &&
           !memcmp(v->bytes + v->at[k], b, pf_vocabulary_bytes(v, k));
}

static PF_MUST_USE pf_status apply_file(const pf_rule *r, const char *path, size_t at,
                                        const unsigned char *b, size_t n, pf_symbols *out)
{
    PF_TRY(make_room(out, n));
    for (size_t i = 0; i < n;) {
        int o = r->from[b[i]], end = r->from[b[i] + 1];
        while (o < end && !fits(&r->v, r->order[o], b + i, n - i)) o++;
        PF_REQUIRE(o < end, PF_EFORMAT,
                   "%s: no symbol of the vocabulary fits at byte %zu, where 0x%02x stands",
                   path, at + i, b[i]);
        put(out, r->order[o]);
        i += pf_vocabulary_bytes(&r->v, r->order[o]);
    }
    return PF_OK;
}

/* ---- any rule ---- */

/* Symbols of a byte each. */
static PF_MUST_USE pf_status make_bytes(pf_rule *r, const unsigned char *b, int n)
{
    r->v = (pf_vocabulary){.bytes = pf_zalloc((size_t)n),
                           .at = pf_zalloc((size_t)(n + 1) * sizeof *r->v.at)};
    PF_REQUIRE(r->v.bytes && r->v.at, PF_EMEM, "no memory for %d symbols", n);
    for (int k = 0; k < n; k++) {
        r->v.bytes[k] = b ? b[k] : (unsigned char)k;
        r->v.at[k + 1] = (size_t)k + 1;
    }
    r->v.n = n;
    return PF_OK;
}

pf_status pf_rule_open(const char *word, pf_rule *out)
{
    static const char *const words[] = {"as-is", "text8", "bytes"};
    int kind = 0;
    while (word && kind < PF_RULE_FILE && strcmp(word, words[kind])) kind++;
    *out = (pf_rule){.kind = (pf_rule_kind)kind};
    if (kind == PF_RULE_TEXT8)
        PF_TRY(make_bytes(out, (const unsigned char *)" abcdefghijklmnopqrstuvwxyz", 27));
    else if (kind == PF_RULE_FILE) PF_TRY(pf_vocabulary_read(word, &out->v));
    else PF_TRY(make_bytes(out, NULL, 256));
    if (kind == PF_RULE_FILE) PF_TRY(sort_symbols(out));
    return PF_OK;
}

void pf_rule_free(pf_rule *r)
{
    pf_vocabulary_free(&r->v);
    pf_free(r->order);
    *r = (pf_rule){0};
}

pf_status pf_rule_apply(const pf_rule *r, const char *path, size_t at, const unsigned char *b,
                        size_t n, pf_symbols *out)
{
    out->bytes = pf_token_bytes(r->v.n);
    if (r->kind == PF_RULE_TEXT8) PF_TRY(apply_text8(b, n, out));
    else if (r->kind == PF_RULE_FILE) PF_TRY(apply_file(r, path, at, b, n, out));
    else {
        PF_TRY(make_room(out, n));
        if (n) memcpy(out->v + out->n, b, n);
        out->n += n;
    }
    return PF_OK;
}
