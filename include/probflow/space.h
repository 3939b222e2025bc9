/* What one datum is: kind, shape and number of values it can take. */
#ifndef PROBFLOW_SPACE_H
#define PROBFLOW_SPACE_H

#include <probflow/graph.h>

typedef enum pf_kind { PF_LEVELS, PF_TOKENS, PF_REAL } pf_kind;

typedef struct pf_space {
    int kind;       /* pf_kind */
    pf_shape shape; /* tokens: {1,1,L} */
    int levels;     /* values of an entry: 0 .. levels-1; 0: real */
    int classes;    /* that the labels are of; 0: no labels, or not asked for */
    int conditions; /* numbers that condition each row; 0: none */
} pf_space;

#endif
