/* Sohl-Dickstein et al. 2015: schedule, bumps in time, the model of one step; see sohl2015.h. */
#include "method/sohl2015.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

static double sigmoid(double a)
{
    return 1.0 / (1.0 + exp(-a));
}

static double logit(double p)
{
    return log(p) - log1p(-p);
}

/* Point i of n evenly spaced ones. */
static double linspace(double from, double to, int n, int i)
{
    return from + (to - from) * i / (n - 1);
}

void pf_sohl_betas(pf_sohl_schedule s, double first, double last, int T, double *beta)
{
    const double least = 1e-6,
                 room = 1e-5; /* of a learned schedule, which is not learned here */
    for (int i = 0; i < T; i++) {
        double floor = i ? least : least + first;
        if (s == PF_SOHL_GEOMETRIC) beta[i] = first * pow(last / first, i / (T - 1.0));
        else beta[i] = floor + (1.0 - floor - room) / linspace(T, 2.0, T, i);
    }
}

void pf_sohl_bumps(int T, int i, int n, double *phi)
{
    double s = linspace(-1.0, 1.0, T, i), width = 1.0 / (n - 1), sum = 0.0;
    for (int k = 0; k < n; k++) {
        double d = (s - linspace(-1.0, 1.0, n, k)) / width;
        phi[k] = exp(-0.5 * d * d);
        sum += phi[k];
    }
    for (int k = 0; k < n; k++) phi[k] /= sum;
}

double pf_sohl_weight(double t, int i)
{
    return fmax(0.0, 1.0 - fabs(t - i));
}

void pf_sohl_free(pf_sohl_tables *t)
{
    if (!t) return;
    pf_gauss_free(t->gauss);
    pf_free(t->phi);
    pf_free(t->at);
    pf_free(t);
}

static PF_MUST_USE pf_status fill(pf_sohl_tables *t, const double *beta, int n)
{
    const pf_gauss_opt o = {.predicts = PF_PREDICTS_MEAN, .variance = PF_VARIANCE_LEARNED};
    PF_TRY(pf_gauss_create(t->T, beta, &t->gauss));
    t->phi = pf_zalloc((size_t)t->T * (size_t)n * sizeof *t->phi);
    t->at = pf_zalloc((size_t)t->T * sizeof *t->at);
    PF_REQUIRE(t->phi && t->at, PF_EMEM, "no memory for a chain of %d steps", t->T);
    for (int i = 0; i < t->T; i++) {
        double *phi = t->phi + (size_t)i * (size_t)n;
        pf_sohl_bumps(t->T, i, n, phi);
        t->at[i] = (pf_sohl_at){.gauss = pf_gauss_index(t->gauss, &o, i),
                                .keep = sqrt(1.0 - beta[i]),
                                .add = sqrt(beta[i]),
                                .logit = logit(beta[i]),
                                .range = 1.0 / sqrt(t->T),
                                .n = n,
                                .phi = phi};
    }
    return PF_OK;
}

pf_status pf_sohl_create(int T, const double *beta, int n, pf_sohl_tables **out)
{
    PF_REQUIRE(n >= 2 && n <= PF_SOHL_BUMPS_MAX, PF_EARG, "%d bumps in time, want 2 to %d", n,
               PF_SOHL_BUMPS_MAX);
    pf_sohl_tables *t = pf_zalloc(sizeof *t);
    PF_REQUIRE(t, PF_EMEM, "no memory for a chain of %d steps", T);
    t->T = T;
    pf_status st = fill(t, beta, n);
    if (st) {
        pf_sohl_free(t);
        return pf_trail(st, PF_WHERE);
    }
    *out = t;
    return PF_OK;
}

double pf_sohl_spread(double y, double width, double u)
{
    return y + width * (u - 0.5);
}

double pf_sohl_read(const pf_sohl_at *a, const double *z)
{
    double sum = 0.0;
    for (int k = 0; k < a->n; k++) sum += z[k] * a->phi[k];
    return sum;
}

void pf_sohl_reverse(const pf_sohl_at *a, double x, double m, double r, double *mean,
                     double *log_variance, double *slope)
{
    double at = a->gauss.i ? a->range * r + a->logit : a->logit;
    *mean = x * a->keep + (a->gauss.i ? m * a->add : 0.0);
    *log_variance = at < 0.0 ? at - log1p(exp(at)) : -log1p(exp(-at)); /* log sigmoid */
    if (slope) *slope = a->gauss.i ? a->range * sigmoid(-at) : 0.0;
}

void pf_sohl_multiply(double known, double std, double *mean, double *variance)
{
    double v = std * std, all = *variance + v;
    *mean = std == 0.0 ? known : (*mean * v + known * *variance) / all;
    *variance = std == 0.0 ? 0.0 : *variance * v / all;
}

double pf_sohl_bound(const pf_sohl_tables *t, double factor, double kl)
{
    return factor * kl + 0.5 * log(t->gauss->beta[0]) - 0.5 * log(t->gauss->noise[t->T - 1]);
}

void pf_sohl_predict(const pf_sohl_at *a, size_t n, const double *xi, const float *net,
                     pf_sohl_model *to)
{
    double z[2 * PF_SOHL_BUMPS_MAX];
    for (size_t j = 0; j < n; j++) {
        const float *row = net + j * 2 * (size_t)a->n;
        for (int k = 0; k < 2 * a->n; k++) z[k] = (double)row[k];
        pf_sohl_reverse(a, xi[j], pf_sohl_read(a, z), pf_sohl_read(a, z + a->n), &to->mean[j],
                        &to->log_variance[j], &to->slope[j]);
    }
}

double pf_sohl_unit(const pf_sohl *m, double x)
{
    return (x - m->opt.shift) / m->opt.scale;
}

void pf_sohl_show_index(const pf_sohl *m, int s, int i, void *const *in)
{
    const pf_gauss_at *a = &m->t->at[i].gauss;
    double told = 999.0 * i / (m->t->T - 1); /* as far as embeddings of time reach */
    pf_told_noise(in, (size_t)s, told, a->std / a->root, a->root);
}
