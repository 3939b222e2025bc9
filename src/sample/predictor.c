/* Samplers in fixed steps of the reverse SDE, with an optional Langevin corrector.
 *
 * The grid is even in t from 1 to t_min.  A step from t to u < t uses the forward transition
 * u -> t of the SDE, which is exact because the SDE is linear,
 *
 *     x_t = r x_u + q z,     r = m_t/m_u,     q^2 = s_t^2 - r^2 s_u^2
 *
 *     reverse_diffusion   x_u = (2 - r) x + q^2 score + q z
 *     ancestral           x_u = (x + q^2 score)/r + q (s_u/s_t) z
 *     euler_maruyama      x_u = x - (f x - g^2 score) h + g sqrt(h) z,     h = t - u
 *
 * which for VP (r = sqrt(1 - beta_i)) and VE are the published discretisations.  The corrector
 * moves along the score at u: x += e score + sqrt(2e) z, e = 2 r^2 (snr |z|/|score|)^2, with the
 * norms of each sample alone, so that a sample does not depend on its batch.
 *
 * Source: Song et al. 2021, algorithms 2 to 5, eq. 46 and appendix F; Ho et al. 2020, eq. 7. */
#include "sample/sampler.h"

#include <math.h>
#include <probflow/memory.h>

/* One step for all: x_u = a x + b score + c z. */
typedef struct step {
    double a, b, c;
    double r; /* of the forward transition */
} step;
typedef step step_fn(const pf_sde *sde, double t, double u);

typedef struct run {
    const pf_sde *sde;
    pf_score *score;
    const pf_sample_opt *opt;
    int64_t first, *evaluations;
    int B;
    double *t, *s; /* [B], [B,D] */
    float *z;      /* [D] */
} run;

static step transition(const pf_sde *sde, double t, double u, double *q2)
{
    double mt, st, mu, su;
    pf_sde_marginal(sde, t, &mt, &st);
    pf_sde_marginal(sde, u, &mu, &su);
    double r = mt / mu;
    *q2 = st * st - r * r * su * su;
    return (step){.r = r};
}

static step reverse_diffusion(const pf_sde *sde, double t, double u)
{
    double q2;
    step s = transition(sde, t, u, &q2);
    s.a = 2.0 - s.r;
    s.b = q2;
    s.c = sqrt(q2);
    return s;
}

static step ancestral(const pf_sde *sde, double t, double u)
{
    double q2, m, st, su;
    step s = transition(sde, t, u, &q2);
    pf_sde_marginal(sde, t, &m, &st);
    pf_sde_marginal(sde, u, &m, &su);
    s.a = 1.0 / s.r;
    s.b = q2 / s.r;
    s.c = sqrt(q2) * su / st;
    return s;
}

static step euler_maruyama(const pf_sde *sde, double t, double u)
{
    double q2, f, g2, h = t - u;
    step s = transition(sde, t, u, &q2);
    pf_sde_coef(sde, t, &f, &g2);
    s.a = 1.0 - f * h;
    s.b = g2 * h;
    s.c = sqrt(g2 * h);
    return s;
}

static PF_MUST_USE pf_status evaluate(run *r, double t, const double *x)
{
    for (int b = 0; b < r->B; b++) r->t[b] = t;
    ++*r->evaluations;
    PF_TRY(r->score->eval(r->score->self, r->B, r->t, x, r->s));
    return PF_OK;
}

static void draw_noise(run *r, int b, uint32_t number)
{
    pf_draw d = {(uint64_t)r->opt->seed, PF_STREAM_SAMPLE, (uint64_t)(r->first + b), number};
    pf_draw_normal(&d, 0, (size_t)r->score->dim, r->z);
}

