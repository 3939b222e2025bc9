/* ncsn: ladders, losses, the five techniques.  Lengths are published ones, those of data in [0,1].  The walks of
 * Langevin dynamics are in ncsn_walks.c. */
#include "ncsn.h"
#include "ncsn_mixture.h"
#include "ncsn_walks.h"

#include "method/ncsn.h"

#include <probflow/ladder.h>
#include <probflow/memory.h>
#include <probflow/train.h>

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

/* ---- sigmas ---- */

static PF_MUST_USE pf_status check_ladder(vectors *v, const vectors_array *a)
{
    char group[VECTORS_NAME_MAX];
    snprintf(group, sizeof group, "%.*s", (int)(strlen(a->name) - strlen("/sigmas")), a->name);
    char *dist = vectors_attr(v, "%s/dist", group);
    int kind = 0;
    while (dist && pf_ladder_words[kind] && strcmp(pf_ladder_words[kind], dist)) kind++;
    double begin = number(v, group, "sigma_begin"), end = number(v, group, "sigma_end"),
           *sigma = pf_zalloc(a->size * sizeof *sigma);
    /* NCSN has one kind and does not say it */
    int known = pf_ladder_words[kind] && isfinite(begin) && isfinite(end);
    pf_free(dist);
    PF_REQUIRE(sigma, PF_EMEM, "no memory for %zu levels", a->size);
    if (known) {
        pf_ladder_fill((pf_ladder_kind)kind, begin, end, (int)a->size, sigma);
        vectors_hold(v, tolerance, sigma, a->size, "%s", a->name);
    }
    pf_free(sigma);
    return PF_OK;
}

static PF_MUST_USE pf_status check_ladders(vectors *v)
{
    for (int i = 0; i < v->n; i++)
        if (vectors_under("sigmas/*/sigmas", v->all[i].name))
            PF_TRY(check_ladder(v, &v->all[i]));
    return PF_OK;
}

/* ---- loss ---- */

typedef struct losses {
    vectors *v;
    ncsn_mixture m;
    size_t B;
    const double *x, *z, *u, *label, *sigmas;
    size_t levels;
    double *noisy, *s, *jv, *slope; /* [B,D] */
    double *density, *per_sample;   /* [B] */
} losses;

static double sigma_of(const losses *l, size_t b)
{
    return l->sigmas[(size_t)l->label[b]];
}

/* The mean over the batch of the loss of each sample with this power, or with the first level for all and no weight. */
static double denoising(losses *l, double power, int single)
{
    size_t D = l->m.D;
    double sum = 0.0;
    for (size_t b = 0; b < l->B; b++) {
        double sigma = single ? l->sigmas[0] : sigma_of(l, b);
        const double *x = l->x + b * D, *z = l->z + b * D;
        double *y = l->noisy + b * D, *s = l->s + b * D;
        for (size_t i = 0; i < D; i++) y[i] = x[i] + sigma * z[i];
        l->density[b] = ncsn_mixture_at(&l->m, sigma, y, NULL, s, NULL);
        l->per_sample[b] = pf_ncsn_denoising(D, sigma, power, s, z, l->slope + b * D);
        sum += l->per_sample[b] / (double)l->B;
    }
    return sum;
}

static double sliced(losses *l)
{
    size_t D = l->m.D;
    double sum = 0.0;
    for (size_t b = 0; b < l->B; b++) {
        double *s = l->s + b * D, *jv = l->jv + b * D;
        ncsn_mixture_at(&l->m, sigma_of(l, b), l->noisy + b * D, l->u + b * D, s, jv);
        sum += pf_ncsn_sliced(D, sigma_of(l, b), s, l->u + b * D, jv) / (double)l->B;
    }
    return sum;
}

