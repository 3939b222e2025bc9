/* D3PM: options, what is drawn, shown and lost in training; see d3pm.h.
 *
 *     mean    (L_i + hybrid CE)/(n log 2),                  as published
 *     bound   (T (L_i + hybrid CE) + prior)/(n log 2),      minus the bound in bits an entry where hybrid is 0
 *
 * of n entries that are no padding, CE = -log p_x of the network's softmax, i uniform on 0 .. T-1 or by the law of times.h.
 *
 * Source: Austin et al. 2021, section 3.4, and their published code. */
#include "method/d3pm.h"
#include "method/time.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

enum { BY_KIND, NO, YES };
enum { MASK_BY_KIND, MASK_VALUE, MASK_OWN };
enum { FIRST_BY_KIND, FIRST_LOGITS, FIRST_POSTERIOR };
enum { PREDICTS_DATA, PREDICTS_BEFORE };
enum { BOUND_EXACT, BOUND_PUBLISHED };
enum { LOSS_MEAN, LOSS_BOUND };
enum { TIMES_UNIFORM, TIMES_SECOND_MOMENT };
enum { DISTANCE_RANGE, DISTANCE_PUBLISHED };

static const char *const kernels[] = {"absorbing", "uniform", "gaussian", NULL};
static const char *const schedules[] = {"kernel", "linear", "cosine", "jsd", NULL};
static const char *const distances[] = {"range", "published", NULL};
static const char *const masks[] = {"kind", "value", "own", NULL};
static const char *const predictions[] = {"data", "before", NULL};
static const char *const heads[] = {"logits", "logistic", NULL};
static const char *const residuals[] = {"kind", "no", "yes", NULL};
static const char *const firsts[] = {"kind", "logits", "posterior", NULL};
static const char *const bounds[] = {"exact", "published", NULL};
static const char *const losses[] = {"mean", "bound", NULL};
static const char *const times_words[] = {"uniform", "second_moment", NULL};
static const char *const lasts[] = {"drawn", "likeliest", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT(pf_d3pm_opt, steps, PF_INT, 1000, 2, 1e6, "length T of the chain; of 256 levels and the kernel gaussian 1000 of them take 262 MB a rank"),
    PF_OPT_ENUM(pf_d3pm_opt, kernel, PF_D3PM_ABSORBING, kernels, "what a step does to a symbol: absorbing, it becomes the mask; uniform, any; gaussian, rather a near one"),
    PF_OPT_ENUM(pf_d3pm_opt, schedule, PF_D3PM_AS_KERNEL, schedules, "chances b of a step: kernel, as published of each, gaussian linear, uniform cosine, absorbing jsd; linear; cosine; jsd, 1/(T - i), which masks all"),
    PF_OPT(pf_d3pm_opt, beta_start, PF_F64, -1.0, -1.0, 1.0, "first b of linear; below 0: as published, 1e-4 of gaussian, 0.02 of the others"),
    PF_OPT(pf_d3pm_opt, beta_end, PF_F64, -1.0, -1.0, 1.0, "last b of linear; below 0: as published, 0.02 of gaussian, 1 of the others"),
    PF_OPT(pf_d3pm_opt, bands, PF_INT, 0, 0, PF_D3PM_WIDE, "of uniform and gaussian: how far a symbol can go in a step; 0: any way"),
    PF_OPT_ENUM(pf_d3pm_opt, distance, DISTANCE_RANGE, distances, "of gaussian: range, levels lie in [-1,1]; published, as its code has it, the same of 256 levels alone"),
    PF_OPT_ENUM(pf_d3pm_opt, mask, MASK_BY_KIND, masks, "of absorbing: value, the middle value K/2 of the data, as published of images; own, a symbol of its own; kind: value of levels, own of tokens"),
    PF_OPT(pf_d3pm_opt, mask_logit, PF_BOOL, 0, 0, 1, "the network returns a last logit for a mask of its own"),
    PF_OPT_ENUM(pf_d3pm_opt, predicts, PREDICTS_DATA, predictions, "what the network says: data, the datum, put through the posterior; before, the step before"),
    PF_OPT_ENUM(pf_d3pm_opt, head, PF_D3PM_LOGITS, heads, "what the network returns: logits of the datum; logistic, of levels, mean and scale of a discretised logistic distribution"),
    PF_OPT_ENUM(pf_d3pm_opt, residual, BY_KIND, residuals, "the symbol seen is one logit ahead: kind: yes of levels, no of tokens, as published"),
    PF_OPT_ENUM(pf_d3pm_opt, first, FIRST_BY_KIND, firsts, "the step to the datum: logits, by the network's softmax; posterior, as the other steps; kind: logits of levels, posterior of tokens, as published"),
    PF_OPT(pf_d3pm_opt, floor, PF_F64, 1e-6, 0.0, 1e-2, "added to each chance of the model's steps, as published 1e-6 (of text 1e-20); 0: none"),
    PF_OPT_ENUM(pf_d3pm_opt, bound, BOUND_EXACT, bounds, "exact: posteriors and prior without the floor, a bound of the model's likelihood; published: with it"),
    PF_OPT(pf_d3pm_opt, hybrid, PF_F64, 1e-3, 0.0, 1e3, "how much the cross entropy of the datum counts in training; published 0.001, of masked text 0.01"),
    PF_OPT_ENUM(pf_d3pm_opt, loss, LOSS_MEAN, losses, "in training: mean, the term of an index, as published; bound, T times that and the prior"),
    PF_OPT_ENUM(pf_d3pm_opt, times, TIMES_UNIFORM, times_words, "indices in training: uniform; second_moment, more often where losses are large, each loss then weighted to the same mean"),
    PF_OPT_ENUM(pf_d3pm_opt, last, PF_D3PM_DRAWN, lasts, "the last step of sampling: drawn, samples are the model's; likeliest, as published"),
    { 0 }
};
/* clang-format on */

