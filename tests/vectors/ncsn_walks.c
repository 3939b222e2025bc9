/* Langevin dynamics with the files' noise in place of draws.  Stored states that the published code keeps before a
 * step are what the score is asked at. */
#include "ncsn_walks.h"
#include "ncsn_mixture.h"

#include "sample/langevin.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10;

static double number(const vectors *v, const char *group, const char *name)
{
    char *text = vectors_attr(v, "%s/%s", group, name);
    double x = text ? strtod(text, NULL) : NAN;
    pf_free(text);
    return x;
}

typedef struct walk {
    ncsn_mixture m;
    pf_ladder ladder;
    pf_langevin l;
    const double *noise;       /* [steps,B,D]; of interpolation [steps,2,rows,D] */
    const double *noise_known; /* [steps,B,known] */
    int between;               /* samples of a row; 0: no rows */
    int clamp;                 /* states before a step are kept cut to [0,1] */
    int asked;                 /* scores so far */
    double *before, *after;    /* [steps,B,D] */
} walk;

static pf_status score(void *self, int level, const double *x, double *s)
{
    walk *w = self;
    size_t n = w->l.B * w->l.D;
    if (w->asked < w->l.T * w->ladder.levels)
        for (size_t i = 0; i < n; i++)
            w->before[(size_t)w->asked * n + i] = w->clamp ? fmin(fmax(x[i], 0.0), 1.0) : x[i];
    w->asked++;
    for (size_t b = 0; b < w->l.B; b++)
        ncsn_mixture_at(&w->m, w->ladder.sigma[level], x + b * w->l.D, NULL, s + b * w->l.D,
                        NULL);
    return PF_OK;
}

static void noise(void *self, int n, double *z)
{
    const walk *w = self;
    size_t D = w->l.D, M = (size_t)w->between, rows = M ? w->l.B / M : 0;
    if (!M) memcpy(z, w->noise + (size_t)n * w->l.B * D, w->l.B * D * sizeof *z);
    for (size_t r = 0; r < rows; r++) {
        const double *p = w->noise + (2 * (size_t)n * rows + r) * D;
        pf_langevin_between(M, D, p, p + rows * D, z + r * M * D);
    }
}

static void noise_known(void *self, int n, double *z)
{
    const walk *w = self;
    size_t known = 0;
    for (size_t i = 0; i < w->l.D; i++) known += w->l.mask[i];
    const double *from = w->noise_known + (size_t)n * w->l.B * known;
    for (size_t i = 0; i < w->l.B * w->l.D; i++)
        if (w->l.mask[i % w->l.D]) z[i] = *from++;
}

static void after(void *self, int n, const double *x)
{
    walk *w = self;
    memcpy(w->after + (size_t)n * w->l.B * w->l.D, x, w->l.B * w->l.D * sizeof *x);
}

/* Of a group: its mixture, levels, steps and step size; 1: the file has them.  B samples. */
static int find(const vectors *v, const char *group, size_t B, walk *w)
{
    char prefix[64];
    const vectors_array *sigmas = vectors_find(v, "%s/sigmas", group);
    double T = number(v, group, "n_steps_each"), eps = number(v, group, "step_lr");
    snprintf(prefix, sizeof prefix, "%s/gmm_", group);
    if (!sigmas || !(T >= 1.0) || !isfinite(eps) || !ncsn_mixture_find(v, prefix, &w->m))
        return 0;
    w->ladder = (pf_ladder){(int)sigmas->size, sigmas->v, NULL};
    w->l = (pf_langevin){.T = (int)T, .eps = eps, .B = B, .D = w->m.D};
    return 1;
}

/* From x [B,D] on, with the callbacks above. */
static PF_MUST_USE pf_status go(walk *w, double *x)
{
    size_t all = (size_t)w->l.T * (size_t)w->ladder.levels * w->l.B * w->l.D;
    w->l.ladder = &w->ladder;
    w->l.self = w;
    w->l.score = score;
    w->l.noise = noise;
    w->l.noise_known = noise_known;
    w->l.after = after;
    w->before = pf_zalloc(2 * all * sizeof *w->before);
    PF_REQUIRE(w->before, PF_EMEM, "no memory for %zu states", all);
    w->after = w->before + all;
    PF_TRY(pf_langevin_run(&w->l, x));
    return PF_OK;
}

static size_t steps(const walk *w)
{
    return (size_t)w->l.T * (size_t)w->ladder.levels;
}

static double *copy_of(const vectors_array *a)
{
    double *x = pf_zalloc(a->size * sizeof *x);
    if (x) memcpy(x, a->v, a->size * sizeof *x);
    return x;
}

