/* The noise expected in x when only the frequencies of the levels are known; see pf_levels.
 *
 *     bins     p = sum_k w_k (P(z_k) - P(z_k+1)),  z_k = (u - e_k)/v,  P the normal distribution
 *              y = -p1/p,   v dy/du = -(p2/p - y^2),   p1, p2 = v dp/du, v^2 d^2p/du^2
 *     narrow   bins as Gaussians of variance s^2 = v^2 + width^2/12 at their centres:
 *              y = v/s E[z],   dy/du = v/s^2 (1 - Var[z]),   z_k = (u - c_k)/s weighted by w_k exp(-z_k^2/2)
 *     points   y = E[z],   dy/du = (1 - Var[z])/v,   z_k = (u - point k)/v weighted by w_k exp(-z_k^2/2)
 *
 * Points take the largest term out of all.  In the other two all terms carry the factor exp(z^2/2) of the nearest point of [-1,1], so nothing vanishes far outside;
 * what lies more than 7 deviations from there is left out (exp(-24)). */
#include "nn/kernels/ref/ref.h"

#include <math.h>

#define REACH 7.0

/* Q(z) exp(shift) of the upper normal tail, z >= 0, shift <= z^2/2. */
static double tail(double z, double shift)
{
    if (z < 6.0) return 0.5 * erfc(z * M_SQRT1_2) * exp(shift);
    double f = z; /* its continued fraction (Laplace) */
    for (int k = 24; k > 0; k--) f = z + k / f;
    return exp(shift - 0.5 * z * z) / (sqrt(2.0 * M_PI) * f);
}

static pf_expected of_bins(const float *w, int n, double u, double v)
{
    double bin = 2.0 / n, c = fmin(fmax(u, -1.0), 1.0), shift = 0.5 * (u - c) * (u - c) / v / v;
    int lo = (int)fmax(floor((c + 1.0 - REACH * v) / bin), 0.0);
    int hi = (int)fmin(ceil((c + 1.0 + REACH * v) / bin), n);
    double p = 0.0, p1 = 0.0, p2 = 0.0;

    for (int k = lo; k < hi; k++) {
        double a = (u + 1.0 - k * bin) / v, b = (u + 1.0 - (k + 1) * bin) / v;
        double fa = exp(shift - 0.5 * a * a), fb = exp(shift - 0.5 * b * b);
        double mass = b >= 0.0  ? tail(b, shift) - tail(a, shift)
                      : a < 0.0 ? tail(-a, shift) - tail(-b, shift)
                                : exp(shift) - tail(a, shift) - tail(-b, shift);
        p += w[k] * mass;
        p1 += w[k] * (fa - fb);
        p2 += w[k] * (b * fb - a * fa);
    }
    double r = 1.0 / (p * sqrt(2.0 * M_PI));
    return (pf_expected){-p1 * r, (p1 * r * p1 * r - p2 * r) / v};
}

static pf_expected of_narrow(const float *w, int n, double u, double v)
{
    double bin = 2.0 / n, end = 1.0 - 0.5 * bin, c = fmin(fmax(u, -end), end);
    double s = sqrt(v * v + bin * bin / 12.0), far = (u - c) / s;
    int lo = (int)fmax(floor((c + end - REACH * s) / bin), 0.0);
    int hi = (int)fmin(ceil((c + end + REACH * s) / bin), n - 1);
    double sum = 0.0, one = 0.0, two = 0.0;

    for (int k = lo; k <= hi; k++) {
        double a = (c + end - k * bin) / s, g = w[k] * exp(-0.5 * a * (a + 2.0 * far));
        sum += g;
        one += g * a;
        two += g * a * a;
    }
    double mean = one / sum, var = two / sum - mean * mean;
    return (pf_expected){v / s * (far + mean), v / (s * s) * (1.0 - var)};
}

static double point(const pf_attr *a, int k)
{
    pf_space s = {.kind = PF_LEVELS, .levels = a->levels};
    double x;
    pf_to_model(&s, a->grid, 1, &(uint8_t){(uint8_t)k}, NULL, &x);
    return x;
}

/* log of the largest term. */
static double largest(const float *w, const pf_attr *a, double u, double v)
{
    double most = -INFINITY;
    for (int k = 0; k < a->levels; k++) {
        double z = (u - point(a, k)) / v;
        most = fmax(most, log(w[k]) - 0.5 * z * z);
    }
    return most;
}

static pf_expected of_points(const float *w, const pf_attr *a, double u, double v)
{
    double most = largest(w, a, u, v), sum = 0.0, one = 0.0, two = 0.0;
    for (int k = 0; k < a->levels; k++) {
        double z = (u - point(a, k)) / v, g = exp(log(w[k]) - 0.5 * z * z - most);
        sum += g;
        one += g * z;
    }
    double mean = one / sum;
    for (int k = 0; k < a->levels; k++) {
        double z = (u - point(a, k)) / v, g = exp(log(w[k]) - 0.5 * z * z - most);
        two += g * (z - mean) * (z - mean);
    }
    return (pf_expected){mean, (1.0 - two / sum) / v};
}

pf_expected pf_ref_levels_at(const float *w, const pf_attr *a, double u, double v)
{
    int n = a->levels;
    if (a->grid != PF_GRID_DEQUANTISED) return of_points(w, a, u, v);
    return v * n < 8.0 ? of_bins(w, n, u, v) : of_narrow(w, n, u, v);
}

/* y, and dy/dx where the backward pass wants it */
size_t pf_ref_levels_saved(const pf_site *s, void *ctx)
{
    return s->want_dx[0] ? (size_t)s->B * pf_shape_size(s->out) : 0;
}

pf_status pf_ref_levels(void *ctx, const pf_call *c)
{
    const pf_site *s = c->site;
    size_t size = pf_shape_size(s->out);
    int n = s->attr.levels;

    for (size_t i = 0; i < (size_t)s->B * size; i++) {
        double v = c->in[1][i / size], m = c->in[2][i / size], u = c->in[0][i] / m;
        const float *w = c->param[0] + i % (size_t)s->out.c * (size_t)n;
        pf_expected e = pf_ref_levels_at(w, &s->attr, u, v);
        c->out[i] = (float)e.y;
        if (s->want_dx[0]) c->saved[i] = (float)(e.slope / m);
    }
    return PF_OK;
}

pf_status pf_ref_levels_back(void *ctx, const pf_call *c)
{
    for (size_t i = 0, n = (size_t)c->site->B * pf_shape_size(c->site->out); c->gin[0] && i < n;
         i++)
        c->gin[0][i] = c->saved[i] * c->gout[i];
    return PF_OK;
}
