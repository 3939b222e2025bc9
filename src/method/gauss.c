/* One step of a chain of Gaussians: what is drawn, what the network predicts, and what it costs.
 *
 *     noise   x_0 = x_i / sqrt(abar) - sqrt(1/abar - 1) net      mean = c1 x_0 + c2 x_i
 *     data    x_0 = net                                          mean = c1 x_0 + c2 x_i
 *     mean    x_0 = (net - c2 x_i) / c1                          mean = net
 *
 * Source: Ho et al. 2020, eq. 8 to 12, and its published code. */
#include "method/gauss.h"

#include <math.h>

pf_gauss_at pf_gauss_index(const pf_gauss *g, pf_predicts p, pf_variance v, int i)
{
    double noise_to_data = sqrt(expm1(-g->log_abar[i])); /* sqrt(1/abar - 1) */
    pf_gauss_at a = {
        .i = i,
        .predicts = p,
        .root = sqrt(g->abar[i]),
        .std = sqrt(g->noise[i]),
        .c1 = g->c1[i],
        .c2 = g->c2[i],
        .q_log_variance = g->log_variance[i],
        .variance = g->variance[i],
        .log_variance = g->log_variance[i],
    };
    if (v == PF_VARIANCE_FIXED_LARGE) {
        a.variance = i ? g->beta[i] : g->variance[1];
        a.log_variance = log(a.variance);
    }
    switch (p) {
    case PF_PREDICTS_NOISE:
        a.from_x = 1.0 / a.root;
        a.from_net = -noise_to_data;
        a.slope = a.c1 * a.from_net;
        break;
    case PF_PREDICTS_DATA:
        a.from_net = 1.0;
        a.slope = a.c1;
        break;
    case PF_PREDICTS_MEAN:
        a.from_x = -a.c2 / a.c1;
        a.from_net = 1.0 / a.c1;
        a.slope = 1.0;
        break;
    }
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
                      const double *net, double *x0, double *mean)
{
    for (size_t j = 0; j < n; j++) {
        x0[j] = a->from_x * xi[j] + a->from_net * net[j];
        if (clip) x0[j] = fmin(fmax(x0[j], -1.0), 1.0);
        mean[j] = a->predicts == PF_PREDICTS_MEAN ? net[j] : a->c1 * x0[j] + a->c2 * xi[j];
    }
}

void pf_gauss_noise_of(const pf_gauss_at *a, size_t n, const double *xi, const double *x0,
                       double *noise)
{
    for (size_t j = 0; j < n; j++) noise[j] = (xi[j] - a->root * x0[j]) / a->std;
}

void pf_gauss_step(const pf_gauss_at *a, size_t n, const double *mean, const double *z,
                   double *x)
{
    double std = a->i ? exp(0.5 * a->log_variance) : 0.0;
    for (size_t j = 0; j < n; j++) x[j] = mean[j] + std * z[j];
}

double pf_normal_kl(double m1, double lv1, double m2, double lv2)
{
    /* expm1(d) - d is the whole of it where the means agree: no difference of ones is left */
    double d = lv1 - lv2, m = m1 - m2;
    return 0.5 * (expm1(d) - d + m * m * exp(-lv2));
}

double pf_gauss_kl(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                   const double *mean, double *dmean)
{
    double sum = 0.0, precision = exp(-a->log_variance);
    for (size_t j = 0; j < n; j++) {
        double q = a->c1 * x0[j] + a->c2 * xi[j];
        sum += pf_normal_kl(q, a->q_log_variance, mean[j], a->log_variance);
        if (dmean) dmean[j] = (mean[j] - q) * precision;
    }
    return sum;
}

double pf_gauss_prior(const pf_gauss *g, size_t n, const double *x0)
{
    double root = sqrt(g->abar[g->T - 1]), lv = log(g->noise[g->T - 1]), sum = 0.0;
    for (size_t j = 0; j < n; j++) sum += pf_normal_kl(root * x0[j], lv, 0.0, 0.0);
    return sum;
}

double pf_gauss_squares(const pf_gauss_at *a, size_t n, const double *x0, const double *xi,
                        const double *z, const double *net, double *dnet)
{
    double sum = 0.0;
    for (size_t j = 0; j < n; j++) {
        double want = a->predicts == PF_PREDICTS_NOISE  ? z[j]
                      : a->predicts == PF_PREDICTS_DATA ? x0[j]
                                                        : a->c1 * x0[j] + a->c2 * xi[j];
        double r = net[j] - want;
        sum += r * r;
        if (dnet) dnet[j] = 2.0 * r;
    }
    return sum;
}
