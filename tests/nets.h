/* Networks for tests. */
#ifndef PROBFLOW_TESTS_NETS_H
#define PROBFLOW_TESTS_NETS_H

#include <probflow/memory.h>
#include <probflow/net.h>
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

#endif
