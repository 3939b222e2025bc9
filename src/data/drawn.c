/* Datasets whose rows are drawn: N of them for training and N/5 for the test, point i of split s by f(SEED, s, i), so more
 * points leave the first ones as they are.  See drawn.h. */
#include "data/drawn.h"

#include <probflow/memory.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

int pf_source_is_drawn(const char *path)
{
    return !strncmp(path, PF_DENSITY_PREFIX, sizeof PF_DENSITY_PREFIX - 1) ||
           !strncmp(path, PF_KNOWN_PREFIX, sizeof PF_KNOWN_PREFIX - 1);
}

/* ":DIGITS" within [least, most]: what follows it; else NULL. */
static const char *number(const char *s, long long least, long long most, long long *v)
{
    char *end;
    if (*s != ':' || s[1] < '0' || s[1] > '9') return NULL;
    errno = 0;
    *v = strtoll(s + 1, &end, 10);
    return errno || *v < least || *v > most ? NULL : end;
}

pf_status pf_drawn_ask(const char *spec, const char *at, const char *form, pf_drawn *d)
{
    long long n = 0, seed = 1;
    const char *rest = number(at, 5, 100000000, &n);
    if (rest && *rest) rest = number(rest, 0, LLONG_MAX, &seed);
    PF_REQUIRE(rest && !*rest, PF_EARG, "%s: want %s:N[:SEED] with N from 5 to 100000000", spec,
               form);
    d->n = n;
    d->seed = (uint64_t)seed;
    return PF_OK;
}

/* Rows of text end where they are long. */
static PF_MUST_USE pf_status full_rows(const char *spec, int split, int64_t n, int length,
                                       pf_table *t)
{
    int32_t *lengths = NULL;
    PF_TRY(pf_table_lengths(t, spec, split, n, &lengths));
    for (int64_t i = 0; i < n; i++) lengths[i] = length;
    return PF_OK;
}

static PF_MUST_USE pf_status draw_split(const char *spec, const pf_drawn *d, int split,
                                        int64_t n, pf_table *t)
{
    unsigned char *values = NULL;
    const size_t D = pf_shape_entries(d->space.shape);
    const size_t row = D * (d->space.kind == PF_REAL ? sizeof(double) : 1);
    PF_TRY(pf_table_rows(t, spec, split, n, d->space, &values));
    if (d->space.kind == PF_TOKENS) PF_TRY(full_rows(spec, split, n, (int)D, t));
    t->split[split].logp = pf_zalloc((size_t)n * sizeof(double));
    PF_REQUIRE(t->split[split].logp, PF_EMEM, "no memory for %lld points", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        pf_draw at = {d->seed, PF_STREAM_DATA, (uint64_t)i, (uint32_t)split};
        t->split[split].logp[i] = d->point(d->self, &at, values + (size_t)i * row);
    }
    return PF_OK;
}

pf_status pf_drawn_read(pf_source *s, pf_table *t, const pf_drawn *d)
{
    PF_REQUIRE(t->space.shape.h == 0, PF_EFORMAT, "%s: what is drawn makes a dataset alone",
               s->path);
    PF_REQUIRE(s->given == PF_SPLIT_UNSAID, PF_EARG,
               "--split: %s draws the splits train and test itself", s->path);
    s->how = "drawn";
    t->has_entropy = 1;
    t->entropy = d->entropy;
    PF_TRY(draw_split(s->path, d, PF_TRAIN, d->n, t));
    PF_TRY(draw_split(s->path, d, PF_TEST, d->n / 5, t));
    return PF_OK;
}