static PF_MUST_USE pf_status check_langevin(vectors *v)
{
    const vectors_array *start = vectors_find(v, "langevin/x_init"),
                        *z = vectors_find(v, "langevin/noise");
    walk w = {.clamp = 1};
    if (!start || !z || !find(v, "langevin", (size_t)start->dim[0], &w) ||
        z->size != steps(&w) * start->size || start->size != w.l.B * w.l.D)
        return PF_OK;
    double *x = copy_of(start);
    w.noise = z->v;
    w.l.denoise = 1;
    pf_status st = x ? go(&w, x) : pf_raise(PF_EMEM, PF_WHERE, "no memory for samples");
    if (!st) {
        vectors_hold(v, tolerance, w.after, z->size, "langevin/v2_trajectory");
        vectors_hold(v, tolerance, x, start->size, "langevin/v2_denoised");
        vectors_hold(v, tolerance, w.before, z->size,
                     "langevin/v1_images_before_each_step_clamped");
    }
    pf_free(w.before);
    pf_free(x);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static const double toy_weight[] = {0.8, 0.2}, toy_mean[] = {5.0, 5.0, -5.0, -5.0},
                    toy_std[] = {0.0, 0.0};

/* Density and score at the beginning, with noise 1. */
static PF_MUST_USE pf_status check_toy_density(vectors *v, const ncsn_mixture *m,
                                               const vectors_array *start)
{
    size_t B = start->size / m->D;
    double *s = pf_zalloc((start->size + B) * sizeof *s), *lp = s + start->size;
    PF_REQUIRE(s, PF_EMEM, "no memory for %zu scores", B);
    for (size_t b = 0; b < B; b++) {
        lp[b] = ncsn_mixture_at(m, 1.0, start->v + b * m->D, NULL, s + b * m->D, NULL);
        /* the published normaliser lacks the factor D */
        lp[b] += 0.5 * (double)(m->D - 1) * log(2.0 * M_PI);
    }
    vectors_hold(v, tolerance, s, start->size, "toy/score_sigma1");
    vectors_hold(v, tolerance, lp, B, "toy/log_prob_sigma1");
    pf_free(s);
    return PF_OK;
}

static PF_MUST_USE pf_status check_toy(vectors *v)
{
    const vectors_array *start = vectors_find(v, "toy/x_init"),
                        *z = vectors_find(v, "toy/noise"),
                        *sigmas = vectors_find(v, "toy/sigmas");
    double T = number(v, "toy", "n_steps_each"), lr = number(v, "toy", "lr");
    walk w = {.m = {2, 2, toy_weight, toy_mean, toy_std}};
    if (!start || !z || !sigmas || !(T >= 1.0) || !isfinite(lr) || start->size % 2)
        return PF_OK;
    PF_TRY(check_toy_density(v, &w.m, start));
    w.ladder = (pf_ladder){(int)sigmas->size, sigmas->v, NULL};
    /* half steps: lr/2 along the score, noise sqrt(lr) */
    w.l = (pf_langevin){.T = (int)T, .eps = 0.5 * lr, .B = start->size / 2, .D = 2};
    w.noise = z->v;
    if (z->size != steps(&w) * start->size) return PF_OK;
    double *x = copy_of(start);
    pf_status st = x ? go(&w, x) : pf_raise(PF_EMEM, PF_WHERE, "no memory for samples");
    if (!st) vectors_hold(v, tolerance, x, start->size, "toy/final");
    pf_free(w.before);
    pf_free(x);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* The reference of each sample, and the columns below half of the width. */
static void cover(const vectors_array *reference, const walk *w, double *known,
                  unsigned char *mask)
{
    size_t W = (size_t)reference->dim[reference->rank - 1],
           each = w->l.B * w->l.D / reference->size;
    for (size_t b = 0; b < w->l.B; b++)
        memcpy(known + b * w->l.D, reference->v + b / each * w->l.D, w->l.D * sizeof *known);
    for (size_t i = 0; i < w->l.D; i++) mask[i] = i % W < W / 2;
}

static PF_MUST_USE pf_status check_inpainting(vectors *v)
{
    const vectors_array *start = vectors_find(v, "inpaint/x_init"),
                        *reference = vectors_find(v, "inpaint/reference"),
                        *z = vectors_find(v, "inpaint/noise_langevin"),
                        *of_known = vectors_find(v, "inpaint/noise_known");
    walk w = {0};
    if (!start || !reference || !z || !of_known || !find(v, "inpaint", 0, &w)) return PF_OK;
    w.l.B = start->size / w.l.D;
    if (z->size != steps(&w) * start->size || reference->rank < 2) return PF_OK;
    double *x = copy_of(start), *known = pf_zalloc(start->size * sizeof *known);
    unsigned char *mask = pf_zalloc(w.l.D);
    pf_status st =
        x && known && mask ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for samples");
    if (!st) cover(reference, &w, known, mask);
    w.l.known = known;
    w.l.mask = mask;
    w.noise = z->v;
    w.noise_known = of_known->v;
    if (!st) st = go(&w, x);
    if (!st) vectors_hold(v, tolerance, w.before, z->size, "inpaint/before_each_step");
    pf_free(w.before);
    pf_free(mask);
    pf_free(known);
    pf_free(x);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_interpolation(vectors *v)
{
    const vectors_array *start = vectors_find(v, "interpolate/x_init"),
                        *z = vectors_find(v, "interpolate/noise_pairs"),
                        *want = vectors_find(v, "interpolate/trajectory");
    double M = number(v, "interpolate", "n_interpolations");
    walk w = {.between = M >= 1.0 ? (int)M : 0};
    if (!start || !z || !want || !w.between ||
        !find(v, "interpolate", (size_t)start->dim[0] * (size_t)M, &w) ||
        want->size != steps(&w) * start->size * (size_t)M ||
        z->size != 2 * steps(&w) * start->size)
        return PF_OK;
    double *x = pf_zalloc(start->size * (size_t)M * sizeof *x);
    for (size_t b = 0; x && b < w.l.B; b++)
        memcpy(x + b * w.l.D, start->v + b / (size_t)M * w.l.D, w.l.D * sizeof *x);
    w.noise = z->v;
    pf_status st = x ? go(&w, x) : pf_raise(PF_EMEM, PF_WHERE, "no memory for samples");
    if (!st) vectors_hold(v, tolerance, w.after, want->size, "interpolate/trajectory");
    pf_free(w.before);
    pf_free(x);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status ncsn_check_walks(vectors *v)
{
    PF_TRY(check_langevin(v));
    PF_TRY(check_toy(v));
    PF_TRY(check_inpainting(v));
    PF_TRY(check_interpolation(v));
    return PF_OK;
}
