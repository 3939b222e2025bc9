/* The workers of a likelihood evaluation and its results file. */
#include "likelihood/rows.h"

#include <probflow/config.h>
#include <probflow/estimand.h>
#include <probflow/log.h>
#include <probflow/memory.h>
#include <probflow/scoring.h>
#include <probflow/sha256.h>
#include <probflow/stop.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

/* What one worker sees of the model. */
struct pf_seat {
    pf_view view;
    pf_score score;
    pf_chain chain;
    int open;
};

static unsigned needs_of(const pf_likelihood_opt *opt)
{
    const pf_estimand_ops *e;
    unsigned all = 0;
    for (int i = 0; (e = pf_estimand_asked(opt, i)); i++) all |= e->needs;
    return all;
}

static int columns(const pf_scoring *s)
{
    const pf_ledger_column *c;
    return pf_likelihood_columns(s->opt, &c);
}

/* The model as opt wants its chain, for so many samples. */
static PF_MUST_USE pf_status open_chain(const pf_scorer *m, const pf_likelihood_opt *opt,
                                        pf_view_opt view, pf_chain *out)
{
    PF_REQUIRE(m->net->method.ops->chain, PF_EARG,
               "likelihood.estimand: %s needs a chain of steps, which %s does not have",
               pf_estimand_asked(opt, 0)->name, m->path);
    view.respacing = opt->respacing;
    view.clip = (pf_clip)opt->clip;
    pf_status st = pf_net_chain(m->net, &view, out);
    if (st == PF_EARG && opt->respacing[0])
        st = pf_raise(st, PF_WHERE, "likelihood.%s, in the chain of %s", pf_error_message(),
                      m->path);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status check_chain(const pf_scorer *model, const pf_likelihood_opt *opt)
{
    const pf_estimand_ops *e;
    pf_chain chain = {0};
    const pf_view view = {.chain = &chain, .law = model->law};
    pf_status st = open_chain(model, opt, (pf_view_opt){.batch = 1}, &chain);
    for (int i = 0; !st && (e = pf_estimand_asked(opt, i)); i++)
        if (e->needs & PF_NEEDS_CHAIN) st = e->check(opt, &view, NULL);
    pf_chain_free(&chain);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_scoring_reaches(const pf_scorer *model, const pf_likelihood_opt *opt)
{
    double from = model->net->graph ? pf_method_t_min(&model->net->method) : 0.0;
    PF_REQUIRE(!(needs_of(opt) & PF_NEEDS_SCORE) || opt->ode.t_min >= from, PF_EARG,
               "likelihood.t_min is %g, but %s is trained from %g on; set likelihood.t_min=%g "
               "for both",
               opt->ode.t_min, model->path, from, from);
    if (needs_of(opt) & PF_NEEDS_CHAIN) PF_TRY(check_chain(model, opt));
    return PF_OK;
}

int pf_scoring_draws(const pf_scoring *s)
{
    return s->pilots && s->opt->draws < 2 ? 1 + pf_likelihood_repeats(s->data->n)
                                          : s->opt->draws;
}

/* The last of each of n equal ranges of the groups, since the last of all is the one that may be
 * shorter. */
static int is_one_of(const pf_scoring *s, int64_t n, int64_t group)
{
    int64_t all = pf_scoring_groups(s);
    if (n > all) n = all;
    return (group + 1) * n / all > group * n / all;
}

/* ---- one group ---- */

/* On one thread, as all work is here, so that its bits do not depend on their number; the other
 * workers wait, having nothing to do without it. */
static pf_status share_control(pf_scoring *s, const pf_control **out)
{
    pthread_mutex_lock(&s->own.io);
    pf_status st =
        s->own.control ? PF_OK : pf_control_of_split(s->train, s->model.data, &s->own.control);
    *out = s->own.control;
    pthread_mutex_unlock(&s->own.io);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* The first worker's score has the prepared weights of all. */
static pf_status open_seat(const pf_scoring *s, struct pf_seat *k)
{
    int64_t group = s->opt->group, n = s->data->n;
    const pf_score *with = k == s->own.seats ? NULL : &s->own.seats[0].score;
    int batch = (int)(n < group ? n : group);
    k->view.sde = s->model.net->sde;
    k->view.law = s->model.law;
    if (needs_of(s->opt) & PF_NEEDS_SCORE) {
        pf_view_opt view = {.batch = batch, .with_vjp = 1, .with = with ? with->self : NULL};
        PF_TRY(pf_net_score(s->model.net, &view, &k->score));
        k->view.score = &k->score;
    }
    if (needs_of(s->opt) & PF_NEEDS_CHAIN) {
        const pf_chain *first = k == s->own.seats ? NULL : &s->own.seats[0].chain;
        pf_view_opt view = {.batch = batch, .with = first ? first->self : NULL};
        PF_TRY(open_chain(&s->model, s->opt, view, &k->chain));
        k->view.chain = &k->chain;
    }
    k->open = 1;
    return PF_OK;
}

static void close_seats(pf_scoring *s)
{
    for (int i = 0; s->own.seats && i < s->own.threads; i++) {
        struct pf_seat *k = &s->own.seats[i];
        pf_score_free(&k->score);
        pf_chain_free(&k->chain);
        *k = (struct pf_seat){0};
    }
}

/* The estimand whose shares the ledger has, where a row does not say them; NULL: there is none. */
static const pf_estimand_ops *silent_one(const pf_scoring *s)
{
    const pf_estimand_ops *e = pf_estimand_asked(s->opt, 0);
    return pf_estimand_is_first(e) && e->repeat && e->repeats(s->opt) == 1 ? e : NULL;
}

/* What another set of probes alone would change, which for pixels is not all that is random: by more
 * sets in the solve of the first draw. */
static pf_status add_variance(pf_scoring *s, const pf_view *view, const pf_estimand_ops *e,
                              pf_group g, double *cells)
{
    int sets = 1 + pf_likelihood_repeats(s->data->n), n = columns(s), at = 0;
    pf_likelihood_opt more = *s->opt;
    double *of_all = pf_zalloc((size_t)g.B * (size_t)n * sizeof *of_all);
    PF_REQUIRE(of_all, PF_EMEM, "no memory for %d rows", g.B);
    while (at < n - 1 && e->columns[at].role != PF_ROLE_VARIANCE) at++;
    more.draws = 1;
    for (int i = 0; pf_estimands[i]; i++)
        if (pf_estimands[i] == e) more.estimand = 1 << i;
    e->repeat(&more, sets);
    g.repeat = 0;
    pf_status st = pf_likelihood_group(view, &more, &g, of_all);
    for (int b = 0; !st && b < g.B; b++) cells[b * n + at] = sets * of_all[b * n + at];
    pf_free(of_all);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* A row of a draw that was not made, from one of the same image that was. */
static void unmake(const pf_ledger_column *c, int n, const double *made, int draw, double *row)
{
    for (int i = 0; i < n; i++) {
        pf_role r = c[i].role;
        int known = r == PF_ROLE_KEY || r == PF_ROLE_LABEL || r == PF_ROLE_OFFSET ||
                    r == PF_ROLE_COUNT || r == PF_ROLE_WORK || r == PF_ROLE_WEIGHT;
        row[i] = known ? made[i] : NAN;
    }
    row[PF_AT_DRAW] = draw;
}

static pf_status score_rows(pf_scoring *s, const pf_view *view, int64_t group,
                            const pf_group *g, double *cells)
{
    pf_likelihood_opt o = *s->opt;
    const pf_ledger_column *c;
    const pf_estimand_ops *silent = silent_one(s);
    int pilot = s->pilots && is_one_of(s, s->pilots, group);
    int n = pf_likelihood_columns(s->opt, &c);
    if (pilot) o.draws = pf_scoring_draws(s);
    PF_TRY(pf_likelihood_group(view, &o, g, cells));
    if (pilot && g->pixels && silent) PF_TRY(add_variance(s, view, silent, *g, cells));
    for (int d = o.draws; d < pf_scoring_draws(s); d++)
        for (int b = 0; b < g->B; b++)
            unmake(c, n, cells + b * n, d, cells + (d * g->B + b) * n);
    return PF_OK;
}

static pf_status work(void *self, int worker, int64_t item, void *result)
{
    pf_scoring *s = self;
    struct pf_seat *seat = &s->own.seats[worker];
    PF_REQUIRE(!pf_stop_asked(), PF_ESTOP, "stopped before group %lld", (long long)item);
    if (!seat->open) PF_TRY(open_seat(s, seat));
    pf_rows r;
    double *cells = result;
    int n = columns(s);
    pf_status st = pf_rows_of_group(s, item, &r);
    pf_group *g = &r.g;
    g->repeat = is_one_of(s, s->opt->check_groups, item);
    if (!st && s->train) st = share_control(s, &g->control);
    if (!st) st = score_rows(s, &seat->view, item, g, cells);
    for (int i = 0; !st && s->data->has_labels && i < pf_scoring_draws(s) * g->B; i++)
        cells[i * n + PF_AT_LABEL] = r.labels[i % g->B];
    pf_rows_free(&r);
    if (st == PF_ENUMERIC && s->model.hint)
        st = pf_raise(st, PF_WHERE, "%s; %s %s", pf_error_message(), s->model.path,
                      s->model.hint);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* ---- rank 0 ---- */

static int is_mine(const pf_scoring *s, int64_t group)
{
    return group >= s->first && group < s->last;
}

/* Entries of a row in units of those of a full one. */
static double weight_of(const pf_scoring *s, const double *cells)
{
    const pf_ledger_column *c;
    int n = pf_likelihood_columns(s->opt, &c);
    int at = pf_ledger_weights(&(pf_ledger){.n = n, .column = c});
    double w = at < 0 ? NAN : cells[at] / pf_space_dim(&s->data->space);
    return isnan(w) ? 1.0 : w;
}

/* The mean over draws of n images, image_step rows from one to the next, joins the running mean.
 * Source: Welford 1962; with weights West 1979. */
static void account(pf_scoring *s, const double *cells, int64_t n, int64_t image_step,
                    int64_t draw_step)
{
    int width = columns(s), total = pf_estimand_asked(s->opt, 0)->total;
    for (int64_t i = 0; i < n; i++, cells += image_step * width) {
        double v = 0.0, before = s->sum.mean, w = weight_of(s, cells);
        for (int d = 0; d < s->opt->draws; d++)
            v += cells[d * draw_step * width + total] / s->opt->draws;
        s->sum.scored++;
        s->sum.weight += w;
        s->sum.mean += (v - before) * w / s->sum.weight;
        s->sum.spread += w * (v - before) * (v - s->sum.mean);
        s->sum.mine += is_mine(s, (int64_t)cells[PF_AT_IMAGE] / s->opt->group);
    }
}

const char *pf_scored_unit(const pf_space *s)
{
    return s->kind == PF_TOKENS ? "bits/char" : "bits/dim";
}

const char *pf_error_bar(double se, int digits, char buf[32])
{
    if (isnan(se)) snprintf(buf, 32, "?");
    else snprintf(buf, 32, "%.*f", digits, se);
    return buf;
}

void pf_scoring_report(const pf_scoring *s, int last)
{
    double n = (double)s->sum.scored, se = n > 1 ? sqrt(s->sum.spread / (n - 1) / n) : NAN;
    double left = (pf_seconds() - s->started) * (double)(s->last - s->first - s->sum.done) /
                  (double)s->fresh;
    int64_t end = s->last * s->opt->group, begin = s->first * s->opt->group;
    char eta[32], error[32];
    double per = s->nats != 0.0 ? s->nats : 1.0;
    pf_progress(last, "%s %lld/%lld %s  %.4f +- %s %s  eta %s", s->verb, (long long)s->sum.mine,
                (long long)((end < s->data->n ? end : s->data->n) - begin), s->unit,
                per * s->sum.mean, pf_error_bar(fabs(per) * se, 4, error),
                s->nats != 0.0 ? "nats" : pf_scored_unit(&s->data->space),
                pf_duration(left, eta, sizeof eta));
}

static pf_status done(void *self, int64_t item, const void *result)
{
    pf_scoring *s = self;
    int n = pf_scoring_draws(s) * pf_scoring_group(s, item);
    pthread_mutex_lock(&s->own.io);
    pf_status st = pf_results_put(s->results, item, result, n);
    pthread_mutex_unlock(&s->own.io);
    PF_TRY(st);
    account(s, result, pf_scoring_group(s, item), 1, pf_scoring_group(s, item));
    s->sum.done++;
    s->fresh++;
    if (pf_progress_due()) pf_scoring_report(s, 0);
    return PF_OK;
}

static int skip(void *self, int64_t item)
{
    pf_scoring *s = self;
    return !is_mine(s, item) || pf_results_done(s->results, item);
}

static pf_status define_data(const pf_scoring *s, int before, pf_text *t)
{
    const pf_scored *d = s->data;
    if (before)
        PF_TRY(pf_text_add(t, "  dataset: %s\n  dataset_sha256: %s\n", d->name, d->sources));
    else PF_TRY(pf_text_add(t, "  data_content: %s\n", d->content));
    if (d->split) PF_TRY(pf_text_add(t, "  split: %s\n", d->split));
    PF_TRY(pf_text_add(t, "  images: %lld\n", (long long)d->n));
    if (s->pilots) PF_TRY(pf_text_add(t, "  pilots: %lld\n", (long long)s->pilots));
    return PF_OK;
}

/* Everything that defines the numbers; a result file is continued only under the same text.
 * before: as earlier versions wrote it, by the data's name and sources in place of their content. */
static pf_status define(const pf_scoring *s, int before, pf_text *t)
{
    const pf_model *model = &s->model.net->model;
    char sum[65];
    PF_TRY(pf_sha256_file(s->model.file, sum));
    PF_TRY(pf_text_add(t, "%s:\n  checkpoint_sha256: %s\n  checkpoint_step: %lld\n", s->verb,
                       sum, (long long)s->model.step));
    PF_TRY(define_data(s, before, t));
    if (s->model.raw) PF_TRY(pf_text_add(t, "  params: raw\n"));
    if (s->unconditional && pf_rows_are_told(&s->model))
        PF_TRY(pf_text_add(t, "  unconditional: true\n"));
    PF_TRY(pf_config_write(t, "likelihood", NULL, pf_likelihood_opts, s->opt));
    PF_TRY(pf_method_write(&s->model.net->method, 0, t));
    PF_TRY(pf_config_write(t, "model", model->ops->name, model->ops->opts, &model->opt));
    if (!before && s->train)
        PF_TRY(pf_text_add(t, "control:\n  data_content: %s\n", s->train_content));
    return PF_OK;
}

static pf_status adopt(pf_scoring *s)
{
    for (int i = 0; i < s->n_from; i++) {
        int64_t n = 0;
        PF_TRY(pf_results_adopt(s->results, s->from[i], &n));
        pf_log("%s: %lld groups from %s", s->path, (long long)n, s->from[i]);
    }
    return PF_OK;
}

static pf_status open_file(pf_scoring *s)
{
    pf_text t = {0}, before = {0};
    pf_results_info info = {
        .images = s->data->n, .draws = pf_scoring_draws(s), .group = s->opt->group};
    info.columns = pf_likelihood_columns(s->opt, &info.column);
    pf_status st = define(s, 0, &t);
    if (!st && s->data->name) st = define(s, 1, &before);
    info.config = t.s;
    info.before = before.s;
    s->own.created = access(s->path, F_OK) != 0;
    if (!st) st = pf_results_open(s->path, &info, &s->results);
    if (st == PF_EARG)
        st = pf_raise(st, PF_WHERE, "%s; name another file with --out%s", pf_error_message(),
                      s->data->set ? "" : ", or remove that one, work half done");
    pf_free(t.s);
    pf_free(before.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_scoring_check(const pf_scoring *s)
{
    PF_TRY(pf_output_check(s->path, "results", s->inputs, s->n_inputs));
    PF_TRY(pf_output_check(s->path, "results", s->from, s->n_from));
    return PF_OK;
}

/* Normal draws stand about the centres of the levels, as data of that grid do at t_min. */
static void hint_at_grid(const pf_scoring *s)
{
    int how = s->opt->dequantisation, cut = how == PF_DEQUANT_TRUNCATED_NORMAL;
    if (!s->model.net->graph || (!cut && how != PF_DEQUANT_NORMAL)) return;
    int grid = s->model.data->grid;
    if (grid == PF_GRID_CENTRES) return;
    pf_log("data.grid is %s: the network of %s was trained on %s; %s costs it %s; "
           "train with data.grid=centres",
           pf_grid_words[grid], s->model.path,
           grid == PF_GRID_DEQUANTISED ? "dequantised data"
                                       : "points beside the centres of the levels",
           cut ? "truncated normal" : "normal noise",
           cut && grid == PF_GRID_DEQUANTISED ? "about 0.9 bits/dim"
                                              : "what it does not know of those");
}

static pf_status open_results(pf_scoring *s)
{
    int64_t group = s->opt->group, begin = s->first * group, end = s->last * group;
    PF_TRY(pf_scoring_check(s));
    /* A bad row is told now, and not after hours, with a file begun. */
    if (s->data->set)
        PF_TRY(pf_dataset_check(s->data->set, begin,
                                (end < s->data->n ? end : s->data->n) - begin));
    PF_TRY(open_file(s));
    hint_at_grid(s);
    PF_TRY(adopt(s));
    pf_ledger rows = {0};
    PF_TRY(pf_results_rows(s->results, &rows));
    int draws = pf_scoring_draws(s);
    account(s, rows.cell, rows.rows / draws, draws, 1); /* sorted by image */
    pf_free(rows.cell);
    for (int64_t g = s->first; g < s->last; g++) s->sum.done += pf_results_done(s->results, g);
    if (s->sum.done)
        pf_log("%s: continues, %lld of %lld groups are done", s->path, (long long)s->sum.done,
               (long long)(s->last - s->first));
    return PF_OK;
}

/* ---- all groups ---- */

/* Opens the seats of the first two workers: the others will hold what the second one does. */
static pf_status open_seats(pf_scoring *s, int workers)
{
    size_t model = pf_alloc_live(), first, other = 0;
    size_t libraries = pf_resident_bytes() > model ? pf_resident_bytes() - model : 0;
    PF_TRY(open_seat(s, &s->own.seats[0]));
    first = pf_alloc_live() - model;
    if (workers > 1) {
        PF_TRY(open_seat(s, &s->own.seats[1]));
        other = pf_alloc_live() - model - first;
    }
    double mb = 1e-6, n = workers, scores = (double)first + (n - 1) * (double)other;
    pf_shape shape = s->data->space.shape;
    int dim = shape.h * shape.w * shape.c;
    double solver = n * (double)pf_likelihood_bytes(s->opt, dim);
    if (s->train) model += pf_control_bytes(dim);
    pf_log("memory a rank [MB]: model and results %.1f, activations and prepared weights %.1f, "
           "solver %.1f, libraries %.1f; %.0f in all with %d workers",
           mb * (double)model, mb * scores, mb * solver, mb * (double)libraries,
           mb * ((double)model + scores + solver + (double)libraries), workers);
    return PF_OK;
}

static pf_status open_all(pf_comm *c, pf_scoring *s)
{
    int64_t groups = pf_scoring_groups(s);
    s->own.threads = pf_comm_threads(c);
    s->own.seats = pf_zalloc(sizeof *s->own.seats * (size_t)s->own.threads);
    PF_REQUIRE(s->own.seats, PF_EMEM, "no memory for %d workers", s->own.threads);
    if (pf_comm_rank(c) == 0) PF_TRY(open_results(s));
    PF_TRY(open_seats(s, (int)(s->own.threads < groups ? s->own.threads : groups)));
    const pf_chain *chain = &s->own.seats[0].chain;
    s->chain = (struct pf_scored_chain){.steps = chain->steps,
                                        .whole = chain->whole,
                                        .clips = chain->clips,
                                        .dim = chain->dim,
                                        .unit = chain->unit,
                                        .null = chain->null};
    return PF_OK;
}

pf_status pf_scoring_run(pf_comm *c, pf_scoring *s)
{
    pthread_mutex_init(&s->own.io, NULL);
    PF_TRY(pf_comm_agree(c, open_all(c, s)));
    s->started = pf_seconds();
    size_t rows = (size_t)pf_scoring_draws(s) * (size_t)s->opt->group;
    pf_queue_job q = {
        .n = pf_scoring_groups(s),
        .result_bytes = sizeof(double) * rows * (size_t)columns(s),
        .threads = s->own.threads,
        .self = s,
        .work = work,
        .done = done,
        .skip = skip,
    };
    pf_status st = pf_queue_run(c, &q);
    close_seats(s);
    PF_REQUIRE(st != PF_ESTOP, PF_ESTOP,
               "stopped with %lld of %lld groups done; the same command continues",
               (long long)s->sum.done, (long long)(s->last - s->first));
    PF_TRY(st);
    return PF_OK;
}

pf_status pf_scoring_end(pf_scoring *s, pf_status st)
{
    if (s->results) {
        if (st && st != PF_ESTOP && s->own.created && !s->sum.scored) unlink(s->path);
        pf_status closed = pf_results_close(s->results);
        if (!st) st = closed;
    }
    close_seats(s);
    pf_free(s->own.seats);
    pf_control_free(s->own.control);
    s->results = NULL;
    s->own.seats = NULL;
    s->own.control = NULL;
    return st;
}
