/* Recurrent networks of sequences.
 *
 *     features       x [1,L,C] -> gelu, gelu of linear maps -> with the place from both ends -> one position later ->
 *                    LSTM x depth -> gelu linear = f;   of each channel c, with a_k = gelu of a map of (x_k, elu x_k, elu -x_k)
 *                    of channel k alone:   out_c = map_c gelu map_c (f, a_0 .. a_{c-1})
 *                    so out_c at position l knows what lies before l, and of l the channels before c: the parameters of an
 *                    autoregressive flow, out.c / C of each channel
 *     bidirectional  embed tokens -> ( h + noise -> LSTM forwards | LSTM backwards ) x depth -> linear
 *                    noise: two linear maps of its features, the second one to all positions; a denoiser of tokens
 *     coupling       x -> gelu, gelu of linear maps -> with the place from both ends -> LSTM forwards | LSTM backwards, x depth
 *                    -> gelu linear -> linear: the parameters of a coupling, of numbers x of a row that padding ends
 *
 * features reads x and is no denoiser: it never sees position l itself.  bidirectional reads tokens and cond; where a token
 * is below 0 there is nothing.  Parameters of features and coupling have the published names and begin as published.
 * Source: Lippe and Gavves 2021; Hoogeboom et al. 2021 and published code of argmax flows (AutoregressiveLSTMModel,
 *         CouplingLSTMModel); Schuster and
 *         Paliwal 1997 (both directions). */
#include <probflow/memory.h>
#include <probflow/model.h>

#include <string.h>

enum { BIDIRECTIONAL, FEATURES, COUPLING };
enum { NOISE = 256 }; /* features of the noise, in variant bidirectional */

typedef struct lstm {
    int variant, width, depth, places;
    double dropout, input_dropout;
} lstm;

static const char *const variants[] = {"bidirectional", "features", "coupling", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT_ENUM(lstm, variant, BIDIRECTIONAL, variants, "bidirectional, a denoiser of tokens; features, of autoregressive flows; coupling, of flows of couplings"),
    PF_OPT(lstm, width, PF_INT, 512, 8, 65536, "channels of a layer; of bidirectional an even number, half of them in each direction"),
    PF_OPT(lstm, depth, PF_INT, 2, 1, 64, "layers"),
    PF_OPT(lstm, places, PF_INT, 0, 0, 1000000, "features, coupling: positions of the longest row, 0: as many as there are"),
    PF_OPT(lstm, dropout, PF_F64, 0.0, 0.0, 0.99, "share of channels dropped in training after the layers"),
    PF_OPT(lstm, input_dropout, PF_F64, 0.0, 0.0, 0.99, "share of positions whose input is dropped in training"),
    { 0 }
};
/* clang-format on */

typedef struct net { /* under construction */
    const lstm *c;
    pf_graph *g;
    const char *prefix; /* of all names, with its dot */
    int channels, per;  /* channels of x, numbers for each of them */
} net;

static const char *named(const net *n, const char *name)
{
    return pf_namef(n->g, "%s%s", n->prefix, name);
}

static pf_node map(const net *n, const char *name, pf_node x, int cout)
{
    pf_linear_opt o = {
        .name = named(n, name), .cout = cout, .scale = 1.0, .init = PF_INIT_FAN_IN};
    return pf_linear_with(n->g, x, &o);
}

static pf_node gelu(const net *n, pf_node x)
{
    return pf_gelu(n->g, x, PF_GELU_ERF);
}

static pf_node dropped(const net *n, pf_node x)
{
    return n->c->dropout > 0.0 ? pf_dropout(n->g, x, n->c->dropout) : x;
}

/* ---- features ---- */

/* Degrees of n channels: those of whole blocks one after the other, the first `before` channels below all of them. */
typedef struct degrees {
    int n, before, block, first;
} degrees;

static void fill(const degrees *d, int *to)
{
    for (int i = 0; i < d->n; i++)
        to[i] = i < d->before ? d->first - 1 : d->first + (i - d->before) / d->block;
}

/* A map of channels with degrees. */
static pf_node masked(const net *n, const char *name, pf_node x, degrees in, degrees out,
                      int same)
{
    int *d = pf_zalloc((size_t)(in.n + out.n) * sizeof *d);
    if (!d) return pf_graph_fail(n->g, PF_EMEM, "no memory for %d degrees", in.n + out.n);
    fill(&in, d);
    fill(&out, d + in.n);
    pf_masked_map_opt o = {named(n, name), out.n, d, d + in.n, same};
    pf_node y = pf_masked_linear(n->g, x, &o);
    pf_free(d);
    return y;
}

/* x_c, elu x_c and elu -x_c beside each other, for all channels but the last. */
static pf_node bent(const net *n, pf_node x)
{
    pf_graph *g = n->g;
    int seen = n->channels - 1;
    x = pf_pick(g, x, 0, 1, seen);
    pf_node all =
        pf_concat(g, pf_concat(g, x, pf_elu(g, x)), pf_elu(g, pf_affine(g, x, -1.0, 0.0)));
    pf_node y = pf_pick(g, all, 0, seen, 3);
    for (int c = 1; c < seen; c++) y = pf_concat(g, y, pf_pick(g, all, c, seen, 3));
    return y;
}

/* The published widths of the channels' own features: 9/16 of f, shared by the channels, from 1 to 96. */
static int own_width(int f, int seen)
{
    int width = (int)(f * 9.0 / 16.0 / seen);
    return width < 1 ? 1 : width > 96 ? 96 : width;
}

