/* net_*: networks from their authors' options, with reproducible weights: parameter number p, element i is
 *     offset[p] + amplitude[p] (2 u - 1),   u = (splitmix64(seed + p 2^32 + i) >> 11) 2^-53
 * Networks of NCSN see 2x - 1 and give twice our score; what is compared is on their scale.  Networks of tokens see whole
 * numbers, along which there is no gradient; those of a chain are told 4000 i/T.
 * Rows of channels have no t.  A masked map's weight is multiplied by its mask at use, yet its published gradient is that of
 * the whole matrix: so the network is held as it is, all but those gradients, and then with its masks gone and the
 * entries under them 0.
 * Output, gradient along the image and statistics of the parameters' gradients on every backend. */
#include "published_net.h"

#include <probflow/memory.h>
#include <probflow/plan.h>
#include <probflow/published.h>

#include "nn/graph_impl.h"

#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const backends[] = {"ref", "fast"};

/* Of float32, five times what the authors' module errs by: output and image gradient relative to the largest
 * magnitude, norms relative, sums relative to norm sqrt(size). */
typedef struct tolerances {
    double output, vjp, norm, sum;
} tolerances;

typedef struct job {
    vectors *v;
    const tolerances *allowed;
    const vectors_array *x, *t, *y, *probe, *output, *vjp, *stats, *offset, *amplitude;
    pf_published is;
    pf_graph *g;
    char **names; /* [n] of libhdf5 */
    int n, *view; /* [n] which parameter of the graph bears that name */
    float *params, *grad;
    float *in, *cond, *sigma, *out, *gout, *gin; /* one block */
    int32_t *label, *tokens;
} job;

static int of_tokens(const job *j)
{
    return j->x->rank == 2;
}

static int of_channels(const job *j)
{
    return j->x->rank == 3;
}

static size_t batch_of(const job *j)
{
    return (size_t)j->x->dim[0];
}

static PF_MUST_USE pf_status read_names(job *j)
{
    hid_t f = H5Fopen(j->v->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(f, "names", H5P_DEFAULT), type = H5Dget_type(set);
    hid_t space = H5Dget_space(set);
    int strings = type >= 0 && H5Tis_variable_str(type) > 0;
    hssize_t n = H5Sget_simple_extent_npoints(space);
    if (strings && n > 0) j->names = pf_zalloc((size_t)n * sizeof *j->names);
    if (j->names && H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, j->names) >= 0)
        j->n = (int)n;
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(set);
    H5Fclose(f);
    PF_REQUIRE(j->n > 0, PF_EFORMAT, "%s has no names of parameters", j->v->path);
    return PF_OK;
}

static PF_MUST_USE pf_status find_arrays(job *j)
{
    vectors *v = j->v;
    j->x = vectors_find(v, "x");
    j->t = vectors_find(v, "t");
    if (!j->t) j->t = vectors_find(v, "labels");
    if (!j->t) j->t = vectors_find(v, "sigma");
    j->y = vectors_find(v, "y");
    j->probe = vectors_find(v, "probe");
    j->output = vectors_find(v, "output");
    j->vjp = vectors_find(v, "vjp_x");
    j->stats = vectors_find(v, "grad_stats");
    j->offset = vectors_find(v, "offset");
    j->amplitude = vectors_find(v, "amplitude");
    PF_REQUIRE(j->x && j->probe && j->output && j->stats && j->offset && j->amplitude &&
                   (j->t == NULL) == of_channels(j) && j->probe->size == j->output->size &&
                   (of_tokens(j) ? !j->vjp
                                 : (j->x->rank == 4 || of_channels(j)) && j->vjp &&
                                       j->vjp->size == j->x->size),
               PF_EFORMAT, "%s lacks an array", v->path);
    PF_TRY(read_names(j));
    size_t n = (size_t)j->n;
    PF_REQUIRE(j->stats->size == 2 * n && j->offset->size == n && j->amplitude->size == n,
               PF_EFORMAT, "%s: want numbers for %d parameters", v->path, j->n);
    return PF_OK;
}

