/* gauss_steps: single steps and whole chains, drawn with the file's noise. */
#include "gauss.h"
#include "gauss_job.h"

#include <probflow/memory.h>

#include <stdlib.h>
#include <string.h>

/* What is asked of a step, by its published name. */
typedef enum task {
    TASK_NONE,
    TASK_ANCESTRAL,
    TASK_DDIM,
    TASK_ENCODE,
    TASK_MEAN,       /* the guided mean */
    TASK_NOISE_MEAN, /* mean and data of the guided noise */
    TASK_NOISE_DATA
} task;
typedef struct way {
    task task;
    int guided;
    double eta;
} way;

static way way_of(const char *name)
{
    static const struct {
        const char *name;
        way way;
    } rows[] = {{"ancestral", {TASK_ANCESTRAL, 0, 0.0}},
                {"ancestral_plain", {TASK_ANCESTRAL, 0, 0.0}},
                {"ancestral_guided", {TASK_ANCESTRAL, 1, 0.0}},
                {"ddim_reverse", {TASK_ENCODE, 0, 0.0}},
                {"encode", {TASK_ENCODE, 0, 0.0}},
                {"condition_mean", {TASK_MEAN, 1, 0.0}},
                {"condition_score_mean", {TASK_NOISE_MEAN, 1, 0.0}},
                {"condition_score_pred_xstart", {TASK_NOISE_DATA, 1, 0.0}}};
    const char *eta = strstr(name, "_eta");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name)) return rows[i].way;
    if (strncmp(name, "ddim_", 5) || !eta) return (way){TASK_NONE, 0, 0.0};
    return (way){TASK_DDIM, strstr(name, "guided") != NULL, strtod(eta + 4, NULL)};
}

/* Where a row is: index i of a chain, `number` of the whole one. */
typedef struct place {
    const pf_gauss *g;
    int i, number, v, clip;
} place;

/* to [D] <- what the way makes of x [D] with noise z and gradient g, which guided ways have. */
static void take(gauss_job *j, const gauss_affine *net, const place *at, const way *w,
                 const double *x, const double *z, const double *g, double *to)
{
    size_t D = j->D;
    pf_gauss_at a = gauss_index_of(at->g, PF_PREDICTS_NOISE, (pf_variance)at->v, at->i);
    const pf_gauss_net out = gauss_affine_at(j, net, a.opt.variance, at->number, x);
    const pf_gauss_model m = gauss_job_model(j, 0);
    const pf_gauss_move rows = {x, z, to};
    pf_gauss_predict(&a, at->clip, D, x, &out, &m);
    if (w->guided && (w->task == TASK_ANCESTRAL || w->task == TASK_MEAN))
        pf_gauss_guide_mean(&a, D, g, &m);
    else if (w->guided) pf_gauss_guide_noise(&a, D, x, g, &m);
    if (w->task == TASK_ANCESTRAL) pf_gauss_step(&a, D, &m, z, to);
    else if (w->task == TASK_DDIM) pf_gauss_ddim(&a, w->eta, D, m.x0, &rows);
    else if (w->task == TASK_ENCODE) pf_gauss_encode(&a, D, m.x0, &rows);
    else memcpy(to, w->task == TASK_NOISE_DATA ? m.x0 : m.mean, D * sizeof *to);
}

