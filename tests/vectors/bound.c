/* bound: terms of the bound at given times and noise, and its laws: expectations over data whose score is known, and the
 * likelihood of the probability flow in closed form. */
#include "losses.h"
#include "ncsn_mixture.h"

#include "likelihood/bound_terms.h"
#include "likelihood/columns.h"

#include <probflow/likelihood.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>

/* Float64 of one formula in another order. */
static const double tolerance = 1e-9;
/* The solver's relative tolerance is 1e-11; its errors add up over a few hundred steps. */
static const double of_solver = 1e-7;

/* ---- the network: temper times the score of a mixture ---- */

enum { K_MAX = 64, D_MAX = 256 };

typedef struct known {
    const pf_sde *sde;
    ncsn_mixture data; /* its std are the data's */
    double temper;
    double mean[K_MAX * D_MAX], std[K_MAX], root[K_MAX];
} known;

static int known_find(const vectors *v, const char *group, known *out)
{
    const vectors_array *w = vectors_find(v, "%s/weights", group),
                        *m = vectors_find(v, "%s/means", group),
                        *s = vectors_find(v, "%s/variances", group);
    if (!w || !m || !s || w->size > K_MAX || s->size != w->size || m->size % w->size ||
        m->size > K_MAX * D_MAX)
        return 0;
    for (size_t k = 0; k < w->size; k++) out->root[k] = sqrt(s->v[k]);
    out->data = (ncsn_mixture){w->size, m->size / w->size, w->v, m->v, out->root};
    return 1;
}

/* temper times the score at x and temper times jv = (ds/dx) u (NULL, both: unwanted). */
static void known_at(known *p, double t, const double *x, const double *u, double *s,
                     double *jv)
{
    double m, std;
    pf_sde_marginal(p->sde, t, &m, &std);
    ncsn_mixture at = p->data;
    for (size_t i = 0; i < at.K * at.D; i++) p->mean[i] = m * at.mean[i];
    for (size_t k = 0; k < at.K; k++) p->std[k] = m * at.std[k];
    at.mean = p->mean;
    at.std = p->std;
    ncsn_mixture_at(&at, std, x, u, s, jv);
    for (size_t i = 0; i < at.D; i++) {
        s[i] *= p->temper;
        if (jv) jv[i] *= p->temper;
    }
}

static pf_status eval(void *self, int B, const double *t, const double *x, double *s)
{
    known *p = self;
    for (size_t b = 0, D = p->data.D; b < (size_t)B; b++)
        known_at(p, t[b], x + b * D, NULL, s + b * D, NULL);
    return PF_OK;
}

static pf_status vjp(void *self, int B, const double *t, const double *x, int K,
                     const double *v, double *s, double *jv)
{
    known *p = self;
    size_t D = p->data.D, all = (size_t)B * D;
    for (int k = 0; k < K; k++)
        for (size_t b = 0; b < (size_t)B; b++)
            known_at(p, t[b], x + b * D, v + (size_t)k * all + b * D, s + b * D,
                     jv + (size_t)k * all + b * D);
    return PF_OK;
}

static double trace(known *p, double t, const double *x)
{
    double u[D_MAX], s[D_MAX], jv[D_MAX], sum = 0.0;
    for (size_t i = 0; i < p->data.D; i++) {
        memset(u, 0, sizeof u);
        u[i] = 1.0;
        known_at(p, t, x, u, s, jv);
        sum += jv[i];
    }
    return sum;
}

/* ---- terms ---- */

enum { DSM, UNIFORM, SSM, EXACT, RESIDUAL, TIME, TERMS };
static const char *const terms[] = {"dsm_terms",      "dsm_terms_uniform",
                                    "ssm_terms",      "ssm_exact_trace_terms",
                                    "residual_terms", "t"};

typedef struct job {
    vectors *v;
    const char *group;
    pf_sde sde;
    known net;
    double t_min, mass;
    size_t N, B, D;
    const vectors_array *t, *u, *x, *z, *score, *product;
    float *noise; /* [N,B,D] */
    double *of[TERMS];
} job;

