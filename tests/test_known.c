/* Distributions that a file has in full: their entropy, their draws, and files that hold none. */
#include <probflow/data.h>
#include <probflow/memory.h>
#include <probflow/store.h>
#include "scratch.h"

#include "data/known.h"

enum { L = 3, STATES = L * L };
static const double table[STATES] = {0.1, 0.0, 0.2, 0.05, 0.15, 0.1, 0.0, 0.3, 0.1};

static const char *file_of(const char *name, const double *p, int columns)
{
    const char *path = in_dir(name);
    pf_out_array a = {.name = "cards/p", .rank = 2, .dim = {L, columns}, .f64 = p};
    must(pf_store_write(path, &a, 1, NULL, 0));
    return path;
}

static void draws_follow_their_chances(void **state)
{
    (void)state;
    enum { N = 40000 };
    pf_known k;
    int count[STATES] = {0};
    double entropy = 0.0;
    must(pf_known_open(file_of("table.h5", table, L), "cards", &k));
    assert_int_equal(k.dim, 2);
    for (int i = 0; i < N; i++) {
        uint8_t x[2];
        pf_draw d = {9, PF_STREAM_TEST, (uint64_t)i, 0};
        pf_known_point(&k, &d, x);
        assert_near(pf_known_logp(&k, x), log(table[x[0] * L + x[1]]), 1e-15);
        count[x[0] * L + x[1]]++;
    }
    for (int s = 0; s < STATES; s++) {
        double p = table[s], se = sqrt(p * (1.0 - p) / N);
        assert_near(count[s] / (double)N, p, 4.5 * se); /* of chance 0 none is drawn */
        if (p > 0.0) entropy -= p * log(p);
    }
    assert_near(pf_known_entropy(&k), entropy, 1e-14);
    pf_known_free(&k);
}

static void datasets_are_drawn_from_them(void **state)
{
    (void)state;
    char spec[600];
    const char *out = in_dir("drawn.h5");
    pf_dataset *d = NULL;
    snprintf(spec, sizeof spec, "known:%s:cards:100:3", file_of("source.h5", table, L));
    const char *sources[] = {spec};
    must(pf_data_convert(sources, NULL, 1, NULL, out));
    must(pf_dataset_open(out, "test", &d));
    assert_int_equal(pf_dataset_about(d)->space.levels, L);
    assert_int_equal(pf_dataset_about(d)->n, 20);
    pf_dataset_close(d);
}

static void refused(const char *spec, const char *why)
{
    const char *sources[] = {spec};
    assert_true(pf_data_convert(sources, NULL, 1, NULL, in_dir("none.h5")) != PF_OK);
    if (!strstr(pf_error_message(), why)) fail_msg("%s", pf_error_message());
    assert_int_equal(access(in_dir("none.h5"), F_OK), -1);
}

static void what_is_no_distribution_is_refused(void **state)
{
    (void)state;
    char spec[600];
    double p[STATES];
    memcpy(p, table, sizeof p);
    p[0] += 0.01;
    snprintf(spec, sizeof spec, "known:%s:cards:100", file_of("more.h5", p, L));
    refused(spec, "sum to");
    p[0] = 0.11;
    p[1] = -0.01;
    snprintf(spec, sizeof spec, "known:%s:cards:100", file_of("less.h5", p, L));
    refused(spec, "has the chance -0.01");
    snprintf(spec, sizeof spec, "known:%s:cards:100", file_of("wide.h5", table, 2));
    refused(spec, "different lengths");
    snprintf(spec, sizeof spec, "known:%s:dice:100", file_of("other.h5", table, L));
    refused(spec, "neither p nor image_shape");
    refused("known:nothing.h5:cards:100", "nothing.h5");
    refused("known:a.h5:cards", "want known:");
    refused("known:a.h5:cards:4", "want known:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_their_chances),
        cmocka_unit_test(datasets_are_drawn_from_them),
        cmocka_unit_test(what_is_no_distribution_is_refused),
    };
    return cmocka_run_group_tests_name("known", tests, scratch_make, scratch_remove);
}
