/* Philox4x32-10 and the draws made of it.
 *
 *   round: (c0, c1, c2, c3) <- (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0))
 *   key:   (k0, k1) <- (k0 + W0, k1 + W1)
 *
 * Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 * Normals: Box and Muller (1958); log, sin and cos by minimax polynomials on the reduced range
 * (Cephes single precision), so that the loop over blocks is a vector loop.
 *
 * Draws are made in whole chunks that start at multiples of CHUNK elements and are then copied:
 * each element meets the same instructions however [first, n) is cut. */
#include <probflow/random.h>

#include <math.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
/* The same bits from every clone: no fused multiply-add where the instruction set has one. */
#pragma GCC optimize("O3", "fp-contract=off")
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#endif
#endif
#ifndef CLONES
#define CLONES
#endif

enum { BLOCKS = 64, CHUNK = 4 * BLOCKS };

#define M0 0xD2511F53u
#define M1 0xCD9E8D57u
#define W0 0x9E3779B9u
#define W1 0xBB67AE85u

typedef struct words {
    uint32_t w[4][BLOCKS];
} words;

static inline void rounds(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                          uint32_t k1)
{
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
        uint64_t p0 = (uint64_t)M0 * *c0, p1 = (uint64_t)M1 * *c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
        *c1 = (uint32_t)p1;
        *c3 = (uint32_t)p0;
        *c0 = n0;
        *c2 = n2;
        k0 += W0;
        k1 += W1;
    }
}

/* The same rounds in 64-bit lanes, where the vector products keep both halves in place. */
static inline void wide_rounds(uint64_t c[4], uint32_t k0, uint32_t k1)
{
    const uint64_t low = 0xFFFFFFFFu;
#pragma GCC unroll 10
    for (int r = 0; r < 10; r++) {
        uint64_t p0 = M0 * c[0], p1 = M1 * c[2];
        c[0] = (p1 >> 32) ^ c[1] ^ k0;
        c[2] = (p0 >> 32) ^ c[3] ^ k1;
        c[1] = p1 & low;
        c[3] = p0 & low;
        k0 += W0;
        k1 += W1;
    }
}

/* BLOCKS blocks from counter word 0 = first; c[1..3] are shared. */
CLONES static void philox_chunk(const uint32_t c[4], const uint32_t key[2], words *out)
{
    uint32_t first = c[0], s1 = c[1], s2 = c[2], s3 = c[3], k0 = key[0], k1 = key[1];
    for (int i = 0; i < BLOCKS; i++) {
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

CLONES static void normal_chunk(const words *in, float *restrict out)
{
    float v[4][BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        float r = radius(in->w[0][i]), p = radius(in->w[2][i]), c, s;
        circle(in->w[1][i], &c, &s);
        v[0][i] = r * c;
        v[1][i] = r * s;
        circle(in->w[3][i], &c, &s);
        v[2][i] = p * c;
        v[3][i] = p * s;
    }
    for (int i = 0; i < BLOCKS; i++)
        for (int j = 0; j < 4; j++) out[4 * i + j] = v[j][i];
}

CLONES static void interleave_chunk(const words *in, uint32_t *restrict out)
{
    for (int i = 0; i < BLOCKS; i++)
        for (int j = 0; j < 4; j++) out[4 * i + j] = in->w[j][i];
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

/* Turns whole chunks of 32-bit words into whole chunks of 32-bit values. */
typedef void (*chunk_fn)(const words *in, void *out);

static void bits_of(const words *in, void *out)
{
    interleave_chunk(in, out);
}

static void normals_of(const words *in, void *out)
{
    normal_chunk(in, out);
}

static void uniforms_of(const words *in, void *out)
{
    uint32_t bits[CHUNK];
    interleave_chunk(in, bits);
    float *u = out;
    for (int i = 0; i < CHUNK; i++) u[i] = (float)(bits[i] >> 8) * 0x1p-24f;
}

static void signs_of(const words *in, void *out)
{
    uint32_t bits[CHUNK];
    interleave_chunk(in, bits);
    float *u = out;
    for (int i = 0; i < CHUNK; i++) u[i] = bits[i] >> 31 ? 1.0f : -1.0f;
}

static void draw(const pf_draw *d, size_t first, size_t n, chunk_fn turn, void *out)
{
    words w;
    uint32_t c[4], key[2], part[CHUNK];
    unsigned char *to = out;
    while (n > 0) {
        size_t start = first / CHUNK * CHUNK, skip = first - start;
        size_t take = CHUNK - skip < n ? CHUNK - skip : n;
        counter_of(d, start / 4, c, key);
        philox_chunk(c, key, &w);
        if (take == CHUNK) turn(&w, to);
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
