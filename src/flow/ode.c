/* The solve of the flow: state y = [x (B*D), div (B*K)], both driven by
 *
 *     dx/dt = f(t, x),      d div_bk/dt = v_bk' (df/dx) v_bk        (v fixed along the path)
 *
 * with the exact divergence as the sum over D unit vectors, sent through the same product in
 * chunks.  The variable may be another than t (variable.c) and the state x/mean(t): then
 *
 *     dy/dtau = (f/mean - a y) dt/dtau,   d div/dtau = (v' (df/dx) v - a v'v) dt/dtau
 *
 * with a = d log(mean)/dt, whose part v'v log(mean(t1)/mean(t0)) is added at the end.
 *
 * With div_nodes the state is x alone, which needs no product, and the products are taken at the
 * nodes of a Gauss-Legendre rule in log SNR.  There the integrand of a Gaussian is a sum of
 * sigmoids, one for each eigenvalue of its covariance: the error falls geometrically in the nodes.
 *
 * Error weights: 1/(rtol |x| + atol) on x; 1/(div_tol D ln 2) on the divergences, whose absolute
 * error in nats is what the result reports.  The norm is in state.c, the solvers in integrator.c.
 *
 * Defaults: Adams in t at 1e-5; experiments/work-precision compares the others with it.  On
 * Gaussian flows with the spectra of images (VP, sub-VP, VE) it errs by less than 1e-4 bits/dim
 * after some 100 evaluations, as Dormand-Prince does; on networks with random weights, rough in t,
 * it is some 50 times more exact for twice the evaluations.
 *
 * Source: Hutchinson 1990; Grathwohl et al. 2019 (probe fixed along the solve). */
#include "flow/integrator.h"
#include "flow/quadrature.h"
#include "flow/state.h"
#include "flow/variable.h"

#include <math.h>
#include <probflow/flow.h>
#include <probflow/memory.h>
#include <probflow/stop.h>
#include <string.h>

enum { CHUNK = 16 };

/* clang-format off */
static const char *const solvers[] = {"adams", "bdf", "erk", "erk32", "erk65", "erk87", NULL};
static const char *const variables[] = {"t", "log_snr", "noise", "arsinh", NULL};
static const char *const states[] = {"x", "scaled", NULL};
static const char *const norms[] = {"image", "group", NULL};

const pf_opt pf_solver_opts[] = {
    PF_OPT_ENUM(pf_ode_opt, solver, PF_ADAMS, solvers, "ODE solver: Adams or BDF of CVODE, or an explicit pair of ARKODE: Dormand-Prince 5(4) (erk), Bogacki-Shampine 3(2), Verner 6(5), Fehlberg 8(7)"),
    PF_OPT_ENUM(pf_ode_opt, variable, PF_IN_T, variables, "variable of integration: t, log(mean^2/std^2), std/mean, or asinh(20 std/mean)"),
    PF_OPT_ENUM(pf_ode_opt, state, PF_STATE_X, states, "what is integrated: x, or x/mean(t), whose field has no linear part"),
    PF_OPT_ENUM(pf_ode_opt, norm, PF_NORM_IMAGE, norms, "error norm: the largest over images of their own, or one root mean square over the group"),
    PF_OPT(pf_ode_opt, rtol, PF_F64, 1e-5, 1e-14, 1.0, "solver's relative tolerance on x"),
    PF_OPT(pf_ode_opt, atol, PF_F64, 1e-5, 1e-14, 1.0, "solver's absolute tolerance on x, model scale"),
    PF_OPT(pf_ode_opt, corrector, PF_F64, 0.4, 1e-3, 1.0, "adams: a correction below this share of the error test is the last of its step"),
    PF_OPT(pf_ode_opt, max_steps, PF_I64, 10000, 1, 1e9, "steps after which a solve is given up"),
    { 0 }
};

