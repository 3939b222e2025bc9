/* Control variate of the divergence estimate, from the covariance of the data.
 *
 * If the data were Gaussian with covariance C = sum_i w_i q_i q_i', the flow's Jacobian would be the
 * same along every path and, with m and s the SDE's mean and standard deviation at t,
 *
 *     J_t = sum_i j_i(t) q_i q_i',   j_i = f + g^2 / (2 S_i),   S_i = m^2 w_i + s^2
 *
 * Its integral over a solve is known, since dS_i/dt = 2 f S_i + g^2:
 *
 *     M = sum_i l_i q_i q_i',   l_i = log(S_i(t1) / S_i(t0)) / 2
 *
 * so v'Mv - tr M has mean zero whatever v with E vv' = I, and costs one product an image and probe,
 * none an evaluation.  What the model and the Gaussian have in common leaves the variance, which for
 * Rademacher probes is 2 sum over i != j of A_ij^2 (their diagonal is exact anyway).
 *
 * Below a noise of about the data's own scale real data are no longer Gaussian: what is uncertain
 * there depends on the image, and a covariance over all images adds more variance than it removes
 * (experiments/probes).  So the control starts at the t0 where std/mean reaches
 * likelihood.control_noise; of what comes before it takes the mean of the l_i alone, which matters to
 * probes whose length varies, Gaussian and projected ones.
 *
 * A subspace spanned by some q_i can be taken out of the estimate: its trace is the sum of q_i'J q_i,
 * and probes projected on the complement estimate the rest (Hutch++, Meyer et al. 2021, with a
 * subspace fixed beforehand instead of sketched, since J changes along the path).
 *
 * The products are D long and in BLAS: one thread at a time, so that the bits do not depend on how
 * many there are. */
#include <probflow/likelihood.h>
#include <probflow/linalg.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>

struct pf_control {
    int D;
    double *mean;  /* [D], model scale */
    double *var;   /* [D] w, ascending */
    double *basis; /* [D,D], row i is q_i */
};

static PF_MUST_USE pf_status fit(pf_control *c, const pf_sample_source *src,
                                 double noise_variance)
{
    size_t D = (size_t)c->D;
    PF_TRY(pf_source_moments(src, c->mean, c->basis));
    for (size_t i = 0; i < D; i++) c->basis[i * (D + 1)] += noise_variance;
    PF_TRY(pf_linalg_eigh(c->D, c->basis, c->var));
    for (size_t i = 0; i < D; i++) c->var[i] = fmax(c->var[i], 0.0); /* rounding */
    return PF_OK;
}

static PF_MUST_USE pf_status create_into(pf_control *c, const pf_sample_source *src,
                                         double noise_variance)
{
    size_t D = (size_t)src->dim;
    c->D = src->dim;
    c->var = pf_zalloc(D * sizeof *c->var);
    c->basis = pf_zalloc(D * D * sizeof *c->basis);
    c->mean = pf_zalloc(D * sizeof *c->mean);
    PF_REQUIRE(c->var && c->basis && c->mean, PF_EMEM,
               "no memory for a covariance of %zu by %zu", D, D);
    PF_TRY(fit(c, src, noise_variance));
    return PF_OK;
}

void pf_control_free(pf_control *c)
{
    if (!c) return;
    pf_free(c->mean);
    pf_free(c->var);
    pf_free(c->basis);
    pf_free(c);
}

