/* Binomial diffusion of Sohl-Dickstein et al. 2015: its kernels, bit by bit, and states of a datum; see
 * sohl2015_binomial.h.
 *
 * Source: Sohl-Dickstein et al. 2015, section 2 and appendix B.2. */
#include "method/sohl2015_binomial.h"

#include <math.h>

enum { PIECE = 256 };

double pf_bits_beta(int T, int t)
{
    return 1.0 / (T - t + 1);
}

double pf_bits_kept(int T, int t)
{
    return (double)(T - t) / T;
}

double pf_bits_noised(double kept, int x)
{
    return x ? 0.5 + 0.5 * kept : 0.5 - 0.5 * kept;
}

double pf_bits_entropy(double p)
{
    double q = 1.0 - p;
    return (p > 0.0 ? -p * log(p) : 0.0) + (q > 0.0 ? -q * log(q) : 0.0);
}

double pf_bits_posterior(int T, int t, int xt, int x)
{
    double flips = 0.5 * pf_bits_beta(T, t), before = pf_bits_noised(pf_bits_kept(T, t - 1), x);
    double one = before * (xt ? 1.0 - flips : flips);
    double zero = (1.0 - before) * (xt ? flips : 1.0 - flips);
    return one / (one + zero);
}

static double sigmoid(double a)
{
    return 1.0 / (1.0 + exp(-a));
}

double pf_bits_reverse(pf_bits_predicts what, int T, int t, int xt, double logit)
{
    double p = sigmoid(logit);
    if (what == PF_BITS_BEFORE) return p;
    double zero = pf_bits_posterior(T, t, xt, 0), one = pf_bits_posterior(T, t, xt, 1);
    return zero + (one - zero) * p;
}

/* log(1 + exp a) */
static double softplus(double a)
{
    return fmax(a, 0.0) + log1p(exp(-fabs(a)));
}

double pf_bits_kl(pf_bits_predicts what, int T, int t, const int bits[2], double logit,
                  double *slope)
{
    double q = pf_bits_posterior(T, t, bits[0], bits[1]), r = 1.0 - q, p = sigmoid(logit);
    if (what == PF_BITS_BEFORE) { /* finite for any logit */
        if (slope) *slope = p - q;
        return q * softplus(-logit) + r * softplus(logit) - pf_bits_entropy(q);
    }
    double zero = pf_bits_posterior(T, t, bits[0], 0),
           one = pf_bits_posterior(T, t, bits[0], 1);
    double m = zero + (one - zero) * p;
    if (slope) *slope = (m - q) / (m * (1.0 - m)) * (one - zero) * p * sigmoid(-logit);
    return q * log(q / m) + r * log(r / (1.0 - m));
}

double pf_bits_decoder(int T)
{
    return pf_bits_entropy(pf_bits_noised(pf_bits_kept(T, 1), 1));
}

void pf_bits_show(const pf_bits *m, int s, int t, const unsigned char *x, void *const *in)
{
    double kept = pf_bits_kept(m->T, t), noise = sqrt(1.0 - kept * kept);
    float *to = in[PF_TOLD_X];
    for (size_t j = 0; to && j < m->D; j++) to[(size_t)s * m->D + j] = x[j] ? 1.0f : -1.0f;
    /* nothing is kept at T: the noise of the step before */
    if (kept == 0.0) kept = 1.0 / m->T;
    pf_told_noise(in, (size_t)s, 999.0 * t / m->T, noise / kept, kept);
}

void pf_bits_draw(const pf_bits *m, int t, const pf_draw *d, const unsigned char *x0,
                  unsigned char *xt)
{
    float u[PIECE];
    const double p[2] = {pf_bits_noised(pf_bits_kept(m->T, t), 0),
                         pf_bits_noised(pf_bits_kept(m->T, t), 1)};
    for (size_t j = 0, n; j < m->D; j += n) {
        n = m->D - j < PIECE ? m->D - j : PIECE;
        pf_draw_uniform(d, j, n, u);
        for (size_t k = 0; k < n; k++) xt[j + k] = (double)u[k] < p[x0[j + k]];
    }
}
