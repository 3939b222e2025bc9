/* An isotropic mixture with noise, whose score is the network of the files. */
#ifndef PF_TESTS_VECTORS_NCSN_MIXTURE_H
#define PF_TESTS_VECTORS_NCSN_MIXTURE_H

#include "vectors.h"

typedef struct ncsn_mixture {
    size_t K, D;
    const double *weight, *mean, *std; /* [K], [K,D], [K] */
} ncsn_mixture;

/* Of the arrays PREFIXweights, PREFIXmeans, PREFIXstds; 1: the file has them. */
int ncsn_mixture_find(const vectors *v, const char *prefix, ncsn_mixture *out);
/* log density at x [D] with noise sigma; s [D] its score, jv [D] = (ds/dx) u of u [D]; NULL, both: unwanted. */
double ncsn_mixture_at(const ncsn_mixture *m, double sigma, const double *x, const double *u,
                       double *s, double *jv);

#endif
