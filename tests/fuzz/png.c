/* PNG: what lies behind the checksums of its chunks is reached only when they are right. */
#include "fuzz.h"
#include <string.h>
#include <zlib.h>

void fuzz_png_repair(uint8_t *b, size_t size)
{
    if (size < 8 || memcmp(b, "\211PNG\r\n\032\n", 8)) return;
    for (size_t at = 8; at + 12 <= size;) {
        size_t n =
            (size_t)b[at] << 24 | (size_t)b[at + 1] << 16 | (size_t)b[at + 2] << 8 | b[at + 3];
        if (n > size - at - 12) return;
        uint32_t crc = (uint32_t)crc32(0, b + at + 4, (uInt)n + 4);
        for (int i = 0; i < 4; i++) b[at + 8 + n + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + n;
    }
}
