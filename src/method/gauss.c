/* One step of a chain of Gaussians: what a network's output says of it, and how it is taken.
 *
 *     noise   x_0 = x_i / sqrt(abar) - sqrt(1/abar - 1) net      mean = c1 x_0 + c2 x_i
 *     data    x_0 = net                                          mean = c1 x_0 + c2 x_i
 *     mean    x_0 = (net - c2 x_i) / c1                          mean = net
 *     v       x_0 = sqrt(abar) x_i - sqrt(1 - abar) net          mean = c1 x_0 + c2 x_i
 *
 * Source: Ho et al. 2020, eq. 8 to 12; Nichol and Dhariwal 2021, eq. 15; Song, Meng and Ermon 2021, eq. 12;
 * Dhariwal and Nichol 2021, algorithms 1 and 2; Salimans and Ho 2022, appendix D (v); their published code. */
#include "method/gauss.h"

#include <math.h>

int pf_gauss_learns(pf_variance v)
{
    return v == PF_VARIANCE_LEARNED || v == PF_VARIANCE_LEARNED_RANGE;
}

static void set_prediction(pf_gauss_at *a, const pf_gauss *g)
{
    double noise_to_data = sqrt(expm1(-g->log_abar[a->i])); /* sqrt(1/abar - 1) */
    switch (a->opt.predicts) {
    case PF_PREDICTS_NOISE:
        a->from_x = 1.0 / a->root;
        a->from_net = -noise_to_data;
        a->slope = a->c1 * a->from_net;
        break;
    case PF_PREDICTS_DATA:
        a->from_net = 1.0;
        a->slope = a->c1;
        break;
    case PF_PREDICTS_MEAN:
        a->from_x = -a->c2 / a->c1;
        a->from_net = 1.0 / a->c1;
        a->slope = 1.0;
        break;
    case PF_PREDICTS_V:
        a->from_x = a->root;
        a->from_net = -a->std;
        a->slope = a->c1 * a->from_net;
        break;
    }
}

static void set_variance(pf_gauss_at *a, const pf_gauss *g)
{
    a->variance = g->variance[a->i];
    a->log_variance = a->q_log_variance;
    a->range = 1.0;
    if (a->opt.variance == PF_VARIANCE_FIXED_LARGE) {
        a->variance = a->i ? g->beta[a->i] : g->variance[1];
        a->log_variance = log(a->variance);
    }
    if (a->opt.variance == PF_VARIANCE_LEARNED_RANGE) {
        double large = log(g->beta[a->i]);
        a->from = 0.5 * (large + a->log_variance);
        a->range = 0.5 * (large - a->log_variance);
    }
}

/* What a square counts at signal to noise `snr`. */
static double square_weight(const pf_gauss_opt *o, double snr)
{
    double w = o->weight == PF_WEIGHT_MIN_SNR ? fmin(snr, o->gamma) : snr;
    if (o->weight == PF_WEIGHT_NONE || o->predicts == PF_PREDICTS_MEAN) return 1.0;
    return o->predicts == PF_PREDICTS_DATA    ? w
           : o->predicts == PF_PREDICTS_NOISE ? w / snr
                                              : w / (snr + 1.0);
}

static void set_loss(pf_gauss_at *a, const pf_gauss *g)
{
    const pf_gauss_opt *o = &a->opt;
    double vb = pf_gauss_learns(o->variance) ? o->vb_weight != 0.0 ? o->vb_weight : 1.0 : 0.0;
    int T = g->T;
    a->unit = 1.0;
    a->simple = o->loss == PF_LOSS_SIMPLE || o->loss == PF_LOSS_RESCALED_SIMPLE;
    if (a->simple) a->squares = square_weight(o, g->abar[a->i] / g->noise[a->i]);
    switch (o->loss) {
    case PF_LOSS_SIMPLE:
        a->nats = vb * (1.0 / M_LN2);
        break;
    case PF_LOSS_RESCALED_SIMPLE:
        a->nats = vb * (T / (1000.0 * M_LN2));
        break;
    case PF_LOSS_KL:
        a->nats = 1.0;
        a->unit = M_LN2;
        break;
    case PF_LOSS_RESCALED_KL:
        a->nats = T;
        a->unit = M_LN2;
        break;
    }
}

