/* probflow score: network output, score and vector-Jacobian product at given points. */
#include "cli/common.h"

#include <probflow/memory.h>

#include <string.h>

enum { CHUNK = 32 }; /* points a network call: bounds memory */

typedef struct job {
    pf_args args;
    const char *in, *group, *out, *params;
    pf_loaded l;
    pf_array x, t, probe;
    double *score, *vjp;
    float *net;
    pf_score f;
    int unconditional;
} job;

static PF_MUST_USE pf_status read_input(job *j)
{
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->params, &j->l));
    PF_TRY(pf_told_nothing(&j->l, j->unconditional));
    PF_TRY(pf_read_points(&j->l, j->in, j->group, "x", 0, &j->x));
    char name[1024];
    snprintf(name, sizeof name, "%s%st", j->group ? j->group : "", j->group ? "/" : "");
    PF_TRY(pf_store_read_array(j->in, name, &j->t));
    PF_REQUIRE(j->t.rank == 1 && j->t.dim[0] == j->x.dim[0], PF_ESHAPE,
               "%s: t must hold one time a point, [%lld]", j->in, (long long)j->x.dim[0]);
    for (size_t i = 0; i < j->t.size; i++)
        PF_REQUIRE(j->t.v[i] > 0.0 && j->t.v[i] <= 1.0, PF_EARG, "%s: t[%zu] = %g, want (0, 1]",
                   j->in, i, j->t.v[i]);
    int has = 0;
    PF_TRY(pf_has_points(j->in, j->group, "probe", &has));
    if (has) PF_TRY(pf_read_points(&j->l, j->in, j->group, "probe", j->x.dim[0], &j->probe));
    return PF_OK;
}

static PF_MUST_USE pf_status evaluate(job *j)
{
    int64_t n = j->x.dim[0];
    size_t D = j->x.size / (size_t)n;

    pf_view_opt view = {.batch = n < CHUNK ? (int)n : CHUNK, .with_vjp = j->probe.v != NULL};
    PF_TRY(pf_net_score(j->l.net, &view, &j->f));
    j->score = pf_zalloc(j->x.size * sizeof *j->score);
    j->vjp = pf_zalloc(j->x.size * sizeof *j->vjp);
    j->net = pf_zalloc(j->x.size * sizeof *j->net);
    PF_REQUIRE(j->score && j->vjp && j->net, PF_EMEM,
               "no memory for the results of %lld points", (long long)n);
    for (int64_t i = 0; i < n; i += CHUNK) {
        int B = n - i < CHUNK ? (int)(n - i) : CHUNK;
        size_t at = (size_t)i * D;
        if (j->probe.v)
            PF_TRY(j->f.vjp(j->f.self, B, j->t.v + i, j->x.v + at, 1, j->probe.v + at,
                            j->score + at, j->vjp + at));
        else PF_TRY(j->f.eval(j->f.self, B, j->t.v + i, j->x.v + at, j->score + at));
        if (j->f.raw) memcpy(j->net + at, j->f.raw(j->f.self), (size_t)B * D * sizeof *j->net);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status work(job *j)
{
    PF_TRY(read_input(j));
    const char *const used[] = {j->l.path, j->in};
    PF_TRY(pf_take_output(j->out, "arrays/score", used, 2));
    PF_TRY(evaluate(j));

    pf_out_array a[3] = {{.name = "score", .f64 = j->score}};
    int n = 1;
    if (j->f.raw) a[n++] = (pf_out_array){.name = "net", .f32 = j->net};
    if (j->probe.v) a[n++] = (pf_out_array){.name = "vjp", .f64 = j->vjp};
    for (int i = 0; i < n; i++) {
        a[i].rank = j->x.rank;
        memcpy(a[i].dim, j->x.dim, sizeof a[i].dim);
    }
    pf_out_attr attrs[] = {{"checkpoint", j->l.path, 0}, {"params", "raw", 0}};
    PF_TRY(pf_store_write(j->out, a, n, attrs, j->l.raw ? 2 : 1));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    if (pf_comm_rank(c) == 0) PF_TRY(work(self));
    return PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {0};
    const pf_arg flags[] = {{"--in", &j.in, NULL},
                            {"--group", &j.group, NULL},
                            {"--out", &j.out, NULL},
                            {"--params", &j.params, NULL},
                            {"--unconditional", NULL, &j.unconditional},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    if (!j.in || !j.out)
        return pf_usage_error(PF_WHERE, "score needs --in P.h5 and --out F.h5");
    pf_status st = pf_with_comm(body, &j);
    pf_score_free(&j.f);
    pf_free(j.score);
    pf_free(j.vjp);
    pf_free(j.net);
    pf_array_free(&j.x);
    pf_array_free(&j.t);
    pf_array_free(&j.probe);
    pf_loaded_free(&j.l);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

const pf_command pf_command_score = {
    .name = "score",
    .usage =
        "CKPT --in P.h5 [--group G] --out F.h5 [--params ema|raw] [--unconditional] [--set "
        "section.key=value]... [--quiet]",
    .help =
        "score of a model at given points and times\n\n"
        "  CKPT         checkpoint or run directory (the newest good checkpoint)\n"
        "  --in P.h5    reads x [N,H,W,C], t [N] and, where it is there, probe (shape of x)\n"
        "  --group G    group of P.h5 that holds them\n"
        "  --out F.h5   writes net (raw output of a network), score and, with a probe,\n"
        "               vjp = probe' d score/dx\n"
        "  --unconditional  a model that reads labels or conditions is told none\n"
        "  --params P   ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves",
    .run = run,
};
