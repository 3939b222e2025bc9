/* dequantise: normal noise in a bin, with and without a decoder, and bounds of several draws. */
#include "losses.h"

#include "likelihood/bin_noise.h"

#include <probflow/likelihood.h>

#include <math.h>
#include <string.h>

static const double tolerance = 1e-10;

enum { MOST = 4096 };

typedef struct levels {
    const vectors_array *k;
    int n, L;
    double mean, std;
} levels;

static int levels_of(const vectors *v, const char *group, int L, levels *out)
{
    double of = vectors_number(v, group, "levels");
    out->k = vectors_find(v, "%s/k", group);
    out->L = isnan(of) ? L : (int)of;
    out->mean = vectors_number(v, group, "alpha0");
    out->std = vectors_number(v, group, "sigma0");
    out->n = out->k ? (int)out->k->size : 0;
    return out->k && out->n <= MOST && out->L >= 2;
}

static PF_MUST_USE pf_status check_cut(vectors *v, const char *group)
{
    static double e[MOST], u[MOST], x[MOST], z[MOST];
    const vectors_array *p = vectors_find(v, "%s/p", group);
    levels l;
    if (!levels_of(v, group, 256, &l) || !p || (int)p->size != l.n) return PF_OK;
    pf_bin_noise n = pf_bin_noise_cut(l.L, l.mean, l.std);
    double log_q = 0.0, bin = log(0.5 * l.L / l.mean), entropy = pf_bin_noise_entropy(&n);
    const pf_space space = {.kind = PF_LEVELS, .levels = l.L};
    for (int i = 0; i < l.n; i++) {
        e[i] = pf_bin_noise_quantile(&n, p->v[i]);
        u[i] = 0.5 + n.s * e[i];
        x[i] = l.k->v[i] + u[i];
        log_q += pf_bin_noise_log_q(&n, e[i]);
    }
    pf_bins_to_model(&space, (size_t)l.n, x);
    for (int i = 0; i < l.n; i++) z[i] = l.mean * x[i];
    vectors_hold(v, tolerance, e, (size_t)l.n, "%s/e", group);
    vectors_hold(v, tolerance, u, (size_t)l.n, "%s/u", group);
    vectors_hold(v, tolerance, x, (size_t)l.n, "%s/x", group);
    vectors_hold(v, tolerance, z, (size_t)l.n, "%s/z0", group);
    vectors_hold(v, tolerance, &log_q, 1, "%s/log_q_u", group);
    log_q += l.n * bin; /* z0 = mean (2 (k + u)/L - 1) */
    vectors_hold(v, tolerance, &log_q, 1, "%s/log_q_z0", group);
    PF_TRY(vectors_meet(v, tolerance, group, "tau", n.tau));
    PF_TRY(vectors_meet(v, tolerance, group, "Z", n.mass));
    PF_TRY(vectors_meet(v, tolerance, group, "entropy_u_nats", entropy));
    PF_TRY(vectors_meet(v, tolerance, group, "entropy_u_bits", entropy / M_LN2));
    PF_TRY(vectors_meet(v, tolerance, group, "entropy_z0_nats", entropy - bin));
    PF_TRY(vectors_meet(v, tolerance, group, "entropy_z0_bits", (entropy - bin) / M_LN2));
    return vectors_meet(v, tolerance, group, "offset_bits", pf_space_offset(&space, l.mean));
}

static void check_uniform(vectors *v)
{
    static double x[MOST];
    const vectors_array *u = vectors_find(v, "uniform/u");
    levels l;
    double none = 0.0;
    if (!levels_of(v, "uniform", 256, &l) || !u || (int)u->size != l.n) return;
    const pf_space space = {.kind = PF_LEVELS, .levels = l.L};
    for (int i = 0; i < l.n; i++) x[i] = l.k->v[i] + u->v[i];
    pf_bins_to_model(&space, (size_t)l.n, x);
    vectors_hold(v, tolerance, x, (size_t)l.n, "uniform/x");
    vectors_hold(v, tolerance, x, (size_t)l.n, "uniform/published_x");
    vectors_hold(v, 0.0, &none, 1, "uniform/log_q");
}

static void check_whole(vectors *v)
{
    static double z[MOST];
    const char *group = "gaussian_with_decoder";
    const vectors_array *e = vectors_find(v, "%s/e", group);
    levels l;
    if (!levels_of(v, group, 256, &l) || !e || (int)e->size != l.n) return;
    pf_bin_noise n = pf_bin_noise_whole(l.L, l.mean, l.std);
    double log_q = 0.0, log_p = 0.0, bin = log(0.5 * l.L / l.mean);
    double entropy = l.n * (pf_bin_noise_entropy(&n) - bin);
    for (int i = 0; i < l.n; i++) {
        double x = 2.0 * (l.k->v[i] + 0.5 + n.s * e->v[i]) / l.L - 1.0;
        z[i] = l.mean * x;
        log_q += pf_bin_noise_log_q(&n, e->v[i]) + bin;
        log_p += pf_level_decode(l.L, l.std / l.mean, x, (int)l.k->v[i], NULL);
    }
    vectors_hold(v, tolerance, z, (size_t)l.n, "%s/z0", group);
    vectors_hold(v, tolerance, &log_q, 1, "%s/log_q", group);
    vectors_hold(v, tolerance, &log_p, 1, "%s/log_p_k_given_z0", group);
    vectors_hold(v, tolerance, &entropy, 1, "%s/entropy_z0_nats", group);
}

