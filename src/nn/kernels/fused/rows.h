/* The rows of this folder, one or more a file; fused.c is their table. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_ROWS_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_ROWS_H

#include "nn/kernel.h"
#include <probflow/isa.h>
#include <stdint.h>

#define pf_fused_few         PF_CLONED(pf_fused_few)
#define pf_fused_winograd    PF_CLONED(pf_fused_winograd)
#define pf_fused_norm        PF_CLONED(pf_fused_norm)
#define pf_fused_silu        PF_CLONED(pf_fused_silu)
#define pf_fused_elu         PF_CLONED(pf_fused_elu)
#define pf_fused_leaky_relu  PF_CLONED(pf_fused_leaky_relu)
#define pf_fused_instance    PF_CLONED(pf_fused_instance)
#define pf_fused_pool        PF_CLONED(pf_fused_pool)
#define pf_fused_bilinear    PF_CLONED(pf_fused_bilinear)
#define pf_fused_affine      PF_CLONED(pf_fused_affine)
#define pf_fused_add_scale   PF_CLONED(pf_fused_add_scale)
#define pf_fused_add_channel PF_CLONED(pf_fused_add_channel)
#define pf_fused_levels      PF_CLONED(pf_fused_levels)
#define pf_fused_sine        PF_CLONED(pf_fused_sine)
#define pf_fused_divide      PF_CLONED(pf_fused_divide)
#define pf_fused_dropout     PF_CLONED(pf_fused_dropout)
#define pf_fused_concat      PF_CLONED(pf_fused_concat)
#define pf_fused_up2         PF_CLONED(pf_fused_up2)
#define pf_fused_down2       PF_CLONED(pf_fused_down2)
#define pf_fused_fir         PF_CLONED(pf_fused_fir)
#define pf_fused_gelu        PF_CLONED(pf_fused_gelu)
#define pf_fused_softplus    PF_CLONED(pf_fused_softplus)
#define pf_fused_layer_norm  PF_CLONED(pf_fused_layer_norm)
#define pf_fused_pick        PF_CLONED(pf_fused_pick)
#define pf_fused_modulate    PF_CLONED(pf_fused_modulate)
#define pf_fused_gate        PF_CLONED(pf_fused_gate)
#define pf_fused_scale_by    PF_CLONED(pf_fused_scale_by)
#define pf_fused_positions   PF_CLONED(pf_fused_positions)
#define pf_fused_embed       PF_CLONED(pf_fused_embed)
#define pf_fused_rotary      PF_CLONED(pf_fused_rotary)
#define pf_fused_attend      PF_CLONED(pf_fused_attend)
#define pf_fused_lstm        PF_CLONED(pf_fused_lstm)
#define pf_fused_mixture     PF_CLONED(pf_fused_mixture)
#define pf_fused_undrop      PF_CLONED(pf_fused_undrop)
#define pf_fused_sum_rows    PF_CLONED(pf_fused_sum_rows)

extern const pf_row pf_fused_few;      /* 3x3, where one side has at most four channels */
extern const pf_row pf_fused_winograd; /* 3x3, channels in full vectors */
extern const pf_row pf_fused_norm;
extern const pf_row pf_fused_silu, pf_fused_affine, pf_fused_add_scale, pf_fused_add_channel;
extern const pf_row pf_fused_elu, pf_fused_leaky_relu, pf_fused_instance;
extern const pf_row pf_fused_pool, pf_fused_bilinear;
extern const pf_row pf_fused_levels;
extern const pf_row pf_fused_sine, pf_fused_divide, pf_fused_dropout;
extern const pf_row pf_fused_gelu, pf_fused_softplus, pf_fused_layer_norm;
extern const pf_row pf_fused_pick, pf_fused_modulate, pf_fused_gate, pf_fused_scale_by;
extern const pf_row pf_fused_attend; /* pf_attend */
extern const pf_row pf_fused_positions, pf_fused_embed, pf_fused_rotary;
extern const pf_row pf_fused_lstm, pf_fused_mixture;
extern const pf_row pf_fused_concat, pf_fused_up2, pf_fused_down2, pf_fused_fir;

/* d [n] = g where byte is 1, times keep; 0 elsewhere */
void pf_fused_undrop(size_t n, const uint8_t *byte, float keep, const float *g, float *d);
/* e [C] = sum of the rows of g [n,C] */
void pf_fused_sum_rows(int n, int C, const float *g, float *e);

#endif
