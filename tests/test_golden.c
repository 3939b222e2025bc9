/* Golden vectors: networks, losses, gradients and log-densities against float64 values of an
 * independent implementation (tests/golden/README.md). */
#include "model/network_score.h"
#include <probflow/published.h>

#include <probflow/flow.h>
#include <probflow/memory.h>
#include <probflow/objective.h>
#include <probflow/store.h>

#include <stdlib.h>
#include "checks.h"

enum { N_FILES = 4 };
static const char *const files[N_FILES] = {"ddpmpp_vp", "ddpmpp_subvp", "ddpmpp_gray28_vp",
                                           "ncsnpp_ve"};
static const char *const backends[] = {"ref", "fast"};

typedef struct golden {
    char path[1024];
    pf_model model;
    pf_sde sde;
    pf_shape shape;
    pf_net *net;
    float *params;
    int B, D;
} golden;

static pf_array array(const golden *g, const char *name)
{
    pf_array a;
    must(pf_store_read_array(g->path, name, &a));
    return a;
}

static void set_sde(golden *g)
{
    char *text = NULL;
    must(pf_store_read_attr(g->path, "sde", &text));
    must(pf_sde_init(text, &g->sde));
    pf_free(text);
    for (const pf_opt *o = g->sde.ops->opts; o->name; o++) {
        must(pf_store_read_attr(g->path, o->name, &text));
        must(pf_opt_set(g->sde.ops->opts, "sde", o->name, text, &g->sde.opt));
        pf_free(text);
    }
}

static golden load(const char *file)
{
    golden g = {0};
    const char *dir = getenv("PF_GOLDEN");
    char *json = NULL;
    pf_param *views = NULL;
    float *flat = NULL;

    snprintf(g.path, sizeof g.path, "%s/%s.h5", dir ? dir : "tests/golden", file);
    must(pf_store_read_attr(g.path, "net", &json));
    must(pf_published_options(json, &g.model, &g.shape));
    set_sde(&g);
    must(pf_net_create(&g.model, &g.sde, g.shape, &g.net));
    pf_named from = {.origin = g.path};
    must(pf_store_read_group(g.path, "params", &from.n, &views, &flat));
    from.views = views;
    from.flat = flat;
    g.params = pf_zalloc(g.net->floats * sizeof *g.params);
    must(pf_match_params(g.net, &from, g.params));
    must(pf_net_set_params(g.net, g.params));
    pf_array t = array(&g, "t");
    g.B = (int)t.size;
    g.D = g.shape.h * g.shape.w * g.shape.c;
    pf_array_free(&t);
    pf_free(views);
    pf_free(flat);
    pf_free(json);
    return g;
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

static void at_most(double d, double limit, const golden *g, const char *what,
                    const char *backend)
{
    if (!(d <= limit)) fail_msg("%s, %s, %s: %g, want <= %g", g->path, what, backend, d, limit);
}

static void check_score(golden *g, const char *backend)
{
    pf_network_opt o = {.batch = g->B, .with_vjp = 1, .backend = backend};
    pf_array x = array(g, "x"), t = array(g, "t"), v = array(g, "probe"), net = array(g, "net"),
             score = array(g, "score"), vjp = array(g, "vjp"), cond = array(g, "cond");
    double *s = pf_zalloc(3 * x.size * sizeof *s), *jv = s + x.size, *raw = jv + x.size;
    pf_score f;
    size_t D = (size_t)g->D;

    for (int b = 0; b < g->B; b++)
        at_most(fabs(g->sde.ops->cond(&g->sde.opt, t.v[b]) / cond.v[b] - 1.0), 1e-12, g, "cond",
                "sde");
    must(pf_network_score(g->net, &o, &f));
    must(f.vjp(f.self, g->B, t.v, x.v, 1, v.v, s, jv));
    for (size_t i = 0; i < x.size; i++) raw[i] = f.raw(f.self)[i];
    /* float32 networks of about 20 layers: 1e-6 is typical; each sample on its own scale */
    for (int b = 0; b < g->B; b++) {
        size_t at = (size_t)b * D;
        at_most(distance(raw + at, net.v + at, D), 2e-5, g, "net", backend);
        at_most(distance(s + at, score.v + at, D), 2e-5, g, "score", backend);
        at_most(distance(jv + at, vjp.v + at, D), 1e-4, g, "vjp", backend);
    }
    pf_score_free(&f);
    pf_free(s);
    pf_array *all[] = {&x, &t, &v, &net, &score, &vjp, &cond};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) pf_array_free(all[i]);
}

static float *floats(const pf_array *a)
{
    float *f = pf_zalloc(a->size * sizeof *f);
    for (size_t i = 0; i < a->size; i++) f[i] = (float)a->v[i];
    return f;
}

static double norm(const float *a, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * a[i];
    return sqrt(sum);
}

