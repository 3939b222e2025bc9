#include "vectors.h"

#include <probflow/memory.h>

#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMED(to, fmt)                       \
    do {                                     \
        va_list ap_;                         \
        va_start(ap_, fmt);                  \
        vsnprintf(to, sizeof(to), fmt, ap_); \
        va_end(ap_);                         \
    } while (0)

int vectors_under(const char *pattern, const char *path)
{
    char part[VECTORS_NAME_MAX], trimmed[VECTORS_NAME_MAX];
    pattern += strspn(pattern, "/");
    size_t n = strlen(pattern);
    while (n && pattern[n - 1] == '/') n--;
    snprintf(trimmed, sizeof trimmed, "%.*s", (int)n, pattern);
    if (!n) return 1;
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] && path[i] != '/') continue;
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (!fnmatch(trimmed, part, FNM_PATHNAME)) return 1;
    }
    return 0;
}

static double number(const pf_foreign_array *a, const void *p, size_t i)
{
    if (a->type == PF_FOREIGN_FLOAT)
        return a->size == 4 ? (double)((const float *)p)[i] : ((const double *)p)[i];
    if (a->type == PF_FOREIGN_UNSIGNED) switch (a->size) {
        case 1:
            return ((const uint8_t *)p)[i];
        case 2:
            return ((const uint16_t *)p)[i];
        case 4:
            return ((const uint32_t *)p)[i];
        default:
            return (double)((const uint64_t *)p)[i];
        }
    switch (a->size) {
    case 1:
        return ((const int8_t *)p)[i];
    case 2:
        return ((const int16_t *)p)[i];
    case 4:
        return ((const int32_t *)p)[i];
    default:
        return (double)((const int64_t *)p)[i];
    }
}

