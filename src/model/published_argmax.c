/* Published argmax flows: the network of one step by itself, and whole flows, autoregressive and of couplings, with their encoder. */
#include "model/published_impl.h"

#include <stdio.h>
#include <string.h>

static PF_MUST_USE pf_status set(described *d, const char *ours, const char *text)
{
    pf_model *m = &d->to->model;
    PF_TRY(pf_opt_set(m->ops->opts, "net", ours, text, &m->opt));
    return PF_OK;
}

/* ---- the network of one step of an autoregressive flow ---- */

typedef struct step {
    int c_in, c_out, num_mixtures, max_seq_len, direction;
    char buffers[PF_STR_MAX];
} step;

/* clang-format off */
static const pf_opt step_opts[] = {
    PF_OPT(step, c_in, PF_INT, 0, 2, 65536, "channels of a position"),
    PF_OPT(step, c_out, PF_INT, 0, 2, 1e7, "numbers a position"),
    PF_OPT(step, num_mixtures, PF_INT, 0, 1, 65536, "logistics, where c_out is c_in (2 + 3 num_mixtures)"),
    PF_OPT(step, max_seq_len, PF_INT, 0, 1, 1e6, "positions"),
    PF_OPT(step, direction, PF_INT, 0, 0, 0, "1: from the end of a row, as no published network reads it"),
    PF_OPT_STR(step, buffers, "", "their tensors that follow from the options"),
    { 0 }
};
const key pf_argmax_step_keys[] = {
    {"hidden_size", "width", NULL}, {"num_layers", "depth", "1"}, {"dp_rate", "dropout", "0"},
    {"input_dp_rate", "input_dropout", "0"}, {"max_seq_len", "places", NULL}, {0}
};
/* clang-format on */

pf_status pf_argmax_step(described *d)
{
    static const char *const names[] = {"c_in", "c_out", "hidden_size", "max_seq_len", NULL};
    step o;
    PF_TRY(pf_published_need(d, names));
    PF_TRY(pf_config_section(d->c, "", step_opts, &o));
    PF_REQUIRE(!o.num_mixtures || (double)o.c_out == o.c_in * (2.0 + 3.0 * o.num_mixtures),
               PF_EFORMAT, "net.c_out is %d, want c_in (2 + 3 num_mixtures), %.0f", o.c_out,
               o.c_in * (2.0 + 3.0 * o.num_mixtures));
    if (!d->to->shape.h) d->to->shape = (pf_shape){1, o.max_seq_len, o.c_in};
    PF_REQUIRE(d->to->shape.c == o.c_in, PF_EFORMAT,
               "the network's channels are %d, and positions have %d", o.c_in, d->to->shape.c);
    d->to->out = (pf_shape){1, d->to->shape.w, o.c_out};
    return set(d, "variant", "features");
}

/* ---- whole flows ---- */

typedef struct whole {
    pf_ints data_shape;
    int num_classes, num_steps, num_mixtures, actnorm, perm_channel, perm_length, base_dist;
    int encoder_steps, encoder_bins, encoder_ff_size, context_size;
    int context_lstm_layers, context_lstm_size, context_ff_layers, context_ff_size;
    double lstm_dropout, context_dropout;
    char buffers[PF_STR_MAX];
} whole;

static const char *const channel_words[] = {"none", "conv", "shuffle", NULL};
static const char *const length_words[] = {"none", "reverse", NULL};
static const char *const base_words[] = {"conv_gauss", NULL};

