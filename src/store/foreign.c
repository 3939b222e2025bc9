/* The datasets of a file that other programs wrote, as a flat list of arrays, read in blocks. */
#include <probflow/memory.h>
#include "store/h5.h"
#include <string.h>

struct pf_foreign {
    const char *path; /* borrowed */
    hid_t file, chosen;
    int n, cap, at;
    pf_foreign_array *list; /* [cap], owned, with their names */
};

static pf_foreign_type type_of(hid_t d, int *size)
{
    hid_t stored = H5Dget_type(d), plain = stored > 0 ? pf_h5_plain_type(stored) : -1;
    pf_foreign_type type = PF_FOREIGN_OTHER;
    if (plain > 0) {
        H5T_class_t k = H5Tget_class(plain);
        *size = (int)H5Tget_size(plain);
        if (k == H5T_FLOAT) type = PF_FOREIGN_FLOAT;
        if (k == H5T_INTEGER)
            type = H5Tget_sign(plain) == H5T_SGN_NONE ? PF_FOREIGN_UNSIGNED : PF_FOREIGN_SIGNED;
        if (k == H5T_FLOAT && *size < 4) *size = 4;
        H5Tclose(plain);
    }
    if (stored > 0) H5Tclose(stored);
    return type;
}

static hid_t memory_type(const pf_foreign_array *a)
{
    const hid_t types[3][4] = {
        {H5T_NATIVE_INT8, H5T_NATIVE_INT16, H5T_NATIVE_INT32, H5T_NATIVE_INT64},
        {H5T_NATIVE_UINT8, H5T_NATIVE_UINT16, H5T_NATIVE_UINT32, H5T_NATIVE_UINT64},
        {-1, -1, H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE}};
    int width = a->size == 1 ? 0 : a->size == 2 ? 1 : a->size == 4 ? 2 : 3;
    return types[a->type - PF_FOREIGN_SIGNED][width];
}

static PF_MUST_USE pf_status grow(pf_foreign *f)
{
    if (f->n < f->cap) return PF_OK;
    int cap = 2 * f->cap + 16;
    pf_foreign_array *more = pf_zalloc((size_t)cap * sizeof *more);
    PF_REQUIRE(more, PF_EMEM, "no memory to list the datasets of %s", f->path);
    if (f->n) memcpy(more, f->list, (size_t)f->n * sizeof *more);
    pf_free(f->list);
    f->list = more;
    f->cap = cap;
    return PF_OK;
}

static PF_MUST_USE pf_status add(pf_foreign *f, hid_t d, const char *full)
{
    pf_h5_shape s = {0};
    size_t elements = 0;
    PF_TRY(grow(f));
    PF_TRY(pf_h5_shape_of(d, &s, &elements));
    pf_foreign_array *a = &f->list[f->n];
    *a = (pf_foreign_array){.name = pf_strdup(full + strspn(full, "/")), .rank = s.rank};
    PF_REQUIRE(a->name, PF_EMEM, "no memory to list the datasets of %s", f->path);
    f->n++;
    a->type = type_of(d, &a->size);
    for (int k = 0; k < s.rank; k++) a->dim[k] = (int64_t)s.dim[k];
    return PF_OK;
}

