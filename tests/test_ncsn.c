/* The method ncsn: what it draws, its losses, its score and likelihood. */
#include "method/ncsn.h"
#include "method/told.h"

#include <probflow/likelihood.h>

#include "nets.h"

enum { B = 5, D = 300, L = 4, FLOATS = 2 * B * D }; /* more than one piece of a row */
static const pf_space points = {.kind = PF_REAL, .shape = {1, 1, D}},
                      images = {.kind = PF_LEVELS, .shape = {10, 10, 3}, .levels = 256};

/* "key=value;key=value" on the defaults of the method. */
static pf_method method(const char *settings)
{
    pf_method m;
    char text[256], *save = NULL;
    must(pf_method_init("ncsn", &m));
    must(pf_opt_set(m.ops->opts, "method", "levels", "4", &m.opt));
    snprintf(text, sizeof text, "%s", settings);
    for (char *s = strtok_r(text, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
        char *value = strchr(s, '=');
        *value++ = 0;
        must(pf_opt_set(m.ops->opts, "method", s, value, &m.opt));
    }
    return m;
}

typedef struct rig {
    pf_method m;
    void *self;
    float x[B * D], seen[FLOATS], level[2 * B], sigma[2 * B], net[FLOATS], gout[FLOATS];
    double term[B];
    uint64_t sample[B];
    char scratch[B * (8 + 2 * D * sizeof(float))];
    void *in[5];
    pf_batch batch;
} rig;

static rig *new_rig(const pf_method *m, const pf_space *space)
{
    rig *r = pf_zalloc(sizeof *r);
    r->m = *m;
    must(m->ops->open(&r->m.opt, space, &r->self));
    for (int i = 0; i < B * D; i++) r->x[i] = (float)(0.3 * sin(i));
    for (uint64_t b = 0; b < B; b++) r->sample[b] = 90 + b;
    r->in[PF_TOLD_X] = r->seen;
    r->in[PF_TOLD] = r->level;
    r->in[PF_TOLD_SIGMA] = r->sigma;
    r->batch = (pf_batch){
        .space = space, .B = B, .total = B, .x = r->x, .sample = r->sample, .seed = 5};
    return r;
}

static void drop(rig *r)
{
    r->m.ops->close(r->self);
    pf_free(r);
}

/* Published lengths are of [0,1], half of model scale for images. */
static void a_network_sees_noise_of_its_level(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const pf_space *space = k ? &images : &points;
        pf_method m = method("sigma_begin=2;sigma_end=0.25");
        rig *r = new_rig(&m, space);
        pf_ports in;
        int hit[L] = {0};
        m.ops->ports(r->self, &in);
        assert_string_equal(in.port[PF_TOLD].name, "level");
        assert_int_equal(in.port[PF_TOLD].classes, L);
        assert_true(m.ops->scratch(r->self) * B <= sizeof r->scratch);
        m.ops->see(r->self, &r->batch, r->scratch, r->in);
        for (int b = 0; b < B; b++) {
            const float *z =
                (const float *)(r->scratch + (size_t)b * m.ops->scratch(r->self) + 8);
            double s = (k ? 2.0 : 1.0) * 2.0 / pow(2.0, r->level[b]);
            hit[(int)r->level[b]]++;
            assert_near((double)r->sigma[b], s, 1e-6);
            for (int i = 0; i < D; i++)
                assert_near((double)r->seen[b * D + i],
                            (double)r->x[b * D + i] + s * (double)z[i], 1e-5);
        }
        for (int l = 0; l < L; l++) assert_true(hit[l] >= 1 && hit[l] <= 2);
        drop(r);
    }
}

static const char *const kinds[] = {
    "power=2", "power=1;predicts=noise", "power=0;ladder=uniform", "loss=sliced",
    "loss=sliced;projection=normal;predicts=noise;sliced_step=0.5"};

