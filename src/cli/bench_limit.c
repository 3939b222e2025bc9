/* The limits of all workers, run at once as their plans are. */
#include "cli/bench.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <omp.h>

typedef struct verdict {
    pf_status status;
    char message[512];
} verdict;

/* The first failure of all threads. */
static PF_MUST_USE pf_status first_of(const verdict *v, int n)
{
    for (int i = 0; i < n; i++)
        if (v[i].status) PF_TRY(pf_error_adopt(v[i].status, v[i].message));
    return PF_OK;
}

static void keep(verdict *v, pf_status st)
{
    v->status = st;
    if (st) snprintf(v->message, sizeof v->message, "%s", pf_error_message());
}

static pf_status run_times(pf_limit *l, int times)
{
    for (int i = 0; i < times; i++) PF_TRY(pf_limit_run(l));
    return PF_OK;
}

static PF_MUST_USE pf_status on_all(const pf_bench_limits *l, const pf_bench_row *create)
{
    verdict *v = pf_zalloc((size_t)l->n * sizeof *v);
    PF_REQUIRE(v, PF_EMEM, "no memory for %d workers", l->n);
#pragma omp parallel num_threads(l->n)
    {
        int t = omp_get_thread_num();
        omp_set_num_threads(1);
        if (create) keep(&v[t], pf_limit_create(create->plan[t], create->bf16, &l->limit[t]));
        else keep(&v[t], run_times(l->limit[t], l->times));
    }
    pf_status st = first_of(v, l->n);
    pf_free(v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_bench_limits_open(const pf_bench_row *r, int times, pf_bench_limits *out)
{
    *out = (pf_bench_limits){.n = r->n_plans, .times = times};
    out->limit = pf_zalloc((size_t)out->n * sizeof *out->limit);
    PF_REQUIRE(out->limit, PF_EMEM, "no memory for %d workers", out->n);
    pf_status st = on_all(out, r);
    if (st == PF_ENOSUPP) {
        pf_free(out->limit);
        out->limit = NULL;
        return PF_OK;
    }
    PF_TRY(st);
    double warm_up;
    PF_TRY(pf_bench_limits_run(out, &warm_up));
    return PF_OK;
}

void pf_bench_limits_free(pf_bench_limits *l)
{
    for (int i = 0; l->limit && i < l->n; i++) pf_limit_free(l->limit[i]);
    pf_free(l->limit);
}

pf_status pf_bench_limits_run(const pf_bench_limits *l, double *seconds)
{
    *seconds = 0;
    if (!l->limit) return PF_OK;
    double since = pf_seconds();
    PF_TRY(on_all(l, NULL));
    *seconds = pf_seconds() - since;
    return PF_OK;
}
