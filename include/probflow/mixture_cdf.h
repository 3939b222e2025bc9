/* The increasing map of a number by the distribution function of a mixture of logistics: a step of autoregressive flows.
 *
 *     F(z) = sum_m p_m sigmoid((z - mu_m) exp(-s_m)),   y = (log F(z) - log(1 - F(z)) + t) exp(s)
 *     ldj = log dy/dz = s + log F'(z) - log F(z) - log(1 - F(z))
 *
 * with p the softmax of the logits and log scales that cannot run away,
 *     s = e tanh(raw / max(e, 1)), e = exp(f),   each s_m likewise with an f of its own; the slope of max at 1 is 1.
 *
 * All in double.  Both tails keep their digits, so that no floor under the logarithms is needed; beyond 700 scales from
 * all means the map is flat.  All functions are Local.
 * Source  Ziegler and Rush 2019, Lippe and Gavves 2021 (Categorical Normalizing Flows), published code of argmax flows,
 *         which floors the logarithms at log 1e-22.
 * Test    a_logistic_maps_to_its_own_logit, the_inverse_comes_back, slopes_are_differences */
#ifndef PROBFLOW_MIXTURE_CDF_H
#define PROBFLOW_MIXTURE_CDF_H

enum { PF_MIXTURE_CDF_MAX = 256 };

typedef struct pf_mixture_cdf { /* of one number; borrowed */
    int M;                      /* logistics, 1 to PF_MIXTURE_CDF_MAX */
    const double
        *param; /* [2+3M] t, raw s, M logits, M means, M raw scales: the published order */
    double f;   /* of s */
    const double *fm; /* [M] of the scales of the mixture */
} pf_mixture_cdf;

/* s of these. */
double pf_mixture_cdf_scale(double raw, double f);

/* y, and ldj in nats (NULL: not wanted). */
double pf_mixture_cdf_at(const pf_mixture_cdf *m, double z, double *ldj);

/* The z of this y: Newton's steps, halved where they leave what is known to hold z.  The logit that it returns is within
 * 1e-13 (1 + |logit|) of the wanted one, or z within 2 roundings. */
double pf_mixture_cdf_inverse(const pf_mixture_cdf *m, double y);

/* Slopes of gy y + gldj ldj. */
typedef struct pf_mixture_slopes {
    double z, f;
    double *param; /* [2+3M], caller's, written */
    double *fm;    /* [M], caller's, written */
} pf_mixture_slopes;
void pf_mixture_cdf_back(const pf_mixture_cdf *m, double z, double gy, double gldj,
                         pf_mixture_slopes *to);

#endif
