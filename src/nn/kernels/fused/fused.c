/* The vectorised rows: portable C. */
#include "nn/kernels/fused/rows.h"

static const pf_kernel kernels[] = {
    {PF_OP_CONV, &pf_fused_few},
    {PF_OP_CONV, &pf_fused_winograd},
    {PF_OP_GROUP_NORM, &pf_fused_norm},
    {PF_OP_SILU, &pf_fused_silu},
    {PF_OP_ELU, &pf_fused_elu},
    {PF_OP_LEAKY_RELU, &pf_fused_leaky_relu},
    {PF_OP_INSTANCE_NORM, &pf_fused_instance},
    {PF_OP_POOL, &pf_fused_pool},
    {PF_OP_BILINEAR, &pf_fused_bilinear},
    {PF_OP_DROPOUT, &pf_fused_dropout},
    {PF_OP_UP2, &pf_fused_up2},
    {PF_OP_DOWN2, &pf_fused_down2},
    {PF_OP_FIR, &pf_fused_fir},
    {PF_OP_CONCAT, &pf_fused_concat},
    {PF_OP_ADD_SCALE, &pf_fused_add_scale},
    {PF_OP_ADD_CHANNEL, &pf_fused_add_channel},
    {PF_OP_AFFINE, &pf_fused_affine},
    {PF_OP_SINE, &pf_fused_sine},
    {PF_OP_LEVELS, &pf_fused_levels},
    {PF_OP_DIVIDE, &pf_fused_divide},
    {PF_OP_ATTENTION, &pf_fused_attend},
    {PF_OP_GELU, &pf_fused_gelu},
    {PF_OP_SOFTPLUS, &pf_fused_softplus},
    {PF_OP_LAYER_NORM, &pf_fused_layer_norm},
    {PF_OP_PICK, &pf_fused_pick},
    {PF_OP_MODULATE, &pf_fused_modulate},
    {PF_OP_GATE, &pf_fused_gate},
    {PF_OP_SCALE_BY, &pf_fused_scale_by},
    {PF_OP_POSITIONS, &pf_fused_positions},
    {PF_OP_EMBED, &pf_fused_embed},
    {PF_OP_ROTARY, &pf_fused_rotary},
    {0, NULL},
};

const pf_kernel *const PF_CLONED(pf_fused_kernels) = kernels;