/* clang-format off */
static const pf_opt whole_opts[] = {
    PF_OPT_INTS(whole, data_shape, "", 1, 1000000, "1 and the positions of a row"),
    PF_OPT(whole, num_classes, PF_INT, 0, 2, 65536, "symbols"),
    PF_OPT(whole, num_steps, PF_INT, 0, 1, 64, "steps of the flow"),
    PF_OPT(whole, num_mixtures, PF_INT, 27, 1, 256, "logistics"),
    PF_OPT(whole, actnorm, PF_BOOL, 0, 0, 1, "maps of each channel that begin by their data"),
    PF_OPT_ENUM(whole, perm_channel, 0, channel_words, "channels between two steps"),
    PF_OPT_ENUM(whole, perm_length, 1, length_words, "rows between two steps"),
    PF_OPT_ENUM(whole, base_dist, 0, base_words, "density of what the flow gives"),
    PF_OPT(whole, encoder_steps, PF_INT, 0, 0, 64, "steps of a flow of the encoder's own"),
    PF_OPT(whole, encoder_bins, PF_INT, 0, 0, 1e6, "of these steps, where they are splines"),
    PF_OPT(whole, encoder_ff_size, PF_INT, 0, 0, 65536, "channels of the networks of these steps"),
    PF_OPT(whole, context_size, PF_INT, 0, 1, 65536, "features of the encoder"),
    PF_OPT(whole, context_lstm_layers, PF_INT, 1, 1, 64, "layers of the encoder"),
    PF_OPT(whole, context_lstm_size, PF_INT, 0, 1, 65536, "their width in each direction"),
    PF_OPT(whole, context_ff_layers, PF_INT, 1, 0, 64, "layers of the encoder of couplings"),
    PF_OPT(whole, context_ff_size, PF_INT, 0, 1, 65536, "their width"),
    PF_OPT(whole, lstm_dropout, PF_F64, 0.0, 0.0, 0.99, "between the layers of the encoder in training"),
    PF_OPT(whole, context_dropout, PF_F64, 0.0, 0.0, 0.99, "in the encoder of couplings in training"),
    PF_OPT_STR(whole, buffers, "", "their tensors that follow from the options"),
    { 0 }
};
const key pf_argmax_flow_keys[] = {
    {"lstm_size", "width", NULL}, {"lstm_layers", "depth", "1"}, {"input_dp_rate", "input_dropout", "0"}, {0}
};
/* clang-format on */
const char *const pf_argmax_null[] = {"encoder_bins", NULL};

/* Those of autoregressive flows are splines, those of couplings where their bins are told. */
static PF_MUST_USE pf_status check_encoder(const whole *o, int couples)
{
    PF_REQUIRE(!o->encoder_steps || couples, PF_EARG,
               "net.encoder_steps is %d: steps of the encoder of an autoregressive flow are "
               "splines, which are not imported",
               o->encoder_steps);
    PF_REQUIRE(
        !o->encoder_steps || !o->encoder_bins, PF_EARG,
        "net.encoder_bins is %d: steps of the encoder that are splines are not imported, "
        "those that are affine (null) are",
        o->encoder_bins);
    PF_REQUIRE(!o->encoder_steps || o->encoder_ff_size, PF_EFORMAT,
               "the network's description lacks 'encoder_ff_size'");
    return PF_OK;
}

/* encoder_steps has no default that both of their sides agree in, so it is asked for. */
static PF_MUST_USE pf_status read_whole(described *d, int couples)
{
    const char *const names[] = {"data_shape",
                                 "num_classes",
                                 "num_steps",
                                 "encoder_steps",
                                 "context_size",
                                 "lstm_size",
                                 couples ? "context_ff_size" : "context_lstm_size",
                                 NULL};
    whole o;
    char places[32];
    PF_TRY(pf_published_need(d, names));
    PF_TRY(pf_config_section(d->c, "", whole_opts, &o));
    PF_REQUIRE(o.data_shape.n == 2 && o.data_shape.v[0] == 1, PF_EARG,
               "net.data_shape wants 1 and the positions of a row, two numbers");
    PF_TRY(check_encoder(&o, couples));
    int L = o.data_shape.v[1];
    d->to->symbols = o.num_classes;
    if (!d->to->shape.h) d->to->shape = (pf_shape){1, 1, L};
    d->to->flow =
        (pf_published_flow){.steps = o.num_steps,
                            .couples = couples,
                            .mixtures = o.num_mixtures,
                            .turns = o.perm_length,
                            .mixes = o.perm_channel,
                            .norms = o.actnorm,
                            .context = o.context_size,
                            .layers = couples ? o.context_ff_layers : o.context_lstm_layers,
                            .width = couples ? o.context_ff_size : o.context_lstm_size,
                            .encoder_steps = o.encoder_steps,
                            .encoder_width = o.encoder_steps ? o.encoder_ff_size : 0};
    snprintf(places, sizeof places, "%d", L);
    PF_TRY(set(d, "places", places));
    return set(d, "variant", couples ? "coupling" : "features");
}

pf_status pf_argmax_autoregressive(described *d)
{
    return read_whole(d, 0);
}

pf_status pf_argmax_coupling(described *d)
{
    return read_whole(d, 1);
}
