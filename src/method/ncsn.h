/* Score matching on a ladder of noise levels (Song and Ermon 2019, 2020).
 *
 * Published lengths: of data of levels those of [0,1], half of model scale; of real data model scale itself.
 *
 * Test    test_ncsn; check_vectors ncsn.h5:loss */
#ifndef PROBFLOW_SRC_METHOD_NCSN_H
#define PROBFLOW_SRC_METHOD_NCSN_H

#include <stddef.h>

/* 1/2 |s + z/sigma|^2 sigma^power of n entries: s the score at x + sigma z; slope [n] = its derivative by s. */
double pf_ncsn_denoising(size_t n, double sigma, double power, const double *s, const double *z,
                         double *slope);
/* (1/2 |s|^2 + v'(ds/dx) v) sigma^2 of n entries: s the score at a noisy x, jv = (ds/dx) v.
 * Source  Song et al. 2019 (sliced score matching with reduced variance). */
double pf_ncsn_sliced(size_t n, double sigma, const double *s, const double *v,
                      const double *jv);

#endif
