/* The likelihood by rows, summaries, differences and estimates of named members, for tests. */
#ifndef PF_TESTS_LIKELIHOOD_ROWS_H
#define PF_TESTS_LIKELIHOOD_ROWS_H

#include <probflow/likelihood.h>
#include "ledger_rows.h"

static inline pf_status score_rows(const pf_sde *sde, pf_score *score,
                                   const pf_likelihood_opt *opt, const pf_group *g, row *rows)
{
    pf_view v = {.sde = sde, .score = score};
    int n = opt->draws * g->B;
    double *cells = malloc((size_t)n * ROW_CELLS * sizeof *cells);
    pf_status st = pf_likelihood_group(&v, opt, g, cells);
    for (int i = 0; !st && i < n; i++) rows[i] = row_of_cells(cells + i * ROW_CELLS);
    free(cells);
    return st;
}

typedef struct summary {
    int64_t images, rows;
    double nll, nll_se, bound, probe_se, dequant_se, solver_error, solver_error_max;
} summary;

static inline void summarise(const row *rows, int64_t n, summary *out)
{
    pf_ledger l = ledger_of_rows(rows, n);
    pf_summary s;
    pf_likelihood_summary(&l, &s);
    free(l.cell);
    *out = (summary){s.images,
                     s.rows,
                     pf_summary_figure(&s, "nll"),
                     pf_summary_figure(&s, "nll_se"),
                     pf_summary_figure(&s, "bound"),
                     pf_summary_figure(&s, "probe_se"),
                     pf_summary_figure(&s, "dequant_se"),
                     pf_summary_figure(&s, "solver_error"),
                     pf_summary_figure(&s, "solver_error_max")};
}

typedef struct difference {
    int64_t images;
    double nll, nll_se, nll_alone_se, bound, bound_se;
} difference;

static inline pf_status difference_of_rows(const row *a, int64_t n_a, const row *b, int64_t n_b,
                                           difference *out)
{
    pf_ledger p = ledger_of_rows(a, n_a), q = ledger_of_rows(b, n_b);
    pf_difference d;
    pf_status st = pf_likelihood_difference(&p, &q, &d);
    free(p.cell);
    free(q.cell);
    *out = (difference){d.images,        d.total[0].mean, d.total[0].se, d.total[0].alone_se,
                        d.total[1].mean, d.total[1].se};
    return st;
}

typedef struct estimate {
    int64_t image;
    double nll, nll_variance, bound, bound_variance, probe_variance, solver_error, prior;
} estimate;

static inline pf_status estimate_rows(const pf_likelihood_opt *opt, int pixels, const row *rows,
                                      const row *minus, int64_t n, int draws, estimate *e)
{
    pf_ledger p = ledger_of_rows(rows, n), q = ledger_of_rows(minus ? minus : rows, n);
    pf_estimates all = {0};
    pf_status st = pf_likelihood_estimates(opt, pixels, &p, minus ? &q : NULL, draws, &all);
    for (int64_t i = 0; !st && i < all.n; i++) {
        const double *v = all.value + i * ROW_CELLS, *w = all.variance + i * ROW_CELLS;
        e[i] = (estimate){(int64_t)v[0], v[7], w[7], v[8], w[8], v[9], v[10], v[3]};
    }
    pf_estimates_free(&all);
    free(p.cell);
    free(q.cell);
    return st;
}

#endif