static void compare_gradients(const golden *g, const float *grad, const char *backend)
{
    pf_param *views = NULL;
    float *flat = NULL, *want = pf_zalloc(g->net->floats * sizeof *want);
    int n = 0, seen = 0;

    must(pf_store_read_group(g->path, "grad", &n, &views, &flat));
    double total = norm(grad, g->net->floats);
    for (int i = 0; i < g->net->n_views; i++) {
        const pf_param *p = &g->net->views[i];
        int j = 0;
        while (j < n && strcmp(views[j].name, p->name)) j++;
        if (j == n) {
            assert_false(p->trainable);
            continue;
        }
        seen++;
        for (size_t e = 0; e < p->size; e++)
            want[e] = flat[views[j].offset + e] - grad[p->offset + e];
        /* softmax does not see the bias of the keys: that gradient is rounding noise, hence the floor */
        double limit = 1e-3 * norm(flat + views[j].offset, p->size) + 1e-7 * total;
        at_most(norm(want, p->size), limit, g, p->name, backend);
    }
    assert_int_equal(seen, n);
    pf_free(want);
    pf_free(views);
    pf_free(flat);
}

static void check_loss(golden *g, const char *backend)
{
    pf_objective_opt flat = {.reduce = PF_REDUCE_HALF_SUM, .weight = PF_WEIGHT_SIGMA2};
    pf_objective_opt lw = {.reduce = PF_REDUCE_HALF_SUM, .weight = PF_WEIGHT_LIKELIHOOD};
    pf_array x = array(g, "data"), z = array(g, "z"), t = array(g, "t"),
             sigma2 = array(g, "loss_sigma2"), weighted = array(g, "loss_lw");
    float *xf = floats(&x), *zf = floats(&z), *xt = floats(&x), *out = floats(&x),
          *gout = floats(&x);
    float cond[16], sigma[16], mean[16], *grad = pf_zalloc(g->net->floats * sizeof *grad);
    double loss[16];
    pf_dsm d = {
        .sde = &g->sde, .opt = &flat, .B = g->B, .dim = g->D, .x = xf, .z = zf, .t = t.v};
    pf_plan_opt o = {.batch = g->B, .want_params = 1, .backend = backend};
    pf_run run = {0};
    pf_plan *plan = NULL;

    assert_true(g->B <= 16);
    pf_objective_inputs(&d, &(pf_dsm_inputs){xt, cond, sigma, mean});
    must(pf_plan_create(g->net->graph, &o, &plan));
    must(pf_plan_set_params(plan, g->params));
    pf_run_set(&run, g->net->graph, "x", xt);
    pf_run_set(&run, g->net->graph, "cond", cond);
    must(pf_plan_forward(plan, &run, out));
    pf_objective_loss(&d, out, 1.0, loss, NULL);
    for (int b = 0; b < g->B; b++)
        at_most(fabs(loss[b] / sigma2.v[b] - 1.0), 1e-4, g, "loss_sigma2", backend);
    d.opt = &lw;
    pf_objective_loss(&d, out, 1.0 / g->B, loss, gout);
    for (int b = 0; b < g->B; b++)
        at_most(fabs(loss[b] / weighted.v[b] - 1.0), 1e-4, g, "loss_lw", backend);
    must(pf_plan_backward(plan, gout, grad, NULL));
    compare_gradients(g, grad, backend);

    pf_plan_free(plan);
    float *owned[] = {xf, zf, xt, out, gout, grad};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) pf_free(owned[i]);
    pf_array *all[] = {&x, &z, &t, &sigma2, &weighted};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) pf_array_free(all[i]);
}

static void net_score_and_vjp_match_on_both_backends(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * N_FILES; i++) {
        golden g = load(files[i / 2]);
        check_score(&g, backends[i % 2]);
        drop(&g);
    }
}

static void losses_and_gradients_match_on_both_backends(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * N_FILES; i++) {
        golden g = load(files[i / 2]);
        check_loss(&g, backends[i % 2]);
        drop(&g);
    }
}

static void log_density_matches(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i++) {
        golden g = load(files[i]);
        pf_array x = array(&g, "ode/x"), v = array(&g, "ode/probe"),
                 bpd = array(&g, "ode/bpd_continuous");
        int B = (int)bpd.size;
        pf_ode_opt o;
        pf_ode_stat stat = {0};
        pf_score f;
        pf_flow *flow = NULL;
        double div[16];

        pf_opt_defaults(pf_ode_opts, &o);
        o.solver = PF_ADAMS;
        o.t_min = 1e-5;
        /* the local errors of about 1000 steps add up: 3e-5 bits/dim measured at these tolerances */
        o.rtol = o.atol = o.div_tol = 1e-5;
        assert_true(B <= 16);
        must(pf_net_score(g.net, B, 1, NULL, &f));
        must(pf_flow_create(&g.sde, &f, &flow));
        pf_ode_problem p = {
            .flow = flow, .B = B, .K = 1, .t0 = o.t_min, .t1 = 1.0, .probe = v.v};
        must(pf_ode_solve(&p, &o, x.v, div, &stat));
        for (int b = 0; b < B; b++) {
            double logp =
                pf_sde_prior_logp(&g.sde, g.D, x.v + (size_t)b * (size_t)g.D) + div[b];
            double got = -logp / (g.D * M_LN2);
            at_most(fabs(got - bpd.v[b]), 5e-4, &g, "bits/dim", "fast");
        }
        pf_flow_free(flow);
        pf_score_free(&f);
        pf_array_free(&x);
        pf_array_free(&v);
        pf_array_free(&bpd);
        drop(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(net_score_and_vjp_match_on_both_backends),
        cmocka_unit_test(losses_and_gradients_match_on_both_backends),
        cmocka_unit_test(log_density_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
