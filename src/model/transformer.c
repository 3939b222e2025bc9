/* Transformers of tokens: a row of symbols, or the pixels of an image of one channel in order, to logits of each.
 *
 *     dit           embed -> ( h + g a(m(norm h)), h + g w2 gelu w1(m(norm h)) ) x depth -> linear m(norm h)
 *                   m(h) = h (1 + s) + t; the s, t and gates g of each place are linear in silu of the noise's
 *                   features; a has rotary positions.  Gates and the last map begin as 0, so the network does
 *     multinomial   h = 0;  blocks x ( h + embed + position;  depth x ( h + time;  h + a(norm h);
 *                   h + w2 gelu w1(norm h) ) ) -> linear norm h -> times rezero.alpha
 *                   time has numbers of its own for each layer of each block; of the heads of a, the first
 *                   local_heads see windows of positions, the others are linear attention
 *
 * Reads tokens and cond, the noise: sigma or a time of the masked method, 4000 i/T of the multinomial one.  Where a token
 * is below 0 there is nothing to attend to.  In place of tokens, where there are none, the numbers x of a row, of which
 * `in`, a linear map, takes the place of the table, and padding, which is below 0 where the row has ended.
 * Parameters have the published names, and begin as published.
 * Source: Sahoo et al. 2024 and published code (models/dit.py); Hoogeboom et al. 2021 and published code
 *         (text_diffusion/layers/transformer.py) with linear-attention-transformer of January 2021. */
#include <probflow/model.h>

#include <string.h>

enum { DIT, MULTINOMIAL };
enum { FEATURES = 256 }; /* of the noise, in variant dit */
static const double eps = 1e-5, rotary_base = 1e4;

typedef struct transformer {
    int variant, width, depth, heads, head_width, expand, cond_width, blocks, local_heads,
        window, rezero;
    double dropout;
} transformer;

static const char *const variants[] = {"dit", "multinomial", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT_ENUM(transformer, variant, DIT, variants, "dit, of masked diffusion language models; or multinomial, of multinomial diffusion"),
    PF_OPT(transformer, width, PF_INT, 256, 4, 65536, "channels of a position, even"),
    PF_OPT(transformer, depth, PF_INT, 6, 1, 1024, "layers; of multinomial, in each block"),
    PF_OPT(transformer, heads, PF_INT, 8, 1, 1024, "heads of attention"),
    PF_OPT(transformer, head_width, PF_INT, 0, 0, 65536, "channels a head; 0: width/heads.  dit: 0"),
    PF_OPT(transformer, expand, PF_INT, 4, 1, 64, "hidden channels of a layer's perceptron, in widths"),
    PF_OPT(transformer, cond_width, PF_INT, 128, 1, 65536, "dit: features of the noise that modulate"),
    PF_OPT(transformer, blocks, PF_INT, 1, 1, 1024, "multinomial: blocks, each of which sees the tokens anew"),
    PF_OPT(transformer, local_heads, PF_INT, 4, 0, 1024, "multinomial: heads that see their window and those beside it, at most heads"),
    PF_OPT(transformer, window, PF_INT, 128, 1, 1000000, "multinomial: positions of a window; of shorter rows, their length"),
    PF_OPT(transformer, rezero, PF_BOOL, 1, 0, 1, "multinomial: the output is multiplied by a trained number that begins as 0"),
    PF_OPT(transformer, dropout, PF_F64, 0.0, 0.0, 0.99, "share of channels dropped in training: dit, after each branch; multinomial, after attention"),
    { 0 }
};
/* clang-format on */

typedef struct net { /* under construction */
    const transformer *c;
    pf_graph *g;
    pf_node x, padding; /* tokens, or numbers and where they end */
    pf_node e;          /* [1,1,..] what is known of the noise */
    int classes;        /* of the tokens; 0: x are numbers */
} net;

typedef enum map_kind { WITH_BIAS, NO_BIAS, ZERO } map_kind;

static pf_node map(net *n, const char *name, pf_node x, int cout, map_kind kind)
{
    pf_linear_opt o = {.name = name,
                       .cout = cout,
                       .scale = kind == ZERO ? 0.0 : 1.0,
                       .init = kind == ZERO ? PF_INIT_CONST : PF_INIT_FAN_IN,
                       .no_bias = kind == NO_BIAS};
    return pf_linear_with(n->g, x, &o);
}

static pf_node norm(net *n, const char *name, pf_node x, int no_bias)
{
    return pf_layer_norm(n->g, x,
                         &(pf_layer_norm_opt){.name = name, .eps = eps, .no_bias = no_bias});
}

static pf_node dropped(net *n, pf_node x)
{
    return n->c->dropout > 0.0 ? pf_dropout(n->g, x, n->c->dropout) : x;
}

