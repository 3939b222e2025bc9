/* Score matching on a ladder of noise levels sigma_0 > .. > sigma_(L-1), each sample at one of them:
 *
 *     x~ = x + sigma z,     level floor(L u), u the shifted grid of time.h
 *     denoising   1/2 |s(x~) + z/sigma|^2 sigma^power
 *     sliced      (1/2 |s(x~)|^2 + v'(ds/dx) v) sigma^2, from two rows of the network, s(x~ + h v) and s(x~ - h v):
 *                 s is their mean, (ds/dx) v their difference over 2 h, h = sliced_step sigma
 *
 * The score is that of an SDE that explodes the variance, log sigma linear in t, from the last level at t = 0 to the
 * first at t = 1; between two levels the network is asked at their real-valued place.  Its likelihood is that of the
 * data with the noise of the last level.
 *
 * Source: Song and Ermon 2019, 2020; Song et al. 2019 (sliced); Pang et al. 2020 (finite differences). */
#include "method/ncsn.h"
#include "method/network_score.h"
#include "method/time.h"
#include "method/told.h"

#include <probflow/ladder.h>
#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <stdio.h>

extern const pf_method_ops pf_method_ncsn;

enum { LOSS_DENOISING, LOSS_SLICED };
enum { PROJECTION_RADEMACHER, PROJECTION_NORMAL };
enum { PREDICTS_SCORE, PREDICTS_NOISE };
enum { COND_T, COND_SIGMA, COND_LEVEL };
enum { PORT_LEVEL = PF_TOLD };
enum { PIECE = 256 }; /* entries worked on at once, on the stack */

static const char *const losses[] = {"denoising", "sliced", NULL};
static const char *const projections[] = {"rademacher", "normal", NULL};
static const char *const predictions[] = {"score", "noise", NULL};
static const char *const conds[] = {"t", "sigma", "level", NULL};

typedef struct ncsn_opt {
    int levels, ladder, loss, predicts, cond, projection;
    double sigma_begin, sigma_end, power, sliced_step;
} ncsn_opt;

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(ncsn_opt, levels, PF_INT, 10, 2, 100000, "noise levels of the ladder"),
    PF_OPT(ncsn_opt, sigma_begin, PF_F64, 1.0, 1e-6, 5e5, "largest noise, as published: of images in [0,1], twice as much in model scale; of real data as they are"),
    PF_OPT(ncsn_opt, sigma_end, PF_F64, 0.01, 1e-8, 1e3, "least noise, in the same unit"),
    PF_OPT_ENUM(ncsn_opt, ladder, PF_LADDER_GEOMETRIC, pf_ladder_words, "levels in one ratio, or at one distance"),
    PF_OPT_ENUM(ncsn_opt, loss, LOSS_DENOISING, losses, "score matching by denoising, or by projections of the score's derivative, two rows of the network a sample"),
    PF_OPT(ncsn_opt, power, PF_F64, 2.0, 0.0, 4.0, "denoising: power of sigma that weighs a level"),
    PF_OPT_ENUM(ncsn_opt, predicts, PREDICTS_SCORE, predictions, "what the network returns: the score in model scale, as published, or the noise"),
    PF_OPT_ENUM(ncsn_opt, cond, COND_T, conds, "how networks that know a time are told the level: 999 t, t from 0 at the last to 1 at the first, its noise in model scale, or its number, 0 the first"),
    PF_OPT(ncsn_opt, sliced_step, PF_F64, 0.1, 1e-4, 1.0, "sliced: half the distance of the two rows along the projection, in deviations of the noise"),
    PF_OPT_ENUM(ncsn_opt, projection, PROJECTION_RADEMACHER, projections, "sliced: signs, or normal as in the published code"),
    { 0 }
};
/* clang-format on */

static const pf_acts acts[] = {{"power", "loss", "denoising"},
                               {"sliced_step", "loss", "sliced"},
                               {"projection", "loss", "sliced"},
                               {0}};

typedef struct ncsn {
    ncsn_opt opt;
    pf_space space;
    size_t D;
    double scale;      /* model scale of a published length */
    double *sigma, *t; /* [levels] of the ladder, one block */
    pf_ladder ladder;
    pf_sde sde;
} ncsn;

double pf_ncsn_denoising(size_t n, double sigma, double power, const double *s, const double *z,
                         double *slope)
{
    double weight = pow(sigma, power - 2.0), sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double r = sigma * s[i] + z[i];
        sum += r * r;
        slope[i] = weight * sigma * r;
    }
    return 0.5 * weight * sum;
}

double pf_ncsn_sliced(size_t n, double sigma, const double *s, const double *v,
                      const double *jv)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += 0.5 * s[i] * s[i] + v[i] * jv[i];
    return sum * sigma * sigma;
}

/* ---- the ladder and its SDE ---- */

