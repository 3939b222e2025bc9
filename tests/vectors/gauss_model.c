/* gauss_pmv: what a network's output means and costs at one index. */
#include "gauss.h"
#include "gauss_job.h"

#include <math.h>

/* What a file of this kind gives besides. */
typedef struct given {
    gauss_job j;
    const vectors_array *x0, *xi, *z, *t;
} given;

static void fill(double *to, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) to[i] = value;
}

static void hold_q(given *f)
{
    gauss_job *j = &f->j;
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        int i = (int)f->t->v[b];
        pf_gauss_at a = gauss_index_of(j->g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, i);
        fill(j->row[ROW_NET] + at, D, 0.0); /* no noise */
        pf_gauss_noised(&a, D, f->x0->v + at, j->row[ROW_NET] + at, j->row[ROW_MEAN] + at);
        fill(j->row[ROW_VARIANCE] + at, D, j->g->noise[i]);
        fill(j->row[ROW_LOG_VARIANCE] + at, D, log(j->g->noise[i]));
        j->sum[SUM_KL][b] = pf_gauss_prior(j->g, D, f->x0->v + at) / (double)D / M_LN2;
    }
    gauss_job_hold_rows(j, ROW_MEAN, "q", "mean");
    gauss_job_hold_rows(j, ROW_VARIANCE, "q", "variance");
    gauss_job_hold_rows(j, ROW_LOG_VARIANCE, "q", "log_variance");
    vectors_hold(j->v, gauss_tolerance, j->sum[SUM_KL], (size_t)j->B, "prior_bpd");
}

static void hold_posterior(given *f)
{
    gauss_job *j = &f->j;
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        int i = (int)f->t->v[b];
        pf_gauss_at a = gauss_index_of(j->g, PF_PREDICTS_DATA, PF_VARIANCE_FIXED_SMALL, i);
        pf_gauss_posterior(&a, D, f->x0->v + at, f->xi->v + at, j->row[ROW_MEAN] + at);
        fill(j->row[ROW_VARIANCE] + at, D, a.variance);
        fill(j->row[ROW_LOG_VARIANCE] + at, D, a.q_log_variance);
    }
    gauss_job_hold_rows(j, ROW_MEAN, "q_posterior", "mean");
    gauss_job_hold_rows(j, ROW_VARIANCE, "q_posterior", "variance");
    gauss_job_hold_rows(j, ROW_LOG_VARIANCE, "q_posterior", "log_variance_clipped");
}

/* The network's output: of each pixel C channels of the mean and, where the variance v is learned, C of it,
 * which for LEARNED are stored less log(1 - abar) - 1/2.  0: the file has none. */
static int take_net(given *f, int p, pf_variance v)
{
    gauss_job *j = &f->j;
    const vectors_array *net = vectors_find(j->v, "net/%s", gauss_means[p]);
    size_t n = (size_t)j->B * j->D, pixels = n / j->C, stored = net ? net->size / pixels : 0;
    int learns = pf_gauss_learns(v);
    if (!net || stored * pixels != net->size || stored < (j->C << learns)) return 0;
    for (size_t e = 0; e < n; e++) {
        const double *y = net->v + e / j->C * stored + e % j->C;
        double noise = j->g->noise[(int)f->t->v[e / j->D]];
        j->row[ROW_NET][e] = y[0];
        if (!learns) continue;
        j->row[ROW_NET_VARIANCE][e] =
            y[j->C] + (v == PF_VARIANCE_LEARNED ? log(noise) - 0.5 : 0.0);
    }
    return 1;
}

static pf_gauss_net net_at(const gauss_job *j, pf_variance v, size_t at)
{
    return (pf_gauss_net){j->row[ROW_NET] + at,
                          pf_gauss_learns(v) ? j->row[ROW_NET_VARIANCE] + at : NULL};
}

static void hold_model(given *f, int p, int v, int clip)
{
    char group[VECTORS_NAME_MAX];
    gauss_job *j = &f->j;
    double bits = 1.0 / ((double)j->D * M_LN2);
    snprintf(group, sizeof group, "p/%s/%s/clip%d", gauss_means[p], gauss_variances[v], clip);
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        const double *x0 = f->x0->v + at, *xi = f->xi->v + at;
        pf_gauss_at a = gauss_index_of(j->g, (pf_predicts)p, (pf_variance)v, (int)f->t->v[b]);
        const pf_gauss_net net = net_at(j, (pf_variance)v, at);
        const pf_gauss_model m = gauss_job_model(j, at);
        pf_gauss_predict(&a, clip, D, xi, &net, &m);
        for (size_t e = 0; e < D; e++)
            j->row[ROW_VARIANCE][at + e] = pf_gauss_variance(&a, m.log_variance[e]);
        j->sum[SUM_KL][b] = bits * pf_gauss_kl(&a, D, x0, xi, &m, NULL);
        j->sum[SUM_DECODER][b] = a.i ? NAN : bits * pf_gauss_decode(&a, D, x0, &m, NULL);
        j->sum[SUM_TERM][b] = bits * pf_gauss_term(&a, D, x0, xi, &m, NULL);
    }
    gauss_job_hold_rows(j, ROW_MEAN, group, "mean");
    gauss_job_hold_rows(j, ROW_VARIANCE, group, "variance");
    gauss_job_hold_rows(j, ROW_LOG_VARIANCE, group, "log_variance");
    gauss_job_hold_rows(j, ROW_DATA, group, "pred_xstart");
    gauss_job_hold_sums(j, SUM_KL, group, "kl_bits_per_dim");
    gauss_job_hold_sums(j, SUM_DECODER, group, "decoder_bits_per_dim");
    gauss_job_hold_sums(j, SUM_TERM, group, "vb");
}

