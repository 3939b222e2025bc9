/* The sections of a configuration, typed and checked together. */
#include <probflow/experiment.h>
#include <probflow/memory.h>

#include <string.h>

static const char *const precisions[] = {"f32", "bf16", NULL};
static const char *const recomputes[] = {"none", "norms", "blocks", NULL};
static const char *const overlaps[] = {"no", "yes", "hosts", NULL};
static const char *const devices[] = {"cpu", "gpu", NULL};
static const char *const sections[] = {"data",  "method",     "sde",    "model", "objective",
                                       "train", "likelihood", "sample", NULL};

/* clang-format off */
const pf_opt pf_train_opts[] = {
    PF_OPT(pf_train_opt, steps, PF_I64, 100000, 1, 1e12, "optimiser steps"),
    PF_OPT(pf_train_opt, batch, PF_INT, 128, 1, 1048576, "samples a step, over all ranks; a multiple of shards"),
    PF_OPT(pf_train_opt, lr, PF_F64, 2e-4, 0, 10, "learning rate of Adam"),
    PF_OPT(pf_train_opt, beta1, PF_F64, 0.9, 0, 0.999999, "decay of the first moment"),
    PF_OPT(pf_train_opt, beta2, PF_F64, 0.999, 0, 0.99999999, "decay of the second moment"),
    PF_OPT(pf_train_opt, eps, PF_F64, 1e-8, 1e-30, 1, "added to the root of the second moment"),
    PF_OPT(pf_train_opt, warmup, PF_I64, 5000, 0, 1e12, "steps over which the rate grows from 0"),
    PF_OPT(pf_train_opt, decay, PF_I64, 0, 0, 1e12, "last steps, over which the rate falls to 0; 0: it stays"),
    PF_OPT(pf_train_opt, clip, PF_F64, 1, 0, 1e30, "largest global gradient norm; 0: no limit"),
    PF_OPT(pf_train_opt, ema, PF_F64, 0.9999, 0, 1, "decay of the averaged parameters, which are evaluated"),
    PF_OPT(pf_train_opt, ema_warmup, PF_BOOL, 1, 0, 1, "the n-th update of the average uses min(ema, (1 + n)/(10 + n)), so that it forgets the initial values soon"),
    PF_OPT(pf_train_opt, eval_every, PF_I64, 1000, 0, 1e12, "steps between evaluation losses; 0: never"),
    PF_OPT(pf_train_opt, log_every, PF_I64, 50, 1, 1e12, "steps between rows of metrics"),
    PF_OPT(pf_train_opt, checkpoint_every, PF_I64, 5000, 0, 1e12, "steps between checkpoints; 0: only the last"),
    PF_OPT(pf_train_opt, eval_images, PF_INT, 1024, 0, 1e9, "images of the evaluation loss, the first of its split"),
    PF_OPT_STR(pf_train_opt, eval_split, "", "split of the evaluation loss; empty: valid where there is one, else test"),
    PF_OPT(pf_train_opt, keep, PF_INT, 2, 1, 1e9, "newest checkpoints kept"),
    PF_OPT(pf_train_opt, keep_every, PF_I64, 0, 0, 1e12, "checkpoints of multiples of this step are kept too; 0: none"),
    PF_OPT(pf_train_opt, max_hours, PF_F64, 0.0, 0.0, 1e6, "time limit of one call, which then writes a checkpoint and exits with 75; 0: none"),
    PF_OPT_ENUM(pf_train_opt, overlap, PF_OVERLAP_HOSTS, overlaps, "exchange gradients between ranks while the backward pass goes on; hosts: where ranks are on several hosts, since within one the copy takes the time of cores"),
    PF_OPT_ENUM(pf_train_opt, precision, 0, precisions, "arithmetic of the training network's products; sums, parameters and all else are f32"),
    PF_OPT_ENUM(pf_train_opt, recompute, 0, recomputes, "what backward computes again instead of keeping it, for the same bits in less memory: norms (a few % more time) or whole residual blocks (a fifth)"),
    PF_OPT_ENUM(pf_train_opt, device, 0, devices, "where the network runs"),
    PF_OPT_QUIET(pf_train_opt, drop_conditions, PF_F64, 0.0, 0.0, 1.0, "share of the samples whose label and conditions the network is not told, so that it learns the density without them too"),
    { 0 }
};

const pf_opt pf_run_opts[] = {
    PF_OPT_STR(pf_run_opt, name, "run", "name of the experiment"),
    PF_OPT(pf_run_opt, seed, PF_I64, 42, 0, 9e18, "seed of initialisation, data order and noise"),
    PF_OPT(pf_run_opt, shards, PF_INT, 8, 1, 65536, "parts of the batch and the data; a power of two; ranks must divide it"),
    { 0 }
};
/* clang-format on */