/* What was copied, or walked, has neither rings nor links to elsewhere. */
static PF_MUST_USE pf_status list(pf_foreign *f, const char *group)
{
    char **names = NULL, full[1024];
    int n = 0;
    PF_TRY(pf_h5_members(f->file, f->path, group, &n, &names));
    pf_status st = PF_OK;
    for (int i = 0; i < n && !st; i++) {
        st = pf_h5_join(full, sizeof full, f->path, group, names[i]);
        if (st) break;
        hid_t o = H5Oopen(f->file, full, H5P_DEFAULT);
        H5I_type_t type = o > 0 ? H5Iget_type(o) : H5I_BADID;
        if (o <= 0)
            st = pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot open %s", f->path, full);
        if (type == H5I_GROUP) st = list(f, full);
        if (type == H5I_DATASET) st = add(f, o, full);
        if (o > 0) H5Oclose(o);
    }
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status open_into(pf_foreign *f, int fd)
{
    int direct = 0;
    char *kind = NULL;
    PF_TRY(pf_h5_open_fd(fd, f->path, PF_H5_ALL, NULL, &direct, &f->file));
    if (direct && pf_h5_has_attr(f->file, "kind")) {
        PF_TRY(pf_h5_get_text(f->file, f->path, "kind", &kind));
        int dataset = !strcmp(kind, "dataset");
        pf_status st =
            pf_raise(PF_EFORMAT, PF_WHERE,
                     "%s is a %s file of probflow already; convert what it was made of%s",
                     f->path, kind, dataset ? ", or score its splits by bpd --data" : "");
        pf_free(kind);
        return st;
    }
    PF_TRY(list(f, "/"));
    return PF_OK;
}

pf_status pf_foreign_open(int fd, const char *path, pf_foreign **out)
{
    pf_foreign *f = pf_zalloc(sizeof *f);
    PF_REQUIRE(f, PF_EMEM, "no memory to read %s", path);
    f->path = path;
    f->at = -1;
    pf_status st = open_into(f, fd);
    if (st) {
        pf_foreign_close(f);
        return pf_trail(st, PF_WHERE);
    }
    *out = f;
    return PF_OK;
}

const pf_foreign_array *pf_foreign_list(const pf_foreign *f, int *n)
{
    *n = f->n;
    return f->list;
}

pf_status pf_foreign_choose(pf_foreign *f, int i)
{
    PF_REQUIRE(i >= 0 && i < f->n && f->list[i].type != PF_FOREIGN_OTHER && f->list[i].rank > 0,
               PF_EARG, "%s has no array %d of numbers", f->path, i);
    const char *name = f->list[i].name;
    pf_h5_shape s = {0};
    size_t elements = 0;
    if (f->chosen > 0) H5Dclose(f->chosen);
    f->at = i;
    f->chosen = H5Dopen2(f->file, name, H5P_DEFAULT);
    PF_REQUIRE(f->chosen > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", f->path,
               name);
    PF_TRY(pf_h5_backed(f->chosen, f->path, name, &s, &elements));
    return PF_OK;
}

pf_status pf_foreign_read(pf_foreign *f, int64_t first, int64_t n, void *out)
{
    PF_REQUIRE(f->at >= 0 && first >= 0 && n >= 0 && first <= f->list[f->at].dim[0] - n,
               PF_EARG, "%s: rows that no array has were asked for", f->path);
    const pf_foreign_array *a = &f->list[f->at];
    hsize_t start[PF_RANK_MAX] = {(hsize_t)first}, dim[PF_RANK_MAX] = {(hsize_t)n};
    for (int k = 1; k < a->rank; k++) dim[k] = (hsize_t)a->dim[k];
    hid_t from = H5Dget_space(f->chosen), to = H5Screate_simple(a->rank, dim, NULL);
    herr_t bad = from <= 0 || to <= 0 ||
                 H5Sselect_hyperslab(from, H5S_SELECT_SET, start, NULL, dim, NULL) < 0 ||
                 H5Dread(f->chosen, memory_type(a), to, from, H5P_DEFAULT, out) < 0;
    if (to > 0) H5Sclose(to);
    if (from > 0) H5Sclose(from);
    PF_REQUIRE(!bad, PF_EIO, "%s is damaged: cannot read rows %lld to %lld of the dataset %s",
               f->path, (long long)first, (long long)(first + n - 1), a->name);
    return PF_OK;
}

void pf_foreign_close(pf_foreign *f)
{
    if (!f) return;
    if (f->chosen > 0) H5Dclose(f->chosen);
    pf_h5_close(f->file);
    for (int i = 0; i < f->n; i++) pf_free((void *)f->list[i].name);
    pf_free(f->list);
    pf_free(f);
}
