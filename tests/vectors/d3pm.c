/* d3pm: of each kernel its betas, matrices, the chain from stored noise, losses with gradients, a step of sampling, and
 * expectations over all states beside the exact probability. */
#include "d3pm.h"
#include "toy_net.h"

#include "method/d3pm.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-10, hybrid = 1e-3;
enum { STATES_MAX = 1 << 12, LENGTH_MAX = 64 };
static const pf_cat_slope none = {NULL, NULL};
static const char *const kinds[] = {"absorbing", "uniform", "gaussian"}; /* by pf_d3pm_kind */

typedef struct job {
    vectors *v;
    const char *group;
    toy_net net;
    const double *x0, *u, *beta;
    int T, K;
    size_t B, L, row; /* row: L K */
    double eps, bits; /* bits: of a nat of a row, an entry */
    pf_d3pm_kernel kernel;
    pf_d3pm_model model;
    double *z; /* [L,K] */
} job;

static void logits(const job *j, int t, const int32_t *x)
{
    toy_net_logits(&j->net, (double)t / j->T, x, j->z);
}

/* ---- tables ---- */

/* Of the schedules the one that the stored betas are of. */
static PF_MUST_USE pf_status hold_betas(const job *j)
{
    const double ends[2] = {j->beta[0], j->beta[j->T - 1]};
    size_t T = (size_t)j->T;
    double best = INFINITY, *beta = pf_zalloc(2 * T * sizeof *beta), *nearest = beta + T;
    PF_REQUIRE(beta, PF_EMEM, "no memory for %d steps", j->T);
    for (int s = PF_D3PM_LINEAR; s <= PF_D3PM_JSD; s++) {
        double error = 0.0;
        pf_d3pm_betas((pf_d3pm_schedule)s, j->T, ends, beta);
        for (size_t i = 0; i < T; i++) error = fmax(error, fabs(beta[i] - j->beta[i]));
        if (error < best) memcpy(nearest, beta, T * sizeof *beta);
        best = fmin(best, error);
    }
    vectors_hold(j->v, tolerance, nearest, T, "%s/betas", j->group);
    pf_free(beta);
    return PF_OK;
}

static PF_MUST_USE pf_status hold_matrices(const job *j)
{
    size_t K = (size_t)j->K, all = (size_t)j->T * K * K;
    double *one = pf_zalloc((2 * all + K) * sizeof *one), *many = one + all, *c = many + all;
    const pf_d3pm_part whole = {0, j->K};
    PF_REQUIRE(one, PF_EMEM, "no memory for matrices");
    for (int i = 0; i < j->T; i++)
        for (int x = 0; x < j->K; x++) {
            size_t at = (size_t)i * K * K;
            pf_d3pm_column(&j->kernel, i, x, whole, c);
            pf_d3pm_row(&j->kernel, i, x, whole, many + at + (size_t)x * K);
            for (size_t k = 0; k < K; k++) one[at + k * K + (size_t)x] = c[k];
        }
    vectors_hold(j->v, tolerance, one, all, "%s/one_step_mats", j->group);
    vectors_hold(j->v, tolerance, many, all, "%s/q_mats", j->group);
    pf_free(one);
    return PF_OK;
}

/* ---- the chain ---- */

typedef struct chain {
    double *posterior, *before, *slope; /* [T,B,L,K] */
    double *xt;                         /* [T,B,L] */
    double *vb, *ce, *both, *turned;    /* [T,B], turned [B,T] */
    double *prior, *total;              /* [B] */
} chain;

