/* Rows of a dataset split in model scale, for evaluation and for closed-form models. */
#include <probflow/data.h>
#include <probflow/memory.h>

/* k [n,dim], u [dim]: scratch. */
static PF_MUST_USE pf_status read_levels(pf_dataset *d, pf_grid grid, const pf_draw *draw,
                                         int64_t first, int64_t n, uint8_t *k, float *u,
                                         double *x)
{
    const pf_space *s = &pf_dataset_about(d)->space;
    size_t dim = (size_t)pf_space_dim(s);
    pf_draw of_row = *draw;
    PF_TRY(pf_dataset_images(d, first, n, k));
    for (int64_t i = 0; i < n; i++, k += dim, x += dim) {
        of_row.sample = (uint64_t)(first + i);
        if (grid == PF_GRID_DEQUANTISED) pf_draw_uniform(&of_row, 0, dim, u);
        pf_to_model(s, grid, dim, k, u, x);
    }
    return PF_OK;
}

pf_status pf_rows_read(pf_dataset *d, pf_grid grid, const pf_draw *draw, int64_t first,
                       int64_t n, double *x)
{
    const pf_dataset_info *a = pf_dataset_about(d);
    size_t dim = (size_t)pf_space_dim(&a->space);
    PF_REQUIRE(a->space.kind != PF_TOKENS, PF_EARG,
               "dataset %s holds tokens; training needs images or continuous data", a->name);
    if (n == 0) return PF_OK;
    if (a->space.kind == PF_REAL) {
        PF_TRY(pf_dataset_x(d, first, n, x));
        return PF_OK;
    }
    uint8_t *k = pf_zalloc((size_t)n * dim);
    float *u = pf_zalloc(dim * sizeof *u);
    pf_status st = k && u
                       ? read_levels(d, grid, draw, first, n, k, u, x)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %lld images", (long long)n);
    pf_free(k);
    pf_free(u);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
