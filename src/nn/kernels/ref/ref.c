/* The complete table of plain kernels.  They say what each operator means: the fast rows are
 * compared with these, and these with finite differences. */
#include "nn/kernels/ref/ref.h"

/* clang-format off */
#define ROW(op, ...) \
    &(const pf_row){.backend = "ref", .forward = pf_ref_##op, .backward = pf_ref_##op##_back, __VA_ARGS__}
/* no derivative: inputs, and functions of the conditioning value alone */
#define SOURCE(op) &(const pf_row){.backend = "ref", .forward = pf_ref_##op}

const pf_row *const pf_ref_rows[PF_OP_COUNT] = {
    [PF_OP_INPUT] = SOURCE(input),
    [PF_OP_CONV] = ROW(conv, .scratch = pf_ref_conv_scratch),
    [PF_OP_LINEAR] = ROW(linear, .scratch = pf_ref_linear_scratch),
    [PF_OP_GROUP_NORM] = ROW(group_norm, .saved = pf_ref_group_norm_saved,
                             .scratch = pf_ref_group_norm_scratch),
    [PF_OP_SILU] = ROW(silu),
    [PF_OP_RELU] = ROW(relu),
    [PF_OP_ELU] = ROW(elu),
    [PF_OP_LEAKY_RELU] = ROW(leaky_relu),
    [PF_OP_INSTANCE_NORM] = ROW(instance_norm, .saved = pf_ref_instance_norm_saved),
    [PF_OP_POOL] = ROW(pool, .saved = pf_ref_pool_saved),
    [PF_OP_BILINEAR] = ROW(bilinear),
    [PF_OP_RESHAPE] = ROW(reshape),
    [PF_OP_EMBED_BETWEEN] = ROW(embed_between),
    [PF_OP_MEAN] = ROW(mean),
    [PF_OP_TOKENS] = ROW(tokens),
    [PF_OP_FIRST] = ROW(first),
    [PF_OP_DROPOUT] = ROW(dropout),
    [PF_OP_UP2] = ROW(up2),
    [PF_OP_DOWN2] = ROW(down2),
    [PF_OP_FIR] = ROW(fir),
    [PF_OP_CONCAT] = ROW(concat),
    [PF_OP_ADD_SCALE] = ROW(add_scale),
    [PF_OP_ADD_CHANNEL] = ROW(add_channel),
    [PF_OP_AFFINE] = ROW(affine),
    [PF_OP_SINE] = ROW(sine),
    [PF_OP_LEVELS] = ROW(levels, .saved = pf_ref_levels_saved),
    [PF_OP_ATTENTION] = ROW(attention, .scratch = pf_ref_attention_scratch),
    [PF_OP_EMBED] = ROW(embed),
    [PF_OP_POSITIONAL] = SOURCE(positional),
    [PF_OP_FOURIER] = SOURCE(fourier),
    [PF_OP_DIVIDE] = ROW(divide, .saved = pf_ref_divide_saved),
    [PF_OP_GELU] = ROW(gelu),
    [PF_OP_SOFTPLUS] = ROW(softplus),
    [PF_OP_LAYER_NORM] = ROW(layer_norm, .saved = pf_ref_layer_norm_saved),
    [PF_OP_PICK] = ROW(pick),
    [PF_OP_MODULATE] = ROW(modulate),
    [PF_OP_GATE] = ROW(gate),
    [PF_OP_SCALE_BY] = ROW(scale_by),
    [PF_OP_POSITIONS] = ROW(positions),
    [PF_OP_ROTARY] = ROW(rotary),
    [PF_OP_BITS] = ROW(bits),
    [PF_OP_TURN] = ROW(turn),
    [PF_OP_INVERTIBLE] = ROW(invertible, .scratch = pf_ref_invertible_scratch),
    [PF_OP_NORMAL_NATS] = ROW(normal_nats),
    [PF_OP_DRAW] = ROW(draw),
    [PF_OP_CELLS] = ROW(cells),
    [PF_OP_BOUNDED] = ROW(bounded),
    [PF_OP_ACT_NORM] = ROW(act_norm),
    [PF_OP_SHUFFLE] = ROW(shuffle),
    [PF_OP_MASKED_LINEAR] = ROW(masked_linear),
    [PF_OP_SHIFT] = ROW(shift),
    [PF_OP_PLACES] = ROW(places),
    [PF_OP_LSTM] = ROW(lstm, .saved = pf_ref_lstm_saved, .scratch = pf_ref_lstm_scratch),
    [PF_OP_MIXTURE_CDF] = ROW(mixture_cdf, .scratch = pf_ref_mixture_cdf_scratch),
    [PF_OP_LINEAR_ATTENTION] = ROW(linear_attention, .scratch = pf_ref_linear_attention_scratch),
};
/* clang-format on */
