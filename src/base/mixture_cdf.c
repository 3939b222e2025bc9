/* A mixture of logistics as an increasing map.  See mixture_cdf.h.
 *
 * With u_m = (z - mu_m) exp(-s_m), a_m = sigmoid(u_m), b_m = 1 - a_m, each from exp(-|u_m|) without cancellation:
 *
 *   F = sum p a,   1 - F = Q = sum p b,   F' = D = sum p a b exp(-s_m)
 *
 * Slopes, with A, B and C those of log F, log Q and log D, and shares of the sums
 * x_m = p a / F, q_m = p b / Q, d_m = p a b exp(-s_m) / D:
 *
 *   g_m = dL/du_m = A x b - B q a + C d (b - a)
 *   dL/dz = sum g exp(-s_m),  dL/dmu_m = -g exp(-s_m),  dL/ds_m = -g u - C d,
 *   dL/dlogit_m = A x + B q + C d - (A + B + C) p
 *
 * Inverse: log F - log Q = v lies between the least and the largest u_m, so z lies between the least and the largest
 * mu_m + v exp(s_m). */
#include <probflow/mixture_cdf.h>

#include <math.h>
#include <stddef.h>

static const double far = 700.0; /* exp(-700) is a normal number */

typedef struct bounded { /* e tanh(raw / max(e, 1)) and its slopes */
    double s, by_raw, by_f;
} bounded;

static bounded bound(double raw, double f)
{
    double e = exp(f), k = f >= 0.0 ? e : 1.0, th = tanh(raw / k), slope = 1.0 - th * th;
    bounded b = {e * th, slope * e / k, e * th};
    if (f >= 0.0) b.by_f -= slope * raw * e / k;
    return b;
}

double pf_mixture_cdf_scale(double raw, double f)
{
    return bound(raw, f).s;
}

typedef struct mixture {
    bounded s, sm[PF_MIXTURE_CDF_MAX];
    double p[PF_MIXTURE_CDF_MAX], sharp[PF_MIXTURE_CDF_MAX]; /* weights and exp(-s_m) */
} mixture;

static void open(const pf_mixture_cdf *m, mixture *x)
{
    const double *logit = m->param + 2, *raw = logit + 2 * m->M;
    double top = logit[0], sum = 0.0;
    x->s = bound(m->param[1], m->f);
    for (int i = 1; i < m->M; i++) top = fmax(top, logit[i]);
    for (int i = 0; i < m->M; i++) {
        x->p[i] = exp(logit[i] - top);
        sum += x->p[i];
        x->sm[i] = bound(raw[i], m->fm[i]);
        x->sharp[i] = exp(-x->sm[i].s);
    }
    for (int i = 0; i < m->M; i++) x->p[i] /= sum;
}

typedef struct sums {
    double F, Q, D;
} sums;

/* u, sigmoid(u) and sigmoid(-u) of each logistic (NULL: not wanted), and their sums */
static sums add_up(const pf_mixture_cdf *m, const mixture *x, double z, double (*of)[3])
{
    const double *mean = m->param + 2 + m->M;
    sums s = {0.0, 0.0, 0.0};
    for (int i = 0; i < m->M; i++) {
        double u = fmin(fmax((z - mean[i]) * x->sharp[i], -far), far), e = exp(-fabs(u));
        double near = 1.0 / (1.0 + e), tail = e / (1.0 + e);
        double a = u > 0.0 ? near : tail, b = u > 0.0 ? tail : near;
        s.F += x->p[i] * a;
        s.Q += x->p[i] * b;
        s.D += x->p[i] * a * b * x->sharp[i];
        if (of) of[i][0] = u, of[i][1] = a, of[i][2] = b;
    }
    return s;
}

double pf_mixture_cdf_at(const pf_mixture_cdf *m, double z, double *ldj)
{
    mixture x;
    open(m, &x);
    sums s = add_up(m, &x, z, NULL);
    double F = log(s.F), Q = log(s.Q);
    if (ldj) *ldj = x.s.s + log(s.D) - F - Q;
    return (F - Q + m->param[0]) * exp(x.s.s);
}

static void bracket(const pf_mixture_cdf *m, const mixture *x, double v, double *lo, double *hi)
{
    const double *mean = m->param + 2 + m->M;
    *lo = INFINITY;
    *hi = -INFINITY;
    for (int i = 0; i < m->M; i++) {
        double z = mean[i] + v / x->sharp[i];
        *lo = fmin(*lo, z);
        *hi = fmax(*hi, z);
    }
}

double pf_mixture_cdf_inverse(const pf_mixture_cdf *m, double y)
{
    enum { MOST = 200 }; /* halvings reach two roundings long before */
    mixture x;
    double lo, hi;
    open(m, &x);
    double v = y * exp(-x.s.s) - m->param[0];
    bracket(m, &x, v, &lo, &hi);
    double z = 0.5 * (lo + hi);
    for (int i = 0; i < MOST && hi - lo > 4.4e-16 * (fabs(lo) + fabs(hi)); i++) {
        sums s = add_up(m, &x, z, NULL);
        double off = log(s.F) - log(s.Q) - v;
        if (fabs(off) <= 1e-14 * (1.0 + fabs(v))) return z;
        if (off > 0.0) hi = z;
        else lo = z;
        z -= off * s.F * s.Q / s.D;
        if (!(z > lo && z < hi)) z = 0.5 * (lo + hi);
    }
    return z;
}

void pf_mixture_cdf_back(const pf_mixture_cdf *m, double z, double gy, double gldj,
                         pf_mixture_slopes *to)
{
    int M = m->M;
    mixture x;
    double of[PF_MIXTURE_CDF_MAX][3], *logit = to->param + 2, *mean = logit + M,
                                      *raw = mean + M;
    open(m, &x);
    sums s = add_up(m, &x, z, of);
    double by_v = gy * exp(x.s.s), by_s = by_v * (log(s.F) - log(s.Q) + m->param[0]) + gldj;
    double A = by_v - gldj, B = -by_v - gldj, C = gldj;

    to->param[0] = by_v;
    to->param[1] = by_s * x.s.by_raw;
    to->f = by_s * x.s.by_f;
    to->z = 0.0;
    for (int i = 0; i < M; i++) {
        double u = of[i][0], a = of[i][1], b = of[i][2], p = x.p[i];
        double in = p * a / s.F, out = p * b / s.Q, d = p * a * b * x.sharp[i] / s.D;
        double g = A * in * b - B * out * a + C * d * (b - a), by_scale = -g * u - C * d;
        to->z += g * x.sharp[i];
        mean[i] = -g * x.sharp[i];
        logit[i] = A * in + B * out + C * d - (A + B + C) * p;
        raw[i] = by_scale * x.sm[i].by_raw;
        to->fm[i] = by_scale * x.sm[i].by_f;
    }
}
