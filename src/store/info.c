/* What a file holds, for people. */
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <inttypes.h>
#include <string.h>

typedef struct page {
    const char *path;
    hid_t file;
    FILE *f;
} page;

static void print_shape(FILE *f, const pf_h5_shape *s)
{
    fputc('[', f);
    for (int i = 0; i < s->rank; i++)
        fprintf(f, "%s%llu", i ? "," : "", (unsigned long long)s->dim[i]);
    fputc(']', f);
}

static const char *type_name(hid_t d, char buf[32])
{
    hid_t t = H5Dget_type(d);
    H5T_class_t k = H5Tget_class(t);
    snprintf(buf, 32, "%s%zu",
             k == H5T_FLOAT     ? "float"
             : k == H5T_INTEGER ? (H5Tget_sign(t) == H5T_SGN_NONE ? "uint" : "int")
                                : "other",
             8 * H5Tget_size(t));
    H5Tclose(t);
    return buf;
}

/* "  name: value", several lines indented below their name. */
static void print_attr(const page *p, hid_t at, const char *name)
{
    char *text = NULL;
    if (!pf_h5_has_attr(at, name)) return;
    if (pf_h5_get_text(at, p->path, name, &text)) {
        fprintf(p->f, "  %-16s (not readable)\n", name);
        return;
    }
    if (!strchr(text, '\n')) fprintf(p->f, "  %-16s %s\n", name, text);
    else {
        fprintf(p->f, "  %s\n", name);
        for (const char *s = text; *s;) {
            size_t n = strcspn(s, "\n");
            fprintf(p->f, "    %.*s\n", (int)n, s);
            s += n + (s[n] == '\n');
        }
    }
    pf_free(text);
}

static void print_provenance(const page *p)
{
    print_attr(p, p->file, "version");
    print_attr(p, p->file, "revision");
    print_attr(p, p->file, "libraries");
    print_attr(p, p->file, "cpu");
    print_attr(p, p->file, "isa");
}

