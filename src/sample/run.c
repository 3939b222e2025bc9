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

typedef struct job {
    pf_sampling *s;
    size_t dim;
    pf_score *scores; /* [threads], each made by its worker */
    int64_t finished; /* samples on rank 0 */
} job;

typedef struct piece { /* what a worker sends back */
    int64_t evaluations;
    double x[];
} piece;

static int piece_size(const job *j, int64_t item)
{
    int64_t left = j->s->n - item * BATCH;
    return (int)(left < BATCH ? left : BATCH);
}

static pf_status work(void *self, int worker, int64_t item, void *result)
{
    job *j = self;
    piece *p = result;
    const pf_sampling *s = j->s;
    pf_score *score = &j->scores[worker];
    if (!score->eval)
        PF_TRY(pf_net_score(s->net, &(pf_view_opt){.batch = BATCH, .with = j->scores[0].self},
                            score));
    PF_TRY(s->sampler->draw(s->net->sde, score, s->opt, item * BATCH, piece_size(j, item), p->x,
                            &p->evaluations));
    return PF_OK;
}

static pf_status done(void *self, int64_t item, const void *result)
{
    job *j = self;
    pf_sampling *s = j->s;
    const piece *p = result;
    int n = piece_size(j, item);
    memcpy(s->x + (size_t)(item * BATCH) * j->dim, p->x, sizeof(double) * (size_t)n * j->dim);
    s->evaluations += (double)p->evaluations;
    j->finished += n;
    if (pf_progress_due())
        pf_progress(0, "sample %lld/%lld", (long long)j->finished, (long long)s->n);
    return PF_OK;
}

static PF_MUST_USE pf_status prepare(job *j, int threads, int root)
{
    pf_sampling *s = j->s;
    PF_REQUIRE(s->sampler->needs == PF_NEEDS_SCORE, PF_EARG,
               "sampler %s needs more of a model than its score", s->sampler->name);
    j->scores = pf_zalloc(sizeof *j->scores * (size_t)threads);
    if (root) s->x = pf_zalloc(sizeof *s->x * (size_t)s->n * j->dim);
    PF_REQUIRE(j->scores && (s->x || !root), PF_EMEM, "no memory for %lld samples",
               (long long)s->n);
    /* before the other workers start, since it has the prepared weights of all */
    PF_TRY(pf_net_score(s->net, &(pf_view_opt){.batch = BATCH}, &j->scores[0]));
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
        .result_bytes = sizeof(piece) + sizeof(double) * BATCH * j.dim,
        .threads = threads,
        .self = &j,
        .work = work,
        .done = done,
    };
    if (!st) st = pf_queue_run(c, &q);
    for (int i = 0; j.scores && i < threads; i++) pf_score_free(&j.scores[i]);
    pf_free(j.scores);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

void pf_sampling_free(pf_sampling *s)
{
    pf_free(s->x);
    s->x = NULL;
}

/* Model scale to bytes. */
static uint8_t *to_pixels(const double *x, size_t n)
{
    const pf_space bytes = {.kind = PF_LEVELS, .levels = 256};
    uint8_t *p = pf_zalloc(n);
    if (p) pf_from_model(&bytes, n, x, p);
    return p;
}

static PF_MUST_USE pf_status write_files(const pf_sampling *s, const pf_sample_files *f,
                                         const uint8_t *pixels)
{
    pf_shape shape = s->net->space.shape;
    pf_out_array arrays[] = {
        {"x", 4, {s->n, shape.h, shape.w, shape.c}, s->x, NULL, NULL},
        {"images", 4, {s->n, shape.h, shape.w, shape.c}, NULL, NULL, pixels},
    };
    pf_out_attr attrs[] = {
        {"sampler", s->sampler->name, 0},
        {"config", f->config, 0},
        {"step", NULL, (double)f->step},
        {"evaluations", NULL, s->evaluations},
        {"params", "raw", 0},
    };
    PF_TRY(pf_store_write(f->out, arrays, 2, attrs, f->raw ? 5 : 4));
    int columns = (int)ceil(sqrt((double)s->n));
    if (f->png) PF_TRY(pf_png_grid(f->png, pixels, (int)s->n, shape, columns));
    return PF_OK;
}

pf_status pf_sampling_write(const pf_sampling *s, const pf_sample_files *f)
{
    pf_shape shape = s->net->space.shape;
    uint8_t *pixels = to_pixels(s->x, (size_t)s->n * pf_shape_entries(shape));
    PF_REQUIRE(pixels, PF_EMEM, "no memory for %lld images", (long long)s->n);
    pf_status st = write_files(s, f, pixels);
    pf_free(pixels);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
