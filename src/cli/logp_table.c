/* The table of `probflow logp`: its columns, its formats, what is said of all points. */
#include "cli/logp.h"
#include "cli/bpd.h"

#include <probflow/estimand.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>
#include <strings.h>

enum { COLUMNS = 32, REMARK_TEXT = 192 };

static const struct {
    pf_remark bit;
    const char *word, *sentence;
} remarks[] = {
    {PF_REMARK_GRID, "grid",
     "lie on a grid, where a density has no upper limit: score them as pixels (--scale "
     "pixels)"},
    {PF_REMARK_OUTSIDE, "outside",
     "lie outside the range of the data the model was trained on"},
    {PF_REMARK_NEGATIVE, "negative bits/dim",
     "have less than 0 bits/dim, which no probability of levels gives"},
    {PF_REMARK_DENSITY, "density above 1",
     "have a density above 1: it is a density and no probability"},
};
enum { REMARKS = sizeof remarks / sizeof remarks[0] };

/* ---- columns ---- */

typedef struct builder {
    const pf_logp_table *t;
    pf_column c[COLUMNS];
    double *owned[COLUMNS];
    char names[COLUMNS][64];
    int n, failed;
    int64_t *point, *label, *remark;
    const char **text;
    char *words; /* [n,REMARK_TEXT] */
} builder;

static double *add(builder *b, const char *name)
{
    double *v = pf_zalloc(((size_t)b->t->n + 1) * sizeof *v);
    b->failed |= !v;
    b->owned[b->n] = v;
    b->c[b->n++] = (pf_column){.name = name, .width = 1, .f64 = v};
    return v;
}

static double nats(const pf_logp_table *t)
{
    return t->D * M_LN2;
}

/* What the table makes of the value and the variance of one column [bits/dim]. */
typedef double (*getter)(const pf_logp_table *t, double value, double variance);
static double log_likelihood(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return t->offset - value * nats(t);
}
static double error(const pf_logp_table *t, double value, double variance)
{
    (void)value;
    return sqrt(variance) * nats(t);
}
static double bits(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return value - t->offset / nats(t);
}
static double bits_error(const pf_logp_table *t, double value, double variance)
{
    (void)t, (void)value;
    return sqrt(variance);
}
static double share(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return sqrt(value) * nats(t);
}
static double correction(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return 0.5 * value * nats(t) * nats(t);
}
static double solver_error(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return value * nats(t);
}
static double part(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return -value * nats(t);
}
static double part_or_none(const pf_logp_table *t, double value, double variance)
{
    (void)variance;
    return 0.0 - value * nats(t); /* uniform dequantisation, an empty band: 0 and not -0 */
}

static double of_point(const pf_logp_table *t, const pf_estimates *e, int64_t i, int column,
                       getter get)
{
    int64_t at = i * e->columns + column;
    return get(t, e->value[at], e->variance[at]);
}

/* A column named `prefix`, the first n characters of `name` and `end`. */
typedef struct source {
    const pf_estimates *e;
    int column;
    getter get;
} source;
static void add_as(builder *b, const char *prefix, const char *name, int n, const char *end,
                   source s)
{
    char *full = b->names[b->n];
    snprintf(full, sizeof b->names[0], "%s%.*s%s", prefix, n, name, end);
    double *v = add(b, full);
    for (int64_t i = 0; v && i < b->t->n; i++) v[i] = of_point(b->t, s.e, i, s.column, s.get);
}

static void add_of(builder *b, const char *prefix, const char *name, source s)
{
    add_as(b, prefix, name, (int)strlen(name), "_nats", s);
}

/* The columns of the ledger with this role. */
static void add_role(builder *b, const pf_estimand_ops *e, pf_role role, getter get)
{
    for (int c = 0; c < e->n; c++) {
        const char *name = e->columns[c].name;
        source s = {b->t->first, c, get};
        if (e->columns[c].role != role) continue;
        if (role == PF_ROLE_VARIANCE)
            add_as(b, e->prefix, name, (int)strlen(name) - (int)strlen("_variance"),
                   "_error_nats", s);
        else add_of(b, e->prefix, name, s);
    }
}

/* What is behind the first total. */
static void add_parts(builder *b, const pf_estimand_ops *e)
{
    const pf_logp_table *t = b->t;
    add_role(b, e, PF_ROLE_VARIANCE, share);
    add_role(b, e, PF_ROLE_ERROR, solver_error);
    for (int c = 0; c < e->n; c++)
        if (e->columns[c].role == PF_ROLE_VARIANCE)
            add_of(b, e->prefix, "weight_correction", (source){t->first, c, correction});
    add_role(b, e, PF_ROLE_PART, part);
    add_role(b, e, PF_ROLE_BAND, part_or_none);
    if (t->pixels) add_role(b, e, PF_ROLE_DEQUANT, part_or_none);
    if (t->pixels || t->offset != 0.0) add_role(b, e, PF_ROLE_OFFSET, log_likelihood);
}

