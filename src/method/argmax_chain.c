/* The chain of a trained argmax flow: its bound as the one term that counts, its samples as one step.
 *
 * Noise of draw j of a bound of n draws is f(seed, EVAL_NOISE, image, draw n + j).  A state is v [D,B], whose signs are the
 * bits of its symbols; the base density's normal numbers of a sample are f(seed, PRIOR, sample, again), again = 0 at first
 * and one more for each time the row has to be drawn anew. */
#include "method/argmax.h"
#include "method/pass.h"

#include <probflow/memory.h>

#include <math.h>
#include <pthread.h>

enum { TRIES = 64 }; /* that a row is drawn, where some codes are no symbol */

typedef struct chain chain;
struct chain {
    pf_pass pass;
    const pf_argmax *a;
    pf_view_opt view;
    chain *first;               /* of the workers', or itself */
    pthread_mutex_t lock;       /* of its inverse, which any of them may be the first to need */
    pf_argmax_inverse *inverse; /* made by the first sample */
    double *w;                  /* [batch,draws] */
    int *length;                /* [batch] entries that are no padding */
    double *again;              /* [batch,D,B] rows drawn anew; NULL until then */
    int64_t calls;
    pf_unfit unfit;
};

static size_t state_of(const pf_argmax *a)
{
    return a->cat.D * (size_t)a->B;
}

/* ---- the bound ---- */

static PF_MUST_USE pf_status find_draw(chain *c, const pf_batch *b, int j)
{
    const pf_argmax *a = c->a;
    size_t row = a->cat.D * (size_t)a->columns;
    uint32_t step = b->step * (uint32_t)a->opt.draws + (uint32_t)j;
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[s], step};
        c->length[s] = pf_argmax_show(a, b, s, &d, c->pass.in);
    }
    PF_TRY(pf_pass_run(&c->pass, b));
    c->calls++;
    for (int s = 0; s < b->B; s++)
        c->w[s * a->opt.draws + j] =
            -pf_argmax_nats(a, c->length[s], c->pass.out + (size_t)s * row);
    return PF_OK;
}

static pf_status term(void *self, const pf_batch *b, const int *i, double *nats)
{
    chain *c = self;
    int bounds = 0, draws = c->a->opt.draws;
    PF_TRY(pf_pass_fits(&c->pass, b));
    for (int s = 0; s < b->B; s++) bounds |= i[s] == 0;
    for (int j = 0; bounds && j < draws; j++) PF_TRY(find_draw(c, b, j));
    for (int s = 0; s < b->B; s++)
        nats[s] = i[s] ? 0.0 : -pf_argmax_bound(draws, c->w + s * draws, NULL);
    return PF_OK;
}

/* ---- samples ---- */

static PF_MUST_USE pf_status make_inverse(chain *c, const pf_argmax_inverse *with)
{
    if (c->inverse) return PF_OK;
    PF_TRY(pf_argmax_inverse_create(c->pass.net, &c->view, with, &c->calls, &c->inverse));
    return PF_OK;
}

