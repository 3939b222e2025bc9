/* A plain copy of what we read in a foreign file: groups, numbers and strings, and nothing that leads
 * out of the file, round in it, or to more bytes than it has.
 *
 * The same walk, without a copy, is what a sealed file must pass before anything of it is read. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <string.h>

enum { DEPTH = 16, BLOCK = 4 << 20 };

typedef struct walk {
    const char *path;     /* of the file, for messages */
    const char *only;     /* the one object wanted, no slash before it; NULL: all */
    int what;             /* PF_H5_LIST: no values */
    int copies;           /* 0: only walks */
    uint64_t size;        /* of the file */
    uint64_t objects;     /* met so far */
    uint64_t stored;      /* bytes of the datasets met so far */
    haddr_t above[DEPTH]; /* groups on the way here */
} walk;

/* ---- types ----------------------------------------------------------------------------------- */

/* What we do not read keeps its place and size, and no values. */
static hid_t stand_in(hid_t stored)
{
    size_t n = H5Tget_size(stored);
    hid_t t = H5Tcreate(H5T_OPAQUE, n > 0 && n < 1 << 20 ? n : 1);
    H5Tset_tag(t, "not read");
    return t;
}

static size_t type_size(hid_t type)
{
    size_t n = H5Tget_size(type);
    return n ? n : 1;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static PF_MUST_USE pf_status move_attr(const walk *w, hid_t from, hid_t to, hid_t type,
                                       hid_t space, const char *name)
{
    hssize_t n = H5Sget_simple_extent_npoints(space);
    size_t bytes = 0;
    /* Its values lie in the file beside everything else. */
    if (n < 0 || __builtin_mul_overflow((size_t)n, type_size(type), &bytes) ||
        bytes > w->size + 4096)
        PF_FAIL(PF_EFORMAT,
                "%s is damaged: the attribute %s claims more values than are stored", w->path,
                name);
    if (n == 0) return PF_OK;
    void *v = pf_zalloc(bytes);
    PF_REQUIRE(v, PF_EMEM, "no memory to read %s", w->path);
    herr_t bad = H5Aread(from, type, v);
    if (bad >= 0) bad = H5Awrite(to, type, v);
    pf_free(v); /* strings of variable length end with the process */
    PF_REQUIRE(bad >= 0, PF_EFORMAT, "%s is damaged: cannot read the attribute %s", w->path,
               name);
    return PF_OK;
}

static PF_MUST_USE pf_status copy_attr(const walk *w, hid_t from, hid_t to, const char *name)
{
    hid_t a = H5Aopen(from, name, H5P_DEFAULT);
    PF_REQUIRE(a > 0, PF_EFORMAT, "%s is damaged: cannot open the attribute %s", w->path, name);
    hid_t stored = H5Aget_type(a), space = H5Aget_space(a);
    hid_t type = stored > 0 ? pf_h5_plain_type(stored) : -1;
    int plain = type > 0;
    if (!plain && stored > 0) type = stand_in(stored);
    hid_t b = type > 0 && space > 0
                  ? H5Acreate2(to, name, type, space, H5P_DEFAULT, H5P_DEFAULT)
                  : -1;
    PF_REQUIRE(b > 0, PF_EFORMAT, "%s is damaged: cannot read the attribute %s", w->path, name);
    if (plain) PF_TRY(move_attr(w, a, b, type, space, name));
    H5Aclose(b);
    H5Tclose(type);
    H5Sclose(space);
    H5Tclose(stored);
    H5Aclose(a);
    return PF_OK;
}

static PF_MUST_USE pf_status copy_attrs(const walk *w, hid_t from, hid_t to)
{
    char **names = NULL;
    int n = 0;
    PF_TRY(pf_h5_attrs(from, w->path, &n, &names));
    pf_status st = PF_OK;
    for (int i = 0; i < n && !st; i++) st = copy_attr(w, from, to, names[i]);
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- datasets -------------------------------------------------------------------------------- */

/* The values of a dataset on their way from one file to the other. */
typedef struct values {
    hid_t from, to, type;
    pf_h5_shape shape;
    size_t elements;
} values;

/* Rows [at, at+n) of the first axis, or the one value of a dataset of rank 0; v: room for them. */
static herr_t move_rows(const values *m, hsize_t at, hsize_t n, void *v)
{
    hid_t from = m->from, to = m->to, type = m->type;
    pf_h5_shape s = m->shape;
    hsize_t start[PF_RANK_MAX] = {at};
    if (s.rank == 0)
        return H5Dread(from, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) < 0
                   ? -1
                   : H5Dwrite(to, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
    s.dim[0] = n;
    hid_t a = H5Dget_space(from), b = H5Dget_space(to),
          mem = H5Screate_simple(s.rank, s.dim, NULL);
    herr_t bad = H5Sselect_hyperslab(a, H5S_SELECT_SET, start, NULL, s.dim, NULL) < 0 ||
                 H5Sselect_hyperslab(b, H5S_SELECT_SET, start, NULL, s.dim, NULL) < 0 ||
                 H5Dread(from, type, mem, a, H5P_DEFAULT, v) < 0 ||
                 H5Dwrite(to, type, mem, b, H5P_DEFAULT, v) < 0;
    if (H5Tis_variable_str(type) > 0) H5Dvlen_reclaim(type, mem, H5P_DEFAULT, v);
    H5Sclose(mem);
    H5Sclose(b);
    H5Sclose(a);
    return bad ? -1 : 0;
}

/* Whole chunks at a time, so that each is unpacked once. */
static hsize_t rows_at_once(hid_t from, const pf_h5_shape *s, size_t row)
{
    hid_t p = H5Dget_create_plist(from);
    hsize_t chunk[PF_RANK_MAX] = {1};
    if (H5Pget_layout(p) == H5D_CHUNKED) H5Pget_chunk(p, PF_RANK_MAX, chunk);
    H5Pclose(p);
    if (chunk[0] < 1) chunk[0] = 1;
    hsize_t n = BLOCK / (row ? row : 1) / chunk[0] * chunk[0];
    if (n < chunk[0]) n = chunk[0];
    return n < s->dim[0] ? n : s->dim[0];
}

static PF_MUST_USE pf_status move_values(const walk *w, const char *name, const values *m)
{
    const pf_h5_shape *s = &m->shape;
    if (m->elements == 0) return PF_OK;
    hsize_t all = s->rank ? s->dim[0] : 1;
    size_t row = m->elements / all * type_size(m->type);
    hsize_t step = s->rank ? rows_at_once(m->from, s, row) : 1;
    void *v = pf_zalloc(step * row);
    PF_REQUIRE(v, PF_EMEM, "no memory to read %s", w->path);
    herr_t bad = 0;
    for (hsize_t at = 0; at < all && bad >= 0; at += step)
        bad = move_rows(m, at, all - at < step ? all - at : step, v);
    pf_free(v);
    PF_REQUIRE(bad >= 0, PF_EIO, "%s is damaged: cannot read the dataset %s", w->path, name);
    return PF_OK;
}

static hid_t create_like(hid_t to, const char *name, hid_t type, const pf_h5_shape *s,
                         int filled)
{
    hid_t space = H5Screate_simple(s->rank, s->dim, NULL), p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(p, 0);
    H5Pset_alloc_time(p, filled ? H5D_ALLOC_TIME_EARLY : H5D_ALLOC_TIME_LATE);
    if (H5Tis_variable_str(type) <= 0) H5Pset_fill_time(p, H5D_FILL_TIME_NEVER);
    hid_t d = space > 0 ? H5Dcreate2(to, name, type, space, H5P_DEFAULT, p, H5P_DEFAULT) : -1;
    H5Pclose(p);
    if (space > 0) H5Sclose(space);
    return d;
}

static PF_MUST_USE pf_status account(walk *w, hid_t from, const char *name)
{
    w->stored += H5Dget_storage_size(from);
    PF_REQUIRE(w->stored / 4 <= w->size, PF_EFORMAT,
               "%s is damaged: with %s its datasets have more bytes than the file", w->path,
               name);
    return PF_OK;
}

static PF_MUST_USE pf_status copy_opened(walk *w, const char *full, const char *name,
                                         hid_t from, hid_t stored, hid_t to)
{
    pf_h5_shape s = {0};
    size_t elements = 0;
    hid_t type = pf_h5_plain_type(stored);
    int filled = type > 0 && w->what != PF_H5_LIST;
    if (filled) PF_TRY(pf_h5_backed(from, w->path, full, &s, &elements));
    else PF_TRY(pf_h5_shape_of(from, &s, &elements));
    if (filled) PF_TRY(account(w, from, full));
    if (type <= 0) type = stand_in(stored);
    size_t bytes = 0;
    PF_REQUIRE(!__builtin_mul_overflow(elements, type_size(type), &bytes) &&
                   bytes < SIZE_MAX / 16,
               PF_EFORMAT, "%s: the dataset %s claims more values than memory has bytes",
               w->path, full);
    hid_t d = create_like(to, name, type, &s, filled);
    PF_REQUIRE(d > 0, PF_EFORMAT, "%s is damaged: cannot copy the dataset %s", w->path, full);
    if (filled) PF_TRY(move_values(w, full, &(values){from, d, type, s, elements}));
    if (w->what != PF_H5_LIST) PF_TRY(copy_attrs(w, from, d));
    H5Dclose(d);
    H5Tclose(type);
    return PF_OK;
}

static PF_MUST_USE pf_status copy_dataset(walk *w, const char *full, const char *name,
                                          hid_t from, hid_t to)
{
    hid_t stored = H5Dget_type(from);
    PF_REQUIRE(stored > 0, PF_EFORMAT, "%s is damaged: the dataset %s has no type", w->path,
               full);
    pf_status st = copy_opened(w, full, name, from, stored, to);
    H5Tclose(stored);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static PF_MUST_USE pf_status walk_group(walk *w, hid_t from, hid_t to, const char *full,
                                        haddr_t addr, int depth);

/* Does `full` lead to the object wanted, or belong to it? */
static int is_wanted(const walk *w, const char *full)
{
    if (!w->only) return 1;
    full += strspn(full, "/");
    size_t n = strlen(full), m = strlen(w->only), least = n < m ? n : m;
    if (memcmp(full, w->only, least)) return 0;
    return n == m || (n < m ? w->only[n] : full[m]) == '/';
}

static PF_MUST_USE pf_status walk_into(walk *w, hid_t in, hid_t to, const char *full,
                                       const char *name, int depth)
{
    H5O_info_t info;
    hid_t out = 0;
    PF_REQUIRE(H5Oget_info2(in, &info, H5O_INFO_BASIC) >= 0, PF_EFORMAT,
               "%s is damaged: cannot open the group %s", w->path, full);
    pf_status st = w->copies ? pf_h5_group(to, name, &out) : PF_OK;
    if (!st && w->copies) st = copy_attrs(w, in, out);
    if (!st) st = walk_group(w, in, out, full, info.addr, depth + 1);
    if (out > 0) H5Gclose(out);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* A named type: only that there is one. */
static PF_MUST_USE pf_status copy_named_type(const walk *w, const char *full, const char *name,
                                             hid_t to)
{
    hid_t t = stand_in(H5T_NATIVE_INT8);
    herr_t bad = H5Tcommit2(to, name, t, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Tclose(t);
    PF_REQUIRE(bad >= 0, PF_EFORMAT, "%s is damaged: cannot copy %s", w->path, full);
    return PF_OK;
}

static PF_MUST_USE pf_status walk_object(walk *w, hid_t object, hid_t to, const char *full,
                                         const char *name, int depth)
{
    H5I_type_t type = H5Iget_type(object);
    if (type == H5I_GROUP) PF_TRY(walk_into(w, object, to, full, name, depth));
    if (!w->copies) return PF_OK;
    if (type == H5I_DATASET) PF_TRY(copy_dataset(w, full, name, object, to));
    if (type == H5I_DATATYPE) PF_TRY(copy_named_type(w, full, name, to));
    return PF_OK;
}

/* Each object takes bytes of the file. */
static PF_MUST_USE pf_status count(walk *w)
{
    PF_REQUIRE(++w->objects <= w->size / 24 + 64, PF_EFORMAT,
               "%s is damaged: it claims more objects than fit in it", w->path);
    return PF_OK;
}

static PF_MUST_USE pf_status walk_member(walk *w, hid_t from, hid_t to, const char *group,
                                         const char *name, int depth)
{
    char full[1024];
    H5L_info_t link;
    PF_TRY(pf_h5_join(full, sizeof full, w->path, group, name));
    PF_TRY(count(w));
    if (!is_wanted(w, full)) return PF_OK;
    PF_REQUIRE(H5Lget_info(from, name, &link, H5P_DEFAULT) >= 0, PF_EFORMAT,
               "%s is damaged: cannot read the link %s", w->path, full);
    PF_REQUIRE(link.type == H5L_TYPE_HARD, PF_EFORMAT,
               "%s: %s is a link to elsewhere, which is not followed", w->path, full);
    hid_t object = H5Oopen(from, name, H5P_DEFAULT);
    PF_REQUIRE(object > 0, PF_EIO, "%s is damaged: cannot open %s", w->path, full);
    pf_status st = walk_object(w, object, to, full, name, depth);
    H5Oclose(object);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status walk_group(walk *w, hid_t from, hid_t to, const char *full,
                                        haddr_t addr, int depth)
{
    char **names = NULL;
    int n = 0;
    PF_REQUIRE(depth < DEPTH, PF_EFORMAT, "%s: groups nest too deep", w->path);
    for (int i = 0; i < depth; i++)
        PF_REQUIRE(w->above[i] != addr, PF_EFORMAT, "%s: the group %s contains itself", w->path,
                   full);
    w->above[depth] = addr;
    PF_TRY(pf_h5_members(from, w->path, full, &n, &names));
    pf_status st = PF_OK;
    for (int i = 0; i < n && !st; i++) st = walk_member(w, from, to, full, names[i], depth);
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status walk_all(walk *w, hid_t from, hid_t to)
{
    H5O_info_t root;
    PF_REQUIRE(H5Oget_info2(from, &root, H5O_INFO_BASIC) >= 0, PF_EFORMAT,
               "%s is damaged: cannot open its root", w->path);
    if (w->only) w->only += strspn(w->only, "/");
    if (w->only && !w->only[0]) return PF_OK;
    PF_TRY(walk_group(w, from, to, "/", root.addr, 0));
    return PF_OK;
}

pf_status pf_h5_copy(hid_t from, const char *path, int what, const char *only, hid_t to)
{
    walk w = {.path = path, .only = only, .what = what, .copies = 1};
    PF_TRY(pf_h5_size(from, path, &w.size));
    PF_TRY(copy_attrs(&w, from, to));
    PF_TRY(walk_all(&w, from, to));
    return PF_OK;
}

pf_status pf_h5_walk(hid_t from, const char *path)
{
    walk w = {.path = path};
    PF_TRY(pf_h5_size(from, path, &w.size));
    PF_TRY(walk_all(&w, from, 0));
    return PF_OK;
}
