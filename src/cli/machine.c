/* What this process computes with. */
#include "cli/common.h"

#include <probflow/isa.h>
#include <probflow/linalg.h>
#include <probflow/plan.h>

void pf_print_machine(const pf_comm *c)
{
    char cpu[128];
    pf_isa used = pf_isa_used(), best = pf_isa_best();
    printf("%s, %d thread%s\n", pf_cpu_name(cpu, sizeof cpu), pf_comm_threads(c),
           pf_comm_threads(c) == 1 ? "" : "s");
    printf("instruction set %s", pf_isa_name(used));
    if (used != best) printf(" (best here: %s)", pf_isa_name(best));
    printf(", %s, %s\n", pf_kernel_library(), pf_linalg_library());
}