static PF_MUST_USE pf_status need_inverse(chain *c)
{
    pthread_mutex_lock(&c->first->lock);
    pf_status st = make_inverse(c->first, NULL);
    pthread_mutex_unlock(&c->first->lock);
    if (!st && c != c->first) st = make_inverse(c, c->first->inverse);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status prior(void *self, const pf_batch *b, double *x)
{
    chain *c = self;
    PF_TRY(pf_pass_fits(&c->pass, b));
    PF_TRY(need_inverse(c));
    PF_TRY(pf_argmax_base(c->inverse, b, 0, x));
    return PF_OK;
}

/* Codes of row s that are no symbol. */
static int unused_of(const chain *c, const double *x, int s)
{
    const pf_argmax *a = c->a;
    int n = 0;
    for (size_t j = 0; j < a->cat.D; j++)
        n += pf_argmax_code(a->B, x + ((size_t)s * a->cat.D + j) * (size_t)a->B) >= a->cat.K;
    return n;
}

/* Of rows as they are drawn at first, each of which is a draw of the flow. */
static void count_unused(chain *c, int B, const double *x)
{
    for (int s = 0; s < B; s++) {
        int64_t n = unused_of(c, x, s);
        c->unfit.some += n > 0;
        c->unfit.entries += n;
        c->unfit.squares += n * n;
    }
    c->unfit.samples += B;
}

/* Rows with codes that are no symbol, drawn once more from other numbers; how many there are. */
static PF_MUST_USE pf_status draw_again(chain *c, const pf_batch *b, int again, double *x,
                                        int *left)
{
    size_t n = state_of(c->a);
    *left = 0;
    for (int s = 0; s < b->B; s++) *left += unused_of(c, x, s) > 0;
    if (!*left) return PF_OK;
    if (!c->again) c->again = pf_zalloc((size_t)c->pass.batch * n * sizeof *c->again);
    PF_REQUIRE(c->again, PF_EMEM, "no memory for %d rows that are drawn again", c->pass.batch);
    PF_TRY(pf_argmax_base(c->inverse, b, (uint32_t)again, c->again));
    PF_TRY(pf_argmax_undo(c->inverse, b, c->again));
    for (int s = 0; s < b->B; s++) {
        size_t at = (size_t)s * n;
        if (!unused_of(c, x, s)) continue;
        for (size_t k = 0; k < n; k++) x[at + k] = c->again[at + k];
    }
    return PF_OK;
}

static pf_status step(void *self, const pf_batch *b, const pf_move *how, int i, double *x,
                      double *x0)
{
    chain *c = self;
    const pf_argmax *a = c->a;
    int left = 0;
    (void)i;
    PF_TRY(pf_pass_moves(&c->pass, how, 0));
    PF_TRY(pf_pass_fits(&c->pass, b));
    PF_TRY(need_inverse(c));
    PF_TRY(pf_argmax_undo(c->inverse, b, x));
    count_unused(c, b->B, x);
    for (int again = 1; a->opt.unused == PF_ARGMAX_REDRAW && again < TRIES; again++) {
        PF_TRY(draw_again(c, b, again, x, &left));
        if (!left) break;
    }
    for (int s = 0; left && s < b->B; s++)
        PF_REQUIRE(
            !unused_of(c, x, s), PF_ENUMERIC,
            "sample %lld, drawn %d times, still has codes that are none of the %d symbols; "
            "train for longer, or set method.unused=last",
            (long long)b->sample[s], TRIES, a->cat.K);
    for (size_t k = 0; x0 && k < (size_t)b->B * state_of(a); k++) x0[k] = x[k];
    return PF_OK;
}

static pf_status datum(void *self, int B, const double *x, double *out)
{
    const pf_argmax *a = ((chain *)self)->a;
    for (size_t j = 0; j < (size_t)B * a->cat.D; j++) {
        int k = pf_argmax_code(a->B, x + j * (size_t)a->B);
        out[j] = pf_cat_place(&a->cat, k < a->cat.K ? k : a->cat.K - 1);
    }
    return PF_OK;
}

static void release(void *self)
{
    chain *c = self;
    if (!c) return;
    pf_pass_free(&c->pass);
    pf_argmax_inverse_free(c->inverse);
    pthread_mutex_destroy(&c->lock);
    pf_free(c->w);
    pf_free(c->length);
    pf_free(c->again);
    pf_free(c);
}

static PF_MUST_USE pf_status create(chain *c, const pf_net *n, const pf_view_opt *o)
{
    PF_TRY(pf_pass_takes(n, o));
    c->a = n->self;
    c->view = *o;
    c->view.with = NULL;
    c->w = pf_zalloc((size_t)o->batch * (size_t)c->a->opt.draws * sizeof *c->w);
    c->length = pf_zalloc((size_t)o->batch * sizeof *c->length);
    PF_REQUIRE(c->w && c->length, PF_EMEM, "no memory for a chain of %d samples", o->batch);
    PF_TRY(pf_pass_create(&c->pass, n, o, 0, c->first != c ? &c->first->pass : NULL));
    return PF_OK;
}

pf_status pf_argmax_chain(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    chain *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a chain");
    c->first = o->with ? (chain *)o->with : c; /* its inverse is made when it is needed */
    pthread_mutex_init(&c->lock, NULL);
    pf_status st = create(c, n, o);
    if (st) {
        release(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = (pf_chain){.self = c,
                      .dim = (int)c->a->cat.D,
                      .steps = 1,
                      .whole = 1,
                      .batch = o->batch,
                      .state = state_of(c->a),
                      .calls = &c->calls,
                      .unfit = c->a->cat.K < 1 << c->a->B ? &c->unfit : NULL,
                      .term = term,
                      .prior = prior,
                      .step = step,
                      .datum = datum,
                      .free = release};
    return PF_OK;
}
