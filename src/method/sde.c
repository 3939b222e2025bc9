/* Score matching in continuous time (Song et al. 2021): the noise of an SDE, the weighted loss of dsm.c, the
 * score of network_score.c.  Its options are the sections `sde` and `objective`, and `method` for what the
 * network returns and how it is told the time. */
#include "method/dsm.h"
#include "method/network_score.h"
#include "method/time.h"

#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>

extern const pf_method_ops pf_method_sde_ops;

typedef struct bound {
    pf_sde_method m;
    pf_space space;
    size_t D;
} bound;

static pf_status read_sections(pf_config *c, void *opt)
{
    pf_sde_method *m = opt;
    const char *name = pf_config_get(c, "sde.name");
    PF_REQUIRE(name, PF_EARG, "sde.name is missing; a run must name it");
    PF_TRY(pf_sde_init(name, &m->sde));
    PF_TRY(pf_config_section(c, "sde", m->sde.ops->opts, &m->sde.opt));
    PF_TRY(pf_config_section(c, "objective", pf_objective_opts, &m->objective));
    const pf_objective_opt *o = &m->objective;
    PF_REQUIRE(m->cond != PF_COND_LABEL || m->sde.ops->label, PF_EARG,
               "method.cond is label, but networks of the SDE %s know no noise levels; set "
               "method.cond=t",
               name);
    PF_REQUIRE(m->cond != PF_COND_LABEL || isfinite(pf_sde_method_noise(m, 1.0)), PF_EARG,
               "method.levels is %d, of which this SDE takes more noise in a step than there "
               "is: want more levels",
               m->levels);
    PF_REQUIRE(o->weight == PF_WEIGHT_LIKELIHOOD || o->time == PF_TIME_UNIFORM, PF_EARG,
               "objective.time is importance, which samples t by the likelihood weight, but "
               "objective.weight is sigma2; set objective.time=uniform");
    return PF_OK;
}

static pf_status write_sections(const void *opt, int loss, pf_text *t)
{
    const pf_sde_method *m = opt;
    if (loss) PF_TRY(pf_config_write(t, "objective", NULL, pf_objective_opts, &m->objective));
    else PF_TRY(pf_config_write(t, "sde", m->sde.ops->name, m->sde.ops->opts, &m->sde.opt));
    return PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    bound *b = pf_zalloc(sizeof *b);
    PF_REQUIRE(b, PF_EMEM, "no memory for the method sde");
    b->m = *(const pf_sde_method *)opt;
    b->space = *space;
    b->D = (size_t)pf_space_dim(space);
    *self = b;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    *offered = pf_dsm_ports(((const bound *)self)->space.shape);
}

/* A time and the noise of a sample; in a batch all times lie first. */
static size_t scratch_bytes(const void *self)
{
    const bound *b = self;
    return sizeof(double) + (b->D * sizeof(float) + 7) / 8 * 8;
}

static pf_dsm of_batch(const bound *s, const pf_batch *b, const void *scratch)
{
    const double *t = scratch;
    return (pf_dsm){&s->m, b->B, (int)s->D, b->x, (const float *)(t + b->B), t};
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const bound *s = self;
    double *t = scratch;
    float *z = (float *)(t + b->B);
    for (int i = 0; i < b->B; i++) {
        pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE, b->sample[i],
                     0};
        pf_draw_normal(&d, 0, s->D, z + (size_t)i * s->D);
    }
    pf_dsm_times(&s->m, pf_time_shift(b), b->first, b->B, b->total, t);
    pf_dsm d = of_batch(s, b, scratch);
    pf_dsm_show(&d, in);
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *loss, float *gout)
{
    pf_dsm d = of_batch(self, b, scratch);
    pf_dsm_loss(&d, net, scale, loss, gout);
}

static void show_time(const pf_net *n, double t, int b, void *const *in)
{
    pf_dsm_show_time(&((const bound *)n->self)->m, t, b, in);
}

static pf_affine_score score_at(const pf_net *n, double t)
{
    return pf_sde_method_score(&((const bound *)n->self)->m, t);
}

static pf_status score(const pf_net *n, const pf_view_opt *o, pf_score *out)
{
    static const pf_timed by = {show_time, score_at};
    PF_TRY(pf_network_score(n, &by, o, out));
    return PF_OK;
}

static const pf_sde *sde_of(const void *self)
{
    return &((const bound *)self)->m.sde;
}

static double t_min_of(const void *opt)
{
    return ((const pf_sde_method *)opt)->objective.t_min;
}

pf_method pf_method_of_sde(const pf_sde *sde)
{
    pf_method m = {.ops = &pf_method_sde_ops};
    pf_sde_method *own = (pf_sde_method *)&m.opt;
    own->sde = *sde;
    pf_opt_defaults(pf_objective_opts, &own->objective);
    return m;
}

const pf_method_ops pf_method_sde_ops = {
    .name = "sde",
    .help = "score matching of a diffusion in continuous time (Song et al. 2021)",
    .size = sizeof(pf_sde_method),
    .opts = pf_sde_method_opts,
    .kinds = 1u << PF_LEVELS | 1u << PF_REAL,
    .read = read_sections,
    .write = write_sections,
    .open = open,
    .close = pf_free,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .score = score,
    .sde = sde_of,
    .t_min = t_min_of,
};
