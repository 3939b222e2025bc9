/* Tiles and transforms of Winograd's F(4x4, 3x3); see winograd_tile.c. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_WINOGRAD_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_WINOGRAD_H

#include "nn/kernel.h"
#include <probflow/isa.h>

enum {
    PF_WG_POINTS = 36,
    PF_WG_OUT = 4,
    PF_WG_IN = 6,
    PF_WG_BLOCK = 16, /* channels next to each other among transformed ones */
    PF_WG_CHANNELS = 8192
};

#define pf_wg_zeros         PF_CLONED(pf_wg_zeros)
#define pf_wg_image_of      PF_CLONED(pf_wg_image_of)
#define pf_wg_applies       PF_CLONED(pf_wg_applies)
#define pf_wg_input         PF_CLONED(pf_wg_input)
#define pf_wg_output        PF_CLONED(pf_wg_output)
#define pf_wg_output_back   PF_CLONED(pf_wg_output_back)
#define pf_wg_weight        PF_CLONED(pf_wg_weight)
#define pf_wg_weight_turned PF_CLONED(pf_wg_weight_turned)
#define pf_wg_weight_back   PF_CLONED(pf_wg_weight_back)

typedef struct pf_wg_image { /* a batch of NHWC images cut into 4x4 tiles */
    int h, w, C;             /* C a multiple of 16, at most PF_WG_CHANNELS */
    int rows, columns;       /* tiles of one image */
} pf_wg_image;

extern const float pf_wg_zeros[PF_WG_CHANNELS]; /* what lies outside an image */

pf_wg_image pf_wg_image_of(pf_shape s);
/* A 3x3 convolution with stride 1 and padding 1 between full channel vectors, without too many tiles
 * that hang over the edge. */
int pf_wg_applies(const pf_site *s);

/* One tile's place among transformed ones: its 36 points lie `point` floats apart, blocks of 16
 * channels `block`. */
typedef struct pf_wg_slot {
    float *at; /* point 0, channel 0 */
    size_t point, block;
} pf_wg_slot;

/* Floats from one point to the next when each holds n: a cache line more, since a power of two
 * would put all 36 points on the same few lines of the first-level cache. */
static inline size_t pf_wg_stride(size_t n)
{
    return n + PF_WG_BLOCK;
}

/* B' d B of the 6x6 pixels around tile number `tile` of x. */
void pf_wg_input(const pf_wg_image *m, const float *x, int tile, pf_wg_slot v);
/* A' m A, plus the bias (NULL: none), into the 4x4 pixels of the tile that lie in y. */
void pf_wg_output(const pf_wg_image *m, pf_wg_slot v, const float *bias, float *y, int tile);
/* A dy A', the transpose of pf_wg_output; sum [C] += the tile's pixels of dy. */
void pf_wg_output_back(const pf_wg_image *m, const float *dy, int tile, pf_wg_slot v,
                       float *sum);

/* u [36] matrices [cin,cout] in blocks of columns (gemm.h) = G g G' of w [cout,cin,3,3]; turned:
 * [cout,cin] of the kernel rotated by half a turn. */
void pf_wg_weight(const float *w, int cin, int cout, float *u);
void pf_wg_weight_turned(const float *w, int cin, int cout, float *u);
/* dw = G' du G, the transpose of pf_wg_weight. */
void pf_wg_weight_back(const float *du, int cin, int cout, float *dw);

#endif
