/* probflow bpd: exact bits per dimension of a split, one ledger row per image and draw; of two models
 * with one estimator, and the difference between them.
 *
 * A part is a range of the groups in a file of the same definition, so files of parts merge into the
 * file of the whole. */
#include "cli/bpd.h"
#include "cli/side.h"

#include <probflow/estimand.h>

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/train.h>

#include <math.h>
#include <string.h>

typedef struct job {
    pf_args args;
    const char *data, *split, *limit, *out, *part, *params, *against;
    const char *from[PF_CLI_MAX]; /* result files to adopt groups from */
    int n_from;
    pf_side side[2]; /* the second: --against */
    int sides, unconditional;
    pf_dataset *set;
    pf_dataset_info about;
    pf_scored scored;
    pf_dataset *train; /* what the control variate is made of; NULL: none */
    char train_content[65];
    char part_name[64];
    int64_t first, last; /* groups of this part */
    const char *inputs[3];
} job;

/* Of both: the estimator is the first one's. */
static const pf_likelihood_opt *options(const job *j)
{
    return &j->side[0].model.e.likelihood;
}

static pf_status check_dataset(const job *j)
{
    const pf_estimand_ops *e = pf_estimand_asked(options(j), 0);
    int none = options(j)->dequantisation == PF_DEQUANT_NONE;
    if (!pf_estimand_dequantises(e)) return PF_OK;
    PF_REQUIRE(j->about.space.kind != PF_TOKENS, PF_EARG,
               "%s holds tokens, which have no density that %s could find: set "
               "likelihood.estimand=vlb",
               j->data, e->name);
    PF_REQUIRE(
        !none || j->about.space.kind == PF_REAL, PF_EARG,
        "likelihood.dequantisation is none but %s holds %d-level pixels: their density has "
        "no bound; choose uniform or truncated_normal",
        j->data, j->about.space.levels);
    PF_REQUIRE(none || j->about.space.kind == PF_LEVELS, PF_EARG,
               "%s holds continuous data: set likelihood.dequantisation=none", j->data);
    return PF_OK;
}

static pf_status check_model(const job *j, const pf_side *k)
{
    pf_shape a = j->about.space.shape, b = k->model.file.space.shape;
    PF_REQUIRE(pf_shape_same(a, b), PF_ESHAPE,
               "%s holds %dx%dx%d images, %s was made for %dx%dx%d", j->data, a.h, a.w, a.c,
               k->model.path, b.h, b.w, b.c);
    char why[128];
    int tokens = j->about.space.kind == PF_TOKENS || k->model.file.space.kind == PF_TOKENS;
    PF_REQUIRE(!tokens || pf_space_same(&j->about.space, &k->model.file.space, why, sizeof why),
               PF_ESHAPE, "%s holds %s, as %s was made for", j->data, why, k->model.path);
    pf_scorer m = pf_side_scorer(&k->model);
    PF_TRY(pf_scoring_reaches(&m, options(j)));
    if (!j->unconditional) PF_TRY(pf_scoring_brings(&m, &j->scored));
    return PF_OK;
}

/* Part I of N: an N-th of the groups, consecutive. */
static pf_status choose_part(job *j)
{
    long i = 1, n = 1;
    char slash = '/', more;
    int read = j->part ? sscanf(j->part, "%ld%c%ld%c", &i, &slash, &n, &more) : 3;
    if (read != 3 || slash != '/' || i < 1 || i > n || n > 1000000)
        return pf_usage_error(PF_WHERE, "--part: '%s' is not I/N with 1 <= I <= N", j->part);
    int64_t groups = (j->scored.n + options(j)->group - 1) / options(j)->group;
    j->first = groups * (i - 1) / n;
    j->last = groups * i / n;
    if (j->part) snprintf(j->part_name, sizeof j->part_name, "-part%ldof%ld", i, n);
    return PF_OK;
}

/* Beside the checkpoint, or what --out says; the second model's then has a name made from it. */
static void choose_path(const job *j, pf_side *k)
{
    const char *base = j->out ? j->out : k->model.path;
    size_t n = strlen(base);
    if (j->out && k == j->side) {
        snprintf(k->path, sizeof k->path, "%s", j->out);
        return;
    }
    if (n > 3 && !strcmp(base + n - 3, ".h5")) n -= 3;
    if (j->out) snprintf(k->path, sizeof k->path, "%.*s-against.h5", (int)n, base);
    else
        snprintf(k->path, sizeof k->path, "%.*s-bpd-%s%s%s.h5", (int)n, base, j->split,
                 k->model.raw ? "-raw" : "", j->part_name);
}

