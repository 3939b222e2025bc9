/* vlb: variational bound of a discrete chain, on the levels or tokens themselves, in bits a dimension, of a row of
 * tokens a token that it has.
 *
 *     vlb = prior + diffusion + decoder,     diffusion = sum over i = 1 .. N of KL_i,     N = T - 1
 *
 * Ten bands of equally many steps, up to one, share diffusion among them, the least noisy first; with fewer than
 * ten steps some are empty and 0.
 *
 * With likelihood.terms = n below N the steps 1 .. N are cut into n strata, of equal size up to one or, as a KL falls
 * about like 1/i, of sizes in one ratio (likelihood.strata).  Of each one step is drawn uniformly and counts for
 * all s_k of its stratum:
 *
 *     diffusion ~ sum over k of y_k,   y_k = s_k KL_(i_k)
 *
 * which is unbiased, and so is the sum of those drawn in a band.  Steps of neighbouring strata hardly differ in
 * their KL, so the variance of the sum is estimated from pairs of them, and three of an odd number,
 *
 *     sum over pairs of (y_a - y_b)^2   (+ 3/2 sum over the three of (y - their mean)^2)
 *
 * which the trend from stratum to stratum makes too large and never too small on average.  One stratum, and
 * all steps, do not say their variance.  Geometric strata of one step vary by nothing and are left out, as long as
 * two are left.
 *
 * Learned strata have one probability under q_i, the law by which training drew its indices, of the steps 1 .. N; a
 * step is drawn by q within its stratum and counts
 *
 *     y_k = KL_i / (n q_i)
 *
 * Source: Ho et al. 2020, eq. 5; strata: Cochran 1977, section 5A.12 (collapsed strata). */
#include <probflow/estimand.h>
#include <probflow/memory.h>
#include <probflow/random.h>
#include <probflow/times.h>

#include <math.h>

/* clang-format off */
enum { BANDS = 10 };
enum { PRIOR = PF_AT_LABEL + 1, DIFFUSION, DECODER, VLB, VARIANCE, EVALUATIONS, BAND, ENTRIES = BAND + BANDS, COLUMNS };
#define BAND_COLUMN(i) {"diffusion_" #i, "bits/dim", PF_CELL_F64, PF_ROLE_BAND, "diffusion by tenths of the steps, the least noisy first", 1}
static const pf_ledger_column columns[COLUMNS] = {
    {"image", "", PF_CELL_I64, PF_ROLE_KEY, NULL},
    {"draw", "", PF_CELL_I32, PF_ROLE_KEY, NULL},
    {"label", "", PF_CELL_I32, PF_ROLE_LABEL, NULL},
    {"prior", "bits/dim", PF_CELL_F64, PF_ROLE_PART, NULL},
    {"diffusion", "bits/dim", PF_CELL_F64, PF_ROLE_PART, NULL},
    {"decoder", "bits/dim", PF_CELL_F64, PF_ROLE_PART, NULL},
    {"vlb", "bits/dim", PF_CELL_F64, PF_ROLE_TOTAL, NULL},
    {"terms_variance", "(bits/dim)^2", PF_CELL_F64, PF_ROLE_VARIANCE, "drawn terms, at most"},
    {"evaluations", "", PF_CELL_I64, PF_ROLE_WORK, NULL},
    BAND_COLUMN(0), BAND_COLUMN(1), BAND_COLUMN(2), BAND_COLUMN(3), BAND_COLUMN(4),
    BAND_COLUMN(5), BAND_COLUMN(6), BAND_COLUMN(7), BAND_COLUMN(8), BAND_COLUMN(9),
    {"entries", "", PF_CELL_F64, PF_ROLE_WEIGHT, NULL, 1},
};
/* clang-format on */

typedef struct work {
    pf_chain *chain;
    const pf_likelihood_opt *opt;
    const pf_group *group;
    int n, N; /* strata, steps */
    double *
        until; /* [N+1] probability of the steps 1 .. i under the learned law; NULL: none is asked for */
    int *at;          /* [B,n] the step of each stratum */
    double *y;        /* [B,n] */
    int *i;           /* [B] of a call */
    double *nats;     /* [B] of a call */
    int *length;      /* [B] entries of the images */
    uint64_t *sample; /* [B] numbers of the images */
    float *x;         /* [B,D] of real data; NULL: levels */
    float *condition; /* [B,C+1] as a batch has them; NULL: not told */
} work;