/* What is offered besides x. */
static pf_ports offer(const job *j)
{
    pf_ports o = {.n = 4, .out = j->is.out};
    o.port[0] = (pf_port){.name = "x", .shape = j->is.shape};
    o.port[1] = (pf_port){.name = "cond", .shape = {1, 1, 1}};
    o.port[2] = (pf_port){.name = "level", .shape = {1, 1, 1}, .classes = j->is.levels.n};
    o.port[3] = (pf_port){.name = "sigma", .shape = {1, 1, 1}};
    if (j->is.symbols) {
        pf_shape row = {1, j->is.shape.c, 1};
        o.port[0] = (pf_port){"tokens", row, 1, j->is.symbols + j->is.mask};
    }
    if (j->is.classes)
        o.port[o.n++] = (pf_port){
            .name = "label", .shape = {1, 1, 1}, .integer = 1, .classes = j->is.classes};
    return o;
}

static PF_MUST_USE pf_status build(job *j)
{
    const int64_t *d = j->x->dim;
    char *json = vectors_attr(j->v, "options");
    PF_REQUIRE(json, PF_EFORMAT, "%s has no options", j->v->path);
    j->is.shape = of_tokens(j)     ? (pf_shape){1, 1, (int)d[1]}
                  : of_channels(j) ? (pf_shape){1, (int)d[1], (int)d[2]}
                                   : (pf_shape){(int)d[1], (int)d[2], (int)d[3]};
    pf_status st = pf_published_options(json, &j->is);
    pf_free(json);
    if (st) return pf_trail(st, PF_WHERE);
    pf_ports offered = offer(j);
    PF_TRY(pf_graph_create(&j->g));
    const pf_model *m = &j->is.model;
    PF_TRY(pf_graph_finish(j->g, m->ops->build(&m->opt, j->g, &offered)));
    PF_REQUIRE((size_t)d[0] * pf_shape_entries(j->is.out) == j->output->size &&
                   (!j->t || batch_of(j) == j->t->size) &&
                   !j->y == (pf_graph_port(j->g, "label") < 0),
               PF_EFORMAT, "%s: the output of its options has another shape", j->v->path);
    return PF_OK;
}

static uint64_t splitmix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static PF_MUST_USE pf_status make_weights(job *j)
{
    const pf_param *views = pf_graph_params(j->g);
    char *text = vectors_attr(j->v, "seed");
    PF_REQUIRE(text, PF_EFORMAT, "%s has no seed", j->v->path);
    uint64_t seed = strtoull(text, NULL, 10);
    pf_free(text);
    PF_REQUIRE(pf_graph_param_count(j->g) == j->n, PF_EFORMAT,
               "%s has %d parameters, the network of its options %d", j->v->path, j->n,
               pf_graph_param_count(j->g));
    for (int p = 0; p < j->n; p++) {
        int k = p; /* mostly in our order */
        for (int i = 0; i < j->n && strcmp(views[k].name, j->names[p]); i++) k = i;
        PF_REQUIRE(!strcmp(views[k].name, j->names[p]), PF_EFORMAT,
                   "%s: parameter %s is not part of the network of its options", j->v->path,
                   j->names[p]);
        j->view[p] = k;
        for (size_t i = 0; i < views[k].size; i++) {
            uint64_t bits = splitmix(seed + ((uint64_t)p << 32) + i) >> 11;
            double u = (double)bits * 0x1p-53;
            j->params[views[k].offset + i] =
                (float)(j->offset->v[p] + j->amplitude->v[p] * (2.0 * u - 1.0));
        }
    }
    return PF_OK;
}

/* Their x, where it is not ours. */
static double slope_of(const job *j)
{
    const pf_published_levels *l = &j->is.levels;
    return l->n && !l->rescaled && !l->logit ? 2.0 : 1.0;
}

static double score_scale_of(const job *j)
{
    return j->is.levels.n ? 2.0 : 1.0;
}

static double sigma_of(const pf_published_levels *l, double label)
{
    double f = l->n > 1 ? label / (l->n - 1) : 0.0;
    if (l->uniform) return l->first + f * (l->last - l->first);
    return exp(log(l->first) + f * log(l->last / l->first));
}