static void check_stored(vectors *v, const vectors_array *w, const char *group)
{
    static double column[MOST], with[MOST], without[MOST];
    size_t K = (size_t)w->dim[0], B = w->size / (K ? K : 1);
    if (K < 1 || K > MOST || B > MOST) return;
    for (size_t b = 0; b < B; b++) {
        for (size_t k = 0; k < K; k++) column[k] = w->v[k * B + b];
        with[b] = pf_bound_of_draws((int)K, column);
        without[b] = with[b] + log((double)K);
    }
    vectors_hold(v, tolerance, with, B, "%s/log_bound", group);
    vectors_hold(v, tolerance, without, B, "%s/published_without_log_K", group);
}

/* ---- bounds of K draws under a known density of x ---- */

typedef struct density {
    const vectors_array *weight, *mean, *std;
} density;

static double log_density(const density *p, double x)
{
    double sum = 0.0;
    for (size_t c = 0; c < p->weight->size; c++) {
        double d = (x - p->mean->v[c]) / p->std->v[c];
        sum += p->weight->v[c] * exp(-0.5 * d * d) / (p->std->v[c] * sqrt(2.0 * M_PI));
    }
    return log(sum);
}

enum { REPEATS = 4000, DRAWS = 4 };

/* The mean bound of K = 1 .. 4 draws of a level and its standard error. */
static void bounds_of(const density *p, int L, const pf_bin_noise *n, int k, double mean[DRAWS],
                      double error[DRAWS])
{
    double square[DRAWS] = {0};
    memset(mean, 0, DRAWS * sizeof *mean);
    for (int r = 0; r < REPEATS; r++) {
        double w[DRAWS];
        for (int i = 0; i < DRAWS; i++) {
            pf_draw d = {3, PF_STREAM_TEST, (uint64_t)r, (uint32_t)k};
            double share = pf_draw_uniform_f64(&d, (size_t)i) + 0x1p-54;
            double e = n ? pf_bin_noise_quantile(n, share) : 0.0;
            double u = n ? 0.5 + n->s * e : share;
            w[i] = log_density(p, 2.0 * (k + u) / L - 1.0) + log(2.0 / L) -
                   (n ? pf_bin_noise_log_q(n, e) : 0.0);
            double bound = pf_bound_of_draws(i + 1, w);
            mean[i] += bound / REPEATS;
            square[i] += bound * bound / REPEATS;
        }
    }
    for (int i = 0; i < DRAWS; i++)
        error[i] = sqrt(fmax(square[i] - mean[i] * mean[i], 1e-24) / REPEATS);
}

static void check_density(vectors *v, const char *group)
{
    static const char *const law[] = {"uniform", "truncated_normal"};
    density p = {vectors_find(v, "%s/weights", group), vectors_find(v, "%s/means", group),
                 vectors_find(v, "%s/stds", group)};
    int L = (int)vectors_number(v, group, "levels");
    pf_bin_noise n =
        pf_bin_noise_cut(L, 1.0, vectors_number(v, group, "truncated_normal_noise_over_alpha"));
    if (!p.weight || !p.mean || !p.std) return;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < L; k++) {
            double mean[DRAWS], error[DRAWS];
            bounds_of(&p, L, i ? &n : NULL, k, mean, error);
            for (int K = 1; K <= DRAWS; K++) {
                const vectors_array *want =
                    vectors_find(v, "%s/expected_log_bound_%s_K%d", group, law[i], K);
                if (!want || (int)want->size != L) continue;
                /* the worst of all levels, in standard errors: 5 by chance in 1e-4 of files */
                vectors_error(v, fabs(mean[K - 1] - want->v[k]) / error[K - 1], 5.0, "%s",
                              want->name);
            }
        }
    static double mass[MOST];
    for (int k = 0; k < L && L <= MOST; k++) {
        mass[k] = 0.0;
        for (size_t c = 0; c < p.weight->size; c++) {
            double lo = (2.0 * k / L - 1.0 - p.mean->v[c]) / p.std->v[c],
                   hi = lo + 2.0 / L / p.std->v[c];
            mass[k] += 0.5 * p.weight->v[c] * (erf(hi * M_SQRT1_2) - erf(lo * M_SQRT1_2));
        }
    }
    vectors_hold(v, tolerance, mass, (size_t)L, "%s/model_mass", group);
}

static pf_status check_dequantise(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++) {
        const vectors_array *a = &v->all[i];
        if (vectors_under("truncated_normal/*/p", a->name) &&
            vectors_group_of(a, "p", group, sizeof group))
            PF_TRY(check_cut(v, group));
        if (vectors_under("iwbo/stored/*/log_weights", a->name) && a->rank == 2 &&
            vectors_group_of(a, "log_weights", group, sizeof group))
            check_stored(v, a, group);
        if (vectors_under("iwbo/*/stds", a->name) &&
            vectors_group_of(a, "stds", group, sizeof group))
            check_density(v, group);
    }
    check_uniform(v);
    check_whole(v);
    return PF_OK;
}

const vectors_kind vectors_dequantise = {
    .stem = "dequantise",
    .inputs =
        (const char *const[]){"truncated_normal/*/k", "truncated_normal/*/p", "uniform/k",
                              "uniform/u", "gaussian_with_decoder/k", "gaussian_with_decoder/e",
                              "iwbo/stored/*/log_weights", "iwbo/*/weights", "iwbo/*/means",
                              "iwbo/*/stds", "iwbo/*/data", NULL},
    .check = check_dequantise};