static PF_MUST_USE pf_status alloc(work *w)
{
    size_t B = (size_t)w->group->B, n = B * (size_t)w->n, D = B * (size_t)w->chain->dim;
    int real = w->group->pixels == NULL;
    w->at = pf_zalloc((n + 1) * sizeof *w->at);
    w->y = pf_zalloc((n + 1) * sizeof *w->y);
    w->i = pf_zalloc(B * sizeof *w->i);
    w->nats = pf_zalloc(B * sizeof *w->nats);
    w->length = pf_zalloc(B * sizeof *w->length);
    w->sample = pf_zalloc(B * sizeof *w->sample);
    size_t C = (size_t)w->group->space.conditions + 1;
    int told = w->group->condition != NULL;
    if (told) w->condition = pf_zalloc(B * C * sizeof *w->condition);
    if (real) w->x = pf_zalloc(D * sizeof *w->x);
    PF_REQUIRE(w->at && w->y && w->i && w->nats && w->length && w->sample && (w->x || !real) &&
                   (w->condition || !told),
               PF_EMEM, "no memory for %zu terms of %zu images", n, B);
    return PF_OK;
}

static void release(work *w)
{
    pf_free(w->until);
    pf_free(w->at);
    pf_free(w->y);
    pf_free(w->i);
    pf_free(w->nats);
    pf_free(w->length);
    pf_free(w->sample);
    pf_free(w->x);
    pf_free(w->condition);
}

/* Term i [B] of each image, a call of the chain. */
static PF_MUST_USE pf_status find_terms(work *w, int draw, const int *i)
{
    const pf_group *g = w->group;
    pf_batch b = {.space = &g->space,
                  .B = g->B,
                  .first = g->first,
                  .total = g->first + g->B,
                  .k = g->pixels,
                  .x = w->x,
                  .label = g->label,
                  .condition = w->condition,
                  .sample = w->sample,
                  .seed = (uint64_t)w->opt->seed,
                  .step = (uint32_t)draw,
                  .eval = 1};
    PF_TRY(w->chain->term(w->chain->self, &b, i, w->nats));
    for (int r = 0; r < g->B; r++)
        PF_REQUIRE(isfinite(w->nats[r]), PF_ENUMERIC,
                   "term %d of the bound of image %lld is not finite", i[r],
                   (long long)(g->first + r));
    return PF_OK;
}

/* First step of stratum k, less one.  Geometric: steps (N + 1)^(k/n), each stratum with one at least. */
static int edge(const work *w, int k)
{
    if (w->opt->strata != PF_STRATA_GEOMETRIC) return (int)((int64_t)k * w->N / w->n);
    int at = k < w->n ? (int)(pow(w->N + 1.0, (double)k / w->n) - 1.0) : w->N;
    return at > k ? at : k;
}

static PF_MUST_USE pf_status take_law(work *w, const pf_times *law)
{
    double sum = 0.0;
    w->until = pf_zalloc((size_t)(w->N + 1) * sizeof *w->until);
    PF_REQUIRE(w->until, PF_EMEM, "no memory for the law of %d steps", w->N);
    for (int i = 1; i <= w->N; i++) sum += pf_times_probability(law, i);
    for (int i = 1; i <= w->N; i++)
        w->until[i] = w->until[i - 1] + pf_times_probability(law, i) / sum;
    w->until[w->N] = 1.0;
    return PF_OK;
}

/* The step up to which the law's probabilities sum to more than u in [0,1). */
static int step_at(const work *w, double u)
{
    int low = 1, high = w->N;
    while (low < high) {
        int mid = (low + high) / 2;
        if (w->until[mid] > u) high = mid;
        else low = mid + 1;
    }
    return low;
}

/* How often a step counts that stands for stratum k. */
static double times(const work *w, int k, int step)
{
    return w->until ? 1.0 / (w->n * (w->until[step] - w->until[step - 1]))
                    : edge(w, k + 1) - edge(w, k);
}

