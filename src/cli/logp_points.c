/* probflow logp from points as people have them: read, scored as bpd scores a split, written as a table. */
#include "cli/logp.h"
#include "cli/side.h"

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/sha256.h>
#include <probflow/train.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
    const pf_logp *a;
    pf_side side[2]; /* the second: --against */
    int sides;
    pf_likelihood_opt opt; /* of both */
    pf_points p;
    pf_scored scored;
    int D;
    double offset; /* see pf_logp_table */
    const char *data;
    pf_dataset *train; /* source of the control variate; NULL: none */
    char train_content[65];
    const char *inputs[4];
    /* rank 0 */
    pf_estimates estimates[2]; /* by side */
    pf_estimates difference;
    unsigned char *remarks;
    double *gradient; /* [n,D] */
} job;

enum { LEVELS = 256 };

/* ---- what is scored ---- */

/* Floats that are pixel values: whole numbers are pixels, others pixels that were dequantised. */
static PF_MUST_USE pf_status from_pixel_scale(job *j)
{
    const pf_space bytes = {.kind = PF_LEVELS, .levels = LEVELS};
    int64_t n = j->p.n * j->D;
    int whole = 1;
    for (int64_t i = 0; i < n; i++) {
        double v = j->p.x[i];
        PF_REQUIRE(
            v >= 0.0 && v < LEVELS, PF_EARG,
            "%s: point %lld holds %g, which is no pixel value from 0 to 255 (--scale pixels)",
            j->a->in, (long long)(i / j->D), v);
        whole &= v == floor(v);
    }
    if (!whole) {
        j->offset = -j->D * log(0.5 * LEVELS);
        pf_bins_to_model(&bytes, (size_t)n, j->p.x);
        return PF_OK;
    }
    j->p.pixels = pf_zalloc((size_t)n);
    PF_REQUIRE(j->p.pixels, PF_EMEM, "no memory for %lld pixels", (long long)n);
    for (int64_t i = 0; i < n; i++) j->p.pixels[i] = (uint8_t)j->p.x[i];
    pf_free(j->p.x);
    j->p.x = NULL;
    j->p.space.kind = PF_LEVELS;
    j->p.space.levels = LEVELS;
    return PF_OK;
}

/* Points [n,D] serve a model of images of D values: rows of pixels, channels together. */
static PF_MUST_USE pf_status fit_shape(job *j)
{
    pf_shape p = j->p.space.shape;
    for (int i = 0; i < j->sides; i++) {
        pf_shape m = j->side[i].model.net->space.shape;
        int flat = p.h == 1 && p.w == 1 && p.c == m.h * m.w * m.c;
        PF_REQUIRE(pf_shape_same(p, m) || flat, PF_ESHAPE,
                   "%s holds points of %dx%dx%d values, %s was made for %dx%dx%d", j->a->in,
                   p.h, p.w, p.c, j->side[i].model.path, m.h, m.w, m.c);
    }
    j->p.space.shape = j->side[0].model.net->space.shape;
    j->D = p.h * p.w * p.c;
    return PF_OK;
}

static PF_MUST_USE pf_status choose_scale(job *j)
{
    const char *scale = j->a->scale;
    int pixels = scale && !strcmp(scale, "pixels");
    if (scale && !pixels && strcmp(scale, "model"))
        return pf_usage_error(PF_WHERE, "--scale is '%s'; want model or pixels", scale);
    PF_REQUIRE(!scale || pixels || j->p.x, PF_EARG,
               "%s holds pixels of 8 bits: --scale model is for floating-point numbers",
               j->a->in);
    if (pixels && j->p.x) PF_TRY(from_pixel_scale(j));
    return PF_OK;
}

/* Numbers as levels 0 .. L-1, which they must be. */
static PF_MUST_USE pf_status to_levels(job *j, const pf_net *net)
{
    int64_t n = j->p.n * j->D;
    int L = net->space.levels;
    for (int64_t i = 0; i < n; i++) {
        double v = j->p.x[i];
        PF_REQUIRE(v >= 0.0 && v < L && v == floor(v), PF_EARG,
                   "%s: point %lld holds %g, and method %s scores levels, whole numbers from 0 "
                   "to %d",
                   j->a->in, (long long)(i / j->D), v, net->method.ops->name, L - 1);
    }
    j->p.pixels = pf_zalloc((size_t)n);
    PF_REQUIRE(j->p.pixels, PF_EMEM, "no memory for %lld levels", (long long)n);
    for (int64_t i = 0; i < n; i++) j->p.pixels[i] = (uint8_t)j->p.x[i];
    pf_free(j->p.x);
    j->p.x = NULL;
    j->p.space.kind = PF_LEVELS;
    j->p.space.levels = L;
    return PF_OK;
}

