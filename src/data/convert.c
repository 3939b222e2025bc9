/* Sources of any known format -> dataset. */
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <string.h>
#include <strings.h>

/* The first that knows a source reads it. */
static const pf_format *const formats[] = {
    &pf_format_density,      &pf_format_known,     &pf_format_batch_folder,
    &pf_format_image_folder, &pf_format_png_sheet, &pf_format_image_file,
    &pf_format_labels_json,  &pf_format_npy,       &pf_format_npz,
    &pf_format_h5,           &pf_format_csv,       &pf_format_text,
    &pf_format_idx,          &pf_format_cifar};
enum { FORMATS = sizeof formats / sizeof formats[0] };

/* What one source added. */
typedef struct part {
    char sum[PF_SHA256_HEX]; /* of its images, or of its labels */
    int of_labels, split;    /* split: of the last rows or labels */
} part;

typedef struct work {
    const char *const *sources;
    const int *splits; /* NULL: by name */
    const pf_convert_opt *opt;
    int n, with_labels, for_points;
    int rows_count; /* rows are part of the fingerprint */
    part *parts;    /* [n] */
    pf_table t;
    pf_sha256 files; /* the sources' bytes as stored */
} work;

/* ---- one source ---- */

static const char *unit(const pf_table *t)
{
    return t->space.kind == PF_LEVELS ? "image" : t->space.kind == PF_TOKENS ? "row" : "point";
}

/* "10 images with labels and conditions", "10 labels": what came to a split since before; 0: nothing. */
static int added(const pf_table *t, const pf_rows *r, const pf_rows *b, char *text, size_t room)
{
    int64_t rows = r->n - b->n, labels = r->n_labels - b->n_labels;
    int64_t conditions = r->n_conditioned - b->n_conditioned;
    int64_t n = rows ? rows : labels ? labels : conditions;
    const char *what = rows ? unit(t) : labels ? "label" : "row";
    if (n)
        snprintf(text, room, "%lld %s%s%s%s", (long long)n, what, n == 1 ? "" : "s",
                 rows && labels ? " with labels" : "",
                 !conditions      ? ""
                 : rows && labels ? " and conditions"
                 : rows || labels ? " with conditions"
                                  : " of conditions");
    return n != 0;
}

/* One line: what was taken for what. */
static void tell(const work *w, const pf_source *s, const pf_format *f, const pf_rows *before)
{
    const pf_table *t = &w->t;
    char line[512] = "", what[128];
    size_t at = 0;
    for (int k = 0; k < PF_SPLITS; k++)
        if (added(t, &t->split[k], &before[k], what, sizeof what))
            at += (size_t)snprintf(line + at, sizeof line - at, ", %s%s%s", what,
                                   w->for_points ? "" : " for ",
                                   w->for_points ? "" : pf_split_name(k));
    pf_log("data: %s: %s%s; %s", s->path, f->name, line, s->how);
}

static void sum_part(const pf_table *t, const pf_rows *before, part *p)
{
    pf_sha256 sum;
    size_t row = pf_table_row_bytes(t), width = (size_t)t->conditions * sizeof(double);
    p->of_labels = 1;
    for (int k = 0; k < PF_SPLITS; k++) p->of_labels &= t->split[k].n == before[k].n;
    pf_sha256_init(&sum);
    for (int k = 0; k < PF_SPLITS; k++) {
        const pf_rows *r = &t->split[k], *b = &before[k];
        int64_t rows = r->n - b->n, labels = r->n_labels - b->n_labels;
        int64_t conditions = r->n_conditioned - b->n_conditioned;
        if (rows || (p->of_labels && (labels || conditions))) p->split = k;
        if (rows) pf_sha256_add(&sum, r->values + (size_t)b->n * row, (size_t)rows * row);
        if (p->of_labels && labels)
            pf_sha256_add(&sum, r->labels + b->n_labels, (size_t)labels * sizeof *r->labels);
        if (p->of_labels && conditions)
            pf_sha256_add(&sum, r->conditions + b->n_conditioned * t->conditions,
                          (size_t)conditions * width);
    }
    pf_sha256_hex(&sum, p->sum);
}

