/* What a model gives to samples that are no data, from counts of them.
 *
 *     share = sum_s n_s / (c n),   error^2 = variance of n_s/c over n + 2 samples / (n + 2)
 *
 * n_s the bad entries of sample s, of c; of whole samples n_s is 0 or 1, and c = 1. */
#include <probflow/sample.h>

#include <math.h>

void pf_unfit_add(pf_unfit *to, const pf_unfit *from, int sign)
{
    to->samples += sign * from->samples;
    to->some += sign * from->some;
    to->entries += sign * from->entries;
    to->squares += sign * from->squares;
}

/* Of n samples with these sums of n_s and n_s^2. */
static pf_estimate share(double n, double sum, double squares, double c)
{
    double mean = (sum + 1.0) / (n + 2.0), variance = (squares + 1.0) / (n + 2.0) - mean * mean;
    return (pf_estimate){sum / n / c, sqrt(variance / (n + 2.0)) / c};
}

pf_unfit_shares pf_unfit_estimate(const pf_unfit *u, int D)
{
    double n = (double)u->samples, some = (double)u->some;
    pf_unfit_shares s = {.rows = share(n, some, some, 1.0),
                         .entries = share(n, (double)u->entries, (double)u->squares, D)};
    /* the slope of the logarithm */
    s.bits = (pf_estimate){-log1p(-s.rows.is) / (M_LN2 * D),
                           s.rows.error / (1.0 - s.rows.is) / (M_LN2 * D)};
    return s;
}
