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

/* Rows of the same image from i on. */
static int64_t run_of(const pf_ledger *rows, int64_t n, int64_t i)
{
    int64_t k = i;
    while (k < n && rows[k].image == rows[i].image) k++;
    return k - i;
}

static double mean_nll(const pf_ledger *rows, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += rows[i].nll;
    return sum / (double)n;
}

static double mean_bound(const pf_ledger *rows, int64_t n)
{
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += rows[i].bound;
    return sum / (double)n;
}

/* Values of the images in both: [images,2] of nll, then of bound; returns how many. */
static int64_t match(const pf_ledger *a, int64_t n_a, const pf_ledger *b, int64_t n_b,
                     double *nll, double *bound)
{
    int64_t i = 0, k = 0, n = 0;
    while (i < n_a && k < n_b) {
        int64_t p = run_of(a, n_a, i), q = run_of(b, n_b, k);
        int64_t left = a[i].image, right = b[k].image;
        if (left == right) {
            nll[2 * n] = mean_nll(a + i, p);
            nll[2 * n + 1] = mean_nll(b + k, q);
            bound[2 * n] = mean_bound(a + i, p);
            bound[2 * n + 1] = mean_bound(b + k, q);
            n++;
        }
        if (left <= right) i += p;
        if (right <= left) k += q;
    }
    return n;
}

static double standard_error(int64_t n, const double *v, double wa, double wb, double *mean)
{
    double m = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) m += (wa * v[2 * i] + wb * v[2 * i + 1]) / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = wa * v[2 * i] + wb * v[2 * i + 1] - m;
        squares += d * d;
    }
    if (mean) *mean = m;
    return n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : NAN;
}

static double unpaired(int64_t n, const double *v)
{
    return hypot(standard_error(n, v, 1.0, 0.0, NULL), standard_error(n, v, 0.0, 1.0, NULL));
}

pf_status pf_likelihood_difference(const pf_ledger *a, int64_t n_a, const pf_ledger *b,
                                   int64_t n_b, pf_difference *out)
{
    size_t most = (size_t)(n_a < n_b ? n_a : n_b) + 1;
    double *nll = pf_zalloc(2 * most * sizeof *nll),
           *bound = pf_zalloc(2 * most * sizeof *bound);
    *out = (pf_difference){0, NAN, NAN, NAN, NAN, NAN, NAN};
    if (nll && bound) {
        int64_t n = match(a, n_a, b, n_b, nll, bound);
        out->images = n;
        if (n > 0) {
            out->nll_se = standard_error(n, nll, 1.0, -1.0, &out->nll);
            out->bound_se = standard_error(n, bound, 1.0, -1.0, &out->bound);
            out->nll_alone_se = unpaired(n, nll);
            out->bound_alone_se = unpaired(n, bound);
        }
    }
    int failed = !nll || !bound;
    pf_free(nll);
    pf_free(bound);
    PF_REQUIRE(!failed, PF_EMEM, "no memory to compare %lld and %lld rows", (long long)n_a,
               (long long)n_b);
    return PF_OK;
}
