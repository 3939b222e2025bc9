/* Chains of Gaussians by their schedule. */
#ifndef PROBFLOW_TESTS_GAUSS_RIG_H
#define PROBFLOW_TESTS_GAUSS_RIG_H

#include "method/gauss.h"

#include <probflow/memory.h>
#include "checks.h"

/* Of T steps, with the published sigmoid. */
static inline pf_gauss *chain(pf_schedule s, double b0, double b1, int T)
{
    double *beta = pf_zalloc((size_t)T * sizeof *beta);
    pf_gauss *g = NULL;
    must(pf_gauss_betas(&(pf_betas){s, b0, b1, -3.0, 3.0, 1.0}, T, beta));
    must(pf_gauss_create(T, beta, &g));
    pf_free(beta);
    return g;
}

#endif
