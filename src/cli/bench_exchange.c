/* Speed of the exchange between ranks, as the reduction over shards uses it: rank r meets
 * r ^ distance, both send at once.  The rows are the inputs of a scaling model; with several ranks
 * a host they show where the network begins. */
#include "cli/common.h"

#include <probflow/log.h>

static const size_t sizes[] = {8, 4096, 65536, 262144, 1048576, 4194304};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

/* As many exchanges as fit into the budget, from a first guess. */
static PF_MUST_USE pf_status measure(pf_comm *c, int distance, size_t bytes, double budget)
{
    double once = 0, seconds = 0;
    PF_TRY(pf_comm_ping(c, distance, bytes, 1, &once));
    double fit = budget / (once > 1e-7 ? once : 1e-7);
    int times = fit < 1 ? 1 : fit > 10000 ? 10000 : (int)fit;
    PF_TRY(pf_comm_ping(c, distance, bytes, times, &seconds));
    if (pf_comm_rank(c) > 0) return PF_OK;
    printf("%8d %10zu %12.2f %12.3f\n", distance, bytes, seconds * 1e6,
           (double)bytes / seconds * 1e-9);
    fflush(stdout);
    return PF_OK;
}

pf_status pf_bench_exchange(pf_comm *c, double budget)
{
    int size = pf_comm_size(c), rows = 0;
    PF_REQUIRE((size & (size - 1)) == 0, PF_EARG,
               "bench on %d ranks; the exchange needs a power of two", size);
    if (pf_comm_rank(c) == 0) {
        printf("exchange between %d ranks, both ways at once\n\n", size);
        printf("%8s %10s %12s %12s\n", "distance", "bytes", "us", "GB/s");
    }
    for (int distance = 1; distance < size; distance *= 2) rows += N_SIZES;
    for (int distance = 1; distance < size; distance *= 2)
        for (int i = 0; i < N_SIZES; i++) PF_TRY(measure(c, distance, sizes[i], budget / rows));
    return PF_OK;
}
