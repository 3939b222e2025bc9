/* Philox4x32-10 and the draws made of it.
 *
 *   round: (c0, c1, c2, c3) <- (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0))
 *   key:   (k0, k1) <- (k0 + W0, k1 + W1)
 *
 * Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 * Normals: Box and Muller (1958); log, sin and cos by minimax polynomials on the reduced range
 * (Cephes single precision), so that the loop over blocks is a vector loop.
 *
 * Draws are made in whole chunks that start at multiples of PF_CHUNK elements and are then copied:
 * each element meets the same instructions however [first, n) is cut. */
#include "base/random_chunk.h"

#include <probflow/isa.h>
#include <probflow/random.h>

#include <string.h>

static inline void rounds(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                          uint32_t k1)
{
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
        uint64_t p0 = (uint64_t)PF_PHILOX_M0 * *c0, p1 = (uint64_t)PF_PHILOX_M1 * *c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
        *c1 = (uint32_t)p1;
        *c3 = (uint32_t)p0;
        *c0 = n0;
        *c2 = n2;
        k0 += PF_PHILOX_W0;
        k1 += PF_PHILOX_W1;
    }
}

static void counter_of(const pf_draw *d, size_t block, uint32_t c[4], uint32_t key[2])
{
    c[0] = (uint32_t)block;
    c[1] = d->step;
    c[2] = (uint32_t)d->sample;
    c[3] = (uint32_t)(d->sample >> 32) << 8 | (uint32_t)d->stream;
    key[0] = (uint32_t)d->seed;
    key[1] = (uint32_t)(d->seed >> 32);
}

PF_CLONE_TABLE(const pf_chunk_ops, pf_chunk, clones);

/* Turns whole chunks of 32-bit words into whole chunks of 32-bit values. */
typedef void (*chunk_fn)(const pf_words *in, void *out);

static void bits_of(const pf_words *in, void *out)
{
    clones[pf_isa_clone()]->interleave(in, out);
}

static void normals_of(const pf_words *in, void *out)
{
    clones[pf_isa_clone()]->normals(in, out);
}

static void uniforms_of(const pf_words *in, void *out)
{
    uint32_t bits[PF_CHUNK];
    clones[pf_isa_clone()]->interleave(in, bits);
    float *u = out;
    for (int i = 0; i < PF_CHUNK; i++) u[i] = (float)(bits[i] >> 8) * 0x1p-24f;
}

static void signs_of(const pf_words *in, void *out)
{
    uint32_t bits[PF_CHUNK];
    clones[pf_isa_clone()]->interleave(in, bits);
    float *u = out;
    for (int i = 0; i < PF_CHUNK; i++) u[i] = bits[i] >> 31 ? 1.0f : -1.0f;
}

static void draw(const pf_draw *d, size_t first, size_t n, chunk_fn turn, void *out)
{
    pf_words w;
    uint32_t c[4], key[2], part[PF_CHUNK];
    unsigned char *to = out;
    while (n > 0) {
        size_t start = first / PF_CHUNK * PF_CHUNK, skip = first - start;
        size_t take = PF_CHUNK - skip < n ? PF_CHUNK - skip : n;
        counter_of(d, start / 4, c, key);
        clones[pf_isa_clone()]->philox(c, key, &w);
        if (take == PF_CHUNK) turn(&w, to);
        else {
            turn(&w, part);
            memcpy(to, part + skip, 4 * take);
        }
        to += 4 * take;
        first += take;
        n -= take;
    }
}

void pf_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    memcpy(out, counter, 4 * sizeof *out);
    rounds(&out[0], &out[1], &out[2], &out[3], key[0], key[1]);
}

void pf_draw_bits(const pf_draw *d, size_t first, size_t n, uint32_t *out)
{
    draw(d, first, n, bits_of, out);
}

void pf_draw_uniform(const pf_draw *d, size_t first, size_t n, float *out)
{
    draw(d, first, n, uniforms_of, out);
}

void pf_draw_normal(const pf_draw *d, size_t first, size_t n, float *out)
{
    draw(d, first, n, normals_of, out);
}

void pf_draw_rademacher(const pf_draw *d, size_t first, size_t n, float *out)
{
    draw(d, first, n, signs_of, out);
}

double pf_draw_uniform_f64(const pf_draw *d, size_t element)
{
    /* Words 2 e and 2 e + 1 of the draw. */
    uint32_t c[4], key[2], w[4];
    counter_of(d, element / 2, c, key);
    pf_philox4x32(c, key, w);
    const uint32_t *half = w + 2 * (element % 2);
    uint64_t bits = (uint64_t)half[0] << 32 | half[1];
    return (double)(bits >> 11) * 0x1p-53;
}

uint64_t pf_draw_permute(const pf_draw *d, uint64_t n, uint64_t i)
{
    if (n < 2) return 0;
    int half = 1; /* the network permutes 2 half bits, fewer than 4 n values */
    while (half < 28 && ((uint64_t)1 << (2 * half)) < n) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    uint32_t c[4], key[2], w[4];
    counter_of(d, 0, c, key);
    do {
        uint64_t l = i >> half, r = i & mask;
        for (uint32_t round = 0; round < 8; round++) {
            c[0] = (uint32_t)r | round << 28;
            pf_philox4x32(c, key, w);
            uint64_t next = (l ^ w[0]) & mask;
            l = r;
            r = next;
        }
        i = l << half | r;
    } while (i >= n); /* cycle walking: stays a bijection of {0 .. n-1} */
    return i;
}