static void draw_steps(work *w, int draw)
{
    for (int b = 0; b < w->group->B; b++) {
        pf_draw d = {(uint64_t)w->opt->seed, PF_STREAM_EVAL_TIME,
                     (uint64_t)(w->group->first + b), (uint32_t)draw};
        for (int k = 0; k < w->n && w->until; k++)
            w->at[b * w->n + k] = step_at(w, (k + pf_draw_uniform_f64(&d, (size_t)k)) / w->n);
        for (int k = 0; k < w->n && !w->until; k++) {
            int from = edge(w, k), size = edge(w, k + 1) - from;
            w->at[b * w->n + k] = 1 + from + (int)(size * pf_draw_uniform_f64(&d, (size_t)k));
        }
    }
}

static PF_MUST_USE pf_status find_stratum(work *w, int draw, int k)
{
    for (int b = 0; b < w->group->B; b++) w->i[b] = w->at[b * w->n + k];
    PF_TRY(find_terms(w, draw, w->i));
    for (int b = 0; b < w->group->B; b++)
        w->y[b * w->n + k] = times(w, k, w->i[b]) * w->nats[b];
    return PF_OK;
}

/* Of the sum of y [n] from neighbours; NaN of one. */
static double variance_of_sum(const double *y, int n)
{
    double sum = 0.0;
    int k = 0;
    if (n < 2) return NAN;
    for (; k + 1 < n - (n % 2 ? 3 : 0); k += 2) sum += (y[k] - y[k + 1]) * (y[k] - y[k + 1]);
    double mean = (y[n - 1] + y[n - 2] + (n % 2 ? y[n - 3] : 0.0)) / 3.0;
    for (; k < n; k++) sum += 1.5 * (y[k] - mean) * (y[k] - mean);
    return sum;
}

/* Nats of a bit an entry of image b. */
static double unit(const work *w, int b)
{
    return w->length[b] * M_LN2;
}

/* The steps and their y of image b into the bands of its row. */
static void fill_bands(const work *w, int b, double *row)
{
    const int *at = w->at + b * w->n;
    const double *y = w->y + b * w->n;
    for (int k = 0; k < BANDS; k++) row[BAND + k] = 0.0;
    for (int k = 0; k < w->n; k++) {
        /* band b ends at step (b + 1) N/10 */
        int band = (int)(((int64_t)BANDS * at[k] - 1) / w->N);
        row[BAND + band] += y[k] / unit(w, b);
    }
}

/* The first stratum that counts for the variance. */
static int first_varied(const work *w)
{
    int k = 0;
    if (w->opt->strata != PF_STRATA_GEOMETRIC) return 0;
    while (k + 2 < w->n && edge(w, k + 1) - edge(w, k) == 1) k++;
    return k;
}

/* Term i of all images to one column. */
static PF_MUST_USE pf_status fill_column(work *w, int draw, int i, int column, double *cells)
{
    for (int b = 0; b < w->group->B; b++) w->i[b] = i;
    PF_TRY(find_terms(w, draw, w->i));
    for (int b = 0; b < w->group->B; b++) cells[b * COLUMNS + column] = w->nats[b] / unit(w, b);
    return PF_OK;
}

/* Calls of the network in a draw, of which there were `before`; the prior is none of the network's. */
static double calls(const work *w, int64_t before)
{
    const pf_chain *c = w->chain;
    return c->calls ? (double)(*c->calls - before) : (w->n + 1.0) * (c->passes ? c->passes : 1);
}

