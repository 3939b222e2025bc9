/* Rows of what is scored, a group at a time, and what the model is told beside them. */
#ifndef PROBFLOW_SRC_LIKELIHOOD_ROWS_H
#define PROBFLOW_SRC_LIKELIHOOD_ROWS_H

#include <probflow/scoring.h>

typedef struct pf_rows {
    pf_group g;
    /* Owned: what had to be read. */
    void *values;
    int32_t *labels; /* [B] where the data have labels */
    double *conditions;
} pf_rows;

/* Reads the group, one thread at a time.  To be freed also after a failure.  Fails as the data set does;
 * PF_EMEM. */
PF_MUST_USE pf_status pf_rows_of_group(pf_scoring *s, int64_t group, pf_rows *out);
void pf_rows_free(pf_rows *r);
/* 1 when the model reads labels or conditions. */
int pf_rows_are_told(const pf_scorer *model);

#endif