const pf_opt pf_ode_opts[] = {
    { .name = "any solve's", .kind = PF_NEST, .rows = pf_solver_opts },
    PF_OPT(pf_ode_opt, div_tol, PF_F64, 1e-5, 1e-14, 1.0, "solver's absolute tolerance on each image's divergence [bits/dim]"),
    PF_OPT(pf_ode_opt, div_nodes, PF_INT, 0, 0, PF_DIV_NODES_MAX, "0: the divergence is integrated along with x under div_tol; n: by n-point Gauss-Legendre in log SNR on the path of x"),
    PF_OPT(pf_ode_opt, t_min, PF_F64, 1e-5, 1e-12, 0.5, "time at which the data are placed"),
    { 0 }
};
/* clang-format on */

typedef struct solve {
    const pf_ode_problem *p;
    const pf_ode_opt *opt;
    const pf_variable *variable;
    pf_integrator solver;
    pf_arena *arena;  /* of its state and copies */
    size_t nx, ndiv;  /* entries of the state */
    size_t nproducts; /* divergences: ndiv, or ndiv = 0 and they are summed over nodes */
    int changed;      /* of variable or state */
    int apart;        /* the linear part of the divergence is left to its closed form */
    double tau0, tau1;
    double mean;            /* the state is x/mean at the last evaluation; 1 unscaled */
    double *x;              /* scaled: [B,D] */
    double *jv;             /* [K or chunk, B, D] */
    double *unit;           /* exact: [chunk, B, D] unit vectors */
    int chunk;              /* 0: not exact */
    double *identity;       /* [nproducts] v'v */
    double *f, *part, *sum; /* nodes: [B,D], [nproducts], [nproducts] */
    pf_status failed;       /* of a callback */
    int64_t evaluations;
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

static const char *noun(const pf_ode_problem *p)
{
    return p->what ? p->what : "sample";
}

static pf_status check_finite(const solve *s, double t, const double *dy)
{
    size_t nx = s->nx, K = (size_t)divergences(s->p), n = nx + s->ndiv;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(dy[i])) {
            size_t b = i < nx ? i / s->p->flow->dim : (i - nx) / K;
            PF_FAIL(PF_ENUMERIC, "the %s of %s %lld is not finite at t = %g",
                    i < nx ? "drift" : "divergence", noun(s->p),
                    (long long)s->p->first + (long long)b, t);
        }
    return PF_OK;
}

