/* entropy: distributions that are known in full, their entropy, and what their draws cost. */
#include "losses.h"

#include "data/known.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

/* Sums of up to 1e5 terms in another order. */
static const double tolerance = 1e-12;

/* The mean of -log2 p over n rows and, bits [n], the log2 p of each. */
static double costs(const pf_known *k, const vectors_array *rows, size_t n, double *bits)
{
    uint8_t x[4096];
    double mean = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (int j = 0; j < k->dim; j++)
            x[j] = (uint8_t)rows->v[i * (size_t)k->dim + (size_t)j];
        bits[i] = pf_known_logp(k, x) / M_LN2;
        mean -= bits[i] / (double)n;
    }
    return mean;
}

/* Draws of ours follow the chances: the mean cost is the entropy, within 4 standard errors. */
static double drawn(const pf_known *k)
{
    enum { DRAWS = 20000 };
    uint8_t x[4096];
    double mean = 0.0, square = 0.0;
    for (int i = 0; i < DRAWS; i++) {
        pf_draw d = {5, PF_STREAM_TEST, (uint64_t)i, 0};
        pf_known_point(k, &d, x);
        double cost = -pf_known_logp(k, x);
        mean += cost / DRAWS;
        square += cost * cost / DRAWS;
    }
    double error = sqrt(fmax(square - mean * mean, 1e-20) / DRAWS);
    return fabs(mean - pf_known_entropy(k)) / error;
}

static PF_MUST_USE pf_status hold(vectors *v, const char *group, const pf_known *k)
{
    const vectors_array *rows = vectors_find(v, "%s/samples", group);
    double bits = pf_known_entropy(k) / M_LN2;
    PF_TRY(vectors_meet(v, tolerance, group, "entropy_bits", bits));
    PF_TRY(vectors_meet(v, tolerance, group, "bits_per_dim", bits / k->dim));
    double far = drawn(k);
    PF_REQUIRE(far < 4.0, PF_ENUMERIC, "%s: draws of %s cost %.1f standard errors off", v->path,
               group, far);
    if (!rows || k->dim > 4096 || rows->size % (size_t)k->dim) return PF_OK;
    size_t n = rows->size / (size_t)k->dim;
    double *of = pf_zalloc(n * sizeof *of), mean;
    PF_REQUIRE(of, PF_EMEM, "no memory for %zu rows", n);
    mean = costs(k, rows, n, of);
    vectors_hold(v, 1e-10, of, n, "%s/log2_p", group);
    vectors_hold(v, 1e-10, &mean, 1, "%s/sample_mean_nll_bits", group);
    pf_free(of);
    return PF_OK;
}

static pf_status check(vectors *v)
{
    char group[VECTORS_NAME_MAX];
    for (int i = 0; i < v->n; i++) {
        if (!vectors_group_of(&v->all[i], "p", group, sizeof group) &&
            !vectors_group_of(&v->all[i], "start", group, sizeof group))
            continue;
        pf_known k;
        PF_TRY(pf_known_open(v->path, group, &k));
        pf_status st = hold(v, group, &k);
        pf_known_free(&k);
        PF_TRY(st);
    }
    return PF_OK;
}

const vectors_kind vectors_entropy = {
    .stem = "entropy",
    .inputs = (const char *const[]){"*/p", "*/start", "*/transition", "*/samples", NULL},
    .check = check};