static pf_node by_channel(const net *n, pf_node x, pf_node f)
{
    int wide = pf_graph_shape(n->g, f).c, C = n->channels, seen = C - 1;
    int own = own_width(wide, seen), hidden = wide / 2;
    degrees bends = {3 * seen, 0, 3, 0}, owns = {own * seen, 0, own, 0};
    degrees known = {wide + own * seen, wide, own, 1}, hiddens = {hidden * C, 0, hidden, 0};
    degrees outs = {n->per * C, 0, n->per, 0};
    pf_node a = gelu(n, masked(n, "out_layer.in_to_features", bent(n, x), bends, owns, 1));
    a = pf_concat(n->g, f, a);
    a = gelu(n, masked(n, "out_layer.features_to_hidden", a, known, hiddens, 0));
    return masked(n, "out_layer.hidden_to_out", a, hiddens, outs, 1);
}

/* Numbers and where they are. */
static pf_node placed(const net *n, pf_node x)
{
    pf_graph *g = n->g;
    pf_shape s = pf_graph_shape(g, x);
    int w = n->c->width, place = w / 8, L = s.h * s.w;
    pf_node h = gelu(n, map(n, "input_embed.0", x, w / 2));
    h = gelu(n, map(n, "input_embed.2", h, w / 2 - place));
    if (n->c->input_dropout > 0.0) h = pf_dropout_positions(g, h, n->c->input_dropout);
    return pf_concat_places(g, named(n, "time_concat.time_embed_layer"), h,
                            n->c->places ? n->c->places : L, place);
}

/* The network on a node, with names that begin with its prefix. */
static pf_node features_on(const net *n, pf_node x)
{
    pf_graph *g = n->g;
    int w = n->c->width;
    pf_node h = pf_shift(g, placed(n, x));
    for (int l = 0; l < n->c->depth; l++) {
        pf_lstm_opt o = {named(n, "lstm_module"), l, w, 0, PF_NONE};
        h = pf_lstm(g, h, &o);
    }
    h = gelu(n, map(n, "net.1", dropped(n, h), w / 2));
    return by_channel(n, x, dropped(n, h));
}

static pf_node features(net *n, const pf_ports *offered)
{
    pf_node x = pf_offered(n->g, offered, "x");
    n->channels = pf_graph_shape(n->g, x).c;
    n->per = offered->out.c / n->channels;
    n->prefix = "lstm_model.";
    if (n->channels < 2 || n->per * n->channels != offered->out.c)
        return pf_graph_fail(n->g, PF_ESHAPE,
                             "model lstm gives as many numbers to each of at least 2 channels, "
                             "not %d to %d",
                             offered->out.c, n->channels);
    return features_on(n, x);
}

/* ---- bidirectional ---- */

static int classes_of(const pf_ports *offered, const char *name)
{
    for (int i = 0; i < offered->n; i++)
        if (!strcmp(offered->port[i].name, name)) return offered->port[i].classes;
    return 0;
}

static pf_node bidirectional(net *n, const pf_ports *offered)
{
    pf_graph *g = n->g;
    pf_node tokens = pf_offered(g, offered, "tokens"), cond = pf_offered(g, offered, "cond");
    pf_shape s = pf_graph_shape(g, tokens);
    int w = n->c->width, depth = n->c->depth;
    n->prefix = "";
    if (w % 2) return pf_graph_fail(g, PF_EARG, "model.width is %d, want an even number", w);
    if (s.c > 1)
        return pf_graph_fail(
            g, PF_ESHAPE,
            "model lstm takes rows of tokens and images of one channel, not of "
            "%dx%dx%d",
            s.h, s.w, s.c);
    pf_node h = pf_embed(g, "embed", tokens, classes_of(offered, "tokens"), w);
    pf_node e = pf_silu(g, map(n, "noise.0", pf_timestep(g, cond, NOISE), w));
    e = map(n, "noise.2", e, depth * w);
    if (n->c->input_dropout > 0.0) h = pf_dropout_positions(g, h, n->c->input_dropout);
    for (int l = 0; l < depth; l++) {
        pf_lstm_opt o = {"lstm", l, w / 2, 0, tokens};
        h = pf_add_channel(g, h, pf_pick(g, e, l * w, 1, w));
        pf_node forwards = pf_lstm(g, h, &o);
        o.reverse = 1;
        h = pf_concat(g, forwards, pf_lstm(g, h, &o));
    }
    return map(n, "out", dropped(n, h), offered->out.c);
}

/* ---- coupling ---- */

static pf_node coupling(net *n, const pf_ports *offered)
{
    pf_graph *g = n->g;
    pf_node padding = pf_offered(g, offered, "padding");
    int w = n->c->width;
    n->prefix = "lstm_model.";
    pf_node h = placed(n, pf_offered(g, offered, "x"));
    for (int l = 0; l < n->c->depth; l++) {
        pf_lstm_opt o = {named(n, "lstm_module"), l, w, 0, padding};
        pf_node forwards = pf_lstm(g, h, &o);
        o.reverse = 1;
        h = pf_concat(g, forwards, pf_lstm(g, h, &o));
    }
    h = gelu(n, map(n, "net.1", dropped(n, h), w));
    return map(n, "net.4", dropped(n, h), offered->out.c);
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    net n = {.c = self, .g = g};
    if (n.c->variant == COUPLING) return coupling(&n, offered);
    return n.c->variant == FEATURES ? features(&n, offered) : bidirectional(&n, offered);
}

static int causal(const void *self)
{
    return ((const lstm *)self)->variant == FEATURES;
}

const pf_model_ops pf_model_lstm = {
    .name = "lstm",
    .help =
        "recurrent networks: of both directions for tokens, and that of autoregressive flows",
    .size = sizeof(lstm),
    .opts = opts,
    .build = build,
    .causal = causal,
};
