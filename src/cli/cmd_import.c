/* probflow import: published weights become a checkpoint. */
#include "cli/common.h"

#include <probflow/published.h>

#include <probflow/experiment.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/store.h>

#include <string.h>

typedef struct job {
    pf_args args;
    const char *src, *dst;
    pf_experiment e;
    pf_published is;
    pf_net *net;
    int n_views;
    pf_param *views;
    float *flat, *params;
    pf_named from;         /* views and flat */
    char *net_text, *name; /* of the method or the SDE */
    pf_text told;          /* sections the file tells */
    pf_text text;          /* canonical */
} job;

/* Nothing is known of how an imported network was trained, and one that was trained little is
 * rough in time (its embedding has frequencies near 999): a fixed-order pair can step over the
 * oscillations without noticing, variable-order Adams does not. */
static const char careful[] =
    "likelihood: {solver: adams, rtol: 1.0e-5, atol: 1.0e-5, div_tol: 1.0e-5}\n";

/* Options are attributes with their names; may be absent: then the default stands. */
static PF_MUST_USE pf_status read_options(const job *j, const pf_opt *opts, const char *section,
                                          int may_be_absent, void *obj)
{
    pf_opt_walk w;
    for (const pf_opt *o = pf_opt_first(opts, &w); o; o = pf_opt_next(&w)) {
        char *value = NULL;
        int has = 1;
        if (may_be_absent) PF_TRY(pf_store_has_attr(j->src, o->name, &has));
        if (!has) continue;
        PF_TRY(pf_store_read_attr(j->src, o->name, &value));
        pf_status st = pf_opt_set(opts, section, o->name, value, obj);
        pf_free(value);
        if (st) return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status tell_sde(job *j)
{
    pf_sde sde;
    PF_TRY(pf_store_read_attr(j->src, "sde", &j->name));
    PF_TRY(pf_sde_init(j->name, &sde));
    PF_TRY(read_options(j, sde.ops->opts, "sde", 0, &sde.opt));
    PF_TRY(pf_config_write(&j->told, "sde", sde.ops->name, sde.ops->opts, &sde.opt));
    PF_TRY(pf_text_add(&j->told, "%s", careful));
    return PF_OK;
}

static PF_MUST_USE pf_status set_number(pf_method *m, const char *name, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.17g", value);
    PF_TRY(pf_opt_set(m->ops->opts, "method", name, text, &m->opt));
    return PF_OK;
}

/* The ladder of noise levels that the description of the network tells; its method's unit is that of images in
 * [0,1]. */
static PF_MUST_USE pf_status set_ladder(const job *j, pf_method *m)
{
    const pf_published_levels *l = &j->is.levels;
    double unit = l->rescaled ? 0.5 : 1.0;
    PF_REQUIRE(!l->logit, PF_EARG,
               "%s: the network is of logits of images (logit_transform), which are not "
               "imported",
               j->src);
    PF_TRY(set_number(m, "levels", l->n));
    if (l->first > 0.0) PF_TRY(set_number(m, "sigma_begin", unit * l->first));
    if (l->last > 0.0) PF_TRY(set_number(m, "sigma_end", unit * l->last));
    return pf_opt_set(m->ops->opts, "method", "ladder", l->uniform ? "uniform" : "geometric",
                      &m->opt);
}

/* MDLM as its authors train it. */
static PF_MUST_USE pf_status set_masked(const job *j, pf_method *m)
{
    const char *const as[][2] = {{"schedule", "loglinear"},
                                 {"estimator", "mdlm"},
                                 {"sampler", j->is.told ? "ddpm" : "ddpm_cache"},
                                 {"cond", j->is.told ? "sigma" : "none"}};
    for (int i = 0; i < 4; i++)
        PF_TRY(pf_opt_set(m->ops->opts, "method", as[i][0], as[i][1], &m->opt));
    return PF_OK;
}

/* Argmax flows, whose options are those of their network. */
static PF_MUST_USE pf_status set_flow(const job *j, pf_method *m)
{
    const pf_published_flow *f = &j->is.flow;
    const struct {
        const char *name;
        int value;
    } numbers[] = {{"steps", f->steps},
                   {"mixtures", f->mixtures},
                   {"context", f->context},
                   {"context_layers", f->layers},
                   {"context_width", f->width},
                   {"encoder_steps", f->encoder_steps},
                   {"encoder_width", f->encoder_width}};
    static const char *const channels[] = {"stay", "mix", "shuffle"};
    size_t n = sizeof numbers / sizeof *numbers - (f->encoder_steps ? 0 : 1);
    const char *const words[][2] = {{"flow", f->couples ? "coupling" : "autoregressive"},
                                    {"channels", channels[f->mixes]},
                                    {"actnorm", f->norms ? "true" : "false"},
                                    {"turn", f->turns ? "true" : "false"},
                                    {"encoder", f->couples ? "perceptron" : "lstm"}};
    for (size_t i = 0; i < n; i++) PF_TRY(set_number(m, numbers[i].name, numbers[i].value));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        PF_TRY(pf_opt_set(m->ops->opts, "method", words[i][0], words[i][1], &m->opt));
    return PF_OK;
}

/* What the description of a network tells of its method. */
static PF_MUST_USE pf_status set_known(const job *j, pf_method *m)
{
    if (j->is.levels.n) return set_ladder(j, m);
    if (j->is.flow.steps) return set_flow(j, m);
    return j->is.steps ? set_number(m, "steps", j->is.steps) : set_masked(j, m);
}

/* The method that a network is made for, NULL: it may be of many. */
static const char *known_method(const job *j)
{
    if (j->is.levels.n) return "ncsn";
    if (!j->is.symbols) return NULL;
    return j->is.flow.steps ? "argmax" : j->is.mask ? "masked" : "multinomial";
}

/* A method by name where the file has one, else the SDE; networks of noise levels and of tokens know their method. */
static PF_MUST_USE pf_status tell_method(job *j)
{
    pf_method m;
    int has, sde;
    PF_TRY(pf_store_has_attr(j->src, "method", &has));
    PF_TRY(pf_store_has_attr(j->src, "sde", &sde));
    const char *known = has || sde ? NULL : known_method(j);
    if (!has && !known) return tell_sde(j);
    if (has) PF_TRY(pf_store_read_attr(j->src, "method", &j->name));
    PF_TRY(pf_method_init(known ? known : j->name, &m));
    if (known) PF_TRY(set_known(j, &m));
    if (j->is.mask && pf_opt_find(m.ops->opts, "mask_logit").name)
        PF_TRY(pf_opt_set(m.ops->opts, "method", "mask_logit", "true", &m.opt));
    PF_TRY(read_options(j, m.ops->opts, "method", 1, &m.opt));
    PF_TRY(pf_config_write(&j->told, "method", m.ops->name, m.ops->opts, &m.opt));
    return PF_OK;
}

static PF_MUST_USE pf_status read_experiment(job *j)
{
    pf_config *c = NULL;
    const pf_model *model = &j->is.model;

    PF_TRY(pf_store_read_attr(j->src, "net", &j->net_text));
    PF_TRY(pf_published_options(j->net_text, &j->is));
    PF_TRY(pf_store_read_group(j->src, "params", &j->n_views, &j->views, &j->flat));
    j->from = (pf_named){.origin = j->src, .n = j->n_views, .views = j->views, .flat = j->flat};
    PF_TRY(pf_published_seen(&j->is, &j->from));
    PF_TRY(pf_config_write(&j->told, "model", model->ops->name, model->ops->opts, &model->opt));
    PF_TRY(tell_method(j));
    PF_TRY(pf_config_parse(j->told.s, j->src, &c));
    pf_config_stored(c);
    PF_TRY(pf_experiment_take(c, j->args.n_sets, j->args.sets, &j->e));
    PF_TRY(pf_experiment_text(&j->e, &j->text));
    return PF_OK;
}

/* Published networks are of tokens, or of images of bytes, as a method that takes levels alone sees them. */
static PF_MUST_USE pf_status make_net(job *j)
{
    const pf_method_ops *m = j->e.method.ops;
    pf_space space = {.kind = PF_REAL, .shape = j->is.shape, .classes = j->is.classes};
    if (j->is.symbols) {
        space.kind = PF_TOKENS;
        space.levels = j->is.symbols;
    } else if (j->is.levels.n || !(m->kinds >> PF_REAL & 1)) {
        space.kind = PF_LEVELS;
        space.levels = 256;
    }
    PF_TRY(pf_net_create(&j->e.model, &j->e.method, &space, &j->net));
    pf_shape out = j->net->offered.out, is = j->is.out;
    PF_REQUIRE(!is.c || pf_shape_same(out, is), PF_EARG,
               "%s: the network gives %dx%dx%d numbers for a datum, and method %s asks for "
               "%dx%dx%d: say the method and its options as attributes",
               j->src, is.h, is.w, is.c, m->name, out.h, out.w, out.c);
    return PF_OK;
}

static PF_MUST_USE pf_status convert(job *j)
{
    PF_TRY(pf_take_output(j->dst, "checkpoint", &j->src, 1));
    PF_TRY(read_experiment(j));
    PF_TRY(make_net(j));
    j->params = pf_zalloc(j->net->floats * sizeof *j->params);
    PF_REQUIRE(j->params, PF_EMEM, "no memory for the parameters of %s", j->src);
    PF_TRY(pf_match_params(j->net->n_views, j->net->views, &j->from, j->params));
    PF_TRY(pf_net_set_params(j->net, j->params));

    pf_checkpoint out = {.n_views = j->net->n_views,
                         .views = j->net->views,
                         .floats = j->net->floats,
                         .params = j->params,
                         .seed = (uint64_t)j->e.run.seed,
                         .shards = j->e.run.shards,
                         .space = j->net->space,
                         .config = j->text.s};
    PF_TRY(pf_checkpoint_write(j->dst, &out));
    pf_log("%s: %d parameter arrays, %zu values", j->dst, j->net->n_views, j->net->floats);
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    if (pf_comm_rank(c) == 0) PF_TRY(convert(j));
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    PF_TRY(pf_args_parse(argc, argv, NULL, 2, 2, &j.args));
    j.src = j.args.positional[0];
    j.dst = j.args.positional[1];
    pf_status st = pf_with_comm(body, &j);
    pf_net_free(j.net);
    pf_free(j.views);
    pf_free(j.flat);
    pf_free(j.params);
    pf_free(j.net_text);
    pf_free(j.name);
    pf_free(j.told.s);
    pf_free(j.text.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_command pf_command_import = {
    .name = "import",
    .usage = "SRC.h5 OUT.h5 [--set section.key=value]... [--quiet]",
    .help =
        "published weights -> checkpoint\n\n"
        "  SRC.h5       group params/ with the tensors under their published names; "
        "attributes:\n"
        "               net     JSON of the authors' options: nf, ch_mult, blocks, attn, size, "
        "ch, ...\n"
        "                       of score_sde_pytorch, or network "
        "(guided_diffusion.unet.UNetModel,\n"
        "                       EncoderUNetModel, improved_diffusion.unet.UNetModel,\n"
        "                       ncsn.models.cond_refinenet_dilated.CondRefineNetDilated,\n"
        "                       ncsnv2.models.ncsnv2.NCSNv2, NCSNv2Deeper, NCSNv2Deepest,\n"
        "                       multinomial_diffusion.text_diffusion.layers.transformer.\n"
        "                       LinearAttentionTransformerEmbedding, mdlm.models.dit.DIT) and "
        "the\n"
        "                       arguments of its constructor\n"
        "               sde     and its constants (beta_min, beta_max or sigma_min, "
        "sigma_max)\n"
        "               method  in place of sde, and the method's options by their names;\n"
        "                       networks of NCSN and NCSNv2 need neither: method ncsn, with "
        "the\n"
        "                       ladder of sigma_begin, sigma_end, num_classes, nor do those "
        "of\n"
        "                       tokens: multinomial, with num_timesteps; masked, loglinear\n"
        "               A list of averages without names (ema.shadow_params of MDLM) has those "
        "of\n"
        "               state_dict in the same order, buffers left out\n"
        "  --set K=V    sets a key of the checkpoint's experiment, for example\n"
        "               --set likelihood.probes=4\n\n"
        "Every name and shape is checked both ways: a missing, misshapen or left-over tensor "
        "is\n"
        "an error.",
    .run = run,
};
