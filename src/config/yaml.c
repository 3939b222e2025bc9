/* YAML into a flat list of keys, by libyaml.
 *
 * libyaml builds the whole document before anybody can look at it, in a time that grows with the
 * square of its depth, anchors and aliases.  So a first pass over its events, which keeps nothing,
 * refuses what is no configuration. */
#include "config/entries.h"

#include <probflow/log.h>
#include <probflow/memory.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

enum {
    DEPTH_MAX = 16,
    NODES_MAX = 4 * PF_KEYS_MAX,
    PIPE_SECONDS = 5 /* for all of what comes through one */
};

typedef struct source { /* a YAML document being read */
    yaml_document_t doc;
    const char *origin, *remark; /* remark: a key that says nothing; NULL: there is none */
    pf_config *c;
} source;

/* !!str, !!seq and !!map are what libyaml gives to nodes without a tag. */
static PF_MUST_USE pf_status check_tag(const source *s, const yaml_node_t *v)
{
    const char *tag = v->type == YAML_SCALAR_NODE     ? YAML_DEFAULT_SCALAR_TAG
                      : v->type == YAML_SEQUENCE_NODE ? YAML_DEFAULT_SEQUENCE_TAG
                                                      : YAML_DEFAULT_MAPPING_TAG;
    PF_REQUIRE(!v->tag || !strcmp((const char *)v->tag, tag), PF_EFORMAT,
               "%s:%ld: the tag %.60s is not read; give the value alone", s->origin,
               (long)v->start_mark.line + 1, (const char *)v->tag);
    return PF_OK;
}

/* The text of a scalar; PF_EFORMAT when the node is a list or a mapping. */
static PF_MUST_USE pf_status scalar_text(const source *s, const yaml_node_t *v, const char *key,
                                         const char **out)
{
    long line = (long)v->start_mark.line + 1;
    PF_REQUIRE(v->type == YAML_SCALAR_NODE, PF_EFORMAT,
               "%s:%ld: %s is nested too deep; the form is section: {key: value}", s->origin,
               line, key);
    PF_TRY(check_tag(s, v));
    *out = (const char *)v->data.scalar.value;
    PF_REQUIRE(strlen(*out) == v->data.scalar.length, PF_EFORMAT,
               "%s:%ld: %s holds a zero byte", s->origin, line, key);
    return PF_OK;
}