static const pf_acts acts[] = {
    {"bands", "kernel", "uniform|gaussian"}, {"distance", "kernel", "gaussian"},
    {"mask", "kernel", "absorbing"},         {"mask_logit", "kernel", "absorbing"},
    {"residual", "head", "logits"},          {"first", "predicts", "data"},
    {"hybrid", "predicts", "data"},          {0}};

/* What see keeps of a sample for loss. */
typedef struct seen {
    int32_t i, n; /* index, entries that are no padding */
    int32_t x[];  /* [2,D] the datum, and what became of it */
} seen;

static void close_all(void *self)
{
    pf_d3pm *m = self;
    if (!m) return;
    pf_d3pm_kernel_close(&m->kernel);
    pf_free(m->prior);
    pf_free(m);
}

static pf_d3pm_schedule schedule_of(const pf_d3pm_opt *o)
{
    if (o->schedule != PF_D3PM_AS_KERNEL) return (pf_d3pm_schedule)o->schedule;
    return o->kernel == PF_D3PM_GAUSSIAN  ? PF_D3PM_LINEAR
           : o->kernel == PF_D3PM_UNIFORM ? PF_D3PM_COSINE
                                          : PF_D3PM_JSD;
}

static PF_MUST_USE pf_status check(const pf_d3pm_opt *o, const pf_space *space, int V, int K)
{
    int linear = schedule_of(o) == PF_D3PM_LINEAR, levels = space->kind == PF_LEVELS;
    PF_REQUIRE(linear || (o->beta_start < 0.0 && o->beta_end < 0.0), PF_EARG,
               "method.beta_start and beta_end are of method.schedule=linear");
    PF_REQUIRE(!o->mask_logit || V > K, PF_EARG,
               "method.mask_logit is of a mask that is a symbol of its own; set "
               "method.mask=own");
    PF_REQUIRE(levels || o->head == PF_D3PM_LOGITS, PF_EARG,
               "method.head=logistic is of levels, which stand in order; tokens take logits");
    PF_REQUIRE(levels || o->residual != YES, PF_EARG, "method.residual=yes is of levels");
    PF_REQUIRE(o->predicts == PREDICTS_DATA || o->mask_logit || V == K, PF_EARG,
               "method.predicts=before wants a logit for the mask; set method.mask_logit=yes");
    PF_REQUIRE(!o->mask_logit || o->head == PF_D3PM_LOGITS, PF_EARG,
               "method.mask_logit is of method.head=logits");
    return PF_OK;
}

