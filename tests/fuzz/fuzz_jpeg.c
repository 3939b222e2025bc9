/* A folder with one JPEG file, or that file itself.
 *
 *     input   flags, then the file
 *     flags   1: the file itself, 2: its channels, crop and size are changed */
#include <sys/stat.h>
#include "convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    fuzz_clear();
    const char *source = fuzz_path("images");
    const pf_convert_opt o = {.channels = 1, .crop_h = 3, .crop_w = 2, .resize_h = 5};
    mkdir(source, 0777);
    const char *file = fuzz_put("images/a.jpg", data + 1, size - 1);
    convert_as(data[0] & 1 ? &file : &source, 1, data[0] & 2 ? &o : NULL);
    return 0;
}
