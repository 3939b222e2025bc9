/* OpenBLAS chooses its kernels when it is loaded, by a list of CPU models: a model that is newer than the
 * list gets the slowest ones.  Here they are chosen again, by what the CPU can do.
 *
 * gotoblas_dynamic_quit and _init are how OpenBLAS itself chooses; they read OPENBLAS_CORETYPE.  They are
 * used before the first product, when no buffer or thread depends on the choice yet.  A build for one
 * CPU, or another BLAS, has neither.  Kernels that compute wrong on this CPU give way to lesser ones. */
#include "base/blas_core.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern void gotoblas_dynamic_init(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));

static const char variable[] = "OPENBLAS_CORETYPE";

static const struct {
    const char *core;
    pf_isa isa;
} cores[] = {{"Excavator", PF_ISA_AVX2},
             {"Haswell", PF_ISA_AVX2},
             {"Zen", PF_ISA_AVX2},
             {"SkylakeX", PF_ISA_AVX512},
             {"Cooperlake", PF_ISA_AVX512_BF16},
             {"SapphireRapids", PF_ISA_AMX}};

pf_isa pf_blas_core_isa(const char *core)
{
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (!strcasecmp(core, cores[i].core)) return cores[i].isa;
    return PF_ISA_BASE;
}

const char *pf_blas_core_for(pf_isa isa, int amd)
{
    if (isa >= PF_ISA_AVX512_BF16) return "Cooperlake";
    if (isa == PF_ISA_AVX512) return "SkylakeX";
    if (isa == PF_ISA_AVX2) return amd ? "Zen" : "Haswell";
    return "Nehalem"; /* SSE4.2: the least that is fast */
}

/* Sizes that fill no block of a kernel. */
enum { M = 67, N = 45, K = 53 };

/* The same numbers each time, about as large as 1. */
static void fill(int n, double *x)
{
    for (int i = 0; i < n; i++) x[i] = (double)((i * 7919 + 3571) % 2003) / 1001.5 - 1.0;
}

static int product_is_right(void)
{
    static double a[M * K], b[K * N], c[M * N];
    fill(M * K, a);
    fill(K * N, b);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, M, N, K, 1.0, a, K, b, N, 0.0, c, N);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < K; k++) sum += a[i * K + k] * b[k * N + j];
            if (!(fabs(c[i * N + j] - sum) < 1e-12)) return 0; /* K products of size 1 */
        }
    return 1;
}

/* L L' = A for A = B B' + N, whose eigenvalues are at least N. */
static int factor_is_right(void)
{
    static double b[M * M], a[M * M], l[M * M];
    fill(M * M, b);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < M; j++) {
            double sum = i == j ? N : 0;
            for (int k = 0; k < M; k++) sum += b[i * M + k] * b[j * M + k];
            a[i * M + j] = l[i * M + j] = sum;
        }
    if (LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', M, l, M)) return 0;
    for (int i = 0; i < M; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int k = 0; k <= j; k++) sum += l[i * M + k] * l[j * M + k];
            if (!(fabs(a[i * M + j] - sum) < 1e-11)) return 0; /* entries of about 100 */
        }
    return 1;
}

int pf_blas_computes(void)
{
    return product_is_right() && factor_is_right();
}

static int can_choose(void)
{
    return gotoblas_dynamic_init && gotoblas_dynamic_quit && openblas_get_corename &&
           openblas_get_config && strstr(openblas_get_config(), "DYNAMIC_ARCH");
}

static void choose(const char *core)
{
    setenv(variable, core, 1);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv(variable);
}

static void settle(void)
{
    if (!can_choose() || getenv(variable)) return;
    char before[32], cpu[128];
    snprintf(before, sizeof before, "%s", openblas_get_corename());
    pf_isa now = pf_blas_core_isa(before), want = pf_isa_used();
    int much = now > want && pf_isa_is_fixed(), little = now < want && now < PF_ISA_AVX512_BF16;
    int amd = strstr(pf_cpu_name(cpu, sizeof cpu), "AMD") != NULL;
    if (much || little) choose(pf_blas_core_for(want, amd));
    for (int less = want; less > PF_ISA_BASE && !pf_blas_computes(); less--)
        choose(pf_blas_core_for((pf_isa)(less - 1), amd));
}

void pf_blas_settle(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, settle);
}

const char *pf_blas_name(void)
{
    static char name[48];
    if (!openblas_get_corename) return "BLAS";
    snprintf(name, sizeof name, "OpenBLAS %s", openblas_get_corename());
    return name;
}
