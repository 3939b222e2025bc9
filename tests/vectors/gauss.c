/* gauss_tables, gauss_law, gauss_decoder and decoder: schedules, tables, closed forms and single
 * probabilities. */
#include "gauss.h"

#include "method/gauss.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10;

/* An attribute that is a number, else NAN. */
static double number(const vectors *v, const char *group, const char *name)
{
    char *text = vectors_attr(v, "%s/%s", group, name);
    double x = text ? strtod(text, NULL) : NAN;
    pf_free(text);
    return x;
}

/* The group of an array called `last`, of one level; 1 when there is one. */
static int group_of(const vectors_array *a, const char *last, char *group, size_t n)
{
    const char *slash = strrchr(a->name, '/');
    if (!slash || strcmp(slash + 1, last)) return 0;
    snprintf(group, n, "%.*s", (int)(slash - a->name), a->name);
    return 1;
}

/* ---- gauss_tables ---- */

/* The schedule of a group; 0 when it is none of ours. */
static int schedule_of(const vectors *v, const char *group, int T, int *schedule, double *b0,
                       double *b1)
{
    char *word = vectors_attr(v, "%s/schedule", group);
    const char *name = word && !strncmp(word, "ddpm_", 5) ? word + 5 : word;
    int published = name != word; /* else ends that keep the whole chain's noise */
    *schedule = -1;
    for (int i = 0; name && pf_schedule_words[i]; i++)
        if (!strcmp(name, pf_schedule_words[i])) *schedule = i;
    *b0 = published ? number(v, group, "beta_start") : 0.1 / T;
    *b1 = published ? number(v, group, "beta_end") : 20.0 / T;
    pf_free(word);
    return *schedule >= 0 && (published || *schedule == PF_SCHEDULE_LINEAR);
}

static void hold_tables(vectors *v, const char *group, const pf_gauss *g)
{
    size_t n = (size_t)g->T;
    double one = 1.0, prior = pf_gauss_prior(g, 1, &one) / M_LN2;
    double *before = pf_zalloc(2 * n * sizeof *before), *after = before + n;
    for (int i = 0; before && i < g->T; i++) {
        before[i] = pf_gauss_abar_before(g, i);
        after[i] = pf_gauss_abar_after(g, i);
    }
    const struct {
        const char *name;
        const double *got;
    } table[] = {{"betas", g->beta},
                 {"alphas_cumprod", g->abar},
                 {"alphas_cumprod_prev", before},
                 {"alphas_cumprod_next", after},
                 {"posterior_variance", g->variance},
                 {"posterior_log_variance_clipped", g->log_variance},
                 {"posterior_mean_coef1", g->c1},
                 {"posterior_mean_coef2", g->c2}};
    for (size_t i = 0; before && i < sizeof table / sizeof *table; i++)
        vectors_hold(v, tolerance, table[i].got, n, "%s/%s", group, table[i].name);
    vectors_hold(v, tolerance, &prior, 1, "%s/prior_bpd_of_unit", group);
    pf_free(before);
}

static PF_MUST_USE pf_status check_schedule(vectors *v, const char *group, int T)
{
    int schedule;
    double b0, b1;
    pf_gauss *g = NULL;
    if (!schedule_of(v, group, T, &schedule, &b0, &b1)) return PF_OK;
    double *beta = pf_zalloc((size_t)T * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for %d betas", T);
    pf_status st = pf_gauss_betas((pf_schedule)schedule, b0, b1, T, beta);
    if (!st) st = pf_gauss_create(T, beta, &g);
    if (!st) hold_tables(v, group, g);
    pf_gauss_free(g);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check_tables(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++)
        if (group_of(&v->all[i], "betas", group, sizeof group) && vectors_wants(v, group))
            PF_TRY(check_schedule(v, group, (int)v->all[i].size));
    return PF_OK;
}

const vectors_kind vectors_gauss_tables = {
    .stem = "gauss_tables", .inputs = (const char *const[]){NULL}, .check = check_tables};

/* ---- gauss_law ---- */

/* Bits of term i in expectation over data N(0, s^2): four points integrate a quadratic exactly. */
static double expected_term(const pf_gauss *g, pf_variance variance, double s, double slope,
                            int i)
{
    pf_gauss_at a = pf_gauss_index(g, PF_PREDICTS_NOISE, variance, i);
    double sum = 0.0;
    for (int p = 0; p < 4; p++) {
        double x0 = p & 1 ? s : -s, z = p & 2 ? 1.0 : -1.0, xi, data, mean;
        pf_gauss_noised(&a, 1, &x0, &z, &xi);
        double net = slope * xi;
        pf_gauss_predict(&a, 0, 1, &xi, &net, &data, &mean);
        sum += 0.25 * pf_gauss_kl(&a, 1, &x0, &xi, &mean, NULL);
    }
    return sum / M_LN2;
}

static PF_MUST_USE pf_status check_chain(vectors *v, const char *group,
                                         const vectors_array *betas)
{
    const vectors_array *slope = vectors_find(v, "%s/A", group);
    double s = number(v, group, "s");
    pf_gauss *g = NULL;
    if (!slope || slope->size != betas->size || isnan(s)) return PF_OK;
    PF_TRY(pf_gauss_create((int)betas->size, betas->v, &g));
    size_t n = betas->size;
    double *term = pf_zalloc(3 * n * sizeof *term), *large = term + n, *shared = large + n;
    double prior = pf_gauss_prior(g, 1, &s) / M_LN2;
    for (int i = 0; term && i < g->T; i++) {
        shared[i] = 0.5 * log1p(g->abar[i] * s * s / g->noise[i]) / M_LN2;
        if (!i) continue;
        term[i] = expected_term(g, PF_VARIANCE_FIXED_SMALL, s, slope->v[i], i);
        large[i] = expected_term(g, PF_VARIANCE_FIXED_LARGE, s, slope->v[i], i);
    }
    if (term) {
        vectors_hold(v, tolerance, term + 1, n - 1, "%s/expected_kl_fixed_small", group);
        vectors_hold(v, tolerance, large + 1, n - 1, "%s/expected_kl_fixed_large", group);
        vectors_hold(v, tolerance, shared, n, "%s/mutual_information", group);
    }
    vectors_hold(v, tolerance, &prior, 1, "%s/expected_prior_kl", group);
    pf_free(term);
    pf_gauss_free(g);
    return PF_OK;
}

static pf_status check_law(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++)
        if (group_of(&v->all[i], "betas", group, sizeof group) && v->all[i].v)
            PF_TRY(check_chain(v, group, &v->all[i]));
    return PF_OK;
}

