/* The exact decoder of a level from its noisy centre; see space.h. */
#include <probflow/space.h>

#include <math.h>

/* Terms that are smaller than the largest by this many nats are beyond double. */
#define NEGLIGIBLE 45.0

typedef struct sums {
    double all, slope; /* of the terms over the largest, and of (centre - x) among them */
} sums;

static double centre(int levels, int j)
{
    return 2.0 * (j + 0.5) / levels - 1.0;
}

/* Adds the levels from j on in steps of `by`, until they are negligible beside `most`. */
static void add(int levels, double noise, double x, double most, int j, int by, sums *to)
{
    for (; j >= 0 && j < levels; j += by) {
        double d = (centre(levels, j) - x) / noise, term = -0.5 * d * d - most;
        if (term < -NEGLIGIBLE) return;
        to->all += exp(term);
        to->slope += exp(term) * d;
    }
}

double pf_level_decode(int levels, double noise, double x, int k, double *slope)
{
    double at = floor(0.5 * (x + 1.0) * levels), d = (centre(levels, k) - x) / noise;
    int near = at < 0.0 ? 0 : at >= levels ? levels - 1 : (int)at;
    double nearest = (centre(levels, near) - x) / noise, most = -0.5 * nearest * nearest;
    sums s = {0};
    add(levels, noise, x, most, near, -1, &s);
    add(levels, noise, x, most, near + 1, 1, &s);
    if (slope) *slope = (d - s.slope / s.all) / noise;
    return -0.5 * d * d - most - log(s.all);
}

double pf_level_cost(int levels, double noise, int k)
{
    /* the trapezoidal rule converges geometrically on the line */
    const double h = 1.0 / 64.0, end = 9.0;
    double sum = 0.0;
    for (double e = -end; e <= end; e += h)
        sum -= h * exp(-0.5 * e * e) / sqrt(2.0 * M_PI) *
               pf_level_decode(levels, noise, centre(levels, k) + noise * e, k, NULL);
    return sum;
}
