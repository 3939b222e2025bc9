/* The files of samples: arrays, pictures, a data set. */
#include "sample/tokens.h"

#include <probflow/config.h>
#include <probflow/data.h>
#include <probflow/memory.h>
#include <probflow/sample.h>
#include <probflow/store.h>

#include <math.h>
#include <string.h>

/* Model scale to levels; of real data to 256 of them. */
static uint8_t *to_levels(const pf_space *of, const double *x, size_t n)
{
    const pf_space bytes = {.kind = PF_LEVELS, .levels = 256};
    uint8_t *p = pf_zalloc(n);
    if (p) pf_from_model(of->kind == PF_LEVELS ? of : &bytes, n, x, p);
    return p;
}

/* What the file holds in model scale, as levels; of tokens as they are stored. */
typedef struct pictures {
    uint8_t *images, *previews;
    pf_token_samples tokens;
} pictures;

enum { UNFIT = 6 };

/* The mass on what is no datum, where the model can have some; how many attributes. */
static int add_unfit(const pf_sampling *s, pf_out_attr *to)
{
    if (!s->unfit.samples) return 0;
    const pf_unfit_shares u = pf_unfit_estimate(&s->unfit, pf_space_dim(&s->net->space));
    const pf_out_attr attrs[UNFIT] = {
        {"unused_rows", NULL, u.rows.is},       {"unused_rows_error", NULL, u.rows.error},
        {"unused_entries", NULL, u.entries.is}, {"unused_entries_error", NULL, u.entries.error},
        {"unused_bits", NULL, u.bits.is},       {"unused_bits_error", NULL, u.bits.error}};
    memcpy(to, attrs, sizeof attrs);
    return UNFIT;
}

static PF_MUST_USE pf_status write_arrays(const pf_sampling *s, const pf_sample_files *f,
                                          const pictures *p)
{
    pf_shape h = s->net->space.shape;
    pf_out_array arrays[7] = {
        {"x", 4, {s->n, h.h, h.w, h.c}, s->x, NULL, NULL, NULL},
        {"images", 4, {s->n, h.h, h.w, h.c}, NULL, NULL, p->images, NULL}};
    pf_out_attr attrs[5 + UNFIT] = {
        {"sampler", s->sampler->name, 0},
        {"config", f->config, 0},
        {"step", NULL, (double)f->step},
        {"evaluations", NULL, s->evaluations},
    };
    int n_attrs = 4;
    if (f->raw) attrs[n_attrs++] = (pf_out_attr){"params", "raw", 0};
    n_attrs += add_unfit(s, attrs + n_attrs);
    int n = p->images ? 2 : 1 + pf_token_samples_arrays(&p->tokens, s, arrays + 1);
    if (s->previews)
        arrays[n++] = (pf_out_array){
            "previews", 5, {s->n, s->previews, h.h, h.w, h.c}, s->preview, NULL, NULL, NULL};
    if (s->code)
        arrays[n++] =
            (pf_out_array){"codes", 4, {s->n, h.h, h.w, h.c}, s->code, NULL, NULL, NULL};
    if (s->known)
        arrays[n++] =
            (pf_out_array){"known", 4, {s->n, h.h, h.w, h.c}, s->known, NULL, NULL, NULL};
    if (s->bound) arrays[n++] = (pf_out_array){"vlb", 1, {s->n}, s->bound, NULL, NULL, NULL};
    PF_TRY(pf_store_write(f->out, arrays, n, attrs, n_attrs));
    return PF_OK;
}

/* Levels to the 256 shades of a picture, in place. */
static void stretch(const pf_space *s, size_t n, uint8_t *p)
{
    int top = s->kind == PF_LEVELS ? s->levels - 1 : 255;
    for (size_t i = 0; top < 255 && i < n; i++) p[i] = (uint8_t)((p[i] * 255 + top / 2) / top);
}

static PF_MUST_USE pf_status write_pictures(const pf_sampling *s, const pf_sample_files *f,
                                            const pictures *p)
{
    const pf_space *space = &s->net->space;
    size_t values = (size_t)s->n * pf_shape_entries(space->shape);
    int square = (int)ceil(sqrt((double)s->n)),
        columns = s->interpolate ? s->interpolate : square, all = (int)s->n * s->previews;
    stretch(space, values, p->images);
    if (p->previews) stretch(space, values * (size_t)s->previews, p->previews);
    if (f->png) PF_TRY(pf_png_grid(f->png, p->images, (int)s->n, space->shape, columns));
    if (f->previews)
        PF_TRY(pf_png_grid(f->previews, p->previews, all, space->shape, s->previews));
    return PF_OK;
}

static PF_MUST_USE pf_status write_dataset(const pf_sampling *s, const pf_sample_files *f,
                                           const pictures *p)
{
    int kind = s->net->space.kind;
    pf_dataset_info info = {.name = "samples", .space = s->net->space, .n = s->n};
    const pf_dataset_split split = {.split = "test",
                                    .n = s->n,
                                    .values = kind == PF_LEVELS   ? (const void *)p->images
                                              : kind == PF_TOKENS ? p->tokens.values
                                                                  : s->x,
                                    .lengths = p->tokens.shorter ? p->tokens.length : NULL,
                                    .labels = s->label};
    pf_text classes = {0}; /* by their numbers: all the model knows of them */
    pf_status st = PF_OK;
    for (int k = 0; s->label && !st && k < info.space.classes; k++)
        st = pf_text_add(&classes, "%d\n", k);
    snprintf(info.source, sizeof info.source, "samples by %s", s->sampler->name);
    info.space.conditions = 0;
    info.classes = classes.s;
    info.vocabulary = f->vocabulary;
    if (!st) st = pf_dataset_write(f->dataset, &info, &split, 1);
    pf_free(classes.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status write_tokens(const pf_sampling *s, const pf_sample_files *f)
{
    pictures p = {0};
    pf_status st = pf_token_samples_make(s, &p.tokens);
    if (!st) st = write_arrays(s, f, &p);
    if (!st && f->dataset) st = write_dataset(s, f, &p);
    pf_token_samples_free(&p.tokens);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_sampling_write(const pf_sampling *s, const pf_sample_files *f)
{
    if (s->net->space.kind == PF_TOKENS) {
        PF_TRY(write_tokens(s, f));
        return PF_OK;
    }
    const pf_space *space = &s->net->space;
    size_t values = (size_t)s->n * pf_shape_entries(space->shape);
    pictures p = {.images = to_levels(space, s->x, values),
                  .previews = s->previews
                                  ? to_levels(space, s->preview, values * (size_t)s->previews)
                                  : NULL};
    pf_status st =
        p.images && (p.previews || !s->previews)
            ? write_arrays(s, f, &p)
            : pf_raise(PF_EMEM, PF_WHERE, "no memory for %lld images", (long long)s->n);
    if (!st && f->dataset) st = write_dataset(s, f, &p);
    if (!st) st = write_pictures(s, f, &p);
    pf_free(p.images);
    pf_free(p.previews);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
