/* Computation graphs of score networks: built once, independent of the batch size.
 *
 * Layout everywhere: NHWC, float32.  A per-sample vector is [1,1,C].  The builder keeps the
 * first error and turns later calls into no-ops; pf_graph_finish reports it with the operator's
 * name and the shapes.  So models read as expressions and cannot fail silently.
 *
 * Parameters are one flat block with named views, in the order they are created; names, shapes
 * and layouts are those of published score_sde_pytorch checkpoints: convolution OIHW,
 * linear [out,in], NIN [in,out]. */
#ifndef PROBFLOW_GRAPH_H
#define PROBFLOW_GRAPH_H

#include <probflow/space.h>
#include <probflow/status.h>
#include <stddef.h>
#include <stdint.h>

enum { PF_NAME_MAX = 96, PF_MAX_INPUTS = 4, PF_MAX_PARAMS = 4, PF_PORTS_MAX = 8 };

typedef struct pf_graph pf_graph;
typedef struct pf_node {
    int id; /* < 0: the graph has failed */
} pf_node;

typedef struct pf_port { /* one input of a network */
    const char *name;
    pf_shape shape; /* per sample */
    int integer;    /* 1: int32 values; 0: float */
    int classes;    /* of an integer: it is 0 .. classes-1, or -1 for none; 0: not said */
} pf_port;
typedef struct pf_ports { /* what is offered to a network, and what is asked of it */
    int n;
    pf_port port[PF_PORTS_MAX];
    pf_shape out; /* of a sample's output */
    /* Bit i: port i is what node[i] of the graph under construction returns, and no input of it. */
    unsigned bound;
    pf_node node[PF_PORTS_MAX];
} pf_ports;

typedef enum pf_init {
    PF_INIT_FAN_AVG, /* U(+-sqrt(3 scale / ((fan_in + fan_out)/2))), fans count the kernel area; scale 0 -> 1e-10 */
    PF_INIT_CONST,  /* the value `scale` */
    PF_INIT_NORMAL, /* N(0, scale^2) */
    PF_INIT_LEVELS, /* [C,L] 1/L; training puts the frequencies of the levels in its data there */
    PF_INIT_NEAR_ONE, /* N(1, scale^2) */
    PF_INIT_GAINS,    /* [..,3c] the first 2c of each row N(1, scale^2), the rest 0 */
    PF_INIT_FAN_IN, /* U(+-scale / sqrt(fan_in)), the bias too: torch.nn's linear maps and convolutions */
    PF_INIT_ROTATION,   /* [c,c] a random orthogonal matrix, as likely as any other */
    PF_INIT_PERMUTATION /* [c] 0 .. c-1 in an order as likely as any other */
} pf_init;

typedef struct pf_param { /* a named view into the flat block */
    char name[PF_NAME_MAX];
    int rank, dim[4];
    size_t offset, size; /* in floats */
    int trainable;       /* 0: fixed (Fourier frequencies) */
    pf_init init;
    double scale;
    int fan_in, fan_out;
} pf_param;

PF_MUST_USE pf_status pf_graph_create(pf_graph **out);
void pf_graph_free(pf_graph *g);
/* Reports the first error; sets the output.  After it the graph is read-only and may be shared
 * by plans and threads. */
PF_MUST_USE pf_status pf_graph_finish(pf_graph *g, pf_node output);

