/* Maps onto the cells of an argmax and the densities that come of them; see argmax.h. */
#include "method/argmax.h"

#include <probflow/linalg.h>
#include "method/gauss.h"

#include <math.h>

#define LOG_ROOT_2PI 0.91893853320467274178

int pf_argmax_bits(int K)
{
    int B = 1;
    while (B < PF_ARGMAX_BITS_MAX && 1 << B < K) B++;
    return B;
}

int pf_argmax_code(int B, const double *v)
{
    int k = 0;
    for (int b = 0; b < B; b++) k = k << 1 | (v[b] > 0.0);
    return k;
}

double pf_softplus_f64(double u)
{
    return fmax(u, 0.0) + log1p(exp(-fabs(u)));
}

double pf_softplus_inverse(double v)
{
    return v + log(-expm1(-v));
}

double pf_log_sigmoid(double u)
{
    return -pf_softplus_f64(-u);
}

static double sigmoid(double u)
{
    return exp(pf_log_sigmoid(u));
}

double pf_argmax_product(int B, int k, const double *u, double *v)
{
    double log_det = 0.0;
    for (int b = 0; b < B; b++) {
        double at = u[b]; /* v may be u */
        v[b] = pf_argmax_sign(B, k, b) * pf_softplus_f64(at);
        log_det += pf_log_sigmoid(at);
    }
    return log_det;
}

void pf_argmax_product_inverse(int B, const double *v, double *u)
{
    for (int b = 0; b < B; b++) u[b] = pf_softplus_inverse(fabs(v[b]));
}

double pf_argmax_softplus(int K, int x, const double *u, double *v)
{
    double log_det = 0.0, top = u[x];
    for (int i = 0; i < K; i++) {
        double below = top - u[i];
        v[i] = i == x ? top : top - pf_softplus_f64(below);
        if (i != x) log_det += pf_log_sigmoid(below);
    }
    return log_det;
}

void pf_argmax_softplus_inverse(int K, int x, const double *v, double *u)
{
    double top = v[x];
    for (int i = 0; i < K; i++) u[i] = i == x ? top : top - pf_softplus_inverse(top - v[i]);
}

/* v_i = -log(exp(-top) - exp(-phi_i) log w_i), where no exponential overflows. */
double pf_argmax_gumbel(int K, int x, const double *phi, const double *w, double *v)
{
    double all = pf_log_sum_exp(K, phi), top = all - log(-log(w[x]));
    for (int i = 0; i < K; i++) {
        double a = -top, b = log(-log(w[i])) - phi[i];
        v[i] = i == x ? top : -(fmax(a, b) + log1p(exp(-fabs(a - b))));
    }
    return pf_argmax_log_gumbels(K, phi, v) - (phi[x] - all);
}

void pf_argmax_gumbel_inverse(int K, int x, const double *phi, const double *v, double *w)
{
    double top = v[x];
    for (int i = 0; i < K; i++)
        w[i] = i == x ? exp(-exp(pf_log_sum_exp(K, phi) - top))
                      : exp(exp(phi[i] - v[i]) * expm1(v[i] - top));
}

double pf_argmax_log_gumbels(int K, const double *phi, const double *v)
{
    double sum = 0.0;
    for (int i = 0; i < K; i++) sum += phi[i] - v[i] - exp(phi[i] - v[i]);
    return sum;
}

/* ---- normal densities ---- */

double pf_argmax_encode(int B, int k, pf_argmax_normal q, const double *noise, double *v)
{
    double log_q = 0.0;
    for (int b = 0; b < B; b++) {
        v[b] = q.at[b] + exp(q.log_std[b]) * noise[b];
        log_q += -0.5 * noise[b] * noise[b] - LOG_ROOT_2PI - q.log_std[b];
    }
    return log_q - pf_argmax_product(B, k, v, v);
}

double pf_argmax_log_density(int B, pf_argmax_normal p, const double *v)
{
    double sum = 0.0;
    for (int b = 0; b < B; b++) {
        double z = (v[b] - p.at[b]) * exp(-p.log_std[b]);
        sum += -0.5 * z * z - LOG_ROOT_2PI - p.log_std[b];
    }
    return sum;
}

/* With s = sigmoid(u): dv/du = s sign, and log sigmoid(u), a part of -log q, has the slope 1 - s. */
void pf_argmax_elbo_slope(int B, int k, pf_argmax_normal q, pf_argmax_normal p,
                          const double *noise, double scale, pf_argmax_slope g)
{
    for (int b = 0; b < B; b++) {
        double std = exp(q.log_std[b]), u = q.at[b] + std * noise[b];
        double sign = pf_argmax_sign(B, k, b), thin = exp(-p.log_std[b]);
        double z = (sign * pf_softplus_f64(u) - p.at[b]) * thin;
        double du = sigmoid(-u) - z * thin * sign * sigmoid(u);
        if (g.mean) g.mean[b] += scale * du;
        if (g.log_std) g.log_std[b] += scale * (du * std * noise[b] + 1.0);
        if (g.loc) g.loc[b] += scale * z * thin;
        if (g.log_scale) g.log_scale[b] += scale * (z * z - 1.0);
    }
}

double pf_argmax_bound(int draws, const double *w, double *share)
{
    double all = pf_log_sum_exp(draws, w);
    for (int j = 0; share && j < draws; j++) share[j] = exp(w[j] - all);
    return all - log(draws);
}

static double log_side(pf_argmax_normal p, int b, double sign)
{
    return pf_log_cdf(sign * p.at[b] * exp(-p.log_std[b]));
}

double pf_argmax_log_orthant(int B, int k, pf_argmax_normal p)
{
    double sum = 0.0;
    for (int b = 0; b < B; b++) sum += log_side(p, b, pf_argmax_sign(B, k, b));
    return sum;
}

/* A code above K agrees with K up to some bit, which is 0 in K and 1 in the code. */
double pf_argmax_unused(int B, int K, pf_argmax_normal p)
{
    double agrees = 0.0, sum = 0.0;
    if (K >= 1 << B) return 0.0;
    for (int b = 0; b < B; b++) {
        double sign = pf_argmax_sign(B, K, b);
        if (sign < 0.0) sum += exp(agrees + log_side(p, b, 1.0));
        agrees += log_side(p, b, sign);
    }
    return sum + exp(agrees);
}
