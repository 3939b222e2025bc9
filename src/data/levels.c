/* Images of fewer levels than a byte has, as label maps and cuts of grey are.
 *
 * The number of levels is part of the space of the data: what a category is, which values a model can give, and over how many
 * of them a likelihood sums up to one.
 * Test  images_have_the_levels_they_are_said_to_have */
#include "data/format.h"

static PF_MUST_USE pf_status check_rows(const pf_rows *r, size_t dim, int levels,
                                        const char *split)
{
    for (int64_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < dim; k++)
            PF_REQUIRE(r->values[(size_t)i * dim + k] < levels, PF_EFORMAT,
                       "image %lld of the split %s holds the value %d, and --levels %d is of "
                       "values from 0 to %d",
                       (long long)i, split, r->values[(size_t)i * dim + k], levels, levels - 1);
    return PF_OK;
}

pf_status pf_table_levels(pf_table *t)
{
    PF_REQUIRE(t->space.kind == PF_LEVELS, PF_EARG,
               "--levels is of images, and these data are none");
    for (int s = 0; s < PF_SPLITS; s++)
        PF_TRY(check_rows(&t->split[s], pf_shape_entries(t->space.shape), t->opt->levels,
                          pf_split_name(s)));
    t->space.levels = t->opt->levels;
    return PF_OK;
}