static PF_MUST_USE pf_status open_kernel(pf_d3pm *m)
{
    const pf_d3pm_opt *o = &m->opt;
    int gaussian = o->kernel == PF_D3PM_GAUSSIAN, own = m->V > m->cat.K;
    double range = 2.0 / (m->V - 1);
    const double ends[2] = {o->beta_start >= 0.0 ? o->beta_start
                            : gaussian           ? 1e-4
                                                 : 0.02,
                            o->beta_end >= 0.0 ? o->beta_end
                            : gaussian         ? 0.02
                                               : 1.0};
    pf_d3pm_matrices is = {.kind = (pf_d3pm_kind)o->kernel, .T = m->T, .V = m->V, .mask = -1};
    is.bands = o->bands;
    is.unit = o->distance == DISTANCE_PUBLISHED ? range * 255.0 / (m->V - 1) : range;
    if (o->kernel == PF_D3PM_ABSORBING) is.mask = own ? m->cat.K : m->cat.K / 2;
    PF_REQUIRE(ends[0] > 0.0 && ends[1] > 0.0, PF_EARG,
               "method.beta_start and beta_end are %g and %g, want above 0", ends[0], ends[1]);
    double *beta = pf_zalloc((size_t)m->T * sizeof *beta);
    PF_REQUIRE(beta, PF_EMEM, "no memory for %d steps", m->T);
    pf_d3pm_betas(schedule_of(o), m->T, ends, beta);
    pf_status st = pf_d3pm_kernel_open(&is, beta, &m->kernel);
    pf_free(beta);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* A prior that is all masks has an infinite cost where something may be left, unless there is a floor. */
static PF_MUST_USE pf_status open_prior(pf_d3pm *m)
{
    const pf_d3pm_opt *o = &m->opt;
    PF_REQUIRE(
        o->kernel != PF_D3PM_ABSORBING || m->model.floor_q > 0.0 ||
            m->kernel.kept[m->T - 1] == 0.0,
        PF_EARG,
        "method.schedule leaves symbols that are not masked at its end, where the prior has "
        "masks alone; set method.schedule=jsd, or method.bound=published with a floor");
    m->prior = pf_zalloc((size_t)m->cat.K * sizeof *m->prior);
    PF_REQUIRE(m->prior, PF_EMEM, "no memory for the prior of %d symbols", m->cat.K);
    int alike = o->kernel == PF_D3PM_UNIFORM && !m->kernel.rows;
    for (int k = 0; k < m->cat.K; k++)
        m->prior[k] = alike && k ? m->prior[0] : pf_d3pm_prior(&m->model, k);
    return PF_OK;
}

static void set_model(pf_d3pm *m, int levels)
{
    const pf_d3pm_opt *o = &m->opt;
    int before = o->predicts == PREDICTS_BEFORE;
    int posterior = o->first == FIRST_BY_KIND ? !levels : o->first == FIRST_POSTERIOR;
    m->model = (pf_d3pm_model){.kernel = &m->kernel,
                               .K = m->cat.K,
                               .columns = m->cat.K + (o->mask_logit ? 1 : 0),
                               .first_by_posterior = posterior && !before,
                               .before = before,
                               .floor = before ? 0.0 : o->floor,
                               .floor_q = o->bound == BOUND_PUBLISHED ? o->floor : 0.0,
                               .hybrid = before ? 0.0 : o->hybrid};
}

static PF_MUST_USE pf_status open_into(pf_d3pm *m, const pf_space *space)
{
    const pf_d3pm_opt *o = &m->opt;
    int levels = space->kind == PF_LEVELS;
    PF_TRY(pf_cat_open(space, "d3pm", &m->cat));
    m->T = o->steps;
    m->V = m->cat.K;
    if (o->kernel == PF_D3PM_ABSORBING &&
        (o->mask == MASK_BY_KIND ? !levels : o->mask == MASK_OWN))
        m->V++;
    PF_TRY(check(o, space, m->V, m->cat.K));
    PF_TRY(open_kernel(m));
    m->residual =
        o->head == PF_D3PM_LOGITS && (o->residual == BY_KIND ? levels : o->residual == YES);
    m->bytes = (sizeof(seen) + 2 * m->cat.D * sizeof(int32_t) + 7) / 8 * 8;
    set_model(m, levels);
    PF_TRY(open_prior(m));
    return PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    pf_d3pm *m = pf_zalloc(sizeof *m);
    PF_REQUIRE(m, PF_EMEM, "no memory for the method d3pm");
    m->opt = *(const pf_d3pm_opt *)opt;
    pf_status st = open_into(m, space);
    if (st) {
        close_all(m);
        return pf_trail(st, PF_WHERE);
    }
    *self = m;
    return PF_OK;
}

static void ports(const void *self, pf_ports *offered)
{
    const pf_d3pm *m = self;
    pf_shape s = m->cat.space.shape;
    *offered = pf_cat_ports(&m->cat, m->V, m->model.columns);
    if (m->cat.space.kind == PF_LEVELS) offered->port[PF_CAT_X].shape = s;
    if (m->opt.head == PF_D3PM_LOGISTIC) offered->out = (pf_shape){s.h, s.w, 2 * s.c};
}

static size_t tables(const void *self)
{
    return pf_d3pm_kernel_bytes(&((const pf_d3pm *)self)->kernel);
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_d3pm *)self)->bytes;
}

