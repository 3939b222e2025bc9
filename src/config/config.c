/* Configuration: a flat list of "section.key" texts.
 *
 * Types are given by the option tables, not by YAML: every scalar is kept as its text, a list of
 * scalars as "[a,b,c]".  An entry remembers whether somebody read it, so that what nobody
 * understands is an error and not a silent default. */
#include "config/entries.h"

#include <probflow/memory.h>

#include <string.h>

enum { NAMES_MAX = 128 };

pf_entry *pf_config_find(const pf_config *c, const char *key, int section)
{
    for (int i = 0; i < c->n; i++)
        if ((c->e[i].text == NULL) == section && !strcmp(c->e[i].key, key)) return &c->e[i];
    return NULL;
}

static PF_MUST_USE pf_status grow(pf_config *c)
{
    int cap = 2 * c->cap + 16;
    pf_entry *e = pf_zalloc((size_t)cap * sizeof *e);
    PF_REQUIRE(e, PF_EMEM, "no memory for %d configuration keys", cap);
    if (c->n) memcpy(e, c->e, (size_t)c->n * sizeof *e);
    pf_free(c->e);
    c->e = e;
    c->cap = cap;
    return PF_OK;
}

pf_status pf_config_add(pf_config *c, const char *key, const char *text)
{
    size_t bytes = text ? strlen(text) : 0;
    PF_REQUIRE(strlen(key) < PF_KEY_MAX, PF_EFORMAT, "key \"%.40s...\" is too long", key);
    PF_REQUIRE(c->n < PF_KEYS_MAX, PF_EFORMAT, "%s has more than %d keys", c->origin,
               PF_KEYS_MAX);
    PF_REQUIRE(bytes <= PF_CONFIG_BYTES - c->bytes, PF_EFORMAT,
               "the values of %s are longer than %d bytes in all", c->origin, PF_CONFIG_BYTES);
    if (c->n == c->cap) PF_TRY(grow(c));
    pf_entry *e = &c->e[c->n];
    memset(e, 0, sizeof *e);
    if (text) {
        e->text = pf_strdup(text);
        PF_REQUIRE(e->text, PF_EMEM, "no memory for the value of %s", key);
    }
    memcpy(e->key, key, strlen(key) + 1);
    c->bytes += bytes;
    c->n++;
    return PF_OK;
}

static int is_one_of(const char *name, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name)) return 1;
    return 0;
}

/* Nearest of the known sections and of the top-level keys that were read. */
static const char *nearest_top(const pf_config *c, const char *name,
                               const char *const *sections)
{
    const char *names[NAMES_MAX + 1] = {0};
    int n = 0;
    for (int i = 0; sections[i] && n < NAMES_MAX; i++) names[n++] = sections[i];
    for (int i = 0; i < c->n && n < NAMES_MAX; i++)
        if (c->e[i].read && !strchr(c->e[i].key, '.')) names[n++] = c->e[i].key;
    return pf_nearest(name, names);
}

void pf_config_free(pf_config *c)
{
    if (!c) return;
    for (int i = 0; i < c->n; i++) pf_free(c->e[i].text);
    pf_free(c->e);
    pf_free(c->origin);
    pf_free(c);
}

pf_status pf_config_set(pf_config *c, const char *assignment)
{
    const char *eq = strchr(assignment, '=');
    char key[PF_KEY_MAX];
    size_t n = eq ? (size_t)(eq - assignment) : 0;
    PF_REQUIRE(n > 0 && n < PF_KEY_MAX, PF_EARG, "\"%s\" is not of the form section.key=value",
               assignment);
    memcpy(key, assignment, n);
    key[n] = 0;
    char *dot = strchr(key, '.');
    PF_REQUIRE(key[0] != '.' && key[n - 1] != '.' && (!dot || !strchr(dot + 1, '.')), PF_EARG,
               "\"%s\" is not of the form section.key=value", assignment);
    pf_entry *e = pf_config_find(c, key, 0);
    if (!e) {
        PF_TRY(pf_config_add(c, key, eq + 1));
        c->e[c->n - 1].set = 1;
        return PF_OK;
    }
    char *text = pf_strdup(eq + 1);
    PF_REQUIRE(text, PF_EMEM, "no memory for the value of %s", key);
    pf_free(e->text);
    e->text = text;
    e->read = e->stored = 0;
    e->set = 1;
    return PF_OK;
}

