/* What likelihood and samplers see of a model: a score under an SDE, a chain of steps, or both. */
#ifndef PROBFLOW_VIEW_H
#define PROBFLOW_VIEW_H

#include <probflow/chain.h>
#include <probflow/score.h>
#include <probflow/sde.h>

/* What an estimand or a sampler needs of it. */
enum { PF_NEEDS_SCORE = 1, PF_NEEDS_CHAIN = 2 };

/* Noise levels that a score was trained for, all of data times one. */
typedef struct pf_ladder {
    int levels;
    const double *sigma; /* [levels], falling, in model scale */
    const double *t;     /* [levels] the time of each under the view's SDE */
} pf_ladder;

typedef struct pf_view {     /* borrowed */
    const pf_sde *sde;       /* of the score */
    pf_score *score;         /* NULL: none */
    pf_chain *chain;         /* NULL: none */
    const pf_ladder *ladder; /* of the score; NULL: any noise of its SDE will do */
    /* What training learned of the losses of the chain's indices, see times.h; NULL: nothing. */
    const struct pf_times *law;
} pf_view;

#endif
