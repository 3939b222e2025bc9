/* Tables of numbers.
 *
 *     input   flags, 1 byte, then the table
 *     flags   1: .txt, 2: .tsv, 4: packed by us, 8: a label by number, 16: a condition, 32: a label
 *             by name */
#include "convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    unsigned flags = data[0];
    const char *name = flags & 1 ? "a.txt" : flags & 2 ? "a.tsv" : "a.csv";
    const char *source = (flags & 4 ? fuzz_put_gzip : fuzz_put)(name, data + 1, size - 1);
    const char *const condition[] = {flags & 16 ? "1" : NULL, NULL};
    const pf_convert_opt opt = {.label = flags & 8    ? "2"
                                         : flags & 32 ? "u"
                                                      : NULL,
                                .condition = condition};
    pf_points p;
    convert(&source, 1);
    if (!pf_points_read(source, &opt, &p)) {
        if (p.n < 1 || p.space.shape.c < 1) fuzz_finding("accepted, but it is empty");
        int64_t numbers = p.n * p.space.shape.c;
        for (int64_t i = 0; p.x && i < numbers; i++)
            if (!(p.x[i] - p.x[i] == 0)) fuzz_finding("accepted, but no finite number");
    }
    pf_points_free(&p);
    return 0;
}