/* One line a dataset, groups followed. */
static PF_MUST_USE pf_status list(const page *p, const char *group, int depth)
{
    char **names = NULL, full[1024];
    int n = 0;
    PF_REQUIRE(depth < 16, PF_EFORMAT, "%s: groups nest too deep", p->path);
    PF_TRY(pf_h5_members(p->file, p->path, group, &n, &names));
    pf_status st = PF_OK;
    for (int i = 0; i < n && !st; i++) {
        st = pf_h5_join(full, sizeof full, group, names[i]);
        if (st) break;
        int kind = pf_h5_is_dataset(p->file, full);
        if (kind == 0) st = list(p, full, depth + 1);
        if (kind < 0) fprintf(p->f, "  %-48s (cannot be opened)\n", full);
        if (kind != 1) continue;
        hid_t d = H5Dopen2(p->file, full, H5P_DEFAULT);
        pf_h5_shape s = {0};
        size_t elements = 0;
        char type[32];
        st = pf_h5_shape_of(d, &s, &elements);
        fprintf(p->f, "  %-48s %-8s ", full, type_name(d, type));
        print_shape(p->f, &s);
        fputc('\n', p->f);
        H5Dclose(d);
    }
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status all_attrs(const page *p)
{
    char **names = NULL;
    int n = 0;
    PF_TRY(pf_h5_attrs(p->file, &n, &names));
    for (int i = 0; i < n; i++) print_attr(p, p->file, names[i]);
    pf_h5_names_free(names, n);
    return PF_OK;
}

static PF_MUST_USE pf_status about_dataset(const page *p)
{
    fprintf(p->f, "dataset %s\n", p->path);
    print_attr(p, p->file, "name");
    print_attr(p, p->file, "levels");
    print_attr(p, p->file, "source");
    print_attr(p, p->file, "sha256");
    print_attr(p, p->file, "shrink");
    print_attr(p, p->file, "entropy");
    print_attr(p, p->file, "vocabulary");
    PF_TRY(list(p, "/", 0));
    print_provenance(p);
    return PF_OK;
}

static PF_MUST_USE pf_status count_parameters(const page *p, const char *group, int *n,
                                              size_t *values)
{
    char **names = NULL;
    *n = 0;
    *values = 0;
    if (!pf_h5_has(p->file, group)) return PF_OK;
    PF_TRY(pf_h5_members(p->file, p->path, group, n, &names));
    pf_status st = PF_OK;
    hid_t g = H5Gopen2(p->file, group, H5P_DEFAULT);
    for (int i = 0; i < *n && !st; i++) {
        hid_t d = H5Dopen2(g, names[i], H5P_DEFAULT);
        pf_h5_shape s = {0};
        size_t k = 0;
        st = d > 0 ? pf_h5_shape_of(d, &s, &k)
                   : pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot open %s/%s", p->path,
                              group, names[i]);
        *values += k;
        if (d > 0) H5Dclose(d);
    }
    if (g > 0) H5Gclose(g);
    pf_h5_names_free(names, *n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status about_checkpoint(const page *p)
{
    static const char *const groups[] = {"/params", "/ema", "/adam/m", "/adam/v"};
    fprintf(p->f, "checkpoint %s\n", p->path);
    hid_t g = H5Gopen2(p->file, "/state", H5P_DEFAULT);
    if (g > 0) {
        print_attr(p, g, "step");
        print_attr(p, g, "seed");
        print_attr(p, g, "shards");
        print_attr(p, g, "shape");
        H5Gclose(g);
    }
    for (int i = 0; i < 4; i++) {
        int n = 0;
        size_t values = 0;
        PF_TRY(count_parameters(p, groups[i], &n, &values));
        if (n) fprintf(p->f, "  %-16s %d datasets, %zu values\n", groups[i], n, values);
    }
    print_attr(p, p->file, "config");
    print_provenance(p);
    return PF_OK;
}

static PF_MUST_USE pf_status about_metrics(const page *p)
{
    fprintf(p->f, "metrics %s\n", p->path);
    char **names = NULL;
    int n = 0;
    PF_TRY(pf_h5_members(p->file, p->path, "/", &n, &names));
    pf_status st = PF_OK;
    for (int i = 0; i < n && !st; i++) {
        if (!strcmp(names[i], "row_crc32")) continue;
        pf_array a = {0};
        pf_h5_shape s = {0};
        hid_t d = H5Dopen2(p->file, names[i], H5P_DEFAULT);
        if (d <= 0)
            st = pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot open the column %s", p->path,
                          names[i]);
        if (!st) st = pf_h5_shape_of(d, &s, &a.size);
        if (!st && !(a.v = pf_zalloc(a.size * sizeof *a.v)))
            st = pf_raise(PF_EMEM, PF_WHERE, "no memory for a column");
        if (!st && a.size &&
            H5Dread(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, a.v) < 0)
            st = pf_raise(PF_EIO, PF_WHERE, "%s is damaged: cannot read the column %s", p->path,
                          names[i]);
        if (!st && a.size)
            fprintf(p->f, "  %-16s %zu rows, first %.6g, last %.6g\n", names[i], a.size, a.v[0],
                    a.v[a.size - 1]);
        if (!st && !a.size) fprintf(p->f, "  %-16s 0 rows\n", names[i]);
        if (d > 0) H5Dclose(d);
        pf_array_free(&a);
    }
    pf_h5_names_free(names, n);
    if (st) return pf_trail(st, PF_WHERE);
    print_provenance(p);
    return PF_OK;
}

static double number(const page *p, const char *name)
{
    double v = 0;
    hid_t a = H5Aopen(p->file, name, H5P_DEFAULT);
    if (a <= 0) return 0;
    if (H5Aread(a, H5T_NATIVE_DOUBLE, &v) < 0) v = 0;
    H5Aclose(a);
    return v;
}

static PF_MUST_USE pf_status about_results(const page *p)
{
    static const char *const shares[] = {
        "prior",        "integral",         "dequantisation", "offset",
        "bound",        "bound_se",         "probe_se",       "dequant_se",
        "solver_error", "solver_error_max", "evaluations",    "steps"};
    pf_array done = {0};
    fprintf(p->f, "results %s\n", p->path);
    PF_TRY(pf_store_read_array(p->path, "done", &done));
    size_t n = 0;
    for (size_t i = 0; i < done.size; i++) n += done.v[i] != 0;
    fprintf(p->f, "  %-16s %zu of %zu\n", "groups done", n, done.size);
    pf_array_free(&done);
    print_attr(p, p->file, "images");
    print_attr(p, p->file, "draws");
    print_attr(p, p->file, "group");
    if (pf_h5_has_attr(p->file, "nll")) {
        fprintf(p->f, "  %-16s %.4f +- %.4f bits/dim over %.0f images\n", "nll",
                number(p, "nll"), number(p, "nll_se"), number(p, "summary_images"));
        for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
            double v = number(p, shares[i]);
            if (v == v) fprintf(p->f, "  %-16s %.6g\n", shares[i], v);
        }
    }
    print_attr(p, p->file, "config");
    print_provenance(p);
    return PF_OK;
}

static PF_MUST_USE pf_status about_any(const page *p)
{
    fprintf(p->f, "HDF5 file %s\n", p->path);
    PF_TRY(all_attrs(p));
    PF_TRY(list(p, "/", 0));
    return PF_OK;
}

/* clang-format off */
static const struct {
    const char *kind;
    pf_status (*print)(const page *);
} kinds[] = {
    {"dataset", about_dataset}, {"checkpoint", about_checkpoint},
    {"metrics", about_metrics}, {"results", about_results},
};
/* clang-format on */

pf_status pf_store_info(const char *path, FILE *f)
{
    page p = {.path = path, .f = f};
    PF_TRY(pf_h5_open(path, &p.file));
    char *kind = NULL;
    pf_status st =
        pf_h5_has_attr(p.file, "kind") ? pf_h5_get_text(p.file, path, "kind", &kind) : PF_OK;
    pf_status (*print)(const page *) = about_any;
    for (size_t i = 0; kind && i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(kind, kinds[i].kind)) print = kinds[i].print;
    if (!st) st = print(&p);
    pf_free(kind);
    pf_h5_close(p.file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
