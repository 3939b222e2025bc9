/* Laws of the bound of a chain, on chains whose terms are known in closed form. */
#include "checks.h"

#include <probflow/estimand.h>
#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <string.h>

/* Binary data: every entry flips in each step with probability b, as in the binomial chain of
 * Sohl-Dickstein et al. 2015, and the model is a product of Bernoulli(1/2) for x_T whose reverse step is
 * the posterior of data that are known to be Bernoulli(p).  With r_i = (1 + (1 - 2b)^i)/2 the chance that
 * an entry of x_i is that of x_0, all terms are sums over the states of one entry. */
enum { D = 5, T = 41, B = 6, BANDS = 10, COLUMNS = 10 + BANDS };
enum { PRIOR = 3, DIFFUSION, DECODER, VLB, VARIANCE, EVALUATIONS, BAND };

typedef struct binary {
    double p, b;
    int calls;
    double noise; /* of each term [nats], keyed as the interface says */
    int nan_at;   /* a term that is not finite; -1: none */
} binary;

static double kept(const binary *c, int i)
{
    return 0.5 * (1.0 + pow(1.0 - 2.0 * c->b, i));
}

static double bernoulli_kl(double q, double p)
{
    double a = q > 0.0 ? q * log(q / p) : 0.0;
    return a + (q < 1.0 ? (1.0 - q) * log((1.0 - q) / (1.0 - p)) : 0.0);
}

/* P(x_i = 1 | x_(i+1) = y, x_0 ~ Bernoulli(p0)). */
static double back(const binary *c, int i, int y, double p0)
{
    double r = kept(c, i), one = p0 * r + (1.0 - p0) * (1.0 - r);
    double up = one * (y ? 1.0 - c->b : c->b), down = (1.0 - one) * (y ? c->b : 1.0 - c->b);
    return up / (up + down);
}

/* Expected term i of an entry k, nats. */
static double entry_term(const binary *c, int i, int k)
{
    double sum = 0.0;
    if (i == T) return bernoulli_kl(k ? kept(c, T) : 1.0 - kept(c, T), 0.5);
    for (int y = 0; y < 2; y++) { /* x_(i+1) */
        double r = kept(c, i + 1), q = (y == k) ? r : 1.0 - r, p = back(c, i, y, c->p);
        sum += i ? q * bernoulli_kl(back(c, i, y, k), p) : -q * log(k ? p : 1.0 - p);
    }
    return sum;
}

static double image_term(const binary *c, int i, const unsigned char *k)
{
    double sum = 0.0;
    for (int d = 0; d < D; d++) sum += entry_term(c, i, k[d]);
    return sum;
}

/* Terms of band k [bits/dim], of N steps. */
static double band_of(const binary *c, int k, const unsigned char *data)
{
    double sum = 0.0;
    for (int i = 1 + k * (T - 1) / BANDS; i <= (k + 1) * (T - 1) / BANDS; i++)
        sum += image_term(c, i, data) / (D * M_LN2);
    return sum;
}

static pf_status term(void *self, const pf_batch *b, const int *at, double *nats)
{
    binary *c = self;
    const unsigned char *k = b->k;
    c->calls++;
    for (int r = 0; r < b->B; r++) {
        pf_draw d = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[r], b->step};
        int i = at[r];
        nats[r] =
            image_term(c, i, k + r * D) + c->noise * (pf_draw_uniform_f64(&d, (size_t)i) - 0.5);
        if (i == c->nan_at) nats[r] = NAN;
    }
    return PF_OK;
}

static pf_chain chain_of(binary *c)
{
    return (pf_chain){.self = c, .dim = D, .steps = T, .batch = B, .state = D, .term = term};
}

static pf_likelihood_opt options(int terms, int draws)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", "vlb", &o));
    o.terms = terms;
    o.draws = draws;
    return o;
}

static void draw_data(unsigned char *k, int n)
{
    pf_draw d = {11, PF_STREAM_TEST, 0, 0};
    for (int i = 0; i < n * D; i++) k[i] = pf_draw_uniform_f64(&d, (size_t)i) < 0.3;
}

static pf_group group_of(const unsigned char *k, int64_t first, int n)
{
    return (pf_group){.first = first,
                      .B = n,
                      .space = {.kind = PF_LEVELS, .shape = {1, D, 1}, .levels = 2},
                      .pixels = k};
}

static void score(binary *c, const pf_likelihood_opt *o, const pf_group *g, double *cells)
{
    pf_chain chain = chain_of(c);
    pf_view v = {.chain = &chain};
    must(pf_likelihood_group(&v, o, g, cells));
}

