/* Sampler `langevin`: annealed Langevin dynamics on the levels that a score was trained for, or on geometric levels of
 * an SDE that adds noise alone.
 *
 * It begins with uniform values in model scale for data of levels and with the noise of the first level for real data,
 * both as published.  Sample i has the noise f(seed, SAMPLE, i, step), a row r of interpolated samples the two noises
 * 2r and 2r + 1; known entries have f(seed, EVAL_NOISE, i, step).  The step size is in published units: of images in
 * [0,1].
 *
 * Source: Song and Ermon 2019, 2020. */
#include "sample/langevin.h"
#include "sample/sampler.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

typedef struct run {
    const pf_drawing *d;
    pf_score *score;
    pf_ladder ladder;
    double *made;  /* [2,levels] of a ladder that no method offered; NULL: one did */
    double *t;     /* [B] */
    double *p, *q; /* [D] noises of a row */
    double *z;     /* [B,D] a whole row's */
    float *draw;   /* [D] */
    int steps;     /* of all levels */
    int level;     /* of the last step */
    size_t D;
} run;

static double scale_of(const pf_space *s)
{
    return s->kind == PF_LEVELS ? 2.0 : 1.0;
}

/* Levels at even times of an SDE whose mean is 1 throughout. */
static PF_MUST_USE pf_status make_ladder(run *r)
{
    const pf_drawing *d = r->d;
    int L = d->opt->levels;
    r->made = pf_zalloc(2 * (size_t)L * sizeof *r->made);
    PF_REQUIRE(r->made, PF_EMEM, "no memory for %d levels", L);
    for (int i = 0; i < L; i++) {
        double t = L > 1 ? 1.0 - (1.0 - d->opt->t_min) * i / (L - 1) : 1.0, mean;
        r->made[L + i] = t;
        pf_sde_marginal(d->view->sde, t, &mean, &r->made[i]);
        PF_REQUIRE(
            mean == 1.0, PF_EARG,
            "sampler langevin walks down noise levels of one mean, and sde %s shrinks the "
            "data; use method ncsn or sde ve, or another sampler",
            d->view->sde->ops->name);
    }
    r->ladder = (pf_ladder){L, r->made, r->made + L};
    return PF_OK;
}

/* ---- draws ---- */

/* n values of one draw, in double. */
static void normals(run *r, pf_stream stream, uint64_t sample, uint32_t step, double *z)
{
    pf_draw d = {(uint64_t)r->d->opt->seed, stream, sample, step};
    pf_draw_normal(&d, 0, r->D, r->draw);
    for (size_t i = 0; i < r->D; i++) z[i] = (double)r->draw[i];
}

static void noise(void *self, int n, double *z)
{
    run *r = self;
    const pf_drawing *d = r->d;
    int64_t M = d->interpolate, row = -1;
    for (int64_t b = 0; b < d->B; b++, z += r->D) {
        int64_t i = d->first + b;
        if (!M) {
            normals(r, PF_STREAM_SAMPLE, (uint64_t)i, (uint32_t)n, z);
            continue;
        }
        if (row != i / M) {
            row = i / M;
            normals(r, PF_STREAM_SAMPLE, 2 * (uint64_t)row, (uint32_t)n, r->p);
            normals(r, PF_STREAM_SAMPLE, 2 * (uint64_t)row + 1, (uint32_t)n, r->q);
            pf_langevin_between((size_t)M, r->D, r->p, r->q, r->z);
        }
        memcpy(z, r->z + (size_t)(i % M) * r->D, r->D * sizeof *z);
    }
}

static void noise_known(void *self, int n, double *z)
{
    run *r = self;
    for (int b = 0; b < r->d->B; b++)
        normals(r, PF_STREAM_EVAL_NOISE, (uint64_t)(r->d->first + b), (uint32_t)n,
                z + (size_t)b * r->D);
}

