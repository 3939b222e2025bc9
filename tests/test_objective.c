/* The objective: times follow their law, the loss is what its formula says, its gradient is its
 * derivative. */
#include <probflow/memory.h>
#include <probflow/random.h>
#include "checks.h"
#include "method/dsm.h"
#include "quadrature.h"

enum { N_SDE = 5, N_PREDICTS = PF_PREDICT_V + 1 }; /* rows of pf_sdes */

static pf_sde sde_of(int i)
{
    pf_sde s;
    assert_int_equal(pf_sde_init(pf_sdes[i]->name, &s), PF_OK);
    return s;
}

static pf_sde_method method(const pf_sde *s, const pf_objective_opt *o)
{
    return (pf_sde_method){.sde = *s, .objective = *o};
}

static pf_objective_opt options(int weight, int time, int reduce)
{
    pf_objective_opt o;
    pf_opt_defaults(pf_objective_opts, &o);
    o.weight = weight;
    o.time = time;
    o.reduce = reduce;
    return o;
}

static void a_part_of_the_batch_has_the_times_of_the_whole(void **state)
{
    (void)state;
    enum { TOTAL = 96 };
    for (int i = 0; i < 2 * N_SDE; i++) {
        pf_sde s = sde_of(i / 2);
        pf_objective_opt o = options(PF_WEIGHT_LIKELIHOOD, i % 2, PF_REDUCE_MEAN);
        pf_sde_method m = method(&s, &o);
        double whole[TOTAL], part[TOTAL];
        pf_dsm_times(&m, 0.37, 0, TOTAL, TOTAL, whole);
        for (int first = 0; first < TOTAL; first += 12)
            pf_dsm_times(&m, 0.37, first, 12, TOTAL, part + first);
        assert_memory_equal(whole, part, sizeof whole);
    }
}

typedef struct power {
    const pf_sde *sde;
    int k;
} power;

/* t^k g^2/std^2 */
static double weighted(const void *self, double t)
{
    const power *p = self;
    double m, std, f, g2;
    pf_sde_marginal(p->sde, t, &m, &std);
    pf_sde_coef(p->sde, t, &f, &g2);
    return pow(t, p->k) * g2 / (std * std);
}

/* Its integral from t_min to 1. */
static double moment(const pf_sde *s, double t_min, int k)
{
    power p = {s, k};
    return double_exponential(weighted, &p, t_min, 1.0);
}

static void importance_times_follow_the_likelihood_weight(void **state)
{
    (void)state;
    enum { TOTAL = 20000 };
    static double t[TOTAL];
    for (int i = 0; i < N_SDE; i++) {
        pf_sde s = sde_of(i);
        pf_objective_opt o = options(PF_WEIGHT_LIKELIHOOD, PF_TIME_IMPORTANCE, PF_REDUCE_MEAN);
        pf_sde_method m = method(&s, &o);
        pf_dsm_times(&m, 0.81, 0, TOTAL, TOTAL, t);
        double z = moment(&s, o.t_min, 0), mean = 0.0, square = 0.0;
        for (int b = 0; b < TOTAL; b++) {
            assert_true(t[b] >= o.t_min && t[b] <= 1.0);
            mean += t[b] / TOTAL;
            square += t[b] * t[b] / TOTAL;
        }
        /* a shifted grid of N points errs by at most the function's range / N */
        assert_near(mean, moment(&s, o.t_min, 1) / z, 1.0 / TOTAL);
        assert_near(square, moment(&s, o.t_min, 2) / z, 1.0 / TOTAL);
    }
}

static void uniform_times_fill_every_cell_once(void **state)
{
    (void)state;
    enum { TOTAL = 64 };
    pf_sde s = sde_of(0);
    pf_objective_opt o = options(PF_WEIGHT_SIGMA2, PF_TIME_UNIFORM, PF_REDUCE_MEAN);
    pf_sde_method m = method(&s, &o);
    for (int k = 0; k < 10; k++) {
        double t[TOTAL];
        int seen[TOTAL] = {0};
        pf_dsm_times(&m, (k + 0.3) / 10, 0, TOTAL, TOTAL, t);
        for (int b = 0; b < TOTAL; b++)
            seen[(int)((t[b] - o.t_min) / (1.0 - o.t_min) * TOTAL)]++;
        for (int c = 0; c < TOTAL; c++) assert_int_equal(seen[c], 1);
    }
}

enum { B = 3, D = 7 };
typedef struct batch {
    float x[B * D], z[B * D], net[B * D];
    double t[B];
} batch;

static batch some_batch(void)
{
    batch b = {.t = {1e-5, 0.03, 0.9}};
    pf_draw d = {.seed = 5, .stream = PF_STREAM_TEST};
    pf_draw_normal(&d, 0, B * D, b.x);
    d.sample = 1;
    pf_draw_normal(&d, 0, B * D, b.z);
    d.sample = 2;
    pf_draw_normal(&d, 0, B * D, b.net);
    return b;
}

static pf_dsm dsm(const pf_sde_method *m, const batch *b)
{
    return (pf_dsm){.m = m, .B = B, .dim = D, .x = b->x, .z = b->z, .t = b->t};
}

