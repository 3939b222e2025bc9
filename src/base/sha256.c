/* SHA-256.
 *
 * Source: FIPS 180-4, sections 4.1.2, 5.1.1, 5.3.3 and 6.2. */
#include <probflow/sha256.h>
#include <errno.h>
#include <string.h>

/* Fractional parts of the cube roots of the first 64 primes (4.2.2). */
/* clang-format off */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
/* clang-format on */

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void compress(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], v[8];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)p[4 * t] << 24 | (uint32_t)p[4 * t + 1] << 16 |
               (uint32_t)p[4 * t + 2] << 8 | p[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    memcpy(v, h, sizeof v);
    for (int t = 0; t < 64; t++) {
        uint32_t a = v[0], e = v[4];
        uint32_t t1 = v[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +
                      ((e & v[5]) ^ (~e & v[6])) + K[t] + w[t];
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +
                      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
}

void pf_sha256_init(pf_sha256 *s)
{
    static const uint32_t h0[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memset(s, 0, sizeof *s);
    memcpy(s->h, h0, sizeof h0);
}

void pf_sha256_add(pf_sha256 *s, const void *p, size_t n)
{
    const unsigned char *b = p;
    while (n > 0) {
        size_t have = s->bytes % 64, take = 64 - have < n ? 64 - have : n;
        if (have == 0 && n >= 64) {
            compress(s->h, b);
            take = 64;
        } else {
            memcpy(s->block + have, b, take);
            if (have + take == 64) compress(s->h, s->block);
        }
        s->bytes += take, b += take, n -= take;
    }
}

void pf_sha256_hex(pf_sha256 *s, char hex[PF_SHA256_HEX])
{
    static const unsigned char pad[64] = {0x80};
    unsigned char length[8];
    uint64_t bits = s->bytes * 8;
    for (int i = 7; i >= 0; i--, bits >>= 8) length[i] = (unsigned char)bits;
    pf_sha256_add(s, pad, 1 + (119 - s->bytes % 64) % 64);
    pf_sha256_add(s, length, 8);
    for (int i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08x", s->h[i]);
}

pf_status pf_sha256_add_file(pf_sha256 *s, const char *path)
{
    unsigned char buf[1 << 14];
    FILE *f = fopen(path, "rb");
    if (!f) PF_FAIL(PF_EIO, "cannot open %s: %s", path, strerror(errno));
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;) pf_sha256_add(s, buf, n);
    int bad = ferror(f);
    fclose(f);
    PF_REQUIRE(!bad, PF_EIO, "cannot read %s", path);
    return PF_OK;
}

pf_status pf_sha256_file(const char *path, char hex[PF_SHA256_HEX])
{
    pf_sha256 s;
    pf_sha256_init(&s);
    PF_TRY(pf_sha256_add_file(&s, path));
    pf_sha256_hex(&s, hex);
    return PF_OK;
}
