/* Published networks: their authors' options as ours, so that no wrong option passes unnoticed.  A family of networks is a
 * row of `families`. */
#include "model/published_impl.h"

#include <probflow/config.h>
#include <probflow/memory.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const never[] = {"false", NULL};

static PF_MUST_USE pf_status set(described *d, const char *ours, const char *text)
{
    pf_model *m = &d->to->model;
    PF_TRY(pf_opt_set(m->ops->opts, "net", ours, text, &m->opt));
    return PF_OK;
}

static int model_has(const described *d, const char *ours)
{
    return pf_opt_find(d->to->model.ops->opts, ours).name != NULL;
}

/* ---- score_sde_pytorch ---- */

typedef struct size_opt {
    int size, ch, scale_by_sigma;
} size_opt;

/* clang-format off */
static const pf_opt size_opts[] = {
    PF_OPT(size_opt, size, PF_INT, 0, 1, 65536, "height and width"),
    PF_OPT(size_opt, ch, PF_INT, 0, 1, 4096, "channels"),
    PF_OPT(size_opt, scale_by_sigma, PF_BOOL, 0, 0, 1, "the output is divided by the noise"),
    { 0 }
};
static const key score_sde_keys[] = {
    {"nf", "width", NULL},                 {"ch_mult", "multipliers", NULL},
    {"blocks", "blocks", NULL},            {"attn", "attention", NULL},
    {"dropout", "dropout", NULL},          {"fir", "fir", NULL},
    {"skip_rescale", "skip_rescale", NULL}, {"init_scale", "init_scale", NULL},
    {"embedding", "embedding", NULL},      {"fourier_scale", "fourier_scale", NULL},
    {"progressive_input", "progressive_input", NULL},
    {"centered", "centered", NULL},        {"scale_by_sigma", "scale_by_sigma", NULL},
    {"progressive", "progressive", NULL},  {"resblock", "resblock", NULL},
    {"groups", "groups", NULL},            {"unit", "unit", NULL},
    {0}
};
/* clang-format on */

/* A network that is told no noise but the number of a level is divided by the noise of that level. */
static pf_status score_sde(described *d)
{
    static const char *const names[] = {"size", "ch", NULL};
    const char *told = pf_config_get(d->c, "embedding");
    size_opt s;
    PF_TRY(pf_published_need(d, names));
    PF_TRY(pf_config_section(d->c, "", size_opts, &s));
    d->to->shape = (pf_shape){s.size, s.size, s.ch};
    if (s.scale_by_sigma && told && !strcmp(told, "positional"))
        PF_TRY(set(d, "divisor", "sigma"));
    return PF_OK;
}

/* ---- improved_diffusion and guided_diffusion: arguments of the constructors ---- */

typedef struct guided {
    int image_size, in_channels, out_channels, model_channels, num_classes, dims,
        num_head_channels, num_heads_upsample, use_new_attention_order, use_checkpoint,
        use_fp16;
    pf_ints attention_resolutions;
    char channel_mult[PF_STR_MAX], buffers[PF_STR_MAX];
} guided;

/* clang-format off */
static const pf_opt guided_opts[] = {
    PF_OPT(guided, image_size, PF_INT, 0, 0, 65536, "height and width"),
    PF_OPT(guided, in_channels, PF_INT, 3, 1, 4096, "channels of an image"),
    PF_OPT(guided, out_channels, PF_INT, 0, 1, 1e6, "channels of the output, or classes"),
    PF_OPT(guided, model_channels, PF_INT, 0, 1, 4096, "width"),
    PF_OPT(guided, num_classes, PF_INT, 0, 1, 1e6, "classes that the network is told of"),
    PF_OPT(guided, dims, PF_INT, 2, 2, 2, "dimensions of an image"),
    PF_OPT(guided, num_head_channels, PF_INT, -1, -1, 4096, "channels a head"),
    PF_OPT(guided, num_heads_upsample, PF_INT, -1, -1, 1024, "heads on the way up"),
    PF_OPT(guided, use_new_attention_order, PF_BOOL, 0, 0, 1, "queries, keys and values outermost"),
    PF_OPT(guided, use_checkpoint, PF_BOOL, 0, 0, 1, "memory for time: no number changes"),
    PF_OPT(guided, use_fp16, PF_BOOL, 0, 0, 1, "precision of their computation"),
    PF_OPT_INTS(guided, attention_resolutions, "", 1, 65536, "factors of size at which attention is"),
    PF_OPT_STR(guided, channel_mult, "[1,2,4,8]", "multipliers"),
    PF_OPT_STR(guided, buffers, "", "their tensors that follow from the options"),
    { 0 }
};
static const key guided_keys[] = {
    {"num_res_blocks", "blocks", NULL},         {"dropout", "dropout", "0"},
    {"num_heads", "heads", "1"},                {"conv_resample", "conv_resample", "true"},
    {"use_scale_shift_norm", "scale_shift", "false"},
    {"resblock_updown", "updown", "false"},     {"pool", "pool", "adaptive"},
    {0}
};
/* clang-format on */

