/* What a solve runs in: a variable tau(t), and the state as it is or divided by the SDE's mean. */
#ifndef PROBFLOW_SRC_FLOW_VARIABLE_H
#define PROBFLOW_SRC_FLOW_VARIABLE_H

#include <probflow/flow.h>

/* A row: l = log(std/mean) = -log(snr)/2 rises with t, tau is a function of it. */
typedef struct pf_variable {
    double (*of)(double l);      /* tau; NULL: tau is t itself */
    double (*inverse)(double u); /* l of tau */
    double (*slope)(double l);   /* d tau/dl */
} pf_variable;
extern const pf_variable pf_variables[]; /* by pf_variable_kind */

double pf_variable_of(const pf_variable *v, const pf_sde *sde, double t);
/* t of tau, and dt/dtau there. */
double pf_variable_time(const pf_variable *v, const pf_sde *sde, double tau, double *rate);

#endif
