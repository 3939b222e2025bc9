/* Rows of a distribution that a file has in full: known:FILE.h5:GROUP:N[:SEED]; see known.h.  drawn.c makes the splits. */
#include "data/known.h"
#include "data/drawn.h"

#include <probflow/memory.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

void pf_known_free(pf_known *k)
{
    double *all[] = {k->p, k->sum, k->start, k->transition, k->next};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) pf_free(all[i]);
    *k = (pf_known){0};
}

/* Chances of `rows` distributions of n states each, and their running sums. */
static PF_MUST_USE pf_status accumulate(const char *path, const char *name, size_t rows,
                                        size_t n, const double *p, double **sum)
{
    *sum = pf_zalloc(rows * n * sizeof **sum);
    PF_REQUIRE(*sum, PF_EMEM, "no memory for %zu chances", rows * n);
    for (size_t r = 0; r < rows; r++) {
        double all = 0.0;
        for (size_t i = 0; i < n; i++) {
            PF_REQUIRE(p[r * n + i] >= 0.0, PF_EFORMAT, "%s: %s has the chance %g", path, name,
                       p[r * n + i]);
            (*sum)[r * n + i] = all += p[r * n + i];
        }
        PF_REQUIRE(fabs(all - 1.0) < 1e-9, PF_EFORMAT, "%s: chances of %s sum to %.12g, not 1",
                   path, name, all);
    }
    return PF_OK;
}

/* image_shape; without it h stays 0. */
static PF_MUST_USE pf_status read_shape(const char *path, const char *group, pf_shape *to)
{
    char name[256], *text = NULL;
    snprintf(name, sizeof name, "%s/image_shape", group);
    if (pf_store_read_attr(path, name, &text)) return PF_OK;
    int n[3] = {0};
    char *at = text;
    for (int i = 0; i < 3; i++) {
        at += strspn(at, "[](), \n");
        long v = strtol(at, &at, 10);
        n[i] = v > 0 && v < 4096 ? (int)v : 0;
    }
    pf_free(text);
    PF_REQUIRE(n[0] && n[1] && n[2], PF_EFORMAT,
               "%s: image_shape of %s is no height, width and channels", path, group);
    *to = (pf_shape){n[0], n[1], n[2]};
    return PF_OK;
}

static PF_MUST_USE pf_status open_table(const char *path, const char *name, pf_array *a,
                                        pf_known *k)
{
    for (int i = 1; i < a->rank; i++)
        PF_REQUIRE(a->dim[i] == a->dim[0], PF_EFORMAT,
                   "%s: the axes of %s have different lengths", path, name);
    k->dim = a->rank;
    k->space.levels = (int)a->dim[0];
    k->states = a->size;
    k->p = a->v;
    a->v = NULL;
    return accumulate(path, name, 1, k->states, k->p, &k->sum);
}

static PF_MUST_USE pf_status open_chain(const char *path, const char *group, pf_known *k)
{
    char name[256];
    double *running = NULL;
    pf_array a, b;
    snprintf(name, sizeof name, "%s/start", group);
    PF_TRY(pf_store_read_array(path, name, &a));
    size_t L = a.size;
    k->start = a.v;
    k->space.levels = (int)L;
    PF_TRY(accumulate(path, name, 1, L, k->start, &running));
    pf_free(running);
    snprintf(name, sizeof name, "%s/transition", group);
    PF_TRY(pf_store_read_array(path, name, &b));
    k->transition = b.v;
    PF_REQUIRE(b.rank == 2 && b.dim[0] == (int64_t)L && b.dim[1] == (int64_t)L, PF_EFORMAT,
               "%s: %s is not of the %zu levels of start", path, name, L);
    k->dim = (int)pf_shape_entries(k->space.shape);
    return accumulate(path, name, L, L, k->transition, &k->next);
}

static PF_MUST_USE pf_status open_it(const char *path, const char *group, pf_known *k)
{
    char name[256];
    int has = 0;
    pf_array a = {0};
    k->space.kind = PF_LEVELS;
    PF_REQUIRE(strlen(group) < 200, PF_EARG, "the group %.40s... has a long name", group);
    snprintf(name, sizeof name, "%s/p", group);
    PF_TRY(read_shape(path, group, &k->space.shape));
    PF_TRY(pf_store_has(path, name, &has));
    if (has) {
        PF_TRY(pf_store_read_array(path, name, &a));
        pf_status st = open_table(path, name, &a, k);
        pf_free(a.v);
        PF_TRY(st);
        if (!k->space.shape.h) k->space.shape = (pf_shape){1, k->dim, 1};
    } else {
        PF_REQUIRE(k->space.shape.h, PF_EFORMAT, "%s: %s has neither p nor image_shape", path,
                   group);
        PF_TRY(open_chain(path, group, k));
    }
    PF_REQUIRE(k->space.levels >= 2 && k->space.levels <= 256, PF_EFORMAT,
               "%s: %s has %d levels, want 2 to 256", path, group, k->space.levels);
    PF_REQUIRE(pf_shape_entries(k->space.shape) == (size_t)k->dim, PF_EFORMAT,
               "%s: image_shape of %s is not of %d entries", path, group, k->dim);
    return PF_OK;
}

