/* The table of `probflow logp`: its columns, its formats, what is said of all points. */
#include "cli/logp.h"
#include "cli/bpd.h"

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

typedef double (*getter)(const pf_logp_table *t, const pf_estimate *e);
static double nats(const pf_logp_table *t)
{
    return t->D * M_LN2;
}
static double log_likelihood(const pf_logp_table *t, const pf_estimate *e)
{
    return t->offset - e->nll * nats(t);
}
static double error(const pf_logp_table *t, const pf_estimate *e)
{
    return sqrt(e->nll_variance) * nats(t);
}
static double bits(const pf_logp_table *t, const pf_estimate *e)
{
    return e->nll - t->offset / nats(t);
}
static double bits_error(const pf_logp_table *t, const pf_estimate *e)
{
    (void)t;
    return sqrt(e->nll_variance);
}
static double probe_error(const pf_logp_table *t, const pf_estimate *e)
{
    return sqrt(e->probe_variance) * nats(t);
}
static double correction(const pf_logp_table *t, const pf_estimate *e)
{
    return 0.5 * e->probe_variance * nats(t) * nats(t);
}
static double solver_error(const pf_logp_table *t, const pf_estimate *e)
{
    return e->solver_error * nats(t);
}
static double prior(const pf_logp_table *t, const pf_estimate *e)
{
    return -e->prior * nats(t);
}
static double integral(const pf_logp_table *t, const pf_estimate *e)
{
    return -e->integral * nats(t);
}
static double dequantisation(const pf_logp_table *t, const pf_estimate *e)
{
    return 0.0 - e->dequantisation * nats(t); /* uniform: 0 and not -0 */
}
static double offset(const pf_logp_table *t, const pf_estimate *e)
{
    return t->offset - e->offset * nats(t);
}
static double bound(const pf_logp_table *t, const pf_estimate *e)
{
    return t->offset - e->bound * nats(t);
}
static double bound_error(const pf_logp_table *t, const pf_estimate *e)
{
    return sqrt(e->bound_variance) * nats(t);
}
static double bound_bits(const pf_logp_table *t, const pf_estimate *e)
{
    return e->bound - t->offset / nats(t);
}
static double bound_bits_error(const pf_logp_table *t, const pf_estimate *e)
{
    (void)t;
    return sqrt(e->bound_variance);
}
static double difference(const pf_logp_table *t, const pf_estimate *e)
{
    return -e->nll * nats(t);
}
static double bound_difference(const pf_logp_table *t, const pf_estimate *e)
{
    return -e->bound * nats(t);
}

static void add_of(builder *b, const char *name, const pf_estimate *e, getter get)
{
    double *v = add(b, name);
    for (int64_t i = 0; v && i < b->t->n; i++) v[i] = get(b->t, &e[i]);
}

static void add_nll(builder *b)
{
    const pf_logp_table *t = b->t;
    add_of(b, "log_likelihood_nats", t->first, log_likelihood);
    add_of(b, "error_nats", t->first, error);
    if (t->pixels) add_of(b, "bits_per_dim", t->first, bits);
    if (t->pixels) add_of(b, "error_bits_per_dim", t->first, bits_error);
    add_of(b, "probe_error_nats", t->first, probe_error);
    add_of(b, "solver_error_nats", t->first, solver_error);
    add_of(b, "weight_correction_nats", t->first, correction);
    add_of(b, "prior_nats", t->first, prior);
    add_of(b, "integral_nats", t->first, integral);
    if (t->pixels) add_of(b, "dequantisation_nats", t->first, dequantisation);
    if (t->pixels || t->offset != 0.0) add_of(b, "offset_nats", t->first, offset);
}

static void add_bound(builder *b)
{
    const pf_logp_table *t = b->t;
    add_of(b, "bound_nats", t->first, bound);
    add_of(b, "bound_error_nats", t->first, bound_error);
    if (t->pixels) add_of(b, "bound_bits_per_dim", t->first, bound_bits);
    if (t->pixels) add_of(b, "bound_error_bits_per_dim", t->first, bound_bits_error);
}

static void add_against(builder *b)
{
    const pf_logp_table *t = b->t;
    if (t->opt->estimand != PF_BOUND) {
        add_of(b, "against_log_likelihood_nats", t->second, log_likelihood);
        add_of(b, "difference_nats", t->difference, difference);
        add_of(b, "difference_error_nats", t->difference, error);
    }
    if (t->opt->estimand != PF_NLL_ODE) {
        add_of(b, "against_bound_nats", t->second, bound);
        add_of(b, "bound_difference_nats", t->difference, bound_difference);
        add_of(b, "bound_difference_error_nats", t->difference, bound_error);
    }
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
    *b = (builder){.t = t};
    add_integers(b);
    if (t->opt->estimand != PF_BOUND) add_nll(b);
    if (t->opt->estimand != PF_NLL_ODE) add_bound(b);
    if (t->second) add_against(b);
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
    int bound = opt && opt->estimand == PF_BOUND;
    if (ends(out, ".csv"))
        return bound ? PF_OUTPUT_CSV "point,bound_nats,"
                     : PF_OUTPUT_CSV "point,log_likelihood_nats,";
    if (ends(out, ".npy"))
        return bound ? PF_OUTPUT_NPY "/point,bound_nats"
                     : PF_OUTPUT_NPY "/point,log_likelihood_nats";
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

static moments of(const pf_logp_table *t, const pf_estimate *e, getter value, getter err)
{
    moments m = {0};
    double n = (double)t->n, squares = 0.0;
    for (int64_t i = 0; i < t->n; i++) {
        m.mean += value(t, &e[i]) / n;
        m.rms_error += pow(err(t, &e[i]), 2) / n;
    }
    for (int64_t i = 0; i < t->n; i++) squares += pow(value(t, &e[i]) - m.mean, 2);
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

static void print_solver(const pf_logp_table *t)
{
    double most = 0.0, sum = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < t->n; i++) {
        double e = solver_error(t, &t->first[i]);
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

void pf_logp_print(const char *out, const pf_logp_table *t)
{
    const char *unit = t->pixels ? "nats of probability" : "nats of density";
    printf("points        %lld of %d values\n", (long long)t->n, t->D);
    if (t->opt->estimand != PF_BOUND) {
        print_moments("log p", of(t, t->first, log_likelihood, error), 4, unit);
        if (t->pixels)
            print_moments("nll_ode", of(t, t->first, bits, bits_error), 5, "bits/dim");
        print_solver(t);
    }
    if (t->opt->estimand != PF_NLL_ODE) {
        print_moments("bound", of(t, t->first, bound, bound_error), 4, unit);
        if (t->pixels)
            print_moments("bound", of(t, t->first, bound_bits, bound_bits_error), 5,
                          "bits/dim");
    }
    if (t->second) {
        printf("difference    the first model minus the second; above 0 the first is better\n");
        if (t->opt->estimand != PF_BOUND)
            print_moments("  log p", of(t, t->difference, difference, error), 5,
                          "nats, paired");
        if (t->opt->estimand != PF_NLL_ODE)
            print_moments("  bound", of(t, t->difference, bound_difference, bound_error), 5,
                          "nats, paired");
    }
    print_remarks(t);
    printf("results       %s\n", out);
}
