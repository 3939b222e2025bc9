/* What likelihood and samplers see of a model: a score under an SDE, a chain of steps, or both. */
#ifndef PROBFLOW_VIEW_H
#define PROBFLOW_VIEW_H

#include <probflow/chain.h>
#include <probflow/score.h>
#include <probflow/sde.h>

/* What an estimand or a sampler needs of it. */
enum { PF_NEEDS_SCORE = 1, PF_NEEDS_CHAIN = 2 };

typedef struct pf_view { /* borrowed */
    const pf_sde *sde;   /* of the score */
    pf_score *score;     /* NULL: none */
    pf_chain *chain;     /* NULL: none */
} pf_view;

#endif
