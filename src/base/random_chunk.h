/* A chunk of Philox blocks and what draws are made of it. */
#ifndef PROBFLOW_SRC_BASE_RANDOM_CHUNK_H
#define PROBFLOW_SRC_BASE_RANDOM_CHUNK_H

#include <stdint.h>

enum { PF_CHUNK_BLOCKS = 64, PF_CHUNK = 4 * PF_CHUNK_BLOCKS };

#define PF_PHILOX_M0 0xD2511F53u
#define PF_PHILOX_M1 0xCD9E8D57u
#define PF_PHILOX_W0 0x9E3779B9u
#define PF_PHILOX_W1 0xBB67AE85u

typedef struct pf_words { /* word j of block i */
    uint32_t w[4][PF_CHUNK_BLOCKS];
} pf_words;

typedef struct pf_chunk_ops {
    /* blocks from counter word 0 = c[0] on; c[1..3] are shared */
    void (*philox)(const uint32_t c[4], const uint32_t key[2], pf_words *out);
    void (*normals)(const pf_words *in, float *restrict out); /* [PF_CHUNK] */
    void (*interleave)(const pf_words *in,
                       uint32_t *restrict out); /* [PF_CHUNK] in block order */
} pf_chunk_ops;

#endif