static const char *const losses[] = {"MSE", "KL", "RESCALED_MSE", "RESCALED_KL"}; /* as ours */

/* Holds the gradient: C channels of the mean of each pixel, then C of the variance. */
static void hold_grad(gauss_job *j, int learns, double scale, const char *group)
{
    size_t n = (size_t)j->B * j->D, C = j->C;
    for (size_t e = 0; e < n; e++) {
        double *to = j->row[ROW_OUT] + e / C * (C << learns) + e % C;
        to[0] = scale * j->row[ROW_GRAD][e];
        if (learns) to[C] = scale * j->row[ROW_GRAD_VARIANCE][e];
    }
    vectors_hold(j->v, gauss_tolerance, j->row[ROW_OUT], n << learns, "%s/grad_output", group);
}

static void hold_loss(given *f, int p, int v, int kind)
{
    char group[VECTORS_NAME_MAX];
    gauss_job *j = &f->j;
    const pf_gauss_opt o = {.predicts = (pf_predicts)p,
                            .variance = (pf_variance)v,
                            .loss = (pf_gauss_loss_kind)kind,
                            .decoder = {PF_CDF_TANH, 256}};
    double scale = 0.0;
    snprintf(group, sizeof group, "loss/%s/%s/%s", gauss_means[p], gauss_variances[v],
             losses[kind]);
    for (int b = 0; b < j->B; b++) {
        size_t D = j->D, at = (size_t)b * D;
        const pf_gauss_at a = pf_gauss_index(j->g, &o, (int)f->t->v[b]);
        const pf_gauss_seen s = {f->x0->v + at, f->xi->v + at, f->z->v + at};
        const pf_gauss_slope d = {j->row[ROW_GRAD] + at, j->row[ROW_GRAD_VARIANCE] + at};
        const pf_gauss_net net = net_at(j, o.variance, at);
        pf_gauss_sums sums;
        scale = 1.0 / ((double)D * a.unit);
        j->sum[SUM_LOSS][b] = scale * pf_gauss_loss(&a, D, &s, &net, &d, &sums);
        j->sum[SUM_SQUARES][b] = scale * a.squares * sums.squares;
        j->sum[SUM_TERM][b] = scale * a.nats * sums.nats;
    }
    gauss_job_hold_sums(j, SUM_LOSS, group, "loss");
    gauss_job_hold_sums(j, SUM_SQUARES, group, "mse");
    gauss_job_hold_sums(j, SUM_TERM, group, "vb");
    hold_grad(j, pf_gauss_learns(o.variance), scale, group);
}

static pf_status check_pmv(vectors *v)
{
    given f = {.x0 = vectors_find(v, "x_start"),
               .xi = vectors_find(v, "x_t"),
               .z = vectors_find(v, "noise"),
               .t = vectors_find(v, "t")};
    pf_status st = gauss_job_prepare(&f.j, v, f.x0);
    if (!st && !(gauss_job_has(&f.j, f.t) && f.xi && f.z && f.xi->size == f.x0->size &&
                 f.z->size == f.x0->size))
        st = pf_raise(PF_EFORMAT, PF_WHERE, "%s lacks an input", v->path);
    if (!st) {
        hold_q(&f);
        hold_posterior(&f);
    }
    for (int k = 0; !st && k < 12; k++) {
        int p = k / 4, variance = k % 4;
        if (!take_net(&f, p, (pf_variance)variance)) continue;
        for (int clip = 0; clip < 2; clip++) hold_model(&f, p, variance, clip);
        for (int kind = 0; kind < 4; kind++) hold_loss(&f, p, variance, kind);
    }
    gauss_job_drop(&f.j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_pmv = {
    .stem = "gauss_pmv",
    .inputs = (const char *const[]){"betas", "net", "noise", "t", "x_start", "x_t", NULL},
    .check = check_pmv};
