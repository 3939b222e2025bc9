/* Networks under an SDE, and what is asked of them and of descriptions. */
#ifndef PROBFLOW_TESTS_SDE_NETS_H
#define PROBFLOW_TESTS_SDE_NETS_H

#include <probflow/published.h>

#include "nets.h"

static inline pf_status create(const pf_model *m, const pf_sde *sde, pf_shape s, pf_net **out)
{
    const pf_method method = pf_method_of_sde(sde);
    const pf_space space = {.kind = PF_REAL, .shape = s};
    return pf_net_create(m, &method, &space, out);
}

static inline pf_net *net(const char *name, const char *settings, const char *sde_name,
                          pf_shape s)
{
    pf_model m = model(name, settings);
    pf_sde sde;
    pf_net *n = NULL;
    assert_int_equal(pf_sde_init(sde_name, &sde), PF_OK);
    if (create(&m, &sde, s, &n)) fail_msg("%s", pf_error_message());
    return n;
}

static inline size_t trainable(const pf_net *n)
{
    size_t sum = 0;
    for (int i = 0; i < n->n_views; i++)
        if (n->views[i].trainable) sum += n->views[i].size;
    return sum;
}

static inline const pf_param *view(const pf_net *n, const char *name)
{
    for (int i = 0; i < n->n_views; i++)
        if (!strcmp(n->views[i].name, name)) return &n->views[i];
    return NULL;
}

/* pf_published_options fails so. */
static inline void refused(const char *json, pf_status code, const char *words)
{
    pf_published p = {0};
    if (pf_published_options(json, &p) != code) fail_msg("not refused for %s", words);
    assert_non_null(strstr(pf_error_message(), words));
}

/* Parameters by their published names and shapes, in the order they are made in. */
typedef struct shaped {
    const char *name;
    int rank, dim[4];
} shaped;

static inline void check_shapes(const pf_net *n, const shaped *want, size_t many)
{
    const pf_param *last = n->views;
    for (size_t i = 0; i < many; i++) {
        const pf_param *v = view(n, want[i].name);
        if (!v) fail_msg("%s is missing", want[i].name);
        assert_int_equal(v->rank, want[i].rank);
        for (int d = 0; d < v->rank; d++) assert_int_equal(v->dim[d], want[i].dim[d]);
        assert_true(v >= last);
        last = v;
    }
}

#endif
