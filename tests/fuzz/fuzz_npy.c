/* .npy: an array and its labels.
 *
 *     input   flags, 2 bytes CUT, then array [0,CUT) and labels [CUT,...)
 *     flags   1: compressed, 4: no labels, 8: the test split */
#include <string.h>
#include "convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    unsigned flags = data[0];
    size_t cut = data[1] | (size_t)data[2] << 8;
    data += 3, size -= 3;
    if (cut > size || flags & 4) cut = size;
    const char *name = flags & 8 ? "x_test.npy" : "x_train.npy", *sources[2];
    int n = 1;
    sources[0] = flags & 1 ? fuzz_put_gzip(name, data, cut) : fuzz_put(name, data, cut);
    if (cut < size)
        sources[n++] =
            fuzz_put(flags & 8 ? "y_test.npy" : "y_train.npy", data + cut, size - cut);
    convert(sources, n);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, size, max);
}
