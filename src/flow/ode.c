/* The solver of the flow: state y = [x (B*D), div (B*K)], both driven by
 *
 *     dx/dt = f(t, x),      d div_bk/dt = v_bk' (df/dx) v_bk        (v fixed along the path)
 *
 * with the exact divergence as the sum over D unit vectors, sent through the same product in
 * chunks.  Time is t itself: on the log signal-to-noise ratio, Gaussian and mixture flows need
 * more evaluations for the same error, of VP, sub-VP and every solver here.
 *
 *     adams   CVODE, variable order 1-12, corrected by fixed-point iteration
 *     bdf     CVODE, variable order 1-5, Newton by matrix-free GMRES
 *     erk     ARKODE, Dormand-Prince 5(4)
 *
 * Error weights: 1/(rtol |x| + atol) on x; 1/(div_tol D ln 2) on the divergences, whose absolute
 * error in nats is what the result reports.  The norm is in state.c.
 *
 * Defaults: Adams at 1e-5.  On Gaussian flows with the spectra of images (VP, sub-VP, VE) it errs
 * by less than 1e-4 bits/dim after some 100 evaluations, as Dormand-Prince does; on networks with
 * random weights, rough in t, it is some 50 times more exact for twice the evaluations.
 *
 * Source: Hindmarsh et al. 2005 (CVODE); Reynolds et al. 2023 (ARKODE); Hutchinson 1990;
 * Grathwohl et al. 2019 (probe fixed along the solve). */
#include "state.h"
#include "variable.h"

#include <arkode/arkode_erkstep.h>
#include <cvode/cvode.h>
#include <math.h>
#include <probflow/flow.h>
#include <probflow/memory.h>
#include <probflow/stop.h>
#include <stdio.h>
#include <string.h>
#include <sunlinsol/sunlinsol_spgmr.h>
#include <sunnonlinsol/sunnonlinsol_fixedpoint.h>

enum { CHUNK = 16, KRYLOV = 5, WHY_MAX = 200 };

/* clang-format off */
const char *const pf_solver_words[] = {"adams", "bdf", "erk", "erk32", "erk65", "erk87", NULL};
const char *const pf_variable_words[] = {"t", "log_snr", "noise", "arsinh", NULL};
const char *const pf_state_words[] = {"x", "scaled", NULL};
const char *const pf_norm_words[] = {"image", "group", NULL};

const pf_opt pf_ode_opts[] = {
    PF_ODE_SOLVER_ROWS(0),
    PF_ODE_LIKELIHOOD_ROWS(0),
    { 0 }
};
/* clang-format on */

typedef struct solve {
    const pf_ode_problem *p;
    const pf_ode_opt *opt;
    double *jv;      /* [K or chunk, B, D] */
    double *unit;    /* exact: [chunk, B, D] unit vectors */
    double *x;       /* [B,D] of the scaled state */
    double mean;     /* the state is x/mean, of the last evaluation; 1 unscaled */
    int chunk;       /* 0: not exact */
    size_t nx, ndiv; /* entries of the state */
    const pf_variable *variable;
    int changed;      /* of variable or state */
    double *identity; /* scaled: [ndiv] v'v */
    double tau0, tau1;
    pf_status failed; /* of a callback */
    int64_t evaluations;
    char why[WHY_MAX]; /* what the library said */
    SUNContext ctx;
    pf_arena *arena; /* of y and the solver's copies */
    N_Vector y;
    void *mem; /* CVODE's or ERKStep's */
    SUNNonlinearSolver nls;
    SUNLinearSolver lin;
} solve;

static int divergences(const pf_ode_problem *p)
{
    return p->exact ? 1 : p->K;
}

