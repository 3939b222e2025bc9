/* Schedules of the noise and the tables made of them.
 *
 *     log abar_i = sum_(j<=i) log1p(-b_j),   1 - abar_i = -expm1(log abar_i)
 *     btilde_i = b_i (1 - abar_(i-1)) / (1 - abar_i)
 *     c1_i = b_i sqrt(abar_(i-1)) / (1 - abar_i),   c2_i = (1 - abar_(i-1)) sqrt(1 - b_i) / (1 - abar_i)
 *
 * A chain of some of its indices has b_j = -expm1(log abar_(keep j) - log abar_(keep j-1)).
 *
 * Source: Ho et al. 2020, eq. 4 and 7, and its published code, whose names the first schedules have; Nichol and
 * Dhariwal 2021, eq. 17 (cosine) and published code (linear_scaled, respacing); Jabri et al. 2022, section 3 (sigmoid). */
#include "method/gauss.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

const char *const pf_schedule_words[] = {"linear",   "quad",     "const",  "jsd",
                                         "warmup10", "warmup50", "cosine", "linear_scaled",
                                         "sigmoid",  NULL};

/* b0 .. b1 in n equal steps, both ends exact; one value is b0. */
static void steps(double b0, double b1, int n, double *beta)
{
    for (int i = 0; i < n; i++)
        beta[i] = i && i == n - 1 ? b1 : b0 + i * ((b1 - b0) / (n > 1 ? n - 1 : 1));
}

static void warm_up(double b0, double b1, double share, int T, double *beta)
{
    int n = (int)(T * share);
    for (int i = n; i < T; i++) beta[i] = b1;
    steps(b0, b1, n, beta);
}

/* cos^2((t + s)/(1 + s) pi/2), s = 0.008 */
static double cosine(double t)
{
    double c = cos((t + 0.008) / 1.008 * M_PI / 2.0);
    return c * c;
}

/* b_i = 1 - abar_i/abar_(i-1), in which the difference of the abar is one of two neighbours. */
static PF_MUST_USE pf_status sigmoid(const pf_betas *s, int T, double *beta)
{
    double span = s->end - s->start, last = 1.0 / (1.0 + exp(-s->end / s->tau)), before, at;
    PF_REQUIRE(
        s->tau > 0.0 && span > 0.0, PF_EARG,
        "the schedule sigmoid from %g to %g by tau %g does not rise; want an end above the "
        "start and a tau above 0",
        s->start, s->end, s->tau);
    before = 1.0 / (1.0 + exp(-s->start / s->tau));
    for (int i = 0; i < T; i++, before = at) {
        at = 1.0 / (1.0 + exp(-((i + 1.0) / T * span + s->start) / s->tau));
        beta[i] = fmin((at - before) / (last - before), 0.999);
    }
    return PF_OK;
}

double pf_log_snr_linear(double t)
{
    return -log(expm1(1e-4 + 10.0 * t * t));
}

double pf_log_snr_cosine(double t)
{
    return -log(fmax(1.0 / cosine(t) - 1.0, 1e-5));
}

static PF_MUST_USE pf_status check(int T, const double *beta)
{
    PF_REQUIRE(T >= 2, PF_EARG, "a chain of %d steps; want at least 2", T);
    for (int i = 0; i < T; i++)
        PF_REQUIRE(beta[i] > 0.0 && (beta[i] < 1.0 || (i == T - 1 && beta[i] == 1.0)), PF_EARG,
                   "the schedule's beta of step %d of %d is %g, want one between 0 and 1", i, T,
                   beta[i]);
    return PF_OK;
}

