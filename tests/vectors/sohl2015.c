/* sd15_gaussian: schedules, bumps, what is seen, both Gaussians of a step, the bound, the isotropic identity, steps. */
#include "sohl2015.h"

#include "method/sohl2015.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10;

/* An attribute that is a number, of the group or else of the file, else `none`. */
static double number(const vectors *v, const char *group, const char *name, double none)
{
    char *text = group ? vectors_attr(v, "%s/%s", group, name) : NULL;
    if (!text) text = vectors_attr(v, "%s", name);
    double x = text ? strtod(text, NULL) : none;
    pf_free(text);
    return x;
}

typedef struct job {
    vectors *v;
    int n; /* bumps */
    pf_sohl_tables *t;
} job;

/* ---- tables ---- */

/* With the first step of the group or the file; a schedule that names none may have the published one, 1e-3. */
static void betas(const vectors *v, const char *group, const vectors_array *a, double *beta)
{
    const double first[] = {number(v, group, "step1_beta", 1e-3), 1e-3};
    for (int k = 0; k < 2; k++) {
        pf_sohl_betas(PF_SOHL_PUBLISHED, first[k], 0.5, (int)a->size, beta);
        if (!a->v || fabs(beta[0] - a->v[0]) <= tolerance) return;
    }
}

static void hold_schedules(vectors *v)
{
    for (int i = 0; i < v->n; i++) {
        const vectors_array *a = &v->all[i];
        char group[VECTORS_NAME_MAX];
        const char *slash = strrchr(a->name, '/');
        if (strcmp(slash ? slash + 1 : a->name, "beta") || a->size < 2) continue;
        snprintf(group, sizeof group, "%.*s", slash ? (int)(slash - a->name) : 0, a->name);
        double *beta = pf_zalloc(a->size * sizeof *beta), kept = 1.0;
        if (!beta) return;
        betas(v, group, a, beta);
        for (size_t k = 0; k < a->size; k++) kept *= 1.0 - beta[k];
        kept = 1.0 - kept;
        vectors_hold(v, tolerance, beta, a->size, "%s", a->name);
        if (slash) vectors_hold(v, tolerance, &kept, 1, "%s/beta_full", group);
        pf_free(beta);
    }
}

static void hold_bumps(const job *j)
{
    size_t T = (size_t)j->t->T, n = (size_t)j->n;
    double *phi = pf_zalloc(T * n * sizeof *phi);
    for (size_t i = 0; phi && i < T; i++)
        for (size_t k = 0; k < n; k++) phi[k * T + i] = j->t->phi[i * n + k];
    if (phi) vectors_hold(j->v, tolerance, phi, T * n, "temporal_basis");
    for (int k = 0; phi && k < j->v->n; k++) {
        double at;
        if (sscanf(j->v->all[k].name, "weights_at_%lf", &at) != 1) continue;
        for (size_t i = 0; i < T; i++) phi[i] = pf_sohl_weight(at, (int)i);
        vectors_hold(j->v, tolerance, phi, T, "%s", j->v->all[k].name);
    }
    pf_free(phi);
}

/* ---- one index ---- */

/* Images are N x C x H x W, coefficients N x H x W x C x 2 x n. */
static const double *coefficients(const vectors_array *x, const vectors_array *z, size_t at)
{
    size_t C = (size_t)x->dim[1], P = (size_t)(x->dim[2] * x->dim[3]);
    size_t image = at / (C * P), c = at / P % C, pixel = at % P, n = z->size / x->size;
    return z->v + ((image * P + pixel) * C + c) * n;
}

static int suits(const job *j, const vectors_array *x, const vectors_array *z)
{
    return x && z && x->v && z->v && x->rank == 4 && z->size == x->size * 2 * (size_t)j->n;
}

/* What a group holds, entry by entry. */
enum { NOISY, MEAN_Q, MEAN_P, STD_P, M, R, ROWS };
static const char *const row_names[] = {"x_noisy", "mu_q",     "mu_p",
                                        "sigma_p", "mu_coeff", "beta_coeff"};