/* Records an error (a model's own checks); the first one wins.  Returns the failed node. */
pf_node pf_graph_fail(pf_graph *g, pf_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
pf_shape pf_graph_shape(const pf_graph *g, pf_node x);

/* Parameters.  n_params floats in all, padding excluded. */
int pf_graph_param_count(const pf_graph *g);
const pf_param *pf_graph_params(const pf_graph *g); /* [count], borrowed */
size_t pf_graph_param_floats(const pf_graph *g);
/* Fills params [floats] by each view's rule; draw = f(seed, view index, element). */
void pf_graph_init_params(const pf_graph *g, uint64_t seed, float *params);

/* printf into a static-duration buffer owned by the graph. */
const char *pf_namef(pf_graph *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- operators: y = f(x); names prefix the parameters ---------------------------------- */

/* An input of the network.  The name is copied; the same name again is the same node.
 * Fails   (the graph) when the name is empty or stands for another shape or type already; when there are
 *         more than PF_PORTS_MAX.
 * Test    a_name_is_one_input */
pf_node pf_port_node(pf_graph *g, const pf_port *p);
/* pf_port_node of the port with this name among those offered, or the node that it is bound to.  Fails (the graph) naming
 * it and what is offered. */
pf_node pf_offered(pf_graph *g, const pf_ports *o, const char *name);
/* Offers the node x under a name (borrowed), which may stand among the offered already.  So a network is built into a
 * graph on what other operators return.  Fails (the graph) when there are more than PF_PORTS_MAX.
 * Test    a_name_may_be_what_a_node_returns */
void pf_offer_node(pf_graph *g, pf_ports *o, const char *name, pf_node x);
/* Names of parameters made from now on begin with this, "" with nothing: so a network is built several times in one
 * graph.  Test  a_network_is_built_twice_under_two_prefixes */
void pf_graph_prefix(pf_graph *g, const char *prefix);
/* The inputs that the network asked for, in that order.  The index of an input is its place in pf_run.in,
 * its bit in pf_plan_opt.want_in and the place of its gradient; -1: the network does not read it. */
int pf_graph_ports(const pf_graph *g);
const pf_port *pf_graph_port_at(const pf_graph *g, int i); /* borrowed */
int pf_graph_port(const pf_graph *g, const char *name);

typedef struct pf_conv_opt {
    const char *name; /* parameters NAME.weight [cout,cin,k,k] and NAME.bias [cout] */
    int cout, kernel, stride;
    int pad_lo, pad_hi; /* zero padding above/left and below/right */
    double scale;       /* init scale */
    pf_init init;       /* FAN_AVG, NORMAL or CONST, the bias 0; FAN_IN, the bias too */
    int dilation;       /* pixels from one tap to the next; 0 or 1: they touch */
    int no_bias;        /* 1: there is no NAME.bias */
} pf_conv_opt;
pf_node pf_conv(pf_graph *g, pf_node x, const pf_conv_opt *o);
/* stride 1, "same" padding */
pf_node pf_conv_same(pf_graph *g, const char *name, pf_node x, int cout, int kernel,
                     double scale);

/* y = x W' + b on the channel axis at every pixel: NAME.weight [cout,cin], NAME.bias. */
pf_node pf_linear(pf_graph *g, const char *name, pf_node x, int cout, double scale);
/* The same with NAME.W [cin,cout], NAME.b ("network in network"). */
pf_node pf_nin(pf_graph *g, const char *name, pf_node x, int cout, double scale);

typedef struct pf_linear_opt {
    const char *name; /* parameters NAME.weight and NAME.bias [cout] */
    int cout;
    int axes; /* more axes of the weight, of length 1: [cout,cin,1] of published 1d convolutions */
    double scale; /* as of a convolution */
    pf_init init;
    int no_bias; /* 1: there is no NAME.bias */
} pf_linear_opt;
/* pf_linear, [h,w,c] to [h,w,cout], with these.  Test  unets_have_published_names_shapes_and_sizes */
pf_node pf_linear_with(pf_graph *g, pf_node x, const pf_linear_opt *o);

typedef struct pf_norm_opt {
    const char *name; /* NAME.weight, NAME.bias [c] */
    int groups;
    double eps;
    int silu;       /* 1: y = silu(norm) */
    double dropout; /* rate applied after the activation, training only */
    int scale_shift;
} pf_norm_opt;
/* Group normalisation of x, or of x + e broadcast over pixels when e [1,1,c] is given
 * (e.id < 0: none; use PF_NONE).  With scale_shift e is [1,1,2c], scales and then shifts of the channels, and
 * y = silu(norm (1 + scale) + shift).
 * Source  Dhariwal and Nichol 2021, section 3 (adaptive group normalisation).
 * Test    a_norm_is_scaled_and_shifted */
pf_node pf_group_norm(pf_graph *g, pf_node x, pf_node e, const pf_norm_opt *o);
#define PF_NONE ((pf_node){-1})

typedef struct pf_instance_norm_opt {
    const char *name;
    pf_node level; /* [1,1,1], a place in the table, may lie between two rows */
    int classes;   /* rows of the table; 0: there is none */
    double eps;
} pf_instance_norm_opt;
/* Instance normalisation ++ of x [h,w,c], c > 1: with m the mean and v the (biased) variance of a channel over the
 * pixels of a sample, M and V the mean and the unbiased variance of m over the channels,
 *     y = gamma ((x - m)/sqrt(v + eps) + alpha (m - M)/sqrt(V + eps)) + beta.
 * Without a table NAME.alpha, NAME.gamma, NAME.beta [c] are its parameters; with one they are
 * parts of a row of NAME.embed.weight [classes,3c], in the order gamma, alpha, beta, read as by pf_embed_between.
 * Fails   (the graph) with one channel, whose m has no variance; without a positive eps.
 * Source  Song and Ermon 2019, appendix A, and their published code.
 * Test    instance_norms_keep_what_tells_channels_apart */
pf_node pf_instance_norm_pp(pf_graph *g, pf_node x, const pf_instance_norm_opt *o);

pf_node pf_silu(pf_graph *g, pf_node x);
pf_node pf_relu(pf_graph *g, pf_node x); /* max(x, 0), slope 0 at 0 */
pf_node pf_elu(pf_graph *g, pf_node x);  /* x above 0, else exp(x) - 1 */
/* x above 0, else slope x, slope in [0,1).  Test  leaky_units_keep_their_slope */
pf_node pf_leaky_relu(pf_graph *g, pf_node x, double slope);
pf_node pf_dropout(pf_graph *g, pf_node x, double rate);
pf_node pf_up2(pf_graph *g, pf_node x); /* nearest neighbour, h,w doubled */
pf_node pf_down2(pf_graph *g,
                 pf_node x); /* 2x2 mean; odd h or w is an error that names the level */
/* FIR resampling with outer([1,3,3,1],[1,3,3,1])/64 * gain: zero-insert by `up`, pad lo/hi,
 * filter (true convolution), keep every `down`-th. */
typedef struct pf_fir_opt {
    int up, down, pad_lo, pad_hi;
    double gain;
} pf_fir_opt;
pf_node pf_fir(pf_graph *g, pf_node x, const pf_fir_opt *o);
typedef enum pf_pool { PF_POOL_MAX, PF_POOL_MEAN } pf_pool;
/* The largest or the mean of the kernel x kernel pixels around each, kernel odd.  Outside of the image is -infinity for
 * the largest and 0 for the mean, which divides by kernel^2 everywhere.  The gradient of a largest goes to the first of
 * equals.  Test  pools_look_at_what_is_around_each_pixel */
pf_node pf_pool_same(pf_graph *g, pf_node x, int kernel, pf_pool kind);
/* Linear interpolation to [h,w] with corners on corners: pixel i of n lies at i (m - 1)/(n - 1) of m pixels; of one
 * pixel at 0.  Fails  (the graph) below a size of 1.  Test  corners_stay_and_ramps_stay_ramps */
pf_node pf_bilinear(pf_graph *g, pf_node x, int h, int w);
/* The same numbers in the same order under another shape.  Fails (the graph) when these are not as many. */
pf_node pf_reshape(pf_graph *g, pf_node x, pf_shape shape);
pf_node pf_concat(pf_graph *g, pf_node a, pf_node b);              /* channels, a first */
pf_node pf_add_scale(pf_graph *g, pf_node a, pf_node b, double s); /* (a + b) s */
pf_node pf_add_channel(pf_graph *g, pf_node x, pf_node e);         /* x [h,w,c] + e [1,1,c] */
pf_node pf_affine(pf_graph *g, pf_node x, double a, double b);     /* a x + b */
/* softmax(q k' c^-1/2) v over all h*w pixels, one head. */
pf_node pf_attention(pf_graph *g, pf_node q, pf_node k, pf_node v);
/* The same for each of `heads` parts of the channels, from one map's output qkv [h,w,3c] to [h,w,c]: d = c/heads
 * channels a head, softmax(q k' d^-1/2) v.  The order of the 3c channels is as published:
 *   PF_PARTS_WITHIN_HEADS  the q, k and v of the first head, then those of the next ("heads,qkv")
 *   PF_HEADS_WITHIN_PARTS  the q of all heads, then the k, then the v ("qkv,heads")
 * No more than a part of the scores is in memory at a time where all of them would be many.
 * Fails   (the graph) when the channels do not split.
 * Source  Nichol and Dhariwal 2021, published code (QKVAttentionLegacy, QKVAttention).
 * Test    heads_are_attention_on_their_channels, attention_in_blocks_agrees */
typedef enum pf_heads_order { PF_PARTS_WITHIN_HEADS, PF_HEADS_WITHIN_PARTS } pf_heads_order;
pf_node pf_attention_heads(pf_graph *g, pf_node qkv, int heads, pf_heads_order order);
pf_node pf_mean(pf_graph *g, pf_node x); /* over the pixels, [1,1,c] */
/* The mean over the n = h w pixels and then these, as a row [1,n+1,c], each plus its vector of
 * NAME.positional_embedding [c,n+1].  Source  Radford et al. 2021, published code (AttentionPool2d). */
pf_node pf_tokens(pf_graph *g, const char *name, pf_node x);
pf_node pf_first(pf_graph *g, pf_node x); /* the first pixel, [1,1,c] */
/* At each pixel the row of NAME.weight [classes,width] with the number of the label, [h,w,width]; zeros for a
 * label below 0, which says that there is none.  label is an input of integers [h,w,1].
 * Fails   (the graph) without a class or width, or when label is anything else; (forward) PF_EARG naming a
 *         label that is no class.
 * Test    a_label_picks_its_row_and_none_is_zero */
pf_node pf_embed(pf_graph *g, const char *name, pf_node label, int classes, int width);
/* The same with the table NAME itself, which begins as U(+-width^-1/2).
 * Source  Sahoo et al. 2024, published code (EmbeddingLayer).  Test  published_transformers_are_matched */
pf_node pf_embed_table(pf_graph *g, const char *name, pf_node label, int classes, int width);
/* pf_embed of the port `label` among those offered, which says its classes.
 * Test    a_label_and_a_condition_change_the_output */
pf_node pf_embed_label(pf_graph *g, const char *name, const pf_ports *o, int width);
/* The row of NAME.weight [classes,width] at a real place, value [1,1,1] from 0 to classes - 1: that row at a whole
 * number, and between two the rows around it in proportion.  So a network that knows classes of noise knows what lies
 * between.  Fails  (the graph) without a class or width; (forward) PF_EARG naming a place that lies outside.
 * Test     a_place_between_rows_is_their_mixture */
pf_node pf_embed_between(pf_graph *g, const char *name, pf_node value, int classes, int width);
/* ---- of sequences: [1,L,c], positions along w; more generally all h*w pixels in order ---- */

typedef struct pf_layer_norm_opt {
    const char *name; /* NAME.weight [c], NAME.bias [c] */
    double eps;
    int rms;     /* 1: the mean is not taken away */
    int no_bias; /* 1: there is no NAME.bias */
} pf_layer_norm_opt;
/* y = weight (x - m)/sqrt(v + eps) + bias, m and v the mean and the (biased) variance of a position over its
 * channels; with rms m = 0 and v the mean square.
 * Source  Ba et al. 2016; Zhang and Sennrich 2019 (rms).
 * Test    a_layer_norm_is_of_each_position */
pf_node pf_layer_norm(pf_graph *g, pf_node x, const pf_layer_norm_opt *o);
/* x Phi(x), Phi the normal distribution, or its form 0.5 x (1 + tanh(sqrt(2/pi)(x + 0.044715 x^3))).
 * Source  Hendrycks and Gimpel 2016.  Test  gelu_and_softplus_are_what_their_names_say */
typedef enum pf_gelu_kind { PF_GELU_ERF, PF_GELU_TANH } pf_gelu_kind;
pf_node pf_gelu(pf_graph *g, pf_node x, pf_gelu_kind kind);
pf_node pf_softplus(pf_graph *g, pf_node x); /* log(1 + exp(x)) */
/* The channels first, first + step, .. of x, n of them.  Fails (the graph) when they are not there. */
pf_node pf_pick(pf_graph *g, pf_node x, int first, int step, int n);
/* x (1 + scale) + shift, with vectors [1,1,c]; h + gate y.
 * Source  Peebles and Xie 2023, section 3.2 (adaLN-Zero).
 * Test    modulation_and_gates_are_by_channel */
pf_node pf_modulate(pf_graph *g, pf_node x, pf_node shift, pf_node scale);
pf_node pf_gate(pf_graph *g, pf_node h, pf_node gate, pf_node y);
/* a x with the one trained number NAME = a, at first init. */
pf_node pf_scale_by(pf_graph *g, const char *name, pf_node x, double init);
/* Position l of x plus NAME0 [1,ceil(L/window),1,c] at l/window plus NAME1 [1,1,window,c] at l mod window; these begin
 * as N(0,1).  Source  Ho et al. 2019 (axial positions).  Test  positions_are_added_by_place */
pf_node pf_add_positions(pf_graph *g, pf_node x, const char *name0, const char *name1,
                         int window);

typedef enum pf_mask {
    PF_MASK_NONE,
    PF_MASK_CAUSAL, /* a query sees the keys up to its own position */
    PF_MASK_WINDOW  /* positions are cut into windows: its own and the two beside it */
} pf_mask;
typedef struct pf_attend_opt {
    int heads;
    pf_mask mask;
    int window; /* of PF_MASK_WINDOW; the last one may be short */
    pf_node
        padding;   /* integers [h,w,1]: where below 0 there is no key; PF_NONE: all are there */
    double rotary; /* base of rotary positions; 0: none */
} pf_attend_opt;
/* softmax(q k' d^-1/2) v over the positions for each of the heads of d = c/heads channels; q, k, v [h,w,c].  With k
 * and v PF_NONE q packs them, [h,w,3c]: the q of all heads, then the k, then the v.  Rotary positions turn q and k at
 * position l before: of a head's channels x1 (first half) and x2 (second)
 *     x1 cos(l f_k) - x2 sin(l f_k),   x2 cos(l f_k) + x1 sin(l f_k),   f_k = base^(-2k/d), k = 0 .. d/2-1.
 * A query that sees no key gives 0.  No more than a part of the scores is in memory at a time where all of them would
 * be many, and a window costs as much as its keys.
 * Fails   (the graph) when shapes or channels do not fit; (rotary) where d is odd.
 * Source  Vaswani et al. 2017; Su et al. 2021 (rotary positions).
 * Test    masks_are_softmax_over_what_is_seen, rotary_attention_depends_on_distances,
 *         masked_attention_agrees */
pf_node pf_attend(pf_graph *g, pf_node q, pf_node k, pf_node v, const pf_attend_opt *o);
/* For each head q (k' v), where q is softmax over its channels of q d^-1/4 and k is softmax over the positions of
 * k d^-1/4; positions whose padding is below 0 count in neither sum.  If there are none, 0.
 * Source  Shen et al. 2021 (efficient attention), published code of multinomial diffusion.
 * Test    linear_attention_is_two_softmaxes, linear_attention_agrees */
pf_node pf_attend_linear(pf_graph *g, pf_node q, pf_node k, pf_node v, int heads,
                         pf_node padding);

/* ---- of flows of categories ---- */

enum { PF_BITS_MAX = 30, PF_INVERTIBLE_MAX = 64 };

/* Numbers in the cell of a symbol of B bits (method argmax): of params [h,w,2B], means and then log standard deviations
 * of u, of normal noise [h,w,B] and of symbols, integers [h,w,1],
 *     u = mean + std noise,   v_b = softplus(u_b) (2 bit_b - 1),   bit 0 the most significant
 * to [h,w,B+1]: v, and the log density of v in nats.  All 0 where a symbol is below 0.  Only params have a derivative.
 * Fails   (the graph) when shapes do not fit; (forward) PF_EARG naming a symbol of 2^B or more.
 * Source  Hoogeboom et al. 2021, section 4 (binary product argmax surjection).
 * Test    bits_are_cells_with_their_density */
pf_node pf_bit_cells(pf_graph *g, pf_node params, pf_node noise, pf_node symbols);
/* The positions of x before the first whose integer [h,w,1] is below 0, in their order or from the last to the first, and 0
 * at all others.  Test  a_row_turns_within_what_is_there */
typedef enum pf_way { PF_WAY_ON, PF_WAY_BACK } pf_way;
pf_node pf_turn(pf_graph *g, pf_node x, pf_node padding, pf_way way);
/* [h,w,c] to [h,w,c+1]: W x of each position with the trained matrix NAME.weight [c,c], which begins as a rotation, and
 * then log |det W|.  Fails  (the graph) above PF_INVERTIBLE_MAX channels; (forward) PF_ENUMERIC: W has no inverse.
 * Source  Kingma and Dhariwal 2018, section 3.2.  Test  an_invertible_map_knows_its_volume */
pf_node pf_invertible(pf_graph *g, const char *name, pf_node x);
/* -log N(x; loc, exp(log_scale)) of a position, summed over its channels, in nats, [h,w,1]; NAME.loc and NAME.log_scale
 * [1,c,1] begin as 0.  Test  normal_nats_are_those_of_the_density */
pf_node pf_normal_nats(pf_graph *g, const char *name, pf_node x);
/* pf_bit_cells in two, so that steps of a flow may stand between: normal numbers u [h,w,B] and then their log density; v of
 * u and then sum_b log sigmoid(u_b), the log volume of u's way to v.  Their derivatives are of params and of u.
 * Test    a_draw_and_its_cell_are_bits */
pf_node pf_draw_normals(pf_graph *g, pf_node params, pf_node noise);
pf_node pf_cells_of(pf_graph *g, pf_node u, pf_node symbols);
/* [h,w,c] to [h,w,c+1]: shift + exp(s) x with s = 2 tanh(raw/2), and then the sum of s; params [h,w,2c] are the raw scales and
 * then the shifts.  Source  published code of argmax flows (CondAffineAR).  Test  steps_know_their_volume */
pf_node pf_bounded_map(pf_graph *g, pf_node x, pf_node params);
/* [h,w,c] to [h,w,c+1]: (x - NAME.shift) exp(-NAME.log_scale), both [1,c,1], and then minus the sum of the log scales.  It begins
 * as the identity, not as what its first batch is by: that would have to be one batch of all ranks.
 * Source  Kingma and Dhariwal 2018, section 3.1.  Test  steps_know_their_volume */
pf_node pf_act_norm(pf_graph *g, const char *name, pf_node x);
/* Channels in the fixed order NAME.permutation [c], channel i from channel p_i.  Fails  (the graph) above PF_INVERTIBLE_MAX
 * channels; (forward) PF_EARG: it is no permutation.  Test  a_shuffle_is_a_permutation */
pf_node pf_shuffle(pf_graph *g, const char *name, pf_node x);

/* ---- of autoregressive networks and flows ---- */

typedef struct pf_masked_map_opt {
    const char *name; /* parameters NAME.weight [cout,cin] and NAME.bias [cout] */
    int cout;
    const int *in, *out; /* [cin], [cout] degrees; copied */
    int same;            /* 1: an output sees the inputs of its own degree alone */
} pf_masked_map_opt;
/* pf_linear whose output o sees the inputs of degrees up to its own, or of its own degree: y = (m w) x + b, m_oi = 1
 * where in[i] <= out[o], or in[i] == out[o], else 0.  Entries of the weight under the mask count for nothing, whatever
 * they are, and have gradient 0.  Begins as torch.nn's linear maps.
 * Source  Germain et al. 2015 (MADE).
 * Test    a_masked_map_is_the_map_of_the_masked_weight, masked_maps_agree */
pf_node pf_masked_linear(pf_graph *g, pf_node x, const pf_masked_map_opt *o);
/* Position l is x at l - 1, the first is 0.  Test  a_shift_hides_each_position_from_itself */
pf_node pf_shift(pf_graph *g, pf_node x);
/* x and then, at each of its L positions, `width` channels that tell it from both ends: NAME.bias plus the columns l and
 * most + L-1-l of NAME.weight [width, 2 most].  Begins as torch.nn's linear maps.
 * Fails   (the graph) where there are more than `most` positions.
 * Source  Lippe and Gavves 2021, published code (TimeConcat).  Test  places_count_from_both_ends */
pf_node pf_concat_places(pf_graph *g, const char *name, pf_node x, int most, int width);
/* Dropout of whole positions, which are not scaled where they stay: x or 0.
 * Source  Lippe and Gavves 2021, published code (InputDropout).  Test  whole_positions_are_dropped */
pf_node pf_dropout_positions(pf_graph *g, pf_node x, double rate);

typedef struct pf_lstm_opt {
    const char *name;
    int layer;   /* k in the names of the parameters */
    int hidden;  /* h, channels of the output */
    int reverse; /* 1: from the last position to the first; parameters end in _reverse */
    pf_node
        padding; /* integers [h,w,1]: where below 0 there is nothing; PF_NONE: all is there */
} pf_lstm_opt;
/* One direction of one layer of an LSTM over the positions of x [h,w,c] in order, [h,w,hidden]:
 *     (i, f, g, o) = W x_l + b + U h_{l-1} + d,   c_l = sigmoid(f) c_{l-1} + sigmoid(i) tanh(g),
 *     h_l = sigmoid(o) tanh(c_l),   c and h begin as 0,
 * W = NAME.weight_ih_lk [4h,c], U = NAME.weight_hh_lk [4h,h], b = NAME.bias_ih_lk, d = NAME.bias_hh_lk [4h]; all begin as
 * U(+-hidden^-1/2).  Where there is nothing the state stays and the output is 0.
 * Memory  beyond the output, samples rounded up to 8: 6 hidden floats a position where these are at most 2^23 in all, the
 *         gates being kept; else hidden floats a position and the cells at about sqrt(L) of them, from which gates are
 *         computed again.
 * Source  Hochreiter and Schmidhuber 1997, Gers et al. 2000; names and order as in torch.nn.LSTM.
 * Test    an_lstm_is_its_recurrence, padding_leaves_the_state_alone, lstms_agree, long_lstms_agree */
pf_node pf_lstm(pf_graph *g, pf_node x, const pf_lstm_opt *o);

/* Each number of z [h,w,c] mapped by a mixture of logistics (mixture_cdf.h): [h,w,2c], y of all numbers and then the logs
 * ldj of their slopes.  params [h,w,c(2+3M)] holds of each number t, raw s, M logits, M means, M raw scales.
 * NAME.scaling_factor [c] and NAME.mixture_scaling_factor [c,M] begin as 0.  Computed in double.
 * Fails   (the graph) when shapes do not fit; above PF_MIXTURE_CDF_MAX logistics.
 * Source  Lippe and Gavves 2021, published code of argmax flows (AutoregressiveMixtureCDFCoupling).
 * Test    a_mixture_maps_each_number_by_its_own_parameters */
pf_node pf_mixture_map(pf_graph *g, const char *name, pf_node z, pf_node params, int mixtures);

/* The values v and m of the next six are [1,1,1] and have no derivative: a plan that is asked for a
 * gradient along one of them fails. */
/* [sin(v w_i), cos(v w_i)], w_i = exp(-i ln(10000)/(n/2-1)), n features. */
pf_node pf_positional(pf_graph *g, pf_node v, int n);
/* [cos(v w_i), sin(v w_i)], w_i = exp(-i ln(10000)/(n/2)), n features.
 * Source  Nichol and Dhariwal 2021, published code (timestep_embedding).
 * Test    time_features_are_sines_then_cosines */
pf_node pf_timestep(pf_graph *g, pf_node v, int n);
/* [sin(2 pi W log v), cos(...)], NAME.W [n] fixed ~ N(0, scale^2), 2n features. */
pf_node pf_fourier(pf_graph *g, const char *name, pf_node v, int n, double scale);
pf_node pf_divide(pf_graph *g, pf_node x, pf_node v); /* x / v */
/* exp(-2 (pi a v)^2) sin(2 pi (a x + b)): the mean of the sine when x has noise of std v, so it fades
 * once a wave drowns in the noise.  a turns a unit of x, b turns. */
pf_node pf_sine(pf_graph *g, pf_node x, pf_node v, double a, double b);
/* The noise in x when nothing is known of it but how often each level occurs: with x = m (d + v z), d
 * data of n levels on a grid in [-1,1] and p_v the density of d + v z,
 *     y = E[z | x] = -v d/du log p_v(u),   u = x / m,
 *     p_0 = n/2 w_k on [-1 + 2 k/n, -1 + 2 (k + 1)/n] for dequantised data, else sum_k w_k delta(u - point k)
 * for each entry of x, with NAME.weight [c,n] = w fixed, the frequencies of the levels in each channel.
 * x, v, m and d in model scale, y in deviations of the noise.  Points are exact at every v; from v = 8/n on
 * bins are narrow Gaussians of the same variance: for digits that errs by 1e-5 on average at v = 8/n, by 3e-4 at most,
 * 4 deviations outside the data.
 * Fails   (the graph) with fewer than 2 levels or more than 256 points; when v or m is no number a sample.
 * Source  Miyasawa 1961 (posterior mean from the score).  Test  levels_are_the_noise_expected_given_x,
 *         points_are_the_noise_expected_given_x */
typedef struct pf_levels_opt {
    const char *name;
    int levels, grid; /* pf_grid */
} pf_levels_opt;
pf_node pf_levels(pf_graph *g, pf_node x, pf_node v, pf_node m, const pf_levels_opt *o);

#endif
