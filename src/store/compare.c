/* Two files dataset by dataset: the proof that two runs are the same run. */
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <math.h>
#include <string.h>

typedef struct pair {
    const char *path[2];
    hid_t file[2];
    FILE *f;
    int same;
} pair;

/* First difference between numbers, and how many there are. */
static void report_values(pair *p, const char *name, size_t n, const double *a, const double *b)
{
    size_t first = n, count = 0;
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        if (!memcmp(&a[i], &b[i], sizeof a[i])) continue;
        if (first == n) first = i;
        count++;
        most = fmax(most, fabs(a[i] - b[i]));
    }
    p->same = 0;
    if (first == n) fprintf(p->f, "%s differs in bytes that are no numbers\n", name);
    else
        fprintf(
            p->f,
            "%s differs in %zu of %zu values, by at most %.3g; first at %zu: %.17g and %.17g\n",
            name, count, n, most, first, a[first], b[first]);
}

static PF_MUST_USE pf_status values_differ(pair *p, const char *name)
{
    pf_array a = {0}, b = {0};
    pf_status st = pf_store_read_array(p->path[0], name, &a);
    if (!st) st = pf_store_read_array(p->path[1], name, &b);
    if (!st) report_values(p, name, a.size, a.v, b.v);
    pf_array_free(&a);
    pf_array_free(&b);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status compare_bytes(pair *p, const char *name, hid_t d[2])
{
    pf_h5_shape s[2] = {{0}, {0}};
    size_t n[2] = {0};
    for (int k = 0; k < 2; k++) PF_TRY(pf_h5_shape_of(d[k], &s[k], &n[k]));
    hid_t t[2] = {H5Dget_type(d[0]), H5Dget_type(d[1])};
    int types = H5Tequal(t[0], t[1]) > 0, text = H5Tis_variable_str(t[0]) > 0;
    size_t size = H5Tget_size(t[0]);
    void *v[2] = {NULL, NULL};
    pf_status st = PF_OK;
    if (!types || s[0].rank != s[1].rank ||
        memcmp(s[0].dim, s[1].dim, (size_t)s[0].rank * sizeof s[0].dim[0])) {
        fprintf(p->f, "%s has another type or shape\n", name);
        p->same = 0;
    }
    for (int k = 0; k < 2 && p->same && !text && !st; k++) {
        if (!(v[k] = pf_zalloc(n[k] * size)))
            st = pf_raise(PF_EMEM, PF_WHERE, "no memory to compare %s", name);
        else if (n[k] && H5Dread(d[k], t[k], H5S_ALL, H5S_ALL, H5P_DEFAULT, v[k]) < 0)
            st = pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot read the dataset %s",
                          p->path[k], name);
    }
    if (!st && v[0] && v[1] && memcmp(v[0], v[1], n[0] * size)) st = values_differ(p, name);
    for (int k = 0; k < 2; k++) {
        pf_free(v[k]);
        H5Tclose(t[k]);
    }
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status compare_attrs(pair *p, const char *name, hid_t o[2])
{
    char **names[2] = {NULL, NULL};
    int n[2] = {0};
    pf_status st = pf_h5_attrs(o[0], &n[0], &names[0]);
    if (!st) st = pf_h5_attrs(o[1], &n[1], &names[1]);
    if (!st && n[0] != n[1]) {
        fprintf(p->f, "%s has %d and %d attributes\n", name, n[0], n[1]);
        p->same = 0;
    }
    for (int i = 0; !st && p->same && i < n[0]; i++) {
        char *v[2] = {NULL, NULL};
        for (int k = 0; k < 2 && !st; k++)
            st = pf_h5_get_text(o[k], p->path[k], names[0][i], &v[k]);
        if (!st && strcmp(v[0], v[1])) {
            fprintf(p->f, "attribute %s of %s is %.60s and %.60s\n", names[0][i], name, v[0],
                    v[1]);
            p->same = 0;
        }
        pf_free(v[0]);
        pf_free(v[1]);
    }
    pf_h5_names_free(names[0], n[0]);
    pf_h5_names_free(names[1], n[1]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status compare_group(pair *p, const char *group, int depth);

static PF_MUST_USE pf_status compare_member(pair *p, const char *name, int depth)
{
    int kind = pf_h5_is_dataset(p->file[0], name);
    if (!pf_h5_has(p->file[1], name) || kind != pf_h5_is_dataset(p->file[1], name)) {
        fprintf(p->f, "%s is in %s only\n", name, p->path[0]);
        p->same = 0;
        return PF_OK;
    }
    hid_t o[2] = {H5Oopen(p->file[0], name, H5P_DEFAULT),
                  H5Oopen(p->file[1], name, H5P_DEFAULT)};
    pf_status st = PF_OK;
    if (kind < 0 || o[0] <= 0 || o[1] <= 0)
        st = pf_raise(PF_EIO, PF_WHERE, "%s cannot be opened in both files", name);
    if (!st && kind == 1) st = compare_bytes(p, name, o);
    if (!st && p->same) st = compare_attrs(p, name, o);
    for (int k = 0; k < 2; k++)
        if (o[k] > 0) H5Oclose(o[k]);
    if (!st && kind == 0 && p->same) st = compare_group(p, name, depth + 1);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Members in one file's order, then those only the other has. */
static PF_MUST_USE pf_status compare_group(pair *p, const char *group, int depth)
{
    char **names[2] = {NULL, NULL}, full[1024];
    int n[2] = {0};
    PF_REQUIRE(depth < 16, PF_EFORMAT, "%s: groups nest too deep", p->path[0]);
    pf_status st = pf_h5_members(p->file[0], p->path[0], group, &n[0], &names[0]);
    if (!st) st = pf_h5_members(p->file[1], p->path[1], group, &n[1], &names[1]);
    for (int i = 0; !st && p->same && i < n[0]; i++) {
        st = pf_h5_join(full, sizeof full, group, names[0][i]);
        if (!st) st = compare_member(p, full, depth);
    }
    for (int i = 0; !st && p->same && i < n[1]; i++) {
        st = pf_h5_join(full, sizeof full, group, names[1][i]);
        if (st || pf_h5_has(p->file[0], full)) continue;
        fprintf(p->f, "%s is in %s only\n", full, p->path[1]);
        p->same = 0;
    }
    pf_h5_names_free(names[0], n[0]);
    pf_h5_names_free(names[1], n[1]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_store_compare(const char *a, const char *b, FILE *f, int *same)
{
    pair p = {.path = {a, b}, .f = f, .same = 1};
    pf_status st = pf_h5_open(a, &p.file[0]);
    if (!st) st = pf_h5_open(b, &p.file[1]);
    if (!st) st = compare_group(&p, "/", 0);
    if (!st && p.same) fputs("identical\n", f);
    pf_h5_close(p.file[0]);
    pf_h5_close(p.file[1]);
    *same = p.same;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