pf_status pf_control_create(const pf_sample_source *src, double noise_variance,
                            pf_control **out)
{
    pf_control *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a control variate");
    pf_status st = create_into(c, src, noise_variance);
    if (st) {
        pf_control_free(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = c;
    return PF_OK;
}

void pf_control_shift(pf_control *c, double by)
{
    for (int i = 0; i < c->D; i++) c->mean[i] += by;
}

int pf_control_dim(const pf_control *c)
{
    return c->D;
}

size_t pf_control_bytes(int dim)
{
    size_t D = (size_t)dim;
    return (3 * D * D + 8 * D) * sizeof(double); /* LAPACK works in two more matrices */
}

/* l of one eigenvalue over [a, b]. */
static double integral(const pf_control_use *u, double w, double a, double b)
{
    double ma, sa, mb, sb;
    pf_sde_marginal(u->sde, a, &ma, &sa);
    pf_sde_marginal(u->sde, b, &mb, &sb);
    return 0.5 * log((mb * mb * w + sb * sb) / (ma * ma * w + sa * sa));
}

/* l [D], and the subspace as indices below first and from last on: w ascends and l is monotonous in
 * it, so what lies farthest from the mean of l is at the ends. */
static void spectrum(const pf_control_use *u, double *l, int *first, int *last)
{
    int D = u->control->D;
    const double *w = u->control->var;
    double mean = 0.0, same = 0.0;
    for (int i = 0; i < D; i++) {
        same += integral(u, w[i], u->t_min, u->t0) / D;
        l[i] = integral(u, w[i], u->t0, 1.0);
        mean += l[i] / D;
    }
    *first = 0;
    *last = D;
    for (int j = 0; j < u->subspace; j++)
        if (fabs(l[*first] - mean) > fabs(l[*last - 1] - mean)) ++*first;
        else --*last;
    for (int i = 0; i < D; i++) l[i] += same;
}

void pf_control_project(const pf_control *c, int rows, const double *v, double *y)
{
    pf_gemm g = {.tb = 1, .m = rows, .n = c->D, .k = c->D, .alpha = 1.0};
    pf_linalg_gemm(&g, v, c->basis, y);
}

double pf_control_start(const pf_sde *sde, double t_min, double noise)
{
    double lo = t_min, hi = 1.0, m, s;
    pf_sde_marginal(sde, t_min, &m, &s);
    if (s >= noise * m) return t_min;
    for (int i = 0; i < 60; i++) { /* std/mean rises with t */
        double t = 0.5 * (lo + hi);
        pf_sde_marginal(sde, t, &m, &s);
        if (s >= noise * m) hi = t;
        else lo = t;
    }
    return hi;
}

void pf_control_integral(const pf_control_use *u, int rows, const double *v, double *work,
                         double *out)
{
    int D = u->control->D, first, last;
    double *l = work + (size_t)rows * (size_t)D, *y = work;
    spectrum(u, l, &first, &last);
    pf_control_project(u->control, rows, v, y);
    for (int r = 0; r < rows; r++, y += D) {
        out[r] = 0.0;
        for (int i = first; i < last; i++) out[r] += (y[i] * y[i] - 1.0) * l[i];
    }
}

void pf_control_centre(const pf_control *c, int rows, double *x)
{
    size_t D = (size_t)c->D;
    for (size_t i = 0; i < (size_t)rows * D; i++) x[i] -= c->mean[i % D];
}

/* r_i = z_i - s (m y_i + s z_i)/S_i, S_i = m^2 w_i + s^2, so over z
 * E r_i^2 = (m^2 w_i/S_i)^2 + (s m y_i/S_i)^2 = w_i^2/(w_i + u)^2 + y_i^2 u/(w_i + u)^2, u = s^2/m^2. */
double pf_control_residual(const pf_control *c, double ratio, double least, const double *y,
                           const double *z, double *mean)
{
    double sum = 0.0;
    *mean = 0.0;
    for (int i = 0; i < c->D; i++) {
        double w = fmax(c->var[i], least), all = w + ratio * ratio;
        double kept = w / all, pull = ratio * y[i] / all, e = kept * z[i] - pull;
        sum += e * e;
        *mean += kept * kept + pull * pull;
    }
    return sum;
}

/* By u, du/u = rate dt: integral of w^2/(w + u)^2 du/u = log(u/(w + u)) + w/(w + u), of u/(w + u)^2 du/u = -1/(w + u). */
double pf_control_residuals(const pf_control *c, double from, double to, double least,
                            const double *y)
{
    double sum = 0.0, u = from * from, v = to * to;
    for (int i = 0; i < c->D; i++) {
        double w = fmax(c->var[i], least), a = w + u, b = w + v;
        sum += log(v / u * a / b) + w * (u - v) / (a * b) + y[i] * y[i] * (v - u) / (a * b);
    }
    return sum;
}

void pf_control_split(const pf_control_use *u, int rows, double *v, double *work, double *s)
{
    size_t D = (size_t)u->control->D;
    int first, last;
    double *l = work + (size_t)rows * D;
    pf_gemm back = {.m = rows, .n = (int)D, .k = (int)D, .alpha = 1.0};
    spectrum(u, l, &first, &last);
    memcpy(s, u->control->basis, (size_t)first * D * sizeof *s);
    memcpy(s + (size_t)first * D, u->control->basis + (size_t)last * D,
           (D - (size_t)last) * D * sizeof *s);
    pf_control_project(u->control, rows, v, work);
    for (size_t r = 0; r < (size_t)rows; r++)
        for (size_t i = 0; i < D; i++)
            if (i < (size_t)first || i >= (size_t)last) work[r * D + i] = 0.0;
    pf_linalg_gemm(&back, work, u->control->basis, v);
}
