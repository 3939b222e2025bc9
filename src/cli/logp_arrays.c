/* probflow logp from arrays of HDF5 to arrays of HDF5: points in model scale with probes of the caller's
 * own, or the exact trace. */
#include "cli/common.h"
#include "cli/logp.h"

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/sha256.h>

#include <string.h>

typedef struct worker {
    pf_score score;
    pf_flow *flow;
} worker;

typedef struct job {
    pf_args args;
    const pf_logp *a;
    pf_loaded l;
    pf_array x, probe;
    int64_t n;
    int D, per_group, threads;
    worker *workers; /* [threads] */
    double *z, *prior, *delta, *logp;
    pf_ode_stat stat;
} job;

/* One group's result: statistics, then z [B,D], prior [B], delta [B]. */
typedef struct result {
    pf_ode_stat stat;
    double v[];
} result;

static int group_size(const job *j, int64_t g)
{
    int64_t left = j->n - g * j->per_group;
    return left < j->per_group ? (int)left : j->per_group;
}

/* The first worker, opened before the others start, has the prepared weights of all. */
static PF_MUST_USE pf_status open_worker(const job *j, worker *k)
{
    const pf_score *with = k == j->workers ? NULL : &j->workers[0].score;
    pf_view_opt view = {.batch = j->per_group, .with_vjp = 1, .with = with ? with->self : NULL};
    PF_TRY(pf_net_score(j->l.net, &view, &k->score));
    PF_TRY(pf_flow_create(j->l.net->sde, &k->score, &k->flow));
    return PF_OK;
}

static pf_status solve(void *self, int w, int64_t g, void *out)
{
    job *j = self;
    worker *k = &j->workers[w];
    result *r = out;
    int B = group_size(j, g);
    size_t n = (size_t)B * (size_t)j->D, at = (size_t)g * (size_t)j->per_group * (size_t)j->D;
    double *z = r->v, *prior = z + n, *delta = prior + B;
    const pf_ode_opt *ode = &j->l.e.likelihood.ode;
    pf_ode_problem p = {.B = B,
                        .K = 1,
                        .t0 = ode->t_min,
                        .t1 = 1.0,
                        .what = "point",
                        .first = g * j->per_group};

    if (!k->flow) PF_TRY(open_worker(j, k)); /* its first group */
    p.flow = k->flow;
    p.exact = !j->probe.v;
    p.probe = j->probe.v ? j->probe.v + at : NULL;
    memcpy(z, j->x.v + at, n * sizeof *z);
    pf_status st = pf_ode_solve(&p, ode, z, delta, &r->stat);
    const char *hint = st == PF_ENUMERIC ? pf_noise_hint(&j->l) : NULL;
    if (hint) st = pf_raise(st, PF_WHERE, "%s; %s %s", pf_error_message(), j->l.path, hint);
    PF_TRY(st);
    for (int b = 0; b < B; b++)
        prior[b] = pf_sde_prior_logp(j->l.net->sde, j->D, z + (size_t)b * (size_t)j->D);
    return PF_OK;
}

static pf_status collect(void *self, int64_t g, const void *in)
{
    job *j = self;
    const result *r = in;
    int B = group_size(j, g);
    size_t n = (size_t)B * (size_t)j->D, row = (size_t)g * (size_t)j->per_group;
    const double *prior = r->v + n, *delta = prior + B;

    memcpy(j->z + row * (size_t)j->D, r->v, n * sizeof *j->z);
    for (int b = 0; b < B; b++) {
        j->prior[row + (size_t)b] = prior[b];
        j->delta[row + (size_t)b] = delta[b];
        j->logp[row + (size_t)b] = prior[b] + delta[b];
    }
    j->stat.steps += r->stat.steps;
    j->stat.evaluations += r->stat.evaluations;
    if (pf_progress_due())
        pf_progress(0, "logp: %zu of %lld points", row + (size_t)B, (long long)j->n);
    return PF_OK;
}

