/* Probes of the divergence estimate and their arrangement in sets.
 *
 *     tr A = E v'Av,   variance 2 sum over i != j of A_ij^2   for v of independent signs
 *
 * A set of P = 2^p probes shares one vector r of signs and multiplies it by the rows of a Hadamard
 * matrix, by the colour of each pixel:
 *
 *     v_k = H[k, colour(i)] r_i,     mean over k of v_ki v_kj = r_i r_j [colour(i) = colour(j)]
 *
 * so the mean over a set has no variance from pairs of different colour, and its own is
 * 2 sum over i != j of one colour of A_ij^2.  Colours are laid out so that the pairs that images couple
 * most are told apart first: the bits of the squares of 1, 2, 4 ... pixels (checkerboard, then rows),
 * with the channel added by exclusive or.  Unbiased as before, since each v_k is a vector of
 * independent signs.
 *
 * Source: Hutchinson 1990; Tang and Saad 2012 and Stathopoulos, Laeuchli and Orginos 2013 (probing by
 * colours, hierarchically). */
#include "likelihood/probe.h"

#include <math.h>
#include <probflow/memory.h>
#include <string.h>

static int estimated(const pf_trace_opt *o)
{
    return o->probe != PF_EXACT;
}

static int products(const pf_trace_opt *o)
{
    return estimated(o) ? o->subspace + o->probes : 1;
}

int pf_trace_has_control(const pf_trace_opt *o)
{
    return (o->control != PF_CONTROL_NONE || o->subspace > 0) && estimated(o);
}

static size_t work_size(const pf_trace_opt *o, size_t B, size_t D)
{
    return pf_trace_has_control(o) ? (B * (size_t)o->probes + 1) * D : 0;
}

pf_status pf_probes_init(pf_probes *p, const pf_sde *sde, const pf_likelihood_opt *opt,
                         const pf_group *group, int D)
{
    size_t B = (size_t)group->B, d = (size_t)D;
    const pf_trace_opt *o = &opt->trace;
    double t_min = opt->ode.t_min;
    *p = (pf_probes){.opt = opt,
                     .group = group,
                     .use = {group->control, sde, t_min,
                             pf_control_start(sde, t_min, o->control_noise), o->subspace},
                     .D = D,
                     .products = products(o)};
    if (!estimated(o)) return PF_OK;
    p->v = pf_zalloc((size_t)p->products * B * d * sizeof *p->v);
    p->draw = pf_zalloc(d * sizeof *p->draw);
    PF_REQUIRE(p->v && p->draw, PF_EMEM, "no memory for a group of %zu images with %d probes",
               B, p->products);
    if (!pf_trace_has_control(o)) return PF_OK;
    p->work = pf_zalloc(work_size(o, B, d) * sizeof *p->work);
    if (o->control) p->known = pf_zalloc((size_t)o->probes * B * sizeof *p->known);
    PF_REQUIRE(p->work && (p->known || !o->control), PF_EMEM,
               "no memory for the control variates of %zu images", B);
    return PF_OK;
}

void pf_probes_free(pf_probes *p)
{
    pf_free(p->v);
    pf_free(p->known);
    pf_free(p->work);
    pf_free(p->draw);
}

size_t pf_probes_bytes(const pf_trace_opt *opt, int B, int D)
{
    size_t n = (size_t)B * (size_t)D;
    size_t v = estimated(opt) ? (size_t)products(opt) * n : 0;
    return (v + work_size(opt, (size_t)B, (size_t)D)) * sizeof(double);
}

/* 0 .. 63, of which a power of two takes the low bits. */
static unsigned colour(pf_shape s, size_t i)
{
    unsigned c = (unsigned)(i % s.c), x = (unsigned)(i / s.c % s.w),
             y = (unsigned)(i / s.c / s.w);
    unsigned bits = 0;
    for (unsigned l = 0; l < 3; l++)
        bits |= (((y >> l) ^ (x >> l)) & 1) << 2 * l | ((y >> l) & 1) << (2 * l + 1);
    return bits ^ c;
}

static double hadamard(unsigned k, unsigned c)
{
    return __builtin_parity(k & c) ? -1.0 : 1.0;
}

static void draw_one(pf_probes *p, int draw, int k, int b, double *v)
{
    const pf_trace_opt *o = &p->opt->trace;
    unsigned P = (unsigned)o->colours, row = (unsigned)k % P;
    int sets = o->probes / o->colours;
    pf_shape s = p->group->space.shape.c ? p->group->space.shape : (pf_shape){1, 1, p->D};
    pf_draw d = {(uint64_t)p->opt->seed, PF_STREAM_PROBE, (uint64_t)(p->group->first + b),
                 (uint32_t)(draw * sets + k / o->colours)};
    if (o->probe == PF_GAUSSIAN) pf_draw_normal(&d, 0, (size_t)p->D, p->draw);
    else pf_draw_rademacher(&d, 0, (size_t)p->D, p->draw);
    for (size_t i = 0; i < (size_t)p->D; i++)
        v[i] = hadamard(row, colour(s, i) & (P - 1)) * (double)p->draw[i];
}

void pf_probes_draw(pf_probes *p, int draw)
{
    const pf_trace_opt *o = &p->opt->trace;
    size_t D = (size_t)p->D, B = (size_t)p->group->B, m = (size_t)o->subspace;
    int rows = o->probes * (int)B;
    double *v = p->v + m * B * D;
    if (!estimated(o)) return;
    for (int k = 0; k < o->probes; k++)
        for (size_t b = 0; b < B; b++)
            draw_one(p, draw, k, (int)b, v + ((size_t)k * B + b) * D);
    if (m > 0) {
        pf_control_split(&p->use, rows, v, p->work,
                         p->v); /* [m,D], to be spread over [m,B,D] */
        for (size_t j = m; j-- > 0;)
            for (size_t b = B; b-- > 0;)
                memmove(p->v + (j * B + b) * D, p->v + j * D, D * sizeof *v);
    }
    if (p->known) pf_control_integral(&p->use, rows, v, p->work, p->known);
}

/* Of the integral outside the subspace, by set r. */
static double estimate(const pf_probes *p, int b, const double *div, int r)
{
    int P = p->opt->trace.colours;
    double sum = 0.0;
    for (int k = r * P; k < (r + 1) * P; k++)
        sum +=
            div[p->opt->trace.subspace + k] - (p->known ? p->known[k * p->group->B + b] : 0.0);
    return sum / P;
}

void pf_probes_read(const pf_probes *p, int b, const double *div, double *mean,
                    double *variance)
{
    const pf_trace_opt *o = &p->opt->trace;
    int sets = estimated(o) ? o->probes / o->colours : 0;
    double sum = 0.0, var = 0.0, inside = 0.0;
    *mean = div[0];
    *variance = 0.0;
    if (!estimated(o)) return;
    for (int r = 0; r < sets; r++) sum += estimate(p, b, div, r) / sets;
    for (int r = 0; r < sets; r++) var += pow(estimate(p, b, div, r) - sum, 2);
    for (int j = 0; j < o->subspace; j++) inside += div[j];
    *mean = inside + sum;
    *variance = sets < 2 ? NAN : var / (sets - 1) / sets;
}