/* Methods of levels alone score those of their own number: of other numbers they know no probability. */
static PF_MUST_USE pf_status fit_levels(job *j)
{
    for (int i = 0; i < j->sides; i++) {
        const pf_net *net = j->side[i].model.net;
        if (net->method.ops->kinds >> PF_REAL & 1) continue;
        if (j->p.x) PF_TRY(to_levels(j, net));
        PF_REQUIRE(j->p.space.levels == net->space.levels, PF_EARG,
                   "%s holds values of %d levels, %s was made for %d", j->a->in,
                   j->p.space.levels, j->side[i].model.path, net->space.levels);
    }
    return PF_OK;
}

static int is_set(const pf_args *args, const char *key)
{
    size_t n = strlen(key);
    for (int i = 0; i < args->n_sets; i++)
        if (!strncmp(args->sets[i], key, n) && args->sets[i][n] == '=') return 1;
    return 0;
}

static PF_MUST_USE pf_status choose_dequantisation(job *j)
{
    const char *given = j->a->dequantisation;
    int *d = &j->opt.dequantisation, known = !given;
    for (int i = 0; given && pf_dequants[i]; i++)
        if (!strcmp(given, pf_dequants[i]->name)) *d = i, known = 1;
    if (!known)
        return pf_usage_error(
            PF_WHERE, "--dequantisation is '%s'; want uniform or truncated_normal", given);
    if (j->p.pixels) {
        PF_REQUIRE(*d != PF_DEQUANT_NONE, PF_EARG,
                   "%s holds pixels, whose density has no bound without dequantisation: choose "
                   "--dequantisation uniform or truncated_normal",
                   j->a->in);
        return PF_OK;
    }
    PF_REQUIRE(
        !given || *d == PF_DEQUANT_NONE, PF_EARG,
        "--dequantisation is for pixels, and %s holds floating-point numbers; if they are "
        "pixel values, say --scale pixels",
        j->a->in);
    *d = PF_DEQUANT_NONE;
    return PF_OK;
}

/* A model is told this of the points, so it is among what defines the numbers. */
static int is_told(const job *j, const char *port)
{
    int reads = 0;
    for (int i = 0; i < j->sides; i++) reads |= pf_net_reads(j->side[i].model.net, port);
    return reads && !j->a->unconditional;
}

static PF_MUST_USE pf_status digest(job *j)
{
    pf_sha256 s;
    size_t rows = (size_t)j->p.n, n = rows * (size_t)j->D;
    char layout[128];
    int len =
        snprintf(layout, sizeof layout, "points %d %d %d %d %lld ", j->p.space.levels,
                 j->p.space.shape.h, j->p.space.shape.w, j->p.space.shape.c, (long long)j->p.n);
    pf_sha256_init(&s);
    pf_sha256_add(&s, layout, (size_t)len);
    if (j->p.pixels) pf_sha256_add(&s, j->p.pixels, n);
    else pf_sha256_add(&s, j->p.x, n * sizeof *j->p.x);
    if (is_told(j, "label")) pf_sha256_add(&s, j->p.labels, rows * sizeof *j->p.labels);
    if (is_told(j, "condition"))
        pf_sha256_add(&s, j->p.conditions,
                      rows * (size_t)j->p.space.conditions * sizeof *j->p.conditions);
    pf_sha256_hex(&s, j->scored.content);
    return PF_OK;
}