static void gradient_is_the_derivative_of_the_loss(void **state)
{
    (void)state;
    for (int i = 0; i < 8 * N_SDE * N_PREDICTS; i++) {
        pf_sde s = sde_of(i / 8 % N_SDE);
        pf_objective_opt o = options(i & 1, i >> 1 & 1, i >> 2 & 1);
        batch b = some_batch();
        pf_sde_method m = method(&s, &o);
        m.predicts = i / 8 / N_SDE;
        pf_dsm d = dsm(&m, &b);
        double loss[B], up[B], dn[B];
        float g[B * D];
        pf_dsm_loss(&d, b.net, 0.25, loss, g);
        for (int e = 0; e < B * D; e++) {
            float n = b.net[e], h = 0.5f; /* the loss is quadratic: any step is exact */
            b.net[e] = n + h;
            pf_dsm_loss(&d, b.net, 1.0, up, NULL);
            b.net[e] = n - h;
            pf_dsm_loss(&d, b.net, 1.0, dn, NULL);
            b.net[e] = n;
            double want = 0.25 * (up[e / D] - dn[e / D]) / ((double)(n + h) - (double)(n - h));
            assert_near(g[e], want, 1e-6 * fabs(want) + 1e-9 * loss[e / D]);
        }
    }
}

static void likelihood_weight_is_g2_over_variance(void **state)
{
    (void)state;
    for (int i = 0; i < N_SDE; i++) {
        pf_sde s = sde_of(i);
        pf_objective_opt flat = options(PF_WEIGHT_SIGMA2, PF_TIME_UNIFORM, PF_REDUCE_HALF_SUM);
        pf_objective_opt lw =
            options(PF_WEIGHT_LIKELIHOOD, PF_TIME_UNIFORM, PF_REDUCE_HALF_SUM);
        pf_objective_opt is = options(PF_WEIGHT_LIKELIHOOD, PF_TIME_IMPORTANCE, PF_REDUCE_MEAN);
        batch b = some_batch();
        double l0[B], l1[B], l2[B];
        pf_sde_method m = method(&s, &flat);
        pf_dsm d = dsm(&m, &b);
        pf_dsm_loss(&d, b.net, 1.0, l0, NULL);
        m.objective = lw;
        pf_dsm_loss(&d, b.net, 1.0, l1, NULL);
        m.objective = is;
        pf_dsm_loss(&d, b.net, 1.0, l2, NULL);
        for (int k = 0; k < B; k++) {
            double mean, std, f, g2;
            pf_sde_marginal(&s, b.t[k], &mean, &std);
            pf_sde_coef(&s, b.t[k], &f, &g2);
            assert_near(l1[k] * std * std / g2, l0[k], 1e-12 * l0[k]);
            assert_near(l2[k] * D / 2, l0[k], 1e-12 * l0[k]);
        }
    }
}

/* Whatever the network is asked for, its right answer has no loss. */
static void the_true_score_of_a_point_has_no_loss(void **state)
{
    (void)state;
    for (int i = 0; i < N_SDE * N_PREDICTS; i++) {
        pf_sde s = sde_of(i % N_SDE);
        pf_objective_opt o = options(PF_WEIGHT_SIGMA2, PF_TIME_UNIFORM, PF_REDUCE_MEAN);
        pf_sde_method m = method(&s, &o);
        batch b = some_batch();
        float xt[B * D], cond[B], sigma[B], mean[B];
        double loss[B];
        m.predicts = i / N_SDE;
        pf_dsm d = dsm(&m, &b);
        pf_dsm_show(&d, (void *[PF_DSM_PORTS]){xt, cond, sigma, mean});
        for (int e = 0; e < B * D; e++) {
            double mu, std, t = b.t[e / D], x = b.x[e];
            pf_sde_marginal(&s, t, &mu, &std);
            double exact = mu * x + std * (double)b.z[e];
            pf_affine_score f = pf_sde_method_score(&m, t);
            b.net[e] = (float)((-(double)b.z[e] / std - f.a * exact) / f.c);
            assert_true(cond[e / D] == (float)(s.ops->sees_sigma ? std / mu : 999.0 * t));
            assert_true(sigma[e / D] == (float)(std / mu) && mean[e / D] == (float)mu);
        }
        pf_dsm_loss(&d, b.net, 1.0, loss, NULL);
        /* the network is float32: its rounding times std c is what is left of z */
        for (int k = 0; k < B; k++) {
            double mu, std;
            pf_sde_marginal(&s, b.t[k], &mu, &std);
            double r = 4e-7 * (1.0 + fabs(std * pf_sde_method_score(&m, b.t[k]).c)) *
                       (1.0 + 1.0 / std);
            assert_true(loss[k] <= r * r);
        }
    }
}

/* The published meaning of each word: what the network returns when it knows x_0 and the noise. */
static void predictions_are_what_their_words_say(void **state)
{
    (void)state;
    double mean = 0.6, std = 0.7, x0 = -0.3, z = 1.1, x = mean * x0 + std * z;
    double net[] = {[PF_PREDICT_NOISE] = z,
                    [PF_PREDICT_SCORE] = -z / std,
                    [PF_PREDICT_DATA] = x0,
                    [PF_PREDICT_V] = mean * z - std * x0};
    for (int p = PF_PREDICT_NOISE; p <= PF_PREDICT_V; p++) {
        pf_affine_score f = pf_predict_score((pf_predict)p, mean, std);
        assert_near(f.a * x + f.c * net[p], -z / std, 1e-14);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_of_the_batch_has_the_times_of_the_whole),
        cmocka_unit_test(importance_times_follow_the_likelihood_weight),
        cmocka_unit_test(uniform_times_fill_every_cell_once),
        cmocka_unit_test(gradient_is_the_derivative_of_the_loss),
        cmocka_unit_test(likelihood_weight_is_g2_over_variance),
        cmocka_unit_test(the_true_score_of_a_point_has_no_loss),
        cmocka_unit_test(predictions_are_what_their_words_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
