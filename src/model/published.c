/* Published networks: option names of score_sde_pytorch-style descriptions mapped to ours, and
 * parameters matched by name both ways, so that neither a wrong option nor a stray tensor passes
 * unnoticed. */
#include <probflow/published.h>

#include <probflow/config.h>
#include <probflow/memory.h>

#include <string.h>

typedef struct size_opt {
    int size, ch;
} size_opt;

/* clang-format off */
static const pf_opt size_opts[] = {
    PF_OPT(size_opt, size, PF_INT, 0, 1, 65536, "height and width"),
    PF_OPT(size_opt, ch, PF_INT, 0, 1, 4096, "channels"),
    { 0 }
};
static const struct { const char *theirs, *ours; } keys[] = {
    {"nf", "width"},                        {"ch_mult", "multipliers"},
    {"blocks", "blocks"},                   {"attn", "attention"},
    {"dropout", "dropout"},                 {"fir", "fir"},
    {"skip_rescale", "skip_rescale"},       {"init_scale", "init_scale"},
    {"embedding", "embedding"},             {"fourier_scale", "fourier_scale"},
    {"progressive_input", "progressive_input"},
    {"centered", "centered"},               {"scale_by_sigma", "scale_by_sigma"},
};
/* clang-format on */

static PF_MUST_USE pf_status options(pf_config *c, pf_model *model, pf_shape *shape)
{
    static const char *const none[] = {NULL};
    size_opt s = {0};

    PF_TRY(pf_model_init("ddpmpp", model));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = pf_config_get(c, keys[i].theirs);
        if (text) PF_TRY(pf_opt_set(model->ops->opts, "net", keys[i].ours, text, &model->opt));
    }
    for (const pf_opt *o = size_opts; o->name; o++) {
        const char *text = pf_config_get(c, o->name);
        PF_REQUIRE(text, PF_EFORMAT, "the network's description lacks '%s'", o->name);
        PF_TRY(pf_opt_set(size_opts, "net", o->name, text, &s));
    }
    PF_TRY(pf_config_check(c, none));
    *shape = (pf_shape){s.size, s.size, s.ch};
    return PF_OK;
}

pf_status pf_published_options(const char *json, pf_model *model, pf_shape *shape)
{
    pf_config *c = NULL;
    PF_TRY(pf_config_parse(json, "network description", &c));
    pf_status st = options(c, model, shape);
    pf_config_free(c);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static const char *plain(const char *name)
{
    return strncmp(name, "module.", 7) ? name : name + 7;
}

static const char *shape_text(const pf_param *p, char *buf, size_t n)
{
    size_t used = (size_t)snprintf(buf, n, "[");
    for (int i = 0; i < p->rank && used < n; i++)
        used += (size_t)snprintf(buf + used, n - used, i ? ",%d" : "%d", p->dim[i]);
    if (used < n) snprintf(buf + used, n - used, "]");
    return buf;
}

static int same_shape(const pf_param *a, const pf_param *b)
{
    return a->rank == b->rank && !memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim);
}

static PF_MUST_USE pf_status nothing_is_left(const pf_named *from, const unsigned char *used)
{
    for (int i = 0; i < from->n; i++)
        PF_REQUIRE(used[i] || !strcmp(plain(from->views[i].name), "sigmas"), PF_EFORMAT,
                   "%s: parameter %s is not part of the network of these options", from->origin,
                   from->views[i].name);
    return PF_OK;
}

static PF_MUST_USE pf_status match(int n, const pf_param *views, const pf_named *from,
                                   unsigned char *used, float *params)
{
    char a[64], b[64];

    for (int i = 0, guess = 0; i < n; i++) {
        const pf_param *want = &views[i];
        int tries = 0, j = guess;
        /* files are mostly in our order: start after the last hit */
        while (tries < from->n && strcmp(plain(from->views[j].name), want->name)) {
            j = (j + 1) % from->n;
            tries++;
        }
        PF_REQUIRE(tries < from->n, PF_EFORMAT,
                   "%s: parameter %s %s is missing, which the network of these options needs",
                   from->origin, want->name, shape_text(want, a, sizeof a));
        const pf_param *have = &from->views[j];
        PF_REQUIRE(same_shape(have, want), PF_EFORMAT,
                   "%s: parameter %s has shape %s, the network of these options wants %s",
                   from->origin, want->name, shape_text(have, a, sizeof a),
                   shape_text(want, b, sizeof b));
        memcpy(params + want->offset, from->flat + have->offset, want->size * sizeof *params);
        used[j] = 1;
        guess = (j + 1) % from->n;
    }
    PF_TRY(nothing_is_left(from, used));
    return PF_OK;
}

pf_status pf_match_params(int n, const pf_param *views, const pf_named *from, float *params)
{
    PF_REQUIRE(from->n > 0, PF_EFORMAT, "%s: no parameters", from->origin);
    unsigned char *used = pf_zalloc((size_t)from->n);
    if (!used) PF_FAIL(PF_EMEM, "no memory for a table of parameters");
    pf_status st = match(n, views, from, used, params);
    pf_free(used);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
