/* multinomial_k<N>: tables, the chain from stored noise, losses with gradients, sampling, the law of indices, and
 * expectations over all states beside the exact probability. */
#include "multinomial.h"
#include "toy_net.h"

#include "method/multinomial.h"

#include <probflow/memory.h>
#include <probflow/times.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10;
enum { STATES_MAX = 1 << 12 };
static const pf_cat_slope none = {NULL, NULL};

typedef struct job {
    vectors *v;
    toy_net net;
    int T, K;
    size_t B, L, row; /* row: L K */
    pf_multi_at *at;  /* [T] */
    double *term;     /* [T,B] of the chain */
    double *z;        /* [L,K] */
} job;

static void logits(const job *j, int t, const int32_t *x)
{
    toy_net_logits(&j->net, (double)t / j->T, x, j->z);
}

/* ---- tables ---- */

static PF_MUST_USE pf_status hold_schedule(vectors *v, const char *group, int T)
{
    size_t n = (size_t)T;
    double *a = pf_zalloc(5 * n * sizeof *a), *kept = a + n, *moved = kept + n,
           *all = moved + n, *alpha = all + n;
    PF_REQUIRE(a, PF_EMEM, "no memory for %d steps", T);
    pf_multi_schedule(T, a, kept);
    for (size_t i = 0; i < n; i++) {
        moved[i] = pf_multi_moved(a[i]);
        all[i] = pf_multi_moved(kept[i]);
        alpha[i] = exp(a[i]);
    }
    vectors_hold(v, tolerance, alpha, n, "%s/alpha", group);
    vectors_hold(v, tolerance, a, n, "%s/log_alpha", group);
    vectors_hold(v, tolerance, kept, n, "%s/log_cumprod_alpha", group);
    vectors_hold(v, tolerance, moved, n, "%s/log_1_min_alpha", group);
    vectors_hold(v, tolerance, all, n, "%s/log_1_min_cumprod_alpha", group);
    pf_free(a);
    return PF_OK;
}

static PF_MUST_USE pf_status hold_schedules(const job *j)
{
    PF_TRY(hold_schedule(j->v, "schedule", j->T));
    for (int k = 0; k < j->v->n; k++) {
        int T;
        char group[64];
        if (sscanf(j->v->all[k].name, "schedule_%d/", &T) != 1 || T < 1) continue;
        snprintf(group, sizeof group, "schedule_%d", T);
        PF_TRY(hold_schedule(j->v, group, T));
    }
    return PF_OK;
}

/* ---- the chain ---- */

enum { Q_NOISED, P_DATA, Q_POSTERIOR, P_BEFORE, SLOPE, SLOPE_DIRECT, ROWS };
static const char *const rows[ROWS] = {"log_q_xt_x0", "log_p_x0",    "log_q_posterior",
                                       "log_p_prev",  "grad_logits", "grad_logits_direct"};

typedef struct chain {
    double *row[ROWS]; /* [T,B,L,K] */
    double *xt;        /* [T,B,L] */
    double *direct;    /* [T,B] */
    double *nll, *kl;  /* [B] */
    const double *u, *x0;
} chain;

/* Sample b at t. */
static void follow(const job *j, const chain *c, int t, size_t b)
{
    size_t K = (size_t)j->K, n = (size_t)t * j->B + b;
    const pf_multi_at *a = &j->at[t];
    int32_t x[64];
    for (size_t l = 0; l < j->L; l++) {
        size_t at = (n * j->L + l) * K;
        pf_multi_noised(a, (int)c->x0[b * j->L + l], c->row[Q_NOISED] + at);
        x[l] = pf_cat_draw(j->K, c->row[Q_NOISED] + at, c->u + at);
        c->xt[n * j->L + l] = x[l];
    }
    logits(j, t, x);
    for (size_t l = 0; l < j->L; l++) {
        size_t at = (n * j->L + l) * K;
        const int32_t pair[2] = {x[l], (int32_t)c->x0[b * j->L + l]};
        pf_cat_row z = {.d = j->z + l * K};
        pf_cat_log_softmax(j->K, z, c->row[P_DATA] + at);
        pf_multi_posterior(a, pair[0], pair[1], c->row[Q_POSTERIOR] + at);
        pf_multi_reverse(PF_MULTI_DATA, a, pair[0], z, c->row[P_BEFORE] + at);
        j->term[n] += pf_multi_term(PF_MULTI_DATA, a, pair, z, 1.0,
                                    (pf_cat_slope){.d = c->row[SLOPE] + at});
        c->direct[n] += pf_multi_term(PF_MULTI_BEFORE, a, pair, z, 1.0,
                                      (pf_cat_slope){.d = c->row[SLOPE_DIRECT] + at});
    }
}