static PF_MUST_USE pf_status set_sde(ncsn *m)
{
    char text[64];
    PF_TRY(pf_sde_init("ve", &m->sde));
    snprintf(text, sizeof text, "%.17g", m->ladder.sigma[m->ladder.levels - 1]);
    PF_TRY(pf_opt_set(m->sde.ops->opts, "sde", "sigma_min", text, &m->sde.opt));
    snprintf(text, sizeof text, "%.17g", m->ladder.sigma[0]);
    PF_TRY(pf_opt_set(m->sde.ops->opts, "sde", "sigma_max", text, &m->sde.opt));
    return PF_OK;
}

static PF_MUST_USE pf_status make_ladder(ncsn *m)
{
    const ncsn_opt *o = &m->opt;
    int L = o->levels;
    PF_REQUIRE(o->sigma_end < o->sigma_begin, PF_EARG,
               "method.sigma_end is %g, which is not below method.sigma_begin, %g",
               o->sigma_end, o->sigma_begin);
    m->sigma = pf_zalloc(2 * (size_t)L * sizeof *m->sigma);
    PF_REQUIRE(m->sigma, PF_EMEM, "no memory for %d levels", L);
    m->t = m->sigma + L;
    pf_ladder_fill((pf_ladder_kind)o->ladder, m->scale * o->sigma_begin,
                   m->scale * o->sigma_end, L, m->sigma);
    for (int i = 0; i < L; i++)
        m->t[i] = log(m->sigma[i] / m->sigma[L - 1]) / log(m->sigma[0] / m->sigma[L - 1]);
    m->ladder = (pf_ladder){L, m->sigma, m->t};
    PF_TRY(set_sde(m));
    return PF_OK;
}

/* The place of time t on the ladder: between two levels linear in log sigma, which t is. */
static double place_of(const ncsn *m, double t)
{
    int lo = 0, hi = m->ladder.levels - 1;
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (t <= m->t[mid]) lo = mid;
        else hi = mid;
    }
    double u = (m->t[lo] - t) / (m->t[lo] - m->t[hi]);
    return lo + fmin(fmax(u, 0.0), 1.0);
}

static void release(void *self)
{
    ncsn *m = self;
    if (!m) return;
    pf_free(m->sigma);
    pf_free(m);
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    ncsn *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method ncsn");
    m->opt = *(const ncsn_opt *)opt;
    m->space = *space;
    m->D = (size_t)pf_space_dim(space);
    m->scale = space->kind == PF_LEVELS ? 2.0 : 1.0;
    pf_status st = make_ladder(m);
    if (st) {
        release(m);
        return pf_trail(st, PF_WHERE);
    }
    *self = m;
    return PF_OK;
}

/* ---- what the network sees ---- */

static void ports(const void *self, pf_ports *offered)
{
    const ncsn *m = self;
    *offered = pf_told_ports(m->space.shape, m->space.shape);
    pf_told_add(offered, "level", m->opt.levels);
}

static void show_level(const ncsn *m, double place, double sigma, size_t row, void *const *in)
{
    double t = 1.0 - place / (m->opt.levels - 1);
    const double cond[] = {999.0 * t, sigma, place};
    pf_told_put(in, PORT_LEVEL, row, place);
    pf_told_noise(in, row, cond[m->opt.cond], sigma, 1.0);
}

static void show_time(const pf_net *n, double t, int b, void *const *in)
{
    const ncsn *m = n->self;
    double mean, sigma;
    pf_sde_marginal(&m->sde, t, &mean, &sigma);
    show_level(m, place_of(m, t), sigma, (size_t)b, in);
}

/* What see keeps of a sample for loss. */
typedef struct seen {
    int64_t level;
    float noise[]; /* [D], and the projection [D] of a sliced loss */
} seen;

static int sliced(const ncsn *m)
{
    return m->opt.loss == LOSS_SLICED;
}

static size_t scratch_bytes(const void *self)
{
    const ncsn *m = self;
    size_t floats = m->D * (sliced(m) ? 2 : 1);
    return sizeof(int64_t) + (floats * sizeof(float) + 7) / 8 * 8;
}

static int rows(const void *self)
{
    return sliced(self) ? 2 : 1;
}

static const seen *seen_at(const ncsn *m, const void *scratch, int s)
{
    return (const seen *)((const char *)scratch + (size_t)s * scratch_bytes(m));
}

static void draw(const ncsn *m, const pf_batch *b, int s, double u0, seen *r)
{
    pf_draw noise = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE, b->sample[s],
                     0};
    pf_draw v = {b->seed, PF_STREAM_PROBE, b->sample[s], (uint32_t)b->eval};
    r->level = pf_time_index(b, s, u0, m->opt.levels);
    pf_draw_normal(&noise, 0, m->D, r->noise);
    if (!sliced(m)) return;
    if (m->opt.projection == PROJECTION_NORMAL) pf_draw_normal(&v, 0, m->D, r->noise + m->D);
    else pf_draw_rademacher(&v, 0, m->D, r->noise + m->D);
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const ncsn *m = self;
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * scratch_bytes(m));
        draw(m, b, s, u0, r);
        double sigma = m->sigma[r->level], h = sliced(m) ? m->opt.sliced_step : 0.0;
        for (int k = 0; k < rows(m); k++, h = -h) {
            size_t row = (size_t)(k * b->B + s);
            float *x = in[PF_TOLD_X] ? (float *)in[PF_TOLD_X] + row * m->D : NULL;
            show_level(m, (double)r->level, sigma, row, in);
            for (size_t i = 0; x && i < m->D; i++) {
                double v = h != 0.0 ? h * (double)r->noise[m->D + i] : 0.0;
                x[i] = (float)((double)b->x[(size_t)s * m->D + i] +
                               sigma * ((double)r->noise[i] + v));
            }
        }
    }
}

