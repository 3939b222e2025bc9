/* Laws of what repeats and pairs say: variances of single estimates, the difference of two models. */
#include "analytic.h"
#include "likelihood_rows.h"

static double chi2(uint64_t i, int dof)
{
    double sum = 0.0;
    for (int k = 0; k < dof; k++) {
        double z = normal(70, (int)(i * 8 + (uint64_t)k));
        sum += z * z;
    }
    return sum;
}

/* Equal variances are seen as equal: every row gets nearly the mean of all, those without repeats
 * exactly that of the others. */
static void equal_variances_are_pooled(void **state)
{
    (void)state;
    enum { N = 4000 };
    static double spread[N], out[N];
    static int dof[N];
    double mean = 0.0, weight = 0.0;
    for (int i = 0; i < N; i++) {
        dof[i] = i % 4;
        spread[i] = dof[i] ? 9.0 * chi2((uint64_t)i, dof[i]) / dof[i] : NAN;
        if (dof[i]) mean += dof[i] * spread[i], weight += dof[i];
    }
    mean /= weight;
    pf_moderate_variance(N, spread, dof, out);
    assert_true(fabs(mean - 9.0) < 0.7); /* 4 of its standard errors, 9 sqrt(2/6000) */
    double far = 0.0;
    for (int i = 0; i < N; i++) {
        if (dof[i] == 0) assert_true(fabs(out[i] - mean) < 1e-12 * mean);
        far = fmax(far, fabs(out[i] / mean - 1.0));
    }
    /* c^2 is 0 within sqrt(8/6000)/3 or so: a spread of 15 times the mean then counts by 3 c^2/2 */
    assert_true(far < 0.5);
}

/* Variances that differ are told apart: under the prior the mean of the squared error of the posterior
 * mean is that of theory, and below that of the mean of all and of each row's own spread. */
static void repeats_give_each_row_its_variance(void **state)
{
    (void)state;
    enum { N = 40000, DOF = 4, PRIOR = 12 };
    static double spread[N], out[N], truth[N];
    static int dof[N];
    double moderated = 0.0, pooled = 0.0, own = 0.0, m = 0.0;
    for (int i = 0; i < N; i++) {
        truth[i] = PRIOR / chi2((uint64_t)(2 * N + 2 * i), 6) / 2.0; /* 6 + 6 below */
        truth[i] = PRIOR / (PRIOR / (2.0 * truth[i]) + chi2((uint64_t)(2 * N + 2 * i + 1), 6));
        dof[i] = DOF;
        spread[i] = truth[i] * chi2((uint64_t)i, DOF) / DOF;
        m += spread[i] / N;
    }
    pf_moderate_variance(N, spread, dof, out);
    for (int i = 0; i < N; i++) {
        moderated += pow(out[i] - truth[i], 2) / N;
        own += pow(spread[i] - truth[i], 2) / N;
        pooled += pow(m - truth[i], 2) / N;
    }
    /* Scaled inverse chi-squared of 12: mean 12/10, variance 2 12^2/(10^2 8) = 0.36, E of the square
     * 1.8; the own spread errs by 2/4 of that, the posterior mean by the harmonic mean of both. */
    assert_true(fabs(pooled / 0.36 - 1.0) < 0.15);
    assert_true(fabs(own / 0.9 - 1.0) < 0.15);
    assert_true(fabs(moderated / (1.0 / (1.0 / 0.36 + 1.0 / 0.9)) - 1.0) < 0.15);
}

static void without_repeats_nothing_is_known(void **state)
{
    (void)state;
    double spread[2] = {NAN, NAN}, out[2] = {0, 0};
    int dof[2] = {0, 0};
    pf_moderate_variance(2, spread, dof, out);
    assert_true(isnan(out[0]) && isnan(out[1]));
    spread[0] = 0.0, dof[0] = 1;
    pf_moderate_variance(2, spread, dof, out);
    assert_true(out[0] == 0.0 && out[1] == 0.0);
}

/* ---- errors of single images ---- */

enum { IMAGES = 4000, DRAWS = 3 };

/* A ledger whose nll is 5 + noise of this deviation, `draws` a row, `made` of them made; the second draw of
 * every fourth image alone where made is 1.  A fixed part of the noise is shared by two ledgers. */
