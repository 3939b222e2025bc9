/* Gauss-Legendre quadrature on [-1, 1]. */
#ifndef PROBFLOW_SRC_FLOW_QUADRATURE_H
#define PROBFLOW_SRC_FLOW_QUADRATURE_H

/* x [n] rising, w [n]: sum of w f(x) = integral of f, exact for polynomials of degree 2n - 1. */
void pf_gauss_legendre(int n, double *x, double *w);

#endif
