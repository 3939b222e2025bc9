/* Whole chunks of draws as vector loops; see random.c.
 *
 * The build lets no multiply and add be fused here, so every clone gives the same bits. */
#include "base/random_chunk.h"

#include <probflow/isa.h>

#include <math.h>
#include <string.h>

/* The same rounds in 64-bit lanes, where the vector products keep both halves in place. */
static inline void wide_rounds(uint64_t c[4], uint32_t k0, uint32_t k1)
{
    const uint64_t low = 0xFFFFFFFFu;
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
        uint64_t p0 = PF_PHILOX_M0 * c[0], p1 = PF_PHILOX_M1 * c[2];
        c[0] = (p1 >> 32) ^ c[1] ^ k0;
        c[2] = (p0 >> 32) ^ c[3] ^ k1;
        c[1] = p1 & low;
        c[3] = p0 & low;
        k0 += PF_PHILOX_W0;
        k1 += PF_PHILOX_W1;
    }
}

/* PF_CHUNK_BLOCKS blocks from counter word 0 = first; c[1..3] are shared. */
static void philox_chunk(const uint32_t c[4], const uint32_t key[2], pf_words *out)
{
    uint32_t first = c[0], s1 = c[1], s2 = c[2], s3 = c[3], k0 = key[0], k1 = key[1];
    for (int i = 0; i < PF_CHUNK_BLOCKS; i++) {
        uint64_t x[4] = {first + (uint32_t)i, s1, s2, s3};
        wide_rounds(x, k0, k1);
        for (int j = 0; j < 4; j++) out->w[j][i] = (uint32_t)x[j];
    }
}

/* sqrt(-2 log u) for u = (bits + 1/2) / 2^32, as float. */
static inline float radius(uint32_t bits)
{
    float u = (float)bits * 0x1p-32f + 0x1p-33f;
    uint32_t ix;
    memcpy(&ix, &u, sizeof ix);
    /* u = 2^e m with m in [sqrt(1/2), sqrt(2)) */
    int32_t e = (int32_t)(ix - 0x3f3504f3u) >> 23;
    ix -= (uint32_t)e << 23;
    float m;
    memcpy(&m, &ix, sizeof m);
    float f = m - 1.0f, z = f * f;
    float y = 7.0376836292e-2f;
    y = y * f - 1.1514610310e-1f;
    y = y * f + 1.1676998740e-1f;
    y = y * f - 1.2420140846e-1f;
    y = y * f + 1.4249322787e-1f;
    y = y * f - 1.6668057665e-1f;
    y = y * f + 2.0000714765e-1f;
    y = y * f - 2.4999993993e-1f;
    y = y * f + 3.3333331174e-1f;
    y = y * f * z - 0.5f * z + f;
    float l = y + (float)e * 0.693147180559945f;
    return sqrtf(-2.0f * l); /* u <= 1, and l = 0 exactly at u = 1 */
}

/* cos and sin of 2 pi bits / 2^32: the top bits choose the quadrant exactly. */
static inline void circle(uint32_t bits, float *c, float *s)
{
    uint32_t q = (bits + 0x20000000u) >> 30;
    float a = (float)(int32_t)(bits - (q << 30)) * 1.462918079267160e-9f; /* 2 pi / 2^32 */
    float z = a * a;
    float sn = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * a + a;
    float cs =
        ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z *
            z -
        0.5f * z + 1.0f;
    /* Selects and signs by bit masks, so that no branch stands in the vector loop. */
    uint32_t is, ic, odd = 0u - (q & 1);
    memcpy(&is, &sn, sizeof is);
    memcpy(&ic, &cs, sizeof ic);
    uint32_t swap = (is ^ ic) & odd;
    ic ^= swap ^ ((q + 1) & 2) << 30;
    is ^= swap ^ (q & 2) << 30;
    memcpy(c, &ic, sizeof ic);
    memcpy(s, &is, sizeof is);
}

static void normal_chunk(const pf_words *in, float *restrict out)
{
    float v[4][PF_CHUNK_BLOCKS];
    for (int i = 0; i < PF_CHUNK_BLOCKS; i++) {
        float r = radius(in->w[0][i]), p = radius(in->w[2][i]), c, s;
        circle(in->w[1][i], &c, &s);
        v[0][i] = r * c;
        v[1][i] = r * s;
        circle(in->w[3][i], &c, &s);
        v[2][i] = p * c;
        v[3][i] = p * s;
    }
    for (int i = 0; i < PF_CHUNK_BLOCKS; i++)
        for (int j = 0; j < 4; j++) out[4 * i + j] = v[j][i];
}

static void interleave_chunk(const pf_words *in, uint32_t *restrict out)
{
    for (int i = 0; i < PF_CHUNK_BLOCKS; i++)
        for (int j = 0; j < 4; j++) out[4 * i + j] = in->w[j][i];
}

const pf_chunk_ops PF_CLONED(pf_chunk) = {philox_chunk, normal_chunk, interleave_chunk};
