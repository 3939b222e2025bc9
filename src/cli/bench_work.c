/* The work that `probflow bench` measures: real training steps, and right-hand sides of the
 * likelihood on every worker. */
#include "cli/bench.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <omp.h>

/* 1 when a second round of warm-up, which pays in small networks, fits into the budget. */
static int warms_again(const pf_bench *b, double begun)
{
    return 4 * (pf_seconds() - begun) < b->budget;
}

/* ---- training ---- */

static PF_MUST_USE pf_status train_rounds(const pf_bench *b, pf_rehearsal *re, pf_bench_row *r)
{
    int workers, shards, samples;
    pf_rehearsal_cut(re, &workers, &shards, &samples);
    r->images = (double)workers * shards * samples;
    r->bytes = pf_resident_bytes();
    r->peak = pf_peak_bytes();
    r->bf16 = b->e.train.precision != 0;
    for (int t = 0; t < workers; t++) {
        r->plan[t] = pf_rehearsal_plan(re, t);
        pf_plan_profile(r->plan[t], 1);
    }
    pf_bench_limits limits = {0};
    pf_status st = pf_bench_limits_open(r, shards, &limits);
    r->clock.rounds = pf_seconds();
    for (; !st && !pf_bench_enough(b->budget, &r->clock, r->n); r->n++) {
        pf_rehearsal_time time;
        st = pf_rehearsal_step(re, &time);
        if (!st) st = pf_bench_limits_run(&limits, &r->limit[r->n]);
        r->work[r->n] = time.seconds;
        r->outside[r->n] = 100 * (1 - time.kernels / time.seconds);
        r->idle[r->n] = 100 * time.idle / time.seconds;
    }
    pf_bench_limits_free(&limits);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status train_row(const pf_bench *b, pf_rehearsal *re, double begun)
{
    pf_bench_row r;
    int workers, shards, samples;
    pf_rehearsal_cut(re, &workers, &shards, &samples);
    PF_TRY(pf_rehearsal_step(re, NULL)); /* warm-up */
    if (warms_again(b, begun)) PF_TRY(pf_rehearsal_step(re, NULL));
    pf_status st = pf_bench_row_init(&r, "training step", workers);
    r.clock.begun = begun;
    r.outside = pf_zalloc(PF_BENCH_ROUNDS * sizeof(double));
    r.idle = pf_zalloc(PF_BENCH_ROUNDS * sizeof(double));
    if (!st && !(r.outside && r.idle))
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for measurements");
    if (!st) st = train_rounds(b, re, &r);
    r.gflop = 3e-9 * r.images * b->rows * b->flops;
    if (!st) pf_bench_print_row(b, &r);
    pf_bench_row_free(&r);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_bench_training(const pf_bench *b)
{
    pf_rehearsal *re = NULL;
    double begun = pf_seconds();
    PF_TRY(pf_rehearsal_open(b->c, &b->e, &re));
    pf_status st = train_row(b, re, begun);
    pf_rehearsal_free(re);
    pf_alloc_trim();
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- right-hand side of the likelihood: value and v'J, of tokens the value alone, a group on every worker ---- */

typedef struct worker {
    pf_plan *plan;
    pf_run run; /* on these */
    pf_inputs inputs;
    float *out, *gout;
    float *gin[PF_PORTS_MAX]; /* along x alone */
    pf_status status;
    char message[512];
} worker;

typedef struct evaluation {
    const pf_bench *b;
    pf_net *net;
    float *params;
    int batch, x; /* the input along which there is a product; -1: none */
    worker *all;
} evaluation;

/* The numbers that networks are told beside the data; what else they read is 0. */
static void tell(const evaluation *e, worker *w)
{
    int cond = pf_graph_port(e->net->graph, "cond"),
        sigma = pf_graph_port(e->net->graph, "sigma"),
        mean = pf_graph_port(e->net->graph, "mean");
    for (int i = 0; i < e->batch; i++) {
        if (cond >= 0) ((float *)w->inputs.in[cond])[i] = 10.0f + (float)i;
        if (sigma >= 0) ((float *)w->inputs.in[sigma])[i] = 0.01f * (float)(1 + i);
        if (mean >= 0) ((float *)w->inputs.in[mean])[i] = 1.0f;
    }
}

static PF_MUST_USE pf_status worker_open(const evaluation *e, worker *w)
{
    const pf_plan *with = w == e->all ? NULL : e->all[0].plan; /* made first */
    const pf_graph *g = e->net->graph;
    pf_plan_opt po = {.batch = e->batch, .repeat = 1, .with = with};
    size_t B = (size_t)e->batch, out = B * pf_shape_entries(e->net->offered.out), in = 0;
    if (e->x >= 0) {
        po.want_in = 1u << e->x;
        in = B * pf_shape_entries(pf_graph_port_at(g, e->x)->shape);
    }
    PF_TRY(pf_plan_create(g, &po, &w->plan));
    PF_TRY(pf_inputs_create(e->net, e->batch, &w->inputs));
    pf_inputs_run(&w->inputs, &w->run);
    w->out = pf_zalloc(out * sizeof(float));
    w->gout = pf_zalloc(out * sizeof(float));
    PF_REQUIRE(w->out && w->gout, PF_EMEM, "no memory for a group of %d", e->batch);
    pf_draw d = {1, PF_STREAM_TEST, 0, 0};
    if (e->x >= 0) {
        w->gin[e->x] = pf_zalloc(in * sizeof(float));
        PF_REQUIRE(w->gin[e->x], PF_EMEM, "no memory for a group of %d", e->batch);
        pf_draw_normal(&d, 0, in, w->inputs.in[e->x]);
    }
    d.step = 1;
    pf_draw_normal(&d, 0, out, w->gout);
    tell(e, w);
    return with ? PF_OK : pf_plan_set_params(w->plan, e->params);
}

static void worker_free(worker *w)
{
    pf_plan_free(w->plan);
    pf_inputs_free(&w->inputs);
    pf_free(w->out);
    pf_free(w->gout);
    for (int i = 0; i < PF_PORTS_MAX; i++) pf_free(w->gin[i]);
}

static pf_status worker_pass(const evaluation *e, worker *w)
{
    PF_TRY(pf_plan_forward(w->plan, &w->run, w->out));
    if (e->x >= 0) PF_TRY(pf_plan_backward(w->plan, w->gout, NULL, w->gin));
    return PF_OK;
}

/* One pass on all workers at once, each of which makes its plan first where it has none. */
static PF_MUST_USE pf_status pass(const evaluation *e, double *seconds)
{
    double since = pf_seconds();
#pragma omp parallel num_threads(e->b->threads)
    {
        worker *w = &e->all[omp_get_thread_num()];
        omp_set_num_threads(1);
        w->status = w->plan ? PF_OK : worker_open(e, w);
        if (!w->status) w->status = worker_pass(e, w);
        if (w->status) snprintf(w->message, sizeof w->message, "%s", pf_error_message());
    }
    *seconds = pf_seconds() - since;
    for (int t = 0; t < e->b->threads; t++)
        if (e->all[t].status) PF_TRY(pf_error_adopt(e->all[t].status, e->all[t].message));
    return PF_OK;
}

static PF_MUST_USE pf_status evaluation_rounds(const evaluation *e, pf_bench_row *r)
{
    const pf_bench *b = e->b;
    double unused;
    r->clock.begun = pf_seconds();
    PF_TRY(worker_open(e, &e->all[0]));
    PF_TRY(pass(e, &unused)); /* warm-up */
    if (warms_again(b, r->clock.begun)) PF_TRY(pass(e, &unused));
    r->images = (double)b->threads * e->batch;
    r->gflop = (e->x >= 0 ? 2e-9 : 1e-9) * r->images * b->flops;
    r->bytes = pf_resident_bytes();
    for (int t = 0; t < b->threads; t++) {
        r->plan[t] = e->all[t].plan;
        pf_plan_profile(r->plan[t], 1);
    }
    pf_bench_limits limits = {0};
    pf_status st = pf_bench_limits_open(r, 1, &limits);
    r->clock.rounds = pf_seconds();
    for (; !st && !pf_bench_enough(b->budget, &r->clock, r->n); r->n++) {
        st = pass(e, &r->work[r->n]);
        if (!st) st = pf_bench_limits_run(&limits, &r->limit[r->n]);
    }
    pf_bench_limits_free(&limits);
    PF_TRY(st);
    pf_bench_print_row(b, r);
    return PF_OK;
}

static PF_MUST_USE pf_status evaluate(evaluation *e)
{
    const pf_bench *b = e->b;
    pf_bench_row r;
    PF_TRY(pf_net_create(&b->e.model, &b->e.method, &b->space, &e->net));
    PF_REQUIRE(e->net->graph, PF_EARG, "model %s is analytic: bench measures networks",
               b->e.model.ops->name);
    e->x = pf_graph_port(e->net->graph, "x");
    e->params = pf_zalloc(e->net->floats * sizeof(float));
    e->all = pf_zalloc((size_t)b->threads * sizeof *e->all);
    PF_REQUIRE(e->params && e->all, PF_EMEM, "no memory for %zu parameters", e->net->floats);
    pf_graph_init_params(e->net->graph, 1, e->params);
    pf_status st = pf_bench_row_init(&r, "likelihood evaluation", b->threads);
    if (!st) st = evaluation_rounds(e, &r);
    pf_bench_row_free(&r);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_bench_likelihood(const pf_bench *b)
{
    evaluation e = {.b = b, .batch = b->e.likelihood.group};
    pf_status st = evaluate(&e);
    for (int t = 0; e.all && t < b->threads; t++) worker_free(&e.all[t]);
    pf_free(e.all);
    pf_free(e.params);
    pf_net_free(e.net);
    pf_alloc_trim();
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