static void find_term(job *j, size_t at)
{
    int D = (int)j->D;
    double t = j->t->v[at], weight, xt[D_MAX];
    const double *x = j->x->v + at % j->B * j->D, *s = j->score->v + at * j->D;
    const float *z = j->noise + at * j->D;
    pf_bound_at b = pf_bound_at_time(&j->sde, t);
    pf_bound_sums sums = pf_bound_sum(b.std, D, s, z);
    for (size_t i = 0; i < j->D; i++) xt[i] = b.mean * x[i] + b.std * (double)z[i];
    pf_bound_time(&j->sde, PF_BOUND_UNIFORM, j->t_min, (t - j->t_min) / (1.0 - j->t_min),
                  &weight);
    double dsm = j->mass * pf_bound_term(PF_BOUND_DSM, &b, D, &sums, 0.0);
    j->of[DSM][at] = dsm;
    j->of[UNIFORM][at] = weight * dsm;
    j->of[SSM][at] = j->mass * pf_bound_term(PF_BOUND_SLICED, &b, D, &sums, j->product->v[at]);
    j->of[EXACT][at] =
        j->mass * pf_bound_term(PF_BOUND_SLICED, &b, D, &sums, trace(&j->net, t, xt));
    j->of[RESIDUAL][at] = j->mass * pf_bound_term(PF_BOUND_RESIDUAL, &b, D, &sums, 0.0);
    j->of[TIME][at] =
        pf_bound_time(&j->sde, PF_BOUND_IMPORTANCE, j->t_min, j->u->v[at], &weight);
}

static double mean_of(const job *j, int term, size_t b)
{
    double sum = 0.0;
    for (size_t n = 0; n < j->N; n++) sum += j->of[term][n * j->B + b];
    return sum / (double)j->N;
}

typedef struct ends {
    const vectors_array *score, *z, *z_prior;
} ends;

/* What is not of a sampled time, and the sums. */
static void hold_ends(job *j, const ends *e)
{
    enum { PRIOR, EXPECTED, KL, OFFSET, DECODER, NATS, PARTS = NATS + 6 };
    static const char *const names[] = {
        "prior",   "prior_expected", "kl_prior",           "offset",
        "decoder", "nats_dsm",       "nats_ssm",           "nats_divergence_free",
        "bpd_dsm", "bpd_ssm",        "bpd_divergence_free"};
    int D = (int)j->D;
    double got[PARTS][64], per = D * M_LN2;
    pf_bound_at at = pf_bound_at_time(&j->sde, j->t_min);
    const pf_space space = {.kind = PF_LEVELS, .levels = 256};
    for (size_t b = 0; b < j->B; b++) {
        double m, std, x2 = 0.0, y[D_MAX];
        float z[D_MAX];
        pf_sde_marginal(&j->sde, 1.0, &m, &std);
        for (size_t i = 0; i < j->D; i++) {
            double x = j->x->v[b * j->D + i];
            x2 += x * x;
            y[i] = m * x + std * e->z_prior->v[b * j->D + i];
            z[i] = (float)e->z->v[b * j->D + i];
        }
        pf_bound_sums sums = pf_bound_sum(at.std, D, e->score->v + b * j->D, z);
        got[PRIOR][b] = -pf_sde_prior_logp(&j->sde, D, y);
        got[EXPECTED][b] = pf_bound_end(PF_BOUND_DSM, &j->sde, D, x2);
        got[KL][b] = pf_bound_end(PF_BOUND_RESIDUAL, &j->sde, D, x2);
        got[OFFSET][b] = 0.5 * sums.residual + pf_bound_start(PF_BOUND_DSM, &at, D);
        got[DECODER][b] = 0.5 * sums.residual + pf_bound_start(PF_BOUND_RESIDUAL, &at, D);
        got[NATS][b] = got[PRIOR][b] + 0.5 * mean_of(j, DSM, b) + got[OFFSET][b];
        got[NATS + 1][b] = got[PRIOR][b] + 0.5 * mean_of(j, SSM, b) + got[OFFSET][b];
        got[NATS + 2][b] = got[KL][b] + 0.5 * mean_of(j, RESIDUAL, b) + got[DECODER][b];
        for (int k = 0; k < 3; k++)
            got[NATS + 3 + k][b] = got[NATS + k][b] / per + pf_space_offset(&space, 1.0);
    }
    for (int k = 0; k < PARTS; k++)
        vectors_hold(j->v, tolerance, got[k], j->B, "%s/%s", j->group, names[k]);
}