/* dx/dt = f and, unless NULL, the divergences of x at t. */
static pf_status evaluate(solve *s, double t, const double *x, double *f, double *div)
{
    const pf_ode_problem *p = s->p;

    if (div && p->exact) {
        PF_TRY(exact_divergence(s, t, x, f, div));
    } else if (div) {
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

    if (s->opt->state == PF_STATE_SCALED) pf_sde_coef(s->p->flow->sde, t, &f, &g2);
    for (size_t i = 0; i < s->nx; i++) dy[i] = rate * (dy[i] / s->mean - f * y[i]);
    for (size_t i = 0; s->apart && i < s->ndiv; i++) div[i] -= f * s->identity[i];
    for (size_t i = 0; i < s->ndiv; i++) div[i] *= rate;
}

static pf_status field(solve *s, double tau, const double *y, double *dy)
{
    double rate, t = pf_variable_time(s->variable, s->p->flow->sde, tau, &rate);

    PF_REQUIRE(!pf_stop_asked(), PF_ESTOP, "stopped at t = %g of an ODE solve", t);
    s->evaluations++;
    PF_TRY(evaluate(s, t, unscale(s, t, y), dy, s->ndiv > 0 ? dy + s->nx : NULL));
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
    double div = 1.0 / (s->opt->div_tol * s->p->flow->dim * M_LN2), mean = 1.0, rest;
    size_t n = s->nx + s->ndiv;

    if (s->opt->state == PF_STATE_SCALED) /* errors of x/mean weigh as those of x */
        pf_sde_marginal(s->p->flow->sde,
                        pf_variable_time(s->variable, s->p->flow->sde, s->solver.at, &rest),
                        &mean, &rest);
    for (size_t i = 0; i < s->nx; i++) out[i] = 1.0 / (rtol * fabs(x[i]) + atol / mean);
    for (size_t i = s->nx; i < n; i++)
        out[i] = s->opt->norm == PF_NORM_GROUP ? 1.0 / (rtol * fabs(x[i]) + atol) : div;
    return 0;
}

static pf_status stopped(const solve *s, double tau, int64_t steps)
{
    double rate, t = pf_variable_time(s->variable, s->p->flow->sde, tau, &rate);
    if (s->failed)
        return pf_trail(s->failed, PF_WHERE); /* our reason, not the library's echo */
    PF_FAIL(PF_ENUMERIC,
            "the solver of %ss %lld to %lld stopped at t = %g on the way from %g to %g after "
            "%lld steps: %s",
            noun(s->p), (long long)s->p->first, (long long)s->p->first + s->p->B - 1, t,
            s->p->t0, s->p->t1, (long long)steps, s->solver.why);
}

static pf_status advance(solve *s, double tau, pf_ode_stat *stat)
{
    int broke;
    PF_TRY(pf_integrator_advance(&s->solver, tau, &broke, stat));
    if (broke) return stopped(s, s->solver.at, stat->steps);
    return PF_OK;
}

/* sum += weight of the node at u times the integrand there. */
static pf_status add_node(solve *s, double u, double weight, pf_ode_stat *stat)
{
    const pf_sde *sde = s->p->flow->sde;
    double rate, f, g2, t = pf_variable_time(&pf_variables[PF_IN_LOG_SNR], sde, u, &rate);

    PF_TRY(advance(s, pf_variable_of(s->variable, sde, t), stat));
    PF_REQUIRE(!pf_stop_asked(), PF_ESTOP, "stopped at t = %g of an ODE solve", t);
    s->evaluations++;
    PF_TRY(evaluate(s, t, unscale(s, t, N_VGetArrayPointer(s->solver.y)), s->f, s->part));
    pf_sde_coef(sde, t, &f, &g2);
    for (size_t i = 0; i < s->nproducts; i++) {
        PF_REQUIRE(isfinite(s->part[i]), PF_ENUMERIC,
                   "the divergence of %s %lld is not finite at t = %g", noun(s->p),
                   (long long)s->p->first + (long long)(i / (size_t)divergences(s->p)), t);
        s->sum[i] += weight * rate * (s->part[i] - f * s->identity[i]);
    }
    return PF_OK;
}

/* Divergences by Gauss-Legendre in log SNR, between the solver's steps. */
static pf_status add_nodes(solve *s, pf_ode_stat *stat)
{
    const pf_variable *v = &pf_variables[PF_IN_LOG_SNR];
    double x[PF_DIV_NODES_MAX], w[PF_DIV_NODES_MAX];
    double u0 = pf_variable_of(v, s->p->flow->sde, s->p->t0),
           u1 = pf_variable_of(v, s->p->flow->sde, s->p->t1);

    pf_gauss_legendre(s->opt->div_nodes, x, w);
    for (int i = 0; i < s->opt->div_nodes; i++)
        PF_TRY(add_node(s, 0.5 * (u0 + u1) + 0.5 * (u1 - u0) * x[i], 0.5 * (u1 - u0) * w[i],
                        stat));
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
        PF_REQUIRE(s->x, PF_EMEM, "no memory for the scaled state");
    }
    if (s->nproducts > 0) {
        s->identity = pf_zalloc(3 * s->nproducts * sizeof *s->identity);
        PF_REQUIRE(s->identity, PF_EMEM, "no memory for %zu divergences", s->nproducts);
        s->part = s->identity + s->nproducts;
        s->sum = s->part + s->nproducts;
    }
    if (s->nproducts > s->ndiv) {
        s->f = pf_zalloc(s->nx * sizeof *s->f);
        PF_REQUIRE(s->f, PF_EMEM, "no memory for a drift");
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
    if (s->opt->state == PF_STATE_SCALED) pf_sde_marginal(p->flow->sde, p->t0, &s->mean, &std);
    for (size_t i = 0; i < s->nx; i++) y[i] = x[i] / s->mean;
    for (size_t i = 0; i < s->nproducts; i++) s->identity[i] = identity_product(p, i);
}

/* The state at t1 to x and div. */
static void leave(solve *s, const double *y, double *x, double *div)
{
    const pf_ode_problem *p = s->p;
    double m0 = 1.0, m1 = 1.0, std;

    memcpy(x, unscale(s, p->t1, y), s->nx * sizeof *y);
    if (s->nproducts > 0)
        memcpy(div, s->ndiv > 0 ? y + s->nx : s->sum, s->nproducts * sizeof *y);
    if (!s->apart) return;
    pf_sde_marginal(p->flow->sde, p->t0, &m0, &std);
    pf_sde_marginal(p->flow->sde, p->t1, &m1, &std);
    for (size_t i = 0; i < s->nproducts; i++) div[i] += s->identity[i] * log(m1 / m0);
}

static pf_status solve_into(solve *s, double *x, double *div, pf_ode_stat *stat)
{
    const pf_ode_problem *p = s->p;
    pf_layout lay = {p->B, p->flow->dim, s->ndiv > 0 ? divergences(p) : 0, s->opt->norm};
    pf_integrator *it = &s->solver;

    PF_TRY(alloc(s));
    PF_REQUIRE(SUNContext_Create(NULL, &it->ctx) == 0, PF_EMEM, "no memory for SUNDIALS");
    PF_TRY(pf_state_arena(&lay, &s->arena));
    PF_TRY(pf_state_create(&lay, it->ctx, s->arena, &it->y));
    enter(s, x, N_VGetArrayPointer(it->y));
    *stat = (pf_ode_stat){0};
    PF_TRY(pf_integrator_start(it, s->tau0, s->tau1));
    if (s->nproducts > s->ndiv) PF_TRY(add_nodes(s, stat));
    PF_TRY(advance(s, s->tau1, stat));
    stat->evaluations = s->evaluations;
    leave(s, N_VGetArrayPointer(it->y), x, div);
    return PF_OK;
}

static void release(solve *s)
{
    pf_integrator_free(&s->solver);
    if (s->solver.y) N_VDestroy(s->solver.y);
    pf_arena_free(s->arena);
    if (s->solver.ctx) SUNContext_Free(&s->solver.ctx);
    pf_free(s->jv);
    pf_free(s->unit);
    pf_free(s->x);
    pf_free(s->f);
    pf_free(s->identity);
}

size_t pf_ode_bytes(const pf_ode_opt *opt, int B, int D, int K)
{
    pf_layout lay = {B, D, K > 0 ? K : 1, opt->norm};
    size_t products = K > 0 ? (size_t)K : 2 * CHUNK; /* exact: unit vectors and theirs */
    return pf_state_bytes(&lay) + products * (size_t)B * (size_t)D * sizeof(double);
}

pf_status pf_ode_solve(const pf_ode_problem *p, const pf_ode_opt *opt, double *x, double *div,
                       pf_ode_stat *stat)
{
    pf_ode_stat local;
    solve s = {.p = p, .opt = opt, .variable = &pf_variables[opt->variable]};
    s.solver = (pf_integrator){.opt = opt, .rhs = on_rhs, .weights = on_weights, .user = &s};
    int D = p->flow->dim;

    PF_REQUIRE(p->B > 0 && p->B <= p->flow->batch, PF_EARG,
               "%d samples for a flow of at most %d", p->B, p->flow->batch);
    PF_REQUIRE(p->t0 != p->t1, PF_EARG, "the solve from t = %g to %g is empty", p->t0, p->t1);
    PF_REQUIRE(divergences(p) == 0 || p->flow->vjp, PF_EARG,
               "the divergence needs a score with its Jacobian product");
    int nodes = divergences(p) > 0 && opt->div_nodes > 0;
    s.changed = s.variable->of || opt->state == PF_STATE_SCALED;
    s.apart = nodes || opt->state == PF_STATE_SCALED;
    PF_REQUIRE(p->flow->sde || !(s.changed || s.apart), PF_EARG,
               "a flow without its SDE is solved in t, unscaled, its divergence along");
    s.nx = (size_t)p->B * (size_t)D;
    s.nproducts = (size_t)p->B * (size_t)divergences(p);
    s.ndiv = nodes ? 0 : s.nproducts;
    if (p->exact) s.chunk = D < CHUNK ? D : CHUNK;
    pf_status st = solve_into(&s, x, div, stat ? stat : &local);
    release(&s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
