/* Methods: how data are noised, what a network is asked for, and what the loss is.
 *
 * A new method is one file with one pf_method_ops and one row of the table.
 *
 *     open -> self, read-only        see(batch) -> ports, scratch        network(ports) -> net
 *     loss(batch, scratch, net) -> terms and d(sum of terms)/d net
 *
 * Every draw is keyed by the batch's seed and the samples' global numbers, so neither ranks nor threads
 * nor the size of a batch change a number. */
#ifndef PROBFLOW_METHOD_H
#define PROBFLOW_METHOD_H

#include <probflow/option.h>
#include <probflow/space.h>

/* What a network may read: a name and the shape of one sample. */
enum { PF_PORTS_MAX = 8 };
typedef struct pf_port {
    const char *name;
    pf_shape shape;
    int integer; /* 1: int32_t, 0: float */
} pf_port;
typedef struct pf_ports {
    int n;
    pf_port port[PF_PORTS_MAX];
} pf_ports;

/* B samples of a global batch (training) or of a split (evaluation).  Everything borrowed. */
typedef struct pf_batch {
    const pf_space *space;
    int B;
    int64_t first, total; /* these are positions first .. first+B-1 of `total` */
    const void *k;        /* levels or tokens; NULL: not given */
    const float *x;       /* [B,D] in model scale */
    const int32_t *label;
    const float *condition;
    const uint64_t *sample; /* [B] global numbers, which key the draws */
    uint64_t seed;
    uint32_t step;
    int eval; /* 1: the draws of evaluation, which do not depend on step */
} pf_batch;

typedef struct pf_method_ops {
    const char *name, *help;
    size_t size; /* of the options */
    const pf_opt *opts;
    unsigned kinds; /* bit 1u << kind for each pf_kind it takes */
    /* Makes the tables.  *self is read-only afterwards and may be shared by threads.  Fails PF_EARG
     * (options or a space that do not fit), PF_EMEM. */
    pf_status (*open)(const void *opt, const pf_space *space, void **self);
    void (*close)(void *self); /* NULL allowed */
    /* The ports offered to a network, and the shape of its output. */
    void (*ports)(const void *self, pf_ports *in, pf_shape *out);
    size_t (*scratch)(const void *self); /* bytes a sample, a multiple of 8 */
    /* Draws, and fills in[i] ([B] of port i; NULL where the network does not read it) and scratch. */
    void (*see)(const void *self, const pf_batch *b, void *scratch, void *const *in);
    /* term [B]; gout (NULL: unwanted) = scale d(sum term)/d net. */
    void (*loss)(const void *self, const pf_batch *b, const void *scratch, const float *net,
                 double scale, double *term, float *gout);
} pf_method_ops;

#endif
