/* The control variate of the divergence estimate, from the train split of a dataset. */
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/scoring.h>

pf_status pf_control_open_split(const char *data, pf_shape shape, pf_dataset **out)
{
    if (pf_dataset_open(data, "train", out))
        PF_FAIL(
            PF_EARG,
            "likelihood.control=gaussian takes the covariance of the train split, but %s has "
            "none that can be read: set likelihood.control=none",
            data);
    pf_shape s = pf_dataset_about(*out)->space.shape;
    PF_REQUIRE(pf_shape_same(s, shape), PF_ESHAPE,
               "the train split of %s is %dx%dx%d, the images to score are %dx%dx%d: set "
               "likelihood.control=none",
               data, s.h, s.w, s.c, shape.h, shape.w, shape.c);
    return PF_OK;
}

typedef struct source {
    pf_dataset *train;
    double
        scale; /* of a pixel's level; where it lies is told to the control, as it does not matter to a covariance */
} source;

static pf_status read_rows(void *self, int64_t first, int64_t n, double *x)
{
    source *s = self;
    const pf_dataset_info *a = pf_dataset_about(s->train);
    if (a->space.kind == PF_REAL) {
        PF_TRY(pf_dataset_x(s->train, first, n, x));
        return PF_OK;
    }
    size_t values = (size_t)n * (size_t)pf_space_dim(&a->space);
    unsigned char *pixels = pf_zalloc(values);
    PF_REQUIRE(pixels, PF_EMEM, "no memory for %lld images", (long long)n);
    pf_status st = pf_dataset_images(s->train, first, n, pixels);
    for (size_t i = 0; !st && i < values; i++) x[i] = s->scale * pixels[i];
    pf_free(pixels);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_control_of_split(pf_dataset *train, const pf_data_opt *opt, pf_control **out)
{
    const pf_dataset_info *a = pf_dataset_about(train);
    int uniform = a->space.kind == PF_LEVELS && opt->grid == PF_GRID_DEQUANTISED;
    double start = pf_seconds(), step = pf_grid_step(&a->space, opt->grid);
    source s = {train, step};
    pf_sample_source src = {&s, a->n, pf_space_dim(&a->space), read_rows};
    PF_TRY(pf_control_create(&src, uniform ? step * step / 12.0 : 0.0, out));
    if (a->space.kind == PF_LEVELS) /* rows are levels times their step, from 0 on */
        pf_control_shift(*out, (opt->grid == PF_GRID_PUBLISHED ? 0.0 : 0.5 * step) - 1.0);
    pf_log("control variate: covariance of %lld training images in %.1f s", (long long)a->n,
           pf_seconds() - start);
    return PF_OK;
}