static void hold_losses(losses *l)
{
    vectors *v = l->v;
    size_t n = l->B * l->m.D;
    static const char stem[] = "loss/v1_dsm_power";
    double got = denoising(l, 0.0, 1);
    vectors_hold(v, tolerance, &got, 1, "loss/v1_dsm_single_sigma");
    for (int i = 0; i < v->n; i++) {
        if (strncmp(v->all[i].name, stem, sizeof stem - 1)) continue;
        got = denoising(l, strtod(v->all[i].name + sizeof stem - 1, NULL), 0);
        vectors_hold(v, tolerance, &got, 1, "%s", v->all[i].name);
    }
    got = denoising(l, 2.0, 0);
    vectors_hold(v, tolerance, &got, 1, "loss/v2_dsm_mean");
    vectors_hold(v, tolerance, l->per_sample, l->B, "loss/v2_dsm_per_sample");
    vectors_hold(v, tolerance, l->noisy, n, "loss/perturbed");
    vectors_hold(v, tolerance, l->s, n, "loss/score");
    vectors_hold(v, tolerance, l->density, l->B, "loss/log_density");
    if (!l->u) return;
    got = sliced(l);
    vectors_hold(v, tolerance, &got, 1, "loss/v1_ssm_vr_annealed");
}

static PF_MUST_USE pf_status check_losses(vectors *v)
{
    const vectors_array *x = vectors_find(v, "loss/x"), *z = vectors_find(v, "loss/noise"),
                        *u = vectors_find(v, "loss/projection"),
                        *label = vectors_find(v, "loss/labels"),
                        *sigmas = vectors_find(v, "gmm/sigmas");
    losses l = {.v = v};
    if (!x || !z || !label || !sigmas || !ncsn_mixture_find(v, "gmm/", &l.m)) return PF_OK;
    PF_REQUIRE(x->size == label->size * l.m.D && z->size == x->size, PF_EFORMAT,
               "%s: the rows of loss do not fit the mixture", v->path);
    for (size_t b = 0; b < label->size; b++)
        PF_REQUIRE(label->v[b] >= 0 && label->v[b] < (double)sigmas->size, PF_EFORMAT,
                   "%s: there is no level %g", v->path, label->v[b]);
    l.B = label->size;
    l.x = x->v;
    l.z = z->v;
    l.u = u && u->size == x->size ? u->v : NULL;
    l.label = label->v;
    l.sigmas = sigmas->v;
    l.noisy = pf_zalloc((4 * x->size + 2 * l.B) * sizeof *l.noisy);
    PF_REQUIRE(l.noisy, PF_EMEM, "no memory for %zu samples", l.B);
    l.s = l.noisy + x->size;
    l.jv = l.s + x->size;
    l.slope = l.jv + x->size;
    l.density = l.slope + x->size;
    l.per_sample = l.density + l.B;
    hold_losses(&l);
    pf_free(l.noisy);
    return PF_OK;
}

/* ---- techniques ---- */

static pf_status read_points(void *self, int64_t first, int64_t n, double *x)
{
    const vectors_array *a = self;
    size_t D = a->size / (size_t)a->dim[0];
    memcpy(x, a->v + (size_t)first * D, (size_t)n * D * sizeof *x);
    return PF_OK;
}

/* D, first and last sigma, ratio of technique 2, levels, their ratio, T, eps, variance; the last two rows are the
 * published number of levels, and the last one the published eps. */
enum { DIM, BEGIN, END, RATIO, LEVELS, USED, T, EPS, VARIANCE, COLUMNS };

static void hold_row(vectors *v, const vectors_array *table, size_t row)
{
    const double *r = table->v + row * COLUMNS, *far = r;
    size_t left = table->size / COLUMNS - row;
    double end2 = r[END] * r[END], ratio = pf_ladder_ratio(far[DIM]),
           used = pow(r[BEGIN] / r[END], 1.0 / (r[LEVELS] - 1.0)),
           eps = pf_ladder_share(r[USED], (int)r[T]) * end2,
           variance = pf_ladder_variance(r[USED], r[EPS] / end2, (int)r[T]);
    const char *name = table->name;
    double off = isnan(ratio) && isnan(r[RATIO]) ? 0.0 : fabs(ratio - r[RATIO]) / r[RATIO];
    vectors_error(v, off, 1e-9, "%s", name);
    vectors_error(v, fabs(used - r[USED]), 1e-9, "%s", name);
    vectors_error(v, fabs(variance - r[VARIANCE]), tolerance, "%s", name);
    if (left > 1) vectors_error(v, fabs(eps - r[EPS]) / r[EPS], 1e-5, "%s", name);
    if (left <= 2) return;
    int levels = pf_ladder_levels(r[BEGIN], r[END], ratio);
    vectors_error(v, fabs(levels - r[LEVELS]), 0.0, "%s", name);
}