static void add_total(builder *b, const pf_estimand_ops *e)
{
    const pf_logp_table *t = b->t;
    source value = {t->first, e->total, log_likelihood}, err = {t->first, e->total, error},
           in_bits = {t->first, e->total, bits}, bits_err = {t->first, e->total, bits_error};
    add_of(b, "", e->table, value);
    add_of(b, e->prefix, "error", err);
    if (t->pixels) add_as(b, e->prefix, "bits_per_dim", 12, "", in_bits);
    if (t->pixels) add_as(b, e->prefix, "error_bits_per_dim", 18, "", bits_err);
    if (pf_estimand_is_first(e)) add_parts(b, e);
}

static void add_against(builder *b, const pf_estimand_ops *e)
{
    const pf_logp_table *t = b->t;
    add_of(b, "against_", e->table, (source){t->second, e->total, log_likelihood});
    add_of(b, e->prefix, "difference", (source){t->difference, e->total, part});
    add_of(b, e->prefix, "difference_error", (source){t->difference, e->total, error});
}

static void add_remarks(builder *b, int as_text)
{
    size_t n = (size_t)b->t->n;
    b->remark = pf_zalloc((n + 1) * sizeof *b->remark);
    b->text = pf_zalloc((n + 1) * sizeof *b->text);
    b->words = pf_zalloc(n * REMARK_TEXT + 1);
    b->failed |= !b->remark || !b->text || !b->words;
    for (size_t i = 0; !b->failed && i < n; i++) {
        char *w = b->words + i * REMARK_TEXT;
        size_t at = 0;
        b->remark[i] = b->t->remarks[i];
        b->text[i] = w;
        for (int k = 0; k < REMARKS; k++)
            if (b->t->remarks[i] & remarks[k].bit)
                at += (size_t)snprintf(w + at, REMARK_TEXT - at, "%s%s", at ? "; " : "",
                                       remarks[k].word);
    }
    b->c[b->n++] = as_text ? (pf_column){.name = "remark", .width = 1, .text = b->text}
                           : (pf_column){.name = "remark", .width = 1, .i64 = b->remark};
}

static void add_integers(builder *b)
{
    size_t n = (size_t)b->t->n;
    b->point = pf_zalloc((n + 1) * sizeof *b->point);
    b->label = pf_zalloc((n + 1) * sizeof *b->label);
    b->failed |= !b->point || !b->label;
    for (size_t i = 0; !b->failed && i < n; i++) {
        b->point[i] = (int64_t)i;
        b->label[i] = b->t->labels ? b->t->labels[i] : -1;
    }
    b->c[b->n++] = (pf_column){.name = "point", .width = 1, .i64 = b->point};
}

static PF_MUST_USE pf_status build(builder *b, const pf_logp_table *t, int as_text)
{
    const pf_estimand_ops *e;
    *b = (builder){.t = t};
    add_integers(b);
    for (int i = 0; (e = pf_estimand_asked(t->opt, i)); i++) add_total(b, e);
    for (int i = 0; t->second && (e = pf_estimand_asked(t->opt, i)); i++) add_against(b, e);
    if (t->gradient)
        b->c[b->n++] = (pf_column){.name = "gradient", .width = t->D, .f64 = t->gradient};
    if (t->labels) b->c[b->n++] = (pf_column){.name = "label", .width = 1, .i64 = b->label};
    add_remarks(b, as_text);
    PF_REQUIRE(!b->failed, PF_EMEM, "no memory for the table of %lld points", (long long)t->n);
    return PF_OK;
}

static void release(builder *b)
{
    for (int i = 0; i < b->n; i++) pf_free(b->owned[i]);
    pf_free(b->point);
    pf_free(b->label);
    pf_free(b->remark);
    pf_free(b->text);
    pf_free(b->words);
}

/* ---- formats ---- */

static int ends(const char *path, const char *with)
{
    size_t n = strlen(path), k = strlen(with);
    return n > k && !strcasecmp(path + n - k, with);
}

/* Known by its first two columns: a table of somebody else may well begin with `point`. */
const char *pf_logp_kind(const char *out, const pf_likelihood_opt *opt)
{
    static char kind[96];
    int csv = ends(out, ".csv");
    const char *first = (opt ? pf_estimand_asked(opt, 0) : pf_estimands[0])->table;
    snprintf(kind, sizeof kind,
             csv ? PF_OUTPUT_CSV "point,%s_nats," : PF_OUTPUT_NPY "/point,%s_nats", first);
    if (csv || ends(out, ".npy")) return kind;
    return ends(out, ".npz") ? PF_OUTPUT_NPZ : ends(out, ".h5") ? "arrays/point" : NULL;
}

