/* pf_flow: the narrow waist of the likelihood.  CVODE, traces and samplers see this and nothing
 * of networks, SDEs or MPI. */
#ifndef PROBFLOW_FLOW_H
#define PROBFLOW_FLOW_H

#include <probflow/score.h>
#include <probflow/sde.h>

/* dx/dt = f(t, x) for a batch [B,D] at one time t. */
typedef struct pf_flow {
    void *self; /* borrowed or owned as its maker says */
    int dim, batch;
    pf_status (*drift)(void *self, double t, int B, const double *x, double *f);
    /* f and, in the same pass, jv [K,B,D] = v' df/dx for v [K,B,D]. */
    pf_status (*vjp)(void *self, double t, int B, const double *x, int K, const double *v,
                     double *f, double *jv);
    /* log prior at t = 1 of z [D], nats. */
    double (*prior_logp)(void *self, const double *z);
} pf_flow;

/* Probability flow of an SDE with this score: f = f(t) x - g^2 s/2.  Both borrowed.
 * Fails PF_EMEM.  Free with pf_flow_free. */
PF_MUST_USE pf_status pf_flow_create(const pf_sde *sde, pf_score *score, pf_flow **out);
void pf_flow_free(pf_flow *f);

typedef enum pf_solver {
    PF_ADAMS,
    PF_BDF,
    PF_ERK
} pf_solver; /* CVODE Adams, CVODE BDF, ARKODE Dormand-Prince 5(4) */
typedef enum pf_probe { PF_RADEMACHER, PF_GAUSSIAN, PF_EXACT } pf_probe;

typedef struct pf_ode_opt {
    int solver;        /* pf_solver */
    double rtol, atol; /* per image, on x (model scale): rms over its D entries */
    double div_tol;    /* absolute, on the divergence of each image [bits/dim] */
    double t_min;      /* start */
    int64_t max_steps;
} pf_ode_opt;
extern const pf_opt pf_ode_opts[];

/* Its rows, for tables of options that nest a pf_ode_opt at offset `base`. */
extern const char *const pf_solver_words[];

/* clang-format off */
#define PF_ODE_ROW(base, field, kind, def, lo, hi, help) \
    { #field, kind, (base) + offsetof(pf_ode_opt, field), def, lo, hi, NULL, NULL, help }

#define PF_ODE_SOLVER_ROWS(base) \
    { "solver", PF_ENUM, (base) + offsetof(pf_ode_opt, solver), PF_ADAMS, 0, 0, NULL, pf_solver_words, \
      "ODE solver: Adams or BDF of CVODE, or Dormand-Prince 5(4) of ARKODE" }, \
    PF_ODE_ROW(base, rtol, PF_F64, 1e-5, 1e-14, 1.0, "solver's relative tolerance on x"), \
    PF_ODE_ROW(base, atol, PF_F64, 1e-5, 1e-14, 1.0, "solver's absolute tolerance on x, model scale"), \
    PF_ODE_ROW(base, max_steps, PF_I64, 10000, 1, 1e9, "steps after which a solve is given up")

#define PF_ODE_LIKELIHOOD_ROWS(base) \
    PF_ODE_ROW(base, div_tol, PF_F64, 1e-5, 1e-14, 1.0, "solver's absolute tolerance on each image's divergence [bits/dim]"), \
    PF_ODE_ROW(base, t_min, PF_F64, 1e-5, 1e-12, 0.5, "time at which the data are placed")
/* clang-format on */

typedef struct pf_ode_stat {
    int64_t steps, evaluations, error_failures;
} pf_ode_stat;

/* Integrates x [B,D] in place from t0 to t1 (either direction).  With K > 0 probes v [K,B,D]
 * (fixed along the solve) also div [B,K] = integral of v'Jv over the path; with exact = 1 the
 * divergence is exact (D products per evaluation, div [B,1], v ignored).
 *
 * The error norm is the largest over the images of the batch of each image's own norm, where an
 * image's norm is the larger of the rms of its D weighted errors and its weighted divergence
 * errors; so no image or divergence is diluted by the others.
 *
 * Local.  Same bits for the same batch, on any number of ranks and threads.
 * Fails PF_ENUMERIC when the solver stops early or meets NaN, PF_ESTOP when a stop is asked for
 * (probflow/stop.h); outputs are then undefined. */
typedef struct pf_ode_problem {
    const pf_flow *flow;
    int B, K, exact;
    double t0, t1;
    const double *probe; /* [K,B,D] */
} pf_ode_problem;
PF_MUST_USE pf_status pf_ode_solve(const pf_ode_problem *p, const pf_ode_opt *opt, double *x,
                                   double *div, pf_ode_stat *stat);

#endif
