/* Annealed Langevin dynamics:
 *
 *     x <- x + a s_l(x) + sqrt(2 a) z,     a = eps (sigma_l/sigma_L)^2,     T steps at each level l = 1 .. L
 *
 * and last x + sigma_L^2 s_L(x).  What is known exactly is put in its place with noise sigma_l before each step and
 * without noise in the end.  What is known with noise multiplies the density of each level by
 * N(known; x, std^2 + sigma_l^2), whose score (known - x)/(std^2 + sigma_l^2) is added.
 *
 * The toy convention of the papers, a/2 and sqrt(a) z, is the same with eps halved.
 * Source: Song and Ermon 2019, algorithm 1 and section 5.3; 2020, sections 3.4 and B.5. */
#include "sample/langevin.h"

#include <probflow/memory.h>

#include <math.h>

typedef struct buffers {
    double *s, *z, *known; /* [B,D] each; known: noise of the known entries */
} buffers;

static int is_known(const pf_langevin *l, size_t i)
{
    return !l->mask || l->mask[i % l->D];
}

/* Known entries at their noisy values. */
static void overwrite(const pf_langevin *l, double sigma, const double *z, double *x)
{
    for (size_t i = 0; i < l->B * l->D; i++)
        if (is_known(l, i)) x[i] = l->known[i] + (sigma > 0.0 ? sigma * z[i] : 0.0);
}

static void multiply(const pf_langevin *l, double sigma, const double *x, double *s)
{
    double variance = l->known_std * l->known_std + sigma * sigma;
    for (size_t i = 0; i < l->B * l->D; i++)
        if (is_known(l, i)) s[i] += (l->known[i] - x[i]) / variance;
}

static int exactly(const pf_langevin *l)
{
    return l->known && l->known_std == 0.0;
}

static PF_MUST_USE pf_status step(const pf_langevin *l, const buffers *b, int level, int k,
                                  double *x)
{
    const double *sigma = l->ladder->sigma;
    double up = sigma[level] / sigma[l->ladder->levels - 1], a = l->eps * up * up,
           root = sqrt(2.0 * a);
    int n = level * l->T + k;
    if (exactly(l)) {
        if (k == 0 || !l->noise_by_level) l->noise_known(l->self, n, b->known);
        overwrite(l, sigma[level], b->known, x);
    }
    PF_TRY(l->score(l->self, level, x, b->s));
    if (l->known && !exactly(l)) multiply(l, sigma[level], x, b->s);
    l->noise(l->self, n, b->z);
    for (size_t i = 0; i < l->B * l->D; i++) x[i] = x[i] + a * b->s[i] + root * b->z[i];
    if (l->after) l->after(l->self, n, x);
    return PF_OK;
}

static PF_MUST_USE pf_status finish(const pf_langevin *l, const buffers *b, double *x)
{
    int last = l->ladder->levels - 1;
    double sigma = l->ladder->sigma[last];
    if (l->denoise) {
        if (exactly(l)) {
            if (!l->noise_by_level) l->noise_known(l->self, (last + 1) * l->T, b->known);
            overwrite(l, sigma, b->known, x);
        }
        PF_TRY(l->score(l->self, last, x, b->s));
        for (size_t i = 0; i < l->B * l->D; i++) x[i] += sigma * sigma * b->s[i];
    }
    if (exactly(l)) overwrite(l, 0.0, NULL, x);
    return PF_OK;
}

static PF_MUST_USE pf_status walk(const pf_langevin *l, const buffers *b, double *x)
{
    PF_REQUIRE(b->s, PF_EMEM, "no memory for %zu samples", l->B);
    for (int level = 0; level < l->ladder->levels; level++)
        for (int k = 0; k < l->T; k++) PF_TRY(step(l, b, level, k, x));
    PF_TRY(finish(l, b, x));
    return PF_OK;
}

pf_status pf_langevin_run(const pf_langevin *l, double *x)
{
    size_t n = l->B * l->D;
    buffers b = {.s = pf_zalloc(3 * n * sizeof *b.s)};
    b.z = b.s + n;
    b.known = b.z + n;
    pf_status st = walk(l, &b, x);
    pf_free(b.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_langevin_between(size_t B, size_t D, const double *p, const double *q, double *z)
{
    for (size_t b = 0; b < B; b++) {
        double a = B > 1 ? M_PI_2 * (double)b / (double)(B - 1) : 0.0;
        for (size_t d = 0; d < D; d++) z[b * D + d] = cos(a) * p[d] + sin(a) * q[d];
    }
}
