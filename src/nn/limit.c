/* The matrix work of a plan, handed to the library that does it barely. */
#include <probflow/limit.h>
#include <probflow/memory.h>

#include "nn/plan_impl.h"

pf_status pf_limit_create(const pf_plan *p, int bf16, pf_limit **out)
{
    const pf_site **site = pf_zalloc((size_t)p->n_step * sizeof *site);
    PF_REQUIRE(site, PF_EMEM, "no memory for %d operators", p->n_step);
    int n = 0;
    for (int i = 0; i < p->n_step; i++)
        if (p->step[i].live) site[n++] = &p->step[i].site;
    pf_bare_opt o = {.site = site, .n = n, .bf16 = bf16, .floats = p->mem_floats};
    pf_status st = pf_bare_create(&o, out);
    pf_free(site);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
