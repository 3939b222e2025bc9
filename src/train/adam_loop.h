/* The loop of Adam and the average; see adam.c. */
#ifndef PROBFLOW_SRC_TRAIN_ADAM_LOOP_H
#define PROBFLOW_SRC_TRAIN_ADAM_LOOP_H

#include <probflow/isa.h>

#include <stddef.h>

typedef struct pf_adam_rates { /* everything the loop needs, in its own precision */
    float b1, c1, b2, c2, step, root, eps, keep, mix, scale;
} pf_adam_rates;

typedef void pf_adam_loop_fn(const pf_adam_rates *r, size_t n, const float *restrict g,
                             float *restrict p, float *restrict m, float *restrict v,
                             float *restrict e);
#ifdef PF_CLONE
#define pf_adam_loop PF_CLONED(pf_adam_loop)
pf_adam_loop_fn pf_adam_loop;
#endif

#endif
