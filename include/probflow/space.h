/* The space of a datum: what one row of data is, and where its values lie in the scale of the model. */
#ifndef PROBFLOW_SPACE_H
#define PROBFLOW_SPACE_H

#include <stddef.h>
#include <stdint.h>

typedef struct pf_shape { /* of one row */
    int h, w, c;
} pf_shape;

/* Levels: whole numbers that stand in order, as pixels do.  Tokens: whole numbers without an order, whose place
 * in the scale of the model is their number. */
typedef enum pf_kind { PF_LEVELS, PF_TOKENS, PF_REAL } pf_kind;

/* In place of the tokens that a row shorter than its space lacks, at its end. */
#define PF_NO_TOKEN (-1.0)

typedef struct pf_space {
    int kind;       /* pf_kind */
    pf_shape shape; /* tokens: {1,1,L} */
    int levels;     /* values of an entry: 0 .. levels-1; 0: real */
    int classes;    /* that the labels are of; 0: no labels, or not asked for */
    int conditions; /* numbers that condition each row; 0: none */
} pf_space;

/* Where level k of L lies in the model's scale [-1,1].
 *   dequantised  2 (k + u)/L - 1, u uniform in [0,1)
 *   published    2 k/(L - 1) - 1            (score_sde, Song et al. 2021)
 *   centres      2 (k + 1/2)/L - 1          (Kingma et al. 2021; Zheng et al. 2023) */
typedef enum pf_grid { PF_GRID_DEQUANTISED, PF_GRID_PUBLISHED, PF_GRID_CENTRES } pf_grid;
extern const char *const pf_grid_words[]; /* NULL-terminated, by pf_grid */

/* Entries of a row. */
size_t pf_shape_entries(pf_shape s);
int pf_shape_same(pf_shape a, pf_shape b);
int pf_space_dim(const pf_space *s);
/* Entries of a row x [D] that count: of tokens those before the first PF_NO_TOKEN, of anything else all.
 * Test  rows_of_tokens_end_where_they_end */
int pf_space_length(const pf_space *s, const double *x);
/* Bytes of a token of so many symbols where it is stored and in memory: 1, 2 or, as int32, 4. */
size_t pf_token_bytes(int levels);
/* 1 when rows of a can stand for rows of b: the same kind, shape and levels.  Else 0, and why [n] says how a
 * differs: "8x8x1 values a row, not 8x8x3".
 * Test  spaces_differ_in_what_the_clause_says */
int pf_space_same(const pf_space *a, const pf_space *b, char *why, size_t n);

/* log2 of the levels in a unit of model scale [bits an entry], where the model's density is of `mean` times
 * x: log2(levels / (2 mean)); 0 for real data. */
double pf_space_offset(const pf_space *s, double mean);

/* Distance of neighbouring levels in model scale. */
double pf_grid_step(const pf_space *s, pf_grid grid);
/* n levels to model scale.  u [n] is read for dequantised data alone, and may be NULL for other grids.
 * The second rounds what the first gives to float; its u may be x.  Both are Local.
 * Test  levels_lie_where_their_grid_says, levels_come_back_from_every_grid */
void pf_to_model(const pf_space *s, pf_grid grid, size_t n, const uint8_t *k, const float *u,
                 double *x);
void pf_to_model_f32(const pf_space *s, pf_grid grid, size_t n, const uint8_t *k,
                     const float *u, float *x);
/* The same of levels with their place in the bin, in place: v = k + u becomes 2 v/L - 1. */
void pf_bins_to_model(const pf_space *s, size_t n, double *v);
/* The level whose bin holds x, the outermost one where none does: the inverse on every grid. */
void pf_from_model(const pf_space *s, size_t n, const double *x, uint8_t *k);

/* What noise leaves of a level: x = centre k + noise e, e ~ N(0,1), model scale.  Its exact decoder
 *
 *     log p(k|x) = log softmax_j( -(x - x_j)^2/(2 noise^2) ),     x_j = 2 (j + 1/2)/L - 1      [nats]
 *
 * slope (NULL: unwanted) = its derivative by x.  pf_level_cost is minus its expectation over e.
 * Source  Kingma et al. 2021, eq. 13
 * Test    check_vectors decoder.h5; a_level_is_told_by_its_noisy_centre */
double pf_level_decode(int levels, double noise, double x, int k, double *slope);
double pf_level_cost(int levels, double noise, int k);

/* What a network is told of the C conditions of n rows: v [n,C] to out [n,C+1], the values and a last entry 1.
 * A row of zeros says that they are withheld.  Local. */
void pf_conditions_known(int C, size_t n, const double *v, float *out);

#endif
