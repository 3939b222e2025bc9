/* Quadrature, for tests: nodes and weights of Gauss and Legendre on [0,1]; the double exponential rule. */
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

/* The integral of f over [a,b], smooth inside and perhaps steep at both ends, where the points crowd (Takahasi and Mori 1974). */
static inline double double_exponential(double (*f)(const void *, double), const void *self,
                                        double a, double b)
{
    const double h = 1.0 / 64;
    double sum = 0.0;
    for (int i = -224; i <= 224; i++) {
        double u = M_PI_2 * sinh(i * h);
        double share = 1.0 / (exp(fabs(2.0 * u)) + 1.0); /* of the way, from the nearer end */
        double dt = (b - a) * M_PI_2 * cosh(i * h) / (2.0 * cosh(u) * cosh(u));
        sum += h * dt * f(self, u < 0.0 ? a + (b - a) * share : b - (b - a) * share);
    }
    return sum;
}

#endif
