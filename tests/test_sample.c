/* Laws of the samplers. */
#include "analytic.h"
#include "scratch.h"

#include <probflow/sample.h>
#include <probflow/store.h>

enum { D = 4, N = 1500, BATCH = 500 };

static pf_sample_opt options(void)
{
    pf_sample_opt o;
    pf_opt_defaults(pf_sample_opts, &o);
    o.denoise = 0;
    return o;
}

static pf_status draw(const pf_sampler_ops *s, analytic *a, const pf_sample_opt *o,
                      int64_t first, int B, double *x, int64_t *evaluations)
{
    const pf_view v = {.sde = &a->sde, .score = &a->score};
    const pf_space space = {.kind = PF_REAL, .shape = {1, 1, a->D}};
    return s->draw(&(pf_drawing){.view = &v,
                                 .space = &space,
                                 .opt = o,
                                 .first = first,
                                 .B = B,
                                 .x = x,
                                 .evaluations = evaluations});
}

/* An SDE that sampler k draws with. */
static const char *sde_for(int k)
{
    return strcmp(pf_samplers[k]->name, "langevin") ? "vp" : "ve";
}

static void draw_all(analytic *a, const char *name, const pf_sample_opt *o, double *x)
{
    const pf_sampler_ops *s;
    int64_t evaluations = 0;
    must(pf_sampler_find(name, &s));
    for (int first = 0; first < N; first += BATCH)
        must(draw(s, a, o, first, BATCH, x + first * D, &evaluations));
    assert_true(evaluations >= N / BATCH * 5);
}

/* Mean and covariance of the samples against the marginal at t_min.  slack: the sampler's own
 * bias, in standard deviations of the data, on top of 5 standard errors of the N samples. */
static void check_moments(const analytic *a, double t, const double *x, double slack)
{
    double m, s;
    pf_sde_marginal(&a->sde, t, &m, &s);
    for (int i = 0; i < D; i++) {
        double mi = 0.0, vi = m * m * (double)a->params[D + i * (D + 1)] + s * s;
        for (int n = 0; n < N; n++) mi += x[n * D + i] / N;
        assert_true(fabs(mi - m * (double)a->params[i]) < (5.0 / sqrt(N) + slack) * sqrt(vi));
        for (int j = 0; j <= i; j++) {
            double mj = 0.0, c = 0.0, vj = m * m * (double)a->params[D + j * (D + 1)] + s * s;
            double want = m * m * (double)a->params[D + i * D + j] + (i == j ? s * s : 0.0);
            for (int n = 0; n < N; n++) mj += x[n * D + j] / N;
            for (int n = 0; n < N; n++)
                c += (x[n * D + i] - mi) * (x[n * D + j] - mj) / (N - 1);
            /* the variance of a sample covariance is (v_i v_j + c_ij^2)/N */
            double se = sqrt((vi * vj + want * want) / N);
            assert_true(fabs(c - want) < 5.0 * se + slack * sqrt(vi * vj));
        }
    }
}

static void moments_of(const char *sampler, const char *sde, int steps, double slack)
{
    static double x[N * D];
    analytic a;
    pf_sample_opt o = options();
    o.steps = steps;
    gaussian_create(D, sde, BATCH, &a);
    draw_all(&a, sampler, &o, x);
    check_moments(&a, o.t_min, x, slack);
    analytic_free(&a);
}

static void ode_draws_from_the_gaussian(void **state)
{
    (void)state;
    /* VE starts from N(0, 50^2) without the data's mean: 0.3/50 of it */
    moments_of("ode", "vp", 1, 0.01);
    moments_of("ode", "subvp", 1, 0.01);
    moments_of("ode", "ve", 1, 0.02);
}

static void predictors_draw_from_the_gaussian(void **state)
{
    (void)state;
    const char *names[] = {"reverse_diffusion", "euler_maruyama", "ancestral"};
    const char *sdes[] = {
        "vp", "subvp",
        "ve"}; /* the noise of the others changes by a factor in an even step at an end */
    /* a step changes log sigma by 8.5/250 (VE) or t by 1/250: bias of first order in that */
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) moments_of(names[i], sdes[k], 250, 0.06);
}

/* With norms of single samples the corrector's step depends on where the sample is, which keeps
 * the distribution only as far as |score| concentrates: hence 64 even dimensions. */
static void corrector_keeps_the_distribution(void **state)
{
    (void)state;
    enum { W = 64, M = 100 };
    const char *sdes[] = {"vp", "subvp", "ve"};
    static double x[M * W];
    for (int k = 0; k < 3; k++) {
        analytic a;
        int64_t evaluations = 0;
        double sum = 0.0, want = 0.0, m, s;
        pf_sample_opt o = options();
        o.steps = 150;
        o.corrector_steps = 1;
        gaussian_create(W, sdes[k], M, &a);
        for (int i = 0; i < W * W; i++)
            a.params[W + i] = i % (W + 1) ? 0.0f : 0.1f + 0.1f * (float)i / W / W;
        analytic_rebind(&a, sdes[k], M);
        must(draw(pf_samplers[1], &a, &o, 0, M, x, &evaluations));
        assert_int_equal(evaluations, 300);
        pf_sde_marginal(&a.sde, o.t_min, &m, &s);
        for (int i = 0; i < W; i++) want += m * m * (double)a.params[W + i * (W + 1)] + s * s;
        for (int i = 0; i < M * W; i++) sum += pow(x[i] - m * (double)a.params[i % W], 2) / M;
        /* total variance: 5 errors of sqrt(2/6400), and 5 % for steps of some hundredths */
        assert_true(fabs(sum / want - 1.0) < 5.0 * sqrt(2.0 / (M * W)) + 0.05);
        analytic_free(&a);
    }
}

