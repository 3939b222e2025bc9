/* Expectation maximisation (Dempster, Laird and Rubin 1977) with the seeding of k-means++
 * (Arthur and Vassilvitskii 2007) on up to SEEDS evenly spaced samples.
 *
 *     r_nc = w_c N(x_n; mu_c, C_c) / sum over c
 *     N_c = sum r_nc,   delta_c = sum r_nc (x_n - mu_c) / N_c
 *     w_c = N_c / N,   mu_c += delta_c,   C_c = sum r_nc (x_n - mu_c)(x_n - mu_c)' / N_c - delta_c delta_c'
 *
 * with the old mu_c on the right, so that a covariance far from the origin does not cancel. */
#include "model/em.h"

#include "model/normal.h"
#include <math.h>
#include <probflow/linalg.h>
#include <probflow/memory.h>
#include <probflow/random.h>
#include <string.h>

enum { BLOCK = 512, SEEDS = 4096 };

typedef struct em_work {
    double *x;            /* [BLOCK,D] */
    double *y, *wy;       /* [BLOCK,D] centred, and times r */
    double *r;            /* [C,BLOCK] log w N, then responsibilities */
    double *chol;         /* [C,D,D] factors of this iteration */
    double *logdet;       /* [C] */
    double *n;            /* [C] new sums ... */
    double *delta;        /* [C,D] */
    double *s;            /* [C,D,D] */
    double *seeds, *near; /* [SEEDS,D], [SEEDS] */
} em_work;

static void free_work(em_work *w)
{
    double *all[] = {w->x, w->y,     w->wy, w->r,     w->chol, w->logdet,
                     w->n, w->delta, w->s,  w->seeds, w->near};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) pf_free(all[i]);
}

static PF_MUST_USE pf_status alloc_work(const pf_em *em, em_work *w)
{
    size_t C = (size_t)em->C, D = (size_t)em->D;
    struct {
        double **at;
        size_t n;
    } all[] = {
        {&w->x, BLOCK * D},    {&w->y, BLOCK * D},     {&w->wy, BLOCK * D}, {&w->r, BLOCK * C},
        {&w->chol, C * D * D}, {&w->logdet, C},        {&w->n, C},          {&w->delta, C * D},
        {&w->s, C * D * D},    {&w->seeds, SEEDS * D}, {&w->near, SEEDS}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        *all[i].at = pf_zalloc(all[i].n * sizeof(double));
        PF_REQUIRE(*all[i].at, PF_EMEM, "no memory to fit %d components of %d", em->C, em->D);
    }
    return PF_OK;
}

/* Picks each further mean with probability proportional to its squared distance to the nearest. */
static PF_MUST_USE pf_status seed_means(const pf_em *em, const pf_sample_source *src,
                                        em_work *w)
{
    size_t D = (size_t)em->D;
    int n = src->n < SEEDS ? (int)src->n : SEEDS;
    pf_draw draw = {(uint64_t)em->seed, PF_STREAM_INIT, 0, 0};

    for (int i = 0; i < n; i++) {
        PF_TRY(src->read(src->self, i * src->n / n, 1, w->seeds + i * D));
        w->near[i] = 1.0; /* the first is drawn evenly */
    }
    for (int c = 0; c < em->C; c++) {
        double total = 0.0, sum = 0.0;
        int pick = 0;
        for (int i = 0; i < n; i++) total += w->near[i];
        double u = total * pf_draw_uniform_f64(&draw, (size_t)c);
        while (pick < n - 1 && (sum += w->near[pick]) <= u) pick++;
        memcpy(em->mean + c * D, w->seeds + pick * D, D * sizeof(double));
        for (int i = 0; i < n; i++) {
            double d2 = 0.0;
            for (size_t d = 0; d < D; d++) {
                double e = w->seeds[i * D + d] - em->mean[c * D + d];
                d2 += e * e;
            }
            w->near[i] = c == 0 ? d2 : fmin(w->near[i], d2);
        }
    }
    return PF_OK;
}

static PF_MUST_USE pf_status factorise(const pf_em *em, em_work *w)
{
    size_t D = (size_t)em->D;
    memcpy(w->chol, em->cov, em->C * D * D * sizeof(double));
    for (int c = 0; c < em->C; c++) {
        pf_status st = pf_linalg_cholesky(em->D, w->chol + c * D * D, &w->logdet[c]);
        if (st == PF_ENUMERIC)
            PF_FAIL(st,
                    "component %d of the mixture has become singular; set "
                    "model.noise_variance above %g",
                    c, em->noise_variance);
        PF_TRY(st);
    }
    return PF_OK;
}

