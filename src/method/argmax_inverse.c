/* A trained argmax flow the other way: normal numbers to v.
 *
 * Steps are undone from the last to the first, each with a network of its own in a graph of its own, whose parameters are
 * those of that name.  A coupling is undone by one pass.  Of an autoregressive step
 *
 *     z_j = inverse of y_j under the parameters that the network makes of z_0 .. z_(j-1)
 *
 * is solved for all j at once from the z of the pass before, until a pass changes no bit of what it is made of: pass n is
 * final up to number n, so there are no more of them than numbers, and fewer the shorter the network's memory is.  A number
 * whose parameters are those of the pass before is not solved again.  The solution is that of one number after the other,
 * bit for bit.  A number is a float, as the network reads it.
 * Source: Song et al. 2021 (accelerating feedforward computation by Jacobi iteration). */
#include "method/argmax.h"
#include "method/pass.h"

#include <probflow/linalg.h>
#include <probflow/memory.h>
#include <probflow/mixture_cdf.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct back { /* a step */
    pf_net
        net; /* the model alone, with ports of its own; graph owned, parameters those of the whole */
    pf_pass pass;
    double f[PF_ARGMAX_BITS_MAX], *fm; /* of the mixture: [moved], owned [moved,M] */
    /* Of what is before it; owned, NULL: nothing is.  The inverse [B,B] of what mixes or shuffles the numbers; places
     * and then log scales [2,B]. */
    double *turned, *norm;
} back;

struct pf_argmax_inverse {
    const pf_net *net; /* borrowed */
    const pf_argmax *a;
    const pf_argmax_inverse *with; /* borrowed; NULL: graphs are its own */
    back *step;                    /* [steps] */
    double loc[PF_ARGMAX_BITS_MAX], scale[PF_ARGMAX_BITS_MAX]; /* of the base density */
    float *noise;                                              /* [D,B] */
    double *row, *y;                                           /* [D,B]; [batch,D,B] */
    int64_t *calls; /* += passes of a network; borrowed */
    int *done;      /* [batch] numbers that are final */
    float *known;   /* [batch,D,moved,2+3M] the parameters that numbers were last solved with */
};

/* ---- making ---- */

/* The values of the view NAME[.SUFFIX] of the whole network. */
static PF_MUST_USE pf_status find(const pf_net *n, const char *name, size_t size,
                                  const float **v)
{
    for (int i = 0; i < n->n_views; i++) {
        if (strcmp(n->views[i].name, name)) continue;
        PF_REQUIRE(n->views[i].size == size, PF_ESHAPE, "parameter %s has %zu values, want %zu",
                   name, n->views[i].size, size);
        *v = n->params + n->views[i].offset;
        return PF_OK;
    }
    PF_FAIL(PF_EARG, "the network has no parameter %s", name);
}

static PF_MUST_USE pf_status find_doubles(const pf_net *n, int k, const char *suffix,
                                          size_t size, double *to)
{
    char name[PF_NAME_MAX];
    const float *v = NULL;
    if (k < 0) snprintf(name, sizeof name, "%s", suffix);
    else snprintf(name, sizeof name, "transforms.%d.%s", k, suffix);
    PF_TRY(find(n, name, size, &v));
    for (size_t i = 0; i < size; i++) to[i] = (double)v[i];
    return PF_OK;
}

static PF_MUST_USE pf_status build_model(const pf_argmax *a, const pf_net *n, int k, pf_net *to)
{
    char prefix[PF_NAME_MAX];
    to->offered = pf_argmax_offer(a, &n->offered);
    PF_TRY(pf_graph_create(&to->graph));
    snprintf(prefix, sizeof prefix, "transforms.%d.nn.", pf_argmax_number(a, k));
    pf_graph_prefix(to->graph, prefix);
    pf_node y = n->model.ops->build(&n->model.opt, to->graph, &to->offered);
    PF_TRY(pf_graph_finish(to->graph, y));
    for (int i = 0; i < to->offered.n; i++)
        to->input[i] = pf_graph_port(to->graph, to->offered.port[i].name);
    to->n_views = pf_graph_param_count(to->graph);
    to->views = pf_graph_params(to->graph);
    to->floats = pf_graph_param_floats(to->graph);
    return PF_OK;
}