/* Sample b at t. */
static void follow(const job *j, const chain *c, int t, size_t b)
{
    size_t K = (size_t)j->K, n = (size_t)t * j->B + b;
    const pf_d3pm_part whole = {0, j->K};
    int32_t x[LENGTH_MAX];
    double *log_q = c->posterior + n * j->row; /* for a moment */
    for (size_t l = 0; l < j->L; l++) {
        pf_d3pm_row(&j->kernel, t, (int)j->x0[b * j->L + l], whole, log_q);
        for (size_t k = 0; k < K; k++) log_q[k] = log(log_q[k] + j->eps);
        x[l] = pf_cat_draw(j->K, log_q, j->u + n * j->row + l * K);
        c->xt[n * j->L + l] = x[l];
    }
    logits(j, t, x);
    for (size_t l = 0; l < j->L; l++) {
        size_t at = n * j->row + l * K;
        const int32_t pair[2] = {x[l], (int32_t)j->x0[b * j->L + l]};
        pf_cat_row z = {.d = j->z + l * K};
        pf_d3pm_posterior(&j->model, t, pair, c->posterior + at);
        pf_d3pm_reverse(&j->model, t, pair[0], z, c->before + at);
        pf_d3pm_cost cost =
            pf_d3pm_term(&j->model, t, pair, z, j->bits, (pf_cat_slope){.d = c->slope + at});
        c->vb[n] += j->bits * cost.term;
        c->ce[n] += j->bits * cost.cross;
    }
    c->both[n] = c->vb[n] + hybrid * c->ce[n];
    c->turned[b * (size_t)j->T + (size_t)t] = c->vb[n];
}

static void hold_chain(const job *j, const chain *c)
{
    size_t all = (size_t)j->T * j->B, big = all * j->row;
    const char *g = j->group;
    vectors_hold(j->v, 0.0, c->xt, all * j->L, "%s/x_t", g);
    vectors_hold(j->v, tolerance, c->posterior, big, "%s/q_posterior_logits", g);
    vectors_hold(j->v, tolerance, c->before, big, "%s/p_logits", g);
    vectors_hold(j->v, tolerance, c->slope, big, "%s/grad_logits", g);
    vectors_hold(j->v, tolerance, c->vb, all, "%s/vb", g);
    vectors_hold(j->v, tolerance, c->ce, all, "%s/ce", g);
    vectors_hold(j->v, tolerance, c->both, all, "%s/hybrid", g);
    vectors_hold(j->v, tolerance, c->turned, all, "%s/vbterms", g);
    vectors_hold(j->v, tolerance, c->prior, j->B, "%s/prior_bpd", g);
    vectors_hold(j->v, tolerance, c->total, j->B, "%s/total_bpd", g);
}

/* A step of sampling from the states xt [B,L] of the last index, with the first noise. */
static PF_MUST_USE pf_status hold_step(const job *j, const double *xt)
{
    size_t n = j->B * j->row;
    double *p = pf_zalloc((n + j->B * j->L) * sizeof *p), *x = p + n, log_p[PF_D3PM_WIDE];
    PF_REQUIRE(p, PF_EMEM, "no memory for a step");
    for (size_t b = 0; b < j->B; b++) {
        int32_t seen[LENGTH_MAX];
        for (size_t l = 0; l < j->L; l++) seen[l] = (int32_t)xt[b * j->L + l];
        logits(j, j->T - 1, seen);
        for (size_t l = 0; l < j->L; l++) {
            size_t at = l * (size_t)j->K;
            pf_cat_row z = {.d = j->z + at};
            pf_d3pm_reverse(&j->model, j->T - 1, seen[l], z, log_p);
            x[b * j->L + l] = pf_cat_draw(j->K, log_p, j->u + b * j->row + at);
            pf_cat_log_softmax(j->K, z, log_p);
            for (size_t k = 0; k < (size_t)j->K; k++) p[b * j->row + at + k] = exp(log_p[k]);
        }
    }
    vectors_hold(j->v, 0.0, x, j->B * j->L, "%s/p_sample_last/x", j->group);
    vectors_hold(j->v, tolerance, p, n, "%s/p_sample_last/pred_x_start", j->group);
    pf_free(p);
    return PF_OK;
}