static PF_MUST_USE pf_status allocate(job *j)
{
    size_t floats = pf_graph_param_floats(j->g), x = j->x->size, y = j->output->size,
           B = batch_of(j);
    j->view = pf_zalloc((size_t)j->n * sizeof *j->view);
    j->params = pf_zalloc(2 * floats * sizeof *j->params);
    j->in = pf_zalloc((3 * x + 2 * y + 3 * B) * sizeof *j->in);
    PF_REQUIRE(j->view && j->params && j->in, PF_EMEM, "no memory for %zu values", floats);
    j->grad = j->params + floats;
    j->gin = j->in + x;
    j->out = j->gin + x;
    j->gout = j->out + y;
    j->cond = j->gout + y;
    j->sigma = j->cond + B;
    j->label = (int32_t *)(j->sigma + B);
    j->tokens = j->label + B;
    double a = slope_of(j), k = score_scale_of(j);
    for (size_t i = 0; i < x; i++) j->in[i] = (float)(a * j->x->v[i] + 1.0 - a);
    for (size_t i = 0; i < x; i++) j->tokens[i] = (int32_t)j->x->v[i];
    for (size_t i = 0; i < y; i++) j->gout[i] = (float)(k * j->probe->v[i]);
    for (size_t b = 0; b < B; b++) {
        double at = j->t ? j->t->v[b] : 0.0;
        j->cond[b] = (float)(j->is.steps ? 4000.0 * at / j->is.steps : at);
        j->sigma[b] = (float)(2.0 * sigma_of(&j->is.levels, at));
        if (j->y) j->label[b] = (int32_t)j->y->v[b];
    }
    return PF_OK;
}

/* Largest difference over the largest magnitude. */
static double distance(const float *a, const vectors_array *want)
{
    double d = 0.0, m = 0.0;
    for (size_t i = 0; i < want->size; i++) {
        d = fmax(d, isfinite(a[i]) ? fabs((double)a[i] - want->v[i]) : INFINITY);
        m = fmax(m, fabs(want->v[i]));
    }
    return d / m;
}

/* Whether a view is the weight of a masked map. */
static int is_masked(const job *j, int view)
{
    for (int i = 0; i < j->g->n_node; i++)
        if (j->g->node[i].op == PF_OP_MASKED_LINEAR && j->g->node[i].param[0] == view) return 1;
    return 0;
}

/* Masked maps become maps whose weights are 0 under the mask; how many there were. */
static int take_masks_away(job *j)
{
    int n = 0;
    for (int i = 0; i < j->g->n_node; i++) {
        pf_gnode *k = &j->g->node[i];
        if (k->op != PF_OP_MASKED_LINEAR) continue;
        const pf_param *w = &j->g->param[k->param[0]];
        for (int o = 0; o < w->dim[0]; o++)
            for (int c = 0; c < w->dim[1]; c++)
                if (!pf_sees(&k->attr, o, c))
                    j->params[w->offset + (size_t)(o * w->dim[1] + c)] = 0.0f;
        k->op = PF_OP_LINEAR;
        n++;
    }
    return n;
}

/* A parameter whose norm is below 1e-6 of the largest is zero by symmetry: its norm stays as small. */
static void hold_gradients(job *j)
{
    double most = 0.0;
    for (int p = 0; p < j->n; p++) most = fmax(most, j->stats->v[2 * p + 1]);
    for (int p = 0; p < j->n; p++) {
        const pf_param *k = &pf_graph_params(j->g)[j->view[p]];
        if (is_masked(j, j->view[p])) continue;
        double sum = 0.0, square = 0.0, want = j->stats->v[2 * p + 1];
        for (size_t i = 0; i < k->size; i++) {
            double g = (double)j->grad[k->offset + i];
            sum += g;
            square += g * g;
        }
        if (want < 1e-6 * most) {
            vectors_error(j->v, sqrt(square) / most, 1e-6, "grad_stats");
            continue;
        }
        vectors_error(j->v, fabs(sqrt(square) / want - 1.0), j->allowed->norm, "grad_stats");
        vectors_error(j->v, fabs(sum - j->stats->v[2 * p]) / (want * sqrt((double)k->size)),
                      j->allowed->sum, "grad_stats");
    }
}

static PF_MUST_USE pf_status run(job *j, pf_plan *plan)
{
    pf_run r = {0};
    float *gin[PF_PORTS_MAX] = {0};
    if (!of_tokens(j)) gin[pf_graph_port(j->g, "x")] = j->gin;
    PF_TRY(pf_plan_set_params(plan, j->params));
    if (of_tokens(j)) pf_run_set(&r, j->g, "tokens", j->tokens);
    else pf_run_set(&r, j->g, "x", j->in);
    pf_run_set(&r, j->g, "cond", j->cond);
    pf_run_set(&r, j->g, "level", j->cond);
    pf_run_set(&r, j->g, "sigma", j->sigma);
    if (j->y) pf_run_set(&r, j->g, "label", j->label);
    PF_TRY(pf_plan_forward(plan, &r, j->out));
    PF_TRY(pf_plan_backward(plan, j->gout, j->grad, gin));
    for (size_t i = 0; i < j->output->size; i++) j->out[i] *= (float)score_scale_of(j);
    for (size_t i = 0; i < j->x->size; i++) j->gin[i] *= (float)slope_of(j);
    vectors_error(j->v, distance(j->out, j->output), j->allowed->output, "output");
    if (j->vjp) vectors_error(j->v, distance(j->gin, j->vjp), j->allowed->vjp, "vjp_x");
    hold_gradients(j);
    return PF_OK;
}