/* Whole numbers are doubles there. */
static PF_MUST_USE pf_status write_h5(const char *out, const builder *b)
{
    pf_out_array a[COLUMNS] = {0};
    double *whole[COLUMNS] = {0};
    int failed = 0;
    for (int i = 0; i < b->n && !failed; i++) {
        const pf_column *c = &b->c[i];
        a[i] = (pf_out_array){.name = c->name,
                              .rank = c->width > 1 ? 2 : 1,
                              .dim = {b->t->n, c->width},
                              .f64 = c->f64};
        if (c->f64) continue;
        whole[i] = pf_zalloc(((size_t)b->t->n + 1) * sizeof **whole);
        failed = !whole[i];
        for (int64_t k = 0; !failed && k < b->t->n; k++) whole[i][k] = (double)c->i64[k];
        a[i].f64 = whole[i];
    }
    pf_status st = failed ? pf_raise(PF_EMEM, PF_WHERE, "no memory to write %s", out)
                          : pf_store_write(out, a, b->n, b->t->attrs, b->t->n_attrs);
    for (int i = 0; i < b->n; i++) pf_free(whole[i]);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status write_as(const char *out, const builder *b)
{
    int64_t n = b->t->n;
    if (ends(out, ".csv"))
        PF_TRY(pf_csv_write(out, pf_logp_kind(out, b->t->opt), n, b->c, b->n));
    else if (ends(out, ".npy")) PF_TRY(pf_npy_write(out, n, b->c, b->n));
    else if (ends(out, ".npz")) PF_TRY(pf_npz_write(out, n, b->c, b->n));
    else PF_TRY(write_h5(out, b));
    return PF_OK;
}

pf_status pf_logp_write(const char *out, const pf_logp_table *t)
{
    builder b;
    pf_status st = build(&b, t, ends(out, ".csv"));
    if (!st) st = write_as(out, &b);
    release(&b);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- what is said of all ---- */

typedef struct moments {
    double mean, se, rms_error; /* rms_error: of the errors of single points */
} moments;

static moments of(const pf_logp_table *t, const pf_estimates *e, int column, getter value,
                  getter err)
{
    moments m = {0};
    double n = (double)t->n, squares = 0.0;
    for (int64_t i = 0; i < t->n; i++) {
        m.mean += of_point(t, e, i, column, value) / n;
        m.rms_error += pow(of_point(t, e, i, column, err), 2) / n;
    }
    for (int64_t i = 0; i < t->n; i++)
        squares += pow(of_point(t, e, i, column, value) - m.mean, 2);
    m.se = n > 1 ? sqrt(squares / (n - 1) / n) : NAN;
    m.rms_error = sqrt(m.rms_error);
    return m;
}

static void print_moments(const char *what, moments m, int digits, const char *unit)
{
    char bar[32], one[32];
    printf("%-13s %.*f +- %s %s, mean of the points; a single point: +- %s\n", what, digits,
           m.mean, pf_error_bar(m.se, digits, bar), unit,
           pf_error_bar(m.rms_error, digits, one));
}

static void print_errors(const pf_logp_table *t, int column)
{
    double most = 0.0, sum = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < t->n; i++) {
        double e = of_point(t, t->first, i, column, solver_error);
        if (isnan(e)) continue;
        n++;
        sum += e;
        most = fmax(most, e);
    }
    if (n)
        printf("solver        mean |error| %.1e, largest %.1e nats against a tenth of the "
               "tolerances, of %lld points\n",
               sum / (double)n, most, (long long)n);
}

static void print_remarks(const pf_logp_table *t)
{
    for (int k = 0; k < REMARKS; k++) {
        int64_t n = 0;
        for (int64_t i = 0; i < t->n; i++) n += (t->remarks[i] & remarks[k].bit) != 0;
        if (n)
            printf("remark        %lld of %lld points %s\n", (long long)n, (long long)t->n,
                   remarks[k].sentence);
    }
}

static void print_total(const pf_logp_table *t, const pf_estimand_ops *e, const char *unit)
{
    const pf_ledger_column *c = &e->columns[e->total];
    print_moments(e->page, of(t, t->first, e->total, log_likelihood, error), 4, unit);
    if (t->pixels)
        print_moments(c->said ? c->said : c->name, of(t, t->first, e->total, bits, bits_error),
                      5, "bits/dim");
    for (int i = 0; pf_estimand_is_first(e) && i < e->n; i++)
        if (e->columns[i].role == PF_ROLE_ERROR) print_errors(t, i);
}

void pf_logp_print(const char *out, const pf_logp_table *t)
{
    const char *unit = t->pixels ? "nats of probability" : "nats of density";
    const pf_estimand_ops *e;
    printf("points        %lld of %d values\n", (long long)t->n, t->D);
    for (int i = 0; (e = pf_estimand_asked(t->opt, i)); i++) print_total(t, e, unit);
    if (t->second)
        printf("difference    the first model minus the second; above 0 the first is better\n");
    for (int i = 0; t->second && (e = pf_estimand_asked(t->opt, i)); i++) {
        char what[32];
        snprintf(what, sizeof what, "  %s", e->page);
        print_moments(what, of(t, t->difference, e->total, part, error), 5, "nats, paired");
    }
    print_remarks(t);
    printf("results       %s\n", out);
}