static pf_node plus(net *n, pf_node a, pf_node b)
{
    return pf_add_scale(n->g, a, b, 1.0);
}

/* ---- dit ---- */

/* Part k of `of` parts of a vector. */
static pf_node part(net *n, pf_node e, int k, int of)
{
    int c = pf_graph_shape(n->g, e).c / of;
    return pf_pick(n->g, e, k * c, 1, c);
}

static pf_node dit_layer(net *n, int layer, pf_node h)
{
    enum { SHIFT_A, SCALE_A, GATE_A, SHIFT_M, SCALE_M, GATE_M, PARTS };
    pf_graph *g = n->g;
    int w = n->c->width;
    const char *b = pf_namef(g, "blocks.%d", layer);
    pf_attend_opt how = {.heads = n->c->heads, .padding = n->padding, .rotary = rotary_base};
    pf_node e[PARTS];
    pf_node all = map(n, pf_namef(g, "%s.adaLN_modulation", b), n->e, PARTS * w, ZERO);
    for (int k = 0; k < PARTS; k++) e[k] = part(n, all, k, PARTS);

    pf_node y = norm(n, pf_namef(g, "%s.norm1", b), h, 1);
    y = pf_modulate(g, y, e[SHIFT_A], e[SCALE_A]);
    y = map(n, pf_namef(g, "%s.attn_qkv", b), y, 3 * w, NO_BIAS);
    y = pf_attend(g, y, PF_NONE, PF_NONE, &how);
    y = dropped(n, map(n, pf_namef(g, "%s.attn_out", b), y, w, NO_BIAS));
    h = pf_gate(g, h, e[GATE_A], y);

    y = norm(n, pf_namef(g, "%s.norm2", b), h, 1);
    y = pf_modulate(g, y, e[SHIFT_M], e[SCALE_M]);
    y = map(n, pf_namef(g, "%s.mlp.0", b), y, n->c->expand * w, WITH_BIAS);
    y = pf_gelu(g, y, PF_GELU_TANH);
    y = dropped(n, map(n, pf_namef(g, "%s.mlp.2", b), y, w, WITH_BIAS));
    return pf_gate(g, h, e[GATE_M], y);
}

static pf_node dit(net *n, pf_node cond, int columns)
{
    pf_graph *g = n->g;
    pf_node h = n->classes
                    ? pf_embed_table(g, "vocab_embed.embedding", n->x, n->classes, n->c->width)
                    : map(n, "in", n->x, n->c->width, WITH_BIAS);
    pf_node e =
        map(n, "sigma_map.mlp.0", pf_timestep(g, cond, FEATURES), n->c->cond_width, WITH_BIAS);
    e = map(n, "sigma_map.mlp.2", pf_silu(g, e), n->c->cond_width, WITH_BIAS);
    n->e = pf_silu(g, e);
    for (int i = 0; i < n->c->depth; i++) h = dit_layer(n, i, h);
    e = map(n, "output_layer.adaLN_modulation", n->e, 2 * n->c->width, ZERO);
    h = norm(n, "output_layer.norm_final", h, 1);
    h = pf_modulate(g, h, part(n, e, 0, 2), part(n, e, 1, 2));
    return map(n, "output_layer.linear", h, columns, ZERO);
}

/* ---- multinomial ---- */

static int head_width_of(const transformer *c)
{
    return c->head_width ? c->head_width : c->width / c->heads;
}

static int window_of(const net *n)
{
    pf_shape s = pf_graph_shape(n->g, n->padding);
    return n->c->window < s.h * s.w ? n->c->window : s.h * s.w;
}

/* The first local_heads of q, k and v see a window, the others are linear attention. */
static pf_node by_heads(net *n, const pf_node x[3])
{
    pf_graph *g = n->g;
    int d = head_width_of(n->c), local = n->c->local_heads, linear = n->c->heads - local;
    pf_attend_opt how = {
        .heads = local, .mask = PF_MASK_WINDOW, .window = window_of(n), .padding = n->padding};
    pf_node a[3] = {x[0], x[1], x[2]}, b[3] = {x[0], x[1], x[2]};
    for (int k = 0; k < 3 && local && linear; k++) {
        a[k] = pf_pick(g, x[k], 0, 1, local * d);
        b[k] = pf_pick(g, x[k], local * d, 1, linear * d);
    }
    pf_node seen = local ? pf_attend(g, a[0], a[1], a[2], &how) : PF_NONE;
    if (!linear) return seen;
    pf_node all = pf_attend_linear(g, b[0], b[1], b[2], linear, n->padding);
    return local ? pf_concat(g, seen, all) : all;
}

