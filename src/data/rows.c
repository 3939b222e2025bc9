/* Rows of a dataset split in model scale, for evaluation and for closed-form models. */
#include <probflow/data.h>
#include <probflow/memory.h>

/* x [dim] <- a row of levels k [dim]; u [dim] is scratch. */
static void place(const pf_space *s, pf_grid grid, pf_draw of_row, const uint8_t *k, float *u,
                  double *x)
{
    size_t dim = (size_t)pf_space_dim(s);
    if (grid == PF_GRID_DEQUANTISED) pf_draw_uniform(&of_row, 0, dim, u);
    pf_to_model(s, grid, dim, k, u, x);
}

pf_status pf_rows_read(pf_dataset *d, pf_grid grid, const pf_draw *draw, int64_t first,
                       int64_t n, double *x)
{
    const pf_dataset_info *a = pf_dataset_about(d);
    size_t dim = (size_t)pf_space_dim(&a->space);
    if (n == 0) return PF_OK;
    if (a->space.kind != PF_LEVELS) {
        PF_TRY(pf_dataset_x(d, first, n, x));
        return PF_OK;
    }
    uint8_t *k = pf_zalloc((size_t)n * dim);
    float *u = pf_zalloc(dim * sizeof *u);
    pf_status st = k && u
                       ? pf_dataset_images(d, first, n, k)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %lld images", (long long)n);
    for (int64_t i = 0; !st && i < n; i++) {
        pf_draw of_row = *draw;
        of_row.sample = (uint64_t)(first + i);
        place(&a->space, grid, of_row, k + (size_t)i * dim, u, x + (size_t)i * dim);
    }
    pf_free(k);
    pf_free(u);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
