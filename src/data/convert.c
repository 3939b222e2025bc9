/* Sources of any known format -> dataset. */
#include <probflow/data.h>
#include <probflow/memory.h>
#include "data/format.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

/* The first that knows a source reads it. */
static const pf_format *const formats[] = {
    &pf_format_density, &pf_format_png_folder, &pf_format_png_sheet, &pf_format_labels_json,
    &pf_format_text,    &pf_format_idx,        &pf_format_cifar};
enum { FORMATS = sizeof formats / sizeof formats[0] };

static PF_MUST_USE pf_status look(const char *path, pf_source *s)
{
    struct stat sb;
    *s = (pf_source){.path = path};
    if (pf_source_is_drawn(path)) return PF_OK;
    PF_REQUIRE(!stat(path, &sb), PF_EIO, "cannot open %s: %s", path, strerror(errno));
    s->is_folder = S_ISDIR(sb.st_mode);
    s->size = (size_t)sb.st_size;
    if (s->is_folder) return PF_OK;
    gzFile f = gzopen(path, "rb");
    PF_REQUIRE(f, PF_EIO, "cannot open %s: %s", path, strerror(errno));
    int n = gzread(f, s->head, sizeof s->head);
    gzclose(f);
    PF_REQUIRE(n > 0, PF_EIO, "%s is empty or cannot be read", path);
    s->n_head = (size_t)n;
    return PF_OK;
}

static PF_MUST_USE pf_status read_source(const char *path, pf_table *t)
{
    pf_source s;
    PF_TRY(look(path, &s));
    for (int i = 0; i < FORMATS; i++) {
        if (!formats[i]->knows(&s)) continue;
        PF_TRY(formats[i]->read(&s, t));
        return PF_OK;
    }
    char known[256] = "";
    for (int i = 0; i < FORMATS; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 formats[i]->name);
    PF_FAIL(PF_EFORMAT, "%s is of no known format (%s)", path, known);
}

/* Files by their bytes, folders and densities by the rows that came from them. */
static PF_MUST_USE pf_status fingerprint(const char *const *sources, int n, const pf_table *t,
                                         char hex[65])
{
    pf_sha256 sum;
    int rows = 0;
    pf_sha256_init(&sum);
    for (int i = 0; i < n; i++) {
        struct stat sb = {0};
        int drawn = pf_source_is_drawn(sources[i]);
        PF_REQUIRE(drawn || !stat(sources[i], &sb), PF_EIO, "cannot open %s: %s", sources[i],
                   strerror(errno));
        if (drawn || S_ISDIR(sb.st_mode)) rows = 1;
        else PF_TRY(pf_sha256_add_file(&sum, sources[i]));
    }
    for (int s = 0; s < PF_SPLITS && rows; s++)
        if (t->split[s].n)
            pf_sha256_add(&sum, t->split[s].values,
                          (size_t)t->split[s].n * pf_table_row_bytes(t));
    pf_sha256_hex(&sum, hex);
    return PF_OK;
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
    pf_shape s = t->shape;
    PF_REQUIRE(t->kind == PF_DATA_IMAGES, PF_EARG, "only images can be shrunk");
    PF_REQUIRE(s.h % k == 0 && s.w % k == 0, PF_EARG,
               "images of %dx%d do not divide into squares of %dx%d", s.h, s.w, k, k);
    for (int i = 0; i < PF_SPLITS; i++) shrink_rows(&t->split[i], s, k);
    t->shape = (pf_shape){s.h / k, s.w / k, s.c};
    t->shrink = k;
    return PF_OK;
}

static void describe(const char *const *sources, int n, const char *out, pf_dataset_info *info)
{
    size_t at = 0, stem = strcspn(pf_base_name(out), ".");
    snprintf(info->name, sizeof info->name, "%.*s", (int)stem, pf_base_name(out));
    for (int i = 0; i < n && at < sizeof info->source; i++)
        at += (size_t)snprintf(info->source + at, sizeof info->source - at, "%s%s",
                               i ? " " : "", pf_base_name(sources[i]));
}

static PF_MUST_USE pf_status write_table(const char *const *sources, int n, const pf_table *t,
                                         const char *out)
{
    static const char *const names[PF_SPLITS] = {"train", "valid", "test"};
    pf_dataset_split splits[PF_SPLITS];
    pf_dataset_info info = {.kind = t->kind,
                            .levels = t->levels,
                            .shape = t->shape,
                            .shrink = t->shrink,
                            .has_entropy = t->has_entropy,
                            .entropy = t->entropy};
    int k = 0;
    for (int s = 0; s < PF_SPLITS; s++) {
        const pf_rows *r = &t->split[s];
        PF_REQUIRE(r->n_labels == 0 || r->n_labels == r->n, PF_EFORMAT,
                   "the sources give %lld images and %lld labels for the split %s",
                   (long long)r->n, (long long)r->n_labels, names[s]);
        if (r->n)
            splits[k++] = (pf_dataset_split){names[s], r->n, r->values,
                                             r->n_labels ? r->labels : NULL, r->logp};
    }
    PF_REQUIRE(k > 0, PF_EFORMAT, "the sources hold no data");
    describe(sources, n, out, &info);
    strcpy(info.vocabulary, t->vocabulary);
    PF_TRY(fingerprint(sources, n, t, info.sha256));
    PF_TRY(pf_dataset_write(out, &info, splits, k));
    return PF_OK;
}

pf_status pf_data_convert(const char *const *sources, int n, int shrink, const char *out)
{
    pf_table t = {.kind = PF_DATA_IMAGES, .levels = 256};
    pf_status st = n > 0 ? PF_OK : pf_raise(PF_EARG, PF_WHERE, "no sources to convert");
    for (int i = 0; i < n && !st; i++) st = read_source(sources[i], &t);
    if (!st && shrink > 1) st = shrink_table(&t, shrink);
    if (!st) st = write_table(sources, n, &t, out);
    pf_table_free(&t);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
