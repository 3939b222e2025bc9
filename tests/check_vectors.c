/* Holds the code against reference files: check_vectors FILE.h5[:GROUP].. ..
 *
 * The kind of a file is the longest stem of the table below in its name.  A GROUP, a path or a shell pattern,
 * takes a part of it; several may follow each other.  What falls short and what nothing computed is printed,
 * and last "N passed, M failed".  Status 0: nothing failed and something passed. */
#include "vectors/argmax.h"
#include "vectors/d3pm.h"
#include "vectors/gauss.h"
#include "vectors/losses.h"
#include "vectors/masked.h"
#include "vectors/mixture_cdf.h"
#include "vectors/multinomial.h"
#include "vectors/ncsn.h"
#include "vectors/network.h"
#include "vectors/published_net.h"
#include "vectors/sohl2015.h"
#include "vectors/times.h"

#include <string.h>

static const vectors_kind *const kinds[] = {
    &vectors_gauss_tables,
    &vectors_gauss_decoder,
    &vectors_gauss_pmv,
    &vectors_gauss_bpd,
    &vectors_gauss_law,
    &vectors_gauss_steps,
    &vectors_gauss_spacing,
    &vectors_gauss_resampler,
    &vectors_lucid,
    &vectors_losses,
    &vectors_bound,
    &vectors_dequantise,
    &vectors_entropy,
    &vectors_decoder,
    &vectors_ddpmpp,
    &vectors_ncsnpp,
    &vectors_improved_unet,
    &vectors_guided_unet,
    &vectors_guided_classifier,
    &vectors_ncsn,
    &vectors_ncsn_net,
    &vectors_ncsnv2_net,
    &vectors_transformer,
    &vectors_dit,
    &vectors_sd15_gaussian,
    &vectors_sd15_binomial,
    &vectors_multinomial,
    &vectors_md4,
    &vectors_mdlm,
    &vectors_d3pm,
    &vectors_argmax,
    &vectors_lstm,
};

static const vectors_kind *kind_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const vectors_kind *best = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strstr(name, kinds[i]->stem) &&
            (!best || strlen(kinds[i]->stem) > strlen(best->stem)))
            best = kinds[i];
    return best;
}

enum { PATTERNS_MAX = 64 };

/* Cuts FILE.h5:GROUP:GROUP.. at its colons; the number of groups. */
static int cut(char *arg, const char **pattern)
{
    int n = 0;
    char *end = strstr(arg, ".h5:");
    for (char *p = end ? end + 3 : NULL; p && n < PATTERNS_MAX; p = strchr(p, ':')) {
        *p++ = 0;
        pattern[n++] = p;
    }
    return n;
}

static PF_MUST_USE pf_status check(const char *path, const char *const *pattern, int n,
                                   int *passed, int *failed)
{
    vectors v;
    const vectors_kind *kind = kind_of(path);
    PF_REQUIRE(kind, PF_EARG, "%s is of no known kind", path);
    PF_TRY(vectors_open(path, kind, pattern, n, &v));
    for (int k = 0; k < n; k++)
        if (!vectors_wants(&v, pattern[k])) {
            printf("%s:%s: nothing to check\n", path, pattern[k]);
            *failed += 1;
        }
    pf_status st = kind->check(&v);
    vectors_report(&v, passed, failed);
    vectors_close(&v);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE.h5[:GROUP]...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        const char *pattern[PATTERNS_MAX];
        int before = passed + failed, n = cut(argv[i], pattern);
        if (check(argv[i], pattern, n, &passed, &failed)) {
            printf("%s: %s\n", argv[i], pf_error_message());
            failed++;
        } else if (passed + failed == before) {
            printf("%s: nothing to check\n", argv[i]);
            failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return !passed || failed;
}
