/* Inside of published networks: a description that is being read, and families of networks. */
#ifndef PROBFLOW_SRC_MODEL_PUBLISHED_IMPL_H
#define PROBFLOW_SRC_MODEL_PUBLISHED_IMPL_H

#include <probflow/config.h>
#include <probflow/published.h>

typedef struct described { /* a description that is being read */
    pf_config *c;
    pf_published *to;
} described;

/* A key of theirs whose value is the value of one of our options. */
typedef struct key {
    const char *theirs, *ours;
    const char *absent; /* what it means to leave it out; NULL: our default */
} key;

/* Networks of one repository: their keys, and what takes more than a copy. */
typedef struct family {
    const char *network, *model; /* value of the key "network"; NULL: there is none */
    const key *keys;             /* ends with zeros */
    pf_status (*rest)(described *d);
    const char *const
        *nullable; /* keys that may be null, and sections that say nothing of ours */
} family;

/* The keys without which the parameters have no shapes; names ends with NULL. */
PF_MUST_USE static inline pf_status pf_published_need(const described *d,
                                                      const char *const *names)
{
    for (; *names; names++)
        PF_REQUIRE(pf_config_get(d->c, *names), PF_EFORMAT,
                   "the network's description lacks '%s'", *names);
    return PF_OK;
}

/* Of argmax flows, published_argmax.c. */
extern const key pf_argmax_step_keys[], pf_argmax_flow_keys[];
extern const char *const pf_argmax_null[];
pf_status pf_argmax_step(described *d);
pf_status pf_argmax_autoregressive(described *d);
pf_status pf_argmax_coupling(described *d);

#endif
