/* Configuration: YAML (or --set section.key=value) -> typed structs through option tables.
 *
 * The file has one level of sections:      sde:   {name: vp, beta_max: 20}
 *                                          train: {steps: 3000, batch: 64}
 * and scalars at the top:                  seed: 42
 * A section that chooses a plugin holds its `name`; the plugin's table reads the other keys. */
#ifndef PROBFLOW_CONFIG_H
#define PROBFLOW_CONFIG_H

#include <probflow/option.h>
#include <probflow/status.h>

typedef struct pf_config pf_config;

/* Owned by the caller until pf_config_free.  JSON is YAML too.  path: a file, or a pipe that ends
 * within 5 s.  Fails PF_EIO (missing, a folder, a device), PF_EFORMAT (YAML error with line, a key
 * given twice, nesting deeper than section.key, a second document, a tag, a merge key, more than
 * 256 KiB or 1024 keys: time and memory are bounded whatever the text). */
PF_MUST_USE pf_status pf_config_load(const char *path, pf_config **out);
PF_MUST_USE pf_status pf_config_parse(const char *yaml, const char *origin, pf_config **out);
/* The same, but the key `remark` of the top level, which may be nested deeper, is left out. */
PF_MUST_USE pf_status pf_config_parse_but(const char *yaml, const char *origin,
                                          const char *remark, pf_config **out);
void pf_config_free(pf_config *c);

/* "section.key=value" or "key=value": adds or replaces.  Fails PF_EARG on another form. */
PF_MUST_USE pf_status pf_config_set(pf_config *c, const char *assignment);

/* Text of "section.key" or "key", of a list "[a,b]"; NULL when absent.  Marks it as read.  Borrowed. */
const char *pf_config_get(pf_config *c, const char *key);

/* What c holds now was stored with a run or a checkpoint: keys it lacks mean what they meant when it
 * was made, and its choices are not questioned again. */
void pf_config_stored(pf_config *c);
int pf_config_is_stored(const pf_config *c);
/* 1 when the user gives the key: it is there, and not as a stored one. */
int pf_config_given(const pf_config *c, const char *key);

/* Fills obj: defaults, then every key of the section ("" = top level scalars).  The key `name`
 * is skipped.  Fails PF_EARG on an unknown key (naming the nearest), a bad value, a range. */
PF_MUST_USE pf_status pf_config_section(pf_config *c, const char *section, const pf_opt *opts,
                                        void *obj);

/* Fails PF_EARG when a key was never read, naming it and the nearest known section or key. */
PF_MUST_USE pf_status pf_config_check(const pf_config *c, const char *const *known_sections);

/* Canonical text: appends "section:\n  name: x\n  key: value\n..." with every value, defaults
 * included (but those of quiet rows, see pf_opt), so that the text alone reproduces the run.  name may be
 * NULL.  Test  canonical_text_reads_back_to_the_same_values, a_quiet_key_is_written_when_it_says_something */
typedef struct pf_text {
    char *s; /* owned; pf_free */
    size_t n, cap;
} pf_text;
PF_MUST_USE pf_status pf_text_add(pf_text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
PF_MUST_USE pf_status pf_config_write(pf_text *t, const char *section, const char *name,
                                      const pf_opt *opts, const void *obj);

#endif
