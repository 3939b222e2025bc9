/* Dataset files: uint8 images, one compressed and checksummed chunk per row, so that a shard reads its rows and
 * nothing else; tokens and continuous points, many rows a chunk. */
#include <probflow/memory.h>
#include <probflow/sha256.h>
#include <probflow/store.h>
#include "store/dataset.h"
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static PF_MUST_USE pf_status read_label(hid_t file, const char *path, const char *name,
                                        char *buf, size_t n)
{
    char *text = NULL;
    if (!pf_h5_has_attr(file, name)) return PF_OK;
    PF_TRY(pf_h5_get_text(file, path, name, &text));
    snprintf(buf, n, "%s", text);
    pf_free(text);
    return PF_OK;
}

/* "train, test" for the sentence about a split that is not there. */
static void list_splits(hid_t file, const char *path, char *buf, size_t n)
{
    char **names = NULL;
    int count = 0;
    size_t at = 0;
    buf[0] = 0;
    if (pf_h5_members(file, path, "/", &count, &names)) return;
    for (int i = 0; i < count && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, "%s%s", i ? ", " : "", names[i]);
    pf_h5_names_free(names, count);
}

static PF_MUST_USE pf_status open_values(pf_dataset *d, const char *split)
{
    char name[160];
    int kind = 0;
    for (; kind < 3; kind++) {
        snprintf(name, sizeof name, "/%s/%s", split, pf_dataset_values[kind]);
        if (pf_h5_has(d->file, name)) break;
    }
    if (kind == 3) {
        char there[256];
        list_splits(d->file, d->path, there, sizeof there);
        PF_FAIL(PF_EFORMAT, "%s has no split %s; it has: %s", d->path, split, there);
    }
    d->values = H5Dopen2(d->file, name, H5P_DEFAULT);
    PF_REQUIRE(d->values > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", d->path,
               name);
    pf_h5_shape s = {0};
    size_t elements = 0;
    static const int types[] = {PF_H5_BYTES, PF_H5_INT32, PF_H5_FLOATS};
    PF_TRY(pf_h5_want(d->values, d->path, name, types[kind]));
    PF_TRY(pf_h5_backed(d->values, d->path, name, &s, &elements));
    PF_REQUIRE(s.rank == (kind == PF_LEVELS ? 4 : 2), PF_EFORMAT,
               "%s: the dataset %s has rank %d", d->path, name, s.rank);
    for (int i = 1; i < s.rank; i++)
        PF_REQUIRE(s.dim[i] > 0 && s.dim[i] < 1 << 24, PF_EFORMAT,
                   "%s: the dataset %s has an impossible shape", d->path, name);
    d->about.space.kind = kind;
    pf_dataset_find_bytes(d);
    d->about.n = (int64_t)s.dim[0];
    d->row = 1;
    for (int i = 1; i < s.rank; i++)
        PF_REQUIRE(!__builtin_mul_overflow(d->row, (size_t)s.dim[i], &d->row) &&
                       d->row <= INT_MAX / 8,
                   PF_EFORMAT, "%s: a row of %s has too many values", d->path, name);
    d->about.space.shape = s.rank == 4 ? (pf_shape){(int)s.dim[1], (int)s.dim[2], (int)s.dim[3]}
                                       : (pf_shape){1, 1, (int)s.dim[1]};
    return PF_OK;
}

