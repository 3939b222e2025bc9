/* Nodes and weights of Gauss and Legendre on [0,1], for tests. */
#ifndef PF_TESTS_QUADRATURE_H
#define PF_TESTS_QUADRATURE_H

#include <math.h>

static inline void gauss_legendre(int n, double *x, double *w)
{
    for (int i = 0; i < n; i++) {
        double z = cos(M_PI * (i + 0.75) / (n + 0.5)), slope = 1.0;
        for (int k = 0; k < 20; k++) {
            double p = 1.0, before = 0.0;
            for (int m = 0; m < n; m++) {
                double next = ((2.0 * m + 1.0) * z * p - m * before) / (m + 1.0);
                before = p;
                p = next;
            }
            slope = n * (z * p - before) / (z * z - 1.0);
            z -= p / slope;
        }
        x[i] = 0.5 * (1.0 - z);
        w[i] = 1.0 / ((1.0 - z * z) * slope * slope);
    }
}

#endif
