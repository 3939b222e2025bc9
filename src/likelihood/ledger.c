/* Mean, standard error and its shares over a ledger, column by column.
 *
 *     se^2         = sample variance of the images' means / n
 *     probe_se^2   = sum over images of (mean over draws of probe_variance) / J  / n^2
 *     dequant_se^2 = sum over images of (variance between draws - mean probe_variance) / J  / n^2,
 *                    floored at 0; with one probe its noise cannot be told apart and stays inside
 *     draws_se^2   = sum over images of (variance between draws) / J  / n^2
 *     images_se^2  = se^2 - draws_se^2, floored at 0
 *
 * where the images have weights, each with those that ledger.h says: r = n w / sum w, 1 where all are alike.
 * Rows are sorted by image and draw first, so their order does not change a bit of the sums. */
#include "likelihood/columns.h"

#include <math.h>
#include <probflow/likelihood.h>
#include <probflow/memory.h>
#include <stdlib.h>
#include <string.h>

static int by_image(const void *a, const void *b)
{
    return pf_ledger_order(*(const double *const *)a, *(const double *const *)b);
}

/* The images' rows are row[start[i] .. start[i+1]). */
typedef struct sorted {
    const pf_ledger *l;
    const double **row;
    int64_t *start, images;
    int first; /* total, whose error has shares */
    int at;    /* column of weights; -1: none */
    double mean_weight;
} sorted;

/* The weight of an image in units of their mean, 1 where they are alike or not known. */
static double weight(const sorted *s, int64_t image)
{
    return isnan(s->mean_weight) ? 1.0 : s->row[s->start[image]][s->at] / s->mean_weight;
}

static int is_weighed(pf_role role)
{
    return role == PF_ROLE_TOTAL || role == PF_ROLE_PART || role == PF_ROLE_DEQUANT ||
           role == PF_ROLE_OFFSET || role == PF_ROLE_BAND;
}

/* Of one image over its draws: means, of variances the variance of the mean. */
typedef struct image_mean {
    double v[PF_LEDGER_MAX];
    double between; /* variance of the mean due to draws and all in them (J >= 2) */
} image_mean;

static image_mean average(const sorted *s, int64_t image)
{
    const double **rows = s->row + s->start[image];
    int64_t n = s->start[image + 1] - s->start[image];
    image_mean m = {.between = NAN};
    for (int64_t i = 0; i < n; i++)
        for (int c = 0; c < s->l->n; c++)
            m.v[c] += s->l->column[c].role == PF_ROLE_VARIANCE
                          ? rows[i][c] / (double)n / (double)n
                          : rows[i][c] / (double)n;
    if (n < 2) return m;
    m.between = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double d = rows[i][s->first] - m.v[s->first];
        m.between += d * d / (double)(n - 1) / (double)n;
    }
    return m;
}

/* What the columns say of all images. */
typedef struct sums {
    double v[PF_LEDGER_MAX];       /* means; of variances sums */
    double squares[PF_LEDGER_MAX]; /* of the images' distances from the mean */
    double error[PF_LEDGER_MAX],
        most[PF_LEDGER_MAX]; /* mean and largest |.| of what is known */
    double between;
} sums;

static void add_errors(const sorted *s, int64_t rows, int c, sums *out)
{
    int64_t checked = 0;
    double sum = 0.0, most = 0.0;
    for (int64_t i = 0; i < rows; i++) {
        double e = fabs(s->row[i][c]);
        if (isnan(e)) continue;
        checked++;
        sum += e;
        most = fmax(most, e);
    }
    out->error[c] = checked ? sum / (double)checked : NAN;
    out->most[c] = checked ? most : NAN;
}

/* One pass for the means, one for their spread. */
static void sum_up(const sorted *s, sums *out)
{
    double n = (double)s->images;
    *out = (sums){0};
    for (int64_t i = 0; i < s->images; i++) {
        image_mean m = average(s, i);
        double r = weight(s, i);
        for (int c = 0; c < s->l->n; c++) {
            pf_role role = s->l->column[c].role;
            out->v[c] += role == PF_ROLE_VARIANCE ? r * r * m.v[c]
                         : is_weighed(role)       ? r * m.v[c] / n
                                                  : m.v[c] / n;
        }
        out->between += r * r * m.between;
    }
    for (int64_t i = 0; i < s->images; i++) {
        image_mean m = average(s, i);
        double r = weight(s, i);
        for (int c = 0; c < s->l->n; c++)
            out->squares[c] += r * r * (m.v[c] - out->v[c]) * (m.v[c] - out->v[c]);
    }
    for (int c = 0; c < s->l->n; c++)
        if (s->l->column[c].role == PF_ROLE_ERROR) add_errors(s, s->l->rows, c, out);
}

static void add(pf_summary *out, const char *name, int n, const char *end, double value)
{
    pf_figure *f = &out->figure[out->n++];
    snprintf(f->name, sizeof f->name, "%.*s%s", n, name, end);
    f->value = value;
}

