/* probflow sample: draws images from a trained model, or encodes some and decodes them. */
#include "cli/sample.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <math.h>
#include <string.h>

/* Samples are scored by the bound of the chain they are drawn with, all terms or likelihood.terms of them. */
static pf_status score_by(pf_sample_job *j)
{
    j->bound = j->model.e.likelihood;
    j->bound.estimand = PF_VLB;
    j->bound.draws = 1;
    PF_REQUIRE(j->model.net->method.ops->chain, PF_EARG,
               "--score: %s has no chain of steps, whose bound scores samples", j->model.path);
    j->sampling.score = &j->bound;
    return PF_OK;
}

static pf_status prepare(pf_sample_job *j)
{
    pf_loaded *m = &j->model;
    pf_sampling *s = &j->sampling;
    PF_TRY(pf_load(j->args.positional[0], &j->args, j->params, m));
    if (j->guide_path) {
        PF_TRY(pf_load(j->guide_path, &j->guide_args, NULL, &j->guide));
        PF_TRY(pf_net_guides(j->guide.net, m->net));
    }
    PF_TRY(pf_sample_text_prepare(j));
    PF_TRY(pf_sample_given(j));
    *s = (pf_sampling){.net = m->net,
                       .opt = &m->e.sample,
                       .n = j->n,
                       .previews = (int)j->previews,
                       .label = j->labels,
                       .condition = j->conditions,
                       .guide = j->guide.net,
                       .from = j->from,
                       .known = j->known,
                       .mask = j->mask,
                       .known_std = j->noise,
                       .interpolate = (int)j->interpolate};
    if (j->score) PF_TRY(score_by(j));
    PF_TRY(pf_sampler_find(m->e.sampler, &s->sampler));
    int channels = m->file.space.shape.c;
    PF_REQUIRE(!j->png || channels == 1 || channels == 3, PF_ESHAPE,
               "--png needs images of 1 or 3 channels, the model has %d", channels);
    return PF_OK;
}

static pf_status check_outputs(const pf_sample_job *j)
{
    const char *used[5] = {j->model.path, j->out};
    int n = 2;
    /* the data it was trained on are of the kind of --dataset */
    if (j->model.e.data.path[0]) used[n++] = j->model.e.data.path;
    if (j->guide_path) used[n++] = j->guide.path;
    if (j->from || j->known) used[n++] = j->data;
    PF_TRY(pf_take_output(j->out, "arrays/x", used, 1));
    if (j->png) PF_TRY(pf_take_output(j->png, PF_OUTPUT_PNG, used, n));
    if (j->previews_png[0]) PF_TRY(pf_take_output(j->previews_png, PF_OUTPUT_PNG, used, n));
    if (j->dataset) PF_TRY(pf_take_output(j->dataset, "dataset", used, n));
    return PF_OK;
}

/* Root mean square of what encoding and decoding changed, in steps of a level (in model scale for real data). */
static void print_error(const pf_sample_job *j)
{
    const pf_sampling *s = &j->sampling;
    const pf_space *space = &s->net->space;
    size_t n = (size_t)s->n * pf_shape_entries(space->shape);
    int levels = space->kind == PF_LEVELS;
    double sum = 0.0, unit = levels ? pf_grid_step(space, PF_GRID_PUBLISHED) : 1.0;
    for (size_t i = 0; i < n; i++) sum += (s->x[i] - s->from[i]) * (s->x[i] - s->from[i]);
    printf("reconstructed %.4f %s, root mean square of %ld images of the %s split of %s\n",
           sqrt(sum / (double)n) / unit, levels ? "levels" : "in model scale", j->n, j->encode,
           j->data);
}

static void print_bound(const pf_sampling *s)
{
    char bar[32];
    double mean = 0.0, spread = 0.0;
    for (int64_t i = 0; i < s->n; i++) mean += s->bound[i] / (double)s->n;
    for (int64_t i = 0; i < s->n; i++) spread += (s->bound[i] - mean) * (s->bound[i] - mean);
    double se = s->n > 1 ? sqrt(spread / (double)(s->n - 1) / (double)s->n) : NAN;
    printf("vlb           %.5f +- %s %s, of these samples under the model%s, %s\n", mean,
           pf_error_bar(se, 5, bar), pf_scored_unit(&s->net->space),
           s->guide ? " without its guide" : "", s->score->terms ? "drawn terms" : "all terms");
}

