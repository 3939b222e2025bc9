/* Texts and the vocabularies they are read by.
 *
 *     input   flags, 1 byte, the vocabulary up to the first byte 0, then the text
 *     flags   1, 2: as-is, text8, bytes, the vocabulary; 4: lines; 8: remainders dropped; 16: packed by us;
 *             its upper three bits: symbols a row, less one */
#include "convert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const rules[] = {"as-is", "text8", "bytes"};
    if (size < 3) return 0;
    unsigned flags = data[0];
    const uint8_t *end = memchr(data + 1, 0, size - 1);
    size_t symbols = end ? (size_t)(end - data) - 1 : 0, from = end ? symbols + 2 : 1;
    const char *vocabulary = fuzz_put("v.vocab", data + 1, symbols);
    const char *source =
        (flags & 16 ? fuzz_put_gzip : fuzz_put)("a.txt", data + from, size - from);
    const pf_convert_opt opt = {.text = (flags & 3) < 3 ? rules[flags & 3] : vocabulary,
                                .length = 1 + (int)(flags >> 5),
                                .lines = flags >> 2 & 1,
                                .drop = flags >> 3 & 1};
    convert_as(&source, 1, &opt);
    return 0;
}
