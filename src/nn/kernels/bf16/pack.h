/* bf16: the upper half of a float, 8 bits of precision, the same exponents.
 *
 * Rounding is to the nearest, ties away from zero: two operations instead of five, and among 2^16
 * floats one is a tie.  NaN stays NaN (but for payloads of all ones, which no arithmetic makes).
 *  Two neighbours of a sum share a word: the first in its low half. */
#ifndef PROBFLOW_SRC_NN_KERNELS_BF16_PACK_H
#define PROBFLOW_SRC_NN_KERNELS_BF16_PACK_H

#include "nn/kernels/fused/vec.h"
#include <stddef.h>
#include <stdint.h>

typedef uint32_t pf_words __attribute__((vector_size(4 * PF_LANES)));
typedef uint16_t pf_halves __attribute__((vector_size(2 * PF_LANES)));

/* a vector of floats as words whose upper half is the rounded number */
#define pf_bf16_round(v) ((pf_words)(v) + 0x8000u)
/* words (low, high) */
#define pf_bf16_pair(low, high) \
    ((pf_bf16_round(low) >> 16) | (pf_bf16_round(high) & 0xFFFF0000u))
/* halves next to each other */
#define pf_bf16_half(v) __builtin_convertvector(pf_bf16_round(v) >> 16, pf_halves)

#define pf_bf16_round_rows   PF_CLONED(pf_bf16_round_rows)
#define pf_bf16_round_floats PF_CLONED(pf_bf16_round_floats)
#define pf_bf16_pair_rows    PF_CLONED(pf_bf16_pair_rows)
#define pf_bf16_turn         PF_CLONED(pf_bf16_turn)

static inline int pf_bf16_even(int n)
{
    return (n + 1) / 2 * 2;
}

/* rows of n floats, `from` floats apart, to rows of even(n) halves; the odd one is 0 */
void pf_bf16_round_rows(int rows, int n, const float *x, size_t from, uint16_t *y);
/* y = x rounded, both float */
void pf_bf16_round_floats(size_t n, const float *x, float *y);
/* rows of n halves, `from` halves apart, to words [even(rows)/2][n] of rows 2i and 2i+1, `to` words apart; an odd
 * last row is paired with 0 */
void pf_bf16_pair_rows(int rows, int n, const uint16_t *x, size_t from, uint32_t *y, size_t to);
/* words x [rows][columns] to y [columns][to]; what lies beyond the rows is left alone */
void pf_bf16_turn(int rows, int columns, const void *x, uint32_t *y, size_t to);

#endif