static int common_divisor(int a, int b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* "[0.5,1,2]" times model_channels: the channels of the levels, at most PF_INTS_MAX. */
static PF_MUST_USE pf_status channels_of(const guided *o, pf_ints *channels)
{
    const char *at = o->channel_mult + strspn(o->channel_mult, "[( ");
    while (*at && *at != ']' && *at != ')') {
        char *end;
        double m = strtod(at, &end);
        PF_REQUIRE(end > at && m > 0.0 && m <= 64.0 && channels->n < PF_INTS_MAX, PF_EARG,
                   "net.channel_mult is %s, want at most %d multipliers up to 64",
                   o->channel_mult, PF_INTS_MAX);
        channels->v[channels->n++] = (int)(m * o->model_channels);
        at = end + strspn(end, ", ");
    }
    return PF_OK;
}

/* Our multipliers are integers: where theirs are not, the width is what all channels have in common, and the
 * time keeps its features. */
static PF_MUST_USE pf_status set_widths(described *d, const guided *o, int *levels)
{
    pf_ints channels = {0};
    char text[32], list[32 * PF_INTS_MAX] = "";
    int width = o->model_channels, whole = 1;
    PF_TRY(channels_of(o, &channels));
    *levels = channels.n;
    for (int i = 0; i < channels.n; i++) whole &= channels.v[i] % width == 0;
    for (int i = 0; i < channels.n && !whole; i++) width = common_divisor(channels.v[i], width);
    for (int i = 0; i < channels.n; i++)
        snprintf(list + strlen(list), 32, "%s%d", i ? "," : "", channels.v[i] / width);
    PF_TRY(set(d, "multipliers", list));
    snprintf(text, sizeof text, "%d", width);
    PF_TRY(set(d, "width", text));
    snprintf(text, sizeof text, "%d", whole ? 0 : o->model_channels);
    PF_TRY(set(d, "embed", text));
    return PF_OK;
}

/* Factor f is half the size log2(f) times; the others are at no level. */
static PF_MUST_USE pf_status set_attention(described *d, const guided *o, int levels)
{
    char list[32 * PF_INTS_MAX] = "";
    int n = 0;
    for (int k = 0; k < levels; k++)
        for (int i = 0; i < o->attention_resolutions.n; i++)
            if (o->attention_resolutions.v[i] == 1 << k) {
                snprintf(list + strlen(list), 32, "%s%d", n++ ? "," : "", d->to->shape.w >> k);
                break;
            }
    PF_TRY(set(d, "attention", list));
    return PF_OK;
}

static PF_MUST_USE pf_status set_number(described *d, const char *ours, int n)
{
    char text[32];
    snprintf(text, sizeof text, "%d", n > 0 ? n : 0);
    return model_has(d, ours) ? set(d, ours, text) : PF_OK;
}

static PF_MUST_USE pf_status set_shape(described *d, const guided *o)
{
    pf_published *to = d->to;
    if (!to->shape.h) {
        PF_REQUIRE(o->image_size > 0, PF_EFORMAT,
                   "the network's description lacks 'image_size'");
        to->shape = (pf_shape){o->image_size, o->image_size, o->in_channels};
    }
    PF_REQUIRE(to->shape.c == o->in_channels, PF_EFORMAT,
               "the network's in_channels is %d, and images have %d", o->in_channels,
               to->shape.c);
    to->out = to->shape;
    to->out.c = o->out_channels;
    to->classes = o->num_classes;
    if (!model_has(d, "pool")) return PF_OK;
    to->out.h = to->out.w = 1;
    to->classes = o->out_channels;
    return PF_OK;
}

static pf_status guided_rest(described *d)
{
    guided o;
    int levels = 0;
    PF_TRY(pf_config_section(d->c, "", guided_opts, &o));
    PF_REQUIRE(o.model_channels && o.out_channels, PF_EFORMAT,
               "the network's description lacks '%s'",
               o.model_channels ? "out_channels" : "model_channels");
    PF_TRY(set_shape(d, &o));
    PF_TRY(set_widths(d, &o, &levels));
    PF_TRY(set_attention(d, &o, levels));
    PF_TRY(set_number(d, "head_channels", o.num_head_channels));
    PF_TRY(set_number(d, "heads_up", o.num_heads_upsample));
    PF_TRY(set(d, "order", o.use_new_attention_order ? "qkv_first" : "heads_first"));
    PF_REQUIRE(!o.num_classes || model_has(d, "label"), PF_EARG,
               "this network is not told of classes: num_classes has no use");
    if (o.num_classes) PF_TRY(set(d, "label", "true"));
    return PF_OK;
}

/* ---- ncsn and ncsnv2: what the constructors read of their configuration ---- */

typedef struct ncsn {
    int channels, image_size, num_classes, logit_transform, rescaled, normalization,
        nonlinearity, spec_norm, sigma_dist;
    double sigma_begin, sigma_end;
    char buffers[PF_STR_MAX];
} ncsn;

static const char *const instance_norm[] = {"InstanceNorm++", NULL};
static const char *const elu[] = {"elu", NULL};
static const char *const spacings[] = {"geometric", "uniform", NULL};

/* clang-format off */
static const pf_opt ncsn_opts[] = {
    PF_OPT(ncsn, channels, PF_INT, 0, 1, 4096, "channels of an image"),
    PF_OPT(ncsn, image_size, PF_INT, 0, 0, 65536, "height and width"),
    PF_OPT(ncsn, num_classes, PF_INT, 0, 1, 1e6, "levels of noise"),
    PF_OPT(ncsn, logit_transform, PF_BOOL, 0, 0, 1, "images are logits"),
    PF_OPT(ncsn, rescaled, PF_BOOL, 0, 0, 1, "images are in [-1,1]"),
    PF_OPT_ENUM(ncsn, normalization, 0, instance_norm, "norms"),
    PF_OPT_ENUM(ncsn, nonlinearity, 0, elu, "activation"),
    PF_OPT_ENUM(ncsn, spec_norm, 0, never, "spectral norms"),
    PF_OPT_ENUM(ncsn, sigma_dist, 0, spacings, "spacing of the levels"),
    PF_OPT(ncsn, sigma_begin, PF_F64, 0, 0, 1e6, "largest standard deviation of noise"),
    PF_OPT(ncsn, sigma_end, PF_F64, 0, 0, 1e6, "smallest standard deviation of noise"),
    PF_OPT_STR(ncsn, buffers, "", "their tensors that follow from the options"),
    { 0 }
};
static const key ncsn_keys[] = {{"ngf", "width", NULL}, {0}};
/* clang-format on */

static PF_MUST_USE pf_status set_variant(described *d)
{
    static const char *const words[][2] = {{"CondRefineNetDilated", "ncsn"},
                                           {"NCSNv2", "v2"},
                                           {"NCSNv2Deeper", "deeper"},
                                           {"NCSNv2Deepest", "deepest"}};
    const char *class = strrchr(pf_config_get(d->c, "network"), '.') + 1;
    for (int i = 0; i < 4; i++)
        if (!strcmp(class, words[i][0])) PF_TRY(set(d, "variant", words[i][1]));
    return PF_OK;
}

static pf_status ncsn_rest(described *d)
{
    ncsn o;
    pf_published *to = d->to;
    PF_TRY(pf_config_section(d->c, "", ncsn_opts, &o));
    PF_REQUIRE(o.channels && o.num_classes && pf_config_get(d->c, "ngf"), PF_EFORMAT,
               "the network's description lacks '%s'",
               !o.channels      ? "channels"
               : !o.num_classes ? "num_classes"
                                : "ngf");
    PF_REQUIRE(to->shape.h || o.image_size, PF_EFORMAT,
               "the network's description lacks 'image_size'");
    if (!to->shape.h) to->shape = (pf_shape){o.image_size, o.image_size, o.channels};
    PF_REQUIRE(to->shape.c == o.channels, PF_EFORMAT,
               "the network's channels are %d, and images have %d", o.channels, to->shape.c);
    to->out = to->shape;
    to->levels = (pf_published_levels){.n = o.num_classes,
                                       .first = o.sigma_begin,
                                       .last = o.sigma_end,
                                       .uniform = o.sigma_dist,
                                       .rescaled = o.rescaled,
                                       .logit = o.logit_transform};
    return set_variant(d);
}

/* ---- multinomial_diffusion and mdlm: arguments of the constructors ---- */

typedef struct text {
    int input_dim, output_dim, max_seq_len, num_timesteps, causal, one_kv_head, reversible,
        ff_chunks, ff_glu, blindspot_size, return_embeddings, receives_context, pkm_num_keys,
        attend_axially;
    double ff_dropout, attn_dropout;
    pf_ints pkm_layers;
    int vocab_size, length, scale_by_sigma, tie_word_embeddings, time_conditioning;
    char buffers[PF_STR_MAX], name[PF_STR_MAX], type[PF_STR_MAX];
} text;

/* clang-format off */
static const pf_opt multinomial_opts[] = {
    PF_OPT(text, input_dim, PF_INT, 0, 1, 65536, "symbols"),
    PF_OPT(text, output_dim, PF_INT, 0, 1, 65536, "logits a position"),
    PF_OPT(text, max_seq_len, PF_INT, 0, 1, 1e6, "positions"),
    PF_OPT(text, num_timesteps, PF_INT, 0, 1, 1e6, "steps of the chain"),
    PF_OPT_ENUM(text, causal, 0, never, "keys before a query alone"),
    PF_OPT_ENUM(text, one_kv_head, 0, never, "keys and values of one head"),
    PF_OPT_ENUM(text, reversible, 0, never, "two streams"),
    PF_OPT(text, ff_chunks, PF_INT, 1, 1, 65536, "memory for time: no number changes"),
    PF_OPT_ENUM(text, ff_glu, 0, never, "gated perceptrons"),
    PF_OPT(text, ff_dropout, PF_F64, 0, 0, 0, "dropped of a perceptron's hidden channels"),
    PF_OPT(text, attn_dropout, PF_F64, 0, 0, 0, "dropped of attention"),
    PF_OPT(text, blindspot_size, PF_INT, 1, 1, 65536, "of causal attention alone"),
    PF_OPT_ENUM(text, return_embeddings, 0, never, "no last map"),
    PF_OPT_ENUM(text, receives_context, 0, never, "attention to another row"),
    PF_OPT_INTS(text, pkm_layers, "", 1, 65536, "layers with product keys"),
    PF_OPT(text, pkm_num_keys, PF_INT, 128, 1, 65536, "of product keys"),
    PF_OPT_ENUM(text, attend_axially, 0, never, "attention along axes"),
    PF_OPT_STR(text, buffers, "", "their tensors that follow from the options"),
    { 0 }
};
static const key multinomial_keys[] = {
    {"dim", "width", NULL},                    {"depth", "depth", NULL},
    {"n_blocks", "blocks", NULL},              {"heads", "heads", "8"},
    {"dim_head", "head_width", "0"},           {"n_local_attn_heads", "local_heads", "0"},
    {"local_attn_window_size", "window", "128"}, {"attn_layer_dropout", "dropout", "0"},
    {0}
};
static const pf_opt dit_opts[] = {
    PF_OPT(text, vocab_size, PF_INT, 0, 2, 65536, "symbols and the mask"),
    PF_OPT(text, length, PF_INT, 0, 0, 1e6, "positions"),
    PF_OPT(text, scale_by_sigma, PF_BOOL, 1, 0, 1, "read and not used by the network"),
    PF_OPT(text, time_conditioning, PF_BOOL, 0, 0, 1, "the network is told sigma, else zeros"),
    PF_OPT_STR(text, name, "", "of the section model of its configuration"),
    PF_OPT_STR(text, type, "ddit", "of the same"),
    PF_OPT_ENUM(text, tie_word_embeddings, 0, never, "one table in and out"),
    PF_OPT_STR(text, buffers, "", "their tensors that follow from the options"),
    { 0 }
};
static const key dit_keys[] = {
    {"hidden_size", "width", NULL},  {"n_blocks", "depth", NULL},  {"n_heads", "heads", NULL},
    {"cond_dim", "cond_width", NULL}, {"dropout", "dropout", "0"}, {0}
};
/* clang-format on */

/* Rows of this length, or of what is known of it. */
static PF_MUST_USE pf_status set_row(described *d, int length, int symbols, int columns)
{
    pf_published *to = d->to;
    PF_REQUIRE(to->shape.h || length, PF_EFORMAT, "the network's description lacks 'length'");
    if (!to->shape.h) to->shape = (pf_shape){1, 1, length};
    to->symbols = symbols;
    to->out = (pf_shape){1, to->shape.c, columns};
    return PF_OK;
}

static pf_status multinomial_rest(described *d)
{
    static const char *const names[] = {"input_dim", "output_dim",  "dim",           "depth",
                                        "n_blocks",  "max_seq_len", "num_timesteps", NULL};
    text o;
    PF_TRY(pf_published_need(d, names));
    PF_TRY(pf_config_section(d->c, "", multinomial_opts, &o));
    PF_REQUIRE(!o.pkm_layers.n, PF_EARG,
               "net.pkm_layers: layers with product keys are unknown");
    d->to->steps = o.num_timesteps;
    PF_TRY(set(d, "variant", "multinomial"));
    PF_TRY(set(d, "rezero", "false"));
    return set_row(d, o.max_seq_len, o.input_dim, o.output_dim);
}

static pf_status dit_rest(described *d)
{
    static const char *const names[] = {"vocab_size", "hidden_size", "n_blocks",
                                        "n_heads",    "cond_dim",    NULL};
    text o;
    PF_TRY(pf_published_need(d, names));
    PF_TRY(pf_config_section(d->c, "", dit_opts, &o));
    d->to->mask = 1;
    d->to->told = o.time_conditioning;
    PF_TRY(set(d, "variant", "dit"));
    return set_row(d, o.length, o.vocab_size - 1, o.vocab_size);
}

/* ---- all of them ---- */

static const char *const guided_null[] = {"num_classes", NULL};
static const char *const multinomial_null[] = {"dim_head", "linformer_settings",
                                               "context_linformer_settings", NULL};
static const char *const no_null[] = {NULL};

/* clang-format off */
static const family families[] = {
    {NULL, "ddpmpp", score_sde_keys, score_sde, no_null},
    {"improved_diffusion.unet.UNetModel", "unet", guided_keys, guided_rest, guided_null},
    {"guided_diffusion.unet.UNetModel", "unet", guided_keys, guided_rest, guided_null},
    {"guided_diffusion.unet.EncoderUNetModel", "encoder", guided_keys, guided_rest, guided_null},
    {"ncsn.models.cond_refinenet_dilated.CondRefineNetDilated", "refinenet", ncsn_keys, ncsn_rest, no_null},
    {"ncsnv2.models.ncsnv2.NCSNv2", "refinenet", ncsn_keys, ncsn_rest, no_null},
    {"ncsnv2.models.ncsnv2.NCSNv2Deeper", "refinenet", ncsn_keys, ncsn_rest, no_null},
    {"ncsnv2.models.ncsnv2.NCSNv2Deepest", "refinenet", ncsn_keys, ncsn_rest, no_null},
    {"multinomial_diffusion.text_diffusion.layers.transformer.LinearAttentionTransformerEmbedding", "transformer", multinomial_keys, multinomial_rest, multinomial_null},
    {"mdlm.models.dit.DIT", "transformer", dit_keys, dit_rest, no_null},
    {"argmax_flows.model.CategoricalNF.networks.autoregressive_layers.AutoregressiveLSTMModel", "lstm", pf_argmax_step_keys, pf_argmax_step, no_null},
    {"argmax_flows.model.ar.flow.ArgmaxARFlow", "lstm", pf_argmax_flow_keys, pf_argmax_autoregressive, pf_argmax_null},
    {"argmax_flows.model.coupling.flow.ArgmaxCouplingFlow", "lstm", pf_argmax_flow_keys, pf_argmax_coupling, pf_argmax_null},
};
/* clang-format on */
enum { FAMILIES = sizeof families / sizeof *families };

static PF_MUST_USE pf_status family_of(const char *network, const family **f)
{
    const char *names[FAMILIES] = {0};
    for (int i = 0; i < FAMILIES; i++) {
        *f = &families[i];
        if (!network ? !(*f)->network : (*f)->network && !strcmp(network, (*f)->network))
            return PF_OK;
        if (i > 0) names[i - 1] = (*f)->network;
    }
    return pf_unknown("network", network, names);
}

static PF_MUST_USE pf_status describe(described *d)
{
    const family *f;
    PF_TRY(family_of(pf_config_get(d->c, "network"), &f));
    PF_TRY(pf_model_init(f->model, &d->to->model));
    for (const key *k = f->keys; k->theirs; k++) {
        const char *text = pf_config_get(d->c, k->theirs);
        if (!text && k->absent && model_has(d, k->ours)) text = k->absent;
        if (text) PF_TRY(set(d, k->ours, text));
    }
    PF_TRY(f->rest(d));
    PF_TRY(pf_config_check(d->c, f->nullable));
    return PF_OK;
}

pf_status pf_published_options(const char *json, pf_published *out)
{
    described d = {.to = out};
    out->classes = out->symbols = 0;
    out->mask = out->told = out->steps = 0;
    out->levels = (pf_published_levels){0};
    out->out = (pf_shape){0, 0, 0};
    out->flow = (pf_published_flow){0};
    PF_TRY(pf_config_parse_but(json, "network description", "fixed", &d.c));
    pf_status st = describe(&d);
    pf_config_free(d.c);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