/* An entry of x after spreading, seen as xi: what is held of it; its KL. */
static double fill(const pf_sohl_at *a, const double seen[2], const double *z, size_t n,
                   double *row)
{
    double y = seen[0], xi = seen[1], m = pf_sohl_read(a, z), r = pf_sohl_read(a, z + a->n);
    double mean, log_variance;
    const pf_gauss_model model = {NULL, &mean, &log_variance};
    pf_sohl_reverse(a, xi, m, r, &mean, &log_variance, NULL);
    row[NOISY * n] = xi;
    pf_gauss_posterior(&a->gauss, 1, &y, &xi, row + MEAN_Q * n);
    row[MEAN_P * n] = mean;
    row[STD_P * n] = exp(0.5 * log_variance);
    row[M * n] = m;
    row[R * n] = r;
    return pf_gauss_kl(&a->gauss, 1, &y, &xi, &model, NULL);
}

static PF_MUST_USE pf_status check_index(job *j, const char *group, int i)
{
    vectors *v = j->v;
    const vectors_array *x = vectors_find(v, "%s/x", group),
                        *z = vectors_find(v, "%s/Z", group),
                        *g = vectors_find(v, "%s/gauss", group),
                        *u = vectors_find(v, "%s/uniform", group);
    if (!suits(j, x, z) || !g || !u || i < 1 || i >= j->t->T) return PF_OK;
    const pf_sohl_at *a = &j->t->at[i];
    double width = number(v, NULL, "uniform_noise", 0.0), kl = 0.0;
    double *rows = pf_zalloc(ROWS * x->size * sizeof *rows);
    PF_REQUIRE(rows, PF_EMEM, "no memory for %zu entries", x->size);
    for (size_t k = 0; k < x->size; k++) {
        double seen[2] = {pf_sohl_spread(x->v[k], width, u->v[k])};
        pf_gauss_noised(&a->gauss, 1, seen, g->v + k, seen + 1);
        kl += fill(a, seen, coefficients(x, z, k), x->size, rows + k);
    }
    for (size_t k = 0; k < ROWS; k++)
        vectors_hold(v, tolerance, rows + k * x->size, x->size, "%s/%s", group, row_names[k]);
    /* the published factor is T, and the unit bits a pixel of all colours */
    double std = exp(0.5 * a->gauss.q_log_variance);
    double bound =
        pf_sohl_bound(j->t, j->t->T, kl / (double)x->size) * (double)x->dim[1] / M_LN2;
    vectors_hold(v, tolerance, &std, 1, "%s/sigma_q", group);
    vectors_hold(v, tolerance, &bound, 1, "%s/bound_bits_per_pixel", group);
    pf_free(rows);
    return PF_OK;
}

/* ---- data of a standard normal, no coefficients ---- */

/* Expected KL, nats: four points integrate a quadratic exactly. */
static double expected_kl(const pf_sohl_at *a)
{
    double sum = 0.0, none[2 * PF_SOHL_BUMPS_MAX] = {0}, row[ROWS];
    for (int p = 0; p < 4; p++) {
        double seen[2] = {p & 1 ? 1.0 : -1.0}, z = p & 2 ? 1.0 : -1.0;
        pf_gauss_noised(&a->gauss, 1, seen, &z, seen + 1);
        sum += 0.25 * fill(a, seen, none, 1, row);
    }
    return sum;
}

static PF_MUST_USE pf_status check_isotropic(job *j)
{
    size_t n = (size_t)j->t->T - 1;
    double T = j->t->T, sum = 0.0, ends = pf_sohl_bound(j->t, 0.0, 0.0) / M_LN2;
    double *kl = pf_zalloc(2 * n * sizeof *kl), *objective = kl + n, published = 0.0;
    PF_REQUIRE(kl, PF_EMEM, "no memory for %zu terms", n);
    for (size_t i = 0; i < n; i++) {
        kl[i] = expected_kl(&j->t->at[i + 1]) / M_LN2;
        objective[i] = pf_sohl_bound(j->t, T, kl[i] * M_LN2) / M_LN2;
        sum += kl[i];
        published += objective[i] / (double)n;
    }
    double exact = sum + ends, excess = published - exact;
    vectors_hold(j->v, tolerance, kl, n, "isotropic/expected_kl_bits");
    vectors_hold(j->v, tolerance, objective, n, "isotropic/code_objective_at_t");
    vectors_hold(j->v, tolerance, &ends, 1, "isotropic/entropy_terms_bits");
    vectors_hold(j->v, tolerance, &exact, 1, "isotropic/exact_sum");
    vectors_hold(j->v, tolerance, &published, 1, "isotropic/published_estimator");
    vectors_hold(j->v, tolerance, &excess, 1, "isotropic/published_excess");
    pf_free(kl);
    return PF_OK;
}

