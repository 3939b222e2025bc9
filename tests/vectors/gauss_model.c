/* gauss_pmv, gauss_bpd and gauss_steps: what a network's output means, costs and does in a chain. */
#include "gauss.h"

#include "method/gauss.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

static const double tolerance = 1e-10;
static const char *const means[] = {"EPSILON", "START_X", "PREVIOUS_X"}; /* as pf_predicts */
static const char *const variances[] = {"FIXED_SMALL", "FIXED_LARGE"};
static const pf_decoder published = {PF_CDF_TANH, 256};

/* Rows to fill, one block: B rows of D, then sums of B. */
enum { ROW_MEAN, ROW_VARIANCE, ROW_LOG_VARIANCE, ROW_DATA, ROW_NET, ROW_GRAD, ROWS };
enum { SUM_KL, SUM_DECODER, SUM_TERM, SUM_SQUARES, SUMS };
typedef struct job {
    vectors *v;
    pf_gauss *g;
    const vectors_array *x0, *xi, *z, *t;
    int B, C; /* C: channels of a datum */
    size_t D;
    double *row[ROWS], *sum[SUMS];
} job;

/* x [B,..]: sizes, rows and the chain of the file's betas. */
static PF_MUST_USE pf_status prepare(job *j, vectors *v, const vectors_array *x)
{
    const vectors_array *beta = vectors_find(v, "betas");
    PF_REQUIRE(beta && x && x->rank > 1 && x->dim[0] > 0, PF_EFORMAT, "%s lacks an input",
               v->path);
    j->v = v;
    j->B = (int)x->dim[0];
    j->D = x->size / (size_t)j->B;
    j->C = (int)x->dim[x->rank - 1];
    double *block = pf_zalloc((ROWS * x->size + SUMS * (size_t)j->B) * sizeof *block);
    PF_REQUIRE(block, PF_EMEM, "no memory for rows of %zu", x->size);
    for (int i = 0; i < ROWS; i++) j->row[i] = block + (size_t)i * x->size;
    for (int i = 0; i < SUMS; i++) j->sum[i] = block + ROWS * x->size + i * j->B;
    PF_TRY(pf_gauss_create((int)beta->size, beta->v, &j->g));
    return PF_OK;
}

static void drop(job *j)
{
    pf_gauss_free(j->g);
    pf_free(j->row[0]);
}

static void hold_rows(job *j, int row, const char *group, const char *name)
{
    vectors_hold(j->v, tolerance, j->row[row], (size_t)j->B * j->D, "%s/%s", group, name);
}

static void hold_sums(job *j, int sum, const char *group, const char *name)
{
    vectors_hold(j->v, tolerance, j->sum[sum], (size_t)j->B, "%s/%s", group, name);
}

static void fill(double *to, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) to[i] = value;
}

/* Indices of the rows are within the chain. */
static int in_chain(const job *j, const vectors_array *t)
{
    int good = t && t->size == (size_t)j->B;
    for (int b = 0; good && b < j->B; b++) good = t->v[b] >= 0 && t->v[b] < j->g->T;
    return good;
}

/* ---- gauss_pmv ---- */

static void hold_q(job *j)
{
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        int i = (int)j->t->v[b];
        pf_gauss_at a = pf_gauss_index(j->g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, i);
        fill(j->row[ROW_NET] + at, D, 0.0); /* no noise */
        pf_gauss_noised(&a, D, j->x0->v + at, j->row[ROW_NET] + at, j->row[ROW_MEAN] + at);
        fill(j->row[ROW_VARIANCE] + at, D, j->g->noise[i]);
        fill(j->row[ROW_LOG_VARIANCE] + at, D, log(j->g->noise[i]));
        j->sum[SUM_KL][b] = pf_gauss_prior(j->g, D, j->x0->v + at) / (double)D / M_LN2;
    }
    hold_rows(j, ROW_MEAN, "q", "mean");
    hold_rows(j, ROW_VARIANCE, "q", "variance");
    hold_rows(j, ROW_LOG_VARIANCE, "q", "log_variance");
    vectors_hold(j->v, tolerance, j->sum[SUM_KL], (size_t)j->B, "prior_bpd");
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        int i = (int)j->t->v[b];
        pf_gauss_at a = pf_gauss_index(j->g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, i);
        pf_gauss_posterior(&a, D, j->x0->v + at, j->xi->v + at, j->row[ROW_MEAN] + at);
        fill(j->row[ROW_VARIANCE] + at, D, a.variance);
        fill(j->row[ROW_LOG_VARIANCE] + at, D, a.q_log_variance);
    }
    hold_rows(j, ROW_MEAN, "q_posterior", "mean");
    hold_rows(j, ROW_VARIANCE, "q_posterior", "variance");
    hold_rows(j, ROW_LOG_VARIANCE, "q_posterior", "log_variance_clipped");
}

