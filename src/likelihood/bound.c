/* Bound on -log p(x) by denoising score matching, from t_min = e to 1.
 *
 * The model: z ~ prior, the reverse SDE with this score down to x_e, then x | x_e by Tweedie's
 * mean and the noise of the marginal, N((x_e + s_e^2 score)/m_e, (s_e/m_e)^2).  Jensen over x_e,
 * and Girsanov for the path, whose divergence terms integrate to entropies that cancel:
 *
 *     -log p(x) <=  KL(q(x_1|x) || prior)                                       closed form
 *                 + 1/2 integral_e^1 g^2/s^2 E |s score(x_t) + z|^2 dt          sampled
 *                 + D/2 log(2 pi s_e^2/m_e^2) + 1/2 E |s_e score(x_e) + z|^2    sampled
 *
 * with x_t = m x + s z.  Times follow p(t) ~ g^2/s^2, whose total mass is Z, on a shifted grid in
 * the mass, so the integral is Z/2 times a plain mean.  From each sample c (|z|^2 - D) is taken,
 * c = (m^2 v/(m^2 v + s^2))^2: its mean is zero whatever c, and as the noise falls below the
 * spread v of the data the score stays bounded and |s score + z|^2 -> |z|^2.  On Gaussians with
 * the spectra of images it divides the variance by 2 to 3.
 *
 * Source: Song et al. 2021b, theorems 1 and 3 and appendix; Kingma et al. 2021, eq. 15 (the form
 * free of divergences). */
#include "likelihood/bound.h"

#include <math.h>
#include <probflow/memory.h>

typedef struct work {
    double *t, *xt, *s; /* [B], [B,D], [B,D] */
    float *z;           /* [B,D] */
} work;

/* Typical variance of image data along an eigenvector, model scale: of no effect on the mean. */
static const double SPREAD = 0.01;

/* sum[b] += E-estimate of |s score + z|^2 at w->t; noise number `step` of each image */
static PF_MUST_USE pf_status add_residual(const pf_bound_call *c, work *w, uint32_t step,
                                          const double *x, double *sum)
{
    size_t D = (size_t)c->score->dim;
    double m, s;

    for (int b = 0; b < c->B; b++) {
        pf_draw d = {(uint64_t)c->opt->seed, PF_STREAM_EVAL_NOISE, (uint64_t)(c->first + b),
                     step};
        pf_draw_normal(&d, 0, D, w->z + b * D);
        pf_sde_marginal(c->sde, w->t[b], &m, &s);
        for (size_t i = b * D; i < (b + 1) * D; i++) w->xt[i] = m * x[i] + s * (double)w->z[i];
    }
    PF_TRY(c->score->eval(c->score->self, c->B, w->t, w->xt, w->s));
    for (int b = 0; b < c->B; b++) {
        double r2 = 0.0, z2 = 0.0;
        pf_sde_marginal(c->sde, w->t[b], &m, &s);
        for (size_t i = b * D; i < (b + 1) * D; i++) {
            double z = (double)w->z[i], r = s * w->s[i] + z;
            r2 += r * r;
            z2 += z * z;
        }
        PF_REQUIRE(isfinite(r2), PF_ENUMERIC, "the score of image %lld is not finite at t = %g",
                   (long long)(c->first + b), w->t[b]);
        double share = m * m * SPREAD / (m * m * SPREAD + s * s);
        sum[b] += r2 - share * share * (z2 - (double)D);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status sample_terms(const pf_bound_call *c, work *w, const double *x,
                                          double *nats)
{
    const pf_sde_ops *ops = c->sde->ops;
    int N = c->opt->bound_samples;
    double e = c->opt->ode.t_min, mass = ops->mass(&c->sde->opt, e, 1.0);
    uint32_t step = (uint32_t)c->draw * ((uint32_t)N + 1);

    for (int n = 0; n < N; n++) {
        for (int b = 0; b < c->B; b++) {
            pf_draw d = {(uint64_t)c->opt->seed, PF_STREAM_EVAL_TIME, (uint64_t)(c->first + b),
                         (uint32_t)c->draw};
            double u = fmod(pf_draw_uniform_f64(&d, 0) + (double)n / N, 1.0);
            w->t[b] = ops->mass_inverse(&c->sde->opt, e, mass * u);
        }
        PF_TRY(add_residual(c, w, step + (uint32_t)n, x, nats));
    }
    for (int b = 0; b < c->B; b++) {
        nats[b] *= mass / N;
        w->t[b] = e;
    }
    PF_TRY(add_residual(c, w, step + (uint32_t)N, x, nats));
    for (int b = 0; b < c->B; b++) nats[b] *= 0.5;
    return PF_OK;
}

static void add_closed_forms(const pf_bound_call *c, const double *x, double *nats)
{
    int D = c->score->dim;
    double me, se, m1, s1, prior = c->sde->ops->prior_std(&c->sde->opt);

    pf_sde_marginal(c->sde, c->opt->ode.t_min, &me, &se);
    pf_sde_marginal(c->sde, 1.0, &m1, &s1);
    double v = s1 * s1 / (prior * prior);
    for (int b = 0; b < c->B; b++) {
        double x2 = 0.0;
        for (int i = 0; i < D; i++) x2 += x[(size_t)b * D + i] * x[(size_t)b * D + i];
        nats[b] += 0.5 * (D * (v - 1.0 - log(v)) + m1 * m1 * x2 / (prior * prior));
        nats[b] += 0.5 * D * log(2.0 * M_PI * se * se / (me * me));
    }
}

pf_status pf_bound(const pf_bound_call *c, const double *x, double *nats)
{
    size_t n = (size_t)c->B * c->score->dim;
    work w = {pf_zalloc((size_t)c->B * sizeof(double)), pf_zalloc(n * sizeof(double)),
              pf_zalloc(n * sizeof(double)), pf_zalloc(n * sizeof(float))};
    pf_status st = PF_OK;

    for (int b = 0; b < c->B; b++) nats[b] = 0.0;
    if (!w.t || !w.xt || !w.s || !w.z)
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for the bound of %d images", c->B);
    else st = sample_terms(c, &w, x, nats);
    if (!st) add_closed_forms(c, x, nats);
    pf_free(w.t);
    pf_free(w.xt);
    pf_free(w.s);
    pf_free(w.z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
