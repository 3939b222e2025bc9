/* What a step of a chain of Gaussians costs: terms of the bound and losses, with their derivatives.
 *
 *     KL     = 1/2 (exp d - 1 - d + (m_q - m)^2 exp(-v)),   d = v_q - v, v the log variances
 *     dKL/dm = (m - m_q) exp(-v),    dKL/dv = -1/2 (exp d - 1 + (m_q - m)^2 exp(-v))
 *
 * Source: Ho et al. 2020, eq. 5 to 14; Nichol and Dhariwal 2021, eq. 16; their published code. */
#include "method/gauss.h"

#include <math.h>

double pf_normal_kl(double m1, double lv1, double m2, double lv2)
{
    /* expm1(d) - d is the whole of it where the means agree: no difference of ones is left */
    double d = lv1 - lv2, m = m1 - m2;
    return 0.5 * (expm1(d) - d + (m == 0.0 ? 0.0 : m * m * exp(-lv2)));
}

double pf_gauss_kl(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                   const pf_gauss_model *p, const pf_gauss_slope *d)
{
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) {
        double q = a->c1 * x0[j] + a->c2 * xi[j], r = p->mean[j] - q, v = p->log_variance[j];
        sum += pf_normal_kl(q, a->q_log_variance, p->mean[j], v);
        if (!d) continue;
        double precision = exp(-v);
        d->mean[j] = r * precision;
        if (d->log_variance)
            d->log_variance[j] = -0.5 * (expm1(a->q_log_variance - v) + r * r * precision);
    }
    return sum;
}

double pf_gauss_decode(const pf_gauss_at *a, size_t n, const double *x0,
                       const pf_gauss_model *p, const pf_gauss_slope *d)
{
    double sum = 0.0, slope[2];
    for (size_t j = 0; j < n; j++) {
        sum -= pf_decode(&a->opt.decoder, x0[j], p->mean[j], 0.5 * p->log_variance[j],
                         d ? slope : NULL);
        if (!d) continue;
        d->mean[j] = -slope[0];
        if (d->log_variance) d->log_variance[j] = -0.5 * slope[1];
    }
    return sum;
}

double pf_gauss_term(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                     const pf_gauss_model *p, const pf_gauss_slope *d)
{
    return a->i ? pf_gauss_kl(a, n, x0, xi, p, d) : pf_gauss_decode(a, n, x0, p, d);
}

double pf_gauss_prior(const pf_gauss *g, size_t n, const double *x0)
{
    double root = sqrt(g->abar[g->T - 1]), lv = log(g->noise[g->T - 1]), sum = 0.0;
    for (size_t j = 0; j < n; j++) sum += pf_normal_kl(root * x0[j], lv, 0.0, 0.0);
    return sum;
}

/* What the network is asked for, at entry j. */
static double target(const pf_gauss_at *a, const pf_gauss_seen *s, size_t j)
{
    switch (a->opt.predicts) {
    case PF_PREDICTS_NOISE:
        return s->z[j];
    case PF_PREDICTS_DATA:
        return s->x0[j];
    case PF_PREDICTS_V:
        return a->root * s->z[j] - a->std * s->x0[j];
    default:
        return a->c1 * s->x0[j] + a->c2 * s->xi[j];
    }
}

/* The row in pieces that stay on the stack. */
enum { PIECE = 256 };
typedef struct piece {
    size_t from, n;
    double x0[PIECE], mean[PIECE], log_variance[PIECE], dmean[PIECE], dlog[PIECE];
} piece;

/* Term i of the piece, and what it gives to d: the mean's part only where the mean is not held fixed. */
static double add_term(const pf_gauss_at *a, piece *p, const pf_gauss_seen *s,
                       const pf_gauss_net *net, const pf_gauss_slope *d)
{
    int learns = net->variance != NULL;
    const pf_gauss_model model = {p->x0, p->mean, p->log_variance};
    const pf_gauss_slope slope = {p->dmean, learns ? p->dlog : NULL};
    const pf_gauss_net at = {net->mean + p->from, learns ? net->variance + p->from : NULL};
    pf_gauss_predict(a, 0, p->n, s->xi + p->from, &at, &model);
    double sum =
        pf_gauss_term(a, p->n, s->x0 + p->from, s->xi + p->from, &model, d ? &slope : NULL);
    for (size_t j = 0; d && j < p->n; j++) {
        if (!a->simple) d->mean[p->from + j] = a->nats * (p->dmean[j] * a->slope);
        if (learns) d->log_variance[p->from + j] = a->nats * a->range * p->dlog[j];
    }
    return sum;
}

double pf_gauss_loss(const pf_gauss_at *a, size_t n, const pf_gauss_seen *s,
                     const pf_gauss_net *net, const pf_gauss_slope *d, pf_gauss_sums *sums)
{
    piece p;
    *sums = (pf_gauss_sums){0};
    for (size_t j = 0; a->simple && j < n; j++) {
        double r = net->mean[j] - target(a, s, j);
        sums->squares += r * r;
        if (d) d->mean[j] = a->squares * 2.0 * r;
    }
    for (p.from = 0; a->nats != 0.0 && p.from < n; p.from += p.n) {
        p.n = n - p.from < PIECE ? n - p.from : PIECE;
        sums->nats += add_term(a, &p, s, net, d);
    }
    if (a->nats == 0.0 && d && net->variance)
        for (size_t j = 0; j < n; j++) d->log_variance[j] = 0.0;
    return a->squares * sums->squares + a->nats * sums->nats;
}
