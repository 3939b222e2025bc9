/* Dataset files: uint8 images or int32 tokens, one compressed and checksummed chunk per row, so
 * that a shard reads its rows and nothing else; or continuous points, float64. */
#include <probflow/memory.h>
#include <probflow/sha256.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <float.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct pf_dataset {
    char path[4096];
    pf_dataset_info about;
    char *classes;              /* owned */
    hid_t file, values, labels; /* 0: not open */
    size_t row;                 /* values a row */
    char content[65];           /* "": not stored */
    int summed;                 /* content is that of the rows read */
};

/* By pf_data_kind. */
static const char *const value_names[] = {"images", "tokens", "x"};

static hid_t value_type(int kind)
{
    return kind == PF_DATA_IMAGES   ? H5T_NATIVE_UINT8
           : kind == PF_DATA_TOKENS ? H5T_NATIVE_INT32
                                    : H5T_NATIVE_DOUBLE;
}

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
        snprintf(name, sizeof name, "/%s/%s", split, value_names[kind]);
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
    PF_REQUIRE(s.rank == (kind == PF_DATA_IMAGES ? 4 : 2), PF_EFORMAT,
               "%s: the dataset %s has rank %d", d->path, name, s.rank);
    for (int i = 1; i < s.rank; i++)
        PF_REQUIRE(s.dim[i] > 0 && s.dim[i] < 1 << 24, PF_EFORMAT,
                   "%s: the dataset %s has an impossible shape", d->path, name);
    d->about.kind = kind;
    d->about.n = (int64_t)s.dim[0];
    d->row = 1;
    for (int i = 1; i < s.rank; i++)
        PF_REQUIRE(!__builtin_mul_overflow(d->row, (size_t)s.dim[i], &d->row) &&
                       d->row <= INT_MAX / 8,
                   PF_EFORMAT, "%s: a row of %s has too many values", d->path, name);
    d->about.shape = s.rank == 4 ? (pf_shape){(int)s.dim[1], (int)s.dim[2], (int)s.dim[3]}
                                 : (pf_shape){1, 1, (int)s.dim[1]};
    return PF_OK;
}

static PF_MUST_USE pf_status open_labels(pf_dataset *d, const char *split)
{
    char name[160];
    snprintf(name, sizeof name, "/%s/labels", split);
    if (!pf_h5_has(d->file, name)) return PF_OK;
    d->labels = H5Dopen2(d->file, name, H5P_DEFAULT);
    PF_REQUIRE(d->labels > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", d->path,
               name);
    pf_h5_shape s = {0};
    size_t n = 0;
    PF_TRY(pf_h5_want(d->labels, d->path, name, PF_H5_INTEGERS));
    PF_TRY(pf_h5_backed(d->labels, d->path, name, &s, &n));
    PF_REQUIRE(s.rank == 1 && (int64_t)n == d->about.n, PF_EFORMAT,
               "%s: %s has %zu labels for %lld rows", d->path, name, n, (long long)d->about.n);
    PF_TRY(pf_h5_verify(d->labels, d->path, name));
    d->about.has_labels = 1;
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
    a->levels = (int)levels;
    PF_TRY(read_label(d->file, path, "name", a->name, sizeof a->name));
    PF_TRY(read_label(d->file, path, "source", a->source, sizeof a->source));
    PF_TRY(read_label(d->file, path, "sha256", a->sha256, sizeof a->sha256));
    if (pf_h5_has_attr(d->file, "classes"))
        PF_TRY(pf_h5_get_text(d->file, path, "classes", &d->classes));
    a->classes = d->classes;
    PF_TRY(open_values(d, split));
    PF_TRY(open_labels(d, split));
    PF_TRY(read_content(d, split));
    return PF_OK;
}