static PF_MUST_USE pf_status prepare(pf_comm *c, job *j)
{
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->a->params, &j->l));
    PF_TRY(pf_told_nothing(&j->l, j->a->unconditional));
    PF_TRY(pf_read_points(&j->l, j->a->in, j->a->group, "x", 0, &j->x));
    j->n = j->x.dim[0];
    j->D = (int)(j->x.size / (size_t)j->n);
    int has = 0;
    PF_TRY(pf_has_points(j->a->in, j->a->group, "probe", &has));
    if (has) PF_TRY(pf_read_points(&j->l, j->a->in, j->a->group, "probe", j->n, &j->probe));
    const char *const used[] = {j->l.path, j->a->in};
    if (pf_comm_rank(c) == 0) PF_TRY(pf_take_output(j->a->out, "arrays/logp", used, 2));
    j->per_group = j->l.e.likelihood.group < j->n ? j->l.e.likelihood.group : (int)j->n;
    j->threads = pf_comm_threads(c);
    size_t n = (size_t)j->n * sizeof(double);
    j->workers = pf_zalloc((size_t)j->threads * sizeof *j->workers);
    j->z = pf_zalloc(n * (size_t)j->D);
    j->prior = pf_zalloc(n);
    j->delta = pf_zalloc(n);
    j->logp = pf_zalloc(n);
    PF_REQUIRE(j->workers && j->z && j->prior && j->delta && j->logp, PF_EMEM,
               "no memory for the results of %lld points", (long long)j->n);
    PF_TRY(open_worker(j, &j->workers[0]));
    return PF_OK;
}

/* Collective. */
static PF_MUST_USE pf_status same_points(pf_comm *c, const job *j)
{
    char sum[PF_SHA256_HEX];
    pf_sha256 s;
    pf_sha256_init(&s);
    pf_sha256_add(&s, j->x.v, j->x.size * sizeof *j->x.v);
    if (j->probe.v) pf_sha256_add(&s, j->probe.v, j->probe.size * sizeof *j->probe.v);
    pf_sha256_hex(&s, sum);
    PF_TRY(pf_ranks_same_text(c, "reads points of SHA-256", sum));
    return PF_OK;
}

static PF_MUST_USE pf_status write_output(const job *j)
{
    pf_out_array a[4] = {
        {.name = "logp", .rank = 1, .dim = {j->n}, .f64 = j->logp},
        {.name = "prior_logp", .rank = 1, .dim = {j->n}, .f64 = j->prior},
        {.name = "delta_logp", .rank = 1, .dim = {j->n}, .f64 = j->delta},
        {.name = "z", .rank = j->x.rank, .f64 = j->z},
    };
    memcpy(a[3].dim, j->x.dim, sizeof a[3].dim);
    pf_out_attr attrs[] = {{"evaluations", NULL, (double)j->stat.evaluations},
                           {"steps", NULL, (double)j->stat.steps},
                           {"trace", j->probe.v ? "probe" : "exact", 0},
                           {"checkpoint", j->l.path, 0},
                           {"params", "raw", 0}};
    PF_TRY(pf_store_write(j->a->out, a, 4, attrs, j->l.raw ? 5 : 4));
    pf_log("%s: %lld points, %lld steps, %lld evaluations", j->a->out, (long long)j->n,
           (long long)j->stat.steps, (long long)j->stat.evaluations);
    return PF_OK;
}

static PF_MUST_USE pf_status work(pf_comm *c, job *j)
{
    PF_TRY(pf_hold_checkpoint(c, j->args.positional[0], &j->args));
    PF_TRY(pf_comm_agree(c, prepare(c, j)));
    PF_TRY(pf_ranks_same_model(c, &j->l));
    PF_TRY(same_points(c, j));
    size_t doubles = (size_t)j->per_group * (size_t)(j->D + 2);
    pf_queue_job q = {.n = (j->n + j->per_group - 1) / j->per_group,
                      .result_bytes = sizeof(result) + doubles * sizeof(double),
                      .threads = j->threads,
                      .self = j,
                      .work = solve,
                      .done = collect};
    PF_TRY(pf_queue_run(c, &q));
    PF_TRY(pf_comm_agree(c, pf_comm_rank(c) == 0 ? write_output(j) : PF_OK));
    return PF_OK;
}

static void job_free(job *j)
{
    for (int i = 0; j->workers && i < j->threads; i++) {
        pf_flow_free(j->workers[i].flow);
        pf_score_free(&j->workers[i].score);
    }
    pf_free(j->workers);
    pf_free(j->z);
    pf_free(j->prior);
    pf_free(j->delta);
    pf_free(j->logp);
    pf_array_free(&j->x);
    pf_array_free(&j->probe);
    pf_loaded_free(&j->l);
}

pf_status pf_logp_arrays(pf_comm *c, const pf_logp *a)
{
    job j = {.a = a, .args = a->args};
    pf_status st = work(c, &j);
    job_free(&j);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
