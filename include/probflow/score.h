/* What likelihood and samplers see of a model: a score function over a batch, in double.
 *
 * Networks (through a plan, float32 inside) and analytic densities implement it alike.  One
 * object serves one thread; make one per worker. */
#ifndef PROBFLOW_SCORE_H
#define PROBFLOW_SCORE_H

#include <probflow/status.h>

#include <stdint.h>

typedef struct pf_score {
    void *self; /* owned */
    int dim;    /* D */
    int batch;  /* largest B of one call */
    /* s [B,D] = grad_x log p_t(x), x [B,D], t [B]. */
    pf_status (*eval)(void *self, int B, const double *t, const double *x, double *s);
    /* s as above and, from the same forward pass, jv [K,B,D] = v' ds/dx for v [K,B,D]. */
    pf_status (*vjp)(void *self, int B, const double *t, const double *x, int K,
                     const double *v, double *s, double *jv);
    /* What is known of the rows of the calls that follow beside x: label [B], -1 for none, and condition [B,C];
     * NULL: withheld, as both are before the first call.  Rows beyond B are as the last.  NULL: the model
     * is told neither. */
    pf_status (*give)(void *self, int B, const int32_t *label, const double *condition);
    /* Raw network output [B,D] of the last call; NULL for analytic scores.  Borrowed. */
    const float *(*raw)(void *self);
    void (*free)(void *self);
} pf_score;

void pf_score_free(pf_score *s); /* frees self; s itself is the caller's */

#endif