/* The network's output: the first C channels of each pixel. */
static int take_net(job *j, const char *mean_type)
{
    const vectors_array *net = vectors_find(j->v, "net/%s", mean_type);
    size_t n = (size_t)j->B * j->D, C = (size_t)j->C;
    if (!net || !net->rank || net->size % (n / C)) return 0;
    size_t stored = net->size / (n / C);
    for (size_t e = 0; stored >= C && e < n; e++)
        j->row[ROW_NET][e] = net->v[e / C * stored + e % C];
    return stored >= C;
}

static void hold_model(job *j, int p, int v, int clip)
{
    char group[VECTORS_NAME_MAX];
    double bits = 1.0 / ((double)j->D * M_LN2);
    snprintf(group, sizeof group, "p/%s/%s/clip%d", means[p], variances[v], clip);
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        const double *x0 = j->x0->v + at, *xi = j->xi->v + at;
        double *mean = j->row[ROW_MEAN] + at;
        pf_gauss_at a = pf_gauss_index(j->g, (pf_predicts)p, (pf_variance)v, (int)j->t->v[b]);
        pf_gauss_predict(&a, clip, D, xi, j->row[ROW_NET] + at, j->row[ROW_DATA] + at, mean);
        fill(j->row[ROW_VARIANCE] + at, D, a.variance);
        fill(j->row[ROW_LOG_VARIANCE] + at, D, a.log_variance);
        j->sum[SUM_KL][b] = bits * pf_gauss_kl(&a, D, x0, xi, mean, NULL);
        j->sum[SUM_DECODER][b] =
            a.i ? NAN : bits * pf_gauss_decode(&a, &published, D, x0, mean, NULL);
        j->sum[SUM_TERM][b] = bits * pf_gauss_term(&a, &published, D, x0, xi, mean, NULL);
    }
    hold_rows(j, ROW_MEAN, group, "mean");
    hold_rows(j, ROW_VARIANCE, group, "variance");
    hold_rows(j, ROW_LOG_VARIANCE, group, "log_variance");
    hold_rows(j, ROW_DATA, group, "pred_xstart");
    hold_sums(j, SUM_KL, group, "kl_bits_per_dim");
    hold_sums(j, SUM_DECODER, group, "decoder_bits_per_dim");
    hold_sums(j, SUM_TERM, group, "vb");
}

static void hold_losses(job *j, int p, int v)
{
    char group[VECTORS_NAME_MAX];
    for (int kl = 0; kl < 2; kl++) {
        double reduce = 1.0 / ((double)j->D * (kl ? M_LN2 : 1.0));
        snprintf(group, sizeof group, "loss/%s/%s/%s", means[p], variances[v],
                 kl ? "KL" : "MSE");
        for (int b = 0; b < j->B; b++) {
            size_t D = j->D, at = (size_t)b * D;
            const double *x0 = j->x0->v + at, *xi = j->xi->v + at, *net = j->row[ROW_NET] + at;
            double *grad = j->row[ROW_GRAD] + at, *mean = j->row[ROW_MEAN] + at;
            pf_gauss_at a =
                pf_gauss_index(j->g, (pf_predicts)p, (pf_variance)v, (int)j->t->v[b]);
            pf_gauss_predict(&a, 0, D, xi, net, j->row[ROW_DATA] + at, mean);
            double sum = kl ? pf_gauss_term(&a, &published, D, x0, xi, mean, grad)
                            : pf_gauss_squares(&a, D, x0, xi, j->z->v + at, net, grad);
            for (size_t e = 0; e < D; e++) grad[e] *= reduce * (kl ? a.slope : 1.0);
            j->sum[SUM_TERM][b] = reduce * sum;
        }
        hold_sums(j, SUM_TERM, group, "loss");
        if (!kl) hold_sums(j, SUM_TERM, group, "mse");
        hold_rows(j, ROW_GRAD, group, "grad_output");
    }
}

