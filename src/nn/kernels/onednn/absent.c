/* A build without oneDNN has no bare primitives to compare with. */
#include "nn/kernel.h"

const char *pf_kernel_library(void)
{
    return "no oneDNN";
}

pf_status pf_bare_create(const pf_bare_opt *o, pf_limit **out)
{
    (void)o, (void)out;
    PF_FAIL(PF_ENOSUPP, "this build has no oneDNN to compare with");
}

pf_status pf_limit_run(pf_limit *l)
{
    (void)l;
    PF_FAIL(PF_ENOSUPP, "this build has no oneDNN to compare with");
}

void pf_limit_free(pf_limit *l)
{
    (void)l;
}

double pf_limit_flops(const pf_limit *l)
{
    (void)l;
    return 0.0;
}
