/* Images of levels made black and white.
 *
 *     threshold  1 of the upper half of the levels, 2 k >= L, else 0
 *     drawn      1 with the chance k/(L - 1): (L - 1) u < k, u in [0,1) element d of f(seed, DATA, row of its split, split)
 *
 * The second is the rule of binarised MNIST (Salakhutdinov and Murray 2008), drawn once for all as in the data of Larochelle
 * and Murray 2011; those were drawn by other numbers.
 * Test  binarised_pixels_follow_their_rule */
#include "data/format.h"

#include <probflow/random.h>

static void binarise_rows(const pf_convert_opt *o, pf_rows *r, size_t dim, int levels,
                          int split)
{
    for (int64_t i = 0; i < r->n; i++) {
        unsigned char *row = r->values + (size_t)i * dim;
        const pf_draw d = {(uint64_t)o->seed, PF_STREAM_DATA, (uint64_t)i, (uint32_t)split};
        for (size_t k = 0; k < dim; k++)
            row[k] = o->binarise == PF_BINARISE_THRESHOLD
                         ? 2 * row[k] >= levels
                         : (levels - 1) * pf_draw_uniform_f64(&d, k) < row[k];
    }
}

pf_status pf_table_binarise(pf_table *t)
{
    PF_REQUIRE(t->space.kind == PF_LEVELS, PF_EARG,
               "--binarise is of images, and these data are none");
    for (int s = 0; s < PF_SPLITS; s++)
        binarise_rows(t->opt, &t->split[s], pf_shape_entries(t->space.shape), t->space.levels,
                      s);
    t->space.levels = 2;
    t->done |= PF_DONE_BINARY;
    return PF_OK;
}
