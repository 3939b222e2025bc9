/* Each operation rounds once, in every clone and in every part of the loop: the build lets nothing be
 * fused or reassociated here.  So how the vector is cut into slices changes no bit. */
#include "train/adam_loop.h"

#include <math.h>

void pf_adam_loop(const pf_adam_rates *r, size_t n, const float *restrict g, float *restrict p,
                  float *restrict m, float *restrict v, float *restrict e)
{
    pf_adam_rates k = *r;
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
