/* Annealed Langevin dynamics on arrays; see langevin.c.  The sampler and the reference vectors run the same loop. */
#ifndef PROBFLOW_SRC_SAMPLE_LANGEVIN_H
#define PROBFLOW_SRC_SAMPLE_LANGEVIN_H

#include <probflow/view.h>

#include <stddef.h>

/* B samples of D entries.  Steps count from 0 through all levels, n = level T + step.  Borrowed. */
typedef struct pf_langevin {
    const pf_ladder *ladder; /* its t may be NULL */
    int T;                   /* steps a level */
    double eps;              /* step size of the last level, as its sigma^2 */
    int denoise;             /* 1: ends on x + sigma^2 s of the last level */
    size_t B, D;
    /* What samples shall agree with, as in pf_sampling; of all B samples. */
    const double *known; /* [B,D]; NULL: nothing */
    const unsigned char *mask;
    double known_std;
    int noise_by_level; /* 1: the noise of known entries is drawn once a level; 0: each step */
    void *self;
    /* s [B,D] of this level at x; called once a step, in order, and once more to denoise. */
    pf_status (*score)(void *self, int level, const double *x, double *s);
    /* z [B,D] of step n: of the dynamics, and of the known entries (read at those alone; NULL without them). */
    void (*noise)(void *self, int n, double *z);
    void (*noise_known)(void *self, int n, double *z);
    void (*after)(void *self, int n, const double *x); /* each step; NULL: nothing to do */
} pf_langevin;

/* x [B,D] from its initial value to the state after the last update, or to the denoised one.  Local.
 * Fails  as score does; PF_EMEM.
 * Test   test_langevin; check_vectors ncsn.h5 (langevin, toy, inpaint, interpolate) */
PF_MUST_USE pf_status pf_langevin_run(const pf_langevin *l, double *x);

/* z [B,D] between the noises p and q [D] of a row of B: cos(a) p + sin(a) q, a even from 0 to a right angle. */
void pf_langevin_between(size_t B, size_t D, const double *p, const double *q, double *z);

#endif
