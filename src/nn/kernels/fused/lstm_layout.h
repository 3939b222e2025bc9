/* Where an LSTM's parameters, what it keeps and its working space lie; see lstm.c. */
#ifndef PROBFLOW_SRC_NN_KERNELS_FUSED_LSTM_LAYOUT_H
#define PROBFLOW_SRC_NN_KERNELS_FUSED_LSTM_LAYOUT_H

#include "nn/kernels/fused/gemm.h"
#include "nn/kernels/fused/vec.h"

enum { PANEL = PF_GEMM_COLUMNS, GATES = 4, FULL = 256 /* rows of a product */, KEPT = 1 << 23 };

typedef struct lstm {
    int B, L, in, h;
    int rows, I, H; /* rounded up */
    int T, chunks;  /* steps of a chunk, and how many there are */
    int back, kept; /* gradients are wanted; gates are saved */
    int reverse, padded;
} lstm;

static inline int up(int n, int to)
{
    return (n + to - 1) / to * to;
}

/* Floats of a matrix of `columns` with the rows of a chunk, of the states, and of one state. */
static inline size_t chunk_room(const lstm *v)
{
    return (size_t)(v->T * v->rows + 1);
}

static inline size_t state_room(const lstm *v)
{
    return (size_t)(v->L + 1) * (size_t)v->rows + 1;
}

static inline size_t state_floats(const lstm *v)
{
    return (size_t)v->rows * (size_t)v->H;
}

/* ---- parameters: W' [I,4H], U' [H,4H], W [4H,I], U [4H,H] and b + d [4H] ---- */

typedef struct weights {
    float *wt, *ut, *w, *u, *bias;
} weights;

static inline size_t lay_weights(const lstm *v, float *at, weights *to)
{
    size_t G = GATES * (size_t)v->H, w = G * (size_t)v->I, u = G * (size_t)v->H;
    *to = (weights){at, at + w, at + w + u, at + 2 * w + u, at + 2 * (w + u)};
    return 2 * (w + u) + G;
}

static inline size_t blocked_at(size_t room, size_t i, size_t j)
{
    return (j / PANEL * room + i) * PANEL + j % PANEL;
}

/* States [H/16][(L+1) rows + 1][16]; the cells at the begin of chunks, or of all steps; gates of chunks. */
typedef struct kept {
    float *h, *c, *gates;
} kept;

static inline size_t lay_kept(const lstm *v, float *at, kept *to)
{
    size_t h = state_room(v) * (size_t)v->H, cells = (size_t)(v->kept ? v->L + 1 : v->chunks);
    size_t c = cells * state_floats(v), gates = GATES * (size_t)v->H * chunk_room(v);
    *to = (kept){at, at + h, at + h + c};
    return h + c + (v->kept ? gates * (size_t)v->chunks : 0);
}

typedef struct work {
    float *x, *gates, *cells; /* of a chunk; x also takes its gradient */
    float *dh, *dh_next, *dc;
    float *dw, *du;
    double *db;
    unsigned char *there; /* [T rows], then [T]: all of a step are */
} work;

static inline size_t lay_work(const lstm *v, float *at, work *to)
{
    size_t G = GATES * (size_t)v->H, room = chunk_room(v), state = state_floats(v), n = 0;
    const size_t size[] = {(size_t)v->I * room,
                           G * room,
                           (size_t)(v->T + 1) * state,
                           v->back ? state : 0,
                           v->back ? state : 0,
                           v->back ? state : 0,
                           v->back ? G * (size_t)v->I : 0,
                           v->back ? G * (size_t)v->H : 0};
    float **const part[] = {&to->x,       &to->gates, &to->cells, &to->dh,
                            &to->dh_next, &to->dc,    &to->dw,    &to->du};
    for (int i = 0; i < 8; i++) {
        *part[i] = at + n;
        n += (size[i] + PANEL - 1) / PANEL * PANEL;
    }
    to->db = (double *)(at + n);
    n += v->back ? 2 * G : 0;
    to->there = (unsigned char *)(at + n);
    return n + ((size_t)v->T * (size_t)(v->rows + 1) + 3) / 4;
}

#endif