static void draws_do_not_depend_on_how_a_batch_is_cut(void **state)
{
    (void)state;
    for (int k = 0; k < 5; k++) {
        pf_method m = method(kinds[k]);
        rig *whole = new_rig(&m, &points), *part = new_rig(&m, &points);
        int rows = m.ops->rows(whole->self);
        assert_int_equal(rows, k < 3 ? 1 : 2);
        m.ops->see(whole->self, &whole->batch, whole->scratch, whole->in);
        part->batch.B = 2;
        part->batch.first = 3;
        part->batch.x = whole->x + 3 * D;
        part->batch.sample = whole->sample + 3;
        m.ops->see(part->self, &part->batch, part->scratch, part->in);
        for (int r = 0; r < rows; r++) {
            assert_memory_equal(part->seen + r * 2 * D, whole->seen + (r * B + 3) * D,
                                2 * D * sizeof(float));
            assert_memory_equal(part->level + r * 2, whole->level + r * B + 3,
                                2 * sizeof(float));
        }
        drop(whole);
        drop(part);
    }
}

static double sum_of_losses(rig *r, float *gout)
{
    double sum = 0.0;
    r->m.ops->loss(r->self, &r->batch, r->scratch, r->net, 0.5, r->term, gout);
    for (int b = 0; b < B; b++)
        sum += (r->batch.weight ? r->batch.weight[b] : 1.0) * r->term[b];
    return 0.5 * sum;
}

/* The losses are quadratic in what the network returns, so central differences are exact. */
static void gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    static const double weight[B] = {1.0, 0.5, 2.0, 0.25, 1.5};
    for (int k = 0; k < 5; k++) {
        pf_method m = method(kinds[k]);
        rig *r = new_rig(&m, k % 2 ? &images : &points);
        int rows = m.ops->rows(r->self);
        m.ops->see(r->self, &r->batch, r->scratch, r->in);
        if (k > 1) r->batch.weight = weight;
        for (int i = 0; i < rows * B * D; i++) r->net[i] = 0.5f * r->seen[i];
        sum_of_losses(r, r->gout);
        for (int i = 1; i < rows * B * D; i += 271) {
            float at = r->net[i];
            r->net[i] = at + 0.25f;
            double up = sum_of_losses(r, NULL);
            r->net[i] = at - 0.25f;
            double down = sum_of_losses(r, NULL);
            r->net[i] = at;
            assert_near((up - down) / 0.5, (double)r->gout[i],
                        1e-6 * fabs((double)r->gout[i]) + 1e-9 * fabs(up));
        }
        drop(r);
    }
}

static void ladders_that_cannot_be_are_refused(void **state)
{
    (void)state;
    pf_method m = method("sigma_begin=0.5;sigma_end=0.5");
    void *self = NULL;
    assert_int_equal(m.ops->open(&m.opt, &points, &self), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "sigma_end is 0.5, which is not below"));
}

/* ---- with networks and densities ---- */

enum { W = 6 };
static const pf_space vectors = {.kind = PF_REAL, .shape = {1, 1, W}};

static pf_net *net_of(const pf_model *model, const char *settings, float **params)
{
    pf_method m = method(settings);
    pf_net *n = NULL;
    must(pf_net_create(model, &m, &vectors, &n));
    *params = n->graph ? random_params(n) : pf_zalloc(n->floats * sizeof(float));
    if (n->graph) must(pf_net_set_params(n, *params));
    return n;
}