/* The name of a section that chooses a plugin, or the default. */
static PF_MUST_USE pf_status plugin_name(pf_config *c, const char *section, const char *def,
                                         const char **name)
{
    char key[64];
    snprintf(key, sizeof key, "%s.name", section);
    *name = pf_config_get(c, key);
    if (!*name) *name = def;
    PF_REQUIRE(*name, PF_EARG, "%s is missing; a run must name it", key);
    return PF_OK;
}

static PF_MUST_USE pf_status read_plugins(pf_config *c, pf_experiment *e)
{
    const char *name;
    const pf_sampler_ops *sampler;
    PF_TRY(pf_method_read(c, &e->method));
    PF_TRY(plugin_name(c, "model", NULL, &name));
    PF_TRY(pf_model_init(name, &e->model));
    PF_TRY(pf_config_section(c, "model", e->model.ops->opts, &e->model.opt));
    PF_TRY(plugin_name(c, "sample", e->method.ops->score ? "ode" : "chain", &name));
    PF_TRY(pf_sampler_find(name, &sampler));
    snprintf(e->sampler, sizeof e->sampler, "%s", sampler->name);
    PF_TRY(pf_config_section(c, "sample", pf_sample_opts, &e->sample));
    return PF_OK;
}

/* The network learned nothing of times below the one it was trained from. */
static PF_MUST_USE pf_status check_t_min(const pf_config *c, pf_experiment *e)
{
    double trained = pf_method_t_min(&e->method), *t = &e->likelihood.ode.t_min;
    int given = pf_config_given(c, "likelihood.t_min");
    if (!e->model.ops->build || *t >= trained) return PF_OK;
    PF_REQUIRE(
        !given, PF_EARG,
        "likelihood.t_min is %g, but the network is trained from objective.t_min, %g, on; "
        "want at least that",
        *t, trained);
    if (!pf_config_is_stored(c)) *t = trained;
    return PF_OK;
}

/* What a method without a score leaves open only one answer to, where nothing is said. */
static PF_MUST_USE pf_status follow_method(pf_config *c, pf_experiment *e)
{
    const pf_method_ops *m = e->method.ops;
    int said = pf_config_get(c, "data.grid") || pf_config_get(c, "data.uniform_dequantisation");
    if (!m->score && !pf_config_get(c, "likelihood.estimand"))
        PF_TRY(pf_opt_set(pf_likelihood_opts, "likelihood", "estimand", "vlb", &e->likelihood));
    if (!m->grids || m->grids >> e->data.grid & 1) return PF_OK;
    int grid = 0;
    while (!(m->grids >> grid & 1)) grid++;
    PF_REQUIRE(!said, PF_EARG,
               "data.grid is %s, but method %s takes levels as %s; set data.grid=%s",
               pf_grid_words[e->data.grid], m->name, pf_grid_words[grid], pf_grid_words[grid]);
    e->data.grid = grid;
    return PF_OK;
}

/* The levels that a model knows of lie where those of its training data do. */
static PF_MUST_USE pf_status follow_grid(const pf_config *c, pf_experiment *e)
{
    const char *of_data = pf_grid_words[e->data.grid];
    const pf_opt *rows = e->model.ops->opts;
    pf_opt o = pf_opt_find(rows, "grid"), levels = pf_opt_find(rows, "levels");
    char text[PF_STR_MAX];
    if (!o.name || !levels.name || pf_config_is_stored(c)) return PF_OK;
    int given = pf_config_given(c, "model.grid");
    PF_REQUIRE(!given || !pf_opt_is_default(&levels, &e->model.opt), PF_EARG,
               "model.grid tells where the levels of model.levels lie, which is not set");
    pf_opt_text(&o, &e->model.opt, text, sizeof text);
    PF_REQUIRE(!given || !strcmp(text, of_data), PF_EARG,
               "model.grid is %s, but data.grid is %s; leave model.grid out, it follows", text,
               of_data);
    if (!pf_opt_is_default(&levels, &e->model.opt))
        PF_TRY(pf_opt_set(rows, "model", "grid", of_data, &e->model.opt));
    return PF_OK;
}

/* A scale of its own for an embedding that has none; the default may stand there, as in a text of all
 * keys. */
static PF_MUST_USE pf_status check_embedding(const pf_config *c, const pf_experiment *e)
{
    char scale[PF_STR_MAX], embedding[PF_STR_MAX];
    pf_model fresh;
    pf_opt o = pf_opt_find(e->model.ops->opts, "fourier_scale"),
           kind = pf_opt_find(e->model.ops->opts, "embedding");
    if (!o.name || !kind.name || !pf_config_given(c, "model.fourier_scale")) return PF_OK;
    pf_opt_text(&kind, &e->model.opt, embedding, sizeof embedding);
    pf_opt_text(&o, &e->model.opt, scale, sizeof scale);
    PF_TRY(pf_model_init(e->model.ops->name, &fresh));
    char usual[PF_STR_MAX];
    pf_opt_text(&o, &fresh.opt, usual, sizeof usual);
    PF_REQUIRE(
        !strcmp(embedding, "fourier") || !strcmp(scale, usual), PF_EARG,
        "model.fourier_scale is %s, but model.embedding is %s and has no frequencies; set "
        "model.embedding=fourier",
        scale, embedding);
    return PF_OK;
}