/* ------------------------------------------------------------------------------------ all terms -- */

static void all_terms_are_the_closed_form(void **state)
{
    (void)state;
    binary c = {0.3, 0.05, 0, 0.0, -1};
    unsigned char k[B * D];
    double cells[B * COLUMNS], nats = D * M_LN2;
    pf_likelihood_opt o = options(0, 1);
    pf_group g = group_of(k, 7, B);
    draw_data(k, B);
    score(&c, &o, &g, cells);
    for (int b = 0; b < B; b++) {
        const double *r = cells + b * COLUMNS;
        double sum = 0.0;
        for (int i = 1; i < T; i++) sum += image_term(&c, i, k + b * D);
        assert_true(r[0] == 7 + b && r[1] == 0 && r[2] == -1);
        assert_true(fabs(r[PRIOR] - image_term(&c, T, k + b * D) / nats) < 1e-14);
        assert_true(fabs(r[DECODER] - image_term(&c, 0, k + b * D) / nats) < 1e-14);
        assert_true(fabs(r[DIFFUSION] - sum / nats) < 1e-13);
        for (int i = 0; i < BANDS; i++)
            assert_true(fabs(r[BAND + i] - band_of(&c, i, k + b * D)) < 1e-14);
        assert_true(r[VLB] == r[PRIOR] + r[DIFFUSION] + r[DECODER]);
        assert_true(isnan(r[VARIANCE]) && r[EVALUATIONS] == T);
    }
}

/* Over the data that the reverse steps are the posterior of, the terms telescope: their mean is the
 * entropy, but for the prior, which is Bernoulli(1/2) instead of the marginal of x_T. */
static void terms_of_the_optimal_model_telescope(void **state)
{
    (void)state;
    binary c = {0.3, 0.05, 0, 0.0, -1};
    double mean = 0.0, h = -c.p * log(c.p) - (1.0 - c.p) * log(1.0 - c.p);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i <= T; i++) mean += (k ? c.p : 1.0 - c.p) * entry_term(&c, i, k);
    double r = kept(&c, T), one = c.p * r + (1.0 - c.p) * (1.0 - r);
    assert_true(fabs(mean - h - bernoulli_kl(one, 0.5)) < 1e-12);
}

/* --------------------------------------------------------------------------------- drawn terms -- */

/* Mean over draws of a column against what is expected of it; 7e-6 by chance. */
static void check_mean(const double *cells, int rows, int step, double want)
{
    double mean = 0.0, var = 0.0;
    for (int j = 0; j < rows; j++) mean += cells[j * step] / rows;
    for (int j = 0; j < rows; j++) var += pow(cells[j * step] - mean, 2) / (rows - 1);
    assert_true(fabs(mean - want) < 4.5 * sqrt(var / rows) + 1e-12);
}

/* Mean over draws of the sampled sum, of the bands, and of the variance that rows state, against the draws' own. */
static void check_drawn(int terms, int strata)
{
    enum { J = 3000 };
    static double cells[2 * J * COLUMNS];
    binary c = {0.3, 0.05, 0, 0.0, -1};
    unsigned char k[2 * D];
    pf_likelihood_opt o = options(terms, J);
    pf_group g = group_of(k, 3, 2);
    o.strata = strata;
    draw_data(k, 2);
    score(&c, &o, &g, cells);
    for (int b = 0; b < 2; b++) {
        double want = 0.0, mean = 0.0, var = 0.0, said = 0.0;
        for (int i = 1; i < T; i++) want += image_term(&c, i, k + b * D) / (D * M_LN2);
        for (int j = 0; j < J; j++) {
            const double *r = cells + (j * 2 + b) * COLUMNS;
            mean += r[DIFFUSION] / J;
            said += r[VARIANCE] / J;
            assert_true(r[EVALUATIONS] == terms + 1);
            double sum = 0.0;
            for (int i = 0; i < BANDS; i++) sum += r[BAND + i];
            assert_true(fabs(sum - r[DIFFUSION]) < 1e-13);
        }
        for (int j = 0; j < J; j++)
            var += pow(cells[(j * 2 + b) * COLUMNS + DIFFUSION] - mean, 2) / (J - 1);
        check_mean(cells + b * COLUMNS + DIFFUSION, J, 2 * COLUMNS, want);
        for (int i = 0; i < BANDS; i++)
            check_mean(cells + b * COLUMNS + BAND + i, J, 2 * COLUMNS,
                       band_of(&c, i, k + b * D));
        if (terms == 1) assert_true(isnan(said));
        else assert_true(said > 0.9 * var); /* too large by the trend, never too small */
    }
}

