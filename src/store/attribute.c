/* Attributes: strings of fixed length (they live in checksummed metadata) and numbers. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PF_MUST_USE pf_status put(hid_t at, const char *name, hid_t type, hid_t space,
                                 const void *v)
{
    hid_t a = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    herr_t bad = a <= 0 || H5Awrite(a, type, v) < 0;
    if (a > 0) H5Aclose(a);
    H5Sclose(space);
    PF_REQUIRE(!bad, PF_EEXT, "HDF5 cannot write the attribute %s", name);
    return PF_OK;
}

pf_status pf_h5_put_text(hid_t at, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) ? strlen(text) : 1);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    pf_status st = put(at, name, type, H5Screate(H5S_SCALAR), text);
    H5Tclose(type);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_h5_put_i64(hid_t at, const char *name, int n, const int64_t *v)
{
    hsize_t dim = (hsize_t)n;
    hid_t space = n == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &dim, NULL);
    PF_TRY(put(at, name, H5T_NATIVE_INT64, space, v));
    return PF_OK;
}

pf_status pf_h5_put_f64(hid_t at, const char *name, double v)
{
    PF_TRY(put(at, name, H5T_NATIVE_DOUBLE, H5Screate(H5S_SCALAR), &v));
    return PF_OK;
}

int pf_h5_has_attr(hid_t at, const char *name)
{
    return H5Aexists(at, name) > 0;
}

/* String attribute -> owned text; NULL on failure, *exhausted when it was memory. */
static char *read_string(hid_t a, hid_t type, int *exhausted)
{
    if (H5Tis_variable_str(type) > 0) {
        char *s = NULL;
        hid_t mem = H5Tcopy(H5T_C_S1);
        H5Tset_size(mem, H5T_VARIABLE);
        H5Tset_cset(mem, H5Tget_cset(type));
        char *out = NULL;
        if (H5Aread(a, mem, &s) >= 0 && s) {
            out = pf_strdup(s);
            *exhausted = !out;
            H5free_memory(s);
        }
        H5Tclose(mem);
        return out;
    }
    size_t n = H5Tget_size(type);
    char *out = pf_zalloc(n + 1);
    *exhausted = !out;
    if (out && H5Aread(a, type, out) < 0) {
        pf_free(out);
        return NULL;
    }
    return out;
}

/* Numbers as text separated by spaces; NULL as above. */
static char *read_numbers(hid_t a, hid_t type, size_t n, int *exhausted)
{
    int integer = H5Tget_class(type) == H5T_INTEGER;
    double *f = pf_zalloc(n * sizeof *f);
    int64_t *i = pf_zalloc(n * sizeof *i);
    char *out = pf_zalloc(n * 32 + 1);
    *exhausted = !f || !i || !out;
    int ok = !*exhausted && H5Aread(a, integer ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE,
                                    integer ? (void *)i : (void *)f) >= 0;
    size_t at = 0;
    for (size_t k = 0; ok && k < n; k++) {
        const char *gap = k ? " " : "";
        at += (size_t)(integer ? snprintf(out + at, 32, "%s%" PRId64, gap, i[k])
                               : snprintf(out + at, 32, "%s%.17g", gap, f[k]));
    }
    pf_free(f);
    pf_free(i);
    if (ok) return out;
    pf_free(out);
    return NULL;
}

pf_status pf_h5_get_text(hid_t at, const char *path, const char *name, char **text)
{
    PF_REQUIRE(pf_h5_has_attr(at, name), PF_EIO, "%s has no attribute %s", path, name);
    hid_t a = H5Aopen(at, name, H5P_DEFAULT);
    PF_REQUIRE(a > 0, PF_EIO, "%s is damaged: cannot open the attribute %s", path, name);
    hid_t type = H5Aget_type(a), space = H5Aget_space(a);
    hssize_t n = H5Sget_simple_extent_npoints(space);
    H5T_class_t k = H5Tget_class(type);
    int exhausted = 0;
    *text = NULL;
    if (k == H5T_STRING && n == 1) *text = read_string(a, type, &exhausted);
    else if ((k == H5T_INTEGER || k == H5T_FLOAT) && n >= 0 && n < (1 << 16))
        *text = read_numbers(a, type, (size_t)n, &exhausted);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(a);
    PF_REQUIRE(!exhausted, PF_EMEM, "no memory to read %s", path);
    PF_REQUIRE(*text, PF_EFORMAT, "%s: the attribute %s is neither text nor numbers", path,
               name);
    return PF_OK;
}

pf_status pf_h5_get_i64(hid_t at, const char *path, const char *name, int n, int64_t *v)
{
    PF_REQUIRE(pf_h5_has_attr(at, name), PF_EFORMAT, "%s has no attribute %s", path, name);
    hid_t a = H5Aopen(at, name, H5P_DEFAULT);
    PF_REQUIRE(a > 0, PF_EIO, "%s is damaged: cannot open the attribute %s", path, name);
    hid_t space = H5Aget_space(a);
    int fits = H5Sget_simple_extent_npoints(space) == n;
    herr_t bad = fits ? H5Aread(a, H5T_NATIVE_INT64, v) : -1;
    H5Sclose(space);
    H5Aclose(a);
    PF_REQUIRE(bad >= 0, PF_EFORMAT, "%s: the attribute %s is not %d integers", path, name, n);
    return PF_OK;
}

typedef struct listed {
    char **names;
    int n, cap, exhausted;
} listed;

static herr_t collect(hid_t at, const char *name, const H5A_info_t *info, void *self)
{
    (void)at, (void)info;
    listed *l = self;
    if (l->n >= l->cap) return -1;
    l->names[l->n] = pf_strdup(name);
    l->exhausted = !l->names[l->n];
    if (l->exhausted) return -1;
    l->n++;
    return 0;
}

pf_status pf_h5_attrs(hid_t at, int *n, char ***names)
{
    H5O_info_t info;
    *n = 0;
    *names = NULL;
    PF_REQUIRE(H5Oget_info2(at, &info, H5O_INFO_NUM_ATTRS) >= 0 && info.num_attrs < (1u << 20),
               PF_EIO, "a file is damaged: cannot count attributes");
    listed l = {.cap = (int)info.num_attrs};
    l.names = pf_zalloc((info.num_attrs + 1) * sizeof *l.names);
    PF_REQUIRE(l.names, PF_EMEM, "no memory for attribute names");
    if (H5Aiterate2(at, H5_INDEX_NAME, H5_ITER_INC, NULL, collect, &l) < 0) {
        pf_h5_names_free(l.names, l.n);
        PF_FAIL(l.exhausted ? PF_EMEM : PF_EIO, "%s",
                l.exhausted ? "no memory for attribute names"
                            : "a file is damaged: cannot list attributes");
    }
    *n = l.n;
    *names = l.names;
    return PF_OK;
}
