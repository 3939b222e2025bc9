/* `probflow sample --inpaint` and `--denoise`: what samples shall agree with, and how far they are from it. */
#include "cli/sample.h"

#include <probflow/memory.h>
#include <probflow/random.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const halves[] = {"left", "right", "top", "bottom", NULL};

/* The place of --known among the halves; -1: it is none. */
static int half_of(const pf_sample_job *j)
{
    for (int i = 0; j->half && halves[i]; i++)
        if (!strcmp(j->half, halves[i])) return i;
    return -1;
}

pf_status pf_sample_known_words(pf_sample_job *j)
{
    char *end = NULL;
    if (!!j->inpaint + !!j->denoise + !!j->encode > 1)
        return pf_usage_error(PF_WHERE, "--inpaint, --denoise and --encode exclude each other");
    if (!j->inpaint != !j->half || (j->inpaint && half_of(j) < 0))
        return pf_usage_error(PF_WHERE, "--inpaint SPLIT goes with --known left, right, top or "
                                        "bottom, the half that is kept");
    if (!j->denoise != !j->noise_text)
        return pf_usage_error(PF_WHERE,
                              "--denoise SPLIT goes with --noise STD, in model scale");
    if (!j->noise_text) return PF_OK;
    j->noise = strtod(j->noise_text, &end);
    if (end == j->noise_text || *end || !(j->noise > 0.0) || !isfinite(j->noise))
        return pf_usage_error(PF_WHERE, "--noise: '%s' is no positive number", j->noise_text);
    return PF_OK;
}

static PF_MUST_USE pf_status cover(pf_sample_job *j)
{
    pf_shape s = j->model.net->space.shape;
    int half = half_of(j), at = 0, covered = 0;
    if (s.h == 1 && s.w == 1) s = (pf_shape){1, s.c, 1}; /* of vectors, their entries */
    j->known = j->whole;
    j->mask = pf_zalloc(pf_shape_entries(s));
    PF_REQUIRE(j->mask, PF_EMEM, "no memory for a mask");
    for (int y = 0; y < s.h; y++)
        for (int x = 0; x < s.w; x++)
            for (int c = 0; c < s.c; c++, at++) {
                int first = half < 2 ? x < s.w / 2 : y < s.h / 2;
                j->mask[at] = half % 2 ? !first : first;
                covered += j->mask[at];
            }
    PF_REQUIRE(covered > 0 && covered < at, PF_EARG,
               "--known %s: one of two halves of %dx%dx%d is empty", j->half, s.h, s.w, s.c);
    return PF_OK;
}

/* Image i has the noise f(sample.seed, EVAL_NOISE, i, 0). */
static PF_MUST_USE pf_status add_noise(pf_sample_job *j)
{
    size_t D = pf_shape_entries(j->model.net->space.shape), n = (size_t)j->n;
    float *z = pf_zalloc(D * sizeof *z);
    j->known = pf_zalloc(n * D * sizeof *j->known);
    for (size_t i = 0; z && j->known && i < n; i++) {
        pf_draw d = {(uint64_t)j->model.e.sample.seed, PF_STREAM_EVAL_NOISE, i, 0};
        pf_draw_normal(&d, 0, D, z);
        for (size_t k = 0; k < D; k++)
            j->known[i * D + k] = j->whole[i * D + k] + j->noise * (double)z[k];
    }
    pf_status st =
        z && j->known ? PF_OK : pf_raise(PF_EMEM, PF_WHERE, "no memory for %zu images", n);
    pf_free(z);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

pf_status pf_sample_known(pf_sample_job *j)
{
    PF_TRY(j->inpaint ? cover(j) : add_noise(j));
    return PF_OK;
}

/* Root mean square of x - whole over the entries whose mask is `known`; x NULL: the images' own mean image. */
static double distance(const pf_sample_job *j, const double *x, int known)
{
    size_t D = pf_shape_entries(j->model.net->space.shape), N = (size_t)j->n, n = 0;
    double sum = 0.0;
    for (size_t k = 0; k < D; k++) {
        double mean = 0.0;
        if (j->mask && j->mask[k] != known) continue;
        for (size_t i = 0; i < N; i++) mean += j->whole[i * D + k] / (double)N;
        for (size_t i = 0; i < N; i++, n++) {
            double d = (x ? x[i * D + k] : mean) - j->whole[i * D + k];
            sum += d * d;
        }
    }
    return sqrt(sum / (double)n);
}

void pf_sample_known_report(const pf_sample_job *j)
{
    const pf_space *s = &j->model.net->space;
    int levels = s->kind == PF_LEVELS;
    double unit = levels ? pf_grid_step(s, PF_GRID_PUBLISHED) : 1.0;
    const char *scale = levels ? "levels" : "in model scale";
    const double *x = j->sampling.x;
    if (j->mask)
        printf("inpainted     known %.4f, unknown %.4f, of the mean image %.4f %s, root mean "
               "square of %ld images of the %s split of %s\n",
               distance(j, x, 1) / unit, distance(j, x, 0) / unit, distance(j, NULL, 0) / unit,
               scale, j->n, j->inpaint, j->data);
    else
        printf("denoised      %.4f, noisy %.4f %s, root mean square of %ld images of the %s "
               "split of %s\n",
               distance(j, x, 0) / unit, distance(j, j->known, 0) / unit, scale, j->n,
               j->denoise, j->data);
}
