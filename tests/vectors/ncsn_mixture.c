/* score = sum_k r_k g_k,   g_k = (m_k - x)/v_k,   v_k = std_k^2 + sigma^2,
 * (ds/dx) u = sum_k r_k (g_k g_k'u - u/v_k) - score score'u,   r_k the share of component k at x. */
#include "ncsn_mixture.h"

#include <math.h>

enum { K_MAX = 64 };

int ncsn_mixture_find(const vectors *v, const char *prefix, ncsn_mixture *out)
{
    const vectors_array *w = vectors_find(v, "%sweights", prefix),
                        *m = vectors_find(v, "%smeans", prefix),
                        *s = vectors_find(v, "%sstds", prefix);
    if (!w || !m || !s || w->size > K_MAX || s->size != w->size || m->size % w->size) return 0;
    *out = (ncsn_mixture){w->size, m->size / w->size, w->v, m->v, s->v};
    return 1;
}

/* The shares r [K]. */
static double shares(const ncsn_mixture *m, double sigma, const double *x, double *r)
{
    double most = -INFINITY, sum = 0.0;
    for (size_t k = 0; k < m->K; k++) {
        double var = m->std[k] * m->std[k] + sigma * sigma, d2 = 0.0;
        for (size_t i = 0; i < m->D; i++) {
            double d = x[i] - m->mean[k * m->D + i];
            d2 += d * d;
        }
        r[k] = log(m->weight[k]) - 0.5 * ((double)m->D * log(2.0 * M_PI * var) + d2 / var);
        if (r[k] > most) most = r[k];
    }
    for (size_t k = 0; k < m->K; k++) sum += r[k] = exp(r[k] - most);
    for (size_t k = 0; k < m->K; k++) r[k] /= sum;
    return most + log(sum);
}

double ncsn_mixture_at(const ncsn_mixture *m, double sigma, const double *x, const double *u,
                       double *s, double *jv)
{
    double r[K_MAX], log_density = shares(m, sigma, x, r), su = 0.0;
    for (size_t i = 0; s && i < m->D; i++) s[i] = 0.0;
    for (size_t i = 0; jv && i < m->D; i++) jv[i] = 0.0;
    for (size_t k = 0; s && k < m->K; k++) {
        double var = m->std[k] * m->std[k] + sigma * sigma, gu = 0.0;
        const double *mean = m->mean + k * m->D;
        for (size_t i = 0; jv && i < m->D; i++) gu += (mean[i] - x[i]) / var * u[i];
        for (size_t i = 0; i < m->D; i++) {
            double g = (mean[i] - x[i]) / var;
            s[i] += r[k] * g;
            if (jv) jv[i] += r[k] * (g * gu - u[i] / var);
        }
    }
    for (size_t i = 0; jv && i < m->D; i++) su += s[i] * u[i];
    for (size_t i = 0; jv && i < m->D; i++) jv[i] -= s[i] * su;
    return log_density;
}