const vectors_kind vectors_gauss_law = {.stem = "gauss_law",
                                        .inputs = (const char *const[]){"*/A", "*/betas", NULL},
                                        .check = check_law};

/* ---- gauss_decoder ---- */

static pf_status check_decoder(vectors *v)
{
    const vectors_array *z = vectors_find(v, "cdf/z"), *x = vectors_find(v, "decoder/x"),
                        *mean = vectors_find(v, "decoder/means"),
                        *scale = vectors_find(v, "decoder/log_scales"),
                        *m1 = vectors_find(v, "normal_kl/mean1"),
                        *m2 = vectors_find(v, "normal_kl/mean2"),
                        *lv1 = vectors_find(v, "normal_kl/logvar1"),
                        *lv2 = vectors_find(v, "normal_kl/logvar2");
    const pf_decoder published = {PF_CDF_TANH, 256};
    PF_REQUIRE(z && x && mean && scale && m1 && m2 && lv1 && lv2 && mean->size == x->size &&
                   scale->size == x->size && m2->size == m1->size && lv1->size == m1->size &&
                   lv2->size == m1->size,
               PF_EFORMAT, "%s lacks an input", v->path);
    size_t n = z->size > x->size ? z->size : x->size;
    double *got = pf_zalloc((n > m1->size ? n : m1->size) * sizeof *got);
    PF_REQUIRE(got, PF_EMEM, "no memory for %zu values", n);
    for (size_t i = 0; i < z->size; i++) got[i] = pf_cdf_tanh(z->v[i]);
    vectors_hold(v, tolerance, got, z->size, "cdf/approx");
    for (size_t i = 0; i < x->size; i++)
        got[i] = pf_decode(&published, x->v[i], mean->v[i], scale->v[i], NULL);
    vectors_hold(v, 1e-9, got, x->size, "decoder/log_prob_nats");
    for (size_t i = 0; i < m1->size; i++)
        got[i] = pf_normal_kl(m1->v[i], lv1->v[i], m2->v[i], lv2->v[i]);
    vectors_hold(v, tolerance, got, m1->size, "normal_kl/kl_nats");
    pf_free(got);
    return PF_OK;
}

const vectors_kind vectors_gauss_decoder = {
    .stem = "gauss_decoder",
    .inputs = (const char *const[]){"cdf/z", "decoder/x", "decoder/means", "decoder/log_scales",
                                    "normal_kl/mean*", "normal_kl/logvar*", NULL},
    .check = check_decoder};

/* ---- decoder ---- */

static pf_status check_exact(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++) {
        const vectors_array *k = &v->all[i];
        if (!vectors_under("discretised_gaussian", k->name) || !k->v ||
            !group_of(k, "k", group, sizeof group))
            continue;
        const vectors_array *mean = vectors_find(v, "%s/mean", group),
                            *scale = vectors_find(v, "%s/log_scale", group);
        double levels = number(v, group, "levels");
        if (!mean || !scale || mean->size != k->size || scale->size != k->size ||
            !(levels >= 2.0 && levels <= 65536.0))
            continue;
        pf_decoder exact = {PF_CDF_EXACT, (int)levels};
        double *got = pf_zalloc(k->size * sizeof *got);
        PF_REQUIRE(got, PF_EMEM, "no memory for %zu values", k->size);
        for (size_t j = 0; j < k->size; j++)
            got[j] = pf_decode(&exact, 2.0 * k->v[j] / (exact.levels - 1) - 1.0, mean->v[j],
                               scale->v[j], NULL);
        vectors_hold(v, tolerance, got, k->size, "%s/log_prob", group);
        pf_free(got);
    }
    return PF_OK;
}

const vectors_kind vectors_decoder = {
    .stem = "decoder",
    .inputs = (const char *const[]){"categorical/*/eps", "categorical/*/k", "constants/*/k",
                                    "discretised_gaussian/*/k", "discretised_gaussian/*/mean",
                                    "discretised_gaussian/*/log_scale", NULL},
    .check = check_exact};
