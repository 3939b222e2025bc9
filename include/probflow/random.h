/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011).
 *
 * A draw is a pure function of (seed, stream, sample, step, element): there is no generator
 * state to save, and neither ranks nor threads nor batch sizes change a draw.
 *
 *   key     = seed (64 bits)
 *   counter = { element / 4, step, sample low, sample high (24 bits) << 8 | stream }
 *
 * Test   philox_gives_the_published_vectors, draws_do_not_depend_on_how_they_are_cut */
#ifndef PROBFLOW_RANDOM_H
#define PROBFLOW_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef enum pf_stream {
    PF_STREAM_INIT = 1,  /* parameter initialisation: sample = parameter index          */
    PF_STREAM_SHUFFLE,   /* data order                                                  */
    PF_STREAM_TIME,      /* u0 of the low-discrepancy times                             */
    PF_STREAM_NOISE,     /* z of denoising score matching                               */
    PF_STREAM_DEQUANT,   /* dequantisation noise, training                              */
    PF_STREAM_FLIP,      /* horizontal flips                                            */
    PF_STREAM_DROPOUT,   /* element = position in the operator, see pf_run              */
    PF_STREAM_EVAL_TIME, /* evaluation loss, bound, steps of vlb                         */
    PF_STREAM_EVAL_NOISE,
    PF_STREAM_EVAL_DEQUANT, /* likelihood: sample = image, step = draw                   */
    PF_STREAM_PROBE, /* likelihood: sample = image, step = draw * sets + set; slices of scores */
    PF_STREAM_PRIOR,  /* samplers: x at t = 1                                        */
    PF_STREAM_SAMPLE, /* samplers: step = its step                                  */
    PF_STREAM_DATA,   /* points of a density, bits of images: sample = row, step = split */
    PF_STREAM_TEST,
    PF_STREAM_WITHHOLD, /* training: sample = global number, what is not told of it     */
    PF_STREAM_COIN,     /* of a loss: is a sample told a first answer; step: evaluation */
    PF_STREAM_OFFSET,   /* of a loss: offset noise, element = channel; step: evaluation */
    PF_STREAM_GAIN      /* what more draws would gain: a fixed sample, of sets           */
} pf_stream;

/* Which draw. */
typedef struct pf_draw {
    uint64_t seed;
    pf_stream stream;
    uint64_t sample; /* global index, below 2^56 */
    uint32_t step;
} pf_draw;

/* One block of the published generator. */
void pf_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Elements first .. first+n-1 of a draw.  Local. */
void pf_draw_bits(const pf_draw *d, size_t first, size_t n, uint32_t *out);
void pf_draw_uniform(const pf_draw *d, size_t first, size_t n, float *out); /* [0,1), 24 bits */
void pf_draw_normal(const pf_draw *d, size_t first, size_t n,
                    float *out); /* N(0,1), Box-Muller */
void pf_draw_rademacher(const pf_draw *d, size_t first, size_t n, float *out); /* -1 or +1 */
double pf_draw_uniform_f64(const pf_draw *d, size_t element); /* [0,1), 53 bits */

/* Keyed bijection of {0 .. n-1} (Feistel network with cycle walking): image number i of epoch
 * d->step.  d->sample names the shard.  Needs no table. */
uint64_t pf_draw_permute(const pf_draw *d, uint64_t n, uint64_t i);

#endif
