/* sd15_binomial: schedule, constants of the heartbeat, terms, and the exact bound beside the exact probability. */
#include "sohl2015.h"

#include "method/sohl2015_binomial.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10;
enum { BITS_MAX = 16 }; /* of a datum whose states are counted */

typedef struct job {
    vectors *v;
    int T, L, period;
    const double *W, *c, *d; /* the network */
    double *p, *next;        /* [2^L] */
} job;

static int attribute(const vectors *v, const char *name)
{
    char *text = vectors_attr(v, "%s", name);
    int n = text ? atoi(text) : 0;
    pf_free(text);
    return n;
}

/* ---- constants ---- */

static void hold_constants(vectors *v, int L, int period, const char *null, const char *best)
{
    double ends[2] = {-L * pf_bits_entropy(1.0 / period) / M_LN2, -log2(period)};
    vectors_hold(v, tolerance, ends, 1, "heartbeat/%s", null);
    vectors_hold(v, tolerance, ends + 1, 1, "heartbeat/%s", best);
}

static void hold_heartbeat(const job *j)
{
    size_t n = (size_t)j->L * (size_t)j->period;
    double *bits = pf_zalloc((n + 1) * sizeof *bits);
    for (size_t k = 0; bits && k < n; k++)
        bits[k] = k % (size_t)j->L % (size_t)j->period == k / (size_t)j->L;
    if (bits) vectors_hold(j->v, tolerance, bits, n, "heartbeat/patterns");
    pf_free(bits);
    hold_constants(j->v, j->L, j->period, "null_bits", "optimum_bits");
    for (int k = 0; k < j->v->n; k++) {
        int L, period;
        char best[64];
        const char *name = j->v->all[k].name;
        if (sscanf(name, "heartbeat/null_%d_%d", &L, &period) != 2 || period < 1) continue;
        snprintf(best, sizeof best, "optimum_%d_%d", L, period);
        hold_constants(j->v, L, period, strchr(name, '/') + 1, best);
    }
}

static PF_MUST_USE pf_status hold_schedule(const job *j)
{
    size_t T = (size_t)j->T;
    double *b = pf_zalloc(2 * T * sizeof *b);
    PF_REQUIRE(b, PF_EMEM, "no memory for %d steps", j->T);
    for (int t = 1; t <= j->T; t++) {
        b[t - 1] = pf_bits_beta(j->T, t);
        b[(int)T + t - 1] = pf_bits_kept(j->T, t);
    }
    vectors_hold(j->v, tolerance, b, T, "schedule/beta");
    vectors_hold(j->v, tolerance, b + T, T, "schedule/keep");
    pf_free(b);
    return PF_OK;
}

/* ---- terms ---- */

/* The logit of bit i at t, from bits of x. */
static double logit(const job *j, int t, const int *x, int i)
{
    double sum = j->c[i] + j->d[i] * t / j->T;
    for (int k = 0; k < j->L; k++) sum += j->W[i * j->L + k] * (x[k] - 0.5);
    return sum;
}

/* KL [nats] of all bits at t, posterior [L] of each. */
static double kl(const job *j, int t, const int *xt, const int *x0, double *posterior)
{
    double sum = 0.0;
    for (int i = 0; i < j->L; i++) {
        const int bits[2] = {xt[i], x0[i]};
        posterior[i] = pf_bits_posterior(j->T, t, xt[i], x0[i]);
        sum += pf_bits_kl(PF_BITS_BEFORE, j->T, t, bits, logit(j, t, xt, i), NULL);
    }
    return sum;
}

static void take(const double *from, int L, int *to)
{
    for (int i = 0; i < L; i++) to[i] = from[i] > 0.5;
}

static PF_MUST_USE pf_status check_terms(const job *j)
{
    const vectors_array *x0 = vectors_find(j->v, "terms/x0"),
                        *xt = vectors_find(j->v, "terms/x_t");
    if (!x0 || !xt || xt->size != x0->size * (size_t)j->T) return PF_OK;
    size_t N = x0->size / (size_t)j->L, terms = (size_t)(j->T - 1) * N;
    double *bits = pf_zalloc(terms * (1 + (size_t)j->L) * sizeof *bits), *q = bits + terms;
    int x[2][64];
    PF_REQUIRE(bits, PF_EMEM, "no memory for %zu terms", terms);
    for (int t = 2; t <= j->T; t++)
        for (size_t n = 0; n < N; n++) {
            size_t row = (size_t)(t - 2) * N + n, L = (size_t)j->L;
            take(x0->v + n * L, j->L, x[0]);
            take(xt->v + ((size_t)(t - 1) * N + n) * L, j->L, x[1]);
            bits[row] = kl(j, t, x[1], x[0], q + row * L) / M_LN2;
        }
    vectors_hold(j->v, tolerance, bits, terms, "terms/kl_bits");
    vectors_hold(j->v, tolerance, q, terms * (size_t)j->L, "terms/posterior");
    pf_free(bits);
    return PF_OK;
}