/* div[b*K+k] += v_kb . jv_kb */
static void add_products(const pf_ode_problem *p, int K, const double *v, const double *jv,
                         double *div)
{
    size_t D = (size_t)p->flow->dim;
    for (int b = 0; b < p->B; b++)
        for (int k = 0; k < K; k++) {
            size_t at = ((size_t)k * p->B + b) * D;
            double sum = 0.0;
            for (size_t d = 0; d < D; d++) sum += v[at + d] * jv[at + d];
            div[(size_t)b * K + k] = sum;
        }
}

static pf_status exact_divergence(solve *s, double t, const double *x, double *f, double *div)
{
    const pf_ode_problem *p = s->p;
    size_t D = (size_t)p->flow->dim, B = (size_t)p->B;

    memset(div, 0, B * sizeof *div);
    for (size_t first = 0; first < D; first += s->chunk) {
        int n = first + s->chunk < D ? s->chunk : (int)(D - first);
        memset(s->unit, 0, s->chunk * B * D * sizeof *s->unit);
        for (size_t k = 0; k < (size_t)n; k++)
            for (size_t b = 0; b < B; b++) s->unit[(k * B + b) * D + first + k] = 1.0;
        PF_TRY(p->flow->vjp(p->flow->self, t, p->B, x, n, s->unit, f, s->jv));
        for (size_t k = 0; k < (size_t)n; k++)
            for (size_t b = 0; b < B; b++) div[b] += s->jv[(k * B + b) * D + first + k];
    }
    return PF_OK;
}

static pf_status check_finite(const solve *s, double t, const double *dy)
{
    size_t nx = s->nx, K = (size_t)divergences(s->p), n = nx + s->ndiv;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(dy[i])) {
            int b = (int)(i < nx ? i / s->p->flow->dim : (i - nx) / K);
            PF_FAIL(PF_ENUMERIC, "the %s of sample %d of the batch is not finite at t = %g",
                    i < nx ? "drift" : "divergence", b, t);
        }
    return PF_OK;
}

/* dx/dt = f and the divergences of x at t. */
static pf_status evaluate(solve *s, double t, const double *x, double *f, double *div)
{
    const pf_ode_problem *p = s->p;

    if (p->exact) {
        PF_TRY(exact_divergence(s, t, x, f, div));
    } else if (p->K > 0) {
        PF_TRY(p->flow->vjp(p->flow->self, t, p->B, x, p->K, p->probe, f, s->jv));
        add_products(p, p->K, p->probe, s->jv, div);
    } else {
        PF_TRY(p->flow->drift(p->flow->self, t, p->B, x, f));
    }
    return PF_OK;
}

/* v'v of divergence i = b K + k: what it has of the identity. */
static double identity_product(const pf_ode_problem *p, size_t i)
{
    size_t D = (size_t)p->flow->dim, K = (size_t)divergences(p);
    double sum = 0.0;

    if (p->exact) return (double)D;
    const double *v = p->probe + (i % K * (size_t)p->B + i / K) * D;
    for (size_t d = 0; d < D; d++) sum += v[d] * v[d];
    return sum;
}

/* The state at t as x. */
static const double *unscale(solve *s, double t, const double *y)
{
    double std;

    if (s->opt->state == PF_STATE_X) return y;
    pf_sde_marginal(s->p->flow->sde, t, &s->mean, &std);
    for (size_t i = 0; i < s->nx; i++) s->x[i] = s->mean * y[i];
    return s->x;
}

/* d/dt of x and div to d/dtau of the state and of what div leaves to integrate. */
static void change_variables(const solve *s, double t, double rate, const double *y, double *dy)
{
    double f = 0.0, g2, *div = dy + s->nx;

    if (s->identity) pf_sde_coef(s->p->flow->sde, t, &f, &g2);
    for (size_t i = 0; i < s->nx; i++) dy[i] = rate * (dy[i] / s->mean - f * y[i]);
    for (size_t i = 0; s->identity && i < s->ndiv; i++) div[i] -= f * s->identity[i];
    for (size_t i = 0; i < s->ndiv; i++) div[i] *= rate;
}

