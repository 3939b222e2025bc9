/* Text as rows of 256 tokens: a token is the rank of a byte among the bytes that occur.  One file
 * is cut 90/5/5 into train, valid and test, as text8 is, unless its split is given; what does not
 * fill a last row is left out.  The text is passed over twice: what occurs, then the tokens. */
#include <probflow/log.h>
#include "data/format.h"
#include <string.h>

enum { LENGTH = 256 };

typedef struct alphabet {
    size_t n; /* bytes of the text */
    int rank[256], levels;
} alphabet;

static int knows(const pf_source *s)
{
    return s->file && (pf_source_ends(s, ".txt") || !strcmp(s->name, "text8") ||
                       !strcmp(s->name, "enwik8"));
}

static PF_MUST_USE pf_status survey(pf_source *s, pf_table *t, alphabet *a)
{
    unsigned char b[4096];
    size_t got = 0;
    do {
        PF_TRY(pf_input_read(s->file, b, sizeof b, &got));
        for (size_t i = 0; i < got; i++) a->rank[b[i]] = 1;
        a->n += got;
    } while (got == sizeof b);
    for (int v = 0; v < 256; v++) {
        if (!a->rank[v]) continue;
        snprintf(t->vocabulary + 2 * a->levels, 3, "%02x", v);
        a->rank[v] = a->levels++;
    }
    PF_REQUIRE(a->n >= LENGTH, PF_EFORMAT, "%s has %zu bytes, less than one row of %d", s->path,
               a->n, LENGTH);
    PF_REQUIRE(a->levels > 1, PF_EFORMAT, "%s is one byte over and over", s->path);
    return PF_OK;
}

/* The next n bytes of the text. */
static PF_MUST_USE pf_status add_split(pf_source *s, int split, size_t n, const alphabet *a,
                                       pf_table *t)
{
    unsigned char b[LENGTH], *to = NULL;
    const pf_space l = {.kind = PF_TOKENS, .shape = {1, 1, LENGTH}, .levels = a->levels};
    int64_t rows = (int64_t)(n / LENGTH);
    size_t got = 0, rest = n % LENGTH;
    if (rows) PF_TRY(pf_table_rows(t, s->path, split, rows, l, &to));
    for (int64_t i = 0; i <= rows; i++) {
        size_t want = i < rows ? LENGTH : rest;
        PF_TRY(pf_input_read(s->file, b, want, &got));
        PF_REQUIRE(got == want, PF_EIO, "%s changed while it was read", s->path);
        for (int k = 0; i < rows && k < LENGTH; k++) *to++ = (unsigned char)a->rank[b[k]];
    }
    if (rest)
        pf_log("data: the last %zu bytes of a split of %s fill no row of %d and are left out",
               rest, s->path, LENGTH);
    return PF_OK;
}

static pf_status read(pf_source *s, pf_table *t)
{
    alphabet a = {0};
    PF_REQUIRE(t->space.shape.h == 0, PF_EFORMAT, "%s: a text dataset is made from one file",
               s->path);
    PF_TRY(survey(s, t, &a));
    PF_TRY(pf_input_rewind(s->file, NULL));
    if (s->given != PF_SPLIT_UNSAID) {
        s->how = "by --split";
        PF_TRY(add_split(s, s->given, a.n, &a, t));
        return PF_OK;
    }
    s->how = "cut 90/5/5";
    /* 90% and 95% without overflow or rounding up. */
    size_t train = a.n / 20 * 18, valid = a.n / 20;
    PF_TRY(add_split(s, PF_TRAIN, train, &a, t));
    PF_TRY(add_split(s, PF_VALID, valid, &a, t));
    PF_TRY(add_split(s, PF_TEST, a.n - train - valid, &a, t));
    return PF_OK;
}

const pf_format pf_format_text = {"text", knows, read};