pf_gauss_at pf_gauss_index(const pf_gauss *g, const pf_gauss_opt *o, int i)
{
    pf_gauss_at a = {.i = i,
                     .opt = *o,
                     .root = sqrt(g->abar[i]),
                     .std = sqrt(g->noise[i]),
                     .c1 = g->c1[i],
                     .c2 = g->c2[i],
                     .q_log_variance = o->floor_log_variance ? log(fmax(g->variance[i], 1e-20))
                                                             : g->log_variance[i],
                     .before = pf_gauss_abar_before(g, i),
                     .after = pf_gauss_abar_after(g, i)};
    set_prediction(&a, g);
    set_variance(&a, g);
    set_loss(&a, g);
    return a;
}

void pf_gauss_noised(const pf_gauss_at *a, size_t n, const double *x0, const double *z,
                     double *xi)
{
    for (size_t j = 0; j < n; j++) xi[j] = a->root * x0[j] + a->std * z[j];
}

void pf_gauss_posterior(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                        double *mean)
{
    for (size_t j = 0; j < n; j++) mean[j] = a->c1 * x0[j] + a->c2 * xi[j];
}

void pf_gauss_predict(const pf_gauss_at *a, int clip, size_t n, const double *xi,
                      const pf_gauss_net *net, const pf_gauss_model *to)
{
    int gives_mean = a->opt.predicts == PF_PREDICTS_MEAN;
    for (size_t j = 0; j < n; j++) {
        double y = net->mean[j], x0 = a->from_x * xi[j] + a->from_net * y;
        if (clip) x0 = x0 < -1.0 ? -1.0 : x0 > 1.0 ? 1.0 : x0; /* what is no number stays so */
        to->x0[j] = x0;
        to->mean[j] = gives_mean ? y : a->c1 * x0 + a->c2 * xi[j];
        to->log_variance[j] =
            net->variance ? a->from + a->range * net->variance[j] : a->log_variance;
    }
}

double pf_gauss_variance(const pf_gauss_at *a, double log_variance)
{
    return pf_gauss_learns(a->opt.variance) ? exp(log_variance) : a->variance;
}

void pf_gauss_noise_of(const pf_gauss_at *a, size_t n, const double *xi, const double *x0,
                       double *noise)
{
    for (size_t j = 0; j < n; j++) noise[j] = (xi[j] - a->root * x0[j]) / a->std;
}

void pf_gauss_step(const pf_gauss_at *a, size_t n, const pf_gauss_model *p, const double *z,
                   double *x)
{
    for (size_t j = 0; j < n; j++)
        x[j] = p->mean[j] + (a->i ? exp(0.5 * p->log_variance[j]) : 0.0) * z[j];
}

void pf_gauss_ddim(const pf_gauss_at *a, double eta, size_t n, const double *x0,
                   const pf_gauss_move *m)
{
    double noise = a->std * a->std, before = 1.0 - a->before;
    double kept = a->root * a->root / a->before; /* 1 - beta */
    double s = eta * sqrt(before / noise) * sqrt(1.0 - kept);
    /* before - s^2 cancels at eta = 1 */
    double rest = before * (1.0 - eta * eta + eta * eta * kept * before / noise);
    double root = sqrt(a->before), turn = sqrt(fmax(rest, 0.0));
    for (size_t j = 0; j < n; j++) {
        double e = (m->xi[j] - a->root * x0[j]) / a->std;
        m->x[j] = root * x0[j] + turn * e + (a->i && m->z ? s * m->z[j] : 0.0);
    }
}

void pf_gauss_encode(const pf_gauss_at *a, size_t n, const double *x0, const pf_gauss_move *m)
{
    double root = sqrt(a->after), std = sqrt(1.0 - a->after);
    for (size_t j = 0; j < n; j++)
        m->x[j] = root * x0[j] + std * (m->xi[j] - a->root * x0[j]) / a->std;
}

void pf_gauss_guide_mean(const pf_gauss_at *a, size_t n, const double *g,
                         const pf_gauss_model *p)
{
    for (size_t j = 0; j < n; j++)
        p->mean[j] += pf_gauss_variance(a, p->log_variance[j]) * g[j];
}

void pf_gauss_guide_noise(const pf_gauss_at *a, size_t n, const double *xi, const double *g,
                          const pf_gauss_model *p)
{
    if (a->root == 0.0) return; /* pure noise: nothing is known of x_0, nor guided */
    for (size_t j = 0; j < n; j++) {
        double e = (xi[j] - a->root * p->x0[j]) / a->std - a->std * g[j];
        p->x0[j] = (xi[j] - a->std * e) / a->root;
        p->mean[j] = a->c1 * p->x0[j] + a->c2 * xi[j];
    }
}
