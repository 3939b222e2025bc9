/* Configuration: a flat list of "section.key" texts read from YAML by libyaml.
 *
 * Types are given by the option tables, not by YAML: every scalar is kept as its text, a list of
 * scalars as "a,b,c".  An entry remembers whether somebody read it, so that what nobody
 * understands is an error and not a silent default. */
#include <probflow/config.h>
#include <probflow/memory.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { KEY_MAX = 128, NAMES_MAX = 128 };

typedef struct entry {
    char key[KEY_MAX]; /* "section.key" or "key" */
    char *text;        /* owned; NULL: the section itself */
    int read, stored;
} entry;

struct pf_config {
    entry *e;
    int n, cap, stored;
    char *origin;
};

typedef struct source { /* a YAML document being read */
    yaml_document_t doc;
    const char *origin;
    pf_config *c;
} source;

static entry *find(const pf_config *c, const char *key, int section)
{
    for (int i = 0; i < c->n; i++)
        if ((c->e[i].text == NULL) == section && !strcmp(c->e[i].key, key)) return &c->e[i];
    return NULL;
}

static PF_MUST_USE pf_status add(pf_config *c, const char *key, const char *text)
{
    PF_REQUIRE(strlen(key) < KEY_MAX, PF_EFORMAT, "key \"%.40s...\" is too long", key);
    if (c->n == c->cap) {
        int cap = 2 * c->cap + 16;
        entry *e = pf_zalloc((size_t)cap * sizeof *e);
        PF_REQUIRE(e, PF_EMEM, "no memory for %d configuration keys", cap);
        if (c->n) memcpy(e, c->e, (size_t)c->n * sizeof *e);
        pf_free(c->e);
        c->e = e;
        c->cap = cap;
    }
    entry *e = &c->e[c->n];
    memset(e, 0, sizeof *e);
    if (text) {
        e->text = pf_strdup(text);
        PF_REQUIRE(e->text, PF_EMEM, "no memory for the value of %s", key);
    }
    memcpy(e->key, key, strlen(key) + 1);
    c->n++;
    return PF_OK;
}

/* Appends the scalar to t; PF_EFORMAT when the node is a list or a mapping. */
static PF_MUST_USE pf_status scalar_text(source *s, const yaml_node_t *v, const char *key,
                                         pf_text *t)
{
    long line = (long)v->start_mark.line + 1;
    PF_REQUIRE(v->type == YAML_SCALAR_NODE, PF_EFORMAT,
               "%s:%ld: %s is nested too deep; the form is section: {key: value}", s->origin,
               line, key);
    const char *text = (const char *)v->data.scalar.value;
    PF_REQUIRE(strlen(text) == v->data.scalar.length, PF_EFORMAT,
               "%s:%ld: %s holds a zero byte", s->origin, line, key);
    PF_TRY(pf_text_add(t, "%s%s", t->n ? "," : "", text));
    return PF_OK;
}

