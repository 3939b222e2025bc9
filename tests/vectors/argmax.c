/* argmax: codes, bounds with their gradients from stored noise, exact probabilities, both maps of one-hot argmax. */
#include "argmax.h"
#include "mixture_cdf.h"

#include "method/argmax.h"

#include <probflow/memory.h>

#include <math.h>

static const double tolerance = 1e-10;
enum { NUMBERS_MAX = 4096 }; /* of a row on the stack */

/* ---- codes ---- */

static PF_MUST_USE pf_status check_codes(vectors *v)
{
    const vectors_array *codes = vectors_find(v, "binary/codes");
    if (!codes || codes->rank != 2) return PF_OK;
    int K = (int)codes->dim[0], B = (int)codes->dim[1];
    double dims = pf_argmax_bits(K);
    double *mem = pf_zalloc((codes->size + (size_t)K) * sizeof *mem), *back = mem + codes->size;
    PF_REQUIRE(mem, PF_EMEM, "no memory for %d codes", K);
    for (int k = 0; k < K; k++) {
        double signs[PF_ARGMAX_BITS_MAX];
        for (int b = 0; b < B; b++) {
            signs[b] = pf_argmax_sign(B, k, b);
            mem[k * B + b] = 0.5 * (1.0 + signs[b]);
        }
        back[k] = pf_argmax_code(B, signs);
    }
    vectors_hold(v, 0.0, &dims, 1, "binary/dims");
    vectors_hold(v, 0.0, mem, codes->size, "binary/codes");
    vectors_hold(v, 0.0, back, (size_t)K, "binary/back");
    pf_free(mem);
    return PF_OK;
}

/* ---- bounds ---- */

typedef struct bounds {
    int draws, rows, L, B, K;
    const double *x, *noise, *mean, *log_std, *loc, *log_scale;
    double *v, *decoded, *log_q, *w, *iwbo; /* as stored */
    double *slope[4];                       /* of mean, log_std, loc, log_scale */
    double *share;                          /* [draws] */
} bounds;

static pf_argmax_normal encoder(const bounds *j, int k)
{
    return (pf_argmax_normal){j->mean + k * j->B, j->log_std + k * j->B};
}

static void follow(const bounds *j, int draw, int row)
{
    const pf_argmax_normal p = {j->loc, j->log_scale};
    int n = draw * j->rows + row;
    double log_p = 0.0;
    for (int l = 0; l < j->L; l++) {
        int at = n * j->L + l, k = (int)j->x[row * j->L + l];
        double *v = j->v + (size_t)at * (size_t)j->B;
        j->log_q[n] +=
            pf_argmax_encode(j->B, k, encoder(j, k), j->noise + (size_t)at * (size_t)j->B, v);
        log_p += pf_argmax_log_density(j->B, p, v);
        j->decoded[at] = pf_argmax_code(j->B, v);
    }
    j->w[n] = log_p - j->log_q[n];
}

/* The bound of all draws of a row, and its gradient. */
static void gather(const bounds *j, int row)
{
    const pf_argmax_normal p = {j->loc, j->log_scale};
    double w[NUMBERS_MAX];
    for (int d = 0; d < j->draws; d++) w[d] = j->w[d * j->rows + row];
    j->iwbo[row] = pf_argmax_bound(j->draws, w, j->share);
    for (int d = 0; d < j->draws; d++)
        for (int l = 0; l < j->L; l++) {
            int at = (d * j->rows + row) * j->L + l, k = (int)j->x[row * j->L + l];
            const pf_argmax_slope g = {j->slope[0] + k * j->B, j->slope[1] + k * j->B,
                                       j->slope[2], j->slope[3]};
            pf_argmax_elbo_slope(j->B, k, encoder(j, k), p,
                                 j->noise + (size_t)at * (size_t)j->B, j->share[d], g);
        }
}

static void hold_bounds(vectors *v, const bounds *j)
{
    size_t n = (size_t)(j->draws * j->rows), all = n * (size_t)j->L, B = (size_t)j->B;
    size_t table = (size_t)j->K * B;
    vectors_hold(v, tolerance, j->v, all * B, "elbo/v");
    vectors_hold(v, 0.0, j->decoded, all, "elbo/decoded");
    vectors_hold(v, tolerance, j->log_q, n, "elbo/log_q");
    vectors_hold(v, tolerance, j->w, n, "elbo/log_prob_sample");
    vectors_hold(v, tolerance, j->iwbo, (size_t)j->rows, "elbo/iwbo_nats");
    vectors_hold(v, tolerance, j->slope[0], table, "elbo/grad_mean");
    vectors_hold(v, tolerance, j->slope[1], table, "elbo/grad_log_std");
    vectors_hold(v, tolerance, j->slope[2], B, "elbo/grad_loc");
    vectors_hold(v, tolerance, j->slope[3], B, "elbo/grad_log_scale");
}

