/* gauss_tables, gauss_spacing, gauss_law and gauss_decoder: schedules, tables, closed forms and single
 * probabilities. */
#include "gauss.h"
#include "gauss_job.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An attribute that is a number, else NAN. */
/* ---- schedules ---- */

/* The chain of T steps of a group's schedule; NULL when it is none of ours.  Published as ddpm_<name>, with its
 * ends, or by the names of improved DDPM, whose linear keeps the noise of T = 1000. */
static PF_MUST_USE pf_status chain_of(const vectors *v, const char *group, int T, pf_gauss **g)
{
    char *word = vectors_attr(v, "%s/schedule", group);
    int ends = word && !strncmp(word, "ddpm_", 5);
    int s = word ? gauss_word(pf_schedule_words, ends ? word + 5 : word) : -1;
    if (!ends && s == PF_SCHEDULE_LINEAR) s = PF_SCHEDULE_LINEAR_SCALED;
    else if (!ends && s != PF_SCHEDULE_COSINE) s = -1;
    pf_free(word);
    *g = NULL;
    if (s < 0) return PF_OK;
    double *beta = pf_zalloc((size_t)T * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for %d betas", T);
    const pf_betas o = {.schedule = (pf_schedule)s,
                        .b0 = vectors_number(v, group, "beta_start"),
                        .b1 = vectors_number(v, group, "beta_end")};
    pf_status st = pf_gauss_betas(&o, T, beta);
    if (!st) st = pf_gauss_create(T, beta, g);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- gauss_tables ---- */

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
        vectors_hold(v, gauss_tolerance, table[i].got, n, "%s/%s", group, table[i].name);
    vectors_hold(v, gauss_tolerance, &prior, 1, "%s/prior_bpd_of_unit", group);
    pf_free(before);
}

static pf_status check_tables(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    pf_gauss *g;
    for (int i = 0; i < v->n; i++) {
        if (!vectors_group_of(&v->all[i], "betas", group, sizeof group) ||
            !vectors_wants(v, group))
            continue;
        PF_TRY(chain_of(v, group, (int)v->all[i].size, &g));
        if (g) hold_tables(v, group, g);
        pf_gauss_free(g);
    }
    return PF_OK;
}

const vectors_kind vectors_gauss_tables = {
    .stem = "gauss_tables", .inputs = (const char *const[]){NULL}, .check = check_tables};

/* ---- gauss_spacing ---- */

static PF_MUST_USE pf_status check_part(vectors *v, const char *group, const char *spec, int T)
{
    pf_gauss *whole;
    gauss_part part = {0};
    PF_TRY(chain_of(v, group, T, &whole));
    pf_status st = whole ? gauss_part_of(whole, spec, &part) : PF_OK;
    if (whole && !st) {
        size_t n = (size_t)part.g->T;
        gauss_part_hold_map(v, &part, group);
        vectors_hold(v, gauss_tolerance, part.g->beta, n, "%s/betas", group);
        vectors_hold(v, gauss_tolerance, part.g->abar, n, "%s/alphas_cumprod", group);
    }
    gauss_part_drop(&part);
    pf_gauss_free(whole);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check_spacing(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++) {
        if (!vectors_group_of(&v->all[i], "map", group, sizeof group)) continue;
        char *spec = vectors_attr(v, "%s/spec", group);
        double T = vectors_number(v, group, "T");
        pf_status st =
            spec && T >= 2.0 && T <= 1e6 ? check_part(v, group, spec, (int)T) : PF_OK;
        pf_free(spec);
        if (st) return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

const vectors_kind vectors_gauss_spacing = {
    .stem = "gauss_spacing", .inputs = (const char *const[]){NULL}, .check = check_spacing};

/* ---- gauss_law ---- */

/* Bits of term i in expectation over data N(0, s^2), with this log variance where it is learned: four points
 * integrate a quadratic exactly. */
static double expected_term(const pf_gauss_at *a, double s, double slope, double log_variance)
{
    double sum = 0.0;
    for (int p = 0; p < 4; p++) {
        double x0 = p & 1 ? s : -s, z = p & 2 ? 1.0 : -1.0, xi, mean, row[3];
        const pf_gauss_model m = {row, row + 1, row + 2};
        pf_gauss_noised(a, 1, &x0, &z, &xi);
        mean = slope * xi;
        const pf_gauss_net net = {&mean,
                                  pf_gauss_learns(a->opt.variance) ? &log_variance : NULL};
        pf_gauss_predict(a, 0, 1, &xi, &net, &m);
        sum += 0.25 * pf_gauss_kl(a, 1, &x0, &xi, &m, NULL);
    }
    return sum / M_LN2;
}

enum { LAW_VARIANCE, LAW_INFORMATION, LAW_SMALL, LAW_LARGE, LAW_LEARNED, LAWS };
static const char *const law_names[] = {"log_variance", "mutual_information",
                                        "expected_kl_fixed_small", "expected_kl_fixed_large",
                                        "expected_kl_learned"};

/* to [LAWS][T] of index i, whose best network of the noise has this slope. */
static void fill_law(const pf_gauss *g, double s, double slope, int i, double *to)
{
    const pf_variance v[] = {PF_VARIANCE_FIXED_SMALL, PF_VARIANCE_FIXED_LARGE,
                             PF_VARIANCE_LEARNED};
    size_t n = (size_t)g->T;
    double m = g->abar[i] * s * s + g->noise[i];
    double best = g->variance[i] + g->c1[i] * g->c1[i] * s * s * g->noise[i] / m;
    to += i;
    to[LAW_VARIANCE * n] = i ? log(best) : 0.0; /* index 0 is the decoder's: the file says 0 */
    to[LAW_INFORMATION * n] = 0.5 * log1p(g->abar[i] * s * s / g->noise[i]) / M_LN2;
    for (size_t k = 0; k < 3; k++) {
        const pf_gauss_at a = gauss_index_of(g, PF_PREDICTS_NOISE, v[k], i);
        to[(LAW_SMALL + k) * n] = expected_term(&a, s, slope, log(best));
    }
}

static PF_MUST_USE pf_status check_chain(vectors *v, const char *group,
                                         const vectors_array *betas)
{
    const vectors_array *slope = vectors_find(v, "%s/A", group);
    double s = vectors_number(v, group, "s");
    pf_gauss *g = NULL;
    if (!slope || slope->size != betas->size || isnan(s)) return PF_OK;
    size_t n = betas->size;
    double *law = pf_zalloc(LAWS * n * sizeof *law);
    PF_REQUIRE(law, PF_EMEM, "no memory for %zu terms", n);
    pf_status st = pf_gauss_create((int)n, betas->v, &g);
    for (int i = 0; !st && i < g->T; i++) fill_law(g, s, slope->v[i], i, law);
    for (size_t k = 0; !st && k < LAWS; k++) { /* terms begin with index 1 */
        size_t from = k >= LAW_SMALL;
        vectors_hold(v, gauss_tolerance, law + k * n + from, n - from, "%s/%s", group,
                     law_names[k]);
    }
    if (!st) {
        double prior = pf_gauss_prior(g, 1, &s) / M_LN2;
        vectors_hold(v, gauss_tolerance, &prior, 1, "%s/expected_prior_kl", group);
    }
    pf_gauss_free(g);
    pf_free(law);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check_law(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++)
        if (vectors_group_of(&v->all[i], "betas", group, sizeof group) && v->all[i].v)
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
    vectors_hold(v, gauss_tolerance, got, z->size, "cdf/approx");
    for (size_t i = 0; i < x->size; i++)
        got[i] = pf_decode(&published, x->v[i], mean->v[i], scale->v[i], NULL);
    vectors_hold(v, 1e-9, got, x->size, "decoder/log_prob_nats");
    for (size_t i = 0; i < m1->size; i++)
        got[i] = pf_normal_kl(m1->v[i], lv1->v[i], m2->v[i], lv2->v[i]);
    vectors_hold(v, gauss_tolerance, got, m1->size, "normal_kl/kl_nats");
    pf_free(got);
    return PF_OK;
}

const vectors_kind vectors_gauss_decoder = {
    .stem = "gauss_decoder",
    .inputs = (const char *const[]){"cdf/z", "decoder/x", "decoder/means", "decoder/log_scales",
                                    "normal_kl/mean*", "normal_kl/logvar*", NULL},
    .check = check_decoder};