static int is_null(const yaml_node_t *v)
{
    if (v->type != YAML_SCALAR_NODE || v->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return 0;
    const char *t = (const char *)v->data.scalar.value;
    return !t[0] || !strcmp(t, "~") || !strcmp(t, "null");
}

static PF_MUST_USE pf_status value_text(source *s, const yaml_node_t *v, const char *key,
                                        pf_text *t)
{
    if (v->type != YAML_SEQUENCE_NODE) {
        PF_REQUIRE(!is_null(v), PF_EFORMAT, "%s:%ld: %s has no value", s->origin,
                   (long)v->start_mark.line + 1, key);
        PF_TRY(scalar_text(s, v, key, t));
        return PF_OK;
    }
    const yaml_node_item_t *i = v->data.sequence.items.start;
    for (; i < v->data.sequence.items.top; i++)
        PF_TRY(scalar_text(s, yaml_document_get_node(&s->doc, *i), key, t));
    return PF_OK;
}

static PF_MUST_USE pf_status add_value(source *s, const yaml_node_t *v, const char *key)
{
    pf_text t = {0};
    pf_status st = value_text(s, v, key, &t);
    if (!st) st = add(s->c, key, t.s ? t.s : "");
    pf_free(t.s);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

/* "section.key" of a key node into full; refuses dots, lists and keys given twice. */
static PF_MUST_USE pf_status read_key(source *s, const char *section, const yaml_node_t *k,
                                      char full[KEY_MAX])
{
    long line = (long)k->start_mark.line + 1;
    PF_REQUIRE(k->type == YAML_SCALAR_NODE, PF_EFORMAT, "%s:%ld: a key must be a word",
               s->origin, line);
    const char *name = (const char *)k->data.scalar.value;
    int n = snprintf(full, KEY_MAX, "%s%s%s", section, section[0] ? "." : "", name);
    PF_REQUIRE(name[0] && !strchr(name, '.') && n < KEY_MAX, PF_EFORMAT,
               "%s:%ld: \"%.60s\" is not a key", s->origin, line, name);
    PF_REQUIRE(!find(s->c, full, 0) && !find(s->c, full, 1), PF_EFORMAT,
               "%s:%ld: %s is given twice", s->origin, line, full);
    return PF_OK;
}

static PF_MUST_USE pf_status add_section(source *s, const yaml_node_t *map, const char *section)
{
    PF_TRY(add(s->c, section, NULL));
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    for (; p < map->data.mapping.pairs.top; p++) {
        char full[KEY_MAX];
        PF_TRY(read_key(s, section, yaml_document_get_node(&s->doc, p->key), full));
        PF_TRY(add_value(s, yaml_document_get_node(&s->doc, p->value), full));
    }
    return PF_OK;
}

static PF_MUST_USE pf_status add_document(source *s)
{
    const yaml_node_t *root = yaml_document_get_root_node(&s->doc);
    if (!root || is_null(root)) return PF_OK; /* an empty file: all defaults */
    PF_REQUIRE(root->type == YAML_MAPPING_NODE, PF_EFORMAT,
               "%s:%ld: want sections of the form section: {key: value}", s->origin,
               (long)root->start_mark.line + 1);
    const yaml_node_pair_t *p = root->data.mapping.pairs.start;
    for (; p < root->data.mapping.pairs.top; p++) {
        char key[KEY_MAX];
        const yaml_node_t *v = yaml_document_get_node(&s->doc, p->value);
        PF_TRY(read_key(s, "", yaml_document_get_node(&s->doc, p->key), key));
        if (v->type == YAML_MAPPING_NODE) PF_TRY(add_section(s, v, key));
        else if (is_null(v)) PF_TRY(add(s->c, key, NULL)); /* a section without keys */
        else PF_TRY(add_value(s, v, key));
    }
    return PF_OK;
}

static PF_MUST_USE pf_status yaml_error(const yaml_parser_t *p, const char *origin)
{
    PF_REQUIRE(p->error != YAML_MEMORY_ERROR, PF_EMEM, "no memory to read %s", origin);
    PF_FAIL(PF_EFORMAT, "%s:%ld: %s", origin, (long)p->problem_mark.line + 1,
            p->problem ? p->problem : "not YAML");
}

static PF_MUST_USE pf_status parse_into(pf_config *c, const char *yaml)
{
    yaml_parser_t p;
    source s = {.origin = c->origin, .c = c};
    PF_REQUIRE(yaml_parser_initialize(&p), PF_EMEM, "no memory to read %s", c->origin);
    yaml_parser_set_input_string(&p, (const unsigned char *)yaml, strlen(yaml));
    pf_status st;
    if (!yaml_parser_load(&p, &s.doc)) st = yaml_error(&p, c->origin);
    else {
        st = add_document(&s);
        yaml_document_delete(&s.doc);
    }
    yaml_parser_delete(&p);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

static PF_MUST_USE pf_status read_all(FILE *f, const char *path, pf_text *t)
{
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0) {
        PF_REQUIRE(!memchr(part, 0, n), PF_EFORMAT, "%s is not a text file", path);
        PF_TRY(pf_text_add(t, "%.*s", (int)n, part));
    }
    PF_REQUIRE(!ferror(f), PF_EIO, "cannot read %s", path);
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

/* A word YAML reads back as it is. */
static int plain(const char *s)
{
    if (!isalnum((unsigned char)*s) && *s != '/' && *s != '_') return 0;
    if (!strcmp(s, "null")) return 0;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_./+-", *s)) return 0;
    return 1;
}

static PF_MUST_USE pf_status write_value(pf_text *t, const pf_opt *o, const char *text)
{
    if (o->kind == PF_INTS) PF_TRY(pf_text_add(t, "[%s]", text));
    else if (o->kind != PF_STR || plain(text)) PF_TRY(pf_text_add(t, "%s", text));
    else {
        PF_TRY(pf_text_add(t, "\""));
        for (; *text; text++) {
            unsigned char ch = (unsigned char)*text;
            if (ch == '"' || ch == '\\') PF_TRY(pf_text_add(t, "\\%c", ch));
            else if (ch < 32 || ch == 127) PF_TRY(pf_text_add(t, "\\x%02x", ch));
            else PF_TRY(pf_text_add(t, "%c", ch));
        }
        PF_TRY(pf_text_add(t, "\""));
    }
    return PF_OK;
}

pf_status pf_config_parse(const char *yaml, const char *origin, pf_config **out)
{
    pf_config *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a configuration");
    c->origin = pf_strdup(origin ? origin : "configuration");
    pf_status st = c->origin ? parse_into(c, yaml) : PF_EMEM;
    if (!c->origin) st = pf_raise(PF_EMEM, PF_WHERE, "no memory for a configuration");
    if (st) {
        pf_config_free(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = c;
    return PF_OK;
}

pf_status pf_config_load(const char *path, pf_config **out)
{
    FILE *f = fopen(path, "rb");
    PF_REQUIRE(f, PF_EIO, "cannot open configuration %s", path);
    pf_text t = {0};
    pf_status st = read_all(f, path, &t);
    fclose(f);
    if (!st) st = pf_config_parse(t.s ? t.s : "", path, out);
    pf_free(t.s);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
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
    char key[KEY_MAX];
    size_t n = eq ? (size_t)(eq - assignment) : 0;
    PF_REQUIRE(n > 0 && n < KEY_MAX, PF_EARG, "\"%s\" is not of the form section.key=value",
               assignment);
    memcpy(key, assignment, n);
    key[n] = 0;
    char *dot = strchr(key, '.');
    PF_REQUIRE(key[0] != '.' && key[n - 1] != '.' && (!dot || !strchr(dot + 1, '.')), PF_EARG,
               "\"%s\" is not of the form section.key=value", assignment);
    entry *e = find(c, key, 0);
    if (!e) {
        PF_TRY(add(c, key, eq + 1));
        return PF_OK;
    }
    char *text = pf_strdup(eq + 1);
    PF_REQUIRE(text, PF_EMEM, "no memory for the value of %s", key);
    pf_free(e->text);
    e->text = text;
    e->read = e->stored = 0;
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
    const entry *e = find(c, key, 0);
    return e && !e->stored;
}

const char *pf_config_get(pf_config *c, const char *key)
{
    entry *e = find(c, key, 0);
    if (!e) return NULL;
    e->read = 1;
    return e->text;
}

pf_status pf_config_section(pf_config *c, const char *section, const pf_opt *opts, void *obj)
{
    size_t len = strlen(section);
    if (opts) pf_opt_defaults(opts, obj);
    for (int i = 0; i < c->n; i++) {
        entry *e = &c->e[i];
        const char *name = e->key;
        if (len) {
            if (strncmp(e->key, section, len) || (e->key[len] && e->key[len] != '.')) continue;
            if (!e->text) e->read = 1; /* the section itself */
            if (!e->key[len]) continue;
            name = e->key + len + 1;
            if (!strcmp(name, "name")) continue;
        } else {
            int ours = 0;
            for (const pf_opt *o = opts; o && o->name; o++) ours |= !strcmp(o->name, name);
            if (!e->text || !ours) continue; /* unknown ones are for pf_config_check */
        }
        pf_status st = pf_opt_set(opts, section, name, e->text, obj);
        if (st) return pf_trail(st, PF_WHERE);
        e->read = 1;
    }
    return PF_OK;
}

pf_status pf_config_check(const pf_config *c, const char *const *known_sections)
{
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->e[i];
        if (e->read) continue;
        char top[KEY_MAX];
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

pf_status pf_text_add(pf_text *t, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    pf_status st = PF_OK;
    if (n >= 0 && t->n + (size_t)n + 1 > t->cap) {
        size_t cap = 2 * t->cap + (size_t)n + 64;
        char *s = pf_zalloc(cap);
        if (s) {
            if (t->n) memcpy(s, t->s, t->n);
            pf_free(t->s);
            t->s = s;
            t->cap = cap;
        } else st = pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu bytes of text", cap);
    }
    if (!st && n >= 0) {
        vsnprintf(t->s + t->n, t->cap - t->n, fmt, again);
        t->n += (size_t)n;
    }
    va_end(again);
    return st;
}

pf_status pf_config_write(pf_text *t, const char *section, const char *name, const pf_opt *opts,
                          const void *obj)
{
    const char *indent = section[0] ? "  " : "";
    int rows = opts && opts->name;
    if (section[0]) PF_TRY(pf_text_add(t, "%s:%s\n", section, name || rows ? "" : " {}"));
    if (name) PF_TRY(pf_text_add(t, "%sname: %s\n", indent, name));
    for (const pf_opt *o = opts; o && o->name; o++) {
        char text[PF_STR_MAX];
        pf_opt_text(o, obj, text, sizeof text);
        PF_TRY(pf_text_add(t, "%s%s: ", indent, o->name));
        PF_TRY(write_value(t, o, text));
        PF_TRY(pf_text_add(t, "\n"));
    }
    return PF_OK;
}
