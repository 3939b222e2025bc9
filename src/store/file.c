/* Opening and reading HDF5 files, with every failure told in our own sentence. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
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

/* Size the superblock promises, 0 when it cannot be told. */
static uint64_t promised_size(FILE *f)
{
    unsigned char b[48] = {0};
    if (fread(b, 1, sizeof b, f) < sizeof b || memcmp(b, "\211HDF\r\n\032\n", 8)) return 0;
    int at = b[8] >= 2 ? 28 : 40; /* format specification: versions 2, 3 and version 0 */
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | b[at + i];
    return n;
}

static PF_MUST_USE pf_status explain(const char *path)
{
    struct stat sb;
    FILE *f = fopen(path, "rb");
    if (!f) PF_FAIL(PF_EIO, "cannot open %s: %s", path, strerror(errno));
    int bad = fstat(fileno(f), &sb);
    uint64_t want = promised_size(f);
    fclose(f);
    PF_REQUIRE(!bad && !S_ISDIR(sb.st_mode), PF_EIO, "%s is a folder, not a file", path);
    PF_REQUIRE(sb.st_size > 0, PF_EIO, "%s is empty", path);
    if (want > (uint64_t)sb.st_size)
        PF_FAIL(PF_EIO, "%s is truncated: %lld of %llu bytes are there", path,
                (long long)sb.st_size, (unsigned long long)want);
    PF_REQUIRE(want, PF_EFORMAT, "%s is not an HDF5 file", path);
    PF_FAIL(PF_EIO, "%s is damaged: HDF5 cannot read it", path);
}

/* Could a writer have the file open?  Then its superblock is of version 3. */
static int could_grow(const char *path)
{
    unsigned char b[9] = {0};
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(b, 1, sizeof b, f) : 0;
    if (f) fclose(f);
    return n == sizeof b && b[8] >= 3;
}

pf_status pf_h5_open(const char *path, hid_t *file)
{
    int sealed = 0;
    *file = 0;
    pf_h5_quiet();
    PF_TRY(pf_h5_seal_check(path, &sealed));
    hid_t fapl = pf_h5_access();
    unsigned flags = H5F_ACC_RDONLY;
    if (!sealed && could_grow(path)) {
        flags |= H5F_ACC_SWMR_READ;
        H5Pset_metadata_read_attempts(fapl, 10);
    }
    *file = H5Fopen(path, flags, fapl);
    H5Pclose(fapl);
    if (*file <= 0) return explain(path);
    if (sealed || !pf_h5_has_attr(*file, "sealed")) return PF_OK;
    pf_h5_close(*file);
    *file = 0;
    PF_FAIL(PF_EIO,
            "%s is truncated, or was changed by another program: its checksum is missing",
            path);
}

void pf_h5_close(hid_t file)
{
    if (file > 0) H5Fclose(file);
}

pf_status pf_h5_open_kind(const char *path, const char *kind, hid_t *file)
{
    PF_TRY(pf_h5_open(path, file));
    char *text = NULL;
    pf_status st = PF_OK;
    if (!pf_h5_has_attr(*file, "kind"))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s is not a %s of probflow", path, kind);
    else st = pf_h5_get_text(*file, path, "kind", &text);
    if (!st && strcmp(text, kind))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s is a %s, not a %s", path, text, kind);
    pf_free(text);
    if (st) {
        pf_h5_close(*file);
        *file = 0;
        return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
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

pf_status pf_h5_shape_of(hid_t dataset, pf_h5_shape *s, size_t *elements)
{
    hid_t space = H5Dget_space(dataset);
    int rank = space > 0 ? H5Sget_simple_extent_ndims(space) : -1;
    if (rank >= 0 && rank <= 5) H5Sget_simple_extent_dims(space, s->dim, NULL);
    if (space > 0) H5Sclose(space);
    PF_REQUIRE(rank >= 0 && rank <= 5, PF_EFORMAT, "a dataset has rank %d, want at most 5",
               rank);
    s->rank = rank;
    *elements = 1;
    for (int i = 0; i < rank; i++) {
        if (__builtin_mul_overflow(*elements, s->dim[i], elements) || *elements > SIZE_MAX / 16)
            PF_FAIL(PF_EFORMAT, "a dataset claims more elements than memory has bytes");
    }
    return PF_OK;
}

uint32_t pf_h5_crc(const void *p, size_t n)
{
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, n);
}

pf_status pf_h5_verify(hid_t d, const char *path, const char *name)
{
    if (!pf_h5_has_attr(d, "crc32")) return PF_OK;
    int64_t crc = 0;
    pf_h5_shape s;
    size_t n = 0;
    PF_TRY(pf_h5_get_i64(d, path, "crc32", 1, &crc));
    PF_TRY(pf_h5_shape_of(d, &s, &n));
    hid_t type = H5Dget_type(d); /* the sum is that of the stored bytes */
    n *= H5Tget_size(type);
    void *data = pf_zalloc(n);
    herr_t bad = data && n ? H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) : 0;
    int same = data && bad >= 0 && crc == (int64_t)pf_h5_crc(data, n);
    H5Tclose(type);
    pf_free(data);
    PF_REQUIRE(data, PF_EMEM, "no memory to check the dataset %s of %s", name, path);
    PF_REQUIRE(same, PF_EFORMAT, "%s is damaged: the dataset %s does not match its checksum",
               path, name);
    return PF_OK;
}

