/* The solvers.
 *
 *     adams   CVODE, variable order 1-12, corrected by fixed-point iteration.  The iteration
 *             contracts by h |df/dx|, so what a correction leaves is far below its own size: the
 *             library's test, a tenth of the error test, is for Newton's method on stiff problems.
 *             At corrector = 0.4 nearly every step takes one evaluation.
 *     bdf     CVODE, variable order 1-5, Newton by matrix-free GMRES
 *     erk*    ARKODE, explicit pairs
 *
 * What lies between two steps is interpolated, so asking for it does not change the path.
 *
 * Source: Hindmarsh et al. 2005 (CVODE); Reynolds et al. 2023 (ARKODE). */
#include "flow/integrator.h"

#include <arkode/arkode_erkstep.h>
#include <cvode/cvode.h>
#include <stdio.h>
#include <sunlinsol/sunlinsol_spgmr.h>
#include <sunnonlinsol/sunnonlinsol_fixedpoint.h>

enum { KRYLOV = 5 };

static const ARKODE_ERKTableID tables[] = {[PF_ERK] = ARKODE_DORMAND_PRINCE_7_4_5,
                                           [PF_ERK32] = ARKODE_BOGACKI_SHAMPINE_4_2_3,
                                           [PF_ERK65] = ARKODE_VERNER_8_5_6,
                                           [PF_ERK87] = ARKODE_FEHLBERG_13_7_8};

static int is_erk(const pf_integrator *s)
{
    return s->opt->solver >= PF_ERK;
}

/* The library would print this on stderr. */
static void on_message(int code, const char *module, const char *function, char *text,
                       void *user)
{
    pf_integrator *s = user;
    (void)module;
    (void)function;
    if (code < 0) snprintf(s->why, sizeof s->why, "%s", text);
}

static pf_status sundials(const pf_integrator *s, int flag, const char *what)
{
    PF_REQUIRE(flag >= 0, PF_EEXT, "%s failed (%d): %s", what, flag, s->why);
    return PF_OK;
}
#define CALL(s, f) PF_TRY(sundials((s), (f), #f))

static pf_status start_cvode(pf_integrator *s, double from, double end)
{
    int adams = s->opt->solver == PF_ADAMS;

    s->mem = CVodeCreate(adams ? CV_ADAMS : CV_BDF, s->ctx);
    PF_REQUIRE(s->mem, PF_EMEM, "no memory for CVODE");
    CALL(s, CVodeSetErrHandlerFn(s->mem, on_message, s));
    CALL(s, CVodeInit(s->mem, s->rhs, from, s->y));
    CALL(s, CVodeSetUserData(s->mem, s->user));
    CALL(s, CVodeWFtolerances(s->mem, s->weights));
    CALL(s, CVodeSetStopTime(s->mem, end));
    if (adams) {
        s->nls = SUNNonlinSol_FixedPoint(s->y, 0, s->ctx);
        PF_REQUIRE(s->nls, PF_EMEM, "no memory for the fixed-point iteration");
        CALL(s, CVodeSetNonlinearSolver(s->mem, s->nls));
        CALL(s, CVodeSetNonlinConvCoef(s->mem, s->opt->corrector));
    } else {
        s->lin = SUNLinSol_SPGMR(s->y, SUN_PREC_NONE, KRYLOV, s->ctx);
        PF_REQUIRE(s->lin, PF_EMEM, "no memory for GMRES");
        CALL(s, CVodeSetLinearSolver(s->mem, s->lin, NULL));
        CALL(s, CVodeSetLSNormFactor(s->mem, 1.0)); /* see state.c */
    }
    return PF_OK;
}

static pf_status start_erk(pf_integrator *s, double from, double end)
{
    s->mem = ERKStepCreate(s->rhs, from, s->y, s->ctx);
    PF_REQUIRE(s->mem, PF_EMEM, "no memory for ERKStep");
    CALL(s, ERKStepSetErrHandlerFn(s->mem, on_message, s));
    CALL(s, ERKStepSetUserData(s->mem, s->user));
    CALL(s, ERKStepWFtolerances(s->mem, s->weights));
    CALL(s, ERKStepSetTableNum(s->mem, tables[s->opt->solver]));
    CALL(s, ERKStepSetStopTime(s->mem, end));
    return PF_OK;
}

pf_status pf_integrator_start(pf_integrator *s, double tau0, double tau1)
{
    s->from = s->at = tau0;
    s->end = tau1;
    if (is_erk(s)) PF_TRY(start_erk(s, tau0, tau1));
    else PF_TRY(start_cvode(s, tau0, tau1));
    return PF_OK;
}

static int step(pf_integrator *s)
{
    return is_erk(s) ? ERKStepEvolve(s->mem, s->end, s->y, &s->at, ARK_ONE_STEP)
                     : CVode(s->mem, s->end, s->y, &s->at, CV_ONE_STEP);
}

pf_status pf_integrator_advance(pf_integrator *s, double tau, int *broke, pf_ode_stat *stat)
{
    double ahead = s->end > s->from ? 1.0 : -1.0;
    long steps = (long)stat->steps, failures = 0;
    int flag = 0;

    while (flag >= 0 && steps < s->opt->max_steps && ahead * (s->at - tau) < 0.0) {
        flag = step(s);
        if (is_erk(s)) CALL(s, ERKStepGetNumSteps(s->mem, &steps));
        else CALL(s, CVodeGetNumSteps(s->mem, &steps));
    }
    *broke = flag < 0 || ahead * (s->at - tau) < 0.0;
    if (flag >= 0 && *broke) snprintf(s->why, sizeof s->why, "no more steps are allowed");
    if (is_erk(s)) CALL(s, ERKStepGetNumErrTestFails(s->mem, &failures));
    else CALL(s, CVodeGetNumErrTestFails(s->mem, &failures));
    stat->steps = steps;
    stat->error_failures = failures;
    if (*broke) return PF_OK;
    if (is_erk(s)) CALL(s, ERKStepGetDky(s->mem, tau, 0, s->y));
    else CALL(s, CVodeGetDky(s->mem, tau, 0, s->y));
    return PF_OK;
}

void pf_integrator_free(pf_integrator *s)
{
    if (s->mem && is_erk(s)) ERKStepFree(&s->mem);
    else if (s->mem) CVodeFree(&s->mem);
    if (s->nls) SUNNonlinSolFree(s->nls);
    if (s->lin) SUNLinSolFree(s->lin);
}
