/* Writing dataset files; what is common with reading them. */
#include <probflow/memory.h>
#include "store/dataset.h"
#include <string.h>

const char *const pf_dataset_values[] = {"images", "tokens", "x"};

hid_t pf_dataset_type(const pf_dataset_info *a)
{
    int bytes = a->token_bytes;
    if (a->space.kind == PF_TOKENS)
        return bytes == 1   ? H5T_NATIVE_UINT8
               : bytes == 2 ? H5T_NATIVE_UINT16
                            : H5T_NATIVE_INT32;
    return a->space.kind == PF_LEVELS ? H5T_NATIVE_UINT8 : H5T_NATIVE_DOUBLE;
}

size_t pf_dataset_row_bytes(const pf_dataset_info *a)
{
    return H5Tget_size(pf_dataset_type(a)) * pf_shape_entries(a->space.shape);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "digests are of little-endian values");

/* What came later is told only where it is: datasets without it keep their digest. */
void pf_dataset_begin_content(pf_sha256 *sum, const pf_dataset_info *a)
{
    char head[256], more[96];
    pf_shape s = a->space.shape;
    int len = snprintf(head, sizeof head,
                       "probflow split\nvalues %s\nlevels %d\nshape %d %d %d\nrows %lld\n"
                       "labels %s\n",
                       pf_dataset_values[a->space.kind], a->space.levels, s.h, s.w, s.c,
                       (long long)a->n, a->has_labels ? "yes" : "no");
    pf_sha256_init(sum);
    pf_sha256_add(sum, head, (size_t)len);
    len = snprintf(more, sizeof more, a->has_coarse ? "coarse labels\n" : "");
    if (a->space.conditions)
        len += snprintf(more + len, sizeof more - (size_t)len, "conditions %d\n",
                        a->space.conditions);
    if (a->space.kind == PF_TOKENS && a->token_bytes < 4)
        len += snprintf(more + len, sizeof more - (size_t)len, "bytes %d\n", a->token_bytes);
    if (a->has_lengths) len += snprintf(more + len, sizeof more - (size_t)len, "lengths\n");
    pf_sha256_add(sum, more, (size_t)len);
}

static PF_MUST_USE pf_status put_content(hid_t group, const pf_dataset_info *a,
                                         const pf_dataset_split *s)
{
    pf_sha256 sum;
    char hex[65];
    pf_dataset_info of = *a;
    size_t n = (size_t)s->n;
    of.n = s->n;
    of.has_labels = s->labels != NULL;
    of.has_coarse = s->coarse != NULL;
    of.has_lengths = s->lengths != NULL;
    of.space.conditions = s->conditions ? a->space.conditions : 0;
    pf_dataset_begin_content(&sum, &of);
    pf_sha256_add(&sum, s->values, n * pf_dataset_row_bytes(a));
    if (s->labels) pf_sha256_add(&sum, s->labels, n * sizeof *s->labels);
    if (s->coarse) pf_sha256_add(&sum, s->coarse, n * sizeof *s->coarse);
    if (s->conditions)
        pf_sha256_add(&sum, s->conditions,
                      n * (size_t)a->space.conditions * sizeof *s->conditions);
    if (s->lengths) pf_sha256_add(&sum, s->lengths, n * sizeof *s->lengths);
    pf_sha256_hex(&sum, hex);
    PF_TRY(pf_h5_put_text(group, "content", hex));
    return PF_OK;
}

/* A point is small: about 8 KB of them share a chunk, of texts 64 KB, which are read one after the other. */
static int64_t rows_a_chunk(const pf_dataset_info *a, int64_t n)
{
    if (a->space.kind == PF_LEVELS) return 1;
    size_t room = a->space.kind == PF_REAL ? 1 << 13 : 1 << 16;
    int64_t many = (int64_t)(room / pf_dataset_row_bytes(a));
    return many < 1 || n < 1 ? 1 : many < n ? many : n;
}