static PF_MUST_USE pf_status check_chain(const job *j)
{
    const vectors_array *u = vectors_find(j->v, "uniform"), *x0 = vectors_find(j->v, "x0");
    size_t all = (size_t)j->T * j->B, big = all * j->row;
    double *mem = pf_zalloc((ROWS * big + all * (j->L + 1) + 2 * j->B) * sizeof *mem);
    chain c = {.u = u->v, .x0 = x0->v};
    PF_REQUIRE(mem, PF_EMEM, "no memory for a chain");
    for (int r = 0; r < ROWS; r++) c.row[r] = mem + (size_t)r * big;
    c.xt = mem + ROWS * big;
    c.direct = c.xt + all * j->L;
    c.nll = c.direct + all;
    c.kl = c.nll + j->B;
    for (int t = 0; t < j->T; t++)
        for (size_t b = 0; b < j->B; b++) follow(j, &c, t, b);
    for (size_t b = 0; b < j->B; b++) {
        c.nll[b] = c.kl[b] = (double)j->L * pf_multi_prior(&j->at[j->T - 1]);
        for (int t = 0; t < j->T; t++) c.nll[b] += j->term[(size_t)t * j->B + b];
    }
    for (int r = 0; r < ROWS; r++)
        vectors_hold(j->v, tolerance, c.row[r], big, "chain/%s", rows[r]);
    vectors_hold(j->v, 0.0, c.xt, all * j->L, "chain/x_t");
    vectors_hold(j->v, tolerance, j->term, all, "chain/Lt");
    vectors_hold(j->v, tolerance, c.direct, all, "chain/Lt_direct");
    vectors_hold(j->v, tolerance, c.kl, j->B, "kl_prior");
    vectors_hold(j->v, tolerance, c.nll, j->B, "nll_nats");
    pf_free(mem);
    return PF_OK;
}

/* ---- steps ---- */

/* x [L] from x_t to x_(t-1) with u [L,K]. */
static void draw(const job *j, int t, const double *u, int32_t *x)
{
    double log_p[4096];
    logits(j, t, x);
    for (size_t l = 0; l < j->L; l++) {
        size_t at = l * (size_t)j->K;
        pf_multi_reverse(PF_MULTI_DATA, &j->at[t], x[l], (pf_cat_row){.d = j->z + at}, log_p);
        x[l] = pf_cat_draw(j->K, log_p, u + at);
    }
}

static PF_MUST_USE pf_status check_one_step(const job *j)
{
    const vectors_array *t = vectors_find(j->v, "one_step/t"),
                        *xt = vectors_find(j->v, "one_step/x_t"),
                        *u = vectors_find(j->v, "uniform");
    if (!t || !xt || !u || xt->size != t->size * j->L || u->size < t->size * j->row)
        return PF_OK;
    size_t n = t->size;
    double *q = pf_zalloc(n * (j->row + j->L) * sizeof *q), *before = q + n * j->row;
    PF_REQUIRE(q, PF_EMEM, "no memory for a step");
    for (size_t b = 0; b < n; b++) {
        int32_t x[64];
        for (size_t l = 0; l < j->L; l++) {
            x[l] = (int32_t)xt->v[b * j->L + l];
            pf_multi_step(&j->at[(int)t->v[b]], x[l], q + (b * j->L + l) * (size_t)j->K);
        }
        draw(j, (int)t->v[b], u->v + b * j->row, x);
        for (size_t l = 0; l < j->L; l++) before[b * j->L + l] = x[l];
    }
    vectors_hold(j->v, tolerance, q, n * j->row, "one_step/log_q_next");
    vectors_hold(j->v, 0.0, before, n * j->L, "one_step/x_prev_with_uniform_0");
    pf_free(q);
    return PF_OK;
}

static PF_MUST_USE pf_status check_sample(const job *j)
{
    const vectors_array *u = vectors_find(j->v, "sample/uniform");
    double zero[4096] = {0};
    if (!u || u->size % ((size_t)(j->T + 1) * j->row)) return PF_OK;
    size_t B = u->size / ((size_t)(j->T + 1) * j->row);
    double *x = pf_zalloc(B * j->L * sizeof *x);
    PF_REQUIRE(x, PF_EMEM, "no memory for samples");
    for (size_t b = 0; b < B; b++) {
        int32_t s[64];
        for (size_t l = 0; l < j->L; l++)
            s[l] = pf_cat_draw(j->K, zero, u->v + b * j->row + l * (size_t)j->K);
        for (int t = j->T; t-- > 0;)
            draw(j, t, u->v + ((size_t)(j->T - t) * B + b) * j->row, s);
        for (size_t l = 0; l < j->L; l++) x[b * j->L + l] = s[l];
    }
    vectors_hold(j->v, 0.0, x, B * j->L, "sample/x");
    pf_free(x);
    return PF_OK;
}