/* The labels of two splits may be the same, their images may not. */
static PF_MUST_USE pf_status refuse_twice(const work *w, int i)
{
    const part *p = &w->parts[i];
    for (int k = 0; k < i; k++) {
        const part *q = &w->parts[k];
        PF_REQUIRE(strcmp(p->sum, q->sum) || p->of_labels != q->of_labels ||
                       (p->of_labels && p->split != q->split),
                   PF_EFORMAT, "%s and %s hold the same content", w->sources[k], w->sources[i]);
    }
    return PF_OK;
}

static int is_of_text(const pf_convert_opt *o)
{
    return o->text || o->length || o->lines || o->drop;
}

/* --label and --condition choose columns, which a table alone has. */
static PF_MUST_USE pf_status refuse_columns(const pf_source *s, const pf_format *f)
{
    const char *option = s->opt->label                               ? "--label"
                         : s->opt->condition && s->opt->condition[0] ? "--condition"
                                                                     : NULL;
    PF_REQUIRE(!option || f == &pf_format_csv, PF_EARG,
               "%s is read as %s, which has no columns for %s to choose; it is for tables of "
               "numbers (.csv, .tsv, .txt, .dat)",
               s->path, f->name, option);
    return PF_OK;
}

static PF_MUST_USE pf_status read_known(work *w, pf_source *s, const pf_format *f, int i)
{
    pf_rows before[PF_SPLITS];
    PF_TRY(refuse_columns(s, f));
    memcpy(before, w->t.split, sizeof before);
    if (s->file) PF_TRY(pf_input_rewind(s->file, &w->files));
    else w->rows_count = 1;
    PF_TRY(f->read(s, &w->t));
    pf_table_flush(&w->t);
    pf_table_came_from(&w->t, before, s->path);
    if (s->file) PF_TRY(pf_input_drain(s->file));
    if (w->n > 1) sum_part(&w->t, before, &w->parts[i]);
    PF_TRY(refuse_twice(w, i));
    tell(w, s, f, before);
    return PF_OK;
}

static PF_MUST_USE pf_status read_open(work *w, pf_source *s, int i)
{
    for (int k = 0; k < FORMATS; k++) {
        int asked = !is_of_text(w->opt) || formats[k] == &pf_format_text;
        if (!asked || !formats[k]->knows(s)) continue;
        PF_TRY(read_known(w, s, formats[k], i));
        return PF_OK;
    }
    char known[256] = "";
    PF_REQUIRE(!is_of_text(w->opt), PF_EARG,
               "%s is no file, and --text, --length, --rows and --remainder are of texts",
               s->path);
    for (int k = 0; k < FORMATS; k++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", k ? ", " : "",
                 formats[k]->name);
    PF_FAIL(PF_EFORMAT, "%s is of no known format (%s)", s->path, known);
}

