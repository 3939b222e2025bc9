/* A folder with one PNG file, in a class or not.
 *
 *     input   flags, then the file
 *     flags   1: in the folder train/3, else at the top */
#include <sys/stat.h>
#include "convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    fuzz_clear();
    const char *source = fuzz_path("images");
    mkdir(source, 0777);
    mkdir(fuzz_path("images/train"), 0777);
    mkdir(fuzz_path("images/train/3"), 0777);
    fuzz_put(data[0] & 1 ? "images/train/3/a.png" : "images/a.png", data + 1, size - 1);
    convert(&source, 1);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    (void)seed;
    size = LLVMFuzzerMutate(data, size, max);
    if (size > 1) fuzz_png_repair(data + 1, size - 1);
    return size;
}