static pf_status open_data(job *j)
{
    PF_TRY(pf_data_or_stored(&j->side[0].model, &j->data));
    PF_TRY(pf_dataset_open(j->data, j->split, &j->set));
    j->about = *pf_dataset_about(j->set);
    j->scored = (pf_scored){.file = j->data,
                            .space = j->about.space,
                            .has_labels = j->about.has_labels,
                            .n = j->about.n,
                            .set = j->set,
                            .split = j->split,
                            .name = j->about.name,
                            .sources = j->about.sha256};
    for (int i = 0; i < j->sides; i++) PF_TRY(check_model(j, &j->side[i]));
    PF_TRY(check_dataset(j));
    PF_TRY(pf_dataset_content(j->set, j->scored.content));
    if (pf_likelihood_has_control(options(j)))
        PF_TRY(pf_control_open_split(j->data, j->about.space.shape, &j->train));
    if (j->train) PF_TRY(pf_dataset_content(j->train, j->train_content));
    if (j->limit) {
        long limit;
        PF_TRY(pf_arg_int("--limit", j->limit, 1, 1000000000, &limit));
        if (limit < j->scored.n) j->scored.n = limit;
    }
    return PF_OK;
}

static pf_status prepare(job *j)
{
    PF_TRY(pf_sides_load(j->side, j->sides, j->params));
    PF_TRY(open_data(j));
    PF_TRY(choose_part(j));
    j->inputs[0] = j->data;
    for (int i = 0; i < j->sides; i++) {
        pf_side *k = &j->side[i];
        j->inputs[i + 1] = k->model.path;
        choose_path(j, k);
        k->scoring = (pf_scoring){.verb = "bpd",
                                  .unit = j->about.space.kind == PF_TOKENS ? "rows" : "images",
                                  .model = pf_side_scorer(&k->model),
                                  .opt = options(j),
                                  .data = &j->scored,
                                  .train = j->train,
                                  .train_content = j->train_content,
                                  .unconditional = j->unconditional,
                                  .first = j->first,
                                  .last = j->last,
                                  .path = k->path,
                                  .inputs = j->inputs,
                                  .n_inputs = j->sides + 1,
                                  .from = j->from,
                                  .n_from = i == 0 ? j->n_from : 0};
    }
    return PF_OK;
}

/* Rank 0: the summary into the file and onto the page, the rows for the difference. */
static pf_status finish(const job *j, pf_side *k)
{
    pf_scoring *s = &k->scoring;
    pf_summary sum;
    PF_TRY(pf_results_rows(s->results, &k->rows));
    pf_likelihood_summary(&k->rows, &sum);
    if (j->about.space.kind == PF_TOKENS) sum.unit = pf_scored_unit(&j->about.space);
    pf_shape shape = j->about.space.shape;
    pf_bpd_page page = {.split = j->split,
                        .dataset = j->about.name,
                        .results = k->path,
                        .o = options(j),
                        .chain = s->chain,
                        .dim = (int)pf_shape_entries(shape),
                        .pixels = shape.h * shape.w,
                        .unit = pf_scored_unit(&j->about.space),
                        .of_tokens = j->about.space.kind == PF_TOKENS};
    pf_bpd_count_groups(&page, &k->rows);
    if (options(j)->dequantisation != PF_DEQUANT_NONE)
        PF_TRY(pf_likelihood_draws(&k->rows, page.dim, &page.draws));
    if (page.draws.J) {
        pf_summary_add(&sum, "nll_draws", page.draws.bound);
        pf_summary_add(&sum, "nll_draws_se", page.draws.se);
    }
    PF_TRY(pf_results_summary(s->results, &sum));
    PF_TRY(pf_scoring_end(s, PF_OK));
    if (s->fresh) pf_scoring_report(s, 1);
    page.speed = (double)(s->fresh * options(j)->group) / (pf_seconds() - s->started);
    if (j->sides > 1) printf("model         %s\n", k->model.path);
    pf_bpd_print(&page, &sum);
    return PF_OK;
}

