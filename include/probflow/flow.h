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
    const pf_sde *sde; /* whose flow it is, borrowed; NULL: it can be solved in t only */
} pf_flow;

/* Probability flow of an SDE with this score: f = f(t) x - g^2 s/2.  Both borrowed.
 * Fails PF_EMEM.  Free with pf_flow_free. */
PF_MUST_USE pf_status pf_flow_create(const pf_sde *sde, pf_score *score, pf_flow **out);
void pf_flow_free(pf_flow *f);

/* CVODE's Adams and BDF; ARKODE's pairs of Dormand-Prince 5(4), Bogacki-Shampine 3(2), Verner
 * 6(5) and Fehlberg 8(7). */
typedef enum pf_solver { PF_ADAMS, PF_BDF, PF_ERK, PF_ERK32, PF_ERK65, PF_ERK87 } pf_solver;
/* Variable of integration: see src/flow/variable.c. */
typedef enum pf_variable_kind {
    PF_IN_T,
    PF_IN_LOG_SNR,
    PF_IN_NOISE,
    PF_IN_ARSINH
} pf_variable_kind;
typedef enum pf_scaling { PF_STATE_X, PF_STATE_SCALED } pf_scaling; /* x, or x/mean(t) */
typedef enum pf_norm { PF_NORM_IMAGE, PF_NORM_GROUP } pf_norm;
typedef enum pf_probe { PF_RADEMACHER, PF_GAUSSIAN, PF_EXACT } pf_probe;

enum { PF_DIV_NODES_MAX = 512 };

typedef struct pf_ode_opt {
    int solver;        /* pf_solver */
    int variable;      /* pf_variable_kind */
    int state;         /* pf_scaling */
    int norm;          /* pf_norm */
    double rtol, atol; /* per image, on x (model scale): rms over its D entries */
    double div_tol;    /* absolute, on the divergence of each image [bits/dim] */
    int div_nodes;     /* 0: the divergence is integrated along; n: on n nodes after */
    double corrector;  /* Adams: a correction below this share of the error test is the last */
    double t_min;      /* start */
    int64_t max_steps;
} pf_ode_opt;
/* All of them, and those that any solve has (div_tol, div_nodes and t_min are a likelihood's). */
extern const pf_opt pf_ode_opts[], pf_solver_opts[];

typedef struct pf_ode_stat {
    int64_t steps, evaluations, error_failures;
} pf_ode_stat;

/* Integrates x [B,D] in place from t0 to t1 (either direction).  With K > 0 probes v [K,B,D]
 * (fixed along the solve) also div [B,K] = integral of v'Jv over the path; with exact = 1 the
 * divergence is exact (D products per evaluation, div [B,1], v ignored).
 *
 * With div_nodes = n > 0 the steps follow x alone, to rtol and atol, and div is a Gauss-Legendre
 * rule of n nodes in log SNR on that path, whose error only a repeat with more nodes shows:
 * evaluations then counts the n with products and the others, which need none.  This,
 * another variable than t and the scaled state need flow->sde (PF_EARG).
 *
 * The error norm is the largest over the images of the batch of each image's own norm, where an
 * image's norm is the larger of the rms of its D weighted errors and its weighted divergence
 * errors; so no image or divergence is diluted by the others.  With norm group it is one root
 * mean square over all entries, divergences among them and held to rtol and atol (in nats), as in
 * the published code.  The errors of x/mean are weighed as those of x.
 *
 * Local.  Same bits for the same batch, on any number of ranks and threads.
 * Fails PF_ENUMERIC when the solver stops early or meets NaN, PF_ESTOP when a stop is asked for
 * (probflow/stop.h); outputs are then undefined. */
typedef struct pf_ode_problem {
    const pf_flow *flow;
    int B, K, exact;
    double t0, t1;
    const double *probe; /* [K,B,D] */
    const char *what;    /* of sentences: "image"; NULL: "sample" */
    int64_t first;       /* number of the first of the B where they come from, for the same */
} pf_ode_problem;
PF_MUST_USE pf_status pf_ode_solve(const pf_ode_problem *p, const pf_ode_opt *opt, double *x,
                                   double *div, pf_ode_stat *stat);
/* Bytes that a solve of B samples with K probes holds, those of x left out; K = 0: with the exact
 * divergence. */
size_t pf_ode_bytes(const pf_ode_opt *opt, int B, int D, int K);

#endif
