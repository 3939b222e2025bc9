/* Where the number of a point cannot mean what it seems. */
#include "cli/logp.h"

#include <probflow/estimand.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

/* Grids that pixel values lie on when they were scaled and not dequantised: k, k/255, k/256,
 * 2k/255 - 1, 2k/256 - 1, (2k + 1)/256 - 1. */
static int on_a_grid(const double *x, int64_t n)
{
    enum { GRIDS = 6 };
    static const double grids[GRIDS][2] = {{1, 0},         {255, 0},   {256, 0},
                                           {127.5, 127.5}, {128, 128}, {128, 127.5}};
    for (int k = 0; k < GRIDS; k++) {
        int64_t i = 0;
        for (; i < n; i++) {
            double v = grids[k][0] * x[i] + grids[k][1];
            if (fabs(v - rint(v)) > 1e-4) break; /* rounded to float32 */
        }
        if (i == n) return n >= 8; /* so many by accident: (2e-4)^8 */
    }
    return 0;
}

/* Smallest and largest value of the training data, where they can be read; images in model scale. */
static void range_of_training(const char *path, pf_shape s, double *low, double *high)
{
    enum { BLOCK = 4096 };
    pf_dataset *set = NULL;
    *low = s.h * s.w > 1 ? -1.0 : -INFINITY;
    *high = s.h * s.w > 1 ? 1.0 : INFINITY;
    if (!path[0] || access(path, R_OK) || pf_dataset_open(path, "train", &set)) return;
    const pf_dataset_info *a = pf_dataset_about(set);
    size_t dim = pf_shape_entries(a->space.shape);
    double *x = a->space.kind == PF_REAL ? pf_zalloc(BLOCK * dim * sizeof *x) : NULL;
    double from = INFINITY, to = -INFINITY;
    int64_t at = 0;
    int fits = pf_shape_same(a->space.shape, s); /* the path may have become another one's */
    for (; x && fits && at < a->n; at += BLOCK) {
        int64_t n = a->n - at < BLOCK ? a->n - at : BLOCK;
        if (pf_dataset_x(set, at, n, x)) break;
        for (size_t i = 0; i < (size_t)n * dim; i++)
            from = fmin(from, x[i]), to = fmax(to, x[i]);
    }
    if (x && at >= a->n) *low = from, *high = to;
    else if (fits && a->space.kind == PF_LEVELS) *low = -1.0, *high = 1.0;
    pf_free(x);
    pf_dataset_close(set);
}

void pf_logp_remark(const pf_logp_table *t, const pf_points *p, const char *data,
                    unsigned char *remarks)
{
    double low, high, per = t->D * M_LN2;
    int total = pf_estimand_asked(t->opt, 0)->total;
    int grid = p->x && on_a_grid(p->x, p->n * t->D);
    int is_mass = t->pixels || t->offset != 0.0;
    range_of_training(data, p->space.shape, &low, &high);
    for (int64_t i = 0; i < p->n; i++) {
        double bits = t->first->value[i * t->first->columns + total] - t->offset / per;
        int outside = 0;
        for (int d = 0; p->x && d < t->D; d++)
            outside |= p->x[i * t->D + d] < low || p->x[i * t->D + d] > high;
        remarks[i] =
            (unsigned char)((grid ? PF_REMARK_GRID : 0) | (outside ? PF_REMARK_OUTSIDE : 0) |
                            (is_mass && bits < 0.0 ? PF_REMARK_NEGATIVE : 0) |
                            (!is_mass && bits < 0.0 ? PF_REMARK_DENSITY : 0));
    }
}
