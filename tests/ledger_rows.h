/* Rows of the ledger of nll_ode and bound by name, for tests: what files have held since there are any. */
#ifndef PF_TESTS_LEDGER_ROWS_H
#define PF_TESTS_LEDGER_ROWS_H

#include <probflow/ledger.h>

#include <stdlib.h>

enum { ROW_CELLS = 13 };

typedef struct row {
    int64_t image;
    int32_t draw, label;
    double prior, integral, dequantisation, offset, nll, bound, probe_variance, solver_error;
    int64_t steps, evaluations;
} row;

static const pf_ledger_column row_columns[ROW_CELLS] = {
    {"image", "", PF_CELL_I64, PF_ROLE_KEY, 0},
    {"draw", "", PF_CELL_I32, PF_ROLE_KEY, 0},
    {"label", "", PF_CELL_I32, PF_ROLE_LABEL, 0},
    {"prior", "bits/dim", PF_CELL_F64, PF_ROLE_PART, 0},
    {"integral", "bits/dim", PF_CELL_F64, PF_ROLE_PART, 0},
    {"dequantisation", "bits/dim", PF_CELL_F64, PF_ROLE_DEQUANT, 0},
    {"offset", "bits/dim", PF_CELL_F64, PF_ROLE_OFFSET, 0},
    {"nll", "bits/dim", PF_CELL_F64, PF_ROLE_TOTAL, 0},
    {"bound", "bits/dim", PF_CELL_F64, PF_ROLE_TOTAL, 0},
    {"probe_variance", "(bits/dim)^2", PF_CELL_F64, PF_ROLE_VARIANCE, 0},
    {"solver_error", "bits/dim", PF_CELL_F64, PF_ROLE_ERROR, 0},
    {"steps", "", PF_CELL_I64, PF_ROLE_COUNT, 0},
    {"evaluations", "", PF_CELL_I64, PF_ROLE_WORK, 0},
};

static inline void cells_of_row(const row *r, double *c)
{
    const double all[ROW_CELLS] = {(double)r->image,
                                   r->draw,
                                   r->label,
                                   r->prior,
                                   r->integral,
                                   r->dequantisation,
                                   r->offset,
                                   r->nll,
                                   r->bound,
                                   r->probe_variance,
                                   r->solver_error,
                                   (double)r->steps,
                                   (double)r->evaluations};
    for (int i = 0; i < ROW_CELLS; i++) c[i] = all[i];
}

static inline row row_of_cells(const double *c)
{
    return (row){.image = (int64_t)c[0],
                 .draw = (int32_t)c[1],
                 .label = (int32_t)c[2],
                 .prior = c[3],
                 .integral = c[4],
                 .dequantisation = c[5],
                 .offset = c[6],
                 .nll = c[7],
                 .bound = c[8],
                 .probe_variance = c[9],
                 .solver_error = c[10],
                 .steps = (int64_t)c[11],
                 .evaluations = (int64_t)c[12]};
}

/* Its cells are the caller's to free(). */
static inline pf_ledger ledger_of_rows(const row *rows, int64_t n)
{
    pf_ledger l = {n, ROW_CELLS, row_columns,
                   malloc((size_t)(n + 1) * ROW_CELLS * sizeof(double))};
    for (int64_t i = 0; i < n; i++) cells_of_row(&rows[i], l.cell + i * ROW_CELLS);
    return l;
}

#endif