static PF_MUST_USE pf_status fill_draw(work *w, int draw, double *cells)
{
    int from = first_varied(w);
    int64_t before = w->chain->calls ? *w->chain->calls : 0;
    PF_TRY(fill_column(w, draw, w->chain->steps, PRIOR, cells));
    PF_TRY(fill_column(w, draw, 0, DECODER, cells));
    draw_steps(w, draw);
    for (int k = 0; k < w->n; k++) PF_TRY(find_stratum(w, draw, k));
    for (int b = 0; b < w->group->B; b++, cells += COLUMNS) {
        double sum = 0.0, nats = unit(w, b);
        const double *y = w->y + b * w->n;
        for (int k = 0; k < w->n; k++) sum += y[k];
        cells[DIFFUSION] = sum / nats;
        cells[VLB] = cells[PRIOR] + cells[DIFFUSION] + cells[DECODER];
        cells[VARIANCE] =
            w->n < w->N ? variance_of_sum(y + from, w->n - from) / (nats * nats) : NAN;
        cells[EVALUATIONS] = calls(w, before);
        cells[ENTRIES] = w->length[b];
        fill_bands(w, b, cells);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status fill(work *w, double *cells)
{
    const pf_group *g = w->group;
    size_t D = (size_t)w->chain->dim;
    PF_TRY(alloc(w));
    for (int b = 0; b < g->B; b++) {
        w->sample[b] = (uint64_t)(g->first + b);
        w->length[b] = g->space.kind == PF_TOKENS
                           ? pf_space_length(&g->space, g->x + (size_t)b * D)
                           : w->chain->dim;
        PF_REQUIRE(w->length[b] > 0, PF_EARG, "row %lld holds no token",
                   (long long)(g->first + b));
    }
    if (w->condition)
        pf_conditions_known(g->space.conditions, g->B, g->condition, w->condition);
    for (size_t d = 0; w->x && d < (size_t)g->B * D; d++) w->x[d] = (float)g->x[d];
    for (int j = 0; j < w->opt->draws; j++)
        PF_TRY(fill_draw(w, j, cells + (size_t)j * (size_t)g->B * COLUMNS));
    return PF_OK;
}

static pf_status score_group(const pf_likelihood_opt *opt, const pf_view *view,
                             const pf_group *group, double *cells)
{
    int N = view->chain->steps - 1;
    work w = {.chain = view->chain,
              .opt = opt,
              .group = group,
              .n = opt->terms ? opt->terms : N,
              .N = N};
    pf_status st = PF_OK;
    if (w.n < N && opt->strata == PF_STRATA_LEARNED) st = take_law(&w, view->law);
    if (!st) st = fill(&w, cells);
    release(&w);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check(const pf_likelihood_opt *opt, const pf_view *view, const pf_group *group)
{
    int T = view->chain->steps;
    PF_REQUIRE(T > 0, PF_EARG, "a chain of %d steps, want 1 at least", T);
    PF_REQUIRE(
        !opt->terms || opt->terms < T - 1, PF_EARG,
        "likelihood.terms is %d, but the chain has %d terms to draw from; want fewer, or "
        "0 for all",
        opt->terms, T - 1);
    PF_REQUIRE(!opt->terms || opt->strata != PF_STRATA_LEARNED ||
                   (view->law && pf_times_number(view->law) == T),
               PF_EARG,
               "likelihood.strata=learned wants what training with method.times=second_moment "
               "learned of each of the chain's %d steps%s",
               T,
               view->law ? ", and this is another chain" : ", which this model does not have");
    PF_REQUIRE(!group || group->pixels || group->x, PF_EARG, "a group without data");
    PF_REQUIRE(!group || group->space.kind != PF_TOKENS || group->x, PF_EARG,
               "tokens are given in model scale");
    return PF_OK;
}

/* Degrees of freedom are the pairs, one for the pair and two for three. */
static int repeats(const pf_likelihood_opt *opt)
{
    return opt->terms > 1 ? 1 + (opt->terms + 1) / 2 : 1;
}

static size_t bytes(const pf_likelihood_opt *opt, int dim)
{
    size_t terms = opt->terms ? (size_t)opt->terms : 1;
    return (size_t)opt->group *
           ((size_t)dim * sizeof(float) + terms * (sizeof(double) + sizeof(int)));
}

const pf_estimand_ops pf_estimand_vlb = {
    .name = "vlb",
    .help = "the variational bound of a chain of steps",
    .needs = PF_NEEDS_CHAIN,
    .columns = columns,
    .n = COLUMNS,
    .total = VLB,
    .table = "vlb",
    .prefix = "vlb_",
    .page = "vlb",
    .check = check,
    .repeats = repeats,
    .bytes = bytes,
    .group = score_group,
};