/* ---- the law of indices ---- */

static PF_MUST_USE pf_status hold_importance(const job *j, const vectors_array *t,
                                             pf_times *law, double *p)
{
    size_t n = t->size, T = (size_t)j->T;
    double *all = p, *some = p + T, *log_p = some + n, *count = log_p + n, bits = 0.0;
    for (int i = 0; i < j->T; i++) all[i] = pf_times_probability(law, i);
    for (size_t b = 0; b < n; b++) {
        int32_t i = (int32_t)t->v[b];
        double loss = j->term[(size_t)i * j->B + b];
        some[b] = all[i];
        log_p[b] = -(loss * pf_times_weight(law, i) * j->T +
                     (double)j->L * pf_multi_prior(&j->at[j->T - 1]));
        bits -= log_p[b] / ((double)n * (double)j->L * M_LN2);
    }
    for (size_t b = 0; b < n; b++) {
        int32_t i = (int32_t)t->v[b];
        pf_times_add(law, 1, &i, &j->term[(size_t)i * j->B + b]);
    }
    for (size_t i = 0; i < T; i++) count[i] = pf_times_counts(law)[i];
    vectors_hold(j->v, tolerance, all, T, "importance/p_all");
    vectors_hold(j->v, tolerance, some, n, "importance/p_t");
    vectors_hold(j->v, tolerance, log_p, n, "importance/train_log_prob_nats");
    vectors_hold(j->v, tolerance, &bits, 1, "bits_per_dim_of_that_batch");
    vectors_hold(j->v, tolerance, pf_times_losses(law), T, "importance/Lt_history_after");
    vectors_hold(j->v, 0.0, count, T, "importance/Lt_count_after");
    return PF_OK;
}

