/* Mean and standard deviation of all entries of a split, in model scale. */
#include <probflow/data.h>
#include <probflow/memory.h>

#include <math.h>

enum { ROWS = 256 }; /* read at once */

/* One at a time: Welford 1962. */
static void add(size_t n, const double *x, double *seen, pf_moments *m, double *spread)
{
    for (size_t i = 0; i < n; i++) {
        double before = x[i] - m->mean;
        *seen += 1.0;
        m->mean += before / *seen;
        *spread += before * (x[i] - m->mean);
    }
}

pf_status pf_data_moments(pf_dataset *d, pf_moments *out)
{
    const pf_dataset_info *a = pf_dataset_about(d);
    size_t D = (size_t)pf_space_dim(&a->space);
    PF_REQUIRE(a->space.kind != PF_TOKENS, PF_EARG,
               "%s holds tokens, which have no mean: they stand in no order", a->name);
    double seen = 0.0, spread = 0.0, *x = pf_zalloc(ROWS * D * sizeof *x);
    const pf_draw none = {0};
    pf_status st = x ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d rows", ROWS);
    *out = (pf_moments){0};
    for (int64_t i = 0; !st && i < a->n; i += ROWS) {
        int64_t n = a->n - i < ROWS ? a->n - i : ROWS;
        st = pf_rows_read(d, PF_GRID_CENTRES, &none, i, n, x);
        if (!st) add((size_t)n * D, x, &seen, out, &spread);
    }
    pf_free(x);
    /* that of a bin, which dequantisation adds */
    double bin = a->space.kind == PF_REAL ? 0.0 : 2.0 / a->space.levels;
    out->std = sqrt(spread / seen + bin * bin / 12.0);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