static void predict(run *r, const step *s, uint32_t number, double *x)
{
    int D = r->score->dim;
    for (int b = 0; b < r->B; b++) {
        double *xb = x + (size_t)b * D, *sb = r->s + (size_t)b * D;
        draw_noise(r, b, number);
        for (int i = 0; i < D; i++)
            xb[i] = s->a * xb[i] + s->b * sb[i] + s->c * (double)r->z[i];
    }
}

static void correct(run *r, const step *s, uint32_t number, double *x)
{
    int D = r->score->dim;
    for (int b = 0; b < r->B; b++) {
        double *xb = x + (size_t)b * D, *sb = r->s + (size_t)b * D, z2 = 0.0, s2 = 0.0;
        draw_noise(r, b, number);
        for (int i = 0; i < D; i++) {
            z2 += (double)r->z[i] * (double)r->z[i];
            s2 += sb[i] * sb[i];
        }
        if (s2 == 0.0) continue; /* at a stationary point: no scale to step on */
        double e = 2.0 * s->r * s->r * r->opt->snr * r->opt->snr * z2 / s2;
        for (int i = 0; i < D; i++) xb[i] += e * sb[i] + sqrt(2.0 * e) * (double)r->z[i];
    }
}

static PF_MUST_USE pf_status integrate(run *r, step_fn *plan, double *x)
{
    int N = r->opt->steps, L = r->opt->corrector_steps;
    double span = 1.0 - r->opt->t_min;

    for (int n = 0; n < N; n++) {
        double t = 1.0 - span * n / N, u = n + 1 < N ? 1.0 - span * (n + 1) / N : r->opt->t_min;
        uint32_t number = (uint32_t)n * (uint32_t)(L + 1);
        step s = plan(r->sde, t, u);
        int last = n + 1 == N;
        if (last && r->opt->denoise) s.c = 0.0;
        PF_TRY(evaluate(r, t, x));
        predict(r, &s, number, x);
        for (int l = 0; l < L && !(last && r->opt->denoise); l++) {
            PF_TRY(evaluate(r, u, x));
            correct(r, &s, number + 1 + (uint32_t)l, x);
        }
    }
    for (size_t i = 0; i < (size_t)r->B * r->score->dim; i++)
        PF_REQUIRE(isfinite(x[i]), PF_ENUMERIC, "sample %lld is not finite",
                   (long long)(r->first + (int64_t)(i / (size_t)r->score->dim)));
    return PF_OK;
}

static PF_MUST_USE pf_status draw_by(step_fn *plan, run *r, double *x)
{
    size_t n = (size_t)r->B * r->score->dim;
    PF_TRY(pf_sample_prior(r->sde, r->opt, r->first, r->B, r->score->dim, x));
    r->t = pf_zalloc((size_t)r->B * sizeof *r->t);
    r->s = pf_zalloc(n * sizeof *r->s);
    r->z = pf_zalloc((size_t)r->score->dim * sizeof *r->z);
    pf_status st = r->t && r->s && r->z
                       ? integrate(r, plan, x)
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d samples", r->B);
    pf_free(r->t);
    pf_free(r->s);
    pf_free(r->z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* clang-format off */
#define SAMPLER(plan, text)                                                                     \
    static pf_status draw_##plan(const pf_drawing *d)                                           \
    {                                                                                           \
        run r = {.sde = d->view->sde, .score = d->view->score, .opt = d->opt,                   \
                 .first = d->first, .B = d->B, .evaluations = d->evaluations};                  \
        PF_TRY(draw_by(plan, &r, d->x));                                                        \
        return PF_OK;                                                                           \
    }                                                                                           \
    const pf_sampler_ops pf_sampler_##plan = {                                                 \
        .name = #plan, .help = text, .needs = PF_NEEDS_SCORE, .draw = draw_##plan};

SAMPLER(reverse_diffusion, "reverse SDE, the forward step run backwards")
SAMPLER(euler_maruyama, "reverse SDE by Euler and Maruyama")
SAMPLER(ancestral, "posterior of each step given its clean estimate (DDPM)")
/* clang-format on */
