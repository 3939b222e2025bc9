/* Sources that are no files but drawn at random, of an entropy that is known. */
#ifndef PROBFLOW_SRC_DATA_DRAWN_H
#define PROBFLOW_SRC_DATA_DRAWN_H

#include "data/format.h"

#include <probflow/random.h>

#define PF_DENSITY_PREFIX "density:"
#define PF_KNOWN_PREFIX   "known:"

typedef struct pf_drawn {
    pf_space space;
    double entropy; /* nats */
    int64_t n;      /* of training */
    uint64_t seed;
    const void *self;
    /* One row, as tables have them: bytes of levels and tokens, doubles of real data; its log p, nats. */
    double (*point)(const void *self, const pf_draw *d, unsigned char *row);
} pf_drawn;

/* ":N[:SEED]" at `at` of a source.  Fails PF_EARG, with the form that is wanted before it. */
PF_MUST_USE pf_status pf_drawn_ask(const char *spec, const char *at, const char *form,
                                   pf_drawn *d);
/* Both splits into the table.  Fails PF_EFORMAT: there are other sources; PF_EARG: a split is said; PF_EMEM. */
PF_MUST_USE pf_status pf_drawn_read(pf_source *s, pf_table *t, const pf_drawn *d);

#endif
