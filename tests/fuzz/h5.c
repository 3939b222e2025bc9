/* Mutation of HDF5 files of ours, with every checksum made right again.
 *
 * The places of HDF5's own checksums are found in the input before it is changed: from each signature of
 * the format the first length at which the sum holds.  Mutations keep the size, so places found once
 * serve all later inputs of that size. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "fuzz.h"

enum { PLACES = 256, LAYOUTS = 32, LONGEST = 2048, FOOTER = 32 };

typedef struct place {
    size_t at, n; /* summed bytes; the sum follows them */
} place;

typedef struct layout {
    size_t size;
    int n;
    place p[PLACES];
} layout;

static uint32_t get32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t rotated(uint32_t x, int k)
{
    return x << k | x >> (32 - k);
}

static void mix(uint32_t v[3])
{
    static const int turn[6] = {4, 6, 8, 16, 19, 4};
    for (int i = 0; i < 6; i++) { /* a b c, then c a b, ... */
        uint32_t *a = &v[i % 3], *b = &v[(i + 1) % 3], *c = &v[(i + 2) % 3];
        *a -= *c, *a ^= rotated(*c, turn[i]), *c += *b;
    }
}

static void finish(uint32_t v[3])
{
    static const int turn[7] = {14, 11, 25, 16, 4, 14, 24};
    for (int i = 0; i < 7; i++) { /* c by b, a by c, b by a, ... */
        uint32_t *to = &v[(i + 2) % 3], *by = &v[(i + 1) % 3];
        *to ^= *by, *to -= rotated(*by, turn[i]);
    }
}

uint32_t fuzz_lookup3(const uint8_t *p, size_t n)
{
    uint32_t start = 0xdeadbeef + (uint32_t)n, v[3] = {start, start, start};
    for (; n > 12; p += 12, n -= 12) {
        for (int i = 0; i < 3; i++) v[i] += get32(p + 4 * i);
        mix(v);
    }
    if (n == 0) return v[2];
    uint8_t last[12] = {0};
    memcpy(last, p, n);
    for (int i = 0; i < 3; i++) v[i] += get32(last + 4 * i);
    finish(v);
    return v[2];
}

static int is_signature(const uint8_t *p)
{
    static const char *const known[] = {"OHDR", "OCHK", "BTHD", "BTLF", "BTIN", "FRHP",
                                        "FHDB", "FHIB", "FAHD", "FADB", "EAHD", "EAIB",
                                        "EADB", "EASB", "FSHD", "FSSE"};
    if (!memcmp(p, "\211HDF", 4)) return 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!memcmp(p, known[i], 4)) return 1;
    return 0;
}

static void find_places(const uint8_t *b, size_t size, layout *l)
{
    *l = (layout){.size = size};
    for (size_t at = 0; at + 8 <= size && l->n < PLACES; at++) {
        if (!is_signature(b + at)) continue;
        for (size_t n = 8; n <= LONGEST && at + n + 4 <= size; n++) {
            if (fuzz_lookup3(b + at, n) != get32(b + at + n)) continue;
            l->p[l->n++] = (place){at, n};
            break;
        }
    }
}

static const layout *layout_of(const uint8_t *b, size_t size)
{
    static layout known[LAYOUTS];
    static int next;
    for (int i = 0; i < LAYOUTS; i++)
        if (known[i].size == size) return &known[i];
    next = (next + 1) % LAYOUTS;
    find_places(b, size, &known[next]);
    return &known[next];
}

static int sealed(const uint8_t *b, size_t size)
{
    return size > FOOTER && !memcmp(b + size - FOOTER, "PFSEAL1\n", 8);
}

/* Bytes in front of the trailer. */
static size_t body_of(const uint8_t *b, size_t size)
{
    if (!sealed(b, size)) return size;
    uint64_t n = get64(b + size - FOOTER + 16);
    return n <= (size - FOOTER) / 16 ? size - FOOTER - 16 * (size_t)n : size - FOOTER;
}

static void reseal(uint8_t *b, size_t size)
{
    if (!sealed(b, size)) return;
    uint8_t *footer = b + size - FOOTER;
    size_t body = body_of(b, size), at = 0, n = (size - FOOTER - body) / 16;
    uLong rest = crc32(0, NULL, 0);
    for (size_t i = 0; i <= n; i++) {
        uint64_t end = i < n ? get64(b + body + 16 * i) : body;
        uint64_t skip = i < n ? get64(b + body + 16 * i + 8) : 0;
        if (end < at || end > body || skip > body - end)
            break; /* no such ranges: nothing to sum */
        rest = crc32_z(rest, b + at, end - at);
        at = end + skip;
    }
    put32(footer + 24, (uint32_t)rest);
    put32(footer + 28, (uint32_t)crc32_z(crc32(0, NULL, 0), b + body, size - 4 - body));
}

/* One change near `at`: a bit, a byte, or a number that sizes break on. */
static void change(uint8_t *b, size_t size, size_t at, uint64_t *rng)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       0x7f,
                                       0xff,
                                       0x7fff,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       (uint64_t)1 << 32,
                                       INT64_MAX,
                                       UINT64_MAX,
                                       UINT64_MAX / 8 + 1};
    uint64_t r = fuzz_next(rng),
             value = numbers[(r >> 32) % (sizeof numbers / sizeof *numbers)];
    size_t width = (size_t)1 << (r >> 8 & 3);
    if (r & 1 && at + width <= size) {
        for (size_t i = 0; i < width; i++) b[at + i] = (uint8_t)(value >> 8 * i);
    } else if (r & 2) b[at] ^= (uint8_t)(1u << (r >> 4 & 7));
    else if (r & 4) b[at] = (uint8_t)(r >> 16);
    else b[at] = (uint8_t)(b[at] + (r & 8 ? 1 : -1));
}

/* Three of four changes go to metadata that carries a sum, the rest anywhere, the trailer included. */
static size_t choose(const layout *l, size_t size, uint64_t *rng)
{
    uint64_t r = fuzz_next(rng);
    if (l->n > 0 && r & 3) {
        const place *p = &l->p[(r >> 8) % (uint64_t)l->n];
        return p->at + (r >> 32) % p->n;
    }
    return (r >> 8) % size;
}

size_t fuzz_h5_mutate(uint8_t *data, size_t size, uint64_t seed)
{
    if (size < 64) return size;
    const layout *l = layout_of(data, size);
    uint64_t rng = seed;
    int n = 1 + (int)(fuzz_next(&rng) & 3);
    for (int i = 0; i < n; i++) change(data, size, choose(l, size, &rng), &rng);
    for (int i = 0; i < l->n; i++)
        put32(data + l->p[i].at + l->p[i].n, fuzz_lookup3(data + l->p[i].at, l->p[i].n));
    reseal(data, size);
    return size;
}
