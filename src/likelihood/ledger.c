/* Mean, standard error and its shares over a ledger.
 *
 *     nll_se^2     = sample variance of the images' means / n
 *     probe_se^2   = sum over images of (mean over draws of probe_variance) / J  / n^2
 *     dequant_se^2 = sum over images of (variance between draws - mean probe_variance) / J  / n^2,
 *                    floored at 0; with one probe its noise cannot be told apart and stays inside
 *
 * Rows are sorted by image and draw first, so their order does not change a bit of the sums. */
#include <math.h>
#include <probflow/likelihood.h>
#include <probflow/memory.h>
#include <stdlib.h>

typedef struct image_mean { /* of one image over its draws */
    int draws;
    double nll, bound, prior, integral, dequantisation, offset, evaluations, steps;
    double probe,
        between; /* variance of the mean due to probes; to draws and probes (J >= 2) */
} image_mean;

static int by_image(const void *a, const void *b)
{
    const pf_ledger *p = *(const pf_ledger *const *)a, *q = *(const pf_ledger *const *)b;
    if (p->image != q->image) return p->image < q->image ? -1 : 1;
    return (p->draw > q->draw) - (p->draw < q->draw);
}

static image_mean average(const pf_ledger *const *rows, int64_t n)
{
    image_mean m = {.draws = (int)n, .between = NAN};
    for (int64_t i = 0; i < n; i++) {
        const pf_ledger *r = rows[i];
        m.nll += r->nll / (double)n;
        m.bound += r->bound / (double)n;
        m.prior += r->prior / (double)n;
        m.integral += r->integral / (double)n;
        m.dequantisation += r->dequantisation / (double)n;
        m.offset += r->offset / (double)n;
        m.evaluations += (double)r->evaluations / (double)n;
        m.steps += (double)r->steps / (double)n;
        m.probe += r->probe_variance / (double)n / (double)n;
    }
    if (n < 2) return m;
    m.between = 0.0;
    for (int64_t i = 0; i < n; i++)
        m.between +=
            (rows[i]->nll - m.nll) * (rows[i]->nll - m.nll) / (double)(n - 1) / (double)n;
    return m;
}

static void add_solver_error(const pf_ledger *const *rows, int64_t n, pf_summary *out)
{
    int64_t checked = 0;
    double sum = 0.0, most = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double e = fabs(rows[i]->solver_error);
        if (isnan(e)) continue;
        checked++;
        sum += e;
        most = fmax(most, e);
    }
    out->solver_error = checked ? sum / (double)checked : NAN;
    out->solver_error_max = checked ? most : NAN;
}

/* The images' rows are [start[i], start[i+1]); one pass for the means, one for their spread. */
static void summarise(const pf_ledger *const *rows, const int64_t *start, pf_summary *out)
{
    double n = (double)out->images, probe = 0.0, between = 0.0, nll2 = 0.0, bound2 = 0.0;
    for (int64_t i = 0; i < out->images; i++) {
        image_mean m = average(rows + start[i], start[i + 1] - start[i]);
        out->nll += m.nll / n;
        out->bound += m.bound / n;
        out->prior += m.prior / n;
        out->integral += m.integral / n;
        out->dequantisation += m.dequantisation / n;
        out->offset += m.offset / n;
        out->evaluations += m.evaluations / n;
        out->steps += m.steps / n;
        probe += m.probe;
        between += m.between;
    }
    for (int64_t i = 0; i < out->images; i++) {
        image_mean m = average(rows + start[i], start[i + 1] - start[i]);
        nll2 += (m.nll - out->nll) * (m.nll - out->nll);
        bound2 += (m.bound - out->bound) * (m.bound - out->bound);
    }
    out->nll_se = n > 1 ? sqrt(nll2 / (n - 1) / n) : NAN;
    out->bound_se = n > 1 ? sqrt(bound2 / (n - 1) / n) : NAN;
    out->probe_se = sqrt(probe) / n;
    out->dequant_se =
        isnan(between) ? NAN : sqrt(fmax(between - (isnan(probe) ? 0.0 : probe), 0.0)) / n;
}

static pf_summary nothing(void)
{
    return (pf_summary){.nll = NAN,
                        .nll_se = NAN,
                        .bound = NAN,
                        .bound_se = NAN,
                        .prior = NAN,
                        .integral = NAN,
                        .dequantisation = NAN,
                        .offset = NAN,
                        .probe_se = NAN,
                        .dequant_se = NAN,
                        .solver_error = NAN,
                        .solver_error_max = NAN,
                        .evaluations = NAN,
                        .steps = NAN};
}

void pf_likelihood_summary(const pf_ledger *rows, int64_t n, pf_summary *out)
{
    const pf_ledger **order = pf_zalloc((size_t)(n > 0 ? n : 0) * sizeof *order);
    int64_t *start = pf_zalloc((size_t)(n + 1) * sizeof *start);

    *out = nothing();
    if (n > 0 && order && start) {
        *out = (pf_summary){.rows = n};
        for (int64_t i = 0; i < n; i++) order[i] = &rows[i];
        qsort(order, (size_t)n, sizeof *order, by_image);
        for (int64_t i = 0; i < n; i++)
            if (i == 0 || order[i]->image != order[i - 1]->image) start[out->images++] = i;
        start[out->images] = n;
        summarise(order, start, out);
        add_solver_error(order, n, out);
    }
    pf_free(order);
    pf_free(start);
}
