/* CIFAR-10 as PNG sheets: 1024 pixels wide, each row of pixels is one 32x32 image; its labels in
 * JSON files, one flat array of integers each. */
#include <probflow/memory.h>
#include "data/format.h"
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32 };

static int knows_sheet(const pf_source *s)
{
    int w = 0, h = 0;
    return !s->is_folder && pf_png_size(s->head, s->n_head, &w, &h) && w == SIDE * SIDE;
}

static pf_status read_sheet(const pf_source *s, pf_table *t)
{
    pf_shape sheet;
    unsigned char *pixels = NULL, *to = NULL;
    PF_TRY(pf_png_read(s->path, &sheet, &pixels));
    pf_status st = pf_table_rows(t, s->path, pf_split_of(s->path), sheet.h,
                                 (pf_shape){SIDE, SIDE, sheet.c}, &to);
    if (!st) memcpy(to, pixels, (size_t)sheet.h * (size_t)sheet.w * (size_t)sheet.c);
    pf_free(pixels);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static int knows_labels(const pf_source *s)
{
    const char *dot = strrchr(s->path, '.');
    return !s->is_folder && dot && !strcmp(dot, ".json");
}

static PF_MUST_USE pf_status parse(const char *path, const char *p, size_t bytes, pf_table *t)
{
    int64_t n = 1, i = 0;
    int32_t *labels = NULL;
    for (size_t k = 0; k < bytes; k++) n += p[k] == ',';
    p += strspn(p, " \t\r\n");
    PF_REQUIRE(*p == '[', PF_EFORMAT, "%s is not a JSON array of labels", path);
    PF_TRY(pf_table_labels(t, pf_split_of(path), n, &labels));
    for (p++; i < n; i++) {
        char *end = NULL;
        long v = strtol(p, &end, 10);
        PF_REQUIRE(end != p && v >= 0 && v < 1 << 30, PF_EFORMAT, "%s: label %lld is no number",
                   path, (long long)i);
        labels[i] = (int32_t)v;
        p = end + strspn(end, " \t\r\n");
        PF_REQUIRE(*p == (i + 1 < n ? ',' : ']'), PF_EFORMAT,
                   "%s is truncated or no array of integers", path);
        p++;
    }
    return PF_OK;
}

static pf_status read_labels(const pf_source *s, pf_table *t)
{
    unsigned char *b = NULL;
    size_t n = 0;
    PF_TRY(pf_slurp(s->path, &b, &n));
    char *text = pf_zalloc(n + 1);
    if (text) memcpy(text, b, n);
    pf_status st = text ? parse(s->path, text, n, t)
                        : pf_raise(PF_EMEM, PF_WHERE, "no memory for %s", s->path);
    pf_free(text);
    pf_free(b);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_format pf_format_png_sheet = {"PNG sheet", knows_sheet, read_sheet};
const pf_format pf_format_labels_json = {"JSON labels", knows_labels, read_labels};
