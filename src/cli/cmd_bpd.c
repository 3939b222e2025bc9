/* probflow bpd: exact bits per dimension of a split, one ledger row per image and draw.
 *
 * The images are cut into fixed groups of consecutive indices, one ODE solve a group; workers of
 * all ranks take groups from a queue and rank 0 stores their rows, so an interrupted run
 * continues where it stopped, on any number of ranks.  A part is a range of the same groups in a
 * file of the same definition, so files of parts merge into the file of the whole. */
#include "cli/bpd.h"
#include "cli/common.h"

#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/sha256.h>
#include <probflow/stop.h>
#include <probflow/train.h>

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

typedef struct job {
    pf_args args;
    const char *data, *split, *limit, *out, *part, *params;
    const char *from[PF_CLI_MAX]; /* result files to adopt groups from */
    int n_from;
    pf_loaded model;
    pf_dataset *set;
    pf_dataset_info about;
    char content[65], train_content[65]; /* of the split, of the control variate's */
    int64_t images, groups;
    int64_t first, last; /* groups of this part */
    int64_t done, fresh; /* of them */
    int created;         /* rank 0: the result file was not there before */
    pf_results *results; /* rank 0 */
    pf_score *scores;    /* [threads], made by their worker */
    pf_dataset *train;   /* what the control variate is made of; NULL: none */
    pf_control *control; /* made by the first worker that needs it */
    pthread_mutex_t io;  /* HDF5 is not thread-safe */
    char path[4200], part_name[64];
    double started;
    /* rank 0: mean over all images in the file and squared distances from it; those of this part */
    double mean, spread;
    int64_t scored, mine;
} job;

static const pf_likelihood_opt *options(const job *j)
{
    return &j->model.e.likelihood;
}

static int group_size(const job *j, int64_t group)
{
    int64_t left = j->images - group * options(j)->group;
    return (int)(left < options(j)->group ? left : options(j)->group);
}

/* Which groups are solved again at a tenth of the tolerances: the last of each of n equal ranges, since
 * the last group of all is the one that may be shorter. */
static int is_repeated(const job *j, int64_t group)
{
    int64_t n = options(j)->check_groups < j->groups ? options(j)->check_groups : j->groups;
    return (group + 1) * n / j->groups > group * n / j->groups;
}

