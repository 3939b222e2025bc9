/* Distributions over levels that a file has in full, so that their entropy is known: a group with
 *
 *     p [L]*d                          the chances of all states of d entries, or
 *     start [L], transition [L,L]      a chain of first order along the entries of an image, row by row
 *
 * and the attribute image_shape (h, w, c), which a table may lack: {1, d, 1}.
 *
 * Test    check_vectors entropy.h5; draws_follow_their_chances */
#ifndef PROBFLOW_SRC_DATA_KNOWN_H
#define PROBFLOW_SRC_DATA_KNOWN_H

#include <probflow/random.h>
#include <probflow/space.h>
#include <probflow/status.h>

typedef struct pf_known {
    pf_space space;
    int dim;
    size_t states;                     /* of the table; 0: it is a chain */
    double *p, *sum;                   /* [states] and its running sum, owned */
    double *start, *transition, *next; /* [L], [L,L], and the running sum of each row; owned */
} pf_known;

/* Fails PF_EIO, PF_EMEM; PF_EFORMAT: chances that are none or do not sum to 1, a shape that is another. */
PF_MUST_USE pf_status pf_known_open(const char *path, const char *group, pf_known *out);
void pf_known_free(pf_known *k); /* a zeroed one allowed */
/* log of the chance of x [dim], nats. */
double pf_known_logp(const pf_known *k, const uint8_t *x);
double pf_known_entropy(const pf_known *k); /* nats */
/* x [dim] by the draw. */
void pf_known_point(const pf_known *k, const pf_draw *d, uint8_t *x);

#endif