/* A model's views lie in the whole block as they lie in its own, since they are made one after the other. */
static PF_MUST_USE pf_status take_params(const pf_net *n, back *b)
{
    for (int i = 0; i < b->net.n_views; i++) {
        const pf_param *v = &b->net.views[i];
        const float *from = NULL;
        PF_TRY(find(n, v->name, v->size, &from));
        if (!i) b->net.params = from - v->offset;
        PF_ASSERT(from == b->net.params + v->offset);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status take_mixing(const pf_argmax *a, const pf_net *n, int k, back *b)
{
    size_t B = (size_t)a->B;
    int number = pf_argmax_number(a, k) - 1;
    double from[PF_ARGMAX_BITS_MAX];
    char taken[PF_ARGMAX_BITS_MAX] = {0};
    b->turned = pf_zalloc(B * B * sizeof *b->turned);
    PF_REQUIRE(b->turned, PF_EMEM, "no memory for a matrix of %zu numbers", B);
    if (a->opt.channels == PF_ARGMAX_CHANNELS_SHUFFLE) {
        PF_TRY(find_doubles(n, number, "permutation", B, from));
        for (size_t i = 0; i < B; i++) {
            double to = rint(from[i]);
            PF_REQUIRE(to >= 0.0 && to < (double)B && !taken[(size_t)to], PF_EFORMAT,
                       "parameter transforms.%d.permutation is no order of %zu channels",
                       number, B);
            taken[(size_t)to] = 1;
            b->turned[(size_t)to * B + i] = 1.0;
        }
        return PF_OK;
    }
    PF_TRY(find_doubles(n, number, "weight", B * B, b->turned));
    if (pf_linalg_invert(a->B, b->turned, NULL))
        PF_FAIL(PF_ENUMERIC, "parameter transforms.%d.weight has no inverse", number);
    return PF_OK;
}

/* What lies before step k. */
static PF_MUST_USE pf_status take_between(const pf_argmax *a, const pf_net *n, int k, back *b)
{
    size_t B = (size_t)a->B;
    int number = pf_argmax_number(a, k) - pf_argmax_stride(a) + 1;
    if (!k) return PF_OK;
    if (a->opt.channels != PF_ARGMAX_CHANNELS_STAY) PF_TRY(take_mixing(a, n, k, b));
    if (!a->opt.actnorm) return PF_OK;
    b->norm = pf_zalloc(2 * B * sizeof *b->norm);
    PF_REQUIRE(b->norm, PF_EMEM, "no memory for %zu places and scales", B);
    PF_TRY(find_doubles(n, number, "shift", B, b->norm));
    PF_TRY(find_doubles(n, number, "log_scale", B, b->norm + B));
    return PF_OK;
}

static PF_MUST_USE pf_status open_step(const pf_argmax_inverse *v, const pf_view_opt *o, int k,
                                       back *b)
{
    const pf_argmax *a = v->a;
    size_t moved = (size_t)a->moved, M = (size_t)a->opt.mixtures;
    const back *with = v->with ? &v->with->step[k] : NULL;
    if (with) {
        b->net = with->net;
    } else {
        b->net = *v->net;
        b->net.graph = NULL;
        PF_TRY(build_model(a, v->net, k, &b->net));
        PF_TRY(take_params(v->net, b));
    }
    b->fm = pf_zalloc(moved * M * sizeof *b->fm);
    PF_REQUIRE(b->fm, PF_EMEM, "no memory for a step");
    PF_TRY(find_doubles(v->net, pf_argmax_number(a, k), "scaling_factor", moved, b->f));
    PF_TRY(find_doubles(v->net, pf_argmax_number(a, k), "mixture_scaling_factor", moved * M,
                        b->fm));
    PF_TRY(take_between(a, v->net, k, b));
    PF_TRY(pf_pass_create(&b->pass, &b->net, o, 0, with ? &with->pass : NULL));
    return PF_OK;
}

/* Parameters of a row that are kept; couplings solve once. */
static size_t known_of(const pf_argmax *a)
{
    int once = a->opt.flow == PF_ARGMAX_COUPLING;
    return once ? 0 : a->cat.D * (size_t)a->moved * (size_t)(2 + 3 * a->opt.mixtures);
}

static PF_MUST_USE pf_status open_into(pf_argmax_inverse *v, const pf_view_opt *o)
{
    const pf_argmax *a = v->a;
    size_t n = a->cat.D * (size_t)a->B;
    v->step = pf_zalloc((size_t)a->opt.steps * sizeof *v->step);
    v->noise = pf_zalloc(n * sizeof *v->noise);
    v->row = pf_zalloc(n * sizeof *v->row);
    v->y = pf_zalloc((size_t)o->batch * n * sizeof *v->y);
    v->done = pf_zalloc((size_t)o->batch * sizeof *v->done);
    v->known = pf_zalloc((size_t)o->batch * known_of(a) * sizeof *v->known);
    PF_REQUIRE(v->step && v->noise && v->row && v->y && v->done && v->known, PF_EMEM,
               "no memory for %d samples", o->batch);
    PF_TRY(find_doubles(v->net, -1, "base_dist.loc", (size_t)a->B, v->loc));
    PF_TRY(find_doubles(v->net, -1, "base_dist.log_scale", (size_t)a->B, v->scale));
    for (int k = 0; k < a->opt.steps; k++) PF_TRY(open_step(v, o, k, &v->step[k]));
    return PF_OK;
}

void pf_argmax_inverse_free(pf_argmax_inverse *v)
{
    if (!v) return;
    for (int k = 0; v->step && k < v->a->opt.steps; k++) {
        back *b = &v->step[k];
        pf_pass_free(&b->pass);
        if (!v->with) pf_graph_free(b->net.graph);
        pf_free(b->fm);
        pf_free(b->turned);
        pf_free(b->norm);
    }
    pf_free(v->step);
    pf_free(v->noise);
    pf_free(v->row);
    pf_free(v->y);
    pf_free(v->done);
    pf_free(v->known);
    pf_free(v);
}

pf_status pf_argmax_inverse_create(const pf_net *n, const pf_view_opt *o,
                                   const pf_argmax_inverse *with, int64_t *calls,
                                   pf_argmax_inverse **out)
{
    pf_argmax_inverse *v = pf_zalloc(sizeof *v);
    PF_REQUIRE(v, PF_EMEM, "no memory for a flow");
    v->net = n;
    v->a = n->self;
    v->with = with;
    v->calls = calls;
    pf_status st = open_into(v, o);
    if (st) {
        pf_argmax_inverse_free(v);
        return pf_trail(st, PF_WHERE);
    }
    *out = v;
    return PF_OK;
}

/* ---- use ---- */

pf_status pf_argmax_base(pf_argmax_inverse *v, const pf_batch *b, uint32_t again, double *y)
{
    size_t B = (size_t)v->a->B, n = v->a->cat.D * B;
    for (int s = 0; s < b->B; s++) {
        const pf_draw d = {b->seed, PF_STREAM_PRIOR, b->sample[s], again};
        pf_draw_normal(&d, 0, n, v->noise);
        for (size_t i = 0; i < n; i++)
            y[(size_t)s * n + i] = v->loc[i % B] + exp(v->scale[i % B]) * (double)v->noise[i];
    }
    return PF_OK;
}

/* What the step's network sees of x, the first `kept` numbers of each entry. */
static PF_MUST_USE pf_status look(const pf_argmax_inverse *v, back *p, const pf_batch *b,
                                  const double *x)
{
    const pf_argmax *a = v->a;
    const pf_ports *o = &p->net.offered;
    size_t D = a->cat.D, kept = (size_t)a->kept, B = (size_t)a->B;
    for (int i = 0; i < o->n; i++) {
        float *to = p->pass.in[i];
        if (!to || strcmp(o->port[i].name, "x")) continue;
        for (size_t e = 0; e < (size_t)b->B * D; e++)
            for (size_t c = 0; c < kept; c++) to[e * kept + c] = (float)x[e * B + c];
    }
    PF_TRY(pf_pass_run(&p->pass, b));
    ++*v->calls;
    return PF_OK;
}

/* Number c of entry e, of those that the step maps, from y; as a float. */
static double solve(const pf_argmax *a, const back *p, size_t e, size_t c, double y)
{
    int M = a->opt.mixtures;
    size_t n = (size_t)(2 + 3 * M);
    double param[2 + 3 * PF_MIXTURE_CDF_MAX];
    const float *from = p->pass.out + (e * (size_t)a->moved + c) * n;
    for (size_t k = 0; k < n; k++) param[k] = (double)from[k];
    const pf_mixture_cdf m = {M, param, p->f[c], p->fm + c * (size_t)M};
    return (float)pf_mixture_cdf_inverse(&m, y);
}

/* Numbers from done[s] on of row s from y; the first of them that changed, n: none. */
static size_t solve_row(pf_argmax_inverse *v, const back *p, int s, const double *y, double *x)
{
    const pf_argmax *a = v->a;
    size_t B = (size_t)a->B, n = a->cat.D * B, per = (size_t)(2 + 3 * a->opt.mixtures);
    size_t first = n, from = (size_t)v->done[s];
    for (size_t j = from; j < n; j++) {
        size_t at = (size_t)s * n + j;
        const float *now = p->pass.out + at * per;
        float *known = v->known + at * per;
        if (from && !memcmp(now, known, per * sizeof *now)) continue;
        memcpy(known, now, per * sizeof *now);
        double z = solve(a, p, at / B, j % B, y[at]);
        if (first == n && z != x[at]) first = j;
        x[at] = z;
    }
    return first;
}

/* x from y, both [rows,D,B], all of whose numbers are mapped. */
static PF_MUST_USE pf_status undo_autoregressive(pf_argmax_inverse *v, back *p,
                                                 const pf_batch *b, const double *y, double *x)
{
    const pf_argmax *a = v->a;
    size_t B = (size_t)a->B, n = a->cat.D * B;
    int open = b->B;
    memset(x, 0, (size_t)b->B * n * sizeof *x);
    for (int s = 0; s < b->B; s++) v->done[s] = 0;
    while (open) {
        PF_TRY(look(v, p, b, x));
        open = 0;
        for (int s = 0; s < b->B; s++) {
            size_t first = (size_t)v->done[s] < n ? solve_row(v, p, s, y, x) : n;
            v->done[s] = (int)(first < n ? first + 1 : n);
            open += (size_t)v->done[s] < n;
        }
    }
    return PF_OK;
}

/* The last `moved` numbers of each entry, from what they became. */
static PF_MUST_USE pf_status undo_coupling(pf_argmax_inverse *v, back *p, const pf_batch *b,
                                           double *x)
{
    const pf_argmax *a = v->a;
    size_t B = (size_t)a->B, kept = (size_t)a->kept;
    PF_TRY(look(v, p, b, x));
    for (size_t e = 0; e < (size_t)b->B * a->cat.D; e++)
        for (size_t c = 0; c < (size_t)a->moved; c++) {
            double *at = x + e * B + kept + c;
            *at = solve(a, p, e, c, *at);
        }
    return PF_OK;
}

/* What lies before step k, of a row. */
static void undo_between(pf_argmax_inverse *v, const back *p, double *x)
{
    const pf_argmax *a = v->a;
    size_t B = (size_t)a->B, D = a->cat.D;
    memcpy(v->row, x, D * B * sizeof *x);
    for (size_t e = 0; e < D; e++) {
        const double *from = v->row + (a->opt.turn ? D - 1 - e : e) * B;
        for (size_t i = 0; i < B; i++) {
            double sum = p->turned ? 0.0 : from[i];
            for (size_t j = 0; p->turned && j < B; j++) sum += p->turned[i * B + j] * from[j];
            if (p->norm) sum = p->norm[i] + exp(p->norm[B + i]) * sum;
            x[e * B + i] = (float)sum;
        }
    }
}

pf_status pf_argmax_undo(pf_argmax_inverse *v, const pf_batch *b, double *x)
{
    const pf_argmax *a = v->a;
    size_t n = a->cat.D * (size_t)a->B;
    for (int k = a->opt.steps; k-- > 0;) {
        back *p = &v->step[k];
        if (a->opt.flow == PF_ARGMAX_COUPLING) {
            PF_TRY(undo_coupling(v, p, b, x));
        } else {
            memcpy(v->y, x, (size_t)b->B * n * sizeof *x);
            PF_TRY(undo_autoregressive(v, p, b, v->y, x));
        }
        for (int s = 0; k && s < b->B; s++) undo_between(v, p, x + (size_t)s * n);
    }
    for (size_t i = 0; i < (size_t)b->B * n; i++)
        PF_REQUIRE(isfinite(x[i]), PF_ENUMERIC, "sample %lld of the flow is not finite",
                   (long long)b->sample[i / n]);
    return PF_OK;
}