pf_status pf_gauss_betas(const pf_betas *s, int T, double *beta)
{
    const double b0 = s->b0, b1 = s->b1;
    PF_REQUIRE(T >= 2, PF_EARG, "a chain of %d steps; want at least 2", T);
    switch (s->schedule) {
    case PF_SCHEDULE_LINEAR:
        steps(b0, b1, T, beta);
        break;
    case PF_SCHEDULE_QUAD:
        steps(sqrt(b0), sqrt(b1), T, beta);
        for (int i = 0; i < T; i++) beta[i] *= beta[i];
        break;
    case PF_SCHEDULE_CONST:
        steps(b1, b1, T, beta);
        break;
    case PF_SCHEDULE_JSD:
        for (int i = 0; i < T; i++) beta[i] = 1.0 / (T - i);
        break;
    case PF_SCHEDULE_WARMUP10:
        warm_up(b0, b1, 0.1, T, beta);
        break;
    case PF_SCHEDULE_WARMUP50:
        warm_up(b0, b1, 0.5, T, beta);
        break;
    case PF_SCHEDULE_COSINE:
        for (int i = 0; i < T; i++)
            beta[i] = fmin(1.0 - cosine((i + 1.0) / T) / cosine((double)i / T), 0.999);
        break;
    case PF_SCHEDULE_LINEAR_SCALED:
        steps(0.1 / T, 20.0 / T, T, beta);
        break;
    case PF_SCHEDULE_SIGMOID:
        PF_TRY(sigmoid(s, T, beta));
        break;
    }
    PF_REQUIRE(s->schedule == PF_SCHEDULE_JSD || beta[T - 1] < 1.0, PF_EARG,
               "the schedule %s of %d steps ends at a beta of %g, want one below 1",
               pf_schedule_words[s->schedule], T, beta[T - 1]);
    PF_TRY(check(T, beta));
    return PF_OK;
}

static void fill(pf_gauss *g)
{
    double log_before = 0.0, noise_before = 0.0;
    for (int i = 0; i < g->T; i++) {
        double b = g->beta[i];
        g->log_abar[i] = log_before + log1p(-b);
        g->abar[i] = exp(g->log_abar[i]);
        g->noise[i] = -expm1(g->log_abar[i]); /* 1 - abar cancels at the first steps */
        g->variance[i] = b * noise_before / g->noise[i];
        g->c1[i] = b * exp(0.5 * log_before) / g->noise[i];
        g->c2[i] = noise_before * sqrt(1.0 - b) / g->noise[i];
        g->log_variance[i] = log(g->variance[i]);
        log_before = g->log_abar[i];
        noise_before = g->noise[i];
    }
    g->log_variance[0] = g->log_variance[1]; /* as published: btilde_0 is 0 */
}

pf_status pf_gauss_create(int T, const double *beta, pf_gauss **out)
{
    PF_TRY(check(T, beta));
    size_t n = (size_t)T;
    pf_gauss *g = pf_zalloc(sizeof *g + 8 * n * sizeof(double));
    PF_REQUIRE(g, PF_EMEM, "no memory for the tables of %d steps", T);
    double *at = (double *)(g + 1);
    double **table[] = {&g->beta,     &g->abar,         &g->noise, &g->log_abar,
                        &g->variance, &g->log_variance, &g->c1,    &g->c2};
    for (size_t i = 0; i < 8; i++) *table[i] = at + i * n;
    g->T = T;
    memcpy(g->beta, beta, n * sizeof *beta);
    fill(g);
    *out = g;
    return PF_OK;
}

pf_status pf_gauss_respace(const pf_gauss *g, const int *keep, int n, pf_gauss **out)
{
    double before = 0.0;
    double *beta = pf_zalloc((size_t)n * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for the tables of %d steps", n);
    for (int j = 0; j < n; j++) {
        /* a step that stays has its very beta, so that a chain of all steps is the chain itself */
        int stays = keep[j] == (j ? keep[j - 1] : -1) + 1;
        beta[j] = stays ? g->beta[keep[j]] : -expm1(g->log_abar[keep[j]] - before);
        before = g->log_abar[keep[j]];
    }
    pf_status st = pf_gauss_create(n, beta, out);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_gauss_free(pf_gauss *g)
{
    pf_free(g);
}

double pf_gauss_abar_before(const pf_gauss *g, int i)
{
    return i ? g->abar[i - 1] : 1.0;
}

double pf_gauss_abar_after(const pf_gauss *g, int i)
{
    return i < g->T - 1 ? g->abar[i + 1] : 0.0;
}