static PF_MUST_USE pf_status check_chain(const job *j)
{
    size_t all = (size_t)j->T * j->B, big = all * j->row;
    double *mem = pf_zalloc((3 * big + all * (j->L + 4) + 2 * j->B) * sizeof *mem);
    PF_REQUIRE(mem, PF_EMEM, "no memory for a chain");
    chain c = {.posterior = mem, .before = mem + big, .slope = mem + 2 * big};
    c.xt = mem + 3 * big;
    c.vb = c.xt + all * j->L;
    c.ce = c.vb + all;
    c.both = c.ce + all;
    c.turned = c.both + all;
    c.prior = c.turned + all;
    c.total = c.prior + j->B;
    for (int t = 0; t < j->T; t++)
        for (size_t b = 0; b < j->B; b++) follow(j, &c, t, b);
    for (size_t b = 0; b < j->B; b++) {
        for (size_t l = 0; l < j->L; l++)
            c.prior[b] += j->bits * pf_d3pm_prior(&j->model, (int)j->x0[b * j->L + l]);
        c.total[b] = c.prior[b];
        for (int t = 0; t < j->T; t++) c.total[b] += c.vb[(size_t)t * j->B + b];
    }
    hold_chain(j, &c);
    pf_status st = hold_step(j, c.xt + (all - j->B) * j->L);
    pf_free(mem);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- all states ---- */

typedef struct exact {
    size_t S;
    double *expected;            /* [B,T] */
    double *total, *log_p;       /* [B] */
    double *p, *next;            /* [S] */
    double *chance, *cost, *row; /* [L,K], [L,K], [K] */
} exact;

/* What x_t = state s at t adds to expectations, and where its probability goes. */
static void from_state(const job *j, const exact *e, int t, size_t s)
{
    size_t K = (size_t)j->K;
    const pf_d3pm_part whole = {0, j->K};
    int32_t xt[LENGTH_MAX], x[LENGTH_MAX];
    toy_net_state(&j->net, s, K, xt);
    logits(j, t, xt);
    for (size_t l = 0; l < j->L; l++) {
        pf_cat_row z = {.d = j->z + l * K};
        pf_d3pm_reverse(&j->model, t, xt[l], z, e->chance + l * K);
        pf_cat_log_softmax(j->K, (pf_cat_row){.d = e->chance + l * K}, e->chance + l * K);
        for (int k = 0; k < j->K; k++) {
            const int32_t pair[2] = {xt[l], k};
            e->cost[l * K + (size_t)k] = pf_d3pm_term(&j->model, t, pair, z, 0.0, none).term;
        }
    }
    for (size_t b = 0; b < j->B; b++) {
        double q = 1.0, nats = 0.0;
        for (size_t l = 0; l < j->L; l++) {
            int k = (int)j->x0[b * j->L + l];
            pf_d3pm_row(&j->kernel, t, k, whole, e->row);
            q *= e->row[xt[l]];
            nats += e->cost[l * K + (size_t)k];
        }
        e->expected[b * (size_t)j->T + (size_t)t] += q * nats * j->bits;
    }
    for (size_t r = 0; r < e->S; r++) {
        double log_p = 0.0;
        toy_net_state(&j->net, r, K, x);
        for (size_t l = 0; l < j->L; l++) log_p += e->chance[l * K + (size_t)x[l]];
        e->next[r] += e->p[s] * exp(log_p);
    }
}

/* The number of a state, the inverse of toy_net_state. */
static size_t number_of(const job *j, const double *x)
{
    size_t n = 0;
    for (size_t l = 0; l < j->L; l++) n = n * (size_t)j->K + (size_t)x[l];
    return n;
}

static void enumerate(const job *j, exact *e)
{
    double masked[LENGTH_MAX];
    for (size_t l = 0; l < j->L; l++) masked[l] = j->K / 2;
    for (size_t s = 0; s < e->S; s++) e->p[s] = 1.0 / (double)e->S;
    for (size_t s = 0; s < e->S && j->kernel.is.kind == PF_D3PM_ABSORBING; s++)
        e->p[s] = s == number_of(j, masked);
    for (int t = j->T; t-- > 0;) {
        memset(e->next, 0, e->S * sizeof *e->next);
        for (size_t s = 0; s < e->S; s++) from_state(j, e, t, s);
        double *swap = e->p;
        e->p = e->next;
        e->next = swap;
    }
    for (size_t b = 0; b < j->B; b++) {
        const double *x = j->x0 + b * j->L;
        e->log_p[b] = log(e->p[number_of(j, x)]);
        for (size_t l = 0; l < j->L; l++)
            e->total[b] += j->bits * pf_d3pm_prior(&j->model, (int)x[l]);
        for (int t = 0; t < j->T; t++) e->total[b] += e->expected[b * (size_t)j->T + (size_t)t];
    }
}

static PF_MUST_USE pf_status check_exact(const job *j)
{
    double states = pow(j->K, (double)j->L);
    size_t S = states <= STATES_MAX ? (size_t)lround(states) : 0, T = (size_t)j->T;
    if (!S || !vectors_find(j->v, "%s/exact/log_p_nats", j->group)) return PF_OK;
    double *mem = pf_zalloc((j->B * (T + 2) + 2 * S + 2 * j->row + (size_t)j->K) * sizeof *mem);
    PF_REQUIRE(mem, PF_EMEM, "no memory for %zu states", S);
    exact e = {.S = S, .expected = mem, .total = mem + j->B * T};
    e.log_p = e.total + j->B;
    e.p = e.log_p + j->B;
    e.next = e.p + S;
    e.chance = e.next + S;
    e.cost = e.chance + j->row;
    e.row = e.cost + j->row;
    enumerate(j, &e);
    vectors_hold(j->v, tolerance, e.expected, j->B * T, "%s/exact/expected_vb", j->group);
    vectors_hold(j->v, tolerance, e.total, j->B, "%s/exact/total_bpd", j->group);
    vectors_hold(j->v, tolerance, e.log_p, j->B, "%s/exact/log_p_nats", j->group);
    pf_free(mem);
    return PF_OK;
}

/* ---- a kernel ---- */

static PF_MUST_USE pf_status check_kernel(job *j, pf_d3pm_kind kind, int bands)
{
    double range = 2.0 / (j->K - 1);
    int all = bands < 1 || bands >= j->K - 1;
    const pf_d3pm_matrices is = {.kind = kind,
                                 .T = j->T,
                                 .V = j->K,
                                 .mask = kind == PF_D3PM_ABSORBING ? j->K / 2 : -1,
                                 .bands = all ? 0 : bands,
                                 .unit = range * 255.0 / (j->K - 1)};
    PF_TRY(pf_d3pm_kernel_open(&is, j->beta, &j->kernel));
    j->model = (pf_d3pm_model){
        .kernel = &j->kernel, .K = j->K, .columns = j->K, .floor = j->eps, .floor_q = j->eps};
    PF_TRY(hold_betas(j));
    PF_TRY(hold_matrices(j));
    if (j->B) PF_TRY(check_chain(j));
    if (j->B) PF_TRY(check_exact(j));
    return PF_OK;
}

static PF_MUST_USE pf_status check_kernels(job *j, int bands)
{
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        const vectors_array *beta = vectors_find(j->v, "%s/betas", kinds[n]);
        if (!beta || beta->size != (size_t)j->T) continue;
        j->group = kinds[n];
        j->beta = beta->v;
        pf_status st = check_kernel(j, (pf_d3pm_kind)n, bands);
        pf_d3pm_kernel_close(&j->kernel);
        if (st) return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

static double number_in(vectors *v, const char *name, double other)
{
    char *text = vectors_attr(v, "%s", name);
    double value = text ? atof(text) : other;
    pf_free(text);
    return value;
}

static pf_status check(vectors *v)
{
    const vectors_array *u = vectors_find(v, "noise_uniform"), *x0 = vectors_find(v, "x0");
    job j = {.v = v, .T = (int)number_in(v, "T", 0.0), .eps = number_in(v, "eps", 1e-6)};
    PF_REQUIRE(j.T > 1, PF_EFORMAT, "%s does not say how many steps it has", v->path);
    if (!toy_net_open(v, "net", &j.net) || j.net.L > LENGTH_MAX || j.net.K > PF_D3PM_WIDE)
        return PF_OK;
    j.K = (int)j.net.K;
    j.L = j.net.L;
    j.row = j.L * j.net.K;
    j.bits = 1.0 / ((double)j.L * M_LN2);
    j.B = x0 ? x0->size / j.L : 0;
    if (!u || u->size != (size_t)j.T * j.B * j.row) j.B = 0; /* no chain */
    j.x0 = x0 ? x0->v : NULL;
    j.u = u ? u->v : NULL;
    j.z = pf_zalloc(j.row * sizeof *j.z);
    PF_REQUIRE(j.z, PF_EMEM, "no memory");
    pf_status st = check_kernels(&j, (int)number_in(v, "transition_bands", 0.0));
    pf_free(j.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_d3pm = {
    .stem = "d3pm",
    .inputs = (const char *const[]){"net", "x0", "noise_uniform", NULL},
    .check = check};