static PF_MUST_USE pf_status read_source(work *w, int i)
{
    pf_source s = {0};
    pf_status st =
        pf_source_open(&s, w->sources[i], w->splits ? w->splits[i] : PF_SPLIT_UNSAID);
    s.with_labels = w->with_labels;
    s.for_points = w->for_points;
    s.opt = w->opt;
    if (!st) st = read_open(w, &s, i);
    pf_source_close(&s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- all of them ---- */

/* Files by their bytes, folders and densities by the rows that came from them. */
static void fingerprint(work *w, char hex[PF_SHA256_HEX])
{
    const pf_table *t = &w->t;
    for (int s = 0; s < PF_SPLITS && w->rows_count; s++)
        if (t->split[s].n)
            pf_sha256_add(&w->files, t->split[s].values,
                          (size_t)t->split[s].n * pf_table_row_bytes(t));
    pf_sha256_hex(&w->files, hex);
}

/* Means over k x k squares, rounded to the nearest level, halves up; in place. */
static void shrink_rows(pf_rows *r, pf_shape s, int k)
{
    unsigned char *to = r->values;
    size_t pitch = (size_t)s.w * (size_t)s.c, cells = (size_t)k * (size_t)k;
    for (int64_t i = 0; i < r->n; i++) {
        const unsigned char *image = r->values + (size_t)i * (size_t)s.h * pitch;
        for (int y = 0; y < s.h; y += k)
            for (int x = 0; x < s.w; x += k)
                for (int c = 0; c < s.c; c++) {
                    size_t sum = cells / 2;
                    const unsigned char *p = image + (size_t)y * pitch + (size_t)(x * s.c + c);
                    for (int j = 0; j < k; j++)
                        for (int l = 0; l < k; l++)
                            sum += p[(size_t)j * pitch + (size_t)(l * s.c)];
                    *to++ = (unsigned char)(sum / cells);
                }
    }
}

static PF_MUST_USE pf_status shrink_table(pf_table *t, int k)
{
    pf_shape s = t->space.shape;
    PF_REQUIRE(t->space.kind == PF_LEVELS, PF_EARG, "only images can be shrunk");
    PF_REQUIRE(s.h % k == 0 && s.w % k == 0, PF_EARG,
               "images of %dx%d do not divide into squares of %dx%d", s.h, s.w, k, k);
    for (int i = 0; i < PF_SPLITS; i++) shrink_rows(&t->split[i], s, k);
    t->space.shape = (pf_shape){s.h / k, s.w / k, s.c};
    t->shrink = k;
    return PF_OK;
}

static PF_MUST_USE pf_status tell_repeats(const pf_table *t)
{
    int64_t again = 0, across = 0;
    if (t->space.kind != PF_LEVELS) return PF_OK;
    PF_TRY(pf_table_repeats(t, &again, &across));
    if (again)
        pf_log("data: images that are there again: %lld, in another split: %lld",
               (long long)again, (long long)across);
    return PF_OK;
}

static void describe(const work *w, const char *out, pf_dataset_info *info)
{
    size_t at = 0, stem = strcspn(pf_base_name(out), ".");
    snprintf(info->name, sizeof info->name, "%.*s", (int)stem, pf_base_name(out));
    for (int i = 0; i < w->n && at < sizeof info->source; i++)
        at += (size_t)snprintf(info->source + at, sizeof info->source - at, "%s%s",
                               i ? " " : "", pf_base_name(w->sources[i]));
}

/* n of what belongs to each row of a split. */
static PF_MUST_USE pf_status check_number(const pf_rows *r, int64_t n, const char *what,
                                          int kind, const char *split)
{
    const char *rows = kind == PF_REAL ? "points" : "images";
    if (n == 0) return PF_OK;
    PF_REQUIRE(r->n > 0, PF_EFORMAT,
               "%s gives %lld %s for the split %s, for which no source gives %s", r->of_labels,
               (long long)n, what, split, rows);
    PF_REQUIRE(kind != PF_TOKENS, PF_EFORMAT, "%s gives %s, but %s holds text", r->of_labels,
               what, r->of_rows);
    PF_REQUIRE(n == r->n, PF_EFORMAT,
               "the sources give %lld %s and %lld %s for the split %s; the last %s are of %s, "
               "the last %s of %s",
               (long long)r->n, rows, (long long)n, what, split, rows, r->of_rows, what,
               r->of_labels);
    return PF_OK;
}

static PF_MUST_USE pf_status check_columns(const pf_rows *r, int kind, const char *split)
{
    PF_TRY(check_number(r, r->n_labels, "labels", kind, split));
    PF_TRY(check_number(r, r->n_coarse, "coarse labels", kind, split));
    PF_TRY(check_number(r, r->n_conditioned, "rows of conditions", kind, split));
    return PF_OK;
}

/* NULL where all rows are full. */
static const int32_t *lengths_of(const pf_rows *r, const pf_space *s)
{
    int shorter = 0;
    for (int64_t i = 0; i < r->n_lengths; i++) shorter |= r->lengths[i] < s->shape.c;
    return shorter ? r->lengths : NULL;
}

static PF_MUST_USE pf_status write_table(work *w, const char *out)
{
    const pf_table *t = &w->t;
    pf_dataset_split splits[PF_SPLITS];
    pf_dataset_info info = {.space = t->space,
                            .classes = t->classes,
                            .coarse_classes = t->coarse_classes,
                            .shrink = t->shrink,
                            .has_entropy = t->has_entropy,
                            .entropy = t->entropy};
    int k = 0;
    info.space.conditions = t->conditions;
    for (int s = 0; s < PF_SPLITS; s++) {
        const pf_rows *r = &t->split[s];
        PF_TRY(check_columns(r, info.space.kind, pf_split_name(s)));
        if (r->n)
            splits[k++] = (pf_dataset_split){.split = pf_split_name(s),
                                             .n = r->n,
                                             .values = r->values,
                                             .labels = r->labels,
                                             .coarse = r->coarse,
                                             .conditions = r->conditions,
                                             .logp = r->logp,
                                             .lengths = lengths_of(r, &t->space)};
    }
    PF_REQUIRE(k > 0, PF_EFORMAT, "the sources hold no data");
    describe(w, out, &info);
    info.vocabulary = t->vocabulary;
    pf_table_converted(t, info.converted, sizeof info.converted);
    fingerprint(w, info.sha256);
    PF_TRY(pf_dataset_write(out, &info, splits, k));
    return PF_OK;
}

static int has_labels(const char *path)
{
    size_t n = strlen(path);
    if (n > 3 && !strcasecmp(path + n - 3, ".gz")) n -= 3;
    return n > 5 && !strncasecmp(path + n - 5, ".json", 5);
}

/* Everything before the output. */
static PF_MUST_USE pf_status read_all(work *w)
{
    PF_REQUIRE(w->n > 0, PF_EARG, "no sources to convert");
    w->parts = pf_zalloc((size_t)w->n * sizeof *w->parts);
    PF_REQUIRE(w->parts, PF_EMEM, "no memory for %d sources", w->n);
    pf_sha256_init(&w->files);
    w->t.opt = w->opt;
    for (int i = 0; i < w->n; i++) w->with_labels |= has_labels(w->sources[i]);
    for (int i = 0; i < w->n; i++) PF_TRY(read_source(w, i));
    PF_TRY(pf_table_settle(&w->t));
    PF_TRY(pf_text_settle(&w->t));
    PF_TRY(tell_repeats(&w->t));
    if (w->opt->levels) PF_TRY(pf_table_levels(&w->t));
    if (w->opt->shrink > 1) PF_TRY(shrink_table(&w->t, w->opt->shrink));
    if (w->opt->binarise) PF_TRY(pf_table_binarise(&w->t));
    w->rows_count |= w->opt->binarise == PF_BINARISE_DRAWN; /* other draws are other data */
    return PF_OK;
}

static void release(work *w)
{
    pf_stage_free(w->t.stage);
    pf_table_free(&w->t);
    pf_free(w->parts);
}

static const pf_convert_opt as_it_is = {0};

pf_status pf_data_convert(const char *const *sources, const int *splits, int n,
                          const pf_convert_opt *opt, const char *out)
{
    work w = {.sources = sources, .splits = splits, .n = n, .opt = opt ? opt : &as_it_is};
    pf_status st = read_all(&w);
    if (!st) st = write_table(&w, out);
    release(&w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- one source in memory ---- */

static PF_MUST_USE pf_status take_points(work *w, pf_points *out)
{
    PF_TRY(read_all(w));
    pf_rows *r = &w->t.split[PF_TEST];
    PF_REQUIRE(r->n > 0, PF_EFORMAT, "%s holds no data", w->sources[0]);
    PF_REQUIRE(w->t.space.kind != PF_TOKENS, PF_EFORMAT,
               "%s holds text; images or points are wanted", w->sources[0]);
    PF_TRY(check_columns(r, w->t.space.kind, pf_split_name(PF_TEST)));
    out->space = w->t.space;
    out->space.conditions = r->conditions ? w->t.conditions : 0;
    out->n = r->n;
    if (out->space.kind == PF_LEVELS) out->pixels = r->values;
    else out->x = (double *)(void *)r->values;
    out->labels = r->labels;
    out->named = w->t.n_classes > 0;
    out->conditions = r->conditions;
    r->values = NULL;
    r->labels = NULL;
    r->conditions = NULL;
    return PF_OK;
}

pf_status pf_points_read(const char *source, const pf_convert_opt *opt, pf_points *out)
{
    static const int whole = PF_TEST;
    work w = {.sources = &source,
              .splits = &whole,
              .n = 1,
              .for_points = 1,
              .opt = opt ? opt : &as_it_is};
    *out = (pf_points){0};
    PF_REQUIRE(!pf_source_is_drawn(source), PF_EARG,
               "%s is a density to draw a data set from, not a file of points", source);
    pf_status st = take_points(&w, out);
    release(&w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_points_free(pf_points *p)
{
    pf_free(p->pixels);
    pf_free(p->x);
    pf_free(p->labels);
    pf_free(p->conditions);
    *p = (pf_points){0};
}
