/* Attributes: strings of fixed length (they live in checksummed metadata) and numbers. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MOST = 1 << 26 }; /* bytes of a list of strings */

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

pf_status pf_h5_put_lines(hid_t at, const char *name, const char *text)
{
    hsize_t n = 0;
    size_t longest = 1;
    for (const char *p = text; *p || n == 0; n++) {
        size_t line = strcspn(p, "\n");
        if (line > longest) longest = line;
        p += line + (p[line] == '\n');
    }
    PF_REQUIRE(n <= LIST_MOST / longest, PF_EARG, "the attribute %s would be too large", name);
    char *cells = pf_zalloc((size_t)n * longest), *to = cells;
    PF_REQUIRE(cells, PF_EMEM, "no memory for the attribute %s", name);
    for (const char *p = text; to < cells + (size_t)n * longest; to += longest) {
        size_t line = strcspn(p, "\n");
        memcpy(to, p, line);
        p += line + (p[line] == '\n');
    }
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, longest);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    pf_status st = put(at, name, type, H5Screate_simple(1, &n, NULL), cells);
    H5Tclose(type);
    pf_free(cells);
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

/* Fixed strings as lines; NULL as above. */
static char *read_lines(hid_t a, hid_t type, size_t n, int *exhausted)
{
    size_t size = H5Tget_size(type);
    if (H5Tis_variable_str(type) > 0 || size == 0 || n > LIST_MOST / size) return NULL;
    char *cells = pf_zalloc(n * size), *out = pf_zalloc(n * (size + 1)), *to = out;
    *exhausted = !cells || !out;
    int ok = !*exhausted && H5Aread(a, type, cells) >= 0;
    for (size_t i = 0; ok && i < n; i++) {
        size_t line = strnlen(cells + i * size, size);
        if (i) *to++ = '\n';
        memcpy(to, cells + i * size, line);
        to += line;
    }
    pf_free(cells);
    if (ok) return out;
    pf_free(out);
    return NULL;
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

/* One or more plain values of an attribute: opens it, and tells type, class and number. */
typedef struct opened {
    hid_t a, type;
    H5T_class_t class;
    hssize_t n;
    uint64_t bytes; /* that the values take in the file */
    int plain;      /* a type that HDF5 hands out unchanged */
} opened;

static PF_MUST_USE pf_status open_attr(hid_t at, const char *path, const char *name, opened *o)
{
    memset(o, 0, sizeof *o);
    o->a = H5Aopen(at, name, H5P_DEFAULT);
    PF_REQUIRE(o->a > 0, PF_EIO, "%s is damaged: cannot open the attribute %s", path, name);
    hid_t space = H5Aget_space(o->a);
    o->type = H5Aget_type(o->a);
    o->n = space > 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (space > 0) H5Sclose(space);
    if (o->type <= 0) {
        H5Aclose(o->a);
        PF_FAIL(PF_EIO, "%s is damaged: the attribute %s has no type", path, name);
    }
    o->class = H5Tget_class(o->type);
    o->bytes = H5Tget_size(o->type);
    hid_t plain = pf_h5_plain_type(o->type);
    o->plain = plain > 0 && o->bytes > 0 && o->n >= 0 &&
               !__builtin_mul_overflow(o->bytes, (uint64_t)o->n, &o->bytes);
    if (plain > 0) H5Tclose(plain);
    return PF_OK;
}

static void close_attr(opened *o)
{
    H5Tclose(o->type);
    H5Aclose(o->a);
}

pf_status pf_h5_get_text(hid_t at, const char *path, const char *name, char **text)
{
    opened o;
    int exhausted = 0;
    uint64_t size = 0;
    *text = NULL;
    PF_REQUIRE(pf_h5_has_attr(at, name), PF_EIO, "%s has no attribute %s", path, name);
    hid_t file = H5Iget_file_id(at);
    pf_status st = pf_h5_size(file, path, &size);
    H5Fclose(file);
    PF_TRY(st);
    PF_TRY(open_attr(at, path, name, &o));
    int stored = o.plain && o.bytes <= size;
    if (stored && o.class == H5T_STRING && o.n == 1)
        *text = read_string(o.a, o.type, &exhausted);
    else if (stored && o.class == H5T_STRING && o.n > 1)
        *text = read_lines(o.a, o.type, (size_t)o.n, &exhausted);
    else if (stored && o.class != H5T_STRING && o.n < (1 << 16))
        *text = read_numbers(o.a, o.type, (size_t)o.n, &exhausted);
    close_attr(&o);
    PF_REQUIRE(!exhausted, PF_EMEM, "no memory to read %s", path);
    PF_REQUIRE(*text, PF_EFORMAT, "%s: the attribute %s is neither text nor numbers", path,
               name);
    return PF_OK;
}

pf_status pf_h5_get_i64(hid_t at, const char *path, const char *name, int n, int64_t *v)
{
    opened o;
    PF_REQUIRE(pf_h5_has_attr(at, name), PF_EFORMAT, "%s has no attribute %s", path, name);
    PF_TRY(open_attr(at, path, name, &o));
    int fits = o.plain && o.n == n && o.class == H5T_INTEGER;
    herr_t bad = fits ? H5Aread(o.a, H5T_NATIVE_INT64, v) : -1;
    close_attr(&o);
    PF_REQUIRE(bad >= 0, PF_EFORMAT, "%s: the attribute %s is not %d integers", path, name, n);
    return PF_OK;
}

pf_status pf_h5_get_f64(hid_t at, const char *path, const char *name, double *v)
{
    opened o;
    PF_REQUIRE(pf_h5_has_attr(at, name), PF_EFORMAT, "%s has no attribute %s", path, name);
    PF_TRY(open_attr(at, path, name, &o));
    int fits = o.plain && o.n == 1 && o.class != H5T_STRING;
    herr_t bad = fits ? H5Aread(o.a, H5T_NATIVE_DOUBLE, v) : -1;
    close_attr(&o);
    PF_REQUIRE(bad >= 0, PF_EFORMAT, "%s: the attribute %s is not one number", path, name);
    return PF_OK;
}

/* The values of an attribute, raw; n is checked against what a file of this size can hold. */
static PF_MUST_USE pf_status read_raw(const opened *o, const char *path, const char *name,
                                      void **v)
{
    uint64_t size = 0;
    hid_t file = H5Iget_file_id(o->a);
    pf_status st = pf_h5_size(file, path, &size);
    H5Fclose(file);
    PF_TRY(st);
    PF_REQUIRE(o->bytes <= size, PF_EFORMAT,
               "%s is damaged: the attribute %s claims more values than are stored", path,
               name);
    *v = pf_zalloc(o->bytes);
    PF_REQUIRE(*v, PF_EMEM, "no memory to read %s", path);
    PF_REQUIRE(!o->n || H5Aread(o->a, o->type, *v) >= 0, PF_EFORMAT,
               "%s is damaged: cannot read the attribute %s", path, name);
    return PF_OK;
}

static int same_raw(const opened *o, void *const v[2])
{
    if (H5Tis_variable_str(o->type) <= 0) return !memcmp(v[0], v[1], o->bytes);
    char *const *a = v[0], *const *b = v[1];
    for (hssize_t i = 0; i < o->n; i++)
        if (!a[i] != !b[i] || (a[i] && strcmp(a[i], b[i]))) return 0;
    return 1;
}

static PF_MUST_USE pf_status compare_raw(const opened o[2], const char *const path[2],
                                         const char *name, int *same)
{
    void *v[2] = {NULL, NULL};
    pf_status st = read_raw(&o[0], path[0], name, &v[0]);
    if (!st) st = read_raw(&o[1], path[1], name, &v[1]);
    if (!st) *same = same_raw(&o[0], v);
    for (int k = 0; k < 2; k++) {
        hid_t space = H5Aget_space(o[k].a);
        if (v[k] && o[k].n && H5Tis_variable_str(o[k].type) > 0)
            H5Dvlen_reclaim(o[k].type, space, H5P_DEFAULT, v[k]);
        H5Sclose(space);
        pf_free(v[k]);
    }
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static int same_shape(const opened o[2])
{
    hid_t s[2] = {H5Aget_space(o[0].a), H5Aget_space(o[1].a)};
    int same = s[0] > 0 && s[1] > 0 && H5Sextent_equal(s[0], s[1]) > 0;
    for (int k = 0; k < 2; k++)
        if (s[k] > 0) H5Sclose(s[k]);
    return same;
}

pf_status pf_h5_same_attr(const hid_t at[2], const char *const path[2], const char *name,
                          int *same)
{
    opened o[2];
    *same = 0;
    PF_TRY(open_attr(at[0], path[0], name, &o[0]));
    pf_status st = open_attr(at[1], path[1], name, &o[1]);
    if (st) {
        close_attr(&o[0]);
        return pf_trail(st, PF_WHERE);
    }
    if (!o[0].plain || !o[1].plain) *same = -1;
    else if (same_shape(o) && H5Tequal(o[0].type, o[1].type) > 0)
        st = compare_raw(o, path, name, same);
    close_attr(&o[0]);
    close_attr(&o[1]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_h5_get_digest(hid_t at, const char *path, const char *name, char hex[65])
{
    char *text = NULL;
    hex[0] = 0;
    if (!pf_h5_has_attr(at, name)) return PF_OK;
    PF_TRY(pf_h5_get_text(at, path, name, &text));
    int good = strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
    if (good) memcpy(hex, text, 65);
    pf_free(text);
    PF_REQUIRE(good, PF_EFORMAT, "%s: the attribute %s is not the digits of a SHA-256", path,
               name);
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

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

pf_status pf_h5_attrs(hid_t at, const char *path, int *n, char ***names)
{
    H5O_info_t info;
    *n = 0;
    *names = NULL;
    PF_REQUIRE(H5Oget_info2(at, &info, H5O_INFO_NUM_ATTRS) >= 0 && info.num_attrs < (1u << 20),
               PF_EIO, "%s is damaged: cannot count attributes", path);
    listed l = {.cap = (int)info.num_attrs};
    l.names = pf_zalloc((info.num_attrs + 1) * sizeof *l.names);
    PF_REQUIRE(l.names, PF_EMEM, "no memory for attribute names");
    if (H5Aiterate2(at, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, collect, &l) < 0) {
        pf_h5_names_free(l.names, l.n);
        PF_REQUIRE(!l.exhausted, PF_EMEM, "no memory for attribute names");
        PF_FAIL(PF_EIO, "%s is damaged: cannot list attributes", path);
    }
    if (l.n) qsort(l.names, (size_t)l.n, sizeof *l.names, by_name);
    *n = l.n;
    *names = l.names;
    return PF_OK;
}
