/* Argmax flows: what is drawn, shown and lost in training; see argmax.h.
 *
 *     loss = (log q(v | x) - log p(v))/(n log 2),     n the entries that are no padding
 *
 * which is minus the bound in bits an entry, of one draw of v.  Encoder and flow are one graph, so that gradients go
 * through v to the encoder; sums over entries are in double.
 *
 * Source: Hoogeboom et al. 2021, section 4, and their published code. */
#include "method/argmax.h"

#include <probflow/memory.h>

#include <math.h>
#include <string.h>

enum { ENCODER_WIDTH = 1024 }; /* published default */

static const char *const flows[] = {"autoregressive", "coupling", NULL};
static const char *const channel_words[] = {"stay", "mix", "shuffle", NULL};
static const char *const encoders[] = {"lstm", "perceptron", NULL};
static const char *const unused_words[] = {"redraw", "last", NULL};

/* clang-format off */
static const pf_opt opts[] = {
    PF_OPT_ENUM(pf_argmax_opt, flow, PF_ARGMAX_AUTOREGRESSIVE, flows, "autoregressive, over entries and their bits, which wants a model that is; coupling, the first half of the bits conditions the others"),
    PF_OPT(pf_argmax_opt, steps, PF_INT, 1, 1, 64, "steps of the flow, each with a network of its own"),
    PF_OPT(pf_argmax_opt, mixtures, PF_INT, 27, 1, 256, "logistics of which a step's distribution functions are mixed"),
    PF_OPT(pf_argmax_opt, turn, PF_BOOL, 1, 0, 1, "between two steps rows are turned around"),
    PF_OPT_ENUM(pf_argmax_opt, channels, PF_ARGMAX_CHANNELS_STAY, channel_words, "between two steps the bits of an entry stay; mix, by an invertible matrix; shuffle, in an order that is drawn once"),
    PF_OPT_ENUM(pf_argmax_opt, encoder, PF_ARGMAX_LSTM, encoders, "what the encoder knows of a symbol: lstm, those around it, in both directions; perceptron, itself alone"),
    PF_OPT(pf_argmax_opt, context, PF_INT, 128, 1, 65536, "features that the encoder draws by"),
    PF_OPT(pf_argmax_opt, context_layers, PF_INT, 1, 0, 64, "layers of the encoder's network, of lstm one at least"),
    PF_OPT(pf_argmax_opt, context_width, PF_INT, 512, 1, 65536, "channels of these layers, of lstm in each direction"),
    PF_OPT(pf_argmax_opt, context_dropout, PF_F64, 0.0, 0.0, 0.99, "share of channels dropped in training before each layer of encoder perceptron"),
    PF_OPT(pf_argmax_opt, draws, PF_INT, 1, 1, 4096, "of an evaluation: draws of which a bound is the logarithm of their mean"),
    PF_OPT_ENUM(pf_argmax_opt, unused, PF_ARGMAX_REDRAW, unused_words, "samples with codes that are no symbol: redraw, the row is drawn again; last, the last symbol takes the place of the code"),
    PF_OPT_QUIET(pf_argmax_opt, actnorm, PF_BOOL, 0, 0, 1, "between two steps each bit has a place and a scale of its own, which begin as 0 and 1"),
    PF_OPT_QUIET(pf_argmax_opt, encoder_steps, PF_INT, 0, 0, 64, "steps of a flow of the encoder's own, behind its normal numbers: maps of each bit that its context and the bits before it make"),
    PF_OPT_QUIET(pf_argmax_opt, encoder_width, PF_INT, ENCODER_WIDTH, 1, 65536, "channels of the networks of these steps"),
    { 0 }
};
/* clang-format on */

/* What see keeps of a sample for loss. */
typedef struct seen {
    int32_t n, none;
} seen;

static void close_all(void *self)
{
    pf_free(self);
}

/* log q, nats, and the volumes of steps, of what is between them, and of the way from u to v where the encoder has steps. */
static int columns_of(const pf_argmax *a)
{
    const pf_argmax_opt *o = &a->opt;
    int between = (o->channels == PF_ARGMAX_CHANNELS_MIX) + o->actnorm, own = o->encoder_steps;
    return 2 + o->steps * a->moved + (o->steps - 1) * between +
           (own ? own + (own - 1) * between + 1 : 0);
}