static int job_find(job *j, ends *e)
{
    vectors *v = j->v;
    const char *g = j->group;
    j->u = vectors_find(v, "%s/u", g);
    j->x = vectors_find(v, "%s/x", g);
    j->z = vectors_find(v, "%s/z", g);
    j->score = vectors_find(v, "%s/score", g);
    j->product = vectors_find(v, "%s/probe_jac_probe", g);
    e->score = vectors_find(v, "%s/score_at_t_min", g);
    e->z = vectors_find(v, "%s/z_offset", g);
    e->z_prior = vectors_find(v, "%s/z_prior", g);
    if (!j->u || !j->x || !j->z || !j->score || !j->product || !e->score || !e->z ||
        !e->z_prior || j->t->rank != 2 || !known_find(v, "mixture", &j->net))
        return 0;
    j->N = (size_t)j->t->dim[0];
    j->B = (size_t)j->t->dim[1];
    j->D = j->x->size / j->B;
    return j->B <= 64 && j->D <= D_MAX && j->net.data.D == j->D;
}

static PF_MUST_USE pf_status check_terms(vectors *v, const char *group)
{
    job j = {.v = v, .group = group, .t = vectors_find(v, "%s/t", group)};
    ends e;
    int found;
    PF_TRY(vectors_sde(v, group, &j.sde, &found));
    if (!found || !j.t) return PF_OK;
    PF_REQUIRE(job_find(&j, &e), PF_EFORMAT, "%s: %s lacks an array", v->path, group);
    j.net.sde = &j.sde;
    j.net.temper = vectors_number(v, group, "temper");
    j.t_min = vectors_number(v, group, "t_min");
    j.mass = j.sde.ops->mass(&j.sde.opt, j.t_min, 1.0);
    double *all = pf_zalloc(TERMS * j.t->size * sizeof *all);
    j.noise = pf_zalloc(j.z->size * sizeof *j.noise);
    PF_REQUIRE(all && j.noise, PF_EMEM, "no memory for the terms of %s", group);
    for (int k = 0; k < TERMS; k++) j.of[k] = all + (size_t)k * j.t->size;
    for (size_t i = 0; i < j.z->size; i++) j.noise[i] = (float)j.z->v[i]; /* exact: 1/256 */
    for (size_t i = 0; i < j.t->size; i++) find_term(&j, i);
    for (int k = 0; k < TERMS; k++)
        vectors_hold(v, tolerance, j.of[k], j.t->size, "%s/%s", group, terms[k]);
    hold_ends(&j, &e);
    pf_free(all);
    pf_free(j.noise);
    return PF_OK;
}

/* ---- laws, of one dimension ---- */

enum { POINTS = 2000 };

static void draw_data(const ncsn_mixture *p, double *x)
{
    for (int n = 0; n < POINTS; n++) {
        pf_draw d = {.seed = 11, .stream = PF_STREAM_TEST, .sample = (uint64_t)n};
        double u = pf_draw_uniform_f64(&d, 0);
        size_t k = 0;
        while (k + 1 < p->K && u >= p->weight[k]) u -= p->weight[k++];
        float z;
        d.step = 1;
        pf_draw_normal(&d, 0, 1, &z);
        x[n] = p->mean[k] + p->std[k] * (double)z;
    }
}

