/* A run of a sampler: batches of samples from a queue over ranks and threads, and their files. */
#include <probflow/comm.h>
#include <probflow/data.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/sample.h>
#include <probflow/store.h>

#include <math.h>
#include <string.h>

enum { BATCH = 32 }; /* samples an item of the queue; a sample does not depend on it */

typedef struct seat { /* what one worker sees of the model */
    pf_view view;
    pf_score score;
    pf_chain chain;
} seat;

typedef struct job {
    pf_sampling *s;
    size_t dim;
    seat *seats;      /* [threads], each made by its worker */
    int64_t finished; /* samples on rank 0 */
} job;

typedef struct piece { /* what a worker sends back */
    int64_t evaluations;
    double x[]; /* [B,D], then the previews [previews,B,D] */
} piece;

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
    pf_view_opt o = {.batch = BATCH};
    k->view.sde = s->net->sde;
    if (s->sampler->needs & PF_NEEDS_SCORE) {
        if (first) o.with = first->score.self;
        PF_TRY(pf_net_score(s->net, &o, &k->score));
        k->view.score = &k->score;
    }
    if (s->sampler->needs & PF_NEEDS_CHAIN) {
        if (first) o.with = first->chain.self;
        PF_TRY(pf_net_chain(s->net, &o, &k->chain));
        k->view.chain = &k->chain;
    }
    return PF_OK;
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
                    .x = p->x,
                    .previews = s->previews,
                    .preview = s->previews ? p->x + (size_t)B * j->dim : NULL,
                    .evaluations = &p->evaluations};
    if (k->score.give) PF_TRY(k->score.give(k->score.self, B, d.label, d.condition));
    PF_TRY(s->sampler->draw(&d));
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
            memcpy(s->preview + ((at + b) * P + k) * D, p->x + ((1 + k) * (size_t)n + b) * D,
                   sizeof(double) * D);
    s->evaluations += (double)p->evaluations;
    j->finished += n;
    if (pf_progress_due())
        pf_progress(0, "sample %lld/%lld", (long long)j->finished, (long long)s->n);
    return PF_OK;
}

static PF_MUST_USE pf_status prepare(job *j, int threads, int root)
{
    pf_sampling *s = j->s;
    size_t values = (size_t)s->n * j->dim;
    PF_REQUIRE(!s->previews || s->sampler->previews, PF_EARG,
               "sampler %s has no previews; only chain has", s->sampler->name);
    j->seats = pf_zalloc(sizeof *j->seats * (size_t)threads);
    if (root) s->x = pf_zalloc(sizeof *s->x * values);
    if (root) s->preview = pf_zalloc(sizeof *s->x * values * (size_t)s->previews);
    PF_REQUIRE(j->seats && ((s->x && s->preview) || !root), PF_EMEM,
               "no memory for %lld samples", (long long)s->n);
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
            sizeof(piece) + sizeof(double) * BATCH * j.dim * (1 + (size_t)s->previews),
        .threads = threads,
        .self = &j,
        .work = work,
        .done = done,
    };
    if (!st) st = pf_queue_run(c, &q);
    for (int i = 0; j.seats && i < threads; i++) {
        pf_score_free(&j.seats[i].score);
        pf_chain_free(&j.seats[i].chain);
    }
    pf_free(j.seats);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_sampling_free(pf_sampling *s)
{
    pf_free(s->x);
    pf_free(s->preview);
    s->x = s->preview = NULL;
}

/* Model scale to bytes. */
static uint8_t *to_pixels(const double *x, size_t n)
{
    const pf_space bytes = {.kind = PF_LEVELS, .levels = 256};
    uint8_t *p = pf_zalloc(n);
    if (p) pf_from_model(&bytes, n, x, p);
    return p;
}

/* What the file holds in model scale, and as bytes: the samples, then the previews of each. */
typedef struct pictures {
    uint8_t *images, *previews;
} pictures;

static PF_MUST_USE pf_status write_files(const pf_sampling *s, const pf_sample_files *f,
                                         const pictures *p)
{
    pf_shape shape = s->net->space.shape;
    pf_out_array arrays[] = {
        {"x", 4, {s->n, shape.h, shape.w, shape.c}, s->x, NULL, NULL},
        {"images", 4, {s->n, shape.h, shape.w, shape.c}, NULL, NULL, p->images},
        {"previews", 5, {s->n, s->previews, shape.h, shape.w, shape.c}, s->preview, NULL, NULL},
    };
    pf_out_attr attrs[] = {
        {"sampler", s->sampler->name, 0},
        {"config", f->config, 0},
        {"step", NULL, (double)f->step},
        {"evaluations", NULL, s->evaluations},
        {"params", "raw", 0},
    };
    PF_TRY(pf_store_write(f->out, arrays, s->previews ? 3 : 2, attrs, f->raw ? 5 : 4));
    int columns = (int)ceil(sqrt((double)s->n)), all = (int)s->n * s->previews;
    if (f->png) PF_TRY(pf_png_grid(f->png, p->images, (int)s->n, shape, columns));
    if (f->previews) PF_TRY(pf_png_grid(f->previews, p->previews, all, shape, s->previews));
    return PF_OK;
}

pf_status pf_sampling_write(const pf_sampling *s, const pf_sample_files *f)
{
    size_t values = (size_t)s->n * pf_shape_entries(s->net->space.shape);
    pictures p = {to_pixels(s->x, values),
                  s->previews ? to_pixels(s->preview, values * (size_t)s->previews) : NULL};
    pf_status st =
        p.images && (p.previews || !s->previews)
            ? write_files(s, f, &p)
            : pf_raise(PF_EMEM, PF_WHERE, "no memory for %lld images", (long long)s->n);
    pf_free(p.images);
    pf_free(p.previews);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