static pf_status check_pmv(vectors *v)
{
    job j = {.x0 = vectors_find(v, "x_start"),
             .xi = vectors_find(v, "x_t"),
             .z = vectors_find(v, "noise"),
             .t = vectors_find(v, "t")};
    pf_status st = prepare(&j, v, j.x0);
    if (!st && !(in_chain(&j, j.t) && j.xi && j.z && j.xi->size == j.x0->size &&
                 j.z->size == j.x0->size))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s lacks an input", v->path);
    if (!st) hold_q(&j);
    for (int p = 0; !st && p < 3; p++) {
        if (!take_net(&j, means[p])) continue;
        for (int k = 0; k < 2; k++) {
            hold_model(&j, p, k, 0);
            hold_model(&j, p, k, 1);
            hold_losses(&j, p, k);
        }
    }
    drop(&j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_pmv = {
    .stem = "gauss_pmv",
    .inputs = (const char *const[]){"betas", "net", "noise", "t", "x_start", "x_t", NULL},
    .check = check_pmv};

/* ---- the affine network of gauss_bpd and gauss_steps: A[i] x + c[i] ---- */

static void affine(const job *j, const vectors_array *A, const vectors_array *c, int i,
                   const double *x, double *net)
{
    for (size_t e = 0; e < j->D; e++) net[e] = A->v[i] * x[e] + c->v[(size_t)i * j->D + e];
}

static int is_affine(const job *j, const vectors_array *A, const vectors_array *c)
{
    size_t T = (size_t)j->g->T;
    return A && c && A->size == T && c->size == T * j->D;
}

/* ---- gauss_bpd ---- */

typedef struct bound {
    const vectors_array *A, *c;
    int p, v, clip;
    double *term, *data_error, *noise_error; /* [B,T] */
} bound;

static void bound_row(job *j, const bound *o, int b, int i)
{
    size_t D = j->D, at = (size_t)b * D, T = (size_t)j->g->T, to = (size_t)b * T + (size_t)i;
    const double *x0 = j->x0->v + at, *z = j->z->v + ((size_t)i * (size_t)j->B + (size_t)b) * D;
    double *xi = j->row[ROW_VARIANCE], *net = j->row[ROW_NET], *data = j->row[ROW_DATA],
           *mean = j->row[ROW_MEAN], *noise = j->row[ROW_GRAD];
    pf_gauss_at a = pf_gauss_index(j->g, (pf_predicts)o->p, (pf_variance)o->v, i);
    pf_gauss_noised(&a, D, x0, z, xi);
    affine(j, o->A, o->c, i, xi, net);
    pf_gauss_predict(&a, o->clip, D, xi, net, data, mean);
    pf_gauss_noise_of(&a, D, xi, data, noise);
    o->term[to] = pf_gauss_term(&a, &published, D, x0, xi, mean, NULL) / ((double)D * M_LN2);
    for (size_t e = 0; e < D; e++) {
        o->data_error[to] += (data[e] - x0[e]) * (data[e] - x0[e]) / (double)D;
        o->noise_error[to] += (noise[e] - z[e]) * (noise[e] - z[e]) / (double)D;
    }
}

static PF_MUST_USE pf_status hold_bound(job *j, bound o)
{
    char group[VECTORS_NAME_MAX];
    size_t T = (size_t)j->g->T, n = (size_t)j->B * T;
    double *block = pf_zalloc(3 * n * sizeof *block);
    PF_REQUIRE(block, PF_EMEM, "no memory for %zu terms", n);
    o.term = block;
    o.data_error = block + n;
    o.noise_error = block + 2 * n;
    snprintf(group, sizeof group, "full/%s/%s/clip%d", means[o.p], variances[o.v], o.clip);
    for (int b = 0; b < j->B; b++) {
        double prior = pf_gauss_prior(j->g, j->D, j->x0->v + (size_t)b * j->D);
        j->sum[SUM_KL][b] = j->sum[SUM_TERM][b] = prior / ((double)j->D * M_LN2);
        for (int i = 0; i < j->g->T; i++) {
            bound_row(j, &o, b, i);
            j->sum[SUM_TERM][b] += o.term[(size_t)b * T + (size_t)i];
        }
    }
    vectors_hold(j->v, tolerance, o.term, n, "%s/vb", group);
    vectors_hold(j->v, tolerance, o.data_error, n, "%s/xstart_mse", group);
    vectors_hold(j->v, tolerance, o.noise_error, n, "%s/mse", group);
    hold_sums(j, SUM_KL, group, "prior_bpd");
    hold_sums(j, SUM_TERM, group, "total_bpd");
    pf_free(block);
    return PF_OK;
}

static pf_status check_bpd(vectors *v)
{
    static const char *const nets[] = {"net", "net_x0"};
    job j = {.x0 = vectors_find(v, "x_start"), .z = vectors_find(v, "noise")};
    pf_status st = prepare(&j, v, j.x0);
    if (!st && !(j.z && j.z->size == j.x0->size * (size_t)j.g->T))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s lacks an input", v->path);
    for (int k = 0; !st && k < 8; k++) {
        bound o = {vectors_find(v, "%s/A", nets[k / 4]), vectors_find(v, "%s/c", nets[k / 4]),
                   .p = k / 4, .v = k / 2 % 2, .clip = k % 2};
        if (is_affine(&j, o.A, o.c)) st = hold_bound(&j, o);
    }
    drop(&j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_bpd = {
    .stem = "gauss_bpd",
    .inputs = (const char *const[]){"betas", "net", "net_x0", "noise", "x_start", NULL},
    .check = check_bpd};

/* ---- gauss_steps ---- */

static pf_status check_steps(vectors *v)
{
    const vectors_array *A = vectors_find(v, "net/A"), *c = vectors_find(v, "net/c");
    job j = {
        .xi = vectors_find(v, "x"), .z = vectors_find(v, "noise"), .t = vectors_find(v, "t")};
    pf_status st = prepare(&j, v, j.xi);
    if (!st && !(in_chain(&j, j.t) && is_affine(&j, A, c) && j.z && j.z->size == j.xi->size))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s lacks an input", v->path);
    for (int k = 0; !st && k < 4; k++) {
        for (int b = 0; b < j.B; b++) {
            size_t D = j.D, at = (size_t)b * D;
            int i = (int)j.t->v[b];
            pf_gauss_at a = pf_gauss_index(j.g, PF_PREDICTS_NOISE, (pf_variance)(k / 2), i);
            affine(&j, A, c, i, j.xi->v + at, j.row[ROW_NET]);
            pf_gauss_predict(&a, k % 2, D, j.xi->v + at, j.row[ROW_NET], j.row[ROW_DATA],
                             j.row[ROW_VARIANCE]);
            pf_gauss_step(&a, D, j.row[ROW_VARIANCE], j.z->v + at, j.row[ROW_MEAN] + at);
        }
        vectors_hold(v, tolerance, j.row[ROW_MEAN], (size_t)j.B * j.D,
                     "step/%s/clip%d/ancestral_plain", variances[k / 2], k % 2);
    }
    drop(&j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_steps = {
    .stem = "gauss_steps",
    .inputs = (const char *const[]){"betas", "grad", "net", "noise", "t", "x", "chain/*/x_T",
                                    "chain/*/noise", "chain/*/encode_start", NULL},
    .check = check_steps};
