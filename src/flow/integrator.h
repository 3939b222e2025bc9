/* The one place of CVODE and ARKODE: advances a state from tau0 towards tau1, stop by stop. */
#ifndef PROBFLOW_SRC_FLOW_INTEGRATOR_H
#define PROBFLOW_SRC_FLOW_INTEGRATOR_H

#include <probflow/flow.h>
#include <sundials/sundials_linearsolver.h>
#include <sundials/sundials_nonlinearsolver.h>
#include <sundials/sundials_nvector.h>

enum { PF_WHY_MAX = 200 };

/* The caller fills the first group and zeroes the rest; y is borrowed. */
typedef struct pf_integrator {
    const pf_ode_opt *opt;
    int (*rhs)(double tau, N_Vector y, N_Vector dy, void *user);
    int (*weights)(N_Vector y, N_Vector w, void *user);
    void *user;
    SUNContext ctx;
    N_Vector y;

    char why[PF_WHY_MAX]; /* what the library said */
    void *mem;            /* CVODE's or ERKStep's */
    SUNNonlinearSolver nls;
    SUNLinearSolver lin;
    double from, end, at; /* tau0, tau1 and where the last step ended */
} pf_integrator;

/* Fails PF_EMEM, PF_EEXT. */
PF_MUST_USE pf_status pf_integrator_start(pf_integrator *s, double tau0, double tau1);
/* y <- the state at tau, in order from tau0 to tau1; or *broke = 1 where the solver gave up.
 * Steps and failures so far in stat.  Fails PF_EEXT. */
PF_MUST_USE pf_status pf_integrator_advance(pf_integrator *s, double tau, int *broke,
                                            pf_ode_stat *stat);
void pf_integrator_free(pf_integrator *s);

#endif
