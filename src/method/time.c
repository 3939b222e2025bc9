/* The shifted grid of a batch's times; see time.h. */
#include "method/time.h"

#include <probflow/random.h>

#include <math.h>

double pf_time_shift(const pf_batch *b)
{
    pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_TIME : PF_STREAM_TIME, b->eval ? 0 : b->step,
                 0};
    return pf_draw_uniform_f64(&d, 0);
}

double pf_time_share(double u0, int64_t position, int64_t total)
{
    double u = u0 + (double)position / (double)total;
    return u - floor(u);
}

int pf_time_index(const pf_batch *b, int s, double u0, int n)
{
    if (b->index) return b->index[s];
    int i = (int)(pf_time_share(u0, b->first + s, b->total) * n);
    return i < n ? i : n - 1;
}
