/* Networks for tests. */
#ifndef PROBFLOW_TESTS_NETS_H
#define PROBFLOW_TESTS_NETS_H

#include <probflow/memory.h>
#include <probflow/net.h>
#include <probflow/published.h>
#include <probflow/random.h>

#include "checks.h"

/* "key=value;key=value" on the defaults of a model. */
static inline pf_model model(const char *name, const char *settings)
{
    pf_model m;
    char text[512], *save = NULL;
    assert_int_equal(pf_model_init(name, &m), PF_OK);
    snprintf(text, sizeof text, "%s", settings);
    for (char *s = strtok_r(text, ";", &save); s; s = strtok_r(NULL, ";", &save)) {
        char *value = strchr(s, '=');
        *value++ = 0;
        assert_int_equal(pf_opt_set(m.ops->opts, "model", s, value, &m.opt), PF_OK);
    }
    return m;
}

static inline float *random_params(const pf_net *n)
{
    float *p = pf_zalloc(n->floats * sizeof *p);
    assert_non_null(p);
    pf_graph_init_params(n->graph, 7, p);
    /* the published start makes last convolutions vanish: move every view off its start */
    for (int i = 0; i < n->n_views; i++) {
        pf_draw d = {.seed = 11, .stream = PF_STREAM_TEST, .sample = (uint64_t)i};
        for (size_t j = 0; j < n->views[i].size && n->views[i].trainable; j++)
            p[n->views[i].offset + j] += 0.1f * (float)(pf_draw_uniform_f64(&d, j) - 0.5);
    }
    return p;
}

static inline void normals(uint64_t sample, size_t n, double *out)
{
    pf_draw d = {.seed = 3, .stream = PF_STREAM_TEST, .sample = 1000 + sample};
    for (size_t i = 0; i < n; i++) {
        float z;
        pf_draw_normal(&d, i, 1, &z);
        out[i] = z;
    }
}

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
    assert_int_equal(pf_published_options(json, &p), code);
    assert_non_null(strstr(pf_error_message(), words));
}

#endif
