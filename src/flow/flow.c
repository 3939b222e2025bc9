/* Probability flow of a linear SDE.
 *
 *     dx/dt = f(t) x - g(t)^2 s(x, t) / 2,        v' df/dx = f(t) v - g(t)^2 (v' ds/dx) / 2
 *
 * Source: Song et al. 2021, eq. 13. */
#include <probflow/flow.h>
#include <probflow/memory.h>

typedef struct sde_flow {
    pf_flow flow;
    const pf_sde *sde;
    pf_score *score;
    double *t; /* [batch] */
} sde_flow;

static void combine(size_t n, double a, double b, const double *x, double *s)
{
    for (size_t i = 0; i < n; i++) s[i] = a * x[i] + b * s[i];
}

static double set_time(sde_flow *w, int B, double t, double *f)
{
    double g2;
    pf_sde_coef(w->sde, t, f, &g2);
    for (int b = 0; b < B; b++) w->t[b] = t;
    return -0.5 * g2;
}

static pf_status drift(void *self, double t, int B, const double *x, double *f)
{
    sde_flow *w = self;
    double a, b = set_time(w, B, t, &a);
    PF_TRY(w->score->eval(w->score->self, B, w->t, x, f));
    combine((size_t)B * w->flow.dim, a, b, x, f);
    return PF_OK;
}

static pf_status vjp(void *self, double t, int B, const double *x, int K, const double *v,
                     double *f, double *jv)
{
    sde_flow *w = self;
    size_t n = (size_t)B * w->flow.dim;
    double a, b = set_time(w, B, t, &a);
    PF_TRY(w->score->vjp(w->score->self, B, w->t, x, K, v, f, jv));
    combine(n, a, b, x, f);
    combine(n * K, a, b, v, jv);
    return PF_OK;
}

static double prior_logp(void *self, const double *z)
{
    const sde_flow *w = self;
    return pf_sde_prior_logp(w->sde, w->flow.dim, z);
}

pf_status pf_flow_create(const pf_sde *sde, pf_score *score, pf_flow **out)
{
    sde_flow *w = pf_zalloc(sizeof *w);
    double *t = pf_zalloc((size_t)score->batch * sizeof *t);
    if (!w || !t) {
        pf_free(w);
        pf_free(t);
        PF_FAIL(PF_EMEM, "no memory for the flow of %d samples", score->batch);
    }
    w->sde = sde;
    w->score = score;
    w->t = t;
    w->flow = (pf_flow){.self = w,
                        .dim = score->dim,
                        .batch = score->batch,
                        .drift = drift,
                        .vjp = score->vjp ? vjp : NULL,
                        .prior_logp = prior_logp,
                        .sde = sde};
    *out = &w->flow;
    return PF_OK;
}

void pf_flow_free(pf_flow *f)
{
    if (!f) return;
    sde_flow *w = f->self;
    pf_free(w->t);
    pf_free(w);
}