/* Mean losses of B samples: by differences as in training, and by the score's own derivative. */
static void sliced_losses(const char *settings, double *by_rows, double *exact)
{
    float *params;
    const pf_model mlp = model("mlp", "width=16;depth=2");
    pf_net *n = net_of(&mlp, settings, &params);
    pf_inputs in;
    pf_run run = {0};
    pf_plan *plan;
    pf_score score;
    float x[B * W], out[2 * B * W];
    double term[B], loss[B];
    uint64_t sample[B] = {3, 4, 5, 6, 7};
    size_t each = n->method.ops->scratch(n->self);
    char *scratch = pf_zalloc(B * each);
    for (int i = 0; i < B * W; i++) x[i] = (float)(0.5 * cos(i));
    pf_batch b = {.space = &vectors, .B = B, .total = B, .x = x, .sample = sample, .seed = 2};
    int rows = pf_net_rows(n) * B;
    must(pf_inputs_create(n, rows, &in));
    pf_inputs_run(&in, &run);
    must(pf_plan_create(n->graph, &(pf_plan_opt){.batch = rows}, &plan));
    must(pf_plan_set_params(plan, params));
    pf_net_see(n, &b, scratch, &in);
    must(pf_plan_forward(plan, &run, out));
    n->method.ops->loss(n->self, &b, scratch, out, 1.0, term, NULL);
    must(pf_net_score(n, &(pf_view_opt){.batch = 1, .with_vjp = 1}, &score));
    *by_rows = *exact = 0.0;
    for (int i = 0; i < B; i++) {
        const int64_t *level = (const int64_t *)(scratch + (size_t)i * each);
        const float *z = (const float *)(level + 1);
        double sigma = n->ladder->sigma[*level], y[W], v[W], s[W], jv[W];
        for (int d = 0; d < W; d++) {
            y[d] = (double)x[i * W + d] + sigma * (double)z[d];
            v[d] = (double)z[W + d];
        }
        must(score.vjp(score.self, 1, &n->ladder->t[*level], y, 1, v, s, jv));
        loss[i] = pf_ncsn_sliced(W, sigma, s, v, jv);
        *by_rows += term[i] / B;
        *exact += loss[i] / B;
    }
    pf_score_free(&score);
    pf_plan_free(plan);
    pf_inputs_free(&in);
    pf_free(scratch);
    pf_net_free(n);
    pf_free(params);
}

/* What differences miss falls with the square of their step, until float32 shows: of half the step it is a quarter.
 * That the two agree also says that the score is asked at the level itself, on ladders of both kinds. */
static void differences_agree_with_the_derivative(void **state)
{
    (void)state;
    static const char *const ladders[] = {"geometric", "uniform"};
    for (int k = 0; k < 2; k++) {
        double error[2], got, want;
        for (int i = 0; i < 2; i++) {
            char text[128];
            snprintf(text, sizeof text, "loss=sliced;sliced_step=%g;sigma_end=0.2;ladder=%s",
                     i ? 0.1 : 0.4, ladders[k]);
            sliced_losses(text, &got, &want);
            error[i] = fabs(got - want);
        }
        assert_true(error[1] < 2e-3 * fabs(want));
        assert_true(error[1] < 0.25 * error[0] || error[1] < 2e-5);
    }
}

/* Both rows of a sample are told its label and its level. */
static void rows_of_a_sample_are_told_the_same(void **state)
{
    (void)state;
    pf_space space = vectors;
    pf_method m = method("loss=sliced");
    const pf_model mlp = model("mlp", "width=4;depth=1;label=true");
    pf_net *n = NULL;
    pf_inputs in;
    float x[B * W] = {0};
    const int32_t label[B] = {2, 0, -1, 1, 2};
    uint64_t sample[B] = {3, 4, 5, 6, 7};
    space.classes = 3;
    must(pf_net_create(&mlp, &m, &space, &n));
    assert_int_equal(pf_net_rows(n), 2);
    must(pf_inputs_create(n, 2 * B, &in));
    char *scratch = pf_zalloc(B * m.ops->scratch(n->self));
    pf_batch b = {.space = &space,
                  .B = B,
                  .total = B,
                  .x = x,
                  .label = label,
                  .sample = sample,
                  .seed = 2};
    pf_net_see(n, &b, scratch, &in);
    const int32_t *told = in.in[pf_graph_port(n->graph, "label")];
    const float *cond = in.in[pf_graph_port(n->graph, "cond")];
    assert_memory_equal(told, label, sizeof label);
    assert_memory_equal(told + B, label, sizeof label);
    assert_memory_equal(cond, cond + B, B * sizeof *cond);
    pf_free(scratch);
    pf_inputs_free(&in);
    pf_net_free(n);
}