static PF_MUST_USE pf_status read_block(const pf_dataset *d, hid_t from, hid_t type,
                                        const hsize_t range[2], void *out)
{
    pf_h5_shape s = {0};
    size_t elements = 0;
    PF_TRY(pf_h5_shape_of(from, &s, &elements));
    hsize_t start[5] = {range[0]};
    s.dim[0] = range[1];
    hid_t file_space = H5Dget_space(from), mem_space = H5Screate_simple(s.rank, s.dim, NULL);
    herr_t bad = H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, s.dim, NULL);
    if (bad >= 0) bad = H5Dread(from, type, mem_space, file_space, H5P_DEFAULT, out);
    H5Sclose(mem_space);
    H5Sclose(file_space);
    PF_REQUIRE(bad >= 0, PF_EIO,
               "%s is damaged: rows %llu to %llu cannot be read or do not match their checksum",
               d->path, (unsigned long long)range[0],
               (unsigned long long)(range[0] + range[1] - 1));
    return PF_OK;
}

/* size: bytes of a row as type. */
static PF_MUST_USE pf_status read_rows(const pf_dataset *d, hid_t from, hid_t type, size_t size,
                                       int64_t first, int64_t n, void *out)
{
    enum { BLOCK = 1024 };
    PF_REQUIRE(first >= 0 && n >= 0 && first <= d->about.n - n, PF_EARG,
               "%s: rows %lld to %lld of %lld asked for", d->path, (long long)first,
               (long long)(first + n - 1), (long long)d->about.n);
    for (int64_t at = 0; at < n; at += BLOCK) {
        hsize_t range[2] = {(hsize_t)(first + at), (hsize_t)(n - at < BLOCK ? n - at : BLOCK)};
        PF_TRY(read_block(d, from, type, range, (char *)out + (size_t)at * size));
    }
    return PF_OK;
}

/* Pixels are below the levels; 0 levels say nothing. */
static PF_MUST_USE pf_status check_levels(const pf_dataset *d, int64_t first, size_t n,
                                          const uint8_t *k)
{
    uint8_t most = 0;
    for (size_t i = 0; i < n; i++) most = k[i] > most ? k[i] : most;
    if (most < d->about.levels || d->about.levels == 0) return PF_OK;
    size_t i = 0;
    while (k[i] < d->about.levels) i++;
    PF_FAIL(PF_EFORMAT, "%s: image %lld holds the value %d, the dataset has %d levels", d->path,
            (long long)(first + (int64_t)(i / d->row)), k[i], d->about.levels);
}