/* A dataset of one row a row of values, when it is there; *width: values a row. */
static PF_MUST_USE pf_status open_column(pf_dataset *d, const char *split, const char *what,
                                         int want, hid_t *column, int *width)
{
    char name[160];
    snprintf(name, sizeof name, "/%s/%s", split, what);
    if (!pf_h5_has(d->file, name)) return PF_OK;
    *column = H5Dopen2(d->file, name, H5P_DEFAULT);
    PF_REQUIRE(*column > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", d->path, name);
    pf_h5_shape s = {0};
    size_t n = 0;
    int rank = want == PF_H5_FLOATS ? 2 : 1;
    PF_TRY(pf_h5_want(*column, d->path, name, want));
    PF_TRY(pf_h5_backed(*column, d->path, name, &s, &n));
    PF_REQUIRE(s.rank == rank && (int64_t)s.dim[0] == d->about.n, PF_EFORMAT,
               "%s: %s has %zu %s for %lld rows", d->path, name, n, what,
               (long long)d->about.n);
    PF_REQUIRE(rank == 1 || (s.dim[1] > 0 && s.dim[1] <= 1 << 20), PF_EFORMAT,
               "%s: the dataset %s has an impossible shape", d->path, name);
    PF_TRY(pf_h5_verify(*column, d->path, name));
    *width = rank == 1 ? 1 : (int)s.dim[1];
    return PF_OK;
}

static PF_MUST_USE pf_status open_columns(pf_dataset *d, const char *split)
{
    pf_dataset_info *a = &d->about;
    PF_TRY(open_column(d, split, "labels", PF_H5_INTEGERS, &d->labels, &a->has_labels));
    PF_TRY(open_column(d, split, "coarse_labels", PF_H5_INTEGERS, &d->coarse, &a->has_coarse));
    PF_TRY(open_column(d, split, "conditions", PF_H5_FLOATS, &d->conditions,
                       &a->space.conditions));
    if (a->space.kind == PF_TOKENS)
        PF_TRY(open_column(d, split, "length", PF_H5_INTEGERS, &d->lengths, &a->has_lengths));
    return PF_OK;
}

static PF_MUST_USE pf_status read_content(pf_dataset *d, const char *split)
{
    hid_t g = H5Gopen2(d->file, split, H5P_DEFAULT);
    PF_REQUIRE(g > 0, PF_EIO, "%s is damaged: cannot open the group %s", d->path, split);
    pf_status st = pf_h5_get_digest(g, d->path, "content", d->content);
    H5Gclose(g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status open_into(pf_dataset *d, const char *path, const char *split)
{
    PF_REQUIRE(strlen(split) < 64 && strlen(path) < sizeof d->path, PF_EARG,
               "a path or split name is too long");
    strcpy(d->path, path);
    PF_TRY(pf_h5_open_kind(path, "dataset", NULL, &d->file));
    pf_dataset_info *a = &d->about;
    int64_t levels = 0;
    PF_TRY(pf_h5_get_i64(d->file, path, "levels", 1, &levels));
    PF_REQUIRE(levels >= 0 && levels <= 1 << 24, PF_EFORMAT, "%s: impossible levels %lld", path,
               (long long)levels);
    a->space.levels = (int)levels;
    PF_TRY(read_label(d->file, path, "name", a->name, sizeof a->name));
    PF_TRY(read_label(d->file, path, "source", a->source, sizeof a->source));
    PF_TRY(read_label(d->file, path, "sha256", a->sha256, sizeof a->sha256));
    if (pf_h5_has_attr(d->file, "classes"))
        PF_TRY(pf_h5_get_text(d->file, path, "classes", &d->classes));
    if (pf_h5_has_attr(d->file, "vocabulary"))
        PF_TRY(pf_h5_get_text(d->file, path, "vocabulary", &d->vocabulary));
    a->classes = d->classes;
    a->vocabulary = d->vocabulary;
    PF_TRY(open_values(d, split));
    PF_TRY(open_columns(d, split));
    PF_TRY(read_content(d, split));
    return PF_OK;
}

/* Pixels are below the levels; 0 levels say nothing. */
static PF_MUST_USE pf_status check_levels(const pf_dataset *d, int64_t first, size_t n,
                                          const uint8_t *k)
{
    uint8_t most = 0;
    for (size_t i = 0; i < n; i++) most = k[i] > most ? k[i] : most;
    if (most < d->about.space.levels || d->about.space.levels == 0) return PF_OK;
    size_t i = 0;
    while (k[i] < d->about.space.levels) i++;
    PF_FAIL(PF_EFORMAT, "%s: image %lld holds the value %d, the dataset has %d levels", d->path,
            (long long)(first + (int64_t)(i / d->row)), k[i], d->about.space.levels);
}

static PF_MUST_USE pf_status check_numbers(const pf_dataset *d, int64_t first, size_t n,
                                           const double *x)
{
    int levels = d->about.space.kind == PF_REAL ? 0 : d->about.space.levels, bad = 0;
    double least = levels ? 0 : -DBL_MAX, most = levels ? levels - 1 : DBL_MAX;
    for (size_t i = 0; i < n; i++) bad |= !(x[i] >= least && x[i] <= most);
    if (!bad) return PF_OK;
    size_t i = 0;
    while (x[i] >= least && x[i] <= most) i++;
    long long row = (long long)(first + (int64_t)(i / d->row));
    PF_REQUIRE(!levels, PF_EFORMAT,
               "%s: row %lld holds the value %.0f, the dataset has %d levels", d->path, row,
               x[i], levels);
    PF_FAIL(PF_EFORMAT, "%s: row %lld holds a value that is not finite", d->path, row);
}

static pf_dataset_column conditions_of(const pf_dataset *d)
{
    return (pf_dataset_column){d->conditions, H5T_NATIVE_DOUBLE,
                               (size_t)d->about.space.conditions * sizeof(double)};
}

/* ---- content ---- */

static PF_MUST_USE pf_status add_rows(const pf_dataset *d, pf_dataset_column c, pf_sha256 *sum)
{
    enum { BLOCK_BYTES = 1 << 22, BLOCK_ROWS = 1024 };
    int64_t many = (int64_t)(BLOCK_BYTES / c.row);
    many = many < 1 ? 1 : many > BLOCK_ROWS ? BLOCK_ROWS : many;
    char *block = pf_zalloc((size_t)many * c.row);
    PF_REQUIRE(block, PF_EMEM, "no memory to read %s", d->path);
    pf_status st = PF_OK;
    for (int64_t at = 0; !st && at < d->about.n; at += many) {
        int64_t n = d->about.n - at < many ? d->about.n - at : many;
        st = pf_dataset_read(d, c, at, n, block);
        if (!st) pf_sha256_add(sum, block, (size_t)n * c.row);
    }
    pf_free(block);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_dataset_content(pf_dataset *d, char hex[65])
{
    /* A split read in a second or two is summed anew, so that one that other tools have changed and
     * sealed again shows what it holds; for a large one the stored sum stands. */
    enum { BELIEVED_FROM = 1 << 26 };
    const pf_dataset_info *a = &d->about;
    int large = (size_t)a->n > BELIEVED_FROM / pf_dataset_row_bytes(a);
    if (!d->summed && !(large && d->content[0])) {
        pf_sha256 sum;
        pf_dataset_begin_content(&sum, a);
        pf_dataset_column values = {d->values, pf_dataset_type(a), pf_dataset_row_bytes(a)};
        pf_dataset_column labels = {d->labels, H5T_NATIVE_INT32, sizeof(int32_t)};
        pf_dataset_column coarse = {d->coarse, H5T_NATIVE_INT32, sizeof(int32_t)};
        pf_dataset_column lengths = {d->lengths, H5T_NATIVE_INT32, sizeof(int32_t)};
        PF_TRY(add_rows(d, values, &sum));
        if (a->has_labels) PF_TRY(add_rows(d, labels, &sum));
        if (a->has_coarse) PF_TRY(add_rows(d, coarse, &sum));
        if (a->space.conditions) PF_TRY(add_rows(d, conditions_of(d), &sum));
        if (a->has_lengths) PF_TRY(add_rows(d, lengths, &sum));
        pf_sha256_hex(&sum, d->content);
        d->summed = 1;
    }
    memcpy(hex, d->content, sizeof d->content);
    return PF_OK;
}

void pf_dataset_close(pf_dataset *d)
{
    if (!d) return;
    if (d->lengths > 0) H5Dclose(d->lengths);
    if (d->conditions > 0) H5Dclose(d->conditions);
    if (d->coarse > 0) H5Dclose(d->coarse);
    if (d->labels > 0) H5Dclose(d->labels);
    if (d->values > 0) H5Dclose(d->values);
    pf_h5_close(d->file);
    pf_free(d->classes);
    pf_free(d->vocabulary);
    pf_free(d);
}

pf_status pf_dataset_open(const char *path, const char *split, pf_dataset **out)
{
    pf_dataset *d = pf_zalloc(sizeof *d);
    PF_REQUIRE(d, PF_EMEM, "no memory to open %s", path);
    pf_status st = open_into(d, path, split);
    if (st) {
        pf_dataset_close(d);
        return pf_trail(st, PF_WHERE);
    }
    *out = d;
    return PF_OK;
}

const pf_dataset_info *pf_dataset_about(const pf_dataset *d)
{
    return &d->about;
}

pf_status pf_dataset_images(pf_dataset *d, int64_t first, int64_t n, uint8_t *out)
{
    PF_REQUIRE(d->about.space.kind == PF_LEVELS, PF_EARG, "%s holds no images", d->path);
    PF_TRY(pf_dataset_read(d, (pf_dataset_column){d->values, H5T_NATIVE_UINT8, d->row}, first,
                           n, out));
    PF_TRY(check_levels(d, first, (size_t)n * d->row, out));
    return PF_OK;
}

pf_status pf_dataset_labels(pf_dataset *d, int64_t first, int64_t n, int32_t *out)
{
    PF_REQUIRE(d->about.has_labels, PF_EARG, "%s holds no labels", d->path);
    PF_TRY(pf_dataset_integers(d, d->labels, first, n, out));
    return PF_OK;
}

pf_status pf_dataset_x(pf_dataset *d, int64_t first, int64_t n, double *out)
{
    pf_dataset_column c = {d->values, H5T_NATIVE_DOUBLE, d->row * sizeof *out};
    PF_TRY(pf_dataset_read(d, c, first, n, out));
    PF_TRY(check_numbers(d, first, (size_t)n * d->row, out));
    if (d->about.has_lengths) PF_TRY(pf_dataset_mark_ends(d, first, n, out));
    return PF_OK;
}

/* One more than the largest label of a split; 0 when it has none. */
static PF_MUST_USE pf_status count_labels(pf_dataset *d, int *classes)
{
    enum { BLOCK = 4096, MOST = 1 << 24 };
    int32_t label[BLOCK];
    *classes = 0;
    for (int64_t at = 0; d->about.has_labels && at < d->about.n; at += BLOCK) {
        int64_t n = d->about.n - at < BLOCK ? d->about.n - at : BLOCK;
        PF_TRY(pf_dataset_labels(d, at, n, label));
        for (int64_t i = 0; i < n; i++) {
            PF_REQUIRE(label[i] >= 0 && label[i] < MOST, PF_EFORMAT,
                       "%s: row %lld has the label %d, want 0 to %d to count classes", d->path,
                       (long long)(at + i), label[i], MOST - 1);
            if (label[i] >= *classes) *classes = label[i] + 1;
        }
    }
    return PF_OK;
}

pf_status pf_dataset_classes(pf_dataset *d, int *n)
{
    pf_dataset *train = NULL;
    int classes = 0;
    for (const char *at = d->classes; at && *at; classes++) {
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    if (!classes) {
        PF_TRY(pf_dataset_open(d->path, "train", &train));
        pf_status st = count_labels(train, &classes);
        pf_dataset_close(train);
        if (st) return pf_trail(st, PF_WHERE);
    }
    *n = d->about.space.classes = classes;
    return PF_OK;
}

pf_status pf_dataset_coarse(pf_dataset *d, int64_t first, int64_t n, int32_t *out)
{
    PF_REQUIRE(d->about.has_coarse, PF_EARG, "%s holds no coarse labels", d->path);
    PF_TRY(pf_dataset_integers(d, d->coarse, first, n, out));
    return PF_OK;
}

pf_status pf_dataset_conditions(pf_dataset *d, int64_t first, int64_t n, double *out)
{
    size_t width = (size_t)d->about.space.conditions;
    PF_REQUIRE(width, PF_EARG, "%s holds no conditions", d->path);
    PF_TRY(pf_dataset_read(d, conditions_of(d), first, n, out));
    for (size_t i = 0; i < (size_t)n * width; i++)
        PF_REQUIRE(isfinite(out[i]), PF_EFORMAT,
                   "%s: row %lld has a condition that is not finite", d->path,
                   (long long)(first + (int64_t)(i / width)));
    return PF_OK;
}

pf_status pf_dataset_check(pf_dataset *d, int64_t first, int64_t n)
{
    int images = d->about.space.kind == PF_LEVELS;
    size_t row = d->row * (images ? 1 : sizeof(double));
    int64_t many = (int64_t)((1 << 20) / row) + 1;
    void *v = pf_zalloc((size_t)many * row);
    PF_REQUIRE(v, PF_EMEM, "no memory to check %s", d->path);
    pf_status st = PF_OK;
    for (int64_t at = 0; at < n && !st; at += many) {
        int64_t k = n - at < many ? n - at : many;
        st =
            images ? pf_dataset_images(d, first + at, k, v) : pf_dataset_x(d, first + at, k, v);
    }
    pf_free(v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
