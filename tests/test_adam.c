/* Adam and the moving average, against the published algorithm in double. */
#include <probflow/random.h>
#include <probflow/train.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { N = 1000 };

typedef struct state {
    float p[N], m[N], v[N], e[N];
} state;

static const pf_adam rates = {
    .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .ema = 0.99, .scale = 1.0, .t = 1};

static void gradient(int64_t t, float *g)
{
    pf_draw d = {.seed = 5, .stream = PF_STREAM_TEST, .sample = (uint64_t)t};
    pf_draw_normal(&d, 0, N, g);
}

static void start(state *s)
{
    memset(s, 0, sizeof *s);
    gradient(0, s->p);
    memcpy(s->e, s->p, sizeof s->e);
}

static void many_steps_follow_the_published_algorithm(void **unused)
{
    (void)unused;
    static state s;
    static double p[N], m[N], v[N], e[N];
    float g[N];
    start(&s);
    for (int i = 0; i < N; i++) {
        p[i] = e[i] = (double)s.p[i];
        m[i] = v[i] = 0;
    }
    for (int t = 1; t <= 200; t++) {
        pf_adam a = rates;
        a.t = t;
        a.scale = 0.5;
        gradient(t, g);
        pf_adam_update(&a, N, g, s.p, s.m, s.v, s.e);
        for (int i = 0; i < N; i++) {
            double gi = 0.5 * (double)g[i];
            m[i] = 0.9 * m[i] + 0.1 * gi;
            v[i] = 0.999 * v[i] + 0.001 * gi * gi;
            p[i] -=
                1e-2 * (m[i] / (1 - pow(0.9, t))) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
            e[i] = 0.99 * e[i] + 0.01 * p[i];
        }
    }
    for (int i = 0; i < N; i++) {
        /* 200 updates of size 1e-2, each with a few roundings of a float near 1. */
        assert_true(fabs((double)s.p[i] - p[i]) < 200 * 3e-7 * 2);
        assert_true(fabs((double)s.e[i] - e[i]) < 200 * 3e-7 * 2);
    }
}

static void the_first_step_moves_by_the_rate_against_the_gradient(void **unused)
{
    (void)unused;
    static state s;
    float g[N];
    start(&s);
    state was = s;
    gradient(1, g);
    pf_adam_update(&rates, N, g, s.p, s.m, s.v, s.e);
    for (int i = 0; i < N; i++) {
        double want = (double)was.p[i] - 1e-2 * (g[i] > 0 ? 1 : -1);
        /* m/(1-b1) = g and sqrt(v/(1-b2)) = |g| up to rounding; eps only matters for tiny g. */
        if (fabsf(g[i]) > 1e-4f) assert_true(fabs((double)s.p[i] - want) < 2e-6);
    }
}

static void a_rate_of_zero_leaves_the_parameters_and_their_average(void **unused)
{
    (void)unused;
    static state s;
    float g[N];
    start(&s);
    state was = s;
    gradient(1, g);
    pf_adam a = rates;
    a.lr = 0;
    pf_adam_update(&a, N, g, s.p, s.m, s.v, s.e);
    assert_memory_equal(s.p, was.p, sizeof s.p);
    for (int i = 0; i < N; i++) assert_true(fabsf(s.e[i] - was.e[i]) <= 3e-7f * fabsf(s.p[i]));
    assert_memory_not_equal(s.m, was.m, sizeof s.m);
}

static void a_zero_gradient_leaves_fixed_parameters_alone(void **unused)
{
    (void)unused;
    static state s;
    float g[N] = {0};
    start(&s);
    state was = s;
    for (int t = 1; t <= 5; t++) {
        pf_adam a = rates;
        a.t = t;
        pf_adam_update(&a, N, g, s.p, s.m, s.v, s.e);
    }
    assert_memory_equal(s.p, was.p, sizeof s.p);
}

static void cutting_the_vector_changes_no_bit(void **unused)
{
    (void)unused;
    static const size_t cuts[] = {0, 16, 48, 49, 50, 67, 512, 777, 999, N};
    static state whole, parts;
    float g[N];
    start(&whole);
    start(&parts);
    for (int t = 1; t <= 10; t++) {
        pf_adam a = rates;
        a.t = t;
        gradient(t, g);
        pf_adam_update(&a, N, g, whole.p, whole.m, whole.v, whole.e);
        for (size_t k = 0; k + 1 < sizeof cuts / sizeof *cuts; k++) {
            size_t i = cuts[k];
            pf_adam_update(&a, cuts[k + 1] - i, g + i, parts.p + i, parts.m + i, parts.v + i,
                           parts.e + i);
        }
    }
    assert_memory_equal(&whole, &parts, sizeof whole);
}

static void the_rate_grows_stays_and_falls(void **unused)
{
    (void)unused;
    pf_train_opt o = {.steps = 100, .lr = 2.0, .warmup = 10, .decay = 40};
    static const double want[][2] = {{0, 0}, {5, 1}, {10, 2}, {60, 2}, {80, 1}, {99, 0.05}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_true(fabs(pf_learning_rate(&o, (int64_t)want[i][0]) - want[i][1]) < 1e-15);
    o.warmup = o.decay = 0;
    assert_true(pf_learning_rate(&o, 0) == 2.0 && pf_learning_rate(&o, 99) == 2.0);
}

/* The published update, written out: n counts the update that is made. */
static void the_average_warms_up_as_published(void **unused)
{
    (void)unused;
    static const double rates_of[] = {0.0, 0.5, 0.9, 0.9999, 1.0};
    for (size_t k = 0; k < sizeof rates_of / sizeof *rates_of; k++) {
        pf_train_opt warm = {.ema = rates_of[k], .ema_warmup = 1}, plain = {.ema = rates_of[k]};
        double initial = 1, constant = 1; /* an average of ones, updated with zeros */
        int num_updates = 0;
        for (int i = 0; i < 3000; i++) {
            num_updates += 1;
            double decay = fmin(rates_of[k], (1.0 + num_updates) / (10.0 + num_updates));
            assert_true(pf_ema_decay(&warm, num_updates) == decay);
            assert_true(pf_ema_decay(&plain, num_updates) == rates_of[k]);
            initial *= decay;
            constant *= rates_of[k];
            if (i % 100 > 2) continue;
            assert_true(fabs(pf_ema_initial(&warm, num_updates) - initial) <= 1e-9 * initial);
            assert_true(fabs(pf_ema_initial(&plain, num_updates) - constant) <=
                        1e-9 * constant);
        }
        assert_true(pf_ema_initial(&warm, 0) == 1.0 && pf_ema_initial(&plain, 0) == 1.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_steps_follow_the_published_algorithm),
        cmocka_unit_test(the_first_step_moves_by_the_rate_against_the_gradient),
        cmocka_unit_test(a_rate_of_zero_leaves_the_parameters_and_their_average),
        cmocka_unit_test(a_zero_gradient_leaves_fixed_parameters_alone),
        cmocka_unit_test(the_rate_grows_stays_and_falls),
        cmocka_unit_test(the_average_warms_up_as_published),
        cmocka_unit_test(cutting_the_vector_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
