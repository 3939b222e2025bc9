/* The tables of a chain of DDPM: all of its steps, or those that are kept; see ddpm.h. */
#include "method/ddpm.h"

#include <probflow/memory.h>

void pf_ddpm_close(pf_ddpm *m)
{
    if (!m) return;
    pf_gauss_free(m->gauss);
    pf_free(m->number);
    pf_free(m->at);
    pf_free(m);
}

/* The whole chain, and then the steps of it that are kept. */
static PF_MUST_USE pf_status make_chain(pf_ddpm *m, const char *respacing)
{
    const pf_ddpm_opt *o = &m->opt;
    const pf_betas b = {(pf_schedule)o->schedule, o->beta_start,   o->beta_end,
                        o->schedule_start,        o->schedule_end, o->schedule_tau};
    pf_gauss *whole = NULL;
    double *beta = pf_zalloc((size_t)o->steps * sizeof *beta);
    m->number = pf_zalloc((size_t)o->steps * sizeof *m->number);
    pf_status st =
        beta && m->number
            ? PF_OK
            : pf_raise(PF_EMEM, PF_WHERE, "no memory for a schedule of %d steps", o->steps);
    if (!st) st = pf_gauss_betas(&b, o->steps, beta);
    if (!st) st = pf_gauss_create(o->steps, beta, &whole);
    if (!st) st = pf_gauss_spacing(respacing, o->steps, m->number, &m->T);
    if (!st) st = pf_gauss_respace(whole, m->number, m->T, &m->gauss);
    pf_gauss_free(whole);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status make_tables(pf_ddpm *m, const char *respacing)
{
    const pf_ddpm_opt *o = &m->opt;
    const pf_gauss_opt g = {.predicts = (pf_predicts)o->predicts,
                            .variance = (pf_variance)o->variance,
                            .loss = (pf_gauss_loss_kind)o->loss,
                            .decoder = {(pf_cdf)o->cdf, m->space.levels, o->decoder_floor},
                            .weight = (pf_gauss_weight)o->weight,
                            .gamma = o->min_snr_gamma,
                            .vb_weight = o->vb_weight,
                            .floor_log_variance = o->log_variance_clip};
    PF_TRY(make_chain(m, respacing));
    m->at = pf_zalloc((size_t)m->T * sizeof *m->at);
    PF_REQUIRE(m->at, PF_EMEM, "no memory for a chain of %d steps", m->T);
    for (int i = 0; i < m->T; i++) m->at[i] = pf_gauss_index(m->gauss, &g, i);
    return PF_OK;
}

static PF_MUST_USE pf_status check(const pf_ddpm_opt *o, const pf_space *s)
{
    PF_REQUIRE(s->kind == PF_LEVELS && s->levels >= 2, PF_EARG,
               "ddpm is a method for images of levels; its decoder needs their grid");
    PF_REQUIRE(o->schedule != PF_SCHEDULE_JSD || o->predicts != PF_PREDICTS_NOISE, PF_EARG,
               "the schedule jsd ends in pure noise, from which predicted noise gives no data; "
               "want predicts data, mean or v");
    PF_REQUIRE(
        !o->weight || (o->loss != PF_LOSS_KL && o->loss != PF_LOSS_RESCALED_KL), PF_EARG,
        "method.weight weighs squares, which the losses kl and rescaled_kl have none of");
    PF_REQUIRE(!o->weight || o->predicts != PF_PREDICTS_MEAN, PF_EARG,
               "method.weight is for predicted noise, data and v, and the network predicts the "
               "mean");
    return PF_OK;
}

pf_status pf_ddpm_open(const pf_ddpm_opt *opt, const pf_space *space, const char *respacing,
                       pf_ddpm **out)
{
    PF_TRY(check(opt, space));
    pf_ddpm *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method ddpm");
    m->opt = *opt;
    m->space = *space;
    m->clip = opt->clip;
    m->D = (size_t)space->shape.h * (size_t)space->shape.w * (size_t)space->shape.c;
    m->in = m->D << opt->self_condition;
    m->out = m->D << pf_gauss_learns((pf_variance)opt->variance);
    m->bytes = sizeof(pf_ddpm_seen) + (m->D * sizeof(float) + 7) / 8 * 8;
    pf_status st = make_tables(m, respacing);
    if (st) {
        pf_ddpm_close(m);
        return pf_trail(st, PF_WHERE);
    }
    *out = m;
    return PF_OK;
}