static pf_status field(solve *s, double tau, const double *y, double *dy)
{
    double rate, t = pf_variable_time(s->variable, s->p->flow->sde, tau, &rate);

    PF_REQUIRE(!pf_stop_asked(), PF_ESTOP, "stopped at t = %g of an ODE solve", t);
    s->evaluations++;
    PF_TRY(evaluate(s, t, unscale(s, t, y), dy, dy + s->nx));
    if (s->changed) change_variables(s, t, rate, y, dy);
    PF_TRY(check_finite(s, t, dy));
    return PF_OK;
}

static int on_rhs(double t, N_Vector y, N_Vector dy, void *user)
{
    solve *s = user;
    /* the fixed-point path retries with smaller steps even after -1: stay failed, so it gives up */
    if (!s->failed) s->failed = field(s, t, N_VGetArrayPointer(y), N_VGetArrayPointer(dy));
    return s->failed ? -1 : 0;
}

static int on_weights(N_Vector y, N_Vector w, void *user)
{
    const solve *s = user;
    const double *x = N_VGetArrayPointer(y);
    double *out = N_VGetArrayPointer(w), rtol = s->opt->rtol, atol = s->opt->atol;
    double div = 1.0 / (s->opt->div_tol * s->p->flow->dim * M_LN2);
    size_t n = s->nx + s->ndiv;

    for (size_t i = 0; i < s->nx; i++) out[i] = 1.0 / (rtol * fabs(x[i]) + atol / s->mean);
    for (size_t i = s->nx; i < n; i++)
        out[i] = s->opt->norm == PF_NORM_GROUP ? 1.0 / (rtol * fabs(x[i]) + atol) : div;
    return 0;
}

/* The library would print this on stderr. */
static void on_message(int code, const char *module, const char *function, char *text,
                       void *user)
{
    solve *s = user;
    (void)module;
    (void)function;
    if (code < 0) snprintf(s->why, sizeof s->why, "%s", text);
}

static pf_status sundials(const solve *s, int flag, const char *what)
{
    PF_REQUIRE(flag >= 0, PF_EEXT, "%s failed (%d): %s", what, flag, s->why);
    return PF_OK;
}
#define CALL(s, f) PF_TRY(sundials((s), (f), #f))

static pf_status stopped(const solve *s, double tau, int64_t steps)
{
    double rate, t = pf_variable_time(s->variable, s->p->flow->sde, tau, &rate);
    if (s->failed)
        return pf_trail(s->failed, PF_WHERE); /* our reason, not the library's echo */
    PF_FAIL(PF_ENUMERIC,
            "the solver stopped at t = %g on the way from %g to %g after %lld steps: %s", t,
            s->p->t0, s->p->t1, (long long)steps, s->why);
}

static const ARKODE_ERKTableID tables[] = {[PF_ERK] = ARKODE_DORMAND_PRINCE_7_4_5,
                                           [PF_ERK32] = ARKODE_BOGACKI_SHAMPINE_4_2_3,
                                           [PF_ERK65] = ARKODE_VERNER_8_5_6,
                                           [PF_ERK87] = ARKODE_FEHLBERG_13_7_8};

static int is_erk(const solve *s)
{
    return s->opt->solver >= PF_ERK;
}

