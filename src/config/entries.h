/* What the files of this module share: the list of keys. */
#ifndef PROBFLOW_SRC_CONFIG_ENTRIES_H
#define PROBFLOW_SRC_CONFIG_ENTRIES_H

#include <probflow/config.h>

enum {
    PF_KEY_MAX = 128,
    PF_KEYS_MAX = 1024,       /* of a configuration: looking one up goes through all */
    PF_CONFIG_BYTES = 1 << 18 /* of a file, and of all values together */
};

typedef struct pf_entry {
    char key[PF_KEY_MAX];  /* "section.key" or "key" */
    char *text;            /* owned; NULL: the section itself */
    int read, stored, set; /* set: by pf_config_set */
} pf_entry;

struct pf_config {
    pf_entry *e;
    int n, cap, stored;
    size_t bytes; /* of all values */
    char *origin;
};

/* NULL: there is none.  section = 1 looks for a section and not for a value. */
pf_entry *pf_config_find(const pf_config *c, const char *key, int section);
/* text NULL: a section.  Fails PF_EFORMAT: too long, too many; PF_EMEM. */
PF_MUST_USE pf_status pf_config_add(pf_config *c, const char *key, const char *text);

#endif