static PF_MUST_USE pf_status read_points(job *j)
{
    pf_convert_opt opt;
    PF_TRY(pf_convert_args_parse(&j->a->convert, &opt));
    PF_TRY(pf_points_read(j->a->in, &opt, &j->p));
    if (j->p.conditions && !is_told(j, "condition"))
        pf_log("logp: %d condition%s a point left out: the model is told none",
               j->p.space.conditions, j->p.space.conditions == 1 ? " is" : "s are");
    PF_TRY(fit_shape(j));
    PF_TRY(choose_scale(j));
    PF_TRY(fit_levels(j));
    j->opt = j->side[0].model.e.likelihood;
    if (!is_set(&j->a->args, "likelihood.check_groups")) j->opt.check_groups = 1000000;
    PF_TRY(choose_dequantisation(j));
    if (j->p.n < j->opt.group) j->opt.group = (int)j->p.n;
    j->scored = (pf_scored){.file = j->a->in,
                            .space = j->p.space,
                            .n = j->p.n,
                            .x = j->p.x,
                            .pixels = j->p.pixels,
                            .labels = j->p.labels,
                            .named = j->p.named,
                            .conditions = j->p.conditions};
    for (int i = 0; i < j->sides; i++) {
        pf_scorer m = pf_side_scorer(&j->side[i].model);
        PF_TRY(pf_scoring_reaches(&m, &j->opt));
        if (!j->a->unconditional) PF_TRY(pf_scoring_brings(&m, &j->scored));
    }
    PF_TRY(digest(j));
    return PF_OK;
}

/* Given for the range of the remarks alone, it is held against the points all the same. */
static PF_MUST_USE pf_status check_training(const job *j)
{
    pf_dataset *set = NULL;
    pf_shape p = j->p.space.shape;
    if (!j->data) return PF_OK;
    PF_TRY(pf_dataset_open(j->data, "train", &set));
    pf_shape s = pf_dataset_about(set)->space.shape;
    pf_dataset_close(set);
    PF_REQUIRE(pf_shape_same(s, p), PF_ESHAPE,
               "--data: the train split of %s is %dx%dx%d, the points of %s are %dx%dx%d",
               j->data, s.h, s.w, s.c, j->a->in, p.h, p.w, p.c);
    return PF_OK;
}

static PF_MUST_USE pf_status open_control(job *j)
{
    j->data = j->a->data;
    if (!pf_likelihood_has_control(&j->opt)) {
        PF_TRY(check_training(j));
        return PF_OK;
    }
    PF_TRY(pf_data_or_stored(&j->side[0].model, &j->data));
    PF_TRY(pf_control_open_split(j->data, j->p.space.shape, &j->train));
    PF_TRY(pf_dataset_content(j->train, j->train_content));
    return PF_OK;
}

/* Local. */
static PF_MUST_USE pf_status prepare(job *j)
{
    PF_TRY(pf_sides_load(j->side, j->sides, j->a->params));
    const pf_net *net = j->side[0].model.net;
    PF_REQUIRE(!j->a->gradient || !net->graph || net->method.ops->score, PF_EARG,
               "--gradient is that of a score, and method %s of %s has none",
               net->method.ops->name, j->side[0].model.path);
    PF_TRY(read_points(j));
    PF_TRY(open_control(j));
    j->inputs[0] = j->a->in;
    j->inputs[1] = j->data; /* NULL counts for nothing */
    int64_t pilots = pf_likelihood_pilots(&j->opt, j->p.pixels != NULL, j->sides > 1, j->p.n);
    for (int i = 0; i < j->sides; i++) {
        pf_side *k = &j->side[i];
        j->inputs[2 + i] = k->model.path;
        snprintf(k->path, sizeof k->path, "%s%s.progress.h5", j->a->out, i ? ".against" : "");
        k->scoring = (pf_scoring){.verb = "logp",
                                  .unit = "points",
                                  .nats = -j->D * M_LN2,
                                  .model = pf_side_scorer(&k->model),
                                  .opt = &j->opt,
                                  .data = &j->scored,
                                  .train = j->train,
                                  .train_content = j->train_content,
                                  .unconditional = j->a->unconditional,
                                  .pilots = pilots,
                                  .path = k->path,
                                  .inputs = j->inputs,
                                  .n_inputs = 2 + j->sides};
        k->scoring.last = pf_scoring_groups(&k->scoring);
    }
    return PF_OK;
}

/* ---- the score, d log p/dx at t_min ---- */

typedef struct slope {
    const job *j;
    pf_score *scores; /* [threads] */
} slope;

/* x at t_min, of the first draw where it is dequantised, and the factor from its scale to that of the
 * input. */