static PF_MUST_USE pf_status open_into(pf_argmax *a, const pf_space *space)
{
    PF_TRY(pf_cat_open(space, "argmax", &a->cat));
    a->B = pf_argmax_bits(a->cat.K);
    int coupling = a->opt.flow == PF_ARGMAX_COUPLING;
    PF_REQUIRE(!coupling || a->B > 1, PF_EARG,
               "method.flow=coupling parts the bits of a symbol, and %d symbols have one",
               a->cat.K);
    PF_REQUIRE(a->opt.encoder != PF_ARGMAX_LSTM || a->opt.context_layers > 0, PF_EARG,
               "method.context_layers is 0, want 1 at least for method.encoder=lstm");
    PF_REQUIRE(a->opt.encoder_steps || a->opt.encoder_width == ENCODER_WIDTH, PF_EARG,
               "method.encoder_width is of the steps of the encoder's own flow, and "
               "method.encoder_steps is 0");
    a->kept = coupling ? a->B / 2 : a->B;
    a->moved = coupling ? a->B - a->kept : a->B;
    a->columns = columns_of(a);
    a->bytes = sizeof(seen);
    return PF_OK;
}

static pf_status open(const void *opt, const pf_space *space, void **self)
{
    pf_argmax *a = pf_zalloc(sizeof *a);
    PF_REQUIRE(a, PF_EMEM, "no memory for a method");
    a->opt = *(const pf_argmax_opt *)opt;
    pf_status st = open_into(a, space);
    if (st) {
        close_all(a);
        return pf_trail(st, PF_WHERE);
    }
    *self = a;
    return PF_OK;
}

/* Levels are a row in the order of their values. */
static void ports(const void *self, pf_ports *offered)
{
    const pf_argmax *a = self;
    int D = (int)a->cat.D;
    *offered = (pf_ports){.n = PF_ARGMAX_PORTS,
                          .port = {[PF_ARGMAX_TOKENS] = {"tokens", {1, D, 1}, 1, a->cat.K},
                                   [PF_ARGMAX_NOISE] = {.name = "noise", .shape = {1, D, a->B}},
                                   [PF_ARGMAX_COND] = {.name = "cond", .shape = {1, 1, 1}}},
                          .out = {1, D, a->columns}};
}

static size_t scratch_bytes(const void *self)
{
    return ((const pf_argmax *)self)->bytes;
}

static void see(const void *self, const pf_batch *b, void *scratch, void *const *in)
{
    const pf_argmax *a = self;
    for (int s = 0; s < b->B; s++) {
        seen *r = (seen *)((char *)scratch + (size_t)s * a->bytes);
        const pf_draw d = {b->seed, b->eval ? PF_STREAM_EVAL_NOISE : PF_STREAM_NOISE,
                           b->sample[s], 0};
        r->n = pf_argmax_show(a, b, s, &d, in);
    }
}

static void loss(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout)
{
    const pf_argmax *a = self;
    size_t columns = (size_t)a->columns, row = a->cat.D * columns;
    for (int s = 0; s < b->B; s++) {
        int n = ((const seen *)((const char *)scratch + (size_t)s * a->bytes))->n;
        double reduce = n ? 1.0 / (n * M_LN2) : 0.0;
        double each = reduce * (b->weight ? scale * b->weight[s] : scale);
        float *g = gout ? gout + (size_t)s * row : NULL;
        term[s] = reduce * pf_argmax_nats(a, n, net + (size_t)s * row);
        for (size_t i = 0; g && i < row; i++)
            g[i] = i / columns < (size_t)n ? (float)(each * pf_argmax_side((int)(i % columns)))
                                           : 0.0f;
    }
}

/* How a trained network is evaluated and sampled. */
static const char *const free_keys[] = {"draws", "unused", NULL};

static const pf_acts acts[] = {{"context_dropout", "encoder", "perceptron"}, {0}};

const pf_method_ops pf_method_argmax = {
    .name = "argmax",
    .help = "flows whose signs are the bits of categories (Hoogeboom et al. 2021)",
    .size = sizeof(pf_argmax_opt),
    .opts = opts,
    .kinds = 1u << PF_TOKENS | 1u << PF_LEVELS,
    .grids = 1u << PF_GRID_PUBLISHED,
    .free_keys = free_keys,
    .acts = acts,
    .open = open,
    .close = close_all,
    .ports = ports,
    .build = pf_argmax_build,
    .scratch = scratch_bytes,
    .see = see,
    .loss = loss,
    .chain = pf_argmax_chain,
};