/* Of models with codes for more symbols than there are. */
static void print_unfit(const pf_sampling *s)
{
    char bar[3][32];
    const pf_unfit *n = &s->unfit;
    const pf_unfit_shares u = pf_unfit_estimate(n, pf_space_dim(&s->net->space));
    printf("codes         %lld of %lld samples held at first codes that are no symbol, %.3f +- "
           "%s %%; of the symbols\n"
           "              %.4f +- %s %%; for good a bound is %.5f +- %s %s too high by them\n",
           (long long)n->some, (long long)n->samples, 100.0 * u.rows.is,
           pf_error_bar(100.0 * u.rows.error, 3, bar[0]), 100.0 * u.entries.is,
           pf_error_bar(100.0 * u.entries.error, 4, bar[1]), u.bits.is,
           pf_error_bar(u.bits.error, 5, bar[2]), pf_scored_unit(&s->net->space));
}

static pf_status finish(const pf_sample_job *j, double seconds)
{
    const pf_checkpoint *m = &j->model.file;
    pf_sample_files f = {.out = j->out,
                         .png = j->png,
                         .previews = j->previews_png[0] ? j->previews_png : NULL,
                         .dataset = j->dataset,
                         .vocabulary = j->vocabulary,
                         .config = m->config,
                         .step = m->step,
                         .raw = j->model.raw};
    PF_TRY(pf_sampling_write(&j->sampling, &f));
    pf_progress(1, "sample %ld/%ld", j->n, j->n);
    printf("samples       %ld by %s in %.1f s\nresults       %s\n", j->n,
           j->sampling.sampler->name, seconds, j->out);
    if (j->dataset) printf("data set      %s\n", j->dataset);
    if (j->from) print_error(j);
    if (j->known) pf_sample_known_report(j);
    if (j->score) print_bound(&j->sampling);
    if (j->sampling.unfit.samples) print_unfit(&j->sampling);
    if (j->model.net->space.kind == PF_TOKENS) PF_TRY(pf_sample_text_report(j));
    if (j->text) PF_TRY(pf_sample_text_write(j));
    if (j->png) printf("grid          %s\n", j->png);
    if (j->previews_png[0]) printf("previews      %s\n", j->previews_png);
    return PF_OK;
}

static pf_status draw_all(pf_comm *c, pf_sample_job *j)
{
    int root = pf_comm_rank(c) == 0;
    PF_TRY(pf_hold_checkpoint(c, j->args.positional[0], &j->args));
    if (j->guide_path) PF_TRY(pf_hold_checkpoint(c, j->guide_path, &j->guide_args));
    pf_status st = prepare(j);
    if (!st && root) st = check_outputs(j);
    PF_TRY(pf_comm_agree(c, st));
    PF_TRY(pf_ranks_same_model(c, &j->model));
    if (j->guide_path) PF_TRY(pf_ranks_same_model(c, &j->guide));
    double start = pf_seconds();
    PF_TRY(pf_sampling_run(c, &j->sampling));
    PF_TRY(pf_comm_agree(c, root ? finish(j, pf_seconds() - start) : PF_OK));
    return PF_OK;
}

