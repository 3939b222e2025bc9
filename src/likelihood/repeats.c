/* What repeats and pairs say: the variance of single estimates, the difference of two models. */
#include <math.h>
#include <probflow/likelihood.h>
#include <probflow/memory.h>

/* Mean of the spreads, weighed by degrees of freedom; NaN without any. */
static double mean_spread(int64_t n, const double *spread, const int *dof)
{
    double sum = 0.0, weight = 0.0;
    for (int64_t i = 0; i < n; i++)
        if (dof[i] > 0) sum += dof[i] * spread[i], weight += dof[i];
    return sum / weight;
}

/* Weight of the mean in degrees of freedom, infinite when the variances do not differ.  The squared
 * deviation of a spread from m has mean m^2 (c^2 (1 + 2/d) + 2/d) for normal repeats. */
static double weight_of_mean(int64_t n, const double *spread, const int *dof, double m)
{
    double beyond = 0.0, per = 0.0;
    for (int64_t i = 0; i < n; i++) {
        if (dof[i] <= 0) continue;
        double r = spread[i] / m - 1.0, noise = 2.0 / dof[i];
        beyond += dof[i] * (r * r - noise);
        per += dof[i] * (1.0 + noise);
    }
    return beyond > 0.0 && m > 0.0 ? 2.0 + 2.0 * per / beyond : INFINITY;
}

void pf_moderate_variance(int64_t n, const double *spread, const int *dof, double *out)
{
    double m = mean_spread(n, spread, dof), n0 = weight_of_mean(n, spread, dof, m);
    for (int64_t i = 0; i < n; i++)
        out[i] = isinf(n0) || dof[i] <= 0 ? m : (n0 * m + dof[i] * spread[i]) / (n0 + dof[i]);
}

/* ---- two models ---- */

static double image_of(const pf_ledger *l, int64_t row)
{
    return l->cell[row * l->n + PF_AT_IMAGE];
}

/* Rows of the same image from i on. */
static int64_t run_of(const pf_ledger *l, int64_t i)
{
    int64_t k = i;
    while (k < l->rows && image_of(l, k) == image_of(l, i)) k++;
    return k - i;
}

static double mean_of(const pf_ledger *l, int64_t from, int64_t n, int column)
{
    double sum = 0.0;
    for (int64_t i = from; i < from + n; i++) sum += l->cell[i * l->n + column];
    return sum / (double)n;
}

/* Values [images,2] of a column for the images in both, and their weights in units of the mean, as in ledger.c;
 * returns how many. */
static int64_t match(const pf_ledger *a, const pf_ledger *b, int column, double *v, double *w)
{
    int64_t i = 0, k = 0, n = 0;
    int at = pf_ledger_weights(a);
    double all = 0.0;
    while (i < a->rows && k < b->rows) {
        int64_t p = run_of(a, i), q = run_of(b, k);
        double left = image_of(a, i), right = image_of(b, k);
        if (left == right) {
            v[2 * n] = mean_of(a, i, p, column);
            v[2 * n + 1] = mean_of(b, k, q, column);
            all += w[n] = at < 0 ? 1.0 : a->cell[i * a->n + at];
            n++;
        }
        if (left <= right) i += p;
        if (right <= left) k += q;
    }
    for (int64_t m = 0; m < n; m++) w[m] = isnan(all) ? 1.0 : w[m] / (all / (double)n);
    return n;
}

static double standard_error(int64_t n, const double *v, const double *w, const double of[2],
                             double *mean)
{
    double m = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++)
        m += w[i] * (of[0] * v[2 * i] + of[1] * v[2 * i + 1]) / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = w[i] * (of[0] * v[2 * i] + of[1] * v[2 * i + 1] - m);
        squares += d * d;
    }
    if (mean) *mean = m;
    return n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : NAN;
}

static const double first[2] = {1.0, 0.0}, second[2] = {0.0, 1.0}, both[2] = {1.0, -1.0};

static double unpaired(int64_t n, const double *v, const double *w)
{
    return hypot(standard_error(n, v, w, first, NULL), standard_error(n, v, w, second, NULL));
}

pf_status pf_likelihood_difference(const pf_ledger *a, const pf_ledger *b, pf_difference *out)
{
    int64_t most = (a->rows < b->rows ? a->rows : b->rows) + 1;
    double *v = pf_zalloc(3 * (size_t)most * sizeof *v), *w = v ? v + 2 * most : NULL;
    *out = (pf_difference){0};
    PF_REQUIRE(v, PF_EMEM, "no memory to compare %lld and %lld rows", (long long)a->rows,
               (long long)b->rows);
    for (int c = 0; c < a->n; c++) {
        if (a->column[c].role != PF_ROLE_TOTAL) continue;
        struct pf_paired *d = &out->total[out->n++];
        *d = (struct pf_paired){c, NAN, NAN, NAN};
        out->images = match(a, b, c, v, w);
        if (!out->images) continue;
        d->se = standard_error(out->images, v, w, both, &d->mean);
        d->alone_se = unpaired(out->images, v, w);
    }
    pf_free(v);
    return PF_OK;
}