static void drawn_terms_are_unbiased_and_say_their_variance(void **state)
{
    (void)state;
    static const int terms[] = {1, 2, 3, 7, 8, 20, 39};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        check_drawn(terms[i], PF_STRATA_EVEN);
        check_drawn(terms[i], PF_STRATA_GEOMETRIC);
    }
}

/* Without a trend the stated variance is the variance. */
static void the_variance_of_noise_is_exact(void **state)
{
    (void)state;
    enum { J = 4000 };
    static double cells[J * COLUMNS];
    for (int terms = 2; terms <= 9; terms++) {
        binary c = {0.3, 0.5, 0, 1.0, -1}; /* one step forgets: terms are noise alone */
        unsigned char k[D] = {0};
        pf_likelihood_opt o = options(terms, J);
        pf_group g = group_of(k, 3, 1);
        double said = 0.0, mean = 0.0, var = 0.0;
        score(&c, &o, &g, cells);
        for (int j = 0; j < J; j++) mean += cells[j * COLUMNS + DIFFUSION] / J;
        for (int j = 0; j < J; j++) {
            said += cells[j * COLUMNS + VARIANCE] / J;
            var += pow(cells[j * COLUMNS + DIFFUSION] - mean, 2) / (J - 1);
        }
        /* 4000 squares: 2.2 %; strata of uneven size add to what is stated */
        assert_true(said / var > 0.88 && said / var < 1.25);
    }
}

/* Draws are named by image and draw: neither the cut into groups nor the place in one changes a bit. */
static void groups_do_not_change_an_image(void **state)
{
    (void)state;
    binary c = {0.3, 0.05, 0, 0.2, -1};
    unsigned char k[B * D];
    double all[2 * B * COLUMNS], part[2 * 2 * COLUMNS];
    pf_likelihood_opt o = options(6, 2);
    draw_data(k, B);
    pf_group g = group_of(k, 40, B);
    score(&c, &o, &g, all);
    for (int first = 0; first < B; first += 2) {
        pf_group h = group_of(k + first * D, 40 + first, 2);
        score(&c, &o, &h, part);
        for (int j = 0; j < 2; j++)
            for (int b = 0; b < 2; b++)
                assert_memory_equal(part + (j * 2 + b) * COLUMNS,
                                    all + (j * B + first + b) * COLUMNS,
                                    COLUMNS * sizeof(double));
    }
}

/* --------------------------------------------------------------------------- what is said of it -- */

static void the_summary_covers_the_sampling(void **state)
{
    (void)state;
    enum { N = 400 };
    static unsigned char k[N * D];
    static double cells[N * COLUMNS];
    binary c = {0.3, 0.05, 0, 0.0, -1};
    pf_likelihood_opt o = options(20, 1);
    const pf_ledger_column *columns;
    int n = pf_likelihood_columns(&o, &columns);
    assert_int_equal(n, COLUMNS);
    draw_data(k, N);
    double want = 0.0;
    for (int first = 0; first < N; first += B) {
        pf_group g = group_of(k + first * D, first, N - first < B ? N - first : B);
        score(&c, &o, &g, cells + first * COLUMNS);
    }
    for (int b = 0; b < N; b++)
        for (int i = 0; i <= T; i++) want += image_term(&c, i, k + b * D) / (D * M_LN2) / N;
    pf_ledger l = {N, n, columns, cells};
    pf_summary s;
    pf_likelihood_summary(&l, &s);
    assert_true(s.images == N && s.listed);
    assert_string_equal(s.figure[0].name, "vlb");
    assert_string_equal(s.figure[1].name, "vlb_se");
    double se = pf_summary_figure(&s, "vlb_se"), of_terms = pf_summary_figure(&s, "terms_se");
    assert_true(fabs(pf_summary_figure(&s, "vlb") - want) < 4.0 * of_terms);
    assert_true(of_terms > 0.0 && of_terms < se);
    assert_true(fabs(pf_summary_figure(&s, "prior") + pf_summary_figure(&s, "diffusion") +
                     pf_summary_figure(&s, "decoder") - pf_summary_figure(&s, "vlb")) < 1e-12);
    assert_true(isnan(pf_summary_figure(&s, "dequant_se")));
    assert_true(s.n == 7 + 2 * BANDS &&
                isnan(pf_summary_figure(&s, "draws_se"))); /* one draw */
    double kept = cells[BAND];
    cells[BAND] = NAN; /* a row of a file that had no bands: nothing is said of the first */
    pf_likelihood_summary(&l, &s);
    assert_true(s.n == 5 + 2 * BANDS && isnan(pf_summary_figure(&s, "diffusion_0")));
    cells[BAND] = kept;

    pf_estimates e = {0};
    must(pf_likelihood_estimates(&o, 1, &l, NULL, 1, &e));
    double variance = 0.0;
    for (int b = 0; b < N; b++) variance += e.variance[b * COLUMNS + VLB] / N;
    assert_true(fabs(sqrt(variance / N) / of_terms - 1.0) < 0.1);
    pf_estimates_free(&e);
    assert_int_equal(pf_likelihood_pilots(&o, 1, 0, 100000), 0); /* rows say it */
}

