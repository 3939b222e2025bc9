/* Dropout masks: a pure function of the run's seed and step, the sample's global number, the
 * operator and the position, so backward draws the mask of its forward again instead of
 * keeping it, and neither batches nor ranks change it. */
#include <probflow/random.h>

#include "nn/kernel.h"

enum { CHUNK = 512 };

void pf_dropout_mask(const pf_call *c, int b, double rate, size_t first, size_t n, float *mask)
{
    if (!c->run->train || rate <= 0.0) {
        for (size_t i = 0; i < n; i++) mask[i] = 1.0f;
        return;
    }
    pf_draw d = {.seed = c->run->seed,
                 .stream = PF_STREAM_DROPOUT,
                 .sample =
                     ((uint64_t)c->site->index << PF_DROPOUT_SAMPLE_BITS) | c->run->sample[b],
                 .step = c->run->step};
    uint32_t bits[CHUNK], drop_below = (uint32_t)(rate * 4294967296.0);
    float keep = (float)(1.0 / (1.0 - rate));
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t m = n - at < CHUNK ? n - at : CHUNK;
        pf_draw_bits(&d, first + at, m, bits);
        for (size_t i = 0; i < m; i++) mask[at + i] = bits[i] < drop_below ? 0.0f : keep;
    }
}