/* ---- all states ---- */

static void state(int number, int L, int *x)
{
    for (int i = 0; i < L; i++) x[i] = number >> i & 1;
}

/* Chance of a state of independent bits. */
static double chance(const double *one, int L, const int *x)
{
    double p = 1.0;
    for (int i = 0; i < L; i++) p *= x[i] ? one[i] : 1.0 - one[i];
    return p;
}

/* log2 p(x0): the chain's distribution from x_T on, state by state. */
static double log2_p(job *j, const int *x0)
{
    int all = 1 << j->L, x[BITS_MAX], y[BITS_MAX];
    double one[BITS_MAX], sum = 0.0;
    for (int s = 0; s < all; s++) j->p[s] = 1.0 / all;
    for (int t = j->T; t >= 2; t--) {
        for (int s = 0; s < all; s++) j->next[s] = 0.0;
        for (int s = 0; s < all; s++) {
            state(s, j->L, x);
            for (int i = 0; i < j->L; i++)
                one[i] = pf_bits_reverse(PF_BITS_BEFORE, j->T, t, x[i], logit(j, t, x, i));
            for (int r = 0; r < all; r++) {
                state(r, j->L, y);
                j->next[r] += j->p[s] * chance(one, j->L, y);
            }
        }
        double *swap = j->p;
        j->p = j->next;
        j->next = swap;
    }
    for (int s = 0; s < all; s++) {
        state(s, j->L, x);
        for (int i = 0; i < j->L; i++) one[i] = pf_bits_noised(pf_bits_kept(j->T, 1), x[i]);
        sum += j->p[s] * chance(one, j->L, x0);
    }
    return log2(sum);
}

/* K, in expectation over q. */
static double bound(const job *j, const int *x0)
{
    double nats = j->L * pf_bits_decoder(j->T), one[BITS_MAX], posterior[BITS_MAX];
    int x[BITS_MAX];
    for (int t = 2; t <= j->T; t++)
        for (int s = 0; s < 1 << j->L; s++) {
            state(s, j->L, x);
            for (int i = 0; i < j->L; i++)
                one[i] = pf_bits_noised(pf_bits_kept(j->T, t), x0[i]);
            nats += chance(one, j->L, x) * kl(j, t, x, x0, posterior);
        }
    return -nats / M_LN2;
}

static PF_MUST_USE pf_status check_exact(job *j)
{
    const vectors_array *b = vectors_find(j->v, "exact/bound_bits"),
                        *x = vectors_find(j->v, "exact/x0");
    if (!x) x = vectors_find(j->v, "heartbeat/patterns");
    if (!b || !x || x->size != b->size * (size_t)j->L || j->L > BITS_MAX) return PF_OK;
    double *all = pf_zalloc(2 * b->size * sizeof *all);
    size_t states = (size_t)1 << j->L;
    double *p = pf_zalloc(2 * states * sizeof *p);
    int x0[BITS_MAX];
    j->p = p;
    j->next = p ? p + states : NULL;
    for (size_t n = 0; all && p && n < b->size; n++) {
        take(x->v + n * (size_t)j->L, j->L, x0);
        all[n] = bound(j, x0);
        all[b->size + n] = log2_p(j, x0);
    }
    int failed = !all || !p;
    if (!failed) vectors_hold(j->v, tolerance, all, b->size, "exact/bound_bits");
    if (!failed) vectors_hold(j->v, tolerance, all + b->size, b->size, "exact/log2_p");
    pf_free(all);
    pf_free(p);
    PF_REQUIRE(!failed, PF_EMEM, "no memory for %zu states", states);
    return PF_OK;
}

static pf_status check_binomial(vectors *v)
{
    const vectors_array *W = vectors_find(v, "net/W"), *c = vectors_find(v, "net/c"),
                        *d = vectors_find(v, "net/d");
    job j = {.v = v,
             .T = attribute(v, "T"),
             .L = attribute(v, "L"),
             .period = attribute(v, "period")};
    PF_REQUIRE(j.T > 1 && j.L > 0 && j.L < 64, PF_EFORMAT, "%s: T %d, L %d", v->path, j.T, j.L);
    if (j.period > 0) hold_heartbeat(&j);
    PF_TRY(hold_schedule(&j));
    if (!W || !c || !d || W->size != (size_t)(j.L * j.L)) return PF_OK;
    j.W = W->v;
    j.c = c->v;
    j.d = d->v;
    PF_TRY(check_terms(&j));
    PF_TRY(check_exact(&j));
    return PF_OK;
}

const vectors_kind vectors_sd15_binomial = {
    .stem = "sd15_binomial",
    .inputs = (const char *const[]){"net", "terms/x0", "terms/x_t", "exact/x0", NULL},
    .check = check_binomial};