/* ---- the loss ---- */

static void widen(size_t n, double scale, const float *from, double *to)
{
    for (size_t i = 0; i < n; i++) to[i] = scale * (double)from[i];
}

/* The published score is this times the network's output. */
static double score_scale(const ncsn *m, double sigma)
{
    pf_predict p = m->opt.predicts == PREDICTS_NOISE ? PF_PREDICT_NOISE : PF_PREDICT_SCORE;
    return m->scale * pf_predict_score(p, 1.0, sigma).c;
}

/* A piece of a sample: entries from .. from+n-1.  gout as in pf_method_ops.loss, of the sample's rows. */
typedef struct piece {
    const seen *r;
    size_t from, n;
    double sigma, c; /* published noise; score over output */
    double scale;    /* of gout */
} piece;

static double denoising(const ncsn *m, const piece *p, const float *net, float *gout)
{
    double s[PIECE], z[PIECE], slope[PIECE];
    widen(p->n, p->c, net, s);
    widen(p->n, 1.0, p->r->noise + p->from, z);
    double sum = pf_ncsn_denoising(p->n, p->sigma, m->opt.power, s, z, slope);
    for (size_t i = 0; gout && i < p->n; i++) gout[i] = (float)(p->scale * p->c * slope[i]);
    return sum;
}

/* far: entries from a sample's first row to its second. */
static double by_differences(const ncsn *m, const piece *p, size_t far, const float *net,
                             float *gout)
{
    double s[PIECE], jv[PIECE], v[PIECE], h = m->opt.sliced_step * p->sigma;
    widen(p->n, 1.0, p->r->noise + m->D + p->from, v);
    for (size_t i = 0; i < p->n; i++) {
        double up = p->c * (double)net[i], down = p->c * (double)net[far + i];
        s[i] = 0.5 * (up + down);
        jv[i] = (up - down) / (2.0 * h);
    }
    double weight = p->sigma * p->sigma * p->scale * p->c;
    for (size_t i = 0; gout && i < p->n; i++) {
        gout[i] = (float)(weight * (0.5 * s[i] + v[i] / (2.0 * h)));
        gout[far + i] = (float)(weight * (0.5 * s[i] - v[i] / (2.0 * h)));
    }
    return pf_ncsn_sliced(p->n, p->sigma, s, v, jv);
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const ncsn *m = self;
    for (int s = 0; s < b->B; s++) {
        piece p = {.r = seen_at(m, scratch, s)};
        double sigma = m->sigma[p.r->level];
        p.sigma = sigma / m->scale;
        p.c = score_scale(m, sigma);
        p.scale = b->weight ? scale * b->weight[s] : scale;
        term[s] = 0.0;
        for (; p.from < m->D; p.from += p.n) {
            size_t at = (size_t)s * m->D + p.from, far = (size_t)b->B * m->D;
            float *g = gout ? gout + at : NULL;
            p.n = m->D - p.from < PIECE ? m->D - p.from : PIECE;
            term[s] += sliced(m) ? by_differences(m, &p, far, net + at, g)
                                 : denoising(m, &p, net + at, g);
        }
    }
}

/* ---- views ---- */

static pf_affine_score score_at(const pf_net *n, double t)
{
    const ncsn *m = n->self;
    double mean, sigma;
    pf_sde_marginal(&m->sde, t, &mean, &sigma);
    return (pf_affine_score){0.0, score_scale(m, sigma) / m->scale};
}

static pf_status score(const pf_net *n, const pf_view_opt *o, pf_score *out)
{
    static const pf_timed by = {show_time, score_at};
    PF_TRY(pf_network_score(n, &by, o, out));
    return PF_OK;
}

static const pf_sde *sde_of(const void *self)
{
    return &((const ncsn *)self)->sde;
}

static const pf_ladder *ladder_of(const void *self)
{
    return &((const ncsn *)self)->ladder;
}

const pf_method_ops pf_method_ncsn = {
    .name = "ncsn",
    .help = "score matching on a ladder of noise levels (Song and Ermon 2019, 2020)",
    .size = sizeof(ncsn_opt),
    .opts = opts,
    .acts = acts,
    .kinds = 1u << PF_LEVELS | 1u << PF_REAL,
    .open = open,
    .close = release,
    .ports = ports,
    .scratch = scratch_bytes,
    .rows = rows,
    .see = see,
    .loss = loss,
    .score = score,
    .sde = sde_of,
    .ladder = ladder_of,
};