static double place(const job *j, int64_t first, int B, double *x)
{
    const pf_sde *sde = j->side[0].model.net->sde;
    size_t D = (size_t)j->D;
    double log_q, mean = pf_dequants[j->opt.dequantisation]->placement(sde, j->opt.ode.t_min);
    if (!j->p.pixels) {
        memcpy(x, j->p.x + (size_t)first * D, (size_t)B * D * sizeof *x);
        return j->offset != 0.0 ? 2.0 / LEVELS : 1.0;
    }
    for (int b = 0; b < B; b++) {
        pf_draw d = {(uint64_t)j->opt.seed, PF_STREAM_EVAL_DEQUANT, (uint64_t)(first + b), 0};
        double *to = x + (size_t)b * D;
        pf_dequantise(&(pf_dequantiser){sde, &j->opt, &j->p.space, j->D}, &d,
                      j->p.pixels + ((size_t)first + (size_t)b) * D, to, &log_q);
        for (size_t i = 0; i < D; i++) to[i] *= mean;
    }
    return 2.0 * mean / j->p.space.levels;
}

/* What the first model is told of points first .. first+B-1. */
static PF_MUST_USE pf_status tell(const job *j, int64_t first, int B, pf_score *score)
{
    const int32_t *label = is_told(j, "label") ? j->p.labels + first : NULL;
    const double *condition =
        is_told(j, "condition") ? j->p.conditions + first * j->p.space.conditions : NULL;
    if (score->give) PF_TRY(score->give(score->self, B, label, condition));
    return PF_OK;
}

static pf_status find_slope(void *self, int w, int64_t g, void *out)
{
    slope *s = self;
    const job *j = s->j;
    int B = pf_scoring_group(&j->side[0].scoring, g);
    double *score = out, *x = score + (size_t)j->opt.group * (size_t)j->D,
           *t = x + (size_t)B * (size_t)j->D;
    if (!s->scores[w].eval)
        PF_TRY(pf_net_score(j->side[0].model.net, &(pf_view_opt){.batch = j->opt.group},
                            &s->scores[w]));
    double to_input = place(j, g * j->opt.group, B, x);
    for (int b = 0; b < B; b++) t[b] = j->opt.ode.t_min;
    PF_TRY(tell(j, g * j->opt.group, B, &s->scores[w]));
    PF_TRY(s->scores[w].eval(s->scores[w].self, B, t, x, score));
    for (size_t i = 0; i < (size_t)B * (size_t)j->D; i++) score[i] *= to_input;
    return PF_OK;
}

static pf_status keep_slope(void *self, int64_t g, const void *in)
{
    const job *j = ((slope *)self)->j;
    size_t at = (size_t)g * (size_t)j->opt.group * (size_t)j->D;
    memcpy(j->gradient + at, in,
           (size_t)pf_scoring_group(&j->side[0].scoring, g) * (size_t)j->D *
               sizeof *j->gradient);
    return PF_OK;
}