/* The first state; samples of a row share theirs. */
static void begin(run *r)
{
    const pf_drawing *d = r->d;
    for (int b = 0; b < d->B; b++) {
        int64_t i = d->interpolate ? (d->first + b) / d->interpolate : d->first + b;
        double *x = d->x + (size_t)b * r->D;
        pf_draw from = {(uint64_t)d->opt->seed, PF_STREAM_PRIOR, (uint64_t)i, 0};
        int levels = d->space->kind == PF_LEVELS;
        if (levels) pf_draw_uniform(&from, 0, r->D, r->draw);
        else pf_draw_normal(&from, 0, r->D, r->draw);
        for (size_t k = 0; k < r->D; k++)
            x[k] = levels ? 2.0 * (double)r->draw[k] - 1.0
                          : r->ladder.sigma[0] * (double)r->draw[k];
    }
}

/* ---- the walk ---- */

/* Steps that are too large end in infinities soon, and the levels below then need not be walked. */
static PF_MUST_USE pf_status check(const run *r, const double *x)
{
    for (size_t i = 0; i < (size_t)r->d->B * r->D; i++)
        PF_REQUIRE(isfinite(x[i]), PF_ENUMERIC,
                   "sample %lld is not finite after level %d of %d; a smaller "
                   "sample.step_size may help",
                   (long long)(r->d->first + (int64_t)(i / r->D)), r->level + 1,
                   r->ladder.levels);
    return PF_OK;
}

static pf_status score(void *self, int level, const double *x, double *s)
{
    run *r = self;
    if (level != r->level) PF_TRY(check(r, x));
    r->level = level;
    for (int b = 0; b < r->d->B; b++) r->t[b] = r->ladder.t[level];
    ++*r->d->evaluations;
    PF_TRY(r->score->eval(r->score->self, r->d->B, r->t, x, s));
    return PF_OK;
}

/* The states on the way are the previews; the last one is the sample. */
static void after(void *self, int n, const double *x)
{
    run *r = self;
    int64_t P = r->d->previews, N = r->steps, at = (n + 1) * P / N;
    size_t values = (size_t)r->d->B * r->D;
    if (at > n * P / N)
        memcpy(r->d->preview + (size_t)(at - 1) * values, x, values * sizeof *x);
}

static PF_MUST_USE pf_status take(run *r)
{
    const pf_drawing *d = r->d;
    const pf_sample_opt *o = d->opt;
    size_t rows = d->interpolate ? (size_t)d->interpolate : 0, n = (size_t)d->B * r->D;
    double scale = scale_of(d->space);
    r->t = pf_zalloc(((size_t)d->B + (2 + rows) * r->D) * sizeof *r->t);
    r->draw = pf_zalloc(r->D * sizeof *r->draw);
    PF_REQUIRE(r->t && r->draw, PF_EMEM, "no memory for %d samples", d->B);
    r->p = r->t + d->B;
    r->q = r->p + r->D;
    r->z = r->q + r->D;
    if (d->view->ladder) r->ladder = *d->view->ladder;
    else PF_TRY(make_ladder(r));
    r->steps = r->ladder.levels * o->langevin_steps;
    const pf_langevin l = {.ladder = &r->ladder,
                           .T = o->langevin_steps,
                           .eps = scale * scale * o->step_size,
                           .denoise = o->denoise,
                           .B = (size_t)d->B,
                           .D = r->D,
                           .known = d->known,
                           .mask = d->mask,
                           .known_std = d->known_std,
                           .noise_by_level = o->known_noise,
                           .self = r,
                           .score = score,
                           .noise = noise,
                           .noise_known = noise_known,
                           .after = d->previews ? after : NULL};
    begin(r);
    PF_TRY(pf_langevin_run(&l, d->x));
    PF_TRY(check(r, d->x));
    if (d->previews) memcpy(d->preview + (size_t)(d->previews - 1) * n, d->x, n * sizeof *d->x);
    return PF_OK;
}

static pf_status draw(const pf_drawing *d)
{
    run r = {.d = d, .score = d->view->score, .D = (size_t)d->view->score->dim};
    pf_status st = take(&r);
    pf_free(r.made);
    pf_free(r.t);
    pf_free(r.draw);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_sampler_ops pf_sampler_langevin = {
    .name = "langevin",
    .help = "annealed Langevin dynamics down the noise levels (Song and Ermon 2019, 2020)",
    .needs = PF_NEEDS_SCORE,
    .previews = 1,
    .inpaints = 1,
    .denoises = 1,
    .interpolates = 1,
    .draw = draw,
};
