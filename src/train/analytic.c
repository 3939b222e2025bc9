/* Closed-form models: one fit on rank 0, one checkpoint. */
#include "train/loop.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <string.h>

typedef struct source {
    pf_dataset *data;
    const pf_experiment *e;
} source;

static pf_status read_rows(void *self, int64_t first, int64_t n, double *x)
{
    source *s = self;
    pf_draw draw = {(uint64_t)s->e->run.seed, PF_STREAM_DEQUANT, 0, 0};
    PF_TRY(pf_rows_read(s->data, s->e->data.grid, &draw, first, n, x));
    return PF_OK;
}

static PF_MUST_USE pf_status fit(source *s, pf_net *net, const char *dir, const char *content,
                                 float *params)
{
    const pf_dataset_info *about = pf_dataset_about(s->data);
    const pf_experiment *e = s->e;
    int64_t n = e->data.limit > 0 && e->data.limit < about->n ? e->data.limit : about->n;
    pf_sample_source src = {s, n, (int)pf_shape_entries(net->space.shape), read_rows};
    pf_log("fitting %s to %lld samples", net->model.ops->name, (long long)n);
    PF_TRY(net->model.ops->fit(&net->model.opt, &src, params));
    PF_TRY(pf_net_set_params(net, params)); /* refuses values that are not finite */

    char path[PF_PATH_MAX];
    pf_text config = {0};
    pf_checkpoint_path(dir, 1, path, sizeof path);
    PF_TRY(pf_experiment_text(e, &config));
    pf_checkpoint c = {
        .n_views = net->n_views,
        .views = net->views,
        .floats = net->floats,
        .params = params,
        .step = 1,
        .seed = (uint64_t)e->run.seed,
        .shards = e->run.shards,
        .space = net->space,
        .config = config.s,
    };
    memcpy(c.data_content, content, sizeof c.data_content);
    pf_status st = pf_checkpoint_write(path, &c);
    pf_free(config.s);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

static PF_MUST_USE pf_status fit_new(const pf_experiment *e, const char *dir,
                                     const char *content)
{
    source s = {.e = e};
    pf_net *net = NULL;
    float *params = NULL;
    PF_TRY(pf_dataset_open(e->data.path, "train", &s.data));
    pf_status st = pf_net_create(&e->model, &e->method, &pf_dataset_about(s.data)->space, &net);
    if (!st) params = pf_zalloc(net->floats * sizeof *params);
    if (!st && !params)
        st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu parameters", net->floats);
    if (!st) st = fit(&s, net, dir, content, params);
    pf_net_free(net);
    pf_free(params);
    pf_dataset_close(s.data);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

static PF_MUST_USE pf_status fit_once(const pf_experiment *e, const char *dir,
                                      const pf_start *start)
{
    if (start->path[0]) pf_log("already fitted: %s", start->path);
    else PF_TRY(fit_new(e, dir, start->content));
    PF_TRY(pf_run_dir_claim(dir, e));
    return PF_OK;
}

pf_status pf_train_analytic(pf_comm *c, const pf_experiment *e, const char *dir,
                            const pf_start *start)
{
    PF_TRY(pf_comm_agree(c, pf_comm_rank(c) == 0 ? fit_once(e, dir, start) : PF_OK));
    return PF_OK;
}