/* Collective. */
static PF_MUST_USE pf_status find_slopes(pf_comm *c, job *j)
{
    int threads = pf_comm_threads(c);
    size_t group = (size_t)j->opt.group, all = (size_t)j->p.n * (size_t)j->D;
    slope s = {j, pf_zalloc((size_t)threads * sizeof *s.scores)};
    if (pf_comm_rank(c) == 0) j->gradient = pf_zalloc(all * sizeof *j->gradient);
    int failed = !s.scores || (pf_comm_rank(c) == 0 && !j->gradient);
    pf_status st = pf_comm_agree(
        c, failed ? pf_raise(PF_EMEM, PF_WHERE, "no memory for gradients") : PF_OK);
    pf_queue_job q = {.n = pf_scoring_groups(&j->side[0].scoring),
                      .result_bytes = group * (2 * (size_t)j->D + 1) * sizeof(double),
                      .threads = threads,
                      .self = &s,
                      .work = find_slope,
                      .done = keep_slope};
    if (!st) st = pf_queue_run(c, &q);
    for (int i = 0; s.scores && i < threads; i++) pf_score_free(&s.scores[i]);
    pf_free(s.scores);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- rank 0 ---- */

static PF_MUST_USE pf_status take_rows(job *j, int i)
{
    pf_side *k = &j->side[i];
    pf_scoring *s = &k->scoring;
    PF_TRY(pf_results_rows(s->results, &k->rows));
    if (s->fresh) pf_scoring_report(s, 1);
    PF_TRY(pf_scoring_end(s, PF_OK));
    PF_TRY(pf_likelihood_estimates(&j->opt, j->p.pixels != NULL, &k->rows, NULL,
                                   pf_scoring_draws(s), &j->estimates[i]));
    return PF_OK;
}

static PF_MUST_USE pf_status write_table(const job *j, pf_logp_table *t)
{
    pf_text how = {0};
    pf_status st = pf_config_write(&how, "likelihood", NULL, pf_likelihood_opts, &j->opt);
    const pf_out_attr attrs[] = {{"checkpoint", j->side[0].model.path, 0},
                                 {"points_sha256", j->scored.content, 0},
                                 {"config", how.s, 0},
                                 {"params", j->side[0].model.raw ? "raw" : "ema", 0},
                                 {"against", j->side[1].model.path, 0}};
    t->attrs = attrs;
    t->n_attrs = j->sides > 1 ? 5 : 4;
    if (!st) st = pf_logp_write(j->a->out, t);
    pf_free(how.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status write_all(job *j)
{
    pf_side *a = &j->side[0], *b = &j->side[1];
    if (j->sides > 1)
        PF_TRY(pf_likelihood_estimates(&j->opt, j->p.pixels != NULL, &a->rows, &b->rows,
                                       pf_scoring_draws(&a->scoring), &j->difference));
    pf_logp_table t = {.n = j->p.n,
                       .D = j->D,
                       .pixels = j->p.pixels != NULL,
                       .offset = j->offset,
                       .labels = j->p.labels,
                       .opt = &j->opt,
                       .first = &j->estimates[0],
                       .second = j->sides > 1 ? &j->estimates[1] : NULL,
                       .difference = j->sides > 1 ? &j->difference : NULL,
                       .gradient = j->gradient,
                       .remarks = j->remarks};
    pf_logp_remark(&t, &j->p, j->data ? j->data : a->model.e.data.path, j->remarks);
    PF_TRY(write_table(j, &t));
    for (int i = 0; i < j->sides; i++) unlink(j->side[i].path);
    pf_logp_print(j->a->out, &t);
    return PF_OK;
}

static PF_MUST_USE pf_status begin(job *j)
{
    size_t n = (size_t)j->p.n + 1;
    PF_TRY(
        pf_take_output(j->a->out, pf_logp_kind(j->a->out, &j->opt), j->inputs, 2 + j->sides));
    for (int i = 0; i < j->sides; i++) {
        PF_TRY(pf_scoring_check(&j->side[i].scoring));
    }
    j->remarks = pf_zalloc(n);
    PF_REQUIRE(j->remarks, PF_EMEM, "no memory for the results of %lld points",
               (long long)j->p.n);
    return PF_OK;
}

/* Collective. */
static PF_MUST_USE pf_status work(pf_comm *c, job *j)
{
    int root = pf_comm_rank(c) == 0;
    PF_TRY(pf_sides_hold(c, j->side, j->sides));
    PF_TRY(pf_comm_agree(c, prepare(j)));
    PF_TRY(pf_sides_agree(c, j->side, j->sides));
    PF_TRY(pf_ranks_same_text(c, "reads points of SHA-256", j->scored.content));
    if (j->train) PF_TRY(pf_data_agree(c, j->data, "train", j->train_content));
    PF_TRY(pf_comm_agree(c, root ? begin(j) : PF_OK));
    for (int i = 0; i < j->sides; i++) {
        PF_TRY(pf_scoring_run(c, &j->side[i].scoring));
        PF_TRY(pf_comm_agree(c, root ? take_rows(j, i) : PF_OK));
    }
    if (j->a->gradient) PF_TRY(find_slopes(c, j));
    PF_TRY(pf_comm_agree(c, root ? write_all(j) : PF_OK));
    return PF_OK;
}

pf_status pf_logp_points(pf_comm *c, const pf_logp *a)
{
    job *j = pf_zalloc(sizeof *j);
    PF_REQUIRE(j, PF_EMEM, "no memory for logp");
    j->a = a;
    j->sides = pf_sides_name(j->side, &a->args, a->against);
    pf_status st = pf_sides_end(j->side, j->sides, work(c, j));
    for (int i = 0; i < 2; i++) pf_estimates_free(&j->estimates[i]);
    pf_dataset_close(j->train);
    pf_points_free(&j->p);
    pf_estimates_free(&j->difference);
    pf_free(j->remarks);
    pf_free(j->gradient);
    pf_free(j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
