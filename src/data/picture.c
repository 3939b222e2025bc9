/* Pictures on their way into the table: alpha, channels, crop and resize, in this order.
 *
 * Grey is the luma of Rec. 601 with weights of 16 bits, L = (19595 R + 38470 G + 7471 B + 2^15) / 2^16.
 * A crop is central: its top is (h - H) / 2 and its left (w - W) / 2, rounded down.  Resizing is
 * bilinear, antialiased: with s = from/to and k = max(s, 1), pixel i of the result weighs pixel j of the
 * source by max(0, 1 - |j + 1/2 - (i + 1/2) s| / k), normalised over the pixels there are; columns and
 * rows alike, no rounding between them, halves up at the end.
 *
 * Rows that change wait as their reader fills them and are converted when the next ones are asked for.
 *
 * Source: the grey of PIL; the crop, sizes and filter that score_sde prepares CelebA by, which is
 * tf.image.resize with antialias (spans of ScaleAndTranslate). */
#include <probflow/memory.h>
#include "data/format.h"
#include <math.h>
#include <string.h>

/* One side of a resized picture. */
typedef struct axis {
    int to, span;         /* span: the most pixels that one pixel is made of */
    int *first, *n;       /* [to] */
    double *weight;       /* [to,span] */
    unsigned char *block; /* all three; owned */
} axis;

struct pf_stage {
    pf_shape from, crop, to; /* crop: with the channels of the result, before it is resized */
    int top, left, resizes;
    axis down, across;
    double *line;        /* [crop.w,c] a row of the result before its columns are resized */
    unsigned char *flat; /* [crop] */
    unsigned char *values;
    size_t cap;
    int split; /* rows that wait: of this split, from `at` on */
    int64_t n, at;
};

static int asks(const pf_convert_opt *o)
{
    return o->channels || o->drop_alpha || o->crop_h || o->resize_h;
}

static int same(pf_shape a, pf_shape b)
{
    return a.h == b.h && a.w == b.w && a.c == b.c;
}

/* ---- what a picture becomes ---- */

static PF_MUST_USE pf_status channels_of(const pf_convert_opt *o, const char *path, int c,
                                         int *to)
{
    if (o->drop_alpha && (c == 2 || c == 4)) c--;
    *to = o->channels ? o->channels : c;
    PF_REQUIRE(*to == c || c == 1 || c == 3, PF_EFORMAT,
               "%s has %d channels; --grey and --rgb are for 1 or 3%s", path, c,
               c == 2 || c == 4 ? ", and --alpha drop takes the last one away" : "");
    return PF_OK;
}

/* side * to / smaller to the nearest whole number, halves to even. */
static int in_proportion(int side, int to, int smaller)
{
    int64_t twice = 2 * (int64_t)side * to, whole = twice / (2 * smaller),
            rest = twice % (2 * smaller);
    return (int)(whole + (rest > smaller || (rest == smaller && whole % 2)));
}

static PF_MUST_USE pf_status shapes(const pf_convert_opt *o, const char *path, pf_shape from,
                                    pf_shape *crop, pf_shape *to)
{
    *crop = from;
    PF_TRY(channels_of(o, path, from.c, &crop->c));
    if (o->crop_h) {
        PF_REQUIRE(o->crop_h <= from.h && o->crop_w <= from.w, PF_EFORMAT,
                   "%s is %dx%d, smaller than --crop %dx%d", path, from.h, from.w, o->crop_h,
                   o->crop_w);
        crop->h = o->crop_h;
        crop->w = o->crop_w;
    }
    *to = *crop;
    if (!o->resize_h) return PF_OK;
    int smaller = crop->h < crop->w ? crop->h : crop->w;
    to->h = o->resize_w ? o->resize_h : in_proportion(crop->h, o->resize_h, smaller);
    to->w = o->resize_w ? o->resize_w : in_proportion(crop->w, o->resize_h, smaller);
    return PF_OK;
}

/* ---- the filter ---- */

static void weigh(axis *a, int from)
{
    double s = (double)from / a->to, k = s > 1 ? s : 1;
    for (int i = 0; i < a->to; i++) {
        double at = (i + 0.5) * s, sum = 0, *w = a->weight + (size_t)i * (size_t)a->span;
        double low = ceil(at - k - 0.5), high = floor(at + k - 0.5);
        a->first[i] = low < 0 ? 0 : (int)low;
        a->n[i] = (high > from - 1 ? from - 1 : (int)high) - a->first[i] + 1;
        for (int j = 0; j < a->n[i]; j++) {
            w[j] = fmax(0, 1 - fabs(a->first[i] + j + 0.5 - at) / k);
            sum += w[j];
        }
        for (int j = 0; j < a->n[i]; j++) w[j] /= sum;
    }
}