/* The variance of one draw [(bits/dim)^2]: of the drawn steps, and of the noise of all terms. */
static double variance_of_draw(const binary *c, int terms, const unsigned char *k)
{
    double noise = c->noise * c->noise / 12.0, sum = 2.0 * noise; /* decoder and prior */
    for (int j = 0, from = 0; j < terms; j++) {
        int to = (j + 1) * (T - 1) / terms, s = to - from;
        double mean = 0.0, square = 0.0;
        for (int i = from + 1; i <= to; i++) {
            double v = image_term(c, i, k);
            mean += v / s;
            square += v * v / s;
        }
        sum += s * s * (square - mean * mean + noise);
        from = to;
    }
    return sum / pow(D * M_LN2, 2);
}

/* What draws and what images do to the error, where both are known. */
static void check_shares(int terms)
{
    enum { N = 400, J = 5 };
    static unsigned char k[N * D];
    static double cells[N * J * COLUMNS];
    binary c = {0.3, 0.05, 0, 1.0, -1};
    pf_likelihood_opt o = options(terms == T - 1 ? 0 : terms, J);
    double draws = 0.0, mean = 0.0, images = 0.0, whole[N];
    draw_data(k, N);
    for (int b = 0; b < N; b++) {
        pf_group g = group_of(k + b * D, b, 1);
        score(&c, &o, &g, cells + b * J * COLUMNS);
        draws += variance_of_draw(&c, terms, k + b * D) / J / N / N;
        whole[b] = 0.0;
        for (int i = 0; i <= T; i++) whole[b] += image_term(&c, i, k + b * D) / (D * M_LN2);
        mean += whole[b] / N;
    }
    for (int b = 0; b < N; b++) images += pow(whole[b] - mean, 2) / (N - 1) / N;
    pf_ledger l = {N * J, COLUMNS, NULL, cells};
    pf_likelihood_columns(&o, &l.column);
    pf_summary s;
    pf_likelihood_summary(&l, &s);
    double of_draws = pow(pf_summary_figure(&s, "draws_se"), 2),
           all = pow(s.figure[1].value, 2);
    assert_true(fabs(of_draws / draws - 1.0) < 0.15); /* 1600 squares: 3.5 % */
    assert_true(fabs(all / (draws + images) - 1.0) < 0.2);
    assert_true(fabs(all - of_draws - pow(pf_summary_figure(&s, "images_se"), 2)) < 1e-15);
    assert_true(fabs(pf_summary_figure(&s, "images_se") / sqrt(images) - 1.0) < 0.3);
    double band = 0.0;
    for (int i = 0; i < BANDS; i++) {
        char name[32];
        snprintf(name, sizeof name, "diffusion_%d", i);
        band += pf_summary_figure(&s, name);
        strcat(name, "_se");
        assert_true(pf_summary_figure(&s, name) > 0.0);
    }
    assert_true(fabs(band - pf_summary_figure(&s, "diffusion")) < 1e-12);
}

static void the_error_is_shared_by_draws_and_images(void **state)
{
    (void)state;
    check_shares(T - 1);
    check_shares(8);
}

/* ------------------------------------------------------------------------------------ refusals -- */

