/* What the U-net and the encoder of improved and guided diffusion are made of.  Names of parameters are the
 * published ones, and blocks are made in the order in which these are registered. */
#ifndef PROBFLOW_SRC_MODEL_UNET_PARTS_H
#define PROBFLOW_SRC_MODEL_UNET_PARTS_H

#include <probflow/model.h>

enum { PF_UNET_BLOCKS = 64, PF_UNET_SKIPS = PF_INTS_MAX * (PF_UNET_BLOCKS + 1) + 1 };

typedef struct pf_unet_opt {
    int width, blocks, heads, head_channels, order, scale_shift, updown, conv_resample, embed;
    pf_ints multipliers, attention;
    double dropout;
} pf_unet_opt;
extern const pf_opt pf_unet_opts[];

typedef enum pf_resize { PF_RESIZE_NONE, PF_RESIZE_UP, PF_RESIZE_DOWN } pf_resize;

typedef struct pf_unet { /* under construction */
    const pf_unet_opt *c;
    pf_graph *g;
    pf_node e; /* silu of the embedding */
    int n_skips;
    pf_node skip[PF_UNET_SKIPS]; /* outputs of the input blocks */
} pf_unet;

/* Checks that images of x's shape fit; u->e from `cond`, and with label from the label, whose row is added.
 * Fails  (the graph) naming the option or the size that does not fit. */
void pf_unet_begin(pf_unet *u, const pf_ports *offered, pf_node x, int label);
/* input_blocks and middle_block; the skips are those of input_blocks. */
pf_node pf_unet_down(pf_unet *u, pf_node x);
pf_node pf_unet_middle(pf_unet *u, pf_node h);

/* One block: its parameters are NAME.in_layers.0.weight and so on. */
pf_node pf_unet_block(pf_unet *u, const char *name, pf_node x, int cout, pf_resize how);
/* heads: where model.head_channels is 0 */
pf_node pf_unet_attention(pf_unet *u, const char *name, pf_node x, int heads);
pf_node pf_unet_attention_if_listed(pf_unet *u, const char *name, pf_node x, int heads);
/* silu of the norm of 32 groups NAME */
pf_node pf_unet_norm_silu(pf_unet *u, const char *name, pf_node x);
/* Convolution of an odd kernel, "same" padding; zero: it begins as 0, else as torch.nn has it. */
pf_node pf_unet_conv(pf_unet *u, const char *name, pf_node x, int cout, int kernel, int zero);
/* The linear map of published 1d convolutions (axes = 1) or linear layers (0). */
pf_node pf_unet_map(pf_unet *u, const char *name, pf_node x, int cout, int axes, int zero);
/* Heads of c channels. */
int pf_unet_heads(pf_unet *u, int c, int heads);

/* pf_model_ops.settle of a model whose options begin with pf_unet_opt */
PF_MUST_USE pf_status pf_unet_settle(void *opt, pf_shape s, int given);

#endif
