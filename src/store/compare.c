/* Two files, all of what they hold: the proof that two runs are the same run.  What cannot be compared
 * is a difference. */
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct pair {
    const char *path[2];
    hid_t file[2];
    FILE *f;
    int same;
    char made[256]; /* attributes of the root that tell another machine or build */
} pair;

/* ---- values ---------------------------------------------------------------------------------- */

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

static PF_MUST_USE pf_status values_differ(pair *p, const char *name, hid_t type)
{
    pf_array a = {0}, b = {0};
    p->same = 0;
    if (H5Tget_class(type) == H5T_STRING) {
        fprintf(p->f, "%s holds another text\n", name);
        return PF_OK;
    }
    pf_status st = pf_h5_array(p->file[0], p->path[0], name, &a);
    if (!st) st = pf_h5_array(p->file[1], p->path[1], name, &b);
    if (!st) report_values(p, name, a.size, a.v, b.v);
    pf_array_free(&a);
    pf_array_free(&b);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* Texts of any length behind pointers, or plain bytes. */
static int same_values(hid_t type, size_t n, const void *a, const void *b)
{
    if (H5Tis_variable_str(type) <= 0) return !memcmp(a, b, n * H5Tget_size(type));
    const char *const *s = a, *const *t = b;
    for (size_t i = 0; i < n; i++)
        if (!s[i] != !t[i] || (s[i] && strcmp(s[i], t[i]))) return 0;
    return 1;
}

static PF_MUST_USE pf_status compare_values(pair *p, const char *name, hid_t d[2], hid_t type)
{
    pf_h5_shape s[2] = {{0}, {0}};
    size_t n[2] = {0}, size = H5Tget_size(type);
    void *v[2] = {NULL, NULL};
    pf_status st = PF_OK;
    int equal = 1;
    for (int k = 0; k < 2 && !st; k++) {
        st = pf_h5_backed(d[k], p->path[k], name, &s[k], &n[k]);
        if (!st && !(v[k] = pf_zalloc(n[k] * size)))
            st = pf_raise(PF_EMEM, PF_WHERE, "no memory to compare %s", name);
        if (!st && n[k] && H5Dread(d[k], type, H5S_ALL, H5S_ALL, H5P_DEFAULT, v[k]) < 0)
            st = pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot read the dataset %s",
                          p->path[k], name);
    }
    if (!st) equal = same_values(type, n[0], v[0], v[1]);
    for (int k = 0; k < 2; k++) {
        hid_t space = H5Dget_space(d[k]);
        if (v[k] && n[k] && H5Tis_variable_str(type) > 0)
            H5Dvlen_reclaim(type, space, H5P_DEFAULT, v[k]);
        H5Sclose(space);
        pf_free(v[k]);
    }
    if (!st && !equal) st = values_differ(p, name, type);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status compare_dataset(pair *p, const char *name, hid_t d[2])
{
    pf_h5_shape s[2] = {{0}, {0}};
    size_t n[2] = {0};
    for (int k = 0; k < 2; k++) PF_TRY(pf_h5_shape_of(d[k], &s[k], &n[k]));
    hid_t t[2] = {H5Dget_type(d[0]), H5Dget_type(d[1])}, plain = -1;
    if (t[0] > 0) plain = pf_h5_plain_type(t[0]);
    int types = t[0] > 0 && t[1] > 0 && H5Tequal(t[0], t[1]) > 0;
    int shapes = s[0].rank == s[1].rank &&
                 !memcmp(s[0].dim, s[1].dim, (size_t)s[0].rank * sizeof s[0].dim[0]);
    pf_status st = PF_OK;
    p->same = types && shapes && plain > 0;
    if (!types || !shapes) fprintf(p->f, "%s has another type or shape\n", name);
    else if (plain <= 0) fprintf(p->f, "%s holds values that cannot be compared\n", name);
    else st = compare_values(p, name, d, t[0]);
    if (plain > 0) H5Tclose(plain);
    for (int k = 0; k < 2; k++)
        if (t[k] > 0) H5Tclose(t[k]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* Two machines, builds or places give them other values; the data are then still the same. */
static int tells_the_making(const char *name)
{
    static const char *const of[] = {"version", "revision", "libraries",
                                     "cpu",     "isa",      "checkpoint"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (!strcmp(name, of[i])) return 1;
    return 0;
}

/* Digests of what is compared itself, and what the data are; files of before have none. */
static int may_lack(const char *attr)
{
    return tells_the_making(attr) || !strcmp(attr, "content") ||
           !strcmp(attr, "data_content") || !strcmp(attr, "space");
}

static void made_with_another(pair *p, const char *what)
{
    size_t at = strlen(p->made);
    if (strstr(p->made, what)) return;
    snprintf(p->made + at, sizeof p->made - at, "%s%s", at ? ", " : "", what);
}

/* Do two configurations differ in where the data lie, and in nothing else? */
static int only_moved(const char *a, const char *b)
{
    static const char path[] = "  path: "; /* of the section data alone */
    while (*a || *b) {
        size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        int moved = !strncmp(a, path, sizeof path - 1) && !strncmp(b, path, sizeof path - 1);
        if (!moved && (n != m || memcmp(a, b, n))) return 0;
        a += n + (a[n] == '\n'), b += m + (b[m] == '\n');
    }
    return 1;
}

static void attr_differs(pair *p, const char *name, const char *attr, hid_t o[2], int compared)
{
    char *v[2] = {NULL, NULL};
    int is_root = !strcmp(name, "/");
    if (compared == 0 && is_root && tells_the_making(attr)) {
        made_with_another(p, attr);
        return;
    }
    p->same = 0;
    if (compared < 0)
        fprintf(p->f, "attribute %s of %s holds values that cannot be compared\n", attr, name);
    else if (pf_h5_get_text(o[0], p->path[0], attr, &v[0]) ||
             pf_h5_get_text(o[1], p->path[1], attr, &v[1]) || !strcmp(v[0], v[1]))
        fprintf(p->f, "attribute %s of %s differs\n", attr, name);
    else if (is_root && !strcmp(attr, "config") && only_moved(v[0], v[1])) {
        p->same = 1;
        made_with_another(p, "data.path");
    } else {
        size_t at = 0; /* from the line that differs on */
        for (size_t i = 0; v[0][i] && v[0][i] == v[1][i]; i++)
            if (v[0][i] == '\n') at = i + 1;
        fprintf(p->f, "attribute %s of %s is %.*s and %.*s\n", attr, name,
                (int)strcspn(v[0] + at, "\n"), v[0] + at, (int)strcspn(v[1] + at, "\n"),
                v[1] + at);
    }
    pf_free(v[0]);
    pf_free(v[1]);
}

/* Both lists are sorted. */
static PF_MUST_USE pf_status compare_attr_lists(pair *p, const char *name, hid_t o[2],
                                                char **names[2], const int n[2])
{
    int i = 0, k = 0;
    while (p->same && (i < n[0] || k < n[1])) {
        int c = i == n[0] ? 1 : k == n[1] ? -1 : strcmp(names[0][i], names[1][k]);
        const char *one = c < 0 ? names[0][i] : c > 0 ? names[1][k] : "";
        if (c && may_lack(one)) {
            if (c < 0) i++;
            else k++;
            made_with_another(p, one);
            continue;
        }
        if (c) {
            fprintf(p->f, "attribute %s of %s is in %s only\n", one, name, p->path[c > 0]);
            p->same = 0;
            return PF_OK;
        }
        int same = 0;
        PF_TRY(pf_h5_same_attr(o, p->path, names[0][i], &same));
        if (same <= 0) attr_differs(p, name, names[0][i], o, same);
        i++, k++;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status compare_attrs(pair *p, const char *name, hid_t o[2])
{
    char **names[2] = {NULL, NULL};
    int n[2] = {0};
    pf_status st = pf_h5_attrs(o[0], p->path[0], &n[0], &names[0]);
    if (!st) st = pf_h5_attrs(o[1], p->path[1], &n[1], &names[1]);
    if (!st) st = compare_attr_lists(p, name, o, names, n);
    pf_h5_names_free(names[0], n[0]);
    pf_h5_names_free(names[1], n[1]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static PF_MUST_USE pf_status compare_group(pair *p, const char *group, int depth);

static PF_MUST_USE pf_status compare_objects(pair *p, const char *name, hid_t o[2], int depth)
{
    H5I_type_t type[2] = {H5Iget_type(o[0]), H5Iget_type(o[1])};
    if (type[0] != type[1] || (type[0] != H5I_DATASET && type[0] != H5I_GROUP)) {
        fprintf(p->f, "%s %s\n", name,
                type[0] != type[1] ? "is of another kind in the other file"
                                   : "is neither group nor dataset and cannot be compared");
        p->same = 0;
        return PF_OK;
    }
    if (type[0] == H5I_DATASET) PF_TRY(compare_dataset(p, name, o));
    if (p->same) PF_TRY(compare_attrs(p, name, o));
    if (p->same && type[0] == H5I_GROUP) PF_TRY(compare_group(p, name, depth + 1));
    return PF_OK;
}

static PF_MUST_USE pf_status compare_member(pair *p, const char *name, int depth)
{
    hid_t o[2] = {H5Oopen(p->file[0], name, H5P_DEFAULT),
                  H5Oopen(p->file[1], name, H5P_DEFAULT)};
    pf_status st = o[0] > 0 && o[1] > 0
                       ? compare_objects(p, name, o, depth)
                       : pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot open %s",
                                  p->path[o[0] > 0], name);
    for (int k = 0; k < 2; k++)
        if (o[k] > 0) H5Oclose(o[k]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Says which name one list lacks, or that their order differs.  Leaves both sorted. */
static void names_differ(pair *p, const char *group, char **names[2], const int n[2])
{
    p->same = 0;
    for (int k = 0; k < 2; k++)
        if (n[k]) qsort(names[k], (size_t)n[k], sizeof *names[k], by_name);
    for (int i = 0; i < n[0] || i < n[1]; i++) {
        int c = i >= n[0] ? 1 : i >= n[1] ? -1 : strcmp(names[0][i], names[1][i]);
        if (!c) continue;
        fprintf(p->f, "%s%s%s is in %s only\n", group, strcmp(group, "/") ? "/" : "",
                c < 0 ? names[0][i] : names[1][i], p->path[c > 0]);
        return;
    }
    fprintf(p->f, "the members of %s are in another order\n", group);
}

static PF_MUST_USE pf_status compare_members(pair *p, const char *group, char **names[2],
                                             const int n[2], int depth)
{
    char full[1024];
    int equal = n[0] == n[1];
    for (int i = 0; equal && i < n[0]; i++) equal = !strcmp(names[0][i], names[1][i]);
    for (int i = 0; equal && p->same && i < n[0]; i++) {
        PF_TRY(pf_h5_join(full, sizeof full, p->path[0], group, names[0][i]));
        PF_TRY(compare_member(p, full, depth));
    }
    if (!equal) names_differ(p, group, names, n);
    return PF_OK;
}

static PF_MUST_USE pf_status compare_group(pair *p, const char *group, int depth)
{
    char **names[2] = {NULL, NULL};
    int n[2] = {0};
    PF_REQUIRE(depth < 16, PF_EFORMAT, "%s: groups nest too deep", p->path[0]);
    pf_status st = pf_h5_members(p->file[0], p->path[0], group, &n[0], &names[0]);
    if (!st) st = pf_h5_members(p->file[1], p->path[1], group, &n[1], &names[1]);
    if (!st) st = compare_members(p, group, names, n, depth);
    pf_h5_names_free(names[0], n[0]);
    pf_h5_names_free(names[1], n[1]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_store_compare(const char *a, const char *b, FILE *f, int *same)
{
    pair p = {.path = {a, b}, .f = f, .same = 1};
    *same = 0;
    pf_status st = pf_h5_open(a, PF_H5_COPY, NULL, &p.file[0]);
    if (!st) st = pf_h5_open(b, PF_H5_COPY, NULL, &p.file[1]);
    /* The data first: where they differ tells more than that the configurations do. */
    if (!st) st = compare_group(&p, "/", 0);
    if (!st && p.same) st = compare_attrs(&p, "/", p.file);
    if (!st && p.same) fputs("identical\n", f);
    if (!st && p.same && p.made[0]) fprintf(f, "  made with another %s\n", p.made);
    pf_h5_close(p.file[0]);
    pf_h5_close(p.file[1]);
    *same = !st && p.same;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