static PF_MUST_USE pf_status check_bounds(vectors *v, bounds *j)
{
    size_t n = (size_t)(j->draws * j->rows), all = n * (size_t)j->L, B = (size_t)j->B;
    size_t table = (size_t)j->K * B;
    double *mem = pf_zalloc(
        (all * (B + 1) + 2 * n + (size_t)j->rows + 2 * table + 2 * B + (size_t)j->draws) *
        sizeof *mem);
    PF_REQUIRE(mem, PF_EMEM, "no memory for %zu bounds", n);
    j->v = mem;
    j->decoded = j->v + all * B;
    j->log_q = j->decoded + all;
    j->w = j->log_q + n;
    j->iwbo = j->w + n;
    j->slope[0] = j->iwbo + j->rows;
    j->slope[1] = j->slope[0] + table;
    j->slope[2] = j->slope[1] + table;
    j->slope[3] = j->slope[2] + B;
    j->share = j->slope[3] + B;
    for (int d = 0; d < j->draws; d++)
        for (int r = 0; r < j->rows; r++) follow(j, d, r);
    for (int r = 0; r < j->rows; r++) gather(j, r);
    hold_bounds(v, j);
    pf_free(mem);
    return PF_OK;
}

static void check_exact(vectors *v, const bounds *j)
{
    const pf_argmax_normal p = {j->loc, j->log_scale};
    double symbol[NUMBERS_MAX], row[NUMBERS_MAX];
    for (int k = 0; k < j->K; k++) symbol[k] = pf_argmax_log_orthant(j->B, k, p);
    for (int r = 0; r < j->rows; r++) {
        row[r] = 0.0;
        for (int l = 0; l < j->L; l++) row[r] += symbol[(int)j->x[r * j->L + l]];
    }
    vectors_hold(v, tolerance, symbol, (size_t)j->K, "exact/log_p_symbol");
    vectors_hold(v, tolerance, row, (size_t)j->rows, "exact/log_p_x");
}

static PF_MUST_USE pf_status check_normal(vectors *v)
{
    const vectors_array *x = vectors_find(v, "x"), *noise = vectors_find(v, "noise"),
                        *mean = vectors_find(v, "encoder/mean"),
                        *std = vectors_find(v, "encoder/log_std"),
                        *loc = vectors_find(v, "prior/loc"),
                        *scale = vectors_find(v, "prior/log_scale");
    if (!x || !mean || !std || !loc || !scale || x->rank != 2 || mean->rank != 2) return PF_OK;
    bounds j = {.rows = (int)x->dim[0],
                .L = (int)x->dim[1],
                .K = (int)mean->dim[0],
                .B = (int)mean->dim[1],
                .x = x->v,
                .mean = mean->v,
                .log_std = std->v,
                .loc = loc->v,
                .log_scale = scale->v};
    int fits = j.B <= PF_ARGMAX_BITS_MAX && j.K <= 1 << j.B && j.K <= NUMBERS_MAX &&
               j.rows <= NUMBERS_MAX && std->size == mean->size && loc->size == (size_t)j.B &&
               scale->size == (size_t)j.B;
    for (size_t i = 0; i < x->size; i++) fits &= x->v[i] >= 0 && x->v[i] < j.K;
    PF_REQUIRE(fits, PF_EFORMAT, "%s: tables and symbols do not fit", v->path);
    check_exact(v, &j);
    size_t draw = x->size * (size_t)j.B;
    if (!noise || noise->size % draw || noise->size / draw > NUMBERS_MAX) return PF_OK;
    j.draws = (int)(noise->size / draw);
    j.noise = noise->v;
    PF_TRY(check_bounds(v, &j));
    return PF_OK;
}

/* ---- one-hot argmax ---- */

typedef struct onehot {
    const vectors_array *x, *u, *uniform;
    int K;
    double *v, *one, *two; /* [rows,K], [rows], [rows] */
} onehot;