static void fill_ledger(int step, int draws, int made, double deviation, row *rows)
{
    for (int i = 0; i < IMAGES; i++)
        for (int j = 0; j < draws; j++) {
            int there = j < made || (j == 1 && i % 4 == 0);
            double z = deviation * normal((uint32_t)step, (size_t)(i * draws + j));
            rows[i * draws + j] = (row){.image = i,
                                        .draw = j,
                                        .nll = there ? 5.0 + z : NAN,
                                        .bound = there ? 6.0 + 2.0 * z : NAN,
                                        .probe_variance = NAN,
                                        .solver_error = -0.5};
        }
}

static pf_likelihood_opt estimator(int draws, int probes)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.draws = draws;
    o.trace.probes = probes;
    return o;
}

/* The mean over images of the squared distance from the truth is the stated variance: their ratio is 1
 * within some of its own deviations, sqrt(2/4000) and sqrt(2/1000) for repeats of every fourth image. */
static void states(const estimate *e, double nll, double bound)
{
    double d = 0.0, b = 0.0, v = 0.0, w = 0.0;
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(e[i].image, i);
        d += pow(e[i].nll - nll, 2), v += e[i].nll_variance;
        b += pow(e[i].bound - bound, 2), w += e[i].bound_variance;
    }
    assert_true(fabs(d / v - 1.0) < 0.2 && fabs(b / w - 1.0) < 0.2);
}

static void estimates_are_of_the_draws_that_were_asked_for(void **state)
{
    (void)state;
    static row rows[IMAGES * DRAWS], other[IMAGES * DRAWS];
    static estimate e[IMAGES];
    pf_likelihood_opt one = estimator(1, 1), three = estimator(DRAWS, 1), two = estimator(1, 2);
    one.estimand = three.estimand = PF_NLL_AND_BOUND;

    fill_ledger(80, 2, 1, 0.3, rows); /* repeats of some */
    must(estimate_rows(&one, 1, rows, NULL, IMAGES * 2, 2, e));
    states(e, 5.0, 6.0);
    assert_true(e[1].nll == rows[2].nll && e[0].nll == rows[0].nll); /* the first draw alone */
    assert_true(isnan(e[0].probe_variance) && e[0].solver_error == 0.5);
    must(estimate_rows(&one, 0, rows, NULL, IMAGES * 2, 2, e));
    assert_true(e[7].probe_variance ==
                e[7].nll_variance); /* all that is random are the probes */

    fill_ledger(81, DRAWS, DRAWS, 0.3, rows); /* each by its own draws */
    must(estimate_rows(&three, 1, rows, NULL, IMAGES * DRAWS, DRAWS, e));
    states(e, 5.0, 6.0);
    assert_true(fabs(e[2].nll - (rows[6].nll + rows[7].nll + rows[8].nll) / 3.0) < 1e-14);

    fill_ledger(82, 1, 1, 0.3, rows); /* by two sets of probes: chi-squared of one degree */
    for (int i = 0; i < IMAGES; i++)
        rows[i].probe_variance = 0.09 * pow(normal(83, (size_t)i), 2);
    must(estimate_rows(&two, 0, rows, NULL, IMAGES, 1, e));
    double d = 0.0, v = 0.0;
    for (int i = 0; i < IMAGES; i++) d += pow(e[i].nll - 5.0, 2), v += e[i].nll_variance;
    assert_true(fabs(d / v - 1.0) < 0.2);

    two.trace.probe = PF_EXACT;
    for (int i = 0; i < IMAGES; i++) rows[i].probe_variance = 0.0;
    must(estimate_rows(&two, 0, rows, NULL, IMAGES, 1, e));
    assert_true(e[3].nll_variance == 0.0 && e[3].probe_variance == 0.0);

    fill_ledger(84, 2, 1, 0.3, rows); /* shared noise falls out of a difference */
    fill_ledger(85, 2, 1, 0.01, other);
    for (int i = 0; i < IMAGES * 2; i++)
        other[i].nll += rows[i].nll - 7.0, other[i].bound += rows[i].bound - 8.0;
    must(estimate_rows(&one, 1, rows, other, IMAGES * 2, 2, e));
    states(e, 2.0, 2.0);
    assert_true(e[0].nll_variance < 1e-3 && isnan(e[0].solver_error) && isnan(e[0].prior));
    must(estimate_rows(&one, 1, rows, rows, IMAGES * 2, 2, e));
    assert_true(e[5].nll == 0.0 && e[5].nll_variance == 0.0);
}

