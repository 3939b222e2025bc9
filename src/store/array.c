/* Plain named arrays and attributes, for import, input points, samples and tests. */
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <limits.h>
#include <string.h>

static PF_MUST_USE pf_status fill_view(hid_t d, const char *path, const char *name, pf_param *v)
{
    pf_h5_shape s = {0};
    PF_TRY(pf_h5_backed(d, path, name, &s, &v->size));
    PF_REQUIRE(strlen(name) < PF_NAME_MAX, PF_EFORMAT, "%s: the name %.40s... is too long",
               path, name);
    PF_REQUIRE(s.rank <= 4, PF_EFORMAT, "%s: %s has rank %d, want at most 4", path, name,
               s.rank);
    strcpy(v->name, name);
    v->rank = s.rank;
    v->trainable = 1;
    for (int k = 0; k < s.rank; k++) {
        PF_REQUIRE(s.dim[k] <= INT_MAX, PF_EFORMAT, "%s: %s has an impossible shape", path,
                   name);
        v->dim[k] = (int)s.dim[k];
    }
    return PF_OK;
}

static PF_MUST_USE pf_status view_of(hid_t g, const char *path, const char *name, pf_param *v,
                                     int *is_float)
{
    hid_t d = H5Dopen2(g, name, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", path, name);
    hid_t type = H5Dget_type(d);
    *is_float = type > 0 && H5Tget_class(type) == H5T_FLOAT;
    if (type > 0) H5Tclose(type);
    pf_status st = *is_float ? fill_view(d, path, name, v) : PF_OK;
    H5Dclose(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Floats that so many bytes of a file can hold, packed ones included; sums of sizes are held against
 * it. */
static size_t most_floats(uint64_t size)
{
    uint64_t n = size < SIZE_MAX / 8192 ? size * 1032 : SIZE_MAX / 8;
    return n + (1u << 20);
}

static PF_MUST_USE pf_status read_members(hid_t g, const char *path, char **names, int count,
                                          pf_param *views, float **flat)
{
    size_t floats = 0, most;
    int n = 0;
    uint64_t size = 0;
    hid_t file = H5Iget_file_id(g);
    pf_status st = pf_h5_size(file, path, &size);
    H5Fclose(file);
    PF_TRY(st);
    most = most_floats(size);
    for (int i = 0; i < count; i++) {
        int is_float = 0;
        if (pf_h5_is_dataset(g, names[i]) != 1) continue;
        PF_TRY(view_of(g, path, names[i], &views[n], &is_float));
        if (!is_float) continue;
        views[n].offset = floats;
        PF_REQUIRE(views[n].size <= most - floats, PF_EFORMAT,
                   "%s is damaged: its datasets claim more values than its bytes can hold",
                   path);
        floats += views[n++].size;
    }
    *flat = pf_zalloc(floats * sizeof **flat);
    PF_REQUIRE(*flat, PF_EMEM, "no memory to read %s", path);
    for (int i = 0; i < n; i++)
        PF_TRY(pf_h5_get(g, path, views[i].name, H5T_NATIVE_FLOAT, *flat + views[i].offset,
                         views[i].size * sizeof(float)));
    return PF_OK;
}

static PF_MUST_USE pf_status read_group(hid_t file, const char *path, const char *group, int *n,
                                        pf_param **views, float **flat)
{
    char **names = NULL;
    int count = 0;
    PF_TRY(pf_h5_members(file, path, group, &count, &names));
    *views = pf_zalloc((size_t)count * sizeof **views);
    hid_t g = H5Gopen2(file, group, H5P_DEFAULT);
    pf_status st = *views && g > 0 ? read_members(g, path, names, count, *views, flat)
                                   : pf_raise(PF_EMEM, PF_WHERE, "no memory to read %s", path);
    if (g > 0) H5Gclose(g);
    pf_h5_names_free(names, count);
    for (*n = 0; !st && *n < count && (*views)[*n].name[0]; ++*n) {
    }
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_store_read_group(const char *path, const char *group, int *n, pf_param **views,
                              float **flat)
{
    hid_t file = 0;
    *views = NULL;
    *flat = NULL;
    *n = 0;
    PF_TRY(pf_h5_open(path, PF_H5_ALL, strcmp(group, "/") ? group : NULL, &file));
    pf_status st = pf_h5_has(file, group) || !strcmp(group, "/")
                       ? read_group(file, path, group, n, views, flat)
                       : pf_raise(PF_EIO, PF_WHERE, "%s has no group %s", path, group);
    pf_h5_close(file);
    if (st) {
        pf_free(*views);
        pf_free(*flat);
        *views = NULL;
        *flat = NULL;
        return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status read_values(hid_t d, const char *path, const char *name,
                                         pf_array *a)
{
    pf_h5_shape s = {0};
    PF_TRY(pf_h5_want(d, path, name, PF_H5_NUMBERS));
    PF_TRY(pf_h5_backed(d, path, name, &s, &a->size));
    a->rank = s.rank;
    for (int i = 0; i < s.rank; i++) a->dim[i] = (int64_t)s.dim[i];
    a->v = pf_zalloc(a->size * sizeof *a->v);
    PF_REQUIRE(a->v, PF_EMEM, "no memory for the dataset %s of %s", name, path);
    PF_REQUIRE(!a->size ||
                   H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->v) >= 0,
               PF_EIO, "%s is damaged: cannot read the dataset %s as numbers", path, name);
    PF_TRY(pf_h5_verify(d, path, name));
    return PF_OK;
}

pf_status pf_h5_array(hid_t file, const char *path, const char *name, pf_array *a)
{
    memset(a, 0, sizeof *a);
    PF_REQUIRE(pf_h5_has(file, name), PF_EIO, "%s has no dataset %s", path, name);
    hid_t d = H5Dopen2(file, name, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s: cannot open the dataset %s", path, name);
    pf_status st = read_values(d, path, name, a);
    H5Dclose(d);
    if (!st) return PF_OK;
    pf_array_free(a);
    return pf_trail(st, PF_WHERE);
}

void pf_array_free(pf_array *a)
{
    if (!a) return;
    pf_free(a->v);
    memset(a, 0, sizeof *a);
}

pf_status pf_store_read_array(const char *path, const char *name, pf_array *out)
{
    hid_t file = 0;
    memset(out, 0, sizeof *out);
    PF_TRY(pf_h5_open(path, PF_H5_ALL, name, &file));
    pf_status st = pf_h5_array(file, path, name, out);
    pf_h5_close(file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_store_has(const char *path, const char *name, int *has)
{
    hid_t file = 0;
    *has = 0;
    PF_TRY(pf_h5_open(path, PF_H5_LIST, name, &file));
    *has = pf_h5_has(file, name);
    pf_h5_close(file);
    return PF_OK;
}

static PF_MUST_USE pf_status group_text(hid_t file, const char *path, const char *group,
                                        const char *name, char **text)
{
    PF_REQUIRE(pf_h5_has(file, group), PF_EIO, "%s has no group %s", path, group);
    hid_t g = H5Oopen(file, group, H5P_DEFAULT); /* or a dataset */
    PF_REQUIRE(g > 0, PF_EIO, "%s: cannot open the group %s", path, group);
    pf_status st = pf_h5_get_text(g, path, name, text);
    H5Oclose(g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_store_read_attr(const char *path, const char *name, char **text)
{
    hid_t file = 0;
    char group[256] = "";
    const char *slash = strrchr(name, '/');
    *text = NULL;
    if (slash) {
        PF_REQUIRE((size_t)(slash - name) < sizeof group, PF_EARG,
                   "the attribute name %s is too long", name);
        memcpy(group, name, (size_t)(slash - name));
    }
    /* a list has datasets without their attributes */
    PF_TRY(pf_h5_open(path, slash ? PF_H5_COPY : PF_H5_LIST, group, &file));
    pf_status st = slash ? group_text(file, path, group, slash + 1, text)
                         : pf_h5_get_text(file, path, name, text);
    pf_h5_close(file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_store_has_attr(const char *path, const char *name, int *has)
{
    hid_t file = 0;
    *has = 0;
    PF_TRY(pf_h5_open(path, PF_H5_LIST, "", &file));
    *has = pf_h5_has_attr(file, name);
    pf_h5_close(file);
    return PF_OK;
}

/* Creates the groups on the way to a name like "ode/x". */
static PF_MUST_USE pf_status make_parents(hid_t file, const char *name)
{
    char part[256];
    for (size_t i = 1; name[i]; i++) {
        if (name[i] != '/') continue;
        PF_REQUIRE(i < sizeof part, PF_EARG, "the dataset name %s is too long", name);
        memcpy(part, name, i);
        part[i] = 0;
        hid_t g = 0;
        if (pf_h5_has(file, part)) continue;
        PF_TRY(pf_h5_group(file, part, &g));
        H5Gclose(g);
    }
    return PF_OK;
}

static size_t array_size(const pf_out_array *a)
{
    size_t n = a->f64 ? 8 : a->f32 ? 4 : a->u16 ? 2 : 1;
    for (int k = 0; k < a->rank; k++) n *= (size_t)a->dim[k];
    return n;
}

static PF_MUST_USE pf_status put_all(hid_t file, const pf_out_array *arrays, int n_arrays,
                                     const pf_out_attr *attrs, int n_attrs)
{
    for (int i = 0; i < n_attrs; i++) {
        if (attrs[i].text) PF_TRY(pf_h5_put_text(file, attrs[i].name, attrs[i].text));
        else PF_TRY(pf_h5_put_f64(file, attrs[i].name, attrs[i].number));
    }
    for (int i = 0; i < n_arrays; i++) {
        const pf_out_array *a = &arrays[i];
        pf_h5_shape s = {.rank = a->rank};
        PF_REQUIRE(a->rank >= 0 && a->rank <= PF_RANK_MAX &&
                       (a->f64 || a->f32 || a->u8 || a->u16),
                   PF_EARG, "the array %s has no values", a->name);
        for (int k = 0; k < a->rank; k++) s.dim[k] = (hsize_t)a->dim[k];
        hid_t type = a->f64   ? H5T_NATIVE_DOUBLE
                     : a->f32 ? H5T_NATIVE_FLOAT
                     : a->u16 ? H5T_NATIVE_UINT16
                              : H5T_NATIVE_UINT8;
        const void *v = a->f64   ? (const void *)a->f64
                        : a->f32 ? (const void *)a->f32
                        : a->u16 ? (const void *)a->u16
                                 : (const void *)a->u8;
        PF_TRY(make_parents(file, a->name));
        PF_TRY(pf_h5_put(file, a->name, type, s, v, PF_H5_CHECKSUM));
    }
    return PF_OK;
}

pf_status pf_store_write(const char *path, const pf_out_array *arrays, int n_arrays,
                         const pf_out_attr *attrs, int n_attrs)
{
    pf_h5_image im;
    size_t bytes = 0;
    for (int i = 0; i < n_arrays; i++) bytes += array_size(&arrays[i]) + 1024;
    PF_TRY(pf_h5_begin(&im, bytes, 0, "arrays"));
    im.first = n_arrays > 0 ? arrays[0].name : NULL;
    PF_TRY(pf_h5_end(&im, path, put_all(im.file, arrays, n_arrays, attrs, n_attrs)));
    return PF_OK;
}
