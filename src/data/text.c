/* Text as rows of 256 tokens: a token is the rank of a byte among the bytes that occur.  One file
 * is cut 90/5/5 into train, valid and test, as text8 is; what does not fill a last row is left
 * out. */
#include <probflow/log.h>
#include "data/format.h"
#include <string.h>

enum { LENGTH = 256 };

static int knows(const pf_source *s)
{
    const char *dot = strrchr(s->path, '.'), *name = pf_base_name(s->path);
    return !s->is_folder &&
           ((dot && !strcmp(dot, ".txt")) || !strcmp(name, "text8") || !strcmp(name, "enwik8"));
}

static PF_MUST_USE pf_status add_split(const char *path, int split, const unsigned char *b,
                                       size_t n, const int rank[256], pf_table *t)
{
    unsigned char *to = NULL;
    int64_t rows = (int64_t)(n / LENGTH);
    if (rows == 0) return PF_OK;
    PF_TRY(pf_table_rows(t, path, split, rows, (pf_shape){1, 1, LENGTH}, &to));
    for (int64_t i = 0; i < rows * LENGTH; i++) {
        int32_t token = rank[b[i]];
        memcpy(to + 4 * i, &token, sizeof token);
    }
    if (n % LENGTH)
        pf_log("data: the last %zu bytes of a split of %s fill no row of %d and are left out",
               n % LENGTH, path, LENGTH);
    return PF_OK;
}

static PF_MUST_USE pf_status parse(const char *path, const unsigned char *b, size_t n,
                                   pf_table *t)
{
    int rank[256] = {0}, levels = 0;
    char vocabulary[sizeof t->vocabulary] = "";
    for (size_t i = 0; i < n; i++) rank[b[i]] = 1;
    for (int v = 0; v < 256; v++) {
        if (!rank[v]) continue;
        snprintf(vocabulary + 2 * levels, 3, "%02x", v);
        rank[v] = levels++;
    }
    PF_REQUIRE(n >= LENGTH, PF_EFORMAT, "%s has %zu bytes, less than one row of %d", path, n,
               LENGTH);
    PF_REQUIRE(t->shape.h == 0, PF_EFORMAT, "%s: a text dataset is made from one file", path);
    t->kind = PF_DATA_TOKENS;
    t->levels = levels;
    strcpy(t->vocabulary, vocabulary);
    /* 90% and 95% without overflow or rounding up. */
    size_t train = n / 20 * 18, valid = n / 20;
    PF_TRY(add_split(path, PF_TRAIN, b, train, rank, t));
    PF_TRY(add_split(path, PF_VALID, b + train, valid, rank, t));
    PF_TRY(add_split(path, PF_TEST, b + train + valid, n - train - valid, rank, t));
    return PF_OK;
}

static pf_status read(const pf_source *s, pf_table *t)
{
    return pf_read_whole(s, parse, t);
}

const pf_format pf_format_text = {"text", knows, read};
