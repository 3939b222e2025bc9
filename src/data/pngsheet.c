/* CIFAR-10 as PNG sheets: 1024 pixels wide, each row of pixels is one 32x32 image; its labels in
 * JSON files, one flat array of integers each.  Other pictures may be as wide: a sheet is known by
 * its name, by as many rows as CIFAR-10 has images, or by labels among the sources. */
#include <probflow/memory.h>
#include "data/format.h"
#include <string.h>

enum { SIDE = 32, TRAIN_IMAGES = 50000, BATCH_IMAGES = 10000, LABELS_MOST = 1 << 26 };

static int knows_sheet(const pf_source *s)
{
    int w = 0, h = 0;
    if (!s->file || pf_input_packed(s->file) || !pf_png_size(s->head, s->n_head, &w, &h) ||
        w != SIDE * SIDE)
        return 0;
    return s->with_labels || h == BATCH_IMAGES || h == TRAIN_IMAGES ||
           strcasestr(s->name, "batch") || strcasestr(s->name, "cifar");
}

static pf_status read_sheet(pf_source *s, pf_table *t)
{
    pf_shape sheet;
    int split;
    unsigned char *pixels = NULL, *to = NULL;
    PF_TRY(pf_source_split(s, &split, NULL));
    PF_TRY(pf_png_read(s->file, s->path, s->opt->drop_alpha, &sheet, &pixels));
    pf_space l = {.kind = PF_LEVELS, .shape = {SIDE, SIDE, sheet.c}, .levels = 256};
    pf_status st = pf_table_rows(t, s->path, split, sheet.h, l, &to);
    if (!st) memcpy(to, pixels, (size_t)sheet.h * (size_t)sheet.w * (size_t)sheet.c);
    pf_free(pixels);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- labels ---- */

static int knows_labels(const pf_source *s)
{
    return s->file && pf_source_ends(s, ".json");
}

typedef struct text {
    pf_input *s;
    unsigned char b[4096];
    size_t at, n;
    int c; /* the next character, -1: none */
} text;

static PF_MUST_USE pf_status next(text *x)
{
    if (x->at == x->n) {
        x->at = 0;
        PF_TRY(pf_input_read(x->s, x->b, sizeof x->b, &x->n));
    }
    x->c = x->n ? x->b[x->at++] : -1;
    return PF_OK;
}

/* The next character that is no space. */
static PF_MUST_USE pf_status skip(text *x)
{
    while (x->c == ' ' || x->c == '\t' || x->c == '\r' || x->c == '\n') PF_TRY(next(x));
    return PF_OK;
}

static PF_MUST_USE pf_status digits(text *x, const char *path, int64_t at, int32_t *label)
{
    int first = x->c, n = 0;
    int64_t v = 0;
    for (; x->c >= '0' && x->c <= '9' && v <= INT32_MAX; n++) {
        v = 10 * v + (x->c - '0');
        PF_TRY(next(x));
    }
    PF_REQUIRE(n > 0 && v <= INT32_MAX && !(n > 1 && first == '0'), PF_EFORMAT,
               "%s: label %lld is no whole number from 0 to %d", path, (long long)at,
               INT32_MAX);
    *label = (int32_t)v;
    return PF_OK;
}

static pf_status read_labels(pf_source *s, pf_table *t)
{
    text x = {.s = s->file};
    int32_t *label = NULL, v = 0;
    int split;
    PF_TRY(pf_source_split(s, &split, NULL));
    PF_TRY(next(&x));
    PF_TRY(skip(&x));
    PF_REQUIRE(x.c == '[', PF_EFORMAT, "%s is no JSON array of labels", s->path);
    for (int64_t i = 0; x.c != ']'; i++) {
        PF_TRY(next(&x));
        PF_TRY(skip(&x));
        PF_TRY(digits(&x, s->path, i, &v));
        PF_TRY(skip(&x));
        PF_REQUIRE(x.c == ',' || x.c == ']', PF_EFORMAT,
                   "%s is truncated, or no flat array of whole numbers, at label %lld", s->path,
                   (long long)i);
        PF_REQUIRE(i < LABELS_MOST, PF_EFORMAT, "%s holds more than %d labels", s->path,
                   LABELS_MOST);
        PF_TRY(pf_table_labels(t, s->path, split, 1, PF_BY_NUMBER, &label));
        *label = v;
    }
    PF_TRY(next(&x));
    PF_TRY(skip(&x));
    PF_REQUIRE(x.c == -1, PF_EFORMAT, "%s: something stands behind the array of labels",
               s->path);
    return PF_OK;
}

const pf_format pf_format_png_sheet = {"PNG sheet", knows_sheet, read_sheet};
const pf_format pf_format_labels_json = {"JSON labels", knows_labels, read_labels};