/* The variance step by step: from that of the level before. */
static double walked(const double *r)
{
    double share = r[EPS] / (r[END] * r[END]), variance = r[USED] * r[USED];
    for (int k = 0; k < (int)r[T]; k++)
        variance = (1.0 - share) * (1.0 - share) * variance + 2.0 * share;
    return variance;
}

static PF_MUST_USE pf_status check_techniques(vectors *v)
{
    const vectors_array *points = vectors_find(v, "techniques/points"),
                        *table = vectors_find(v, "techniques/table");
    double far;
    if (points && points->rank > 1) {
        const pf_sample_source src = {(void *)points, points->dim[0],
                                      (int)(points->size / (size_t)points->dim[0]),
                                      read_points};
        PF_TRY(pf_ladder_largest_distance(&src, &far));
        vectors_hold(v, tolerance, &far, 1, "techniques/max_distance");
    }
    if (!table || table->size % COLUMNS) return PF_OK;
    for (size_t row = 0; row < table->size / COLUMNS; row++) hold_row(v, table, row);
    if (table->size < 2 * COLUMNS) return PF_OK;
    const double *r = table->v + COLUMNS;
    double both[2] = {pf_ladder_variance(r[USED], r[EPS] / (r[END] * r[END]), (int)r[T]),
                      walked(r)};
    vectors_hold(v, tolerance, both, 2, "techniques/recursion_check");
    return PF_OK;
}

/* ---- ema: that of training, in float32 ---- */

static PF_MUST_USE pf_status check_average(vectors *v)
{
    const vectors_array *start = vectors_find(v, "ema/start"),
                        *params = vectors_find(v, "ema/params"),
                        *shadow = vectors_find(v, "ema/shadow");
    double mu = number(v, "ema", "mu");
    if (!start || !params || !shadow || !isfinite(mu) || params->size != shadow->size)
        return PF_OK;
    size_t n = start->size;
    float *all = pf_zalloc(5 * n * sizeof *all), *p = all + 4 * n;
    double *got = pf_zalloc(params->size * sizeof *got);
    pf_status st = all && got ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu", n);
    const pf_adam rest = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .ema = mu, .scale = 1.0, .t = 1};
    for (size_t i = 0; !st && i < n; i++) all[3 * n + i] = (float)start->v[i];
    for (size_t k = 0; !st && k < params->size / n; k++) {
        for (size_t i = 0; i < n; i++) p[i] = (float)params->v[k * n + i];
        /* a rate of 0: the parameters stay */
        pf_adam_update(&rest, n, all, p, all + n, all + 2 * n, all + 3 * n);
        for (size_t i = 0; i < n; i++) got[k * n + i] = (double)all[3 * n + i];
    }
    if (!st) vectors_hold(v, 2e-6, got, params->size, "ema/shadow");
    pf_free(all);
    pf_free(got);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check(vectors *v)
{
    PF_TRY(check_ladders(v));
    PF_TRY(check_losses(v));
    PF_TRY(check_techniques(v));
    PF_TRY(check_average(v));
    PF_TRY(ncsn_check_walks(v));
    return PF_OK;
}

const vectors_kind vectors_ncsn = {.stem = "ncsn",
                                   .inputs = (const char *const[]){"gmm",
                                                                   "*/gmm_*",
                                                                   "*/x_init",
                                                                   "langevin/noise",
                                                                   "langevin/sigmas",
                                                                   "toy/noise",
                                                                   "toy/sigmas",
                                                                   "inpaint/noise_*",
                                                                   "inpaint/reference",
                                                                   "inpaint/sigmas",
                                                                   "interpolate/noise_pairs",
                                                                   "interpolate/sigmas",
                                                                   "loss/x",
                                                                   "loss/noise",
                                                                   "loss/labels",
                                                                   "loss/projection",
                                                                   "techniques/points",
                                                                   "ema/start",
                                                                   "ema/params",
                                                                   NULL},
                                   .check = check};