static PF_MUST_USE pf_status put_values(hid_t group, const pf_dataset_info *a,
                                        const pf_dataset_split *s)
{
    hid_t type = pf_dataset_type(a);
    hsize_t dim[4] = {(hsize_t)s->n, (hsize_t)a->space.shape.h, (hsize_t)a->space.shape.w,
                      (hsize_t)a->space.shape.c};
    int rank = 4;
    if (a->space.kind != PF_LEVELS) {
        rank = 2;
        dim[1] = pf_shape_entries(a->space.shape);
    }
    hsize_t chunk[4] = {(hsize_t)rows_a_chunk(a, s->n), dim[1], dim[2], dim[3]};
    hid_t p = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(rank, dim, NULL);
    H5Pset_obj_track_times(p, 0);
    H5Pset_chunk(p, rank, chunk);
    if (H5Tget_size(type) > 1) H5Pset_shuffle(p);
    H5Pset_deflate(p, 4);
    H5Pset_fletcher32(p);
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Pset_chunk_cache(access, 0, 0, 0); /* chunks reach the file in order */
    hid_t d = H5Dcreate2(group, pf_dataset_values[a->space.kind], type, space, H5P_DEFAULT, p,
                         access);
    H5Pclose(access);
    herr_t bad =
        d <= 0 || (s->n && H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, s->values) < 0);
    if (d > 0) H5Dclose(d);
    H5Sclose(space);
    H5Pclose(p);
    PF_REQUIRE(!bad, PF_EEXT, "HDF5 cannot write the split %s", s->split);
    return PF_OK;
}

static PF_MUST_USE pf_status put_column(hid_t group, const char *name, hid_t type,
                                        pf_h5_shape shape, const void *values)
{
    if (values) PF_TRY(pf_h5_put(group, name, type, shape, values, PF_H5_CHECKSUM));
    return PF_OK;
}

static PF_MUST_USE pf_status put_columns(hid_t group, const pf_dataset_info *a,
                                         const pf_dataset_split *s)
{
    pf_h5_shape one = {1, {(hsize_t)s->n}},
                many = {2, {(hsize_t)s->n, (hsize_t)a->space.conditions}};
    PF_TRY(put_column(group, "labels", H5T_NATIVE_INT32, one, s->labels));
    PF_TRY(put_column(group, "coarse_labels", H5T_NATIVE_INT32, one, s->coarse));
    PF_TRY(put_column(group, "conditions", H5T_NATIVE_DOUBLE, many, s->conditions));
    PF_TRY(put_column(group, "logp", H5T_NATIVE_DOUBLE, one, s->logp));
    PF_TRY(put_column(group, "length", H5T_NATIVE_INT32, one, s->lengths));
    return PF_OK;
}

static PF_MUST_USE pf_status put_split(hid_t file, const pf_dataset_info *a,
                                       const pf_dataset_split *s)
{
    hid_t group = 0;
    PF_TRY(pf_h5_group(file, s->split, &group));
    pf_status st = put_values(group, a, s);
    if (!st) st = put_columns(group, a, s);
    if (!st) st = put_content(group, a, s);
    H5Gclose(group);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status put_all(hid_t file, const pf_dataset_info *a,
                                     const pf_dataset_split *splits, int n)
{
    int64_t levels = a->space.levels;
    PF_TRY(pf_h5_put_text(file, "name", a->name));
    PF_TRY(pf_h5_put_text(file, "source", a->source));
    PF_TRY(pf_h5_put_text(file, "sha256", a->sha256));
    PF_TRY(pf_h5_put_i64(file, "levels", 1, &levels));
    int64_t shrink = a->shrink;
    if (shrink > 1) PF_TRY(pf_h5_put_i64(file, "shrink", 1, &shrink));
    if (a->converted[0]) PF_TRY(pf_h5_put_text(file, "converted", a->converted));
    if (a->has_entropy) PF_TRY(pf_h5_put_f64(file, "entropy", a->entropy));
    if (a->vocabulary) PF_TRY(pf_h5_put_text(file, "vocabulary", a->vocabulary));
    if (a->classes) PF_TRY(pf_h5_put_lines(file, "classes", a->classes));
    if (a->coarse_classes) PF_TRY(pf_h5_put_lines(file, "coarse_classes", a->coarse_classes));
    for (int i = 0; i < n; i++) PF_TRY(put_split(file, a, &splits[i]));
    return PF_OK;
}

pf_status pf_dataset_write(const char *path, const pf_dataset_info *info,
                           const pf_dataset_split *splits, int n_splits)
{
    size_t bytes = 0, chunks = 0, row = pf_shape_entries(info->space.shape);
    pf_dataset_info a = *info;
    a.token_bytes = (int)pf_token_bytes(a.space.levels);
    PF_REQUIRE(row > 0 && n_splits > 0, PF_EARG, "%s: nothing to write", path);
    for (int i = 0; i < n_splits; i++) {
        bytes += (size_t)splits[i].n * (pf_dataset_row_bytes(&a) + 64);
        chunks += (size_t)(splits[i].n / rows_a_chunk(&a, splits[i].n)) + 1;
    }
    pf_h5_image im;
    PF_TRY(pf_h5_begin(&im, bytes, chunks, "dataset"));
    PF_TRY(pf_h5_end(&im, path, put_all(im.file, &a, splits, n_splits)));
    return PF_OK;
}
