/* A run of a sampler: batches of samples from a queue over ranks and threads. */
#include <probflow/comm.h>
#include <probflow/estimand.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/sample.h>

#include <string.h>

enum { BATCH = 32 }; /* samples an item of the queue; a sample does not depend on it */

typedef struct seat { /* what one worker sees of the model */
    pf_view view;
    pf_score score;
    pf_chain chain;
    pf_classifier guide;
} seat;

typedef struct job {
    pf_sampling *s;
    size_t dim;
    seat *seats;      /* [threads], each made by its worker */
    int64_t finished; /* samples on rank 0 */
} job;

typedef struct piece { /* what a worker sends back */
    int64_t evaluations;
    pf_unfit unfit;
    double x
        []; /* [B,D], the previews [previews,B,D], the codes [B,D] and the bounds [B], where there are any */
} piece;

/* Where they lie in x, for B samples. */
static size_t previews_at(const job *j, int B)
{
    return (size_t)B * j->dim;
}

static size_t codes_at(const job *j, int B)
{
    return previews_at(j, B) + (size_t)j->s->previews * (size_t)B * j->dim;
}

static size_t bounds_at(const job *j, int B)
{
    return codes_at(j, B) + (j->s->from ? (size_t)B * j->dim : 0);
}

static int piece_size(const job *j, int64_t item)
{
    int64_t left = j->s->n - item * BATCH;
    return (int)(left < BATCH ? left : BATCH);
}

/* The first one has the prepared weights of all. */
static PF_MUST_USE pf_status open_seat(const job *j, seat *k)
{
    const pf_sampling *s = j->s;
    const seat *first = k == j->seats ? NULL : j->seats;
    pf_view_opt o = {
        .batch = BATCH, .respacing = s->opt->respacing, .clip = (pf_clip)s->opt->clip};
    /* what cuts a prediction has no way back */
    if (s->from && o.clip == PF_CLIP_METHOD) o.clip = PF_CLIP_NO;
    k->view.sde = s->net->sde;
    k->view.ladder = s->net->ladder;
    if (s->sampler->needs & PF_NEEDS_SCORE) {
        if (first) o.with = first->score.self;
        PF_TRY(pf_net_score(s->net, &o, &k->score));
        k->view.score = &k->score;
    }
    if (s->sampler->needs & PF_NEEDS_CHAIN) {
        if (first) o.with = first->chain.self;
        PF_TRY(pf_net_chain(s->net, &o, &k->chain));
        PF_REQUIRE(!s->known || k->chain.multiplies, PF_EARG,
                   "the steps of method %s do not agree with known entries",
                   s->net->method.ops->name);
        k->view.chain = &k->chain;
    }
    if (s->guide) {
        o.with = first ? first->guide.self : NULL;
        PF_TRY(pf_net_classifier(s->guide, &o, &k->guide));
    }
    return PF_OK;
}