static int is_null(const yaml_node_t *v)
{
    if (v->type != YAML_SCALAR_NODE || v->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return 0;
    const char *t = (const char *)v->data.scalar.value;
    return !t[0] || !strcmp(t, "~") || !strcmp(t, "null");
}

/* "[a,b,c]": the brackets tell a list of one from its entry. */
static PF_MUST_USE pf_status list_text(source *s, const yaml_node_t *v, const char *key,
                                       pf_text *t)
{
    const char *item;
    const yaml_node_item_t *first = v->data.sequence.items.start;
    PF_TRY(check_tag(s, v));
    PF_TRY(pf_text_add(t, "["));
    for (const yaml_node_item_t *i = first; i < v->data.sequence.items.top; i++) {
        PF_TRY(scalar_text(s, yaml_document_get_node(&s->doc, *i), key, &item));
        PF_REQUIRE(!strpbrk(item, ",[]") && t->n < PF_CONFIG_BYTES, PF_EFORMAT,
                   "%s:%ld: \"%.40s\" is no entry of the list %s", s->origin,
                   (long)v->start_mark.line + 1, item, key);
        PF_TRY(pf_text_add(t, "%s%s", i == first ? "" : ",", item));
    }
    PF_TRY(pf_text_add(t, "]"));
    return PF_OK;
}

static PF_MUST_USE pf_status value_text(source *s, const yaml_node_t *v, const char *key,
                                        pf_text *t)
{
    const char *text;
    if (v->type == YAML_SEQUENCE_NODE) {
        PF_TRY(list_text(s, v, key, t));
        return PF_OK;
    }
    PF_REQUIRE(!is_null(v), PF_EFORMAT, "%s:%ld: %s has no value", s->origin,
               (long)v->start_mark.line + 1, key);
    PF_TRY(scalar_text(s, v, key, &text));
    PF_TRY(pf_text_add(t, "%s", text));
    return PF_OK;
}

static PF_MUST_USE pf_status add_value(source *s, const yaml_node_t *v, const char *key)
{
    pf_text t = {0};
    pf_status st = value_text(s, v, key, &t);
    if (!st) st = pf_config_add(s->c, key, t.s ? t.s : "");
    pf_free(t.s);
    if (st) return pf_trail(st, PF_WHERE);
    return PF_OK;
}

/* "section.key" of a key node into full; refuses dots, lists and keys given twice. */
static PF_MUST_USE pf_status read_key(source *s, const char *section, const yaml_node_t *k,
                                      char full[PF_KEY_MAX])
{
    long line = (long)k->start_mark.line + 1;
    PF_REQUIRE(k->type == YAML_SCALAR_NODE, PF_EFORMAT, "%s:%ld: a key must be a word",
               s->origin, line);
    const char *name = (const char *)k->data.scalar.value;
    PF_REQUIRE(strcmp(name, "<<"), PF_EFORMAT, "%s:%ld: merge keys (<<) are not read",
               s->origin, line);
    int n = snprintf(full, PF_KEY_MAX, "%s%s%s", section, section[0] ? "." : "", name);
    PF_REQUIRE(name[0] && !strchr(name, '.') && n < PF_KEY_MAX &&
                   strlen(name) == k->data.scalar.length,
               PF_EFORMAT, "%s:%ld: \"%.60s\" is not a key", s->origin, line, name);
    PF_REQUIRE(!pf_config_find(s->c, full, 0) && !pf_config_find(s->c, full, 1), PF_EFORMAT,
               "%s:%ld: %s is given twice", s->origin, line, full);
    return PF_OK;
}

static PF_MUST_USE pf_status add_section(source *s, const yaml_node_t *map, const char *section)
{
    PF_TRY(check_tag(s, map));
    PF_TRY(pf_config_add(s->c, section, NULL));
    const yaml_node_pair_t *p = map->data.mapping.pairs.start;
    for (; p < map->data.mapping.pairs.top; p++) {
        char full[PF_KEY_MAX];
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
    PF_TRY(check_tag(s, root));
    const yaml_node_pair_t *p = root->data.mapping.pairs.start;
    for (; p < root->data.mapping.pairs.top; p++) {
        char key[PF_KEY_MAX];
        const yaml_node_t *v = yaml_document_get_node(&s->doc, p->value);
        PF_TRY(read_key(s, "", yaml_document_get_node(&s->doc, p->key), key));
        if (s->remark && !strcmp(key, s->remark)) continue;
        if (v->type == YAML_MAPPING_NODE) PF_TRY(add_section(s, v, key));
        else if (is_null(v))
            PF_TRY(pf_config_add(s->c, key, NULL)); /* a section without keys */
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

typedef struct tally { /* of the events so far */
    int depth, nodes, documents, end;
} tally;

static void count(tally *n, yaml_event_type_t type)
{
    n->documents += type == YAML_DOCUMENT_START_EVENT;
    n->depth += type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
    n->depth -= type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
    n->nodes += type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT ||
                type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
    n->end = type == YAML_STREAM_END_EVENT;
}

/* One document of bounded depth and size. */
static PF_MUST_USE pf_status survey(yaml_parser_t *p, const char *origin)
{
    for (tally n = {0}; !n.end;) {
        yaml_event_t e;
        if (!yaml_parser_parse(p, &e)) return yaml_error(p, origin);
        count(&n, e.type);
        yaml_event_delete(&e);
        long line = (long)p->mark.line + 1;
        PF_REQUIRE(n.documents < 2, PF_EFORMAT,
                   "%s:%ld: a second document begins (---); a configuration is one", origin,
                   line);
        PF_REQUIRE(n.depth <= DEPTH_MAX, PF_EFORMAT,
                   "%s:%ld: nested too deep; the form is section: {key: value}", origin, line);
        PF_REQUIRE(n.nodes <= NODES_MAX, PF_EFORMAT,
                   "%s:%ld: more than %d keys and values; a configuration has fewer", origin,
                   line, NODES_MAX);
    }
    return PF_OK;
}

static PF_MUST_USE pf_status load_document(yaml_parser_t *p, source *s)
{
    if (!yaml_parser_load(p, &s->doc)) return yaml_error(p, s->origin);
    pf_status st = add_document(s);
    yaml_document_delete(&s->doc);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static PF_MUST_USE pf_status parse_into(pf_config *c, const char *yaml, const char *remark)
{
    source s = {.origin = c->origin, .remark = remark, .c = c};
    PF_REQUIRE(strlen(yaml) <= PF_CONFIG_BYTES, PF_EFORMAT,
               "%s is longer than %d bytes, which no configuration is", c->origin,
               PF_CONFIG_BYTES);
    pf_status st = PF_OK;
    for (int pass = 0; !st && pass < 2; pass++) {
        yaml_parser_t p;
        PF_REQUIRE(yaml_parser_initialize(&p), PF_EMEM, "no memory to read %s", c->origin);
        yaml_parser_set_input_string(&p, (const unsigned char *)yaml, strlen(yaml));
        st = pass ? load_document(&p, &s) : survey(&p, c->origin);
        yaml_parser_delete(&p);
    }
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

/* A pipe may be slow, but not silent for ever. */
static PF_MUST_USE pf_status await(int fd, const char *path, double end)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    double left = end - pf_seconds();
    int n = left > 0 ? poll(&p, 1, (int)(1e3 * left) + 1) : 0;
    PF_REQUIRE(n != 0, PF_EIO, "the pipe %s did not end within %d s", path, PIPE_SECONDS);
    return PF_OK;
}

static PF_MUST_USE pf_status read_all(int fd, const char *path, pf_text *t)
{
    char part[4096];
    struct stat about;
    double end = pf_seconds() + PIPE_SECONDS;
    PF_REQUIRE(!fstat(fd, &about) && (S_ISREG(about.st_mode) || S_ISFIFO(about.st_mode)),
               PF_EIO, "%s is neither a file nor a pipe, so no configuration", path);
    for (;;) {
        if (S_ISFIFO(about.st_mode)) PF_TRY(await(fd, path, end));
        ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        PF_REQUIRE(n >= 0, PF_EIO, "cannot read %s: %s", path, strerror(errno));
        if (n == 0) return PF_OK;
        PF_REQUIRE(!memchr(part, 0, (size_t)n), PF_EFORMAT, "%s is not a text file", path);
        PF_TRY(pf_text_add(t, "%.*s", (int)n, part));
        PF_REQUIRE(t->n <= PF_CONFIG_BYTES, PF_EFORMAT,
                   "%s is longer than %d bytes, which no configuration is", path,
                   PF_CONFIG_BYTES);
    }
}

pf_status pf_config_parse(const char *yaml, const char *origin, pf_config **out)
{
    return pf_config_parse_but(yaml, origin, NULL, out);
}

pf_status pf_config_parse_but(const char *yaml, const char *origin, const char *remark,
                              pf_config **out)
{
    pf_config *c = pf_zalloc(sizeof *c);
    PF_REQUIRE(c, PF_EMEM, "no memory for a configuration");
    c->origin = pf_strdup(origin ? origin : "configuration");
    pf_status st = c->origin ? parse_into(c, yaml, remark)
                             : pf_raise(PF_EMEM, PF_WHERE, "no memory for a configuration");
    if (st) {
        pf_config_free(c);
        return pf_trail(st, PF_WHERE);
    }
    *out = c;
    return PF_OK;
}

pf_status pf_config_load(const char *path, pf_config **out)
{
    /* Not to wait for somebody who opens the other end of a pipe. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    PF_REQUIRE(fd >= 0, PF_EIO, "cannot open configuration %s: %s", path, strerror(errno));
    pf_text t = {0};
    pf_status st = read_all(fd, path, &t);
    close(fd);
    if (!st) st = pf_config_parse(t.s ? t.s : "", path, out);
    pf_free(t.s);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}