static PF_MUST_USE pf_status score_points(known *net, int estimand, double t_min, int n,
                                          const double *x, int column, double *nats)
{
    pf_score score = {.self = net, .dim = 1, .batch = n, .eval = eval, .vjp = vjp};
    pf_view view = {.sde = net->sde, .score = &score};
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.estimand = estimand;
    o.dequantisation = PF_DEQUANT_NONE;
    o.trace.probe = PF_EXACT;
    o.ode.t_min = t_min;
    o.ode.rtol = o.ode.atol = o.ode.div_tol = 1e-11;
    pf_group g = {.B = n, .space = {.kind = PF_REAL, .shape = {1, 1, 1}}, .x = x};
    double *cells = pf_zalloc((size_t)n * PF_FLOW_COLUMNS * sizeof *cells);
    PF_REQUIRE(cells, PF_EMEM, "no memory for %d points", n);
    pf_status st = pf_likelihood_group(&view, &o, &g, cells);
    for (int i = 0; i < n; i++) nats[i] = cells[i * PF_FLOW_COLUMNS + column] * M_LN2;
    pf_free(cells);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* z [n] where the probability flow takes x to. */
static PF_MUST_USE pf_status find_ends(known *net, double t_min, int n, const double *x,
                                       double *z)
{
    pf_score score = {.self = net, .dim = 1, .batch = n, .eval = eval, .vjp = vjp};
    pf_ode_opt o;
    pf_flow *flow = NULL;
    double div[64];
    pf_opt_defaults(pf_ode_opts, &o);
    o.rtol = o.atol = o.div_tol = 1e-11;
    PF_TRY(pf_flow_create(net->sde, &score, &flow));
    pf_ode_problem p = {.flow = flow, .B = n, .exact = 1, .t0 = t_min, .t1 = 1.0};
    memcpy(z, x, (size_t)n * sizeof *z);
    pf_status st = pf_ode_solve(&p, &o, z, div, NULL);
    pf_flow_free(flow);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* The mean of the bound over draws of the data against its expectation, in standard errors. */
static PF_MUST_USE pf_status check_expected(vectors *v, const char *group, known *net)
{
    const vectors_array *temper = vectors_find(v, "%s/temper", group),
                        *want = vectors_find(v, "%s/expected_bound_nats", group);
    static double x[POINTS], nats[POINTS];
    if (!temper || !want || want->size != temper->size) return PF_OK;
    draw_data(&net->data, x);
    for (size_t k = 0; k < temper->size; k++) {
        double mean = 0.0, var = 0.0;
        net->temper = temper->v[k];
        PF_TRY(score_points(net, PF_BOUND, vectors_number(v, group, "t_min"), POINTS, x,
                            PF_FLOW_BOUND, nats));
        for (int n = 0; n < POINTS; n++) mean += nats[n] / POINTS;
        for (int n = 0; n < POINTS; n++)
            var += pow(nats[n] - mean, 2) / (POINTS - 1.0) / POINTS;
        vectors_error(v, fabs(mean - want->v[k]) / sqrt(var), 4.0, "%s/expected_bound_nats",
                      group);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status check_law(vectors *v, const char *group)
{
    static known net;
    pf_sde sde;
    int found;
    PF_TRY(vectors_sde(v, group, &sde, &found));
    if (!found || !known_find(v, group, &net) || net.data.D != 1) return PF_OK;
    const vectors_array *x = vectors_find(v, "%s/x_at_t_min", group);
    double nats[64];
    net.sde = &sde;
    PF_TRY(check_expected(v, group, &net));
    if (!x || x->size > 64) return PF_OK;
    net.temper = 1.0;
    PF_TRY(score_points(&net, PF_NLL_ODE, vectors_number(v, group, "t_min"), (int)x->size, x->v,
                        PF_FLOW_NLL, nats));
    vectors_hold(v, of_solver, nats, x->size, "%s/ode_nll_nats", group);
    PF_TRY(find_ends(&net, vectors_number(v, group, "t_min"), (int)x->size, x->v, nats));
    vectors_hold(v, of_solver, nats, x->size, "%s/ode_z", group);
    return PF_OK;
}

static pf_status check(vectors *v)
{
    for (int i = 0; pf_sdes[i]; i++) {
        char law[64];
        snprintf(law, sizeof law, "law/%s", pf_sdes[i]->name);
        if (vectors_wants(v, pf_sdes[i]->name)) PF_TRY(check_terms(v, pf_sdes[i]->name));
        if (vectors_wants(v, law)) PF_TRY(check_law(v, law));
    }
    return PF_OK;
}

const vectors_kind vectors_bound = {
    .stem = "bound",
    .inputs =
        (const char *const[]){"*/u", "*/x", "*/z", "*/score", "*/probe", "*/probe_jac_probe",
                              "*/score_at_t_min", "*/z_offset", "*/z_prior", "mixture",
                              "law/*/weights", "law/*/means", "law/*/variances", "law/*/temper",
                              "law/*/x_at_t_min", NULL},
    .check = check};