static PF_MUST_USE pf_status make_axis(axis *a, const char *path, int from, int to)
{
    double s = (double)from / to;
    size_t n = (size_t)to;
    a->to = to;
    a->span = 2 * (int)ceil(s > 1 ? s : 1) + 1;
    a->block = pf_zalloc(n * ((size_t)a->span * sizeof *a->weight + 2 * sizeof *a->n));
    PF_REQUIRE(a->block, PF_EMEM, "no memory to resize %s", path);
    a->weight = (double *)(void *)a->block;
    a->first = (int *)(void *)(a->weight + n * (size_t)a->span);
    a->n = a->first + n;
    weigh(a, from);
    return PF_OK;
}

static void resample(const pf_stage *g, unsigned char *to)
{
    int c = g->to.c;
    size_t pitch = (size_t)g->crop.w * (size_t)c;
    for (int y = 0; y < g->to.h; y++) {
        const double *wy = g->down.weight + (size_t)y * (size_t)g->down.span;
        memset(g->line, 0, pitch * sizeof *g->line);
        for (int j = 0; j < g->down.n[y]; j++) {
            const unsigned char *row = g->flat + (size_t)(g->down.first[y] + j) * pitch;
            for (size_t i = 0; i < pitch; i++) g->line[i] += wy[j] * row[i];
        }
        for (int x = 0; x < g->to.w; x++) {
            const double *wx = g->across.weight + (size_t)x * (size_t)g->across.span;
            const double *from = g->line + (size_t)g->across.first[x] * (size_t)c;
            for (int k = 0; k < c; k++) {
                double sum = 0.5;
                for (int j = 0; j < g->across.n[x]; j++) sum += wx[j] * from[j * c + k];
                *to++ = (unsigned char)sum;
            }
        }
    }
}

/* ---- one picture ---- */

static unsigned char *recolour(const unsigned char *p, int to, int c, unsigned char *b)
{
    unsigned luma = p[0];
    if (to == 1 && c >= 3)
        luma = (19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 0x8000u) >> 16;
    if (to == 1) *b++ = (unsigned char)luma;
    else
        for (int k = 0; k < to; k++) *b++ = p[c < 3 && to == 3 ? 0 : k];
    return b;
}

static void convert(const pf_stage *g, const unsigned char *from, unsigned char *to)
{
    size_t c = (size_t)g->from.c, pitch = (size_t)g->from.w * c;
    unsigned char *b = g->resizes ? g->flat : to;
    from += (size_t)g->top * pitch + (size_t)g->left * c;
    for (int y = 0; y < g->crop.h; y++, from += pitch) {
        const unsigned char *p = from;
        for (int x = 0; x < g->crop.w; x++, p += c) b = recolour(p, g->crop.c, g->from.c, b);
    }
    if (g->resizes) resample(g, to);
}

/* ---- those that wait ---- */

void pf_table_flush(pf_table *t)
{
    pf_stage *g = t->stage;
    if (!g) return;
    size_t row = pf_table_row_bytes(t),
           from = (size_t)g->from.h * (size_t)g->from.w * (size_t)g->from.c;
    unsigned char *to = t->split[g->split].values + (size_t)g->at * row;
    for (int64_t i = 0; i < g->n; i++, to += row) convert(g, g->values + (size_t)i * from, to);
    g->n = 0;
}

static void drop_plan(pf_stage *g)
{
    pf_free(g->down.block);
    pf_free(g->across.block);
    pf_free(g->line);
    pf_free(g->flat);
    g->down = g->across = (axis){0};
    g->line = NULL;
    g->flat = NULL;
    g->from = (pf_shape){0};
}

void pf_stage_free(pf_stage *g)
{
    if (!g) return;
    drop_plan(g);
    pf_free(g->values);
    pf_free(g);
}

static PF_MUST_USE pf_status plan(pf_stage *g, const char *path, pf_shape crop, pf_shape to)
{
    size_t line = (size_t)crop.w * (size_t)crop.c;
    g->crop = crop;
    g->to = to;
    g->resizes = crop.h != to.h || crop.w != to.w;
    if (!g->resizes) return PF_OK;
    PF_TRY(make_axis(&g->down, path, crop.h, to.h));
    PF_TRY(make_axis(&g->across, path, crop.w, to.w));
    g->line = pf_zalloc(line * sizeof *g->line);
    g->flat = pf_zalloc(line * (size_t)crop.h);
    PF_REQUIRE(g->line && g->flat, PF_EMEM, "no memory to resize %s", path);
    return PF_OK;
}

