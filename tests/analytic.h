/* Closed-form densities for the tests of flow, likelihood and samplers. */
#ifndef PF_TESTS_ANALYTIC_H
#define PF_TESTS_ANALYTIC_H

#include <probflow/likelihood.h>
#include <probflow/linalg.h>
#include <probflow/memory.h>
#include <probflow/model.h>
#include <probflow/random.h>
#include "checks.h"

extern const pf_model_ops pf_model_gaussian, pf_model_mixture;

static inline double normal(uint32_t step, size_t i)
{
    float z;
    pf_draw d = {7, PF_STREAM_TEST, 0, step};
    pf_draw_normal(&d, i, 1, &z);
    return (double)z;
}

typedef struct analytic {
    const pf_model_ops *ops;
    union {
        double align;
        unsigned char bytes[PF_MODEL_BYTES];
    } opt;
    pf_sde sde;
    int D;
    float *params;
    void *state;
    pf_score score;
    pf_flow *flow;
} analytic;

static inline void analytic_bind(analytic *a, const char *sde, int batch)
{
    must(pf_sde_init(sde, &a->sde));
    must(a->ops->prepare(&a->opt, (pf_shape){1, 1, a->D}, a->params, &a->state));
    must(a->ops->score(a->state, &a->sde, batch, &a->score));
    must(pf_flow_create(&a->sde, &a->score, &a->flow));
}

/* After a change of the parameters. */
static inline void analytic_rebind(analytic *a, const char *sde, int batch)
{
    a->ops->release(a->state);
    pf_score_free(&a->score);
    pf_flow_free(a->flow);
    analytic_bind(a, sde, batch);
}

/* cov [D,D] = scale (G G'/D + 0.02 I), G standard normal: eigenvalues over two decades */
static inline void random_covariance(int D, double scale, uint32_t step, float *cov)
{
    for (int i = 0; i < D; i++)
        for (int j = 0; j <= i; j++) {
            double s = i == j ? 0.02 : 0.0;
            for (int k = 0; k < D; k++)
                s += normal(step, (size_t)i * D + k) * normal(step, (size_t)j * D + k) / D;
            cov[i * D + j] = cov[j * D + i] = (float)(scale * s);
        }
}

static inline void gaussian_create(int D, const char *sde, int batch, analytic *a)
{
    *a = (analytic){.ops = &pf_model_gaussian, .D = D};
    pf_opt_defaults(a->ops->opts, &a->opt);
    a->params = pf_zalloc(sizeof(float) * (size_t)D * (D + 1));
    for (int i = 0; i < D; i++) a->params[i] = (float)(0.3 * normal(1, i));
    random_covariance(D, 0.2, 2, a->params + D);
    analytic_bind(a, sde, batch);
}

/* Three components in D dimensions, apart enough to have three modes. */
static inline void mixture_create(int D, const char *sde, int batch, analytic *a)
{
    *a = (analytic){.ops = &pf_model_mixture, .D = D};
    pf_opt_defaults(a->ops->opts, &a->opt);
    must(pf_opt_set(a->ops->opts, NULL, "components", "3", &a->opt));
    a->params = pf_zalloc(sizeof(float) * 3 * (1 + (size_t)D + (size_t)D * D));
    for (int c = 0; c < 3; c++) {
        a->params[c] = (float)(0.2 + 0.2 * c);
        for (int d = 0; d < D; d++)
            a->params[3 + c * D + d] = (float)(0.8 * normal(3, c * D + d));
        random_covariance(D, 0.05, 4 + c, a->params + 3 + 3 * D + c * D * D);
    }
    analytic_bind(a, sde, batch);
}

static inline void analytic_free(analytic *a)
{
    pf_flow_free(a->flow);
    pf_score_free(&a->score);
    if (a->state) a->ops->release(a->state);
    pf_free(a->params);
}

/* n draws of N(m mean, m^2 cov + s^2 I), the marginal of a normal at time t. */
static inline void draw_marginal(const analytic *a, const float *mean, const float *cov,
                                 double t, uint32_t step, int n, double *x)
{
    size_t D = (size_t)a->D;
    double m, s, *l = pf_zalloc(D * D * sizeof *l);
    pf_sde_marginal(&a->sde, t, &m, &s);
    for (size_t i = 0; i < D * D; i++) l[i] = (double)cov[i];
    must(pf_linalg_cholesky(a->D, l, NULL));
    for (int b = 0; b < n; b++)
        for (size_t i = 0; i < D; i++) {
            double v = (double)mean[i];
            for (size_t j = 0; j <= i; j++) v += l[i * D + j] * normal(step, b * D + j);
            x[b * D + i] = m * v + s * normal(step + 1, b * D + i);
        }
    pf_free(l);
}

static inline void gaussian_samples(const analytic *a, double t, uint32_t step, int n,
                                    double *x)
{
    draw_marginal(a, a->params, a->params + a->D, t, step, n, x);
}

/* n points from the three components in turn */
static inline void mixture_samples(const analytic *a, double t, uint32_t step, int n, double *x)
{
    size_t D = (size_t)a->D;
    for (int b = 0; b < n; b++)
        draw_marginal(a, a->params + 3 + b % 3 * D, a->params + 3 + 3 * D + b % 3 * D * D, t,
                      step + 2 * (uint32_t)b, 1, x + b * D);
}

static inline pf_ode_opt ode_options(int solver, double tol)
{
    pf_ode_opt o;
    pf_opt_defaults(pf_ode_opts, &o);
    o.solver = solver;
    o.rtol = o.atol = o.div_tol = tol;
    return o;
}

/* Every variable with x, then with the scaled state; form 0 is x in t. */
enum { N_VARIABLES = PF_IN_ARSINH + 1, N_FORMS = 2 * N_VARIABLES };

static inline pf_ode_opt in_form(pf_ode_opt o, int form)
{
    o.variable = form % N_VARIABLES;
    o.state = form / N_VARIABLES;
    return o;
}

/* log p at t_min by the flow [nats] */
static inline pf_ode_stat flow_logp(analytic *a, const pf_ode_opt *o, int B, const double *x,
                                    double *lp)
{
    pf_ode_stat stat;
    size_t n = (size_t)B * a->D;
    double *z = pf_zalloc(n * sizeof *z), *div = pf_zalloc(B * sizeof *div);
    memcpy(z, x, n * sizeof *z);
    pf_ode_problem p = {.flow = a->flow, .B = B, .exact = 1, .t0 = o->t_min, .t1 = 1.0};
    must(pf_ode_solve(&p, o, z, div, &stat));
    for (int b = 0; b < B; b++)
        lp[b] = a->flow->prior_logp(a->flow->self, z + (size_t)b * a->D) + div[b];
    pf_free(z);
    pf_free(div);
    return stat;
}

#endif