void pf_config_stored(pf_config *c)
{
    c->stored = 1;
    for (int i = 0; i < c->n; i++) c->e[i].stored = 1;
}

int pf_config_is_stored(const pf_config *c)
{
    return c->stored;
}

int pf_config_given(const pf_config *c, const char *key)
{
    const pf_entry *e = pf_config_find(c, key, 0);
    return e && !e->stored;
}

const char *pf_config_get(pf_config *c, const char *key)
{
    pf_entry *e = pf_config_find(c, key, 0);
    if (!e) return NULL;
    e->read = 1;
    return e->text;
}

/* The key that says the same as `name` under the other name of its row; NULL: none. */
static const pf_entry *other_name(const pf_config *c, const char *section, const pf_opt *o,
                                  const char *name)
{
    char key[PF_KEY_MAX];
    if (!o->before) return NULL;
    snprintf(key, sizeof key, "%s%s%s", section, section[0] ? "." : "",
             strcmp(o->name, name) ? o->name : o->before);
    return pf_config_find(c, key, 0);
}

/* Of two names for one row pf_config_set's wins, whatever the other says; two of the same source agree. */
static PF_MUST_USE pf_status apply(const pf_config *c, const char *section, const pf_opt *opts,
                                   const pf_entry *e, const char *name, void *obj)
{
    pf_opt row = pf_opt_find(opts, name), *o = &row;
    const pf_entry *other = other_name(c, section, o, name);
    int was = 0, now = 0;
    if (other && other->set > e->set) return PF_OK;
    if (other) memcpy(&was, (char *)obj + o->offset, sizeof was);
    PF_TRY(pf_opt_set(opts, section, name, e->text, obj));
    if (!other || other > e || other->set < e->set) return PF_OK;
    memcpy(&now, (char *)obj + o->offset, sizeof now);
    PF_REQUIRE(was == now, PF_EARG,
               "%s is %s, but %s, which says the same, is %s; leave one of them out", e->key,
               e->text, other->key, other->text);
    return PF_OK;
}

pf_status pf_config_section(pf_config *c, const char *section, const pf_opt *opts, void *obj)
{
    size_t len = strlen(section);
    if (opts) pf_opt_defaults(opts, obj);
    for (int i = 0; i < c->n; i++) {
        pf_entry *e = &c->e[i];
        const char *name = e->key;
        if (len) {
            if (strncmp(e->key, section, len) || (e->key[len] && e->key[len] != '.')) continue;
            if (!e->text) e->read = 1; /* the section itself */
            if (!e->key[len]) continue;
            name = e->key + len + 1;
            if (!strcmp(name, "name")) continue;
        } else {
            /* unknown ones are for pf_config_check */
            if (!e->text || !pf_opt_find(opts, name).name) continue;
        }
        PF_TRY(apply(c, section, opts, e, name, obj));
        e->read = 1;
    }
    return PF_OK;
}

pf_status pf_config_check(const pf_config *c, const char *const *known_sections)
{
    for (int i = 0; i < c->n; i++) {
        const pf_entry *e = &c->e[i];
        if (e->read) continue;
        char top[PF_KEY_MAX];
        snprintf(top, sizeof top, "%.*s", (int)strcspn(e->key, "."), e->key);
        if (is_one_of(top, known_sections)) {
            if (!e->text) continue; /* the section itself */
            PF_REQUIRE(strchr(e->key, '.'), PF_EARG,
                       "%s is a section; give its keys as %s: {key: value}", top, top);
            PF_FAIL(PF_EARG, "%s has no use here", e->key);
        }
        const char *near = nearest_top(c, top, known_sections);
        const char *what = e->text && !strchr(e->key, '.') ? "key" : "section";
        if (near) PF_FAIL(PF_EARG, "unknown %s %s; did you mean %s?", what, top, near);
        PF_FAIL(PF_EARG, "unknown %s %s", what, top);
    }
    return PF_OK;
}