static pf_status run_cvode(solve *s, pf_ode_stat *stat)
{
    double t = s->tau0, end = s->tau1;
    int adams = s->opt->solver == PF_ADAMS;
    long steps = 0, failures = 0;

    s->mem = CVodeCreate(adams ? CV_ADAMS : CV_BDF, s->ctx);
    PF_REQUIRE(s->mem, PF_EMEM, "no memory for CVODE");
    CALL(s, CVodeSetErrHandlerFn(s->mem, on_message, s));
    CALL(s, CVodeInit(s->mem, on_rhs, t, s->y));
    CALL(s, CVodeSetUserData(s->mem, s));
    CALL(s, CVodeWFtolerances(s->mem, on_weights));
    CALL(s, CVodeSetMaxNumSteps(s->mem, (long)s->opt->max_steps));
    CALL(s, CVodeSetStopTime(s->mem, end));
    if (adams) {
        s->nls = SUNNonlinSol_FixedPoint(s->y, 0, s->ctx);
        PF_REQUIRE(s->nls, PF_EMEM, "no memory for the fixed-point iteration");
        CALL(s, CVodeSetNonlinearSolver(s->mem, s->nls));
    } else {
        s->lin = SUNLinSol_SPGMR(s->y, SUN_PREC_NONE, KRYLOV, s->ctx);
        PF_REQUIRE(s->lin, PF_EMEM, "no memory for GMRES");
        CALL(s, CVodeSetLinearSolver(s->mem, s->lin, NULL));
        CALL(s, CVodeSetLSNormFactor(s->mem, 1.0)); /* see state.c */
    }
    int flag = CVode(s->mem, end, s->y, &t, CV_NORMAL);
    CALL(s, CVodeGetNumSteps(s->mem, &steps));
    CALL(s, CVodeGetNumErrTestFails(s->mem, &failures));
    if (flag < 0) return stopped(s, t, steps);
    stat->steps = steps;
    stat->error_failures = failures;
    return PF_OK;
}

static pf_status run_erk(solve *s, pf_ode_stat *stat)
{
    double t = s->tau0, end = s->tau1;
    long steps = 0, failures = 0;

    s->mem = ERKStepCreate(on_rhs, t, s->y, s->ctx);
    PF_REQUIRE(s->mem, PF_EMEM, "no memory for ERKStep");
    CALL(s, ERKStepSetErrHandlerFn(s->mem, on_message, s));
    CALL(s, ERKStepSetUserData(s->mem, s));
    CALL(s, ERKStepWFtolerances(s->mem, on_weights));
    CALL(s, ERKStepSetTableNum(s->mem, tables[s->opt->solver]));
    CALL(s, ERKStepSetMaxNumSteps(s->mem, (long)s->opt->max_steps));
    CALL(s, ERKStepSetStopTime(s->mem, end));
    int flag = ERKStepEvolve(s->mem, end, s->y, &t, ARK_NORMAL);
    CALL(s, ERKStepGetNumSteps(s->mem, &steps));
    CALL(s, ERKStepGetNumErrTestFails(s->mem, &failures));
    if (flag < 0) return stopped(s, t, steps);
    stat->steps = steps;
    stat->error_failures = failures;
    return PF_OK;
}

static pf_status alloc(solve *s)
{
    const pf_ode_problem *p = s->p;
    size_t products = (size_t)(p->exact ? s->chunk : p->K);

    if (products > 0) {
        s->jv = pf_zalloc(products * s->nx * sizeof *s->jv);
        PF_REQUIRE(s->jv, PF_EMEM, "no memory for %zu products of the Jacobian", products);
    }
    if (p->exact) {
        s->unit = pf_zalloc(products * s->nx * sizeof *s->unit);
        PF_REQUIRE(s->unit, PF_EMEM, "no memory for %zu unit vectors", products);
    }
    if (s->opt->state == PF_STATE_SCALED) {
        s->x = pf_zalloc(s->nx * sizeof *s->x);
        s->identity = pf_zalloc((s->ndiv + 1) * sizeof *s->identity);
        PF_REQUIRE(s->x && s->identity, PF_EMEM, "no memory for the scaled state");
    }
    return PF_OK;
}