static void hold_softplus(vectors *v, const onehot *j)
{
    size_t n = j->x->size, K = (size_t)j->K;
    double back[NUMBERS_MAX], worst = 0.0;
    for (size_t r = 0; r < n; r++) {
        int x = (int)j->x->v[r];
        j->one[r] = pf_argmax_softplus(j->K, x, j->u->v + r * K, j->v + r * K);
        pf_argmax_softplus_inverse(j->K, x, j->v + r * K, back);
        for (size_t i = 0; i < K; i++) worst = fmax(worst, fabs(back[i] - j->u->v[r * K + i]));
    }
    vectors_hold(v, tolerance, j->v, n * K, "softplus_threshold/v");
    vectors_error(v, worst, tolerance, "softplus_threshold/v");
    vectors_hold(v, tolerance, j->one, n, "softplus_threshold/log_abs_det_dv_du");
}

static void hold_gumbel(vectors *v, const onehot *j)
{
    size_t n = j->x->size, K = (size_t)j->K;
    double back[NUMBERS_MAX], worst = 0.0;
    for (size_t r = 0; r < n; r++) {
        int x = (int)j->x->v[r];
        const double *phi = j->u->v + r * K, *w = j->uniform->v + r * K;
        j->one[r] = pf_argmax_gumbel(j->K, x, phi, w, j->v + r * K);
        j->two[r] = pf_argmax_log_gumbels(j->K, phi, j->v + r * K);
        pf_argmax_gumbel_inverse(j->K, x, phi, j->v + r * K, back);
        for (size_t i = 0; i < K; i++) worst = fmax(worst, fabs(back[i] - w[i]));
    }
    vectors_hold(v, tolerance, j->v, n * K, "gumbel_threshold/v");
    vectors_error(v, worst, tolerance, "gumbel_threshold/v");
    vectors_hold(v, tolerance, j->one, n, "gumbel_threshold/log_q");
    vectors_hold(v, tolerance, j->two, n, "gumbel_threshold/log_gumbel_product");
}

static PF_MUST_USE pf_status check_onehot(vectors *v, int gumbel)
{
    const char *group = gumbel ? "gumbel_threshold" : "softplus_threshold";
    onehot j = {.x = vectors_find(v, "%s/x", group),
                .u = vectors_find(v, "%s/%s", group, gumbel ? "phi" : "u"),
                .uniform = vectors_find(v, "%s/uniform", group)};
    if (!j.x || !j.u || (gumbel && !j.uniform) || !j.x->size || j.u->size % j.x->size)
        return PF_OK;
    j.K = (int)(j.u->size / j.x->size);
    int fits = j.K <= NUMBERS_MAX && (!gumbel || j.uniform->size == j.u->size);
    for (size_t i = 0; i < j.x->size; i++) fits &= j.x->v[i] >= 0 && j.x->v[i] < j.K;
    PF_REQUIRE(fits, PF_EFORMAT, "%s: %s does not fit", v->path, group);
    j.v = pf_zalloc((j.u->size + 2 * j.x->size) * sizeof *j.v);
    PF_REQUIRE(j.v, PF_EMEM, "no memory for %zu rows", j.x->size);
    j.one = j.v + j.u->size;
    j.two = j.one + j.x->size;
    if (gumbel) hold_gumbel(v, &j);
    else hold_softplus(v, &j);
    pf_free(j.v);
    return PF_OK;
}

static pf_status check(vectors *v)
{
    PF_TRY(check_codes(v));
    PF_TRY(check_normal(v));
    PF_TRY(check_onehot(v, 0));
    PF_TRY(check_onehot(v, 1));
    if (vectors_find(v, "mixture_cdf/z")) PF_TRY(vectors_check_mixture_cdf(v));
    return PF_OK;
}

const vectors_kind vectors_argmax = {
    .stem = "argmax",
    .inputs = (const char *const[]){"x", "noise", "encoder", "prior", "softplus_threshold/u",
                                    "softplus_threshold/x", "gumbel_threshold/phi",
                                    "gumbel_threshold/uniform", "gumbel_threshold/x",
                                    "mixture_cdf/z", "mixture_cdf/network", "mixture_cdf/probe",
                                    "mixture_cdf/scaling_factor",
                                    "mixture_cdf/mixture_scaling_factor", NULL},
    .check = check};