static pf_status body(pf_comm *c, void *self)
{
    pf_sample_job *j = self;
    pf_status st = draw_all(c, j);
    pf_sampling_free(&j->sampling);
    pf_free(j->labels);
    pf_free(j->vocabulary);
    pf_free(j->conditions);
    pf_free(j->from);
    pf_free(j->whole);
    if (j->known != j->whole) pf_free(j->known);
    pf_free(j->mask);
    pf_loaded_free(&j->model);
    pf_loaded_free(&j->guide);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* G.png: G-previews.png */
static void name_previews(pf_sample_job *j)
{
    size_t n = strlen(j->png), end = n > 4 && !strcmp(j->png + n - 4, ".png") ? n - 4 : n;
    snprintf(j->previews_png, sizeof j->previews_png, "%.*s-previews.png", (int)end, j->png);
}

static pf_status run(int argc, char **argv)
{
    pf_sample_job j = {0};
    const pf_arg flags[] = {{"-n", &j.n_text, NULL},
                            {"--out", &j.out, NULL},
                            {"--png", &j.png, NULL},
                            {"--previews", &j.previews_text, NULL},
                            {"--params", &j.params, NULL},
                            {"--label", &j.label, NULL},
                            {"--condition", &j.condition, NULL},
                            {"--unconditional", NULL, &j.unconditional},
                            {"--guide", &j.guide_path, NULL},
                            {"--encode", &j.encode, NULL},
                            {"--data", &j.data, NULL},
                            {"--dataset", &j.dataset, NULL},
                            {"--inpaint", &j.inpaint, NULL},
                            {"--known", &j.half, NULL},
                            {"--denoise", &j.denoise, NULL},
                            {"--noise", &j.noise_text, NULL},
                            {"--interpolate", &j.interpolate_text, NULL},
                            {"--score", NULL, &j.score},
                            {"--text", &j.text, NULL},
                            {0}};
    PF_TRY(pf_args_parse(argc, argv, flags, 1, 1, &j.args));
    if (!j.n_text || !j.out)
        return pf_usage_error(PF_WHERE, "sample needs -n N and --out F.h5");
    PF_TRY(pf_arg_int("-n", j.n_text, 1, 10000000, &j.n));
    if (j.previews_text)
        PF_TRY(pf_arg_int("--previews", j.previews_text, 1, 1000, &j.previews));
    if (j.previews && j.png) name_previews(&j);
    j.score |= j.guide_path != NULL;
    if (j.interpolate_text)
        PF_TRY(pf_arg_int("--interpolate", j.interpolate_text, 2, 1000, &j.interpolate));
    PF_TRY(pf_sample_known_words(&j));
    if (j.data && !j.encode && !j.inpaint && !j.denoise && !j.text && !j.dataset)
        return pf_usage_error(PF_WHERE, "--data says what --encode, --inpaint and --denoise "
                                        "take images from, and --text and --dataset symbols");
    PF_TRY(pf_with_comm(body, &j));
    return PF_OK;
}

const pf_command pf_command_sample = {
    .name = "sample",
    .usage = "RUN_OR_CKPT -n N --out F.h5 [--png grid.png] [--previews P] [--label K|all] "
             "[--condition V,..] [--unconditional] [--guide CLASSIFIER] [--encode SPLIT "
             "[--data D.h5]] [--inpaint SPLIT --known HALF] [--denoise SPLIT --noise STD] "
             "[--interpolate M] "
             "[--score] [--text T.txt] [--dataset D.h5] [--params ema|raw] [--set k=v]...",
    .help =
        "draws samples from a trained model\n\n"
        "  -n N          how many; sample i is the same whatever N and the number of ranks\n"
        "  --out F.h5    x (model scale) and images (8 bit); of tokens x, tokens and the "
        "entropy "
        "of the symbols at\n"
        "                each position; of models with codes for more symbols than there are "
        "(method "
        "argmax)\n"
        "                attributes unused_rows, unused_entries and unused_bits, with _error: "
        "the "
        "share of what is\n"
        "                no datum, and what a bound loses by it\n"
        "  --text T.txt  of tokens: what they stand for, a line a sample; -: on the page\n"
        "  --png G.png   a grid of them\n"
        "  --previews P  P looks at each sample on the way, evenly spaced: its predictions "
        "(samplers chain, ddim),\n"
        "                its states (langevin); the array\n"
        "                previews, and with --png a picture G-previews.png, a row a sample\n"
        "  --label K     of a model that reads labels: the class; all: the classes in turn, "
        "again and again\n"
        "  --condition V[,V...]  of a model that reads conditions: their values, of all "
        "samples\n"
        "  --unconditional  such a model is told none\n"
        "  --guide C     run or checkpoint of a classifier (method classifier) that knows the "
        "noise of this\n"
        "                model's chain: samples are guided to --label, by sample.guide_scale "
        "times the\n"
        "                gradient of its log-probability; sampler chain: of the mean, ddim: of "
        "the noise\n"
        "  --encode S    sampler ddim: the first N images of split S are encoded, and decoded "
        "again; array\n"
        "                codes.  Predictions are not cut, unless sample.clip says so\n"
        "  --data D.h5   of --encode, --inpaint and --denoise; default the data the model was "
        "trained on\n"
        "  --inpaint S --known HALF  the first N images of split S: their left, right, top or "
        "bottom half is\n"
        "                kept, the other drawn; array known\n"
        "  --denoise S --noise STD  the first N images of split S plus noise of that deviation "
        "in model scale,\n"
        "                array known; the draws are samples of the model times N(known; x, "
        "STD^2)\n"
        "  --interpolate M  sampler langevin: rows of M samples between two draws of the "
        "noise\n"
        "  --score       bits/dim of each sample under the model and the steps it is drawn "
        "with, not guided\n"
        "                (estimand vlb, likelihood.terms of its terms); array vlb.  Always "
        "with "
        "--guide\n"
        "  --dataset D.h5  also as a data set, split test, with the labels\n"
        "  --params P    ema: averaged parameters, the default where there are any; raw: the "
        "parameters themselves\n"
        "  --set K=V     for example --set sample.name=reverse_diffusion, sample.steps=500",
    .run = run,
};