/* The sum of what was read serves when it was read as it is stored. */
static PF_MUST_USE pf_status verify(hid_t d, const char *path, const char *name, hid_t type,
                                    const void *data, size_t bytes)
{
    hid_t stored = H5Dget_type(d);
    int same = H5Tequal(stored, type) > 0;
    int64_t crc = 0;
    H5Tclose(stored);
    if (!same || !pf_h5_has_attr(d, "crc32")) {
        PF_TRY(pf_h5_verify(d, path, name));
        return PF_OK;
    }
    PF_TRY(pf_h5_get_i64(d, path, "crc32", 1, &crc));
    PF_REQUIRE(crc == (int64_t)pf_h5_crc(data, bytes), PF_EFORMAT,
               "%s is damaged: the dataset %s does not match its checksum", path, name);
    return PF_OK;
}

pf_status pf_h5_get(hid_t where, const char *path, const char *name, hid_t type, void *data,
                    size_t bytes)
{
    PF_REQUIRE(pf_h5_has(where, name), PF_EIO, "%s has no dataset %s", path, name);
    hid_t d = H5Dopen2(where, name, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", path, name);
    pf_h5_shape s;
    size_t n = 0;
    pf_status st = pf_h5_shape_of(d, &s, &n);
    if (!st && n * H5Tget_size(type) != bytes)
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s: the dataset %s holds %zu values, want %zu",
                      path, name, n, bytes / H5Tget_size(type));
    if (!st && bytes && H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        st =
            pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot read the dataset %s", path, name);
    if (!st) st = verify(d, path, name, type, data, bytes);
    H5Dclose(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
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

pf_status pf_h5_members(hid_t where, const char *path, const char *group, int *n, char ***names)
{
    *n = 0;
    *names = NULL;
    hid_t g = H5Gopen2(where, group, H5P_DEFAULT);
    PF_REQUIRE(g > 0, PF_EIO, "%s has no readable group %s", path, group);
    H5G_info_t info = {0};
    herr_t bad = H5Gget_info(g, &info);
    collected c = {0};
    /* A name takes some bytes of the file: more members than this cannot be. */
    if (info.nlinks >= (1u << 24)) bad = -1;
    if (bad >= 0) c.names = pf_zalloc((info.nlinks + 1) * sizeof *c.names);
    c.cap = (int)info.nlinks;
    if (c.names) {
        hid_t p = H5Gget_create_plist(g);
        unsigned order = 0;
        H5Pget_link_creation_order(p, &order);
        H5Pclose(p);
        H5_index_t by = order & H5P_CRT_ORDER_INDEXED ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
        bad = H5Literate(g, by, H5_ITER_INC, NULL, collect, &c);
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

pf_status pf_h5_join(char *buf, size_t n, const char *group, const char *name)
{
    int k = snprintf(buf, n, "%s%s%s", group, strcmp(group, "/") ? "/" : "", name);
    PF_REQUIRE(k > 0 && (size_t)k < n, PF_EFORMAT, "a name under %.60s is too long", group);
    return PF_OK;
}