static pf_status compare(const job *j)
{
    pf_difference d;
    PF_TRY(pf_likelihood_difference(&j->side[0].rows, &j->side[1].rows, &d));
    pf_bpd_print_difference(options(j), &d, pf_scored_unit(&j->about.space));
    return PF_OK;
}

static pf_status check_outputs(const job *j)
{
    for (int i = 0; i < j->sides; i++) PF_TRY(pf_scoring_check(&j->side[i].scoring));
    return PF_OK;
}

static pf_status score_all(pf_comm *c, job *j)
{
    int root = pf_comm_rank(c) == 0;
    PF_TRY(pf_sides_hold(c, j->side, j->sides));
    PF_TRY(pf_comm_agree(c, prepare(j)));
    PF_TRY(pf_sides_agree(c, j->side, j->sides));
    PF_TRY(pf_data_agree(c, j->data, j->split, j->scored.content));
    if (j->train) PF_TRY(pf_data_agree(c, j->data, "train", j->train_content));
    PF_TRY(pf_comm_agree(c, root ? check_outputs(j) : PF_OK));
    for (int i = 0; i < j->sides; i++) {
        PF_TRY(pf_scoring_run(c, &j->side[i].scoring));
        PF_TRY(pf_comm_agree(c, root ? finish(j, &j->side[i]) : PF_OK));
    }
    if (j->sides > 1) PF_TRY(pf_comm_agree(c, root ? compare(j) : PF_OK));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    pf_catch_signals();
    j->sides = pf_sides_name(j->side, &j->args, j->against);
    pf_status st = pf_sides_end(j->side, j->sides, score_all(c, j));
    pf_dataset_close(j->train);
    pf_dataset_close(j->set);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status run(int argc, char **argv)
{
    static job j = {.split = "test"};
    const char *minutes = NULL;
    const pf_arg flags[] = {{"--data", &j.data, NULL},
                            {"--split", &j.split, NULL},
                            {"--limit", &j.limit, NULL},
                            {"--out", &j.out, NULL},
                            {"--part", &j.part, NULL},
                            {"--from", j.from, &j.n_from},
                            {"--against", &j.against, NULL},
                            {"--max-minutes", &minutes, NULL},
                            {"--params", &j.params, NULL},
                            {"--unconditional", NULL, &j.unconditional},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    PF_TRY(pf_arg_minutes(minutes));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_bpd = {
    .name = "bpd",
    .usage = "RUN_OR_CKPT [--data D.h5] [--split test] [--limit N] [--out F.h5] "
             "[--part I/N] [--from F.h5]... [--against RUN_OR_CKPT] [--params ema|raw] "
             "[--unconditional] [--max-minutes M] [--set k=v]...",
    .help =
        "exact bits per dimension of a data split, with error bars\n\n"
        "  --data D.h5   dataset; default: the one it was trained on\n"
        "  --split S     default test\n"
        "  --limit N     the first N images only\n"
        "  --out F.h5    result file, continued when it exists; default beside the checkpoint\n"
        "  --part I/N    the I-th of N equal parts, for jobs that share the work; default file "
        "then\n"
        "                ...-partIofN.h5\n"
        "  --from F.h5   takes over what another file of the same definition has; may be "
        "repeated,\n"
        "                so `bpd RUN --from PART1.h5 --from PART2.h5 --out F.h5` merges parts "
        "and\n"
        "                computes what they lack\n"
        "  --against M   another run or checkpoint: scored with the same images, "
        "dequantisation, "
        "probes\n"
        "                and options, into a file of its own (OUT-against.h5), and then the "
        "difference\n"
        "                of the two with its own error\n"
        "  --params P    ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves\n"
        "  --unconditional  a model that reads labels or conditions is told none\n"
        "  --max-minutes M  stops in time for a batch system's limit, like SIGTERM, SIGUSR1 "
        "and\n"
        "                SIGINT: exit status 75, and the same command continues\n"
        "  --set K=V     likelihood options, for example --set "
        "likelihood.estimand=nll_ode,bound,\n"
        "                likelihood.probes=4, likelihood.rtol=1e-6,\n"
        "                likelihood.check_groups=1000000 (every group is solved twice);\n"
        "                of a chain of steps likelihood.terms=20 (drawn steps), "
        "likelihood.draws=2,\n"
        "                likelihood.clip=no, likelihood.respacing=250 (of its steps)",
    .run = run,
};
