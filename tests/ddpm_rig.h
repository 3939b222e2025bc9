/* A short chain of ddpm, a batch, and room for all that it fills. */
#ifndef PROBFLOW_TESTS_DDPM_RIG_H
#define PROBFLOW_TESTS_DDPM_RIG_H

#include "method/ddpm.h"

#include <probflow/memory.h>
#include "checks.h"

enum { B = 6, H = 5, W = 7, C = 8, D = H * W * C }; /* more than one piece of a row */
static const pf_space images = {.kind = PF_LEVELS, .shape = {H, W, C}, .levels = 256};

static const char *const few[] = {"steps", "40", "beta_start", "0.0025", "beta_end", "0.4"};

/* A short chain with n more options (name, value, ..). */
static inline pf_ddpm_opt options(const char *const *more, int n)
{
    pf_ddpm_opt opt;
    assert_int_equal(pf_method_ddpm.size, sizeof opt);
    pf_opt_defaults(pf_method_ddpm.opts, &opt);
    for (int i = 0; i < 6; i += 2)
        must(pf_opt_set(pf_method_ddpm.opts, "ddpm", few[i], few[i + 1], &opt));
    for (int i = 0; i < n; i += 2)
        must(pf_opt_set(pf_method_ddpm.opts, "ddpm", more[i], more[i + 1], &opt));
    return opt;
}

static inline void *open_with(const char *const *more, int n)
{
    const pf_ddpm_opt opt = options(more, n);
    void *self = NULL;
    must(pf_method_ddpm.open(&opt, &images, &self));
    return self;
}

/* seen has room for a prediction an entry, net and gout for a variance. */
typedef struct rig {
    float x[B * D], seen[2 * B * D], cond[B], sigma[B], mean[B], net[2 * B * D],
        gout[2 * B * D];
    double xi[B * D], term[B];
    uint64_t sample[B];
    char scratch[B * (D + 2) * sizeof(float)];
    void *in[4];
    pf_batch batch;
} rig;

static inline rig *new_rig(void)
{
    rig *r = pf_zalloc(sizeof *r);
    for (int i = 0; i < B * D; i++) r->x[i] = (float)(2.0 * (i * 37 % 256) / 255.0 - 1.0);
    for (int b = 0; b < B; b++) r->sample[b] = 100 + (uint64_t)b;
    r->in[0] = r->seen;
    r->in[1] = r->cond;
    r->in[2] = r->sigma;
    r->in[3] = r->mean;
    r->batch = (pf_batch){.space = &images,
                          .B = B,
                          .total = B,
                          .x = r->x,
                          .sample = r->sample,
                          .seed = 5,
                          .step = 9};
    return r;
}

static inline const float *noise(const rig *r, int b) /* behind the index of a sample */
{
    return (const float *)(r->scratch + b * (sizeof(int64_t) + D * sizeof(float)) +
                           sizeof(int64_t));
}

/* Entry j of sample b in what a network with self_condition sees: x, and before it what it is told. */
static inline float told(const rig *r, int b, int j, int x)
{
    return r->seen[(b * D + j) / C * 2 * C + x * C + j % C];
}

/* The same index for all samples of a batch. */
static inline const int *alike(int i)
{
    static int all[B];
    for (int b = 0; b < B; b++) all[b] = i;
    return all;
}

#endif
