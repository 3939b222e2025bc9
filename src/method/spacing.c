/* Which indices of a chain are kept.
 *
 * Source: Nichol and Dhariwal 2021, published code; Song, Meng and Ermon 2021 (ddimN); denoising-diffusion-pytorch,
 * published code (evenN). */
#include "method/gauss.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A whole number; *end behind it, NULL when there is none. */
static int number(const char *s, const char **end)
{
    char *e = NULL;
    long v = isdigit((unsigned char)*s) ? strtol(s, &e, 10) : -1;
    *end = v < 0 || v > 1000000 ? NULL : e;
    return *end ? (int)v : 0;
}

static PF_MUST_USE pf_status strided(const char *text, int T, int *keep, int *n)
{
    const char *end;
    int N = number(text + 4, &end), stride = 1;
    PF_REQUIRE(end && !*end && N > 0, PF_EARG, "respacing is '%s', want ddim and a number",
               text);
    while (stride < T && (T + stride - 1) / stride != N) stride++;
    PF_REQUIRE(stride < T, PF_EARG,
               "respacing %s: no whole stride keeps exactly %d of %d steps", text, N, T);
    *n = N;
    for (int j = 0; j < N; j++) keep[j] = j * stride;
    return PF_OK;
}

/* In whole numbers, so that what is whole stays so. */
static PF_MUST_USE pf_status even(const char *text, int T, int *keep, int *n)
{
    const char *end;
    int N = number(text + 4, &end);
    PF_REQUIRE(end && !*end && N > 0, PF_EARG, "respacing is '%s', want even and a number",
               text);
    PF_REQUIRE(N <= T, PF_EARG, "respacing %s: there are %d steps, of which %d cannot be kept",
               text, T, N);
    *n = N;
    for (int k = 0; k < N; k++) keep[k] = (int)((k + 1LL) * T / N) - 1;
    return PF_OK;
}

static PF_MUST_USE pf_status sections(const char *text, int T, int *keep, int *n)
{
    int many = 1, start = 0, s = 0;
    const char *end;
    for (const char *p = text; *p; p++) many += *p == ',';
    *n = 0;
    for (const char *p = text; s < many; p = end + 1, s++) {
        int size = T / many + (s < T % many), c = number(p, &end);
        PF_REQUIRE(end && *end == (s < many - 1 ? ',' : 0), PF_EARG,
                   "respacing is '%s', want numbers with commas between them, or ddim or even "
                   "and a number",
                   text);
        PF_REQUIRE(c <= size, PF_EARG,
                   "respacing %s: section %d has %d steps, of which %d cannot be kept", text,
                   s + 1, size, c);
        double stride = c > 1 ? (double)(size - 1) / (c - 1) : 1.0, at = 0.0;
        for (int k = 0; k < c; k++, at += stride) keep[(*n)++] = start + (int)nearbyint(at);
        start += size;
    }
    return PF_OK;
}

pf_status pf_gauss_spacing(const char *text, int T, int *keep, int *n)
{
    if (!text[0]) {
        for (int i = 0; i < T; i++) keep[i] = i;
        *n = T;
    } else if (!strncmp(text, "ddim", 4)) PF_TRY(strided(text, T, keep, n));
    else if (!strncmp(text, "even", 4)) PF_TRY(even(text, T, keep, n));
    else PF_TRY(sections(text, T, keep, n));
    PF_REQUIRE(*n >= 2, PF_EARG, "respacing %s keeps %d of %d steps, want at least 2", text, *n,
               T);
    return PF_OK;
}
