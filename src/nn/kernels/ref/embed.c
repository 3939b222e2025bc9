/* Features of the conditioning value v:
 *
 *   positional  [sin(v w_i), cos(v w_i)],  w_i = 10000^(-i/(n/2-1)),  i = 0 .. n/2-1
 *   fourier     [sin(2 pi W_i log v), cos(2 pi W_i log v)],  W fixed and random
 *
 * Arguments reach thousands of radians: they are formed in double.  Sources: Vaswani et al. 2017,
 * section 3.5; Tancik et al. 2020, eq. 2. */
#include "nn/kernels/ref/ref.h"

#include <math.h>

pf_status pf_ref_positional(void *ctx, const pf_call *c)
{
    int half = c->site->out.c / 2;
    for (int b = 0; b < c->site->B; b++)
        for (int i = 0; i < half; i++) {
            double v = c->in[0][b] * exp(-log(10000.0) * i / (half - 1));
            c->out[(size_t)b * 2 * half + i] = (float)sin(v);
            c->out[(size_t)b * 2 * half + half + i] = (float)cos(v);
        }
    return PF_OK;
}

pf_status pf_ref_fourier(void *ctx, const pf_call *c)
{
    int n = c->site->out.c / 2;
    for (int b = 0; b < c->site->B; b++)
        for (int i = 0; i < n; i++) {
            double v = 2.0 * M_PI * c->param[0][i] * log((double)c->in[0][b]);
            c->out[(size_t)b * 2 * n + i] = (float)sin(v);
            c->out[(size_t)b * 2 * n + n + i] = (float)cos(v);
        }
    return PF_OK;
}
