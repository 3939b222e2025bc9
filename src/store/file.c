/* What an open HDF5 file holds, with every failure told in our own sentence: its members, and the shapes
 * and sizes of its datasets. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

void pf_h5_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

hid_t pf_h5_access(void)
{
    hid_t p = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(p, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    /* Ranks read the same file at once, and SWMR readers a file being written. */
    H5Pset_file_locking(p, 0, 1);
    H5Pset_fclose_degree(p, H5F_CLOSE_STRONG);
    return p;
}

int pf_h5_has(hid_t where, const char *name)
{
    char part[1024];
    size_t n = strlen(name);
    if (n >= sizeof part) return 0;
    /* Each step of the path must be asked for: H5Lexists fails on a missing parent. */
    for (size_t i = 1; i <= n; i++) {
        if (i < n && name[i] != '/') continue;
        memcpy(part, name, i);
        part[i] = 0;
        if (H5Lexists(where, part, H5P_DEFAULT) <= 0) return 0;
    }
    return n > 0;
}

int pf_h5_is_dataset(hid_t where, const char *name)
{
    hid_t o = H5Oopen(where, name, H5P_DEFAULT);
    if (o <= 0) return -1;
    H5I_type_t t = H5Iget_type(o);
    H5Oclose(o);
    return t == H5I_DATASET ? 1 : t == H5I_GROUP ? 0 : -1;
}

static PF_MUST_USE pf_status impossible_shape(hid_t d, const char *what)
{
    char path[1024] = "a file", name[1024] = "?";
    H5Fget_name(d, path, sizeof path);
    H5Iget_name(d, name, sizeof name);
    PF_FAIL(PF_EFORMAT, "%.400s: the dataset %.400s %s", path, name, what);
}

pf_status pf_h5_shape_of(hid_t dataset, pf_h5_shape *s, size_t *elements)
{
    hid_t space = H5Dget_space(dataset);
    int rank = space > 0 ? H5Sget_simple_extent_ndims(space) : -1;
    hssize_t n = space > 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (rank >= 0 && rank <= PF_RANK_MAX) H5Sget_simple_extent_dims(space, s->dim, NULL);
    if (space > 0) H5Sclose(space);
    if (rank < 0 || rank > PF_RANK_MAX) PF_TRY(impossible_shape(dataset, "has too many axes"));
    s->rank = rank;
    *elements = rank == 0 && n == 0 ? 0 : 1; /* a space without a value is no number */
    for (int i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(*elements, s->dim[i], elements) || *elements > SIZE_MAX / 16)
            PF_TRY(impossible_shape(dataset, "claims more values than memory has bytes"));
    }
    return PF_OK;
}

/* Of one chunk, which HDF5 unpacks whole; 0 without chunks. */
static uint64_t chunk_bytes(hid_t d, hid_t plist)
{
    hsize_t chunk[PF_RANK_MAX];
    hid_t type = H5Dget_type(d);
    uint64_t bytes = H5Tget_size(type);
    H5Tclose(type);
    int rank =
        H5Pget_layout(plist) == H5D_CHUNKED ? H5Pget_chunk(plist, PF_RANK_MAX, chunk) : 0;
    if (rank <= 0 || rank > PF_RANK_MAX) return 0;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(bytes, chunk[i], &bytes)) return UINT64_MAX;
    return bytes;
}

/* Most bytes that an open dataset of `bytes` declared can have: those stored, or, packed by deflate,
 * 1032 times them.  A small one may be all fill value. */
static PF_MUST_USE pf_status bound_by_stored(hid_t d, hid_t plist, const char *path,
                                             const char *name, size_t bytes)
{
    enum { SMALL = 1 << 20, RATIO = 1032 };
    uint64_t stored = H5Dget_storage_size(d), size = 0;
    int packed = 0, n = H5Pget_nfilters(plist);
    PF_REQUIRE(H5Pget_layout(plist) != H5D_VIRTUAL && H5Pget_external_count(plist) == 0,
               PF_EFORMAT, "%s: the dataset %s lies in other files, which are not read", path,
               name);
    for (int i = 0; i < n; i++) {
        size_t none = 0;
        unsigned flags = 0, config = 0;
        H5Z_filter_t f =
            H5Pget_filter2(plist, (unsigned)i, &flags, &none, NULL, 0, NULL, &config);
        packed |= f == H5Z_FILTER_DEFLATE;
        PF_REQUIRE(
            f == H5Z_FILTER_DEFLATE || f == H5Z_FILTER_SHUFFLE || f == H5Z_FILTER_FLETCHER32,
            PF_EFORMAT, "%s: the dataset %s is packed by filter %d, which is not known here",
            path, name, (int)f);
    }
    hid_t file = H5Iget_file_id(d);
    pf_status st = pf_h5_size(file, path, &size);
    H5Fclose(file);
    PF_TRY(st);
    uint64_t most = stored <= size ? stored : 0;
    if (packed && __builtin_mul_overflow(most, (uint64_t)RATIO, &most)) most = UINT64_MAX;
    if (most < SMALL) most = SMALL;
    PF_REQUIRE(bytes <= most && chunk_bytes(d, plist) <= most, PF_EFORMAT,
               "%s is damaged: the dataset %s claims %zu bytes, %llu are stored", path, name,
               bytes, (unsigned long long)stored);
    return PF_OK;
}