/* Some are drawn again only where nothing else tells the error. */
static void pilots_are_where_rows_do_not_say_it(void **state)
{
    (void)state;
    pf_likelihood_opt one = estimator(1, 1), two = estimator(1, 2), more = estimator(2, 1);
    one.group = two.group = more.group = 16;
    assert_int_equal(pf_likelihood_pilots(&one, 0, 0, 100000), 32);
    assert_int_equal(pf_likelihood_pilots(&one, 0, 0, 100), 7); /* all */
    assert_int_equal(pf_likelihood_pilots(&two, 0, 0, 100000), 0);
    assert_int_equal(pf_likelihood_pilots(&two, 1, 0, 100000),
                     32); /* pixels: dequantisation too */
    assert_int_equal(pf_likelihood_pilots(&two, 0, 1, 100000),
                     32); /* a pair: sets are of each alone */
    assert_int_equal(pf_likelihood_pilots(&more, 0, 1, 100000), 0);
    assert_int_equal(pf_likelihood_pilots(&more, 1, 0, 100000),
                     32); /* for the share of the probes */
    assert_int_equal(pf_likelihood_repeats(100000), 1);
    assert_int_equal(pf_likelihood_repeats(16), 1);
    assert_int_equal(pf_likelihood_repeats(3), 6); /* 18 squares */
    assert_int_equal(pf_likelihood_repeats(1), 16);
    one.trace.probe = PF_EXACT;
    assert_int_equal(pf_likelihood_pilots(&one, 0, 0, 100000), 0);
    one.estimand = PF_BOUND; /* random times */
    assert_int_equal(pf_likelihood_pilots(&one, 0, 0, 100000), 32);
}

/* ---- two models ---- */

/* Two ledgers that share their noise: the difference is that of the images in both, to the last bit
 * 0 for a ledger and itself. */
static void a_paired_difference_is_that_of_the_images(void **state)
{
    (void)state;
    enum { N = 300, J = 2 };
    static row a[N * J], b[N * J];
    for (int i = 0; i < N * J; i++) {
        double noise = normal(71, i / J), own = 0.01 * normal(72, i);
        a[i] = (row){.image = 2 * (i / J), .draw = i % J, .nll = noise, .bound = NAN};
        b[i] = (row){.image = 3 * (i / J), .draw = i % J, .nll = own - 5.0, .bound = NAN};
    }
    for (int i = 0; i < N * J; i++) /* image 6 k is row 3 k of a and 2 k of b */
        if (b[i].image % 2 == 0 && b[i].image < 2 * N) b[i].nll += a[b[i].image / 2 * J].nll;
    difference d;
    must(difference_of_rows(a, N * J, b, N * J, &d));
    assert_int_equal(d.images, N / 3);
    double mean = 0.0, square = 0.0;
    for (int i = 0; i < N / 3; i++) {
        const row *p = &a[3 * i * J], *q = &b[2 * i * J];
        double v = 0.5 * (p[0].nll + p[1].nll) - 0.5 * (q[0].nll + q[1].nll);
        mean += v / (N / 3);
        square += v * v / (N / 3);
    }
    double se = sqrt((square - mean * mean) / (N / 3 - 1));
    assert_true(fabs(d.nll - mean) < 1e-12 && fabs(d.nll_se - se) < 1e-6 * se);
    assert_true(fabs(d.nll - 5.0) < 4.0 * d.nll_se && d.nll_se < 0.02 * d.nll_alone_se);
    assert_true(isnan(d.bound) && isnan(d.bound_se));
    must(difference_of_rows(a, N * J, a, N * J, &d));
    assert_true(d.images == N && d.nll == 0.0 && d.nll_se == 0.0);
    must(difference_of_rows(a, 0, b, N * J, &d));
    assert_true(d.images == 0 && isnan(d.nll));
}

/* A ledger of N images whose value is 0: dequantisation makes noise of variance 1, a set of probes of 4,
 * a second model differs from the first by noise of variance 1/25. */