/* x [B,D] to the state at t0, and what the field needs to know. */
static void enter(solve *s, const double *x, double *y)
{
    const pf_ode_problem *p = s->p;
    double std;

    s->tau0 = pf_variable_of(s->variable, p->flow->sde, p->t0);
    s->tau1 = pf_variable_of(s->variable, p->flow->sde, p->t1);
    s->mean = 1.0;
    if (s->identity) pf_sde_marginal(p->flow->sde, p->t0, &s->mean, &std);
    for (size_t i = 0; i < s->nx; i++) y[i] = x[i] / s->mean;
    for (size_t i = 0; s->identity && i < s->ndiv; i++) s->identity[i] = identity_product(p, i);
}

/* The state at t1 to x and div. */
static void leave(solve *s, const double *y, double *x, double *div)
{
    const pf_ode_problem *p = s->p;
    double m0 = 1.0, m1 = 1.0, std;

    memcpy(x, unscale(s, p->t1, y), s->nx * sizeof *y);
    if (s->ndiv > 0) memcpy(div, y + s->nx, s->ndiv * sizeof *y);
    if (!s->identity) return;
    pf_sde_marginal(p->flow->sde, p->t0, &m0, &std);
    pf_sde_marginal(p->flow->sde, p->t1, &m1, &std);
    for (size_t i = 0; i < s->ndiv; i++) div[i] += s->identity[i] * log(m1 / m0);
}

static pf_status solve_into(solve *s, double *x, double *div, pf_ode_stat *stat)
{
    const pf_ode_problem *p = s->p;
    pf_layout lay = {p->B, p->flow->dim, divergences(p), s->opt->norm};

    PF_TRY(alloc(s));
    PF_REQUIRE(SUNContext_Create(NULL, &s->ctx) == 0, PF_EMEM, "no memory for SUNDIALS");
    PF_TRY(pf_state_arena(&lay, &s->arena));
    PF_TRY(pf_state_create(&lay, s->ctx, s->arena, &s->y));
    enter(s, x, N_VGetArrayPointer(s->y));
    if (is_erk(s)) PF_TRY(run_erk(s, stat));
    else PF_TRY(run_cvode(s, stat));
    stat->evaluations = s->evaluations;
    leave(s, N_VGetArrayPointer(s->y), x, div);
    return PF_OK;
}

static void release(solve *s)
{
    if (s->mem && is_erk(s)) ERKStepFree(&s->mem);
    else if (s->mem) CVodeFree(&s->mem);
    if (s->nls) SUNNonlinSolFree(s->nls);
    if (s->lin) SUNLinSolFree(s->lin);
    if (s->y) N_VDestroy(s->y);
    pf_arena_free(s->arena);
    if (s->ctx) SUNContext_Free(&s->ctx);
    pf_free(s->jv);
    pf_free(s->unit);
    pf_free(s->x);
    pf_free(s->identity);
}

pf_status pf_ode_solve(const pf_ode_problem *p, const pf_ode_opt *opt, double *x, double *div,
                       pf_ode_stat *stat)
{
    pf_ode_stat local;
    solve s = {.p = p, .opt = opt, .variable = &pf_variables[opt->variable]};
    int D = p->flow->dim;

    PF_REQUIRE(p->B > 0 && p->B <= p->flow->batch, PF_EARG,
               "%d samples for a flow of at most %d", p->B, p->flow->batch);
    PF_REQUIRE(p->t0 != p->t1, PF_EARG, "the solve from t = %g to %g is empty", p->t0, p->t1);
    PF_REQUIRE(divergences(p) == 0 || p->flow->vjp, PF_EARG,
               "the divergence needs a score with its Jacobian product");
    s.changed = s.variable->of || opt->state == PF_STATE_SCALED;
    PF_REQUIRE(p->flow->sde || !s.changed, PF_EARG,
               "a flow without its SDE is solved in t, unscaled");
    s.nx = (size_t)p->B * (size_t)D;
    s.ndiv = (size_t)p->B * (size_t)divergences(p);
    if (p->exact) s.chunk = D < CHUNK ? D : CHUNK;
    pf_status st = solve_into(&s, x, div, stat ? stat : &local);
    release(&s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
