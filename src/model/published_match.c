/* Parameters of published networks, matched by name both ways, so that no stray tensor passes unnoticed. */
#include <probflow/published.h>

#include <probflow/memory.h>

#include <stdio.h>
#include <string.h>

/* What wrappers of networks put before the names of their parameters. */
static const char *const prefixes[] = {"module.", "_denoise_fn.transformer.", "_denoise_fn.",
                                       "backbone.", NULL};
/* Tensors of state dictionaries that follow from options or belong to training. */
static const char *const buffers[] = {"sigmas",
                                      "rotary_emb.inv_freq",
                                      "log_alpha",
                                      "log_1_min_alpha",
                                      "log_cumprod_alpha",
                                      "log_1_min_cumprod_alpha",
                                      "Lt_history",
                                      "Lt_count",
                                      NULL};

/* The same of modules inside: what argmax flows turn around and mask by. */
static const char *const inner[] = {"permutation",
                                    "mask_in_to_features",
                                    "mask_features_to_hidden",
                                    "mask_hidden_to_out",
                                    "mask",
                                    "initialized",
                                    NULL};

static const char *plain(const char *name)
{
    for (const char *const *p = prefixes; *p; p++)
        if (!strncmp(name, *p, strlen(*p))) name += strlen(*p);
    return name;
}

static int is_buffer(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (const char *const *b = buffers; *b; b++)
        if (!strcmp(plain(name), *b)) return 1;
    for (const char *const *b = inner; dot && *b; b++)
        if (!strcmp(dot + 1, *b)) return 1;
    return 0;
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
        PF_REQUIRE(used[i] || is_buffer(from->views[i].name), PF_EFORMAT,
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

pf_status pf_published_seen(pf_published *p, const pf_named *from)
{
    const pf_opt *opts = p->model.ops->opts;
    for (int i = 0; i < from->n; i++)
        if (!strcmp(plain(from->views[i].name), "rezero.alpha") &&
            pf_opt_find(opts, "rezero").name)
            return pf_opt_set(opts, "model", "rezero", "true", &p->model.opt);
    return PF_OK;
}