static void a_sample_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    for (int k = 0; pf_samplers[k]; k++) {
        if (pf_samplers[k]->needs != PF_NEEDS_SCORE) continue;
        analytic a;
        double x[6 * D], y[D];
        int64_t evaluations = 0;
        pf_sample_opt o = options();
        o.steps = 20;
        o.corrector_steps = 2;
        gaussian_create(D, sde_for(k), 6, &a);
        must(draw(pf_samplers[k], &a, &o, 10, 6, x, &evaluations));
        must(draw(pf_samplers[k], &a, &o, 13, 1, y, &evaluations));
        /* the adaptive solver within its tolerance, the others to rounding (gemm of other shapes) */
        double tol = k == 0 ? 1e-3 : 1e-11;
        for (int i = 0; i < D; i++)
            assert_true(fabs(x[3 * D + i] - y[i]) < tol * (1.0 + fabs(y[i])));
        analytic_free(&a);
    }
}

static void another_seed_gives_other_samples(void **state)
{
    (void)state;
    analytic a;
    double x[D], y[D];
    int64_t evaluations = 0;
    pf_sample_opt o = options();
    o.steps = 10;
    gaussian_create(D, "vp", 1, &a);
    must(draw(pf_samplers[1], &a, &o, 0, 1, x, &evaluations));
    o.seed = 2;
    must(draw(pf_samplers[1], &a, &o, 0, 1, y, &evaluations));
    assert_int_equal(evaluations, 20);
    for (int i = 0; i < D; i++) assert_true(x[i] != y[i]);
    analytic_free(&a);
}

/* With all data at one point Tweedie's mean, and the mean of the last ancestral step, is that point
 * up to (s_u/s_t)^2 of the noise left. */
static void denoising_takes_the_last_noise_away(void **state)
{
    (void)state;
    for (int k = 0; pf_samplers[k]; k++) {
        if (pf_samplers[k]->needs != PF_NEEDS_SCORE) continue;
        analytic a;
        double x[2][4 * D], spread[2] = {0.0, 0.0};
        int64_t evaluations = 0;
        pf_sample_opt o = options();
        o.steps = 100;
        o.t_min = 0.05; /* noise of 0.24 left */
        gaussian_create(D, sde_for(k), 4, &a);
        for (int i = 0; i < D * D; i++) a.params[D + i] = i % (D + 1) ? 0.0f : 1e-8f;
        analytic_rebind(&a, sde_for(k), 4);
        for (int d = 0; d < 2; d++) {
            o.denoise = d;
            must(draw(pf_samplers[k], &a, &o, 0, 4, x[d], &evaluations));
            for (int i = 0; i < 4 * D; i++)
                spread[d] += pow(x[d][i] - (double)a.params[i % D], 2) / (4 * D);
        }
        assert_true(spread[1] < spread[0]);
        if (k == 0) assert_true(spread[1] < 1e-6);
        analytic_free(&a);
    }
}

static void run(pf_comm *c, const pf_net *net, const pf_sample_opt *o, int64_t n,
                pf_sampling *s)
{
    *s = (pf_sampling){.net = net, .sampler = pf_samplers[1], .opt = o, .n = n};
    must(pf_sampling_run(c, s));
    assert_true(s->evaluations == (double)((n + 31) / 32 * o->steps));
}

/* Three items of the queue against two, the last of them of other lengths; the file holds what was drawn. */
static void samples_do_not_depend_on_how_many_are_drawn(void **state)
{
    (void)state;
    analytic a;
    pf_model m;
    pf_net *net = NULL;
    pf_comm *c = NULL;
    pf_sampling more, fewer;
    pf_array x = {0};
    pf_sample_opt o = options();
    o.steps = 10;
    gaussian_create(D, "vp", 1, &a);
    must(pf_model_init("gaussian", &m));
    const pf_method method = pf_method_of_sde(&a.sde);
    const pf_space space = {.kind = PF_REAL, .shape = {1, 1, D}};
    must(pf_net_create(&m, &method, &space, &net));
    must(pf_net_set_params(net, a.params));
    must(pf_comm_open(&c, NULL));
    run(c, net, &o, 70, &more);
    run(c, net, &o, 37, &fewer);
    for (int i = 0; i < 37 * D; i++)
        assert_true(fabs(more.x[i] - fewer.x[i]) < 1e-11 * (1.0 + fabs(more.x[i])));
    pf_sample_files f = {.out = in_dir("s.h5"), .config = "name: test\n", .step = 3};
    must(pf_sampling_write(&fewer, &f));
    must(pf_store_read_array(f.out, "x", &x));
    assert_int_equal(x.dim[0], 37);
    assert_memory_equal(x.v, fewer.x, sizeof(double) * 37 * D);
    pf_free(x.v);
    pf_sampling_free(&more);
    pf_sampling_free(&fewer);
    pf_comm_close(c);
    pf_net_free(net);
    analytic_free(&a);
}

static void an_unknown_sampler_names_the_nearest(void **state)
{
    (void)state;
    const pf_sampler_ops *s;
    assert_int_equal(pf_sampler_find("ancestrel", &s), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "ancestral"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ode_draws_from_the_gaussian),
        cmocka_unit_test(predictors_draw_from_the_gaussian),
        cmocka_unit_test(corrector_keeps_the_distribution),
        cmocka_unit_test(a_sample_does_not_depend_on_its_batch),
        cmocka_unit_test(another_seed_gives_other_samples),
        cmocka_unit_test(denoising_takes_the_last_noise_away),
        cmocka_unit_test(samples_do_not_depend_on_how_many_are_drawn),
        cmocka_unit_test(an_unknown_sampler_names_the_nearest),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
