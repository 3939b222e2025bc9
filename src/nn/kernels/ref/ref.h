/* The plain kernels, one pair per operator; ref.c lists them. */
#ifndef PROBFLOW_SRC_NN_KERNELS_REF_REF_H
#define PROBFLOW_SRC_NN_KERNELS_REF_REF_H

#include "nn/kernel.h"

#define PF_REF_KERNEL(op)                               \
    pf_status pf_ref_##op(void *ctx, const pf_call *c); \
    pf_status pf_ref_##op##_back(void *ctx, const pf_call *c)

PF_REF_KERNEL(conv);
PF_REF_KERNEL(linear);
PF_REF_KERNEL(group_norm);
PF_REF_KERNEL(silu);
PF_REF_KERNEL(relu);
PF_REF_KERNEL(elu);
PF_REF_KERNEL(leaky_relu);
PF_REF_KERNEL(instance_norm);
PF_REF_KERNEL(pool);
PF_REF_KERNEL(bilinear);
PF_REF_KERNEL(reshape);
PF_REF_KERNEL(embed_between);
PF_REF_KERNEL(mean);
PF_REF_KERNEL(tokens);
PF_REF_KERNEL(first);
PF_REF_KERNEL(dropout);
PF_REF_KERNEL(up2);
PF_REF_KERNEL(down2);
PF_REF_KERNEL(fir);
PF_REF_KERNEL(concat);
PF_REF_KERNEL(add_scale);
PF_REF_KERNEL(add_channel);
PF_REF_KERNEL(affine);
PF_REF_KERNEL(sine);
PF_REF_KERNEL(levels);
PF_REF_KERNEL(attention);
PF_REF_KERNEL(divide);
PF_REF_KERNEL(embed);
PF_REF_KERNEL(gelu);
PF_REF_KERNEL(softplus);
PF_REF_KERNEL(layer_norm);
PF_REF_KERNEL(pick);
PF_REF_KERNEL(modulate);
PF_REF_KERNEL(gate);
PF_REF_KERNEL(scale_by);
PF_REF_KERNEL(positions);
PF_REF_KERNEL(rotary);
PF_REF_KERNEL(linear_attention);
PF_REF_KERNEL(bits);
PF_REF_KERNEL(turn);
PF_REF_KERNEL(invertible);
PF_REF_KERNEL(normal_nats);
PF_REF_KERNEL(draw);
PF_REF_KERNEL(cells);
PF_REF_KERNEL(bounded);
PF_REF_KERNEL(act_norm);
PF_REF_KERNEL(shuffle);
PF_REF_KERNEL(masked_linear);
PF_REF_KERNEL(shift);
PF_REF_KERNEL(places);
PF_REF_KERNEL(lstm);
PF_REF_KERNEL(mixture_cdf);
pf_status pf_ref_input(void *ctx, const pf_call *c);
pf_status pf_ref_positional(void *ctx, const pf_call *c);
pf_status pf_ref_fourier(void *ctx, const pf_call *c);

size_t pf_ref_conv_scratch(const pf_site *s, void *ctx);
size_t pf_ref_linear_scratch(const pf_site *s, void *ctx);
size_t pf_ref_group_norm_saved(const pf_site *s, void *ctx);
size_t pf_ref_group_norm_scratch(const pf_site *s, void *ctx);
size_t pf_ref_instance_norm_saved(const pf_site *s, void *ctx);
size_t pf_ref_pool_saved(const pf_site *s, void *ctx);
size_t pf_ref_layer_norm_saved(const pf_site *s, void *ctx);
size_t pf_ref_linear_attention_scratch(const pf_site *s, void *ctx);
size_t pf_ref_invertible_scratch(const pf_site *s, void *ctx);
size_t pf_ref_lstm_saved(const pf_site *s, void *ctx);
size_t pf_ref_lstm_scratch(const pf_site *s, void *ctx);
size_t pf_ref_mixture_cdf_scratch(const pf_site *s, void *ctx);
size_t pf_ref_attention_scratch(const pf_site *s, void *ctx);
size_t pf_ref_divide_saved(const pf_site *s, void *ctx);
/* One entry u = x/m under noise v: y and dy/du; w [n] */
typedef struct pf_expected {
    double y, slope;
} pf_expected;
pf_expected pf_ref_levels_at(const float *w, const pf_attr *a, double u, double v);
size_t pf_ref_levels_saved(const pf_site *s, void *ctx);

#endif
