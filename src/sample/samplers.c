/* The table of samplers and their options.  To add one: write its file after ode.c, add its row
 * here and its name to meson.build. */
#include "sample/sampler.h"

#include <probflow/memory.h>
#include <probflow/option.h>

extern const pf_sampler_ops pf_sampler_ode, pf_sampler_reverse_diffusion,
    pf_sampler_euler_maruyama, pf_sampler_ancestral, pf_sampler_chain, pf_sampler_ddim,
    pf_sampler_langevin;

const pf_sampler_ops *const pf_samplers[] = {&pf_sampler_ode,
                                             &pf_sampler_reverse_diffusion,
                                             &pf_sampler_euler_maruyama,
                                             &pf_sampler_ancestral,
                                             &pf_sampler_chain,
                                             &pf_sampler_ddim,
                                             &pf_sampler_langevin,
                                             NULL};

static const char *const known_noise_words[] = {"step", "level", NULL};

/* clang-format off */
const pf_opt pf_sample_opts[] = {
    PF_OPT(pf_sample_opt, steps, PF_INT, 1000, 1, 1000000, "predictor steps"),
    PF_OPT(pf_sample_opt, corrector_steps, PF_INT, 0, 0, 1000, "Langevin steps after each predictor step"),
    PF_OPT(pf_sample_opt, snr, PF_F64, 0.16, 1e-6, 10.0, "Langevin signal-to-noise ratio: step = 2 a (snr |z|/|score|)^2, norms of each sample alone"),
    PF_OPT(pf_sample_opt, denoise, PF_BOOL, 1, 0, 1, "end on the mean: last step without noise"),
    PF_OPT(pf_sample_opt, t_min, PF_F64, 1e-3, 1e-12, 0.5, "time at which sampling ends"),
    PF_OPT_STR_QUIET(pf_sample_opt, respacing, "", "chain, ddim: which steps are kept: 250; 10,10,10 of as many sections; ddim50, each n-th; even50, evenly down from the last; empty: all"),
    PF_OPT_ENUM_QUIET(pf_sample_opt, clip, PF_CLIP_METHOD, pf_clip_words, "chain, ddim: predictions of the data are cut to their range; method: as method.clip says, but not while encoding"),
    PF_OPT_QUIET(pf_sample_opt, eta, PF_F64, 0.0, 0.0, 1.0, "ddim: share of the chain's noise; 0: deterministic"),
    PF_OPT_QUIET(pf_sample_opt, guide_scale, PF_F64, 1.0, 0.0, 1e6, "chain, ddim: scale of the classifier's gradient"),
    PF_OPT_QUIET(pf_sample_opt, langevin_steps, PF_INT, 100, 1, 1000000, "langevin: steps T at each level"),
    PF_OPT_QUIET(pf_sample_opt, step_size, PF_F64, 2e-5, 1e-12, 1e3, "langevin: step size at the last level, of images in [0,1] as published; grows with the square of the noise"),
    PF_OPT_QUIET(pf_sample_opt, levels, PF_INT, 10, 1, 100000, "langevin: levels, in one ratio, of a score that was trained for any noise"),
    PF_OPT_ENUM_QUIET(pf_sample_opt, known_noise, 0, known_noise_words, "langevin: the noise of known entries is drawn each step, or once a level"),
    PF_OPT(pf_sample_opt, seed, PF_I64, 1, 0, 9e18, "seed of the samples"),
    PF_OPT_NEST(pf_sample_opt, ode, pf_solver_opts), /* sampler ode */
    { 0 }
};
/* clang-format on */

pf_status pf_sample_prior(const pf_sde *sde, const pf_sample_opt *opt, int64_t first, int B,
                          int D, double *x)
{
    double std = sde->ops->prior_std(&sde->opt);
    float *z = pf_zalloc((size_t)D * sizeof *z);
    PF_REQUIRE(z, PF_EMEM, "no memory for a draw of %d", D);
    for (int b = 0; b < B; b++) {
        pf_draw d = {(uint64_t)opt->seed, PF_STREAM_PRIOR, (uint64_t)(first + b), 0};
        pf_draw_normal(&d, 0, (size_t)D, z);
        for (int i = 0; i < D; i++) x[(size_t)b * D + i] = std * (double)z[i];
    }
    pf_free(z);
    return PF_OK;
}

pf_status pf_sampler_find(const char *name, const pf_sampler_ops **out)
{
    const void *row;
    PF_TRY(pf_row_find(pf_samplers, "sampler", name, &row));
    *out = row;
    return PF_OK;
}
