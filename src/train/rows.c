/* Rows of a dataset split in model scale, for evaluation and for closed-form models.
 *
 *   without dequantisation   x = 2 k / (levels - 1) - 1
 *   uniform                  x = 2 (k + u) / levels - 1,   u = f(seed, stream, row, entry) */
#include "train/loop.h"

#include <probflow/memory.h>

static PF_MUST_USE pf_status read_pixels(pf_dataset *d, int64_t first, int64_t n, size_t dim,
                                         double *x)
{
    uint8_t *pixels = pf_zalloc((size_t)n * dim);
    PF_REQUIRE(pixels, PF_EMEM, "no memory for %lld images", (long long)n);
    pf_status st = pf_dataset_images(d, first, n, pixels);
    for (size_t i = 0; !st && i < (size_t)n * dim; i++) x[i] = pixels[i];
    pf_free(pixels);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

static PF_MUST_USE pf_status dequantise(const pf_draw *draw, int64_t first, int64_t n,
                                        size_t dim, double *x)
{
    float *u = pf_zalloc(dim * sizeof *u);
    PF_REQUIRE(u, PF_EMEM, "no memory for a draw of %zu", dim);
    pf_draw d = *draw;
    for (int64_t i = 0; i < n; i++) {
        d.sample = (uint64_t)(first + i);
        pf_draw_uniform(&d, 0, dim, u);
        for (size_t j = 0; j < dim; j++) x[(size_t)i * dim + j] += (double)u[j];
    }
    pf_free(u);
    return PF_OK;
}

pf_status pf_rows_read(pf_dataset *d, const pf_data_opt *opt, const pf_draw *draw,
                       int64_t first, int64_t n, double *x)
{
    const pf_dataset_info *about = pf_dataset_about(d);
    size_t dim = (size_t)about->space.shape.h * (size_t)about->space.shape.w *
                 (size_t)about->space.shape.c;
    PF_REQUIRE(about->space.kind != PF_TOKENS, PF_ENOSUPP,
               "dataset %s holds tokens; training needs images or continuous data",
               about->name);
    if (n == 0) return PF_OK;
    if (about->space.kind == PF_REAL) {
        PF_TRY(pf_dataset_x(d, first, n, x));
        return PF_OK;
    }
    PF_TRY(read_pixels(d, first, n, dim, x));
    if (opt->uniform_dequantisation) PF_TRY(dequantise(draw, first, n, dim, x));
    double scale = 2.0 / (about->space.levels - !opt->uniform_dequantisation);
    for (size_t i = 0; i < (size_t)n * dim; i++) x[i] = scale * x[i] - 1.0;
    return PF_OK;
}
