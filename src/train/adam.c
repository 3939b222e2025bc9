/* Adam and the exponential moving average in one pass over a slice.
 *
 *     m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
 *     p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *     e <- ema e + (1 - ema) p
 *
 * Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1;
 * the average with a constant rate as in Song et al. 2021, appendix H. */
#include <probflow/train.h>

#include <math.h>

#if defined(__GNUC__) && !defined(__clang__)
/* Each operation rounds once in every clone and in every part of the loop, so how the vector is
 * cut into slices changes no bit. */
#pragma GCC optimize("O3", "fp-contract=off", "no-associative-math")
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef CLONES
#define CLONES
#endif

typedef struct rates { /* everything the loop needs, in its own precision */
    float b1, c1, b2, c2, step, root, eps, keep, mix, scale;
} rates;

CLONES static void update(const rates *r, size_t n, const float *restrict g, float *restrict p,
                          float *restrict m, float *restrict v, float *restrict e)
{
    rates k = *r;
    for (size_t i = 0; i < n; i++) {
        float gi = g[i] * k.scale;
        float mi = k.b1 * m[i] + k.c1 * gi;
        float vi = k.b2 * v[i] + k.c2 * (gi * gi);
        float pi = p[i] - k.step * mi / (sqrtf(vi) * k.root + k.eps);
        m[i] = mi;
        v[i] = vi;
        p[i] = pi;
        e[i] = k.keep * e[i] + k.mix * pi;
    }
}

void pf_adam_update(const pf_adam *a, size_t n, const float *g, float *p, float *m, float *v,
                    float *ema)
{
    /* 1 - b^t cancels for b near 1. */
    double u1 = -expm1((double)a->t * log(a->beta1)), u2 = -expm1((double)a->t * log(a->beta2));
    rates r = {
        .b1 = (float)a->beta1,
        .c1 = (float)(1.0 - a->beta1),
        .b2 = (float)a->beta2,
        .c2 = (float)(1.0 - a->beta2),
        .step = (float)(a->lr / u1),
        .root = (float)(1.0 / sqrt(u2)),
        .eps = (float)a->eps,
        .keep = (float)a->ema,
        .mix = (float)(1.0 - a->ema),
        .scale = (float)a->scale,
    };
    update(&r, n, g, p, m, v, ema);
}