static PF_MUST_USE pf_status make_room(pf_stage *g, const char *path, int64_t n, size_t row)
{
    size_t want;
    PF_REQUIRE(!__builtin_mul_overflow((size_t)n, row, &want), PF_EMEM,
               "no memory for the rows of %s", path);
    if (want <= g->cap) return PF_OK;
    pf_free(g->values);
    g->cap = 0;
    g->values = pf_zalloc(want);
    PF_REQUIRE(g->values, PF_EMEM, "no memory for the %lld rows of %s", (long long)n, path);
    g->cap = want;
    return PF_OK;
}

static PF_MUST_USE pf_status stage(pf_table *t, const char *path, int64_t n, pf_shape from,
                                   const pf_shape crop_to[2])
{
    if (!t->stage) t->stage = pf_zalloc(sizeof *t->stage);
    pf_stage *g = t->stage;
    PF_REQUIRE(g, PF_EMEM, "no memory for the rows of %s", path);
    if (!same(g->from, from)) {
        drop_plan(g);
        PF_TRY(plan(g, path, crop_to[0], crop_to[1]));
        g->from = from;
    }
    g->top = (from.h - g->crop.h) / 2;
    g->left = (from.w - g->crop.w) / 2;
    PF_TRY(make_room(g, path, n, (size_t)from.h * (size_t)from.w * (size_t)from.c));
    return PF_OK;
}

static unsigned changes(const pf_convert_opt *o, pf_shape from, pf_shape crop, pf_shape to)
{
    unsigned done = 0;
    int c = from.c - (o->drop_alpha && (from.c == 2 || from.c == 4));
    if (c != from.c) done |= PF_DONE_ALPHA;
    if (c != to.c) done |= to.c == 1 ? PF_DONE_GREY : PF_DONE_RGB;
    if (crop.h != from.h || crop.w != from.w) done |= PF_DONE_CROP;
    if (crop.h != to.h || crop.w != to.w) done |= PF_DONE_RESIZE;
    return done;
}

pf_status pf_table_rows(pf_table *t, const char *path, int split, int64_t n, pf_space space,
                        unsigned char **values)
{
    const pf_convert_opt *o = t->opt;
    pf_shape s[2] = {{0}}, from = space.shape; /* s: cropped, result */
    pf_table_flush(t);
    if (!o || !asks(o)) {
        PF_TRY(pf_table_room(t, path, split, n, space, values));
        return PF_OK;
    }
    PF_REQUIRE(space.kind == PF_LEVELS, PF_EARG,
               "%s holds no images, which are what --grey, --rgb, --alpha, --crop and --resize "
               "are for",
               path);
    PF_TRY(shapes(o, path, from, &s[0], &s[1]));
    space.shape = s[1];
    PF_TRY(pf_table_room(t, path, split, n, space, values));
    unsigned done = changes(o, from, s[0], s[1]);
    t->done |= done;
    if (!done) return PF_OK;
    PF_TRY(stage(t, path, n, from, s));
    t->stage->split = split;
    t->stage->at = t->split[split].n - n;
    t->stage->n = n;
    *values = t->stage->values;
    return PF_OK;
}

void pf_table_converted(const pf_table *t, char *text, size_t n)
{
    const pf_convert_opt *o = t->opt;
    int k = t->shrink > 1 ? t->shrink : 1;
    char crop[48], resize[80], binary[96] = "1 where 2 k >= levels, else 0";
    snprintf(crop, sizeof crop, "crop %dx%d", o ? o->crop_h : 0, o ? o->crop_w : 0);
    snprintf(resize, sizeof resize, "resize %dx%d antialiased bilinear", t->space.shape.h * k,
             t->space.shape.w * k);
    int copies = o && o->copies > 1 ? o->copies : 1;
    if (o && o->binarise == PF_BINARISE_DRAWN)
        snprintf(binary, sizeof binary, "1 with chance k/(levels - 1), seed %lld",
                 (long long)o->seed);
    if (copies > 1)
        snprintf(binary + strlen(binary), sizeof binary - strlen(binary),
                 ", training images %d times", copies);
    const char *const said[] = {"decoded from JPEG",
                                "alpha dropped",
                                "grey (19595 R + 38470 G + 7471 B + 32768) / 65536",
                                "rgb of grey",
                                crop,
                                resize,
                                binary};
    size_t at = 0;
    text[0] = 0;
    for (unsigned i = 0; i < sizeof said / sizeof *said && at < n; i++)
        if (t->done & 1u << i)
            at += (size_t)snprintf(text + at, n - at, "%s%s", at ? "; " : "", said[i]);
}
