/* The table of SDEs.  To add one: write its file after vp.c, add its row here and its name to
 * meson.build. */
#include <probflow/sde.h>

#include <math.h>
#include <string.h>

extern const pf_sde_ops pf_sde_vp, pf_sde_subvp, pf_sde_ve, pf_sde_ve_linear, pf_sde_vp_cosine;

const pf_sde_ops *const pf_sdes[] = {&pf_sde_vp,        &pf_sde_subvp,     &pf_sde_ve,
                                     &pf_sde_ve_linear, &pf_sde_vp_cosine, NULL};

pf_status pf_sde_init(const char *name, pf_sde *out)
{
    const void *row;
    PF_TRY(pf_row_find(pf_sdes, "sde", name, &row));
    memset(out, 0, sizeof *out);
    out->ops = row;
    PF_ASSERT(out->ops->size <= PF_SDE_BYTES);
    pf_opt_defaults(out->ops->opts, &out->opt);
    return PF_OK;
}

double pf_sde_prior_logp(const pf_sde *s, int dim, const double *z)
{
    double std = s->ops->prior_std(&s->opt), sum = 0.0;
    for (int i = 0; i < dim; i++) sum += z[i] * z[i];
    return -0.5 * sum / (std * std) - dim * (log(std) + 0.5 * log(2.0 * M_PI));
}
