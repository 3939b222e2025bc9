/* The models that a likelihood command scores, from their names to their results. */
#include "cli/side.h"

#include <probflow/memory.h>

int pf_sides_name(pf_side *sides, const pf_args *args, const char *against)
{
    int n = against ? 2 : 1;
    sides[0].given = args->positional[0];
    sides[1].given = against;
    for (int i = 0; i < n; i++) sides[i].args = *args;
    return n;
}

pf_status pf_sides_hold(pf_comm *c, pf_side *sides, int n)
{
    for (int i = 0; i < n; i++) PF_TRY(pf_hold_checkpoint(c, sides[i].given, &sides[i].args));
    return PF_OK;
}

pf_status pf_sides_load(pf_side *sides, int n, const char *params)
{
    for (int i = 0; i < n; i++)
        PF_TRY(pf_load(sides[i].given, &sides[i].args, params, &sides[i].model));
    return PF_OK;
}

pf_status pf_sides_agree(pf_comm *c, const pf_side *sides, int n)
{
    for (int i = 0; i < n; i++) PF_TRY(pf_ranks_same_model(c, &sides[i].model));
    return PF_OK;
}

pf_scorer pf_side_scorer(const pf_loaded *l)
{
    return (pf_scorer){.net = l->net,
                       .data = &l->e.data,
                       .path = l->path,
                       .file = l->held,
                       .step = l->file.step,
                       .raw = l->raw,
                       .law = l->law,
                       .hint = pf_noise_hint(l)};
}

pf_status pf_sides_end(pf_side *sides, int n, pf_status st)
{
    for (int i = 0; i < n; i++) {
        st = pf_scoring_end(&sides[i].scoring, st);
        pf_free(sides[i].rows.cell);
        pf_loaded_free(&sides[i].model);
    }
    return st;
}
