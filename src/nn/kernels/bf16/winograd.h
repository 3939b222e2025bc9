/* Tiles of Winograd's F(4x4, 3x3) in words of two bf16 numbers; see winograd_tile.c. */
#ifndef PROBFLOW_SRC_NN_KERNELS_BF16_WINOGRAD_H
#define PROBFLOW_SRC_NN_KERNELS_BF16_WINOGRAD_H

#include "nn/kernels/fused/winograd.h"
#include <stdint.h>

#define pf_wgb_input            PF_CLONED(pf_wgb_input)
#define pf_wgb_input_pair       PF_CLONED(pf_wgb_input_pair)
#define pf_wgb_output_back_pair PF_CLONED(pf_wgb_output_back_pair)
#define pf_wgb_output           PF_CLONED(pf_wgb_output)
#define pf_wgb_weight_words     PF_CLONED(pf_wgb_weight_words)
#define pf_wgb_weight           PF_CLONED(pf_wgb_weight)
#define pf_wgb_weight_turned    PF_CLONED(pf_wgb_weight_turned)
#define pf_wgb_weight_block     PF_CLONED(pf_wgb_weight_block)
#define pf_wgb_weight_point     PF_CLONED(pf_wgb_weight_point)
#define pf_wgb_weight_back      PF_CLONED(pf_wgb_weight_back)

enum { PF_WGB_CHANNELS = 64 }; /* of one block */

/* Channels of one block and the words from one block to the next: channel c lies at
 * at[c / width * block + c % width], its points `point` words apart. */
typedef struct pf_wgb_slot {
    uint32_t *at;
    size_t point, block;
    int width;
} pf_wgb_slot;

static inline int pf_wgb_width(int C)
{
    return C < PF_WGB_CHANNELS ? C : PF_WGB_CHANNELS;
}

/* Sums at the 36 points of a tile, `point` floats apart, of channels first .. first+n-1. */
typedef struct pf_wgb_sums {
    const float *at;
    size_t point;
    int first, n;
} pf_wgb_sums;

/* The points of a tile, words of two neighbouring channels: v[i][c/2]. */
void pf_wgb_input(const pf_wg_image *m, const float *x, int tile, uint32_t *v, size_t point);
/* The points of tiles `tile` and `tile + 1` (both = 0: zeros instead), a word a channel. */
void pf_wgb_input_pair(const pf_wg_image *m, const float *x, int tile, int both, pf_wgb_slot v);
/* The same of the transpose of the output's transform; sum [C] += the pixels. */
void pf_wgb_output_back_pair(const pf_wg_image *m, const float *dy, int tile, int both,
                             pf_wgb_slot v, float *sum);

/* A' m A plus the bias [C] (NULL: none), into the pixels of the tile that lie in y. */
void pf_wgb_output(const pf_wg_image *m, pf_wgb_sums v, const float *bias, float *y, int tile);

/* Words of the transformed kernels that map cin to cout channels. */
size_t pf_wgb_weight_words(int cin, int cout);
/* u [block of couts][36][cin/2][width] of w [cout,cin,3,3]; turned: [block of cins][36][cout/2][width] of kernels
 * turned by half a turn. */
void pf_wgb_weight(const float *w, int cin, int cout, uint32_t *u);
void pf_wgb_weight_turned(const float *w, int cin, int cout, uint32_t *u);
/* Where block number b begins, and the words from a point to the next; n: the other side's channels. */
size_t pf_wgb_weight_block(int n, int b);
size_t pf_wgb_weight_point(int n, int width);

typedef struct pf_wgb_kernels { /* some of the kernels w [cout,cin,3,3] */
    int cin;                    /* of all */
    int ins, outs;              /* of this block */
    int add;
} pf_wgb_kernels;
/* dw = or += G' du G; du: 36 points of [ins][outs], `point` floats apart. */
void pf_wgb_weight_back(const pf_wgb_kernels *k, const float *du, size_t point, float *dw);

#endif
