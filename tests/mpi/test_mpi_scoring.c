/* The run over many rows as a library: a chain of closed form under vlb, on any ranks, stopped and gone on. */
#include <probflow/estimand.h>
#include <probflow/memory.h>
#include <probflow/model.h>
#include <probflow/scoring.h>
#include <probflow/stop.h>
#include "world.h"

#include <math.h>
#include <string.h>

enum { N = 50, D = 6, GROUP = 8, T = 30, TERMS = 5 };

static unsigned char pixels[N * D];
static pf_net *net, *without;
static float params[D + D * D];

/* Term i of an image: (1 + sum k)/(1 + i), nats, and noise of the image's own. */
static pf_status term(void *self, const pf_batch *b, const int *at, double *nats)
{
    (void)self;
    const unsigned char *k = b->k;
    for (int r = 0; r < b->B; r++) {
        pf_draw d = {b->seed, PF_STREAM_EVAL_NOISE, b->sample[r], b->step};
        double sum = 1.0;
        for (int j = 0; j < D; j++) sum += k[r * D + j];
        nats[r] = sum / (1.0 + at[r]) + pf_draw_uniform_f64(&d, (size_t)at[r]) - 0.5;
    }
    return PF_OK;
}

static void free_chain(void *self)
{
    pf_free(self);
}

static pf_status open_chain(void *self, int batch, pf_chain *out)
{
    (void)self;
    void *own = pf_zalloc(8); /* missed where it is not freed */
    PF_REQUIRE(own, PF_EMEM, "chain");
    *out = (pf_chain){.self = own,
                      .dim = D,
                      .steps = T,
                      .batch = batch,
                      .state = D,
                      .term = term,
                      .free = free_chain};
    return PF_OK;
}

/* ---- a method that has a chain, and one that has none ---- */

static pf_sde sde;

static pf_status open_method(const void *opt, const pf_space *space, void **self)
{
    (void)opt, (void)space;
    *self = NULL;
    return PF_OK;
}

static void close_method(void *self)
{
    (void)self;
}

static const pf_sde *sde_of(const void *opt)
{
    (void)opt;
    return &sde;
}

static pf_status chain_of(const pf_net *n, const pf_view_opt *o, pf_chain *out)
{
    (void)n;
    return open_chain(NULL, o->batch, out);
}

static const pf_method_ops with_steps = {.name = "steps",
                                         .kinds = ~0u,
                                         .open = open_method,
                                         .close = close_method,
                                         .sde = sde_of,
                                         .chain = chain_of};

static void make_data(void)
{
    FILE *f = fopen(in_root("model"), "w"); /* what its digest is of */
    fputs("a model", f);
    fclose(f);
}

static void make_model(void)
{
    pf_model m;
    const pf_space space = {.kind = PF_LEVELS, .shape = {1, D, 1}, .levels = 4};
    must(pf_model_init("gaussian", &m));
    must(pf_sde_init("vp", &sde));
    const pf_method steps = {.ops = &with_steps}, none = pf_method_of_sde(&sde);
    must(pf_net_create(&m, &steps, &space, &net));
    must(pf_net_create(&m, &none, &space, &without));
    for (int i = 0; i < D; i++) params[D + i * (D + 1)] = 1.0f;
    must(pf_net_set_params(net, params));
    must(pf_net_set_params(without, params));
    for (int i = 0; i < N * D; i++) pixels[i] = (unsigned char)((i * 7 + i / 5) % 4);
}

static pf_likelihood_opt options(int estimand)
{
    pf_likelihood_opt o;
    pf_opt_defaults(pf_likelihood_opts, &o);
    o.estimand = estimand;
    o.terms = TERMS;
    o.group = GROUP;
    o.draws = 2;
    return o;
}

