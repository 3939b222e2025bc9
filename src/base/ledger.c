/* The ledger's plain parts: empty rows and their order. */
#include <probflow/ledger.h>

#include <math.h>

void pf_ledger_clear(pf_ledger *l)
{
    for (int64_t i = 0; i < l->rows * l->n; i++) {
        pf_role role = l->column[i % l->n].role;
        l->cell[i] = role == PF_ROLE_KEY || role == PF_ROLE_LABEL    ? -1.0
                     : role == PF_ROLE_COUNT || role == PF_ROLE_WORK ? 0.0
                                                                     : NAN;
    }
}

int pf_ledger_weights(const pf_ledger *l)
{
    for (int c = 0; c < l->n; c++)
        if (l->column[c].role == PF_ROLE_WEIGHT) return c;
    return -1;
}

int pf_ledger_order(const double *p, const double *q)
{
    if (p[PF_AT_IMAGE] != q[PF_AT_IMAGE]) return p[PF_AT_IMAGE] < q[PF_AT_IMAGE] ? -1 : 1;
    return (p[PF_AT_DRAW] > q[PF_AT_DRAW]) - (p[PF_AT_DRAW] < q[PF_AT_DRAW]);
}