static pf_node multinomial_layer(net *n, const char *name, pf_node h)
{
    static const char *const to[] = {"to_q", "to_k", "to_v"};
    pf_graph *g = n->g;
    int w = n->c->width, inner = n->c->heads * head_width_of(n->c);
    const char *attn = pf_namef(g, "%s.layers.layers.0.0", name);
    const char *mlp = pf_namef(g, "%s.layers.layers.0.1", name);
    pf_node y = norm(n, pf_namef(g, "%s.norm", attn), h, 0), x[3];

    for (int k = 0; k < 3; k++)
        x[k] = map(n, pf_namef(g, "%s.fn.%s", attn, to[k]), y, inner, NO_BIAS);
    y = map(n, pf_namef(g, "%s.fn.to_out", attn), by_heads(n, x), w, WITH_BIAS);
    h = plus(n, h, dropped(n, y));

    y = norm(n, pf_namef(g, "%s.norm", mlp), h, 0);
    y = map(n, pf_namef(g, "%s.fn.fn.w1", mlp), y, n->c->expand * w, WITH_BIAS);
    y = pf_gelu(g, y, PF_GELU_ERF);
    return plus(n, h, map(n, pf_namef(g, "%s.fn.fn.w2", mlp), y, w, WITH_BIAS));
}

static pf_node multinomial(net *n, pf_node cond, int columns)
{
    pf_graph *g = n->g;
    int w = n->c->width, layers = n->c->blocks * n->c->depth;
    pf_node e = map(n, "mlp.0", pf_positional(g, cond, w), 4 * w, WITH_BIAS);
    n->e = map(n, "mlp.2", pf_softplus(g, e), layers * w, WITH_BIAS);
    pf_node h = PF_NONE, in = n->classes ? pf_embed(g, "first", n->x, n->classes, w)
                                         : map(n, "in", n->x, w, WITH_BIAS);
    in = pf_add_positions(g, in, "axial_pos_emb.weights_0", "axial_pos_emb.weights_1",
                          window_of(n));

    for (int b = 0; b < n->c->blocks; b++) {
        h = b ? plus(n, h, in) : in;
        for (int l = 0; l < n->c->depth; l++) {
            h = pf_add_channel(g, h, pf_pick(g, n->e, b * n->c->depth + l, layers, w));
            h = multinomial_layer(n, pf_namef(g, "transformer_blocks.%d.%d", b, l), h);
        }
    }
    h = map(n, "out", norm(n, "norm", h, 0), columns, WITH_BIAS);
    return n->c->rezero ? pf_scale_by(g, "rezero.alpha", h, 0.0) : h;
}

/* ---- both ---- */

static const pf_port *port_of(const pf_ports *offered, const char *name)
{
    for (int i = 0; i < offered->n; i++)
        if (!strcmp(offered->port[i].name, name)) return &offered->port[i];
    return NULL;
}

/* Tokens, or numbers where those are what is offered with an end of rows. */
static void take_row(net *n, const pf_ports *offered)
{
    const pf_port *tokens = port_of(offered, "tokens");
    int numbers = !tokens && port_of(offered, "padding");
    n->x = pf_offered(n->g, offered, numbers ? "x" : "tokens");
    n->padding = numbers ? pf_offered(n->g, offered, "padding") : n->x;
    n->classes = tokens ? tokens->classes : 0;
}

static pf_node build(const void *self, pf_graph *g, const pf_ports *offered)
{
    const transformer *c = self;
    net n = {.c = c, .g = g};
    take_row(&n, offered);
    pf_node cond = pf_offered(g, offered, "cond");
    pf_shape s = pf_graph_shape(g, n.padding);

    if (s.c > 1)
        return pf_graph_fail(
            g, PF_ESHAPE,
            "model transformer takes rows of tokens and images of one channel, "
            "not of %dx%dx%d",
            s.h, s.w, s.c);
    if (c->width % 2)
        return pf_graph_fail(g, PF_EARG, "model.width is %d, want an even number", c->width);
    if (c->width % c->heads && !(c->head_width && c->variant == MULTINOMIAL))
        return pf_graph_fail(g, PF_EARG, "model.width %d does not split into model.heads %d",
                             c->width, c->heads);
    if (c->variant == DIT) return dit(&n, cond, offered->out.c);
    if (c->local_heads > c->heads)
        return pf_graph_fail(g, PF_EARG, "model.local_heads is %d, of %d model.heads",
                             c->local_heads, c->heads);
    return multinomial(&n, cond, offered->out.c);
}

const pf_model_ops pf_model_transformer = {
    .name = "transformer",
    .help =
        "transformers of tokens: DiT of masked diffusion, and that of multinomial diffusion",
    .size = sizeof(transformer),
    .opts = opts,
    .build = build,
};