/* Of a run into the file `name`; the caller ends it. */
static pf_status run(const pf_likelihood_opt *o, int with_chain, const char *name,
                     pf_scoring *s, pf_comm *c)
{
    static pf_scored data;
    static char model[128], path[128];
    snprintf(model, sizeof model, "%s", in_root("model"));
    snprintf(path, sizeof path, "%s", in_root(name));
    data = (pf_scored){.file = "memory",
                       .space = {.kind = PF_LEVELS, .shape = {1, D, 1}, .levels = 4},
                       .n = N,
                       .content = "0123",
                       .pixels = pixels};
    *s =
        (pf_scoring){.verb = "bpd",
                     .unit = "images",
                     .model = {.net = with_chain ? net : without, .path = model, .file = model},
                     .opt = o,
                     .data = &data,
                     .last = (N + GROUP - 1) / GROUP,
                     .path = path};
    return pf_scoring_run(c, s);
}

static void rows_are_those_of_single_groups_on_any_ranks(void **state)
{
    (void)state;
    pf_likelihood_opt o = options(PF_VLB);
    pf_scoring s;
    size_t before = pf_alloc_live();
    must(run(&o, 1, "vlb.h5", &s, comm));
    if (pf_comm_rank(comm) == 0) {
        pf_chain chain = {0};
        pf_ledger l = {0};
        must(open_chain(NULL, GROUP, &chain));
        must(pf_results_rows(s.results, &l));
        assert_true(l.rows == 2 * N);
        for (int64_t i = 0; i < N; i += GROUP) {
            int B = N - i < GROUP ? (int)(N - i) : GROUP;
            double cells[2 * GROUP * PF_LEDGER_MAX];
            pf_view v = {.chain = &chain};
            pf_group g = {.first = i, .B = B, .space = s.data->space, .pixels = pixels + i * D};
            must(pf_likelihood_group(&v, &o, &g, cells));
            for (int j = 0; j < 2; j++)
                for (int b = 0; b < B; b++)
                    assert_memory_equal(l.cell + (2 * (i + b) + j) * l.n,
                                        cells + (j * B + b) * l.n,
                                        (size_t)l.n * sizeof(double));
        }
        pf_chain_free(&chain);
        pf_summary sum;
        pf_likelihood_summary(&l, &sum);
        must(pf_results_summary(s.results, &sum));
        assert_true(fabs(pf_summary_figure(&sum, "vlb") - s.sum.mean) < 1e-12);
        pf_free(l.cell);
    }
    must(pf_scoring_end(&s, PF_OK));
    assert_int_equal(pf_alloc_live(), before);
    must(pf_comm_agree(comm, PF_OK)); /* the file is read below */
    if (pf_comm_rank(comm) == 0) {
        int same = 0;
        must(run(&o, 1, "alone.h5", &s, &solo));
        pf_ledger l = {0};
        pf_summary sum;
        must(pf_results_rows(s.results, &l));
        pf_likelihood_summary(&l, &sum);
        pf_free(l.cell);
        must(pf_results_summary(s.results, &sum));
        must(pf_scoring_end(&s, PF_OK));
        char other[128];
        snprintf(other, sizeof other, "%s", in_root("alone.h5"));
        FILE *f = fopen("/dev/null", "w");
        must(pf_store_compare(in_root("vlb.h5"), other, f, &same));
        fclose(f);
        assert_true(same);
    }
    must(pf_comm_agree(comm, PF_OK));
}

static void a_model_without_what_an_estimand_needs_is_refused(void **state)
{
    (void)state;
    pf_likelihood_opt o = options(PF_VLB);
    pf_scoring s;
    pf_status st = run(&o, 0, "none.h5", &s, comm);
    assert_int_equal(st, PF_EARG);
    if (pf_comm_rank(comm) == 0)
        assert_non_null(strstr(pf_error_message(), "vlb needs a chain of steps, which"));
    assert_int_equal(pf_scoring_end(&s, st), PF_EARG);
    if (pf_comm_rank(comm) == 0) assert_int_equal(access(in_root("none.h5"), F_OK), -1);
    must(pf_comm_agree(comm, PF_OK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_single_groups_on_any_ranks),
        cmocka_unit_test(a_model_without_what_an_estimand_needs_is_refused),
    };
    if (world_begin(make_data)) return 1;
    make_model();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pf_net_free(net);
    pf_net_free(without);
    return world_end(failed);
}