static pf_status read_group(job *j, int64_t group, pf_group *g, int32_t *labels)
{
    size_t dim = (size_t)j->about.shape.h * (size_t)j->about.shape.w * (size_t)j->about.shape.c;
    g->first = group * options(j)->group;
    g->B = group_size(j, group);
    g->levels = j->about.levels;
    g->shape = j->about.shape;
    g->repeat = is_repeated(j, group);
    int continuous = j->about.kind == PF_DATA_CONTINUOUS;
    void *values = pf_zalloc((size_t)g->B * dim * (continuous ? sizeof(double) : 1));
    PF_REQUIRE(values, PF_EMEM, "no memory for %d images", g->B);
    pthread_mutex_lock(&j->io);
    pf_status st = continuous ? pf_dataset_x(j->set, g->first, g->B, values)
                              : pf_dataset_images(j->set, g->first, g->B, values);
    if (!st && j->about.has_labels) st = pf_dataset_labels(j->set, g->first, g->B, labels);
    pthread_mutex_unlock(&j->io);
    if (continuous) g->x = values; /* the caller's to free, after a failure too */
    else g->pixels = values;
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* On one thread, as all work is here, so that its bits do not depend on their number; the other
 * workers wait, having nothing to do without it. */
static pf_status share_control(job *j, const pf_control **out)
{
    pthread_mutex_lock(&j->io);
    pf_status st =
        j->control ? PF_OK : pf_control_of_split(j->train, &j->model.e.data, &j->control);
    *out = j->control;
    pthread_mutex_unlock(&j->io);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* The first worker's score has the prepared weights of all. */
static pf_status open_score(const job *j, pf_score *score)
{
    int64_t group = options(j)->group;
    const pf_score *with = score == j->scores ? NULL : j->scores;
    PF_TRY(pf_net_score(j->model.net, (int)(j->images < group ? j->images : group), 1, with,
                        score));
    return PF_OK;
}

/* Opens the scores of the first two workers: the others will hold what the second one does. */
static pf_status open_scores(job *j, int workers)
{
    size_t model = pf_alloc_live(), first, other = 0;
    size_t libraries = pf_resident_bytes() > model ? pf_resident_bytes() - model : 0;
    PF_TRY(open_score(j, &j->scores[0]));
    first = pf_alloc_live() - model;
    if (workers > 1) {
        PF_TRY(open_score(j, &j->scores[1]));
        other = pf_alloc_live() - model - first;
    }
    double mb = 1e-6, n = workers, scores = (double)first + (n - 1) * (double)other;
    double solver = n * (double)pf_likelihood_bytes(options(j), j->scores[0].dim);
    if (j->train) model += pf_control_bytes(j->scores[0].dim);
    pf_log("memory a rank [MB]: model and results %.1f, activations and prepared weights %.1f, "
           "solver %.1f, libraries %.1f; %.0f in all with %d workers",
           mb * (double)model, mb * scores, mb * solver, mb * (double)libraries,
           mb * ((double)model + scores + solver + (double)libraries), workers);
    return PF_OK;
}

static pf_status work(void *self, int worker, int64_t item, void *result)
{
    job *j = self;
    const pf_likelihood_opt *o = options(j);
    pf_score *score = &j->scores[worker];
    PF_REQUIRE(!pf_stop_asked(), PF_ESTOP, "stopped before group %lld", (long long)item);
    if (!score->eval) PF_TRY(open_score(j, score));
    int32_t *labels = pf_zalloc(sizeof *labels * (size_t)o->group);
    PF_REQUIRE(labels, PF_EMEM, "no memory for %d labels", o->group);
    pf_group g = {0};
    pf_ledger *rows = result;
    pf_status st = read_group(j, item, &g, labels);
    if (!st && j->train) st = share_control(j, &g.control);
    if (!st) st = pf_likelihood_group(&j->model.net->sde, score, o, &g, rows);
    for (int r = 0; !st && r < o->draws * g.B; r++)
        rows[r].label = j->about.has_labels ? labels[rows[r].image - g.first] : -1;
    pf_free((void *)g.pixels);
    pf_free((void *)g.x);
    pf_free(labels);
    st = pf_hint_at_noise(&j->model, st);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static int is_mine(const job *j, int64_t group)
{
    return group >= j->first && group < j->last;
}

/* The mean over draws of n images, image_step rows from one to the next, joins the running mean.
 * Source: Welford 1962. */
static void account(job *j, const pf_ledger *rows, int64_t n, int64_t image_step,
                    int64_t draw_step)
{
    for (int64_t i = 0; i < n; i++, rows += image_step) {
        double v = 0.0, before = j->mean;
        for (int d = 0; d < options(j)->draws; d++) {
            const pf_ledger *r = rows + d * draw_step;
            v += (options(j)->estimand == PF_BOUND ? r->bound : r->nll) / options(j)->draws;
        }
        j->scored++;
        j->mean += (v - before) / (double)j->scored;
        j->spread += (v - before) * (v - j->mean);
        j->mine += is_mine(j, rows->image / options(j)->group);
    }
}

static void report_progress(const job *j, int last)
{
    double n = (double)j->scored, se = n > 1 ? sqrt(j->spread / (n - 1) / n) : NAN;
    double left =
        (pf_seconds() - j->started) * (double)(j->last - j->first - j->done) / (double)j->fresh;
    int64_t end = j->last * options(j)->group, begin = j->first * options(j)->group;
    char eta[32], error[32];
    pf_progress(last, "bpd %lld/%lld images  %.4f +- %s bits/dim  eta %s", (long long)j->mine,
                (long long)((end < j->images ? end : j->images) - begin), j->mean,
                pf_error_bar(se, 4, error), pf_duration(left, eta, sizeof eta));
}

static pf_status done(void *self, int64_t item, const void *result)
{
    job *j = self;
    int n = options(j)->draws * group_size(j, item);
    pthread_mutex_lock(&j->io);
    pf_status st = pf_results_put(j->results, item, result, n);
    pthread_mutex_unlock(&j->io);
    PF_TRY(st);
    account(j, result, group_size(j, item), 1, group_size(j, item));
    j->done++;
    j->fresh++;
    if (pf_progress_due()) report_progress(j, 0);
    return PF_OK;
}

static int skip(void *self, int64_t item)
{
    job *j = self;
    return !is_mine(j, item) || pf_results_done(j->results, item);
}

/* Everything that defines the numbers; a result file is continued only under the same text.
 * before: as earlier versions wrote it, by the data's name and sources in place of their content. */
static pf_status define(const job *j, int before, pf_text *t)
{
    const pf_experiment *e = &j->model.e;
    char sum[65];
    PF_TRY(pf_sha256_file(j->model.held, sum));
    PF_TRY(pf_text_add(t, "bpd:\n  checkpoint_sha256: %s\n  checkpoint_step: %lld\n", sum,
                       (long long)j->model.file.step));
    if (before)
        PF_TRY(pf_text_add(t, "  dataset: %s\n  dataset_sha256: %s\n", j->about.name,
                           j->about.sha256));
    else PF_TRY(pf_text_add(t, "  data_content: %s\n", j->content));
    PF_TRY(pf_text_add(t, "  split: %s\n  images: %lld\n", j->split, (long long)j->images));
    if (j->model.raw) PF_TRY(pf_text_add(t, "  params: raw\n"));
    PF_TRY(pf_config_write(t, "likelihood", NULL, pf_likelihood_opts, &e->likelihood));
    PF_TRY(pf_config_write(t, "sde", e->sde.ops->name, e->sde.ops->opts, &e->sde.opt));
    PF_TRY(pf_config_write(t, "model", e->model.ops->name, e->model.ops->opts, &e->model.opt));
    if (!before && j->train)
        PF_TRY(pf_text_add(t, "control:\n  data_content: %s\n", j->train_content));
    return PF_OK;
}

static pf_status adopt(job *j)
{
    for (int i = 0; i < j->n_from; i++) {
        int64_t n = 0;
        PF_TRY(pf_results_adopt(j->results, j->from[i], &n));
        pf_log("%s: %lld groups from %s", j->path, (long long)n, j->from[i]);
    }
    return PF_OK;
}

static pf_status check_output(const job *j)
{
    const char *const used[] = {j->model.path, j->data};
    PF_TRY(pf_output_check(j->path, "results", used, 2));
    PF_TRY(pf_output_check(j->path, "results", j->from, j->n_from));
    return PF_OK;
}

static pf_status open_results(job *j)
{
    pf_text t = {0}, before = {0};
    int64_t group = options(j)->group, begin = j->first * group, end = j->last * group;
    PF_TRY(check_output(j));
    /* A bad row is told now, and not after hours, with a file begun. */
    PF_TRY(pf_dataset_check(j->set, begin, (end < j->images ? end : j->images) - begin));
    pf_results_info info = {j->images, options(j)->draws, options(j)->group, NULL, NULL};
    pf_status st = define(j, 0, &t);
    if (!st) st = define(j, 1, &before);
    info.config = t.s;
    info.before = before.s;
    j->created = access(j->path, F_OK) != 0;
    if (!st) st = pf_results_open(j->path, &info, &j->results);
    if (st == PF_EARG)
        st = pf_raise(st, PF_WHERE, "%s; name another file with --out", pf_error_message());
    pf_free(t.s);
    pf_free(before.s);
    PF_TRY(st);
    PF_TRY(adopt(j));
    pf_ledger *rows = NULL;
    int64_t n = 0;
    PF_TRY(pf_results_rows(j->results, &rows, &n));
    account(j, rows, n / options(j)->draws, options(j)->draws, 1); /* sorted by image */
    pf_free(rows);
    for (int64_t g = j->first; g < j->last; g++) j->done += pf_results_done(j->results, g);
    if (j->done)
        pf_log("%s: continues, %lld of %lld groups are done", j->path, (long long)j->done,
               (long long)(j->last - j->first));
    return PF_OK;
}

static void default_path(job *j)
{
    size_t n = strlen(j->model.path);
    if (n > 3 && !strcmp(j->model.path + n - 3, ".h5")) n -= 3;
    snprintf(j->path, sizeof j->path, "%.*s-bpd-%s%s%s.h5", (int)n, j->model.path, j->split,
             j->model.raw ? "-raw" : "", j->part_name);
    if (j->out) snprintf(j->path, sizeof j->path, "%s", j->out);
}

static pf_status check_dataset(const job *j)
{
    pf_shape a = j->about.shape, b = j->model.file.shape;
    PF_REQUIRE(j->about.kind != PF_DATA_TOKENS, PF_EARG,
               "%s holds tokens; bpd scores images or continuous data", j->data);
    PF_REQUIRE(a.h == b.h && a.w == b.w && a.c == b.c, PF_ESHAPE,
               "%s holds %dx%dx%d images, the model was made for %dx%dx%d", j->data, a.h, a.w,
               a.c, b.h, b.w, b.c);
    int none = options(j)->dequantisation == PF_DEQUANT_NONE;
    PF_REQUIRE(
        !none || j->about.kind == PF_DATA_CONTINUOUS, PF_EARG,
        "likelihood.dequantisation is none but %s holds %d-level pixels: their density has "
        "no bound; choose uniform or truncated_normal",
        j->data, j->about.levels);
    PF_REQUIRE(none || j->about.kind == PF_DATA_IMAGES, PF_EARG,
               "%s holds continuous data: set likelihood.dequantisation=none", j->data);
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
    j->first = j->groups * (i - 1) / n;
    j->last = j->groups * i / n;
    if (j->part) snprintf(j->part_name, sizeof j->part_name, "-part%ldof%ld", i, n);
    return PF_OK;
}

static pf_status prepare(job *j)
{
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->params, &j->model));
    PF_TRY(pf_data_or_stored(&j->model, &j->data));
    PF_TRY(pf_dataset_open(j->data, j->split, &j->set));
    j->about = *pf_dataset_about(j->set);
    PF_TRY(check_dataset(j));
    PF_TRY(pf_dataset_content(j->set, j->content));
    if (pf_likelihood_has_control(options(j)))
        PF_TRY(pf_control_open_split(j->data, j->about.shape, &j->train));
    if (j->train) PF_TRY(pf_dataset_content(j->train, j->train_content));
    j->images = j->about.n;
    if (j->limit) {
        long limit;
        PF_TRY(pf_arg_int("--limit", j->limit, 1, 1000000000, &limit));
        if (limit < j->images) j->images = limit;
    }
    j->groups = (j->images + options(j)->group - 1) / options(j)->group;
    PF_TRY(choose_part(j));
    default_path(j);
    return PF_OK;
}

static pf_status finish(job *j)
{
    pf_ledger *rows = NULL;
    int64_t n = 0;
    PF_TRY(pf_results_rows(j->results, &rows, &n));
    pf_summary s;
    pf_likelihood_summary(rows, n, &s);
    pf_bpd_page page = {j->split, j->about.name, j->path, options(j), 0.0, 0, 0};
    pf_bpd_count_groups(&page, rows, n);
    pf_free(rows);
    PF_TRY(pf_results_summary(j->results, &s));
    pf_results *r = j->results;
    j->results = NULL;
    PF_TRY(pf_results_close(r));
    if (j->fresh) report_progress(j, 1);
    page.speed = (double)(j->fresh * options(j)->group) / (pf_seconds() - j->started);
    pf_bpd_print(&page, &s);
    return PF_OK;
}

static pf_status score_all(pf_comm *c, job *j)
{
    PF_TRY(pf_hold_checkpoint(c, j->args.positional[0], &j->args));
    PF_TRY(pf_comm_agree(c, prepare(j)));
    PF_TRY(pf_ranks_same_model(c, &j->model));
    PF_TRY(pf_data_agree(c, j->data, j->split, j->content));
    if (j->train) PF_TRY(pf_data_agree(c, j->data, "train", j->train_content));
    int threads = pf_comm_threads(c), root = pf_comm_rank(c) == 0;
    j->scores = pf_zalloc(sizeof *j->scores * (size_t)threads);
    pf_status st =
        j->scores ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %d workers", threads);
    if (!st && root) st = open_results(j);
    if (!st) st = open_scores(j, (int)(threads < j->groups ? threads : j->groups));
    PF_TRY(pf_comm_agree(c, st));
    j->started = pf_seconds();
    pf_queue_job q = {
        .n = j->groups,
        .result_bytes = sizeof(pf_ledger) * (size_t)(options(j)->draws * options(j)->group),
        .threads = threads,
        .self = j,
        .work = work,
        .done = done,
        .skip = skip,
    };
    st = pf_queue_run(c, &q);
    for (int i = 0; i < threads; i++)
        if (j->scores[i].free) pf_score_free(&j->scores[i]);
    PF_REQUIRE(st != PF_ESTOP, PF_ESTOP,
               "stopped with %lld of %lld groups done; the same command continues",
               (long long)j->done, (long long)(j->last - j->first));
    PF_TRY(st);
    PF_TRY(pf_comm_agree(c, root ? finish(j) : PF_OK));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    job *j = self;
    pf_catch_signals();
    pthread_mutex_init(&j->io, NULL);
    pf_status st = score_all(c, j);
    if (j->results) {
        if (st && st != PF_ESTOP && j->created && !j->scored)
            unlink(j->path); /* holds nothing */
        pf_status closed = pf_results_close(j->results);
        if (!st) st = closed;
    }
    pf_free(j->scores);
    pf_control_free(j->control);
    pf_dataset_close(j->train);
    pf_dataset_close(j->set);
    pf_loaded_free(&j->model);
    pthread_mutex_destroy(&j->io);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static pf_status run(int argc, char **argv)
{
    job j = {.split = "test"};
    const char *minutes = NULL;
    const pf_arg flags[] = {{"--data", &j.data, NULL},
                            {"--split", &j.split, NULL},
                            {"--limit", &j.limit, NULL},
                            {"--out", &j.out, NULL},
                            {"--part", &j.part, NULL},
                            {"--from", j.from, &j.n_from},
                            {"--max-minutes", &minutes, NULL},
                            {"--params", &j.params, NULL},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    PF_TRY(pf_arg_minutes(minutes));
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_bpd = {
    .name = "bpd",
    .usage =
        "RUN_OR_CKPT [--data D.h5] [--split test] [--limit N] [--out F.h5] "
        "[--part I/N] [--from F.h5]... [--params ema|raw] [--max-minutes M] [--set k=v]...",
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
        "  --params P    ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves\n"
        "  --max-minutes M  stops in time for a batch system's limit, like SIGTERM, SIGUSR1 "
        "and\n"
        "                SIGINT: exit status 75, and the same command continues\n"
        "  --set K=V     likelihood options, for example --set "
        "likelihood.estimand=nll_and_bound,\n"
        "                likelihood.probes=4, likelihood.rtol=1e-6,\n"
        "                likelihood.check_groups=1000000 (every group is solved twice)",
    .run = run,
};
