/* Conversion of the files an input was put into, and what must hold of its outcome. */
#ifndef PF_TESTS_FUZZ_CONVERT_H
#define PF_TESTS_FUZZ_CONVERT_H

#include <probflow/data.h>
#include <probflow/memory.h>
#include <unistd.h>
#include "fuzz.h"

/* What is accepted can be opened and read; what is refused has a sentence and leaves no file. */
static inline void convert_as(const char *const *sources, int n, const pf_convert_opt *opt)
{
    static const char *const splits[] = {"train", "valid", "test"};
    const char *out = fuzz_path("out.h5");
    unlink(out);
    pf_status st = pf_data_convert(sources, NULL, n, opt, out);
    if (st) {
        if (!pf_error_message()[0]) fuzz_finding("refused without a sentence");
        if (!access(out, F_OK)) fuzz_finding("refused, but a file is left");
        return;
    }
    int found = 0;
    for (int s = 0; s < 3; s++) {
        pf_dataset *d = NULL;
        if (pf_dataset_open(out, splits[s], &d)) continue;
        const pf_dataset_info *a = pf_dataset_about(d);
        size_t row =
            (size_t)a->space.shape.h * (size_t)a->space.shape.w * (size_t)a->space.shape.c;
        uint8_t *image = a->space.kind == PF_LEVELS ? pf_zalloc(row) : NULL;
        if (image &&
            (pf_dataset_images(d, 0, 1, image) || pf_dataset_images(d, a->n - 1, 1, image)))
            fuzz_finding("accepted, but cannot be read");
        double *x = image ? NULL : pf_zalloc(row * sizeof *x);
        if (x && (pf_dataset_x(d, 0, 1, x) || pf_dataset_x(d, a->n - 1, 1, x)))
            fuzz_finding("accepted, but its values cannot be read");
        pf_free(x);
        found++;
        pf_free(image);
        pf_dataset_close(d);
    }
    if (!found) fuzz_finding("accepted, but it has no split");
}

static inline void convert(const char *const *sources, int n)
{
    convert_as(sources, n, NULL);
}

#endif
