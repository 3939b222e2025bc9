/* Pictures in files, PNG or JPEG by their first bytes, and one of them as a source. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <string.h>
#include <strings.h>

int pf_is_image(const char *name)
{
    static const char *const ends[] = {".png", ".jpg", ".jpeg"};
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < 3; i++)
        if (!strcasecmp(dot, ends[i])) return 1;
    return 0;
}

static int is_png(const unsigned char *b, size_t n)
{
    return n >= 4 && !memcmp(b, "\211PNG", 4);
}

static int is_jpeg(const unsigned char *b, size_t n)
{
    return n >= 3 && !memcmp(b, "\377\330\377", 3);
}

pf_status pf_image_read(pf_input *s, const char *path, int with_alpha, pf_image *out)
{
    const unsigned char *b = NULL;
    size_t n = 0;
    *out = (pf_image){0};
    PF_REQUIRE(!pf_input_packed(s), PF_EFORMAT, "%s is no PNG or JPEG but a gzip file", path);
    PF_TRY(pf_input_peek(s, &b, &n));
    if (is_jpeg(b, n)) {
        PF_TRY(pf_jpeg_read(s, path, out));
        return PF_OK;
    }
    PF_REQUIRE(is_png(b, n), PF_EFORMAT, "cannot read %s: it is no PNG and no JPEG", path);
    PF_TRY(pf_png_read(s, path, with_alpha, &out->shape, &out->pixels));
    return PF_OK;
}

void pf_image_remarks(const char *path, int64_t n, int64_t jpegs, int64_t turned)
{
    if (jpegs)
        pf_log("data: %s: images decoded from JPEG: %lld of %lld; a likelihood is that of the "
               "decoded image",
               path, (long long)jpegs, (long long)n);
    if (turned)
        pf_log(
            "data: %s: images with an EXIF orientation: %lld; their pixels are taken as stored",
            path, (long long)turned);
}

static int knows(const pf_source *s)
{
    return s->file && !pf_input_packed(s->file) &&
           (is_png(s->head, s->n_head) || is_jpeg(s->head, s->n_head));
}

static pf_status read(pf_source *s, pf_table *t)
{
    pf_image im;
    int split;
    unsigned char *to = NULL;
    PF_REQUIRE(s->for_points || is_jpeg(s->head, s->n_head), PF_EFORMAT,
               "%s is a single PNG file: folders of PNG and JPEG files are read, and CIFAR-10 "
               "sheets, which are 1024 wide and called data_batch_N or test_batch",
               s->path);
    PF_TRY(pf_source_split(s, &split, NULL));
    PF_TRY(pf_image_read(s->file, s->path, s->opt->drop_alpha, &im));
    pf_space l = {.kind = PF_LEVELS, .shape = im.shape, .levels = 256};
    pf_status st = pf_table_rows(t, s->path, split, 1, l, &to);
    if (!st)
        memcpy(to, im.pixels, (size_t)im.shape.h * (size_t)im.shape.w * (size_t)im.shape.c);
    pf_free(im.pixels);
    if (st) return pf_trail(st, PF_WHERE);
    if (im.is_jpeg) t->done |= PF_DONE_JPEG;
    pf_image_remarks(s->path, 1, im.is_jpeg, im.is_turned);
    return PF_OK;
}

const pf_format pf_format_image_file = {"image file", knows, read};
