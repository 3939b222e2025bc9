/* Score networks, their losses, gradients and log-densities on every backend against float64 values of an
 * independent implementation (tests/golden/README.md). */
#include "network.h"

#include "method/dsm.h"
#include <probflow/published.h>

#include <probflow/flow.h>
#include <probflow/memory.h>
#include <probflow/net.h>
#include <probflow/store.h>

#include <math.h>
#include <string.h>

static const char *const backends[] = {"ref", "fast"};

typedef struct golden {
    vectors *v;
    pf_published is;
    pf_sde sde;
    pf_net *net;
    float *params;
    int B, D;
} golden;

static PF_MUST_USE pf_status array(const golden *g, const char *name, const vectors_array **a)
{
    *a = vectors_find(g->v, "%s", name);
    PF_REQUIRE(*a, PF_EFORMAT, "%s has no numbers %s", g->v->path, name);
    return PF_OK;
}

/* The same, with B rows of D. */
static PF_MUST_USE pf_status rows(const golden *g, const char *name, const vectors_array **a)
{
    PF_TRY(array(g, name, a));
    PF_REQUIRE((*a)->size == (size_t)g->B * (size_t)g->D, PF_EFORMAT,
               "%s: %s holds %zu values, want %d times %d", g->v->path, name, (*a)->size, g->B,
               g->D);
    return PF_OK;
}

