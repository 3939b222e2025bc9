/* CIFAR: binary batches, or a PNG sheet with JSON labels; or a folder of a batch and the names of its classes.
 *
 *     input   flags, 2 bytes CUT, then batch or sheet [0,CUT) and labels or names [CUT,...)
 *     flags   1: a sheet, 2: a folder, 4: no labels, 8: the test split, 16: CIFAR-100 */
#include <sys/stat.h>
#include "convert.h"

static void convert_folder(unsigned flags, const uint8_t *data, size_t cut, size_t size)
{
    const char *folder;
    fuzz_clear();
    folder = fuzz_path("batches");
    mkdir(folder, 0777);
    fuzz_put(flags & 16 ? "batches/train.bin" : "batches/data_batch_1.bin", data, cut);
    fuzz_put(flags & 16 ? "batches/coarse_label_names.txt" : "batches/batches.meta.txt",
             data + cut, size - cut);
    convert(&folder, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) return 0;
    unsigned flags = data[0];
    size_t cut = data[1] | (size_t)data[2] << 8;
    data += 3, size -= 3;
    if (cut > size) cut = size;
    if (flags & 2) {
        convert_folder(flags, data, cut, size);
        return 0;
    }
    if (flags & 4 || !(flags & 1)) cut = size;
    const char *name = flags & 1    ? (flags & 8 ? "test_batch.png" : "data_batch_1.png")
                       : flags & 16 ? "train.bin"
                                    : (flags & 8 ? "test_batch.bin" : "data_batch_1.bin");
    const char *sources[2] = {fuzz_put(name, data, cut)};
    int n = 1;
    if (cut < size)
        sources[n++] = fuzz_put(flags & 8 ? "test_labels.json" : "train_labels.json",
                                data + cut, size - cut);
    convert(sources, n);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    (void)seed;
    size = LLVMFuzzerMutate(data, size, max);
    if (size > 3) fuzz_png_repair(data + 3, size - 3);
    return size;
}