/* sqrt of the variance between draws that the rows' own does not explain. */
static double share_of_draws(const sorted *s, const sums *a)
{
    double own = 0.0;
    for (int c = 0; c < s->l->n; c++)
        if (s->l->column[c].role == PF_ROLE_VARIANCE && !isnan(a->v[c])) own = a->v[c];
    return isnan(a->between) ? NAN : sqrt(fmax(a->between - own, 0.0)) / (double)s->images;
}

static void add_figures(const sorted *s, pf_role role, const sums *a, pf_summary *out)
{
    double n = (double)s->images;
    for (int c = 0; c < s->l->n; c++) {
        const char *name = s->l->column[c].name;
        int len = (int)strlen(name);
        if (s->l->column[c].role != role || (role == PF_ROLE_BAND && isnan(a->v[c]))) continue;
        if (role == PF_ROLE_VARIANCE) {
            add(out, name, len - (int)strlen("_variance"), "_se", sqrt(a->v[c]) / n);
        } else if (role == PF_ROLE_ERROR) {
            add(out, name, len, "", a->error[c]);
            add(out, name, len, "_max", a->most[c]);
        } else add(out, name, len, "", a->v[c]);
        if (role == PF_ROLE_TOTAL || role == PF_ROLE_BAND)
            add(out, name, len, "_se", n > 1 ? sqrt(a->squares[c] / (n - 1) / n) : NAN);
    }
}

/* What the draws do to the first total's error, and what the choice of the images does. */
static void add_draws(const sorted *s, const sums *a, pf_summary *out)
{
    double n = (double)s->images, of_draws = a->between / n / n;
    double all = n > 1 ? a->squares[s->first] / (n - 1) / n : NAN;
    if (isnan(of_draws)) return;
    add(out, "draws_se", 8, "", sqrt(of_draws));
    add(out, "images_se", 9, "", isnan(all) ? NAN : sqrt(fmax(all - of_draws, 0.0)));
}

/* In the order in which files have them. */
static void figures(const sorted *s, const sums *a, pf_summary *out)
{
    static const pf_role of_parts[] = {PF_ROLE_PART, PF_ROLE_DEQUANT, PF_ROLE_OFFSET};
    static const pf_role last[] = {PF_ROLE_ERROR, PF_ROLE_WORK, PF_ROLE_COUNT, PF_ROLE_BAND};
    int dequantised = 0;
    add_figures(s, PF_ROLE_TOTAL, a, out);
    for (int i = 0; i < 3; i++) add_figures(s, of_parts[i], a, out);
    add_figures(s, PF_ROLE_VARIANCE, a, out);
    for (int c = 0; c < s->l->n; c++) dequantised |= s->l->column[c].role == PF_ROLE_DEQUANT;
    if (dequantised) add(out, "dequant_se", 10, "", share_of_draws(s, a));
    else add_draws(s, a, out);
    for (int i = 0; i < 4; i++) add_figures(s, last[i], a, out);
}

static void sort(sorted *s)
{
    const pf_ledger *l = s->l;
    for (int64_t i = 0; i < l->rows; i++) s->row[i] = l->cell + i * l->n;
    qsort(s->row, (size_t)l->rows, sizeof *s->row, by_image);
    for (int64_t i = 0; i < l->rows; i++)
        if (i == 0 || s->row[i][PF_AT_IMAGE] != s->row[i - 1][PF_AT_IMAGE])
            s->start[s->images++] = i;
    s->start[s->images] = l->rows;
    while (s->first < l->n - 1 && l->column[s->first].role != PF_ROLE_TOTAL) s->first++;
    s->at = pf_ledger_weights(l);
    s->mean_weight = s->at < 0 ? NAN : 0.0;
    for (int64_t i = 0; s->at >= 0 && i < s->images; i++)
        s->mean_weight += s->row[s->start[i]][s->at];
    s->mean_weight /= (double)s->images;
}

void pf_likelihood_summary(const pf_ledger *rows, pf_summary *out)
{
    size_t n = (size_t)rows->rows;
    sorted s = {.l = rows,
                .row = pf_zalloc((n + 1) * sizeof *s.row),
                .start = pf_zalloc((n + 1) * sizeof *s.start)};
    sums a;
    *out = (pf_summary){.listed = rows->column != pf_flow_columns};
    for (int c = 0; c < PF_LEDGER_MAX; c++)
        a.v[c] = a.squares[c] = a.error[c] = a.most[c] = NAN;
    a.between = NAN;
    if (n > 0 && s.row && s.start) {
        sort(&s);
        sum_up(&s, &a);
        out->images = s.images;
        out->rows = rows->rows;
    }
    figures(&s, &a, out);
    pf_free(s.row);
    pf_free(s.start);
}

void pf_summary_add(pf_summary *s, const char *name, double value)
{
    add(s, name, (int)strlen(name), "", value);
}

double pf_summary_figure(const pf_summary *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->figure[i].name, name)) return s->figure[i].value;
    return NAN;
}
