/* Schedules of masks; see masked.h. */
#include "method/masked.h"

#include <math.h>

pf_masked_noise pf_masked_noise_of(pf_masked_schedule kind, double eps, double power,
                                   const double sigma[2])
{
    int linear = kind == PF_MASKED_SIGMA_LINEAR;
    pf_masked_noise n = {.kind = kind, .eps = eps, .power = power};
    if (eps < 0.0) n.eps = kind <= PF_MASKED_POLY ? 1e-4 : 1e-3;
    n.least = sigma[0] < 0.0 ? linear ? 1e-3 : 1e-4 : sigma[0];
    n.most = sigma[1] < 0.0 ? linear ? 7.0 : 20.0 : sigma[1];
    return n;
}

/* 1 - a of the first three. */
static double lost(const pf_masked_noise *n, double t)
{
    if (n->kind == PF_MASKED_LINEAR) return t;
    if (n->kind == PF_MASKED_COSINE) return cos(0.5 * M_PI * (1.0 - t));
    return pow(t, n->power);
}

double pf_masked_sigma(const pf_masked_noise *n, double t)
{
    double c = cos(0.5 * M_PI * t);
    switch (n->kind) {
    case PF_MASKED_LOGLINEAR:
        return -log1p(-(1.0 - n->eps) * t);
    case PF_MASKED_MDLM_COSINE:
        return -log(n->eps + (1.0 - n->eps) * c);
    case PF_MASKED_MDLM_COSINESQR:
        return -log(n->eps + (1.0 - n->eps) * c * c);
    case PF_MASKED_SIGMA_LINEAR:
        return n->least + (n->most - n->least) * t;
    case PF_MASKED_GEOMETRIC:
        return pow(n->least, 1.0 - t) * pow(n->most, t);
    default:
        return -log(pf_masked_alpha(n, t));
    }
}

double pf_masked_alpha(const pf_masked_noise *n, double t)
{
    if (n->kind <= PF_MASKED_POLY) return (1.0 - 2.0 * n->eps) * (1.0 - lost(n, t)) + n->eps;
    return exp(-pf_masked_sigma(n, t));
}

double pf_masked_hidden(const pf_masked_noise *n, double t)
{
    if (n->kind <= PF_MASKED_POLY) return (1.0 - 2.0 * n->eps) * lost(n, t) + n->eps;
    return -expm1(-pf_masked_sigma(n, t));
}

double pf_masked_slope(const pf_masked_noise *n, double t)
{
    double scale = -(1.0 - 2.0 * n->eps);
    switch (n->kind) {
    case PF_MASKED_LINEAR:
        return scale;
    case PF_MASKED_COSINE:
        return scale * 0.5 * M_PI * sin(0.5 * M_PI * (1.0 - t));
    case PF_MASKED_POLY:
        return scale * n->power * pow(t, n->power - 1.0);
    default:
        return -pf_masked_rate(n, t) * pf_masked_alpha(n, t);
    }
}

double pf_masked_rate(const pf_masked_noise *n, double t)
{
    double c = cos(0.5 * M_PI * t), s = sin(0.5 * M_PI * t), rest = 1.0 - n->eps;
    switch (n->kind) {
    case PF_MASKED_LOGLINEAR:
        return rest / (1.0 - rest * t);
    case PF_MASKED_MDLM_COSINE:
        return 0.5 * M_PI * rest * s / (rest * c + n->eps);
    case PF_MASKED_MDLM_COSINESQR:
        return 0.5 * M_PI * rest * 2.0 * s * c / (rest * c * c + n->eps);
    case PF_MASKED_SIGMA_LINEAR:
        return n->most - n->least;
    case PF_MASKED_GEOMETRIC:
        return pf_masked_sigma(n, t) * (log(n->most) - log(n->least));
    default:
        return -pf_masked_slope(n, t) / pf_masked_alpha(n, t);
    }
}

void pf_masked_ends(const pf_masked_noise *n, double f[2])
{
    int loglinear = n->kind == PF_MASKED_LOGLINEAR;
    /* sigma at 0 is 0, whose f is infinite: eps in place of it, as published */
    double least = loglinear ? n->eps : n->least;
    double most = loglinear ? pf_masked_sigma(n, 1.0) : n->most;
    f[0] = log(-expm1(-least));
    f[1] = log(-expm1(-most));
}

double pf_masked_importance(const pf_masked_noise *n, double u)
{
    double f[2];
    pf_masked_ends(n, f);
    double m = exp(u * f[1] + (1.0 - u) * f[0]);
    if (n->kind == PF_MASKED_LOGLINEAR) return m / (1.0 - n->eps);
    return (-log1p(-m) - n->least) / (n->most - n->least);
}
