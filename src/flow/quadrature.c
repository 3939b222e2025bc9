/* Nodes are the roots of the Legendre polynomial P_n, by Newton from the estimate
 * cos(pi (i + 3/4)/(n + 1/2)); weights 2/((1 - x^2) P_n'(x)^2).
 * Source: Abramowitz and Stegun 1964, 25.4.29 and 22.16.6. */
#include "flow/quadrature.h"

#include <math.h>

/* P_n(x) by its recurrence, and its derivative. */
static double legendre(int n, double x, double *slope)
{
    double p = 1.0, before = 0.0;

    for (int k = 1; k <= n; k++) {
        double next = ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k;
        before = p;
        p = next;
    }
    *slope = n * (x * p - before) / (x * x - 1.0);
    return p;
}

void pf_gauss_legendre(int n, double *x, double *w)
{
    enum { ROUNDS = 8 }; /* of Newton: it converges quadratically from three digits */

    for (int i = 0; i < n; i++) {
        double slope, at = cos(M_PI * (n - i - 0.25) / (n + 0.5));
        for (int k = 0; k < ROUNDS; k++) at -= legendre(n, at, &slope) / slope;
        legendre(n, at, &slope);
        x[i] = at;
        w[i] = 2.0 / ((1.0 - at * at) * slope * slope);
    }
}