/* ---- steps ---- */

enum { PLAIN, DENOISE, INPAINT, STEPS };
static const char *const step_names[] = {"plain", "denoise", "inpaint"};

static PF_MUST_USE pf_status check_steps(job *j, const char *group)
{
    vectors *v = j->v;
    const vectors_array *x = vectors_find(v, "%s/x", group),
                        *z = vectors_find(v, "%s/Z", group),
                        *known = vectors_find(v, "%s/x_T", group),
                        *noise = vectors_find(v, "%s/noise", group),
                        *mask = vectors_find(v, "%s/mask", group),
                        *t = vectors_find(v, "%s/t", group);
    if (!suits(j, x, z) || !known || !noise || !t || t->v[0] < 1.0 || t->v[0] >= j->t->T)
        return PF_OK;
    const pf_sohl_at *a = &j->t->at[(int)t->v[0]];
    double std = number(v, group, "denoise_sigma", NAN);
    double *rows = pf_zalloc(STEPS * x->size * sizeof *rows);
    PF_REQUIRE(rows, PF_EMEM, "no memory for %zu entries", x->size);
    for (size_t k = 0; k < x->size; k++) {
        const double *c = coefficients(x, z, k);
        for (size_t s = 0; s < STEPS; s++) {
            double mean, variance;
            pf_sohl_reverse(a, x->v[k], pf_sohl_read(a, c), pf_sohl_read(a, c + a->n), &mean,
                            &variance, NULL);
            variance = exp(variance);
            if (s == DENOISE) pf_sohl_multiply(known->v[k], std, &mean, &variance);
            if (s == INPAINT && mask && mask->v[k] != 0.0)
                pf_sohl_multiply(known->v[k], 0.0, &mean, &variance);
            rows[s * x->size + k] = mean + sqrt(variance) * noise->v[k];
        }
    }
    for (size_t s = 0; s < STEPS; s++)
        vectors_hold(v, tolerance, rows + s * x->size, x->size, "%s/%s", group, step_names[s]);
    pf_free(rows);
    return PF_OK;
}

/* ---- all of it ---- */

/* Of a group, which its attribute t says, or its name. */
static int index_of(const job *j, const char *group)
{
    int i = 0;
    double t = number(j->v, group, "t", NAN);
    if (isnan(t)) sscanf(group, "t%d", &i);
    return isnan(t) ? i : (int)t;
}

static PF_MUST_USE pf_status check_groups(job *j)
{
    PF_TRY(check_isotropic(j));
    for (int k = 0; k < j->v->n; k++) {
        char group[VECTORS_NAME_MAX];
        const char *name = j->v->all[k].name, *slash = strrchr(name, '/');
        if (!slash || strcmp(slash, "/Z")) continue;
        snprintf(group, sizeof group, "%.*s", (int)(slash - name), name);
        if (vectors_find(j->v, "%s/t", group)) PF_TRY(check_steps(j, group));
        else PF_TRY(check_index(j, group, index_of(j, group)));
    }
    return PF_OK;
}

static pf_status check_gaussian(vectors *v)
{
    const vectors_array *beta = vectors_find(v, "beta");
    job j = {.v = v, .n = (int)number(v, NULL, "n_temporal_basis", 10.0)};
    hold_schedules(v);
    if (!beta || beta->size < 2) return PF_OK;
    PF_TRY(pf_sohl_create((int)beta->size, beta->v, j.n, &j.t));
    hold_bumps(&j);
    pf_status st = check_groups(&j);
    pf_sohl_free(j.t);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_sd15_gaussian = {
    .stem = "sd15_gaussian",
    .inputs = (const char *const[]){"*/x", "*/Z", "*/gauss", "*/uniform", "sampler/x_T",
                                    "sampler/noise", "sampler/mask", "sampler/t", NULL},
    .check = check_gaussian};