static void what_does_not_suit_is_refused_in_a_sentence(void **state)
{
    (void)state;
    binary c = {0.3, 0.05, 0, 0.0, 12};
    unsigned char k[B * D];
    double cells[2 * B * COLUMNS];
    pf_chain chain = chain_of(&c);
    pf_view v = {.chain = &chain}, none = {0};
    pf_likelihood_opt o = options(0, 1);
    pf_group g = group_of(k, 20, 2);
    draw_data(k, B);
    assert_int_equal(pf_likelihood_group(&none, &o, &g, cells), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "vlb needs a chain of steps"));
    assert_int_equal(pf_likelihood_group(&v, &o, &g, cells), PF_ENUMERIC);
    assert_non_null(strstr(pf_error_message(), "term 12 of the bound of image 20"));
    o.terms = T - 1;
    assert_int_equal(pf_likelihood_group(&v, &o, &g, cells), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "likelihood.terms is 40"));
    o.terms = 0;
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", "nll_ode", &o));
    assert_int_equal(pf_likelihood_group(&v, &o, &g, cells), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "nll_ode needs a score"));
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", "[nll_ode, vlb]", &o));
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "nll_ode and vlb have no ledger in common"));
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", "nll_ode,bound", &o));
    must(pf_likelihood_check(&o));
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "clip", "no", &o));
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "likelihood.clip is no, but nll_ode"));
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "clip", "method", &o));
    must(pf_opt_set(pf_likelihood_opts, "likelihood", "respacing", "10,10", &o));
    assert_int_equal(pf_likelihood_check(&o), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "likelihood.respacing is 10,10, but nll_ode"));
    o.estimand = PF_VLB;
    must(pf_likelihood_check(&o));
}

static void every_failing_allocation_is_reported_and_leaves_nothing_behind(void **state)
{
    (void)state;
    binary c = {0.3, 0.05, 0, 0.0, -1};
    unsigned char k[2 * D];
    double cells[2 * COLUMNS];
    pf_chain chain = chain_of(&c);
    pf_view v = {.chain = &chain};
    pf_likelihood_opt o = options(3, 1);
    pf_group g = group_of(k, 0, 2);
    size_t before = pf_alloc_live();
    pf_status st;
    int n = 0;
    draw_data(k, 2);
    do {
        pf_alloc_fail_at(++n);
        st = pf_likelihood_group(&v, &o, &g, cells);
        pf_alloc_fail_at(0);
        assert_int_equal(pf_alloc_live(), before);
        assert_true(!st || st == PF_EMEM);
    } while (st);
    assert_true(n > 4);
}

/* Stored texts hold the older words. */
static void a_list_is_read_and_the_older_word_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *given, *written;
        int set;
    } all[] = {{"nll_ode", "nll_ode", PF_NLL_ODE},
               {"[nll_ode]", "nll_ode", PF_NLL_ODE},
               {"[nll_ode, bound]", "nll_and_bound", PF_NLL_AND_BOUND},
               {"bound,nll_ode", "nll_and_bound", PF_NLL_AND_BOUND},
               {"nll_and_bound", "nll_and_bound", PF_NLL_AND_BOUND},
               {"vlb", "vlb", PF_VLB},
               {"[vlb,bound]", "[bound,vlb]", PF_VLB | PF_BOUND}};
    static const char *const bad[] = {"",         "[]",       "nll",
                                      "[nll_ode", "nll_ode]", "nll_ode,,bound"};
    const pf_opt row = pf_opt_find(pf_likelihood_opts, "estimand");
    pf_likelihood_opt o;
    char text[64];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", all[i].given, &o));
        assert_int_equal(o.estimand, all[i].set);
        pf_opt_text(&row, &o, text, sizeof text);
        assert_string_equal(text, all[i].written);
        must(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", text, &o));
        assert_int_equal(o.estimand, all[i].set);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.estimand = PF_BOUND;
        assert_int_equal(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", bad[i], &o),
                         PF_EARG);
        assert_int_equal(o.estimand, PF_BOUND);
        assert_non_null(
            strstr(pf_error_message(), "want nll_ode, bound, vlb or nll_and_bound"));
    }
    for (int i = 0; pf_estimands[i]; i++)
        assert_string_equal(pf_estimands[i]->name, pf_estimand_words[i]);
    for (int i = 0; pf_dequants[i]; i++)
        assert_string_equal(pf_dequants[i]->name, pf_dequant_words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_terms_are_the_closed_form),
        cmocka_unit_test(terms_of_the_optimal_model_telescope),
        cmocka_unit_test(drawn_terms_are_unbiased_and_say_their_variance),
        cmocka_unit_test(the_variance_of_noise_is_exact),
        cmocka_unit_test(groups_do_not_change_an_image),
        cmocka_unit_test(the_summary_covers_the_sampling),
        cmocka_unit_test(the_error_is_shared_by_draws_and_images),
        cmocka_unit_test(what_does_not_suit_is_refused_in_a_sentence),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing_behind),
        cmocka_unit_test(a_list_is_read_and_the_older_word_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
