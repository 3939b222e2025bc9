/* gauss_resampler: the losses that a law of indices remembers, and what follows from them. */
#include "times.h"

#include <probflow/memory.h>
#include <probflow/times.h>

#include <stdlib.h>

static const double tolerance = 1e-10;

/* Adds a group's stream of indices and losses. */
static PF_MUST_USE pf_status add(const vectors *v, const char *group, int T, pf_times *t)
{
    const vectors_array *at = vectors_find(v, "%s/t", group),
                        *loss = vectors_find(v, "%s/loss", group);
    PF_REQUIRE(at && loss && at->size == loss->size, PF_EFORMAT,
               "%s: the group %s lacks its losses", v->path, group);
    for (size_t k = 0; k < at->size; k++) {
        int32_t i = (int32_t)at->v[k];
        PF_REQUIRE(i >= 0 && i < T, PF_EFORMAT, "%s: there is no index %g", v->path, at->v[k]);
        pf_times_add(t, 1, &i, &loss->v[k]);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status hold(vectors *v, const char *group, int T, const pf_times *t)
{
    const vectors_array *index = vectors_find(v, "%s/index", group);
    size_t n = (size_t)T, asked = index ? index->size : 0;
    double *p = pf_zalloc((2 * n + asked) * sizeof *p), *count = p + n, *weight = count + n;
    PF_REQUIRE(p, PF_EMEM, "no memory for %d indices", T);
    for (int i = 0; i < T; i++) {
        p[i] = pf_times_probability(t, i);
        count[i] = pf_times_counts(t)[i];
    }
    for (size_t k = 0; k < asked; k++) weight[k] = pf_times_weight(t, (int)index->v[k]);
    vectors_hold(v, 0.0, pf_times_losses(t), n * PF_TIMES_KEPT, "%s/history", group);
    vectors_hold(v, 0.0, count, n, "%s/count", group);
    /* The published weights sum to 1 when every index has its losses, as in both groups. */
    vectors_hold(v, tolerance, p, n, "%s/weights", group);
    vectors_hold(v, tolerance, p, n, "%s/probability", group);
    if (asked) vectors_hold(v, tolerance, weight, asked, "%s/loss_weight", group);
    pf_free(p);
    return PF_OK;
}

static pf_status check(vectors *v)
{
    char *text = vectors_attr(v, "T");
    int T = text ? (int)strtol(text, NULL, 10) : 0;
    pf_times *t = NULL;
    pf_free(text);
    PF_REQUIRE(T > 0, PF_EFORMAT, "%s does not say how many indices it has", v->path);
    PF_TRY(pf_times_create(T, PF_TIMES_LAST_TEN, &t));
    pf_status st = add(v, "before", T, t);
    if (!st) st = hold(v, "before", T, t);
    if (!st) st = add(v, "after", T, t);
    if (!st) st = hold(v, "after", T, t);
    pf_times_free(t);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_resampler = {
    .stem = "gauss_resampler",
    .inputs = (const char *const[]){"*/t", "*/loss", "*/index", NULL},
    .check = check};