pf_status pf_h5_backed(hid_t d, const char *path, const char *name, pf_h5_shape *s,
                       size_t *elements)
{
    size_t bytes = 0;
    PF_TRY(pf_h5_shape_of(d, s, elements));
    hid_t type = H5Dget_type(d), plist = H5Dget_create_plist(d);
    size_t size = type > 0 ? H5Tget_size(type) : 0;
    if (size < 8) size = 8; /* numbers are read as doubles */
    int whole = size > 0 && plist > 0 && !__builtin_mul_overflow(*elements, size, &bytes);
    bytes = *elements * (type > 0 ? H5Tget_size(type) : 0);
    pf_status st = whole
                       ? bound_by_stored(d, plist, path, name, bytes)
                       : pf_raise(PF_EFORMAT, PF_WHERE,
                                  "%s: the dataset %s claims more values than memory has bytes",
                                  path, name);
    if (plist > 0) H5Pclose(plist);
    if (type > 0) H5Tclose(type);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

uint32_t pf_h5_crc(const void *p, size_t n)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, n);
}

typedef struct collected {
    char **names;
    int n, cap, failed;
} collected;

static herr_t collect(hid_t g, const char *name, const H5L_info_t *info, void *self)
{
    (void)g, (void)info;
    collected *c = self;
    if (c->n < c->cap) c->names[c->n] = pf_strdup(name);
    if (c->n >= c->cap || !c->names[c->n]) return c->failed = 1;
    c->n++;
    return 0;
}

void pf_h5_names_free(char **names, int n)
{
    for (int i = 0; names && i < n; i++) pf_free(names[i]);
    pf_free(names);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int tracks_order(hid_t g)
{
    hid_t p = H5Gget_create_plist(g);
    unsigned order = 0;
    if (p <= 0) return 0;
    H5Pget_link_creation_order(p, &order);
    H5Pclose(p);
    return (order & H5P_CRT_ORDER_INDEXED) != 0;
}

pf_status pf_h5_members(hid_t where, const char *path, const char *group, int *n, char ***names)
{
    *n = 0;
    *names = NULL;
    hid_t g = H5Gopen2(where, group, H5P_DEFAULT);
    PF_REQUIRE(g > 0, PF_EIO, "%s has no readable group %s", path, group);
    H5G_info_t info = {0};
    herr_t bad = H5Gget_info(g, &info);
    collected c = {0};
    uint64_t size = 0;
    hid_t file = H5Iget_file_id(g);
    pf_status st = pf_h5_size(file, path, &size);
    H5Fclose(file);
    if (st || info.nlinks > size / 8 + 64 || info.nlinks > INT_MAX)
        bad = -1; /* each takes bytes */
    if (bad >= 0) c.names = pf_zalloc((info.nlinks + 1) * sizeof *c.names);
    c.cap = (int)info.nlinks;
    if (c.names) {
        H5_index_t by = tracks_order(g) ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
        /* HDF5 sorts the links of a large group in a table that it cannot free when a read fails: it
         * gets none, since the index by order is in order, and names are sorted here. */
        int large = info.storage_type == H5G_STORAGE_TYPE_DENSE;
        bad = H5Literate(g, by, large ? H5_ITER_NATIVE : H5_ITER_INC, NULL, collect, &c);
        if (large && by == H5_INDEX_NAME && c.n)
            qsort(c.names, (size_t)c.n, sizeof *c.names, by_name);
    }
    H5Gclose(g);
    if (!c.names || c.failed || bad < 0) {
        int exhausted = c.failed || (!c.names && bad >= 0);
        pf_h5_names_free(c.names, c.n);
        PF_REQUIRE(!exhausted, PF_EMEM, "no memory to list the group %s of %s", group, path);
        PF_FAIL(PF_EIO, "%s is damaged: cannot list the group %s", path, group);
    }
    *n = c.n;
    *names = c.names;
    return PF_OK;
}

pf_status pf_h5_join(char *buf, size_t n, const char *path, const char *group, const char *name)
{
    int k = snprintf(buf, n, "%s%s%s", group, strcmp(group, "/") ? "/" : "", name);
    PF_REQUIRE(k > 0 && (size_t)k < n, PF_EFORMAT, "%s: a name under %.60s is too long", path,
               group);
    return PF_OK;
}
