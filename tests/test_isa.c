/* The instruction set: what may be asked for, and that the libraries compute right with it. */
#include "base/blas_core.h"
#include "base/random_chunk.h"
#include <probflow/isa.h>
#include <probflow/linalg.h>
#include <stdlib.h>
#include "train/adam_loop.h"

#include "checks.h"

/* What PROBFLOW_ISA says while a test runs. */
static void ask(const char *word)
{
    if (word) setenv("PROBFLOW_ISA", word, 1);
    else unsetenv("PROBFLOW_ISA");
}

static char *was;

static int keep(void **state)
{
    (void)state;
    was = getenv("PROBFLOW_ISA") ? strdup(getenv("PROBFLOW_ISA")) : NULL;
    return 0;
}

static int restore(void **state)
{
    (void)state;
    ask(was);
    free(was);
    return 0;
}

static void an_instruction_set_that_is_not_there_is_refused(void **state)
{
    (void)state;
    ask("avx3");
    assert_int_equal(pf_isa_check(), PF_EARG);
    assert_non_null(strstr(pf_error_message(), "PROBFLOW_ISA=avx3 is no instruction set"));
    assert_non_null(strstr(pf_error_message(), pf_isa_name(PF_ISA_BASE)));
    for (int i = 0; i < PF_ISA_COUNT && pf_isa_name((pf_isa)i); i++) {
        ask(pf_isa_name((pf_isa)i));
        assert_int_equal(pf_isa_check(), i <= (int)pf_isa_best() ? PF_OK : PF_EARG);
        if (i > (int)pf_isa_best())
            assert_non_null(strstr(pf_error_message(), pf_isa_name(pf_isa_best())));
    }
    ask("");
    must(pf_isa_check());
    ask(NULL);
    must(pf_isa_check());
}

static void the_one_in_use_is_the_one_asked_for_or_the_best(void **state)
{
    (void)state;
    const char *word = getenv("PROBFLOW_ISA");
    if (word && *word) {
        assert_string_equal(pf_isa_name(pf_isa_used()), word);
        assert_true(pf_isa_is_fixed());
    } else assert_int_equal(pf_isa_used(), pf_isa_best());
    assert_true(pf_isa_clone() <= (int)pf_isa_used());
}

static void the_cpu_has_a_name_without_blanks_at_its_ends(void **state)
{
    (void)state;
    char name[128], little[6];
    size_t n = strlen(pf_cpu_name(name, sizeof name));
    assert_true(n > 0 && name[0] != ' ' && name[n - 1] != ' ');
    assert_int_equal(strlen(pf_cpu_name(little, sizeof little)), sizeof little - 1);
}

PF_CLONE_TABLE(const pf_chunk_ops, pf_chunk, chunks);
PF_CLONE_TABLE(pf_adam_loop_fn, pf_adam_loop, loops);

/* Noise is part of a result: it may not depend on the machine. */
static void every_clone_draws_the_same_bits(void **state)
{
    (void)state;
    const uint32_t c[4] = {4000000000u, 5, 6, 7}, key[2] = {123456789u, 987654321u};
    pf_words want, got;
    float x[PF_CHUNK], y[PF_CHUNK];
    uint32_t u[PF_CHUNK], v[PF_CHUNK];
    chunks[0]->philox(c, key, &want);
    chunks[0]->normals(&want, x);
    chunks[0]->interleave(&want, u);
    for (int k = 1; k <= pf_isa_clone(); k++) {
        chunks[k]->philox(c, key, &got);
        assert_memory_equal(&got, &want, sizeof want);
        chunks[k]->normals(&got, y);
        assert_memory_equal(y, x, sizeof x);
        chunks[k]->interleave(&got, v);
        assert_memory_equal(v, u, sizeof u);
    }
}

static void every_clone_updates_to_the_same_bits(void **state)
{
    (void)state;
    enum { N = 1003, ARRAYS = 5 };
    static float first[ARRAYS][N], want[ARRAYS][N], got[ARRAYS][N];
    for (int a = 0; a < ARRAYS; a++)
        for (int i = 0; i < N; i++)
            first[a][i] = (float)((i * 37 + a * 11) % 101) / 50.5f + 1e-3f;
    const pf_adam_rates r = {0.9f, 0.1f, 0.999f, 1e-3f, 3e-4f, 1.7f, 1e-8f, 0.99f, 0.01f, 0.3f};
    for (int k = 0; k <= pf_isa_clone(); k++) {
        memcpy(got, first, sizeof got);
        loops[k](&r, N, got[0], got[1], got[2], got[3], got[4]);
        if (k == 0) memcpy(want, got, sizeof want);
        assert_memory_equal(got, want, sizeof got);
    }
    assert_true(memcmp(want, first, sizeof want));
}

static void core_types_of_openblas_are_those_of_the_instruction_set(void **state)
{
    (void)state;
    for (int isa = 0; isa <= PF_ISA_AVX512_BF16; isa++)
        for (int amd = 0; amd < 2; amd++)
            assert_int_equal(pf_blas_core_isa(pf_blas_core_for((pf_isa)isa, amd)), isa);
    assert_int_equal(pf_blas_core_isa("Prescott"), PF_ISA_BASE);
    assert_int_equal(pf_blas_core_isa("haswell"), PF_ISA_AVX2);
}

/* A CPU that OpenBLAS does not know, or an instruction set that was asked for. */
static void lapack_uses_the_instruction_set_and_computes_right(void **state)
{
    (void)state;
    const char *library = pf_linalg_library();
    if (!getenv("OPENBLAS_CORETYPE") && !strncmp(library, "OpenBLAS ", 9)) {
        pf_isa has = pf_blas_core_isa(library + 9), want = pf_isa_used();
        if (want > PF_ISA_AVX512_BF16) want = PF_ISA_AVX512_BF16;
        assert_true(has >= want);
        if (pf_isa_is_fixed()) assert_true(has <= pf_isa_used());
    }
    assert_true(pf_blas_computes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_one_in_use_is_the_one_asked_for_or_the_best),
        cmocka_unit_test_setup_teardown(an_instruction_set_that_is_not_there_is_refused, keep,
                                        restore),
        cmocka_unit_test(the_cpu_has_a_name_without_blanks_at_its_ends),
        cmocka_unit_test(every_clone_draws_the_same_bits),
        cmocka_unit_test(every_clone_updates_to_the_same_bits),
        cmocka_unit_test(core_types_of_openblas_are_those_of_the_instruction_set),
        cmocka_unit_test(lapack_uses_the_instruction_set_and_computes_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