enum { MOST = 3, GROUP = 8 };
typedef struct ledgers {
    const pf_likelihood_opt *o;
    int pixels, draws; /* draws: a row of the ledger */
    int64_t pilots;
    row a[IMAGES * MOST], b[IMAGES * MOST];
} ledgers;

static row noisy(const ledgers *l, int64_t i, int d)
{
    const double sd = 2.0;
    int sets = l->o->trace.probes / l->o->trace.colours, pilot = i / GROUP < l->pilots;
    int made = d < l->o->draws || pilot, twin = l->pixels && sets == 1 && pilot && d == 0;
    size_t at = (size_t)(i * MOST + d) * 8;
    double mean = 0.0, squares = 0.0, u = l->pixels ? normal(80, at) : 0.0;
    for (int k = 0; k < sets; k++) mean += sd * normal(81, at + (size_t)k) / sets;
    for (int k = 0; k < sets; k++) squares += pow(sd * normal(81, at + (size_t)k) - mean, 2);
    if (twin) squares = pow(sd * normal(82, at) - sd * normal(82, at + 1), 2) / 2.0;
    return (row){.image = i,
                 .draw = d,
                 .nll = made ? u + mean : NAN,
                 .bound = made ? normal(83, at) : NAN,
                 .probe_variance = !made      ? NAN
                                   : sets > 1 ? squares / (sets - 1) / sets
                                   : twin     ? squares
                                              : NAN};
}

static double mean_square(const estimate *e, int of_bound)
{
    double sum = 0.0;
    for (int i = 0; i < IMAGES; i++) sum += pow(of_bound ? e[i].bound : e[i].nll, 2) / IMAGES;
    return sum;
}

static void check_errors(ledgers *l, int paired)
{
    static estimate e[IMAGES];
    const pf_likelihood_opt *o = l->o;
    double nll = 0.0, bound = 0.0, probe = 0.0;
    l->pilots = pf_likelihood_pilots(o, l->pixels, paired, IMAGES);
    l->draws = l->pilots && o->draws < 2 ? 2 : o->draws;
    for (int64_t k = 0; k < (int64_t)IMAGES * l->draws; k++) {
        l->a[k] = l->b[k] = noisy(l, k / l->draws, (int)(k % l->draws));
        l->b[k].nll += 0.2 * normal(84, (size_t)k);
        l->b[k].bound += 0.2 * normal(85, (size_t)k);
    }
    must(estimate_rows(o, l->pixels, l->a, paired ? l->b : NULL, (int64_t)IMAGES * l->draws,
                       l->draws, e));
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(e[i].image, i);
        nll += e[i].nll_variance / IMAGES;
        bound += e[i].bound_variance / IMAGES;
        probe += e[i].probe_variance / IMAGES;
    }
    /* 512 squares know their mean to 6 %, 4000 to 2 % */
    assert_true(fabs(nll / mean_square(e, 0) - 1.0) < 0.2);
    if (o->estimand != PF_NLL_ODE) assert_true(fabs(bound / mean_square(e, 1) - 1.0) < 0.2);
    if (paired) assert_true(isnan(probe));
    else assert_true(fabs(probe * o->trace.probes * o->draws / 4.0 - 1.0) < 0.2);
}

/* Of points and pixels, one model and two, any number of draws and sets: what is stated is the mean square
 * of the error, and the share of the probes is theirs. */
static void stated_errors_are_those_of_the_estimates(void **state)
{
    (void)state;
    static ledgers l;
    for (int k = 0; k < 32; k++) {
        pf_likelihood_opt o = {
            .group = GROUP,
            .trace = {.colours = 1, .probe = PF_RADEMACHER, .probes = k & 1 ? 3 : 1},
            .draws = k & 2 ? 3 : 1,
            .estimand = k & 4 ? PF_NLL_AND_BOUND : PF_NLL_ODE};
        l.o = &o;
        l.pixels = (k & 8) != 0;
        check_errors(&l, (k & 16) != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_variances_are_pooled),
        cmocka_unit_test(repeats_give_each_row_its_variance),
        cmocka_unit_test(without_repeats_nothing_is_known),
        cmocka_unit_test(estimates_are_of_the_draws_that_were_asked_for),
        cmocka_unit_test(pilots_are_where_rows_do_not_say_it),
        cmocka_unit_test(a_paired_difference_is_that_of_the_images),
        cmocka_unit_test(stated_errors_are_those_of_the_estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