pf_status pf_known_open(const char *path, const char *group, pf_known *out)
{
    *out = (pf_known){0};
    pf_status st = open_it(path, group, out);
    if (st) pf_known_free(out);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

double pf_known_logp(const pf_known *k, const uint8_t *x)
{
    size_t L = (size_t)k->space.levels, state = 0;
    if (k->states) {
        for (int i = 0; i < k->dim; i++) state = state * L + x[i];
        return log(k->p[state]);
    }
    double sum = log(k->start[x[0]]);
    for (int i = 1; i < k->dim; i++) sum += log(k->transition[x[i - 1] * L + x[i]]);
    return sum;
}

static double entropy_of(size_t n, const double *p)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        if (p[i] > 0.0) sum -= p[i] * log(p[i]);
    return sum;
}

double pf_known_entropy(const pf_known *k)
{
    size_t L = (size_t)k->space.levels;
    if (k->states) return entropy_of(k->states, k->p);
    double now[256], then[256], sum = entropy_of(L, k->start);
    memcpy(now, k->start, L * sizeof *now);
    for (int i = 1; i < k->dim; i++) { /* of each entry given the one before */
        memset(then, 0, sizeof then);
        for (size_t a = 0; a < L; a++) {
            sum += now[a] * entropy_of(L, k->transition + a * L);
            for (size_t b = 0; b < L; b++) then[b] += now[a] * k->transition[a * L + b];
        }
        memcpy(now, then, sizeof now);
    }
    return sum;
}

/* The first state whose running sum exceeds u; where rounding leaves none, the last of some chance. */
static size_t state_at(size_t n, const double *sum, double u)
{
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (sum[mid] > u) hi = mid;
        else lo = mid + 1;
    }
    while (lo > 0 && sum[lo] == sum[lo - 1]) lo--;
    return lo;
}

void pf_known_point(const pf_known *k, const pf_draw *d, uint8_t *x)
{
    size_t L = (size_t)k->space.levels;
    if (k->states) {
        size_t state = state_at(k->states, k->sum, pf_draw_uniform_f64(d, 0));
        for (int i = k->dim; i-- > 0; state /= L) x[i] = (uint8_t)(state % L);
        return;
    }
    double u = pf_draw_uniform_f64(d, 0);
    size_t first = 0;
    for (size_t i = 0; i < L; i++) {
        if (k->start[i] > 0.0) first = i;
        if ((u -= k->start[i]) < 0.0) break;
    }
    x[0] = (uint8_t)first;
    for (int i = 1; i < k->dim; i++)
        x[i] = (uint8_t)state_at(L, k->next + x[i - 1] * L, pf_draw_uniform_f64(d, (size_t)i));
}

/* ---- the source ---- */

static double draw_point(const void *self, const pf_draw *d, unsigned char *row)
{
    pf_known_point(self, d, row);
    return pf_known_logp(self, row);
}

typedef struct place {
    char path[1024], group[256];
} place;

/* FILE.h5:GROUP:N[:SEED], the file up to the first ".h5:". */
static PF_MUST_USE pf_status parse(const char *spec, place *at, pf_drawn *r)
{
    static const char form[] = "known:FILE.h5:GROUP";
    const char *file = spec + sizeof PF_KNOWN_PREFIX - 1, *end = strstr(file, ".h5:");
    const char *group = end ? end + 4 : "", *rest = strchr(group, ':');
    PF_REQUIRE(end && rest && rest > group && (size_t)(end + 3 - file) < sizeof at->path &&
                   (size_t)(rest - group) < sizeof at->group,
               PF_EARG, "%s: want %s:N[:SEED]", spec, form);
    snprintf(at->path, sizeof at->path, "%.*s", (int)(end + 3 - file), file);
    snprintf(at->group, sizeof at->group, "%.*s", (int)(rest - group), group);
    return pf_drawn_ask(spec, rest, form, r);
}

static pf_status read(pf_source *s, pf_table *t)
{
    place at;
    pf_known k;
    pf_drawn r = {.point = draw_point, .self = &k};
    PF_TRY(parse(s->path, &at, &r));
    PF_TRY(pf_known_open(at.path, at.group, &k));
    r.space = k.space;
    r.entropy = pf_known_entropy(&k);
    pf_status st = pf_drawn_read(s, t, &r);
    pf_known_free(&k);
    return st ? pf_trail(st, PF_WHERE) : PF_OK;
}

static int knows(const pf_source *s)
{
    return !strncmp(s->path, PF_KNOWN_PREFIX, sizeof PF_KNOWN_PREFIX - 1);
}

const pf_format pf_format_known = {"known distribution", knows, read};
