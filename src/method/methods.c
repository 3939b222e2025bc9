/* The table of methods.  To add one: write its file after ddpm.c, add its row here and its name to
 * meson.build. */
#include <probflow/method.h>

#include <stdio.h>
#include <string.h>

extern const pf_method_ops pf_method_sde_ops, pf_method_ddpm, pf_method_classifier,
    pf_method_ncsn, pf_method_sohl2015, pf_method_sohl2015_binomial, pf_method_multinomial,
    pf_method_masked, pf_method_d3pm, pf_method_argmax;

const pf_method_ops *const pf_methods[] = {&pf_method_sde_ops,
                                           &pf_method_ddpm,
                                           &pf_method_classifier,
                                           &pf_method_ncsn,
                                           &pf_method_sohl2015,
                                           &pf_method_sohl2015_binomial,
                                           &pf_method_multinomial,
                                           &pf_method_masked,
                                           &pf_method_d3pm,
                                           &pf_method_argmax,
                                           NULL};

const char *const pf_clip_words[] = {"method", "no", "yes", NULL};

pf_status pf_method_init(const char *name, pf_method *out)
{
    const void *row;
    PF_TRY(pf_row_find(pf_methods, "method", name, &row));
    memset(out, 0, sizeof *out);
    out->ops = row;
    PF_ASSERT(out->ops->size <= PF_METHOD_BYTES);
    pf_opt_defaults(out->ops->opts, &out->opt);
    return PF_OK;
}

pf_status pf_method_read(pf_config *c, pf_method *out)
{
    const char *name = pf_config_get(c, "method.name");
    PF_TRY(pf_method_init(name ? name : pf_methods[0]->name, out));
    PF_TRY(pf_config_section(c, "method", out->ops->opts, &out->opt));
    if (out->ops->read) PF_TRY(out->ops->read(c, &out->opt));
    return PF_OK;
}

static int has_text(const pf_method *m)
{
    pf_opt_walk w;
    int any = m->ops != pf_methods[0];
    for (const pf_opt *o = pf_opt_first(m->ops->opts, &w); o && !any; o = pf_opt_next(&w))
        any = !o->quiet || !pf_opt_is_default(o, &m->opt);
    return any;
}

pf_status pf_method_write(const pf_method *m, int loss, pf_text *t)
{
    if (m->ops->write) PF_TRY(m->ops->write(&m->opt, loss, t));
    if (!loss && has_text(m))
        PF_TRY(pf_config_write(t, "method", m->ops->name, m->ops->opts, &m->opt));
    return PF_OK;
}

/* Is the word one of "A|B|C"? */
static int is_among(const char *word, const char *values)
{
    size_t n = strlen(word), len;
    for (const char *at = values;; at += len + 1) {
        len = strcspn(at, "|");
        if (len == n && !strncmp(at, word, n)) return 1;
        if (!at[len]) return 0;
    }
}

pf_status pf_method_acts(const pf_method *m)
{
    for (const pf_acts *a = m->ops->acts; a && a->key; a++) {
        char value[64], other[64];
        const pf_opt key = pf_opt_find(m->ops->opts, a->key),
                     by = pf_opt_find(m->ops->opts, a->other);
        if (!key.name || pf_opt_is_default(&key, &m->opt)) continue;
        pf_opt_text(&key, &m->opt, value, sizeof value);
        pf_opt_text(&by, &m->opt, other, sizeof other);
        PF_REQUIRE(is_among(other, a->values), PF_EARG,
                   "method.%s is %s, but acts only where method.%s is %s, and that is %s; "
                   "leave it out",
                   a->key, value, a->other, a->values, other);
    }
    return PF_OK;
}

/* Is "KEY=VALUE" or its key alone in the list? */
static int is_listed(const pf_method *m, const char *set)
{
    size_t n = strcspn(set, "=");
    for (const char *const *k = m->ops->free_keys; k && *k; k++)
        if (!strcmp(*k, set) || (strlen(*k) == n && !strncmp(*k, set, n))) return 1;
    return 0;
}

int pf_method_is_free(const pf_method *m, const char *set)
{
    char now[128], value[64] = "";
    int n = (int)strcspn(set, "=");
    snprintf(now, sizeof now, "%.*s", n, set);
    const pf_opt o = pf_opt_find(m->ops->opts, now);
    if (o.name) pf_opt_text(&o, &m->opt, value, sizeof value);
    snprintf(now, sizeof now, "%.*s=%s", n < 63 ? n : 63, set, value);
    return is_listed(m, set) && is_listed(m, now);
}

double pf_method_t_min(const pf_method *m)
{
    return m->ops->t_min ? m->ops->t_min(&m->opt) : 0.0;
}
