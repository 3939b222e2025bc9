/* decoder: what of a level is left by noise, exactly and by a discretised Gaussian, and what a prior costs. */
#include "losses.h"

#include "method/gauss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10;

enum { MOST = 4096 };

static PF_MUST_USE pf_status check_exact(vectors *v, const vectors_array *k, const char *group)
{
    const vectors_array *mean = vectors_find(v, "%s/mean", group),
                        *scale = vectors_find(v, "%s/log_scale", group);
    double levels = vectors_number(v, group, "levels");
    if (!mean || !scale || mean->size != k->size || scale->size != k->size ||
        !(levels >= 2.0 && levels <= 65536.0) || k->size > MOST)
        return PF_OK;
    static double got[MOST];
    pf_decoder exact = {PF_CDF_EXACT, (int)levels};
    for (size_t j = 0; j < k->size; j++)
        got[j] = pf_decode(&exact, 2.0 * k->v[j] / (exact.levels - 1) - 1.0, mean->v[j],
                           scale->v[j], NULL);
    vectors_hold(v, tolerance, got, k->size, "%s/log_prob", group);
    return PF_OK;
}

static PF_MUST_USE pf_status check_categorical(vectors *v, const vectors_array *k,
                                               const char *group)
{
    static double z[MOST], log_p[MOST], all[MOST], bits[MOST];
    const vectors_array *e = vectors_find(v, "%s/eps", group),
                        *every = vectors_find(v, "%s/log_prob_all", group);
    double gamma = vectors_number(v, group, "gamma0"), noise = exp(0.5 * gamma);
    int L = (int)vectors_number(v, group, "levels");
    if (!e || e->size != k->size || L < 2 || k->size > MOST || (every && every->size > MOST))
        return PF_OK;
    for (size_t i = 0; i < k->size; i++) {
        z[i] = 2.0 * (k->v[i] + 0.5) / L - 1.0 + noise * e->v[i];
        log_p[i] = pf_level_decode(L, noise, z[i], (int)k->v[i], NULL);
        for (int j = 0; every && j < L; j++)
            all[i * (size_t)L + (size_t)j] = pf_level_decode(L, noise, z[i], j, NULL);
    }
    const int some[] = {0, 1, L / 2};
    for (int i = 0; i < 3; i++) bits[i] = pf_level_cost(L, noise, some[i]) / M_LN2;
    vectors_hold(v, tolerance, z, k->size, "%s/z_rescaled", group);
    vectors_hold(v, tolerance, log_p, k->size, "%s/log_prob_k", group);
    vectors_hold(v, tolerance, bits, 3, "%s/expected_bits", group);
    if (every) vectors_hold(v, tolerance, all, every->size, "%s/log_prob_all", group);
    if (L <= MOST && every) {
        for (int j = 0; j < L; j++) bits[j] = pf_level_cost(L, noise, j) / M_LN2;
        vectors_hold(v, tolerance, bits, (size_t)L, "%s/expected_bits_all", group);
    }
    return vectors_meet(v, tolerance, group, "noise", noise);
}

/* What a level costs where its noisy centre is divided by alpha once too often, and the decoder knows nothing of it. */
static double cost_divided(int L, double noise, double alpha, int k)
{
    const double h = 1.0 / 64.0;
    double sum = 0.0;
    for (double e = -9.0; e <= 9.0; e += h) {
        double x = (2.0 * (k + 0.5) / L - 1.0 + noise * e) / alpha;
        sum -= h * exp(-0.5 * e * e) / sqrt(2.0 * M_PI) * pf_level_decode(L, noise, x, k, NULL);
    }
    return sum;
}

static PF_MUST_USE pf_status check_constants(vectors *v, const vectors_array *k,
                                             const char *group)
{
    enum { L = 256 };
    static const char *const kind[] = {"vp", "sp"};
    static double bits[MOST];
    double gamma = -strtod(strrchr(group, 'm') + 1, NULL), noise = exp(0.5 * gamma);
    if (k->size > MOST) return PF_OK;
    for (size_t i = 0; i < k->size; i++)
        bits[i] = pf_level_cost(L, noise, (int)k->v[i]) / M_LN2;
    vectors_hold(v, tolerance, bits, k->size, "%s/correct_bits", group);
    for (int j = 0; j < 2; j++) {
        char name[32];
        snprintf(name, sizeof name, "alpha0_%s", kind[j]);
        /* of VP and of the straight path */
        double alpha = j ? 1.0 / (1.0 + noise) : 1.0 / sqrt(1.0 + noise * noise);
        PF_TRY(vectors_meet(v, tolerance, group, name, alpha));
        for (size_t i = 0; i < k->size; i++)
            bits[i] = cost_divided(L, noise, alpha, (int)k->v[i]) / M_LN2;
        vectors_hold(v, tolerance, bits, k->size, "%s/divided_twice_%s_bits", group, kind[j]);
    }
    /* the two ends, and all between them alike: second neighbours are not told apart */
    double inside = pf_level_cost(L, noise, L / 2) / M_LN2;
    PF_TRY(vectors_meet(v, tolerance, group, "uniform_k_mean_bits",
                        (2.0 * pf_level_cost(L, noise, 0) / M_LN2 + (L - 2) * inside) / L));
    return vectors_meet(v, tolerance, group, "interior_bits", inside);
}

/* KL of a level's centre at gamma_1 and a standard normal. */
static PF_MUST_USE pf_status check_prior(vectors *v)
{
    static double kl[2][MOST];
    const vectors_array *vp = vectors_find(v, "prior/kl_nats_vp");
    double gamma = vectors_number(v, "prior", "gamma1"), ratio = exp(0.5 * gamma),
           mean[2] = {0};
    if (!vp || vp->size > MOST) return PF_OK;
    int L = (int)vp->size;
    for (int j = 0; j < 2; j++) {
        double m = j ? 1.0 / (1.0 + ratio) : 1.0 / sqrt(1.0 + ratio * ratio), std = m * ratio;
        for (int k = 0; k < L; k++) {
            kl[j][k] = pf_normal_kl(m * (2.0 * (k + 0.5) / L - 1.0), 2.0 * log(std), 0.0, 0.0);
            mean[j] += kl[j][k] / M_LN2 / L;
        }
        vectors_hold(v, tolerance, kl[j], (size_t)L, "prior/kl_nats_%s", j ? "sp" : "vp");
    }
    PF_TRY(vectors_meet(v, tolerance, "prior", "uniform_mean_bits_vp", mean[0]));
    return vectors_meet(v, tolerance, "prior", "uniform_mean_bits_sp", mean[1]);
}

static pf_status check_decoder(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++) {
        const vectors_array *k = &v->all[i];
        if (!k->v || !vectors_group_of(k, "k", group, sizeof group)) continue;
        if (vectors_under("discretised_gaussian", group)) PF_TRY(check_exact(v, k, group));
        if (vectors_under("categorical", group)) PF_TRY(check_categorical(v, k, group));
        if (vectors_under("constants", group)) PF_TRY(check_constants(v, k, group));
    }
    return check_prior(v);
}

const vectors_kind vectors_decoder = {
    .stem = "decoder",
    .inputs = (const char *const[]){"categorical/*/eps", "categorical/*/k", "constants/*/k",
                                    "discretised_gaussian/*/k", "discretised_gaussian/*/mean",
                                    "discretised_gaussian/*/log_scale", NULL},
    .check = check_decoder};
