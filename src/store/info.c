/* What a file holds, for people. */
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <math.h>
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

static PF_MUST_USE pf_status list(const page *p, hid_t group, const char *name, int depth);

static PF_MUST_USE pf_status print_dataset(const page *p, hid_t d, const char *full)
{
    char name[32];
    pf_h5_shape s = {0};
    size_t elements = 0;
    PF_TRY(pf_h5_shape_of(d, &s, &elements));
    hid_t t = H5Dget_type(d);
    PF_REQUIRE(t > 0, PF_EIO, "%s is damaged: the dataset %s has no type", p->path, full);
    fprintf(p->f, "  %-48s %-8s ", full, pf_h5_type_name(t, name));
    print_shape(p->f, &s);
    fputc('\n', p->f);
    H5Tclose(t);
    return PF_OK;
}

static PF_MUST_USE pf_status print_member(const page *p, hid_t group, const char *group_name,
                                          const char *name, int depth)
{
    char full[1024];
    PF_TRY(pf_h5_join(full, sizeof full, p->path, group_name, name));
    hid_t o = H5Oopen(group, name, H5P_DEFAULT);
    H5I_type_t type = o > 0 ? H5Iget_type(o) : H5I_BADID;
    pf_status st = PF_OK;
    if (type == H5I_GROUP) st = list(p, o, full, depth + 1);
    else if (type == H5I_DATASET) st = print_dataset(p, o, full);
    else fprintf(p->f, "  %-48s (%s)\n", full, o > 0 ? "a type" : "cannot be opened");
    if (o > 0) H5Oclose(o);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* One line a dataset, groups followed. */
static PF_MUST_USE pf_status list(const page *p, hid_t group, const char *name, int depth)
{
    char **names = NULL;
    int n = 0;
    PF_REQUIRE(depth < 16, PF_EFORMAT, "%s: groups nest too deep", p->path);
    PF_TRY(pf_h5_members(p->file, p->path, name, &n, &names));
    pf_status st = PF_OK;
    for (int i = 0; i < n && !st; i++) st = print_member(p, group, name, names[i], depth);
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status all_attrs(const page *p)
{
    char **names = NULL;
    int n = 0;
    PF_TRY(pf_h5_attrs(p->file, p->path, &n, &names));
    for (int i = 0; i < n; i++) print_attr(p, p->file, names[i]);
    pf_h5_names_free(names, n);
    return PF_OK;
}

/* Symbols of all rows of an open split of tokens. */
static PF_MUST_USE pf_status count_symbols(pf_dataset *d, int64_t *symbols)
{
    enum { BLOCK = 4096 };
    int32_t length[BLOCK];
    const pf_dataset_info *a = pf_dataset_about(d);
    for (int64_t at = 0; at < a->n; at += BLOCK) {
        int64_t n = a->n - at < BLOCK ? a->n - at : BLOCK;
        PF_TRY(pf_dataset_lengths(d, at, n, length));
        for (int64_t i = 0; i < n; i++) *symbols += length[i];
    }
    return PF_OK;
}

static PF_MUST_USE pf_status print_split(const page *p, const char *split)
{
    char name[160];
    pf_dataset *d = NULL;
    int64_t symbols = 0;
    snprintf(name, sizeof name, "/%s/tokens", split);
    if (!pf_h5_has(p->file, name)) return PF_OK;
    PF_TRY(pf_dataset_open(p->path, split, &d));
    const pf_dataset_info *a = pf_dataset_about(d);
    pf_status st = count_symbols(d, &symbols);
    if (!st)
        fprintf(p->f, "  %-16s %lld rows of %s%d, %lld in all, each one of %d symbols\n", split,
                (long long)a->n, a->has_lengths ? "up to " : "", a->space.shape.c,
                (long long)symbols, a->space.levels);
    pf_dataset_close(d);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status print_texts(const page *p)
{
    char **names = NULL;
    int n = 0;
    pf_status st = PF_OK;
    PF_TRY(pf_h5_members(p->file, p->path, "/", &n, &names));
    for (int i = 0; i < n && !st; i++) st = print_split(p, names[i]);
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status about_dataset(const page *p)
{
    fprintf(p->f, "dataset %s\n", p->path);
    print_attr(p, p->file, "name");
    print_attr(p, p->file, "levels");
    print_attr(p, p->file, "source");
    print_attr(p, p->file, "sha256");
    print_attr(p, p->file, "converted");
    print_attr(p, p->file, "shrink");
    print_attr(p, p->file, "entropy");
    print_attr(p, p->file, "vocabulary");
    print_attr(p, p->file, "classes");
    print_attr(p, p->file, "coarse_classes");
    PF_TRY(print_texts(p));
    PF_TRY(list(p, p->file, "/", 0));
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
        if (__builtin_add_overflow(*values, k, values)) *values = SIZE_MAX;
        if (d > 0) H5Dclose(d);
    }
    if (g > 0) H5Gclose(g);
    pf_h5_names_free(names, *n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* What a law of indices remembers; values are not read here. */
static PF_MUST_USE pf_status print_times(const page *p)
{
    pf_h5_shape s = {0};
    size_t n = 0;
    if (!pf_h5_has(p->file, "/times") || !pf_h5_has(p->file, "/times/history")) return PF_OK;
    hid_t d = H5Dopen2(p->file, "/times/history", H5P_DEFAULT);
    pf_status st = d > 0 ? pf_h5_shape_of(d, &s, &n)
                         : pf_raise(PF_EIO, PF_WHERE,
                                    "%s is damaged: cannot open /times/history", p->path);
    if (d > 0) H5Dclose(d);
    if (st) return pf_trail(st, PF_WHERE);
    if (s.rank == 2 && s.dim[1] == 1)
        fprintf(p->f, "  %-16s a mean square of the losses of each of %llu indices\n", "/times",
                (unsigned long long)s.dim[0]);
    else if (s.rank == 2)
        fprintf(p->f, "  %-16s up to %llu last losses of %llu indices\n", "/times",
                (unsigned long long)s.dim[1], (unsigned long long)s.dim[0]);
    return PF_OK;
}

static PF_MUST_USE pf_status about_checkpoint(const page *p)
{
    fprintf(p->f, "checkpoint %s\n", p->path);
    hid_t g = H5Gopen2(p->file, "/state", H5P_DEFAULT);
    if (g > 0) {
        print_attr(p, g, "step");
        print_attr(p, g, "seed");
        print_attr(p, g, "shards");
        print_attr(p, g, "shape");
        H5Gclose(g);
    }
    for (const char *const *group = pf_checkpoint_groups; *group; group++) {
        int n = 0;
        size_t values = 0;
        PF_TRY(count_parameters(p, *group, &n, &values));
        if (n) fprintf(p->f, "  %-16s %d datasets, %zu values\n", *group, n, values);
    }
    PF_TRY(print_times(p));
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
        st = pf_h5_array(p->file, p->path, names[i], &a);
        if (!st && a.size)
            fprintf(p->f, "  %-16s %zu rows, first %.6g, last %.6g\n", names[i], a.size, a.v[0],
                    a.v[a.size - 1]);
        if (!st && !a.size) fprintf(p->f, "  %-16s 0 rows\n", names[i]);
        pf_array_free(&a);
    }
    pf_h5_names_free(names, n);
    if (st) return pf_trail(st, PF_WHERE);
    print_provenance(p);
    return PF_OK;
}

/* The number of an attribute with so many digits, or that it is none; "nan" when absent. */
static const char *number(const page *p, const char *name, char form, int digits, char buf[64])
{
    double v = 0;
    if (!pf_h5_has_attr(p->file, name)) return "nan";
    if (pf_h5_get_f64(p->file, p->path, name, &v)) {
        snprintf(buf, 64, "(%s not readable)", name);
        return buf;
    }
    if (isnan(v)) return "nan";
    snprintf(buf, 64, form == 'f' && fabs(v) < 1e15 ? "%.*f" : "%.*g", digits, v);
    return buf;
}

/* The figures that a file names, or those of files from before there were others: first the number and
 * its error, then what stands behind them. */
static void print_summary(const page *p, const char *unit, char *names)
{
    char buf[3][64], *rest = NULL;
    const char *total = strtok_r(names, " ", &rest), *error = strtok_r(NULL, " ", &rest), *name;
    if (!total || !error || !pf_h5_has_attr(p->file, total)) return;
    fprintf(p->f, "  %-16s %s +- %s %s over %s %s\n", total, number(p, total, 'f', 4, buf[0]),
            number(p, error, 'f', 4, buf[1]), unit ? unit : "bits/dim",
            number(p, "summary_images", 'f', 0, buf[2]), unit ? "rows" : "images");
    while ((name = strtok_r(NULL, " ", &rest))) {
        const char *v = number(p, name, 'g', 6, buf[0]);
        if (strcmp(v, "nan")) fprintf(p->f, "  %-16s %s\n", name, v);
    }
}

static PF_MUST_USE pf_status about_results(const page *p)
{
    char older[] = "nll nll_se prior integral dequantisation offset bound bound_se probe_se "
                   "dequant_se solver_error solver_error_max evaluations steps";
    char *names = NULL, *unit = NULL;
    pf_array done = {0};
    fprintf(p->f, "results %s\n", p->path);
    PF_TRY(pf_h5_array(p->file, p->path, "done", &done));
    size_t n = 0;
    for (size_t i = 0; i < done.size; i++) n += done.v[i] != 0;
    fprintf(p->f, "  %-16s %zu of %zu\n", "groups done", n, done.size);
    pf_array_free(&done);
    print_attr(p, p->file, "images");
    print_attr(p, p->file, "draws");
    print_attr(p, p->file, "group");
    if (pf_h5_has_attr(p->file, "summary"))
        PF_TRY(pf_h5_get_text(p->file, p->path, "summary", &names));
    if (pf_h5_has_attr(p->file, "unit"))
        PF_TRY(pf_h5_get_text(p->file, p->path, "unit", &unit));
    print_summary(p, unit, names ? names : older);
    pf_free(names);
    pf_free(unit);
    print_attr(p, p->file, "config");
    print_provenance(p);
    return PF_OK;
}

static PF_MUST_USE pf_status about_any(const page *p)
{
    fprintf(p->f, "HDF5 file %s\n", p->path);
    PF_TRY(all_attrs(p));
    PF_TRY(list(p, p->file, "/", 0));
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

/* Always by a child, which any file may crash.  Values are needed of metrics and results only. */
static PF_MUST_USE pf_status open_page(page *p, char **kind)
{
    PF_TRY(pf_h5_open(p->path, PF_H5_LIST, NULL, &p->file));
    if (!pf_h5_has_attr(p->file, "kind")) return PF_OK;
    PF_TRY(pf_h5_get_text(p->file, p->path, "kind", kind));
    if (strcmp(*kind, "metrics") && strcmp(*kind, "results")) return PF_OK;
    pf_h5_close(p->file);
    PF_TRY(pf_h5_open(p->path, PF_H5_COPY, NULL, &p->file));
    return PF_OK;
}

pf_status pf_store_info(const char *path, FILE *f)
{
    page p = {.path = path, .f = f};
    char *kind = NULL;
    pf_status st = open_page(&p, &kind);
    pf_status (*print)(const page *) = about_any;
    for (size_t i = 0; kind && i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(kind, kinds[i].kind)) print = kinds[i].print;
    if (!st) st = print(&p);
    pf_free(kind);
    pf_h5_close(p.file);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
