/* Checkpoints: one dataset per parameter in four groups, the counters of the run, and its
 * configuration.  Every dataset carries the CRC-32 of its bytes. */
#include <probflow/memory.h>
#include <probflow/store.h>
#include "store/h5.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS, EMA, ADAM_M, ADAM_V, BLOCKS };
const char *const pf_checkpoint_groups[] = {"/params", "/ema", "/adam/m", "/adam/v", NULL};

static PF_MUST_USE pf_status put_block(hid_t file, const char *group, const pf_checkpoint *c,
                                       const float *flat)
{
    hid_t g = 0;
    pf_status st = PF_OK;
    PF_TRY(pf_h5_group(file, group, &g));
    for (int i = 0; i < c->n_views && !st; i++) {
        const pf_param *v = &c->views[i];
        pf_h5_shape s = {.rank = v->rank};
        for (int k = 0; k < v->rank; k++) s.dim[k] = (hsize_t)v->dim[k];
        st = pf_h5_put(g, v->name, H5T_NATIVE_FLOAT, s, flat + v->offset, PF_H5_CHECKSUM);
    }
    H5Gclose(g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status put_state(hid_t file, const pf_checkpoint *c)
{
    hid_t g = 0;
    const pf_shape *of = &c->space.shape;
    int64_t shape[3] = {of->h, of->w, of->c}, seed = (int64_t)c->seed, shards = c->shards;
    int64_t floats = (int64_t)c->floats;
    PF_TRY(pf_h5_group(file, "/state", &g));
    pf_status st = pf_h5_put_i64(g, "step", 1, &c->step);
    if (!st) st = pf_h5_put_i64(g, "seed", 1, &seed);
    if (!st) st = pf_h5_put_i64(g, "shards", 1, &shards);
    if (!st) st = pf_h5_put_i64(g, "shape", 3, shape);
    if (!st) st = pf_h5_put_i64(g, "floats", 1, &floats);
    /* Where each parameter lies in the flat block, and whether it is trained. */
    hsize_t n = (hsize_t)c->n_views;
    int64_t *layout = pf_zalloc(2 * n * sizeof *layout);
    if (!st && !layout) st = pf_raise(PF_EMEM, PF_WHERE, "no memory to write a checkpoint");
    for (hsize_t i = 0; !st && i < n; i++) {
        layout[2 * i] = (int64_t)c->views[i].offset;
        layout[2 * i + 1] = c->views[i].trainable;
    }
    if (!st)
        st = pf_h5_put(g, "layout", H5T_NATIVE_INT64, (pf_h5_shape){2, {n, 2}}, layout,
                       PF_H5_CHECKSUM);
    pf_free(layout);
    H5Gclose(g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* What a datum is, beside its shape. */
static const char *const kinds[] = {
    [PF_LEVELS] = "levels", [PF_TOKENS] = "tokens", [PF_REAL] = "real"};

static PF_MUST_USE pf_status put_space(hid_t file, const pf_space *s)
{
    char text[128];
    snprintf(text, sizeof text, "%s %d, classes %d, conditions %d", kinds[s->kind], s->levels,
             s->classes, s->conditions);
    PF_TRY(pf_h5_put_text(file, "space", text));
    return PF_OK;
}

static PF_MUST_USE pf_status get_space(hid_t file, const char *path, pf_space *s)
{
    char *text = NULL, kind[16] = "";
    if (!pf_h5_has_attr(file, "space")) return PF_OK; /* an older file */
    PF_TRY(pf_h5_get_text(file, path, "space", &text));
    int n = sscanf(text, "%15s %d, classes %d, conditions %d", kind, &s->levels, &s->classes,
                   &s->conditions);
    pf_free(text);
    int k = 0;
    while (k < PF_REAL && strcmp(kind, kinds[k])) k++;
    s->kind = k;
    PF_REQUIRE(n == 4 && !strcmp(kind, kinds[k]) && s->levels >= 0 && s->levels <= 1 << 24 &&
                   s->classes >= 0 && s->classes <= 1 << 24 && s->conditions >= 0 &&
                   s->conditions <= 1 << 24,
               PF_EFORMAT, "%s is damaged: impossible space of data", path);
    return PF_OK;
}

/* ---- what a law of indices remembers ---- */

static PF_MUST_USE pf_status put_times(hid_t file, const pf_checkpoint *c)
{
    hid_t g = 0;
    hsize_t T = (hsize_t)c->times, kept = (hsize_t)c->times_kept;
    if (!c->times) return PF_OK;
    PF_TRY(pf_h5_group(file, "/times", &g));
    pf_status st = pf_h5_put(g, "history", H5T_NATIVE_DOUBLE, (pf_h5_shape){2, {T, kept}},
                             c->times_loss, PF_H5_CHECKSUM);
    if (!st)
        st = pf_h5_put(g, "count", H5T_NATIVE_INT32, (pf_h5_shape){1, {T}}, c->times_count,
                       PF_H5_CHECKSUM);
    H5Gclose(g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status times_shape(hid_t file, const char *path, const char *name,
                                         pf_checkpoint *c)
{
    pf_h5_shape s = {0};
    size_t n = 0;
    hid_t d = pf_h5_has(file, name) ? H5Dopen2(file, name, H5P_DEFAULT) : -1;
    PF_REQUIRE(d > 0, PF_EFORMAT, "%s is damaged: cannot open the dataset %s", path, name);
    pf_status st = pf_h5_backed(d, path, name, &s, &n);
    H5Dclose(d);
    if (st) return pf_trail(st, PF_WHERE);
    PF_REQUIRE(s.rank == 2 && n > 0 && s.dim[0] <= INT_MAX && s.dim[1] <= INT_MAX, PF_EFORMAT,
               "%s is damaged: the dataset %s has an impossible shape", path, name);
    c->times = (int)s.dim[0];
    c->times_kept = (int)s.dim[1];
    return PF_OK;
}

static PF_MUST_USE pf_status read_times(hid_t file, const char *path, pf_checkpoint *c)
{
    if (!pf_h5_has(file, "/times")) return PF_OK;
    PF_TRY(times_shape(file, path, "/times/history", c));
    size_t T = (size_t)c->times, bytes = T * (size_t)c->times_kept * sizeof *c->times_loss;
    double *loss = pf_zalloc(bytes);
    int32_t *count = pf_zalloc(T * sizeof *count);
    c->times_loss = loss;
    c->times_count = count;
    PF_REQUIRE(loss && count, PF_EMEM, "no memory to read %s", path);
    PF_TRY(pf_h5_get(file, path, "/times/history", H5T_NATIVE_DOUBLE, loss, bytes));
    PF_TRY(pf_h5_get(file, path, "/times/count", H5T_NATIVE_INT32, count, T * sizeof *count));
    return PF_OK;
}

static PF_MUST_USE pf_status put_all(hid_t file, const pf_checkpoint *c)
{
    const float *block[BLOCKS] = {c->params, c->ema, c->adam_m, c->adam_v};
    PF_TRY(pf_h5_put_text(file, "config", c->config ? c->config : ""));
    if (c->data_content[0]) PF_TRY(pf_h5_put_text(file, "data_content", c->data_content));
    PF_TRY(put_space(file, &c->space));
    PF_TRY(put_state(file, c));
    for (int b = 0; b < BLOCKS; b++) {
        if (!block[b]) continue;
        if (b == ADAM_M) {
            hid_t g = 0;
            PF_TRY(pf_h5_group(file, "/adam", &g));
            H5Gclose(g);
        }
        PF_TRY(put_block(file, pf_checkpoint_groups[b], c, block[b]));
    }
    PF_TRY(put_times(file, c));
    return PF_OK;
}

pf_status pf_checkpoint_write(const char *path, const pf_checkpoint *c)
{
    size_t blocks = 1u + !!c->ema + !!c->adam_m + !!c->adam_v;
    PF_REQUIRE(c->params && c->views && c->n_views > 0 && !c->adam_m == !c->adam_v, PF_EARG,
               "%s: a checkpoint needs parameters, and both Adam moments or none", path);
    size_t times =
        (size_t)c->times * ((size_t)c->times_kept * sizeof(double) + sizeof(int32_t));
    pf_h5_image im;
    PF_TRY(pf_h5_begin(&im,
                       blocks * (c->floats * sizeof(float) + 512u * (size_t)c->n_views) + times,
                       0, "checkpoint"));
    PF_TRY(pf_h5_end(&im, path, put_all(im.file, c)));
    return PF_OK;
}

static PF_MUST_USE pf_status read_counters(hid_t g, const char *path, pf_checkpoint *c)
{
    int64_t shape[3] = {0}, seed = 0, shards = 0, floats = 0;
    PF_TRY(pf_h5_get_i64(g, path, "step", 1, &c->step));
    PF_TRY(pf_h5_get_i64(g, path, "seed", 1, &seed));
    PF_TRY(pf_h5_get_i64(g, path, "shards", 1, &shards));
    PF_TRY(pf_h5_get_i64(g, path, "shape", 3, shape));
    PF_TRY(pf_h5_get_i64(g, path, "floats", 1, &floats));
    int fit = floats > 0 && c->step >= 0 && shards >= 0 && shards <= INT_MAX;
    for (int i = 0; i < 3; i++) fit &= shape[i] >= 0 && shape[i] < 1 << 24;
    PF_REQUIRE(fit, PF_EFORMAT, "%s is damaged: impossible shape or counters in /state", path);
    c->seed = (uint64_t)seed;
    c->shards = (int)shards;
    c->space =
        (pf_space){.kind = PF_REAL, .shape = {(int)shape[0], (int)shape[1], (int)shape[2]}};
    c->floats = (size_t)floats;
    return PF_OK;
}

static PF_MUST_USE pf_status read_state(hid_t file, const char *path, pf_checkpoint *c)
{
    PF_REQUIRE(pf_h5_is_dataset(file, "/state") == 0, PF_EFORMAT,
               "%s is damaged: it has no group /state", path);
    hid_t g = H5Gopen2(file, "/state", H5P_DEFAULT);
    PF_REQUIRE(g > 0, PF_EFORMAT, "%s is damaged: it has no group /state", path);
    pf_status st = read_counters(g, path, c);
    H5Gclose(g);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status read_view(hid_t file, const char *path, const char *name,
                                       pf_param *v)
{
    char full[PF_NAME_MAX + 16];
    PF_REQUIRE(strlen(name) < PF_NAME_MAX, PF_EFORMAT, "%s: a parameter has too long a name",
               path);
    strcpy(v->name, name);
    snprintf(full, sizeof full, "/params/%s", name);
    hid_t d = H5Dopen2(file, full, H5P_DEFAULT);
    PF_REQUIRE(d > 0, PF_EIO, "%s is damaged: cannot open the dataset %s", path, full);
    pf_h5_shape s = {0};
    pf_status st = pf_h5_backed(d, path, full, &s, &v->size);
    H5Dclose(d);
    if (st) return pf_trail(st, PF_WHERE);
    PF_REQUIRE(s.rank <= 4, PF_EFORMAT, "%s: the parameter %s has rank %d", path, name, s.rank);
    v->rank = s.rank;
    for (int k = 0; k < s.rank; k++) {
        PF_REQUIRE(s.dim[k] <= INT_MAX, PF_EFORMAT,
                   "%s: the parameter %s has an impossible shape", path, name);
        v->dim[k] = (int)s.dim[k];
    }
    return PF_OK;
}

/* Views lie in the block one behind the other, with less than a page between: so the block is no
 * larger than its views say.  sorted [n] is scratch. */
static int by_offset(const void *a, const void *b)
{
    const pf_param *p = *(const pf_param *const *)a, *q = *(const pf_param *const *)b;
    return (p->offset > q->offset) - (p->offset < q->offset);
}

static PF_MUST_USE pf_status check_layout(const char *path, const pf_checkpoint *c,
                                          const pf_param **sorted)
{
    enum { GAP = 1024 };
    size_t at = 0;
    for (int i = 0; i < c->n_views; i++) sorted[i] = &c->views[i];
    qsort(sorted, (size_t)c->n_views, sizeof *sorted, by_offset);
    for (int i = 0; i < c->n_views; i++) {
        const pf_param *v = sorted[i];
        PF_REQUIRE(v->offset <= c->floats && v->size <= c->floats - v->offset, PF_EFORMAT,
                   "%s is damaged: the parameter %s lies outside its block", path, v->name);
        PF_REQUIRE(v->offset >= at && v->offset - at <= GAP, PF_EFORMAT,
                   "%s is damaged: the parameter %s is not where the one before it ends", path,
                   v->name);
        at = v->offset + v->size;
    }
    PF_REQUIRE(c->n_views > 0 && c->floats - at <= GAP, PF_EFORMAT,
               "%s is damaged: /state claims %zu floats, its parameters have %zu", path,
               c->floats, at);
    return PF_OK;
}

static PF_MUST_USE pf_status fill_views(hid_t file, const char *path, char **names, int n,
                                        pf_param *views, int64_t *layout)
{
    PF_TRY(pf_h5_get(file, path, "/state/layout", H5T_NATIVE_INT64, layout,
                     (size_t)n * 2 * sizeof *layout));
    for (int i = 0; i < n; i++) {
        PF_TRY(read_view(file, path, names[i], &views[i]));
        views[i].offset = (size_t)layout[2 * i];
        views[i].trainable = layout[2 * i + 1] != 0;
    }
    return PF_OK;
}

static PF_MUST_USE pf_status read_views(hid_t file, const char *path, pf_checkpoint *c)
{
    char **names = NULL;
    int n = 0;
    PF_TRY(pf_h5_members(file, path, "/params", &n, &names));
    pf_param *views = pf_zalloc((size_t)n * sizeof *views);
    int64_t *layout = pf_zalloc((size_t)n * 2 * sizeof *layout);
    const pf_param **sorted = pf_zalloc((size_t)n * sizeof *sorted);
    pf_status st = views && layout && sorted
                       ? PF_OK
                       : pf_raise(PF_EMEM, PF_WHERE, "no memory to read %s", path);
    c->views = views;
    c->n_views = n;
    if (!st) st = fill_views(file, path, names, n, views, layout);
    if (!st) st = check_layout(path, c, sorted);
    pf_free(sorted);
    pf_free(layout);
    pf_h5_names_free(names, n);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status read_block(hid_t file, const char *path, const char *group,
                                        const pf_checkpoint *c, float **out)
{
    char full[PF_NAME_MAX + 16];
    if (!pf_h5_has(file, group)) return PF_OK;
    *out = pf_zalloc(c->floats * sizeof **out);
    PF_REQUIRE(*out, PF_EMEM, "no memory to read %s", path);
    for (int i = 0; i < c->n_views; i++) {
        const pf_param *v = &c->views[i];
        snprintf(full, sizeof full, "%s/%s", group, v->name);
        PF_TRY(pf_h5_get(file, path, full, H5T_NATIVE_FLOAT, *out + v->offset,
                         v->size * sizeof(float)));
    }
    return PF_OK;
}

static PF_MUST_USE pf_status read_all(hid_t file, const char *path, int with_state,
                                      pf_checkpoint *c)
{
    PF_TRY(pf_h5_get_text(file, path, "config", &c->config));
    PF_TRY(pf_h5_get_digest(file, path, "data_content", c->data_content));
    PF_TRY(read_state(file, path, c));
    PF_TRY(get_space(file, path, &c->space));
    PF_TRY(read_views(file, path, c));
    PF_TRY(read_block(file, path, pf_checkpoint_groups[PARAMS], c, &c->params));
    PF_TRY(read_block(file, path, pf_checkpoint_groups[EMA], c, &c->ema));
    /* Read in any case: a file with one bad byte is bad, also for who does not need that byte. */
    PF_TRY(read_block(file, path, pf_checkpoint_groups[ADAM_M], c, &c->adam_m));
    PF_TRY(read_block(file, path, pf_checkpoint_groups[ADAM_V], c, &c->adam_v));
    PF_TRY(read_times(file, path, c));
    if (with_state) return PF_OK;
    pf_free(c->adam_m);
    pf_free(c->adam_v);
    c->adam_m = c->adam_v = NULL;
    return PF_OK;
}

void pf_checkpoint_free(pf_checkpoint *c)
{
    if (!c) return;
    pf_free((void *)c->views);
    pf_free(c->params);
    pf_free(c->ema);
    pf_free(c->adam_m);
    pf_free(c->adam_v);
    pf_free((void *)c->times_loss);
    pf_free((void *)c->times_count);
    pf_free(c->config);
    memset(c, 0, sizeof *c);
}

pf_status pf_checkpoint_read(const char *path, int with_state, pf_checkpoint *out)
{
    hid_t file = 0;
    memset(out, 0, sizeof *out);
    PF_TRY(pf_h5_open_kind(path, "checkpoint", NULL, &file));
    pf_status st = read_all(file, path, with_state, out);
    pf_h5_close(file);
    if (st) {
        pf_checkpoint_free(out);
        return pf_trail(st, PF_WHERE);
    }
    return PF_OK;
}
