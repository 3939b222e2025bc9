/* The steps of an LSTM's cells between its products; the formulas are in ref/lstm.c. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_LSTM_CELL_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_LSTM_CELL_H

#include "nn/kernels/fused/vec.h"

enum { PF_CELLS = 16 };

/* n numbers of each array, at the same places; n a multiple of PF_CELLS. */
typedef struct pf_cells {
    float *gate[4]; /* i, f, g, o: sums, then their functions, then the gradients of the sums */
    const float *c; /* cells before */
    float *next;    /* cells after; may be c */
    float *h;       /* state after */
    float *dh, *dc; /* gradients of the state after; then dc is that of the cells before */
    const float *bias[4]; /* [PF_CELLS], of each such row */
} pf_cells;

PF_INLINE float pf_tanh(float x)
{
    float e = pf_expm1(-2.0f * fabsf(x)), t = -e / (2.0f + e);
    return x < 0.0f ? -t : t;
}

PF_INLINE void pf_cells_forward(const pf_cells *a, int n)
{
    float *gi = a->gate[0], *gf = a->gate[1], *gg = a->gate[2], *go = a->gate[3],
          *next = a->next, *h = a->h;
    const float *c = a->c, *bi = a->bias[0], *bf = a->bias[1], *bg = a->bias[2],
                *bo = a->bias[3];
    for (int r = 0; r < n; r += PF_CELLS) {
        PF_SIMD
        for (int l = 0; l < PF_CELLS; l++) {
            int k = r + l;
            float i = pf_sigmoid(gi[k] + bi[l]), f = pf_sigmoid(gf[k] + bf[l]),
                  g = pf_tanh(gg[k] + bg[l]), o = pf_sigmoid(go[k] + bo[l]);
            float cell = f * c[k] + i * g;
            gi[k] = i;
            gf[k] = f;
            gg[k] = g;
            go[k] = o;
            next[k] = cell;
            h[k] = o * pf_tanh(cell);
        }
    }
}

PF_INLINE void pf_cells_backward(const pf_cells *a, int n)
{
    float *gi = a->gate[0], *gf = a->gate[1], *gg = a->gate[2], *go = a->gate[3], *dc = a->dc;
    const float *c = a->c, *next = a->next, *dh = a->dh;
    PF_SIMD
    for (int k = 0; k < n; k++) {
        float i = gi[k], f = gf[k], g = gg[k], o = go[k], t = pf_tanh(next[k]);
        float d = dc[k] + dh[k] * o * (1.0f - t * t);
        gi[k] = d * g * i * (1.0f - i);
        gf[k] = d * c[k] * f * (1.0f - f);
        gg[k] = d * i * (1.0f - g * g);
        go[k] = dh[k] * t * o * (1.0f - o);
        dc[k] = d * f;
    }
}

#endif
