/* Linear forward SDEs with Gaussian marginals, t in [0, 1]:
 *
 *     dx = f(t) x dt + g(t) dw,     x_t = mean(t) x_0 + std(t) z,     x_1 ~ prior N(0, prior_std^2)
 *
 * Probability flow: dx/dt = f(t) x - g(t)^2 score(x,t) / 2      (Song et al. 2021, eq. 13).
 * A new SDE is one file with one pf_sde_ops and one row in sdes.c. */
#ifndef PROBFLOW_SDE_H
#define PROBFLOW_SDE_H

#include <probflow/option.h>

typedef struct pf_sde_ops {
    const char *name, *help;
    size_t size;
    const pf_opt *opts;
    void (*marginal)(const void *self, double t, double *mean, double *std);
    void (*coef)(const void *self, double t, double *f, double *g2);
    double (*prior_std)(const void *self);
    /* Importance law of t for the likelihood weight, p(t) ~ g^2/std^2 on [t_min, 1]:
     * mass(t_min, t) = integral of g^2/std^2 from t_min to t, and its inverse in t. */
    double (*mass)(const void *self, double t_min, double t);
    double (*mass_inverse)(const void *self, double t_min, double m);
    /* What published networks return and see: 1 the score, 0 the noise, which is -std score; 1 std/mean, 0
     * 999 t. */
    int returns_score, sees_sigma;
    /* Of networks that were trained on n > 1 noise levels: what time t is called there, and *std = the noise of its level,
     * NaN where these options make none.  NULL: there are no such networks. */
    double (*label)(const void *self, int n, double t, double *std);
} pf_sde_ops;

/* An SDE with its options: plain data, copied freely. */
enum { PF_SDE_BYTES = 64 };
typedef struct pf_sde {
    const pf_sde_ops *ops;
    union {
        double align;
        unsigned char bytes[PF_SDE_BYTES];
    } opt;
} pf_sde;

/* Table, NULL-terminated. */
extern const pf_sde_ops *const pf_sdes[];
/* Row by name; fails PF_EARG naming the nearest. Options get their defaults. */
PF_MUST_USE pf_status pf_sde_init(const char *name, pf_sde *out);

static inline void pf_sde_marginal(const pf_sde *s, double t, double *mean, double *std)
{
    s->ops->marginal(&s->opt, t, mean, std);
}
static inline void pf_sde_coef(const pf_sde *s, double t, double *f, double *g2)
{
    s->ops->coef(&s->opt, t, f, g2);
}
/* log N(z; 0, prior_std^2 I) of z [dim], nats. */
double pf_sde_prior_logp(const pf_sde *s, int dim, const double *z);

#endif