static PF_MUST_USE pf_status run_backends(job *j)
{
    for (int i = 0; i < 2; i++) {
        pf_plan_opt o = {.batch = (int)batch_of(j),
                         .want_in = of_tokens(j) ? 0 : 1u << pf_graph_port(j->g, "x"),
                         .want_params = 1,
                         .backend = backends[i]};
        pf_plan *plan = NULL;
        PF_TRY(pf_plan_create(j->g, &o, &plan));
        pf_status st = run(j, plan);
        pf_plan_free(plan);
        if (st) return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status check_parts(job *j)
{
    PF_TRY(find_arrays(j));
    PF_TRY(build(j));
    PF_TRY(allocate(j));
    PF_TRY(make_weights(j));
    PF_TRY(run_backends(j));
    return take_masks_away(j) ? run_backends(j) : PF_OK;
}

static PF_MUST_USE pf_status check(vectors *v, const tolerances *allowed)
{
    job j = {.v = v, .allowed = allowed};
    pf_status st = check_parts(&j);
    for (int i = 0; i < j.n; i++) H5free_memory(j.names[i]);
    pf_free(j.names);
    pf_free(j.view);
    pf_free(j.params);
    pf_free(j.in);
    pf_graph_free(j.g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status check_improved(vectors *v)
{
    return check(v, &(tolerances){1.5e-5, 2e-5, 1.2e-5, 1e-5});
}

static pf_status check_guided(vectors *v)
{
    return check(v, &(tolerances){1.2e-5, 3.5e-5, 1.5e-5, 1.5e-5});
}

static pf_status check_classifier(vectors *v)
{
    return check(v, &(tolerances){8e-6, 1.3e-5, 1e-5, 1e-5});
}

static pf_status check_ncsn(vectors *v)
{
    return check(v, &(tolerances){4e-6, 6e-6, 3e-5, 1e-5});
}

static pf_status check_ncsnv2(vectors *v)
{
    return check(v, &(tolerances){6e-6, 1.3e-5, 7e-5, 4e-5});
}

static pf_status check_transformer(vectors *v)
{
    return check(v, &(tolerances){.output = 3e-5, .norm = 1.5e-5, .sum = 1e-5});
}

static pf_status check_dit(vectors *v)
{
    return check(v, &(tolerances){.output = 2e-6, .norm = 1e-5, .sum = 1e-5});
}

static pf_status check_lstm(vectors *v)
{
    return check(v, &(tolerances){2e-6, 5e-6, 1e-5, 1e-5});
}

static const char *const inputs[] = {
    "amplitude", "offset", "names", "shapes", "module_names", "module_stats", "probe", "x", "t",
    "y",         "labels", "sigma", NULL};
const vectors_kind vectors_improved_unet = {
    .stem = "net_improved_unet", .inputs = inputs, .check = check_improved};
const vectors_kind vectors_guided_unet = {
    .stem = "net_guided_unet", .inputs = inputs, .check = check_guided};
const vectors_kind vectors_guided_classifier = {
    .stem = "net_guided_classifier", .inputs = inputs, .check = check_classifier};
const vectors_kind vectors_ncsn_net = {
    .stem = "net_ncsn", .inputs = inputs, .check = check_ncsn};
const vectors_kind vectors_ncsnv2_net = {
    .stem = "net_ncsnv2", .inputs = inputs, .check = check_ncsnv2};
const vectors_kind vectors_transformer = {
    .stem = "net_multinomial_transformer", .inputs = inputs, .check = check_transformer};
const vectors_kind vectors_dit = {.stem = "net_mdlm_dit", .inputs = inputs, .check = check_dit};
const vectors_kind vectors_lstm = {
    .stem = "net_argmax_lstm", .inputs = inputs, .check = check_lstm};