static PF_MUST_USE pf_status read_rows(pf_foreign *f, int i, const pf_foreign_array *a,
                                       vectors_array *to)
{
    void *raw = pf_zalloc(to->size * (size_t)a->size);
    to->v = pf_zalloc(to->size * sizeof *to->v);
    pf_status st = raw && to->v ? pf_foreign_choose(f, i)
                                : pf_raise(PF_EMEM, PF_WHERE, "no memory for %s", a->name);
    if (!st) st = pf_foreign_read(f, 0, a->dim[0], raw);
    for (size_t j = 0; !st && j < to->size; j++) to->v[j] = number(a, raw, j);
    pf_free(raw);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status read_array(vectors *v, pf_foreign *f, int i)
{
    int n = 0;
    const pf_foreign_array *a = &pf_foreign_list(f, &n)[i];
    vectors_array *to = &v->all[v->n];
    PF_REQUIRE(strlen(a->name) < sizeof to->name, PF_EFORMAT, "%s: the name %.60s... is long",
               v->path, a->name);
    strcpy(to->name, a->name);
    v->n++;
    to->rank = a->rank;
    to->size = 1;
    for (int k = 0; k < a->rank; k++) to->size *= (size_t)(to->dim[k] = a->dim[k]);
    if (a->type == PF_FOREIGN_OTHER) return PF_OK;
    if (a->rank > 0) return read_rows(f, i, a, to);
    pf_array scalar;
    PF_TRY(pf_store_read_array(v->path, a->name, &scalar));
    to->v = scalar.v;
    return PF_OK;
}

static PF_MUST_USE pf_status read_all(vectors *v, pf_foreign *f)
{
    int n = 0;
    pf_foreign_list(f, &n);
    v->all = pf_zalloc((size_t)n * sizeof *v->all);
    PF_REQUIRE(v->all, PF_EMEM, "no memory for the arrays of %s", v->path);
    for (int i = 0; i < n; i++) PF_TRY(read_array(v, f, i));
    return PF_OK;
}

pf_status vectors_open(const char *path, const vectors_kind *kind, const char *const *patterns,
                       int n, vectors *v)
{
    pf_foreign *f = NULL;
    *v = (vectors){.path = path};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    PF_REQUIRE(fd >= 0, PF_EIO, "cannot open %s", path);
    pf_status st = pf_foreign_open(fd, path, &f);
    if (!st) st = read_all(v, f);
    pf_foreign_close(f);
    close(fd);
    if (st) return pf_trail(st, PF_WHERE);
    for (int i = 0; i < v->n; i++) {
        vectors_array *a = &v->all[i];
        a->wanted = !n;
        for (int k = 0; k < n; k++) a->wanted |= vectors_under(patterns[k], a->name);
        for (int k = 0; kind->inputs[k]; k++)
            if (vectors_under(kind->inputs[k], a->name)) a->wanted = 0;
    }
    return PF_OK;
}

void vectors_close(vectors *v)
{
    for (int i = 0; i < v->n; i++) pf_free(v->all[i].v);
    pf_free(v->all);
    *v = (vectors){0};
}

static vectors_array *lookup(const vectors *v, const char *name)
{
    for (int i = 0; i < v->n; i++)
        if (!strcmp(v->all[i].name, name)) return v->all[i].v ? &v->all[i] : NULL;
    return NULL;
}

const vectors_array *vectors_find(const vectors *v, const char *name, ...)
{
    char full[VECTORS_NAME_MAX];
    NAMED(full, name);
    return lookup(v, full);
}

char *vectors_attr(const vectors *v, const char *name, ...)
{
    char full[VECTORS_NAME_MAX], *text = NULL;
    NAMED(full, name);
    return pf_store_read_attr(v->path, full, &text) ? NULL : text;
}

double vectors_number(const vectors *v, const char *group, const char *name)
{
    char *text = vectors_attr(v, "%s/%s", group, name);
    double x = text ? strtod(text, NULL) : NAN;
    pf_free(text);
    return x;
}

pf_status vectors_meet(const vectors *v, double tolerance, const char *group, const char *name,
                       double got)
{
    double want = vectors_number(v, group, name);
    PF_REQUIRE(isnan(want) || fabs(got - want) <= tolerance * fmax(1.0, fabs(want)), PF_EFORMAT,
               "%s: %s of %s is %.15g, not %.15g", v->path, name, group, got, want);
    return PF_OK;
}

int vectors_group_of(const vectors_array *a, const char *name, char *group, size_t size)
{
    const char *slash = strrchr(a->name, '/');
    if (!slash || strcmp(slash + 1, name)) return 0;
    snprintf(group, size, "%.*s", (int)(slash - a->name), a->name);
    return 1;
}

int vectors_wants(const vectors *v, const char *pattern)
{
    for (int i = 0; i < v->n; i++)
        if (v->all[i].wanted && vectors_under(pattern, v->all[i].name)) return 1;
    return 0;
}

static void record(vectors_array *a, double error, double tolerance)
{
    if (!a || !a->wanted) return;
    if (isnan(error)) error = INFINITY;
    if (!a->held || !(error / tolerance <= a->error / a->tolerance)) {
        a->error = error;
        a->tolerance = tolerance;
    }
    a->held = 1;
}

void vectors_error(vectors *v, double error, double tolerance, const char *name, ...)
{
    char full[VECTORS_NAME_MAX];
    NAMED(full, name);
    record(lookup(v, full), error, tolerance);
}

void vectors_hold(vectors *v, double tolerance, const double *got, size_t n, const char *name,
                  ...)
{
    char full[VECTORS_NAME_MAX];
    double worst = 0.0;
    NAMED(full, name);
    vectors_array *a = lookup(v, full);
    if (a && a->size != n) worst = INFINITY;
    for (size_t i = 0; a && a->size == n && i < n; i++) {
        if (isnan(got[i]) && isnan(a->v[i])) continue;
        double d = got[i] == a->v[i] ? 0.0 : fabs(got[i] - a->v[i]) / fmax(1.0, fabs(a->v[i]));
        worst = fmax(worst, isnan(d) ? INFINITY : d);
    }
    record(a, worst, tolerance);
}

void vectors_report(const vectors *v, int *passed, int *failed)
{
    int bad = 0;
    for (int i = 0; i < v->n; i++) {
        const vectors_array *a = &v->all[i];
        if (!a->wanted) continue;
        int good = a->held && a->error <= a->tolerance;
        if (!good && !bad++) printf("%s\n", v->path);
        *(good ? passed : failed) += 1;
        if (!a->held) printf("%s: not checked\n", a->name);
        else if (!good)
            printf("%s: error %.3g, tolerance %.3g\n", a->name, a->error, a->tolerance);
    }
}