/* The bound of the samples x [B,D] under the chain they were drawn with, bits/dim [B]. */
static PF_MUST_USE pf_status score_samples(const job *j, const seat *k, const pf_drawing *d,
                                           double *bound)
{
    const pf_sampling *s = j->s;
    const pf_ledger_column *c;
    int n = pf_likelihood_columns(s->score, &c), total = pf_estimand_asked(s->score, 0)->total;
    size_t values = (size_t)d->B * j->dim;
    uint8_t *levels = pf_zalloc(values);
    double *cells = pf_zalloc((size_t)d->B * (size_t)n * sizeof *cells);
    int real = s->net->space.kind != PF_LEVELS; /* or tokens */
    pf_group g = {.first = d->first,
                  .B = d->B,
                  .space = s->net->space,
                  .pixels = real ? NULL : levels,
                  .x = real ? d->x : NULL,
                  .label = d->label,
                  .condition = d->condition};
    pf_status st =
        levels && cells ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d samples", d->B);
    if (!st && !real) pf_from_model(&s->net->space, values, d->x, levels);
    if (!st) st = pf_likelihood_group(&k->view, s->score, &g, cells);
    for (int b = 0; !st && b < d->B; b++) bound[b] = cells[b * n + total];
    pf_free(levels);
    pf_free(cells);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status work(void *self, int worker, int64_t item, void *result)
{
    job *j = self;
    piece *p = result;
    const pf_sampling *s = j->s;
    seat *k = &j->seats[worker];
    int B = piece_size(j, item), C = s->net->space.conditions;
    int64_t first = item * BATCH;
    if (!k->view.score && !k->view.chain) PF_TRY(open_seat(j, k));
    pf_drawing d = {.view = &k->view,
                    .space = &s->net->space,
                    .opt = s->opt,
                    .first = first,
                    .B = B,
                    .label = s->label ? s->label + first : NULL,
                    .condition = s->condition ? s->condition + first * C : NULL,
                    .guide = s->guide ? &k->guide : NULL,
                    .known = s->known ? s->known + (size_t)first * j->dim : NULL,
                    .mask = s->mask,
                    .known_std = s->known_std,
                    .interpolate = s->interpolate,
                    .x = p->x,
                    .code = s->from ? p->x + codes_at(j, B) : NULL,
                    .previews = s->previews,
                    .preview = s->previews ? p->x + previews_at(j, B) : NULL,
                    .evaluations = &p->evaluations,
                    .unfit = &p->unfit};
    if (s->from)
        memcpy(d.code, s->from + (size_t)first * j->dim, (size_t)B * j->dim * sizeof *d.code);
    if (k->score.give) PF_TRY(k->score.give(k->score.self, B, d.label, d.condition));
    PF_TRY(s->sampler->draw(&d));
    if (s->score) PF_TRY(score_samples(j, k, &d, p->x + bounds_at(j, B)));
    return PF_OK;
}

static pf_status done(void *self, int64_t item, const void *result)
{
    job *j = self;
    pf_sampling *s = j->s;
    const piece *p = result;
    int n = piece_size(j, item);
    size_t D = j->dim, P = (size_t)s->previews, at = (size_t)item * BATCH;
    memcpy(s->x + at * D, p->x, sizeof(double) * (size_t)n * D);
    for (size_t b = 0; b < (size_t)n; b++)
        for (size_t k = 0; k < P; k++)
            memcpy(s->preview + ((at + b) * P + k) * D,
                   p->x + previews_at(j, n) + (k * (size_t)n + b) * D, sizeof(double) * D);
    if (s->from)
        memcpy(s->code + at * D, p->x + codes_at(j, n), sizeof(double) * (size_t)n * D);
    if (s->score) memcpy(s->bound + at, p->x + bounds_at(j, n), sizeof(double) * (size_t)n);
    s->evaluations += (double)p->evaluations;
    pf_unfit_add(&s->unfit, &p->unfit, 1);
    j->finished += n;
    if (pf_progress_due())
        pf_progress(0, "sample %lld/%lld", (long long)j->finished, (long long)s->n);
    return PF_OK;
}

/* What samples shall agree with, and rows of them. */
static PF_MUST_USE pf_status check_known(const pf_sampling *s)
{
    const pf_sampler_ops *o = s->sampler;
    int noisy = s->known_std > 0.0;
    PF_REQUIRE(!s->known || (noisy ? o->denoises : o->inpaints), PF_EARG,
               "sampler %s draws nothing that agrees with known entries; langevin does, and "
               "chain of a method whose steps do",
               o->name);
    PF_REQUIRE(!s->interpolate || o->interpolates, PF_EARG,
               "sampler %s has no rows between two draws; langevin has", o->name);
    PF_REQUIRE(!s->known || (!s->interpolate && !s->from), PF_EARG,
               "samples that agree with known entries are neither encoded nor interpolated");
    return PF_OK;
}

static PF_MUST_USE pf_status check(const pf_sampling *s)
{
    const pf_sampler_ops *o = s->sampler;
    PF_REQUIRE(!s->previews || o->previews, PF_EARG,
               "sampler %s has no previews; chain, ddim and langevin have", o->name);
    PF_TRY(check_known(s));
    PF_REQUIRE(!s->from || o->encodes, PF_EARG,
               "sampler %s has no way back from data; ddim has: --set sample.name=ddim",
               o->name);
    PF_REQUIRE(!s->guide || o->guided, PF_EARG,
               "sampler %s takes no guidance; chain and ddim do", o->name);
    PF_REQUIRE(!s->guide || s->label, PF_EARG, "a guide needs labels to guide to");
    PF_REQUIRE(!s->score || (o->needs & PF_NEEDS_CHAIN), PF_EARG,
               "sampler %s has no chain whose bound scores samples; chain and ddim have",
               o->name);
    if (s->guide) PF_TRY(pf_net_guides(s->guide, s->net));
    return PF_OK;
}

static PF_MUST_USE pf_status prepare(job *j, int threads, int root)
{
    pf_sampling *s = j->s;
    size_t values = (size_t)s->n * j->dim;
    PF_TRY(check(s));
    j->seats = pf_zalloc(sizeof *j->seats * (size_t)threads);
    if (root) s->x = pf_zalloc(sizeof *s->x * values);
    if (root) s->preview = pf_zalloc(sizeof *s->x * values * (size_t)s->previews);
    if (root && s->from) s->code = pf_zalloc(sizeof *s->x * values);
    if (root && s->score) s->bound = pf_zalloc(sizeof *s->x * (size_t)s->n);
    PF_REQUIRE(
        j->seats &&
            ((s->x && s->preview && !s->from == !s->code && !s->score == !s->bound) || !root),
        PF_EMEM, "no memory for %lld samples", (long long)s->n);
    PF_TRY(open_seat(j, &j->seats[0])); /* before the other workers start */
    return PF_OK;
}

pf_status pf_sampling_run(pf_comm *c, pf_sampling *s)
{
    pf_shape shape = s->net->space.shape;
    int threads = pf_comm_threads(c);
    job j = {.s = s, .dim = pf_shape_entries(shape)};
    pf_status st = pf_comm_agree(c, prepare(&j, threads, pf_comm_rank(c) == 0));
    pf_queue_job q = {
        .n = (s->n + BATCH - 1) / BATCH,
        .result_bytes =
            sizeof(piece) + sizeof(double) * BATCH *
                                (j.dim * (1 + (size_t)s->previews + (s->from != NULL)) + 1),
        .threads = threads,
        .self = &j,
        .work = work,
        .done = done,
    };
    if (!st) st = pf_queue_run(c, &q);
    for (int i = 0; j.seats && i < threads; i++) {
        pf_score_free(&j.seats[i].score);
        pf_chain_free(&j.seats[i].chain);
        pf_classifier_free(&j.seats[i].guide);
    }
    pf_free(j.seats);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_sampling_free(pf_sampling *s)
{
    pf_free(s->x);
    pf_free(s->preview);
    pf_free(s->code);
    pf_free(s->bound);
    s->x = s->preview = s->code = s->bound = NULL;
}