static PF_MUST_USE pf_status check_numbers(const pf_dataset *d, int64_t first, size_t n,
                                           const double *x)
{
    int levels = d->about.kind == PF_DATA_CONTINUOUS ? 0 : d->about.levels, bad = 0;
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

/* ---- content: a header, the values, the labels, little-endian as all files of this format are ---- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "digests are of little-endian values");

static void begin_content(pf_sha256 *sum, const pf_dataset_info *a, int64_t n, int labels)
{
    char head[256];
    pf_shape s = a->shape;
    int len = snprintf(head, sizeof head,
                       "probflow split\nvalues %s\nlevels %d\nshape %d %d %d\nrows %lld\n"
                       "labels %s\n",
                       value_names[a->kind], a->levels, s.h, s.w, s.c, (long long)n,
                       labels ? "yes" : "no");
    pf_sha256_init(sum);
    pf_sha256_add(sum, head, (size_t)len);
}

static size_t row_bytes(const pf_dataset_info *a)
{
    size_t value = a->kind == PF_DATA_IMAGES   ? sizeof(uint8_t)
                   : a->kind == PF_DATA_TOKENS ? sizeof(int32_t)
                                               : sizeof(double);
    return value * (size_t)a->shape.h * (size_t)a->shape.w * (size_t)a->shape.c;
}

static PF_MUST_USE pf_status add_rows(const pf_dataset *d, hid_t from, hid_t type, size_t row,
                                      pf_sha256 *sum)
{
    enum { BLOCK_BYTES = 1 << 22, BLOCK_ROWS = 1024 };
    int64_t many = (int64_t)(BLOCK_BYTES / row);
    many = many < 1 ? 1 : many > BLOCK_ROWS ? BLOCK_ROWS : many;
    char *block = pf_zalloc((size_t)many * row);
    PF_REQUIRE(block, PF_EMEM, "no memory to read %s", d->path);
    pf_status st = PF_OK;
    for (int64_t at = 0; !st && at < d->about.n; at += many) {
        int64_t n = d->about.n - at < many ? d->about.n - at : many;
        st = read_rows(d, from, type, row, at, n, block);
        if (!st) pf_sha256_add(sum, block, (size_t)n * row);
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
    int large = (size_t)a->n > BELIEVED_FROM / row_bytes(a);
    if (!d->summed && !(large && d->content[0])) {
        pf_sha256 sum;
        begin_content(&sum, a, a->n, a->has_labels);
        PF_TRY(add_rows(d, d->values, value_type(a->kind), row_bytes(a), &sum));
        if (a->has_labels)
            PF_TRY(add_rows(d, d->labels, H5T_NATIVE_INT32, sizeof(int32_t), &sum));
        pf_sha256_hex(&sum, d->content);
        d->summed = 1;
    }
    memcpy(hex, d->content, sizeof d->content);
    return PF_OK;
}

static PF_MUST_USE pf_status put_content(hid_t group, const pf_dataset_info *a,
                                         const pf_dataset_split *s)
{
    pf_sha256 sum;
    char hex[65];
    begin_content(&sum, a, s->n, s->labels != NULL);
    pf_sha256_add(&sum, s->values, (size_t)s->n * row_bytes(a));
    if (s->labels) pf_sha256_add(&sum, s->labels, (size_t)s->n * sizeof *s->labels);
    pf_sha256_hex(&sum, hex);
    PF_TRY(pf_h5_put_text(group, "content", hex));
    return PF_OK;
}

/* A point is small: about 8 KB of them share a chunk. */
static int64_t points_a_chunk(const pf_dataset_info *a, int64_t n)
{
    int64_t many = 1024 / ((int64_t)a->shape.h * a->shape.w * a->shape.c);
    return many < 1 ? 1 : many < n ? many : n;
}

static PF_MUST_USE pf_status put_split(hid_t file, const pf_dataset_info *a,
                                       const pf_dataset_split *s)
{
    hid_t type = value_type(a->kind), group = 0;
    hsize_t dim[4] = {(hsize_t)s->n, (hsize_t)a->shape.h, (hsize_t)a->shape.w,
                      (hsize_t)a->shape.c};
    int rank = 4;
    if (a->kind != PF_DATA_IMAGES) {
        rank = 2;
        dim[1] = (hsize_t)a->shape.h * (hsize_t)a->shape.w * (hsize_t)a->shape.c;
    }
    hsize_t chunk[4] = {1, dim[1], dim[2], dim[3]};
    if (a->kind == PF_DATA_CONTINUOUS) chunk[0] = (hsize_t)points_a_chunk(a, s->n);
    PF_TRY(pf_h5_group(file, s->split, &group));
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(rank, dim, NULL);
    H5Pset_obj_track_times(p, 0);
    H5Pset_chunk(p, rank, chunk);
    if (H5Tget_size(type) > 1) H5Pset_shuffle(p);
    H5Pset_deflate(p, 4);
    H5Pset_fletcher32(p);
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(access, 0, 0, 0); /* chunks reach the file in order */
    hid_t d = H5Dcreate2(group, value_names[a->kind], type, space, H5P_DEFAULT, p, access);
    H5Pclose(access);
    herr_t bad =
        d <= 0 || (s->n && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, s->values) < 0);
    if (d > 0) H5Dclose(d);
    H5Sclose(space);
    H5Pclose(p);
    pf_status st =
        bad ? pf_raise(PF_EEXT, PF_WHERE, "HDF5 cannot write the split %s", s->split) : PF_OK;
    if (!st && s->labels)
        st = pf_h5_put(group, "labels", H5T_NATIVE_INT32, (pf_h5_shape){1, {(hsize_t)s->n}},
                       s->labels, PF_H5_CHECKSUM);
    if (!st && s->logp)
        st = pf_h5_put(group, "logp", H5T_NATIVE_DOUBLE, (pf_h5_shape){1, {(hsize_t)s->n}},
                       s->logp, PF_H5_CHECKSUM);
    if (!st) st = put_content(group, a, s);
    H5Gclose(group);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status put_all(hid_t file, const pf_dataset_info *a,
                                     const pf_dataset_split *splits, int n)
{
    int64_t levels = a->levels;
    PF_TRY(pf_h5_put_text(file, "name", a->name));
    PF_TRY(pf_h5_put_text(file, "source", a->source));
    PF_TRY(pf_h5_put_text(file, "sha256", a->sha256));
    PF_TRY(pf_h5_put_i64(file, "levels", 1, &levels));
    int64_t shrink = a->shrink;
    if (shrink > 1) PF_TRY(pf_h5_put_i64(file, "shrink", 1, &shrink));
    if (a->has_entropy) PF_TRY(pf_h5_put_f64(file, "entropy", a->entropy));
    if (a->vocabulary[0]) PF_TRY(pf_h5_put_text(file, "vocabulary", a->vocabulary));
    if (a->classes) PF_TRY(pf_h5_put_lines(file, "classes", a->classes));
    for (int i = 0; i < n; i++) PF_TRY(put_split(file, a, &splits[i]));
    return PF_OK;
}

void pf_dataset_close(pf_dataset *d)
{
    if (!d) return;
    if (d->labels > 0) H5Dclose(d->labels);
    if (d->values > 0) H5Dclose(d->values);
    pf_h5_close(d->file);
    pf_free(d->classes);
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
    PF_REQUIRE(d->about.kind == PF_DATA_IMAGES, PF_EARG, "%s holds no images", d->path);
    PF_TRY(read_rows(d, d->values, H5T_NATIVE_UINT8, d->row, first, n, out));
    PF_TRY(check_levels(d, first, (size_t)n * d->row, out));
    return PF_OK;
}

pf_status pf_dataset_x(pf_dataset *d, int64_t first, int64_t n, double *out)
{
    PF_TRY(read_rows(d, d->values, H5T_NATIVE_DOUBLE, d->row * sizeof *out, first, n, out));
    PF_TRY(check_numbers(d, first, (size_t)n * d->row, out));
    return PF_OK;
}

pf_status pf_dataset_labels(pf_dataset *d, int64_t first, int64_t n, int32_t *out)
{
    PF_REQUIRE(d->about.has_labels, PF_EARG, "%s holds no labels", d->path);
    int64_t *wide = pf_zalloc((size_t)(n > 0 ? n : 0) * sizeof *wide), bad = -1;
    PF_REQUIRE(wide, PF_EMEM, "no memory for %lld labels", (long long)n);
    pf_status st = read_rows(d, d->labels, H5T_NATIVE_INT64, sizeof *wide, first, n, wide);
    for (int64_t i = 0; !st && i < n && bad < 0; i++) {
        out[i] = (int32_t)wide[i];
        if (out[i] != wide[i]) bad = i;
    }
    if (bad >= 0)
        st =
            pf_raise(PF_EFORMAT, PF_WHERE, "%s: row %lld has the label %lld, which is no int32",
                     d->path, (long long)(first + bad), (long long)wide[bad]);
    pf_free(wide);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_dataset_check(pf_dataset *d, int64_t first, int64_t n)
{
    int images = d->about.kind == PF_DATA_IMAGES;
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

pf_status pf_dataset_write(const char *path, const pf_dataset_info *info,
                           const pf_dataset_split *splits, int n_splits)
{
    size_t bytes = 0, chunks = 0,
           row = (size_t)info->shape.h * (size_t)info->shape.w * (size_t)info->shape.c;
    PF_REQUIRE(row > 0 && n_splits > 0, PF_EARG, "%s: nothing to write", path);
    for (int i = 0; i < n_splits; i++) {
        bytes += (size_t)splits[i].n * (row * (info->kind == PF_DATA_IMAGES ? 1 : 8) + 64);
        int64_t many = info->kind == PF_DATA_CONTINUOUS ? points_a_chunk(info, splits[i].n) : 1;
        chunks += (size_t)(splits[i].n / many) + 1;
    }
    pf_h5_image im;
    PF_TRY(pf_h5_begin(&im, bytes, chunks, "dataset"));
    PF_TRY(pf_h5_end(&im, path, put_all(im.file, info, splits, n_splits)));
    return PF_OK;
}