/* r <- responsibilities of the block; returns its log-likelihood. */
static double respond(const pf_em *em, em_work *w, int rows)
{
    size_t D = (size_t)em->D;
    double total = 0.0;

    for (int c = 0; c < em->C; c++) {
        for (size_t i = 0; i < rows * D; i++) w->y[i] = w->x[i] - em->mean[c * D + i % D];
        pf_linalg_solve_lower(rows, em->D, w->chol + c * D * D, w->y);
        for (int r = 0; r < rows; r++) {
            double quad = 0.0;
            for (size_t d = 0; d < D; d++) quad += w->y[r * D + d] * w->y[r * D + d];
            w->r[c * BLOCK + r] =
                log(em->weight[c]) - 0.5 * (quad + w->logdet[c] + em->D * log(2.0 * M_PI));
        }
    }
    for (int r = 0; r < rows; r++) {
        double most = -INFINITY, sum = 0.0;
        for (int c = 0; c < em->C; c++) most = fmax(most, w->r[c * BLOCK + r]);
        for (int c = 0; c < em->C; c++) sum += exp(w->r[c * BLOCK + r] - most);
        double lp = most + log(sum);
        for (int c = 0; c < em->C; c++) w->r[c * BLOCK + r] = exp(w->r[c * BLOCK + r] - lp);
        total += lp;
    }
    return total;
}

static void accumulate(const pf_em *em, em_work *w, int rows)
{
    size_t D = (size_t)em->D;
    pf_gemm g = {.ta = 1, .m = em->D, .n = em->D, .k = rows, .alpha = 1.0, .beta = 1.0};

    for (int c = 0; c < em->C; c++) {
        for (int r = 0; r < rows; r++) {
            double p = w->r[c * BLOCK + r];
            w->n[c] += p;
            for (size_t d = 0; d < D; d++) {
                double y = w->x[r * D + d] - em->mean[c * D + d];
                w->y[r * D + d] = y;
                w->wy[r * D + d] = p * y;
                w->delta[c * D + d] += p * y;
            }
        }
        pf_linalg_gemm(&g, w->y, w->wy, w->s + c * D * D);
    }
}

static void maximise(const pf_em *em, em_work *w, int64_t n)
{
    size_t D = (size_t)em->D;
    for (int c = 0; c < em->C; c++) {
        double *delta = w->delta + c * D, *cov = em->cov + c * D * D;
        const double *s = w->s + c * D * D;
        em->weight[c] = w->n[c] / (double)n;
        for (size_t d = 0; d < D; d++) delta[d] /= w->n[c];
        for (size_t i = 0; i < D; i++)
            for (size_t j = 0; j < D; j++)
                cov[i * D + j] = s[i * D + j] / w->n[c] - delta[i] * delta[j];
        for (size_t d = 0; d < D; d++) {
            em->mean[c * D + d] += delta[d];
            cov[d * (D + 1)] += em->noise_variance;
        }
    }
}

static PF_MUST_USE pf_status iterate(const pf_em *em, const pf_sample_source *src, em_work *w,
                                     double *mean_logp)
{
    size_t C = (size_t)em->C, D = (size_t)em->D;
    double total = 0.0;

    PF_TRY(factorise(em, w));
    memset(w->n, 0, C * sizeof(double));
    memset(w->delta, 0, C * D * sizeof(double));
    memset(w->s, 0, C * D * D * sizeof(double));
    for (int64_t at = 0; at < src->n; at += BLOCK) {
        int rows = at + BLOCK < src->n ? BLOCK : (int)(src->n - at);
        PF_TRY(src->read(src->self, at, rows, w->x));
        total += respond(em, w, rows);
        accumulate(em, w, rows);
    }
    for (size_t c = 0; c < C; c++)
        PF_REQUIRE(w->n[c] > 1e-3, PF_ENUMERIC,
                   "component %zu of the mixture has lost its samples", c);
    maximise(em, w, src->n);
    *mean_logp = total / (double)src->n;
    return PF_OK;
}

static PF_MUST_USE pf_status fit(const pf_em *em, const pf_sample_source *src, em_work *w)
{
    size_t D = (size_t)em->D;
    double last = -INFINITY, now = 0.0;

    PF_TRY(alloc_work(em, w));
    PF_TRY(pf_source_moments(src, em->mean, em->cov));
    for (size_t d = 0; d < D; d++) em->cov[d * (D + 1)] += em->noise_variance;
    for (int c = 1; c < em->C; c++)
        memcpy(em->cov + c * D * D, em->cov, D * D * sizeof(double));
    for (int c = 0; c < em->C; c++) em->weight[c] = 1.0 / em->C;
    if (em->C > 1) PF_TRY(seed_means(em, src, w));
    for (int i = 0; i < em->iterations; i++) {
        PF_TRY(iterate(em, src, w, &now));
        if (now - last < em->tolerance) break;
        last = now;
    }
    return PF_OK;
}

pf_status pf_em_fit(const pf_em *em, const pf_sample_source *src)
{
    em_work w = {0};
    PF_REQUIRE(src->n >= em->C, PF_EARG, "%lld samples for %d components", (long long)src->n,
               em->C);
    pf_status st = fit(em, src, &w);
    free_work(&w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
