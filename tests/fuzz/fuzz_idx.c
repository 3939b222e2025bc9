/* IDX, plain and as gzip, images alone or with labels.
 *
 *     input   flags, 2 bytes CUT, then images [0,CUT) and labels [CUT,...)
 *     flags   1: images packed by us, 2: labels too, 4: no labels, 8: the test split */
#include "convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    unsigned flags = data[0];
    size_t cut = data[1] | (size_t)data[2] << 8, n = 1;
    data += 3, size -= 3;
    if (cut > size || flags & 4) cut = size;
    const char *images = flags & 8 ? "t10k-images-idx3-ubyte" : "train-images-idx3-ubyte";
    const char *labels = flags & 8 ? "t10k-labels-idx1-ubyte" : "train-labels-idx1-ubyte";
    const char *sources[2] = {(flags & 1 ? fuzz_put_gzip : fuzz_put)(images, data, cut)};
    if (!(flags & 4))
        sources[n++] = (flags & 2 ? fuzz_put_gzip : fuzz_put)(labels, data + cut, size - cut);
    convert(sources, (int)n);
    return 0;
}