static PF_MUST_USE pf_status check(const pf_experiment *e)
{
    int s = e->run.shards;
    PF_REQUIRE((s & (s - 1)) == 0, PF_EARG, "shards is %d; want a power of two", s);
    PF_REQUIRE(e->train.batch % s == 0, PF_EARG,
               "train.batch is %d, which does not divide by %d shards", e->train.batch, s);
    PF_TRY(pf_likelihood_check(&e->likelihood));
    PF_REQUIRE(e->train.device == 0, PF_ENOSUPP,
               "train.device is gpu, which this build has no kernels for; use cpu");
    return PF_OK;
}

pf_status pf_experiment_read(pf_config *c, pf_experiment *out)
{
    memset(out, 0, sizeof *out);
    PF_TRY(pf_config_section(c, "", pf_run_opts, &out->run));
    PF_TRY(pf_config_section(c, "data", pf_data_opts, &out->data));
    PF_TRY(read_plugins(c, out));
    PF_TRY(pf_config_section(c, "train", pf_train_opts, &out->train));
    PF_TRY(pf_config_section(c, "likelihood", pf_likelihood_opts, &out->likelihood));
    PF_TRY(pf_config_check(c, sections));
    out->given.attention = pf_config_given(c, "model.attention");
    out->given.ema_warmup = pf_config_given(c, "train.ema_warmup");
    if (pf_config_is_stored(c) && !pf_config_get(c, "train.ema_warmup"))
        out->train.ema_warmup = 0;
    PF_TRY(follow_method(c, out));
    PF_TRY(check_t_min(c, out));
    PF_TRY(check_embedding(c, out));
    PF_TRY(follow_grid(c, out));
    PF_TRY(check(out));
    return PF_OK;
}

pf_status pf_experiment_take(pf_config *c, int n_sets, const char *const *sets,
                             pf_experiment *out)
{
    pf_status st = PF_OK;
    for (int i = 0; !st && i < n_sets; i++) st = pf_config_set(c, sets[i]);
    if (!st) st = pf_experiment_read(c, out);
    pf_config_free(c);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status write_all(const pf_experiment *e, pf_text *t)
{
    PF_TRY(pf_config_write(t, "", NULL, pf_run_opts, &e->run));
    PF_TRY(pf_config_write(t, "data", NULL, pf_data_opts, &e->data));
    PF_TRY(pf_method_write(&e->method, 0, t));
    PF_TRY(pf_config_write(t, "model", e->model.ops->name, e->model.ops->opts, &e->model.opt));
    PF_TRY(pf_method_write(&e->method, 1, t));
    PF_TRY(pf_config_write(t, "train", NULL, pf_train_opts, &e->train));
    PF_TRY(pf_config_write(t, "likelihood", NULL, pf_likelihood_opts, &e->likelihood));
    PF_TRY(pf_config_write(t, "sample", e->sampler, pf_sample_opts, &e->sample));
    return PF_OK;
}

pf_status pf_experiment_text(const pf_experiment *e, pf_text *out)
{
    *out = (pf_text){0};
    pf_status st = write_all(e, out);
    if (st) {
        pf_free(out->s);
        *out = (pf_text){0};
        return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

/* A model says by an option of that name whether it reads labels or conditions. */
static int reads(const pf_model *m, const char *name)
{
    pf_opt o = pf_opt_find(m->ops->opts, name);
    return o.name && o.kind == PF_BOOL && *(const int *)((const char *)&m->opt + o.offset);
}

pf_status pf_experiment_space(const pf_experiment *e, pf_dataset *d, pf_space *out)
{
    const pf_dataset_info *a = pf_dataset_about(d);
    int labels = reads(&e->model, "label"), conditions = reads(&e->model, "condition"), n;
    PF_REQUIRE(!labels || a->has_labels, PF_EARG,
               "model.label is true, but the rows of %s have no labels; convert the data with "
               "them, or set model.label=false",
               e->data.path);
    PF_REQUIRE(
        !conditions || a->space.conditions, PF_EARG,
        "model.condition is true, but the rows of %s have no conditions; convert the data "
        "with --condition, or set model.condition=false",
        e->data.path);
    PF_REQUIRE(
        e->train.drop_conditions == 0.0 || labels || conditions, PF_EARG,
        "train.drop_conditions is %g, but the network reads neither labels nor conditions; "
        "set model.label or model.condition",
        e->train.drop_conditions);
    if (labels || e->method.ops->labels) PF_TRY(pf_dataset_classes(d, &n));
    *out = pf_dataset_about(d)->space;
    return PF_OK;
}