static void the_sde_passes_through_the_ladder(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        float *params;
        const pf_model mlp = model("mlp", "width=4;depth=1");
        pf_net *n = net_of(&mlp, k ? "ladder=uniform" : "ladder=geometric", &params);
        assert_int_equal(n->ladder->levels, L);
        for (int i = 0; i < L; i++) {
            double mean, std;
            pf_sde_marginal(n->sde, n->ladder->t[i], &mean, &std);
            assert_true(mean == 1.0);
            assert_near(std, n->ladder->sigma[i], 1e-14);
        }
        assert_true(n->ladder->t[0] == 1.0 && n->ladder->t[L - 1] == 0.0);
        pf_net_free(n);
        pf_free(params);
    }
}

/* Of independent Gaussian entries the flow is a scaling, x - m to sqrt((c + s1^2)/(c + sL^2)) (x - m), and its prior
 * N(0, s1^2) is not quite where it leads.  With that known its number is exact; and a large first level makes it the
 * density of data about 0 with the noise of the last level, to 1e-4 bits/dim. */
static void the_likelihood_is_that_of_data_with_the_last_noise(void **state)
{
    (void)state;
    enum { N = 20, COLUMNS_MAX = 32 };
    float *params;
    pf_model gaussian;
    must(pf_model_init("gaussian", &gaussian));
    pf_net *n = net_of(&gaussian, "sigma_begin=50;sigma_end=0.05", &params);
    pf_score score;
    pf_likelihood_opt o;
    const pf_ledger_column *column;
    double x[N * W], cells[N * COLUMNS_MAX], s1 = 50.0, sl = 0.05;
    for (int i = 0; i < W; i++) {
        params[W + i * (W + 1)] = 0.04f * (float)(1 + i);
    }
    must(pf_net_set_params(n, params));
    must(pf_net_score(n, &(pf_view_opt){.batch = N, .with_vjp = 1}, &score));
    normals(1, N * W, x);
    for (int i = 0; i < N * W; i++) x[i] *= 0.2 * sqrt(1 + i % W);
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.dequantisation = 0; /* none */
    o.trace.probe = PF_EXACT;
    o.ode.rtol = o.ode.atol = o.ode.div_tol = 1e-8;
    o.ode.t_min = 1e-12;
    const pf_view view = {.sde = n->sde, .score = &score};
    const pf_group g = {.B = N, .x = x};
    must(pf_likelihood_group(&view, &o, &g, cells));
    int columns = pf_likelihood_columns(&o, &column), at = 0;
    while (strcmp(column[at].name, "nll")) at++;
    for (int b = 0; b < N; b++) {
        double of_flow = 0.0, of_data = 0.0;
        for (int i = 0; i < W; i++) {
            double c = (double)params[W + i * (W + 1)], m = (double)params[i], v0 = c + sl * sl,
                   v1 = c + s1 * s1, d = x[b * W + i] - m, z = m + d * sqrt(v1 / v0);
            of_data += 0.5 * (d * d / v0 + log(2.0 * M_PI * v0));
            of_flow += 0.5 * (z * z / (s1 * s1) + log(2.0 * M_PI * s1 * s1 * v0 / v1));
        }
        double nll = cells[b * columns + at];
        assert_near(nll, of_flow / (W * M_LN2), 1e-6);
        assert_near(nll, of_data / (W * M_LN2), 1e-4);
    }
    pf_score_free(&score);
    pf_net_free(n);
    pf_free(params);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_sees_noise_of_its_level),
        cmocka_unit_test(draws_do_not_depend_on_how_a_batch_is_cut),
        cmocka_unit_test(gradients_are_those_of_finite_differences),
        cmocka_unit_test(ladders_that_cannot_be_are_refused),
        cmocka_unit_test(differences_agree_with_the_derivative),
        cmocka_unit_test(rows_of_a_sample_are_told_the_same),
        cmocka_unit_test(the_sde_passes_through_the_ladder),
        cmocka_unit_test(the_likelihood_is_that_of_data_with_the_last_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
