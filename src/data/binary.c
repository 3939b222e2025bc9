/* Images of levels made black and white, training images several times where they are drawn.
 *
 *     threshold  1 of the upper half of the levels, 2 k >= L, else 0
 *     drawn      1 with the chance k/(L - 1): (L - 1) u < k, u in [0,1) element d of f(seed, DATA, row of its split, split)
 *
 * The second is the rule of binarised MNIST (Salakhutdinov and Murray 2008).  One draw is as in the data of Larochelle and
 * Murray 2011, which were drawn by other numbers; several draws of each training image, copy c of row i of n as row i + c n, are
 * what drawing anew in each epoch comes to in as many epochs.
 * Test  binarised_pixels_follow_their_rule */
#include "data/format.h"

#include <probflow/random.h>

#include <string.h>

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

static void repeat(void *all, size_t bytes, int copies)
{
    for (int c = 1; c < copies; c++) memcpy((char *)all + (size_t)c * bytes, all, bytes);
}

/* Rows of a split with all that belongs to them, so many times; the first ones stay. */
static PF_MUST_USE pf_status repeat_rows(pf_table *t, int split, int copies)
{
    pf_rows *r = &t->split[split];
    int64_t n = r->n, labels = r->n_labels, coarse = r->n_coarse, told = r->n_conditioned;
    int64_t more = copies - 1;
    unsigned char *values;
    int32_t *label;
    double *condition;
    if (!n) return PF_OK;
    PF_TRY(pf_table_room(t, r->of_rows, split, n * more, t->space, &values));
    repeat(r->values, (size_t)n * pf_table_row_bytes(t), copies);
    if (labels) {
        PF_TRY(pf_table_labels(t, r->of_labels, split, labels * more, t->labelling, &label));
        repeat(r->labels, (size_t)labels * sizeof *label, copies);
    }
    if (coarse) {
        PF_TRY(pf_table_coarse(t, r->of_labels, split, coarse * more, &label));
        repeat(r->coarse, (size_t)coarse * sizeof *label, copies);
    }
    if (told) {
        PF_TRY(pf_table_conditions(t, r->of_labels, split, told * more, t->conditions,
                                   &condition));
        repeat(r->conditions, (size_t)(told * t->conditions) * sizeof *condition, copies);
    }
    return PF_OK;
}

pf_status pf_table_binarise(pf_table *t)
{
    PF_REQUIRE(t->space.kind == PF_LEVELS, PF_EARG,
               "--binarise is of images, and these data are none");
    if (t->opt->copies > 1) PF_TRY(repeat_rows(t, PF_TRAIN, t->opt->copies));
    for (int s = 0; s < PF_SPLITS; s++)
        binarise_rows(t->opt, &t->split[s], pf_shape_entries(t->space.shape), t->space.levels,
                      s);
    t->space.levels = 2;
    t->done |= PF_DONE_BINARY;
    return PF_OK;
}