/* step/<variance>/clip<0|1>/<way>. */
static void check_step(gauss_job *j, const vectors_array *want)
{
    char variance[32], name[64];
    int clip;
    if (sscanf(want->name, "step/%31[^/]/clip%d/%63[^/]", variance, &clip, name) != 3) return;
    const vectors_array *x = vectors_find(j->v, "x"), *z = vectors_find(j->v, "noise"),
                        *g = vectors_find(j->v, "grad"), *t = vectors_find(j->v, "t");
    const way w = way_of(name);
    gauss_affine net;
    int v = gauss_word(gauss_variances, variance);
    if (!w.task || v < 0 || !gauss_affine_find(j, "net", (pf_variance)v, &net) ||
        !gauss_job_has(j, t) || !z || z->size != x->size ||
        (w.guided && !(g && g->size == x->size)))
        return;
    double *made = j->row[ROW_OUT];
    for (int b = 0; b < j->B; b++) {
        size_t at = (size_t)b * j->D;
        int i = (int)t->v[b];
        const place here = {j->g, i, i, v, clip};
        take(j, &net, &here, &w, x->v + at, z->v + at, w.guided ? g->v + at : NULL, made + at);
    }
    vectors_hold(j->v, gauss_tolerance, made, x->size, "%s", want->name);
}

/* chain/<variance>/<way>, on the part `p`: cut predictions downwards from x_T, others upwards from encode_start. */
static PF_MUST_USE pf_status check_chain(gauss_job *j, const gauss_part *p,
                                         const vectors_array *want)
{
    char variance[32], name[64];
    if (sscanf(want->name, "chain/%31[^/]/%63[^/]", variance, name) != 2) return PF_OK;
    const way w = way_of(name);
    int v = gauss_word(gauss_variances, variance), up = w.task == TASK_ENCODE, S = p->g->T;
    const vectors_array *x = vectors_find(j->v, "chain/%s/%s", variance,
                                          up ? "encode_start" : "x_T"),
                        *z = vectors_find(j->v, "chain/%s/noise", variance);
    gauss_affine net;
    if (!w.task || w.guided || v < 0 || !gauss_affine_find(j, "net", (pf_variance)v, &net) ||
        !x || x->size % j->D || !(up || (z && z->size == (size_t)S * x->size)))
        return PF_OK;
    double *made = pf_zalloc((size_t)S * x->size * sizeof *made);
    PF_REQUIRE(made, PF_EMEM, "no memory for a chain of %d steps", S);
    for (int k = 0; k < S; k++) {
        int i = up ? k : S - 1 - k;
        const place here = {p->g, i, p->map[i], v, !up};
        const double *from = k ? made + (size_t)(k - 1) * x->size : x->v;
        const double *noise = up ? NULL : z->v + (size_t)i * x->size;
        for (size_t at = 0; at < x->size; at += j->D)
            take(j, &net, &here, &w, from + at, noise ? noise + at : NULL, NULL,
                 made + (size_t)k * x->size + at);
    }
    vectors_hold(j->v, gauss_tolerance, made, (size_t)S * x->size, "%s", want->name);
    pf_free(made);
    return PF_OK;
}

static PF_MUST_USE pf_status check_chains(gauss_job *j)
{
    char group[VECTORS_NAME_MAX], *spec = vectors_attr(j->v, "spec");
    gauss_part part = {0};
    pf_status st = spec ? gauss_part_of(j->g, spec, &part) : PF_OK;
    for (int k = 0; spec && !st && k < j->v->n; k++) {
        const vectors_array *a = &j->v->all[k];
        if (!vectors_under("chain", a->name)) continue;
        if (vectors_group_of(a, "map", group, sizeof group))
            gauss_part_hold_map(j->v, &part, group);
        st = check_chain(j, &part, a);
    }
    gauss_part_drop(&part);
    pf_free(spec);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check_steps(vectors *v)
{
    gauss_job j = {0};
    pf_status st = gauss_job_prepare(&j, v, vectors_find(v, "x"));
    for (int k = 0; !st && k < v->n; k++) check_step(&j, &v->all[k]);
    if (!st) st = check_chains(&j);
    gauss_job_drop(&j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const vectors_kind vectors_gauss_steps = {
    .stem = "gauss_steps",
    .inputs = (const char *const[]){"betas", "grad", "net", "noise", "t", "x", "chain/*/x_T",
                                    "chain/*/noise", "chain/*/encode_start", NULL},
    .check = check_steps};