static PF_MUST_USE pf_status set_sde(golden *g)
{
    char *text = NULL;
    PF_TRY(pf_store_read_attr(g->v->path, "sde", &text));
    pf_status st = pf_sde_init(text, &g->sde);
    pf_free(text);
    if (st) return pf_trail(st, PF_WHERE);
    for (const pf_opt *o = g->sde.ops->opts; o->name; o++) {
        PF_TRY(pf_store_read_attr(g->v->path, o->name, &text));
        st = pf_opt_set(g->sde.ops->opts, "sde", o->name, text, &g->sde.opt);
        pf_free(text);
        if (st) return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status set_params(golden *g)
{
    pf_param *views = NULL;
    float *flat = NULL;
    pf_named from = {.origin = g->v->path};
    PF_TRY(pf_store_read_group(g->v->path, "params", &from.n, &views, &flat));
    from.views = views;
    from.flat = flat;
    g->params = pf_zalloc(g->net->floats * sizeof *g->params);
    pf_status st = g->params ? pf_match_params(g->net->n_views, g->net->views, &from, g->params)
                             : pf_raise(PF_EMEM, PF_WHERE, "no memory for the parameters");
    if (!st) st = pf_net_set_params(g->net, g->params);
    pf_free(views);
    pf_free(flat);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status load(golden *g)
{
    char *json = NULL;
    const vectors_array *t;
    PF_TRY(pf_store_read_attr(g->v->path, "net", &json));
    pf_status st = pf_published_options(json, &g->is);
    pf_free(json);
    if (st) return pf_trail(st, PF_WHERE);
    PF_TRY(set_sde(g));
    const pf_method method = pf_method_of_sde(&g->sde);
    const pf_space space = {.kind = PF_REAL, .shape = g->is.shape};
    PF_TRY(pf_net_create(&g->is.model, &method, &space, &g->net));
    PF_TRY(set_params(g));
    PF_TRY(array(g, "t", &t));
    g->B = (int)t->size;
    g->D = (int)pf_shape_entries(g->is.shape);
    return PF_OK;
}

static void drop(golden *g)
{
    pf_net_free(g->net);
    pf_free(g->params);
}

/* Largest difference over the largest magnitude. */
static double distance(const double *a, const double *want, size_t n)
{
    double d = 0.0, m = 0.0;
    for (size_t i = 0; i < n; i++) {
        d = fmax(d, isfinite(a[i]) ? fabs(a[i] - want[i]) : INFINITY);
        m = fmax(m, fabs(want[i]));
    }
    return d / m;
}

static PF_MUST_USE pf_status check_score(golden *g, const char *backend)
{
    pf_view_opt o = {.batch = g->B, .with_vjp = 1, .backend = backend};
    const vectors_array *x, *t, *v, *net, *score, *vjp, *cond;
    pf_score f = {0};
    size_t D = (size_t)g->D;
    PF_TRY(rows(g, "x", &x));
    PF_TRY(rows(g, "probe", &v));
    PF_TRY(rows(g, "net", &net));
    PF_TRY(rows(g, "score", &score));
    PF_TRY(rows(g, "vjp", &vjp));
    PF_TRY(array(g, "t", &t));
    PF_TRY(array(g, "cond", &cond));
    const pf_sde_method by_sde = {.sde = g->sde};
    for (int b = 0; b < g->B && cond->size == t->size; b++)
        vectors_error(g->v, fabs(pf_sde_method_cond(&by_sde, t->v[b]) / cond->v[b] - 1.0),
                      1e-12, "cond");
    double *s = pf_zalloc(3 * x->size * sizeof *s), *jv = s + x->size, *raw = jv + x->size;
    PF_REQUIRE(s, PF_EMEM, "no memory for %zu values", x->size);
    pf_status st = pf_net_score(g->net, &o, &f);
    if (!st) st = f.vjp(f.self, g->B, t->v, x->v, 1, v->v, s, jv);
    for (size_t i = 0; !st && i < x->size; i++) raw[i] = f.raw(f.self)[i];
    /* float32 networks of about 20 layers: 1e-6 is typical; each sample on its own scale */
    for (int b = 0; !st && b < g->B; b++) {
        size_t at = (size_t)b * D;
        vectors_error(g->v, distance(raw + at, net->v + at, D), 2e-5, "net");
        vectors_error(g->v, distance(s + at, score->v + at, D), 2e-5, "score");
        vectors_error(g->v, distance(jv + at, vjp->v + at, D), 1e-4, "vjp");
    }
    pf_score_free(&f);
    pf_free(s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static double norm(const float *a, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * a[i];
    return sqrt(sum);
}

static void compare_gradients(const golden *g, const float *grad)
{
    double total = norm(grad, g->net->floats);
    for (int i = 0; i < g->net->n_views; i++) {
        const pf_param *p = &g->net->views[i];
        const vectors_array *want = vectors_find(g->v, "grad/%s", p->name);
        double d = 0.0, whole = 0.0;
        if (!want || want->size != p->size) continue;
        for (size_t e = 0; e < p->size; e++) {
            double r = want->v[e] - (double)grad[p->offset + e];
            d += r * r;
            whole += want->v[e] * want->v[e];
        }
        /* softmax does not see the bias of the keys: that gradient is rounding noise, hence the floor */
        vectors_error(g->v, sqrt(d), 1e-3 * sqrt(whole) + 1e-7 * total, "grad/%s", p->name);
    }
}

/* A batch, what the network sees of it, and what comes of it: [B,D] and [B] of a block. */
typedef struct pass {
    float *x, *z, *xt, *out, *gout, *cond, *sigma, *mean, *grad;
    double *loss;
} pass;

static PF_MUST_USE pf_status make_pass(const golden *g, pass *a)
{
    size_t B = (size_t)g->B, n = B * (size_t)g->D;
    float *block = pf_zalloc((5 * n + 3 * B + g->net->floats) * sizeof *block);
    float **to[] = {&a->x, &a->z, &a->xt, &a->out, &a->gout};
    a->loss = pf_zalloc(B * sizeof *a->loss);
    a->x = block; /* before the check: drop_pass frees it */
    PF_REQUIRE(block && a->loss, PF_EMEM, "no memory for a batch of %d", g->B);
    for (size_t i = 0; i < 5; i++) *to[i] = block + i * n;
    a->cond = block + 5 * n;
    a->sigma = a->cond + B;
    a->mean = a->sigma + B;
    a->grad = a->mean + B;
    return PF_OK;
}

static void drop_pass(pass *a)
{
    pf_free(a->x);
    pf_free(a->loss);
}

static PF_MUST_USE pf_status run_loss(golden *g, pass *a, const double *t, pf_plan *plan)
{
    pf_objective_opt flat = {.reduce = PF_REDUCE_HALF_SUM, .weight = PF_WEIGHT_SIGMA2};
    pf_objective_opt lw = {.reduce = PF_REDUCE_HALF_SUM, .weight = PF_WEIGHT_LIKELIHOOD};
    pf_sde_method m = {.sde = g->sde, .objective = flat};
    pf_dsm d = {.m = &m, .B = g->B, .dim = g->D, .x = a->x, .z = a->z, .t = t};
    pf_run run = {0};
    const vectors_array *sigma2, *weighted;
    PF_TRY(array(g, "loss_sigma2", &sigma2));
    PF_TRY(array(g, "loss_lw", &weighted));
    PF_REQUIRE(sigma2->size == (size_t)g->B && weighted->size == (size_t)g->B, PF_EFORMAT,
               "%s: want %d losses", g->v->path, g->B);
    pf_dsm_show(&d, (void *[PF_DSM_PORTS]){a->xt, a->cond, a->sigma, a->mean});
    PF_TRY(pf_plan_set_params(plan, g->params));
    pf_run_set(&run, g->net->graph, "x", a->xt);
    pf_run_set(&run, g->net->graph, "cond", a->cond);
    PF_TRY(pf_plan_forward(plan, &run, a->out));
    pf_dsm_loss(&d, a->out, 1.0, a->loss, NULL);
    for (int b = 0; b < g->B; b++)
        vectors_error(g->v, fabs(a->loss[b] / sigma2->v[b] - 1.0), 1e-4, "loss_sigma2");
    m.objective = lw;
    pf_dsm_loss(&d, a->out, 1.0 / g->B, a->loss, a->gout);
    for (int b = 0; b < g->B; b++)
        vectors_error(g->v, fabs(a->loss[b] / weighted->v[b] - 1.0), 1e-4, "loss_lw");
    PF_TRY(pf_plan_backward(plan, a->gout, a->grad, NULL));
    compare_gradients(g, a->grad);
    return PF_OK;
}

static PF_MUST_USE pf_status check_loss(golden *g, const char *backend)
{
    const vectors_array *x, *z, *t;
    pf_plan_opt o = {.batch = g->B, .want_params = 1, .backend = backend};
    pf_plan *plan = NULL;
    pass a = {0};
    PF_TRY(rows(g, "data", &x));
    PF_TRY(rows(g, "z", &z));
    PF_TRY(array(g, "t", &t));
    pf_status st = make_pass(g, &a);
    for (size_t i = 0; !st && i < x->size; i++) {
        a.x[i] = (float)x->v[i];
        a.z[i] = (float)z->v[i];
    }
    if (!st) st = pf_plan_create(g->net->graph, &o, &plan);
    if (!st) st = run_loss(g, &a, t->v, plan);
    pf_plan_free(plan);
    drop_pass(&a);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* From ode/x to x [B,D] and div [B]. */
static PF_MUST_USE pf_status solve(golden *g, int B, const double *probe, double *x,
                                   double *div)
{
    pf_ode_opt o;
    pf_ode_stat stat = {0};
    pf_score f = {0};
    pf_flow *flow = NULL;
    pf_opt_defaults(pf_ode_opts, &o);
    o.solver = PF_ADAMS;
    o.t_min = 1e-5;
    /* the local errors of about 1000 steps add up: 3e-5 bits/dim measured at these tolerances */
    o.rtol = o.atol = o.div_tol = 1e-5;
    PF_TRY(pf_net_score(g->net, &(pf_view_opt){.batch = B, .with_vjp = 1}, &f));
    pf_status st = pf_flow_create(&g->sde, &f, &flow);
    pf_ode_problem p = {.flow = flow, .B = B, .K = 1, .t0 = o.t_min, .t1 = 1.0, .probe = probe};
    if (!st) st = pf_ode_solve(&p, &o, x, div, &stat);
    pf_flow_free(flow);
    pf_score_free(&f);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_flow(golden *g)
{
    const vectors_array *x, *v, *z, *bpd;
    size_t D = (size_t)g->D;
    PF_TRY(array(g, "ode/x", &x));
    PF_TRY(array(g, "ode/probe", &v));
    PF_TRY(array(g, "ode/z", &z));
    PF_TRY(array(g, "ode/bpd_continuous", &bpd));
    size_t B = bpd->size;
    PF_REQUIRE(x->size == B * D && v->size == B * D && z->size == B * D, PF_EFORMAT,
               "%s: want %zu rows of %zu under ode", g->v->path, B, D);
    double *end = pf_zalloc((B * D + 4 * B) * sizeof *end), *div = end + B * D;
    PF_REQUIRE(end, PF_EMEM, "no memory for %zu rows", B);
    memcpy(end, x->v, B * D * sizeof *end);
    pf_status st = solve(g, (int)B, v->v, end, div);
    double *prior = div + B, *logp = prior + B, *got = logp + B, nats = 5e-4 * g->D * M_LN2;
    for (size_t b = 0; !st && b < B; b++) {
        prior[b] = pf_sde_prior_logp(&g->sde, g->D, end + b * D);
        logp[b] = prior[b] + div[b];
        got[b] = -logp[b] / (g->D * M_LN2);
        const struct {
            const char *name;
            double got, tolerance;
        } part[] = {{"delta_logp", div[b], nats},
                    {"prior_logp", prior[b], 1e-2},
                    {"logp", logp[b], nats},
                    {"bpd_continuous", got[b], 5e-4}};
        for (int k = 0; k < 4; k++) {
            const vectors_array *want = vectors_find(g->v, "ode/%s", part[k].name);
            if (want && want->size == B)
                vectors_error(g->v, fabs(part[k].got - want->v[b]), part[k].tolerance, "ode/%s",
                              part[k].name);
        }
        vectors_error(g->v, distance(end + b * D, z->v + b * D, D), 1e-3, "ode/z");
    }
    pf_free(end);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_parts(golden *g)
{
    PF_TRY(load(g));
    for (int i = 0; i < 2; i++) {
        PF_TRY(check_score(g, backends[i]));
        PF_TRY(check_loss(g, backends[i]));
    }
    if (vectors_wants(g->v, "ode")) PF_TRY(check_flow(g));
    return PF_OK;
}

static pf_status check(vectors *v)
{
    golden g = {.v = v};
    pf_status st = check_parts(&g);
    drop(&g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static const char *const inputs[] = {"params", "x",     "t",         "probe", "data",
                                     "z",      "ode/x", "ode/probe", NULL};
const vectors_kind vectors_ddpmpp = {.stem = "ddpmpp", .inputs = inputs, .check = check};
const vectors_kind vectors_ncsnpp = {.stem = "ncsnpp", .inputs = inputs, .check = check};