static PF_MUST_USE pf_status check_importance(const job *j)
{
    const vectors_array *t = vectors_find(j->v, "importance/t"),
                        *h = vectors_find(j->v, "importance/Lt_history");
    char *text = vectors_attr(j->v, "importance/count_before");
    int before = text ? atoi(text) : 0;
    pf_times *law = NULL;
    pf_free(text);
    if (!t || !h || h->size != (size_t)j->T || t->size > j->B) return PF_OK;
    int32_t *count = pf_zalloc((size_t)j->T * sizeof *count);
    double *p = pf_zalloc(2 * ((size_t)j->T + t->size) * sizeof *p);
    pf_status st = count && p ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for a law");
    for (int i = 0; count && i < j->T; i++) count[i] = before;
    if (!st) st = pf_times_create(j->T, PF_TIMES_DECAYING, &law);
    if (!st) st = pf_times_set(law, j->v->path, j->T, 1, h->v, count);
    if (!st) st = hold_importance(j, t, law, p);
    pf_times_free(law);
    pf_free(count);
    pf_free(p);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- all states ---- */

typedef struct exact {
    size_t S;
    double *expected, *prior, *elbo, *log_p; /* [S,T], [S] each */
    double *p, *next;                        /* [S] */
    double *chance, *cost, *log_q;           /* [L,K], [L,K], [K] */
} exact;

/* What x_t = state s at t adds to expectations, and where its probability goes. */
static void from_state(const job *j, const exact *e, int t, size_t s)
{
    size_t K = (size_t)j->K;
    int32_t xt[64], x[64];
    toy_net_state(&j->net, s, K, xt);
    logits(j, t, xt);
    for (size_t l = 0; l < j->L; l++) {
        pf_cat_row z = {.d = j->z + l * K};
        pf_multi_reverse(PF_MULTI_DATA, &j->at[t], xt[l], z, e->chance + l * K);
        for (int k = 0; k < j->K; k++) {
            const int32_t pair[2] = {xt[l], k};
            e->cost[l * K + (size_t)k] =
                pf_multi_term(PF_MULTI_DATA, &j->at[t], pair, z, 0.0, none);
        }
    }
    for (size_t r = 0; r < e->S; r++) {
        double log_q = 0.0, nats = 0.0, log_p = 0.0;
        toy_net_state(&j->net, r, K, x);
        for (size_t l = 0; l < j->L; l++) {
            size_t at = l * K + (size_t)x[l];
            pf_multi_noised(&j->at[t], x[l], e->log_q);
            log_q += e->log_q[xt[l]];
            nats += e->cost[at];
            log_p += e->chance[at];
        }
        e->expected[r * (size_t)j->T + (size_t)t] += exp(log_q) * nats;
        e->next[r] += e->p[s] * exp(log_p);
    }
}

static void enumerate(const job *j, exact *e)
{
    for (size_t s = 0; s < e->S; s++) e->p[s] = 1.0 / (double)e->S;
    for (int t = j->T; t-- > 0;) {
        memset(e->next, 0, e->S * sizeof *e->next);
        for (size_t s = 0; s < e->S; s++) from_state(j, e, t, s);
        double *swap = e->p;
        e->p = e->next;
        e->next = swap;
    }
    for (size_t s = 0; s < e->S; s++) {
        e->prior[s] = (double)j->L * pf_multi_prior(&j->at[j->T - 1]);
        e->elbo[s] = -e->prior[s];
        e->log_p[s] = log(e->p[s]);
        for (int t = 0; t < j->T; t++) e->elbo[s] -= e->expected[s * (size_t)j->T + (size_t)t];
    }
}

static PF_MUST_USE pf_status check_exact(const job *j)
{
    size_t S = (size_t)lround(pow(j->K, (double)j->L)), T = (size_t)j->T;
    const vectors_array *states = vectors_find(j->v, "exact/states");
    if (!states || S > STATES_MAX || states->size != S * j->L) return PF_OK;
    double *mem = pf_zalloc((S * (T + 5) + 2 * j->row + (size_t)j->K) * sizeof *mem);
    PF_REQUIRE(mem, PF_EMEM, "no memory for %zu states", S);
    exact e = {.S = S, .expected = mem, .prior = mem + S * T};
    e.elbo = e.prior + S;
    e.log_p = e.elbo + S;
    e.p = e.log_p + S;
    e.next = e.p + S;
    e.chance = e.next + S;
    e.cost = e.chance + j->row;
    e.log_q = e.cost + j->row;
    enumerate(j, &e);
    vectors_hold(j->v, tolerance, e.expected, S * T, "exact/expected_Lt");
    vectors_hold(j->v, tolerance, e.prior, S, "exact/kl_prior");
    vectors_hold(j->v, tolerance, e.elbo, S, "exact/elbo_nats");
    vectors_hold(j->v, tolerance, e.log_p, S, "exact/log_p_nats");
    pf_free(mem);
    return PF_OK;
}

static PF_MUST_USE pf_status check_all(job *j)
{
    if (j->B) PF_TRY(check_chain(j));
    PF_TRY(check_one_step(j));
    PF_TRY(check_sample(j));
    PF_TRY(check_importance(j));
    PF_TRY(check_exact(j));
    return PF_OK;
}

static pf_status check(vectors *v)
{
    char *text = vectors_attr(v, "T");
    const vectors_array *u = vectors_find(v, "uniform"), *x0 = vectors_find(v, "x0");
    job j = {.v = v, .T = text ? atoi(text) : 0};
    pf_free(text);
    PF_REQUIRE(j.T > 1, PF_EFORMAT, "%s does not say how many steps it has", v->path);
    PF_TRY(hold_schedules(&j));
    if (!toy_net_open(v, "net", &j.net) || j.net.L > 64 || j.net.K > 4096) return PF_OK;
    j.K = (int)j.net.K;
    j.L = j.net.L;
    j.row = j.L * j.net.K;
    j.B = x0 ? x0->size / j.L : 0;
    if (!u || u->size != (size_t)j.T * j.B * j.row) j.B = 0; /* no chain */
    j.at = pf_zalloc((size_t)j.T * sizeof *j.at);
    j.term = pf_zalloc(((size_t)j.T * j.B + 1) * sizeof *j.term);
    j.z = pf_zalloc(j.row * sizeof *j.z);
    pf_status st = j.at && j.term && j.z ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory");
    if (!st) pf_multi_table(j.T, j.K, j.at);
    if (!st) st = check_all(&j);
    pf_free(j.at);
    pf_free(j.term);
    pf_free(j.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_multinomial = {
    .stem = "multinomial_k",
    .inputs = (const char *const[]){"net", "x0", "uniform", "sample/uniform", "one_step/t",
                                    "one_step/x_t", "importance/t", "importance/Lt_history",
                                    "exact/states", NULL},
    .check = check};