static int times(const void *self)
{
    const pf_d3pm *m = self;
    return m->opt.times == TIMES_SECOND_MOMENT ? m->T : 0;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_d3pm *m = self;
    double u0 = pf_time_shift(b);
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * m->bytes);
        const pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                           b->sample[s], 0};
        r->i = pf_time_index(b, s, u0, m->T);
        r->n = pf_cat_take(&m->cat, b, s, r->x);
        pf_d3pm_noise(m, r->i, &d, r->x, r->x + m->cat.D);
        pf_d3pm_show(m, (size_t)s, r->x + m->cat.D, r->i, in);
    }
}

/* Nats of a row's entries with their gradients, and in *prior those of its prior. */
static double row_loss(const pf_d3pm *m, const seen *r, const float *net, double each,
                       float *gout, double *prior)
{
    size_t out = m->opt.head == PF_D3PM_LOGISTIC ? 2 : (size_t)m->model.columns;
    double sum = 0.0;
    for (size_t j = 0; j < m->cat.D; j++) {
        const int32_t pair[2] = {r->x[m->cat.D + j], r->x[j]};
        if (pair[1] >= 0) {
            pf_d3pm_cost cost = pf_d3pm_entry(m, r->i, j, pair, net, each, gout);
            sum += cost.term + m->model.hybrid * cost.cross;
            *prior += m->prior[pair[1]];
        } else if (gout) memset(gout + j * out, 0, out * sizeof *gout);
    }
    return sum;
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_d3pm *m = self;
    size_t out = m->cat.D * (m->opt.head == PF_D3PM_LOGISTIC ? 2 : (size_t)m->model.columns);
    int whole = m->opt.loss == LOSS_BOUND;
    for (int s = 0; s < b->B; s++) {
        const seen *r = (const seen *)((const char *)scratch + (size_t)s * m->bytes);
        double bits = r->n ? 1.0 / (r->n * M_LN2) : 0.0, count = whole ? m->T : 1.0;
        double each = bits * count * (b->weight ? scale * b->weight[s] : scale), prior = 0.0;
        size_t at = (size_t)s * out;
        double sum = row_loss(m, r, net + at, each, gout ? gout + at : NULL, &prior);
        term[s] = bits * (count * sum + (whole ? prior : 0.0));
    }
}

/* How training draws and a trained network is evaluated and sampled; what it predicts and is told stays. */
static const char *const free_keys[] = {"times", "bound", "last", "hybrid", "loss", NULL};

const pf_method_ops pf_method_d3pm = {
    .name = "d3pm",
    .help = "structured diffusion of categories: tokens or levels, by masks, evenly or to near "
            "ones "
            "(Austin et al. 2021)",
    .size = sizeof(pf_d3pm_opt),
    .opts = opts,
    .kinds = 1u << PF_TOKENS | 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .free_keys = free_keys,
    .acts = acts,
    .open = open,
    .close = close_all,
    .tables = tables,
    .ports = ports,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .times = times,
    .chain = pf_d3pm_chain,
};
